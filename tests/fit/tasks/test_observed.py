"""An animal's own trials as a task: conditions come as often as they did, and answers by their chances."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.behaviour import read_choices
from connectofit.fit.behaviour.network_choices import condition_table, lapsed, observed_task, with_lapses
from connectofit.fit.tasks import Condition, ObservedComparison

SHORT = {"fixation_ms": 20.0, "first_ms": 20.0, "delay_ms": 10.0, "second_ms": 20.0, "answer_ms": 10.0}
CONDITIONS = (
    Condition(1.0, 2.0, (0,), 0.25, 3.0),
    Condition(2.0, 1.0, (1,), 0.75, 1.0),
    Condition(3.0, 1.0, (-1,), 1.0, 0.0),
)


@pytest.fixture(scope="module")
def task():
    return ObservedComparison(conditions=CONDITIONS, past=("choice",), high_Hz=1000.0, low_Hz=0.0, **SHORT)


@pytest.fixture(scope="module")
def trials(task):
    return jax.jit(lambda key: task.trials(key, 4000))(jax.random.key(0))


def test_conditions_and_answers_come_as_often_as_they_should(trials):
    table = trials.table()
    share = table["condition"].value_counts(normalize=True)
    assert share[0] == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 4000))
    assert 2 not in share
    for k, chance in ((0, 0.25), (1, 0.75)):
        own = table[table["condition"] == k]
        assert own["label"].mean() == pytest.approx(chance, abs=4 * np.sqrt(0.1875 / len(own)))
        assert (own["first"] == CONDITIONS[k].first).all()


def test_inputs_say_the_stimuli_and_what_came_before(task, trials):
    assert task.signals == ("rising", "falling", "before_choice_0", "before_choice_1", "go")
    inputs, which = np.asarray(trials.inputs), np.asarray(trials.info["condition"])
    n = task.neurons_per_group
    # At 1000 Hz and 1 ms every neuron fires in every step: sizes 1, 2 and 3 are 0, 0.5 and 1 of the range.
    rates = {name: inputs[:, :, k * n : (k + 1) * n].mean(axis=2) for k, name in enumerate(task.groups)}
    one, two = which == 0, which == 1
    first, second = task.at("first"), task.at("second")
    assert rates["rising"][one][:, first].max() == 0.0
    assert rates["rising"][one][:, second].mean() == pytest.approx(0.5, abs=0.02)
    assert rates["falling"][two][:, second].min() == 1.0
    fixation = task.at("fixation")
    assert rates["before_choice_1"][two][:, fixation].min() == 1.0
    assert rates["before_choice_1"][two][:, fixation.stop :].max() == 0.0
    assert rates["before_choice_0"].max() == 0.0
    assert rates["before_choice_1"][one].max() == 0.0


def test_the_past_may_be_told_throughout(task):
    told = replace(task, past_during="trial").trials(jax.random.key(0), 40)
    inputs, which = np.asarray(told.inputs), np.asarray(told.info["condition"])
    n, k = task.neurons_per_group, task.groups.index("before_choice_1")
    group = inputs[:, :, k * n : (k + 1) * n]
    assert group[which == 1].min() == 1.0
    assert group[which == 0].max() == 0.0
    with pytest.raises(UnknownNameError, match="fixation"):
        replace(task, past_during="always")


def _read(**columns):
    rows = {
        "session": [0, 0, 0, 0, 1],
        "trial": [0, 1, 2, 3, 0],
        "s1": [1.0, 1.0, 2.0, 1.0, 1.0],
        "s2": [2.0, 2.0, 1.0, 2.0, 2.0],
        "choice": ["l", "r", "r", "l", "l"],
        "answer": ["l", "l", "r", "l", "l"],
    }
    return read_choices(pd.DataFrame(rows | columns), options=("l", "r"), stimuli=["s1", "s2"])[0]


def test_trials_become_conditions_with_the_animals_chances_or_the_right_answers():
    trials = _read()
    plain = observed_task(trials, stimuli=("s1", "s2"))
    assert plain.conditions == (Condition(1.0, 2.0, (), 0.25, 4.0), Condition(2.0, 1.0, (), 1.0, 1.0))
    right = observed_task(trials, stimuli=("s1", "s2"), goal="answer")
    assert [c.chance for c in right.conditions] == [0.0, 1.0]
    kinds, which = condition_table(trials, stimuli=("s1", "s2"), past=("choice",))
    # (1, 2) after left, after nothing (twice), after right; (2, 1) after right.
    assert kinds["before_choice"].tolist() == [-1, 0, 1, 1]
    assert kinds["trials"].tolist() == [1, 2, 1, 1]
    assert which.tolist() == [1, 0, 3, 2, 1]


def test_lapses_are_found_again():
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.0, 1.0, 50_000)
    choice = (rng.random(50_000) < lapsed(chance, (0.1, 0.2))).astype(int)
    found, nll = with_lapses(chance, choice)
    np.testing.assert_allclose(found, (0.1, 0.2), atol=0.015)
    assert nll < with_lapses(0.0 * chance + 0.5, choice)[1]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"conditions": ()}, "one condition or more"),
        ({"conditions": (Condition(1.0, 2.0, (0,), 1.5, 1.0),)}, r"Condition 1 .* chance from 0 to 1"),
        ({"conditions": (Condition(1.0, 2.0, (), 0.5, 1.0),)}, r"for each of the past \(choice\)"),
        ({"conditions": (Condition(1.0, 1.0, (0,), 0.5, 1.0),)}, "nothing to compare"),
        ({"conditions": (CONDITIONS[0], CONDITIONS[0])}, "have to differ"),
        ({"conditions": (CONDITIONS[2],)}, "share above 0"),
    ],
)
def test_conditions_that_make_no_trials_are_refused(task, change, match):
    with pytest.raises(SettingError, match=match):
        replace(task, **change)


def test_trials_that_make_no_task_are_refused():
    with pytest.raises(UnknownNameError, match="past named 'reward'"):
        observed_task(_read(), stimuli=("s1", "s2"), past=("reward",))
    with pytest.raises(UnknownNameError, match="goal named 'win'"):
        observed_task(_read(), stimuli=("s1", "s2"), goal="win")
    with pytest.raises(UnknownNameError, match="stimulus named 's3'"):
        observed_task(_read(), stimuli=("s1", "s3"))
    unknown = _read(answer=[None, "l", "r", "l", "l"])
    with pytest.raises(SettingError, match="1 trials have no answer"):
        observed_task(unknown, stimuli=("s1", "s2"), goal="answer")
