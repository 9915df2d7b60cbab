"""Interventions: neurons that are gone, silent, made to fire or held at a voltage, and edges that are cut, for a
whole run or a window of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders
from connectofit.sim.network import Network
from connectofit.sim.random_stimuli import uniform_rows
from connectofit.sim.selection import Neurons, select
from connectofit.sim.stimuli import LAST_STEP, Steps, window_steps


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


@dataclass(frozen=True)
class Activate:
    """Neurons of spiking models send further spikes, each in a step with probability rate_Hz dt, in a window.

    As if by light: the spikes are sent and recorded; the membrane goes on as if there were none.
    """

    neurons: Neurons
    rate_Hz: float
    start_ms: float = 0.0
    stop_ms: float = math.inf


@dataclass(frozen=True)
class Clamp:
    """Voltage clamp: in a window the neurons have the voltage `value` at the end of every step, in the model's unit."""

    neurons: Neurons
    value: float
    start_ms: float = 0.0
    stop_ms: float = math.inf


@dataclass(frozen=True)
class Cut:
    """The edges from the neurons `pre` to the neurons `post` carry nothing in a window: what is sent in it is lost,
    what is already under way arrives (edges that learn: what arrives in it is lost).

    projection: only those of one projection.
    """

    pre: Neurons = None
    post: Neurons = None
    projection: str | None = None
    start_ms: float = 0.0
    stop_ms: float = math.inf


Intervention = Ablate | Silence | Activate | Clamp | Cut
Series = dict[str, Float[np.ndarray, " neuron"] | Float[np.ndarray, "time neuron"]]


@dataclass(frozen=True, eq=False)
class Plan:
    """One intervention in terms of indices and steps: from step `first` to step `last` (not included)."""

    what: Intervention
    selected: dict[str, Int[np.ndarray, " selected"]]
    edges: dict[str, Int[np.ndarray, " cut"]]
    first: int
    last: int


def plans(net: Network, interventions: Sequence[Intervention], dt_ms: float) -> tuple[Plan, ...]:
    """The interventions with names turned into indices and times into steps; names, times and values are checked."""
    found = []
    for item in interventions:
        if isinstance(item, Cut):
            selected, edges = {}, _cut_edges(net, item)
        else:
            selected, edges = select(net, item.neurons), {}
        first, last = 0, LAST_STEP
        if not isinstance(item, Ablate):
            article = "An" if isinstance(item, Activate) else "A"
            first, last = window_steps(item.start_ms, item.stop_ms, dt_ms, f"{article} {type(item).__name__}")
        _check(net, item, selected, dt_ms)
        found.append(Plan(item, selected, edges, first, last))
    return tuple(found)


def _check(net: Network, item: Intervention, selected: dict[str, np.ndarray], dt_ms: float) -> None:
    if isinstance(item, Activate):
        graded = [name for name in selected if not net.population(name).model.spiking]
        if graded:
            raise SettingError(
                f"Activate is for spiking models; {offenders(graded)} are not. Take a Step, or Clamp them."
            )
        if not (math.isfinite(item.rate_Hz) and 0 <= item.rate_Hz * dt_ms * 1e-3 <= 1):
            raise SettingError(
                f"Activate needs a rate from 0 to one spike a step ({1e3 / dt_ms:g} Hz); found {item.rate_Hz!r}."
            )
    if isinstance(item, Clamp) and not math.isfinite(item.value):
        raise SettingError(f"The value of a Clamp has to be finite; found {item.value!r}.")


def _cut_edges(net: Network, item: Cut) -> dict[str, np.ndarray]:
    """{projection: the edges that are cut}. Raises `SettingError` if there are none."""
    pre, post = select(net, item.pre), select(net, item.post)
    projections = net.projections if item.projection is None else (net.projection(item.projection),)
    edges = {}
    for projection in projections:
        from_ = np.zeros(net.population(projection.pre).size, bool)
        to = np.zeros(net.population(projection.post).size, bool)
        from_[pre.get(projection.pre, np.empty(0, int))] = True
        to[post.get(projection.post, np.empty(0, int))] = True
        chosen = np.flatnonzero(from_[projection.pre_index] & to[np.asarray(projection.post_index)])
        if chosen.size:
            edges[projection.name] = chosen
    if not edges:
        raise SettingError(f"No edge leads from the neurons to the neurons of {item}. Check both ends' names.")
    return edges


def alive_rows(net: Network, found: Sequence[Plan], first: int, n_steps: int) -> Series:
    """The argument ``alive`` of `rollout` for steps `first` to ``first + n_steps``: [neuron] where it does not
    change."""
    alive: Series = {}
    for population in net.populations:
        mine = [p for p in found if isinstance(p.what, Ablate | Silence) and population.name in p.selected]
        if not mine:
            continue
        constant = all(plan.first == 0 and plan.last == LAST_STEP for plan in mine)
        rows = np.ones((1 if constant else n_steps, population.size))
        for plan in mine:
            begin, end = (0, 1) if constant else (max(plan.first - first, 0), max(plan.last - first, 0))
            rows[begin:end, plan.selected[population.name]] = 0.0
        alive[population.name] = rows[0] if constant else rows
    return alive


def clamped_rows(net: Network, found: Sequence[Plan], first: int, n_steps: int) -> Series:
    """The argument ``clamped`` of `rollout`; the last of several clamps of a neuron counts."""
    rows: Series = {}
    for plan in found:
        if not isinstance(plan.what, Clamp):
            continue
        for name, index in plan.selected.items():
            series = rows.setdefault(name, np.full((n_steps, net.population(name).size), np.nan))
            series[max(plan.first - first, 0) : max(plan.last - first, 0), index] = plan.what.value
    return rows


def forced_rows(net: Network, found: Sequence[Plan], steps: Steps, dt_ms: float, key: PRNGKeyArray) -> Series:
    """The argument ``forced`` of `rollout` for one trial."""
    rows: Series = {}
    for k, plan in enumerate(found):
        if not isinstance(plan.what, Activate):
            continue
        on = ((steps >= plan.first) & (steps < plan.last))[:, None]
        n = sum(map(len, plan.selected.values()))
        drawn = np.asarray(uniform_rows(jax.random.fold_in(key, k), steps, n)) if on.any() else np.ones((steps.size, n))
        fired, begin = on & (drawn < plan.what.rate_Hz * dt_ms * 1e-3), 0
        for name, index in plan.selected.items():
            series = rows.setdefault(name, np.zeros((steps.size, net.population(name).size)))
            series[:, index] = np.maximum(series[:, index], fired[:, begin : begin + len(index)])
            begin += len(index)
    return rows


def borders(found: Sequence[Plan]) -> list[int]:
    """The steps at which the set of cut edges changes, in order."""
    cuts = [plan for plan in found if plan.edges]
    return sorted({step for plan in cuts for step in (plan.first, plan.last)})


def with_cuts(net: Network, found: Sequence[Plan], step: int) -> Network:
    """The network with the weights of the edges that are cut at a step set to 0."""
    cut: dict[str, list[np.ndarray]] = {}
    for plan in found:
        if plan.first <= step < plan.last:
            for name, edges in plan.edges.items():
                cut.setdefault(name, []).append(edges)
    if not cut:
        return net
    projections = []
    for projection in net.projections:
        if projection.name in cut:
            weight = np.array(projection.base_weight)
            weight[np.concatenate(cut[projection.name])] = 0.0
            projection = replace(projection, base_weight=weight)
        projections.append(projection)
    return replace(net, projections=tuple(projections))
