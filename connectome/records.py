"""A Connectome's neurons and edges as tables and frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from connectofit.connectome.arrays import combine
from connectofit.connectome.errors import unknown_name
from connectofit.connectome.policies import KINDS

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph


def edge_table(connectome: ColumnarGraph, end_columns: Iterable[str]) -> pa.Table:
    """See `Connectome.edge_table`."""
    own = ("pre", "post", "kind", "count", "sign", *connectome.edge_columns.column_names)
    return pa.table(edge_columns(connectome, [*own, *end_columns]))


def edge_columns(connectome: ColumnarGraph, names: Iterable[str]) -> dict[str, Any]:
    """Columns of the edges by name, those of the neurons at their ends spread over the edges.

    Raises `UnknownNameError` for a name that neither the edges nor the neurons at their ends have.
    """
    neurons, ends = connectome.neurons, {"pre": connectome.pre, "post": connectome.post}
    columns: dict[str, Any] = {}
    for name in names:
        end, _, column = name.partition(".")
        if name in connectome.edge_columns.column_names:
            columns[name] = connectome.edge_columns.column(name)
        elif name in ("count", "sign"):
            columns[name] = pa.array(getattr(connectome, name))
        elif name == "kind":
            columns[name] = pa.array(KINDS).take(pa.array(connectome.kind))
        elif end in ends and (column or "id") in neurons.column_names:
            columns[name] = combine(neurons.column(column or "id")).take(pa.array(ends[end]))
        else:
            raise unknown_name("column of an edge's ends", name, end_names(connectome))
    return columns


def end_names(connectome: ColumnarGraph) -> list[str]:
    """Names of the neurons' columns as seen from an edge: ``pre.<column>`` and ``post.<column>``."""
    return [f"{end}.{name}" for end in ("pre", "post") for name in connectome.neurons.column_names]


def frame(table: pa.Table) -> pd.DataFrame:
    """As pandas frame; whole numbers with missing ones keep an integer type, since a float would change them."""
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.int8(): pd.Int8Dtype()}
    result = table.to_pandas(ignore_metadata=True)
    for name in table.column_names:
        column = table.column(name)
        if column.null_count and column.type in nullable:
            result[name] = column.to_pandas(types_mapper=nullable.get)
    return result
