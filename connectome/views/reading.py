"""What a directed and an undirected graph on columns answer alike of the interface of `networkx.Graph`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Self

import networkx as nx
import numpy as np

from connectofit.connectome.graph_errors import ImmutableGraphError, no_neuron
from connectofit.connectome.identifiers import lookup
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.adjacency import AdjacencyView, NeighbourView
from connectofit.connectome.views.attributes import Attributes, Records
from connectofit.connectome.views.links import Links
from connectofit.connectome.views.nodes import NodeView

if TYPE_CHECKING:
    from connectofit.connectome.algorithms.csr import Csr
    from connectofit.connectome.views.degrees import DegreeView
    from connectofit.connectome.views.edges import EdgeView


class GraphReading(ABC):
    """The reading half of `networkx.Graph`; what would change the graph raises `ImmutableGraphError`.

    Names of neurons are looked up strictly: a truth value or a float is no id, even where Python holds it equal to one.
    """

    __networkx_backend__ = "connectofit"  # where NetworkX sends its functions: see `connectofit.connectome.nx_backend`

    @property
    @abstractmethod
    def ids(self) -> tuple[Any, ...]:
        """The neurons' ids in index order."""

    @property
    @abstractmethod
    def id_type(self) -> str:
        """``"string"`` or ``"int64"``."""

    @property
    @abstractmethod
    def graph(self) -> Attributes:
        """The attributes of the graph itself."""

    @property
    @abstractmethod
    def node_records(self) -> Records:
        """The neurons' attributes, by index."""

    @property
    @abstractmethod
    def edge_records(self) -> Records:
        """The edges' attributes, by position."""

    @property
    @abstractmethod
    def edges(self) -> EdgeView:
        """The edges, by neuron."""

    @property
    @abstractmethod
    def degree(self) -> DegreeView:
        """The neurons' degrees."""

    @property
    @abstractmethod
    def _index(self) -> dict[Any, int]:
        """Id to index."""

    @property
    @abstractmethod
    def _links(self) -> Links:
        """Each neuron's neighbours."""

    @property
    @abstractmethod
    def _rows(self) -> Csr:
        """The edges as the graph algorithms see them."""

    @abstractmethod
    def edge_kinds(self, positions: Any) -> np.ndarray:
        """Codes of the kinds of the edges at these positions in `edge_records`."""

    @abstractmethod
    def number_of_edges(self, u: Any = None, v: Any = None) -> int:
        """Number of edges, in all or from `u` to `v`."""

    @abstractmethod
    def is_directed(self) -> bool:
        """Whether edges have a direction."""

    @abstractmethod
    def is_multigraph(self) -> bool:
        """Whether two edges may join the same pair."""

    @abstractmethod
    def to_networkx(self) -> nx.Graph:
        """As a NetworkX graph, which can be changed."""

    # ---- names ----

    def find(self, node: object) -> int | None:
        """The index of the neuron with this id, None if there is none."""
        return lookup(self._index, node)

    def place(self, node: object) -> int:
        """The index of the neuron with this id; the error otherwise is a `KeyError` that names the nearest id."""
        index = self.find(node)
        if index is None:
            raise no_neuron([node], self.ids, self.id_type)
        return index

    def edges_joining(self, u: object, v: object, kind: object = None) -> list[int]:
        """Positions of the edges (of one kind) from one neuron to another; empty where either is no neuron."""
        i, j = self.find(u), self.find(v)
        found = [] if i is None or j is None else self._links.find(i, j)
        if kind is None or not found:
            return found
        codes = self.edge_kinds(np.array(found)).tolist()
        return [position for position, code in zip(found, codes, strict=True) if KINDS[code] == kind]

    # ---- nodes ----

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.ids)

    def __contains__(self, node: object) -> bool:
        return self.find(node) is not None

    @property
    def nodes(self) -> NodeView:
        """The neurons: a set of ids, a mapping to attributes, and when called with `data` pairs; see `NodeView`."""
        return NodeView(self)

    @property
    def _node(self) -> NodeView:
        return NodeView(self)

    def number_of_nodes(self) -> int:
        """Number of neurons."""
        return len(self)

    order = number_of_nodes

    def has_node(self, node: object) -> bool:
        """Whether a neuron has this id."""
        return node in self

    def nbunch_iter(self, nbunch: Any = None) -> Iterator[Any]:
        """Of some ids those that are neurons; one id gives itself, None all.

        Raises
        ------
        NotInGraphError
            For one id that no neuron has; it is also `networkx.NetworkXError`. (NetworkX takes a text that is no node
            for a sequence of letters.)
        networkx.NetworkXError
            For an item that cannot be a node.
        """
        if nbunch is None:
            return iter(self.ids)
        if nbunch in self:
            return iter([nbunch])
        if isinstance(nbunch, str) or not hasattr(nbunch, "__iter__"):
            raise no_neuron([nbunch], self.ids, self.id_type)
        return (node for node in nbunch if _hashed(node) in self)

    # ---- edges ----

    def __getitem__(self, node: Any) -> NeighbourView:
        return NeighbourView(self, self._links, self.place(node))

    @property
    def adj(self) -> AdjacencyView:
        """Neighbours by neuron (of a directed graph those that it sends edges to), as nested mappings."""
        return AdjacencyView(self, self._links)

    @property
    def _adj(self) -> AdjacencyView:
        return AdjacencyView(self, self._links)

    def adjacency(self) -> Iterator[tuple[Any, NeighbourView]]:
        """Pairs of id and neighbours."""
        return iter(self.adj.items())

    def neighbors(self, node: Any) -> Iterator[Any]:
        """Ids of the neighbours of a neuron (of a directed graph those that it sends edges to), each once."""
        return iter(self[node])

    def has_edge(self, u: object, v: object, key: object = None) -> bool:
        """Whether an edge (of kind `key`) leads from `u` to `v`; false where either is not a neuron."""
        return bool(self.edges_joining(u, v, key))

    def get_edge_data(self, u: Any, v: Any, key: Any = None, default: Any = None) -> Any:
        """The attributes of an edge, in a multigraph of each kind or of the kind `key`; `default` if there is none.

        As in NetworkX, a third argument without a name is the default where the graph is no multigraph.
        """
        if not self.is_multigraph() and key is not None:
            key, default = None, key
        if not self.has_edge(u, v, key):
            return default
        found = self[u][v]
        return found if key is None else found[key]

    def size(self, weight: str | None = None) -> int | float:
        """Number of edges, or the sum (as a float) of an edge attribute."""
        if weight is None:
            return self.number_of_edges()
        return float(self.degree(weight=weight).to_numpy().sum() / 2)

    # ---- the graph ----

    @property
    def name(self) -> str:
        """The attribute ``name`` of the graph, or an empty text."""
        return str(self.graph.get("name", ""))

    @property
    def frozen(self) -> bool:
        """True: `networkx.is_frozen` asks for it."""
        return True

    def copy(self, as_view: bool = False) -> Self:
        """The graph itself, since it never changes."""
        return self

    def to_directed_class(self) -> type[nx.DiGraph]:
        """The NetworkX class of directed graphs of this kind."""
        return nx.MultiDiGraph if self.is_multigraph() else nx.DiGraph

    def to_undirected_class(self) -> type[nx.Graph]:
        """The NetworkX class of undirected graphs of this kind."""
        return nx.MultiGraph if self.is_multigraph() else nx.Graph

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Not possible: a Connectome is immutable."""
        raise ImmutableGraphError

    add_node = add_nodes_from = remove_node = remove_nodes_from = _refuse
    add_edge = add_edges_from = add_weighted_edges_from = remove_edge = remove_edges_from = _refuse
    update = clear = clear_edges = _refuse


def _hashed(node: Any) -> Any:
    try:
        hash(node)
    except TypeError as error:
        raise nx.NetworkXError(f"{node!r} in the sequence of nodes is not a valid node.") from error
    return node
