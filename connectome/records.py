"""A Connectome's neurons and edges as tables, frames and NetworkX-like records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    ids, ends = combine(connectome.neurons.column("id")), {"pre": connectome.pre, "post": connectome.post}
    columns: dict[str, Any] = {
        "pre": ids.take(pa.array(connectome.pre)),
        "post": ids.take(pa.array(connectome.post)),
        "kind": pa.array(KINDS).take(pa.array(connectome.kind)),
        "count": pa.array(connectome.count),
        "sign": pa.array(connectome.sign),
    }
    columns |= {name: connectome.edge_columns.column(name) for name in connectome.edge_columns.column_names}
    for name in end_columns:
        end, _, column = name.partition(".")
        if end not in ends or column not in connectome.neurons.column_names:
            raise unknown_name("column of an edge's ends", name, end_names(connectome))
        columns[name] = combine(connectome.neurons.column(column)).take(pa.array(ends[end]))
    return pa.table(columns)


def end_names(connectome: ColumnarGraph) -> list[str]:
    """Names of the neurons' columns as seen from an edge: ``pre.<column>`` and ``post.<column>``."""
    return [f"{end}.{name}" for end in ("pre", "post") for name in connectome.neurons.column_names]


def node_records(connectome: ColumnarGraph, data: bool | str) -> list[Any]:
    """See `Connectome.nodes`."""
    if data is False:
        return list(connectome.ids)
    if isinstance(data, str):
        if data not in connectome.neurons.column_names:
            raise unknown_name("column", data, connectome.neurons.column_names, "the neurons")
        return list(zip(connectome.ids, connectome.neurons.column(data).to_pylist(), strict=True))
    return list(zip(connectome.ids, _attributes(connectome.neurons, {"id"}), strict=True))


def edge_records(connectome: ColumnarGraph, data: bool | str, keys: bool) -> Iterator[tuple[Any, ...]]:
    """See `Connectome.edges`."""
    table = edge_table(connectome, ())
    columns: list[list[Any]] = [table.column("pre").to_pylist(), table.column("post").to_pylist()]
    if keys:
        columns.append(table.column("kind").to_pylist())
    if data is True:
        columns.append(_attributes(table, {"pre", "post", "kind"}))
    elif data is not False:
        if data not in table.column_names:
            raise unknown_name("column", data, table.column_names, "the edges")
        columns.append(table.column(data).to_pylist())
    return zip(*columns, strict=True)


def frame(table: pa.Table) -> pd.DataFrame:
    """As pandas frame; whole numbers with missing ones keep an integer type, since a float would change them."""
    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.int8(): pd.Int8Dtype()}
    result = table.to_pandas(ignore_metadata=True)
    for name in table.column_names:
        column = table.column(name)
        if column.null_count and column.type in nullable:
            result[name] = column.to_pandas(types_mapper=nullable.get)
    return result


def _attributes(table: pa.Table, left_out: set[str]) -> list[dict[str, Any]]:
    """One dict per row, missing values left out."""
    names = [name for name in table.column_names if name not in left_out]
    if not names:
        return [{} for _ in range(table.num_rows)]
    rows = table.select(names).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
