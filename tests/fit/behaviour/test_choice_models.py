"""Regressions of choices against closed forms and simulated animals, and the measure of contraction bias."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.behaviour import (
    HISTORY,
    choice_features,
    choice_nll,
    choice_regression,
    contraction_bias,
    read_choices,
)


def _trials(**columns):
    rows = {
        "session": ["a", "a", "a", "b", "b"],
        "trial": [0, 1, 2, 0, 1],
        "s1": [1.0, 2.0, 4.0, -1.0, 3.0],
        "s2": [3.0, 0.0, 2.0, 1.0, 5.0],
        "choice": ["l", "r", "r", "l", "r"],
        "answer": ["r", "r", None, "l", "l"],
    }
    return read_choices(pd.DataFrame(rows | columns), options=("l", "r"), stimuli=["s1", "s2"])[0]


def test_features_are_of_the_trials_before_in_the_session():
    found = choice_features(_trials(), history=HISTORY)
    assert found["previous_s1"].tolist() == [0.0, 1.0, 2.0, 0.0, -1.0]
    assert found["previous_choice"].tolist() == [0.0, -1.0, 1.0, 0.0, -1.0]
    assert found["previous_answer"].tolist() == [0.0, 1.0, 1.0, 0.0, -1.0]
    # (1 + 3) / 2, then (1 + 3 + 2 + 0) / 4; the present trial is not among them.
    assert found["session_mean"].tolist() == [0.0, 2.0, 1.5, 0.0, 0.0]


def test_one_binary_feature_has_the_log_odds_of_its_two_groups():
    x = pd.DataFrame({"x": np.repeat([0.0, 2.0], [50, 80])})
    y = np.concatenate([np.repeat([0, 1], [40, 10]), np.repeat([0, 1], [20, 60])])
    fit = choice_regression(x, y, prior_sd=1e6)
    assert fit.bias == pytest.approx(np.log(10 / 40), abs=1e-4)
    assert fit.weights["x"] == pytest.approx(0.5 * (np.log(60 / 20) - np.log(10 / 40)), abs=1e-4)
    expected = -(40 * np.log(0.8) + 10 * np.log(0.2) + 20 * np.log(0.25) + 60 * np.log(0.75)) / 130
    assert fit.nll == pytest.approx(expected, abs=1e-6)
    assert choice_nll(fit.probability(x), y).mean() == pytest.approx(fit.nll, abs=1e-9)


def test_an_observer_with_lapses_is_found_again():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(40_000, 2)), columns=["s1", "s2"])
    chance = 0.05 + (1 - 0.05 - 0.15) * expit(2.0 * x["s1"] - 3.0 * x["s2"] + 0.4)
    y = (rng.random(40_000) < chance).astype(int)
    fit = choice_regression(x, y, lapses=True)
    # Standard errors by the Fisher information of this design: 0.05, 0.07, 0.04 and 0.004.
    assert fit.weights["s1"] == pytest.approx(2.0, abs=0.15)
    assert fit.weights["s2"] == pytest.approx(-3.0, abs=0.21)
    assert fit.bias == pytest.approx(0.4, abs=0.12)
    np.testing.assert_allclose(fit.lapses, [0.15, 0.05], atol=0.012)
    assert choice_regression(x, y).nll > fit.nll
    best = choice_nll(chance.to_numpy(), y).mean()
    assert fit.nll <= best <= fit.nll + 5 / 40_000  # 5 parameters gain 2.5 nats on average


def test_a_perfect_predictor_keeps_finite_weights():
    x = pd.DataFrame({"x": np.linspace(-1.0, 1.0, 100)})
    fit = choice_regression(x, (x["x"].to_numpy() > 0).astype(int))
    assert np.isfinite(fit.weights["x"])
    assert fit.nll < 0.1


def test_a_memory_that_is_drawn_to_the_mean_shows_and_an_exact_one_does_not():
    rng = np.random.default_rng(1)
    levels = np.linspace(-2.0, 2.0, 9)
    first = rng.choice(levels, 60_000)
    second = first + 0.5 * rng.choice([-1.0, 1.0], 60_000)

    def accuracy(weight):
        seen = weight * first + rng.normal(0.0, 0.4, first.size) - second
        return ((seen > 0) == (first > second)).astype(float)

    drawn, exact = (contraction_bias(accuracy(w), first, second) for w in (0.8, 1.0))
    assert drawn.difference > 0.2
    assert abs(exact.difference) < 4 * np.sqrt(0.25 / drawn.n_helps + 0.25 / drawn.n_hurts)
    n = int((first != 0).sum())
    assert drawn.n_helps + drawn.n_hurts == n


def test_bad_requests_are_refused():
    trials = _trials()
    with pytest.raises(UnknownNameError, match="kind of history named 'reward'"):
        choice_features(trials, history=["reward"])
    with pytest.raises(UnknownNameError, match="stimulus named 's3'"):
        choice_features(trials, stimuli=["s3"])
    features = choice_features(trials)
    with pytest.raises(SettingError, match="both options"):
        choice_regression(features, np.ones(5, int))
    with pytest.raises(SettingError, match="4 choices"):
        choice_regression(features, np.array([0, 1, 0, 1]))
    fit = choice_regression(features, trials.choice)
    with pytest.raises(SettingError, match="was fitted to s1, s2"):
        fit.probability(features[["s1"]])
    three = read_choices(
        pd.DataFrame({"session": 0, "trial": [0, 1, 2], "s1": [0.0, 1.0, 2.0], "choice": ["a", "b", "c"]}),
        options=("a", "b", "c"), stimuli=["s1"],
    )[0]  # fmt: skip
    with pytest.raises(SettingError, match="between two options; found 3"):
        choice_features(three)
