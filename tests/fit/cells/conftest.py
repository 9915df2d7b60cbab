"""Currents, and cells run by the simulator of networks, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import numpy as np
import pytest

from connectofit.fit import Recordings, Sweep
from connectofit.sim import NEURON_MODELS, Network, Population, Series, simulate
from connectofit.sim.neurons import NeuronModel


@pytest.fixture(scope="session")
def steps_and_noise() -> Callable[..., np.ndarray]:
    """steps_and_noise(time, sweeps, seed): currents [time, sweep] in pA that change every 20 samples."""

    def make(n: int, sweeps: int, *, seed: int = 0, mean: float = 330.0, sd: float = 120.0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return np.repeat(rng.normal(mean, sd, (n // 20 + 1, sweeps)), 20, axis=0)[:n]

    return make


@pytest.fixture(scope="session")
def by_network() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """by_network(neuron, values, current [time, sweep], dt_ms): voltage and spikes [time, sweep] by `simulate`."""

    def run(
        neuron: NeuronModel | str, values: Mapping[str, float], current: np.ndarray, dt_ms: float
    ) -> tuple[np.ndarray, np.ndarray]:
        model = NEURON_MODELS[neuron]() if isinstance(neuron, str) else neuron
        n = current.shape[1]
        cells = Population("cell", model, tuple(f"c{k}" for k in range(n)), np.zeros(n, np.int32), ("all",))
        known = {k: np.full(1, values.get(k, p.default)) for k, p in model.parameters.items()}
        net = Network((cells,), (), {"cell": known})
        with jax.enable_x64(True):
            rec = simulate(
                net,
                duration_ms=len(current) * dt_ms,
                dt_ms=dt_ms,
                stimuli=[Series(list(cells.ids), current)],
                record=("v_mV", "spikes"),
                dtype="float64",
                method="auto",
            )
        spikes = np.zeros(current.shape)
        column = {name: k for k, name in enumerate(cells.ids)}
        for time, name in zip(rec.spikes.time_ms, rec.spikes.ids, strict=True):
            spikes[round(float(time) / dt_ms) - 1, column[name]] = 1.0
        return np.asarray(rec.trace("v_mV")), spikes

    return run


@pytest.fixture(scope="session")
def sweeps_of() -> Callable[..., Recordings]:
    """sweeps_of(current, voltage, dt_ms): [time, sweep] arrays as recordings."""

    def make(current: np.ndarray, voltage: np.ndarray, dt_ms: float) -> Recordings:
        n = len(current)
        return Recordings(
            tuple(Sweep(str(k), current[:, k], voltage[:, k], dt_ms, 0.0, n * dt_ms) for k in range(current.shape[1]))
        )

    return make
