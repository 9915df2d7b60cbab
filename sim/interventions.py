"""Interventions: neurons that neither send nor receive, for a whole run or a window of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from connectofit.sim.network import Network
from connectofit.sim.selection import Neurons, select
from connectofit.sim.stimuli import LAST_STEP, window_steps


@dataclass(frozen=True)
class Ablate:
    """These neurons are gone for the whole run: they neither send nor receive, through synapses, gap junctions or
    stimuli.

    The network runs as if they had been removed; their own voltages decay to rest.
    """

    neurons: Neurons


@dataclass(frozen=True)
class Silence:
    """As `Ablate`, from start_ms to stop_ms (rounded to the nearest step). Spikes that are already under way arrive."""

    neurons: Neurons
    start_ms: float
    stop_ms: float


Intervention = Ablate | Silence


@dataclass(frozen=True, eq=False)
class Mask:
    """Which neurons are alive when: the selected ones are not, from step `first` to step `last` (not included)."""

    selected: dict[str, np.ndarray]
    first: int
    last: int


def masks(net: Network, interventions: Sequence[Intervention], dt_ms: float) -> tuple[Mask, ...]:
    """The interventions with names turned into indices and times into steps; names and times are checked."""
    found = []
    for intervention in interventions:
        selected = select(net, intervention.neurons)
        first, last = 0, LAST_STEP
        if isinstance(intervention, Silence):
            first, last = window_steps(intervention.start_ms, intervention.stop_ms, dt_ms, "A Silence")
        found.append(Mask(selected, first, last))
    return tuple(found)


def alive_rows(
    net: Network, found: Sequence[Mask], first: int, n_steps: int
) -> dict[str, Float[np.ndarray, " neuron"] | Float[np.ndarray, "time neuron"]]:
    """The argument ``alive`` of `rollout` for steps `first` to ``first + n_steps``: [neuron] where it does not
    change."""
    alive: dict[str, np.ndarray] = {}
    for population in net.populations:
        mine = [mask for mask in found if population.name in mask.selected]
        if not mine:
            continue
        constant = all(mask.first == 0 and mask.last == LAST_STEP for mask in mine)
        rows = np.ones((1 if constant else n_steps, population.size))
        for mask in mine:
            begin, end = (0, 1) if constant else (max(mask.first - first, 0), max(mask.last - first, 0))
            rows[begin:end, mask.selected[population.name]] = 0.0
        alive[population.name] = rows[0] if constant else rows
    return alive
