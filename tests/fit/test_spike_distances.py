"""Distances between spike trains: closed forms, brute force, and the time that long trains take."""

from __future__ import annotations

import time

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.fit import van_rossum, victor_purpura


@pytest.mark.parametrize("lag", [0.0, 1.0, 7.0, 300.0])
def test_van_rossum_of_two_single_spikes_follows_their_lag(lag):
    assert van_rossum([50.0], [50.0 + lag], tau_ms=10.0) == pytest.approx(np.sqrt(1 - np.exp(-lag / 10.0)))


@pytest.mark.parametrize("n", [1, 2, 9])
def test_van_rossum_to_silence_grows_with_the_root_of_the_count(n):
    assert van_rossum(1000.0 * np.arange(n), [], tau_ms=5.0) == pytest.approx(np.sqrt(n / 2))


def test_van_rossum_is_the_integral_it_says():
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.uniform(0, 200, 8)), np.sort(rng.uniform(0, 200, 5))
    t = np.arange(0, 400, 0.002)

    def trace(train):
        return sum(np.where(t >= s, np.exp(-(t - s) / 12.0), 0.0) for s in train)

    squared = np.sum((trace(a) - trace(b)) ** 2) * 0.002 / 12.0
    assert van_rossum(a, b, tau_ms=12.0) == pytest.approx(np.sqrt(squared), rel=1e-3)


def test_van_rossum_counts_at_long_and_tells_apart_at_short_time_constants():
    a, b = [10.0, 40.0, 90.0], [12.0, 45.0]
    assert van_rossum(a, b, tau_ms=1e9) == pytest.approx(np.sqrt(1 / 2), abs=1e-3)
    assert van_rossum(a, b, tau_ms=1e-3) == pytest.approx(np.sqrt(5 / 2))


@pytest.mark.parametrize(
    ("lag", "cost", "expected"),
    [(0.0, 0.1, 0.0), (5.0, 0.1, 0.5), (20.0, 0.1, 2.0), (90.0, 0.1, 2.0), (90.0, 0.0, 0.0)],
)
def test_victor_purpura_moves_or_replaces_a_spike(lag, cost, expected):
    assert victor_purpura([50.0], [50.0 + lag], cost_per_ms=cost) == pytest.approx(expected)


def test_victor_purpura_without_cost_counts_and_at_high_cost_replaces():
    a, b = [1.0, 5.0, 9.0, 20.0], [2.0, 9.0]
    assert victor_purpura(a, b, cost_per_ms=0.0) == 2.0
    assert victor_purpura(a, b, cost_per_ms=1e6) == pytest.approx(4.0)  # 9 is in both
    assert victor_purpura(a, [], cost_per_ms=0.3) == 4.0
    assert victor_purpura([], [], cost_per_ms=0.3) == 0.0


def test_victor_purpura_is_the_recursion_of_the_paper():
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = (np.sort(rng.uniform(0, 100, rng.integers(0, 12))) for _ in range(2))
        q = float(rng.uniform(0.01, 1))
        g = np.zeros((a.size + 1, b.size + 1))
        g[:, 0], g[0, :] = np.arange(a.size + 1), np.arange(b.size + 1)
        for i in range(1, a.size + 1):
            for j in range(1, b.size + 1):
                g[i, j] = min(g[i - 1, j] + 1, g[i, j - 1] + 1, g[i - 1, j - 1] + q * abs(a[i - 1] - b[j - 1]))
        assert victor_purpura(a, b, cost_per_ms=q) == pytest.approx(g[-1, -1])


def test_a_thousand_spikes_take_well_under_a_second():
    rng = np.random.default_rng(2)
    a, b = (np.sort(rng.uniform(0, 2e4, 1000)) for _ in range(2))
    started = time.process_time()
    victor_purpura(a, b)
    van_rossum(a, b)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: van_rossum([1.0], [2.0], tau_ms=0.0), SettingError),
        (lambda: victor_purpura([1.0], [2.0], cost_per_ms=-1.0), SettingError),
        (lambda: victor_purpura([1.0], [2.0], cost_per_ms=float("inf")), SettingError),
        (lambda: victor_purpura([2.0, 1.0], [2.0]), SchemaError),
        (lambda: van_rossum([2.0], [[2.0]]), SchemaError),
    ],
)
def test_what_cannot_be_measured_is_refused(call, error):
    with pytest.raises(error):
        call()
