"""Components, the condensation and acyclicity, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome.algorithms import (
    breadth_first,
    edges_between,
    groups,
    is_acyclic,
    sinks,
    strong_labels,
    weak_labels,
)
from connectofit.connectome.nx_functions.graphs import GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements


def _sets(graph: GraphColumns, count: int, labels: np.ndarray) -> list[set[Any]]:
    if count <= 1:
        return [set(graph.nodes)] * count
    return [set(graph.named(part.tolist())) for part in groups(count, labels)]


def _not_empty(graph: GraphColumns) -> None:
    if not len(graph):
        raise nx.NetworkXPointlessConcept("Connectivity is undefined for the null graph.")


@implements
def weakly_connected_components(G: Any) -> Iterator[set[Any]]:
    """`networkx.weakly_connected_components`."""
    graph = columns_of(G)
    return (part for part in _sets(graph, *weak_labels(graph.successors)))


@implements
def number_weakly_connected_components(G: Any) -> int:
    """`networkx.number_weakly_connected_components`."""
    return weak_labels(columns_of(G).successors)[0]


@implements
def is_weakly_connected(G: Any) -> bool:
    """`networkx.is_weakly_connected`."""
    graph = columns_of(G)
    _not_empty(graph)
    return weak_labels(graph.successors)[0] == 1


@implements
def connected_components(G: Any) -> Iterator[set[Any]]:
    """`networkx.connected_components`."""
    return weakly_connected_components(G)


@implements
def number_connected_components(G: Any) -> int:
    """`networkx.number_connected_components`."""
    return number_weakly_connected_components(G)


@implements
def is_connected(G: Any) -> bool:
    """`networkx.is_connected`."""
    return is_weakly_connected(G)


@implements
def node_connected_component(G: Any, n: Any) -> set[Any]:
    """`networkx.node_connected_component`."""
    graph = columns_of(G)
    index = graph.number(n)
    if index is None:
        raise Unsupported(f"the node {n!r}, which is not in the graph")
    return set(graph.named(breadth_first(graph.successors, np.array([index])).order.tolist()))


@implements
def strongly_connected_components(G: Any) -> Iterator[set[Any]]:
    """`networkx.strongly_connected_components`."""
    graph = columns_of(G)
    return (part for part in _sets(graph, *strong_labels(graph.successors)))


@implements
def number_strongly_connected_components(G: Any) -> int:
    """`networkx.number_strongly_connected_components`."""
    return strong_labels(columns_of(G).successors)[0]


@implements
def is_strongly_connected(G: Any) -> bool:
    """`networkx.is_strongly_connected`."""
    graph = columns_of(G)
    _not_empty(graph)
    rows = graph.successors
    if len(graph) > 1 and not (rows.lengths.all() and rows.in_lengths.all()):
        return False
    return strong_labels(rows)[0] == 1


@implements
def condensation(G: Any, scc: Iterable[Iterable[Any]] | None = None) -> nx.DiGraph:
    """`networkx.condensation`."""
    graph = columns_of(G)
    result: Any = nx.DiGraph()
    mapping: dict[Any, int] = {}
    result.graph["mapping"] = mapping
    if not len(graph):
        return result
    if scc is None:
        count, labels = strong_labels(graph.successors)
        members = _sets(graph, count, labels)
    else:
        members, labels = _given(graph, scc)
    mapping.update((node, number) for number, part in enumerate(members) for node in part)
    result.add_nodes_from((number, {"members": part}) for number, part in enumerate(members))
    result.add_edges_from(edges_between(graph.successors, labels).tolist())
    return result


def _given(graph: GraphColumns, scc: Iterable[Iterable[Any]]) -> tuple[list[Any], np.ndarray]:
    """Components that the caller knows, and the number of the one of each node."""
    members = list(scc)
    labels = np.full(len(graph), -1, np.int64)
    for number, part in enumerate(members):
        labels[graph.bunch(list(part))] = number
    if (labels < 0).any():
        raise Unsupported("components that leave out nodes")
    return members, labels


@implements
def attracting_components(G: Any) -> Iterator[set[Any]]:
    """`networkx.attracting_components`."""
    graph = columns_of(G)
    count, labels = strong_labels(graph.successors)
    final = sinks(graph.successors, labels, count)
    members = groups(count, labels)
    return (set(graph.named(members[label].tolist())) for label in final.tolist())


@implements
def number_attracting_components(G: Any) -> int:
    """`networkx.number_attracting_components`."""
    graph = columns_of(G)
    count, labels = strong_labels(graph.successors)
    return len(sinks(graph.successors, labels, count))


@implements
def is_attracting_component(G: Any) -> bool:
    """`networkx.is_attracting_component`."""
    graph = columns_of(G)
    return bool(len(graph)) and strong_labels(graph.successors)[0] == 1


@implements
def is_directed_acyclic_graph(G: Any) -> bool:
    """`networkx.is_directed_acyclic_graph`."""
    graph = columns_of(G)
    return graph.directed and is_acyclic(graph.successors)
