"""Neuron models against Brian2 2.9 under five frozen currents (values and conventions: scripts/brian2_neurons.py).

Conventions. Brian2 stamps a spike with the start of its step, these with the end: steps are compared. Brian2 counts
the step of the spike as refractory, so that its `refractory` is t_ref + dt. A neuron that is held in the refractory
period keeps its other variables going in both. With the same method and step, spikes are the same to the step.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connectofit.sim import ALIF, GIF, LIF, QIF, AdEx, ExpIF, HodgkinHuxley, Izhikevich, TraubMiles, WangBuzsaki

VALUES = np.load(Path(__file__).parent / "values" / "brian2_neurons.npz")
CURRENTS = ("constant", "step", "ramp", "sine", "noise")
WAVES = VALUES["waves"].astype(np.float64)
TWO_CURRENTS = {"a_per_ms": 0.005, "r_1": 0.0, "a_1_pA": 200.0, "r_2": 0.5, "a_2_pA": -150.0}

# name, model, parameters that differ from the defaults, dt in ms, currents in pA, steps that a spike may be off by
RUNS = [
    ("lif", LIF(), {"v_reset_mV": -65.0}, 0.1, (250.0, 45.0), 0),
    ("alif", ALIF(), {"v_reset_mV": -68.0, "tau_a_ms": 100.0, "beta_mV": 2.0}, 0.1, (250.0, 45.0), 0),
    ("gif", GIF(), TWO_CURRENTS, 0.1, (2500.0, 250.0), 0),
    ("exp_if", ExpIF(), {"v_peak_mV": -40.0}, 0.05, (60.0, 4.0), 0),
    ("adex", AdEx(), {"v_peak_mV": -40.0}, 0.05, (800.0, 150.0), 0),
    ("adex_euler", AdEx(method="euler"), {"v_peak_mV": -40.0, "t_ref_ms": 2.0}, 0.05, (800.0, 150.0), 0),
    ("qif", QIF(), {}, 0.05, (60.0, 10.0), 0),
    ("izhikevich", Izhikevich(), {}, 0.1, (10.0, 1.0), 0),
    ("izhikevich_rk4", Izhikevich(method="rk4"), {}, 0.1, (10.0, 1.0), 0),
    ("hodgkin_huxley", HodgkinHuxley(method="exponential_euler"), {}, 0.025, (1000.0, 60.0), 0),
    ("hodgkin_huxley_rk4", HodgkinHuxley(method="rk4"), {}, 0.025, (1000.0, 60.0), 0),
    ("traub_miles", TraubMiles(method="exponential_euler"), {}, 0.025, (400.0, 6.0), 0),
    ("wang_buzsaki", WangBuzsaki(method="rk4"), {}, 0.025, (100.0, 4.0), 0),
]


@pytest.mark.few(6)
@pytest.mark.parametrize(("name", "model", "params", "dt_ms", "amplitudes", "steps"), RUNS, ids=[r[0] for r in RUNS])
def test_spike_times_and_subthreshold_voltages_are_brian2s(
    drive_neurons, name, model, params, dt_ms, amplitudes, steps
):
    held = round(0.1 / dt_ms)
    currents = np.repeat(np.concatenate([a * WAVES for a in amplitudes], axis=1), held, axis=0)
    out = drive_neurons(model, currents, dt_ms, params)
    for k, current in enumerate(CURRENTS):
        theirs, ours = VALUES[f"{name}/{current}/steps"], np.flatnonzero(out["spikes"][:, k])
        assert len(ours) == len(theirs) > 2, current
        np.testing.assert_allclose(ours, theirs, atol=steps, rtol=0, err_msg=current)
    assert not out["spikes"][:, 5:].any()
    every = round(2.0 / dt_ms)
    # Brian2's voltages are stored in float32, to 4e-6 mV.
    np.testing.assert_allclose(out["v_mV"][every - 1 :: every, 5:], VALUES[f"{name}/v"], atol=1e-5, rtol=0)
