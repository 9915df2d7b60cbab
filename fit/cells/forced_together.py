"""Linear neurons under recorded spikes, many parameter vectors side by side, laid out for reverse mode.

Between spikes that are given, every variable y of LIF, GLIF and GIF neurons, one after another, follows

    y_t = a_t y_(t-1) + b_t,   or, for GIF's threshold after a spike,   y_t = max(a_t y_(t-1) + b_t, c)

with a, b and c known before the loop: from the recorded spikes, the current, and the variables before it. So the loop
over time does one multiplication and one addition; all else, losses and their derivatives included, is worked out for a
segment of time at once, and reverse mode goes back through as plain a loop. The rows (starts) are the last axis:
parameters are [row], recordings [time, sweep, 1], or [time, sweep, row] where rows are of different cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from connectofit.fit.cells.forced_models import LinearCell, State

SEGMENT = 64  # steps: what is kept of them for reverse mode stays in the cache; 32 to 256 are slower by up to a quarter

Rows = Mapping[str, Float[Array, "time sweep #row"]]
Terms = Callable[[Array, Array, Array, Rows], tuple[Array, Array]]


def fold_together(
    cell: LinearCell, start_mV: Float[Array, "sweep row"], data: Rows, terms: Terms
) -> tuple[Float[Array, "sweep row"], Float[Array, "sweep row"]]:
    """What `fold_forced` adds up, for every row.

    cell: its parameters [row]. data: ``current_pA``, ``spikes``, and what `terms` wants. terms: (voltage before the
    reset, threshold, whether the step is refractory, data of a segment of time) -> two arrays [time, sweep, row], to be
    summed over time. Steps that are added to fill the last segment have zeros in all data.
    """
    n_steps = data["current_pA"].shape[0]
    n_segments = -(-n_steps // SEGMENT)
    missing = n_segments * SEGMENT - n_steps
    filled = {k: jnp.pad(a, ((0, missing), (0, 0), (0, 0))) for k, a in data.items()}
    rows = {k: a.reshape(n_segments, SEGMENT, *a.shape[1:]) for k, a in filled.items()}
    rests = _refractory(filled["spikes"], cell.t_ref_steps)
    start = {k: jnp.broadcast_to(v, start_mV.shape) for k, v in cell.start(start_mV).items() if k != "left"}
    none = jnp.zeros_like(start_mV)

    def segment(carry: tuple[State, tuple[Array, Array]], given: tuple[Rows, Array]) -> tuple[tuple[State, Any], None]:
        state, (first, second) = carry
        rows, rests = given
        state, voltage, threshold = _segment(cell, state, rows["current_pA"], rows["spikes"] > 0, rests)
        one, two = terms(voltage, threshold, rests, rows)
        return (state, (first + one.sum(0), second + two.sum(0))), None

    given = (rows, rests.reshape(n_segments, SEGMENT, *rests.shape[1:]))
    (_, totals), _ = lax.scan(jax.checkpoint(segment, prevent_cse=False), (start, (none, none)), given)
    return totals


def _refractory(spikes: Float[Array, "time sweep #row"], t_ref_steps: Array) -> Bool[Array, "time sweep row"]:
    """Whether each step lies in the refractory period of an earlier spike."""

    def step(left: Array, spiking: Array) -> tuple[Array, Array]:
        return jnp.where(spiking > 0, t_ref_steps, jnp.maximum(left - 1, 0)), left > 0

    shape = jnp.broadcast_shapes(spikes.shape[1:], t_ref_steps.shape)
    return lax.scan(step, jnp.zeros(shape, t_ref_steps.dtype), spikes)[1]


def _recurrence(a: Array, b: Array, start: Array, least: Array | None = None) -> tuple[Array, Array]:
    """y_t = a_t y_(t-1) + b_t, no lower than `least`: y at the start of every step, and after the last."""

    def step(y: Array, row: tuple[Array, ...]) -> tuple[Array, Array]:
        new = row[0] * y + row[1]
        return (jnp.maximum(new, row[2]) if len(row) == 3 else new), y

    rows = jnp.broadcast_arrays(a, b) if least is None else jnp.broadcast_arrays(a, b, least)
    last, before = lax.scan(step, start, tuple(rows))
    return before, last


def _segment(
    cell: LinearCell, state: State, current_pA: Array, spiking: Array, rests: Array
) -> tuple[State, Array, Array]:
    """A segment of time: the state after it, and for every step the voltage before the reset and its threshold."""
    after = dict(state)
    stands = cell.freezes or cell.v_reset is None  # V in the refractory period, where it is not held at the reset

    def chosen(spike: Array | float, rest: Array | float, silent: Array) -> Array:
        return jnp.where(spiking, spike, jnp.where(rests, rest, silent))

    v_inf = cell.rest + cell.r * current_pA
    drive, mean = v_inf * (1.0 - cell.decay), v_inf
    for k, (decay, weight, share, kept, add) in enumerate(cell.currents):
        a = chosen(kept * decay, 1.0 if cell.freezes else decay, decay)
        own, after[f"current_{k}"] = _recurrence(a, jnp.where(spiking, add, 0.0), state[f"current_{k}"])
        drive, mean = drive + weight * own, mean + share * own

    zero = jnp.zeros_like(cell.decay)
    reset = zero, zero if cell.v_reset is None else cell.v_reset
    held = (zero + 1.0, zero) if stands else reset
    if cell.reset_rule is not None:
        fraction, add = cell.reset_rule
        reset = fraction, cell.e * (1.0 - fraction) + add
    v, after["v"] = _recurrence(chosen(reset[0], held[0], cell.decay), chosen(reset[1], held[1], drive), state["v"])
    voltage = jnp.where(rests, v if stands else held[1], cell.decay * v + drive)

    threshold = cell.v_threshold
    frozen = rests if cell.freezes else jnp.zeros_like(rests)
    if cell.spike_part is not None:
        decay, kept, add = cell.spike_part
        a = jnp.where(spiking, kept * decay, jnp.where(frozen, 1.0, decay))
        own, after["theta_spike"] = _recurrence(a, jnp.where(spiking, add, 0.0), state["theta_spike"])
        threshold = threshold + jnp.where(frozen, own, own * decay)
    if cell.voltage_part is not None:
        decay, settled, moving = cell.voltage_part
        pulled = settled * (mean - cell.e) + moving * (v - mean)
        stays = frozen & ~spiking
        a, b = jnp.where(stays, 1.0, decay), jnp.where(stays, 0.0, pulled)
        least = None if cell.lowest is None else jnp.where(spiking, cell.lowest, -jnp.inf)
        own, after["theta_voltage"] = _recurrence(a, b, state["theta_voltage"], least)
        threshold = threshold + jnp.where(frozen, own, own * decay + pulled)
    return after, voltage, threshold
