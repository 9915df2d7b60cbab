"""Random spike trains: scores that are metrics are metrics, and none sees the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.fit import gamma, md_star, van_rossum, victor_purpura
from connectofit.fit.coincidence import inner_products, matched

COMMON = settings(deadline=None, max_examples=60)
DURATION = 1000.0
# Times on a grid of 1/8 ms, so that shifts and differences are exact.
train = st.lists(st.integers(0, 7999), max_size=25).map(lambda ticks: np.sort(np.array(ticks, dtype=float)) / 8)
filled = train.filter(lambda times: times.size > 0)
shift = st.integers(-800, 8000).map(lambda ticks: ticks / 8)
scale = st.sampled_from([0.5, 4.0, 30.0, 1000.0])


@COMMON
@given(train, train, scale)
def test_distances_are_symmetric_and_not_below_0(a, b, tau):
    for distance in (lambda x, y: van_rossum(x, y, tau_ms=tau), lambda x, y: victor_purpura(x, y, cost_per_ms=1 / tau)):
        assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-6)
        assert distance(a, b) >= 0


@COMMON
@given(train, train, scale)
def test_distances_are_0_for_the_same_train_and_for_no_other(a, b, tau):
    same = np.array_equal(a, b)
    # The root of a rounding error of 1e-13 in the square is 3e-7.
    assert (van_rossum(a, b, tau_ms=tau) < 1e-5) == same or tau == 1000.0
    assert (victor_purpura(a, b, cost_per_ms=1 / tau) < 1e-9) == same
    assert van_rossum(a, a, tau_ms=tau) < 1e-5


@COMMON
@given(train, train, train, scale)
def test_no_detour_is_shorter(a, b, c, tau):
    for distance in (lambda x, y: van_rossum(x, y, tau_ms=tau), lambda x, y: victor_purpura(x, y, cost_per_ms=1 / tau)):
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-6


@COMMON
@given(train, train, shift, scale)
def test_a_shift_of_both_trains_changes_nothing(a, b, by, tau):
    assert van_rossum(a + by, b + by, tau_ms=tau) == pytest.approx(van_rossum(a, b, tau_ms=tau), abs=1e-6)
    cost = 1 / tau
    assert victor_purpura(a + by, b + by, cost_per_ms=cost) == pytest.approx(victor_purpura(a, b, cost_per_ms=cost))
    moved, still = gamma(a + by, b + by, DURATION), gamma(a, b, DURATION)
    np.testing.assert_equal((moved.gamma, moved.coincidences), (still.gamma, still.coincidences))
    np.testing.assert_equal(md_star([a + by, b + by], [a + by]), md_star([a, b], [a]))


@COMMON
@given(train, train, st.sampled_from([1.0, 4.0, 20.0]))
def test_gamma_is_at_most_1_and_1_for_the_same_train(a, b, delta):
    if a.size or b.size:
        assert gamma(a, b, DURATION, delta_ms=delta).gamma <= 1 + 1e-12
    if a.size:
        assert gamma(a, a, DURATION, delta_ms=delta).gamma == pytest.approx(1.0)


@COMMON
@given(filled, filled, filled, st.sampled_from([1.0, 4.0, 20.0]))
def test_spikes_that_match_nothing_new_never_raise_gamma(data, model, added, delta):
    more = np.sort(np.concatenate([model, added]))
    if matched(data, more, delta) == matched(data, model, delta):
        before = gamma(data, model, DURATION, delta_ms=delta)
        after = gamma(data, more, DURATION, delta_ms=delta)
        assert after.gamma <= before.gamma + 1e-12


@COMMON
@given(train, train, st.sampled_from([0.0, 1.0, 4.0, 20.0]))
def test_matchings_are_symmetric_and_no_larger_than_either_train(a, b, delta):
    pairs = matched(a, b, delta)
    assert pairs == matched(b, a, delta)
    assert pairs <= min(a.size, b.size, int(inner_products([a], [b], delta)[0, 0]))


@COMMON
@given(st.lists(filled, min_size=2, max_size=4), st.permutations(range(4)))
def test_the_order_of_repetitions_does_not_matter(trains, order):
    shuffled = [trains[k] for k in order if k < len(trains)]
    model = trains[:2]
    np.testing.assert_allclose(md_star(shuffled, model), md_star(trains, model))


@COMMON
@given(filled, st.integers(2, 4))
def test_md_star_of_exact_repetitions_is_1(times, n):
    assert md_star([times] * n, [times] * n) == pytest.approx(1.0)
