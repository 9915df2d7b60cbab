"""Clustering, cores and triads, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome import algorithms
from connectofit.connectome.algorithms import (
    Csr,
    core_numbers,
    mutual_edges,
    neighbour_sums,
    pair_strength,
    pairs,
    transitive_triples,
    triangle_sums,
)
from connectofit.connectome.nx_functions.graphs import GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements

FEW = 0.02  # share of the nodes up to which their neighbourhoods are cut out instead of counting everywhere


def _no_multigraph(graph: GraphColumns) -> None:
    if graph.multigraph:
        raise nx.NetworkXNotImplemented("not implemented for multigraph type")


def _near(rows: Csr, chosen: np.ndarray) -> np.ndarray:
    """Some nodes and all that are joined to them."""
    wanted = np.zeros(rows.n_nodes, bool)
    wanted[chosen] = True
    into = rows.rows[wanted[rows.indices]]
    return np.unique(np.concatenate([chosen, rows.indices[rows.entries(chosen)], into]))


def _cut_out(rows: Csr, chosen: np.ndarray) -> tuple[Csr, np.ndarray]:
    """A part of the graph that holds all triangles of the chosen nodes, and where they are in it."""
    if len(chosen) > FEW * rows.n_nodes:
        return rows, chosen
    near = _near(rows, chosen)
    return rows.part(near)[0], np.searchsorted(near, chosen)


@implements
def triangles(G: Any, nodes: Any = None) -> Any:
    """`networkx.triangles`."""
    graph = columns_of(G)
    if nodes is not None:
        _no_multigraph(graph)
    chosen = graph.bunch(nodes)
    rows, here = _cut_out(graph.successors, chosen)
    result = graph.by_node(triangle_sums(pairs(rows))[here], chosen)
    return result[nodes] if graph.has(nodes) else result


@implements
def clustering(G: Any, nodes: Any = None, weight: Any = None) -> Any:
    """`networkx.clustering`."""
    graph = columns_of(G)
    _no_multigraph(graph)
    chosen = graph.bunch(nodes)
    rows = graph.weighted(weight)
    if rows.weights is not None and rows.n_edges:
        largest = rows.weights.max()
        if not largest:
            raise Unsupported("weights of which none is above zero")
        rows = rows.weighted(np.cbrt(rows.weights / largest))
    part, here = _cut_out(rows, chosen)
    joined = pairs(part)
    strength: np.ndarray | None = None
    if part.weights is not None:
        strength = pair_strength(joined, part.matrix_of_weights()) / (1 if graph.directed else 2)
    elif graph.directed:
        strength = np.bitwise_count(joined.code).astype(np.int64)
    # Each triangle is walked round in two directions, which NetworkX counts both.
    total = 2 * triangle_sums(joined, strength)
    simple = part.simple
    degree = simple.lengths.astype(np.float64)
    if graph.directed:
        degree = degree + simple.in_lengths
        possible = 2 * (degree * (degree - 1) - 2 * mutual_edges(simple))
    else:
        possible = degree * (degree - 1)
    share = np.divide(total, possible, out=np.zeros(len(total)), where=(total != 0) & (possible != 0))
    result = graph.by_node([value or 0 for value in share[here].tolist()], chosen)
    return result[nodes] if graph.has(nodes) else result


@implements
def average_clustering(G: Any, nodes: Any = None, weight: Any = None, count_zeros: bool = True) -> float:
    """`networkx.average_clustering`."""
    if columns_of(G).has(nodes):
        raise Unsupported("a single node")
    values = list(clustering(G, nodes, weight).values())
    if not count_zeros:
        values = [value for value in values if abs(value) > 0]
    return sum(values) / len(values)


@implements
def transitivity(G: Any) -> float:
    """`networkx.transitivity`."""
    graph = columns_of(G)
    if not len(graph):
        return 0
    _no_multigraph(graph)
    closed = transitive_triples(graph.successors)
    degree = graph.successors.simple.lengths
    return closed / int((degree * (degree - 1)).sum()) if closed else 0


@implements
def triadic_census(G: Any, nodelist: Any = None) -> dict[str, int]:
    """`networkx.triadic_census` of all nodes."""
    if nodelist is not None:
        raise Unsupported("a list of nodes")
    return algorithms.triadic_census(columns_of(G).successors)


def _core(graph: GraphColumns) -> np.ndarray:
    rows = graph.successors
    if rows.loops.any():
        raise nx.NetworkXNotImplemented(
            "Input graph has self loops which is not permitted; "
            "Consider using G.remove_edges_from(nx.selfloop_edges(G))."
        )
    return core_numbers(rows, rows.transpose if graph.directed else None)


@implements
def core_number(G: Any) -> dict[Any, int]:
    """`networkx.core_number`."""
    graph = columns_of(G)
    return graph.by_node(_core(graph))


def _given_core(graph: GraphColumns, given: Any) -> np.ndarray:
    """The core numbers [n], computed or given by node; -1 for nodes that are left out."""
    core = _core(graph) if given is None else np.array([given.get(node, -1) for node in graph.nodes])
    if not len(core) or core.dtype.kind not in "if":
        raise Unsupported("core numbers that are no numbers, or none at all")
    return core


@implements
def k_core(G: Any, k: Any = None, core_number: Any = None) -> Any:
    """`networkx.k_core`; of a `Connectome` it gives a `Connectome`."""
    graph = columns_of(G)
    core = _given_core(graph, core_number)
    return graph.subgraph(np.flatnonzero((core >= (core.max() if k is None else k)) & (core >= 0)))


@implements
def k_shell(G: Any, k: Any = None, core_number: Any = None) -> Any:
    """`networkx.k_shell`; of a `Connectome` it gives a `Connectome`."""
    graph = columns_of(G)
    core = _given_core(graph, core_number)
    return graph.subgraph(np.flatnonzero((core == (core.max() if k is None else k)) & (core >= 0)))


@implements
def k_crust(G: Any, k: Any = None, core_number: Any = None) -> Any:
    """`networkx.k_crust`; of a `Connectome` it gives a `Connectome`."""
    graph = columns_of(G)
    core = _given_core(graph, core_number)
    return graph.subgraph(np.flatnonzero((core <= (core.max() - 1 if k is None else k)) & (core >= 0)))


@implements
def k_corona(G: Any, k: Any, core_number: Any = None) -> Any:
    """`networkx.k_corona`; of a `Connectome` it gives a `Connectome`."""
    graph = columns_of(G)
    core = _given_core(graph, core_number)
    inner = neighbour_sums(graph.successors, (core >= k).astype(np.int64))
    return graph.subgraph(np.flatnonzero((core == k) & (inner == k) & (core >= 0)))
