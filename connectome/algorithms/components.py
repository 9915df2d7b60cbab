"""Weakly and strongly connected components, and the acyclic graph of the strong ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy import sparse
from scipy.sparse import csgraph

from connectofit.connectome.algorithms.csr import Csr

FEW = 8  # nodes below which plain Python is faster than a dozen array operations


def weak_labels(graph: Csr) -> tuple[int, Int[np.ndarray, " n"]]:
    """Number of weakly connected components, and int32 [n] the one of each node, by their first nodes."""
    n = graph.n_nodes
    if not n:
        return 0, np.zeros(0, np.int32)
    # The first two edges of every node join most of them to one component; only the edges of the other nodes are
    # worth a look (Sutton, Ben-Nun and Barak 2018).
    pairs = [(has := np.flatnonzero(graph.lengths > k), graph.indices[graph.indptr[has] + k]) for k in range(2)]
    count, labels = _joined(n, *(np.concatenate(ends) for ends in zip(*pairs, strict=True)))
    if count > 1:
        outside = labels != np.argmax(np.bincount(labels))
        into = np.flatnonzero(outside[graph.indices])
        nodes = np.flatnonzero(outside)
        lengths = graph.lengths[nodes]
        out = np.arange(lengths.sum()) + np.repeat(graph.indptr[nodes] - np.cumsum(lengths) + lengths, lengths)
        low = np.concatenate([np.searchsorted(graph.indptr, into, side="right") - 1, np.repeat(nodes, lengths)])
        high = graph.indices[np.concatenate([into, out])]
        count, above = _joined(count, labels[low], labels[high])
        labels = above[labels]
    firsts = np.full(count, n)
    np.minimum.at(firsts, labels, np.arange(n))
    rank = np.empty(count, np.int32)
    rank[np.argsort(firsts)] = np.arange(count, dtype=np.int32)
    return count, rank[labels]


def _joined(n: int, low: np.ndarray, high: np.ndarray) -> tuple[int, np.ndarray]:
    matrix = sparse.coo_array((np.ones(len(low)), (low, high)), shape=(n, n)).tocsr()
    count, labels = csgraph.connected_components(matrix, directed=True, connection="weak")
    return int(count), labels


def strong_labels(graph: Csr) -> tuple[int, Int[np.ndarray, " n"]]:
    """Number of strongly connected components, and int32 [n] the one of each node.

    They are numbered in the order in which a depth-first search along the rows, started from the nodes in their
    order, finishes them (Tarjan 1972): an edge between two components leads to the smaller number.
    """
    if not graph.n_nodes:
        return 0, np.zeros(0, np.int32)
    graph = graph.distinct  # with parallel edges SciPy's search may never end
    # It pushes a whole row onto a stack and continues with its last entry: turned rows restore the order.
    last = np.repeat(graph.indptr[:-1] + graph.indptr[1:] - 1, graph.lengths)
    backwards = Csr(graph.indptr, graph.indices[last - np.arange(graph.n_edges)])
    count, labels = csgraph.connected_components(backwards.matrix(), directed=True, connection="strong")
    return int(count), labels


def groups(count: int, labels: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " k"]]:
    """The nodes of every label, ascending."""
    if count == 1:
        return [np.arange(len(labels))]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=count))[:-1])


def edges_between(graph: Csr, labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, "k 2"]:
    """The distinct pairs of different labels that an edge joins (int64), in the order in which the edges stand."""
    pairs = np.stack([labels[graph.rows], labels[graph.indices]], axis=1).astype(np.int64)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    if not len(pairs):
        return pairs
    _, first = np.unique(pairs[:, 0] * (int(labels.max()) + 1) + pairs[:, 1], return_index=True)
    return pairs[np.sort(first)]


def sinks(graph: Csr, labels: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " k"]:
    """The labels that no edge leaves, ascending."""
    left = labels[graph.rows][labels[graph.rows] != labels[graph.indices]]
    return np.flatnonzero(np.bincount(left, minlength=count) == 0)


def core_numbers(out: Csr, into: Csr | None) -> Int[np.ndarray, " n"]:
    """int64 [n]: the largest k for which a node stays when nodes of degree below k are removed again and again.

    The degree is that of `out` plus that of `into` (the transpose of a directed graph; None for an undirected one):
    a pair joined both ways counts twice. Batagelj and Zaversnik 2003 peel node by node; here all nodes of degree at
    most k go at once, which leaves the same numbers.
    """
    sides = [out] if into is None else [out, into]
    degree = np.sum([side.lengths for side in sides], axis=0)
    core = np.zeros(out.n_nodes, np.int64)
    alive = np.ones(out.n_nodes, bool)
    k, left = 0, np.arange(out.n_nodes)
    while len(left := left[alive[left]]):
        k = max(k, int(degree[left].min()))
        peeled = left[degree[left] <= k]
        while len(peeled):
            core[peeled] = k
            alive[peeled] = False
            if len(peeled) <= FEW:
                peeled = _peel_few(sides, peeled.tolist(), k, degree, alive, core)
                continue
            near = np.concatenate([side.indices[side.entries(peeled)] for side in sides])
            near = near[alive[near]]
            if len(near) > out.n_nodes:
                degree -= np.bincount(near, minlength=out.n_nodes)
                peeled = np.flatnonzero(alive & (degree <= k))
            else:
                np.subtract.at(degree, near, 1)
                peeled = np.unique(near[degree[near] <= k])
    return core


def _peel_few(
    sides: list[Csr], peeled: list[int], k: int, degree: np.ndarray, alive: np.ndarray, core: np.ndarray
) -> Int[np.ndarray, " m"]:
    """Take nodes that were peeled out of their neighbours' degrees, and peel these where they fall to `k`.

    Node by node, as long as few wait: a chain of nodes would otherwise cost several array operations for each of
    them. Returns those whose own neighbours have yet to be looked at.
    """
    while 0 < len(peeled) <= FEW:
        fresh = []
        for node in peeled:
            for side in sides:
                for other in side.indices[side.indptr[node] : side.indptr[node + 1]].tolist():
                    if alive[other]:
                        degree[other] -= 1
                        if degree[other] <= k:
                            alive[other] = False
                            core[other] = k
                            fresh.append(other)
        peeled = fresh
    return np.array(peeled, np.int64)
