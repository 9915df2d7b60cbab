"""Adjacency matrices as tables of edges: files with ids in the margins, npz files and arrays beside a neuron table.

Entry (i, j) is the count of the edge from the neuron of row i to that of column j, unless the matrix is declared to be
the other way round. Entries of 0 are no edges. In findings, "row" numbers the entries that are not 0, row by row.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from connectofit.connectome.arrays import combine
from connectofit.connectome.columns import Table, numbers
from connectofit.connectome.declared_sizes import check_npz
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import Finding
from connectofit.connectome.sources import format_of
from connectofit.connectome.tables import load_table


@dataclass(frozen=True, eq=False)
class AdjacencyMatrix:
    """A matrix of counts as the source of edges.

    Attributes
    ----------
    values
        Path of a table whose header and first column hold ids (CSV, TSV, Parquet, Feather; any order, and not
        necessarily the same ids on both sides); a pandas frame with ids as index and columns; or, without ids of its
        own, a path of an npz file (`scipy.sparse.save_npz`, or one dense array), a SciPy sparse matrix or an array.
    rows
        ``"pre"``: rows are presynaptic and columns postsynaptic; ``"post"``: the other way round.
    kind
        Of all its edges: ``"chemical"`` or ``"electrical"``.
    ids
        Ids in the order of rows and columns of a matrix without ids; by default those of the neuron table.
    array
        The name of the array in an npz file that holds several.
    blank
        An empty cell of a CSV is an error, or ``"zero"``.
    """

    values: Any
    rows: Literal["pre", "post"] = "pre"
    kind: Literal["chemical", "electrical"] = "chemical"
    ids: Sequence[Any] | None = None
    array: str | None = None
    blank: Literal["error", "zero"] = "error"

    def __post_init__(self) -> None:
        options = {"rows": ("pre", "post"), "kind": ("chemical", "electrical"), "blank": ("error", "zero")}
        for name, known in options.items():
            if getattr(self, name) not in known:
                raise SettingError(f"AdjacencyMatrix.{name} is {getattr(self, name)!r}; it must be one of {known}.")


@dataclass(frozen=True, eq=False)
class _Entries:
    """Entries other than 0: positions in `row_ids` and `column_ids`, and values [entries]."""

    name: str
    row_ids: pa.Array
    column_ids: pa.Array
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray


def matrix_tables(
    matrix: AdjacencyMatrix, neurons: Table | None, kinds: Mapping[str, str], findings: list[Finding]
) -> tuple[Table, Table | None]:
    """The edge table of a matrix, and, if the matrix names its neurons itself, a neuron table of their ids.

    `neurons`, with its id column mapped, gives the ids of a matrix that has none; `kinds` is that of `Policies`.

    Raises `SchemaError` for a file that is no matrix, for ids that are missing, repeated or too few, and for entries
    that are not finite numbers.
    """
    with_ids = matrix.ids is None and _has_ids(matrix.values)
    if with_ids:
        entries = _from_frame(matrix) if isinstance(matrix.values, pd.DataFrame) else _from_table(matrix)
        typed = isinstance(matrix.values, pd.DataFrame) or entries.row_ids.type == pa.int64()
    else:
        entries, typed = _without_ids(matrix, neurons), True
        if neurons is not None and matrix.ids is None:
            typed = neurons.typed
    if not len(entries.value):
        raise SchemaError(f"The {entries.name} has no entry other than 0: there is no edge. Check the file.")
    ends = [entries.row_ids.take(pa.array(entries.row)), entries.column_ids.take(pa.array(entries.column))]
    pre, post = ends if matrix.rows == "pre" else ends[::-1]
    columns = {"pre": pre, "post": post, "count": pa.array(entries.value)}
    labels = [label for label, kind in kinds.items() if kind == matrix.kind]
    if matrix.kind == "electrical":
        if not labels:
            raise SettingError(f"The matrix is electrical, but Policies.kinds names no such kind: {dict(kinds)}.")
        columns["kind"] = pa.repeat(pa.scalar(labels[0]), len(pre))
    one, other = ("rows", "columns") if matrix.rows == "pre" else ("columns", "rows")
    text = (
        f"{len(entries.row_ids)} x {len(entries.column_ids)} entries, {len(pre)} of them not 0: {one} are presynaptic "
        f"and {other} postsynaptic, as AdjacencyMatrix.rows says, declared or by default"
    )
    findings.append(Finding("info", "adjacency_matrix", "edges", "", len(pre), f"rows={matrix.rows}", message=text))
    edges = Table("edges", entries.name, pa.table(columns), typed, {})
    if not with_ids and matrix.ids is None:
        return edges, None
    ids = pc.unique(pa.concat_arrays([entries.row_ids, entries.column_ids]))
    return edges, Table("neurons", f"ids of the {entries.name}", pa.table({"id": ids}), typed, {})


def _has_ids(values: Any) -> bool:
    return isinstance(values, pd.DataFrame) or (
        isinstance(values, str | os.PathLike) and format_of(Path(values)) not in ("npz", None)
    )


def _from_table(matrix: AdjacencyMatrix) -> _Entries:
    """A table whose first column and whose header are ids."""
    table = load_table(matrix.values, "edges")
    names = table.arrow.column_names
    name = f"adjacency matrix {table.source}"
    if len(names) < 2:
        raise SchemaError(f"The {name} has one column; a matrix has ids in its first column and counts in the others.")
    row_ids = combine(table.arrow.column(names[0]))
    column_ids: pa.Array = pa.array(names[1:], pa.string())
    if pa.types.is_integer(row_ids.type):
        try:
            row_ids, column_ids = row_ids.cast(pa.int64()), column_ids.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise SchemaError(f"The {name} has integer ids in its rows, but not in its columns: {error}.") from error
    elif row_ids.type != pa.string():
        raise SchemaError(f"The first column of the {name} holds {row_ids.type}; it must hold ids, text or integers.")
    _check_ids(row_ids, name, "first column")
    columns = []
    for title in names[1:]:
        column = combine(table.arrow.column(title))
        if matrix.blank == "zero":
            column = pc.fill_null(column, "0" if column.type == pa.string() else pa.scalar(0, column.type))
        columns.append(_cells(column, title, table))
    rows = [np.flatnonzero(values) for values in columns]
    value = np.concatenate([values[row] for values, row in zip(columns, rows, strict=True)])
    column = np.repeat(np.arange(len(columns)), [len(row) for row in rows])
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    if not table.typed and (value == np.floor(value)).all():
        value = value.astype(np.int64)  # CSV has no types: 9.0 is how some programs write 9
    return _Entries(name, row_ids, column_ids, row[order], column[order], value[order])


def _cells(column: pa.Array, title: str, table: Table) -> np.ndarray:
    """One column as finite float64; `numbers` names the rows that hold anything else."""
    try:
        values = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        values = None
    if values is not None and not values.null_count:
        cells = values.to_numpy(zero_copy_only=False)
        if np.isfinite(cells).all():
            return cells
    return numbers(Table("edges", table.source, table.arrow, table.typed, {"count": title}), "count").astype(float)


def _from_frame(matrix: AdjacencyMatrix) -> _Entries:
    """A pandas frame whose index and columns are ids."""
    frame, name = matrix.values, "adjacency matrix (pandas frame)"
    row_ids = _id_array(frame.index, name, "index")
    column_ids = _id_array(frame.columns, name, "columns")
    if row_ids.type != column_ids.type:
        raise SchemaError(f"The {name} has {row_ids.type} ids in its index and {column_ids.type} ids in its columns.")
    return _entries(name, frame.to_numpy(), row_ids, column_ids)


def _without_ids(matrix: AdjacencyMatrix, neurons: Table | None) -> _Entries:
    values, name = matrix.values, f"adjacency matrix ({type(matrix.values).__name__})"
    if isinstance(values, str | os.PathLike):
        values, name = _load_npz(Path(values), matrix.array), f"adjacency matrix {Path(values).name}"
    if matrix.ids is not None:
        ids, source = _id_array(matrix.ids, name, "ids"), "AdjacencyMatrix.ids"
    elif neurons is not None:
        ids, source = neurons.column("id"), neurons.where
    else:
        raise SchemaError(
            f"The {name} has no ids: give the neuron table whose rows are in the order of the matrix, or "
            "AdjacencyMatrix(..., ids=...)."
        )
    if getattr(values, "ndim", 0) != 2 or tuple(values.shape) != (len(ids), len(ids)):
        raise SchemaError(
            f"The {name} has the shape {getattr(values, 'shape', None)}, but {source} names {len(ids)} neurons: it "
            f"must be {len(ids)} x {len(ids)}, its rows and columns in the order of {source}."
        )
    return _entries(name, values, ids, ids)


def _entries(name: str, values: Any, row_ids: pa.Array, column_ids: pa.Array) -> _Entries:
    """The entries other than 0 of a dense or sparse matrix, row by row."""
    if sp.issparse(values):
        # Stored twice means the sum, in SciPy; and a stored 0 is no edge.
        compressed = values.tocsr(copy=True)
        compressed.sum_duplicates()
        compressed.eliminate_zeros()
        entries = compressed.tocoo()
        row, column, value = entries.row, entries.col, entries.data
    else:
        values = np.asarray(values)
        row, column = np.nonzero(values)
        value = values[row, column]
    if value.dtype == bool or not (np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)):
        if value.dtype != bool:
            raise SchemaError(f"The {name} holds {value.dtype}; its entries must be numbers.")
        value = value.astype(np.int64)
    bad = np.flatnonzero(~np.isfinite(value))
    if len(bad):
        shown = [f"{value[k]} at ({row_ids[int(row[k])]}, {column_ids[int(column[k])]})" for k in bad[:5]]
        raise SchemaError(
            f"The {name} has entries that are not finite: {', '.join(shown)} ({len(bad)} in all). Correct them; where "
            "there is no edge, the entry is 0."
        )
    return _Entries(name, row_ids, column_ids, row, column, value)


def _id_array(ids: Any, name: str, where: str) -> pa.Array:
    values = list(ids)
    whole = all(isinstance(item, int | np.integer) and not isinstance(item, bool) for item in values)
    if not (whole or all(isinstance(item, str) for item in values)):
        strange = [item for item in values if not isinstance(item, str)]
        raise SchemaError(
            f"The {where} of the {name} must be ids, all text or all integers; there are {offenders(strange)}."
        )
    result = pa.array([int(item) for item in values], pa.int64()) if whole else pa.array(values, pa.string())
    _check_ids(result, name, where)
    return result


def _check_ids(ids: pa.Array, name: str, where: str) -> None:
    if ids.null_count:
        raise SchemaError(f"The {where} of the {name} has {ids.null_count} empty ids; every row needs one.")
    if pc.count_distinct(ids).as_py() != len(ids):
        counts = ids.value_counts()
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
        raise SchemaError(f"The {where} of the {name} must name every neuron once; repeated: {offenders(repeated)}.")


def _load_npz(path: Path, array: str | None) -> Any:
    """A sparse matrix as SciPy saves it, or a dense array; never a pickle."""
    if not path.exists():
        load_table(path, "edges")  # says what is missing, and what is there
    try:
        check_npz(path)
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            names = list(found.files)
            if {"format", "shape", "data"} <= set(names):
                return _checked_sparse(sp.load_npz(path))
            if array is None and len(names) != 1:
                raise SchemaError(
                    f"The file {path.name} holds {len(names)} arrays, {offenders(names, 20)}: say which is the matrix, "
                    "AdjacencyMatrix(..., array='...')."
                )
            if array is not None and array not in names:
                raise unknown_name("array", array, names, path.name)
            return found[array or names[0]]
    except SchemaError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise SchemaError(
            f"The adjacency matrix {path.name} cannot be read: {error}. It must be a file of scipy.sparse.save_npz, or "
            "of numpy.savez with one array of numbers; it may be truncated."
        ) from error


def _checked_sparse(matrix: Any) -> Any:
    """The matrix, after a check that its indices lie within it: SciPy would read beyond its arrays."""
    if matrix.format in ("csr", "csc", "bsr"):
        matrix.check_format(full_check=True)
    elif matrix.format == "coo":
        for index, size in zip(matrix.coords, matrix.shape, strict=True):
            if len(index) and (index.min() < 0 or index.max() >= size):
                raise ValueError(f"an index lies outside of the shape {matrix.shape}")
    return matrix
