"""Small networks from weight matrices, W[i, j] from neuron i to neuron j."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from connectofit.sim import LIF, Exponential, GapJunction, Graded, GradedLeaky, Network, Population, Projection


def rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(indptr, post, weight) of the entries that are not 0."""
    pre, post = np.nonzero(matrix)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=matrix.shape[0]))])
    return indptr.astype(np.int32), post.astype(np.int32), matrix[pre, post]


def projection(name, pre, post, synapse, matrix, delay_ms=0.0, types=1) -> Projection:
    indptr, post_index, weight = rows(matrix)
    type_index = np.arange(len(weight), dtype=np.int32) % types
    return Projection(name, pre, post, synapse, indptr, post_index, weight, type_index, tuple(range(types)), delay_ms)


@pytest.fixture
def graded() -> Callable[..., Network]:
    """graded(chemical, gap=None, ...): one population n0, n1, ... with a time constant each."""

    def make(chemical, gap=None, *, tau_m_ms=None, v_rest=0.0, slope=1.0, v_half=0.0, delay_ms=0.0, noise=0.0, types=1):
        n = len(chemical)
        ids = tuple(f"n{k}" for k in range(n))
        tau = np.full(n, 10.0) if tau_m_ms is None else np.asarray(tau_m_ms, float)
        population = Population("worm", GradedLeaky(), ids, np.arange(n, dtype=np.int32), ids)
        projections = [projection("chemical", "worm", "worm", Graded(), np.asarray(chemical, float), delay_ms, types)]
        params = {
            "worm": {"tau_m_ms": tau, "v_rest": np.full(n, v_rest), "noise": np.full(n, noise)},
            "chemical": {"log_gain": np.zeros(types), "slope": np.full(1, slope), "v_half": np.full(1, v_half)},
        }
        if gap is not None:
            projections.append(projection("gap", "worm", "worm", GapJunction(), np.asarray(gap, float)))
            params["gap"] = {"log_gain": np.zeros(1)}
        return Network((population,), tuple(projections), params)

    return make


@pytest.fixture
def lif() -> Callable[..., Network]:
    """lif(matrix, delay_ms, **params): one population of LIF neurons with exponential synapses."""

    def make(matrix, delay_ms=1.0, tau_syn_ms=5.0, **values):
        n = len(matrix)
        params = {name: np.full(n, values.get(name, p.default)) for name, p in LIF.parameters.items()}
        population = Population(
            "cells", LIF(), tuple(range(100, 100 + n)), np.arange(n, dtype=np.int32), tuple(range(n))
        )
        syn = projection("syn", "cells", "cells", Exponential(), np.asarray(matrix, float), delay_ms)
        own = {"log_gain": np.zeros(1), "tau_syn_ms": np.full(1, tau_syn_ms)}
        return Network((population,), (syn,), {"cells": params, "syn": own})

    return make


@pytest.fixture
def random_worm(graded) -> Network:
    """12 graded neurons with chemical synapses (self-loops too) of both signs and symmetric gap junctions."""
    rng = np.random.default_rng(1)
    n = 12
    chemical = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.4)
    gap = np.triu(rng.random((n, n)) * (rng.random((n, n)) < 0.3), 1)
    return graded(0.5 * chemical, gap + gap.T, tau_m_ms=rng.uniform(5, 20, n), slope=1.5, v_half=0.3, types=3)
