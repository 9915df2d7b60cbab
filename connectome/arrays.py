"""Small operations on Arrow columns and NumPy arrays that the layer shares."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int


def frozen(values: np.ndarray) -> np.ndarray:
    """The array, made read-only: a Connectome never changes under its user."""
    values.setflags(write=False)
    return values


def plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A column with dictionaries decoded and text as plain strings."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column


def combine(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one contiguous array, dictionaries decoded and text as plain strings."""
    column = plain(column)
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


def narrow(values: np.ndarray) -> np.ndarray:
    """Integers as int32 where all fit, else unchanged; floats unchanged."""
    if values.dtype.kind not in "iu" or values.dtype == np.int32 or not len(values):
        return values
    limits = np.iinfo(np.int32)
    return values.astype(np.int32) if limits.min <= values.min() and values.max() <= limits.max else values


def first_by_row(marked: Bool[np.ndarray, " e"], rows: Int[np.ndarray, " e"], number: int = 5) -> Int[np.ndarray, " k"]:
    """Positions of the `number` smallest of the `rows` that are `marked`, without sorting them all."""
    reach, last = 1 << 10, int(rows.max(initial=0))
    while True:
        near = np.flatnonzero(marked & (rows < reach))
        if len(near) >= number or reach > last:
            return near[np.argsort(rows[near], kind="stable")[:number]]
        reach <<= 6


def sort_edges(
    pre: Int[np.ndarray, " e"], post: Int[np.ndarray, " e"], kind: Int[np.ndarray, " e"], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Edges among `n` neurons sorted by (pre, post, kind), equal ones in the order given.

    Returns pre and post (int32), kind (int8), and the positions that they had; None if they were sorted already.
    """
    if edges_in_order(pre, post, kind, strictly=False):
        return pre.astype(np.int32, copy=False), post.astype(np.int32, copy=False), kind, None
    end, place = max(n - 1, 1).bit_length(), max(len(pre) - 1, 1).bit_length()
    kinds = int(kind.max(initial=0)).bit_length()
    if 2 * end + kinds + place > 63:
        order = np.lexsort((kind, post, pre))
        return pre[order].astype(np.int32), post[order].astype(np.int32), kind[order], order
    # Sorting one integer per edge that ends in its position is eight times as fast as np.argsort on a key.
    packed = pre.astype(np.int64)
    for values, bits in ((post, end), (kind, kinds), (np.arange(len(pre)), place)):
        if bits:
            packed <<= bits
            packed |= values
    packed.sort()
    order = (packed & ((1 << place) - 1)).astype(np.int32 if place < 32 else np.int64)
    packed >>= place
    if kinds:
        kind = (packed & ((1 << kinds) - 1)).astype(np.int8)
        packed >>= kinds
    sorted_post = (packed & ((1 << end) - 1)).astype(np.int32)
    packed >>= end
    return packed.astype(np.int32), sorted_post, kind, order


def edges_in_order(pre: np.ndarray, post: np.ndarray, kind: np.ndarray, strictly: bool) -> bool:
    """Whether edges are sorted by (pre, post, kind); `strictly`: and no two are the same."""
    if (pre[1:] < pre[:-1]).any():
        return False
    same = pre[1:] == pre[:-1]
    if (same & (post[1:] < post[:-1])).any():
        return False
    same &= post[1:] == post[:-1]
    later = kind[1:] > kind[:-1] if strictly else kind[1:] >= kind[:-1]
    return not (same & ~later).any()
