"""From paths, Arrow tables and pandas frames to `Table`, without looking at what the columns mean.

CSV has no types, so every CSV column is read as text; what becomes a number is decided by its meaning, in `columns`.
"""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from connectofit.connectome.columns import Table
from connectofit.connectome.declared_sizes import check_footer
from connectofit.connectome.errors import MissingFileError, SchemaError, offenders, unknown_name
from connectofit.connectome.report import Found, examples_of, rows_text

_CSV_SUFFIXES = {".csv": ",", ".tsv": "\t", ".txt": ","}
_PARQUET_SUFFIXES = (".parquet", ".pq")
_FEATHER_SUFFIXES = (".feather", ".arrow", ".ipc")


def load_table(
    source: Any,
    role: str,
    names: Sequence[str] | None = None,
    delimiter: str | None = None,
    left_out: Sequence[str] = (),
) -> Table:
    """Load a path (CSV, TSV, Parquet, Feather), an Arrow table or a pandas frame, without looking at its columns.

    `names` are the columns of a CSV without header; `delimiter` is what separates them, by default what the file's name
    says. Columns `left_out` are not read.

    Raises `MissingFileError` for a path that is not there and `SchemaError` for a file that cannot be read as what its
    name says, for one without data rows, and for anything that is not a table.
    """
    if isinstance(source, pa.Table):
        table = Table(role, "Arrow table", source, True, {})
    elif isinstance(source, pd.DataFrame):
        table = Table(role, "pandas frame", _from_pandas(source, role), True, {})
    elif isinstance(source, str | os.PathLike):
        table = _from_file(Path(source), role, names, delimiter, left_out)
    else:
        raise SchemaError(
            f"The {role} are a {type(source).__name__}; give the path of a CSV, Parquet or Feather file, a "
            f"pyarrow.Table or a pandas.DataFrame."
        )
    names = table.arrow.column_names
    if set(left_out) & set(names):
        names = [name for name in names if name not in left_out]
        table = replace(table, arrow=table.arrow.select(names))
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise SchemaError(
            f"{table.subject} has more than one column named {offenders(twice)}; column names must be unique. "
            "Rename them in the table."
        )
    if table.arrow.num_rows == 0:
        raise SchemaError(f"{table.subject} is empty: it has no data rows. Check the path and how it was made.")
    return table


def _from_pandas(frame: pd.DataFrame, role: str) -> pa.Table:
    names = [str(name) for name in frame.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise SchemaError(f"The {role} frame has more than one column named {offenders(twice)}; names must be unique.")
    columns = {}
    for position, name in enumerate(names):
        column = frame.iloc[:, position]
        try:
            columns[name] = pa.Array.from_pandas(column)
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise _no_single_type(column, name, role, error) from error
    return pa.table(columns).replace_schema_metadata(None)


def _no_single_type(column: pd.Series, name: str, role: str, error: Exception) -> SchemaError:
    """The error for a column that Arrow has no type for: the values of another type than most, if there are any."""
    types = [type(value).__name__ for value in column]
    usual = max(set(types), key=types.count)
    missing = column.isna().to_numpy()
    rows = [row for row, kind in enumerate(types) if kind != usual and not missing[row]]
    if not rows:
        return SchemaError(
            f"Column {name!r} of the {role} frame holds values of the type {usual}, which tables cannot hold: {error}. "
            "Convert or remove it."
        )
    examples = examples_of(rows, [f"{column.iloc[row]!r} ({types[row]})" for row in rows[:5]])
    return SchemaError(
        f"Column {name!r} of the {role} frame mixes types: most values are {usual}, but "
        f"{rows_text(examples, len(rows))}. Give the column one type. ({error})"
    )


def _from_file(
    path: Path, role: str, names: Sequence[str] | None, delimiter: str | None, left_out: Sequence[str]
) -> Table:
    if not path.exists():
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        names = [item.name for item in folder.iterdir()] if folder == path.parent else []
        hint = (
            str(unknown_name("file", path.name, names, str(folder)))
            if names
            else f"The folder {path.parent} is missing."
        )
        raise MissingFileError(f"The file of the {role} table, {path}, does not exist. {hint}")
    if path.is_dir():
        raise SchemaError(f"The {role} table {path} is a folder; name the CSV, Parquet or Feather file.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".gz", ".zst", ".bz2") and len(suffixes) > 1:
        suffix = suffixes[-2]  # Arrow decompresses by the last suffix
    try:
        if suffix in _CSV_SUFFIXES:
            arrow = _read_csv(path, delimiter or _CSV_SUFFIXES[suffix], names, left_out)
            return Table(role, path.name, arrow, False, {})
        if suffix in _PARQUET_SUFFIXES:
            arrow = _read_parquet(path, left_out)
        elif suffix in _FEATHER_SUFFIXES:
            arrow = _read_feather(path, left_out)
        else:
            known = [*_CSV_SUFFIXES, *_PARQUET_SUFFIXES, *_FEATHER_SUFFIXES]
            raise SchemaError(
                f"The {role} table {path.name} ends in {suffix!r}; the formats read are {', '.join(known)}."
            )
        # Bytes that were altered can make text that is not UTF-8 and lists that end outside their items.
        arrow.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error, OverflowError) as error:
        raise SchemaError(
            f"The {role} table {path.name} cannot be read as {suffix.lstrip('.')}: {error}. "
            "The file may be truncated, in another format, or not in UTF-8."
        ) from error
    return Table(role, path.name, arrow.replace_schema_metadata(None), True, {})


def _read_parquet(path: Path, left_out: Sequence[str]) -> pa.Table:
    with pa_parquet.ParquetFile(path, page_checksum_verification=True) as file:
        check_footer(file.metadata, path)
        names = file.schema_arrow.names
        table = file.read(columns=[name for name in names if name not in left_out] if left_out else None)
    if table.num_rows != file.metadata.num_rows:
        raise pa.ArrowInvalid(f"its footer counts {file.metadata.num_rows} rows, but there are {table.num_rows}")
    return table


def _read_feather(path: Path, left_out: Sequence[str]) -> pa.Table:
    with path.open("rb") as start:
        first_version = start.read(4) == b"FEA1"  # which does not tell its columns before it is read
    if first_version or not left_out:
        return pa_feather.read_table(path)
    with pa.OSFile(str(path), "rb") as file:
        names = pa.ipc.open_file(file).schema.names
    return pa_feather.read_table(path, columns=[place for place, name in enumerate(names) if name not in left_out])


def _read_csv(path: Path, delimiter: str, given: Sequence[str] | None, left_out: Sequence[str]) -> pa.Table:
    """Columns as text; only the empty field is missing (with Arrow's defaults a neuron named "NA" would vanish)."""
    first = next(_plain_rows(path, delimiter, "surrogateescape"), [])
    names = first if given is None else list(given)
    if not first:
        raise SchemaError(
            f"The table {path.name} is empty: it has not even a header. Check the path and how it was made."
        )
    try:
        delimiter.join(first).encode()
    except UnicodeEncodeError as error:
        shown = delimiter.join(first)[:40].encode(errors="surrogateescape")
        raise SchemaError(
            f"The table {path.name} must be in UTF-8; its first line is not: {shown!r}. Save it as UTF-8."
        ) from error
    wanted = [name for name in names if name not in left_out]
    convert = pa_csv.ConvertOptions(
        include_columns=wanted if len(wanted) < len(names) else None,
        column_types={name: pa.string() for name in wanted},
        null_values=[""],
        strings_can_be_null=True,
    )
    read = pa_csv.ReadOptions(column_names=None if given is None else names)
    try:
        parse = pa_csv.ParseOptions(delimiter=delimiter)
        table = pa_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowInvalid:
        _refuse_bad_rows(path, delimiter, len(names), header=given is None)
        # A line break within quotes may have fallen on the border of two of the blocks that Arrow reads in parallel.
        parse = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        table = pa_csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    if table.column_names != wanted:
        raise SchemaError(
            f"The header of {path.name} can be read as {wanted} or as {table.column_names}: quote its names."
        )
    return table


def _plain_rows(path: Path, delimiter: str, errors: str) -> Iterator[list[str]]:
    """The rows as Python's csv module reads them, blank lines left out: slow, but it can say where a row goes wrong."""
    with pa.input_stream(str(path), compression="detect") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", errors, newline="")
        yield from (row for row in csv.reader(text, delimiter=delimiter) if row)


def _refuse_bad_rows(path: Path, delimiter: str, width: int, header: bool) -> None:
    """Raise `SchemaError` naming the rows with another number of fields than there are columns, or with bytes that are
    not UTF-8, if there are any."""
    bad: dict[str, tuple[array, list[str]]] = {"ragged": (array("q"), []), "foreign": (array("q"), [])}

    def note(fault: str, row: int, what: str) -> None:
        rows, shown = bad[fault]
        rows.append(row)
        if len(shown) < 5:
            shown.append(what)

    try:
        for number, row in enumerate(_plain_rows(path, delimiter, "surrogateescape")):
            if len(row) != width:
                note("ragged", number - header, f"{len(row)} fields")
            elif not (text := delimiter.join(row)).isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:
                    note("foreign", number - header, repr(text.encode(errors="surrogateescape")))
    except csv.Error as error:
        raise SchemaError(f"The table {path.name} cannot be parsed as CSV: {error}.") from error
    for fault, rule, remedy in (
        ("ragged", f"has {width} columns, but other numbers of fields in", "Look for separators inside unquoted text."),
        ("foreign", "must be in UTF-8, but there are other bytes in", "Save it as UTF-8."),
    ):
        rows, shown = bad[fault]
        if rows:
            found = Found.among(np.asarray(rows), lambda _, shown=shown: shown)  # type: ignore[misc]
            raise SchemaError(f"The table {path.name} {rule} {found}. {remedy}")
