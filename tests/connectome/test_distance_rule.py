"""Wiring after the exponential distance rule: density, fall with distance, and log-normal counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from connectofit.connectome.errors import SettingError
from connectofit.connectome.synthetic import distance_rule


def distances(c) -> np.ndarray:
    xyz = np.stack([c.column(f"{axis}_um") for axis in "xyz"], axis=1)
    return np.linalg.norm(xyz[:, None] - xyz[None], axis=2)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.6])
@pytest.mark.parametrize("length_um", [500.0, 1e9])
def test_the_density_of_either_type_is_the_one_asked_for(density, length_um):
    c = distance_rule(400, seed=2, density=density, length_um=length_um)
    for rows, n in ((slice(0, 320), 320), (slice(320, 400), 80)):
        pairs = n * 399
        # Of independent pairs of different probability the variance is at most that of equal ones.
        assert abs(np.diff(c.indptr)[rows].sum() - density * pairs) < 4.5 * np.sqrt(density * (1 - density) * pairs)


@pytest.mark.slow
def test_connections_fall_exponentially_with_distance_by_the_length_of_each_type():
    c = distance_rule(2000, seed=0, density=0.05, length_um=2000.0, length_i_um=800.0, extent_um=(8e3, 8e3, 500.0))
    d = distances(c)
    np.testing.assert_allclose(c.edge_columns["distance_um"].to_numpy(), d[c.pre, c.post])
    joined = np.zeros_like(d, bool)
    joined[c.pre, c.post] = True
    off = ~np.eye(2000, dtype=bool)
    for rows, length in ((slice(0, 1600), 2000.0), (slice(1600, 2000), 800.0)):
        part, there, other = d[rows], joined[rows], off[rows]
        edges = np.arange(0.0, 5000.0, 400.0)
        middle, rate, size = [], [], []
        for low, high in pairwise(edges):
            ring = (part >= low) & (part < high) & other
            middle.append(np.exp(-part[ring] / length).mean())
            rate.append(there[ring].mean())
            size.append(ring.sum())
        factor = np.array(rate) / np.array(middle)
        error = np.sqrt(np.array(rate) / np.array(size)) / np.array(middle)
        unsaturated = np.array(rate) < 0.9
        k = np.average(factor[unsaturated], weights=1.0 / (error[unsaturated] + 1e-9) ** 2)
        assert np.all(np.abs(factor - k)[unsaturated] < 4.5 * error[unsaturated])


def test_near_pairs_are_all_joined_where_the_rule_asks_for_more_than_can_be():
    c = distance_rule(200, seed=1, density=0.4, length_um=1500.0, inhibitory=0.0)
    d = distances(c)
    joined = np.zeros_like(d, bool)
    joined[c.pre, c.post] = True
    near = (d < np.quantile(d, 0.1)) & ~np.eye(200, dtype=bool)
    assert joined[near].all()


def test_full_density_joins_every_pair_and_none_joins_no_pair():
    assert distance_rule(50, seed=0, density=1.0).n_edges == 50 * 49
    assert distance_rule(50, seed=0, density=0.0).n_edges == 0


def test_counts_are_log_normal_rounded_up():
    count = distance_rule(400, seed=3, density=0.3, median_count=50.0, sigma_log_count=1.2).count
    for level in (20, 50, 100, 400):
        expected = stats.lognorm(1.2, scale=50.0).cdf(level)
        assert abs(np.mean(count <= level) - expected) < 4.5 * np.sqrt(expected * (1 - expected) / len(count))
    assert set(distance_rule(100, seed=0).count) == {1}


def test_settings_are_checked():
    for wrong in (
        {"n_neurons": 1},
        {"n_neurons": 30_000},
        {"density": 1.5},
        {"length_um": 0.0},
        {"length_i_um": -1.0},
        {"inhibitory": 2.0},
        {"median_count": 0.0},
        {"sigma_log_count": -1.0},
        {"extent_um": (1.0, 1.0)},
    ):
        with pytest.raises(SettingError):
            distance_rule(**{"n_neurons": 20, "seed": 0, **wrong})
    with pytest.raises(SettingError, match="more than a count can be"):
        distance_rule(50, seed=0, sigma_log_count=30.0)
