"""Action potentials in a voltage trace: where they are, and their shape by the definitions of eFEL.

eFEL (Blue Brain Project, Electrophys Feature Extraction Library, doi 10.5281/zenodo.593869) finds a spike between an
upward and a downward crossing of a fixed voltage. Spikes that shrink fall through it, and the wrong count is not
noticed. Here a spike is a maximum that stands out of its neighbourhood and rises fast; the crossings of eFEL are there
with `threshold_mV`. The shape of a spike is measured on the sampled trace as eFEL does with its `interp_step` equal to
the sampling interval:

- peak: the first of the largest samples; AHP: the first sample after the peak whose two successors are not lower than
  the lowest so far (`min_AHP_indices`);
- begin, the threshold: the first of `window` samples from the last AHP (or the stimulus' onset) on at which dV/dt, a
  central difference, is `derivative_mV_per_ms` or more (`AP_begin_indices`);
- amplitude: peak less begin (`AP_amplitude`);
- half width: time above the middle between peak and AHP, interpolated linearly (`spike_half_width`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import minimum_filter1d
from scipy.signal import find_peaks, peak_prominences

from connectofit.connectome.errors import SettingError
from connectofit.fit.recordings import Sweep


@dataclass(frozen=True)
class SpikeDetection:
    """What counts as a spike.

    derivative_mV_per_ms: dV/dt that the rise reaches, and at which a spike begins. min_height_mV: how far the peak
    stands above the trace on either side (its prominence). window: samples that the derivative has to stay above at
    the beginning (eFEL's DerivativeWindow). rise_ms: within which the peak follows the steepest rise. neighbourhood_ms:
    how far the trace is looked at for the height. threshold_mV: if given, spikes are the maxima between upward and
    downward crossings of this voltage, and neither height nor rise is asked for.

    Raises `SettingError` for values that cannot be.
    """

    derivative_mV_per_ms: float = 10.0
    min_height_mV: float = 15.0
    window: int = 3
    rise_ms: float = 3.0
    neighbourhood_ms: float = 100.0
    threshold_mV: float | None = None

    def __post_init__(self) -> None:
        for name in ("derivative_mV_per_ms", "min_height_mV", "rise_ms", "neighbourhood_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of a spike detection has to be above 0; found {value!r}.")
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 1:
            raise SettingError(f"window of a spike detection has to be a whole number, 1 or more; found {self.window}.")
        if self.threshold_mV is not None and not math.isfinite(self.threshold_mV):
            raise SettingError(f"threshold_mV of a spike detection has to be finite; found {self.threshold_mV!r}.")


DEFAULT_DETECTION = SpikeDetection()


@dataclass(frozen=True, eq=False)
class ActionPotentials:
    """The spikes of one sweep in their order; what a spike does not have is NaN (index -1).

    peak, begin, ahp: samples. time_ms: of the peak; begin_ms: of the beginning. peak_mV, begin_mV, ahp_mV,
    amplitude_mV, half_width_ms: see the module.
    """

    peak: Int[np.ndarray, "spike"]
    begin: Int[np.ndarray, "spike"]
    ahp: Int[np.ndarray, "spike"]
    time_ms: Float[np.ndarray, "spike"]
    begin_ms: Float[np.ndarray, "spike"]
    peak_mV: Float[np.ndarray, "spike"]
    begin_mV: Float[np.ndarray, "spike"]
    ahp_mV: Float[np.ndarray, "spike"]
    half_width_ms: Float[np.ndarray, "spike"]

    def __len__(self) -> int:
        return int(self.peak.size)

    @property
    def amplitude_mV(self) -> Float[np.ndarray, "spike"]:
        return self.peak_mV - self.begin_mV

    def between(self, start_ms: float, stop_ms: float) -> ActionPotentials:
        """The spikes whose peak lies from `start_ms` to `stop_ms`, both included as eFEL does."""
        kept = (self.time_ms >= start_ms) & (self.time_ms <= stop_ms)
        return ActionPotentials(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def detect_spikes(sweep: Sweep, detection: SpikeDetection = DEFAULT_DETECTION) -> ActionPotentials:
    """The spikes of a sweep with their shape; empty where there is none."""
    v, dt = sweep.voltage_mV, sweep.dt_ms
    rate = np.gradient(v, dt)
    fixed = detection.threshold_mV
    peak = _peaks(v, rate, dt, detection) if fixed is None else _crossings(v, fixed)
    ends = np.append(peak, v.size)[1:] if peak.size else peak
    ahp = np.array([_first_minimum(v, a, b) for a, b in zip(peak, ends, strict=True)], dtype=np.int64)
    if ahp.size and ahp[-1] == v.size - 1:
        ahp[-1] = -1  # the trace ends before the minimum
    fast = _runs_of(rate >= detection.derivative_mV_per_ms, detection.window)
    begin = np.full(peak.size, -1, dtype=np.int64)
    onset = sweep.at(sweep.onset_ms)
    for k, top in enumerate(peak):
        first = ahp[k - 1] if k else (onset if top > onset else 0)
        found = np.flatnonzero(fast[first:top])
        if found.size:
            begin[k] = first + found[0]
    time = sweep.time_ms
    return ActionPotentials(
        peak,
        begin,
        ahp,
        time[peak],
        np.where(begin < 0, np.nan, time[begin]),
        v[peak],
        np.where(begin < 0, np.nan, v[begin]),
        np.where(ahp < 0, np.nan, v[ahp]),
        np.array([_half_width(v, dt, *triple) for triple in zip([onset, *ahp[:-1]], peak, ahp, strict=True)])
        if peak.size
        else np.zeros(0),
    )


def _peaks(v: np.ndarray, rate: np.ndarray, dt: float, detection: SpikeDetection) -> np.ndarray:
    # A neighbourhood of an odd number of samples, so that it is centred on the peak.
    wide = 2 * math.ceil(detection.neighbourhood_ms / dt) + 1
    top, found = find_peaks(v, plateau_size=1)
    high = v[top] - minimum_filter1d(v, wide, mode="nearest")[top] >= detection.min_height_mV
    prominence, _, _ = peak_prominences(v, top[high], wlen=wide)
    peak = np.asarray(found["left_edges"][high][prominence >= detection.min_height_mV], dtype=np.int64)
    reach = max(2, math.ceil(detection.rise_ms / dt))
    steep = [bool(rate[max(k - reach, 0) : k].max(initial=-math.inf) >= detection.derivative_mV_per_ms) for k in peak]
    return peak[np.array(steep, dtype=bool)]


def _crossings(v: np.ndarray, threshold_mV: float) -> np.ndarray:
    above = np.concatenate([[False], v > threshold_mV, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    # A trace that begins or ends above the threshold shows half a spike at best.
    pairs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a > 0 and b < v.size]
    return np.array([a + int(np.argmax(v[a:b])) for a, b in pairs], dtype=np.int64)


def _first_minimum(v: np.ndarray, start: int, stop: int) -> int:
    """The first sample whose two successors are not lower, of those lower than all before; else the lowest."""
    part = v[start:stop]
    lowest = np.minimum.accumulate(part)
    lower = np.flatnonzero(np.concatenate([[True], part[1:] < lowest[:-1]]))
    ends = np.flatnonzero(np.diff([*lower, part.size + 1]) >= 3) if part.size > 2 else np.zeros(0, int)
    if ends.size and lower[ends[0]] + 2 < part.size:
        return start + int(lower[ends[0]])
    return start + int(np.argmin(part))


def _runs_of(yes: Bool[np.ndarray, "time"], length: int) -> Bool[np.ndarray, "time"]:
    """True where this sample and the following, `length` in all, are true."""
    total = np.concatenate([[0], np.cumsum(yes)])
    runs = np.zeros(yes.size, dtype=bool)
    runs[: yes.size - length + 1] = total[length:] - total[:-length] == length
    return runs


def _half_width(v: np.ndarray, dt: float, first: int, peak: int, ahp: int) -> float:
    """Time above the middle of peak and following AHP, the flanks interpolated [ms]; NaN where a flank is missing."""
    if ahp < 0 or first < 0:
        return float("nan")
    half = 0.5 * (v[peak] + v[ahp])
    rise = np.flatnonzero(v[first:peak] > half)
    fall = np.flatnonzero(v[peak:ahp] < half)
    up = first + int(rise[0]) if rise.size else peak
    down = peak + int(fall[0]) if fall.size else ahp
    if up == 0 or v[up] == v[up - 1] or v[down] == v[down - 1]:
        return float("nan")
    t_up = up - (v[up] - half) / (v[up] - v[up - 1])
    t_down = down - (v[down] - half) / (v[down] - v[down - 1])
    return float((t_down - t_up) * dt)
