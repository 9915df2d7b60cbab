"""Connectome to NetworkX and back, without loss; what a Connectome cannot hold is refused with the reason.

A missing value is an attribute that is not there. Column types and the graph's own attributes travel in the
attributes of the NetworkX graph, so that a column without any value, or of a narrow type, comes back as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa

from connectofit.connectome.errors import SchemaError, offenders
from connectofit.connectome.graph import Connectome
from connectofit.connectome.graph_metadata import METADATA, TYPES, graph_attributes, type_from_text
from connectofit.connectome.policies import KINDS
from connectofit.connectome.views.attributes import to_values

_OWN = {"node": {"id"}, "edge": {"pre", "post", "kind", "count", "sign"}}  # names that tables use for other things


def to_networkx(connectome: Connectome) -> nx.MultiDiGraph | nx.DiGraph:
    """A `MultiDiGraph` keyed by kind, or a `DiGraph` (with the graph attribute ``kind``) for a view of one kind.

    Edge attributes: ``count``, ``sign`` and the further columns; node attributes: the columns. Missing ones are absent.
    """
    graph: Any = nx.MultiDiGraph() if connectome.only_kind is None else nx.DiGraph()
    graph.graph.update(graph_attributes(connectome))
    graph.add_nodes_from(connectome.nodes(data=True))
    graph.add_edges_from(connectome.edges(data=True, keys=connectome.only_kind is None))
    return graph


def from_networkx(graph: nx.Graph) -> Connectome:
    """A Connectome from a `DiGraph` or `MultiDiGraph`.

    The kind of an edge is its key or its attribute ``kind`` (in a `DiGraph` also the graph's), else chemical. Its
    ``count`` is 1 and its ``sign`` 0 (unknown) where no edge has one. A `DiGraph` of one kind becomes a view of that
    kind. None is a missing value, and a tuple becomes a list.

    Raises
    ------
    SchemaError
        For an undirected graph; ids that are not all text or all 64-bit integers; keys that are not kinds; electrical
        edges without their equal other direction; attributes whose values Arrow cannot give one type, or would change.
    """
    if not isinstance(graph, nx.Graph):
        raise SchemaError(f"from_networkx takes a networkx graph, and not a {type(graph).__name__}.")
    if not graph.is_directed():
        raise SchemaError(
            "A connectome is directed, and this graph is not: edges would get a direction that nobody measured. "
            "Use graph.to_directed() if each edge stands for both directions."
        )
    attributes = dict(graph.graph)
    types = json.loads(attributes.pop(TYPES, "{}"))
    one_kind = None if graph.is_multigraph() else attributes.pop("kind", None)
    nodes = list(graph.nodes(data=True))
    neurons = pa.table({"id": _ids([node for node, _ in nodes], types.get("neurons", {}).get("id"))})
    for name, column in _columns([data for _, data in nodes], types.get("neurons", {}), "node").items():
        neurons = neurons.append_column(name, column)
    if attributes:
        neurons = neurons.replace_schema_metadata({METADATA: _as_json(attributes)})

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
    return Connectome.from_edges(
        neurons,
        pre=np.array([u for u, *_ in edges], np.int32),
        post=np.array([v for _, v, *_ in edges], np.int32),
        kind=kinds,
        count=_numbers(data, "count", 1, types.get("count")),
        sign=_numbers(data, "sign", 0),
        edge_columns=pa.table(_columns(data, types.get("edges", {}), "edge")),
        only_kind=one_kind,
    )


def _ids(nodes: list[Any], known: str | None) -> pa.Array:
    if not nodes:
        return pa.array([], pa.int64() if known == "int64" else pa.string())
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
        return pa.array([int(node) for node in nodes], pa.int64()) if whole else pa.array(nodes, pa.string())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise SchemaError(f"Some node ids do not fit into int64 ({error}); relabel them as text.") from error


def _kind(u: Any, v: Any, key: Any, data: Mapping[str, Any]) -> int:
    """The code of an edge's kind; integer keys are networkx's own numbering and say nothing."""
    named = data.get("kind", key if key is not None and not isinstance(key, int) else "chemical")
    if named not in KINDS or (isinstance(key, str) and key != named):
        raise SchemaError(f"The edge {u!r} -> {v!r} has the kind or key {key!r}, {named!r}; kinds are {list(KINDS)}.")
    return KINDS.index(named)


def _numbers(rows: list[Mapping[str, Any]], name: str, default: int, known: str | None = None) -> np.ndarray:
    values = [row.get(name) for row in rows]
    if all(value is None for value in values):
        return np.full(len(values), default, np.dtype(known or np.int64))
    bad = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float | np.number)]
    if bad:
        raise SchemaError(
            f"The edge attribute {name!r} must be a number on every edge (or on none); found {offenders(bad)}."
        )
    found = np.array(values)
    large = [value for value in values if isinstance(value, int) and abs(value) > 2**53]
    if large:
        raise SchemaError(
            f"The edge attribute {name!r} holds integers above 2^53, which a float would change: {large[0]}."
        )
    # Counts that were floats stay so even where all are whole, but not the other way round.
    return found.astype(np.float64) if known == "float64" else found


def _columns(rows: list[Mapping[str, Any]], types: Mapping[str, str], what: str) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in dict.fromkeys([*types, *names]):
        if name in _OWN[what]:
            if name in names and name in ("id", "pre", "post"):
                means = "the node itself" if name == "id" else "an end of the edge"
                raise SchemaError(f"An attribute of {what}s cannot be named {name!r}: that is {means}. Rename it.")
            continue
        if not isinstance(name, str):
            raise SchemaError(f"The {what} attribute {name!r} has a name that is not text; rename it.")
        columns[name] = _column([row.get(name) for row in rows], types.get(name), f"The {what} attribute {name!r}")
    return columns


def _column(values: list[Any], known: str | None, what: str) -> pa.Array:
    """The values as one column that gives them back; of the type they once had, if that still fits."""
    refused = "they are of several sorts"
    for kind in (type_from_text(known), None):
        try:
            column = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            refused = str(error)
            continue
        changed = [a for a, b in zip(values, to_values(column), strict=True) if not _same(a, b)]
        if not changed:
            return column
        refused = f"Arrow would change {offenders(changed)}"
    kinds = sorted({type(value).__name__ for value in values if value is not None})
    raise SchemaError(
        f"{what} holds values of the types {kinds}, which one Arrow column cannot hold: {refused}. Convert or remove "
        "it."
    )


def _same(given: Any, back: Any) -> bool:
    """Whether a value comes back as it was, up to tuples and arrays, which become lists, and NumPy's numbers."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, list | tuple):
        return isinstance(back, list | tuple) and len(given) == len(back) and all(map(_same, given, back))
    if isinstance(given, Mapping):
        return (
            isinstance(back, Mapping) and given.keys() == back.keys() and all(_same(given[k], back[k]) for k in given)
        )
    if isinstance(given, float | np.floating) and math.isnan(given):
        return isinstance(back, float) and math.isnan(back)
    return bool(given == back)


def _as_json(attributes: Mapping[Any, Any]) -> bytes:
    """The graph's own attributes as JSON; `SchemaError` for what JSON would change or cannot hold."""
    try:
        text = json.dumps(attributes)
        changed = [name for name, value in json.loads(text).items() if not _same(attributes.get(name), value)]
    except (TypeError, ValueError) as error:
        raise SchemaError(f"The graph's own attributes {attributes!r} cannot be kept as JSON: {error}.") from error
    if changed:
        raise SchemaError(f"The graph's own attributes {offenders(changed)} would be changed by JSON; convert them.")
    return text.encode()
