"""Neuron models against closed forms, quadrature and independent integrators, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq

from connectofit.sim import (
    ALIF,
    GIF,
    GLIF4,
    GLIF5,
    QIF,
    AdEx,
    ExpIF,
    Izhikevich,
    RateUnit,
)
from connectofit.sim.neurons.base import Drive, first_moment
from connectofit.sim.neurons.linear import relative_expm1


def defaults(model, **changes) -> dict[str, float]:
    return {name: parameter.default for name, parameter in model.parameters.items()} | changes


def constant(currents, duration_ms: float, dt_ms: float) -> np.ndarray:
    return np.tile(np.asarray(currents, float), (round(duration_ms / dt_ms), 1))


# --- linear models ---------------------------------------------------------------------------------------------------


def test_adaptive_threshold_is_the_sum_of_decaying_rises_at_the_spikes(drive_neurons):
    dt_ms, tau, beta = 0.1, 80.0, 2.5
    out = drive_neurons(
        ALIF(), constant([300.0], 300.0, dt_ms), dt_ms, {"tau_a_ms": tau, "beta_mV": beta}, record=("v_mV", "a_mV")
    )
    t = (np.arange(3000) + 1) * dt_ms
    times = t[out["spikes"][:, 0] > 0]
    since = t[:, None] - times
    a = np.sum(beta * np.exp(-np.maximum(since, 0) / tau) * (since >= -1e-9), axis=1)
    np.testing.assert_allclose(out["a_mV"][:, 0], a, atol=1e-11)
    # It fires where the membrane from reset, t_ref later, meets the threshold.
    v_inf, start = -70.0 + 30.0, times[3] + 2.0
    at = brentq(
        lambda x: (
            v_inf + (-70.0 - v_inf) * np.exp(-(x - start) / 20.0) + 55.0 - np.sum(beta * np.exp(-(x - times[:4]) / tau))
        ),
        start,
        start + 60.0,
    )
    assert times[4] == pytest.approx(np.ceil(at / dt_ms) * dt_ms, abs=1e-9)


def linear_gif(p, current):
    """Between spikes: V, theta, I1, I2."""

    def slopes(_, y):
        v, theta, i_1, i_2 = y
        dv = (p["v_rest_mV"] - v + p["r_m_GOhm"] * (current + i_1 + i_2)) / p["tau_m_ms"]
        dtheta = p["a_per_ms"] * (v - p["v_rest_mV"]) - p["b_per_ms"] * (theta - p["theta_inf_mV"])
        return dv, dtheta, -p["k_1_per_ms"] * i_1, -p["k_2_per_ms"] * i_2

    return slopes


def test_generalised_neuron_follows_its_equations_and_rules_over_spikes(drive_neurons):
    changes = {"a_per_ms": 0.005, "r_1": 0.3, "a_1_pA": 300.0, "r_2": 0.5, "a_2_pA": -200.0}
    p, dt_ms, current = defaults(GIF, **changes), 0.05, 1800.0
    names = ("v_mV", "theta_mV", "i_1_pA", "i_2_pA")
    out = drive_neurons(GIF(), constant([current], 120.0, dt_ms), dt_ms, changes, record=names)
    fired, ends = out["spikes"][:, 0] > 0, np.stack([out[name][:, 0] for name in names], axis=1)
    starts = np.concatenate([[[-70.0, -50.0, 0.0, 0.0]], ends[:-1]])
    after_spikes = np.flatnonzero(fired) + 1
    checked = 0
    for step in (*range(0, 2400, 100), *np.flatnonzero(fired), *after_spikes[after_spikes < 2400]):
        y = solve_ivp(linear_gif(p, current), (0, dt_ms), starts[step], rtol=1e-11, atol=1e-11).y[:, -1]
        if y[0] >= y[1]:
            y = np.array([-70.0, max(y[1], -60.0), 0.3 * y[2] + 300.0, 0.5 * y[3] - 200.0])
            checked += 1
        np.testing.assert_allclose(ends[step], y, atol=1e-7)  # theta sees the mean of the currents over the step
    assert checked >= fired.sum() > 3


def test_reset_lifts_the_threshold_of_the_generalised_neuron_to_its_bound(drive_neurons):
    out = drive_neurons(GIF(), constant([3000.0], 30.0, 0.1), 0.1, {"theta_reset_mV": -40.0}, record=("theta_mV",))
    first = np.flatnonzero(out["spikes"][:, 0])[0]
    assert out["theta_mV"][first - 1, 0] == -50.0
    assert out["theta_mV"][first, 0] == -40.0


# Mihalas & Niebur 2009, table 1: a in 1/s, A_1 / C and A_2 / C in V/s, and (duration in ms, I / C in V/s).
CAPACITANCE_PF = 1000.0
PATTERNS = {
    "tonic spiking": (0, 0, 0, [(1000, 1.5)]),
    "adaptation": (5, 0, 0, [(1000, 2.0)]),
    "phasic spiking": (5, 0, 0, [(1000, 1.5)]),
    "rebound spike": (5, 0, 0, [(750, -3.5), (250, 0.0)]),
    "spiking by hyperpolarisation": (30, 0, 0, [(1000, -1.0)]),
    "tonic bursting": (5, 10, -0.6, [(1000, 2.0)]),
    "phasic bursting": (5, 10, -0.6, [(1000, 1.5)]),
    "rebound burst": (5, 10, -0.6, [(750, -3.5), (250, 0.0)]),
    "basal bistability": (0, 8, -0.1, [(10, 5.0), (90, 0.0), (10, 5.0), (890, 0.0)]),
}


def test_generalised_neuron_fires_in_the_patterns_of_its_paper(drive_neurons):
    dt_ms = 0.1
    rows = PATTERNS.values()
    currents = np.stack([np.concatenate([np.full(round(t / dt_ms), i) for t, i in row[3]]) for row in rows], axis=1)
    a, a_1, a_2 = (np.array([row[k] for row in rows]) for k in range(3))
    values = {"a_per_ms": a * 1e-3, "a_1_pA": a_1 * CAPACITANCE_PF, "a_2_pA": a_2 * CAPACITANCE_PF}
    out = drive_neurons(GIF(), currents * CAPACITANCE_PF, dt_ms, values)
    times = {name: (np.flatnonzero(out["spikes"][:, k]) + 1) * dt_ms for k, name in enumerate(PATTERNS)}
    gaps = {name: np.diff(t) for name, t in times.items()}
    # V goes from -70 towards -40 mV and is reset at -50 mV.
    np.testing.assert_allclose(gaps["tonic spiking"], np.ceil(20.0 * np.log(3.0) / dt_ms) * dt_ms)
    assert np.all(np.diff(gaps["adaptation"]) > -dt_ms / 2)
    assert gaps["adaptation"][-1] > 1.5 * gaps["adaptation"][0]
    assert 1 <= len(times["phasic spiking"]) == np.sum(times["phasic spiking"] < 200.0)
    assert len(times["rebound spike"]) == np.sum(times["rebound spike"] > 750.0) == 1
    regular = gaps["spiking by hyperpolarisation"][1:]
    assert len(regular) > 4
    np.testing.assert_allclose(regular, regular[0], atol=2 * dt_ms)
    pauses = np.flatnonzero(gaps["tonic bursting"] > 80.0)
    assert len(pauses) > 6
    assert np.all(np.diff(pauses) >= 4)
    assert np.all(np.delete(gaps["tonic bursting"], pauses) < 15.0)
    assert 5 <= len(times["phasic bursting"]) == np.sum(times["phasic bursting"] < 60.0)
    assert 2 <= len(times["rebound burst"]) == np.sum(times["rebound burst"] > 750.0)
    between = times["basal bistability"]
    assert np.sum((between > 15.0) & (between < 100.0)) > 10  # it goes on without input
    assert between.max() < 130.0  # until the second pulse


def test_threshold_of_level_five_follows_the_voltage_as_its_equation_says(drive_neurons):
    p, dt_ms, current = defaults(GLIF5), 0.5, 150.0
    out = drive_neurons(GLIF5(), constant([current], 60.0, dt_ms), dt_ms, record=("v_mV", "theta_voltage_mV"))

    def slopes(_, y):
        dv = (-p["g_nS"] * (y[0] - p["e_l_mV"]) + current) / p["c_m_pF"]
        return dv, p["theta_voltage_index_per_ms"] * (y[0] - p["e_l_mV"]) - p["theta_voltage_decay_per_ms"] * y[1]

    t = (np.arange(120) + 1) * dt_ms
    expected = solve_ivp(slopes, (0, 60.0), (p["e_l_mV"], 0.0), t_eval=t, rtol=1e-11, atol=1e-11).y
    np.testing.assert_allclose(out["v_mV"][:, 0], expected[0], atol=1e-8)
    np.testing.assert_allclose(out["theta_voltage_mV"][:, 0], expected[1], atol=1e-8)


def test_rules_of_level_four_at_a_spike_and_standstill_for_the_refractory_period(drive_neurons):
    p, dt_ms = defaults(GLIF4), 0.25
    names = ("v_mV", "theta_spike_mV", "asc_1_pA", "asc_2_pA")
    out = drive_neurons(GLIF4(), constant([500.0], 100.0, dt_ms), dt_ms, record=names)
    spikes = np.flatnonzero(out["spikes"][:, 0])
    k = spikes[4]
    before, after = ({name: out[name][step, 0] for name in names} for step in (k - 1, k))
    assert after["v_mV"] == pytest.approx(-78.85 + 0.2 * (before["v_mV"] + 78.85) + 18.51, rel=1e-12)
    faded = before["theta_spike_mV"] * np.exp(-0.009 * (dt_ms + p["t_ref_ms"]))
    assert after["theta_spike_mV"] == pytest.approx(faded + 0.37, rel=1e-12)
    for name, rate, amount in (("asc_1_pA", 0.003, -9.18), ("asc_2_pA", 0.1, -198.94)):
        assert after[name] == pytest.approx(before[name] * np.exp(-rate * (dt_ms + p["t_ref_ms"])) + amount, rel=1e-12)
    for name in names:
        np.testing.assert_array_equal(out[name][k : k + 16, 0], after[name])  # 3.75 ms are 15 steps
        assert out[name][k + 16, 0] != after[name]


def test_propagators_are_their_integrals_on_both_sides_of_their_series():
    x = np.array([-30.0, -0.7, -0.49, -0.011, -0.0099, -1e-5, 0.0, 1e-5, 0.0099, 0.011, 0.49, 0.7, 3.0])
    with jax.enable_x64(True):
        for function, power in ((relative_expm1, 0), (first_moment, 1)):
            value, slope = jax.jit(jax.vmap(jax.value_and_grad(function)))(jnp.asarray(x))
            for k, found in enumerate((value, slope)):
                integrals = [quad(lambda u: u ** (power + k) * np.exp(z * u), 0, 1, epsabs=1e-14)[0] for z in x]  # noqa: B023
                np.testing.assert_allclose(found, integrals, rtol=1e-9)


def test_linear_neurons_integrate_decaying_and_rising_currents_exactly():
    # One step of 4 ms against an independent integrator of the same input.
    with jax.enable_x64(True):
        one = jnp.ones(1)
        for model, c, g, e in (
            (GLIF5(), 58.72, 9.43, -78.85),
            (GIF(), 1000.0, 50.0, -70.0),
            (ALIF(), 200.0, 10.0, -70.0),
        ):
            p = {k: one * v for k, v in defaults(model).items()}
            drive = Drive(30.0 * one)
            drive.add_decaying(80.0 * one, 3.0 * one)
            drive.add_rising(40.0 * one, 2.0 * one)
            state = jax.jit(lambda p, m=model, d=drive: m.step(p, m.initial(p), d, 4.0, None)[0])(p)

            def slope(t, v, c=c, g=g, e=e):
                return (-g * (v - e) + 30.0 + 80.0 * np.exp(-t / 3.0) + 40.0 * t * np.exp(-t / 2.0)) / c

            expected = solve_ivp(slope, (0, 4.0), [e], rtol=1e-12, atol=1e-12).y[0, -1]
            assert float(state["v_mV"][0]) == pytest.approx(expected, abs=1e-9)


# --- neurons with an upstroke ----------------------------------------------------------------------------------------


def test_interval_of_the_quadratic_neuron_is_the_arctangent(drive_neurons):
    dt_ms, currents = 0.02, np.array([45.0, 60.0, 150.0])
    out = drive_neurons(QIF(), constant(np.append(currents, 37.0), 600.0, dt_ms), dt_ms)
    for k, current in enumerate(currents):
        # tau dV/dt = (V + 57.5)^2 / 15 + d, with d = R I - 15 / 4.
        root = np.sqrt(15.0 * (0.1 * current - 3.75))
        interval = 10.0 * 15.0 / root * (np.arctan((20.0 + 57.5) / root) - np.arctan((-80.0 + 57.5) / root))
        measured = np.diff(np.flatnonzero(out["spikes"][:, k])) * dt_ms
        assert len(measured) > 2
        np.testing.assert_allclose(measured, interval, atol=dt_ms)  # a spike is at the end of its step
        assert np.all(measured >= interval - 1e-6)
    assert out["spikes"][:, -1].sum() == 0  # the rheobase is 37.5 pA


def test_interval_of_the_exponential_neuron_is_the_quadrature_of_its_slope(drive_neurons):
    dt_ms, currents = 0.02, np.array([20.0, 40.0, 120.0])
    out = drive_neurons(ExpIF(), constant(np.append(currents, 16.1), 600.0, dt_ms), dt_ms)
    for k, current in enumerate(currents):
        interval, _ = quad(
            lambda v: 100.0 / (-10.0 * (v + 65.0) + 34.8 * np.exp((v + 59.9) / 3.48) + current),  # noqa: B023
            -68.0,
            0.0,
            limit=200,
        )
        measured = np.diff(np.flatnonzero(out["spikes"][:, k])) * dt_ms - 1.7
        assert len(measured) > 3
        np.testing.assert_allclose(measured, interval, atol=1.2 * dt_ms)
    assert out["spikes"][:, -1].sum() == 0  # the rheobase is 10 nS (5.1 - 3.48) mV = 16.2 pA


def test_adaptation_of_the_adaptive_exponential_neuron_settles_at_its_fixed_point(drive_neurons):
    current = 300.0

    def slope(v):
        return -30.0 * (v + 70.6) + 60.0 * np.exp((v + 50.4) / 2.0) - 4.0 * (v + 70.6) + current

    v = brentq(slope, -75.0, -55.0)
    out = drive_neurons(AdEx(), constant([current], 1500.0, 0.5), 0.5, record=("v_mV", "w_pA"))
    assert out["v_mV"][-1, 0] == pytest.approx(v, abs=1e-3)
    assert out["w_pA"][-1, 0] == pytest.approx(4.0 * (v + 70.6), abs=4e-3)


def test_a_spike_adds_b_to_the_adaptation_current(drive_neurons):
    out = drive_neurons(AdEx(), constant([1500.0], 60.0, 0.05), 0.05, {"t_ref_ms": 3.0}, record=("v_mV", "w_pA"))
    k = np.flatnonzero(out["spikes"][:, 0])[2]
    assert out["w_pA"][k, 0] - out["w_pA"][k - 1, 0] == pytest.approx(80.5, abs=0.3)
    held = np.arange(1, 61)
    np.testing.assert_array_equal(out["v_mV"][k + held, 0], -70.6)
    # V rests at E_L, where adaptation decays to 0.
    np.testing.assert_allclose(out["w_pA"][k + held, 0], out["w_pA"][k, 0] * np.exp(-held * 0.05 / 144.0), rtol=1e-9)
    assert out["v_mV"][k + 61, 0] > -70.6


def test_izhikevichs_neuron_has_its_fixed_point_and_its_rheobase(drive_neurons):
    # 0.04 v^2 + (5 - b) v + 140 + I = 0 has roots up to I = 4 for b = 0.2.
    out = drive_neurons(Izhikevich(), constant([0.0, 3.7, 4.3], 2000.0, 0.1), 0.1, record=("v_mV", "u_mV_per_ms"))
    np.testing.assert_allclose(out["v_mV"][:, 0], -70.0, atol=1e-9)
    np.testing.assert_allclose(out["u_mV_per_ms"][:, 0], -14.0, atol=1e-9)
    late = out["spikes"][5000:]
    assert late[:, 0].sum() == late[:, 1].sum() == 0
    assert late[:, 2].sum() > 5
    rest = (-4.8 - np.sqrt(4.8**2 - 0.16 * 143.7)) / 0.08
    assert out["v_mV"][-1, 1] == pytest.approx(rest, abs=1e-4)


def test_regular_spiking_cells_adapt_and_fast_spiking_ones_fire_fast(drive_neurons):
    kinds = {"a_per_ms": [0.02, 0.1], "d_mV_per_ms": [8.0, 2.0]}
    out = drive_neurons(Izhikevich(), constant([10.0, 10.0], 500.0, 0.1), 0.1, kinds)
    regular, fast = (np.diff(np.flatnonzero(out["spikes"][:, k])) for k in (0, 1))
    assert regular[-1] > 2 * regular[0]
    np.testing.assert_allclose(regular[3:], regular[-1], atol=1)
    assert len(fast) > 4 * len(regular)


# --- rate units -----------------------------------------------------------------------------------------------------


def test_rate_unit_relaxes_exactly_to_the_function_of_its_input(drive_neurons):
    dt_ms, given = 5.0, np.array([-1.0, 0.3, 2.0])
    for activation, function in (
        ("tanh", np.tanh),
        ("relu", lambda x: np.maximum(x, 0)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ):
        out = drive_neurons(
            RateUnit(activation=activation), constant(given, 40.0, dt_ms), dt_ms, {"gain": 1.5, "bias": 0.2}
        )
        t = (np.arange(8) + 1)[:, None] * dt_ms
        np.testing.assert_allclose(out["r"], function(1.5 * (given + 0.2)) * (1 - np.exp(-t / 10.0)), atol=1e-12)
