"""The graph as a SciPy matrix, as NetworkX names it; see there for arguments, results and errors."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from connectofit.connectome.nx_functions.graphs import Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import implements


@implements
def to_scipy_sparse_array(
    G: Any,
    nodelist: Any = None,
    dtype: Any = None,
    weight: Any = "weight",
    format: Any = "csr",  # noqa: A002 (NetworkX's name)
) -> Any:
    """`networkx.to_scipy_sparse_array`."""
    graph = columns_of(G)
    if not len(graph):
        raise nx.NetworkXError("Graph has no nodes or edges")
    rows = graph.weighted(weight)
    if nodelist is not None:
        nodelist = list(nodelist)
        if not nodelist:
            raise nx.NetworkXError("nodelist has no nodes")
        indices = [graph.place(node, nx.NetworkXError(f"Node {node} in nodelist is not in G")) for node in nodelist]
        if len(set(indices)) < len(indices):
            raise nx.NetworkXError("nodelist contains duplicates.")
        rows, _ = rows.part(np.array(indices))
    values = np.ones(rows.n_edges, np.int64) if rows.weights is None else rows.weights
    if values.dtype.kind == "i":
        values = values.astype(np.int64)
    if dtype is not None:
        try:
            values = values.astype(dtype)
        except (TypeError, ValueError) as error:
            raise Unsupported(f"the dtype {dtype!r}") from error
    elif not rows.n_edges:
        values = values.astype(np.float64)  # as NumPy types an empty list
    matrix = rows.matrix(values, copy=True)
    matrix.sum_duplicates()
    try:
        return matrix.asformat(format)
    except ValueError as error:
        raise nx.NetworkXError(f"Unknown sparse matrix format: {format}") from error


@implements
def adjacency_matrix(G: Any, nodelist: Any = None, dtype: Any = None, weight: Any = "weight") -> Any:
    """`networkx.adjacency_matrix`."""
    return to_scipy_sparse_array(G, nodelist, dtype, weight)
