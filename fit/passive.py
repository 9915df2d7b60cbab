"""Passive properties of a cell from one sweep: resting voltage, input resistance, time constants, sag.

By the definitions of eFEL (doi 10.5281/zenodo.593869), whose names are in brackets:

- voltage base: mean of the last 10 % of the time before the stimulus (`voltage_base`);
- steady state: mean of the last 10 % of the stimulus (`steady_state_voltage_stimend`);
- input resistance: steady state less base, over the same for the current (`ohmic_input_resistance_vb_ssse`);
- time constant: of the decay after a hyperpolarising onset (`time_constant`), and of the first 10 ms after the stimulus
  (`decay_time_constant_after_stim`);
- sag: steady state less minimum (`sag_amplitude`), over base less minimum (`sag_ratio1`).

They mean what they say in sweeps without spikes only, and are NaN in others. `charging_fit` is for cells of which
there are no others: it fits the rise up to the first spike, and is not eFEL's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import curve_fit, minimize_scalar

from connectofit.connectome.errors import SettingError
from connectofit.fit.recordings import Sweep
from connectofit.fit.spikes import DEFAULT_DETECTION, ActionPotentials, detect_spikes

_NAN = float("nan")


@dataclass(frozen=True)
class PassiveProperties:
    """What one sweep says about the membrane at rest; NaN where it says nothing (see the module).

    voltage_base_mV, steady_state_mV, base_pA (the holding current), step_pA (steady state less base),
    input_resistance_MOhm, time_constant_ms, decay_time_constant_ms, sag_mV, sag_ratio.
    """

    voltage_base_mV: float
    steady_state_mV: float
    base_pA: float
    step_pA: float
    input_resistance_MOhm: float
    time_constant_ms: float
    decay_time_constant_ms: float
    sag_mV: float
    sag_ratio: float


@dataclass(frozen=True)
class ChargingFit:
    """A single exponential through the charging of the membrane, V = V_inf + (V_0 - V_inf) exp(-t / tau), t from onset.

    time_constant_ms, v_start_mV, v_end_mV; resistance_MOhm: (v_end - voltage base) over the step; standard errors with
    ``_se``, from the fit's covariance with independent errors, which makes them too small on real traces. rmse_mV.
    duration_ms: of the trace that was fitted. decided: whether it lasts at least one time constant, without which v_end
    and the resistance are extrapolations.
    """

    time_constant_ms: float
    time_constant_se_ms: float
    v_start_mV: float
    v_end_mV: float
    v_end_se_mV: float
    resistance_MOhm: float
    rmse_mV: float
    duration_ms: float

    @property
    def decided(self) -> bool:
        return self.duration_ms >= self.time_constant_ms


def passive_properties(sweep: Sweep, spikes: ActionPotentials | None = None) -> PassiveProperties:
    """The passive properties of a sweep. spikes: of this sweep; detected where left out."""
    spikes = detect_spikes(sweep, DEFAULT_DETECTION) if spikes is None else spikes
    v, i = sweep.voltage_mV, sweep.current_pA
    base, steady = _base(sweep), _steady(sweep)
    v_base, i_base = _mean(v, base), _mean(i, base)
    v_steady, step = _mean(v, steady), _mean(i, steady) - i_base
    silent = not np.any(sweep.during[spikes.peak])
    deflection = v_steady - v_base
    lowest = float(v[sweep.during].min())
    hyperpolarised = silent and deflection <= 0 and lowest < v_base
    sag = v_steady - lowest if hyperpolarised else _NAN
    return PassiveProperties(
        v_base,
        v_steady,
        i_base,
        step,
        1e3 * deflection / step if silent and step else _NAN,
        time_constant(sweep) if hyperpolarised else _NAN,
        decay_time_constant(sweep) if silent else _NAN,
        sag,
        sag / (v_base - lowest) if hyperpolarised else _NAN,
    )


def time_constant(sweep: Sweep) -> float:
    """eFEL's `time_constant` [ms] of the decay after a hyperpolarising onset; NaN where there is none.

    The decay begins where dV/dt (five-point stencil), from ten samples after the onset on, stays at or below -0.005
    mV/ms for more than five samples, and ends at the first sample above it from which the mean of 70 ms is above it,
    too, all in the first half of the stimulus. To the logarithm of |V - V_end| + x a line is fitted; x, found by line
    search from 0 to 5 mV, makes the squared residuals over the squared range smallest.
    """
    slowest, ahead_ms, least = 5e-3, 70.0, 10
    first = sweep.at(sweep.onset_ms) + 10
    middle = sweep.at(0.5 * (sweep.onset_ms + sweep.offset_ms))
    if middle - first < least + 5:
        return _NAN
    t, v = sweep.time_ms[first:middle], sweep.voltage_mV[first:middle]
    rate = _stencil(v) / sweep.dt_ms
    slow = np.concatenate([[-1], np.flatnonzero(rate > -slowest), [rate.size]])
    runs = np.flatnonzero(np.diff(slow) > 5)
    if not runs.size:
        return _NAN
    start = int(slow[runs[0]]) + 1
    ahead = max(1, round(ahead_ms / sweep.dt_ms))
    total = np.concatenate([[0.0], np.cumsum(rate)])
    after = slow[(slow > start) & (slow < rate.size)]
    until = np.minimum(after + ahead, rate.size)
    level = (total[until] - total[after]) / (until - after)
    flat = after[level > -slowest]
    if not flat.size or flat[0] - start < least:
        return _NAN
    end = int(flat[0])
    distance = np.abs(v[start:end] - v[end])
    clock = t[start:end] - t[start]

    def misfit(x: float) -> float:
        y = np.log(distance + x)
        line = np.polynomial.Polynomial.fit(clock, y, 1)
        return float(np.sum((y - line(clock)) ** 2) / np.ptp(y) ** 2)

    tiny = 1e-9  # the logarithm of a distance of 0
    x = float(minimize_scalar(misfit, bounds=(tiny, 1e3 * slowest), method="bounded").x)
    slope = np.polynomial.Polynomial.fit(clock, np.log(distance + x), 1).convert().coef[1]
    return float(-1.0 / slope) if slope < 0 else _NAN


def decay_time_constant(sweep: Sweep, start_ms: float = 1.0, stop_ms: float = 10.0) -> float:
    """eFEL's `decay_time_constant_after_stim` [ms]: of a line through log |V - V(onset)| from `start_ms` to `stop_ms`
    after the offset. NaN where the sweep ends before, or the voltage crosses what it was at the onset.
    """
    a, b = sweep.at(sweep.offset_ms + start_ms), sweep.at(sweep.offset_ms + stop_ms)
    if b >= sweep.n_samples or b - a < 3:
        return _NAN
    distance = sweep.voltage_mV[a:b] - sweep.voltage_mV[sweep.at(sweep.onset_ms)]
    if not ((distance > 0).all() or (distance < 0).all()):
        return _NAN
    clock = sweep.dt_ms * np.arange(b - a)
    slope = np.polynomial.Polynomial.fit(clock, np.log(np.abs(distance)), 1).convert().coef[1]
    return float(-1.0 / slope) if slope else _NAN


def charging_fit(
    sweep: Sweep, spikes: ActionPotentials | None = None, *, skip_ms: float = 1.0, margin_ms: float = 5.0
) -> ChargingFit:
    """Fit one exponential from `skip_ms` after the onset to `margin_ms` before the first spike (or to the offset).

    For cells whose every step makes them fire. The rise bends when channels open, so that the shorter it lasts, the
    less it says: look at `ChargingFit.decided`. Raises `SettingError` if fewer than 10 samples are left, or if the
    current does not step.
    """
    spikes = detect_spikes(sweep, DEFAULT_DETECTION) if spikes is None else spikes
    after = spikes.begin_ms[spikes.time_ms > sweep.onset_ms]
    stop = min([sweep.offset_ms, *(after[:1] - margin_ms)])
    a, b = sweep.at(sweep.onset_ms + skip_ms), sweep.at(stop)
    if b - a < 10 or not sweep.step_pA:
        raise SettingError(
            f"Sweep {sweep.label!r} has {max(b - a, 0)} samples of charging before its first spike and a step of "
            f"{sweep.step_pA:g} pA; 10 samples and a step are needed. Take a weaker step."
        )
    t, v = sweep.time_ms[a:b] - sweep.onset_ms, sweep.voltage_mV[a:b]

    def curve(t: np.ndarray, start: float, end: float, log_tau: float) -> np.ndarray:
        return end + (start - end) * np.exp(-t * math.exp(-log_tau))

    guess = (float(v[0]), float(v[-1]), math.log(max(0.3 * float(t[-1] - t[0]), sweep.dt_ms)))
    try:
        best, covariance = curve_fit(curve, t, v, guess, maxfev=10_000)
    except RuntimeError as error:
        raise SettingError(f"The charging of sweep {sweep.label!r} is no exponential: {error}.") from error
    tau = math.exp(float(np.clip(best[2], -20, 20)))
    se = np.sqrt(np.diag(covariance))
    return ChargingFit(
        tau,
        tau * float(se[2]),
        float(best[0]),
        float(best[1]),
        float(se[1]),
        1e3 * (float(best[1]) - _mean(sweep.voltage_mV, _base(sweep))) / sweep.step_pA,
        float(np.sqrt(np.mean((v - curve(t, *best)) ** 2))),
        float(t[-1] - t[0]),
    )


def _base(sweep: Sweep) -> Bool[np.ndarray, "time"]:
    """The last tenth of the time before the stimulus. eFEL counts the sample of the onset to it, which is the first
    sample of the step."""
    k = np.arange(sweep.n_samples)
    start = sweep.onset_ms - 0.1 * (sweep.onset_ms - sweep.start_ms)
    return (k >= sweep.at(start)) & (k < sweep.at(sweep.onset_ms))


def _steady(sweep: Sweep) -> Bool[np.ndarray, "time"]:
    """The last tenth of the stimulus."""
    start = sweep.offset_ms - 0.1 * (sweep.offset_ms - sweep.onset_ms)
    k = np.arange(sweep.n_samples)
    return (k >= sweep.at(start)) & (k < sweep.at(sweep.offset_ms))


def _mean(trace: Float[np.ndarray, "time"], where: Bool[np.ndarray, "time"]) -> float:
    return float(trace[where].mean()) if where.any() else _NAN


def _stencil(v: Float[np.ndarray, "time"]) -> Float[np.ndarray, "time"]:
    """The five-point derivative per sample, central differences at the ends."""
    rate = np.gradient(v)
    rate[2:-2] = (v[:-4] - 8 * v[1:-3] + 8 * v[3:-1] - v[4:]) / 12
    return rate
