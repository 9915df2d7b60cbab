"""Degrees and what follows from them, as NetworkX names it; see there for arguments, results and errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome.algorithms import mutual_edges, neighbour_sums, rich_club
from connectofit.connectome.nx_functions.graphs import Direction, GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements

DIRECTIONS = ("in", "out", "in+out")


def _degree_share(graph: GraphColumns, direction: Direction) -> dict[Any, float]:
    n = len(graph)
    if n <= 1:
        return dict.fromkeys(graph.nodes, 1)
    return graph.by_node(graph.degrees(direction) * (1.0 / (n - 1.0)))


@implements
def degree_centrality(G: Any) -> dict[Any, float]:
    """`networkx.degree_centrality`."""
    return _degree_share(columns_of(G), "in+out")


@implements
def in_degree_centrality(G: Any) -> dict[Any, float]:
    """`networkx.in_degree_centrality`."""
    return _degree_share(columns_of(G), "in")


@implements
def out_degree_centrality(G: Any) -> dict[Any, float]:
    """`networkx.out_degree_centrality`."""
    return _degree_share(columns_of(G), "out")


@implements
def isolates(G: Any) -> Iterator[Any]:
    """`networkx.isolates`."""
    graph = columns_of(G)
    return (node for node in graph.named(np.flatnonzero(graph.degrees() == 0).tolist()))


@implements
def is_isolate(G: Any, n: Any) -> bool:
    """`networkx.is_isolate`."""
    graph = columns_of(G)
    index = graph.number(n)
    if index is None:
        raise Unsupported(f"the node {n!r}, which is not in the graph")
    out = graph.successors
    return bool(out.lengths[index] == 0 and (not graph.directed or not (out.indices == index).any()))


@implements
def number_of_isolates(G: Any) -> int:
    """`networkx.number_of_isolates`."""
    return int((columns_of(G).degrees() == 0).sum())


@implements
def reciprocity(G: Any, nodes: Any = None) -> Any:
    """`networkx.reciprocity`."""
    if nodes is None:
        return overall_reciprocity(G)
    graph = columns_of(G)
    if not graph.directed:
        raise Unsupported("nodes of an undirected graph")
    chosen = graph.bunch(nodes)
    rows = graph.successors.distinct
    total = (rows.lengths + rows.in_lengths)[chosen].tolist()
    mutual = mutual_edges(rows)[chosen].tolist()
    share = [2 * both / all_ if all_ else None for both, all_ in zip(mutual, total, strict=True)]
    if not graph.has(nodes):
        return graph.by_node(share, chosen)
    if share[0] is None:
        raise nx.NetworkXError("Not defined for isolated nodes.")
    return share[0]


@implements
def overall_reciprocity(G: Any) -> float:
    """`networkx.overall_reciprocity`; in a multigraph an edge is returned by one with the same key."""
    graph = columns_of(G)
    rows = graph.successors
    if not rows.n_edges:
        raise nx.NetworkXError("Not defined for empty graphs")
    if not graph.directed:
        return 0.0
    layers = [rows]
    if graph.multigraph:
        keys = graph.edge_keys()
        layers = [rows.kept(keys == key) for key in np.unique(keys)]
    # A self-loop is its own reverse, but no second edge.
    return int(sum(mutual_edges(layer).sum() - layer.loops.sum() for layer in layers)) / rows.n_edges


@implements
def average_neighbor_degree(
    G: Any, source: str = "out", target: str = "out", nodes: Any = None, weight: Any = None
) -> dict[Any, float]:
    """`networkx.average_neighbor_degree`."""
    graph = columns_of(G)
    if not graph.directed:
        if source != "out" or target != "out":
            raise nx.NetworkXError("source and target arguments are only supported for directed graphs")
        source = target = "in+out"
    for name, value in (("source", source), ("target", target)):
        if value not in DIRECTIONS:
            raise nx.NetworkXError(f"{name} argument {value} must be 'in', 'out' or 'in+out'")
    rows = graph.simple_weighted(weight)
    degree = graph.degrees(source, weight)  # type: ignore[arg-type]
    reached = graph.degrees(target)  # type: ignore[arg-type]
    total: Any = 0
    if not graph.directed or "out" in source:
        total = total + neighbour_sums(rows, reached)
    if graph.directed and "in" in source:
        total = total + neighbour_sums(rows.transpose, reached)
    mean = np.divide(total, degree, out=np.zeros(len(graph)), where=degree != 0)
    chosen = None if nodes is None else graph.bunch(nodes)
    return graph.by_node(mean if chosen is None else mean[chosen], chosen)


@implements
def average_degree_connectivity(
    G: Any, source: str = "in+out", target: str = "in+out", nodes: Any = None, weight: Any = None
) -> dict[Any, float]:
    """`networkx.average_degree_connectivity`."""
    graph = columns_of(G)
    if graph.directed:
        for name, value in (("source", source), ("target", target)):
            if value not in DIRECTIONS:
                raise nx.NetworkXError(f'{name} must be one of "in", "out", or "in+out"')
    elif source != "in+out" or target != "in+out":
        raise nx.NetworkXError("source and target arguments are only supported for directed graphs")
    rows = graph.simple_weighted(weight)
    if graph.directed and source == "in":
        rows = rows.transpose
    chosen = graph.bunch(nodes)
    if len(np.unique(chosen)) < len(chosen):
        raise Unsupported("nodes that are named twice")
    degree = graph.degrees(source)[chosen]  # type: ignore[arg-type]
    strength = graph.degrees(source, weight)[chosen]  # type: ignore[arg-type]
    total = neighbour_sums(rows, graph.degrees(target))[chosen]  # type: ignore[arg-type]
    values, first, group = np.unique(degree, return_index=True, return_inverse=True)
    sums = [np.zeros(len(values), part.dtype) for part in (total, strength)]
    for result, part in zip(sums, (total, strength), strict=True):
        np.add.at(result, group, part)
    order = np.argsort(first)
    rows_of_table = zip(*(part[order].tolist() for part in (values, *sums)), strict=True)
    return {k: dsum if norm == 0 else dsum / norm for k, dsum, norm in rows_of_table}


@implements
def rich_club_coefficient(G: Any, normalized: bool = True, Q: float = 100, seed: Any = None) -> dict[int, float]:
    """`networkx.rich_club_coefficient`, not normalised."""
    graph = columns_of(G)
    if normalized or graph.successors.loops.any():
        raise Unsupported("the normalisation by random rewiring" if normalized else "self-loops")
    if not graph.successors.n_edges:
        return {}
    return dict(enumerate(rich_club(graph.successors, graph.degrees()).tolist()))


@implements
def s_metric(G: Any) -> float:
    """`networkx.s_metric`."""
    graph = columns_of(G)
    rows, degree = graph.successors, graph.degrees()
    products = degree[rows.rows] * degree[rows.indices]
    if graph.directed:
        return float(products.sum())
    loops = products[rows.rows == rows.indices].sum()
    return float((products.sum() - loops) // 2 + loops)
