"""The undirected reading of a Connectome, as NetworkX's `to_undirected` gives it, on the same columns.

Two directions of one kind between a pair of neurons are one edge. As NetworkX adds the directed edges one after the
other, the later direction overwrites the attributes of the earlier one, and what only the earlier one has stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import networkx as nx
import numpy as np
from jaxtyping import Int

from connectofit.connectome.algorithms.csr import Csr
from connectofit.connectome.arrays import frozen
from connectofit.connectome.graph_errors import no_edge
from connectofit.connectome.ordering import by_row
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.attributes import Attributes, ColumnRecords, Records, Where
from connectofit.connectome.views.degrees import DegreeView
from connectofit.connectome.views.edges import EdgeView
from connectofit.connectome.views.links import BothLinks
from connectofit.connectome.views.reading import GraphReading

if TYPE_CHECKING:
    from connectofit.connectome.graph_interface import GraphInterface


_ELECTRICAL = KINDS.index("electrical")


@dataclass(frozen=True, eq=False, repr=False)
class UndirectedConnectome(GraphReading):
    """A Connectome read as a NetworkX `MultiGraph` keyed by kind (`Graph` for a view of one kind).

    Made by `Connectome.to_undirected`. NetworkX's own functions run on it; `to_networkx` gives a graph that can be
    changed.

    Attributes
    ----------
    directed
        The connectome.
    reciprocal
        Whether only edges that stand in both directions are kept.
    indptr, neighbour
        int64 [n + 1], int32 [h]: each neuron's neighbours, one entry an edge and end (a self-loop has one).
    first, last
        int32 [h]: positions in the connectome of the edge's earlier and its later direction, equal where it has one.
    """

    directed: GraphInterface
    reciprocal: bool
    indptr: Int[np.ndarray, n + 1]
    neighbour: Int[np.ndarray, " h"]
    first: Int[np.ndarray, " h"]
    last: Int[np.ndarray, " h"]

    @classmethod
    def of(cls, directed: GraphInterface, *, reciprocal: bool = False) -> Self:
        """Read a connectome, or with `reciprocal` what stands in both directions, as an undirected graph."""
        back = _opposite(directed)
        edges = np.arange(directed.n_edges)
        chosen = np.flatnonzero((back >= edges) if reciprocal else (back < 0) | (back >= edges))
        first = chosen.astype(np.int32 if directed.n_edges < 2**31 else np.int64)
        last = np.maximum(first, back[chosen]).astype(first.dtype)
        pre, post = directed.pre[first], directed.post[first]
        order = _insertion(directed, pre, post, first)
        # Both ends of every edge, edge by edge in the order of insertion; a loop has one end.
        rows = np.column_stack([pre[order], post[order]]).ravel()
        ends = np.column_stack([post[order], pre[order]]).ravel()
        edge = np.repeat(order, 2)
        kept = np.ones(len(rows), bool)
        kept[1::2] = rows[1::2] != ends[1::2]
        rows, ends, edge = rows[kept], ends[kept], edge[kept]
        place, indptr = by_row(rows, directed.n_neurons)
        found = edge[place]
        return cls(directed, reciprocal, indptr, frozen(ends[place]), frozen(first[found]), frozen(last[found]))

    def __repr__(self) -> str:
        return f"UndirectedConnectome({len(self)} neurons, {self.number_of_edges()} edges)"

    def is_directed(self) -> bool:
        """False: edges have no direction."""
        return False

    def is_multigraph(self) -> bool:
        """Whether edges of both kinds may join the same pair."""
        return self.directed.is_multigraph()

    # ---- what the views read ----

    @property
    def ids(self) -> tuple[Any, ...]:
        """The neurons' ids in index order."""
        return self.directed.ids

    @property
    def id_type(self) -> str:
        """``"string"`` or ``"int64"``."""
        return self.directed.id_type

    @property
    def graph(self) -> Attributes:
        """The attributes of the graph itself."""
        return self.directed.graph

    @property
    def node_records(self) -> ColumnRecords:
        """The neurons' attributes, by index."""
        return self.directed.node_records

    @cached_property
    def edge_records(self) -> Records:
        """The edges' attributes, by entry."""
        return _MergedRecords(self.directed.edge_records, self.first, self.last)

    def edge_kinds(self, positions: Any) -> np.ndarray:
        """Codes of the kinds of the edges at these entries."""
        return self.directed.kind[self.first[positions]]

    @property
    def _index(self) -> dict[Any, int]:
        return self.directed._index

    @cached_property
    def _rows(self) -> Csr:
        return Csr(self.indptr, self.neighbour)

    @property
    def _links(self) -> BothLinks:
        return BothLinks(self.indptr, self.neighbour)

    # ---- the graph ----

    @property
    def edges(self) -> EdgeView:
        """The edges, each once: a set, a mapping to attributes, and with data when called; see `EdgeView`."""
        return EdgeView(self, self._links)

    @property
    def degree(self) -> DegreeView:
        """Number of edges at each neuron, or with `weight` the sum of an edge attribute; a self-loop counts twice."""
        return DegreeView(self, (self._links,))

    def number_of_edges(self, u: Any = None, v: Any = None) -> int:
        """Number of edges, in all or between `u` and `v`."""
        if u is None:
            return self._n_edges
        if not self.is_multigraph():
            self.place(u)
        return len(self.edges_joining(u, v))

    def subgraph(self, ids: Iterable[Any]) -> Self:
        """The neurons named and the edges between them; raises `UnknownNameError` for what is no neuron."""
        return self.of(self.directed.subgraph(ids), reciprocal=self.reciprocal)

    def edge_subgraph(self, edges: Iterable[tuple[Any, ...]]) -> Self:
        """The edges named, as (u, v, kind) or (u, v) for every kind, and the neurons at their ends."""
        both = []
        for u, v, *kind in edges:
            if not self.has_edge(u, v, *kind):
                raise no_edge(u, v, *kind)
            both += [edge for edge in ((u, v, *kind), (v, u, *kind)) if self.directed.has_edge(*edge)]
        return self.of(self.directed.edge_subgraph(both), reciprocal=self.reciprocal)

    def to_undirected(self, as_view: bool = False) -> Self:
        """The graph itself, since it is undirected and never changes."""
        return self

    def to_directed(self, as_view: bool = False) -> nx.DiGraph:
        """A NetworkX graph with every edge in both directions, as NetworkX makes it; `directed` is the connectome."""
        return self.to_networkx().to_directed()

    def to_networkx(self) -> nx.Graph:
        """As `networkx.MultiGraph` keyed by kind, or `Graph`, with copies of all attributes."""
        graph = self.to_undirected_class()()
        graph.graph.update(self.graph)
        graph.add_nodes_from(self.nodes(data=True))
        graph.add_edges_from(self.edges(keys=self.is_multigraph(), data=True))
        return graph

    @cached_property
    def _n_edges(self) -> int:
        rows = np.repeat(np.arange(len(self), dtype=self.neighbour.dtype), np.diff(self.indptr))
        loops = int(np.count_nonzero(rows == self.neighbour))
        return (len(self.neighbour) + loops) // 2


class _MergedRecords(Records):
    """Attributes of the later of two directions, and of the earlier one where the later has none."""

    def __init__(self, records: ColumnRecords, first: Int[np.ndarray, " h"], last: Int[np.ndarray, " h"]) -> None:
        self._records, self._first, self._last = records, first, last
        self.names = records.names

    def values(self, name: str, where: Where, default: Any = None) -> list[Any]:
        later = self._records.values(name, self._last[where])
        if None in later:
            earlier = self._records.values(name, self._first[where], default)
            return [b if b is not None else a for a, b in zip(earlier, later, strict=True)]
        return later

    def dicts(self, where: Where) -> list[Attributes]:
        later = self._records.dicts(self._last[where])
        if not self._records.gaps:
            return later
        earlier = self._records.dicts(self._first[where])
        return [Attributes({**a, **b}) for a, b in zip(earlier, later, strict=True)]

    def one(self, position: int) -> Attributes:
        return self.dicts(slice(position, position + 1))[0]

    def numeric(self, name: str) -> None:
        self._records.numeric(name)

    def numbers(self, name: str) -> np.ndarray:
        values = self._records.numbers(name)
        taken = values[self._last]
        missing = self._records.missing(name)
        return taken if missing is None else np.where(missing[self._last], values[self._first], taken)


def _opposite(graph: GraphInterface) -> Int[np.ndarray, " e"]:
    """Position of the edge of the same kind in the opposite direction, of a self-loop its own; -1 if there is none."""
    n, kinds = graph.n_neurons, len(KINDS)
    there = (graph.pre.astype(np.int64) * n + graph.post) * kinds + graph.kind  # ascending, as the edges are sorted
    back = (graph.post.astype(np.int64) * n + graph.pre) * kinds + graph.kind
    order = graph._by_post[0]  # in this order `back` ascends, which makes the search local
    found = np.searchsorted(there, back[order])
    found[found == len(there)] = 0
    match = there[found] == back[order] if len(there) else np.zeros(0, bool)
    result = np.empty(len(there), np.int64)
    result[order] = np.where(match, found, -1)
    return result


def _insertion(
    graph: GraphInterface, pre: Int[np.ndarray, " m"], post: Int[np.ndarray, " m"], first: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " m"]:
    """The order in which NetworkX meets undirected edges: by their first one, those of one pair side by side."""
    kind = graph.kind[first]
    gaps, others = np.flatnonzero(kind == _ELECTRICAL), np.flatnonzero(kind != _ELECTRICAL)
    pair = np.minimum(pre, post).astype(np.int64) * graph.n_neurons + np.maximum(pre, post)
    gaps = gaps[np.argsort(pair[gaps])]  # of each kind, a pair has one edge
    place = np.searchsorted(pair[gaps], pair[others])
    place[place == len(gaps)] = 0
    both = np.flatnonzero(pair[gaps][place] == pair[others]) if len(gaps) else gaps
    leader = first.copy()
    gap, other = gaps[place[both]], others[both]
    leader[gap] = leader[other] = np.minimum(first[gap], first[other])
    return np.lexsort((first, leader)) if len(both) else np.arange(len(first))
