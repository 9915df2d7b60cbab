"""Breadth-first searches and neighbourhoods, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome.algorithms import (
    Csr,
    Search,
    breadth_first,
    from_edges,
    weighted_lengths,
)
from connectofit.connectome.nx_functions.graphs import GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements


def _search(graph: GraphColumns, source: Any, depth_limit: Any, sort_neighbors: Any, reverse: bool = False) -> Search:
    if sort_neighbors is not None:
        raise Unsupported("an order of the neighbours of the caller's own")
    kind = "digraph" if graph.directed else "graph"
    index = graph.place(source, nx.NetworkXError(f"The node {source} is not in the {kind}."))
    rows = graph.predecessors if reverse else graph.successors
    return breadth_first(rows, np.array([index]), depth_limit)


def _edges(graph: GraphColumns, found: Search) -> Iterator[tuple[Any, Any]]:
    """Pairs of parent and child, in the order of discovery."""
    ends = (graph.named(part[found.bounds[1] :].tolist()) for part in (found.parents, found.order))
    return zip(*ends, strict=True)


@implements
def bfs_edges(
    G: Any, source: Any, reverse: bool = False, depth_limit: Any = None, sort_neighbors: Any = None
) -> Iterator[tuple[Any, Any]]:
    """`networkx.bfs_edges`."""
    graph = columns_of(G)
    found = _search(graph, source, depth_limit, sort_neighbors, reverse)
    return (edge for edge in _edges(graph, found))


@implements
def bfs_tree(
    G: Any, source: Any, reverse: bool = False, depth_limit: Any = None, sort_neighbors: Any = None
) -> nx.DiGraph:
    """`networkx.bfs_tree`."""
    graph = columns_of(G)
    found = _search(graph, source, depth_limit, sort_neighbors, reverse)
    tree: Any = nx.DiGraph()
    tree.add_node(source)
    tree.add_edges_from(_edges(graph, found))
    return tree


@implements
def bfs_successors(
    G: Any, source: Any, depth_limit: Any = None, sort_neighbors: Any = None
) -> Iterator[tuple[Any, list[Any]]]:
    """`networkx.bfs_successors`."""
    graph = columns_of(G)
    found = _search(graph, source, depth_limit, sort_neighbors)
    parents, children = found.parents[1:], graph.named(found.order[1:].tolist())
    if not len(parents):
        alone: list[tuple[Any, list[Any]]] = [(source, [])]
        return (item for item in alone)
    starts = np.flatnonzero(np.concatenate([[True], parents[1:] != parents[:-1]]))
    bounds = [*starts.tolist(), len(parents)]
    heads = graph.named(parents[starts].tolist())
    return ((heads[k], children[bounds[k] : bounds[k + 1]]) for k in range(len(heads)))


@implements
def bfs_layers(G: Any, sources: Any) -> Iterator[list[Any]]:
    """`networkx.bfs_layers`."""
    graph = columns_of(G)
    if graph.has(sources):
        sources = [sources]
    start = list(set(sources))  # the order of a set: NetworkX's first layer has no other
    indices = [graph.place(node, nx.NetworkXError(f"The node {node} is not in the graph.")) for node in start]
    found = breadth_first(graph.successors, np.array(indices, np.int64))
    bounds = found.bounds.tolist() if indices else [0]
    return (graph.named(found.order[low:high].tolist()) for low, high in pairwise(bounds))


@implements
def descendants_at_distance(G: Any, source: Any, distance: Any) -> set[Any]:
    """`networkx.descendants_at_distance`."""
    graph = columns_of(G)
    index = graph.place(source, nx.NetworkXError(f"The node {source} is not in the graph."))
    if not isinstance(distance, int) or distance < 0:
        return set()
    found = breadth_first(graph.successors, np.array([index]), distance)
    return set(graph.named(found.order[found.levels == distance].tolist()))


@implements
def descendants(G: Any, source: Any) -> set[Any]:
    """`networkx.descendants`."""
    graph = columns_of(G)
    return set(graph.named(_search(graph, source, None, None).order[1:].tolist()))


@implements
def ancestors(G: Any, source: Any) -> set[Any]:
    """`networkx.ancestors`."""
    graph = columns_of(G)
    return set(graph.named(_search(graph, source, None, None, reverse=True).order[1:].tolist()))


@implements
def ego_graph(
    G: Any, n: Any, radius: Any = 1, center: bool = True, undirected: bool = False, distance: Any = None
) -> Any:
    """`networkx.ego_graph`; of a `Connectome` it gives a `Connectome`."""
    graph = columns_of(G)
    if distance is not None:
        if undirected and graph.directed:
            raise Unsupported("weighted distances in both directions")
        index = graph.place(n, nx.NodeNotFound(f"Node {n} not found in graph"))
        lengths = non_negative(graph.weighted(distance))
        (reached,) = weighted_lengths(lengths, np.array([index]), np.inf if radius is None else radius)
        near = np.flatnonzero(np.isfinite(reached[0]))
    else:
        index = graph.place(n, nx.NodeNotFound(f"Source {n} is not in G"))
        rows = _both_ways(graph) if undirected and graph.directed else graph.successors
        near = breadth_first(rows, np.array([index]), radius).order
    return graph.subgraph(near if center else near[near != index])


def _both_ways(graph: GraphColumns) -> Csr:
    rows = graph.successors
    ends = np.concatenate([rows.rows, rows.indices]), np.concatenate([rows.indices, rows.rows])
    return from_edges(len(graph), *ends)


def non_negative(graph: Csr) -> Csr:
    """The graph, if its weights can be lengths; `Unsupported` for negative ones, infinities and NaN."""
    weights = graph.weights
    if weights is not None and not ((weights >= 0) & np.isfinite(weights)).all():
        raise Unsupported("lengths that are negative or not finite")
    return graph
