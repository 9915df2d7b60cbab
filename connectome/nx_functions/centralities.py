"""Centralities, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome import algorithms
from connectofit.connectome.algorithms import breadth_first, reached_by, strong_labels, weak_labels, weighted_lengths
from connectofit.connectome.nx_functions.graphs import BEFORE_3_5, GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements
from connectofit.connectome.nx_functions.searches import non_negative


def _vector(graph: GraphColumns, values: Any, default: float | None = None) -> np.ndarray:
    """A dict by node as a vector [n]; without `default` it must name exactly the nodes."""
    if default is None and (len(values) != len(graph) or not all(graph.has(node) for node in values)):
        raise Unsupported("values that do not name all nodes")
    return np.array([values.get(node, default) for node in graph.nodes], float)


@implements
def pagerank(
    G: Any,
    alpha: float = 0.85,
    personalization: Any = None,
    max_iter: int = 100,
    tol: float = 1e-6,
    nstart: Any = None,
    weight: Any = "weight",
    dangling: Any = None,
) -> dict[Any, float]:
    """`networkx.pagerank`."""
    graph = columns_of(G)
    if not len(graph):
        return {}
    given = [None if item is None else _vector(graph, item, 0) for item in (personalization, dangling, nstart)]
    if given[0] is not None and given[0].sum() == 0:
        raise ZeroDivisionError
    rank = algorithms.pagerank(
        graph.weighted(weight),
        alpha=alpha,
        personalization=given[0],
        dangling=given[1],
        start=given[2],
        max_iter=max_iter,
        tol=tol,
    )
    if rank is None:
        raise nx.PowerIterationFailedConvergence(max_iter)
    return graph.by_node(rank)


@implements
def hits(
    G: Any, max_iter: int = 100, tol: float = 1e-8, nstart: Any = None, normalized: bool = True
) -> tuple[dict[Any, float], dict[Any, float]]:
    """`networkx.hits`."""
    graph = columns_of(G)
    if not len(graph):
        return {}, {}
    if max_iter <= 0:
        raise nx.PowerIterationFailedConvergence(max_iter)
    if len(graph) == 1:
        raise Unsupported("a single node")
    start = None if nstart is None else np.array(list(nstart.values()))
    found = algorithms.hubs_and_authorities(graph.weighted("weight"), start=start, max_iter=max_iter, tol=tol)
    if found is None:
        raise nx.PowerIterationFailedConvergence(max_iter)
    hubs, authorities = (part / part.sum() for part in found) if normalized else found
    return graph.by_node(hubs), graph.by_node(authorities)


def _null_graph(graph: GraphColumns) -> None:
    if not len(graph):
        raise nx.NetworkXPointlessConcept("cannot compute centrality for the null graph")


@implements
def eigenvector_centrality(
    G: Any, max_iter: int = 100, tol: float = 1e-6, nstart: Any = None, weight: Any = None
) -> dict[Any, float]:
    """`networkx.eigenvector_centrality`."""
    graph = columns_of(G)
    _null_graph(graph)
    start = np.ones(len(graph)) if nstart is None else _vector(graph, nstart)
    if not start.any():
        raise nx.NetworkXError("initial vector cannot have all zero values")
    found = algorithms.eigenvector(graph.weighted(weight or None), start=start, max_iter=max_iter, tol=tol)
    if found is None:
        raise nx.PowerIterationFailedConvergence(max_iter)
    return graph.by_node(found)


@implements
def eigenvector_centrality_numpy(G: Any, weight: Any = None, max_iter: int = 50, tol: float = 0) -> dict[Any, float]:
    """`networkx.eigenvector_centrality_numpy`."""
    graph = columns_of(G)
    _null_graph(graph)
    parts = strong_labels(graph.successors)[0] if graph.directed else weak_labels(graph.successors)[0]
    if parts > 1:
        raise nx.AmbiguousSolution(
            "`eigenvector_centrality_numpy` does not give consistent results for disconnected graphs"
        )
    if len(graph) < 3:
        raise Unsupported("fewer than three nodes")
    return graph.by_node(algorithms.eigenvector_arpack(graph.weighted(weight), max_iter=max_iter, tol=tol))


@implements
def katz_centrality(
    G: Any,
    alpha: float = 0.1,
    beta: Any = 1.0,
    max_iter: int = 1000,
    tol: float = 1e-6,
    nstart: Any = None,
    normalized: bool = True,
    weight: Any = None,
) -> dict[Any, float]:
    """`networkx.katz_centrality`."""
    graph = columns_of(G)
    if not len(graph):
        return {}
    if isinstance(beta, dict):
        if set(beta) != set(graph.nodes):
            raise nx.NetworkXError("beta dictionary must have a value for every node")
        base = _vector(graph, beta)
    else:
        try:
            base = np.full(len(graph), float(beta))
        except (TypeError, ValueError) as error:
            raise Unsupported(f"beta of type {type(beta).__name__}") from error
    found = algorithms.katz(
        graph.weighted(weight),
        alpha=alpha,
        beta=base,
        start=np.zeros(len(graph)) if nstart is None else _vector(graph, nstart),
        max_iter=max_iter,
        tol=tol,
    )
    if found is None:
        raise nx.PowerIterationFailedConvergence(max_iter)
    return graph.by_node(found / (np.linalg.norm(found) or 1.0) if normalized else found)


@implements
def closeness_centrality(G: Any, u: Any = None, distance: Any = None, wf_improved: bool = True) -> Any:
    """`networkx.closeness_centrality`."""
    graph = columns_of(G)
    n = len(graph)
    rows = non_negative(graph.weighted(distance))
    if u is None:
        chosen, reached = None, reached_by(rows, np.arange(n))
        count, total = reached.count, reached.total
    else:
        text = "Source {} is not in G" if distance is None else "Node {} not found in graph"
        chosen = np.array([graph.place(u, nx.NodeNotFound(text.format(u)))])
        if distance is None:
            found = breadth_first(graph.predecessors, chosen)
            count, total = np.array([len(found.order)]), np.array([found.levels.sum()])
        else:
            (lengths,) = weighted_lengths(rows.transpose, chosen)
            near = lengths[np.isfinite(lengths)]
            count, total = np.array([len(near)]), np.array([near.sum()])
    close = np.divide(count - 1.0, total, out=np.zeros(len(count)), where=total > 0)
    if wf_improved and n > 1:
        close = close * ((count - 1.0) / (n - 1))
    result = graph.by_node(close, chosen)
    return result if u is None else result[u]


@implements
def harmonic_centrality(G: Any, nbunch: Any = None, distance: Any = None, sources: Any = None) -> dict[Any, float]:
    """`networkx.harmonic_centrality`."""
    graph = columns_of(G)
    rows = non_negative(graph.weighted(distance))
    targets, starts = np.unique(graph.bunch(nbunch)), np.unique(graph.bunch(sources))
    if len(targets) < len(starts):
        # Each target looks backwards and adds up the sources it sees.
        backwards = rows.transpose if graph.directed else rows
        wanted = np.zeros(len(graph), bool)
        wanted[starts] = True
        total = np.array([_harmonic(backwards, index, wanted) for index in targets])
    else:
        total = reached_by(rows, starts).inverse[targets]
    return graph.by_node([value or 0 for value in total.tolist()], targets)


def _harmonic(rows: algorithms.Csr, index: int, wanted: np.ndarray) -> float:
    if rows.weights is None:
        found = breadth_first(rows, np.array([index]))
        near = found.levels[wanted[found.order]]
    else:
        (lengths,) = weighted_lengths(rows, np.array([index]))
        near = lengths[0, wanted & np.isfinite(lengths[0])]
    return float((1.0 / near[near > 0]).sum())


@implements
def betweenness_centrality(
    G: Any,
    k: int | None = None,
    normalized: bool = True,
    weight: Any = None,
    endpoints: bool = False,
    seed: Any = None,
) -> dict[Any, float]:
    """`networkx.betweenness_centrality` without weights."""
    if weight is not None:
        raise Unsupported("weighted paths")
    graph = columns_of(G)
    n = len(graph)
    if k is None or k == n:
        k, sources = None, np.arange(n)
    else:
        if BEFORE_3_5:
            raise Unsupported("a sample, which NetworkX scaled in another way before its version 3.5")
        if not isinstance(seed, Random):
            raise Unsupported(f"a seed of type {type(seed).__name__}")
        sources = np.array([graph.number(node) for node in seed.sample(list(graph.nodes), k)], np.int64)
    between = algorithms.betweenness(graph.successors, sources, endpoints=bool(endpoints))
    return graph.by_node(between * _betweenness_scale(graph, sources, k, normalized, endpoints))


def _betweenness_scale(graph: GraphColumns, sources: np.ndarray, k: int | None, normalized: Any, endpoints: Any) -> Any:
    """Factor(s) from sums over the sources to shares of all pairs, or to the sum over all sources.

    Without its ends a path from s cannot pass s: a node that is a source itself saw one source less.
    """
    possible = len(graph) if endpoints else len(graph) - 1  # sources of paths that can pass a node
    if possible < 2:
        return 1
    each_once = 1 if graph.directed else 2  # an undirected path is found from both of its ends

    def factor(seen: int) -> float:
        return 1 / (seen * (possible - 1)) if normalized else possible / (seen * each_once)

    if k is None or endpoints:
        return factor(possible if k is None else k)
    scale = np.full(len(graph), factor(k))
    scale[sources] = factor(k - 1) if k > 1 else math.nan
    return scale
