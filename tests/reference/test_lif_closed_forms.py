"""LIF neurons and exponential synapses against closed forms (Gerstner et al. 2014, Neuronal Dynamics)."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from connectofit.sim import LIF, Exponential, Network, Population, Projection, rollout

TAU, R, REST, THRESHOLD, RESET, T_REF = 20.0, 0.1, -70.0, -55.0, -65.0, 3.0


def network(n: int = 1, edges=(), tau_syn_ms: float = 5.0, delay_ms: float = 1.5, **changes) -> Network:
    """n LIF neurons; edges: (pre, post, weight in pA), sorted by pre."""
    own = {"tau_m_ms": TAU, "r_m_GOhm": R, "v_rest_mV": REST, "v_threshold_mV": THRESHOLD}
    own |= {"v_reset_mV": RESET, "t_ref_ms": T_REF, "i_bias_pA": 0.0, "noise_mV": 0.0, **changes}
    ids = tuple(range(n))
    population = Population("cells", LIF(), ids, np.arange(n, dtype=np.int32), ids)
    pre, post, weight = (np.array([e[k] for e in edges]) for k in range(3))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre.astype(int), minlength=n))])
    type_index, post, weight = np.zeros(len(edges), int), post.astype(int), weight.astype(float)
    types = ("all",)
    synapses = Projection("syn", "cells", "cells", Exponential(), indptr, post, weight, type_index, types, delay_ms)
    params = {
        "cells": {k: np.broadcast_to(np.asarray(v, float), n) for k, v in own.items()},
        "syn": {"log_gain": np.zeros(1), "tau_syn_ms": np.full(1, tau_syn_ms)},
    }
    return Network((population,), (synapses,), params)


def run(net: Network, inputs: np.ndarray, dt_ms: float, **settings):
    with jax.enable_x64(True):
        _, out = jax.jit(lambda i: rollout(net, None, {"cells": i}, dt_ms=dt_ms, **settings))(inputs)
    return {name: np.asarray(values) for name, values in out["cells"].items()}


@pytest.mark.parametrize("dt_ms", [0.1, 2.5])
def test_membrane_charges_and_decays_along_the_exact_exponentials_whatever_the_step(dt_ms):
    on, current = 20.0, 100.0
    n_steps = round(60.0 / dt_ms)
    inputs = np.where(np.arange(n_steps) * dt_ms < on - 1e-9, current, 0.0)[:, None]
    v = run(network(delay_ms=dt_ms), inputs, dt_ms)["v_mV"][:, 0]
    t = (np.arange(n_steps) + 1) * dt_ms
    charging = R * current * (1 - np.exp(-np.minimum(t, on) / TAU))
    expected = REST + charging * np.exp(-np.maximum(t - on, 0) / TAU)
    np.testing.assert_allclose(v, expected, atol=1e-11)


def test_firing_rate_is_one_over_refractory_period_plus_time_to_threshold():
    currents = np.array([160.0, 200.0, 400.0, 1000.0, 149.0])
    dt_ms, duration_ms = 0.05, 2000.0
    net = network(len(currents))
    spikes = run(net, np.tile(currents, (round(duration_ms / dt_ms), 1)), dt_ms, record=("spikes",))["spikes"]
    v_inf = REST + R * currents[:-1]
    interval = T_REF + TAU * np.log((v_inf - RESET) / (v_inf - THRESHOLD))
    for k, expected in enumerate(interval):
        times = np.flatnonzero(spikes[:, k]) * dt_ms
        # The threshold is tested at the ends of steps, so that each interval is rounded up to the next one.
        np.testing.assert_allclose(np.diff(times), np.ceil(expected / dt_ms) * dt_ms, atol=1e-6)
    assert spikes[:, -1].sum() == 0  # 149 pA reaches -55.1 mV only


@pytest.mark.few(2)
@pytest.mark.parametrize("t_ref_ms", [0.0, 0.5, 3.0])
def test_potential_is_held_at_reset_for_the_refractory_period(t_ref_ms):
    dt_ms = 0.5
    out = run(network(t_ref_ms=t_ref_ms), np.full((60, 1), 1000.0), dt_ms)
    first = np.flatnonzero(out["spikes"][:, 0])[0]
    held = round(t_ref_ms / dt_ms)
    np.testing.assert_array_equal(out["v_mV"][first : first + held + 1, 0], RESET)
    assert out["v_mV"][first + held + 1, 0] > RESET


@pytest.mark.few(2)
@pytest.mark.parametrize("tau_syn_ms", [5.0, 19.99, 20.0, 40.0])
def test_postsynaptic_potential_is_the_difference_of_exponentials(tau_syn_ms):
    dt_ms, weight, delay_ms = 0.5, 30.0, 1.5
    inputs = np.zeros((200, 2))
    inputs[0, 0] = 1e5  # one spike at the end of the first step
    out = run(network(2, [(0, 1, weight)], tau_syn_ms, delay_ms, t_ref_ms=1e3), inputs, dt_ms)
    assert list(np.flatnonzero(out["spikes"][:, 0])) == [0]
    t = (np.arange(200) + 1) * dt_ms - (dt_ms + delay_ms)
    s = np.maximum(t, 0.0)
    if tau_syn_ms == TAU:
        psp = R * weight * s / TAU * np.exp(-s / TAU)
    else:
        psp = R * weight * tau_syn_ms / (tau_syn_ms - TAU) * (np.exp(-s / tau_syn_ms) - np.exp(-s / TAU))
    np.testing.assert_allclose(out["v_mV"][:, 1] - REST, psp, atol=1e-11)


def test_potentials_of_two_synapses_and_a_doubled_edge_sum():
    inputs = np.zeros((100, 3))
    inputs[0, :2] = 1e5
    together = run(network(3, [(0, 2, 20.0), (0, 2, 20.0), (1, 2, -15.0)], t_ref_ms=1e3), inputs, 0.5)["v_mV"][:, 2]
    alone = run(network(3, [(0, 2, 25.0)], t_ref_ms=1e3), inputs, 0.5)["v_mV"][:, 2]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_noise_gives_the_variance_and_correlation_of_an_ornstein_uhlenbeck_process():
    n, dt_ms, sigma = 400, 2.0, 3.0
    net = network(n, noise_mV=sigma, v_threshold_mV=1e6, delay_ms=dt_ms)
    with jax.enable_x64(True):
        _, out = jax.jit(lambda key: rollout(net, None, {}, key, dt_ms=dt_ms, n_steps=400))(jax.random.key(1))
    v = np.asarray(out["cells"]["v_mV"])[100:] - REST  # 200 ms are ten time constants
    independent = n * 300 * dt_ms / TAU / 2
    assert abs(v.mean()) < 5 * sigma / np.sqrt(independent)
    assert abs(v.var() / sigma**2 - 1) < 5 * np.sqrt(2 / independent)
    lag = np.mean(v[10:] * v[:-10]) / v.var()
    assert abs(lag - np.exp(-10 * dt_ms / TAU)) < 0.03


def test_bounds_of_the_step_do_not_matter_for_a_decaying_current():
    runs = []
    for dt_ms in (0.25, 0.5):
        steps = round(30.0 / dt_ms)
        padded = np.zeros((steps, 2))
        padded[: round(0.5 / dt_ms), 0] = 1e5
        net = network(2, [(0, 1, 30.0)], t_ref_ms=1e3, delay_ms=1.5 + (0.25 if dt_ms == 0.25 else 0.0))
        runs.append(run(net, padded, dt_ms)["v_mV"][:, 1])
    # The finer run spikes after 0.25 ms and is delayed by 0.25 ms more: the same potentials at the same times.
    np.testing.assert_allclose(runs[0][1::2], runs[1], atol=1e-12)
