"""Assortativity and mixing, as NetworkX names them; see there for arguments, results and errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from connectofit.connectome.algorithms import attribute_assortativity, correlation, pair_counts
from connectofit.connectome.nx_functions.graphs import GraphColumns, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements


def _chosen(graph: GraphColumns, nodes: Any) -> np.ndarray | None:
    """Which nodes are named, or None for all."""
    if nodes is None:
        return None
    if graph.has(nodes):
        raise Unsupported("a single node")
    chosen = np.zeros(len(graph), bool)
    chosen[graph.bunch(nodes)] = True
    return chosen


def _edge_ends(graph: GraphColumns, nodes: Any, both: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ends of all edges (both directions of an undirected one); with `nodes`, those that leave them (and end there)."""
    rows, chosen = graph.successors, _chosen(graph, nodes)
    pre, post = rows.rows, rows.indices
    if chosen is None:
        return pre, post
    keep = chosen[pre] & chosen[post] if both else chosen[pre]
    return pre[keep], post[keep]


def _coded(values: list[Any]) -> tuple[np.ndarray, list[Any]]:
    """Every value as the number of its first occurrence, and the distinct values."""
    numbers: dict[Any, int] = {}
    try:
        codes = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)
    except TypeError as error:
        raise Unsupported("attribute values that cannot be hashed") from error
    return codes, list(numbers)


def _mixing(x: np.ndarray, y: np.ndarray, values: list[Any], normalized: bool) -> dict[Any, dict[Any, Any]]:
    result: dict[Any, dict[Any, Any]] = {}
    first, second, count = (part.tolist() for part in pair_counts(x, y, max(1, len(values))))
    for i, j, number in zip(first, second, count, strict=True):
        row = result.setdefault(values[i], {})
        result.setdefault(values[j], {})
        row[values[j]] = number / len(x) if normalized else number
    return result


@implements
def attribute_mixing_dict(G: Any, attribute: Any, nodes: Any = None, normalized: bool = False) -> dict[Any, Any]:
    """`networkx.attribute_mixing_dict`."""
    graph = columns_of(G)
    codes, values = _coded(graph.node_values(attribute))
    pre, post = _edge_ends(graph, nodes, both=False)
    return _mixing(codes[pre], codes[post], values, normalized)


@implements
def attribute_assortativity_coefficient(G: Any, attribute: Any, nodes: Any = None) -> float:
    """`networkx.attribute_assortativity_coefficient`."""
    graph = columns_of(G)
    codes, values = _coded(graph.node_values(attribute))
    pre, post = _edge_ends(graph, nodes, both=False)
    if not len(pre):
        return 0.0  # what NetworkX's formula gives for an empty mixing matrix
    return attribute_assortativity(codes[pre], codes[post], len(values))


@implements
def numeric_assortativity_coefficient(G: Any, attribute: Any, nodes: Any = None) -> float:
    """`networkx.numeric_assortativity_coefficient`."""
    graph = columns_of(G)
    chosen = _chosen(graph, nodes)
    values = graph.node_values(attribute)
    asked = values if chosen is None else [values[index] for index in np.flatnonzero(chosen)]
    if None in asked:
        raise KeyError(attribute)
    numbers = np.array([0 if value is None else value for value in values])
    if numbers.dtype.kind not in "if" or not len(numbers):
        raise Unsupported(f"the node attribute {attribute!r}, which does not hold numbers")
    pre, post = _edge_ends(graph, nodes, both=False)
    if chosen is not None:
        # NetworkX's table has the values of the named nodes only: edges that lead to another value drop out.
        known = np.isin(numbers, numbers[chosen]) & np.array([value is not None for value in values])
        pre, post = pre[known[post]], post[known[post]]
    return correlation(numbers[pre], numbers[post])


def _degrees_at_ends(G: Any, x: Any, y: Any, weight: Any, nodes: Any) -> tuple[np.ndarray, np.ndarray]:
    graph = columns_of(G)
    if x not in ("in", "out") or y not in ("in", "out"):
        raise Unsupported(f"degrees {x!r} and {y!r}")
    pre, post = _edge_ends(graph, nodes, both=True)
    return graph.degrees(x, weight)[pre], graph.degrees(y, weight)[post]


@implements
def degree_mixing_dict(
    G: Any, x: str = "out", y: str = "in", weight: Any = None, nodes: Any = None, normalized: bool = False
) -> dict[Any, Any]:
    """`networkx.degree_mixing_dict`."""
    ends = _degrees_at_ends(G, x, y, weight, nodes)
    values, codes = np.unique(np.concatenate(ends), return_inverse=True)
    half = len(ends[0])
    return _mixing(codes[:half], codes[half:], values.tolist(), normalized)


@implements
def degree_assortativity_coefficient(
    G: Any, x: str = "out", y: str = "in", weight: Any = None, nodes: Any = None
) -> float:
    """`networkx.degree_assortativity_coefficient`."""
    return correlation(*_degrees_at_ends(G, x, y, weight, nodes))


@implements
def degree_pearson_correlation_coefficient(
    G: Any, x: str = "out", y: str = "in", weight: Any = None, nodes: Any = None
) -> float:
    """`networkx.degree_pearson_correlation_coefficient`."""
    ends = _degrees_at_ends(G, x, y, weight, nodes)
    if len(ends[0]) < 2:
        raise Unsupported("a graph without two edges")
    from scipy.stats import pearsonr  # takes half a second to import

    return float(pearsonr(*ends)[0])
