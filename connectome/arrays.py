"""Small operations on Arrow columns and NumPy arrays that the layer shares."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def frozen(values: np.ndarray) -> np.ndarray:
    """The array, made read-only: a Connectome never changes under its user."""
    values.setflags(write=False)
    return values


def combine(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one contiguous array, dictionaries decoded and text as plain strings."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def take_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows of a table in the order given; a table without columns stays one."""
    return table.take(pa.array(rows)).combine_chunks() if table.num_columns else table


def rows_of(table: pa.Table, condition: pc.Expression) -> np.ndarray:
    """Row numbers (int64, ascending) for which the expression is true."""
    name = "__row__"
    numbered = table.append_column(name, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    return combine(numbered.filter(condition).column(name)).to_numpy()


def is_in(values: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Which of the integer `values` occur in `pool`: `np.isin` by sorting, faster for many keys."""
    if not len(pool):
        return np.zeros(len(values), bool)
    ranked = np.sort(pool)
    place = np.minimum(np.searchsorted(ranked, values), len(ranked) - 1)
    return ranked[place] == values
