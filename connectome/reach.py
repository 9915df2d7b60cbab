"""What can be reached over a number of steps: breadth-first distances, descendants, ancestors, surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Int

from connectofit.connectome.connections import neuron_frame
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.connectome.ordering import ranges
from connectofit.connectome.selectors import (
    EdgeChoice,
    Neurons,
    edges_from,
    edges_to,
    neuron_indices,
    sources_of,
)

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

Towards: TypeAlias = Literal["upstream", "downstream", "both"]
_SCANS = 8
"""Upstream steps that pass over all edges; further ones use the index by postsynaptic neuron, which takes a sort."""


def check_hops(max_hops: int | None, name: str = "max_hops") -> None:
    """Raises `SettingError` unless it is None or an integer of at least 0."""
    if max_hops is None:
        return
    if isinstance(max_hops, bool) or not isinstance(max_hops, int | np.integer) or max_hops < 0:
        raise SettingError(f"{name} must be an integer of at least 0, or None for no limit; it is {max_hops!r}.")


def distances(
    choice: EdgeChoice, start: Int[np.ndarray, " k"], direction: Towards, max_hops: int | None
) -> Int[np.ndarray, " n"]:
    """Steps (int32 [n]) over the chosen edges from the nearest neuron of `start`; -1 where there is no way.

    A level at a time: every neuron's edges are looked at once, so that the whole costs as much as one pass.
    """
    connectome = choice.connectome
    distance = np.full(connectome.n_neurons, -1, np.int32)
    distance[start] = 0
    level, hops = start, 0
    while len(level) and (max_hops is None or hops < max_hops):
        hops += 1
        hit = np.zeros(connectome.n_neurons, bool)
        if direction != "upstream":
            hit[connectome.post[choice.of(edges_from(connectome, level))]] = True
        if direction != "downstream":
            hit[sources_of(connectome, choice.of(_edges_to(connectome, level, hops)))] = True
        level = np.flatnonzero(hit & (distance < 0))
        distance[level] = hops
    return distance


def _edges_to(connectome: ColumnarGraph, neurons: np.ndarray, hops: int) -> Int[np.ndarray, " m"]:
    if hops <= _SCANS:
        return edges_to(connectome, neurons)
    order, indptr = connectome._by_post
    return order[ranges(indptr[neurons], indptr[neurons + 1])[0]]


def reached(
    connectome: ColumnarGraph,
    neurons: Neurons,
    direction: Literal["upstream", "downstream"],
    max_hops: int | None,
    min_count: float,
    kind: str | None,
) -> pd.DataFrame:
    """See `Connectome.descendants` and `Connectome.ancestors`."""
    check_hops(max_hops)
    choice = EdgeChoice(connectome, kind, min_count)
    hops = distances(choice, neuron_indices(connectome, neurons), direction, max_hops)
    found = np.flatnonzero(hops > 0)
    found = found[np.argsort(hops[found], kind="stable")]
    return neuron_frame(connectome, found).assign(hops=hops[found])


def surroundings(
    connectome: ColumnarGraph, neurons: Neurons, hops: int, direction: Towards, min_count: float, kind: str | None
) -> Int[np.ndarray, " k"]:
    """Indices (ascending) of the neurons of `Connectome.ego`."""
    check_hops(hops, "hops")
    if direction not in ("upstream", "downstream", "both"):
        raise unknown_name("direction", str(direction), ("upstream", "downstream", "both"))
    choice = EdgeChoice(connectome, kind, min_count)
    return np.flatnonzero(distances(choice, neuron_indices(connectome, neurons), direction, hops) >= 0)
