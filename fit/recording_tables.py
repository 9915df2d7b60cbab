"""Recordings from long tables: one row per sample with its sweep, time, current and voltage, and perhaps its cell."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.columns import Table, numbers
from connectofit.connectome.errors import SchemaError, UnknownNameError, offenders
from connectofit.connectome.errors import unknown_name as unknown
from connectofit.connectome.tables import load_table
from connectofit.fit.recording_traces import Trace, sampling_interval
from connectofit.fit.recording_units import FACTORS, check_suffix

COLUMNS = {"cell": "cell", "sweep": "sweep", "time": "time", "current": "current", "voltage": "voltage"}
"""Canonical columns of a long table; `read_recordings` takes a mapping from these to the columns of a table. Only
``cell`` may be missing."""


def table_traces(
    source: str | Path | pa.Table | pd.DataFrame, columns: Mapping[str, str] | None, read_in: Mapping[str, str]
) -> tuple[list[Trace], Table]:
    """The sweeps of a long table in its order, and the table with its columns named.

    Parameters: `columns` canonical name to the table's column, see `COLUMNS`; `read_in` the unit of every quantity.
    Raises what `connectofit.fit.read_recordings` says of tables.
    """
    table = load_table(source, "recordings")
    mapped = _mapped(table, columns)
    for quantity in ("time", "current", "voltage"):
        check_suffix(mapped.given[quantity], quantity, read_in[quantity], mapped.where)
    values = {q: np.asarray(numbers(mapped, q), dtype=float) * FACTORS[q][read_in[q]] for q in FACTORS}
    single = pa.types.is_float32(table.arrow.schema.field(mapped.given["time"]).type)
    resolution = float(np.finfo(np.float32 if single else np.float64).eps)
    traces = []
    for cell, name, rows in _blocks(mapped):
        time = values["time"][rows]
        dt = sampling_interval(time, resolution, f"{cell}/{name}" if cell else name, rows.start, mapped.where)
        traces.append(Trace(name, values["current"][rows], values["voltage"][rows], dt, cell, float(time[0])))
    return traces, mapped


def _mapped(table: Table, columns: Mapping[str, str] | None) -> Table:
    """The table with its canonical columns named."""
    names = table.arrow.column_names
    given = dict(columns or {})
    for name in given:
        if name not in COLUMNS:
            raise unknown("canonical column", name, COLUMNS)
    found = {}
    for name in COLUMNS:
        column = given.get(name, name)
        if column in names:
            found[name] = column
        elif name in given or name != "cell":
            error = unknown("column", column, names, table.where)
            declared = "" if name in given else f" Declare it with columns={{{name!r}: ...}}."
            raise UnknownNameError(f"{error} The table's columns are {offenders(names, 20)}.{declared}")
    return Table(table.role, table.source, table.arrow, table.typed, found)


def _blocks(table: Table) -> list[tuple[str, str, slice]]:
    """Cell, name and rows of every sweep. Raises `SchemaError` for sweeps whose rows are not together."""
    keys = [k for k in ("cell", "sweep") if k in table.given]
    texts = []
    for key in keys:
        text = pc.cast(table.column(key), pa.string())
        if text.null_count:
            rows = np.flatnonzero(pc.is_null(text).to_numpy(zero_copy_only=False)) + 1
            raise SchemaError(
                f"Column {table.given[key]!r} of {table.where} is empty in rows {offenders(rows.tolist())}. Name them."
            )
        texts.append(text.dictionary_encode())
    codes = np.zeros(table.arrow.num_rows, dtype=np.int64)
    for text in texts:
        codes = codes * len(text.dictionary) + text.indices.to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [codes.size]])
    blocks, seen, again = [], set(), []
    for a, b in itertools.pairwise(starts):
        names = [text.dictionary[text.indices[int(a)].as_py()].as_py() for text in texts]
        cell, name = (names[0], names[1]) if len(names) == 2 else ("", names[0])
        if (cell, name) in seen:
            again.append(f"row {a + 1}: {cell}/{name}" if cell else f"row {a + 1}: {name}")
        seen.add((cell, name))
        blocks.append((cell, name, slice(int(a), int(b))))
    if again:
        raise SchemaError(
            f"The rows of a sweep have to stand together in {table.where}; found again: {offenders(again)}. Two sweeps "
            "may share a name: give each its own, or declare the column of the cell."
        )
    return blocks
