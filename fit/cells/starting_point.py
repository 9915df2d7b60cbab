"""What recordings say about a cell before anything is fitted: the place from which a fit starts.

Between spikes an integrate-and-fire neuron is linear. With every recorded spike setting V to V_reset,

    V(t) = E + R x(t) + (V_reset - E) e(t)        x: the current low-pass filtered with tau since the last spike
                                                  e = exp(-(t - t_spike) / tau); before the first spike V_reset is V(0)

so that E, R and V_reset follow by least squares for every tau, and tau by a search over its logarithm (variable
projection: Golub & Pereyra 1973, SIAM J Numer Anal 10:413). Unlike a regression of dV/dt this is not biased by noise
of the voltage. The threshold is the median voltage at which recorded spikes begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from connectofit.connectome.errors import SettingError
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection, detect_spikes

TAU_MS = (1.0, 200.0)
"""Membrane time constants that are searched."""

_T_REF_MS = (1.0, 5.0)
_ENOUGH = 5e4  # samples after which more of them change nothing


@dataclass(frozen=True)
class StartingPoint:
    """Where a fit starts: e_mV (potential without current), r_GOhm, tau_ms, v_reset_mV (t_ref_ms after a spike began),
    v_threshold_mV, t_ref_ms, rheobase_pA = (threshold - E) / R, rmse_mV of the linear membrane on what was not masked.
    n_spikes: 0 where threshold and reset are guesses, 15 mV above E and E."""

    e_mV: float
    r_GOhm: float
    tau_ms: float
    v_reset_mV: float
    v_threshold_mV: float
    t_ref_ms: float
    rmse_mV: float
    n_spikes: int

    @property
    def g_nS(self) -> float:
        return 1.0 / self.r_GOhm

    @property
    def c_m_pF(self) -> float:
        return self.tau_ms / self.r_GOhm

    @property
    def rheobase_pA(self) -> float:
        return (self.v_threshold_mV - self.e_mV) / self.r_GOhm


def spike_onsets(
    recordings: Recordings, detection: SpikeDetection = DEFAULT_DETECTION
) -> tuple[Int[np.ndarray, " spike"], ...]:
    """The samples at which the spikes of every sweep begin; their peaks where no beginning was found. A spike under way
    at the first sample, which no step leads to, is none of them."""
    found = []
    for sweep in recordings:
        spikes = detect_spikes(sweep, detection)
        begins = np.where(spikes.begin >= 0, spikes.begin, spikes.peak)
        found.append(begins[begins > 0])
    return tuple(found)


def starting_point(
    recordings: Recordings,
    onsets: Sequence[Int[np.ndarray, " spike"]] | None = None,
    *,
    before_ms: float = 5.0,
    t_ref_ms: float | None = None,
    detection: SpikeDetection = DEFAULT_DETECTION,
) -> StartingPoint:
    """The starting point of one cell.

    Parameters
    ----------
    onsets: for every sweep the samples at which spikes begin; detected where left out. before_ms: how long before a
    spike the voltage is left out. t_ref_ms: for how long after, and how long V is held; by default the median time from
    the beginning of a spike to the minimum after it, 1 to 5 ms and at most 0.9 of the shortest interval. detection: how
    spikes are found.

    Raises `SettingError` where nothing is left between the spikes, or the current does not change.
    """
    onsets = spike_onsets(recordings, detection) if onsets is None else onsets
    n_spikes = int(sum(len(k) for k in onsets))
    t_ref = _refractory(recordings, onsets, detection) if t_ref_ms is None else float(t_ref_ms)
    kept = [_between(s, k, before_ms, t_ref) for s, k in zip(recordings, onsets, strict=True)]
    current = np.concatenate([s.current_pA[keep] for s, keep in zip(recordings, kept, strict=True)])
    if current.size < 20 or np.ptp(current) == 0:
        raise SettingError(
            f"Between the spikes {current.size} samples are left, and their current "
            f"{'does not change' if current.size else 'is none'}: no resistance follows from them. Add a sweep with a "
            "weaker stimulus, or give start= for every parameter."
        )
    voltage = np.concatenate([s.voltage_mV[keep] for s, keep in zip(recordings, kept, strict=True)])
    stride = max(1, int(voltage.size / _ENOUGH))

    def membrane(log_tau: float) -> tuple[float, np.ndarray]:
        parts = [_columns(s, k, np.exp(log_tau), t_ref) for s, k in zip(recordings, onsets, strict=True)]
        rows = np.concatenate([a[keep] for (a, _), keep in zip(parts, kept, strict=True)])[::stride]
        offset = np.concatenate([b[keep] for (_, b), keep in zip(parts, kept, strict=True)])[::stride]
        used = rows if n_spikes else rows[:, :2]
        found = np.linalg.lstsq(used.T @ used, used.T @ (voltage[::stride] - offset), rcond=None)[0]
        return float(np.sqrt(np.mean((used @ found - voltage[::stride] + offset) ** 2))), found

    grid = np.linspace(np.log(TAU_MS[0]), np.log(TAU_MS[1]), 16)
    best = int(np.argmin([membrane(x)[0] for x in grid]))
    span = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    log_tau = float(minimize_scalar(lambda x: membrane(x)[0], bounds=span, method="bounded").x)
    rmse, found = membrane(log_tau)
    e, r = float(found[0]), float(found[1])
    if not r > 0:
        r = 1e-3 * max(float(np.ptp(voltage)), 1.0) / float(np.ptp(current)) * 1e3  # the scale of voltage over current
    reset = float(found[2]) if n_spikes else e
    starts = [s.voltage_mV[max(k - 1, 0)] for s, ks in zip(recordings, onsets, strict=True) for k in ks]
    threshold = float(np.median(starts)) if starts else e + 15.0
    return StartingPoint(e, r, float(np.exp(log_tau)), reset, threshold, t_ref, rmse, n_spikes)


def _refractory(
    recordings: Recordings, onsets: Sequence[Int[np.ndarray, " spike"]], detection: SpikeDetection
) -> float:
    """From the beginning of a spike to the first sample after its peak that the next two do not undercut."""
    durations, shortest = [], np.inf
    for sweep, begins in zip(recordings, onsets, strict=True):
        spikes = detect_spikes(sweep, detection)
        fell = (spikes.ahp >= 0) & (spikes.begin >= 0)
        durations.extend(((spikes.ahp - spikes.begin)[fell] * sweep.dt_ms).tolist())
        if len(begins) > 1:
            shortest = min(shortest, float(np.diff(begins).min()) * sweep.dt_ms)
    middle = float(np.median(durations)) if durations else 2.0
    return float(min(np.clip(middle, *_T_REF_MS), 0.9 * shortest))


def _between(
    sweep: Sweep, onsets: Int[np.ndarray, " spike"], before_ms: float, after_ms: float
) -> Bool[np.ndarray, " time"]:
    """True between spikes: not from `before_ms` before a beginning to `after_ms` after it."""
    kept = np.ones(sweep.n_samples, dtype=bool)
    before, after = round(before_ms / sweep.dt_ms), round(after_ms / sweep.dt_ms)
    for k in onsets:
        kept[max(k - before, 0) : k + after + 1] = False
    return kept


def _columns(
    sweep: Sweep, onsets: Int[np.ndarray, " spike"], tau_ms: float, t_ref_ms: float
) -> tuple[Float[np.ndarray, "time 3"], Float[np.ndarray, " time"]]:
    """What multiplies E, R and V_reset at every sample, and what is known: the decay of the first voltage."""
    n, kept = sweep.n_samples, float(np.exp(-sweep.dt_ms / tau_ms))
    columns, known = np.zeros((n, 3)), np.zeros(n)
    wait = round(t_ref_ms / sweep.dt_ms)
    starts = [0, *(int(k) + wait for k in onsets)]
    for k, start in enumerate(starts):
        stop = min(starts[k + 1] - wait, n) if k + 1 < len(starts) else n
        if stop <= start:
            continue
        fades = kept ** np.arange(stop - start)
        driven = np.concatenate([[0.0], sweep.current_pA[start : stop - 1]])
        columns[start:stop, 0] = 1.0 - fades
        columns[start:stop, 1] = lfilter([1.0 - kept], [1.0, -kept], driven)
        if k:
            columns[start:stop, 2] = fades
        else:
            known[start:stop] = sweep.voltage_mV[0] * fades
    return columns, known
