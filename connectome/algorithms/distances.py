"""Distances from many or all nodes, and who lies between: many sources travel together.

Unweighted distances are counted for 512 sources at once, one bit each; weighted ones are SciPy's Dijkstra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csgraph

from connectofit.connectome.algorithms.csr import Csr

WORDS = 8  # words of 64 sources that travel together: one cache line per node
GATHERED = 1_000_000  # entries gathered at a time: 64 MB of frontiers
CELLS = 2_000_000  # of a dense block with one row per node and one column per source
WIDEST = 64


@dataclass(frozen=True, eq=False)
class Reached:
    """For every node what the distances from the sources to it add up to.

    Attributes
    ----------
    count
        int64 [n]: sources that reach the node, itself included where it is one.
    total
        [n]: sum of their distances; int64 where edges count one each.
    inverse
        float64 [n]: sum of the inverse of the distances above zero.
    farthest
        [n]: the largest of the distances (0 where there are none).
    """

    count: Int[np.ndarray, " n"]
    total: Shaped[np.ndarray, " n"]
    inverse: Float[np.ndarray, " n"]
    farthest: Shaped[np.ndarray, " n"]


def reached_by(graph: Csr, sources: Int[np.ndarray, " s"]) -> Reached:
    """Add up the distances from `sources` along the rows of `graph`, or their weighted lengths where it has weights.

    Unweighted, this is the multi-source search of Then et al. 2014: each node keeps the set of sources that have
    reached it as bits, and a level is one OR over all edges. Weights must not be negative.
    """
    if graph.weights is not None:
        return _reached_weighted(graph, sources)
    n = graph.n_nodes
    count, total, farthest = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    inverse = np.zeros(n)
    into = graph.distinct.transpose
    for start in range(0, len(sources), 64 * WORDS):
        batch = sources[start : start + 64 * WORDS]
        frontier = np.zeros((n, -(-len(batch) // 64)), np.uint64)
        bit = np.arange(len(batch))
        frontier[batch, bit // 64] = np.uint64(1) << (bit % 64).astype(np.uint64)
        full = np.bitwise_or.reduce(frontier, axis=0)
        visited = frontier.copy()
        count[batch] += 1
        level = 0
        while True:
            level += 1
            frontier = _next_frontier(into, frontier, visited, full)
            new = np.bitwise_count(frontier).sum(axis=1, dtype=np.int64)
            if not new.any():
                break
            visited |= frontier
            count += new
            total += level * new
            inverse += new / level
            farthest[new > 0] = np.maximum(farthest[new > 0], level)
    return Reached(count, total, inverse, farthest)


def _next_frontier(into: Csr, frontier: np.ndarray, visited: np.ndarray, full: np.ndarray) -> np.ndarray:
    """The sources that come to each node over one more edge and have not been there: uint64 [n, words]."""
    new = np.zeros_like(frontier)
    active = np.any(frontier, axis=1)
    open_rows = np.flatnonzero(np.any(visited != full, axis=1) & (into.lengths > 0))
    ends = np.cumsum(into.lengths[open_rows])
    first = 0
    while first < len(open_rows):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + GATHERED, side="right")))
        rows = open_rows[first:last]
        edges = into.entries(rows)
        edges = edges[active[into.indices[edges]]]
        if len(edges):
            at = into.rows[edges]
            starts = np.flatnonzero(np.concatenate([[True], at[1:] != at[:-1]]))
            new[at[starts]] = np.bitwise_or.reduceat(frontier[into.indices[edges]], starts, axis=0)
        first = last
    new &= ~visited
    return new


def _reached_weighted(graph: Csr, sources: Int[np.ndarray, " s"]) -> Reached:
    n = graph.n_nodes
    whole = np.issubdtype(graph.weights.dtype, np.integer)  # type: ignore[union-attr]
    count, inverse = np.zeros(n, np.int64), np.zeros(n)
    total, farthest = np.zeros(n), np.zeros(n)
    for lengths in weighted_lengths(graph, sources):
        there = np.isfinite(lengths)
        known = np.where(there, lengths, 0.0)
        count += there.sum(axis=0)
        total += known.sum(axis=0)
        inverse += np.divide(1.0, known, out=np.zeros_like(known), where=known > 0).sum(axis=0)
        farthest = np.maximum(farthest, known.max(axis=0))
    if whole:
        return Reached(count, total.astype(np.int64), inverse, farthest.astype(np.int64))
    return Reached(count, total, inverse, farthest)


def weighted_lengths(
    graph: Csr, sources: Int[np.ndarray, " s"], limit: float = np.inf
) -> Iterator[Float[np.ndarray, "block n"]]:
    """Lengths of the shortest weighted paths from blocks of sources to every node, infinite where there is none.

    Of parallel edges the lightest counts; weights must not be negative. Lengths above `limit` are not looked for.
    """
    matrix = lightest(graph).matrix_of_weights()
    block = max(1, CELLS // max(graph.n_nodes, 1))
    for start in range(0, len(sources), block):
        yield csgraph.dijkstra(matrix, indices=sources[start : start + block], limit=limit)


def weighted_lengths_from_any(
    graph: Csr, sources: Int[np.ndarray, " s"], limit: float = np.inf
) -> Float[np.ndarray, " n"]:
    """As `weighted_lengths`, from the nearest of all sources."""
    matrix = lightest(graph).matrix_of_weights()
    return csgraph.dijkstra(matrix, indices=sources, limit=limit, min_only=True)


def lightest(graph: Csr) -> Csr:
    """The same graph with the lightest of parallel edges only; this very object where there are none."""
    if graph.distinct.n_edges == graph.n_edges or graph.weights is None:
        return graph
    starts = np.ones(graph.n_edges, bool)
    starts[1:] = (graph.indices[1:] != graph.indices[:-1]) | (graph.rows[1:] != graph.rows[:-1])
    return graph.distinct.weighted(np.minimum.reduceat(graph.weights, np.flatnonzero(starts)))


def betweenness(graph: Csr, sources: Int[np.ndarray, " s"], *, endpoints: bool = False) -> Float[np.ndarray, " n"]:
    """Sum over `sources` s and all targets t of the share of shortest paths from s to t that pass each node.

    Brandes 2001, with his two passes as sparse products over a block of sources: the number of paths spreads level
    by level, and the dependencies come back, ``delta(v) = sum over v -> w of sigma(v) / sigma(w) (1 + delta(w))``.
    A path's ends count only with `endpoints`. Not rescaled; edges count one each, parallel ones once.
    """
    n = graph.n_nodes
    out = graph.distinct.matrix(np.ones(graph.distinct.n_edges))
    into = graph.distinct.transpose.matrix(np.ones(graph.distinct.n_edges))
    width = min(WIDEST, max(1, CELLS // max(n, 1)))
    result = np.zeros(n)
    for start in range(0, len(sources), width):
        batch = sources[start : start + width]
        own = np.arange(len(batch))
        depth = np.full((n, len(batch)), -1, np.int32)
        depth[batch, own] = 0
        sigma = np.zeros((n, len(batch)))
        sigma[batch, own] = 1.0
        spread, last = sigma, 0
        while True:
            spread = into @ spread
            spread[depth >= 0] = 0.0
            reached = spread != 0
            if not reached.any():
                break
            last += 1
            sigma = sigma + spread
            depth[reached] = last
        delta = np.zeros_like(sigma)
        for level in range(last, 0, -1):
            share = np.divide(1.0 + delta, sigma, out=np.zeros_like(sigma), where=depth == level)
            np.add(delta, sigma * (out @ share), out=delta, where=depth == level - 1)
        if endpoints:
            result += np.bincount(batch, (depth >= 0).sum(axis=0) - 1.0, minlength=n)
            delta += depth >= 0
        delta[batch, own] = 0.0
        result += delta.sum(axis=1)
    return result
