"""Current-clamp sweeps from NWB files (Neurodata Without Borders 2; Rübel et al. 2022, eLife 11:e78362).

A response (`CurrentClampSeries`, volts) and its stimulus (`CurrentClampStimulusSeries`, amperes) belong together by the
file's table of intracellular recordings; in files without one, by electrode and sweep number, or by electrode and
start. Units are read as they stand in the file: pynwb would replace what is there by what ought to be. All else is
left out and counted by kind.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.extras import needed
from connectofit.connectome.hdf5_files import check_size, hdf5_file
from connectofit.connectome.report import Finding, counted, examples_of
from connectofit.fit.recording_traces import Trace, sampling_interval
from connectofit.fit.recording_units import FACTORS, stated_unit
from connectofit.fit.recordings import MIN_SAMPLES

_WHAT = "Reading NWB files"
_JUNCTION = re.compile(r"[^.;\n]*(?:junction[ _-]?potential|\bLJP\b)[^;\n]*", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class _Pair:
    """A response and its stimulus, each with the rows that the recording is of."""

    response: Any
    stimulus: Any
    response_rows: slice
    stimulus_rows: slice
    name: str


def nwb_traces(
    path: Path, *, electrodes: Sequence[str] | None, units: Mapping[str, str]
) -> tuple[list[Trace], list[Finding]]:
    """The current-clamp sweeps of a file with what was left out, why, and what the file says of corrections.

    Parameters: `electrodes` the ones to take; None for all. `units` for series that state none.
    Returns sweeps called like their response, of cells called like the electrode's cell, or else like the electrode;
    each starts at 0 ms. Raises what `connectofit.fit.read_recordings` says of NWB files.
    """
    pynwb = needed("pynwb", "nwb", _WHAT)
    with hdf5_file(path, "nwb", _WHAT) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's, about units that it would replace and schemas that it has itself
        try:
            nwb = pynwb.NWBHDF5IO(file=file, mode="r").read()
        except Exception as error:  # whatever the schema's reader meets in a file that is none of its own
            raise SchemaError(f"{path} cannot be read as an NWB file: {error}") from error
        return _read(nwb, str(path), electrodes, units)


def _read(
    nwb: Any, where: str, electrodes: Sequence[str] | None, units: Mapping[str, str]
) -> tuple[list[Trace], list[Finding]]:
    left_out: dict[str, list[str]] = defaultdict(list)
    pairs = list(_pairs(nwb, where, left_out))
    if not pairs:
        found = "; ".join(f"{why}: {offenders(names)}" for why, names in left_out.items()) or "no patch-clamp series"
        raise SchemaError(
            f"{where} has no current-clamp response with its stimulus. It has {found}. Models are fitted to the "
            "voltage that answers a known current."
        )
    pairs = _chosen(pairs, electrodes, where, left_out)
    traces, trimmed = [], []
    for pair in pairs:
        trace, cut = _trace(pair, where, units)
        if trace is None:
            left_out["sweeps of fewer than 20 samples"].append(pair.name)
            continue
        if cut:
            trimmed.append(f"{trace.label}: {cut} samples")
        traces.append(trace)
    if not traces:
        found = "; ".join(f"{why}: {offenders(names)}" for why, names in left_out.items())
        raise SchemaError(f"{where} has no sweep that can be used. Left out were {found}.")
    _refuse_shared_names(pairs, where)
    return traces, [*_left_out_findings(left_out), *_stated(nwb, pairs, trimmed)]


def _pairs(nwb: Any, where: str, left_out: dict[str, list[str]]) -> Iterator[_Pair]:
    """All current-clamp responses with a stimulus; the others into `left_out`, by reason."""
    responses = {name: series for name, series in nwb.acquisition.items() if _is_a(series, "PatchClampSeries")}
    clamped = {name: series for name, series in responses.items() if _is_a(series, "CurrentClampSeries")}
    for name, series in responses.items():
        if _is_a(series, "VoltageClampSeries"):
            left_out["voltage-clamp series"].append(name)
        elif name not in clamped:
            left_out["patch-clamp series of no clamp mode"].append(name)
    for name in [name for name, series in clamped.items() if _is_a(series, "IZeroClampSeries")]:
        left_out["series without a current (IZeroClampSeries)"].append(name)
        del clamped[name]
    table = nwb.intracellular_recordings
    if table is not None and len(table):
        rows = list(_rows_of_table(table, left_out))
        named = {id(pair.response) for pair in rows}
        for name, series in clamped.items():
            if id(series) not in named and name not in left_out.get("responses without a stimulus", ()):
                left_out["series outside of the table of intracellular recordings"].append(name)
        yield from rows
        return
    stimuli = [series for series in nwb.stimulus.values() if _is_a(series, "PatchClampSeries")]
    doubtful = []
    # A file gives its series by name, where r10 comes before r2.
    for name, series in sorted(clamped.items(), key=lambda item: _start_s(item[1])):
        found = [stimulus for stimulus in stimuli if _same_sweep(series, stimulus)]
        if len(found) > 1:
            doubtful.append(f"{name}: {', '.join(stimulus.name for stimulus in found)}")
        elif not found:
            left_out["responses without a stimulus"].append(name)
        else:
            yield _Pair(series, found[0], slice(None), slice(None), name)
    if doubtful:
        raise SchemaError(
            f"It is not clear which stimulus belongs to which response in {where}: {offenders(doubtful)}. Number the "
            "sweeps (sweep_number), or add the table of intracellular recordings."
        )


def _rows_of_table(table: Any, left_out: dict[str, list[str]]) -> Iterator[_Pair]:
    """The rows of the table of intracellular recordings that are in current clamp."""
    responses, stimuli = table["responses"]["response"], table["stimuli"]["stimulus"]
    used: dict[str, int] = defaultdict(int)
    for row in range(len(table)):
        response, stimulus = responses[row], stimuli[row]
        series = response.timeseries
        if not _is_a(series, "CurrentClampSeries"):
            continue  # counted with the series
        if _is_a(series, "IZeroClampSeries"):
            continue
        if stimulus.idx_start < 0 or stimulus.count <= 0 or stimulus.timeseries is series:
            left_out["responses without a stimulus"].append(series.name)
            continue
        k = used[series.name]
        used[series.name] += 1
        first, count = (response.idx_start, response.count) if response.idx_start >= 0 else (0, len(series.data))
        yield _Pair(
            series,
            stimulus.timeseries,
            slice(first, first + count),
            slice(stimulus.idx_start, stimulus.idx_start + stimulus.count),
            f"{series.name}:{k}" if k else series.name,
        )


def _is_a(series: Any, kind: str) -> bool:
    """By name, so that series of a file's own schema count as what they extend."""
    return any(base.__name__ == kind for base in type(series).__mro__)


def _same_sweep(response: Any, stimulus: Any) -> bool:
    if response.electrode is not stimulus.electrode:
        return False
    if response.sweep_number is not None or stimulus.sweep_number is not None:
        return bool(response.sweep_number == stimulus.sweep_number)
    return bool(abs(_start_s(response) - _start_s(stimulus)) < 1e-6)


def _start_s(series: Any) -> float:
    if series.timestamps is not None:
        return float(series.timestamps[0]) if len(series.timestamps) else 0.0
    return float(series.starting_time or 0.0)


def _chosen(
    pairs: list[_Pair], electrodes: Sequence[str] | None, where: str, left_out: dict[str, list[str]]
) -> list[_Pair]:
    """The pairs of the electrodes that were asked for."""
    known = list(dict.fromkeys(pair.response.electrode.name for pair in pairs))
    if electrodes is None:
        return pairs
    asked = [electrodes] if isinstance(electrodes, str) else list(electrodes)
    for name in asked:
        if name not in known:
            error = unknown_name("electrode", name, known, where)
            raise type(error)(f"{error} Its electrodes with current-clamp sweeps are {offenders(known, 20)}.")
    left_out["sweeps of other electrodes"] += [p.name for p in pairs if p.response.electrode.name not in asked]
    return [pair for pair in pairs if pair.response.electrode.name in asked]


def _refuse_shared_names(pairs: Sequence[_Pair], where: str) -> None:
    """Two electrodes may be in one cell, at the soma and at a dendrite: which is meant has to be said."""
    of_cell: dict[str, dict[str, None]] = defaultdict(dict)
    for pair in pairs:
        of_cell[_cell(pair)].setdefault(pair.response.electrode.name)
    several = [f"cell {cell}: electrodes {', '.join(names)}" for cell, names in of_cell.items() if len(names) > 1]
    if several:
        raise SettingError(
            f"{where} has several electrodes in one cell: {offenders(several)}. Choose with electrodes=[...]; a sweep "
            "is of one place in a cell."
        )


def _cell(pair: _Pair) -> str:
    electrode = pair.response.electrode
    return str(getattr(electrode, "cell_id", None) or electrode.name)


def _trace(pair: _Pair, where: str, units: Mapping[str, str]) -> tuple[Trace | None, int]:
    """The overlap of response and stimulus, and how many samples were cut off; no trace where next to nothing is left.

    Sweeps that were broken off are filled with NaN to their planned length.
    """
    what = f"{pair.name!r} of {where}"
    voltage = _values(pair.response, pair.response_rows, "voltage", units, where)
    current = _values(pair.stimulus, pair.stimulus_rows, "current", units, where)
    dt, dt_stimulus = (_interval_ms(series, where) for series in (pair.response, pair.stimulus))
    if abs(dt - dt_stimulus) > 1e-6 * dt:
        raise SchemaError(
            f"The response {what} is sampled every {dt:g} ms and its stimulus {pair.stimulus.name!r} every "
            f"{dt_stimulus:g} ms; they have to be sampled together. Resample one of them in the file."
        )
    starts = [
        _start_s(series) * 1e3 + (rows.start or 0) * dt
        for series, rows in ((pair.response, pair.response_rows), (pair.stimulus, pair.stimulus_rows))
    ]
    shift = round((starts[0] - starts[1]) / dt)  # samples by which the stimulus starts earlier
    longest = max(voltage.size, current.size)
    voltage, current = voltage[max(-shift, 0) :], current[max(shift, 0) :]
    n = min(voltage.size, current.size)
    there = np.flatnonzero(np.isfinite(voltage[:n]) & np.isfinite(current[:n]))
    n = int(there[-1]) + 1 if there.size else 0
    if n < MIN_SAMPLES:
        return None, longest
    balance = getattr(pair.response, "bridge_balance", None)
    bridge = float(balance) / 1e6 if balance is not None and np.isfinite(balance) else 0.0
    return Trace(pair.name, current[:n], voltage[:n], dt, _cell(pair), bridge_MOhm=bridge), longest - n


def _values(series: Any, rows: slice, quantity: str, units: Mapping[str, str], where: str) -> np.ndarray:
    """A series' samples in pA or mV: data times conversion plus offset, in the unit that the file states."""
    data = series.data
    what = f"The {quantity} {series.name!r} of {where}"
    if getattr(data, "ndim", 1) != 1:
        raise SchemaError(f"{what} has to be one trace; its shape is {data.shape}.")
    # h5py's dataset has the unit as it stands in the file; the series has what pynwb made of it.
    stated = data.attrs.get("unit", "") if hasattr(data, "attrs") else series.unit
    unit = stated_unit(
        quantity, stated.decode() if isinstance(stated, bytes) else str(stated), units.get(quantity), what
    )
    if hasattr(data, "id"):
        check_size(data, where)
    try:
        values = np.asarray(data[rows], dtype=np.float64)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise SchemaError(f"{what} cannot be read as numbers: {error}.") from None
    factor = FACTORS[quantity][unit]
    return (values * float(series.conversion) + float(series.offset or 0.0)) * factor


def _interval_ms(series: Any, where: str) -> float:
    if series.timestamps is not None:
        check_size(series.timestamps, where)
        times = np.asarray(series.timestamps[:], dtype=np.float64) * 1e3
        return sampling_interval(times, float(np.finfo(np.float64).eps), series.name, 0, where)
    rate = float(series.rate or 0.0)
    if not (np.isfinite(rate) and rate > 0):
        raise SchemaError(f"The series {series.name!r} of {where} has a sampling rate of {series.rate!r} Hz; above 0.")
    return 1e3 / rate


def _left_out_findings(left_out: Mapping[str, list[str]]) -> list[Finding]:
    found = []
    for why, names in left_out.items():
        if names:
            rule = "left_out_" + re.sub(r"\W+", "_", why.split("(")[0].strip()).lower()
            message = f"{len(names)} left out: {why}"
            examples = examples_of(range(len(names)), names)
            found.append(Finding("warning", rule, "sweeps", "", len(names), "", examples, message, len(names)))
    return found


def _stated(nwb: Any, pairs: Sequence[_Pair], trimmed: list[str]) -> list[Finding]:
    """What the file says of corrections, and what was cut off."""
    found = []
    bridges = [
        f"{pair.name}: {pair.response.bridge_balance / 1e6:g} MOhm" for pair in pairs if pair.response.bridge_balance
    ]
    biases = [f"{pair.name}: {pair.response.bias_current * 1e12:g} pA" for pair in pairs if pair.response.bias_current]
    starts = [_start_s(pair.response) for pair in pairs]
    junction = list(dict.fromkeys(_junction_notes(nwb, pairs)))
    told: list[tuple[Any, str, list[str], str]] = [
        (
            "info",
            "bridge_balance",
            bridges,
            "with a bridge balance that the amplifier took off; a bridge_MOhm that is asked for is in all, not on top",
        ),
        (
            "warning",
            "bias_current",
            biases,
            "with a bias current that the file states beside the stimulus; it was not added to the current",
        ),
        ("info", "trimmed", trimmed, "cut to where current and voltage are both there"),
    ]
    for severity, rule, texts, tail in told:
        if texts:
            message = counted(len(texts), f"sweep {tail}", f"sweeps {tail}")
            found.append(
                Finding(severity, rule, "sweeps", "", len(texts), "", examples_of(range(len(texts)), texts), message)
            )
    if junction:
        message = (
            "the file speaks of a liquid junction potential; nothing was taken off for it. If the voltages are not "
            "corrected, give junction_mV"
        )
        examples = examples_of(range(len(junction)), junction)
        found.append(Finding("warning", "junction_potential", "sweeps", "", len(junction), "", examples, message))
    if max(starts) > 0:
        message = (
            f"sweeps start {min(starts):g} to {max(starts):g} s after the session's; times count from each one's start"
        )
        found.append(Finding("info", "session_time", "sweeps", "", len(starts), "", (), message))
    return found


def _junction_notes(nwb: Any, pairs: Sequence[_Pair]) -> Iterator[str]:
    """Sentences and values about the junction potential: the format has no field for it."""
    session = ("session_description", "experiment_description", "notes", "protocol", "data_collection", "slices")
    places = [getattr(nwb, name, None) for name in session]
    for pair in pairs:
        series, electrode = pair.response, pair.response.electrode
        places += [series.description, series.comments, electrode.description, getattr(electrode, "filtering", None)]
    for text in places:
        for match in _JUNCTION.finditer(text) if isinstance(text, str) else ():
            yield match.group().strip()[:200]
    for data in nwb.lab_meta_data.values():
        for name, value in data.fields.items():
            if re.search("junction|ljp", name, re.IGNORECASE) and isinstance(value, int | float | str):
                yield f"{data.name}.{name} = {value}"
