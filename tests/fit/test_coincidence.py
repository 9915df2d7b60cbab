"""Γ and Md*: by hand, against brute force, and against everything that is known to fool them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.fit import gamma, intrinsic_gamma, md_star, mean_gamma
from connectofit.fit.coincidence import inner_products, matched


def poisson(rng: np.random.Generator, rate_Hz: float, duration_ms: float) -> np.ndarray:
    return np.sort(rng.uniform(0, duration_ms, rng.poisson(rate_Hz * duration_ms * 1e-3)))


def best_matching(a, b, delta) -> int:
    """The largest matching by trying all, for a handful of spikes."""
    if not len(a) or not len(b):
        return 0
    rest = best_matching(a[1:], b, delta)
    return max(
        [rest]
        + [1 + best_matching(a[1:], b[:k] + b[k + 1 :], delta) for k in range(len(b)) if abs(a[0] - b[k]) <= delta]
    )


def test_gamma_by_hand():
    # 3 of 4 spikes are met within 4 ms; rate 5 / 1000 ms, 2 nu Delta = 0.04.
    found = gamma([100.0, 200.0, 300.0, 400.0], [102.0, 199.0, 296.0, 500.0, 600.0], 1000.0)
    assert (found.coincidences, found.expected, found.delta_ms, found.reduced) == (3, pytest.approx(0.16), 4.0, False)
    assert found.gamma == pytest.approx((3 - 0.16) / 4.5 / 0.96)


def test_a_spike_as_far_as_the_window_counts_and_one_further_does_not():
    assert gamma([100.3], [104.3], 1000.0).coincidences == 1
    assert gamma([100.3], [104.31], 1000.0).coincidences == 0


def test_matching_is_the_largest_there_is():
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b = (sorted(rng.integers(0, 30, rng.integers(0, 7)).tolist()) for _ in range(2))
        delta = float(rng.integers(1, 6))
        assert matched(np.array(a, float), np.array(b, float), delta) == best_matching(a, b, delta)


@pytest.mark.parametrize("rate_Hz", [5.0, 40.0, 100.0, 164.0, 400.0])
def test_a_train_coincides_with_itself_by_1_at_any_rate(rate_Hz):
    train = poisson(np.random.default_rng(1), rate_Hz, 5000.0)
    assert gamma(train, train, 5000.0).gamma == pytest.approx(1.0)


def test_the_window_shrinks_before_chance_is_certain_and_says_so():
    data = poisson(np.random.default_rng(2), 20.0, 2000.0)
    found = gamma(data, np.arange(3.0, 2000.0, 1000.0 / 164), 2000.0)
    assert found.reduced
    assert 2 * found.delta_ms * 0.164 == pytest.approx(0.5, rel=1e-3)
    # Without it, 2 nu Delta = 1.31 and the same count of hits gives far more than 1.
    assert not gamma(data, data, 2000.0).reduced


@pytest.mark.parametrize("rate_Hz", [150.0, 164.0, 200.0, 250.0, 500.0, 1000.0])
@pytest.mark.parametrize("cell_Hz", [10.0, 30.0, 60.0])
def test_a_dense_regular_train_is_rejected(rate_Hz, cell_Hz):
    rng = np.random.default_rng(3)
    values = []
    for _ in range(20):
        data = poisson(rng, cell_Hz, 5000.0)
        values.append(gamma(data, np.arange(0.0, 5000.0, 1000.0 / rate_Hz), 5000.0).gamma)
    assert max(values) < 0.15
    assert abs(np.mean(values)) < 0.1


def test_doublets_never_raise_gamma():
    rng = np.random.default_rng(4)
    for _ in range(50):
        data = np.cumsum(15 + rng.exponential(30, 60))
        duration = data[-1] + 50
        model = np.sort(data + rng.normal(0, 3, data.size))
        before = gamma(data, model, duration).gamma
        hits = np.array([m for m in model if np.abs(data - m).min() <= 4])
        for lag in (0.0, 1.0, 3.0):
            after = gamma(data, np.sort(np.concatenate([model, hits + lag])), duration)
            assert after.gamma < before


def test_unrelated_poisson_trains_score_0_at_low_rates_and_below_at_high_ones():
    rng = np.random.default_rng(5)

    def scores(rate_Hz: float, delta_ms: float) -> np.ndarray:
        pairs = [(poisson(rng, rate_Hz, 2e4), poisson(rng, rate_Hz, 2e4)) for _ in range(200)]
        return np.array([gamma(a, b, 2e4, delta_ms=delta_ms).gamma for a, b in pairs])

    low = scores(5.0, 2.0)
    # 2 nu Delta = 0.02; one-to-one matching costs about a tenth of that.
    assert abs(low.mean()) < 3 * low.std() / np.sqrt(low.size) + 0.002
    high = scores(40.0, 4.0)
    assert -0.15 < high.mean() < -0.08


def test_empty_trains_score_0_or_nothing():
    assert gamma([], [1.0, 2.0], 100.0).gamma == 0.0
    assert gamma([1.0, 2.0], [], 100.0).gamma == 0.0
    assert np.isnan(gamma([], [], 100.0).gamma)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gamma([2.0, 1.0], [1.0], 10.0), SchemaError, "The data has to be in order.*spike 1: 1 after 2 ms"),
        (lambda: gamma([1.0], [np.nan], 10.0), SchemaError, "The model's train.*not finite"),
        (lambda: gamma([[1.0]], [1.0], 10.0), SchemaError, "one-dimensional"),
        (lambda: gamma(["a"], [1.0], 10.0), SchemaError, "has to hold times"),
        (lambda: gamma([1.0], [1.0], 0.0), SettingError, "duration_ms"),
        (lambda: gamma([1.0], [1.0], 10.0, delta_ms=-1.0), SettingError, "delta_ms"),
        (lambda: gamma([1.0], [1.0], 10.0, max_chance=1.0), SettingError, "max_chance"),
        (lambda: md_star([[1.0]], [1.0]), SettingError, "Md\\* needs two repetitions"),
        (lambda: intrinsic_gamma([1.0], 10.0), SettingError, "needs two repetitions"),
        (lambda: mean_gamma([], [1.0], 10.0), SchemaError, "missing"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_means_over_repetitions_are_means_over_pairs():
    rng = np.random.default_rng(6)
    data = [poisson(rng, 20, 1000.0) for _ in range(3)]
    model = [poisson(rng, 20, 1000.0) for _ in range(2)]
    pairs = [gamma(d, m, 1000.0).gamma for d in data for m in model]
    assert mean_gamma(data, model, 1000.0) == pytest.approx(np.mean(pairs))
    own = [gamma(a, b, 1000.0).gamma for a, b in itertools.permutations(data, 2)]
    assert intrinsic_gamma(data, 1000.0) == pytest.approx(np.mean(own))


def test_inner_products_count_close_pairs():
    rng = np.random.default_rng(7)
    a, b = [poisson(rng, 50, 500.0) for _ in range(2)], [poisson(rng, 50, 500.0) for _ in range(3)]
    expected = [[(np.abs(x[:, None] - y[None, :]) <= 4.0).sum() for y in b] for x in a]
    np.testing.assert_array_equal(inner_products(a, b, 4.0), expected)


def test_md_star_by_hand():
    # <d,d'> = 1 (100 with 103); <d,m>: 2 and 1, mean 1.5; <m,m> = 2.
    data, model = [np.array([100.0, 200.0]), np.array([103.0, 300.0])], np.array([101.0, 202.0])
    assert md_star(data, model) == pytest.approx(2 * 1.5 / (1 + 2))


def test_md_star_of_a_model_with_repetitions_leaves_pairs_with_themselves_out():
    data = [np.array([100.0, 200.0]), np.array([103.0, 300.0])]
    model = [np.array([101.0, 202.0]), np.array([101.0, 500.0])]
    # <d,m>: 2, 1, 1, 1, mean 1.25; <m,m'> = 1
    assert md_star(data, model) == pytest.approx(2 * 1.25 / (1 + 1))
    same = [np.array([101.0, 202.0])] * 4
    assert md_star(data, same) == pytest.approx(md_star(data, same[0]))


def test_md_star_of_two_halves_of_one_process_is_1_however_small_the_sets():
    rng = np.random.default_rng(8)
    rate = 30 * (1 + np.sin(np.arange(4000) / 25.0)) ** 2  # Hz, each ms
    ratios = []
    for _ in range(60):
        trains = [np.flatnonzero(rng.random(4000) < rate * 1e-3).astype(float) for _ in range(6)]
        ratios.append(md_star(trains[:3], trains[3:]))
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * np.std(ratios) / np.sqrt(60))
    # A set's similarity to itself, which counts every spike as its own match, does not reach it.
    assert np.std(ratios) / np.sqrt(60) < 0.02


def test_md_star_of_a_process_of_half_the_rate_is_below_1():
    rng = np.random.default_rng(9)
    rate = 30 * (1 + np.sin(np.arange(20_000) / 25.0)) ** 2
    draw = lambda r: [np.flatnonzero(rng.random(r.size) < r * 1e-3).astype(float) for _ in range(5)]  # noqa: E731
    # <d,d> : <d,m> : <m,m> = 1 : 1/2 : 1/4 gives 2/2 / (5/4) = 0.8.
    assert md_star(draw(rate), draw(rate / 2)) == pytest.approx(0.8, abs=0.03)


def test_md_star_of_trains_that_never_meet_is_undefined():
    assert np.isnan(md_star([[1.0], [100.0]], [[50.0], [200.0]]))
