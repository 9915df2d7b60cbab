"""Recorded spikes as an objective: voltages between given spikes by closed forms, the point process, and recovery."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import Activity, EscapeRate, Free, Parameters, Schedule, fit_network, likelihood_score
from connectofit.fit.cells.teacher_forced import forced_trace
from connectofit.sim import ALIF, GIF, GLIF2, GLIF5, LIF, Delta, Network, Population, Projection, RateUnit, rollout

DT, N_STEPS, TAU, REST, THRESHOLD, RESET = 0.5, 120, 20.0, -70.0, -55.0, -68.0
T_REF_STEPS = 4
IDS = ("a", "b", "c")


def network(edges=(), model=None, ids=IDS, **changes):
    """Cells of one model; edges (pre, post, mV), a type each, arrive 1 ms later."""
    model = LIF() if model is None else model
    values = {name: p.default for name, p in model.parameters.items()} | changes
    params = {"cells": {name: np.full(1, value) for name, value in values.items()}}
    cells = Population("cells", model, ids, np.zeros(len(ids), np.int32), ("all",))
    if not edges:
        return Network((cells,), (), params)
    edges = sorted(edges)
    indptr = np.searchsorted([e[0] for e in edges], np.arange(len(ids) + 1)).astype(np.int32)
    post, weight = np.array([e[1] for e in edges], np.int32), np.array([e[2] for e in edges], float)
    kinds = np.arange(len(edges), dtype=np.int32)
    wires = Projection("wires", "cells", "cells", Delta(), indptr, post, weight, kinds, range(len(edges)), 2 * DT)
    return Network((cells,), (wires,), params | {"wires": {"log_gain": np.zeros(len(edges))}})


def lif_network(edges=()):
    return network(edges, v_reset_mV=RESET)


def activity_of(spikes, recorded=(0, 1, 2), session=None):
    """spikes: [trial, step, recorded]."""
    spikes = np.asarray(spikes, float)
    trials = tuple(range(len(spikes)))
    return Activity(IDS, np.array(recorded), spikes, "spikes", DT, DT, trials, session)


def objective_of(spikes, current=0.0, recorded=(0, 1, 2), **given):
    inputs = np.broadcast_to(np.asarray(current, float), (len(spikes), N_STEPS, 3))
    return EscapeRate.from_activity(activity_of(spikes, recorded), inputs, **({"dt_ms": DT} | given))


def silence(n_trials=1, recorded=3):
    return np.zeros((n_trials, N_STEPS, recorded))


READOUT = {"delta_v_log": jnp.log(2.0)}


def test_between_given_spikes_the_voltage_relaxes_and_the_likelihood_is_that_of_a_point_process():
    spikes = silence()
    spikes[0, 30, 0] = 1
    # 25 mV of drive would make a LIF neuron fire; given that it did not, it does not.
    predicted = np.asarray(objective_of(spikes, 250.0).predict(lif_network(), READOUT), float)
    t = DT * np.arange(1, N_STEPS + 1)
    v_inf = REST + 25.0
    free = v_inf + (REST - v_inf) * np.exp(-t / TAU)
    after = v_inf + (RESET - v_inf) * np.exp(-(t[30 + T_REF_STEPS + 1 :] - t[30 + T_REF_STEPS]) / TAU)
    y = (free - THRESHOLD) / 2.0 + np.log(DT)
    np.testing.assert_allclose(predicted[1], y, atol=1e-3)
    np.testing.assert_allclose(predicted[0, :31], y[:31], atol=1e-3)
    np.testing.assert_allclose(predicted[0, 31 : 31 + T_REF_STEPS], -20.0)
    np.testing.assert_allclose(predicted[0, 31 + T_REF_STEPS :], (after - THRESHOLD) / 2.0 + np.log(DT), atol=1e-3)


def test_the_loss_is_that_of_bernoulli_spikes():
    spikes = silence()
    spikes[0, [30, 90], 0] = 1
    spikes[0, 100:, 1] = np.nan
    objective = objective_of(spikes)
    y = np.random.default_rng(0).normal(-2.0, 1.5, (3, N_STEPS)).astype(np.float32)
    chance = 1 - np.exp(-np.exp(np.asarray(y, float)))
    each = np.where(spikes[0].T == 1, np.log(chance), np.log1p(-chance))
    expected = -np.where(np.isfinite(spikes[0].T), each, 0.0).sum(1)
    np.testing.assert_allclose(objective.loss(jnp.asarray(y)), expected, rtol=1e-4)


def test_given_spikes_reach_the_others_and_own_ones_do_not_happen():
    spikes = silence()
    spikes[0, 30, 0] = 1
    net = lif_network([(0, 1, 3.0), (1, 2, 8.0)])
    both = objective_of(spikes, [0.0, 200.0, 0.0])
    with_wire, without = (np.asarray(both.predict(n, READOUT)) for n in (net, lif_network()))
    change = with_wire - without
    np.testing.assert_allclose(change[1, :32], 0.0, atol=1e-4)
    decay = np.exp(-DT * np.arange(N_STEPS - 32) / TAU)
    np.testing.assert_allclose(change[1, 32:], 3.0 / 2.0 * decay, atol=1e-3)  # two steps later
    np.testing.assert_allclose(change[2], 0.0, atol=1e-4)  # b was seen not to fire, for all its drive
    free = objective_of(spikes, [0.0, 200.0, 0.0], forced=False)
    assert np.asarray(free.predict(net, READOUT))[2].max() > np.asarray(without)[2].max() + 1.0
    # Neurons that were not recorded fire by themselves.
    part = objective_of(spikes[:, :, [0, 2]], [0.0, 200.0, 0.0], recorded=(0, 2))
    net = lif_network([(1, 2, 8.0)])
    np.testing.assert_allclose(part.predict(net, READOUT)[1], free.predict(net, READOUT)[2], atol=1e-4)


@pytest.mark.parametrize("model", [GLIF2(), GLIF5(), GIF(), LIF()], ids=lambda m: m.kind)
def test_networks_and_single_cells_are_the_same_under_given_spikes(model):
    rng = np.random.default_rng(1)
    spikes = np.zeros((N_STEPS, 3))
    spikes[[10, 30, 31, 80], [0, 0, 0, 0]] = 1
    spikes[::25, 1] = 1
    current = rng.normal(100.0, 100.0, (N_STEPS, 3))
    own = {"t_ref_ms": 2.0} | ({"a_1_pA": 50.0, "a_2_pA": -80.0, "a_per_ms": 0.003} if model.kind == "gif" else {})
    net = network(model=model, **own)
    with jax.enable_x64(True):
        _, out = rollout(
            net,
            None,
            {"cells": jnp.asarray(current)},
            dt_ms=DT,
            record=("distance_mV", "v_mV", "spikes"),
            imposed={"cells": jnp.asarray(spikes)},
        )
        p = {k: jnp.asarray(v[0]) for k, v in net.params["cells"].items()}
        cell = forced_trace(model, p, {"current_pA": jnp.asarray(current), "spikes": jnp.asarray(spikes)}, DT)
    found = {k: np.asarray(v) for k, v in out["cells"].items()}
    rests = np.asarray(cell["refractory"])
    assert rests.any()
    np.testing.assert_array_equal(found["spikes"], spikes)
    np.testing.assert_array_equal(np.isneginf(found["distance_mV"]), rests)
    expected = np.asarray(cell["v_before_mV"] - cell["threshold_mV"])
    np.testing.assert_allclose(found["distance_mV"][~rests], expected[~rests], atol=1e-8)
    np.testing.assert_allclose(found["v_mV"], cell["v_mV"], atol=1e-8)


def test_the_threshold_of_an_adaptive_neuron_rises_with_given_spikes():
    spikes = silence()
    spikes[0, 30, 0] = 1
    net = network(model=ALIF())
    predicted = np.asarray(objective_of(spikes).predict(net, READOUT), float)
    t = DT * (np.arange(31 + T_REF_STEPS, N_STEPS) - 30)
    expected = (REST - THRESHOLD - 1.7 * np.exp(-t / 200.0)) / 2.0 + np.log(DT)
    np.testing.assert_allclose(predicted[0, 31 + T_REF_STEPS :], expected, atol=1e-3)


def test_the_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(2)
    spikes = (rng.random((2, N_STEPS, 3)) < 0.04).astype(float)
    net = lif_network([(0, 1, 2.0), (1, 2, -1.5), (2, 0, 1.0), (2, 1, 0.5)])
    with jax.enable_x64(True):
        objective = objective_of(spikes, 120.0)

        def loss(gains, width):
            changed = net.with_params({"wires": {"log_gain": gains}})
            return objective.loss(objective.predict(changed, {"delta_v_log": width})).sum()

        loss = jax.jit(loss)
        gains, width = jnp.asarray([0.1, -0.2, 0.0, 0.3]), jnp.log(1.8)
        slopes = jax.grad(loss, (0, 1))(gains, width)
        h = 1e-6
        expected = [(float(loss(gains + s, width)) - float(loss(gains - s, width))) / (2 * h) for s in h * jnp.eye(4)]
        np.testing.assert_allclose(slopes[0], expected, rtol=1e-5)
        slope = (float(loss(gains, width + h)) - float(loss(gains, width - h))) / (2 * h)
        assert float(slopes[1]) == pytest.approx(slope, rel=1e-5)


def test_scores_are_against_each_neurons_rate_in_the_training_trials():
    spikes = silence(2)
    spikes[0, :6, 0], spikes[0, 0, 1], spikes[1, :3, 0] = 1, 1, 1
    objective = objective_of(spikes)
    training, test = (objective.subset(np.asarray(objective.trial) == k) for k in (0, 1))
    chance = np.array([6.5, 1.5, 0.5]) / (N_STEPS + 1)
    fired = np.array([3, 0, 0])
    expected = -fired * np.log(chance) - (N_STEPS - fired) * np.log1p(-chance)
    np.testing.assert_allclose(test.baseline(training), expected)
    score = likelihood_score(test, np.full((3, N_STEPS), -3.0, np.float32), training)
    assert (score.unit, score.n) == ("spike", 3)
    assert score.baseline == pytest.approx(expected.sum() / 3)
    with pytest.raises(SettingError, match="no spike among the 1 rows"):
        likelihood_score(test.subset(np.array([2])), np.full((1, N_STEPS), -3.0), training)


def test_recordings_that_do_not_fit_are_refused():
    spikes = silence()
    spikes[0, 3, 1] = 1
    doubled = spikes.copy()
    doubled[0, 7, 2] = 2
    with pytest.raises(SettingError, match="'c in trial 0 at 4 ms: 2'"):
        objective_of(doubled)
    with pytest.raises(SettingError, match="No spike was recorded of 3 neurons"):
        objective_of(silence())
    with pytest.raises(SettingError, match=r"Read them with bin_ms=0\.25"):
        EscapeRate.from_activity(activity_of(spikes), np.zeros((1, 2 * N_STEPS, 3)), dt_ms=0.25)
    with pytest.raises(SettingError, match="and the inputs make"):
        EscapeRate.from_activity(activity_of(spikes), np.zeros((1, 50, 3)), dt_ms=DT)
    with pytest.raises(SettingError, match=r"\(1, any, 3\); found"):
        EscapeRate.from_activity(activity_of(spikes), np.zeros((2, N_STEPS, 3)), dt_ms=DT)
    with pytest.raises(SettingError, match="finite numbers; found otherwise in 'trial 0'"):
        objective_of(spikes, np.inf)
    with pytest.raises(UnknownNameError, match="Did you mean 'trial'"):
        objective_of(spikes, group_by="trials")
    rates = Activity(IDS, np.arange(3), spikes, "rate", DT, DT, (0,))
    with pytest.raises(SettingError, match="found activity of kind 'rate'"):
        EscapeRate.from_activity(rates, np.zeros((1, N_STEPS, 3)), dt_ms=DT)


def test_neurons_without_a_threshold_are_refused():
    spikes = silence()
    spikes[0, 3, 1] = 1
    units = network(model=RateUnit())
    with pytest.raises(SettingError, match=r"'rate' of population 'cells', which has 'a', 'b', 'c'.*Use LIF"):
        objective_of(spikes).predict(units, READOUT)
    with pytest.raises(SettingError, match="cannot be imposed on population 'cells'"):
        rollout(units, None, {"cells": jnp.zeros((4, 3))}, dt_ms=DT, imposed={"cells": jnp.zeros((4, 3))})


def drawn(weights, current, delta_v, seed, n_steps=N_STEPS):
    """LIF neurons that fire by chance, in NumPy: [trial, step, neuron]. weights[i, j] from i to j in mV."""
    rng = np.random.default_rng(seed)
    n = len(current)
    v, left = np.full((n, 3), REST), np.zeros((n, 3), int)
    spikes = np.zeros((n, n_steps, 3))
    decay = np.exp(-DT / TAU)
    for k in range(n_steps):
        v_inf = REST + 0.1 * current[:, k]
        v = v_inf + (v - v_inf) * decay + (spikes[:, k - 2] @ weights if k > 1 else 0.0)
        v = np.where(left > 0, RESET, v)
        chance = 1 - np.exp(-np.exp((v - THRESHOLD) / delta_v) * DT)
        fired = (rng.random((n, 3)) < chance) & (left == 0)
        spikes[:, k] = fired
        v, left = np.where(fired, RESET, v), np.where(fired, T_REF_STEPS, np.maximum(left - 1, 0))
    return spikes


@pytest.mark.slow
def test_a_fit_finds_weights_and_the_width_of_the_escape_rate():
    edges = [(0, 1, 4.0), (1, 2, -4.0), (2, 0, 2.0)]
    truth = np.array([0.4, 0.3, -0.5])
    weights = np.zeros((3, 3))
    for (i, j, w), gain in zip(edges, truth, strict=True):
        weights[i, j] = w * np.exp(gain)
    rng = np.random.default_rng(5)
    current = np.repeat(rng.normal(110.0, 60.0, (400, N_STEPS // 20, 3)), 20, axis=1)
    spikes = drawn(weights, current, 2.5, 6)
    held = np.arange(400) % 5 == 0
    objective = objective_of(spikes, current)
    fit = fit_network(
        lif_network(edges),
        {"spikes": objective},
        free=Parameters((Free("wires.log_gain", sd_type=1.0, start_sd=0.0),)),
        hold_out={"spikes": held[np.asarray(objective.trial)]},
        starts=1,
        schedule=Schedule(steps=150, learning_rate=0.05, interval=50),
    )
    np.testing.assert_allclose(np.asarray(fit.network.params["wires"]["log_gain"]), truth, atol=0.2)
    assert objective.named(fit.readouts["spikes"])["delta_v_mV"] == pytest.approx(2.5, rel=0.08)
    test = objective.subset(held[np.asarray(objective.trial)])
    training = objective.subset(~held[np.asarray(objective.trial)])
    score = likelihood_score(test, fit.predict("spikes", test), training)
    assert score.interval.low > 0.1
