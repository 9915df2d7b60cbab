"""Write a model in formats that other programs read: the model bundle, GraphML, NetworkX node-link JSON, Parquet."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow.parquet as pq

from connectofit.connectome.errors import FolderError, SettingError, offenders, unknown_name
from connectofit.pipelines import folders
from connectofit.pipelines.bundle import Model, write_bundle

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export(model: Model, path: str | Path, format: str = "bundle") -> Path:  # noqa: A002 (the documented name)
    """Write a model; the file or folder appears whole or not at all. Returns its path.

    Parameters
    ----------
    model : what `load_model` returns, or a `Model` made of a network with its connectome and spec
    path : a file (graphml, networkx) or folder (bundle, parquet) that does not exist yet
    format : ``"bundle"`` (`load_model` reads it back), ``"graphml"``, ``"networkx"`` (node-link JSON, read by
        ``networkx.node_link_graph(data, edges="edges")``) or ``"parquet"`` (``neurons.parquet``, ``edges.parquet``)

    Raises
    ------
    UnknownNameError, FolderError (the path is taken), SettingError (a name that the format cannot hold).
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    target = Path(path)
    if format == "bundle":
        return write_bundle(model, target)
    if target.exists():
        raise FolderError(f"{str(target)!r} exists already. Name another path, or remove it first.")
    folders.make_folder(target.parent)
    aside = target.with_name(f".tmp-{target.name}")
    try:
        _WRITERS[format](model, aside)
        os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True) if aside.is_dir() else aside.unlink(missing_ok=True)
    return target


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


def _write_graphml(model: Model, path: Path) -> None:
    graph = to_networkx(model)
    wrong = [node for node in graph if isinstance(node, str) and _NOT_XML.search(node)]
    wrong += [
        v for _, data in graph.nodes(data=True) for v in data.values() if isinstance(v, str) and _NOT_XML.search(v)
    ]
    if wrong:
        raise SettingError(f"GraphML is XML, which cannot hold control characters; found in {offenders(wrong)}.")
    nx.write_graphml(graph, path, named_key_ids=True)


def _write_node_link(model: Model, path: Path) -> None:
    data = nx.node_link_data(to_networkx(model), edges="edges")
    path.write_text(json.dumps(data, allow_nan=False, ensure_ascii=False), encoding="utf-8")


def _write_parquet(model: Model, path: Path) -> None:
    path.mkdir()
    neurons, edges = model.tables()
    pq.write_table(neurons, path / "neurons.parquet")
    pq.write_table(edges, path / "edges.parquet")


_WRITERS: dict[str, Callable[[Model, Path], None]] = {
    "graphml": _write_graphml,
    "networkx": _write_node_link,
    "parquet": _write_parquet,
}
FORMATS = ("bundle", *_WRITERS)
