"""Adjacency as NetworkX's nested mappings, each row read from the columns when it is asked for."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any

import numpy as np

from connectofit.connectome.graph_errors import no_edge
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.attributes import Attributes
from connectofit.connectome.views.links import Links, first_of_each

if TYPE_CHECKING:
    from connectofit.connectome.views.reading import GraphReading


class AdjacencyView(Mapping[Any, "NeighbourView"]):
    """Neuron to its neighbours: ``view[u]`` is a `NeighbourView`, made when asked for."""

    __slots__ = ("_graph", "_links")

    def __init__(self, graph: GraphReading, links: Links) -> None:
        self._graph, self._links = graph, links

    def __len__(self) -> int:
        return len(self._graph)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._graph)

    def __contains__(self, node: object) -> bool:
        return node in self._graph

    def __getitem__(self, node: Any) -> NeighbourView:
        return NeighbourView(self._graph, self._links, self._graph.place(node))

    def items(self) -> ItemsView[Any, NeighbourView]:
        return _Rows(self)

    def values(self) -> ValuesView[NeighbourView]:
        return _RowValues(self)

    def copy(self) -> dict[Any, dict[Any, Any]]:
        """As dictionaries that can be changed."""
        return {node: row.copy() for node, row in self.items()}

    def __repr__(self) -> str:
        return f"AdjacencyView({len(self)} neurons)"

    def _rows(self) -> Iterator[tuple[Any, NeighbourView]]:
        graph, links = self._graph, self._links
        return ((node, NeighbourView(graph, links, row)) for row, node in enumerate(graph))


class NeighbourView(Mapping[Any, Attributes]):
    """One neuron's neighbours: to the attributes of the edge, or in a multigraph to those of each kind."""

    __slots__ = ("_graph", "_links", "_row")

    def __init__(self, graph: GraphReading, links: Links, row: int) -> None:
        self._graph, self._links, self._row = graph, links, row

    def __len__(self) -> int:
        if not self._graph.is_multigraph():
            start, stop = self._links.bounds(self._row)
            return stop - start
        return len(self._links.distinct(self._row))

    def __bool__(self) -> bool:
        start, stop = self._links.bounds(self._row)
        return stop > start

    def __iter__(self) -> Iterator[Any]:
        return map(self._graph.ids.__getitem__, self._links.distinct(self._row).tolist())

    def __contains__(self, node: object) -> bool:
        neighbour = self._graph.find(node)
        return neighbour is not None and bool(self._links.find(self._row, neighbour))

    def __getitem__(self, node: Any) -> Attributes:
        neighbour = self._graph.find(node)
        positions = [] if neighbour is None else self._links.find(self._row, neighbour)
        if not positions:
            raise no_edge(self._graph.ids[self._row], node)
        records = self._graph.edge_records
        if not self._graph.is_multigraph():
            return records.one(positions[0])
        kinds = self._graph.edge_kinds(np.array(positions)).tolist()
        return Attributes((KINDS[kind], records.one(edge)) for kind, edge in zip(kinds, positions, strict=True))

    def items(self) -> ItemsView[Any, Attributes]:
        return _Neighbours(self)

    def values(self) -> ValuesView[Attributes]:
        return _NeighbourValues(self)

    def copy(self) -> dict[Any, Any]:
        """As dictionaries that can be changed."""
        if not self._graph.is_multigraph():
            return {node: dict(edge) for node, edge in self.items()}
        return {node: {kind: dict(edge) for kind, edge in edges.items()} for node, edges in self.items()}

    def __repr__(self) -> str:
        return f"NeighbourView({dict(self)})"

    def _pairs(self) -> Iterator[tuple[Any, Attributes]]:
        where = slice(*self._links.bounds(self._row))
        positions = self._links.positions(where)
        found = self._links.neighbours(where)
        names = [self._graph.ids[j] for j in found.tolist()]
        edges = self._graph.edge_records.dicts(positions)
        if not self._graph.is_multigraph():
            yield from zip(names, edges, strict=True)
            return
        kinds = self._graph.edge_kinds(positions).tolist()
        starts = first_of_each(found).tolist()
        for start, stop in zip(starts, [*starts[1:], len(names)], strict=False):
            yield names[start], Attributes((KINDS[kinds[k]], edges[k]) for k in range(start, stop))


class _Rows(ItemsView[Any, NeighbourView]):
    _mapping: AdjacencyView

    def __iter__(self) -> Iterator[tuple[Any, NeighbourView]]:
        return self._mapping._rows()


class _RowValues(ValuesView[NeighbourView]):
    _mapping: AdjacencyView

    def __iter__(self) -> Iterator[NeighbourView]:
        return (row for _, row in self._mapping._rows())


class _Neighbours(ItemsView[Any, Attributes]):
    _mapping: NeighbourView

    def __iter__(self) -> Iterator[tuple[Any, Attributes]]:
        return self._mapping._pairs()


class _NeighbourValues(ValuesView[Attributes]):
    _mapping: NeighbourView

    def __iter__(self) -> Iterator[Attributes]:
        return (edge for _, edge in self._mapping._pairs())
