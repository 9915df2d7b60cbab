"""The worm recipe's stages but for the fit and the report: each calls the layer that does the work."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectofit.builders import ModelSpec, build, examples
from connectofit.connectome import Connectome, Policies, read_connectome
from connectofit.connectome.errors import unknown_name
from connectofit.data import celegans_paths
from connectofit.pipelines.arrays import nest_params, read_arrays
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export import export
from connectofit.pipelines.progress import on_terminal
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.worm_settings import BuildSettings, ImportSettings
from connectofit.sim import Network, Step, simulate

EXPORT_FILES = {"graphml": "model.graphml", "networkx": "model.json", "parquet": "tables"}
"""Where the stage `export` writes each format, beside ``model/``, the bundle."""


def import_files(settings: ImportSettings) -> dict[str, Path]:
    """The tables that the stage `import` reads: those of the settings, else the worm's."""
    if settings.edges is None:
        shipped = celegans_paths()
        return {"edges": shipped["edges"], "neurons": shipped["neurons"]}
    return {"edges": settings.edges} | ({"neurons": settings.neurons} if settings.neurons is not None else {})


def import_connectome(context: StageContext) -> None:
    """Tables in; ``connectome/`` and ``validation.json`` out."""
    settings: ImportSettings = context.settings
    connectome, report = read_connectome(
        context.files["edges"],
        context.files.get("neurons"),
        columns={name: column or None for name, column in settings.columns.items()},
        policies=Policies.from_dict(settings.policies),
        id_type=settings.id_type,
    )
    connectome.write(context.out / "connectome")
    (context.out / "validation.json").write_text(report.to_json(), encoding="utf-8")


def build_files(settings: BuildSettings) -> dict[str, Path]:
    """The model's specification: the file of the settings, else the one that ships with the package."""
    if settings.spec is not None:
        return {"spec": settings.spec}
    if settings.example not in examples():
        raise unknown_name("example specification", settings.example, examples(), where="build.example")
    return {"spec": Path(str(resources.files("connectofit.builders"))) / "specs" / f"{settings.example}.toml"}


def build_network(context: StageContext) -> None:
    """The network as built: its ``spec.toml``, and what it consists of as ``network.json``."""
    spec = ModelSpec.load(context.files["spec"])
    network = build(Connectome.read(context.inputs["import"] / "connectome"), spec)
    spec.dump(context.out / "spec.toml")
    text = json.dumps(describe(network), indent=2, ensure_ascii=False)
    (context.out / "network.json").write_text(text, encoding="utf-8")


def describe(network: Network) -> dict[str, Any]:
    """Populations and projections of a network, with their sizes, as plain values."""
    populations = [
        {"name": p.name, "model": p.model.kind, "neurons": p.size, "types": len(p.types)} for p in network.populations
    ]
    projections = [
        {
            "name": p.name,
            "pre": p.pre,
            "post": p.post,
            "synapse": p.synapse.kind,
            "edges": p.n_edges,
            "types": len(p.types),
        }
        for p in network.projections
    ]
    return {"populations": populations, "projections": projections}


def load_network(context: StageContext) -> tuple[Connectome, ModelSpec, Network]:
    """The connectome, the spec and the network that the stages `import` and `build` made."""
    connectome = Connectome.read(context.inputs["import"] / "connectome")
    spec = ModelSpec.load(context.inputs["build"] / "spec.toml")
    return connectome, spec, build(connectome, spec)


def simulate_network(context: StageContext) -> None:
    """Voltages of all neurons while some are driven: ``traces.parquet`` and ``protocol.json``."""
    settings = context.settings
    _, _, network = load_network(context)
    network.find(settings.show)  # a neuron that does not exist is an error before the simulation, not after
    step = Step(settings.stimulate, settings.amplitude, settings.start_ms, settings.stop_ms)
    recording = simulate(
        network,
        duration_ms=settings.duration_ms,
        dt_ms=settings.dt_ms,
        stimuli=[step],
        record=["v"],
        seed=settings.seed,
        progress=context.show_progress and on_terminal(),
    )
    voltages = recording.traces["v"]
    table = pd.DataFrame(np.asarray(voltages.values), columns=[str(item) for item in voltages.ids])
    table.insert(0, "t_ms", recording.t_ms)
    table.to_parquet(context.out / "traces.parquet", index=False)
    protocol = {
        "stimulated": settings.stimulate,
        "amplitude": settings.amplitude,
        "start_ms": settings.start_ms,
        "stop_ms": settings.stop_ms,
        "shown": settings.show,
    }
    (context.out / "protocol.json").write_text(json.dumps(protocol, indent=2), encoding="utf-8")


def export_model(context: StageContext) -> None:
    """The fitted model as a bundle, ``model/``, and its graph in the formats of the settings."""
    connectome, spec, network = load_network(context)
    fitted = network.with_params(nest_params(read_arrays(context.inputs["fit"] / "parameters.npz")))
    readouts = json.loads((context.inputs["fit"] / "readouts.json").read_text(encoding="utf-8"))
    model = Model(fitted, connectome, spec, dict(context.provenance) | {"readouts": readouts})
    export(model, context.out / "model", format="bundle")
    for name in context.settings.formats:
        export(model, context.out / EXPORT_FILES[name], format=name)
