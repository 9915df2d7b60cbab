"""The microcircuit against NEST 3.10 (scripts/nest_microcircuit.py): both draw a network of their own for each seed,
and the mean rates of the eight populations agree within their spread over seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from connectofit.builders import potjans_diesmann_network, potjans_diesmann_state
from connectofit.sim import simulate

VALUES = np.load(Path(__file__).parent / "values" / "nest_microcircuit.npz")


def rates_Hz(seed: int) -> np.ndarray:
    net = potjans_diesmann_network(
        seed=seed, scale=float(VALUES["scale"]), indegree_scale=float(VALUES["indegree_scale"])
    )
    state = potjans_diesmann_state(net, seed=seed)
    settings = {"dt_ms": 0.1, "record": ["spikes"]}
    state = simulate(net, duration_ms=float(VALUES["transient_ms"]), state=state, **settings).state
    rates = simulate(net, duration_ms=float(VALUES["duration_ms"]), state=state, **settings).rates_Hz()
    group = np.asarray(net.population("cells").type_index)
    return np.bincount(group, rates.to_numpy()) / np.bincount(group)


@pytest.mark.slow
def test_the_populations_fire_at_nests_rates() -> None:
    ours, nests = np.array([rates_Hz(seed) for seed in range(4)]), VALUES["rates_Hz"]
    # Eight tests of two samples of equal variance, each at 0.1 %; and the means are close, not merely uncertain.
    assert (stats.ttest_ind(ours, nests).pvalue > 1e-3).all()
    assert ours.mean(0) == pytest.approx(nests.mean(0), rel=0.1)
