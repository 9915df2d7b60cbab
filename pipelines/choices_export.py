"""The stage of recipes on an animal's choices that writes the trained network as a model bundle."""

from __future__ import annotations

import json
from dataclasses import asdict

from connectofit.builders import spec_of
from connectofit.connectome import Connectome
from connectofit.pipelines.arrays import nest_params, read_arrays
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.choices_settings import NetworkSettings
from connectofit.pipelines.choices_stages import read_part, task_of_training, trainings
from connectofit.pipelines.export import export
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_stages import network_of


def export_model(context: StageContext) -> None:
    """The first network after its training, as a bundle, ``model/``; its readout and its task, with the animal's
    chances in every condition, go with it (`connectofit.pipelines.task_export.load_trained`)."""
    s = NetworkSettings.model_validate(context.provenance["stages"]["train"]["settings"])
    graph = Connectome.read(context.inputs["wiring"] / "connectome")
    trials, stimuli = read_part(context.inputs["trials"], "training")
    first = trainings(s)[0]
    task = task_of_training(first, s, trials, stimuli)
    net = network_of(first, s, graph, task)
    net = net.with_params(nest_params(read_arrays(context.inputs["train"] / "parameters.npz")))
    connectome, spec, network = spec_of(net, graph)
    told = {
        "trained": {"network": first.control, "seed": first.seed},
        "task": {"kind": "observed", "settings": asdict(task)},
        "readout": json.loads((context.inputs["train"] / "readout.json").read_text(encoding="utf-8")),
    }
    export(Model(network, connectome, spec, dict(context.provenance) | told), context.out / "model", format="bundle")
