"""Evidence accumulation: its timing, its cues and its answer."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from connectofit.fit.tasks import EvidenceAccumulation


def test_the_default_is_the_task_of_the_paper():
    task = EvidenceAccumulation()
    assert task.n_steps == 7 * (100 + 50) + 1000 + 150 == 2200
    assert task.n_inputs == 100
    assert task.groups == ("left", "right", "recall", "noise")
    assert task.periods == {"cues": (0, 1050), "delay": (1050, 2050), "recall": (2050, 2200)}


@pytest.mark.parametrize(("dt_ms", "first", "last"), [(1.0, (50, 150), (950, 1050)), (0.5, (100, 300), (1900, 2100))])
def test_each_cue_follows_its_gap_to_the_step(dt_ms, first, last):
    task = EvidenceAccumulation(dt_ms=dt_ms)
    assert (task.cue_steps[0], task.cue_steps[-1]) == (first, last)
    assert task.duration_ms == 2200.0


@pytest.fixture(scope="module")
def drawn():
    task = EvidenceAccumulation(
        input_kind="rates", n_cues=5, cue_ms=2, gap_ms=1, delay_ms=2, recall_ms=1, neurons_per_group=1
    )
    return task, jax.jit(lambda key: task.trials(key, 4000))(jax.random.key(11))


def test_every_cue_is_on_one_side_and_the_answer_is_the_side_with_more(drawn):
    task, trials = drawn
    sides = np.asarray(trials.inputs[:, :, :2])
    on = np.array([step for start, stop in task.cue_steps for step in range(start, stop)])
    off = np.setdiff1d(np.arange(task.n_steps), on)
    assert np.all(sides[:, on].sum(2) == 1.0)
    assert np.all(sides[:, off] == 0.0)
    cues = sides[:, on[::2], 1]
    np.testing.assert_array_equal(cues.sum(1), trials.info["n_right"])
    np.testing.assert_array_equal(cues[:, -1], trials.info["last_cue"])
    np.testing.assert_array_equal(cues.sum(1) > 2.5, trials.labels)
    np.testing.assert_array_equal(trials.info["n_left"] + trials.info["n_right"], 5)


def test_cues_fall_on_the_other_side_as_often_as_said_and_independently(drawn):
    _, trials = drawn
    side, right = np.asarray(trials.info["side"]), np.asarray(trials.info["n_right"])
    others = np.where(side == 1, 5 - right, right)
    found = np.bincount(others, minlength=6)
    expected = stats.binom(5, 0.3).pmf(np.arange(6)) * len(others)
    assert stats.chisquare(found, expected).pvalue > 1e-4


def test_the_recall_neurons_fire_while_the_answer_counts(drawn):
    _, trials = drawn
    np.testing.assert_array_equal(trials.inputs[:, :, 2], trials.mask)
