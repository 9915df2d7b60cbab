"""How well a fitted cell does on sweeps: its spikes and voltage against the recorded ones, with intervals.

A cell that was fitted with an escape rate is a random neuron: its trains are drawn, and scores are means over them. One
without is deterministic and has one train. All scores are of the time in which the stimulus is on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.problem import MASK_BEFORE_MS, CellProblem, Onsets, cell_data, checked_onsets
from connectofit.fit.cells.teacher_forced import draw_spikes, forced_trace
from connectofit.fit.coincidence import mean_gamma
from connectofit.fit.folds import check_seed
from connectofit.fit.intervals import block_interval, bootstrap_interval
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.spike_scores import (
    adaptation_error,
    count_error,
    explained_variance,
    latency_error_ms,
    spike_mask,
    spike_scores,
    subthreshold_rmse,
)
from connectofit.fit.spike_trains import Train, Trains
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection, detect_spikes
from connectofit.sim.neurons import NeuronModel

WIDTH = "delta_v_mV"
BLOCK_MS = 200.0
"""Length of the blocks of a stimulus that are drawn again for intervals; longer than a cell's memory for its spikes."""

_OVER_BLOCKS: dict[str, Callable[[Trains, Trains, float], float]] = {
    "gamma": lambda data, model, duration: mean_gamma(data, model, duration),
    "explained_variance": lambda data, model, duration: explained_variance(data, model, duration),
    "count_error": lambda data, model, duration: count_error(data, model),
}
_OVER_TRAINS: dict[str, Callable[[Trains, Trains], float]] = {
    "latency_error_ms": latency_error_ms,
    "adaptation_error": adaptation_error,
}


@dataclass(frozen=True, eq=False)
class CellTrace:
    """A fitted cell under a sweep's current: trains (ms on the sweep's clock, one a drawing), the voltage of the first
    of them (mV, [time]), and the voltage under the recorded spikes (mV, [time]), None for models that cannot be given
    spikes. recorded: when the recorded spikes began (ms on the sweep's clock)."""

    sweep: Sweep
    recorded: Train = field(repr=False)
    trains: tuple[Train, ...]
    voltage_mV: Float[np.ndarray, "time"] = field(repr=False)
    forced_mV: Float[np.ndarray, "time"] | None = field(repr=False, default=None)


def recorded_train(sweep: Sweep, detection: SpikeDetection = DEFAULT_DETECTION) -> Train:
    """When the recorded spikes began [ms], which is when models without an upstroke fire; their peaks where no
    beginning was found."""
    found = detect_spikes(sweep, detection)
    return np.sort(np.where(np.isfinite(found.begin_ms), found.begin_ms, found.time_ms))


def cell_traces(
    problem: CellProblem,
    x: Float[np.ndarray, " k"],
    recordings: Recordings,
    *,
    trials: int = 20,
    seed: int = 0,
    onsets: Onsets | None = None,
) -> tuple[CellTrace, ...]:
    """The cell with the free parameters `x` under the currents of sweeps.

    trials: how many trains are drawn of a cell with an escape rate. onsets: the samples at which the recorded spikes of
    every sweep begin; found by the problem's detection where left out. Raises `SettingError` for fewer than one trial,
    and for sweeps that are sampled otherwise than those it was fitted to; `SchemaError` for onsets outside of a sweep.
    """
    check_seed(seed)
    if isinstance(trials, bool) or not isinstance(trials, int | np.integer) or trials < 1:
        raise SettingError(f"trials has to be a whole number, 1 or more; found {trials!r}.")
    x = np.asarray(x, np.float64)
    random = WIDTH in problem.names
    free = problem.simulate(x, recordings)
    begins = checked_onsets(recordings, onsets, problem.detection)
    traces = []
    for k, sweep in enumerate(recordings):
        one = Recordings((sweep,))
        data = cell_data(one, begins[k : k + 1], problem.cell.fixed, mask_ms=None, initial=problem.initial)
        trains: tuple[Train, ...] = (free[k]["spike_ms"],)
        voltage, forced = free[k][problem.cell.neuron.voltage], None
        p, neuron = _values(problem, jnp.asarray(x, jnp.float32), data), problem.cell.neuron
        if random:
            keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), k), trials)
            spikes, drawn = (np.asarray(a) for a in _drawn(neuron, p, data, keys, problem.dt_ms))
            trains = tuple(sweep.time_ms[np.flatnonzero(row > 0.5) + 1] for row in spikes[:, :, 0])
            voltage = np.concatenate([[voltage[0]], drawn[0, :, 0]])
        if problem.loss.what.startswith("likelihood"):
            under = _forced(neuron, p, data, problem.dt_ms)
            forced = np.concatenate([[voltage[0]], np.asarray(under["v_mV"])[:, 0]])
        recorded = recorded_train(sweep, problem.detection) if onsets is None else sweep.time_ms[begins[k]]
        traces.append(CellTrace(sweep, recorded, trains, voltage, forced))
    return tuple(traces)


def _values(problem: CellProblem, x: Array, data: Mapping[str, Any]) -> dict[str, Array]:
    return {**data["fixed"], **{name: x[k] for k, name in enumerate(problem.names)}}


# The model is static and all that differs between cells is data: a second cell finds the program compiled.
@partial(jax.jit, static_argnames=("neuron", "dt_ms"))
def _drawn(
    neuron: NeuronModel, p: dict[str, Array], data: Mapping[str, Any], keys: Array, dt_ms: float
) -> tuple[Array, Array]:
    return jax.vmap(partial(draw_spikes, neuron, p, p[WIDTH], data, dt_ms))(keys)


_forced = jax.jit(forced_trace, static_argnames=("neuron", "dt_ms"))


def score_cell(traces: Sequence[CellTrace]) -> pd.DataFrame:
    """One row a sweep: ``sweep``, ``step_pA``, ``spikes`` (recorded, while the stimulus is on), the scores of
    `spike_scores`, and ``subthreshold_rmse_mV`` [mV], of the voltage under recorded spikes where there is one and else
    of the freely running one, from 10 ms after a spike to 5 ms before the next."""
    rows = []
    for trace in traces:
        rows.append({**train_scores(trace, trace.trains), "subthreshold_rmse_mV": _rmse(trace)})
    return pd.DataFrame(rows)


def train_scores(trace: CellTrace, trains: Trains) -> dict[str, Any]:
    """The scores of trains against a trace's recorded one: ``sweep``, ``step_pA``, ``spikes`` (recorded, while the
    stimulus is on) and those of `spike_scores`."""
    sweep, data = trace.sweep, trace.recorded
    n_spikes = int(((data >= sweep.onset_ms) & (data < sweep.offset_ms)).sum())
    scores = spike_scores(data, list(trains), sweep.onset_ms, sweep.offset_ms)
    return {"sweep": sweep.name, "step_pA": sweep.step_pA, "spikes": n_spikes, **scores}


def _rmse(trace: CellTrace) -> float:
    sweep, data = trace.sweep, trace.recorded
    voltage, trains = (trace.voltage_mV, [data, trace.trains[0]])
    if trace.forced_mV is not None:
        voltage, trains = trace.forced_mV, [data]
    spikes = [train - sweep.start_ms for train in trains]
    masked = spike_mask(spikes, sweep.n_samples, sweep.dt_ms, before_ms=MASK_BEFORE_MS) | ~sweep.during
    return subthreshold_rmse(sweep.voltage_mV, voltage, masked)


def score_intervals(
    traces: Sequence[CellTrace],
    *,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 499,
    block_ms: float = BLOCK_MS,
) -> pd.DataFrame:
    """Bootstrap intervals of the scores of every sweep: one row a sweep and score, ``sweep``, ``score``, ``value``,
    ``low``, ``high``, ``drawn`` ("blocks" of the stimulus, or "trains" of the model).

    The latency and the adaptation index are of a whole train and have no blocks: their intervals are over the model's
    trains, and missing where it has one only.
    """
    rows = []
    for trace in traces:
        sweep = trace.sweep
        data = [trace.recorded]
        model = list(trace.trains)
        for name, score in _OVER_BLOCKS.items():
            found = block_interval(
                score,
                data,
                model,
                sweep.onset_ms,
                sweep.offset_ms,
                block_ms=block_ms,
                seed=seed,
                level=level,
                n_resamples=n_resamples,
            )
            rows.append((sweep.name, name, found.value, found.low, found.high, "blocks"))
        inside = [[t[(t >= sweep.onset_ms) & (t < sweep.offset_ms)] for t in trains] for trains in (data, model)]
        for name, of_trains in _OVER_TRAINS.items():
            value, low, high = of_trains(*inside), np.nan, np.nan
            if len(model) > 1:
                chosen = partial(_of_some, of_trains, inside[0], inside[1])
                found = bootstrap_interval(chosen, len(model), seed=seed, level=level, n_resamples=n_resamples)
                value, low, high = found.value, found.low, found.high
            rows.append((sweep.name, name, value, low, high, "trains"))
    return pd.DataFrame(rows, columns=["sweep", "score", "value", "low", "high", "drawn"])


def _of_some(
    score: Callable[[Trains, Trains], float], data: list[Train], model: list[Train], drawn: np.ndarray
) -> float:
    return score(data, [model[k] for k in drawn])
