"""Small graded networks from weight matrices, W[i, j] from neuron i to neuron j, and data on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest

from connectofit.fit import (
    Detection,
    FitResult,
    Free,
    Parameters,
    Protocol,
    Responses,
    Schedule,
    Sweep,
    fit_network,
    validation_part,
)
from connectofit.sim import GapJunction, Graded, GradedLeaky, Network, Population, Projection


def _projection(name, pre, post, synapse, matrix, types) -> Projection:
    source, target = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=matrix.shape[0]))]).astype(np.int32)
    kinds = (target % types).astype(np.int32)  # tied by the postsynaptic neuron
    return Projection(
        name, pre, post, synapse, indptr, target.astype(np.int32), matrix[source, target], kinds, (*range(types),)
    )


@pytest.fixture(scope="session")
def graded() -> Callable[..., Network]:
    """graded(chemical, gap=None): one population n0, n1, ...; weights tied by the postsynaptic index modulo `types`."""

    def make(chemical, gap=None, *, types=1, tau_m_ms=20.0, method="exponential_euler") -> Network:
        chemical = np.asarray(chemical, float)
        ids = tuple(f"n{k}" for k in range(len(chemical)))
        zero = np.zeros(len(ids), np.int32)
        neurons = Population("worm", GradedLeaky(method), ids, zero, ("all",))
        projections = [_projection("chemical", "worm", "worm", Graded(), chemical, types)]
        params = {
            "worm": {"tau_m_ms": np.full(1, tau_m_ms), "v_rest": np.zeros(1), "noise": np.zeros(1)},
            "chemical": {"log_gain": np.zeros(types), "slope": np.ones(1), "v_half": np.zeros(1)},
        }
        if gap is not None:
            projections.append(_projection("gap", "worm", "worm", GapJunction(), np.asarray(gap, float), 1))
            params["gap"] = {"log_gain": np.zeros(1)}
        return Network((neurons,), tuple(projections), params)

    return make


@pytest.fixture(scope="session")
def split() -> Callable[..., Network]:
    """split(matrix, sizes): the same neurons and chemical edges in as many populations, p0, p1, ..."""

    def make(matrix, sizes) -> Network:
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        populations, projections, params = [], [], {}
        for k, size in enumerate(sizes):
            ids = tuple(f"n{i}" for i in range(bounds[k], bounds[k + 1]))
            populations.append(Population(f"p{k}", GradedLeaky(), ids, np.zeros(size, np.int32), ("all",)))
            params[f"p{k}"] = {"tau_m_ms": np.full(1, 20.0), "v_rest": np.full(1, 0.5 * k), "noise": np.zeros(1)}
        for a in range(len(sizes)):
            for b in range(len(sizes)):
                part = matrix[bounds[a] : bounds[a + 1], bounds[b] : bounds[b + 1]]
                projections.append(_projection(f"{a}{b}", f"p{a}", f"p{b}", Graded(), part, 1))
                params[f"{a}{b}"] = {"log_gain": np.zeros(1), "slope": np.ones(1), "v_half": np.zeros(1)}
        return Network(tuple(populations), tuple(projections), params)

    return make


@pytest.fixture(scope="session")
def matrices() -> tuple[np.ndarray, np.ndarray]:
    """Chemical weights of both signs and symmetric gap junctions between 7 neurons."""
    rng = np.random.default_rng(3)
    chemical = 0.4 * rng.normal(size=(7, 7)) * (rng.random((7, 7)) < 0.5)
    gap = np.triu(0.3 * rng.random((7, 7)) * (rng.random((7, 7)) < 0.4), 1)
    return chemical, gap + gap.T


@pytest.fixture(scope="session")
def small(graded, matrices) -> Network:
    """7 neurons, 3 types of chemical weights, gap junctions."""
    return graded(*matrices, types=3)


@dataclass(frozen=True, eq=False)
class Task:
    """A fit that is small enough to be run many times; all tests share its shapes, so that it is compiled once."""

    net: Network
    labels: Detection
    held: np.ndarray
    free: Parameters
    schedule: Schedule

    def run(self, **changes) -> FitResult:
        """`fit_network` with a group of rows held out and others to validate; `changes` to its arguments."""
        arguments = {
            "free": self.free,
            "hold_out": {"atlas": self.held},
            "validation": {"atlas": 0.3},
            "seed": 1,
            "starts": 2,
            "schedule": self.schedule,
        }
        arguments |= changes
        net, objectives = arguments.pop("net", self.net), arguments.pop("objectives", {"atlas": self.labels})
        return fit_network(net, objectives, **arguments)

    def validating(self, seed=1) -> np.ndarray:
        """Which rows (of all) validate."""
        rows = np.zeros(self.labels.n_rows, bool)
        rows[~self.held] = validation_part(self.labels.group[~self.held].tolist(), 0.3, seed)
        return rows

    def relabelled(self, rows, value=None) -> dict[str, Detection]:
        """The labels of `rows` flipped, or set to a value."""
        labels = np.array(self.labels.detected)
        labels[rows] = 1 - labels[rows] if value is None else value
        return {"atlas": replace(self.labels, detected=labels)}


@pytest.fixture(scope="session")
def task(small) -> Task:
    """All 42 pairs of the small network: answers are those of two types of neurons, and some at random."""
    pre, post = np.nonzero(1 - np.eye(7))
    rng = np.random.default_rng(8)
    answers = (np.isin(post, [1, 2, 5]) & (rng.random(42) < 0.9)) | (rng.random(42) < 0.1)
    responses = Responses(small.ids, pre, post, np.zeros(42), np.ones(42, int), np.where(answers, 0.01, 0.5))
    protocol = Protocol(dt_ms=20.0, duration_ms=80.0)
    labels = Detection.from_responses(responses, neuron_types=[*"abcdeff"], protocol=protocol)
    free = Parameters((Free("chemical.log_gain"), Free("gap.log_gain")))
    return Task(small, labels, pre == 0, free, Schedule(steps=20, learning_rate=0.1, patience=4, interval=5))


@pytest.fixture(scope="session")
def same() -> Callable[[FitResult, FitResult], bool]:
    """Whether two fits are the same to the last bit."""

    def bits(result: FitResult) -> list[bytes]:
        leaves = jax.tree.leaves((result.network.params, dict(result.readouts)))
        tables = [result.history.to_numpy(float), result.starts.drop(columns="ended").to_numpy(float)]
        return [np.asarray(part).tobytes() for part in [*leaves, *tables, result.best_start]]

    def compare(a: FitResult, b: FitResult) -> bool:
        return bits(a) == bits(b) and a.starts["ended"].tolist() == b.starts["ended"].tolist()

    return compare


@pytest.fixture(scope="session")
def lif_sweep() -> Callable[..., Sweep]:
    """lif_sweep(name, step_pA, seed, cell="c"): a LIF neuron (20 ms, 0.1 GOhm, -70 to -50 mV) by its solution
    between spikes, which are drawn."""

    def make(name, step_pA, seed, cell="c") -> Sweep:
        n, dt, onset, offset = 2400, 0.25, 100.0, 500.0
        rng = np.random.default_rng(seed)
        t = dt * np.arange(n)
        current = np.where((t >= onset) & (t < offset), step_pA, 0.0)
        voltage, v, k = np.empty(n), -70.0, 0
        while k < n:
            voltage[k] = v
            v = -70.0 + 0.1 * current[k] + (v + 70.0 - 0.1 * current[k]) * np.exp(-dt / 20.0)
            k += 1
            if v >= -50.0 and k + 12 < n:
                voltage[k : k + 12] = [-50, -20, 20, 30, 10, -20, -50, -60, -62, -62, -61, -60]
                v, k = -60.0, k + 12
        return Sweep(name, current, voltage + 0.2 * rng.normal(size=n), dt, onset, offset, cell=cell)

    return make
