"""Explained variance, masked voltages and the errors of counts, latencies and adaptation."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.fit import (
    explained_variance,
    explained_variance_ratio,
    gamma,
    reliability,
    spike_mask,
    spike_scores,
    subthreshold_rmse,
)
from connectofit.fit.spike_scores import (
    adaptation_error,
    count_error,
    latency_error_ms,
    smoothed,
    variance_explained,
)


def test_a_smoothed_spike_is_a_gaussian_of_area_1():
    rate = smoothed(np.array([500.1]), 1000.0, sigma_ms=10.0, dt_ms=0.5)
    t = 0.25 + 0.5 * np.arange(2000)
    expected = 1e3 * np.exp(-0.5 * ((t - 500.1) / 10) ** 2) / (10 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(rate, expected, atol=0.02)  # of 40; sharing a spike between two bins widens it a little
    assert rate.sum() * 0.5e-3 == pytest.approx(1.0)


def test_spikes_at_the_very_ends_are_kept():
    assert smoothed(np.array([0.0, 1000.0]), 1000.0, sigma_ms=1.0).sum() * 0.5e-3 == pytest.approx(1.0, rel=0.2)


def test_explained_variance_is_1_for_equal_0_for_unrelated_and_minus_1_for_opposite_traces():
    x = np.sin(np.arange(1000) / 20)
    assert variance_explained(x, x) == pytest.approx(1.0)
    assert variance_explained(x, x + 5) == pytest.approx(1.0)
    assert variance_explained(x, -x) == pytest.approx(-1.0)
    assert np.isnan(variance_explained(np.ones(5), np.ones(5)))
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 100_000), rng.normal(0, 2, 100_000)
    assert variance_explained(a, b) == pytest.approx(0.0, abs=0.02)
    # 2 cov / (var a + var b), by hand: var b = 1 + 1, cov = 1
    assert variance_explained(a, a + rng.normal(0, 1, a.size)) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("lag", [2.0, 10.0, 20.0])
def test_explained_variance_of_a_shifted_sparse_train_is_the_overlap_of_two_gaussians(lag):
    times = 500.0 + 1000.0 * np.arange(50)
    duration = 50_000.0
    # Of a sparse train, mean products are overlaps; the square of the mean rate comes off both.
    overlap, own = np.exp(-(lag**2) / 400), 1.0
    mean = 2 * 10.0 * np.sqrt(np.pi) / 1000.0  # (rate^2) over (rate / (2 sigma sqrt(pi)))
    expected = (overlap - mean) / (own - mean)
    assert explained_variance(times, times + lag, duration) == pytest.approx(expected, abs=2e-3)


def test_explained_variance_hardly_depends_on_the_grid():
    rng = np.random.default_rng(1)
    a = np.sort(rng.uniform(0, 2000, 60))
    b = np.sort(np.clip(a + rng.normal(0, 6, 60), 0, 2000))
    fine = explained_variance(a, b, 2000.0, dt_ms=0.02)
    assert explained_variance(a, b, 2000.0) == pytest.approx(fine, abs=1e-4)


def test_reliability_is_that_of_the_mean_with_or_without_the_repetition_itself():
    rng = np.random.default_rng(2)
    data = [np.sort(rng.uniform(0, 2000, 40)) for _ in range(4)]
    traces = [smoothed(t, 2000.0) for t in data]
    mean = np.mean(traces, axis=0)
    assert reliability(data, 2000.0) == pytest.approx(np.mean([variance_explained(mean, t) for t in traces]))
    others = [np.mean(traces[:k] + traces[k + 1 :], axis=0) for k in range(4)]
    own = np.mean([variance_explained(o, t) for o, t in zip(others, traces, strict=True)])
    assert reliability(data, 2000.0, leave_out=True) == pytest.approx(own)
    # Unrelated repetitions explain themselves only.
    assert reliability(data, 2000.0) > 0.2
    assert abs(reliability(data, 2000.0, leave_out=True)) < 0.15


def test_a_cell_that_repeats_itself_exactly_is_explained_by_itself():
    train = np.sort(np.random.default_rng(3).uniform(0, 2000, 40))
    assert explained_variance_ratio([train, train], train, 2000.0) == pytest.approx(1.0)
    with pytest.raises(SettingError, match="two repetitions"):
        reliability(train, 2000.0)


def test_masked_samples_are_those_around_spikes():
    mask = spike_mask([np.array([10.0, 12.0]), np.array([40.0])], 100, 0.5, before_ms=1.0, after_ms=3.0)
    t = 0.5 * np.arange(100)
    expected = ((t >= 9) & (t <= 15)) | ((t >= 39) & (t <= 43))
    np.testing.assert_array_equal(mask, expected)
    assert not spike_mask(np.zeros(0), 10, 0.5).any()
    assert spike_mask(np.array([-5.0, 60.0]), 100, 0.5, before_ms=1.0, after_ms=2.0).sum() == 0


def test_the_rmse_leaves_masked_samples_out():
    v, m = np.zeros(10), np.full(10, 2.0)
    m[3] = 1e6
    masked = np.arange(10) == 3
    assert subthreshold_rmse(v, m, masked) == pytest.approx(2.0)
    assert np.isnan(subthreshold_rmse(v, m, np.ones(10, bool)))
    with pytest.raises(SchemaError, match="equally long"):
        subthreshold_rmse(v, m[:5], masked)
    with pytest.raises(SchemaError, match="not finite in 1 samples"):
        subthreshold_rmse(v, np.where(np.arange(10) == 5, np.nan, m), masked)


def test_errors_are_the_models_less_the_cells():
    data, model = [[10.0, 20.0, 30.0, 40.0]], [[12.0, 20.0, 30.0], [14.0, 20.0, 31.0]]
    assert count_error(data, model) == pytest.approx(-0.25)
    assert latency_error_ms(data, model) == pytest.approx(3.0)
    cell, other = np.array([0.0, 10.0, 20.0, 30.0]), np.array([0.0, 10.0, 22.0])
    assert adaptation_error(cell, other) == pytest.approx((12 - 10) / 22)
    assert np.isnan(count_error([[]], model))
    assert np.isnan(latency_error_ms(data, [[]]))


def test_all_scores_of_a_train_with_itself_are_perfect():
    train = np.array([105.0, 150.0, 220.0, 300.0, 405.0])
    scores = spike_scores(train, train, 100.0, 500.0)
    assert scores == {
        "gamma": pytest.approx(1.0),
        "gamma_delta_ms": 4.0,
        "explained_variance": pytest.approx(1.0),
        "count_error": 0.0,
        "latency_error_ms": 0.0,
        "adaptation_error": 0.0,
        "van_rossum": pytest.approx(0.0, abs=1e-6),
        "victor_purpura": 0.0,
    }


def test_scores_see_the_interval_only():
    data = np.array([50.0, 105.0, 150.0, 220.0, 500.0])
    model = np.array([107.0, 150.0, 300.0, 700.0])
    scores = spike_scores(data, model, 100.0, 400.0)
    inside = gamma([5.0, 50.0, 120.0], [7.0, 50.0, 200.0], 300.0)
    assert scores["gamma"] == pytest.approx(inside.gamma)
    assert scores["count_error"] == 0.0
    assert scores["latency_error_ms"] == pytest.approx(2.0)
    with pytest.raises(SettingError, match="interval"):
        spike_scores(data, model, 400.0, 100.0)


def test_repetitions_add_the_scores_that_need_them():
    rng = np.random.default_rng(4)
    base = np.sort(rng.uniform(0, 2000, 50))
    data = [np.sort(base + rng.normal(0, 2, 50)) for _ in range(4)]
    model = [np.sort(base + rng.normal(0, 2, 50)) for _ in range(3)]
    scores = spike_scores(data, model, -20.0, 2020.0)
    assert scores["md_star"] == pytest.approx(1.0, abs=0.1)
    assert scores["gamma_ratio"] == pytest.approx(1.0, abs=0.1)
    assert scores["explained_variance_ratio"] == pytest.approx(scores["explained_variance"] / scores["reliability"])
