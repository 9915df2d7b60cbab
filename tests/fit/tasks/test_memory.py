"""Delayed match, delayed comparison and go/no-go: what is shown, when, and what it gives away."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from connectofit.fit.tasks import DelayedComparison, DelayedMatch, GoNoGo

TIMES = {"fixation_ms": 1.0, "delay_ms": 3.0, "answer_ms": 2.0}


def drawn(task, n=4000):
    return jax.jit(lambda key: task.trials(key, n))(jax.random.key(2))


def test_a_delayed_match_shows_sample_and_test_around_a_delay_of_half_a_second():
    assert DelayedMatch().periods["delay"] == (250, 750)
    task = DelayedMatch(
        input_kind="rates", n_stimuli=3, sample_ms=2, test_ms=2, neurons_per_group=1, background_Hz=0, **TIMES
    )
    trials = drawn(task)
    inputs, sample, test = np.asarray(trials.inputs), trials.info["sample"], trials.info["test"]
    expected = np.zeros((4000, 10, 5))
    expected[:, 1:3] += np.eye(5)[np.asarray(sample)][:, None]
    expected[:, 6:8] += np.eye(5)[np.asarray(test)][:, None]
    expected[:, 8:, 3] = 1.0
    np.testing.assert_allclose(inputs, expected)
    np.testing.assert_array_equal(trials.labels, sample == test)


@pytest.mark.slow
def test_neither_stimulus_of_a_delayed_match_alone_tells_the_answer():
    trials = drawn(DelayedMatch(n_stimuli=3, sample_ms=2, test_ms=2, neurons_per_group=1, **TIMES))
    for which in ("sample", "test"):
        table = np.zeros((3, 2))
        np.add.at(table, (np.asarray(trials.info[which]), np.asarray(trials.labels)), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-4
        assert stats.chisquare(table.sum(1)).pvalue > 1e-4


def test_a_comparison_codes_sizes_in_two_opposite_rates():
    task = DelayedComparison(
        input_kind="rates", pairs=((10, 20), (40, 20)), first_ms=1, second_ms=1, neurons_per_group=1, **TIMES
    )
    trials = drawn(task, 200)
    first, second = (np.asarray(trials.info[k]) for k in ("first", "second"))
    assert {(10.0, 20.0), (20.0, 10.0), (20.0, 40.0), (40.0, 20.0)} == set(zip(first, second, strict=True))
    np.testing.assert_array_equal(trials.labels, first > second)
    for step, size in ((1, first), (5, second)):
        np.testing.assert_allclose(trials.inputs[:, step, 0] * 40.0, 10.0 + size - 10.0, rtol=1e-5)
        np.testing.assert_allclose(trials.inputs[:, step, 1] * 40.0, 40.0 - (size - 10.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("pairs", "accuracy"),
    [(((1, 2),), 1.0), (((1, 2), (2, 3), (3, 1)), 5 / 6), (((18, 10), (22, 14), (26, 18), (30, 22), (34, 26)), 0.7)],
)
def test_what_one_stimulus_gives_away_is_counted_by_hand(pairs, accuracy):
    assert DelayedComparison(pairs=pairs).single_stimulus_accuracy == pytest.approx(accuracy)


def test_what_one_stimulus_gives_away_is_what_a_look_up_table_reaches():
    task = DelayedComparison(first_ms=1, second_ms=1, neurons_per_group=1, **TIMES)
    trials = drawn(task, 20_000)
    for which in ("first", "second"):
        sizes, k = np.unique(trials.info[which], return_inverse=True)
        counts = np.zeros((sizes.size, 2))
        np.add.at(counts, (k, np.asarray(trials.labels)), 1)
        assert counts.max(1).sum() / 20_000 == pytest.approx(task.single_stimulus_accuracy, abs=0.02)


def test_go_trials_show_the_second_stimulus():
    task = GoNoGo(input_kind="rates", stimulus_ms=2, neurons_per_group=1, background_Hz=0, go_fraction=0.3, **TIMES)
    trials = drawn(task)
    go = np.asarray(trials.labels)
    assert stats.binomtest(int(go.sum()), 4000, 0.3).pvalue > 1e-4
    np.testing.assert_array_equal(trials.inputs[:, 1:3, 1], np.stack([go, go], 1))
    np.testing.assert_array_equal(trials.inputs[:, 1:3, 0], np.stack([1 - go, 1 - go], 1))
    assert np.all(trials.inputs[:, [0, 3, 4, 5], :2] == 0)
