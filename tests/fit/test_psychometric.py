"""Psychometric curves as an objective: the equation, binomial counts, recovery, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import Free, Parameters, Psychometric, Schedule, fit_network, likelihood_score
from connectofit.fit.behaviour import ChoiceTrials
from connectofit.sim import LIF, Network, Population

DT, N_STEPS, TAU = 5.0, 40, 50.0
IDS = ("n0", "n1")
POOLS = {"left": ["n0"], "right": ["n1"]}
LEVELS = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])


@pytest.fixture(scope="module")
def net(graded):
    """Two neurons without synapses: V = I (1 - exp(-t / tau))."""
    return graded(np.zeros((2, 2)), tau_m_ms=TAU)


def trials_of(choice, session=None):
    choice = np.asarray(choice)
    session = np.zeros(choice.size, int) if session is None else np.asarray(session)
    names = tuple(f"s{k}" for k in range(int(session.max()) + 1))
    none = np.full(choice.size, -1)
    return ChoiceTrials(
        names,
        session,
        np.arange(choice.size),
        {"s": np.zeros(choice.size)},
        ("left", "right"),
        choice,
        none,
        np.full(choice.size, np.nan),
    )


def inputs_of(levels=LEVELS):
    return np.stack([np.zeros_like(levels), levels], axis=1)[:, None, :] * np.ones((1, N_STEPS, 1))


def objective_of(choice, condition, session=None, **given):
    settings = {"condition": np.asarray(condition), "dt_ms": DT, "pools": POOLS} | given
    return Psychometric.from_choices(trials_of(choice, session), inputs_of(), IDS, **settings)


def curve(levels, gain, bias, gamma, lapse, window=(0, N_STEPS)):
    t = DT * np.arange(1, N_STEPS + 1)
    d = levels * (1 - np.exp(-t / TAU))[slice(*window)].mean()
    return gamma + (1 - gamma - lapse) / (1 + np.exp(-(gain * d + bias)))


def raw(lapse):
    return jnp.log(lapse / (0.4 - lapse))


def test_rows_are_levels_with_binomial_counts(net):
    rng = np.random.default_rng(0)
    condition = rng.integers(0, 5, 200)
    choice = (rng.random(200) < 0.2 + 0.15 * condition).astype(int)
    objective = objective_of(choice, condition, window_ms=(50.0, 150.0))
    np.testing.assert_array_equal(objective.total, np.bincount(condition))
    np.testing.assert_array_equal(objective.second, np.bincount(condition, weights=choice))
    readout = {"gain_log": jnp.log(3.0), "bias": jnp.asarray(0.4), "gamma_raw": raw(0.1), "lambda_raw": raw(0.05)}
    chance = curve(LEVELS, 3.0, 0.4, 0.1, 0.05, (10, 30))
    logit = np.asarray(objective.predict(net, readout), float)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), chance, rtol=1e-4)
    expected = -binom.logpmf(np.asarray(objective.second), np.asarray(objective.total), chance)
    np.testing.assert_allclose(objective.loss(jnp.asarray(logit)), expected, rtol=1e-3)
    named = objective.named(readout)
    assert {k: round(v, 4) for k, v in named.items()} == {"gain": 3.0, "bias": 0.4, "gamma": 0.1, "lambda": 0.05}
    part = objective.subset(np.array([False, True, False, False, True]))
    np.testing.assert_allclose(part.loss(part.predict(net, readout)), expected[[1, 4]], rtol=1e-3)


def test_rows_of_sessions_are_levels_in_each(net):
    condition, session = [0, 0, 4, 4, 4], [0, 1, 0, 1, 1]
    objective = objective_of([0, 0, 1, 1, 0], condition, session, group_by="session", lapses=False)
    assert np.asarray(objective.group).tolist() == [0, 0, 1, 1]
    assert np.asarray(objective.condition).tolist() == [0, 4, 0, 4]
    assert np.asarray(objective.total).tolist() == [1, 1, 1, 2]
    assert np.asarray(objective.second).tolist() == [0, 1, 0, 1]
    assert set(objective.initial()) == {"gain_log", "bias"}


def test_weights_may_be_fitted_and_an_extreme_answer_keeps_a_finite_loss(net):
    objective = objective_of([0, 1, 1, 0], [0, 4, 4, 0], pools=None, read=["n1"], weight_sd=2.0)
    assert objective.initial()["weights"].shape == (1,)
    readout = objective.initial() | {"weights": jnp.asarray([1e4])}
    assert float(objective.penalty(readout)) == pytest.approx(0.5 * (1e4 / 2.0) ** 2)
    # All choices as the sign of d says: what is left is -log(1 - lapse) of two trials a level.
    np.testing.assert_allclose(objective.loss(objective.predict(net, readout)), -2 * np.log(0.98), rtol=1e-3)
    against = replace(objective, second=2.0 - objective.second)
    np.testing.assert_allclose(against.loss(against.predict(net, readout)), -2 * np.log(0.02), rtol=1e-3)


def test_spiking_neurons_are_read_as_rates():
    zero = np.zeros(2, np.int32)
    params = {k: np.full(1, p.default) for k, p in LIF.parameters.items()}
    cells = Population("cells", LIF(), IDS, zero, ("all",))
    net = Network((cells,), (), {"cells": params})
    inputs = np.zeros((2, 400, 2))
    inputs[1, :, 1] = 300.0
    trials = trials_of([0, 1])
    objective = Psychometric.from_choices(
        trials, inputs, IDS, condition=np.array([0, 1]), dt_ms=0.5, pools=POOLS, scale=10.0, lapses=False
    )
    # To -55 from -70 with 30 mV of drive and tau 20 ms: 13.86 ms, 28 steps, and 2 ms at rest: every 16 ms.
    logit = np.asarray(objective.predict(net, objective.initial()))
    np.testing.assert_allclose(logit, [0.0, 12 / 0.2 / 10.0], atol=1e-5)


def test_the_gradient_is_that_of_finite_differences(net):
    with jax.enable_x64(True):
        objective = objective_of([0, 1, 1, 0, 1], [0, 1, 2, 3, 4])
        readout = {k: jnp.asarray(v, float) for k, v in objective.initial().items()}

        def loss(values):
            changed = net.with_params({"worm": {"tau_m_ms": values["tau"][None]}})
            return objective.loss(objective.predict(changed, values)).sum() + objective.penalty(values)

        loss = jax.jit(loss)
        values = readout | {"tau": jnp.asarray(60.0), "bias": jnp.asarray(0.2)}
        slope = jax.grad(loss)(values)
        for name in values:
            a, b = (float(loss(values | {name: values[name] + h})) for h in (1e-6, -1e-6))
            assert float(slope[name]) == pytest.approx((a - b) / 2e-6, rel=1e-4, abs=1e-8), name


def test_scores_are_against_one_share_for_all_levels():
    training = objective_of([0, 1, 1, 1], [0, 1, 2, 3])
    share = 3.5 / 5
    test = objective_of([0, 1, 1, 0, 1, 0], [0, 0, 0, 4, 4, 4])
    expected = -binom.logpmf([2, 1], 3, share)
    np.testing.assert_allclose(test.baseline(training), expected, rtol=1e-5)
    logit = np.log(np.array([0.7, 0.3]) / np.array([0.3, 0.7]))
    score = likelihood_score(test, logit, training, n_resamples=99)
    model = -binom.logpmf([2, 1], 3, [0.7, 0.3]).sum() / 6
    assert (score.unit, score.n, score.interval.units) == ("trial", 6, 2)
    assert score.model == pytest.approx(model, rel=1e-5)
    assert score.gain == pytest.approx(expected.sum() / 6 - model, rel=1e-4)


@pytest.mark.parametrize(
    ("choice", "condition", "given", "text"),
    [
        ([0, -1], [0, 1], {}, "found none in 'trial 2'"),
        ([0, 1], [1, 1], {}, "2 trials of 1 conditions"),
        ([1, 1], [0, 1], {}, "both options"),
        ([0, 3], [0, 1], {}, "places in the 2 options"),
        ([0, 1], [0, 5], {}, "from 0 to 4"),
        ([0, 1], [0.0, 1.0], {}, "a whole number"),
        ([0, 1], [0, 1], {"window_ms": (50.0, 300.0)}, "within the 200 ms"),
        ([0, 1], [0, 1], {"window_ms": (50.0, 51.0)}, "a step or more"),
        ([0, 1], [0, 1], {"read": ["n0"]}, "pools or read, not both"),
        ([0, 1], [0, 1], {"scale": 0.0}, "above 0"),
        ([0, 1], [0, 1], {"dt_ms": 0.0}, "dt_ms has to be above 0"),
    ],
)
def test_trials_and_settings_that_do_not_fit_are_refused(choice, condition, given, text):
    with pytest.raises(SettingError, match=text):
        objective_of(choice, condition, **given)


def test_inputs_that_do_not_fit_are_refused():
    trials, settings = trials_of([0, 1]), {"condition": np.array([0, 1]), "dt_ms": DT, "pools": POOLS}
    with pytest.raises(SettingError, match=r"\(any, any, 2\); found \(5, 40, 3\)"):
        Psychometric.from_choices(trials, np.zeros((5, 40, 3)), IDS, **settings)
    inputs = inputs_of()
    inputs[1, 7, 1] = np.nan
    with pytest.raises(SettingError, match="condition 1, step 7, n1"):
        Psychometric.from_choices(trials, inputs, IDS, **settings)
    with pytest.raises(SettingError, match="between two options; these trials have 3"):
        Psychometric.from_choices(replace(trials, options=("a", "b", "c")), inputs_of(), IDS, **settings)
    with pytest.raises(UnknownNameError, match="Did you mean 'session'"):
        objective_of([0, 1], [0, 1], group_by="sessions")


@pytest.mark.slow
def test_a_fit_finds_gain_bias_and_lapses_and_predicts_levels_that_it_did_not_see(net):
    rng = np.random.default_rng(3)
    levels = np.linspace(-3.0, 3.0, 13)
    condition = np.repeat(np.arange(13), 4000)
    choice = (rng.random(condition.size) < curve(levels, 2.5, -0.5, 0.12, 0.04)[condition]).astype(int)
    objective = Psychometric.from_choices(
        trials_of(choice), inputs_of(levels), IDS, condition=condition, dt_ms=DT, pools=POOLS
    )
    held = np.isin(objective.group, [3, 7, 8])
    fit = fit_network(
        net,
        {"choices": objective},
        free=Parameters((Free("worm.v_rest", start_sd=0.0, sd_shared=0.01, sd_type=0.01),)),
        hold_out={"choices": held},
        starts=1,
        schedule=Schedule(steps=400, learning_rate=0.1, interval=200),
    )
    found = objective.named(fit.readouts["choices"])
    assert found["gain"] == pytest.approx(2.5, rel=0.1)
    assert found["bias"] == pytest.approx(-0.5, abs=0.1)
    assert found["gamma"] == pytest.approx(0.12, abs=0.015)
    assert found["lambda"] == pytest.approx(0.04, abs=0.015)
    test = objective.subset(held)
    score = likelihood_score(test, fit.predict("choices", test), objective.subset(~held))
    truth = curve(levels, 2.5, -0.5, 0.12, 0.04)[[3, 7, 8]]
    best = -binom.logpmf(np.asarray(test.second), np.asarray(test.total), truth).sum() / score.n
    assert score.gain > 0.05
    assert score.model < best + 0.001
