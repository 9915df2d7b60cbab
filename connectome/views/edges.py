"""`Connectome.edges`, `out_edges` and `in_edges`: a set of edges, their attributes as a mapping, and with data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from connectofit.connectome.errors import ConnectofitError
from connectofit.connectome.graph_errors import no_edge
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.attributes import Attributes
from connectofit.connectome.views.links import Links
from connectofit.connectome.views.nodes import NOT_GIVEN, no_slice

if TYPE_CHECKING:
    from connectofit.connectome.views.reading import GraphReading


class EdgeView(Set[Any], Mapping[Any, Attributes]):
    """The edges: (pre, post, kind) in a multigraph, (pre, post) in a view of one kind.

    ``view[edge]`` gives its attributes; calling it gives pairs, with `keys` triples, with `data` attributes.
    """

    __slots__ = ("_graph", "_links", "_turned")

    def __init__(self, graph: GraphReading, links: Links, *, turned: bool = False) -> None:
        """`turned`: the neuron of a row is the edge's second."""
        self._graph, self._links, self._turned = graph, links, turned

    def __len__(self) -> int:
        return self._graph.number_of_edges()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._all(keys=self._graph.is_multigraph()))

    def __contains__(self, edge: object) -> bool:
        multigraph = self._graph.is_multigraph()
        if not isinstance(edge, tuple | list) or len(edge) not in ((2, 3) if multigraph else (2,)):
            raise ValueError(f"An edge is {'(u, v, kind)' if multigraph else '(u, v)'}, and not {edge!r}.")
        # NetworkX looks for the key 0 in a multigraph if none is given; kinds are never 0.
        return (len(edge) == 3 or not multigraph) and self._graph.has_edge(*edge)

    def __getitem__(self, edge: Any) -> Attributes:
        no_slice(edge, "list(g.edges)")
        if self._graph.is_multigraph():
            u, v, kind = edge
        else:
            (u, v), kind = edge, None
        found = self._graph.edges_joining(u, v, kind)
        if not found:
            raise no_edge(u, v, kind)
        return self._graph.edge_records.one(found[0])

    def __call__(
        self,
        nbunch: Any = None,
        data: bool | str = False,
        *,
        default: Any = NOT_GIVEN,
        keys: bool = False,
    ) -> EdgeView | EdgeDataView:
        """Edges of all neurons or of `nbunch` as (pre, post), with `keys` (pre, post, kind), with `data` that last.

        `data` is True for all attributes (missing ones left out) or the name of one (`default` where it is missing).
        Raises `UnknownNameError` if no edge can have the attribute, unless a default is given.
        """
        if nbunch is None and data is False and keys is self._graph.is_multigraph():
            return self
        return EdgeDataView(self._graph, self._links, self._turned, nbunch, data, default, keys)

    def data(
        self, data: bool | str = True, default: Any = NOT_GIVEN, nbunch: Any = None, keys: bool = False
    ) -> EdgeView | EdgeDataView:
        """As calling the view, with all attributes unless told otherwise."""
        return self(nbunch, data, default=default, keys=keys)

    def __repr__(self) -> str:
        return f"EdgeView({len(self)} edges)"

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)

    def _all(self, *, keys: bool) -> EdgeDataView:
        return EdgeDataView(self._graph, self._links, self._turned, None, False, NOT_GIVEN, keys)


class EdgeDataView:
    """Edges as tuples with what was asked for: iterates, has a length, and knows which tuples it holds."""

    __slots__ = ("_data", "_default", "_graph", "_keys", "_links", "_rows", "_turned")

    def __init__(
        self,
        graph: GraphReading,
        links: Links,
        turned: bool,
        nbunch: Any,
        data: bool | str,
        default: Any,
        keys: bool,
    ) -> None:
        if not isinstance(data, bool) and default is NOT_GIVEN:
            graph.edge_records.known(data, "the edges")
        self._graph, self._links, self._turned = graph, links, turned
        self._data, self._keys = data, keys
        self._default = None if default is NOT_GIVEN else default
        # A dictionary keeps the order of the rows and each of them once.
        self._rows = None if nbunch is None else dict.fromkeys(map(graph.place, graph.nbunch_iter(nbunch)))

    def __len__(self) -> int:
        if self._rows is None:
            return self._graph.number_of_edges()
        if self._graph.is_directed():
            rows = np.fromiter(self._rows, np.int64)
            return int((self._links.indptr[rows + 1] - self._links.indptr[rows]).sum())
        return sum(len(row) for row, *_ in self._blocks())

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        name, records = self._graph.ids.__getitem__, self._graph.edge_records
        for row, neighbour, positions in self._blocks():
            first, second = (neighbour, row) if self._turned else (row, neighbour)
            parts: list[Iterable[Any]] = [map(name, first.tolist()), map(name, second.tolist())]
            if self._keys:
                parts.append([KINDS[kind] for kind in self._graph.edge_kinds(positions).tolist()])
            if self._data is True:
                parts.append(records.dicts(positions))
            elif self._data is not False:
                parts.append(records.values(self._data, positions, self._default))
            yield from zip(*parts, strict=True)

    def __contains__(self, edge: Any) -> bool:
        u, v = edge[:2]
        ends = (v,) if self._turned else (u,) if self._graph.is_directed() else (u, v)
        if self._rows is not None and not any(self._graph.find(end) in self._rows for end in ends):
            return False
        try:
            found = self._graph.edges_joining(u, v, edge[2] if self._keys else None)
        except ConnectofitError:
            return False
        return any(tuple(edge) == self._report(u, v, position) for position in found)

    def __repr__(self) -> str:
        return f"EdgeDataView({len(self)} edges, data={self._data!r})"

    def _report(self, u: Any, v: Any, position: int) -> tuple[Any, ...]:
        key = (KINDS[int(self._graph.edge_kinds(np.array([position]))[0])],) if self._keys else ()
        if self._data is False:
            return (u, v, *key)
        records = self._graph.edge_records
        if self._data is True:
            return (u, v, *key, records.one(position))
        return (u, v, *key, records.values(self._data, slice(position, position + 1), self._default)[0])

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
        """Entries to report, block by block; an undirected edge once, from the first of its ends."""
        blocks = self._links.blocks(self._rows)
        if self._graph.is_directed():
            yield from blocks
            return
        n = len(self._graph)
        turn = np.arange(n)
        if self._rows is not None:
            turn = np.full(n, n)
            turn[list(self._rows)] = np.arange(len(self._rows))
        for row, neighbour, positions in blocks:
            chosen = np.flatnonzero(turn[neighbour] >= turn[row])
            where = np.arange(positions.start, positions.stop) if isinstance(positions, slice) else positions
            yield row[chosen], neighbour[chosen], where[chosen]
