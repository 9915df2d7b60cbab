"""Neurons with gates against the formulas of their papers and independent integrators, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from connectofit.sim import HodgkinHuxley, TraubMiles, WangBuzsaki
from connectofit.sim.neurons import Drive
from connectofit.sim.neurons.conductance_based import linoid


def defaults(model, **changes) -> dict[str, float]:
    return {name: parameter.default for name, parameter in model.parameters.items()} | changes


def constant(currents, duration_ms: float, dt_ms: float) -> np.ndarray:
    return np.tile(np.asarray(currents, float), (round(duration_ms / dt_ms), 1))


def naive_rates(kind, v):
    """(alpha, beta) of m, h, n as the papers print them."""
    if kind == "hodgkin_huxley":
        return {
            "m": (0.1 * (v + 40) / (1 - np.exp(-(v + 40) / 10)), 4 * np.exp(-(v + 65) / 18)),
            "h": (0.07 * np.exp(-(v + 65) / 20), 1 / (np.exp(-(v + 35) / 10) + 1)),
            "n": (0.01 * (v + 55) / (1 - np.exp(-(v + 55) / 10)), 0.125 * np.exp(-(v + 65) / 80)),
        }
    if kind == "traub_miles":
        u = v + 63
        return {
            "m": (0.32 * (13 - u) / (np.exp((13 - u) / 4) - 1), 0.28 * (u - 40) / (np.exp((u - 40) / 5) - 1)),
            "h": (0.128 * np.exp((17 - u) / 18), 4 / (1 + np.exp((40 - u) / 5))),
            "n": (0.032 * (15 - u) / (np.exp((15 - u) / 5) - 1), 0.5 * np.exp((10 - u) / 40)),
        }
    return {
        "h": (5 * 0.07 * np.exp(-(v + 58) / 20), 5 / (np.exp(-0.1 * (v + 28)) + 1)),
        "n": (-5 * 0.01 * (v + 34) / (np.exp(-0.1 * (v + 34)) - 1), 5 * 0.125 * np.exp(-(v + 44) / 80)),
    }


@pytest.mark.parametrize("model", [HodgkinHuxley(), TraubMiles(), WangBuzsaki()], ids=lambda m: m.kind)
def test_gates_open_and_close_at_the_rates_of_the_paper(model):
    v = np.array([-100.0, -75.3, -65.0, -50.1, -33.3, 0.0, 41.7])
    with jax.enable_x64(True):
        p = {name: jnp.full(v.shape, value) for name, value in defaults(model).items()}
        ours = jax.jit(model.rates)(p, jnp.asarray(v))
    for gate, rates in naive_rates(model.kind, v).items():
        np.testing.assert_allclose(ours[gate], rates, rtol=1e-9, err_msg=gate)


def test_steady_states_of_the_squids_gates_at_rest():
    with jax.enable_x64(True):
        p = {name: jnp.full(1, value) for name, value in defaults(HodgkinHuxley).items()}
        state = jax.jit(HodgkinHuxley().initial)(p)
    # As NEST's `hh_psc_alpha` starts.
    for gate, value in (("m", 0.05293248525724958), ("h", 0.5961207535084603), ("n", 0.3176769140606974)):
        assert float(state[gate][0]) == pytest.approx(value, rel=1e-12)


def test_linoid_is_finite_where_its_formula_is_not():
    with jax.enable_x64(True):
        x = jnp.array([-1e4, -800.0, -1e-9, 0.0, 1e-9, 3.0, 800.0, 1e4])
        value, slope = jax.jit(jax.vmap(jax.value_and_grad(linoid)))(x)
    np.testing.assert_allclose(value, [1e4, 800.0, 1.0, 1.0, 1.0, 3.0 / np.expm1(3.0), 0.0, 0.0], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(slope[jnp.array([0, 1, 3, 6])], [-1.0, -1.0, -0.5, 0.0], atol=1e-8)
    single = jax.jit(jax.vmap(jax.grad(linoid)))(jnp.array([-200.0, 0.0, 200.0], jnp.float32))
    assert np.isfinite(single).all()


def squid_current(v):
    """The ionic current at steady state, in pA."""
    x = {gate: a / (a + b) for gate, (a, b) in naive_rates("hodgkin_huxley", v).items()}
    sodium = 12000 * x["m"] ** 3 * x["h"] * (v - 50)
    return sodium + 3600 * x["n"] ** 4 * (v + 77) + 30 * (v + 54.387)


def test_squids_axon_rests_where_its_ionic_current_vanishes(drive_neurons):
    rest = brentq(squid_current, -70.0, -60.0)
    assert rest == pytest.approx(-65.0, abs=0.01)
    out = drive_neurons(HodgkinHuxley(), constant([0.0], 150.0, 0.05), 0.05)
    assert out["v_mV"][-1, 0] == pytest.approx(rest, abs=1e-5)


def test_squids_axon_is_stable_below_and_fires_above_the_current_of_its_hopf_bifurcation():
    """9.78 uA/cm^2 (Rinzel & Miller 1980): there the real part of an eigenvalue at the fixed point changes its sign."""
    model, names, dt_ms = HodgkinHuxley(method="euler"), ("v_mV", "m", "h", "n"), 1e-3
    with jax.enable_x64(True):
        p = {name: jnp.full(1, value) for name, value in defaults(model).items()}

        def slope(y, current):
            state = {name: y[k : k + 1] for k, name in enumerate(names)} | {"refractory_steps": jnp.zeros(1, jnp.int32)}
            state, _ = model.step(p, state, Drive(current), dt_ms, None)
            return (jnp.concatenate([state[name] for name in names]) - y) / dt_ms

        jacobian = jax.jit(jax.jacfwd(slope))
        growth = []
        for current in (970.0, 986.0):
            v = brentq(lambda v: squid_current(v) - current, -65.0, -50.0)  # noqa: B023
            gates = [a / (a + b) for a, b in naive_rates("hodgkin_huxley", v).values()]
            eigenvalues = np.linalg.eigvals(np.asarray(jacobian(jnp.array([v, *gates]), jnp.full(1, current))))
            growth.append(eigenvalues.real.max())
    assert growth[0] < 0 < growth[1]


def test_squids_axon_fires_at_68_hertz_under_10_microamperes(drive_neurons):
    # Near 68 Hz for 10 uA/cm^2 at 6.3 degrees, and silent for 6 uA/cm^2 after at most a few spikes.
    out = drive_neurons(HodgkinHuxley(), constant([1000.0, 600.0], 500.0, 0.025), 0.025)
    intervals = np.diff(np.flatnonzero(out["spikes"][:, 0]))[5:] * 0.025
    assert 1e3 / intervals.mean() == pytest.approx(68.5, abs=1.5)
    assert out["spikes"][8000:, 1].sum() == 0


@pytest.mark.slow
def test_wang_buzsaki_neuron_fires_from_016_microamperes_on_at_any_low_rate(drive_neurons):
    out = drive_neurons(WangBuzsaki(), constant([15.5, 16.5, 100.0], 1500.0, 0.05), 0.05)
    counts = out["spikes"].sum(axis=0)
    assert counts[0] == 0
    assert 1 <= counts[1] < 15
    assert counts[2] > 60


def test_an_action_potential_is_one_spike_at_its_upward_crossing(drive_neurons):
    out = drive_neurons(TraubMiles(), constant([500.0], 100.0, 0.05), 0.05)
    v, spikes = out["v_mV"][:, 0], np.flatnonzero(out["spikes"][:, 0])
    crossings = np.flatnonzero((v[1:] >= -20.0) & (v[:-1] < -20.0)) + 1
    np.testing.assert_array_equal(spikes, crossings)
    assert len(spikes) > 4
    rare = drive_neurons(TraubMiles(), constant([500.0], 100.0, 0.05), 0.05, {"t_ref_ms": 20.0})
    assert np.diff(np.flatnonzero(rare["spikes"][:, 0])).min() > 400


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("method", "order"), [("exponential_euler", 1), ("euler", 1), ("exponential_midpoint", 2), ("rk4", 4)]
)
def test_methods_of_conductance_based_neurons_have_their_order(drive_neurons, method, order):
    current, until = 150.0, 2.0  # a brief depolarisation, without a spike

    def slopes(_, y):
        rates = naive_rates("hodgkin_huxley", y[0])
        gates = dict(zip("mhn", y[1:], strict=True))
        ion = 12000 * gates["m"] ** 3 * gates["h"] * (y[0] - 50) + 3600 * gates["n"] ** 4 * (y[0] + 77)
        dv = (-ion - 30 * (y[0] + 54.387) + current) / 100
        return dv, *(a * (1 - gates[k]) - b * gates[k] for k, (a, b) in rates.items())

    start = [-65.0, *(a / (a + b) for a, b in naive_rates("hodgkin_huxley", -65.0).values())]
    exact = solve_ivp(slopes, (0, until), start, rtol=1e-12, atol=1e-12, method="DOP853").y[0, -1]
    steps = (0.05, 0.025)
    errors = [
        abs(drive_neurons(HodgkinHuxley(method=method), constant([current], until, dt), dt)["v_mV"][-1, 0] - exact)
        for dt in steps
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)
