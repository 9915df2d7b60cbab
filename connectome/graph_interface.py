"""The reading half of a NetworkX `MultiDiGraph`, answered from the columns of a `Connectome`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from connectofit.connectome.columnar import ColumnarGraph
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.graph_errors import no_edge
from connectofit.connectome.graph_metadata import graph_attributes
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.adjacency import AdjacencyView
from connectofit.connectome.views.attributes import Attributes, ColumnRecords
from connectofit.connectome.views.degrees import DegreeView
from connectofit.connectome.views.edges import EdgeView
from connectofit.connectome.views.links import InLinks, OutLinks
from connectofit.connectome.views.reading import GraphReading

if TYPE_CHECKING:
    from connectofit.connectome.undirected import UndirectedConnectome


class GraphInterface(ColumnarGraph, GraphReading):
    """What a `Connectome` answers as a NetworkX graph does; it has no fields of its own.

    A `MultiDiGraph` keyed by kind, and a `DiGraph` where `only_kind` is set. The answers are those of `to_networkx()`,
    in the same order, but read from the columns when asked for. Views are cheap; they hold no copy of anything.
    """

    def __repr__(self) -> str:
        kinds = ", ".join(f"{int((self.kind == code).sum())} {name}" for code, name in enumerate(KINDS))
        return f"Connectome({self.n_neurons} neurons, {self.n_edges} edges: {kinds})"

    def is_directed(self) -> bool:
        """True: edges have a direction."""
        return True

    def is_multigraph(self) -> bool:
        """Whether two edges may join the same ordered pair; false for the views of one kind."""
        return self.only_kind is None

    # ---- what the views read ----

    @property
    def id_type(self) -> str:
        """``"string"`` or ``"int64"``."""
        return str(self.neurons.column("id").type)

    @cached_property
    def graph(self) -> Attributes:
        """The attributes of the graph itself, as `to_networkx` gives them; they cannot be changed."""
        return Attributes(graph_attributes(self))

    @cached_property
    def node_records(self) -> ColumnRecords:
        """The neurons' attributes, by index."""
        names = [name for name in self.neurons.column_names if name != "id"]
        return ColumnRecords({name: self.neurons.column(name) for name in names}, self.n_neurons)

    @cached_property
    def edge_records(self) -> ColumnRecords:
        """The edges' attributes, by position: ``count``, ``sign``, then the `edge_columns`."""
        further = {name: self.edge_columns.column(name) for name in self.edge_columns.column_names}
        return ColumnRecords({"count": self.count, "sign": self.sign, **further}, self.n_edges)

    def edge_kinds(self, positions: Any) -> np.ndarray:
        """Codes of the kinds of the edges at these positions."""
        return self.kind[positions]

    @property
    def _links(self) -> OutLinks:
        return OutLinks(self.indptr, self.post)

    @property
    def _in_links(self) -> InLinks:
        order, indptr = self._by_post
        return InLinks(indptr, order, self.pre, self._links)

    # ---- adjacency ----

    @property
    def succ(self) -> AdjacencyView:
        """Neurons that a neuron sends edges to, as nested mappings; the same as `adj`."""
        return AdjacencyView(self, self._links)

    @property
    def pred(self) -> AdjacencyView:
        """Neurons that send edges to a neuron, as nested mappings."""
        return AdjacencyView(self, self._in_links)

    _succ, _pred = succ, pred

    def successors(self, node: Any) -> Iterator[Any]:
        """Ids of the neurons that `node` sends an edge to, each once."""
        return iter(self.succ[node])

    def predecessors(self, node: Any) -> Iterator[Any]:
        """Ids of the neurons that send an edge to `node`, each once."""
        return iter(self.pred[node])

    def has_successor(self, u: object, v: object) -> bool:
        """Whether an edge leads from `u` to `v`."""
        return self.has_edge(u, v)

    def has_predecessor(self, u: object, v: object) -> bool:
        """Whether an edge leads from `v` to `u`."""
        return self.has_edge(v, u)

    # ---- edges ----

    @property
    def edges(self) -> EdgeView:
        """The edges by presynaptic neuron: a set, a mapping to attributes, and with data when called; see `EdgeView`.

        Attributes: ``count``, ``sign`` and the `edge_columns`, missing ones left out.
        """
        return EdgeView(self, self._links)

    out_edges = edges

    @property
    def in_edges(self) -> EdgeView:
        """As `edges`, by postsynaptic neuron; an edge is still (pre, post)."""
        return EdgeView(self, self._in_links, turned=True)

    def number_of_edges(self, u: Any = None, v: Any = None) -> int:
        """Number of directed edges, in all or from `u` to `v`."""
        if u is None:
            return self.n_edges
        if not self.is_multigraph():
            self.place(u)  # NetworkX raises here for a DiGraph, and gives 0 for a MultiDiGraph
        return len(self.edges_joining(u, v))

    # ---- degrees ----

    @property
    def degree(self) -> DegreeView:
        """In-degree plus out-degree by neuron, with `weight` of an edge attribute; a self-loop counts twice."""
        return DegreeView(self, (self._in_links, self._links))

    @property
    def in_degree(self) -> DegreeView:
        """Number of edges that reach each neuron, or with `weight` the sum of an edge attribute over them."""
        return DegreeView(self, (self._in_links,))

    @property
    def out_degree(self) -> DegreeView:
        """Number of edges that leave each neuron, or with `weight` the sum of an edge attribute over them."""
        return DegreeView(self, (self._links,))

    def degrees(self, direction: Literal["in", "out"], weight: str | None = None) -> np.ndarray:
        """Degrees [n] in index order, or with `weight` the sums of this attribute, 1 where an edge has none."""
        view = self.in_degree if direction == "in" else self.out_degree
        return view(weight=weight).to_numpy()

    # ---- other graphs ----

    def reverse(self, copy: bool = True) -> Self:
        """The same neurons with every edge turned round; gap junctions are as they were."""
        return self._reversed()

    def edge_subgraph(self, edges: Iterable[tuple[Any, ...]]) -> Self:
        """The edges named, as (pre, post, kind) or (pre, post) for every kind, and the neurons at their ends.

        Raises `UnknownNameError` for an edge that is not there, `SchemaError` for a gap junction in one direction only.
        """
        rows = np.unique([row for edge in edges for row in self._positions_of(*edge)]).astype(np.int64)
        ends = np.unique(np.concatenate([self.pre[rows], self.post[rows]])).astype(np.int64)
        gaps = rows[self.kind[rows] == KINDS.index("electrical")]
        forward = self.pre[gaps].astype(np.int64) * self.n_neurons + self.post[gaps]
        back = self.post[gaps].astype(np.int64) * self.n_neurons + self.pre[gaps]
        alone = gaps[~np.isin(back, forward)]
        if len(alone):
            named = [f"{self.ids[self.pre[row]]} -> {self.ids[self.post[row]]}" for row in alone[:5]]
            raise SchemaError(
                f"A gap junction stands in both directions, but these electrical edges would stand in one: "
                f"{', '.join(named)}{', ...' if len(alone) > 5 else ''} ({len(alone)} in all). Name both directions."
            )
        return self._take(rows)._induced(ends)

    def _positions_of(self, u: Any, v: Any, kind: Any = None) -> list[int]:
        found = self.edges_joining(u, v, kind)
        if not found:
            for end in (u, v):
                self.place(end)  # names the nearest where it is the neuron that is not there
            raise no_edge(u, v, kind)
        return found

    def to_directed(self, as_view: bool = False) -> Self:
        """The graph itself, since it is directed and never changes."""
        return self

    def to_undirected(self, reciprocal: bool = False, as_view: bool = False) -> UndirectedConnectome:
        """An undirected graph on the same columns, read as NetworkX reads its own.

        Two directions of one kind become one edge, which takes its attributes from the direction that comes second in
        `edges`: it does not sum counts. With `reciprocal` only edges that stand in both directions are kept.
        """
        from connectofit.connectome.undirected import UndirectedConnectome

        return UndirectedConnectome.of(self, reciprocal=reciprocal)
