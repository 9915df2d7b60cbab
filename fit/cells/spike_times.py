"""Cells run freely with spikes at their times within a step, which makes every function of the spike times
differentiable.

Of integrate-and-fire cells, a step in which V reaches the threshold is cut where it does, by linear interpolation; the
reset acts there, and the refractory period begins there, so that what follows moves with the spike. Spike times are
thus continuous in the parameters, and their derivatives are exact, which those of surrogates are not: for a spike where
h = V - theta reaches 0, dt_k/dp = -(dh/dp) / (dh/dt), and the state after it moves with t_k (Wunderlich & Pehle 2021,
Sci Rep 11:12829, have the same derivative in reverse). `connectofit.sim` fires at the ends of steps: the two differ by
a step in every spike at most. Of cells with channels nothing is reset: their spikes are where V crosses the model's
threshold upwards, by linear interpolation.

Where a spike appears or vanishes no derivative is. A cell that stays silent has its distance to the threshold instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from connectofit.connectome.errors import SettingError, offenders
from connectofit.fit.cells.forced_models import FORCED, ForcedCell, State, forced_cell
from connectofit.fit.cells.models import CellModel
from connectofit.fit.cells.simulation import advanced, cell_start, scanned
from connectofit.sim.neurons.base import Drive, Values
from connectofit.sim.neurons.conductance_based import ConductanceBased

Sum = TypeVar("Sum")

TIMED = tuple(name for name in FORCED if name not in ("adex", "izhikevich"))
"""The integrate-and-fire models whose spikes have times within a step: those that are linear between spikes. All cells
with channels have such times, too."""


@dataclass(frozen=True)
class Event:
    """What happened in a step: fires; share, of the step that had passed then; time_ms, of the spike since the first
    sample; gap_mV, threshold less V at the step's end (0 where it fires, infinite in the refractory period)."""

    fires: Bool[Array, " sweep"]
    share: Float[Array, " sweep"]
    time_ms: Float[Array, " sweep"]
    gap_mV: Float[Array, " sweep"]


def check_timed(cell: CellModel, what: str) -> None:
    """Raise a `SettingError` for models whose spikes have no times within a step."""
    if cell.name not in TIMED and not isinstance(cell.neuron, ConductanceBased):
        raise SettingError(
            f"The {what} loss needs a model that is linear between spikes or draws them by channels; {cell.name!r} "
            "does neither, and its spikes have no derivative here. Fit its voltage or likelihood, or take one of "
            f"{offenders(TIMED, 8)}."
        )


def fold_spikes(
    cell: CellModel,
    p: Values,
    data: Mapping[str, Any],
    add: Callable[[Sum, Event, Mapping[str, Array]], Sum],
    zero: Sum,
    *,
    dt_ms: float,
) -> Sum:
    """Run the cell freely and add something up over the steps. data: as the losses see it; rows have ``spikes`` and
    ``valid`` of the recording."""
    like, neuron = data["current_pA"][0], cell.neuron
    if isinstance(neuron, ConductanceBased):
        state = cell_start(neuron, p, data.get("start_mV"), like.size, like.dtype)

        def timed(before: State, current_pA: Array, clock: Array) -> tuple[State, Event]:
            return _drawn_step(neuron, p, before, current_pA, clock, dt_ms)

    else:
        forced = forced_cell(neuron, p, dt_ms)
        first = data["start_mV"] if "start_mV" in data else jnp.broadcast_to(p[neuron.rest], like.shape)
        state = {**forced.start(first), "left": jnp.zeros_like(like)}

        def timed(before: State, current_pA: Array, clock: Array) -> tuple[State, Event]:
            return _timed_step(forced, before, current_pA, clock, dt_ms)

    def step(carry: tuple[State, Sum, Array], row: Mapping[str, Array]) -> tuple[Any, None]:
        before, total, clock = carry
        new, event = timed(before, row["current_pA"], clock)
        return (new, add(total, event, row), clock + 1.0), None

    rows = {name: data[name] for name in ("current_pA", "spikes", "valid")}
    end: tuple[State, Sum, Array] = scanned(step, (state, zero, jnp.zeros((), like.dtype)), rows, True)
    return end[1]


def _drawn_step(
    neuron: ConductanceBased, p: Values, before: State, current_pA: Array, clock: Array, dt_ms: float
) -> tuple[State, Event]:
    """A step of a cell whose channels draw the spike: a crossing of the threshold, and nothing is reset."""
    new, spikes = advanced(neuron, p, before, Drive(current_pA), dt_ms)
    fires = jnp.zeros_like(current_pA, bool) if spikes is None else spikes > 0.5
    rise = new[neuron.voltage] - before[neuron.voltage]
    below = p["v_threshold_mV"] - before[neuron.voltage]
    share = jnp.where(fires, jnp.clip(below / jnp.where(fires & (rise > 0), rise, 1.0), 0.0, 1.0), 1.0)
    gap = jnp.where(fires, 0.0, jnp.maximum(p["v_threshold_mV"] - new[neuron.voltage], 0.0))
    return new, Event(fires, share, (clock + share) * dt_ms, gap)


def _timed_step(
    forced: ForcedCell, before: State, current_pA: Array, clock: Array, dt_ms: float
) -> tuple[State, Event]:
    """`left` of the state is the refractory period's rest in ms."""
    active = jnp.clip(1.0 - before["left"] / dt_ms, 0.0, 1.0)
    whole = lax.optimization_barrier(forced.advance(before, current_pA))
    moved = _partly(forced, before, whole, active, 1.0)
    start = jnp.minimum(before["v"] - forced.threshold(before), 0.0)
    end = moved["v"] - forced.threshold(moved)
    fires = (end >= 0.0) & (active > 0.0)
    rise = jnp.where(fires, end - start, 1.0)
    risen = jnp.where(fires, -start / jnp.where(rise > 0, rise, 1.0), 1.0)
    share = 1.0 - active + active * risen
    crossing = _partly(forced, before, whole, active * risen, share)
    fired = {**forced.reset(crossing, crossing), "left": before["left"]}
    later = lax.optimization_barrier(forced.advance(fired, current_pA))
    rest = 1.0 - share
    after = _partly(forced, fired, later, jnp.clip(rest - forced.t_ref_ms / dt_ms, 0.0, 1.0), rest)
    new = {k: jnp.where(fires, after[k], moved[k]) for k in moved if k != "left"}
    new["left"] = jnp.where(
        fires, jnp.maximum(forced.t_ref_ms - rest * dt_ms, 0.0), jnp.maximum(before["left"] - dt_ms, 0.0)
    )
    gap = jnp.where(fires, 0.0, jnp.where(active > 0.0, -end, jnp.inf))
    return new, Event(fires, share, (clock + share) * dt_ms, gap)


def _partly(forced: ForcedCell, start: State, end: State, active: Array, passed: Array | float) -> State:
    """Between two states: V after the `active` share of the step, the others after the share that `passed`, or with V
    where the refractory period stops all."""
    others = active if forced.freezes else passed
    return {
        k: start[k] + (active if k == "v" else others) * (end[k] - start[k]) if k != "left" else start[k] for k in start
    }
