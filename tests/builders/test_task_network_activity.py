"""The network before training: neither silent nor saturated under a task's inputs."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from connectofit.builders import task_network
from connectofit.connectome.synthetic import distance_rule, erdos_renyi
from connectofit.fit.tasks import EvidenceAccumulation
from connectofit.sim import rollout


@pytest.mark.slow
@pytest.mark.parametrize(
    "wiring", [lambda s: erdos_renyi(400, probability=0.1, seed=s), lambda s: distance_rule(400, seed=s)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_rates_of_neurons_lie_between_one_and_thirty_hz(wiring, seed):
    task = EvidenceAccumulation()
    net = task_network(wiring(seed), task.input_types, seed=seed)
    trials = task.trials(jax.random.key(seed), 8)

    @jax.jit
    @jax.vmap
    def spikes(inputs):
        return rollout(net, None, {}, dt_ms=1.0, forced={"input": inputs}, record={"E": ("spikes",), "I": ("spikes",)})[
            1
        ]

    out = spikes(trials.inputs)
    for population in ("E", "I"):
        rates = 1000.0 * np.asarray(out[population]["spikes"]).mean((0, 1))
        assert 1.0 < rates.mean() < 30.0
        assert (rates > 0).mean() > 0.95
        assert np.quantile(rates, 0.95) < 40.0
