"""Distances of spike trains against elephant 1.2.1 (scripts/elephant_spike_trains.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connectofit.fit import van_rossum, victor_purpura

VALUES = np.load(Path(__file__).parent / "values" / "elephant_spike_trains.npz")
TRAINS = [VALUES[f"train_{k}"] for k in range(8)]


def all_pairs(distance) -> np.ndarray:
    return np.array([[distance(a, b) for b in TRAINS] for a in TRAINS])


@pytest.mark.parametrize("tau_ms", [2.0, 10.0, 200.0])
def test_van_rossum_distances_are_elephants_over_the_square_root_of_two(tau_ms):
    theirs = VALUES[f"van_rossum/{tau_ms:g}"]
    assert theirs.max() > 1.0
    # Squares are sums over up to 240 spikes; the root of a difference of 0 is off by 1e-6.
    np.testing.assert_allclose(all_pairs(lambda a, b: van_rossum(a, b, tau_ms=tau_ms)) * np.sqrt(2), theirs, atol=1e-6)


@pytest.mark.parametrize("cost_per_ms", [0.01, 0.1, 1.0])
def test_victor_purpura_distances_are_elephants(cost_per_ms):
    theirs = VALUES[f"victor_purpura/{cost_per_ms:g}"]
    ours = all_pairs(lambda a, b: victor_purpura(a, b, cost_per_ms=cost_per_ms))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
