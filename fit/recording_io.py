"""Recordings from files, tables and arrays.

A file is read by its ending: long tables (CSV, Parquet, Feather), NWB, ABF and Igor's binary waves. What is read is
checked (`connectofit.fit.recording_checks`) and comes with a report. Files that `write_recordings` made carry all of a
sweep in their metadata and come back as they were, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.connectome.report import ValidationReport
from connectofit.fit.recording_abf import abf_traces
from connectofit.fit.recording_checks import PLAUSIBLE_MOHM
from connectofit.fit.recording_ibw import ibw_traces
from connectofit.fit.recording_nwb import nwb_traces
from connectofit.fit.recording_store import read_stored, stored_sweeps, write_recordings
from connectofit.fit.recording_tables import COLUMNS, table_traces
from connectofit.fit.recording_traces import Trace, recordings_of, report_on
from connectofit.fit.recording_units import FACTORS, check_quantities, full_units
from connectofit.fit.recordings import Recordings

__all__ = ["COLUMNS", "read_recordings", "recordings_from_arrays", "write_recordings"]


def read_recordings(
    source: str | Path | Sequence[str | Path] | pa.Table | pd.DataFrame,
    *,
    current: str | Path | Sequence[str | Path] | None = None,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    electrodes: Sequence[str] | None = None,
    stimulus_ms: tuple[float, float] | None = None,
    bridge_MOhm: float = 0.0,
    junction_mV: float = 0.0,
    plausible_MOhm: tuple[float, float] = PLAUSIBLE_MOHM,
) -> tuple[Recordings, ValidationReport]:
    """Read current-clamp sweeps from a file or a long table.

    Parameters
    ----------
    source: path, Arrow table or pandas frame. By the path's ending: a long table (CSV, Parquet, Feather; the rows of a
        sweep together, in time), an NWB file (``.nwb``), an Axon Binary File (``.abf``), or the voltage as Igor binary
        waves (``.ibw``; one path or several).
    current: for ``.ibw``, which has one quantity a file: the waves of the injected current, in the order of the source.
    columns: of tables, canonical name (see `COLUMNS`) to the table's column, for those that differ; of ABF files,
        ``current`` and ``voltage`` to the channel's name, ``"command"`` for the current that the protocol asked for.
    units: what ``current`` (pA, nA, uA, A), ``voltage`` (mV, uV, V) and ``time`` (ms, us, s) are in; pA, mV and ms
        where a table's are left out. NWB, ABF and IBW files say it themselves: a unit is for those that do not.
        Stored are pA, mV and ms.
    electrodes: of NWB files, the names of the electrodes to take; all where left out.
    stimulus_ms: onset and offset of the stimulus of every sweep, on the clock of the times; where left out they are
        found in the current (`find_stimulus`), and the report says where.
    bridge_MOhm, junction_mV: taken off every voltage, see `connectofit.fit.recordings`; in all, so that what a file
        says the amplifier took off is not taken off again.
    plausible_MOhm: input resistances that are believed, to find wrong units by.

    Returns
    -------
    The sweeps in the order of the source, and a report of what was left out and of what is odd about the others
    (`check_recordings`).

    Raises
    ------
    MissingFileError, UnknownNameError: a file, column, channel or electrode that is not there. MissingExtraError: the
    library that reads the format is not installed. SchemaError: values that are missing or no numbers, times that are
    not equidistant, sweeps that are not together or share a name, a unit that contradicts the name of its column or is
    one of another quantity (a current in volts), a file without current clamp, and what `check_recordings` refuses.
    SettingError: units or a stimulus that cannot be, several channels or electrodes and no choice, and settings that
    the format has no use for.
    """
    ending = _ending(source)
    _refuse_idle(ending, {"current": current, "columns": columns, "electrodes": electrodes})
    corrected = partial(
        recordings_of,
        stimulus_ms=stimulus_ms,
        bridge_MOhm=bridge_MOhm,
        junction_mV=junction_mV,
        plausible_MOhm=plausible_MOhm,
    )
    if ending in _READERS:
        asked = check_quantities(units)
        if ending == ".nwb":
            traces, findings = nwb_traces(Path(str(source)), electrodes=electrodes, units=asked)
        elif ending == ".abf":
            traces, findings = abf_traces(Path(str(source)), channels=columns, units=asked)
        else:
            traces, findings = ibw_traces(_paths(source), _paths(current), units=asked)
        named = " ".join(str(path) for path in _paths(source))
        return corrected(traces, named, columns=columns, findings=findings)
    stored = stored_sweeps(source)
    if stored is not None:
        if columns or units or stimulus_ms is not None:
            raise SettingError(
                f"{source} was written by write_recordings and says itself what its columns, units and stimuli are. "
                "Leave columns, units and stimulus_ms out."
            )
        recordings = read_stored(Path(str(source)), stored)
        if bridge_MOhm or junction_mV:
            recordings = recordings.corrected(bridge_MOhm=bridge_MOhm or None, junction_mV=junction_mV or None)
        return recordings, report_on(recordings, str(source), plausible_MOhm)
    read_in = full_units(units)
    traces, table = table_traces(source, columns, read_in)
    return corrected(traces, table.source, read_in=read_in, columns=dict(table.given))


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
    traces = [
        Trace(
            name,
            np.asarray(i, dtype=float) * FACTORS["current"][read_in["current"]],
            np.asarray(v, dtype=float) * FACTORS["voltage"][read_in["voltage"]],
            dt,
            cell,
        )
        for i, v, dt, name in zip(current, voltage, intervals, labels, strict=True)
    ]
    return recordings_of(
        traces,
        "arrays",
        stimulus_ms=stimulus_ms,
        bridge_MOhm=bridge_MOhm,
        junction_mV=junction_mV,
        plausible_MOhm=plausible_MOhm,
        read_in=read_in,
    )


_READERS = {".nwb": ("electrodes",), ".abf": ("columns",), ".ibw": ("current",)}
"""The formats that are no tables, and which of the settings that only some formats take are theirs."""


def _ending(source: object) -> str:
    """The ending of a path, or of the first of several; "" for a table."""
    first = source[0] if isinstance(source, list | tuple) and source else source
    return Path(first).suffix.lower() if isinstance(first, str | Path) else ""


def _paths(source: Any) -> list[Path]:
    if source is None:
        return []
    return [Path(path) for path in (source if isinstance(source, list | tuple) else [source])]


def _refuse_idle(ending: str, given: Mapping[str, object]) -> None:
    """Raise `SettingError` for a setting that the format has no use for, which would else be passed over."""
    takes = _READERS.get(ending, ("columns",))
    idle = [name for name, value in given.items() if value is not None and name not in takes]
    if idle:
        users = {".nwb": "NWB files", ".abf": "ABF files", ".ibw": "Igor's waves"}
        raise SettingError(
            f"{' and '.join(idle)} cannot be given for {users.get(ending, 'a table')}: it has no use for it. Leave it "
            "out."
        )
