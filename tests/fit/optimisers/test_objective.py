"""Coordinates keep to the bounds and come back; starts cover the ranges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers import Box, random_starts


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_no_coordinate_leaves_the_bounds(z):
    box = Box(("x", "y", "tau"), np.array([-3.0, -3.0, 0.01]), np.array([3.0, 3.0, 10.0]), (False, False, True))
    for x in (box.physical(np.array(z)), np.asarray(box.to_physical(jnp.asarray(z, jnp.float32)), np.float64)):
        assert (x >= box.low - 1e-6).all()
        assert (x <= box.high + 1e-5).all()


def test_parameters_come_back_from_their_coordinates(box):
    x = np.array([[-2.0, 2.9, 0.02], [0.0, -1.0, 9.0]])
    np.testing.assert_allclose(box.physical(box.from_physical(x)), x, rtol=1e-12)
    with jax.enable_x64(True):
        np.testing.assert_allclose(box.to_physical(jnp.asarray(box.from_physical(x))), x, rtol=1e-12)


def test_the_middle_of_a_logarithmic_range_is_its_geometric_mean(box):
    np.testing.assert_allclose(box.physical(np.zeros(3)), [0.0, 0.0, np.sqrt(0.1)], rtol=1e-12)


def test_a_start_on_a_bound_has_a_finite_coordinate(box):
    z = box.from_physical(np.array([-3.0, 3.0, 0.01]))
    assert np.isfinite(z).all()
    np.testing.assert_allclose(box.share(box.physical(z)), [1e-4, 1 - 1e-4, 1e-4], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "log", "match"),
    [
        ([0.0], [1.0], (True,), "bounds above 0"),
        ([1.0], [1.0], (False,), "below the upper"),
        ([0.0], [np.inf], (False,), "finite"),
        ([0.0, 1.0], [1.0], (False,), "2 lower bounds"),
    ],
)
def test_bounds_that_make_no_range_are_refused(low, high, log, match):
    with pytest.raises(SettingError, match=match):
        Box(("g",), np.array(low), np.array(high), log)


def test_starts_have_one_place_in_every_part_of_every_range(box):
    share = box.share(random_starts(box, 10, 3))
    for column in share.T:
        assert sorted(np.floor(10 * column).astype(int)) == list(range(10))


def test_starts_follow_the_seed(box):
    assert random_starts(box, 4, 1).tolist() == random_starts(box, 4, 1).tolist()
    assert random_starts(box, 4, 1).tolist() != random_starts(box, 4, 2).tolist()


def test_the_first_start_is_the_one_given_and_the_others_lie_around_it(box):
    first = np.array([1.0, -2.9, 0.1])
    places = random_starts(box, 50, 0, first=first, spread=0.1)
    assert places[0].tolist() == first.tolist()
    apart = np.abs(box.share(places) - box.share(first))
    assert apart.max() <= 0.1 + 1e-9
    assert apart.max() > 0.09


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_number_of_starts_is_a_whole_number(box, n):
    with pytest.raises(SettingError, match="number of starts"):
        random_starts(box, n, 0)
