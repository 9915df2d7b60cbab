"""Recorded population activity: rates, voltages, calcium signals or spikes of some of a network's neurons, by trial.

`read_activity` takes a table with one row a sample (or a spike), matches neurons by id, and checks what a fit would
trip over: sampling, gaps, traces that say nothing. Samples lie on one clock: sample k is at `first_ms` + k `dt_ms` of
its trial, whose time 0 is where a simulation begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.connectome.tables import load_table
from connectofit.fit.responses import Id, mapped_columns, numbers

Kind = Literal["rate", "voltage", "calcium", "spikes"]
COLUMNS = MappingProxyType({"trial": "trial", "time": "time_ms", "neuron": "neuron", "value": "value"})
"""Canonical columns to those of the table; tables of spikes have no values."""


@dataclass(frozen=True)
class Indicator:
    """A calcium indicator that follows activity x with a rise and a decay, of height 1 for a constant x of 1:

        c_t = k c_(t-1) + (1 - k) s_t,    s_t = m s_(t-1) + (1 - m) x_t,    k = exp(-dt / decay), m = exp(-dt / rise)

    (autoregressive of order 1, or 2 with a rise: Vogelstein et al. 2010, J Neurophysiol 104:3691; Pnevmatikakis et al.
    2016, Neuron 89:285). rise_ms: 0 for none.
    """

    decay_ms: float
    rise_ms: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.decay_ms) and self.decay_ms > 0):
            raise SettingError(f"decay_ms of an indicator has to be above 0; found {self.decay_ms!r}.")
        if not (math.isfinite(self.rise_ms) and 0 <= self.rise_ms < self.decay_ms):
            raise SettingError(f"rise_ms of an indicator has to be from 0 to below its decay; found {self.rise_ms!r}.")

    def check(self, dt_ms: float) -> None:
        """Raises a `SettingError` for frames that are further apart than the indicator's decay: what happens between
        two of them has left the signal by the second."""
        if dt_ms > self.decay_ms:
            raise SettingError(
                f"Frames every {dt_ms:g} ms cannot show a signal that decays within {self.decay_ms:g} ms. Give the "
                "kernel of the indicator that was used (Indicator), or bin the frames no further."
            )


@dataclass(frozen=True, eq=False)
class Activity:
    """Activity of some neurons of a network.

    ids: of the network. neuron: index of each recorded one in these. values: NaN where nothing was measured; spikes are
    counts in bins of dt_ms that end at the sample's time. trials: their names; session: of each, None where unknown.
    """

    ids: tuple[Id, ...] = field(repr=False)
    neuron: Int[np.ndarray, "recorded"] = field(repr=False)
    values: Float[np.ndarray, "trial time recorded"] = field(repr=False)
    kind: Kind
    dt_ms: float
    first_ms: float
    trials: tuple[Any, ...] = field(repr=False)
    session: tuple[Any, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown_name("kind of activity", str(self.kind), get_args(Kind))
        if self.values.shape[0] != len(self.trials) or self.values.shape[2:] != self.neuron.shape:
            raise SettingError(
                f"values of activity have to be [trial, time, recorded], ({len(self.trials)}, any, "
                f"{self.neuron.size}); found {self.values.shape}."
            )
        if self.session is not None and len(self.session) != len(self.trials):
            raise SettingError(f"{len(self.trials)} trials have {len(self.session)} sessions: name one for each.")
        outside = self.neuron[(self.neuron < 0) | (self.neuron >= len(self.ids))]
        if outside.size or np.unique(self.neuron).size < self.neuron.size:
            raise SettingError(
                f"Recorded neurons are places in the network's {len(self.ids)}, each once; found "
                f"{offenders(outside.tolist() or self.neuron.tolist())}."
            )
        if not (self.dt_ms > 0 and self.first_ms >= 0):
            raise SettingError(
                f"Samples lie dt_ms above 0 apart and begin at 0 or later; found {self.dt_ms!r}, {self.first_ms!r}."
            )

    @property
    def time_ms(self) -> Float[np.ndarray, "time"]:
        """When the samples are."""
        return self.first_ms + self.dt_ms * np.arange(self.values.shape[1])

    @property
    def recorded(self) -> tuple[Id, ...]:
        """The recorded neurons."""
        return tuple(self.ids[k] for k in self.neuron)

    def subset(
        self, *, trials: Bool[np.ndarray, "trial"] | None = None, neurons: Bool[np.ndarray, "recorded"] | None = None
    ) -> Activity:
        """Some of the trials, some of the recorded neurons."""
        row = np.arange(len(self.trials)) if trials is None else np.flatnonzero(trials)
        column = np.arange(self.neuron.size) if neurons is None else np.flatnonzero(neurons)
        return replace(
            self,
            neuron=self.neuron[column],
            values=self.values[row][:, :, column],
            trials=tuple(self.trials[k] for k in row),
            session=None if self.session is None else tuple(self.session[k] for k in row),
        )


def read_activity(
    source: str | Path | pa.Table | pd.DataFrame,
    ids: Sequence[Id],
    *,
    kind: Kind,
    columns: Mapping[str, str] | None = None,
    session: str | None = None,
    bin_ms: float | None = None,
    duration_ms: float | None = None,
) -> tuple[Activity, ValidationReport]:
    """Read activity and match it to the neurons `ids` of a network.

    Parameters
    ----------
    source: path (CSV, Parquet, Feather), Arrow table or pandas frame with one row a sample, or a spike.
    ids: the network's neurons, in its order; string or integer ids (of CSV, which has no types, by their text).
    kind: what the values are.
    columns: canonical name (see `COLUMNS`) to the table's column, for those that differ.
    session: the column that names the session of each trial, if there is one.
    bin_ms, duration_ms: of spikes, which are counted in bins of that width over a trial of that duration.

    Returns
    -------
    The activity, and a report: rows whose neurons the network does not have, and neurons without a finite value, which
    are left out; constant traces, which are kept.

    Raises
    ------
    UnknownNameError: a column that is not there. SettingError: bins for what is no table of spikes, none for one.
    SchemaError: a sample that stands twice, times that are not finite, below 0 or beyond the duration, samples that do
        not lie on one clock, and tables of which nothing is left.
    """
    if kind not in get_args(Kind):
        raise unknown_name("kind of activity", str(kind), get_args(Kind))
    spikes = kind == "spikes"
    if spikes != (bin_ms is not None) or spikes != (duration_ms is not None):
        raise SettingError("Tables of spikes need bin_ms and duration_ms, and other tables take neither.")
    table = load_table(source, "activity")
    wanted = {name: column for name, column in COLUMNS.items() if not (spikes and name == "value")}
    if session is not None:
        wanted["session"] = session
    shown = wanted | dict(columns or {})
    data = mapped_columns(table.arrow, wanted, shown, table.where)
    place: dict[Id, int] = {neuron if table.typed else str(neuron): k for k, neuron in enumerate(ids)}
    names = data["neuron"].to_pylist()
    rows = pd.DataFrame(
        {
            "trial": pd.Series(data["trial"].to_pylist(), dtype=object),
            "time": numbers(data["time"], shown["time"], table.where),
            "neuron": [place.get(name, -1) for name in names],
            "value": 1.0 if spikes else numbers(data["value"], shown["value"], table.where),
        }
    )
    _check_times(rows, duration_ms, shown["time"], table.where)
    findings: list[Finding] = []
    absent = sorted({name for name, k in zip(names, rows["neuron"], strict=True) if k < 0}, key=str)
    unmatched = rows["neuron"].to_numpy() < 0
    if unmatched.all():
        raise SchemaError(
            f"No row of {table.where} is of a neuron of the network; its names look like {offenders(absent)} and the "
            f"network's like {offenders(list(ids))}. Check that both name neurons alike."
        )
    if unmatched.any():
        text = f"{int(unmatched.sum())} rows are of neurons that the network does not have: {offenders(absent)}"
        findings.append(_finding("warning", "unmatched_id", shown["neuron"], absent, text, int(unmatched.sum())))
    sessions = dict(zip(rows["trial"], data["session"].to_pylist(), strict=True)) if session is not None else None
    trials = tuple(dict.fromkeys(rows["trial"]))
    rows = rows[~unmatched]
    if spikes:
        activity = _counted(rows, trials, ids, float(bin_ms or 0.0), float(duration_ms or 0.0))
    else:
        activity = _sampled(rows, trials, ids, kind, shown, table.where)
    if sessions is not None:
        activity = replace(activity, session=tuple(sessions[t] for t in trials))
    silent = ~np.isfinite(activity.values).any(axis=(0, 1))
    if silent.all():
        raise SchemaError(f"No neuron in {table.where} has a finite value.")
    if silent.any():
        lost = [activity.recorded[k] for k in np.flatnonzero(silent)]
        text = f"{len(lost)} neurons have no finite value and are left out: {offenders(lost)}"
        findings.append(_finding("warning", "no_value", shown["neuron"], lost, text, len(lost)))
        activity = activity.subset(neurons=~silent)
    flat = np.nanmax(activity.values, axis=(0, 1)) == np.nanmin(activity.values, axis=(0, 1))
    if flat.any():
        same = [activity.recorded[k] for k in np.flatnonzero(flat)]
        text = f"{len(same)} neurons have one value throughout, which says little: {offenders(same)}"
        findings.append(_finding("warning", "constant", shown["neuron"], same, text, 0))
    counts = {"activity": len(names)}
    kept = {"activity": int((~unmatched).sum())}
    return activity, ValidationReport(tuple(findings), counts, kept, source={"activity": table.source}, columns=shown)


def _finding(
    severity: Literal["warning", "info"], rule: str, column: str, examples: Sequence[Any], text: str, dropped: int
) -> Finding:
    shown = examples_of(np.arange(len(examples)), list(examples))
    policy = f"{rule}=drop" if dropped else f"{rule}=keep"
    return Finding(severity, rule, "activity", column, max(dropped, len(examples)), policy, shown, text, dropped)


def _check_times(rows: pd.DataFrame, duration_ms: float | None, column: str, where: str) -> None:
    time = rows["time"].to_numpy()
    outside = ~np.isfinite(time) | (time < 0)
    limit = "0 or later"
    if duration_ms is not None:
        outside |= time > duration_ms
        limit = f"from 0 to the trial's {duration_ms:g} ms"
    if outside.any():
        found = [f"row {k + 1}: {time[k]:g}" for k in np.flatnonzero(outside)]
        raise SchemaError(
            f"Times in column {column!r} of {where} have to be finite and {limit}; found {offenders(found)}. Are they "
            "in ms, and since the trial's beginning?"
        )


def _counted(
    rows: pd.DataFrame, trials: tuple[Any, ...], ids: Sequence[Id], bin_ms: float, duration_ms: float
) -> Activity:
    n = round(duration_ms / bin_ms) if bin_ms > 0 else 0
    if n < 1 or abs(n * bin_ms - duration_ms) > 1e-6 * bin_ms:
        raise SettingError(f"Bins of {bin_ms!r} ms have to divide the duration of {duration_ms!r} ms.")
    neuron = np.unique(rows["neuron"])
    values = np.zeros((len(trials), n, neuron.size))
    row = rows["trial"].map({t: k for k, t in enumerate(trials)}).to_numpy()
    # A bin ends at its sample's time and takes what happens there.
    step = np.clip(np.ceil(rows["time"].to_numpy() / bin_ms - 1e-9).astype(int) - 1, 0, n - 1)
    np.add.at(values, (row, step, np.searchsorted(neuron, rows["neuron"])), 1.0)
    return Activity(tuple(ids), neuron, values, "spikes", float(bin_ms), float(bin_ms), trials)


def _sampled(
    rows: pd.DataFrame, trials: tuple[Any, ...], ids: Sequence[Id], kind: Kind, shown: Mapping[str, str], where: str
) -> Activity:
    again = rows[rows.duplicated(["trial", "time", "neuron"])]
    if len(again):
        found = [f"trial {t}, {time:g} ms, {ids[k]}" for t, time, k in again[["trial", "time", "neuron"]].to_numpy()]
        raise SchemaError(f"A sample of a neuron may stand once in {where}; found again: {offenders(found)}.")
    times = np.unique(rows["time"].to_numpy())
    if times.size < 2:
        raise SchemaError(f"{where} has {times.size} time; activity needs two samples or more.")
    dt = float(np.median(np.diff(times)))
    place = (times - times[0]) / dt
    off = np.abs(place - np.round(place)) > 1e-3
    if off.any():
        found = [f"{time:g}" for time in times[off]]
        raise SchemaError(
            f"Samples in column {shown['time']!r} of {where} lie {dt:g} ms apart, but for those at {offenders(found)}. "
            "Resample all trials to one clock."
        )
    n = round(float(place[-1])) + 1
    neuron = np.unique(rows["neuron"])
    values = np.full((len(trials), n, neuron.size), np.nan)
    row = rows["trial"].map({t: k for k, t in enumerate(trials)}).to_numpy()
    step = np.round((rows["time"].to_numpy() - times[0]) / dt).astype(int)
    values[row, step, np.searchsorted(neuron, rows["neuron"])] = rows["value"].to_numpy()
    values[~np.isfinite(values)] = np.nan
    return Activity(tuple(ids), neuron, values, kind, dt, float(times[0]), trials)
