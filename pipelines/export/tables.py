"""The graph with the model's values as attributes: NetworkX, GraphML, Parquet and CSV.

Values stand in columns ``model.*``: the population and parameters of neurons, the projection, the logarithm of the gain
and the effective weight of edges (`connectofit.pipelines.bundle.Model.tables`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from connectofit.connectome.csv_cells import csv_cells
from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.pipelines.bundle import Model

# What XML 1.0 cannot hold, not even escaped.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_networkx(model: Model) -> nx.MultiDiGraph | nx.DiGraph:
    """The connectome as a NetworkX graph with the model's values as attributes; missing values are left out."""
    graph = model.graph().to_networkx()
    for _, data in graph.nodes(data=True):
        _drop_nan(data)
    for *_, data in graph.edges(data=True):
        _drop_nan(data)
    return graph


def _drop_nan(data: dict[str, Any]) -> None:
    for name in [name for name, value in data.items() if isinstance(value, float) and math.isnan(value)]:
        del data[name]


def _refuse_values(graph: nx.MultiDiGraph | nx.DiGraph, allowed: Callable[[Any], bool], rule: str) -> None:
    """Raise `SettingError` for attributes that a format cannot hold, naming the first of them."""
    nodes = [(f"neuron {node!r}", data) for node, data in graph.nodes(data=True)]
    edges = [(f"edge {pre!r} -> {post!r}", data) for pre, post, data in graph.edges(data=True)]
    wrong = [f"{name!r} of {where}" for where, data in nodes + edges for name, v in data.items() if not allowed(v)]
    if wrong:
        raise SettingError(f"{rule}; found {offenders(wrong)}. Leave these columns out, or export to 'parquet'.")


def write_graphml(model: Model, path: Path) -> None:
    """GraphML with typed attributes. Raises `SettingError` for text that XML cannot hold, and for lists, times and
    bytes."""
    graph = to_networkx(model)
    wrong = [node for node in graph if isinstance(node, str) and NOT_XML.search(node)]
    attributes = [data for _, data in graph.nodes(data=True)] + [data for *_, data in graph.edges(data=True)]
    wrong += [v for data in attributes for v in data.values() if isinstance(v, str) and NOT_XML.search(v)]
    wrong += sorted({name for data in attributes for name in data if NOT_XML.search(name)})
    if wrong:
        raise SettingError(
            f"GraphML is XML, which cannot hold control characters; found in {offenders(wrong)}. Remove them, or "
            "export to 'parquet'."
        )
    rule = "Attributes in GraphML are text, numbers and truth values"
    _refuse_values(graph, lambda v: isinstance(v, str | bool | int | float), rule)
    nx.write_graphml(graph, path, named_key_ids=True)


def write_node_link(model: Model, path: Path) -> None:
    """NetworkX's node-link JSON, read by ``networkx.node_link_graph(data, edges="edges")``.

    Raises `SettingError` for values that JSON does not have: infinities, times and bytes.
    """
    graph = to_networkx(model)
    _refuse_values(graph, _is_json, "JSON holds text, finite numbers, truth values and lists of them")
    data = nx.node_link_data(graph, edges="edges")
    path.write_text(json.dumps(data, allow_nan=False, ensure_ascii=False), encoding="utf-8")


def _is_json(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def write_parquet(model: Model, path: Path) -> None:
    """``neurons.parquet`` and ``edges.parquet``."""
    path.mkdir()
    neurons, edges = model.tables()
    pq.write_table(neurons, path / "neurons.parquet")
    pq.write_table(edges, path / "edges.parquet")


def write_csv(model: Model, path: Path) -> None:
    """``neurons.csv`` and ``edges.csv``: nothing is written to a spreadsheet that it would run.

    Text (and names of columns) that a spreadsheet would take for a formula gets an apostrophe in front, which
    `plain_cells` takes off again (`connectofit.connectome.csv_cells`). Missing values are empty, empty texts are
    ``""``. Integers have all their digits. Raises `SchemaError` for columns of lists, structures or bytes.
    """
    path.mkdir()
    for name, table in zip(("neurons", "edges"), model.tables(), strict=True):
        nested = [f.name for f in table.schema if pa.types.is_nested(f.type) or pa.types.is_binary(f.type)]
        if nested:
            raise SchemaError(
                f"CSV has no cells for lists, structures or bytes; the {name} have such columns: {offenders(nested)}. "
                "Leave them out, or export to 'parquet'."
            )
        pc_csv.write_csv(csv_cells(table), path / f"{name}.csv")
