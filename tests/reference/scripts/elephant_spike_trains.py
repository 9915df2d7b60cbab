"""Reference values of elephant: ``python elephant_spike_trains.py`` with elephant 1.2.1 writes
values/elephant_spike_trains.npz.

Van Rossum and Victor-Purpura distances of all pairs of eight trains (Poisson of several rates, jittered copies, bursts,
one spike, none), at three time constants and three costs. Elephant's van Rossum distance is normalised to 1 for a
single spike, which is sqrt(2) times that of the paper.
"""

from __future__ import annotations

from pathlib import Path

import neo
import numpy as np
import quantities as pq
from elephant.spike_train_dissimilarity import van_rossum_distance, victor_purpura_distance

VALUES = Path(__file__).parent.parent / "values"
DURATION_MS = 2000.0
TAUS_MS = (2.0, 10.0, 200.0)
COSTS_PER_MS = (0.01, 0.1, 1.0)


def trains() -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    slow = np.sort(rng.uniform(0, DURATION_MS, 15))
    fast = np.sort(rng.uniform(0, DURATION_MS, 120))
    return [
        slow,
        np.sort(np.clip(slow + rng.normal(0, 3.0, slow.size), 0, DURATION_MS)),
        fast,
        np.sort(np.clip(fast + rng.normal(0, 8.0, fast.size), 0, DURATION_MS)),
        np.sort(np.concatenate([slow, np.clip(slow + 2.0, 0, DURATION_MS)])),
        np.arange(10.0, DURATION_MS, 25.0),
        np.array([777.0]),
        np.zeros(0),
    ]


def main() -> None:
    given = trains()
    neos = [neo.SpikeTrain(train * pq.ms, t_stop=DURATION_MS * pq.ms) for train in given]
    kept = {f"train_{k}": train for k, train in enumerate(given)}
    for tau in TAUS_MS:
        kept[f"van_rossum/{tau:g}"] = van_rossum_distance(neos, time_constant=tau * pq.ms)
    for cost in COSTS_PER_MS:
        kept[f"victor_purpura/{cost:g}"] = victor_purpura_distance(neos, cost_factor=cost / pq.ms)
    np.savez_compressed(VALUES / "elephant_spike_trains.npz", **kept)


if __name__ == "__main__":
    main()
