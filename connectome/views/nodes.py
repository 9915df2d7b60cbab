"""`Connectome.nodes`: ids as a set, attributes by id as a mapping, and with data as pairs."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import networkx as nx

from connectofit.connectome.views.attributes import Attributes

if TYPE_CHECKING:
    from connectofit.connectome.views.reading import GraphReading

NOT_GIVEN: Any = object()  # tells a default of None from none at all


class NodeView(Mapping[Any, Attributes], Set[Any]):
    """The neurons: iterates over ids, ``view[id]`` gives attributes, and calling it gives them with data."""

    __slots__ = ("_graph",)

    def __init__(self, graph: GraphReading) -> None:
        self._graph = graph

    def __len__(self) -> int:
        return len(self._graph)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._graph)

    def __contains__(self, node: object) -> bool:
        return node in self._graph

    def __getitem__(self, node: Any) -> Attributes:
        no_slice(node, "list(g.nodes)")
        return self._graph.node_records.one(self._graph.place(node))

    def __call__(self, data: bool | str = False, default: Any = NOT_GIVEN) -> NodeView | NodeDataView:
        """The view itself; with ``data=True`` or the name of an attribute a view of pairs of id and data.

        Raises `UnknownNameError` if no neuron can have the attribute, unless a default is given.
        """
        return self if data is False else NodeDataView(self._graph, data, default)

    def data(self, data: bool | str = True, default: Any = NOT_GIVEN) -> NodeView | NodeDataView:
        """As calling the view, with all attributes unless told otherwise."""
        return self(data, default)

    def items(self) -> ItemsView[Any, Attributes]:
        return _NodeItems(self)

    def __repr__(self) -> str:
        return f"NodeView({len(self)} neurons)"

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)

    def _pairs(self) -> Iterator[tuple[Any, Attributes]]:
        return zip(self._graph.ids, self._graph.node_records.dicts(slice(None)), strict=True)


class NodeDataView(Set[Any]):
    """Pairs of id and attributes, or of id and one attribute; ``view[id]`` gives the second of a pair."""

    __slots__ = ("_data", "_default", "_graph")

    def __init__(self, graph: GraphReading, data: bool | str, default: Any = NOT_GIVEN) -> None:
        if data is not True and default is NOT_GIVEN:
            graph.node_records.known(data, "the neurons")
        self._graph, self._data = graph, data
        self._default = None if default is NOT_GIVEN else default

    def __len__(self) -> int:
        return len(self._graph)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        records, every = self._graph.node_records, slice(None)
        found = (
            records.dicts(every) if isinstance(self._data, bool) else records.values(self._data, every, self._default)
        )
        return iter(zip(self._graph.ids, found, strict=True))

    def __contains__(self, item: object) -> bool:
        if item in self._graph:
            return True
        if not (isinstance(item, tuple) and len(item) == 2):
            return False
        return item[0] in self._graph and self[item[0]] == item[1]

    def __getitem__(self, node: Any) -> Any:
        no_slice(node, "list(g.nodes.data())")
        row = self._graph.place(node)
        if isinstance(self._data, bool):
            return self._graph.node_records.one(row)
        return self._graph.node_records.values(self._data, slice(row, row + 1), self._default)[0]

    def __repr__(self) -> str:
        return f"NodeDataView({len(self)} neurons, data={self._data!r})"

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> set[Any]:
        return set(it)


class _NodeItems(ItemsView[Any, Attributes]):
    _mapping: NodeView

    def __iter__(self) -> Iterator[tuple[Any, Attributes]]:
        return self._mapping._pairs()


def no_slice(item: object, instead: str) -> None:
    """Raise NetworkX's error for a slice of a view."""
    if isinstance(item, slice):
        raise nx.NetworkXError(f"A view cannot be sliced; take {instead}[{item.start}:{item.stop}:{item.step}].")
