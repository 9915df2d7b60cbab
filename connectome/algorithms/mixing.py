"""Who is joined to whom: reciprocity, degrees of neighbours, assortativity by attribute and by degree."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

from connectofit.connectome.algorithms.csr import Csr, segment_sums


def mutual_edges(graph: Csr) -> Int[np.ndarray, " n"]:
    """int64 [n]: neighbours of each node that are joined to it both ways; a self-loop is."""
    distinct = graph.distinct
    size = np.int64(graph.n_nodes)
    forth = distinct.rows * size + distinct.indices
    turned = distinct.transpose  # ascends, row by row: a sorted list of the same pairs turned round
    back = turned.rows * size + turned.indices
    if not len(back):
        return np.zeros(graph.n_nodes, np.int64)
    found = np.minimum(np.searchsorted(back, forth), len(back) - 1)
    return np.bincount(distinct.rows[back[found] == forth], minlength=graph.n_nodes)


def neighbour_sums(graph: Csr, values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """For every node the sum of `values` over its neighbours, each times the weight of the edge.

    Without weights parallel edges count once; with them there must be none.
    """
    if graph.weights is None:
        graph = graph.distinct
        return segment_sums(values[graph.indices], graph.indptr)
    return segment_sums(values[graph.indices] * graph.weights, graph.indptr)


def attribute_assortativity(pre: Int[np.ndarray, " e"], post: Int[np.ndarray, " e"], n_values: int) -> float:
    """Newman's r (2003, equation 2) from the number of the attribute's value at both ends of every edge.

    ``r = (tr M - |M^2|) / (1 - |M^2|)``, where M is the share of edges between each pair of values: its square sums
    to the product of the shares of values among postsynaptic and presynaptic ends. NaN without edges, or where all
    ends have one value.
    """
    a = np.bincount(pre, minlength=n_values)
    b = np.bincount(post, minlength=n_values)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (b / np.float64(len(pre)) * (a / np.float64(len(pre)))).sum()
        same = np.float64((pre == post).sum()) / len(pre)
        return float((same - expected) / (1 - expected))


def correlation(x: Shaped[np.ndarray, " e"], y: Shaped[np.ndarray, " e"]) -> float:
    """Pearson's correlation of the numbers at both ends of every edge; NaN where one of them never varies."""
    if not len(x) or (x == x[0]).all() or (y == y[0]).all():
        return float("nan")
    dx, dy = x - x.mean(dtype=np.float64), y - y.mean(dtype=np.float64)
    return float((dx * dy).sum() / np.sqrt((dx * dx).sum() * (dy * dy).sum()))


def pair_counts(
    x: Int[np.ndarray, " e"], y: Int[np.ndarray, " e"], size: int
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The distinct pairs (x, y) of numbers below `size`, in the order of their first occurrence, and how often each."""
    key, first, count = np.unique(x * np.int64(size) + y, return_index=True, return_counts=True)
    order = np.argsort(first)
    return key[order] // size, key[order] % size, count[order]


def rich_club(graph: Csr, degree: Int[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """Density of the edges among the nodes of degree above d, for every d that leaves at least two nodes.

    Colizza et al. 2006: ``phi(d) = 2 E / (N (N - 1))`` with N such nodes and E edges among them. The graph is
    undirected, without self-loops and parallel edges.
    """
    histogram = np.bincount(degree)
    above = graph.n_nodes - np.cumsum(histogram)
    above = above[above > 1]
    lower = np.minimum(degree[graph.rows], degree[graph.indices])
    within = graph.n_edges - np.cumsum(np.bincount(lower, minlength=len(histogram)))  # each edge stands twice
    return within[: len(above)] / (above * (above - 1))
