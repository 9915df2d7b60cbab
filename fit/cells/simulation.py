"""A cell model run freely over many sweeps at once: what every loss on voltage or spikes is made of.

The time loop is `lax.scan` over the model's own step, with sweeps side by side, so that `jax.vmap` over parameters (of
starts, of cells) makes one program of all. Sample k of a sweep holds from k dt to (k + 1) dt: step k sees the current
of sample k and leads to the voltage of sample k + 1. Losses add up inside of the loop (`fold_cell`), which then keeps
no trace; reverse mode keeps the states of about the square root of the steps and computes the others again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.conductance_based import ConductanceBased

LONGEST_STEP_MS = 0.05
"""Of neurons with channels: sodium channels open within 0.1 ms."""

Sum = TypeVar("Sum")
Rows = Mapping[str, Float[Array, "time sweep"]]
Add = Callable[[Sum, State, Array, Mapping[str, Array]], Sum]


def cell_start(
    neuron: NeuronModel, p: Values, start_mV: Float[Array, " sweep"] | None, n_sweeps: int, dtype: Any
) -> State:
    """The state at the first sample: at rest, or as at rest at `start_mV`, for every sweep."""
    spread = {k: jnp.broadcast_to(jnp.asarray(v, dtype), (n_sweeps,)) for k, v in p.items()}
    if start_mV is not None:
        spread[neuron.rest] = jnp.asarray(start_mV, dtype)
    return neuron.initial(spread)


def advanced(neuron: NeuronModel, p: Values, state: State, drive: Drive, dt_ms: float) -> tuple[State, Array | None]:
    """The state a sample later, and whether there was a spike. Action potentials that channels make need steps of
    `LONGEST_STEP_MS` or less, whatever the recording's sampling; the current holds for all steps of a sample."""
    n_steps = math.ceil(dt_ms / LONGEST_STEP_MS - 1e-9) if isinstance(neuron, ConductanceBased) else 1
    if n_steps == 1:
        return neuron.step(p, state, drive, dt_ms, None)

    def step(carry: tuple[State, Array], _: None) -> tuple[tuple[State, Array], None]:
        state, fired = carry
        state, spikes = neuron.step(p, state, drive, dt_ms / n_steps, None)
        return (state, fired if spikes is None else jnp.maximum(fired, spikes)), None

    return lax.scan(step, (state, jnp.zeros_like(drive.current)), None, length=n_steps)[0]


def fold_cell(
    neuron: NeuronModel,
    p: Values,
    rows: Rows,
    add: Add[Sum],
    zero: Sum,
    *,
    dt_ms: float,
    start_mV: Float[Array, " sweep"] | None = None,
    checkpoint: bool = True,
) -> tuple[Sum, State]:
    """Run the cell and add something up: (the sum, the last state).

    Parameters
    ----------
    p: the parameters, numbers. rows: ``current_pA`` [time, sweep], and what `add` wants of every step; with ``pull_nS``
    a conductance towards ``towards_mV``, which couples the model to a recording. add: (sum, state after the step,
    spikes [sweep], rows of the step) -> sum. zero: the sum before the first step. start_mV: [sweep], None for rest.
    checkpoint: for reverse mode, keep the states of segments only.
    """
    current = rows["current_pA"]
    state = cell_start(neuron, p, start_mV, current.shape[1], current.dtype)

    def step(carry: tuple[State, Sum], row: Mapping[str, Array]) -> tuple[tuple[State, Sum], None]:
        state, total = carry
        drive = Drive(row["current_pA"])
        if "pull_nS" in row:
            drive.add_conductance(row["pull_nS"], row["pull_nS"] * row["towards_mV"])
        state, spikes = advanced(neuron, p, state, drive, dt_ms)
        return (state, add(total, state, jnp.zeros_like(drive.current) if spikes is None else spikes, row)), None

    state, total = scanned(step, (state, zero), dict(rows), checkpoint)
    return total, state


def run_cell(
    neuron: NeuronModel,
    p: Values,
    current_pA: Float[Array, "time sweep"],
    *,
    dt_ms: float,
    record: Sequence[str] = ("v_mV", "spikes"),
    start_mV: Float[Array, " sweep"] | None = None,
    pull_nS: Float[Array, "time sweep"] | None = None,
    towards_mV: Float[Array, "time sweep"] | None = None,
) -> dict[str, Float[Array, "time sweep"]]:
    """Variables of the model and ``"spikes"`` after every step. Pure: for `jax.jit`, `jax.vmap` and derivatives.

    p: the parameters, numbers. Row k is what sample k + 1 has. See `fold_cell`. Raises `UnknownNameError` for variables
    that the model does not have.
    """
    for name in record:
        if name not in (*neuron.variables, "spikes"):
            raise unknown_name("variable to record", name, (*neuron.variables, "spikes"), f"a {neuron.kind!r} cell")
    state = cell_start(neuron, p, start_mV, current_pA.shape[1], current_pA.dtype)

    def step(state: State, row: tuple[Array, ...]) -> tuple[State, dict[str, Array]]:
        drive = Drive(row[0])
        if len(row) == 3:
            drive.add_conductance(row[1], row[1] * row[2])
        state, spikes = advanced(neuron, p, state, drive, dt_ms)
        out = {**state, "spikes": jnp.zeros_like(row[0]) if spikes is None else spikes}
        return state, {name: out[name] for name in record}

    rows: tuple[Array, ...] = (current_pA,)
    if pull_nS is not None and towards_mV is not None:
        rows = (current_pA, pull_nS, towards_mV)
    return lax.scan(step, state, rows)[1]


def scanned(step: Callable[[Any, Any], tuple[Any, None]], carry: Any, rows: Any, checkpoint: bool) -> Any:
    """`lax.scan` without outputs, in checkpointed segments where asked for."""
    n_steps = jax.tree.leaves(rows)[0].shape[0]
    size = math.isqrt(max(n_steps - 1, 0)) + 1
    if not checkpoint or n_steps < 16:
        return lax.scan(step, carry, rows)[0]
    n_segments = n_steps // size

    def segment(carry: Any, rows: Any) -> tuple[Any, None]:
        return lax.scan(jax.checkpoint(step, prevent_cse=False), carry, rows)[0], None

    whole = jax.tree.map(lambda a: a[: n_segments * size].reshape(n_segments, size, *a.shape[1:]), rows)
    carry, _ = lax.scan(jax.checkpoint(segment, prevent_cse=False), carry, whole)
    if n_segments * size < n_steps:
        carry, _ = lax.scan(step, carry, jax.tree.map(lambda a: a[n_segments * size :], rows))
    return carry


def spike_samples(spikes: Float[np.ndarray, "time sweep"]) -> tuple[np.ndarray, ...]:
    """The samples of the spikes of every sweep: a spike of row k belongs to sample k + 1."""
    fired = np.asarray(spikes) > 0.5
    if fired.ndim != 2:
        raise SettingError(f"Spikes have to be [time, sweep]; found shape {fired.shape}.")
    return tuple(np.flatnonzero(fired[:, k]) + 1 for k in range(fired.shape[1]))
