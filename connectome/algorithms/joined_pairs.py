"""Triangles, each listed once, and what is counted from them: clustering, transitivity, the census of triads.

A pair of nodes is joined if an edge leads either way; self-loops and parallel edges do not count. Pairs are turned
towards the node of higher degree (Chiba and Nishizeki 1985), so that a hub's many neighbours are never all compared
with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import sparse

from connectofit.connectome.algorithms.csr import Csr, ranges

WEDGES = 2_000_000  # candidates looked at together
CELLS = 4_000_000  # cells of the table of marks: larger falls out of the cache, smaller makes more blocks
FORTH, BACK = 1, 2


@dataclass(frozen=True, eq=False)
class Pairs:
    """The joined pairs of a graph, each once, from its node of lower to that of higher degree.

    Attributes
    ----------
    nodes
        int64 [n]: the node of every rank, by ascending degree.
    indptr, indices
        int64 [n + 1], int32 [p]: the pairs, in ranks; each row ascends.
    code
        int8 [p]: `FORTH` if an edge leads from the lower to the higher rank, plus `BACK` if one leads back.
    """

    nodes: Int[np.ndarray, " n"]
    indptr: Int[np.ndarray, n + 1]
    indices: Int[np.ndarray, " p"]
    code: Int[np.ndarray, " p"]

    @property
    def rows(self) -> Int[np.ndarray, " p"]:
        """int32 [p]: the lower rank of each pair."""
        return np.repeat(np.arange(len(self.nodes), dtype=np.int32), np.diff(self.indptr))


def pairs(graph: Csr) -> Pairs:
    """The joined pairs of a directed graph, or of an undirected one (all codes are then ``FORTH + BACK``)."""
    simple = graph.simple
    forth = simple.matrix(np.full(simple.n_edges, FORTH, np.int8))
    both = (forth + (forth.T.tocsr() * np.int8(BACK))).tocsr()
    lengths = np.diff(both.indptr)
    nodes = np.argsort(lengths, kind="stable")
    rank = np.empty(graph.n_nodes, np.int32)
    rank[nodes] = np.arange(graph.n_nodes, dtype=np.int32)
    low, high = np.repeat(rank, lengths), rank[both.indices]
    up = low < high
    turned = sparse.coo_array((both.data[up], (low[up], high[up])), shape=both.shape).tocsr()
    turned.sort_indices()
    return Pairs(nodes, turned.indptr.astype(np.int64), turned.indices.astype(np.int32), turned.data)


def list_triangles(joined: Pairs) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All triangles i < j < k (in ranks), in blocks: the positions (int64) of the pairs (i, j), (i, k) and (j, k)."""
    n, indptr, indices = len(joined.nodes), joined.indptr, joined.indices
    lengths = np.diff(indptr)
    work = np.concatenate([[0], np.cumsum(lengths[indices])])[indptr]  # candidates below each row
    height = max(1, CELLS // max(n, 1))
    marks = np.full(height * n, -1, np.int32)
    first = 0
    while first < n:
        last = min(n, first + height, int(np.searchsorted(work, work[first] + WEDGES, side="right")) - 1)
        last = max(last, first + 1)
        here = slice(indptr[first], indptr[last])
        if work[last] > work[first]:
            base = np.repeat(np.arange(last - first) * n, lengths[first:last])
            cells = base + indices[here]
            marks[cells] = np.arange(here.start, here.stop, dtype=np.int32)
            middle = indices[here]
            onwards = ranges(indptr[middle], lengths[middle])
            closing = marks[np.repeat(base, lengths[middle]) + indices[onwards]]
            hits = np.flatnonzero(closing >= 0)
            if len(hits):
                ends = np.cumsum(lengths[middle])
                opening = here.start + np.searchsorted(ends, hits, side="right")
                yield opening, closing[hits].astype(np.int64), onwards[hits]
            marks[cells] = -1
        first = last


def triangle_sums(joined: Pairs, strength: Shaped[np.ndarray, " p"] | None = None) -> Shaped[np.ndarray, " n"]:
    """For every node the sum over its triangles of the product of their three pairs' `strength` (1 without it).

    In the order of the graph's nodes; int64 for whole numbers, else float64.
    """
    n, low = len(joined.nodes), joined.rows
    whole = strength is None or np.issubdtype(strength.dtype, np.integer)
    total = np.zeros(n, np.int64 if whole else np.float64)
    for ij, ik, jk in list_triangles(joined):
        weights = None if strength is None else strength[ij] * strength[ik] * strength[jk]
        for corner in (low[ij], joined.indices[ij], joined.indices[ik]):
            # bincount adds in float64: a block holds far fewer than 2^53 triangles, so whole numbers stay exact.
            if len(corner) < n // 16:
                np.add.at(total, corner, 1 if weights is None else weights)
            else:
                total += np.bincount(corner, weights, minlength=n).astype(total.dtype)
    result = np.empty_like(total)
    result[joined.nodes] = total
    return result


def pair_strength(joined: Pairs, values: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " p"]:
    """For every pair the sum of `values` (a sparse matrix [n, n] in node numbers) over both directions."""
    low, high = joined.nodes[joined.rows], joined.nodes[joined.indices]
    return np.asarray(values[low, high]).ravel() + np.asarray(values[high, low]).ravel()
