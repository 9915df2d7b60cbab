"""The ends of edges as each neuron sees them: those that leave it, those that reach it, or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int

from connectofit.connectome.ordering import ranges
from connectofit.connectome.views.attributes import Where

_BLOCK = 1 << 16  # ends handled at once: the memory of an iteration does not grow with the graph


class Links(ABC):
    """For every neuron its neighbours, one entry an edge, entries of one neighbour side by side.

    ``indptr`` (int64 [n + 1]) says where each neuron's entries begin.
    """

    indptr: Int[np.ndarray, n + 1]

    @abstractmethod
    def neighbours(self, where: Where) -> Int[np.ndarray, " k"]:
        """Indices of the neighbours at these entries."""

    @abstractmethod
    def positions(self, where: Where) -> Where:
        """Positions, in the edges' records, of these entries."""

    @abstractmethod
    def find(self, row: int, neighbour: int) -> list[int]:
        """Positions, in the edges' records, of the edges between a neuron and a neighbour."""

    def bounds(self, row: int) -> tuple[int, int]:
        """The first entry of a neuron, and the one after its last."""
        return int(self.indptr[row]), int(self.indptr[row + 1])

    def distinct(self, row: int) -> Int[np.ndarray, " k"]:
        """Indices of a neuron's neighbours, each once."""
        found = self.neighbours(slice(*self.bounds(row)))
        first = first_of_each(found)
        return found if len(first) == len(found) else found[first]

    def blocks(self, rows: Iterable[int] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray, Where]]:
        """Row, neighbour and position in the records of all entries, or of those of some neurons, block by block."""
        if rows is None:
            for start in range(0, int(self.indptr[-1]), _BLOCK):
                stop = min(start + _BLOCK, int(self.indptr[-1]))
                first = int(np.searchsorted(self.indptr, start, "right")) - 1
                last = int(np.searchsorted(self.indptr, stop, "left"))
                lengths = np.diff(np.clip(self.indptr[first : last + 1], start, stop))
                every = slice(start, stop)
                yield np.repeat(np.arange(first, last), lengths), self.neighbours(every), self.positions(every)
            return
        wanted = np.fromiter(rows, np.int64)
        ends = np.cumsum(self.indptr[wanted + 1] - self.indptr[wanted])
        start = 0
        while start < len(wanted):
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _BLOCK, "right")))
            part = wanted[start:stop]
            where, offsets = ranges(self.indptr[part], self.indptr[part + 1])
            yield np.repeat(part, np.diff(offsets)), self.neighbours(where), self.positions(where)
            start = stop


def first_of_each(neighbours: Int[np.ndarray, " k"]) -> Int[np.ndarray, " j"]:
    """Where each neighbour's entries begin, among the entries of one neuron."""
    changes = np.ones(len(neighbours), bool)
    np.not_equal(neighbours[1:], neighbours[:-1], out=changes[1:])
    return np.flatnonzero(changes)


class OutLinks(Links):
    """The edges that leave a neuron, by postsynaptic neuron."""

    def __init__(self, indptr: Int[np.ndarray, n + 1], post: Int[np.ndarray, " e"]) -> None:
        self.indptr, self._post = indptr, post

    def neighbours(self, where: Where) -> Int[np.ndarray, " k"]:
        return self._post[where]

    def positions(self, where: Where) -> Where:
        return where

    def find(self, row: int, neighbour: int) -> list[int]:
        start, stop = self.bounds(row)
        first = bisect_left(self._post, neighbour, start, stop)
        if first == stop or self._post[first] != neighbour:
            return []
        return list(range(first, bisect_right(self._post, neighbour, first, stop)))


class InLinks(Links):
    """The edges that reach a neuron, by presynaptic neuron."""

    def __init__(
        self,
        indptr: Int[np.ndarray, n + 1],
        order: Int[np.ndarray, " e"],
        pre: Int[np.ndarray, " e"],
        out: OutLinks,
    ) -> None:
        self.indptr, self._order, self._pre, self._out = indptr, order, pre, out

    def neighbours(self, where: Where) -> Int[np.ndarray, " k"]:
        return self._pre[self._order[where]]

    def positions(self, where: Where) -> Where:
        return self._order[where]

    def find(self, row: int, neighbour: int) -> list[int]:
        return self._out.find(neighbour, row)


class BothLinks(Links):
    """The undirected edges at a neuron, in the order in which NetworkX would have met them."""

    def __init__(self, indptr: Int[np.ndarray, n + 1], neighbour: Int[np.ndarray, " h"]) -> None:
        self.indptr, self._neighbour = indptr, neighbour

    def neighbours(self, where: Where) -> Int[np.ndarray, " k"]:
        return self._neighbour[where]

    def positions(self, where: Where) -> Where:
        return where

    def find(self, row: int, neighbour: int) -> list[int]:
        start, stop = self.bounds(row)
        return (np.flatnonzero(self._neighbour[start:stop] == neighbour) + start).tolist()
