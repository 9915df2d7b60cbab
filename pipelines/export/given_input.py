"""Stimuli as what other simulators are given: a current for each step and neuron, and the spikes of spike sources.

Random stimuli are drawn with the seed as `connectofit.sim.simulate` draws them in its first trial, so that the other
simulator gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.sim import Network, SpikeSource, Stimulus
from connectofit.sim.checks import steps_of
from connectofit.sim.selection import select_columns

_MOST = 2**27  # numbers in all currents, which are a GiB


@dataclass(frozen=True, eq=False)
class GivenInput:
    """currents: {population: (neurons [index], pA [time, index])}, held over each step. spikes: {population of spike
    sources: (neurons [spike], steps [spike])}; a spike of step m has the time (m + 1) dt."""

    dt_ms: float
    n_steps: int
    currents: dict[str, tuple[Int[np.ndarray, " index"], Float[np.ndarray, "time index"]]]
    spikes: dict[str, tuple[Int[np.ndarray, " spike"], Int[np.ndarray, " spike"]]]


def given_input(
    net: Network, stimuli: Sequence[Stimulus], *, duration_ms: float, dt_ms: float, seed: int
) -> GivenInput:
    """The stimuli of a run. Raises `SettingError` for times that are no whole steps, and for more than fits."""
    n_steps = steps_of(duration_ms, dt_ms, "The duration")
    if n_steps < 1 or not isinstance(seed, int) or isinstance(seed, bool):
        raise SettingError(
            "An exported run needs a duration_ms of one step or more and a whole number as seed; found "
            f"{duration_ms!r} and {seed!r}."
        )
    steps, key = np.arange(n_steps, dtype=np.int32), jax.random.fold_in(jax.random.key(seed), 0)
    placed = []
    for stimulus in stimuli:
        if not isinstance(stimulus, Stimulus):
            raise SettingError(f"stimuli has to be a list of stimuli of connectofit.sim; found {stimulus!r}.")
        where = select_columns(net, stimulus.neurons, f"A {type(stimulus).__name__} stimulus")
        size = sum(len(index) for index, _ in where.values())
        if n_steps * size > _MOST:
            raise SettingError(
                f"A {type(stimulus).__name__} stimulus onto {size} neurons over {n_steps} steps has more than {_MOST} "
                "numbers, which are too many to write down. Export a shorter run, or use Poisson sources."
            )
        stimulus.check(size, dt_ms)
        placed.append((stimulus, where, size))
    reached: dict[str, list[np.ndarray]] = {}
    for _, where, _ in placed:
        for name, (index, _) in where.items():
            reached.setdefault(name, []).append(index)
    driven = {name: np.unique(np.concatenate(indices)) for name, indices in reached.items()}
    totals = {name: np.zeros((n_steps, len(index))) for name, index in driven.items()}
    for k, (stimulus, where, size) in enumerate(placed):
        own = jax.random.fold_in(jax.random.fold_in(key, 1), k)
        values = np.asarray(stimulus.values(steps, size, dt_ms, own, {}), np.float64)
        for name, (index, columns) in where.items():
            totals[name][:, np.searchsorted(driven[name], index)] += values[:, columns]
    currents, spikes = {}, {}
    for population in net.populations:
        name, reaches = population.name, population.name in totals
        if isinstance(population.model, SpikeSource):
            nothing = np.zeros(0, np.int64)
            spikes[name] = _fired(net, name, driven[name], totals[name]) if reaches else (nothing, nothing)
        elif reaches:
            currents[name] = (driven[name], totals[name])
    return GivenInput(dt_ms, n_steps, currents, spikes)


def _fired(
    net: Network, name: str, driven: Int[np.ndarray, " index"], total: Float[np.ndarray, "time index"]
) -> tuple[np.ndarray, np.ndarray]:
    """(neurons, steps) at which the input of spike sources reaches their threshold, in order of time."""
    type_index = np.asarray(net.population(name).type_index)[driven]
    step, column = np.nonzero(total >= np.asarray(net.params[name]["threshold"], np.float64)[type_index])
    return driven[column], step
