"""`Connectome.degree`, `in_degree` and `out_degree`: pairs of id and degree, by id, or of one neuron."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from connectofit.connectome.views.links import Links

if TYPE_CHECKING:
    from connectofit.connectome.views.reading import GraphReading


class DegreeView:
    """Degrees: iterates over pairs of id and degree; ``view[id]`` and ``view(id)`` give one.

    The degree is the number of edges, or with `weight` the sum of this edge attribute, 1 where it is missing.
    """

    __slots__ = ("_bunch", "_graph", "_links", "_weight")

    def __init__(
        self, graph: GraphReading, links: Sequence[Links], nbunch: Any = None, weight: str | None = None
    ) -> None:
        """`links`: one or more ways to see the edges, whose degrees are summed."""
        if weight is not None:
            graph.edge_records.known(weight, "the edges")
            graph.edge_records.numeric(weight)
        self._graph, self._links, self._weight = graph, links, weight
        self._bunch = None if nbunch is None else list(graph.nbunch_iter(nbunch))

    def __call__(self, nbunch: Any = None, weight: str | None = None) -> Any:
        """The degree of one neuron, or a view of those of `nbunch` or of all; `weight` names an edge attribute.

        Raises `UnknownNameError` for an unknown attribute, `SchemaError` for one that holds no numbers.
        """
        if nbunch is None:
            return self if weight == self._weight else DegreeView(self._graph, self._links, None, weight)
        row = self._graph.find(nbunch)
        if row is not None:
            return DegreeView(self._graph, self._links, None, weight)._one(row)
        return DegreeView(self._graph, self._links, nbunch, weight)

    def __getitem__(self, node: Any) -> Any:
        return self._one(self._graph.place(node))

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        if self._bunch is None:
            return iter(zip(self._graph.ids, self.to_numpy().tolist(), strict=True))
        return ((node, self[node]) for node in self._bunch)

    def __len__(self) -> int:
        return len(self._graph) if self._bunch is None else len(self._bunch)

    def __repr__(self) -> str:
        return f"DegreeView({len(self)} neurons, weight={self._weight!r})"

    def to_numpy(self) -> np.ndarray:
        """Degrees [n] of all neurons in index order: int64, or float64 where the weights are not whole."""
        parts = [sums(links, self._graph, self._weight) for links in self._links]
        return np.sum(parts, axis=0) if len(parts) > 1 else parts[0]

    def _one(self, row: int) -> Any:
        return sum(self._part(links, row) for links in self._links)

    def _part(self, links: Links, row: int) -> Any:
        where = slice(*links.bounds(row))
        loops = [] if self._graph.is_directed() else links.find(row, row)  # an undirected loop counts twice
        if self._weight is None:
            return where.stop - where.start + len(loops)
        records = self._graph.edge_records
        values = records.values(self._weight, links.positions(where), 1)
        return sum(values) + sum(records.values(self._weight, np.array(loops, np.int64), 1))


def sums(links: Links, graph: GraphReading, weight: str | None) -> np.ndarray:
    """Number of entries of every neuron [n], or sums of an edge attribute over them; undirected loops count twice."""
    lengths = np.diff(links.indptr)
    every = slice(0, int(links.indptr[-1]))
    values = None if weight is None else graph.edge_records.numbers(weight)[links.positions(every)]
    if values is None:
        total = lengths
    else:
        total = np.zeros(len(lengths), np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64)
        some = np.flatnonzero(lengths)
        if len(some):
            total[some] = np.add.reduceat(values, links.indptr[some], dtype=total.dtype)
    if not graph.is_directed():
        row = np.repeat(np.arange(len(lengths)), lengths)
        loops = np.flatnonzero(links.neighbours(every) == row)
        np.add.at(total, row[loops], 1 if values is None else values[loops])
    return total
