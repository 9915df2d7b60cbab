"""Folds and validation parts keep groups whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectofit.connectome.errors import SettingError
from connectofit.fit import group_folds, validation_part

GROUPS = st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=60).filter(lambda g: len(set(g)) >= 2)


def values_by_group(groups, values) -> dict[str, set]:
    return {g: {v for h, v in zip(groups, values.tolist(), strict=True) if h == g} for g in groups}


@pytest.mark.slow
@given(GROUPS, st.integers(2, 10), st.integers(0, 2**32 - 1))
def test_every_group_is_in_one_fold_and_folds_differ_by_one_group_at_most(groups, n_folds, seed):
    n_folds = min(n_folds, len(set(groups)))
    by_group = values_by_group(groups, group_folds(groups, n_folds, seed))
    assert all(len(folds) == 1 for folds in by_group.values())
    sizes = np.bincount([folds.pop() for folds in by_group.values()], minlength=n_folds)
    assert sizes.size == n_folds
    assert np.ptp(sizes) <= 1


@given(GROUPS, st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_a_validation_part_takes_whole_groups_and_leaves_some(groups, fraction, seed):
    by_group = values_by_group(groups, validation_part(groups, fraction, seed))
    assert all(len(chosen) == 1 for chosen in by_group.values())
    taken = sum(chosen == {True} for chosen in by_group.values())
    assert 1 <= taken < len(by_group)
    assert abs(taken - fraction * len(by_group)) <= 1.0


@pytest.mark.parametrize("split", [lambda g, s: group_folds(g, 3, s), lambda g, s: validation_part(g, 0.3, s)])
def test_the_seed_decides_and_the_order_of_rows_does_not(split):
    groups = [f"g{k % 20}" for k in range(60)]
    assert np.array_equal(split(groups, 1), split(groups, 1))
    assert not np.array_equal(split(groups, 1), split(groups, 2))
    assert np.array_equal(split(groups[::-1], 1)[::-1], split(groups, 1))


@pytest.mark.parametrize("n_folds", [0, 1, 4, 2.5, True])
def test_folds_that_cannot_be_made_are_refused(n_folds):
    with pytest.raises(SettingError, match="3 groups"):
        group_folds(["a", "b", "c", "a"], n_folds, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_fractions_outside_0_to_1_are_refused(fraction):
    with pytest.raises(SettingError, match="fraction between 0 and 1"):
        validation_part(["a", "b"], fraction, 0)


def test_a_single_group_has_no_validation_part():
    with pytest.raises(SettingError, match="two groups"):
        validation_part(["a", "a"], 0.5, 0)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_seeds_that_are_no_whole_numbers_are_refused(seed):
    with pytest.raises(SettingError, match="whole number"):
        group_folds(["a", "b"], 2, seed)
    with pytest.raises(SettingError, match="whole number"):
        validation_part(["a", "b"], 0.5, seed)
