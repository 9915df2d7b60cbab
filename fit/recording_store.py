"""Recordings to Parquet and back: a long table that other programs read, and in its metadata all of every sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from connectofit.connectome.declared_sizes import check_parquet
from connectofit.connectome.errors import MissingFileError, SchemaError, offenders
from connectofit.fit.recordings import Recordings, Sweep

_KEY = b"connectofit.recordings"
_VERSION = 1
_SCALARS = ("name", "cell", "dt_ms", "start_ms", "onset_ms", "offset_ms", "bridge_MOhm", "junction_mV")
_AGAIN = "The file was changed since write_recordings wrote it. Write it again."


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


def stored_sweeps(source: Any) -> dict[str, Any] | None:
    """The metadata of `write_recordings` in a Parquet file; None for anything else."""
    if not isinstance(source, str | Path) or Path(source).suffix.lower() not in (".parquet", ".pq"):
        return None
    if not Path(source).is_file():
        raise MissingFileError(f"No file {source} to read recordings from.")
    try:
        metadata = pa_parquet.read_schema(source).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return None  # the reader of tables says what is wrong with the file
    if _KEY not in metadata:
        return None
    try:
        stored = json.loads(metadata[_KEY])
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"The metadata of {source} are no JSON that can be read ({error}). {_AGAIN}") from None
    version = stored.get("version") if isinstance(stored, dict) else None
    if version != _VERSION:
        raise SchemaError(f"{source} holds recordings of version {version!r}; this program reads {_VERSION}.")
    _check(stored, str(source))
    return stored


def _check(stored: Mapping[str, Any], source: str) -> None:
    """Raise `SchemaError` unless every sweep has its scalars and a number of samples."""
    entries = stored.get("sweeps")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SchemaError(f"The metadata of {source} have no list of sweeps: {entries!r:.60}. {_AGAIN}")
    wanted = {**dict.fromkeys(_SCALARS, float), "name": str, "cell": str, "samples": int}
    wrong = [
        f"sweep {k}: {name} = {entry.get(name)!r}"
        for k, entry in enumerate(entries)
        for name, kind in wanted.items()
        if not _is(entry.get(name), kind) or (name == "samples" and entry[name] < 0)
    ]
    if wrong:
        raise SchemaError(f"The metadata of {source} do not describe its sweeps: {offenders(wrong)}. {_AGAIN}")


def _is(value: Any, kind: type) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float) if kind is float else kind)


def read_stored(path: Path, stored: Mapping[str, Any]) -> Recordings:
    """The recordings in a file that `write_recordings` made. Raises `SchemaError` if it was changed since."""
    check_parquet(path)
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
