"""What is wrong with recordings, found before anything is fitted to them.

Units are checked by what they imply: the voltage of a cell, and the resistance that voltage and current give it. What
makes every fit meaningless is an error; what a fit can live with is a counted warning (`connectome.report.Finding`,
whose rows are sweeps here, counted from 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.report import Finding, Severity, examples_of
from connectofit.fit.recording_units import FACTORS, full_units
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.stimulus_edges import EdgeJump, active, departure, edge_jump, find_stimulus, is_step

PLAUSIBLE_MOHM = (1.0, 10_000.0)
"""Input resistances of nerve cells, from a large motor neuron to a small worm neuron, with room."""

_PLAUSIBLE_MV = (5.0, 300.0)  # largest |V| of a sweep: below, it is in volts; above, it is no membrane's
_COARSE_MS = 0.5  # a spike of 1 ms has no peak to speak of
_CLIPPED_ERROR = 0.05
_BRIDGE_MOHM = 3.0
_INSIDE = 0.95
_TOLERANCE_MS = 2.0


def check_recordings(
    recordings: Recordings,
    *,
    units: Mapping[str, str] | None = None,
    plausible_MOhm: tuple[float, float] = PLAUSIBLE_MOHM,
) -> tuple[Finding, ...]:
    """Refuse recordings that no model can be fitted to, and count what is odd about the others.

    Parameters
    ----------
    units: what they were read in, for the advice of the errors.
    plausible_MOhm: the input resistances that are believed.

    Returns
    -------
    Warnings, by rule: ``no_stimulus`` (sweeps whose current never changes), ``saturated`` (a few clipped samples),
    ``coarse`` (spikes are not resolved), ``inverted`` (depolarising current hyperpolarises), ``bridge`` (the voltage
    jumps with the current: the series resistance is under- or over-compensated), ``current_lags`` (the
    recorded current comes after the voltage's answer).

    Raises
    ------
    SchemaError: a constant voltage; a voltage that is none in the given unit; an implied input resistance outside
    `plausible_MOhm`; more than 5 % of the samples clipped; no current in any sweep. SettingError: a stimulus that is
    not where it is said to be, or bounds that are no interval.
    """
    low, high = plausible_MOhm
    if not 0 < low < high:
        raise SettingError(f"plausible_MOhm has to be a lower and an upper bound above 0; found {plausible_MOhm}.")
    read_in = full_units(units)
    _refuse_voltages(recordings, read_in["voltage"])
    driven = [
        bool(active(s.current_pA, ~s.during if (~s.during).sum() >= 5 else s.before | s.during).any()) or _varies(s)
        for s in recordings
    ]
    if not any(driven):
        raise SchemaError(
            f"The current does not change in any sweep ({offenders(recordings.labels)}), so that nothing can be "
            "learnt about the cell's answer to it. Check the column of the current."
        )
    used = [s for s, yes in zip(recordings, driven, strict=True) if yes]
    _refuse_stimuli(used)
    _refuse_resistances(used, read_in["current"], plausible_MOhm)
    clipped = [clipped_samples(s.voltage_mV) / s.n_samples for s in recordings]
    _refuse(
        recordings.sweeps,
        [share > _CLIPPED_ERROR for share in clipped],
        lambda k: f"{clipped[k]:.0%} of the samples",
        f"have more than {_CLIPPED_ERROR:.0%} of their samples clipped at the largest or smallest voltage",
        "The amplifier's range was too small: leave them out.",
    )
    jumps = [edge_jump(s) if yes else None for s, yes in zip(recordings, driven, strict=True)]
    found = [
        _finding(
            recordings,
            "warning",
            "no_stimulus",
            [not yes for yes in driven],
            lambda k: "constant current",
            "sweeps have a current that does not change",
        ),
        _finding(
            recordings,
            "warning",
            "saturated",
            [share > 0 for share in clipped],
            lambda k: f"{clipped_samples(recordings.sweeps[k].voltage_mV)} samples",
            "sweeps are clipped at their largest or smallest voltage in some samples",
        ),
        _finding(
            recordings,
            "warning",
            "coarse",
            [s.dt_ms > _COARSE_MS for s in recordings],
            lambda k: f"{recordings.sweeps[k].dt_ms:g} ms",
            f"sweeps are sampled more than {_COARSE_MS:g} ms apart, too coarse for the shape of spikes",
        ),
        _finding(
            recordings,
            "warning",
            "inverted",
            [yes and _inverted(s) for s, yes in zip(recordings, driven, strict=True)],
            lambda k: f"{recordings.sweeps[k].step_pA:.0f} pA",
            "sweeps answer a depolarising current by hyperpolarisation or the other way round; the sign of the current "
            "may be inverted",
        ),
        _bridge_finding(recordings, jumps),
        _finding(
            recordings,
            "warning",
            "current_lags",
            [j is not None and j.clear and j.lag_samples != 0 for j in jumps],
            lambda k: f"{_lag(jumps[k])} samples",
            "sweeps have a recorded current that does not step together with the voltage (Sweep.advanced moves it)",
        ),
    ]
    return tuple(finding for finding in found if finding is not None)


def clipped_samples(voltage_mV: np.ndarray) -> int:
    """Samples in plateaus at the largest or smallest value: three or more equal ones that the trace both enters and
    leaves by a step of its own: at least 0.25 mV, and twice the smallest step of the trace.

    A quiet baseline of a converter or of a simulation is flat, too, but begins with the trace or is entered slowly."""
    changes = np.abs(np.diff(voltage_mV))
    steep = max(0.25, 2 * float(changes[changes > 0].min(initial=np.inf))) if changes.any() else np.inf
    total = 0
    for extreme in (voltage_mV.max(), voltage_mV.min()):
        flat = np.concatenate([[False], voltage_mV == extreme, [False]])
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - start >= 3 and start > 0 and stop < voltage_mV.size:
                total += int(stop - start) if min(changes[start - 1], changes[stop - 1]) >= steep else 0
    return total


def implied_resistance_MOhm(sweep: Sweep) -> float:
    """An input resistance to check units by, within a factor of a few: the change of the median voltage over that of
    the current where that is a step, else the range of the one over that of the other (5th to 95th percentile)."""
    if sweep.before.sum() >= 5 and is_step(sweep):
        v = np.median(sweep.voltage_mV[sweep.during]) - np.median(sweep.voltage_mV[sweep.before])
        i = np.median(sweep.current_pA[sweep.during]) - np.median(sweep.current_pA[sweep.before])
    else:
        v = np.diff(np.percentile(sweep.voltage_mV[sweep.during], [5.0, 95.0]))[0]
        i = np.diff(np.percentile(sweep.current_pA[sweep.during], [5.0, 95.0]))[0]
    return abs(1e3 * float(v) / float(i)) if i else float("nan")


def _varies(sweep: Sweep) -> bool:
    """A stimulus that fills its sweep has no base to be told from."""
    outside = ~sweep.during
    return bool(outside.sum() < 5 and np.ptp(sweep.current_pA) > 0)


def _refuse_voltages(recordings: Recordings, unit: str) -> None:
    sweeps = recordings.sweeps
    _refuse(
        sweeps,
        [bool(np.ptp(s.voltage_mV) == 0) for s in sweeps],
        lambda k: f"{sweeps[k].voltage_mV[0]:g} mV",
        "have a voltage that never changes",
        "Check the column of the voltage, or leave them out.",
    )
    largest = [float(np.abs(s.recorded_mV).max()) for s in sweeps]
    low, high = _PLAUSIBLE_MV
    better = [
        u
        for u, f in FACTORS["voltage"].items()
        if u != unit and all(low <= v * f / FACTORS["voltage"][unit] <= high for v in largest)
    ]
    advice = (
        f"Read in {better[0]} they would not: units={{'voltage': {better[0]!r}}}."
        if better
        else ("No unit makes them plausible; check the column of the voltage.")
    )
    _refuse(
        sweeps,
        [not low <= v <= high for v in largest],
        lambda k: f"at most {largest[k]:.3g} mV",
        f"have voltages, read in {unit}, whose largest magnitude is not the {low:g} to {high:g} mV of a membrane",
        advice,
    )


def _refuse_stimuli(sweeps: Sequence[Sweep]) -> None:
    problems: list[str] = []
    for s in sweeps:
        outside = ~s.during
        if outside.sum() < 5:
            continue  # it fills the sweep: there is nothing to compare with
        base = s.before if s.before.sum() >= 5 else outside
        power = departure(s.current_pA, base) ** 2
        on = np.flatnonzero(active(s.current_pA, base))
        if not on.size:
            on = np.flatnonzero(active(s.current_pA, outside))
        inner = on[s.during[on]]
        wrong = not inner.size or power[inner].sum() < _INSIDE * power[on].sum()
        # Whether it steps is asked of where it is on, not of where it is said to be on.
        if not wrong and _flat(s.current_pA[inner[0] : inner[-1] + 1], float(np.median(s.current_pA[base]))):
            off_by = max(_TOLERANCE_MS, 2 * s.dt_ms)
            first, last = s.start_ms + inner[0] * s.dt_ms, s.start_ms + (inner[-1] + 1) * s.dt_ms
            wrong = abs(first - s.onset_ms) > off_by or abs(last - s.offset_ms) > off_by
        if wrong:
            # A base that was said to be where the stimulus is shows nothing: it is looked for afresh.
            seen = find_stimulus(s.current_pA, s.dt_ms) or (on[0] * s.dt_ms, (on[-1] + 1) * s.dt_ms)
            start, stop = s.start_ms + seen[0], s.start_ms + seen[1]
            problems.append(
                f"{s.label}: said {s.onset_ms:g} to {s.offset_ms:g} ms, the current changes from {start:g} to {stop:g}"
            )
    if problems:
        raise SettingError(
            f"The stimulus is not where it is said to be: {offenders(problems)}. Give its onset and offset in ms from "
            "the zero of the times, or leave stimulus_ms out to have it found."
        )


def _flat(current_pA: np.ndarray, base_pA: float) -> bool:
    """Whether a current stays within half of its distance from the base (5th to 95th percentile)."""
    low, middle, high = np.percentile(current_pA, [5.0, 50.0, 95.0])
    return bool(high - low < 0.5 * abs(middle - base_pA))


def _refuse_resistances(sweeps: Sequence[Sweep], unit: str, plausible: tuple[float, float]) -> None:
    low, high = plausible
    found = [implied_resistance_MOhm(s) for s in sweeps]
    typical = float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")
    # A single small step in the noise says little: the family of sweeps is judged by its middle.
    if not np.isfinite(typical) or low <= typical <= high:
        return
    own = FACTORS["current"][unit]
    better = [u for u, f in FACTORS["current"].items() if u != unit and low <= typical * own / f <= high]
    shown = [f"{s.label}: {r:.3g} MOhm" for s, r in zip(sweeps, found, strict=True)]
    if better:
        value = typical * own / FACTORS["current"][better[0]]
        advice = f"Read in {better[0]} it would be {value:.3g} MOhm: units={{'current': {better[0]!r}}}."
    else:
        advice = "No unit of current makes it plausible; check both columns, or set plausible_MOhm."
    raise SchemaError(
        f"Voltage and current imply an input resistance of {typical:.3g} MOhm with the current read in {unit}; "
        f"nerve cells have {low:g} to {high:g}: {offenders(shown)}. {advice}"
    )


def _inverted(sweep: Sweep) -> bool:
    if sweep.before.sum() < 5 or not is_step(sweep):
        return False
    change = float(np.median(sweep.voltage_mV[sweep.during]) - np.median(sweep.voltage_mV[sweep.before]))
    return abs(change) > 1.0 and change * sweep.step_pA < 0


def _lag(jump: EdgeJump | None) -> int:
    return 0 if jump is None else jump.lag_samples


def _bridge_finding(recordings: Recordings, jumps: Sequence[EdgeJump | None]) -> Finding | None:
    odd = [j is not None and j.clear and abs(j.bridge_MOhm) > _BRIDGE_MOHM for j in jumps]
    left = [j.bridge_MOhm for j, yes in zip(jumps, odd, strict=True) if yes and j is not None]
    total = [
        s.bridge_MOhm + j.bridge_MOhm for s, j, yes in zip(recordings, jumps, odd, strict=True) if yes and j is not None
    ]
    middle = float(np.median(left)) if left else 0.0
    wanted = float(np.median(total)) if total else 0.0
    way = "under" if middle > 0 else "over"
    return _finding(
        recordings,
        "warning",
        "bridge",
        odd,
        lambda k: f"{left[int(np.sum(odd[:k]))]:+.1f} MOhm",
        f"sweeps have a voltage that jumps at the very edge of the step, as if the series resistance were "
        f"{way}-compensated by {abs(middle):.1f} MOhm (median); bridge_MOhm={wanted:.1f} in all would take it away",
    )


def _refuse(sweeps: Sequence[Sweep], bad: Sequence[bool], shown: Callable[[int], str], rule: str, remedy: str) -> None:
    if any(bad):
        found = [f"{sweeps[k].label}: {shown(k)}" for k, yes in enumerate(bad) if yes]
        raise SchemaError(f"Sweeps {rule}: {offenders(found)}. {remedy}")


def _finding(
    recordings: Recordings,
    severity: Severity,
    rule: str,
    marked: Sequence[bool],
    shown: Callable[[int], str],
    message: str,
) -> Finding | None:
    rows = [k for k, yes in enumerate(marked) if yes]
    if not rows:
        return None
    values = [f"{recordings.labels[k]}: {shown(k)}" for k in rows]
    return Finding(
        severity, rule, "sweeps", "", len(rows), f"{rule}=keep", examples_of(rows, values), f"{len(rows)} {message}"
    )
