"""Columns as codes into their distinct values: what has to be checked or said of a value is done once for each value.

A table of 15 million edges names some 100,000 neurons; ids, kinds and signs are looked at there, and not row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from connectofit.connectome.arrays import combine
from connectofit.connectome.text_columns import spelt_integers


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of text or numbers: `codes` [rows] are positions in `values`, -1 where the value is missing.

    `values` are the distinct values in the order in which they first occur, as one Arrow array without missing ones.
    """

    codes: Int[np.ndarray, " rows"]
    values: pa.Array

    def each(self, of_value: np.ndarray, missing: int) -> np.ndarray:
        """For every row what `of_value` [values] says about its value, `missing` where there is none."""
        return np.append(of_value, np.asarray(missing, of_value.dtype))[self.codes]

    def rows_of(self, of_value: Bool[np.ndarray, " values"], missing: bool = False) -> Int[np.ndarray, " k"]:
        """0-based rows, ascending, whose value is marked in `of_value` (or missing, if `missing`)."""
        return np.flatnonzero(self.each(of_value, missing)) if of_value.any() or missing else np.zeros(0, np.int64)

    def at(self, rows: np.ndarray) -> list[object]:
        """The values in these rows as Python objects, None where missing."""
        return [None if code < 0 else self.values[code].as_py() for code in self.codes[rows].tolist()]


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values: that of the dictionary if it has one, and string for all kinds of text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind


def encode(column: pa.ChunkedArray | pa.Array) -> Coded:
    """Encode a column; its chunks and its own dictionaries, if it has any, are made one."""
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    kind, given = value_type(column.type), pa.types.is_dictionary(column.type)
    if pa.types.is_null(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if given and column.num_chunks > 1 and column.type.index_type != pa.int32():
        column, given = column.cast(kind), False  # together they may have more values than a narrow index can number
    if not len(column):
        return Coded(np.zeros(0, np.int32), pa.array([], kind))
    if given:
        column = column.unify_dictionaries()
    else:
        # Integers are several times as fast to encode as text, and 18 digits of text are usually an integer.
        whole = spelt_integers(column) if pa.types.is_string(column.type) else None
        column = (column if whole is None else whole).dictionary_encode()
    values = combine(column.chunk(0).dictionary.cast(kind))
    codes = _codes([chunk.indices for chunk in column.chunks])
    if given:
        # Dictionaries that others made may hold a value twice, a missing one, or values that no row has.
        again = values.dictionary_encode()
        codes = np.append(_codes([again.indices]), np.int32(-1))[codes]
        used = np.bincount(codes + 1, minlength=len(again.dictionary) + 1)[1:] > 0
        codes = np.append(np.cumsum(used, dtype=np.int32) - np.int32(1), np.int32(-1))[codes]
        values = again.dictionary.filter(pa.array(used))
    return Coded(codes, values)


def _codes(indices: list[pa.Array]) -> Int[np.ndarray, " rows"]:
    parts = [pc.fill_null(part.cast(pa.int32()), -1) if part.null_count else part for part in indices]
    codes = [part.to_numpy() for part in parts]
    return (codes[0] if len(codes) == 1 else np.concatenate(codes)).astype(np.int32, copy=False)
