"""Connectome to NetworkX and back, without loss; what a Connectome cannot hold is refused with the reason.

A missing value is an attribute that is not there. Column types and the graph's own attributes travel in the
attributes of the NetworkX graph, so that a column without any value, or of a narrow type, comes back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa

from connectofit.connectome.errors import SchemaError, offenders
from connectofit.connectome.graph import Connectome
from connectofit.connectome.policies import KINDS

_TYPES = "connectofit_types"
_METADATA = b"networkx"


def to_networkx(connectome: Connectome) -> nx.MultiDiGraph | nx.DiGraph:
    """A `MultiDiGraph` keyed by kind, or a `DiGraph` (with the graph attribute ``kind``) for a view of one kind.

    Edge attributes: ``count``, ``sign`` and the further columns; node attributes: the columns. Missing ones are absent.
    """
    metadata = connectome.neurons.schema.metadata or {}
    attributes = json.loads(metadata.get(_METADATA, b"{}"))
    attributes[_TYPES] = json.dumps(
        {
            "neurons": {field.name: str(field.type) for field in connectome.neurons.schema},
            "edges": {field.name: str(field.type) for field in connectome.edge_columns.schema},
            "count": str(connectome.count.dtype),
        }
    )
    if connectome.only_kind is None:
        graph: Any = nx.MultiDiGraph(**attributes)
        graph.add_nodes_from(connectome.nodes(data=True))
        graph.add_edges_from(connectome.edges(data=True, keys=True))
    else:
        graph = nx.DiGraph(**attributes, kind=connectome.only_kind)
        graph.add_nodes_from(connectome.nodes(data=True))
        graph.add_edges_from(connectome.edges(data=True))
    return graph


def from_networkx(graph: nx.Graph) -> Connectome:
    """A Connectome from a `DiGraph` or `MultiDiGraph`.

    The kind of an edge is its key or its attribute ``kind`` (in a `DiGraph` also the graph's), else chemical. Its
    ``count`` is 1 and its ``sign`` 0 (unknown) where no edge has one. A `DiGraph` of one kind becomes a view of that
    kind. None is a missing value.

    Raises
    ------
    SchemaError
        For an undirected graph; ids that are not all text or all 64-bit integers; keys that are not kinds; electrical
        edges without their equal other direction; attributes whose values Arrow cannot give one type.
    """
    if not isinstance(graph, nx.Graph):
        raise SchemaError(f"from_networkx takes a networkx graph, and not a {type(graph).__name__}.")
    if not graph.is_directed():
        raise SchemaError(
            "A connectome is directed, and this graph is not: edges would get a direction that nobody measured. "
            "Use graph.to_directed() if each edge stands for both directions."
        )
    attributes = dict(graph.graph)
    types = json.loads(attributes.pop(_TYPES, "{}"))
    one_kind = None if graph.is_multigraph() else attributes.pop("kind", None)
    nodes = list(graph.nodes(data=True))
    neurons = pa.table({"id": _ids([node for node, _ in nodes])})
    for name, column in _columns([data for _, data in nodes], types.get("neurons", {}), "node", {"id"}).items():
        neurons = neurons.append_column(name, column)
    if attributes:
        try:
            metadata = {_METADATA: json.dumps(attributes).encode()}
        except (TypeError, ValueError) as error:
            raise SchemaError(f"The graph's own attributes {attributes!r} cannot be kept as JSON: {error}.") from error
        neurons = neurons.replace_schema_metadata(metadata)

    index = {node: position for position, (node, _) in enumerate(nodes)}
    every: Any = graph.edges
    if graph.is_multigraph():
        edges = [(index[u], index[v], _kind(u, v, key, data), data) for u, v, key, data in every(keys=True, data=True)]
    else:
        edges = [(index[u], index[v], _kind(u, v, one_kind, data), data) for u, v, data in graph.edges(data=True)]
    kinds = np.array([kind for _, _, kind, _ in edges], np.int8)
    if not graph.is_multigraph() and one_kind is None and not kinds.any():
        one_kind = "chemical"
    data = [attributes for *_, attributes in edges]
    count = _numbers(data, "count", 1).astype(types.get("count", None))
    return Connectome.from_edges(
        neurons,
        pre=np.array([u for u, *_ in edges], np.int32),
        post=np.array([v for _, v, *_ in edges], np.int32),
        kind=kinds,
        count=count,
        sign=_numbers(data, "sign", 0),
        edge_columns=pa.table(_columns(data, types.get("edges", {}), "edge", {"count", "sign", "kind"})),
        only_kind=one_kind,
    )


def _ids(nodes: list[Any]) -> pa.Array:
    whole = all(isinstance(node, int | np.integer) and not isinstance(node, bool) for node in nodes)
    text = all(isinstance(node, str) for node in nodes)
    if not (whole or text):
        usual = str if isinstance(nodes[0], str) else int
        strange = [node for node in nodes if not isinstance(node, usual) or isinstance(node, bool)]
        raise SchemaError(
            "The nodes of a connectome are all text or all integers. "
            f"The first is {nodes[0]!r}, but there are also {offenders(strange)}. Relabel them "
            f"(networkx.relabel_nodes)."
        )
    try:
        return pa.array([int(node) for node in nodes], pa.int64()) if nodes and whole else pa.array(nodes, pa.string())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise SchemaError(f"Some node ids do not fit into int64 ({error}); relabel them as text.") from error


def _kind(u: Any, v: Any, key: Any, data: Mapping[str, Any]) -> int:
    """The code of an edge's kind; integer keys are networkx's own numbering and say nothing."""
    named = data.get("kind", key if key is not None and not isinstance(key, int) else "chemical")
    if named not in KINDS or (isinstance(key, str) and key != named):
        raise SchemaError(f"The edge {u!r} -> {v!r} has the kind or key {key!r}, {named!r}; kinds are {list(KINDS)}.")
    return KINDS.index(named)


def _numbers(rows: list[Mapping[str, Any]], name: str, default: int) -> np.ndarray:
    values = [row.get(name) for row in rows]
    missing = values.count(None)
    if missing == len(values):
        return np.full(len(values), default)
    bad = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float | np.number)]
    if bad:
        raise SchemaError(
            f"The edge attribute {name!r} must be a number on every edge (or on none); found {offenders(bad)}."
        )
    return np.array(values)


def _columns(
    rows: list[Mapping[str, Any]], types: Mapping[str, str], what: str, taken: Iterable[str]
) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for row in rows for name in row)
    if "id" in taken and "id" in names:
        raise SchemaError("A node attribute cannot be named 'id': that is the node itself. Rename it.")
    columns = {}
    for name in dict.fromkeys([*types, *names]):
        if name in taken:
            continue
        if not isinstance(name, str):
            raise SchemaError(f"The {what} attribute {name!r} has a name that is not text; rename it.")
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values, _arrow_type(types.get(name)))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            kinds = sorted({type(value).__name__ for value in values if value is not None})
            raise SchemaError(
                f"The {what} attribute {name!r} holds values of the types {kinds}, which one Arrow column cannot hold: "
                f"{error}. Convert or remove it."
            ) from error
    return columns


def _arrow_type(text: str | None) -> pa.DataType | None:
    """The type of that name; None, to infer it, for nested types, whose names cannot be read back."""
    try:
        return None if text is None else pa.type_for_alias(text)
    except ValueError:
        return None
