"""A network that was written as SONATA and read again fires when the first one did."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.builders import build, read_sonata_circuit
from connectofit.pipelines import Model
from connectofit.pipelines.export import export
from connectofit.sim import SpikeTrains

pytest.importorskip("h5py", reason="h5py is not installed")

OTHERS = ("alpha", "delta", "exponential_conductance", "alpha_conductance", "glif1", "glif2", "glif4")


@pytest.mark.parametrize("name", ["exponential", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_spikes_are_the_same_after_the_way_out_and_in(network, our_spikes, within_a_step, tmp_path, name):
    model, stimuli = network(name)
    rng = np.random.default_rng(4)
    times = [np.sort(rng.uniform(0.0, 200.0, 400)) for _ in stimuli[-1].times_ms]
    if "exc" in model.network.params:  # sources alone drive the circuit: currents are no part of SONATA's folder
        strong = {"exc": {"i_bias_pA": np.full(2, 200.0)}}
        model = Model(model.network.with_params(strong), model.connectome, model.spec)
    given = SpikeTrains(stimuli[-1].neurons, times)
    folder = export(model, tmp_path / "sonata", format="sonata", duration_ms=200.0, stimuli=[given])
    connectome, spec, report = read_sonata_circuit(folder / "circuit_config.json")
    assert [finding for finding in report.findings if finding.severity == "warning"] == []
    back = Model(build(connectome, spec), connectome, spec)
    table = connectome.neurons
    original = dict(zip(table.column("id").to_pylist(), table.column("original_id").to_pylist(), strict=True))
    new = {old: new for new, old in original.items()}
    assert set(new) == set(model.network.ids)
    first = our_spikes(model, [given])
    second = our_spikes(back, [SpikeTrains([new[i] for i in given.neurons], times)])
    cells = [i for i in first if not str(i).startswith("s")]
    assert sum(len(first[i]) for i in cells) > 20
    within_a_step({i: first[i] for i in cells}, {i: second[new[i]] for i in cells})
