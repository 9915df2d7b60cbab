"""Networks exported to NEST: what it runs there is what runs here, and what it cannot run is refused.

The runs need NEST 3.10: CONNECTOFIT_NEST_PYTHON names a Python that has it.
"""

from __future__ import annotations

import ast
import json

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import PoissonPulses, SpikeTrains, Step, WhiteNoise, simulate

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
NEST = "CONNECTOFIT_NEST_PYTHON"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_spikes_of_an_exported_network_are_ours_within_a_step(
    network, interpreter, our_spikes, their_spikes, within_a_step, tmp_path, name
):
    python = interpreter(NEST)
    model, stimuli = network(name)
    folder = export(model, tmp_path / "nest", format="nest", duration_ms=200.0, stimuli=stimuli)
    within_a_step(our_spikes(model, stimuli), their_spikes(python, folder))


@pytest.mark.slow
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_glif_neurons_under_given_and_random_currents_fire_as_here(
    spiking, interpreter, our_spikes, their_spikes, within_a_step, tmp_path, level
):
    python = interpreter(NEST)
    rule = {"name": "cells", "model": f"glif{level}", "params": {"i_bias_pA": 50.0}}
    model = spiking([rule], [], {"e": 3}, probability=1.0)
    stimuli = [Step("e0", 250.0, 0.0, 150.0), WhiteNoise("e1", 400.0, mean=250.0), PoissonPulses("e2", 900.0, 900.0)]
    folder = export(model, tmp_path / "nest", format="nest", duration_ms=200.0, stimuli=stimuli)
    within_a_step(our_spikes(model, stimuli), their_spikes(python, folder), least=2.0)


@pytest.mark.slow
def test_jumps_in_the_refractory_period_are_kept_where_they_are_here(
    spiking, interpreter, our_spikes, their_spikes, within_a_step, tmp_path
):
    python = interpreter(NEST)
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'", "params": {"t_ref_ms": 4.0}}
    pulses = {"name": "given", "model": "spike_source", "where": "kind_of == 's'"}
    edges = [{"name": "excites", "synapse": "delta", "gain": 1.0, "delay_ms": 0.1}]
    times = [np.arange(1.0, 190.0, 0.7 + 0.1 * k) for k in range(3)]
    found = {}
    for setting in ("keep", "drop"):
        rules = [{**cells, "settings": {"refractory_input": setting}}, pulses]
        model = spiking(rules, edges, {"e": 3, "s": 3}, probability=0.8, onto=("e",))
        stimuli = [SpikeTrains(["s3", "s4", "s5"], times)]
        folder = export(model, tmp_path / setting, format="nest", duration_ms=200.0, stimuli=stimuli)
        found[setting] = our_spikes(model, stimuli)
        within_a_step(found[setting], their_spikes(python, folder))
    assert any(len(found["keep"][i]) != len(found["drop"][i]) for i in found["keep"])


@pytest.mark.slow
def test_poisson_sources_drive_as_here_statistically(spiking, interpreter, their_spikes, tmp_path):
    python = interpreter(NEST)
    cells = {"name": "cells", "model": "lif", "where": "kind_of == 'e'"}
    noise = {"name": "noise", "model": "poisson_source", "where": "kind_of == 'p'", "params": {"rate_Hz": 40.0}}
    edges = [{"name": "excites", "synapse": "exponential", "gain": 30.0, "delay_ms": 1.0}]
    model = spiking([cells, noise], edges, {"e": 50, "p": 50}, onto=("e",))
    folder = export(model, tmp_path / "nest", format="nest", duration_ms=2000.0)
    theirs = their_spikes(python, folder, "--seed", "5")
    ours = simulate(model.network, duration_ms=2000.0, dt_ms=0.1, record=["spikes"], seed=5).rates_Hz()
    rates = {i: len(train) / 2.0 for i, train in theirs.items()}
    for kind, tolerance in (("p", 0.06), ("e", 0.15)):  # about three standard errors of both
        mine = np.mean([ours[i] for i in rates if i.startswith(kind)])
        assert mine > 5.0
        assert np.mean([rates[i] for i in rates if i.startswith(kind)]) == pytest.approx(mine, rel=tolerance)
    # All targets of a source get the same spikes: a source's trains would otherwise differ between its targets.
    assert rates["p50"] > 0


def test_an_exported_folder_is_a_program_and_plain_arrays(network, tmp_path):
    model, stimuli = network("exponential")
    folder = export(model, tmp_path / "nest", format="nest", duration_ms=50.0, stimuli=stimuli)
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "network.json", "run.py"]
    tree = ast.parse((folder / "run.py").read_text())
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert imported == {"argparse", "json", "nest", "numpy"}
    facts = json.loads((folder / "network.json").read_text())
    assert (facts["dt_ms"], facts["n_steps"]) == (0.1, 500)
    assert [p["name"] for p in facts["populations"]] == ["exc", "inh", "given"]
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        # 18 and 10 ms over 0.1 GOhm, in turns; 1.26 ms are 13 steps of 0.1 ms.
        np.testing.assert_allclose(arrays["population/0/params/C_m"][:2], [180.0, 100.0])
        np.testing.assert_allclose(arrays["population/1/params/t_ref"], 1.3)
        weights = np.concatenate([arrays[f"projection/{k}/weight"] for k in range(len(facts["projections"]))])
    effective = model.tables()[1].column("model.weight").to_numpy()
    np.testing.assert_allclose(np.sort(weights), np.sort(effective[~np.isnan(effective)]), rtol=1e-12)


LIF = {"name": "cells", "model": "lif"}
EXPONENTIAL = {"name": "excites", "synapse": "exponential", "delay_ms": 1.0}
REFUSED = {
    "noise": ([{**LIF, "params": {"noise_mV": 1.0}}], [EXPONENTIAL], "noise in its membrane"),
    "other neurons": ([{"name": "cells", "model": "adex"}], [EXPONENTIAL], "is adex, and NEST takes lif"),
    "cleared synapses": ([{**LIF, "settings": {"clears_synapses": True}}], [EXPONENTIAL], "set its synapses to 0"),
    "plasticity": ([LIF], [{**EXPONENTIAL, "plasticity": "tsodyks_markram"}], "learn"),
    "nmda": ([LIF], [{**EXPONENTIAL, "synapse": "nmda"}], "is nmda"),
    "level 5": ([{"name": "cells", "model": "glif5"}], [{**EXPONENTIAL, "synapse": "alpha"}], "follows synaptic input"),
    "exponential onto glif": ([{"name": "cells", "model": "glif1"}], [EXPONENTIAL], "glif_psc has alpha ones"),
    "mixtures": (
        [LIF],
        [{**EXPONENTIAL, "where": "count < 3"}, {**EXPONENTIAL, "name": "b", "where": "count > 2", "synapse": "delta"}],
        "no model of NEST takes all synapses",
    ),
    "equal time constants": (
        [{**LIF, "params": {"tau_m_ms": 5.0}}],
        [{**EXPONENTIAL, "params": {"tau_syn_ms": 5.0}}],
        "differ from that of the membrane",
    ),
    "refractory periods that are rounded down": (
        [{"name": "cells", "model": "glif2", "params": {"t_ref_ms": 3.72}}],
        [{**EXPONENTIAL, "synapse": "alpha"}],
        "rounded down to steps",
    ),
    "resets above the threshold": ([{**LIF, "params": {"v_reset_mV": -50.0}}], [EXPONENTIAL], "not below"),
    "three receptors": (
        [LIF],
        [
            {
                "name": f"kind {k}",
                "synapse": "exponential_conductance",
                "delay_ms": 1.0,
                "where": where,
                "params": {"e_rev_mV": 10.0 * k},
            }
            for k, where in enumerate(("count < 2", "count == 2", "count > 2"))
        ],
        "has 3 kinds of receptors",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_nest_cannot_express_is_refused_with_the_reason(spiking, tmp_path, case):
    neurons, edges, reason = REFUSED[case]
    model = spiking(neurons, edges, {"e": 8}, probability=0.5)
    with pytest.raises(SettingError, match=reason):
        export(model, tmp_path / "nest", format="nest")
    assert not list(tmp_path.iterdir())


def test_stimuli_onto_poisson_sources_and_too_long_runs_are_refused(spiking, tmp_path):
    noise = {"name": "noise", "model": "poisson_source"}
    model = spiking([noise], [], {"p": 3}, probability=1.0)
    with pytest.raises(SettingError, match="changes the rate"):
        export(model, tmp_path / "nest", format="nest", stimuli=[Step(None, 5.0)])
    with pytest.raises(SettingError, match="too many to write down"):
        export(model, tmp_path / "nest", format="nest", stimuli=[Step(None, 5.0)], duration_ms=1e7)
    for wrong in ({"duration_ms": 0.0}, {"duration_ms": 0.05}, {"seed": 0.5}, {"stimuli": ["step"]}, {"dt_ms": -1.0}):
        with pytest.raises(SettingError):
            export(model, tmp_path / "nest", format="nest", **wrong)
    assert not list(tmp_path.iterdir())
