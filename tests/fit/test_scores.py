"""Scores against brute force and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from connectofit.connectome.errors import UnknownNameError
from connectofit.fit import auroc, spearman, within

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30)


def pair_count(truth, score) -> float:
    """The share of (positive, negative) pairs in the right order, ties counted half."""
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in score[truth] for n in score[~truth]]
    return sum(wins) / len(wins)


@given(ROWS)
def test_auroc_is_the_share_of_rightly_ordered_pairs_with_ties_counted_half(rows):
    truth = np.array([t for t, _ in rows])
    score = np.array([s for _, s in rows], float)
    found = auroc(truth.astype(float), score)
    if truth.all() or not truth.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(pair_count(truth, score), abs=1e-12)


@pytest.mark.parametrize("truth", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
def test_auroc_is_nan_where_there_is_one_class_only(truth):
    assert np.isnan(auroc(np.array(truth), np.array([1.0, 2.0, 3.0])))


@given(st.lists(st.tuples(st.integers(-4, 4), st.floats(-5, 5)), min_size=3, max_size=30))
def test_spearman_equals_scipy(rows):
    a, b = (np.array(column, float) for column in zip(*rows, strict=True))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(spearman(a, b))
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_spearman_needs_three_rows():
    assert np.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


def test_within_is_the_mean_over_the_groups_that_are_large_enough():
    rng = np.random.default_rng(0)
    groups = ["a"] * 10 + ["b"] * 12 + ["few_positives"] * 9
    truth = np.array([1, 0] * 5 + [1, 1, 0] * 4 + [1, 1, *[0] * 7], float)
    score = rng.normal(size=truth.size)
    of = [pair_count(truth[rows] > 0.5, score[rows]) for rows in (slice(0, 10), slice(10, 22))]
    assert within("auroc", groups, truth, score) == pytest.approx(np.mean(of), abs=1e-12)
    assert within("auroc", groups, truth, score, least=2) != pytest.approx(np.mean(of), abs=1e-6)

    of = [spearmanr(truth[rows], score[rows]).statistic for rows in (slice(0, 10), slice(10, 22))]
    assert within("spearman", groups, truth, score, least=10) == pytest.approx(np.mean(of), abs=1e-12)


def test_within_of_small_groups_only_is_nan():
    assert np.isnan(within("auroc", ["a", "b"], np.array([1.0, 0.0]), np.array([1.0, 0.0])))


def test_within_refuses_a_score_that_does_not_exist():
    with pytest.raises(UnknownNameError, match="Did you mean 'auroc'"):
        within("aurocc", ["a"], np.zeros(1), np.zeros(1))
