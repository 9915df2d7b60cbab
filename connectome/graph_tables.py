"""NetworkX graphs as tables of edges and neurons, so that the reader's rules, policies and report apply to them too.

`Connectome.from_networkx` takes a graph as it is; here a graph is one more source of tables: attributes are columns,
which `columns` may name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa

from connectofit.connectome.columns import Table
from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.graph_metadata import TYPES


@dataclass(frozen=True, eq=False)
class GapJunctionGraph:
    """An undirected graph whose edges are gap junctions: each becomes an electrical edge in both directions."""

    graph: nx.Graph

    def __post_init__(self) -> None:
        if not isinstance(self.graph, nx.Graph) or self.graph.is_directed():
            raise SettingError("GapJunctionGraph takes an undirected networkx graph; give a directed one as it is.")


def graph_tables(source: nx.Graph | GapJunctionGraph, kinds: Mapping[str, str]) -> tuple[Table, Table]:
    """The edges and the neurons of a graph: ``pre, post`` and the edge attributes, ``id`` and the node attributes.

    None, like an attribute that is absent, is a missing value. The keys of a multigraph, or the attribute ``kind`` of a
    digraph, are the column ``kind`` if `Connectome.to_networkx` wrote the graph; otherwise keys are the column ``key``
    if they are text; numbers are networkx's own numbering and say nothing. `kinds` is that of `Policies`.

    Raises `SchemaError` for an undirected graph that is not declared, for nodes that are not all text or all integers,
    and for attributes that one column cannot hold.
    """
    electrical = isinstance(source, GapJunctionGraph)
    graph = source.graph if isinstance(source, GapJunctionGraph) else source
    if not graph.is_directed() and not electrical:
        raise SchemaError(
            "The edges are an undirected graph: a chemical synapse has a direction, and these would get one that "
            "nobody measured. If they are gap junctions, say GapJunctionGraph(graph); if each edge stands for two "
            "chemical ones, give graph.to_directed()."
        )
    where = f"networkx {type(graph).__name__}"
    ids = _ids(list(graph))
    neurons = {"id": ids, **_columns((data for _, data in graph.nodes(data=True)), "node", {"id"})}
    every: Any = graph.edges
    edges = list(every(keys=True, data=True)) if graph.is_multigraph() else list(every(data=True))
    if electrical:
        edges += [(edge[1], edge[0], *edge[2:]) for edge in edges if edge[0] != edge[1]]
    index = {node: position for position, node in enumerate(graph)}
    columns: dict[str, pa.Array] = {
        "pre": ids.take(pa.array([index[edge[0]] for edge in edges], pa.int64())),
        "post": ids.take(pa.array([index[edge[1]] for edge in edges], pa.int64())),
    }
    attributes = _columns((edge[-1] for edge in edges), "edge", {"pre", "post"})
    if electrical:
        if "kind" in attributes:
            raise SchemaError("The edges of a GapJunctionGraph are electrical; remove their attribute 'kind'.")
        labels = [label for label, kind in kinds.items() if kind == "electrical"]
        if not labels:
            raise SettingError(f"The graph is electrical, but Policies.kinds names no such kind: {dict(kinds)}.")
        columns["kind"] = pa.repeat(pa.scalar(labels[0]), len(edges))
    elif graph.is_multigraph():
        columns |= _keys([edge[2] for edge in edges], TYPES in graph.graph, attributes)
    elif TYPES in graph.graph and isinstance(graph.graph.get("kind"), str):
        columns["kind"] = pa.repeat(pa.scalar(graph.graph["kind"]), len(edges))
    if not edges:
        raise SchemaError(f"The edges table ({where}) is empty: the graph has no edges.")
    return (
        Table("edges", where, pa.table(columns | attributes), True, {}),
        Table("neurons", f"nodes of the {where}", pa.table(neurons), True, {}),
    )


def _ids(nodes: list[Any]) -> pa.Array:
    whole = all(isinstance(node, int | np.integer) and not isinstance(node, bool) for node in nodes)
    if not (whole or all(isinstance(node, str) for node in nodes)):
        usual = str if isinstance(nodes[0], str) else int
        strange = [node for node in nodes if not isinstance(node, usual) or isinstance(node, bool)]
        raise SchemaError(
            f"The nodes of the graph must be all text or all integers; the first is {nodes[0]!r}, but there are also "
            f"{offenders(strange)}. Relabel them (networkx.relabel_nodes)."
        )
    try:
        return pa.array([int(node) for node in nodes], pa.int64()) if nodes and whole else pa.array(nodes, pa.string())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise SchemaError(f"Some nodes do not fit into int64 ({error}); relabel them as text.") from error


def _keys(keys: list[Any], are_kinds: bool, attributes: dict[str, pa.Array]) -> dict[str, pa.Array]:
    name = "kind" if are_kinds else "key"
    if name in attributes or all(isinstance(key, int) for key in keys):
        return {}
    strange = [key for key in keys if not isinstance(key, str)]
    if strange:
        raise SchemaError(f"The keys of a multigraph must be all text or all numbers; there are {offenders(strange)}.")
    return {name: pa.array(keys, pa.string())}


def _columns(rows: Iterable[Mapping[str, Any]], what: str, taken: set[str]) -> dict[str, pa.Array]:
    data = list(rows)
    columns = {}
    for name in dict.fromkeys(name for row in data for name in row):
        if not isinstance(name, str) or name in taken:
            why = "a name that is not text" if not isinstance(name, str) else "the name of what joins the tables"
            raise SchemaError(f"The {what} attribute {name!r} has {why}; rename it.")
        values = [row.get(name) for row in data]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            kinds = sorted({type(value).__name__ for value in values if value is not None})
            raise SchemaError(
                f"The {what} attribute {name!r} holds values of the types {kinds}, which one column cannot hold: "
                f"{error}. Convert or remove it."
            ) from error
    return columns
