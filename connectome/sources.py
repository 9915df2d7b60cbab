"""Where tables come from: a file, several files that continue each other, a folder of them, tables to be joined.

A path says by its ending how it is read; whatever a path cannot say (a CSV without header, neuron tables side by side)
is said by one of the small classes here. Nothing is guessed from what the files hold. A table made of several files is
numbered through: row 1 of the second file follows the last row of the first, and the row ranges stand in the report.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet

from connectofit.connectome.arrays import combine
from connectofit.connectome.columns import Table, choose_id_type, exact_ids
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import Finding, counted, examples_of, rows_text
from connectofit.connectome.tables import load_table

FilePart: TypeAlias = tuple[str, int, int]
"""A file's name, and the numbers of its first and last row in the table that it is a part of."""

_FORMATS = {
    "CSV": (".csv", ".tsv", ".txt"),
    "Parquet": (".parquet", ".pq"),
    "Feather": (".feather", ".arrow", ".ipc"),
    "npz": (".npz", ".npy"),
}
_COMPRESSED = (".gz", ".zst", ".bz2")
_NAMED_FILES = 12  # the row ranges of more files make a message unreadable; the report has them all


@dataclass(frozen=True)
class CsvFile:
    """A CSV, TSV or text file that its name alone does not describe.

    Attributes
    ----------
    path
        The file; ``.gz``, ``.zst`` and ``.bz2`` are decompressed.
    names
        The names of its columns, if the file has no header: its first line is then data.
    delimiter
        What separates the fields; by default a tab in ``.tsv``, else a comma.
    """

    path: str | os.PathLike[str]
    names: Sequence[str] | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise SettingError(f"CsvFile.names must be a list of column names; it is the text {self.names!r}.")
        if self.names is not None and len(set(self.names)) != len(self.names):
            raise SettingError(f"CsvFile.names must be unique; they are {list(self.names)}.")
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise SettingError(f"CsvFile.delimiter must be one character; it is {self.delimiter!r}.")


@dataclass(frozen=True, eq=False)
class JoinedTables:
    """Neuron tables side by side: the first says which neurons there are, the others add columns to them.

    Rows of the others that name no neuron of the first are left out, and reported. A column whose name an earlier table
    has already is kept as ``<column>_<name of the file>``.

    Attributes
    ----------
    tables
        Two or more paths, `CsvFile`, Arrow tables or pandas frames.
    on
        The name of the id column, the same in all of them.
    """

    tables: Sequence[Any]
    on: str

    def __post_init__(self) -> None:
        if isinstance(self.tables, str | os.PathLike) or len(self.tables) < 2:
            raise SettingError("JoinedTables.tables must list two or more tables, first the one that names all.")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A table as it was loaded, and, where several files made it, their row ranges."""

    table: Table
    files: tuple[FilePart, ...] = ()


def load(source: Any, role: str, left_out: Sequence[str] = ()) -> Loaded:
    """Load one table: a file, `CsvFile`, Arrow table or pandas frame, a list of these, or a folder of files.

    Raises `MissingFileError` and `SchemaError` as `load_table` does, and `SchemaError` for a folder or list whose files
    differ in format, columns or types.
    """
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        source = files_of(Path(source), role)
    if not isinstance(source, list | tuple):
        return Loaded(_one(source, role, left_out))
    strange = [item for item in source if not isinstance(item, str | os.PathLike | CsvFile | pa.Table | pd.DataFrame)]
    if strange or not source:
        what = f"with an item of type {type(strange[0]).__name__}" if strange else "without any item"
        raise SchemaError(
            f"The {role} are a {type(source).__name__}; give the path of a CSV, Parquet or Feather file, a "
            f"pyarrow.Table or a pandas.DataFrame, or a list of these: this is one {what}."
        )
    return _stack([_one(item, role, left_out) for item in source], role)


def column_names(source: Any) -> tuple[str, ...]:
    """The names of a source's columns, read from its header or schema alone; () where that cannot be done.

    Of a folder, those of its first file; of a list or of joined tables, those of all.
    """
    if isinstance(source, JoinedTables):
        source = source.tables
    if isinstance(source, list | tuple):
        return tuple(dict.fromkeys(name for table in source for name in column_names(table)))
    if isinstance(source, CsvFile) and source.names is not None:
        return tuple(source.names)
    if isinstance(source, pa.Table):
        return tuple(source.column_names)
    if isinstance(source, pd.DataFrame):
        return tuple(str(name) for name in source.columns)
    path = first_path(source)
    if path is None:
        return ()
    delimiter = source.delimiter if isinstance(source, CsvFile) else None
    try:
        return _names_in_file(path, delimiter)
    except (OSError, ValueError, csv.Error):  # a file that cannot be read is reported when it is loaded
        return ()


def first_path(source: Any) -> Path | None:
    """The path of a source that is a file, of the first file of a list or folder, else None."""
    if isinstance(source, CsvFile):
        return Path(source.path)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_dir():
            return path
        files = _visible(path)
        return files[0] if files else None
    return first_path(source[0]) if isinstance(source, list | tuple) and source else None


def format_of(path: Path) -> str | None:
    """The format that a file's ending stands for (``"CSV"``, ``"Parquet"``, ``"Feather"``, ``"npz"``), else None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return next((name for name, known in _FORMATS.items() if suffixes and suffixes[-1] in known), None)


def join(source: JoinedTables, id_type: str | None, findings: list[Finding]) -> Table:
    """The neuron table of `source`; see `JoinedTables`.

    Raises `UnknownNameError` where a table has no column `on`, and `SchemaError` where one of the added tables names a
    neuron in two rows.
    """
    tables = [load(item, "neurons").table for item in source.tables]
    keyed = []
    for table in tables:
        if source.on not in table.arrow.column_names:
            raise unknown_name("column", source.on, table.arrow.column_names, table.where)
        keyed.append(Table(table.role, table.source, table.arrow, table.typed, {"id": source.on}))
    chosen = choose_id_type([(table, ("id",)) for table in keyed], id_type)
    ids = exact_ids(keyed[0], "id", chosen)
    columns: dict[str, Any] = {source.on: ids, **_columns(keyed[0].extras())}
    for position, table in enumerate(keyed[1:], 2):
        added = exact_ids(table, "id", chosen)
        _refuse_repeated(table, added)
        rows = pc.index_in(ids, value_set=added)
        extras = _columns(table.extras())
        for name, column in extras.items():
            columns[_free_name(name, columns, table, position)] = column.take(rows)
        unlisted = pc.invert(pc.is_in(added, value_set=ids)).to_numpy(zero_copy_only=False)
        findings.append(_note_join(table, keyed[0], added, np.flatnonzero(unlisted), len(extras)))
    return Table("neurons", " + ".join(table.source for table in tables), pa.table(columns), True, {})


def _one(source: Any, role: str, left_out: Sequence[str]) -> Table:
    if isinstance(source, CsvFile):
        return load_table(source.path, role, names=source.names, delimiter=source.delimiter, left_out=left_out)
    return load_table(source, role, left_out=left_out)


def _visible(folder: Path) -> list[Path]:
    # Names with a dot or an underscore in front are marks that programs leave behind, such as _SUCCESS and _metadata.
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def files_of(folder: Path, role: str) -> list[Path]:
    """The files of a folder, which must all be tables of one format, in the order of their names.

    Raises `SchemaError` for a folder that holds anything else; names that begin with a dot or ``_`` are passed over.
    """
    files = _visible(folder)
    if (folder / "manifest.json").exists():
        raise SchemaError(
            f"The {role} table {folder} is a folder with a manifest: a connectome as `Connectome.write` stores it is "
            "opened by Connectome.read, and its tables stand in it as files."
        )
    by_format: dict[str | None, list[str]] = {}
    for path in files:
        by_format.setdefault(None if path.is_dir() else format_of(path), []).append(path.name)
    if len(by_format) != 1 or None in by_format or "npz" in by_format:
        found = "; ".join(f"{name or 'other'}: {offenders(names, 3)}" for name, names in by_format.items())
        raise SchemaError(
            f"The {role} table {folder} is a folder; it must hold files of one format, CSV, Parquet or Feather, and "
            f"nothing else. It holds {found or 'no file'}. Name the file, or a list of files."
        )
    return files


def _stack(tables: list[Table], role: str) -> Loaded:
    """The tables one after the other; all must have the same columns of the same types, and all be CSV or none."""
    first = tables[0]
    if len(tables) == 1:
        return Loaded(first)
    names = first.arrow.column_names
    for table in tables[1:]:
        if table.typed != first.typed:
            raise SchemaError(
                f"The {role} table cannot continue {first.source} with {table.source}: one is CSV, whose columns are "
                "text, and the other has types. Give files of one format."
            )
        if set(table.arrow.column_names) != set(names):
            here, there = set(names), set(table.arrow.column_names)
            more = f" To put neuron tables side by side, use JoinedTables([...], on={names[0]!r})."
            raise SchemaError(
                f"The {role} table cannot continue {first.source} with {table.source}: the columns differ. Only in the "
                f"first: {offenders(sorted(here - there))}; only in the second: {offenders(sorted(there - here))}."
                f"{more if role == 'neurons' else ''}"
            )
    for name in names:
        kinds = {_kind(table.arrow.schema.field(name).type): table for table in reversed(tables)}
        kinds.pop("null", None)
        if len(kinds) > 1:
            found = ", ".join(f"{kind} in {table.source}" for kind, table in kinds.items())
            raise SchemaError(f"Column {name!r} of the {role} table has different types in its files: {found}.")
    parts, start = [], 1
    for number, table in enumerate(tables, 1):
        name = table.source if table.source not in ("Arrow table", "pandas frame") else f"{table.source} {number}"
        parts.append((name, start, start + table.arrow.num_rows - 1))
        start += table.arrow.num_rows
    try:
        arrow = pa.concat_tables([_plain(table.arrow.select(names)) for table in tables], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"The files of the {role} table cannot be put together: {error}.") from error
    return Loaded(Table(role, _ranges(parts), arrow, first.typed, {}), tuple(parts))


def _ranges(parts: Sequence[FilePart]) -> str:
    """Which rows are in which file, in words; of very many files only the first and the last."""
    words = [f"{name} rows {first}-{last}" for name, first, last in parts]
    if len(words) > _NAMED_FILES:
        words = [*words[: _NAMED_FILES // 2], "...", *words[-_NAMED_FILES // 2 :]]
    return f"{len(parts)} files: {', '.join(words)}"


def _kind(kind: pa.DataType) -> str:
    """Types that can follow each other without a value changing: a column of ids must not turn into floats."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    return str(kind)


def _plain(table: pa.Table) -> pa.Table:
    """The table with text as plain strings, so that tables that were written in different ways go together."""
    columns = {
        name: table.column(name) if _kind(table.schema.field(name).type) != "text" else combine(table.column(name))
        for name in table.column_names
    }
    return pa.table(columns)


def _names_in_file(path: Path, delimiter: str | None) -> tuple[str, ...]:
    kind = format_of(path)
    if kind == "Parquet":
        return tuple(pa_parquet.ParquetFile(path).schema_arrow.names)
    if kind == "Feather":
        with pa.memory_map(str(path)) as file:
            return tuple(pa.ipc.open_file(file).schema.names)
    if kind != "CSV":
        return ()
    tab = ".tsv" in [suffix.lower() for suffix in path.suffixes]
    with pa.input_stream(str(path), compression="detect") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        rows = csv.reader(text, delimiter=delimiter or ("\t" if tab else ","))
        return tuple(next((row for row in rows if row), []))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    return {name: combine(table.column(name)) for name in table.column_names}


def _free_name(name: str, taken: Mapping[str, Any], table: Table, position: int) -> str:
    if name not in taken:
        return name
    stem = table.source.split(".")[0] if table.source not in ("Arrow table", "pandas frame") else str(position)
    longer = f"{name}_{stem}"
    return longer if longer not in taken else f"{longer}_{position}"


def _refuse_repeated(table: Table, ids: pa.Array) -> None:
    coded = ids.dictionary_encode().indices.to_numpy()
    first = np.unique(coded, return_index=True)[1]
    if len(first) < len(ids):
        rows = np.setdiff1d(np.arange(len(ids)), first)
        shown = ids.take(pa.array(rows[:5])).to_pylist()
        raise SchemaError(
            f"Column {table.given['id']!r} of {table.where}: a table that is joined must name every neuron once, but "
            f"ids are repeated in {rows_text(examples_of(rows, shown), len(rows))}. Make it one row a neuron."
        )


def _note_join(table: Table, first: Table, ids: pa.Array, unlisted: np.ndarray, n_columns: int) -> Finding:
    left_out = f"; {counted(len(unlisted), 'names a neuron', 'name neurons')} not in {first.source}: left out"
    return Finding(
        severity="warning" if len(unlisted) else "info",
        rule="joined_table",
        table="neurons",
        column=table.given["id"],
        count=len(unlisted) or len(ids),
        examples=examples_of(unlisted, ids.take(pa.array(unlisted[:5])).to_pylist()),
        message=f"{len(ids)} rows of {table.source} add {n_columns} columns to the neurons of {first.source}"
        f"{left_out if len(unlisted) else ''} (the neurons' rows are those of {first.source})",
    )


def is_graph_or_matrix(source: Any) -> bool:
    """Whether a source is no table of edges: a NetworkX graph, an array, a sparse matrix, a file of one."""
    if isinstance(source, str | os.PathLike):
        return format_of(Path(source)) == "npz" and not Path(source).is_dir()
    return isinstance(source, nx.Graph | np.ndarray) or hasattr(source, "tocoo")
