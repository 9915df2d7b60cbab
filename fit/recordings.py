"""Intracellular recordings as data: current-clamp sweeps in pA, mV and ms with all that was done to them.

A `Sweep` is one trace of injected current and one of membrane voltage on the same equidistant times, with the onset
and offset of its stimulus. Two corrections of the voltage are explicit and recorded in it, so that nothing is taken
off twice: the drop over the series resistance and the liquid junction potential,

    V = V_recorded - I R_bridge - V_junction

(Neher 1992, Methods Enzymol 207:123 for the sign of the second). `Recordings` are sweeps, of one cell or many.
`connectofit.fit.recording_io` reads and writes them, `connectofit.fit.sealed` splits them for fitting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import resample_poly

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name

MIN_SAMPLES = 20
"""Fewest samples of a sweep and of its stimulus: below, nothing can be told from noise."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """One current-clamp sweep. Sample k was taken `start_ms` + k `dt_ms` after the sweep's zero.

    current_pA, voltage_mV: [time], read-only float64. onset_ms, offset_ms: of the stimulus, on the same clock as
    `start_ms`. cell: "" if not known. bridge_MOhm, junction_mV: what was already taken off the voltage; a bridge below
    0 undoes an over-compensation.

    Raises `SchemaError` for arrays of other shapes, fewer than `MIN_SAMPLES` samples and values that are not finite,
    `SettingError` for a sampling interval that is not above 0 and a stimulus outside the sweep.
    """

    name: str
    current_pA: Float[np.ndarray, "time"] = field(repr=False)
    voltage_mV: Float[np.ndarray, "time"] = field(repr=False)
    dt_ms: float
    onset_ms: float
    offset_ms: float
    cell: str = ""
    start_ms: float = 0.0
    bridge_MOhm: float = 0.0
    junction_mV: float = 0.0

    def __post_init__(self) -> None:
        for name in ("current_pA", "voltage_mV"):
            given = getattr(self, name)
            try:
                values = np.array(given, dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise SchemaError(f"{name} of sweep {self.label!r} has to hold numbers: {error}.") from error
            if values.ndim != 1:
                raise SchemaError(f"{name} of sweep {self.label!r} has to be one trace; its shape is {values.shape}.")
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                found = [f"sample {k}: {values[k]}" for k in bad]
                raise SchemaError(
                    f"{name} of sweep {self.label!r} is missing or not finite at {offenders(found)}. Cut these "
                    "samples off, or leave the sweep out."
                )
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        if self.current_pA.size != self.voltage_mV.size:
            raise SchemaError(
                f"Sweep {self.label!r} has {self.current_pA.size} samples of current and {self.voltage_mV.size} of "
                "voltage; both have to be sampled together."
            )
        if self.n_samples < MIN_SAMPLES:
            raise SchemaError(
                f"Sweep {self.label!r} has {self.n_samples} samples; at least {MIN_SAMPLES} are needed. Leave it out."
            )
        for name in ("dt_ms", "onset_ms", "offset_ms", "start_ms", "bridge_MOhm", "junction_mV"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not _is_finite(value):
                raise SettingError(f"{name} of sweep {self.label!r} has to be a finite number; found {value!r}.")
            object.__setattr__(self, name, float(value))
        if self.dt_ms <= 0:
            raise SettingError(f"dt_ms of sweep {self.label!r} has to be above 0; found {self.dt_ms}.")
        if not self.start_ms <= self.onset_ms < self.offset_ms <= self.end_ms + 1e-6 * self.dt_ms:
            raise SettingError(
                f"The stimulus of sweep {self.label!r} is said to last from {self.onset_ms:g} to {self.offset_ms:g} ms,"
                f" but the sweep from {self.start_ms:g} to {self.end_ms:g} ms. Onset and offset count from the same "
                "zero as the samples' times, in ms."
            )
        if int(self.during.sum()) < MIN_SAMPLES:
            raise SchemaError(
                f"The stimulus of sweep {self.label!r} has {int(self.during.sum())} samples ({self.dt_ms:g} ms apart); "
                f"at least {MIN_SAMPLES} are needed. Check the sampling interval and the units of time."
            )

    @property
    def label(self) -> str:
        """``cell/name``, or the name alone where the cell is not known."""
        return f"{self.cell}/{self.name}" if self.cell else self.name

    @property
    def n_samples(self) -> int:
        return int(self.voltage_mV.size)

    @property
    def end_ms(self) -> float:
        """One sampling interval after the last sample."""
        return self.start_ms + self.n_samples * self.dt_ms

    @property
    def time_ms(self) -> Float[np.ndarray, "time"]:
        return self.start_ms + self.dt_ms * np.arange(self.n_samples)

    @property
    def before(self) -> Bool[np.ndarray, "time"]:
        """True before the stimulus."""
        return np.arange(self.n_samples) < self.at(self.onset_ms)

    @property
    def during(self) -> Bool[np.ndarray, "time"]:
        """True from the onset of the stimulus up to its offset, which is left out."""
        k = np.arange(self.n_samples)
        return (k >= self.at(self.onset_ms)) & (k < self.at(self.offset_ms))

    @property
    def recorded_mV(self) -> Float[np.ndarray, "time"]:
        """The voltage before its corrections."""
        return self.voltage_mV + self.current_pA * self.bridge_MOhm * 1e-3 + self.junction_mV

    @property
    def step_pA(self) -> float:
        """Mean current during the stimulus less the mean before it (0 before a stimulus that starts at once)."""
        base = float(self.current_pA[self.before].mean()) if self.before.any() else 0.0
        return float(self.current_pA[self.during].mean()) - base

    def at(self, time_ms: float) -> int:
        """Index of the first sample at or after a time, from 0 to `n_samples`."""
        return min(max(math.ceil((time_ms - self.start_ms) / self.dt_ms - 1e-6), 0), self.n_samples)

    def corrected(self, *, bridge_MOhm: float | None = None, junction_mV: float | None = None) -> Sweep:
        """The same sweep under these corrections in all, not on top of those that it has; None leaves one as it is.

        1 MΩ times 1 pA is 1e-3 mV. Raises what the constructor raises.
        """
        bridge = self.bridge_MOhm if bridge_MOhm is None else bridge_MOhm
        junction = self.junction_mV if junction_mV is None else junction_mV
        voltage = self.recorded_mV - self.current_pA * (1e-3 * bridge) - junction
        return replace(self, voltage_mV=voltage, bridge_MOhm=bridge, junction_mV=junction)

    def advanced(self, samples: int) -> Sweep:
        """The current that many samples earlier (later where below 0), its ends filled with their values.

        For rigs whose monitor of the current lags behind the voltage. Raises `SettingError` unless whole.
        """
        if isinstance(samples, bool) or not isinstance(samples, int | np.integer):
            raise SettingError(f"A current is moved by whole samples; found {samples!r}.")
        k = np.clip(np.arange(self.n_samples) + int(samples), 0, self.n_samples - 1)
        moved = replace(self, current_pA=self.current_pA[k], voltage_mV=self.recorded_mV, bridge_MOhm=0, junction_mV=0)
        return moved.corrected(bridge_MOhm=self.bridge_MOhm, junction_mV=self.junction_mV)

    def window(self, start_ms: float, stop_ms: float) -> Sweep:
        """The samples from `start_ms` up to `stop_ms`; the stimulus is what of it lies inside.

        Raises `SettingError` if no stimulus is left, `SchemaError` if too few samples are.
        """
        a, b = self.at(start_ms), self.at(stop_ms)
        start = self.start_ms + a * self.dt_ms
        end = self.start_ms + b * self.dt_ms
        return replace(
            self,
            current_pA=self.current_pA[a:b],
            voltage_mV=self.voltage_mV[a:b],
            start_ms=start,
            onset_ms=min(max(self.onset_ms, start), end),
            offset_ms=min(max(self.offset_ms, start), end),
        )

    def resampled(self, dt_ms: float) -> Sweep:
        """At a coarser sampling interval, a whole multiple of the present one.

        The current of a new sample is the mean over the interval that begins with it, which injects the same charge;
        the voltage is low-pass filtered and decimated, `scipy.signal.resample_poly` with its zero-phase FIR filter
        (Kaiser window, beta 5, cut off at half the new rate, 10 new samples to either side). Samples at the end that
        fill no interval are dropped. Detect spikes before: the filter lowers their peaks.

        Raises `SettingError` for any other interval.
        """
        if not (math.isfinite(dt_ms) and dt_ms > 0):
            raise SettingError(f"A sampling interval has to be above 0 ms; found {dt_ms!r}.")
        factor = round(dt_ms / self.dt_ms)
        if factor < 1 or abs(factor * self.dt_ms - dt_ms) > 1e-6 * dt_ms:
            near = self.dt_ms * max(factor, 1)
            raise SettingError(
                f"Sweep {self.label!r} is sampled every {self.dt_ms:g} ms and can be resampled to whole multiples of "
                f"that only; found {dt_ms:g} ms. The nearest is {near:g} ms."
            )
        if factor == 1:
            return self
        n = self.n_samples // factor
        current = self.current_pA[: n * factor].reshape(n, factor).mean(axis=1)
        voltage = resample_poly(self.voltage_mV, 1, factor, padtype="line")[:n]
        end = self.start_ms + n * factor * self.dt_ms
        return replace(
            self,
            current_pA=current,
            voltage_mV=voltage,
            dt_ms=factor * self.dt_ms,
            offset_ms=min(self.offset_ms, end),
        )


@dataclass(frozen=True, eq=False)
class Recordings:
    """Sweeps, of one cell or of many, each with its own sampling interval and length.

    Raises `SchemaError` if there is none, or if two have the same cell and name.
    """

    sweeps: tuple[Sweep, ...]
    labels: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sweeps", tuple(self.sweeps))
        labels = tuple(sweep.label for sweep in self.sweeps)
        object.__setattr__(self, "labels", labels)
        if not labels:
            raise SchemaError("Recordings need at least one sweep; there is none.")
        twice = [label for label in dict.fromkeys(labels) if labels.count(label) > 1]
        if twice:
            raise SchemaError(
                f"Every sweep of a cell needs a name of its own; found more than once: {offenders(twice)}. Rename them."
            )

    def __len__(self) -> int:
        return len(self.sweeps)

    def __iter__(self) -> Iterator[Sweep]:
        return iter(self.sweeps)

    def __getitem__(self, name: str) -> Sweep:
        """The sweep of a label, or of a name that only one cell has.

        Raises `UnknownNameError` if there is none, `SettingError` if several cells have one.
        """
        return self.sweeps[self._find(name)]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sweep.name for sweep in self.sweeps)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells in the order in which they first appear."""
        return tuple(dict.fromkeys(sweep.cell for sweep in self.sweeps))

    def _find(self, name: str) -> int:
        if name in self.labels:
            return self.labels.index(name)
        found = [k for k, own in enumerate(self.names) if own == name]
        if len(found) > 1:
            raise SettingError(
                f"Sweep {name!r} is one of several cells: {offenders([self.labels[k] for k in found])}. Name it with "
                "its cell."
            )
        if not found:
            raise unknown_name("sweep", name, (*self.labels, *(n for n in self.names if n not in self.labels)))
        return found[0]

    def cell(self, name: str) -> Recordings:
        """The sweeps of one cell. Raises `UnknownNameError` if there is none."""
        if name not in self.cells:
            raise unknown_name("cell", name, self.cells)
        return Recordings(tuple(sweep for sweep in self.sweeps if sweep.cell == name))

    def select(self, names: Sequence[str]) -> Recordings:
        """The named sweeps, in this order. Raises as `__getitem__`, and `SchemaError` for one named twice."""
        return Recordings(tuple(self[name] for name in _names(names)))

    def without(self, names: Sequence[str]) -> Recordings:
        """All but the named sweeps. Raises as `__getitem__`, and `SchemaError` if none is left."""
        gone = {self._find(name) for name in _names(names)}
        return Recordings(tuple(sweep for k, sweep in enumerate(self.sweeps) if k not in gone))

    def corrected(self, *, bridge_MOhm: float | None = None, junction_mV: float | None = None) -> Recordings:
        """`Sweep.corrected` of every sweep."""
        return Recordings(
            tuple(sweep.corrected(bridge_MOhm=bridge_MOhm, junction_mV=junction_mV) for sweep in self.sweeps)
        )

    def advanced(self, samples: int) -> Recordings:
        """`Sweep.advanced` of every sweep."""
        return Recordings(tuple(sweep.advanced(samples) for sweep in self.sweeps))

    def resampled(self, dt_ms: float) -> Recordings:
        """`Sweep.resampled` of every sweep."""
        return Recordings(tuple(sweep.resampled(dt_ms) for sweep in self.sweeps))

    def stacked(self) -> tuple[Float[np.ndarray, "sweep time"], Float[np.ndarray, "sweep time"], float]:
        """Current (pA), voltage (mV) and sampling interval (ms) of all sweeps as one array each.

        Raises `SchemaError` if the sweeps differ in sampling interval or length.
        """
        for what, values in (
            ("sampling intervals", [f"{s.dt_ms:g} ms" for s in self.sweeps]),
            ("lengths", [f"{s.n_samples} samples" for s in self.sweeps]),
        ):
            if len(set(values)) > 1:
                odd = [k for k, value in enumerate(values) if value != values[0]]
                found = [f"{self.labels[k]}: {values[k]}" for k in odd]
                raise SchemaError(
                    f"Sweeps of different {what} do not fit into one array: {self.labels[0]} has {values[0]}, but "
                    f"{offenders(found)}. Resample them, or cut them with Sweep.window."
                )
        current = np.stack([sweep.current_pA for sweep in self.sweeps])
        voltage = np.stack([sweep.voltage_mV for sweep in self.sweeps])
        return current, voltage, self.sweeps[0].dt_ms


def _names(names: Sequence[str]) -> list[str]:
    """As a list; a single text would otherwise be taken for its letters."""
    return [names] if isinstance(names, str) else [str(name) for name in names]


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
