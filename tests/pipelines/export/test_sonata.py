"""SONATA folders: what stands in them, what libsonata and bluepysnap read, and what BMTK runs.

CONNECTOFIT_SONATA_PYTHON names a Python that has libsonata, bluepysnap, BMTK and NEST; CONNECTOFIT_NEST_HDF5_PYTHON one
that has NEST built with HDF5 (from source: that of PyPI is built without).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import SpikeTrains, Step

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
SCRIPTS = Path(__file__).parent / "scripts"
PYTHON = "CONNECTOFIT_SONATA_PYTHON"
NEST_PYTHON = "CONNECTOFIT_NEST_HDF5_PYTHON"
NAMES = ("exponential", "alpha", "delta", "exponential_conductance", "alpha_conductance", "glif1", "glif4")


@pytest.fixture
def driven(network):
    """driven(name): the network of that name, driven by its sources of spikes alone."""

    def make(name):
        model, stimuli = network(name)
        trains = stimuli[-1]
        rng = np.random.default_rng(4)
        times = [np.sort(rng.uniform(0.0, 200.0, 400)) for _ in trains.times_ms]
        strong = {"exc": {"i_bias_pA": np.full(2, 200.0)}} if "exc" in model.network.params else {}
        changed = type(model)(model.network.with_params(strong), model.connectome, model.spec)
        return changed, [SpikeTrains(trains.neurons, times)]

    return make


def spikes_of(times_ms: np.ndarray) -> int:
    """How many spikes a source makes of these events: at most one in a step of 0.1 ms."""
    return len(np.unique(np.floor(times_ms / 0.1)))


def run(python: Path, script: str, folder: Path, out: Path) -> dict[str, np.ndarray]:
    command = [str(python), str(SCRIPTS / script), str(folder), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("variable", "script"), [(PYTHON, "run_bmtk.py"), (NEST_PYTHON, "run_sonata_in_nest.py")])
def test_bmtk_and_nests_reader_run_an_exported_network_with_our_spikes_within_a_step(
    driven, interpreter, our_spikes, within_a_step, tmp_path, name, variable, script
):
    python = interpreter(variable)
    model, stimuli = driven(name)
    folder = export(model, tmp_path / "sonata", format="sonata", duration_ms=200.0, stimuli=stimuli)
    spikes = run(python, script, folder, tmp_path / "spikes.npz")
    ours = our_spikes(model, stimuli)
    steps = np.rint(spikes["time_ms"] / 0.1).astype(int)
    theirs = {}
    for population in model.network.populations:
        for k, i in enumerate(population.ids):
            theirs[i] = np.sort(steps[(spikes["population"] == population.name) & (spikes["node"] == k)])
    cells = [i for i in ours if not str(i).startswith("s")]
    within_a_step({i: ours[i] for i in cells}, {i: theirs[i] for i in cells})
    assert spikes.get("edges", model.network.n_edges) == model.network.n_edges


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exponential", "glif4"])
def test_libsonata_and_bluepysnap_read_the_same_graph(driven, interpreter, tmp_path, name):
    python = interpreter(PYTHON)
    model, stimuli = driven(name)
    folder = export(model, tmp_path / "sonata", format="sonata", duration_ms=200.0, stimuli=stimuli)
    found = run(python, "read_sonata.py", folder, tmp_path / "read.npz")
    assert found["nodes"].tolist() == found["snap_nodes"].tolist()
    assert sorted(found["nodes"].tolist()) == sorted(str(i) for i in model.network.ids)
    rows = model.tables()[1].to_pylist()
    expected = sorted((r["pre"], r["post"], r["model.weight"]) for r in rows if r["model.weight"] is not None)
    triples = zip(found["pre"].tolist(), found["post"].tolist(), found["weight"].tolist(), strict=True)
    by_libsonata = sorted(triples)
    assert [each[:2] for each in by_libsonata] == [each[:2] for each in expected]
    np.testing.assert_allclose([each[2] for each in by_libsonata], [each[2] for each in expected], rtol=1e-6)
    assert int(found["snap_edges"]) == len(expected)
    assert bool(found["indices_agree"])
    assert int(found["input_spikes"]) == sum(map(spikes_of, stimuli[0].times_ms))


@pytest.mark.slow
def test_nests_reader_makes_the_neurons_and_the_specifications_of_the_edges(driven, interpreter, tmp_path):
    # NEST from PyPI is built without HDF5, which its reader of edges needs; what it does in Python runs.
    python = interpreter(PYTHON)
    model, stimuli = driven("exponential")
    folder = export(model, tmp_path / "sonata", format="sonata", duration_ms=200.0, stimuli=stimuli)
    found = run(python, "read_in_nest.py", folder, tmp_path / "read.npz")
    assert found["exc"].tolist() == [180.0, 100.0] * 8
    assert found["inh"].tolist() == [200.0] * 8
    assert found["given"].tolist() == list(map(spikes_of, stimuli[0].times_ms))
    assert found["edges"].tolist() == ["static_synapse"] * len(model.network.projections)


def test_files_hold_weights_delays_indices_and_types(driven, tmp_path):
    model, stimuli = driven("exponential")
    folder = export(model, tmp_path / "sonata", format="sonata", duration_ms=200.0, stimuli=stimuli)
    circuit = json.loads((folder / "circuit_config.json").read_text())
    weights, delays = [], []
    for entry in circuit["networks"]["edges"]:
        with h5py.File(folder / entry["edges_file"]) as file:
            (name,) = entry["populations"]
            group = file[f"edges/{name}"]
            projection = model.network.projection(name)
            assert group["source_node_id"].attrs["node_population"] == projection.pre
            assert group["target_node_id"].attrs["node_population"] == projection.post
            source = group["source_node_id"][:]
            for end, ids in (("source_to_target", source), ("target_to_source", group["target_node_id"][:])):
                ranges = group[f"indices/{end}/node_id_to_ranges"][:]
                edges = group[f"indices/{end}/range_to_edge_id"][:]
                for node, (first, last) in enumerate(ranges.astype(int)):
                    listed = [e for a, b in edges[first:last].astype(int) for e in range(a, b)]
                    assert sorted(listed) == np.flatnonzero(ids == node).tolist()
            weights.append(group["0/syn_weight"][:])
            delays.append(group["0/delay"][:])
    table = model.tables()[1].to_pandas()
    table = table[table["model.weight"].notna()]
    np.testing.assert_allclose(np.sort(np.concatenate(weights)), np.sort(table["model.weight"]), rtol=1e-12)
    expected = np.where(table["sign"] == 1, table["delay_ms"], 1.5)
    np.testing.assert_allclose(np.sort(np.concatenate(delays)), np.sort(expected))
    lines = (folder / "network/node_types_0.csv").read_text().splitlines()
    assert lines[0].split() == ["node_type_id", "model_type", "model_template", "dynamics_params", "pop_name"]
    assert len(lines) == 1 + 2  # two time constants
    capacities = set()
    for line in lines[1:]:
        assert line.split()[2] == "nest:iaf_psc_exp"
        params = json.loads((folder / "components/cell_models" / line.split()[3]).read_text())
        capacities.add(round(params["C_m"], 9))
    assert capacities == {180.0, 100.0}


def test_integer_ids_are_exact(tmp_path):
    import pandas as pd

    from connectofit.builders import ModelSpec, build
    from connectofit.connectome import read_connectome
    from connectofit.pipelines import Model

    ids = [2**60 + 1, 2**60 + 2, 5]
    edges = pd.DataFrame({"pre": ids[:2], "post": ids[1:], "count": [1, 1], "sign": [1, 1]})
    connectome, _ = read_connectome(edges, pd.DataFrame({"id": ids}))
    rules = {"neurons": [{"name": "cells", "model": "lif"}]}
    rules["edges"] = [{"name": "excites", "synapse": "exponential", "delay_ms": 1.0}]
    spec = ModelSpec.from_dict(rules)
    folder = export(Model(build(connectome, spec), connectome, spec), tmp_path / "sonata", format="sonata")
    with h5py.File(folder / "network/nodes_0.h5") as file:
        assert sorted(file["nodes/cells/0/original_id"][:].tolist()) == sorted(ids)


@pytest.mark.parametrize(
    ("neurons", "edge", "stimuli", "reason"),
    [
        ({"name": "cells", "model": "lif"}, {}, [Step(None, 5.0)], "only given spikes"),
        ({"name": "cells", "model": "lif", "params": {"noise_mV": 1.0}}, {}, [], "noise in its membrane"),
        ({"name": "a/b", "model": "lif"}, {}, [], "parts groups in HDF5"),
        (
            {"name": "cells", "model": "glif1", "params": {"i_bias_pA": 5.0}},
            {"synapse": "alpha"},
            [],
            "has a constant current",
        ),
    ],
)
def test_what_sonata_cannot_hold_is_refused_with_the_reason(spiking, tmp_path, neurons, edge, stimuli, reason):
    edges = [{"name": "excites", "synapse": "exponential", "delay_ms": 1.0, **edge}]
    model = spiking([neurons], edges, {"e": 6}, probability=0.5)
    with pytest.raises(SettingError, match=reason):
        export(model, tmp_path / "sonata", format="sonata", stimuli=stimuli)
    assert not list(tmp_path.iterdir())


def test_poisson_sources_are_refused(spiking, tmp_path):
    model = spiking([{"name": "noise", "model": "poisson_source"}], [], {"p": 3}, probability=1.0)
    with pytest.raises(SettingError, match="Poisson sources"):
        export(model, tmp_path / "sonata", format="sonata")
