"""Recordings from tables and arrays, and to Parquet and back.

Tables are long: one row per sample with its sweep, time, current and voltage, and perhaps its cell. What is read is
checked (`connectofit.fit.recording_checks`) and comes with a report. Files that `write_recordings` made carry all of a
sweep in their metadata and come back as they were, bit by bit.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet

from connectofit.connectome.columns import Table, numbers
from connectofit.connectome.errors import MissingFileError, SchemaError, SettingError, UnknownNameError, offenders
from connectofit.connectome.errors import unknown_name as unknown
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.connectome.tables import load_table
from connectofit.fit.recording_checks import PLAUSIBLE_MOHM, check_recordings
from connectofit.fit.recording_units import FACTORS, check_suffix, full_units
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.stimulus_edges import find_stimulus

COLUMNS = {"cell": "cell", "sweep": "sweep", "time": "time", "current": "current", "voltage": "voltage"}
"""Canonical columns of a long table; `read_recordings` takes a mapping from these to the columns of a table. Only
``cell`` may be missing."""

_KEY = b"connectofit.recordings"
_VERSION = 1
_SCALARS = ("name", "cell", "dt_ms", "start_ms", "onset_ms", "offset_ms", "bridge_MOhm", "junction_mV")


def read_recordings(
    source: str | Path | pa.Table | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    stimulus_ms: tuple[float, float] | None = None,
    bridge_MOhm: float = 0.0,
    junction_mV: float = 0.0,
    plausible_MOhm: tuple[float, float] = PLAUSIBLE_MOHM,
) -> tuple[Recordings, ValidationReport]:
    """Read current-clamp sweeps from a long table.

    Parameters
    ----------
    source: path (CSV, Parquet, Feather), Arrow table or pandas frame; the rows of a sweep together, in time.
    columns: canonical name (see `COLUMNS`) to the table's column, for those that differ.
    units: what the columns ``current`` (pA, nA, uA, A), ``voltage`` (mV, uV, V) and ``time`` (ms, us, s) are in; pA, mV
        and ms where left out. Stored are pA, mV and ms.
    stimulus_ms: onset and offset of the stimulus of every sweep, on the clock of the times; where left out they are
        found in the current (`find_stimulus`), and the report says where.
    bridge_MOhm, junction_mV: taken off every voltage, see `connectofit.fit.recordings`.
    plausible_MOhm: input resistances that are believed, to find wrong units by.

    Returns
    -------
    The sweeps in the order of the table, and a report of what is odd about them (`check_recordings`).

    Raises
    ------
    MissingFileError, UnknownNameError: a file or column that is not there. SchemaError: values that are missing or no
    numbers, times that are not equidistant, sweeps that are not together or share a name, a column whose name
    contradicts its unit, and what `check_recordings` refuses. SettingError: units or a stimulus that cannot be.
    """
    read_in = full_units(units)
    stored = _stored(source)
    if stored is not None:
        if columns or units or stimulus_ms is not None:
            raise SettingError(
                f"{source} was written by write_recordings and says itself what its columns, units and stimuli are. "
                "Leave columns, units and stimulus_ms out."
            )
        recordings = _read_stored(Path(str(source)), stored)
        if bridge_MOhm or junction_mV:
            recordings = recordings.corrected(bridge_MOhm=bridge_MOhm or None, junction_mV=junction_mV or None)
        return recordings, _report(recordings, (), {}, str(source), None, plausible_MOhm)
    table = load_table(source, "recordings")
    mapped = _mapped(table, columns)
    for quantity in ("time", "current", "voltage"):
        check_suffix(mapped.given[quantity], quantity, read_in[quantity], mapped.where)
    values = {q: np.asarray(numbers(mapped, q), dtype=float) * FACTORS[q][read_in[q]] for q in FACTORS}
    single = pa.types.is_float32(table.arrow.schema.field(mapped.given["time"]).type)
    resolution = float(np.finfo(np.float32 if single else np.float64).eps)
    sweeps, found_at = [], []
    for cell, name, rows in _blocks(mapped):
        time = values["time"][rows]
        dt = _interval(time, resolution, f"{cell}/{name}" if cell else name, rows.start, mapped.where)
        current, voltage = values["current"][rows], values["voltage"][rows]
        stimulus = stimulus_ms
        if stimulus is None:
            label = f"{cell}/{name}" if cell else name
            stimulus = _found(current, dt, float(time[0]))
            found_at.append(f"{label}: {stimulus[0]:g} to {stimulus[1]:g} ms")
        sweep = Sweep(name, current, voltage, dt, *_pair(stimulus), cell=cell, start_ms=float(time[0]))
        sweeps.append(sweep.corrected(bridge_MOhm=bridge_MOhm, junction_mV=junction_mV))
    recordings = Recordings(tuple(sweeps))
    return recordings, _report(recordings, found_at, dict(mapped.given), table.source, read_in, plausible_MOhm)


def recordings_from_arrays(
    current: Sequence[np.ndarray] | np.ndarray,
    voltage: Sequence[np.ndarray] | np.ndarray,
    *,
    dt_ms: float | Sequence[float],
    stimulus_ms: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    cell: str = "",
    units: Mapping[str, str] | None = None,
    bridge_MOhm: float = 0.0,
    junction_mV: float = 0.0,
    plausible_MOhm: tuple[float, float] = PLAUSIBLE_MOHM,
) -> tuple[Recordings, ValidationReport]:
    """Recordings from arrays [sweep, time], or from a list of arrays [time] of any lengths.

    Parameters
    ----------
    dt_ms: sampling interval in ms, one for all or one a sweep. The first sample is at 0 ms.
    names: of the sweeps; "0", "1", ... where left out. The others are those of `read_recordings`.

    Raises
    ------
    SchemaError, SettingError: as `read_recordings`, and numbers of sweeps, names or intervals that differ.
    """
    read_in = full_units(units)
    n = len(current)
    labels = [str(k) for k in range(n)] if names is None else [str(name) for name in names]
    given = np.asarray(dt_ms, dtype=float)
    intervals = [float(dt) for dt in (np.full(n, given) if given.ndim == 0 else given)]
    counts = {"current": n, "voltage": len(voltage), "names": len(labels), "dt_ms": len(intervals)}
    if len(set(counts.values())) > 1:
        raise SchemaError(f"Every sweep needs a current, a voltage, a name and a dt_ms; found {counts}.")
    sweeps, found_at = [], []
    for i, v, dt, name in zip(current, voltage, intervals, labels, strict=True):
        trace = np.asarray(i, dtype=float) * FACTORS["current"][read_in["current"]]
        stimulus = stimulus_ms
        if stimulus is None:
            stimulus = _found(trace, dt, 0.0)
            found_at.append(f"{name}: {stimulus[0]:g} to {stimulus[1]:g} ms")
        answer = np.asarray(v, dtype=float) * FACTORS["voltage"][read_in["voltage"]]
        sweep = Sweep(name, trace, answer, dt, *_pair(stimulus), cell=cell)
        sweeps.append(sweep.corrected(bridge_MOhm=bridge_MOhm, junction_mV=junction_mV))
    recordings = Recordings(tuple(sweeps))
    return recordings, _report(recordings, found_at, {}, "arrays", read_in, plausible_MOhm)


def write_recordings(recordings: Recordings, path: str | Path) -> None:
    """Write a Parquet file that `read_recordings` gives back bit by bit; other programs read it as a long table.

    Columns ``cell``, ``sweep``, ``time_ms``, ``current_pA``, ``voltage_mV`` (corrected); the metadata hold, for every
    sweep, its scalars with the corrections. Raises `MissingFileError` if the folder is not there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"No folder {path.parent} to write {path.name} into. Make it first.")
    sizes = [sweep.n_samples for sweep in recordings]
    entries = [{k: v for k, v in asdict(s).items() if k in _SCALARS} | {"samples": s.n_samples} for s in recordings]
    order = pa.array(np.repeat(np.arange(len(recordings), dtype=np.int32), sizes))
    table = pa.table(
        {
            "cell": pa.array([s.cell for s in recordings]).take(order),
            "sweep": pa.array([s.name for s in recordings]).take(order),
            "time_ms": np.concatenate([s.time_ms for s in recordings]),
            "current_pA": np.concatenate([s.current_pA for s in recordings]),
            "voltage_mV": np.concatenate([s.voltage_mV for s in recordings]),
        }
    )
    described = json.dumps({"version": _VERSION, "sweeps": entries}).encode()
    pa_parquet.write_table(table.replace_schema_metadata({_KEY: described}), path, compression="zstd")


def _stored(source: Any) -> dict[str, Any] | None:
    """The metadata of `write_recordings` in a Parquet file; None for anything else."""
    if not isinstance(source, str | Path) or Path(source).suffix not in (".parquet", ".pq"):
        return None
    if not Path(source).is_file():
        raise MissingFileError(f"No file {source} to read recordings from.")
    try:
        metadata = pa_parquet.read_schema(source).metadata or {}
    except pa.ArrowInvalid:
        return None  # the reader of tables says what is wrong with the file
    if _KEY not in metadata:
        return None
    stored: dict[str, Any] = json.loads(metadata[_KEY])
    if stored.get("version") != _VERSION:
        raise SchemaError(
            f"{source} holds recordings of version {stored.get('version')!r}; this program reads {_VERSION}."
        )
    return stored


def _read_stored(path: Path, stored: Mapping[str, Any]) -> Recordings:
    table = pa_parquet.ParquetFile(path).read()
    size = sum(entry["samples"] for entry in stored["sweeps"])
    if table.num_rows != size or not {"current_pA", "voltage_mV"} <= set(table.column_names):
        raise SchemaError(
            f"{path} was written by write_recordings with {size} samples and has {table.num_rows} rows and the columns "
            f"{table.column_names}: it was changed since. Write it again."
        )
    current, voltage = (table.column(name).to_numpy() for name in ("current_pA", "voltage_mV"))
    sweeps, start = [], 0
    for entry in stored["sweeps"]:
        rows = slice(start, start := start + entry["samples"])
        scalars = {name: entry[name] for name in _SCALARS}
        sweeps.append(Sweep(current_pA=current[rows], voltage_mV=voltage[rows], **scalars))
    return Recordings(tuple(sweeps))


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


def _interval(time: np.ndarray, resolution: float, label: str, first_row: int, where: str) -> float:
    """The sampling interval of equidistant times. Raises `SchemaError` for others."""
    if time.size < 2:
        raise SchemaError(f"Sweep {label!r} of {where} has {time.size} sample; a trace needs many.")
    steps = np.diff(time)
    back = np.flatnonzero(steps <= 0)
    if back.size:
        found = [f"row {first_row + k + 2}: {time[k + 1]:g} after {time[k]:g} ms" for k in back]
        raise SchemaError(
            f"The times of sweep {label!r} of {where} have to rise; found {offenders(found)}. Two sweeps may share a "
            "name: give each its own, or declare the column of the cell."
        )
    dt = float((time[-1] - time[0]) / (time.size - 1))
    # Times kept in single precision, or rounded in text, are off by their last digit.
    tolerance = 1e-2 * dt + 4 * resolution * float(np.abs(time).max())
    ideal = time[0] + dt * np.arange(time.size)
    usual = float(np.median(steps))
    wrong = np.flatnonzero((np.abs(steps - usual) > tolerance) | (np.abs(time - ideal)[1:] > max(tolerance, 0.5 * dt)))
    if wrong.size:
        found = [f"row {first_row + k + 2}: {steps[k]:g} ms after the one before" for k in wrong]
        raise SchemaError(
            f"The times of sweep {label!r} of {where} have to be equidistant (most are {usual:g} ms apart); found "
            f"{offenders(found)}. Interpolate the traces, or cut the sweep where samples are missing."
        )
    # Endpoints of many samples tell the interval better than a rounded difference, which a short decimal may equal.
    short = float(f"{dt:.6g}")
    return short if abs(short - dt) * time.size <= tolerance else dt


def _found(current_pA: np.ndarray, dt_ms: float, start_ms: float) -> tuple[float, float]:
    """The stimulus that the current shows; the whole sweep where it never changes."""
    found = find_stimulus(current_pA, dt_ms) if current_pA.ndim == 1 and np.isfinite(current_pA).all() else None
    onset, offset = found or (0.0, current_pA.shape[-1] * dt_ms)
    return start_ms + onset, start_ms + offset


def _pair(stimulus_ms: tuple[float, float]) -> tuple[float, float]:
    if len(stimulus_ms) != 2:
        raise SettingError(f"stimulus_ms has to be an onset and an offset in ms; found {stimulus_ms!r}.")
    return float(stimulus_ms[0]), float(stimulus_ms[1])


def _report(
    recordings: Recordings,
    found_at: Sequence[str],
    columns: Mapping[str, str],
    source: str,
    units: Mapping[str, str] | None,
    plausible_MOhm: tuple[float, float],
) -> ValidationReport:
    findings = list(check_recordings(recordings, units=units, plausible_MOhm=plausible_MOhm))
    if found_at:
        message = f"{len(found_at)} sweeps have the stimulus that was found in their current"
        examples = examples_of(range(len(found_at)), found_at)
        findings.insert(
            0, Finding("info", "stimulus_found", "sweeps", "", len(found_at), "stimulus_ms=None", examples, message)
        )
    n = {"sweeps": len(recordings)}
    return ValidationReport(tuple(findings), n, n, source={"sweeps": source}, columns=columns)
