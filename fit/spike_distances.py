"""Distances between spike trains that are metrics: van Rossum's and Victor and Purpura's."""

from __future__ import annotations

import math

import numpy as np

from connectofit.connectome.errors import SettingError
from connectofit.fit.spike_trains import Train, as_train, positive


def van_rossum(a: Train, b: Train, *, tau_ms: float = 10.0) -> float:
    """Van Rossum's distance D of two trains (times in ms, rising); sqrt(1/2) for one spike more or less.

        D^2 = 1/tau int_0^inf (f - g)^2 dt,   f(t) = sum_i H(t - t_i) exp(-(t - t_i) / tau)

    Integrated in closed form: D^2 = 1/2 sum_ij s_i s_j exp(-|t_i - t_j| / tau) over the spikes of both trains, s = 1 in
    the one and -1 in the other, by one pass over the merged spikes. (Elephant's distance is sqrt(2) times as large.)

    Raises `SchemaError` for trains that are none, `SettingError` for a time constant not above 0.

    Source: van Rossum 2001, Neural Comput 13:751.
    """
    a, b, tau = as_train(a), as_train(b), positive(tau_ms, "tau_ms")
    times = np.concatenate([a, b])
    order = np.argsort(times, kind="stable")
    sign = np.concatenate([np.ones(a.size), -np.ones(b.size)])[order]
    decay = np.exp(-np.diff(times[order]) / tau)
    trace, crossed = 0.0, 0.0
    for s, previous, kept in zip(sign[1:].tolist(), sign[:-1].tolist(), decay.tolist(), strict=True):
        trace = (trace + previous) * kept
        crossed += s * trace
    # Rounding can leave a little below 0 where the trains are the same.
    return math.sqrt(max(0.5 * times.size + crossed, 0.0))


def victor_purpura(a: Train, b: Train, *, cost_per_ms: float = 0.1) -> float:
    """Victor and Purpura's distance: the least cost of turning one train into the other.

    Adding or deleting a spike costs 1, moving one by dt costs `cost_per_ms` dt, so that spikes further apart than
    2 / cost_per_ms are deleted and added. By dynamic programming over the spikes of both trains,

        G_ij = min(G_i-1,j + 1, G_i,j-1 + 1, G_i-1,j-1 + q |a_i - b_j|)

    a row at a time: the chain of additions along a row is a running minimum of G_ij - j.

    Raises `SchemaError` for trains that are none, `SettingError` for a cost that is below 0 or not finite.

    Source: Victor & Purpura 1997, Network 8:127 (D^spike[q]).
    """
    a, b = as_train(a), as_train(b)
    if not (math.isfinite(cost_per_ms) and cost_per_ms >= 0):
        raise SettingError(f"cost_per_ms has to be finite and 0 or more; found {cost_per_ms!r}.")
    step = np.arange(b.size + 1, dtype=float)
    row = step.copy()
    for spike in a:
        best = row + 1.0
        np.minimum(best[1:], row[:-1] + cost_per_ms * np.abs(spike - b), out=best[1:])
        row = np.minimum.accumulate(best - step) + step
    return float(row[-1])
