"""Traces as a file or table holds them, in pA and mV, and the way from them to checked `Recordings`.

Every reader of recordings ends here, so that the stimulus is found, the voltage corrected and the report made in one
place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.fit.recording_checks import check_recordings
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.stimulus_edges import find_stimulus


@dataclass(frozen=True, eq=False)
class Trace:
    """One sweep as it was read. bridge_MOhm: what the amplifier had taken off the voltage when it was recorded."""

    name: str
    current_pA: Float[np.ndarray, "time"]
    voltage_mV: Float[np.ndarray, "time"]
    dt_ms: float
    cell: str = ""
    start_ms: float = 0.0
    bridge_MOhm: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.cell}/{self.name}" if self.cell else self.name


def recordings_of(
    traces: Sequence[Trace],
    source: str,
    *,
    plausible_MOhm: tuple[float, float],
    stimulus_ms: tuple[float, float] | None = None,
    bridge_MOhm: float = 0.0,
    junction_mV: float = 0.0,
    read_in: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
) -> tuple[Recordings, ValidationReport]:
    """Sweeps with their stimulus and corrections, and the report on them.

    Parameters: `read_in` the units that the advice of errors speaks of; `columns` the mapping that the report keeps;
    `findings` what the reader found, the sweeps that it left out as `Finding.rows_removed`. The others are those of
    `connectofit.fit.read_recordings`. Corrections are in all: what a trace says was taken off is not taken off again.
    """
    sweeps, found_at = [], []
    for trace in traces:
        stimulus = stimulus_ms
        if stimulus is None:
            stimulus = _found(trace)
            found_at.append(f"{trace.label}: {stimulus[0]:g} to {stimulus[1]:g} ms")
        sweep = Sweep(
            trace.name,
            trace.current_pA,
            trace.voltage_mV,
            trace.dt_ms,
            *_pair(stimulus),
            cell=trace.cell,
            start_ms=trace.start_ms,
            bridge_MOhm=trace.bridge_MOhm,
        )
        if bridge_MOhm or junction_mV:
            sweep = sweep.corrected(bridge_MOhm=bridge_MOhm or None, junction_mV=junction_mV or None)
        sweeps.append(sweep)
    recordings = Recordings(tuple(sweeps))
    told = list(findings)
    if found_at:
        message = f"{len(found_at)} sweeps have the stimulus that was found in their current"
        examples = examples_of(range(len(found_at)), found_at)
        told.append(
            Finding("info", "stimulus_found", "sweeps", "", len(found_at), "stimulus_ms=None", examples, message)
        )
    return recordings, report_on(recordings, source, plausible_MOhm, read_in, columns, told)


def report_on(
    recordings: Recordings,
    source: str,
    plausible_MOhm: tuple[float, float],
    read_in: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
) -> ValidationReport:
    """What is odd about recordings (`check_recordings`), after what their reader found."""
    found = (*findings, *check_recordings(recordings, units=read_in, plausible_MOhm=plausible_MOhm))
    kept = len(recordings)
    left_out = sum(finding.rows_removed for finding in findings)
    return ValidationReport(
        found, {"sweeps": kept + left_out}, {"sweeps": kept}, source={"sweeps": source}, columns=dict(columns or {})
    )


def sampling_interval(
    time_ms: Float[np.ndarray, "time"], resolution: float, label: str, first_row: int, where: str
) -> float:
    """The sampling interval, in ms, of equidistant times. Raises `SchemaError` for others.

    resolution: of the type that the times were kept in, 2**-52 for double precision. first_row: the row of the first
    sample in the table, from 0; `label` and `where` name the sweep and the table in messages.
    """
    if time_ms.size < 2:
        raise SchemaError(f"Sweep {label!r} of {where} has {time_ms.size} sample; a trace needs many.")
    steps = np.diff(time_ms)
    back = np.flatnonzero(steps <= 0)
    if back.size:
        found = [f"row {first_row + k + 2}: {time_ms[k + 1]:g} after {time_ms[k]:g} ms" for k in back]
        raise SchemaError(
            f"The times of sweep {label!r} of {where} have to rise; found {offenders(found)}. Two sweeps may share a "
            "name: give each its own, or declare the column of the cell."
        )
    dt = float((time_ms[-1] - time_ms[0]) / (time_ms.size - 1))
    # Times kept in single precision, or rounded in text, are off by their last digit.
    tolerance = 1e-2 * dt + 4 * resolution * float(np.abs(time_ms).max())
    ideal = time_ms[0] + dt * np.arange(time_ms.size)
    usual = float(np.median(steps))
    wrong = np.flatnonzero(
        (np.abs(steps - usual) > tolerance) | (np.abs(time_ms - ideal)[1:] > max(tolerance, 0.5 * dt))
    )
    if wrong.size:
        found = [f"row {first_row + k + 2}: {steps[k]:g} ms after the one before" for k in wrong]
        raise SchemaError(
            f"The times of sweep {label!r} of {where} have to be equidistant (most are {usual:g} ms apart); found "
            f"{offenders(found)}. Interpolate the traces, or cut the sweep where samples are missing."
        )
    # Endpoints of many samples tell the interval better than a rounded difference, which a short decimal may equal.
    short = float(f"{dt:.6g}")
    return short if abs(short - dt) * time_ms.size <= tolerance else dt


def _found(trace: Trace) -> tuple[float, float]:
    """The stimulus that the current shows; the whole sweep where it never changes."""
    current = trace.current_pA
    found = find_stimulus(current, trace.dt_ms) if current.ndim == 1 and np.isfinite(current).all() else None
    onset, offset = found or (0.0, current.shape[-1] * trace.dt_ms)
    return trace.start_ms + onset, trace.start_ms + offset


def _pair(stimulus_ms: tuple[float, float]) -> tuple[float, float]:
    if len(stimulus_ms) != 2:
        raise SettingError(f"stimulus_ms has to be an onset and an offset in ms; found {stimulus_ms!r}.")
    return float(stimulus_ms[0]), float(stimulus_ms[1])
