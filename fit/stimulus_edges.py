"""Where a stimulus is, seen from its current, and what the voltage does at the very edge of a step.

At the edge of a step the membrane's capacitance holds its voltage still. A jump of the recorded voltage within a sample
or two is therefore that of the electrode: dV = dI R, with R the series resistance that the bridge left uncompensated,
or took off in excess where R is below 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter

from connectofit.fit.recordings import Sweep

_GLITCH_SAMPLES = 5  # a median over these takes single outliers of a converter away, and leaves edges where they are
_ACTIVE_FRACTION = 0.25
_NOISE_FACTOR = 4.0


@dataclass(frozen=True)
class EdgeJump:
    """The jump of the voltage at the onset of a step.

    bridge_MOhm: the jump over the step of the current; it is what `Sweep.corrected` takes (on top of what a sweep has).
    jump_mV. lag_samples: how many samples the recorded current comes after the voltage. clear: whether the jump stands
    out of the noise, without which the others mean nothing.
    """

    bridge_MOhm: float
    jump_mV: float
    lag_samples: int
    clear: bool


def departure(current_pA: Float[np.ndarray, "time"], base: Bool[np.ndarray, "time"]) -> Float[np.ndarray, "time"]:
    """How far the current is from its median over the samples `base`, without the outliers of single samples [pA]."""
    smooth = median_filter(current_pA, size=_GLITCH_SAMPLES, mode="nearest")
    return np.abs(smooth - np.median(current_pA[base]))


def active(current_pA: Float[np.ndarray, "time"], base: Bool[np.ndarray, "time"]) -> Bool[np.ndarray, "time"]:
    """True where the current is away from its base: by a quarter of what it reaches, and above its noise."""
    away = departure(current_pA, base)
    peak = float(np.percentile(away, 99.0))
    noise = float(np.median(away[base])) * 1.4826
    floor = 1e-9 * float(np.abs(current_pA).max())
    if peak <= max(2 * _NOISE_FACTOR * noise, floor):
        return np.zeros(current_pA.size, dtype=bool)
    return away > max(_ACTIVE_FRACTION * peak, _NOISE_FACTOR * noise)


def find_stimulus(current_pA: Float[np.ndarray, "time"], dt_ms: float) -> tuple[float, float] | None:
    """Onset and offset of the stimulus (ms after the first sample), from its current; None where nothing changes.

    The first and the last time that the current is away from what it is in the first 5 % of the sweep (at least 5
    samples). A test pulse before the stimulus counts as its beginning.
    """
    base = np.zeros(current_pA.size, dtype=bool)
    base[: max(5, current_pA.size // 20)] = True
    where = np.flatnonzero(active(np.asarray(current_pA, dtype=float), base))
    return (float(where[0]) * dt_ms, float(where[-1] + 1) * dt_ms) if where.size else None


def is_step(sweep: Sweep) -> bool:
    """Whether the current is about the same all the time between onset and offset: between its 5th and 95th percentile
    by less than half of the step."""
    low, high = np.percentile(median_filter(sweep.current_pA[sweep.during], size=_GLITCH_SAMPLES), [5.0, 95.0])
    return bool(high - low < 0.5 * abs(sweep.step_pA))


def edge_jump(sweep: Sweep) -> EdgeJump | None:
    """The jump of the voltage at the onset of a step; None for other stimuli and for steps that begin at once.

    The edge of the voltage is its largest change within 1 ms (at least two samples) of the onset. The jump is the
    voltage there, from a parabola through the eight samples after it extended back by half a sample, less the mean of
    the ten before. It is clear if the voltage changes there, from one sample to the next, by more than 4 standard
    deviations of the changes before and, where it goes on in the same direction, by twice what its slope explains more.
    """
    reach = max(2, math.ceil(1.0 / sweep.dt_ms))
    onset = sweep.at(sweep.onset_ms)
    if onset < 10 + 2 * reach or sweep.n_samples < onset + reach + 10 or not is_step(sweep):
        return None

    def edge(trace: np.ndarray) -> int:
        first = onset - reach
        return first + int(np.argmax(np.abs(np.diff(trace[first - 1 : onset + reach + 1]))))

    at_i, at_v = edge(sweep.current_pA), edge(sweep.voltage_mV)
    quiet = sweep.voltage_mV[at_v - 10 : at_v]
    k = np.arange(8)
    curve = np.polynomial.Polynomial.fit(k, sweep.voltage_mV[at_v : at_v + 8], 2)
    jump = float(curve(-0.5) - quiet.mean())
    change, slope = float(sweep.voltage_mV[at_v] - quiet[-1]), float(curve(1.0) - curve(0.0))
    clear = abs(change) > 4.0 * float(np.diff(quiet).std()) + (2.0 * abs(slope) if change * slope > 0 else 0.0)
    return EdgeJump(1e3 * jump / sweep.step_pA, jump, at_i - at_v, clear)
