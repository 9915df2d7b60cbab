"""Bootstrap intervals: coverage, seeds, and what they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit import block_interval, bootstrap_interval, explained_variance, gamma, mean_gamma


def test_intervals_of_a_mean_cover_it_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for k in range(200):
        x = rng.exponential(1.0, 30)
        found = bootstrap_interval(lambda i, x=x: x[i].mean(), 30, seed=k, level=0.9, n_resamples=200)
        assert found.method == "BCa"
        hits += found.low <= 1.0 <= found.high
    assert 0.8 <= hits / 200 <= 0.96


def test_the_width_is_that_of_the_standard_error():
    x = np.random.default_rng(1).normal(0, 2, 400)
    found = bootstrap_interval(lambda i: x[i].mean(), 400, seed=0)
    assert found.value == pytest.approx(x.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)


def test_a_seed_gives_the_same_interval_and_another_another():
    x = np.random.default_rng(2).normal(0, 1, 20)
    first, again, other = (bootstrap_interval(lambda i: x[i].mean(), 20, seed=s) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_resamples_without_a_score_are_counted_and_the_method_says_so():
    x = np.array([np.nan, 1.0, 2.0, 3.0])
    found = bootstrap_interval(lambda i: float(np.mean(x[i])), 4, seed=0, n_resamples=400)
    # Drawing the first unit never happens in (3/4)^4 = 32 % of the resamples.
    assert found.undefined == pytest.approx(400 * (1 - 0.75**4), rel=0.15)
    assert found.method == "percentile"
    assert 1.0 <= found.low < found.high <= 3.0
    constant = bootstrap_interval(lambda i: 5.0, 4, seed=0, n_resamples=50)
    assert (constant.low, constant.high) == (5.0, 5.0)


def test_blocks_keep_data_and_model_together():
    rng = np.random.default_rng(3)
    train = np.sort(rng.uniform(100, 2100, 80))
    found = block_interval(
        lambda d, m, t: mean_gamma(d, m, t), train, train, 100.0, 2100.0, block_ms=200.0, seed=0, n_resamples=100
    )
    assert (found.value, found.units) == (pytest.approx(1.0), 10)
    assert (found.low, found.high) == (pytest.approx(1.0), pytest.approx(1.0))


def test_blocks_are_laid_end_to_end_over_the_whole_duration():
    seen = []

    def score(data, model, duration):
        seen.append((data[0], model[0], model[1], duration))
        return float(data[0].size)

    data, model = np.array([120.0, 260.0, 390.0]), [np.array([130.0]), np.array([270.0, 300.0])]
    found = block_interval(score, data, model, 100.0, 400.0, block_ms=100.0, seed=1, n_resamples=20)
    assert found.units == 3
    np.testing.assert_allclose(seen[0][0], [20.0, 160.0, 290.0])
    pieces = (20.0, 60.0, 90.0)
    for trains in seen:
        assert trains[3] == 300.0
        assert trains[0].size in (2, 3)  # the jackknife leaves a block out
        for place, time in enumerate(trains[0]):
            assert any(time - 100.0 * place == pytest.approx(p) for p in pieces)


def test_the_interval_of_a_real_kind_of_score_holds_its_value():
    rng = np.random.default_rng(4)
    data = np.sort(rng.uniform(0, 4000, 120))
    model = np.sort(np.clip(data + rng.normal(0, 5, 120), 0, 4000))
    found = block_interval(
        lambda d, m, t: explained_variance(d, m, t), data, model, 0.0, 4000.0, block_ms=250.0, seed=0, n_resamples=200
    )
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_ms": 900.0}, "fewer than two blocks"),
        ({"block_ms": 0.0}, "block_ms"),
        ({"level": 1.0}, "level"),
        ({"n_resamples": 1}, "n_resamples"),
        ({"seed": -1}, "seed"),
        ({"stop_ms": 0.0}, "interval"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    given = {"start_ms": 0.0, "stop_ms": 1000.0, "block_ms": 100.0, "seed": 0} | settings
    with pytest.raises(SettingError, match=message):
        block_interval(lambda d, m, t: gamma(d[0], m[0], t).gamma, [1.0], [1.0], **given)
    with pytest.raises(SettingError, match="2 sweeps or blocks or more"):
        bootstrap_interval(lambda i: 0.0, 1, seed=0)
