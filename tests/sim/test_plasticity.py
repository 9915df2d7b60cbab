"""Plasticity against sums over pairs and triplets of spikes, and against the recursion of the paper."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.sim import (
    LIF,
    PLASTICITY_MODELS,
    Arctan,
    Exponential,
    Network,
    PairSTDP,
    Population,
    Projection,
    TripletSTDP,
    TsodyksMarkram,
    check_network,
    rollout,
)

DT = 0.5


def two_neurons(plasticity, weight=0.4, delay_ms=1.0, tie=1.0, **params) -> Network:
    """pre -> post, both driven by the test; the synapse is too weak to matter."""
    ids = ("pre", "post")
    values = {key: np.full(2, 0.0 if key == "t_ref_ms" else p.default) for key, p in LIF.parameters.items()}
    # So narrow a surrogate that gradients are those of the smooth part alone.
    population = Population("cells", LIF(Arctan(1e-6)), ids, np.arange(2, dtype=np.int32), ids)
    projection = Projection(
        "syn", "cells", "cells", Exponential(), np.array([0, 1, 1], np.int32), np.array([1], np.int32),
        np.array([tie * weight]), np.zeros(1, np.int32), ("all",), delay_ms, plasticity=plasticity,
    )  # fmt: skip
    own = {key: np.full(1, params.get(key, p.default)) for key, p in projection.parameters.items()}
    net = Network((population,), (projection,), {"cells": values, "syn": {"log_gain": np.zeros(1)} | own})
    check_network(net)
    return net


def run(net: Network, pre_steps, post_steps, n_steps=400):
    """Final state after spikes at the ends of these steps, and the spikes that there were."""
    inputs = np.zeros((n_steps, 2))
    inputs[list(pre_steps), 0] = inputs[list(post_steps), 1] = 1e6
    with jax.enable_x64(True):
        state, out = jax.jit(lambda x: rollout(net, None, {"cells": x}, dt_ms=DT))(inputs)
    spikes = np.asarray(out["cells"]["spikes"])
    assert list(np.flatnonzero(spikes[:, 0])) == sorted(pre_steps)
    assert list(np.flatnonzero(spikes[:, 1])) == sorted(post_steps)
    return state, np.asarray(out["cells"]["v_mV"])


@pytest.mark.few(1)
@pytest.mark.parametrize("lag", [1, 10, 60, -1, -10, -60])
def test_weight_change_by_one_pair_is_the_stdp_window(lag):
    delay = 2  # steps: the presynaptic spike counts when it arrives
    net = two_neurons(PairSTDP(), delay_ms=delay * DT, a_plus=0.01, a_minus=0.02, tau_plus_ms=15.0, tau_minus_ms=30.0)
    state, _ = run(net, [100 - delay], [100 + lag])
    expected = 0.01 * np.exp(-lag * DT / 15.0) if lag > 0 else -0.02 * np.exp(lag * DT / 30.0)
    assert float(state.projections["syn"]["weight"][0]) - 0.4 == pytest.approx(expected, rel=1e-9)


def test_spikes_that_coincide_at_the_synapse_do_not_see_each_other():
    state, _ = run(two_neurons(PairSTDP(), delay_ms=DT), [99], [100])
    assert float(state.projections["syn"]["weight"][0]) == pytest.approx(0.4, abs=1e-15)


def trains(seed: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(380, 25, replace=False).tolist()), sorted(rng.choice(380, 25, replace=False).tolist())


def test_weight_after_two_trains_is_the_sum_over_all_pairs():
    pre, post = trains(1)
    net = two_neurons(PairSTDP(), delay_ms=DT, a_plus=1e-3, a_minus=1.3e-3)
    state, _ = run(net, pre, post)
    arrivals, fired = (np.array(pre) + 1) * DT, np.array(post) * DT
    lag = fired[None, :] - arrivals[:, None]
    expected = 1e-3 * np.exp(-lag[lag > 0] / 20.0).sum() - 1.3e-3 * np.exp(lag[lag < 0] / 20.0).sum()
    assert float(state.projections["syn"]["weight"][0]) - 0.4 == pytest.approx(expected, rel=1e-8)


def test_multiplicative_rule_is_the_recursion_over_spikes():
    pre, post = trains(2)
    mu, a_plus, a_minus = 0.7, 0.03, 0.04
    state, _ = run(two_neurons(PairSTDP(), delay_ms=DT, a_plus=a_plus, a_minus=a_minus, mu=mu), pre, post)
    events = sorted([((s + 1) * DT, "pre") for s in pre] + [(s * DT, "post") for s in post])
    w, seen = 0.4, {"pre": [], "post": []}
    for t, side in events:
        if side == "pre":
            w -= a_minus * w**mu * sum(np.exp(-(t - s) / 20.0) for s in seen["post"] if s < t)
        else:
            w += a_plus * (1 - w) ** mu * sum(np.exp(-(t - s) / 20.0) for s in seen["pre"] if s < t)
        seen[side].append(t)
    assert float(state.projections["syn"]["weight"][0]) == pytest.approx(w, rel=2e-3)  # coincidences act together
    assert abs(w - 0.4) > 0.02


def test_triplet_rule_is_the_sum_over_triplets():
    pre, post = trains(3)
    p = {"a2_plus": 1e-4, "a3_plus": 2e-3, "a2_minus": 1.5e-3, "a3_minus": 4e-4}
    state, _ = run(two_neurons(TripletSTDP(), delay_ms=DT, **p), pre, post)
    arrivals, fired = (np.array(pre) + 1) * DT, np.array(post) * DT

    def trace(events, t, tau):
        past = events[events < t - 1e-9]
        return np.exp(-(t - past) / tau).sum()

    expected = sum(trace(arrivals, t, 16.8) * (p["a2_plus"] + p["a3_plus"] * trace(fired, t, 125.0)) for t in fired)
    expected -= sum(
        trace(fired, t, 33.7) * (p["a2_minus"] + p["a3_minus"] * trace(arrivals, t, 101.0)) for t in arrivals
    )
    assert float(state.projections["syn"]["weight"][0]) - 0.4 == pytest.approx(expected, rel=1e-8)


def test_weights_stay_between_0_and_their_maximum_and_keep_their_sign():
    up = two_neurons(PairSTDP(), weight=1.9, a_plus=0.4, a_minus=0.0, w_max=2.0)
    state, _ = run(up, range(0, 300, 20), range(4, 300, 20))
    assert float(state.projections["syn"]["weight"][0]) == pytest.approx(2.0)
    down = two_neurons(PairSTDP(), weight=0.4, tie=-1.0, a_plus=0.0, a_minus=0.4)
    state, _ = run(down, range(6, 300, 20), range(0, 300, 20))
    assert float(state.projections["syn"]["weight"][0]) == 0.0


def test_learnt_weight_is_what_the_next_spike_is_multiplied_with():
    net = two_neurons(PairSTDP(), weight=0.5, a_plus=0.5, a_minus=0.0, tau_plus_ms=1e6)
    _, v = run(net, [10, 300], [20])
    rest = -70.0
    first, second = v[13, 1] - rest, v[303, 1] - rest
    assert first > 0
    assert second / first == pytest.approx(2.0, rel=1e-2)  # 0.5, then 0.5 + 0.5, on top of what is left of the first


@pytest.mark.slow
def test_short_term_plasticity_is_the_recursion_of_tsodyks_pawelzik_and_markram():
    use, tau_rec, tau_facil, weight = 0.15, 120.0, 300.0, 30.0
    net = two_neurons(TsodyksMarkram(), weight=weight, use=use, tau_rec_ms=tau_rec, tau_facil_ms=tau_facil)
    spikes = [10, 30, 34, 80, 200, 210]
    inputs = np.zeros((400, 2))
    inputs[spikes, 0] = 1e6
    with jax.enable_x64(True):
        states = [rollout(net, None, {"cells": inputs[: s + 3]}, dt_ms=DT)[0] for s in spikes]
    u, x, last, sent = 0.0, 1.0, None, []
    for s in spikes:
        t = s * DT
        if last is not None:
            u, x = u * np.exp(-(t - last) / tau_facil), 1 + (x - 1) * np.exp(-(t - last) / tau_rec)
        u = u + use * (1 - u)
        sent.append(u * x)
        x, last = x - u * x, t
    # Two steps after a spike its synaptic current has just arrived; what earlier spikes left has decayed.
    t = np.array(spikes) * DT
    left = [sum(sent[j] * np.exp(-(t[k] - t[j]) / 5.0) for j in range(k)) for k in range(len(t))]
    found = [float(state.projections["syn"]["y"][1]) / weight for state in states]
    np.testing.assert_allclose(found, np.array(sent) + left, rtol=1e-9)


def test_depression_without_facilitation_uses_the_same_fraction_at_every_spike():
    net = two_neurons(TsodyksMarkram(), weight=1.0, use=0.5, tau_rec_ms=1e7)
    state, _ = run(net, [10, 20, 30], [])
    assert float(state.projections["syn"]["x"][0]) == pytest.approx(0.125, rel=1e-3)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", PLASTICITY_MODELS)
def test_gradient_by_every_parameter_of_a_plasticity_is_that_of_finite_differences(kind):
    plasticity = PLASTICITY_MODELS[kind]()
    changes = {
        "tsodyks_markram": {"tau_facil_ms": 40.0},
        "stdp": {"w_max": 2.0, "mu": 0.5, "a_plus": 0.1, "a_minus": 0.08},
        "triplet_stdp": {"w_max": 2.0, "a2_plus": 0.02, "a3_plus": 0.05, "a2_minus": 0.03, "a3_minus": 0.04},
    }
    net = two_neurons(plasticity, weight=0.5, **changes[kind])
    inputs = np.zeros((120, 2))
    inputs[[10, 40, 70, 90], 0] = inputs[[25, 60, 75], 1] = 1e6
    weights = np.cos(np.arange(120) / 9.0) * (np.arange(120) > 76)

    def loss(values):
        _, out = rollout(net.with_params({"syn": values}), None, {"cells": inputs}, dt_ms=DT, record=("v_mV",))
        return jnp.sum(weights * out["cells"]["v_mV"][:, 1])

    with jax.enable_x64(True):
        at = {name: jnp.asarray(value) for name, value in net.params["syn"].items()}
        run = jax.jit(jax.value_and_grad(loss))
        slopes = run(at)[1]
        for name in ("log_gain", *plasticity.parameters):
            h = 1e-4 * max(abs(float(at[name][0])), 0.1)
            high, low = (run(at | {name: at[name] + s * h})[0] for s in (1.0, -1.0))
            assert float(slopes[name][0]) == pytest.approx(float(high - low) / (2 * h), rel=1e-5, abs=1e-9), name
            assert slopes[name][0] != 0, name


def test_plasticity_that_cannot_be_simulated_is_refused():
    with pytest.raises(SettingError, match="w_max = 1 or below"):
        two_neurons(PairSTDP(), weight=1.5)
