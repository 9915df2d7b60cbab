"""From paths, Arrow tables and pandas frames to `Table`, without looking at what the columns mean.

CSV has no types, so every CSV column is read as text; what becomes a number is decided by its meaning, in `columns`.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from connectofit.connectome.columns import Table
from connectofit.connectome.errors import MissingFileError, SchemaError, offenders, unknown_name
from connectofit.connectome.report import examples_of, rows_text

_CSV_SUFFIXES = {".csv": ",", ".tsv": "\t", ".txt": ","}
_PARQUET_SUFFIXES = (".parquet", ".pq")
_FEATHER_SUFFIXES = (".feather", ".arrow")


def load_table(source: Any, role: str) -> Table:
    """Load a path (CSV, TSV, Parquet, Feather), an Arrow table or a pandas frame, without looking at its columns.

    Raises `MissingFileError` for a path that is not there and `SchemaError` for a file that cannot be read as what its
    name says, for one without data rows, and for anything that is not a table.
    """
    if isinstance(source, pa.Table):
        table = Table(role, "Arrow table", source, True, {})
    elif isinstance(source, pd.DataFrame):
        table = Table(role, "pandas frame", _from_pandas(source, role), True, {})
    elif isinstance(source, str | os.PathLike):
        table = _from_file(Path(source), role)
    else:
        raise SchemaError(
            f"The {role} are a {type(source).__name__}; give the path of a CSV, Parquet or Feather file, a "
            f"pyarrow.Table or a pandas.DataFrame."
        )
    names = table.arrow.column_names
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
    if not frame.columns.is_unique:
        twice = list(dict.fromkeys(frame.columns[frame.columns.duplicated()]))
        raise SchemaError(f"The {role} frame has more than one column named {offenders(twice)}; names must be unique.")
    columns = {}
    for name in frame.columns:
        try:
            columns[str(name)] = pa.Array.from_pandas(frame[name])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            types = [type(value).__name__ for value in frame[name]]
            usual = max(set(types), key=types.count)
            rows = [row for row, kind in enumerate(types) if kind != usual and not pd.isna(frame[name].iloc[row])]
            examples = examples_of(rows, [f"{frame[name].iloc[row]!r} ({types[row]})" for row in rows[:5]])
            raise SchemaError(
                f"Column {str(name)!r} of the {role} frame mixes types: most values are {usual}, but "
                f"{rows_text(examples, len(rows))}. Give the column one type. ({error})"
            ) from error
    return pa.table(columns).replace_schema_metadata(None)


def _from_file(path: Path, role: str) -> Table:
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
            return Table(role, path.name, _read_csv(path, _CSV_SUFFIXES[suffix]), False, {})
        if suffix in _PARQUET_SUFFIXES:
            arrow = pa_parquet.ParquetFile(path).read()
        elif suffix in _FEATHER_SUFFIXES:
            arrow = pa_feather.read_table(path)
        else:
            known = [*_CSV_SUFFIXES, *_PARQUET_SUFFIXES, *_FEATHER_SUFFIXES]
            raise SchemaError(
                f"The {role} table {path.name} ends in {suffix!r}; the formats read are {', '.join(known)}."
            )
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError, csv.Error) as error:
        raise SchemaError(
            f"The {role} table {path.name} cannot be read as {suffix.lstrip('.')}: {error}. "
            "The file may be truncated, in another format, or not in UTF-8."
        ) from error
    return Table(role, path.name, arrow.replace_schema_metadata(None), True, {})


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    """All columns as text; only the empty field is missing (with Arrow's defaults a neuron named "NA" would vanish)."""
    names = next(_plain_rows(path, delimiter, "strict"), [])
    if not names:
        raise SchemaError(
            f"The table {path.name} is empty: it has not even a header. Check the path and how it was made."
        )
    convert = pa_csv.ConvertOptions(
        column_types={name: pa.string() for name in names}, null_values=[""], strings_can_be_null=True
    )
    try:
        table = pa_csv.read_csv(path, parse_options=pa_csv.ParseOptions(delimiter=delimiter), convert_options=convert)
    except pa.ArrowInvalid:
        _refuse_ragged(path, delimiter, len(names))
        # A line break within quotes may have fallen on the border of two of the blocks that Arrow reads in parallel.
        parse = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        table = pa_csv.read_csv(path, parse_options=parse, convert_options=convert)
    if table.column_names != names:
        raise SchemaError(
            f"The header of {path.name} can be read as {names} or as {table.column_names}: quote its names."
        )
    return table


def _plain_rows(path: Path, delimiter: str, errors: str) -> Iterator[list[str]]:
    """The rows as Python's csv module reads them, blank lines left out: slow, but it can say where a row goes wrong."""
    with pa.input_stream(str(path), compression="detect") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", errors, newline="")
        yield from (row for row in csv.reader(text, delimiter=delimiter) if row)


def _refuse_ragged(path: Path, delimiter: str, width: int) -> None:
    """Raise `SchemaError` naming the rows with another number of fields than the header, if there are any."""
    rows, found = [], []
    try:
        for number, row in enumerate(_plain_rows(path, delimiter, "replace")):
            if len(row) != width:
                rows.append(number - 1)
                found.append(f"{len(row)} fields")
    except csv.Error as error:
        raise SchemaError(f"The table {path.name} cannot be parsed as CSV: {error}.") from error
    if rows:
        raise SchemaError(
            f"The table {path.name} has {width} columns, but other numbers of fields in "
            f"{rows_text(examples_of(rows, found), len(rows))}. Look for separators inside unquoted text."
        )
