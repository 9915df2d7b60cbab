"""Tables larger than memory, as streams: files, folders and lists of them, Arrow tables, iterators of record batches.

Only the columns that are asked for are read, a few hundred thousand rows at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet

from connectofit.connectome.errors import MissingFileError, SchemaError, offenders, unknown_name
from connectofit.connectome.sources import CsvFile, column_names, files_of, format_of
from connectofit.connectome.tables import load_table

ROLE = "synapses"
_CSV_BLOCK = 16 << 20  # bytes
_PAGE_BUFFER = 1 << 20  # bytes of each Parquet column to read at once: a row group need not fit into memory


@dataclass(frozen=True, eq=False)
class Part:
    """A file, a table or a stream.

    Attributes
    ----------
    name
        What messages call it.
    names
        Names of its columns.
    schema
        Their types; None for CSV, where all is text.
    batches
        Gives the rows with the columns asked for.
    """

    name: str
    names: tuple[str, ...]
    schema: pa.Schema | None
    batches: Callable[[Sequence[str]], Iterator[pa.Table]]


def open_parts(source: Any, batch_rows: int) -> Iterator[Part]:
    """The parts of a source, one after the other; see `aggregate_synapses` for what it may be.

    Raises `MissingFileError` for a file that is not there, `SchemaError` for one that cannot be read as what its name
    says, and for anything that is not a table.
    """
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        source = files_of(Path(source), ROLE)
    if isinstance(source, str | os.PathLike | CsvFile):
        yield _file(source, batch_rows)
    elif isinstance(source, pa.Table | pd.DataFrame):
        table = load_table(source, ROLE) if isinstance(source, pd.DataFrame) else None
        arrow = source if table is None else table.arrow
        name = "Arrow table" if table is None else "pandas frame"
        yield Part(name, tuple(arrow.column_names), arrow.schema, _of_table(arrow, batch_rows))
    elif isinstance(source, list | tuple) and any(not isinstance(item, pa.RecordBatch) for item in source):
        for item in source:
            if not isinstance(item, str | os.PathLike | CsvFile | pa.Table | pd.DataFrame | pa.RecordBatch):
                raise _no_table(item)
            yield from open_parts([item] if isinstance(item, pa.RecordBatch) else item, batch_rows)
    elif isinstance(source, Iterable):
        yield from _stream(iter(source))
    else:
        raise _no_table(source)


def _no_table(item: object) -> SchemaError:
    return SchemaError(
        f"The {ROLE} are a {type(item).__name__}; give the path of a CSV, Parquet or Feather file or of a folder of "
        "such files, a list of paths, a pyarrow.Table, a pandas.DataFrame, or an iterator of pyarrow.RecordBatch."
    )


def _of_table(table: pa.Table, batch_rows: int) -> Callable[[Sequence[str]], Iterator[pa.Table]]:
    def batches(columns: Sequence[str]) -> Iterator[pa.Table]:
        chosen = table.select(list(columns))
        return (chosen.slice(start, batch_rows) for start in range(0, len(chosen), batch_rows))

    return batches


def _stream(items: Iterator[Any]) -> Iterator[Part]:
    first = next(items, None)
    if first is None:
        return
    if not isinstance(first, pa.RecordBatch | pa.Table):
        raise _no_table(first)
    names = tuple(first.schema.names)

    def batches(columns: Sequence[str]) -> Iterator[pa.Table]:
        for number, item in enumerate(chain([first], items), 1):
            if not isinstance(item, pa.RecordBatch | pa.Table):
                raise _no_table(item)
            if not set(columns) <= set(item.schema.names):
                raise SchemaError(
                    f"Batch {number} of the {ROLE} has the columns {offenders(item.schema.names, 20)}, but the first "
                    f"has {offenders(names, 20)}. Give all batches the same columns."
                )
            table = item if isinstance(item, pa.Table) else pa.Table.from_batches([item])
            yield table.select(list(columns))

    yield Part("record batches", names, first.schema, batches)


def _file(source: str | os.PathLike[str] | CsvFile, batch_rows: int) -> Part:
    file = source if isinstance(source, CsvFile) else CsvFile(source)
    path = Path(file.path)
    if not path.is_file():
        names = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        near = unknown_name("file", path.name, names, str(path.parent)) if names else "There is no such folder."
        raise MissingFileError(f"The file of the {ROLE} table, {path}, does not exist. {near}")
    kind = format_of(path)
    if kind not in ("CSV", "Parquet", "Feather"):
        raise SchemaError(f"The {ROLE} table {path.name} is none of the formats read: CSV, Parquet and Feather.")
    reading = _Reading(path.name, kind)
    if kind == "CSV":
        return _csv(file, path, reading)
    open_file = _parquet if kind == "Parquet" else _feather
    schema, batches = reading.call(lambda: open_file(path, batch_rows))
    return Part(path.name, tuple(schema.names), schema, lambda columns: reading.each(lambda: batches(columns)))


@dataclass(frozen=True)
class _Reading:
    """Turns what Arrow raises while a file is read into a `SchemaError` that names the file and the row."""

    name: str
    kind: str

    def call(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self.error(error, 0) from error

    def each(self, function: Callable[[], Iterator[pa.Table]]) -> Iterator[pa.Table]:
        rows = 0
        try:
            for table in function():
                yield table
                rows += len(table)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self.error(error, rows) from error

    def error(self, error: Exception, rows: int) -> SchemaError:
        after = f" after row {rows}" if rows else ""
        return SchemaError(
            f"The {ROLE} table {self.name} cannot be read as {self.kind}{after}: {error}. The file may be truncated, "
            "in another format, or not in UTF-8."
        )


def _csv(file: CsvFile, path: Path, reading: _Reading) -> Part:
    names = column_names(file)
    if not names:
        reading.call(lambda: _decompressed(path))
        raise SchemaError(
            f"The table {path.name} is empty: it has not even a header. Check the path and how it was made."
        )
    tab = ".tsv" in [suffix.lower() for suffix in path.suffixes]

    def batches(columns: Sequence[str]) -> Iterator[pa.Table]:
        reader = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(
                block_size=_CSV_BLOCK, column_names=None if file.names is None else list(names)
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=file.delimiter or ("\t" if tab else ","), newlines_in_values=True
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(columns),
                column_types={name: pa.string() for name in columns},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        with reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])

    return Part(path.name, tuple(names), None, lambda columns: reading.each(lambda: batches(columns)))


def _decompressed(path: Path) -> None:
    with pa.input_stream(str(path), compression="detect") as stream:
        stream.read(1)


_Opened: TypeAlias = tuple[pa.Schema, Callable[[Sequence[str]], Iterator[pa.Table]]]


def _parquet(path: Path, batch_rows: int) -> _Opened:
    schema = pa_parquet.read_schema(path)

    def batches(columns: Sequence[str]) -> Iterator[pa.Table]:
        text = [name for name in columns if pa.types.is_string(schema.field(name).type)]
        with pa_parquet.ParquetFile(path, read_dictionary=text, buffer_size=_PAGE_BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_rows, columns=list(columns)):
                yield pa.Table.from_batches([batch]).select(list(columns))

    return schema, batches


def _feather(path: Path, batch_rows: int) -> _Opened:
    with path.open("rb") as start:
        if start.read(4) == b"FEA1":  # the first version of Feather cannot be read in parts
            table = pa_feather.read_table(path)
            return table.schema, _of_table(table, batch_rows)
    with pa.OSFile(str(path), "rb") as file:
        schema = pa.ipc.open_file(file).schema

    def batches(columns: Sequence[str]) -> Iterator[pa.Table]:
        options = pa.ipc.IpcReadOptions(included_fields=sorted(schema.get_field_index(name) for name in columns))
        # Read, not mapped: pages of a mapping would count as memory of the process.
        with pa.OSFile(str(path), "rb") as file:
            reader = pa.ipc.open_file(file, options=options)
            for number in range(reader.num_record_batches):
                table = pa.Table.from_batches([reader.get_batch(number)]).select(list(columns))
                yield from (table.slice(start, batch_rows) for start in range(0, len(table), batch_rows))

    return schema, batches
