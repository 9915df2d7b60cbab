"""Neuron models against NEST 3.10 under five frozen currents (values and conventions: scripts/nest_neurons.py).

Conventions. The same in both: a spike is stamped with the end of its step; V recorded at t is that after the step that
ends at t; the neuron is refractory for t_ref / dt steps after that of the spike. NEST's generators act a step late, the
time that an event takes, which the script takes out. NEST's Hodgkin-Huxley neurons stamp a spike with the maximum of V,
these with its upward crossing of a voltage: NEST's crossings are compared. NEST's AdEx resets V within a step, which
makes no difference where a refractory period follows: it ends with a step in both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connectofit.sim import GLIF1, GLIF2, GLIF3, GLIF4, GLIF5, LIF, AdEx, HodgkinHuxley, Izhikevich, TraubMiles

VALUES = np.load(Path(__file__).parent / "values" / "nest_neurons.npz")
CURRENTS = ("constant", "step", "ramp", "sine", "noise")
WAVES = VALUES["waves"].astype(np.float64)
SECOND_CURRENT = {"t_ref_ms": 3.0, "asc_1_fraction": 0.8}
LIF_PARAMS = {"v_reset_mV": -65.0}

# name, model, parameters that differ from the defaults, dt in ms, currents in pA, steps that a spike may be off by
RUNS = [
    ("lif", LIF(), LIF_PARAMS, 0.1, (250.0, 45.0), 0),
    ("glif1", GLIF1(), {"t_ref_ms": 3.0}, 0.1, (400.0, 70.0), 0),
    ("glif2", GLIF2(), {"t_ref_ms": 3.0}, 0.1, (400.0, 70.0), 0),
    ("glif3", GLIF3(), SECOND_CURRENT, 0.1, (400.0, 70.0), 1),
    ("glif4", GLIF4(), SECOND_CURRENT, 0.1, (400.0, 70.0), 1),
    ("glif5", GLIF5(), SECOND_CURRENT, 0.1, (400.0, 70.0), 1),
    ("adex", AdEx(), {"v_reset_mV": -60.0, "t_ref_ms": 2.0}, 0.025, (1500.0, 150.0), 0),
    ("izhikevich", Izhikevich(), {}, 0.1, (10.0, 1.0), 0),
    ("izhikevich_half_steps", Izhikevich(method="half_steps"), {}, 0.1, (10.0, 1.0), 0),
    ("hodgkin_huxley", HodgkinHuxley(method="rk4"), {"e_leak_mV": -54.402}, 0.025, (1000.0, 60.0), 1),
    ("traub_miles", TraubMiles(method="rk4"), {}, 0.025, (400.0, 6.0), 1),
]


@pytest.mark.few(5)
@pytest.mark.parametrize(("name", "model", "params", "dt_ms", "amplitudes", "steps"), RUNS, ids=[r[0] for r in RUNS])
def test_spike_times_and_subthreshold_voltages_are_nests(drive_neurons, name, model, params, dt_ms, amplitudes, steps):
    held = round(0.1 / dt_ms)
    currents = np.repeat(np.concatenate([a * WAVES for a in amplitudes], axis=1), held, axis=0)
    out = drive_neurons(model, currents, dt_ms, params)
    for k, current in enumerate(CURRENTS):
        key = f"{name}/{current}/crossings"
        theirs = np.round(VALUES[key if key in VALUES else f"{name}/{current}/spikes"] / dt_ms) - 1
        ours = np.flatnonzero(out["spikes"][:, k])
        assert len(ours) == len(theirs) > 3, current
        np.testing.assert_allclose(ours, theirs, atol=steps, rtol=0, err_msg=current)
    assert not out["spikes"][:, 5:].any()
    every = round(2.0 / dt_ms)
    # NEST's voltages are stored in float32, to 4e-6 mV.
    np.testing.assert_allclose(out["v_mV"][every - 1 :: every, 5:], VALUES[f"{name}/v"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("keep", [False, True])
def test_jumps_in_the_refractory_period_are_lost_or_kept_as_in_nest(drive_neurons, keep):
    jumps = np.zeros((600, 1))
    # A spike sent at t arrives at t + 0.1 ms, at the end of the step before.
    jumps[np.round((1.0 + 0.7 * np.arange(80) + 0.1) / 0.1).astype(int)[:83] - 1] = 3.0
    model = LIF(refractory_input="keep" if keep else "drop")
    out = drive_neurons(model, np.zeros((600, 1)), 0.1, LIF_PARAMS | {"t_ref_ms": 4.0}, jumps=jumps)
    spikes = np.flatnonzero(out["spikes"][:, 0])
    np.testing.assert_array_equal(spikes, np.round(VALUES[f"refractory_jumps/{keep}/spikes"] / 0.1) - 1)
    # In the refractory period NEST keeps the jumps beside V, and here V shows them.
    resting = np.zeros(600, bool)
    for step in spikes:
        resting[step + 1 : step + 41] = True
    theirs = VALUES[f"refractory_jumps/{keep}/v"]
    np.testing.assert_allclose(out["v_mV"][~resting, 0], theirs[~resting], atol=1e-5, rtol=0)
    if not keep:
        np.testing.assert_array_equal(out["v_mV"][resting, 0], -65.0)
