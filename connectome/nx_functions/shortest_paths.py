"""Shortest paths and their lengths, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome.algorithms import (
    Csr,
    breadth_first,
    meeting_path,
    reached_by,
    strong_labels,
    weak_labels,
    weighted_lengths,
    weighted_lengths_from_any,
)
from connectofit.connectome.nx_functions.graphs import BEFORE_3_5, GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements
from connectofit.connectome.nx_functions.searches import non_negative


def _lengths(graph: GraphColumns, rows: Csr, index: int, cutoff: Any) -> dict[Any, int]:
    """Number of edges to every node within reach, nearest first."""
    found = breadth_first(rows, np.array([index]), cutoff)
    return graph.by_node(found.levels, found.order)


def _paths(graph: GraphColumns, rows: Csr, index: int, cutoff: Any, backwards: bool = False) -> dict[Any, list[Any]]:
    """A shortest path to every node within reach, nearest first; `backwards` writes each from the other end."""
    found = breadth_first(rows, np.array([index]), cutoff)
    nodes = graph.nodes
    paths: dict[int, list[Any]] = {index: [nodes[index]]}
    for node, parent in zip(found.order[1:].tolist(), found.parents[1:].tolist(), strict=True):
        own = [nodes[node]]
        paths[node] = own + paths[parent] if backwards else paths[parent] + own
    return {nodes[node]: path for node, path in paths.items()}


def _source(graph: GraphColumns, node: Any, text: str = "Source {} is not in G") -> int:
    return graph.place(node, nx.NodeNotFound(text.format(node)))


@implements
def single_source_shortest_path_length(G: Any, source: Any, cutoff: Any = None) -> dict[Any, int]:
    """`networkx.single_source_shortest_path_length`."""
    graph = columns_of(G)
    return _lengths(graph, graph.successors, _source(graph, source), cutoff)


@implements
def single_target_shortest_path_length(G: Any, target: Any, cutoff: Any = None) -> Any:
    """`networkx.single_target_shortest_path_length`."""
    graph = columns_of(G)
    found = _lengths(graph, graph.predecessors, _source(graph, target, "Target {} is not in G"), cutoff)
    return iter(found.items()) if BEFORE_3_5 else found


@implements
def all_pairs_shortest_path_length(G: Any, cutoff: Any = None) -> Iterator[tuple[Any, dict[Any, int]]]:
    """`networkx.all_pairs_shortest_path_length`."""
    graph = columns_of(G)
    every = enumerate(graph.nodes)
    return ((node, _lengths(graph, graph.successors, index, cutoff)) for index, node in every)


@implements
def single_source_shortest_path(G: Any, source: Any, cutoff: Any = None) -> dict[Any, list[Any]]:
    """`networkx.single_source_shortest_path`."""
    graph = columns_of(G)
    return _paths(graph, graph.successors, _source(graph, source, "Source {} not in G"), cutoff)


@implements
def single_target_shortest_path(G: Any, target: Any, cutoff: Any = None) -> dict[Any, list[Any]]:
    """`networkx.single_target_shortest_path`."""
    graph = columns_of(G)
    index = _source(graph, target, "Target {} not in G")
    return _paths(graph, graph.predecessors, index, cutoff, backwards=True)


@implements
def all_pairs_shortest_path(G: Any, cutoff: Any = None) -> Iterator[tuple[Any, dict[Any, list[Any]]]]:
    """`networkx.all_pairs_shortest_path`."""
    graph = columns_of(G)
    return ((node, _paths(graph, graph.successors, index, cutoff)) for index, node in enumerate(graph.nodes))


@implements
def bidirectional_shortest_path(G: Any, source: Any, target: Any) -> list[Any]:
    """`networkx.bidirectional_shortest_path`."""
    graph = columns_of(G)
    ends = _source(graph, source), _source(graph, target, "Target {} is not in G")
    path = meeting_path(graph.successors, graph.predecessors, *ends)
    if path is None:
        raise nx.NetworkXNoPath(f"No path between {source} and {target}.")
    return graph.named(path)


@implements
def has_path(G: Any, source: Any, target: Any) -> bool:
    """`networkx.has_path`."""
    try:
        bidirectional_shortest_path(G, source, target)
    except nx.NetworkXNoPath:
        return False
    return True


def _only_unweighted(weight: Any, method: Any) -> None:
    _only_dijkstra(method)
    if weight is not None:
        raise Unsupported("weighted paths")


def _only_dijkstra(method: Any) -> None:
    if method != "dijkstra":
        raise Unsupported(f"the method {method!r}")


@implements
def shortest_path(G: Any, source: Any = None, target: Any = None, weight: Any = None, method: Any = "dijkstra") -> Any:
    """`networkx.shortest_path`."""
    _only_unweighted(weight, method)
    graph = columns_of(G)
    if source is not None and target is not None:
        return bidirectional_shortest_path(G, source, target)
    if source is not None:
        return single_source_shortest_path(G, source)
    if target is None:
        if BEFORE_3_5:
            raise Unsupported("all pairs, for which NetworkX gave no iterator before its version 3.5")
        return all_pairs_shortest_path(G)
    index = _source(graph, target, "Source {} not in G")
    return _paths(graph, graph.predecessors, index, None, backwards=True)


@implements
def shortest_path_length(
    G: Any, source: Any = None, target: Any = None, weight: Any = None, method: Any = "dijkstra"
) -> Any:
    """`networkx.shortest_path_length`."""
    _only_dijkstra(method)
    graph = columns_of(G)
    if weight is not None:
        return _weighted_shortest_path_length(graph, source, target, weight)
    if source is not None and target is not None:
        return len(bidirectional_shortest_path(G, source, target)) - 1
    if source is not None:
        return single_source_shortest_path_length(G, source)
    if target is not None:
        return _lengths(graph, graph.predecessors, _source(graph, target), None)
    return all_pairs_shortest_path_length(G)


def _weighted_shortest_path_length(graph: GraphColumns, source: Any, target: Any, weight: Any) -> Any:
    rows = non_negative(graph.weighted(weight))
    text = "Node {} not found in graph"
    if source is not None and target is not None:
        return _length_between(graph, rows, source, target)
    if source is not None:
        return _weighted(graph, rows, [_source(graph, source, text)], None)
    if target is not None:
        return _weighted(graph, rows.transpose, [_source(graph, target, text)], None)
    return ((node, _weighted(graph, rows, [index], None)) for index, node in enumerate(graph.nodes))


def _weighted(graph: GraphColumns, rows: Csr, sources: list[int], cutoff: Any) -> dict[Any, Any]:
    """Weighted lengths from the nearest of the sources, nearest first; whole numbers where the weights are."""
    lengths = weighted_lengths_from_any(rows, np.array(sources), np.inf if cutoff is None else cutoff)
    order = np.argsort(lengths, kind="stable")
    order = order[: int(np.isfinite(lengths).sum())]
    return graph.by_node(_as_weights(lengths[order], rows), order)


def _as_weights(lengths: np.ndarray, rows: Csr) -> np.ndarray:
    whole = rows.weights is None or np.issubdtype(rows.weights.dtype, np.integer)
    return lengths.astype(np.int64) if whole else lengths


def _length_between(graph: GraphColumns, rows: Csr, source: Any, target: Any) -> Any:
    index = _source(graph, source, "Node {} not found in graph")
    if source == target:
        return 0
    end = graph.number(target)
    (lengths,) = weighted_lengths(rows, np.array([index]))
    if end is None or not np.isfinite(lengths[0, end]):
        raise nx.NetworkXNoPath(f"Node {target} not reachable from {source}")
    return _as_weights(lengths[0, end : end + 1], rows).tolist()[0]


@implements
def dijkstra_path_length(G: Any, source: Any, target: Any, weight: Any = "weight") -> Any:
    """`networkx.dijkstra_path_length`."""
    graph = columns_of(G)
    return _length_between(graph, non_negative(graph.weighted(weight)), source, target)


@implements
def single_source_dijkstra_path_length(G: Any, source: Any, cutoff: Any = None, weight: Any = "weight") -> Any:
    """`networkx.single_source_dijkstra_path_length`."""
    return multi_source_dijkstra_path_length(G, {source}, cutoff, weight)


@implements
def multi_source_dijkstra_path_length(G: Any, sources: Any, cutoff: Any = None, weight: Any = "weight") -> Any:
    """`networkx.multi_source_dijkstra_path_length`."""
    if not sources:
        raise ValueError("sources must not be empty")
    graph = columns_of(G)
    indices = [_source(graph, node, "Node {} not found in graph") for node in sources]
    if cutoff is not None and not cutoff >= 0:
        raise Unsupported(f"the cutoff {cutoff!r}")
    return _weighted(graph, non_negative(graph.weighted(weight)), indices, cutoff)


@implements
def all_pairs_dijkstra_path_length(G: Any, cutoff: Any = None, weight: Any = "weight") -> Iterator[tuple[Any, Any]]:
    """`networkx.all_pairs_dijkstra_path_length`."""
    graph = columns_of(G)
    rows = non_negative(graph.weighted(weight))
    return ((node, _weighted(graph, rows, [index], cutoff)) for index, node in enumerate(graph.nodes))


@implements
def average_shortest_path_length(G: Any, weight: Any = None, method: Any = None) -> float:
    """`networkx.average_shortest_path_length`."""
    if method is None:
        method = "unweighted" if weight is None else "dijkstra"
    if method not in ("unweighted", "dijkstra"):
        raise Unsupported(f"the method {method!r}")
    graph = columns_of(G)
    n = len(graph)
    if n == 0:
        text = "the null graph has no paths, thus there is no average shortest path length"
        raise nx.NetworkXPointlessConcept(text)
    if n == 1:
        return 0
    parts = strong_labels(graph.successors)[0] if graph.directed else weak_labels(graph.successors)[0]
    if parts > 1:
        raise nx.NetworkXError(f"Graph is not {'strongly ' if graph.directed else ''}connected.")
    rows = graph.successors if method == "unweighted" else non_negative(graph.weighted(weight))
    return reached_by(rows, np.arange(n)).total.sum().item() / (n * (n - 1))


@implements
def eccentricity(G: Any, v: Any = None, sp: Any = None, weight: Any = None) -> Any:
    """`networkx.eccentricity`."""
    if sp is not None:
        raise Unsupported("distances that are given")
    graph = columns_of(G)
    rows = non_negative(graph.weighted(weight))
    chosen = graph.bunch(v)
    if v is None or len(chosen) > 64:
        reached = reached_by(rows.transpose, np.arange(len(graph)))
        count, farthest = reached.count[chosen], reached.farthest[chosen]
    elif weight is None:
        found = [breadth_first(rows, np.array([index])) for index in chosen]
        count = np.array([len(search.order) for search in found], np.int64)
        farthest = np.array([len(search.bounds) - 2 for search in found], np.int64)
    else:
        lengths = np.concatenate(list(weighted_lengths(rows, chosen))) if len(chosen) else np.zeros((0, len(graph)))
        count = np.isfinite(lengths).sum(axis=1)
        farthest = _as_weights(np.where(np.isfinite(lengths), lengths, 0).max(axis=1), rows)
    if (count != len(graph)).any():
        if graph.directed:
            raise nx.NetworkXError("Found infinite path length because the digraph is not strongly connected")
        raise nx.NetworkXError("Found infinite path length because the graph is not connected")
    result = graph.by_node(farthest, chosen)
    return result[v] if graph.has(v) else result


def _eccentricities(G: Any, e: Any, usebounds: Any, weight: Any) -> dict[Any, Any]:
    if usebounds and not columns_of(G).directed:
        raise Unsupported("bounds instead of all distances")
    result = eccentricity(G, weight=weight) if e is None else e
    if not result:
        raise Unsupported("a graph without nodes")
    return result


@implements
def diameter(G: Any, e: Any = None, usebounds: bool = False, weight: Any = None) -> Any:
    """`networkx.diameter`."""
    return max(_eccentricities(G, e, usebounds, weight).values())


@implements
def radius(G: Any, e: Any = None, usebounds: bool = False, weight: Any = None) -> Any:
    """`networkx.radius`."""
    return min(_eccentricities(G, e, usebounds, weight).values())


@implements
def periphery(G: Any, e: Any = None, usebounds: bool = False, weight: Any = None) -> list[Any]:
    """`networkx.periphery`."""
    found = _eccentricities(G, e, usebounds, weight)
    largest = max(found.values())
    return [node for node, value in found.items() if value == largest]


@implements
def center(G: Any, e: Any = None, usebounds: bool = False, weight: Any = None) -> list[Any]:
    """`networkx.center`."""
    graph = columns_of(G)
    if not graph.directed and graph.successors.n_edges <= 2 * (len(graph) - 1):
        raise Unsupported("the centre of a tree, which NetworkX finds in another order")
    found = _eccentricities(G, e, usebounds, weight)
    smallest = min(found.values())
    return [node for node, value in found.items() if value == smallest]
