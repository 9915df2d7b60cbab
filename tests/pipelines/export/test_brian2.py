"""Networks exported to Brian2: what it runs there is what runs here, and what it cannot run is refused.

The runs need Brian2 2.9: CONNECTOFIT_BRIAN2_PYTHON names a Python that has it.
"""

from __future__ import annotations

import ast
import json

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import PoissonPulses, Sine, Step, WhiteNoise, simulate

NAMES = (
    "exponential",
    "alpha",
    "delta",
    "exponential_conductance",
    "alpha_conductance",
    "glif1",
    "glif2",
    "glif3",
    "glif4",
)
BRIAN2 = "CONNECTOFIT_BRIAN2_PYTHON"
NUMPY = ("--target", "numpy")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_spikes_of_an_exported_network_are_ours_within_a_step(
    network, interpreter, our_spikes, their_spikes, within_a_step, tmp_path, name
):
    python = interpreter(BRIAN2)
    model, stimuli = network(name)
    folder = export(model, tmp_path / "brian2", format="brian2", duration_ms=200.0, stimuli=stimuli)
    within_a_step(our_spikes(model, stimuli), their_spikes(python, folder, *NUMPY))


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_glif_neurons_of_every_level_fire_as_here_with_mixed_synapses(
    spiking, interpreter, our_spikes, their_spikes, within_a_step, tmp_path, level
):
    python = interpreter(BRIAN2)
    rule = {"name": "cells", "model": f"glif{level}", "params": {"i_bias_pA": 50.0}}
    edges = [
        {"name": "excites", "synapse": "dual_exponential", "where": "sign == 1", "gain": 8.0, "delay_ms": 1.0},
        {
            "name": "inhibits",
            "synapse": "exponential_conductance",
            "where": "sign == -1",
            "gain": 0.3,
            "delay_ms": 2.0,
            "params": {"e_rev_mV": -85.0},
        },
    ]
    model = spiking([rule], edges, {"e": 4, "i": 2}, probability=0.5, signs={"i": -1})
    stimuli = [Step("e0", 250.0, 0.0, 150.0), WhiteNoise("e1", 400.0, mean=250.0), PoissonPulses("e2", 900.0, 900.0)]
    stimuli += [Sine(None, 60.0, 7.0, offset=120.0)]
    folder = export(model, tmp_path / "brian2", format="brian2", duration_ms=200.0, stimuli=stimuli)
    within_a_step(our_spikes(model, stimuli), their_spikes(python, folder, *NUMPY), least=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exponential", "alpha", "dual_exponential"])
def test_synapses_that_spikes_set_to_0_do_so_there(
    network, spiking, interpreter, our_spikes, their_spikes, within_a_step, tmp_path, kind
):
    python = interpreter(BRIAN2)
    cells = {"name": "cells", "model": "lif", "params": {"t_ref_ms": 2.2}}
    edges = [{"name": "excites", "synapse": kind, "gain": 40.0, "delay_ms": 1.8}]
    found = {}
    for cleared in (True, False):
        rules = [{**cells, "settings": {"clears_synapses": cleared}}]
        model = spiking(rules, edges, {"e": 12}, probability=0.3)
        stimuli = [Sine(None, 60.0, 7.0, offset=165.0)]
        folder = export(model, tmp_path / str(cleared), format="brian2", duration_ms=200.0, stimuli=stimuli)
        found[cleared] = our_spikes(model, stimuli)
        within_a_step(found[cleared], their_spikes(python, folder, *NUMPY))
    assert any(len(found[True][i]) != len(found[False][i]) for i in found[True])


@pytest.mark.slow
def test_poisson_sources_drive_as_here_statistically(spiking, interpreter, their_spikes, tmp_path):
    python = interpreter(BRIAN2)
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'"}
    noise = {"name": "noise", "model": "poisson_source", "where": "kind_of == 'p'", "params": {"rate_Hz": 40.0}}
    edges = [{"name": "excites", "synapse": "exponential", "gain": 30.0, "delay_ms": 1.0}]
    model = spiking([cells, noise], edges, {"e": 50, "p": 50}, onto=("e",))
    folder = export(model, tmp_path / "brian2", format="brian2", duration_ms=2000.0)
    theirs = their_spikes(python, folder, "--seed", "5", *NUMPY)
    ours = simulate(model.network, duration_ms=2000.0, dt_ms=0.1, record=["spikes"], seed=5).rates_Hz()
    rates = {i: len(train) / 2.0 for i, train in theirs.items()}
    for kind, tolerance in (("p", 0.06), ("e", 0.15)):  # about three standard errors of both
        mine = np.mean([ours[i] for i in rates if i.startswith(kind)])
        assert mine > 5.0
        assert np.mean([rates[i] for i in rates if i.startswith(kind)]) == pytest.approx(mine, rel=tolerance)


def test_an_exported_folder_is_a_program_equations_and_plain_arrays(network, tmp_path):
    model, stimuli = network("exponential")
    folder = export(model, tmp_path / "brian2", format="brian2", duration_ms=50.0, stimuli=stimuli)
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "network.json", "run.py"]
    tree = ast.parse((folder / "run.py").read_text())
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"argparse", "json", "brian2", "numpy"}
    facts = json.loads((folder / "network.json").read_text())
    assert facts["populations"][0]["equations"][0] == (
        "dv/dt = (v_rest_mV - v + r_m_GOhm*(i_bias_pA + given + y_0 + y_2 + y_4)) / tau_m_ms : volt (unless refractory)"
    )
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        # Brian2 counts the step of the spike: 1.26 ms are 13 steps of 0.1 ms, and one more.
        np.testing.assert_allclose(arrays["population/1/parameters/refractory_period"], 1.4)
        weights = np.concatenate([arrays[f"projection/{k}/weight"] for k in range(len(facts["projections"]))])
    effective = model.tables()[1].column("model.weight").to_numpy()
    np.testing.assert_allclose(np.sort(weights), np.sort(effective[~np.isnan(effective)]), rtol=1e-12)


def test_names_of_populations_and_projections_are_no_code(spiking, tmp_path):
    evil = "x'; import os; '"
    edges = [{"name": "__import__('os')", "synapse": "exponential", "delay_ms": 1.0}]
    model = spiking([{"name": evil, "model": "lif"}], edges, {"e": 4}, probability=0.5)
    for name in ("brian2", "nest"):
        folder = export(model, tmp_path / name, format=name, duration_ms=1.0)
        facts = json.loads((folder / "network.json").read_text())
        assert facts["populations"][0]["name"] == evil
        assert "import os" not in (folder / "run.py").read_text()
        texts = [facts["populations"][0].get("equations", ""), facts["projections"][0].get("on_spike", "")]
        assert "import" not in str(texts)


LIF = {"name": "cells", "model": "lif"}
EXPONENTIAL = {"name": "excites", "synapse": "exponential", "delay_ms": 1.0}
REFUSED = {
    "noise": ([{**LIF, "params": {"noise_mV": 1.0}}], [EXPONENTIAL], "noise in its membrane"),
    "other neurons": ([{"name": "cells", "model": "izhikevich"}], [EXPONENTIAL], "is izhikevich, and Brian2 takes lif"),
    "plasticity": ([LIF], [{**EXPONENTIAL, "plasticity": "tsodyks_markram"}], "learn"),
    "nmda": ([LIF], [{**EXPONENTIAL, "synapse": "nmda"}], "is nmda"),
    "kept jumps": (
        [{**LIF, "settings": {"refractory_input": "keep"}}],
        [{**EXPONENTIAL, "synapse": "delta"}],
        "keeps the jumps",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_brian2_cannot_express_is_refused_with_the_reason(spiking, tmp_path, case):
    neurons, edges, reason = REFUSED[case]
    model = spiking(neurons, edges, {"e": 8}, probability=0.5)
    with pytest.raises(SettingError, match=reason):
        export(model, tmp_path / "brian2", format="brian2")
    assert not list(tmp_path.iterdir())
