"""The graphs that the backend's functions run on, all in one form: nodes, rows of neighbours, columns of values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import networkx as nx
import numpy as np
from jaxtyping import Int, Shaped

from connectofit.connectome.algorithms import Csr
from connectofit.connectome.columnar import ColumnarGraph
from connectofit.connectome.errors import unknown_name
from connectofit.connectome.views.reading import GraphReading

Direction = Literal["in", "out", "in+out"]
BEFORE_3_5 = tuple(int(part) for part in nx.__version__.split(".")[:2]) < (3, 5)


class Unsupported(NotImplementedError):
    """These arguments do not run on columns: NetworkX's own implementation is to take over."""


class GraphColumns(ABC):
    """Node names in order, rows of neighbours in the order of the adjacency, attributes as columns."""

    @property
    @abstractmethod
    def nodes(self) -> tuple[Hashable, ...]:
        """The nodes in order."""

    @property
    @abstractmethod
    def directed(self) -> bool:
        """Whether edges have a direction."""

    @property
    @abstractmethod
    def multigraph(self) -> bool:
        """Whether two edges may join the same pair."""

    @property
    @abstractmethod
    def successors(self) -> Csr:
        """The neighbours that each node's edges lead to; in an undirected graph all neighbours."""

    @property
    @abstractmethod
    def predecessors(self) -> Csr:
        """The neighbours whose edges lead to each node; in an undirected graph all neighbours. Without weights."""

    @abstractmethod
    def number(self, node: Any) -> int | None:
        """The index of a node, None for what is no node."""

    @abstractmethod
    def edge_values(self, name: Any) -> Shaped[np.ndarray, " e"] | None:
        """Numbers [e] of an edge attribute, 1 where it is missing, in the order of `successors`; None if all are 1.

        Raises `Unsupported` for values that are not all real numbers.
        """

    @abstractmethod
    def node_values(self, name: Any) -> list[Any]:
        """A node attribute in the order of the nodes, None where it is missing."""

    @abstractmethod
    def subgraph(self, indices: Int[np.ndarray, " k"]) -> Any:
        """The induced subgraph on these nodes, as a graph of the kind that the user gave."""

    def edge_keys(self) -> Int[np.ndarray, " e"]:
        """Code [e] of the key of every edge, in the order of `successors`; `Unsupported` where keys are not codes."""
        raise Unsupported("the keys of a multigraph")

    # ---- what follows ----

    def __len__(self) -> int:
        return self.successors.n_nodes

    def weighted(self, weight: Any) -> Csr:
        """`successors` with an edge attribute as weights; without `weight` as they are."""
        if callable(weight):
            raise Unsupported("weights that a function computes")
        return self.successors if weight is None else self.successors.weighted(self.edge_values(weight))

    def simple_weighted(self, weight: Any) -> Csr:
        """As `weighted`, for functions that NetworkX lets look up the attribute in the keys of a multigraph."""
        if weight is not None and self.multigraph:
            raise Unsupported("edge weights of a multigraph")
        return self.weighted(weight)

    def degrees(self, direction: Direction = "in+out", weight: Any = None) -> Shaped[np.ndarray, " n"]:
        """Degrees [n] or sums of weights; undirected graphs have one kind only. A self-loop counts twice in all."""
        graph = self.weighted(weight)
        if not self.directed:
            loops = graph.loops
            if graph.weights is not None and loops.any():
                at = graph.rows == graph.indices
                loops = np.bincount(graph.rows[at], graph.weights[at], minlength=len(self))
                if np.issubdtype(graph.weights.dtype, np.integer):
                    loops = loops.astype(np.int64)
            return graph.row_sums() + loops
        if direction == "out":
            return graph.row_sums()
        return graph.column_sums() if direction == "in" else graph.column_sums() + graph.row_sums()

    def has(self, node: Any) -> bool:
        """Whether this is a node (what cannot be hashed is none)."""
        return self.number(node) is not None

    def place(self, node: Any, error: Exception) -> int:
        """The index of a node; raises `error` if it is none."""
        index = self.number(node)
        if index is None:
            raise error
        return index

    def bunch(self, nbunch: Any) -> Int[np.ndarray, " k"]:
        """Indices of the nodes that ``nx.Graph.nbunch_iter(nbunch)`` gives: all for None, one for a node, else those
        of an iterable that are nodes. Raises `Unsupported` for anything else."""
        if nbunch is None:
            return np.arange(len(self))
        if self.has(nbunch):
            return np.array([self.number(nbunch)])
        try:
            found = [self.number(node) for node in nbunch if _hashed(node)]
        except TypeError as error:
            raise Unsupported(f"{nbunch!r} is neither a node nor a collection of nodes") from error
        return np.array([index for index in found if index is not None], np.int64)

    def named(self, indices: Iterable[int]) -> list[Any]:
        """Nodes by index."""
        nodes = self.nodes
        return [nodes[index] for index in indices]

    def by_node(self, values: np.ndarray | list[Any], indices: np.ndarray | None = None) -> dict[Any, Any]:
        """A dict of Python values by node: of all nodes, or of those at `indices`."""
        values = values if isinstance(values, list) else values.tolist()
        return dict(zip(self.nodes if indices is None else self.named(indices.tolist()), values, strict=True))


@dataclass(frozen=True, eq=False)
class ConnectomeColumns(GraphColumns):
    """A `Connectome`, or its undirected reading, as the functions see it.

    The graph itself keeps its rows, and with them what was computed from them (such as the transpose).
    """

    graph: GraphReading

    @property
    def nodes(self) -> tuple[Hashable, ...]:
        return self.graph.ids

    @property
    def directed(self) -> bool:
        return self.graph.is_directed()

    @property
    def multigraph(self) -> bool:
        return self.graph.is_multigraph()

    @property
    def successors(self) -> Csr:
        return self.graph._rows

    @property
    def predecessors(self) -> Csr:
        return self.successors.transpose if self.directed else self.successors

    def number(self, node: Any) -> int | None:
        return self.graph.find(node)

    def edge_values(self, name: Any) -> Shaped[np.ndarray, " e"] | None:
        records = self.graph.edge_records
        records.known(name, "the edges")
        return records.numbers(name) if name in records.names else None

    def node_values(self, name: Any) -> list[Any]:
        records = self.graph.node_records
        if name not in records.names:
            raise unknown_name("column", str(name), records.names, "the neurons")
        return records.values(name, slice(None))

    def edge_keys(self) -> Int[np.ndarray, " e"]:
        return self.graph.edge_kinds(slice(None))

    def subgraph(self, indices: Int[np.ndarray, " k"]) -> Any:
        graph: Any = self.graph
        if isinstance(graph, ColumnarGraph):
            return graph._induced(np.unique(indices).astype(np.int64))
        return graph.subgraph(self.named(indices.tolist()))


class ConvertedGraph(GraphColumns):
    """Any NetworkX graph as rows, made by `convert_from_nx`; it keeps the graph it came from.

    Attributes of edges and nodes are read from that graph when a function asks for them, and kept.
    """

    __networkx_backend__ = "connectofit"

    def __init__(self, source: Any) -> None:
        self.source = source  # a networkx.Graph, whose annotations leave out _adj, _pred and _node
        self._nodes = tuple(source)
        self._index = dict(zip(self._nodes, range(len(self._nodes)), strict=True))
        self._successors = _rows(source._adj, self._index, source.is_multigraph())
        self._edge_values: dict[Any, np.ndarray | None] = {}

    @property
    def nodes(self) -> tuple[Hashable, ...]:
        return self._nodes

    @property
    def directed(self) -> bool:
        return self.source.is_directed()

    @property
    def multigraph(self) -> bool:
        return self.source.is_multigraph()

    @property
    def successors(self) -> Csr:
        return self._successors

    @cached_property
    def predecessors(self) -> Csr:
        if not self.directed:
            return self._successors
        return _rows(self.source._pred, self._index, self.multigraph)

    def number(self, node: Any) -> int | None:
        try:
            return self._index.get(node)
        except TypeError:
            return None

    def edge_values(self, name: Any) -> Shaped[np.ndarray, " e"] | None:
        if not _hashable(name):
            raise Unsupported("weights that are no attribute")
        if name not in self._edge_values:
            records = chain.from_iterable(neighbours.values() for neighbours in self.source._adj.values())
            if self.multigraph:
                records = chain.from_iterable(keyed.values() for keyed in records)
            values = [record.get(name, 1) for record in records]
            self._edge_values[name] = None if values.count(1) == len(values) else _numbers(values, name)
        return self._edge_values[name]

    def node_values(self, name: Any) -> list[Any]:
        return [record.get(name) for record in self.source._node.values()]

    def subgraph(self, indices: Int[np.ndarray, " k"]) -> nx.Graph:
        return self.source.subgraph(self.named(indices.tolist())).copy()

    # ---- what NetworkX's decorators ask a graph ----

    def is_directed(self) -> bool:
        """Whether edges have a direction."""
        return self.directed

    def is_multigraph(self) -> bool:
        """Whether two edges may join the same pair."""
        return self.multigraph

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._nodes)

    def __contains__(self, node: object) -> bool:
        return self.has(node)


def columns_of(graph: Any) -> GraphColumns:
    """The graph in the form that the functions run on."""
    if isinstance(graph, GraphColumns):
        return graph
    return ConnectomeColumns(graph) if isinstance(graph, GraphReading) else ConvertedGraph(graph)


def _rows(adjacency: Mapping[Any, Mapping[Any, Any]], index: Mapping[Any, int], multigraph: bool) -> Csr:
    neighbours = list(adjacency.values())
    lengths = np.fromiter(map(len, neighbours), np.int64, len(neighbours))
    flat = map(index.__getitem__, chain.from_iterable(neighbours))
    indices = np.fromiter(flat, np.int32, int(lengths.sum()))
    if multigraph:
        parallel = map(len, chain.from_iterable(row.values() for row in neighbours))
        times = np.fromiter(parallel, np.int64, len(indices))
        total = np.concatenate([[0], np.cumsum(times)])
        lengths = np.diff(total[np.concatenate([[0], np.cumsum(lengths)])])
        indices = np.repeat(indices, times)
    return Csr(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), indices)


def _numbers(values: list[Any], name: Any) -> np.ndarray:
    """The values as int64 or float64."""
    try:
        result = np.array(values)
    except (ValueError, OverflowError) as error:
        raise Unsupported(f"the edge attribute {name!r}, which does not hold numbers") from error
    if result.dtype == bool:
        return result.astype(np.int64)
    if result.dtype.kind not in "if":
        raise Unsupported(f"the edge attribute {name!r}, which does not hold real numbers")
    return result


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _hashed(node: Any) -> bool:
    hash(node)
    return True
