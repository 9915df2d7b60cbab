"""The graph as the algorithms see it: rows of neighbours in compressed sparse form, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int, Shaped
from scipy import sparse

from connectofit.connectome.arrays import frozen
from connectofit.connectome.ordering import by_row


@dataclass(frozen=True, eq=False)
class Csr:
    """Rows of neighbours: those of node i are ``indices[indptr[i]:indptr[i + 1]]``, in the order of its adjacency.

    Parallel edges stand side by side. An undirected graph stands in both directions, a self-loop once.

    Attributes
    ----------
    indptr
        int64 [n + 1].
    indices
        int32 [e], at most 2^31 - 1 of them.
    weights
        Numbers [e], or None where every edge weighs 1.
    """

    indptr: Int[np.ndarray, n + 1]
    indices: Int[np.ndarray, " e"]
    weights: Shaped[np.ndarray, " e"] | None = None

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.indptr) - 1

    @property
    def n_edges(self) -> int:
        """Number of entries."""
        return len(self.indices)

    @cached_property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """int64 [n]: entries in each row, parallel edges counted each."""
        return np.diff(self.indptr)

    @cached_property
    def rows(self) -> Int[np.ndarray, " e"]:
        """int32 [e]: the row of every entry."""
        return frozen(np.repeat(np.arange(self.n_nodes, dtype=np.int32), self.lengths))

    @cached_property
    def in_lengths(self) -> Int[np.ndarray, " n"]:
        """int64 [n]: how often each node is somebody's neighbour."""
        return np.bincount(self.indices, minlength=self.n_nodes)

    @cached_property
    def loops(self) -> Int[np.ndarray, " n"]:
        """int64 [n]: self-loops of each node."""
        return np.bincount(self.indices[self.indices == self.rows], minlength=self.n_nodes)

    @cached_property
    def distinct(self) -> Csr:
        """Every neighbour once, in the same order, without weights."""
        keep = np.ones(self.n_edges, bool)
        keep[1:] = self.indices[1:] != self.indices[:-1]
        starts = self.indptr[:-1]
        keep[starts[starts < self.n_edges]] = True
        return self.weighted(None) if keep.all() else self.kept(keep)

    @cached_property
    def simple(self) -> Csr:
        """Every other node once, in ascending order: no parallel edges, no self-loops, no weights."""
        keep = self.distinct.indices != self.distinct.rows
        part = self.distinct if keep.all() else self.distinct.kept(keep)
        matrix = part.matrix(np.zeros(part.n_edges, np.int8), copy=True)
        matrix.sort_indices()
        return Csr(part.indptr, matrix.indices)

    @cached_property
    def by_neighbour(self) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, n + 1]]:
        """int32 [e]: positions of the entries sorted by neighbour, and int64 [n + 1]: where each neighbour's begin."""
        return by_row(self.indices, self.n_nodes)

    @cached_property
    def transpose(self) -> Csr:
        """The edges turned round; each row ascends, parallel edges keep their order."""
        order, indptr = self.by_neighbour
        return Csr(indptr, self._turned, None if self.weights is None else self.weights[order])

    def weighted(self, weights: Shaped[np.ndarray, " e"] | None) -> Csr:
        """The same rows with other weights; what was computed from the rows alone is kept."""
        result = Csr(self.indptr, self.indices, weights)
        for name in ("lengths", "rows", "in_lengths", "loops", "distinct", "simple", "by_neighbour", "_turned"):
            if name in self.__dict__:
                result.__dict__[name] = self.__dict__[name]
        return result

    def matrix(self, values: np.ndarray | None = None, *, copy: bool = False) -> sparse.csr_array:
        """As a SciPy matrix [n, n] of `values` [e]; without them a one per entry, which takes no memory.

        Parallel edges stay apart: ``sum_duplicates`` adds them up, and so does every product.
        """
        if values is None:
            # float64 is what csgraph computes in: another type would be converted, and the rows sorted on the way.
            values = np.broadcast_to(np.float64(1), self.n_edges)
        shape = (self.n_nodes, self.n_nodes)
        return sparse.csr_array((values, self.indices, self.indptr), shape=shape, copy=copy)

    def matrix_of_weights(self) -> sparse.csr_array:
        """The weights in float64 (or ones) as a SciPy matrix [n, n] in which parallel edges stay apart."""
        return self.matrix(None if self.weights is None else self.weights.astype(np.float64))

    def weight_matrix(self) -> sparse.csr_array:
        """The adjacency matrix [n, n] in float64, parallel edges summed; a matrix of its own."""
        values = np.ones(self.n_edges) if self.weights is None else self.weights.astype(np.float64)
        matrix = self.matrix(values, copy=True)
        matrix.sum_duplicates()
        return matrix

    def row_sums(self) -> Shaped[np.ndarray, " n"]:
        """Sum of the weights in every row (entries, where there are none); whole numbers stay whole."""
        return self.lengths if self.weights is None else segment_sums(self.weights, self.indptr)

    def column_sums(self) -> Shaped[np.ndarray, " n"]:
        """Sum of the weights that reach every node (entries, where there are none); whole numbers stay whole."""
        if self.weights is None:
            return self.in_lengths
        total = np.bincount(self.indices, weights=self.weights, minlength=self.n_nodes)
        # bincount adds in float64, which holds whole numbers exactly up to 2^53.
        return total.astype(np.int64) if np.issubdtype(self.weights.dtype, np.integer) else total

    def entries(self, nodes: Int[np.ndarray, " k"]) -> Int[np.ndarray, " m"]:
        """Positions (int64) of all entries in the rows of `nodes`, row after row."""
        return ranges(self.indptr[nodes], self.lengths[nodes])

    def kept(self, keep: Bool[np.ndarray, " e"]) -> Csr:
        """The edges for which `keep` is true, without weights, on the same nodes."""
        return Csr(np.concatenate([[0], np.cumsum(keep)])[self.indptr], self.indices[keep])

    def part(self, nodes: Int[np.ndarray, " k"]) -> tuple[Csr, Int[np.ndarray, " m"]]:
        """The subgraph on `nodes` (distinct, in their new order), and the positions of its edges here."""
        number = np.full(self.n_nodes, -1, np.int32)
        number[nodes] = np.arange(len(nodes), dtype=np.int32)
        edges = self.entries(nodes)
        inside = number[self.indices[edges]] >= 0
        lengths = segment_sums(inside, np.concatenate([[0], np.cumsum(self.lengths[nodes])]))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        edges = edges[inside]
        weights = None if self.weights is None else self.weights[edges]
        return Csr(indptr, number[self.indices[edges]], weights), edges

    @cached_property
    def _turned(self) -> Int[np.ndarray, " e"]:
        return frozen(self.rows[self.by_neighbour[0]])


def from_edges(n_nodes: int, pre: Int[np.ndarray, " e"], post: Int[np.ndarray, " e"]) -> Csr:
    """Rows from pairs of node numbers in any order; edges of one row keep their order."""
    order = np.argsort(pre, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n_nodes))]).astype(np.int64)
    return Csr(indptr, np.asarray(post, np.int32)[order])


def ranges(starts: Int[np.ndarray, " k"], lengths: Int[np.ndarray, " k"]) -> Int[np.ndarray, " m"]:
    """The numbers ``starts[i], ..., starts[i] + lengths[i] - 1`` for every i, one after the other (int64)."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def segment_sums(values: Shaped[np.ndarray, " e"], indptr: Int[np.ndarray, n + 1]) -> Shaped[np.ndarray, " n"]:
    """Sum of ``values[indptr[i]:indptr[i + 1]]`` for every i; int64 for whole numbers and truth values."""
    if np.issubdtype(values.dtype, np.floating):
        # Differences of a running sum would carry the rounding of all rows before; reduceat adds row by row.
        result = np.zeros(len(indptr) - 1, np.float64)
        full = np.flatnonzero(np.diff(indptr))
        if len(full):
            result[full] = np.add.reduceat(values.astype(np.float64, copy=False), indptr[full])
        return result
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    return total[indptr[1:]] - total[indptr[:-1]]
