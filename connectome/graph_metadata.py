"""What travels with a graph beside neurons and edges: its own attributes, and the Arrow types of its columns."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

METADATA = b"networkx"  # of the schema of the neurons: the graph's own attributes as JSON
TYPES = "connectofit_types"  # of the NetworkX graph: the columns' types as JSON
_CODED = "arrow:"


def graph_attributes(connectome: ColumnarGraph) -> dict[str, Any]:
    """The attributes of the graph as NetworkX has them: its own, the columns' types, and the kind of a view."""
    metadata = connectome.neurons.schema.metadata or {}
    types = {
        "neurons": {field.name: type_text(field.type) for field in connectome.neurons.schema},
        "edges": {field.name: type_text(field.type) for field in connectome.edge_columns.schema},
        "count": str(connectome.count.dtype),
    }
    kind = {} if connectome.only_kind is None else {"kind": connectome.only_kind}
    return {**json.loads(metadata.get(METADATA, b"{}")), TYPES: json.dumps(types), **kind}


def type_text(kind: pa.DataType) -> str:
    """An Arrow type as text: its name where that says all, else the serialised type."""
    name = str(kind)
    try:
        if pa.type_for_alias(name) == kind:
            return name
    except ValueError:  # nested, dictionary-encoded or parametrised types have no alias
        pass
    return _CODED + base64.b64encode(pa.schema([pa.field("", kind)]).serialize()).decode()


def type_from_text(text: str | None) -> pa.DataType | None:
    """What `type_text` wrote; None for text that names no type, such as nested ones of earlier versions."""
    if text is None:
        return None
    try:
        if text.startswith(_CODED):
            return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text[len(_CODED) :]))).field(0).type
        return pa.type_for_alias(text)
    except (ValueError, OSError):
        return None
