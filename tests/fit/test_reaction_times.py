"""Reaction times as an objective: closed forms of first passages, censoring, recovery, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import Free, Parameters, ReactionTimes, Schedule, fit_network, likelihood_score
from connectofit.fit.behaviour import ChoiceTrials, choice_features, read_choices
from connectofit.fit.reaction_times import first_passage

DT, N_STEPS, TAU = 5.0, 100, 50.0
POOLS = {"left": ["n0"], "right": ["n1"]}


@pytest.fixture(scope="module")
def net(graded):
    """Two neurons without synapses: V = I (1 - exp(-t / tau))."""
    return graded(np.zeros((2, 2)), tau_m_ms=TAU)


def trials_of(choice, reaction_ms, session=None):
    choice = np.asarray(choice)
    session = np.zeros(choice.size, int) if session is None else np.asarray(session)
    names = tuple(f"s{k}" for k in range(int(session.max()) + 1))
    stimuli = {"s": np.zeros(choice.size)}
    none = np.full(choice.size, -1)
    return ChoiceTrials(
        names, session, np.arange(choice.size), stimuli, ("left", "right"), choice, none, np.asarray(reaction_ms, float)
    )


def steps_into(second, n_steps=N_STEPS):
    """A current into n1, one condition for each amplitude."""
    amplitude = np.asarray(second, float)
    return np.stack([np.zeros_like(amplitude), amplitude], axis=1)[:, None, :] * np.ones((1, n_steps, 1))


def objective_of(choice, reaction_ms, amplitude=(0.0,), condition=None, **given):
    condition = np.zeros(len(choice), int) if condition is None else condition
    settings = {"condition": condition, "dt_ms": DT, "pools": POOLS} | given
    return ReactionTimes.from_choices(trials_of(choice, reaction_ms), steps_into(amplitude), ("n0", "n1"), **settings)


def test_a_constant_hazard_makes_exponential_reaction_times_and_censored_trials_their_tail(net):
    rate = 0.002  # of each answer, per ms
    choice = [0, 1, 1, -1, -1]
    time = [5.0, 120.0, 498.0, np.nan, 250.0]
    readout = {"log_rate": jnp.log(rate), "steepness_log": jnp.zeros(()), "bias": jnp.zeros(())}
    for delay in (0.0, 40.0):
        kept = slice(1, None) if delay else slice(None)
        objective = objective_of(choice[kept], time[kept], non_decision_ms=delay)
        loss = np.asarray(objective.loss(jax.jit(objective.predict)(net, readout)))
        before = np.array([0.0, 115.0 - delay, 495.0 - delay])[kept]  # decision time at the beginning of its step
        answered = np.log(0.5 * (1 - np.exp(-2 * rate * DT))) - 2 * rate * before
        censored = -2 * rate * np.array([500.0 - delay, 250.0 - delay])
        np.testing.assert_allclose(loss, -np.concatenate([answered, censored]), rtol=1e-4)


def test_a_bias_divides_a_constant_hazard_as_its_logistic_function(net):
    readout = {"log_rate": jnp.log(0.002), "steepness_log": jnp.log(2.0), "bias": jnp.asarray(0.3)}
    objective = objective_of([0, 1], [200.0, 200.0], non_decision_ms=0.0)
    chance, silent = objective.distribution(net, readout)
    assert float(chance.sum() + silent.sum()) == pytest.approx(1.0, abs=1e-5)
    shares = np.asarray(chance[0]).sum(1)
    assert shares[1] / shares.sum() == pytest.approx(1 / (1 + np.exp(-2 * 2.0 * 0.3)), rel=1e-4)


def test_a_ramp_makes_the_hazard_grow_exponentially():
    rate, slope, dt = 1e-4, 0.02, 0.05  # per ms; steepness times d per ms
    t = dt * np.arange(1, 6001)
    _, silent = first_passage(jnp.asarray(slope * (t - dt / 2))[None], jnp.log(rate), 1.0, 0.0, dt)
    # The integral of 2 rate cosh(slope t).
    np.testing.assert_allclose(silent[0, 1:], -2 * rate / slope * np.sinh(slope * t), rtol=2e-3)


def test_a_steep_bound_is_answered_where_the_decision_variable_crosses_it(net):
    objective = objective_of([1], [200.0], amplitude=(2.0,), non_decision_ms=0.0)
    steepness, bound = 2000.0, 1.0
    readout = {"log_rate": jnp.asarray(-steepness * bound), "steepness_log": jnp.log(steepness), "bias": jnp.zeros(())}
    chance, silent = objective.distribution(net, readout)
    crossing = TAU * np.log(2.0)  # 2 (1 - exp(-t / tau)) = 1
    assert float(chance[0, 1, int(crossing / DT)]) == pytest.approx(1.0, abs=1e-3)
    assert float(silent[0]) == pytest.approx(0.0, abs=1e-6)
    assert objective.named(readout)["bound"] == pytest.approx(bound, rel=1e-4)


def test_noisy_evidence_under_a_steep_bound_is_a_drift_diffusion():
    drift, bound, n, n_steps = 0.05, 20.0, 2000, 2000
    noise = np.random.default_rng(0).normal(size=(n, n_steps))
    d = np.cumsum(drift + noise, axis=1)
    answer, _ = first_passage(jnp.asarray(d, jnp.float32), -50.0 * bound, 50.0, 0.0, 1.0)
    chance = np.exp(np.asarray(answer, float)).mean(1)
    # Seen in steps of 1 the bound lies 0.583 further out (Siegmund 1979, Ann Probab 7:1013). Cox & Miller 1965, 2.3.
    a = bound + 0.583
    assert chance.sum() == pytest.approx(1.0, abs=0.01)
    assert chance[1].sum() == pytest.approx(1 / (1 + np.exp(-2 * drift * a)), abs=0.025)
    time = (chance.sum(0) * np.arange(1, n_steps + 1)).sum()
    assert time == pytest.approx(a / drift * np.tanh(drift * a), rel=0.06)


@pytest.mark.slow
def test_the_gradient_is_that_of_finite_differences(net):
    with jax.enable_x64(True):
        objective = objective_of([0, 1, 1, -1], [203.0, 123.0, 318.0, np.nan], (0.4, 1.5), np.array([0, 1, 1, 0]))
        readout = {k: jnp.asarray(v, float) for k, v in objective.initial().items()}

        def loss(values):
            tau = jnp.exp(values["tau"])
            changed = net.with_params({"worm": {"tau_m_ms": tau[None]}})
            return objective.loss(objective.predict(changed, values)).sum()

        values = readout | {"bias": jnp.asarray(0.1), "tau": jnp.log(TAU)}
        loss = jax.jit(loss)
        slope = jax.grad(loss)(values)
        for name in values:
            a, b = (float(loss(values | {name: values[name] + h})) for h in (1e-6, -1e-6))
            assert float(slope[name]) == pytest.approx((a - b) / 2e-6, rel=1e-5, abs=1e-7), name


def test_scores_are_against_constant_hazards_of_the_training_trials():
    training = objective_of([0, 1, 1, -1], [100.0, 100.0, 300.0, 500.0], non_decision_ms=50.0)
    assert np.asarray(training.step).tolist() == [19, 19, 59, 100]
    exposed = 9 + 9 + 49 + 90 + 3 + 1  # steps without an answer, those with one, and half an answer of each
    hazard = np.array([1.5, 2.5]) / exposed
    test = training.subset(np.array([False, True, False, True]))
    expected = -np.array([np.log(hazard[1]) + 9 * np.log(1 - hazard.sum()), 90 * np.log(1 - hazard.sum())])
    np.testing.assert_allclose(test.baseline(training), expected, rtol=1e-6)
    predicted = np.log([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    score = likelihood_score(test, predicted, training)
    assert (score.unit, score.n, score.interval) == ("trial", 2, None)
    assert score.model == pytest.approx(-np.log([0.2, 0.4]).mean(), rel=1e-5)
    assert score.gain == pytest.approx(expected.mean() - score.model, rel=1e-5)
    with pytest.raises(SettingError, match="each of the 2 rows; found 3"):
        likelihood_score(test, np.zeros((3, 3)), training)


@pytest.mark.parametrize(
    ("choice", "time", "given", "text"),
    [
        ([0, 1], [np.nan, 100.0], {}, "need a reaction time; found none in 'trial 1'"),
        ([0, 1], [600.0, 100.0], {}, "within the 500 ms of the inputs after the onset; found 'trial 1: 600 ms'"),
        ([0, 1], [450.0, 100.0], {"onset_ms": 100.0}, "within the 400 ms"),
        ([0, 1], [-3.0, 100.0], {}, "found 'trial 1: -3 ms'"),
        (
            [0, 1],
            [90.0, 200.0],
            {"non_decision_ms": (50.0, 120.0)},
            "non-decision time, 120 ms; found 'trial 1: 90 ms'",
        ),
        ([0, 1], [90.0, 200.0], {"non_decision_ms": (50.0, 20.0)}, "two in order"),
        ([-1, -1], [np.nan, 200.0], {}, "None of the 2 trials has an answer"),
        ([0, 2], [100.0, 200.0], {}, "or -1 for none; found 'trial 2: 2'"),
        (
            [0, 1],
            [100.0, 200.0],
            {"condition": np.array([0, 1])},
            "from 0 to 0, places in the inputs; found 'trial 2: 1'",
        ),
        ([0, 1], [100.0, 200.0], {"condition": np.array([0])}, "for each of the 2 trials"),
        ([0, 1], [100.0, 200.0], {"pools": {"left": ["n0"], "right": ["n9"]}}, "no neurons 'n9'"),
        ([0, 1], [100.0, 200.0], {"pools": {"left": ["n0"]}}, "Both options need a pool"),
        ([0, 1], [100.0, 200.0], {"pools": {"left": ["n0"], "right": ["n0"]}}, "found again: 'n0'"),
        ([0, 1], [100.0, 200.0], {"onset_ms": 3.0}, "a step's beginning"),
        ([0, 1], [100.0, 200.0], {"tau_ms": -1.0}, "tau_ms of a decision variable"),
    ],
)
def test_trials_and_settings_that_do_not_fit_are_refused(choice, time, given, text):
    with pytest.raises(SettingError, match=text):
        objective_of(choice, time, **given)


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'session'"):
        objective_of([0, 1], [100.0, 200.0], group_by="sesion")
    with pytest.raises(UnknownNameError, match="Did you mean 'left'"):
        objective_of([0, 1], [100.0, 200.0], pools={"lefty": ["n0"], "right": ["n1"]})


def test_trials_without_an_answer_are_kept_where_that_is_asked_for():
    table = pd.DataFrame(
        {
            "session": "a",
            "trial": range(4),
            "s": [0.0, 1.0, 2.0, 3.0],
            "choice": ["l", None, "r", "r"],
            "answer": ["l", "r", "r", "l"],
            "reaction_time": [300.0, None, 300.0, None],
        }
    )
    settings = {"options": ("l", "r"), "stimuli": ["s"]}
    trials, report = read_choices(table, unanswered="keep", **settings)
    assert trials.choice.tolist() == [0, -1, 1, 1]
    np.testing.assert_array_equal(trials.correct, [1.0, np.nan, 1.0, 0.0])
    assert [f.rule for f in report.findings] == ["no_choice", "constant", "no_reaction_time"]
    assert report.rows_kept == {"choices": 4}
    assert choice_features(trials, history=["choice"])["previous_choice"].tolist() == [0.0, -1.0, 0.0, 1.0]
    assert read_choices(table, **settings)[0].n_rows == 3
    with pytest.raises(UnknownNameError, match="named 'kept'"):
        read_choices(table, unanswered="kept", **settings)


@pytest.mark.slow
def test_a_fit_finds_bound_steepness_non_decision_time_and_the_time_constant(net):
    rng = np.random.default_rng(4)
    amplitude = np.array([-3.0, -1.5, -0.5, 0.5, 1.5, 3.0])
    n = 6000
    condition = rng.integers(0, 6, n)
    truth = {"log_rate": jnp.asarray(-7.0), "steepness_log": jnp.log(1.5), "bias": jnp.asarray(0.2)}
    with_truth = objective_of([0, 1] * 3, [400.0] * 6, amplitude, np.arange(6), non_decision_ms=100.0)
    chance, silent = with_truth.distribution(net, truth)
    p = np.concatenate([np.asarray(chance, float).reshape(6, -1), np.asarray(silent, float)[:, None]], axis=1)
    drawn = np.array([rng.choice(p.shape[1], p=p[c] / p[c].sum()) for c in condition])
    choice = np.where(drawn == p.shape[1] - 1, -1, drawn // N_STEPS)
    time = np.where(choice < 0, np.nan, DT * (drawn % N_STEPS + 1))
    start = net.with_params({"worm": {"tau_m_ms": np.full(1, 80.0)}})
    held = np.arange(n) % 5 == 0
    objective = objective_of(choice, time, amplitude, condition, group_by="trial")
    fit = fit_network(
        start,
        {"answers": objective},
        free=Parameters((Free("worm.tau_m_ms", transform="scale", start_sd=0.0),)),
        hold_out={"answers": held},
        starts=1,
        schedule=Schedule(steps=300, learning_rate=0.1, interval=100),
    )
    found = objective.named(fit.readouts["answers"])
    assert found["bound"] == pytest.approx(7.0 / 1.5, rel=0.08)
    assert found["steepness"] == pytest.approx(1.5, rel=0.08)
    assert found["bias"] == pytest.approx(0.2, abs=0.06)
    assert found["non_decision_ms"] == pytest.approx(100.0, abs=10.0)
    assert float(fit.network.params["worm"]["tau_m_ms"][0]) == pytest.approx(TAU, rel=0.25)
    test = objective.subset(held)
    score = likelihood_score(test, fit.predict("answers", test), objective.subset(~held))
    assert score.interval.low > 0.1
