"""Runs of a batch of trials whose gradient is that of backpropagation through time, in segments that are computed
twice.

The loop over time is cut into segments of about the square root of its steps. Reverse mode keeps the state at the start
of each segment and computes the segment again when it gets there (Chen et al. 2016, arXiv 1604.06174): memory for about
two square roots of the steps, for one more forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.train.batch_step import Batched, feed, full_step, resting_batch
from connectofit.fit.train.coefficients import chosen_block
from connectofit.fit.train.compiled_block import computed_twice, make_plan, operands, run_steps
from connectofit.fit.train.readout import Readout
from connectofit.sim.csr_primitives import push_p
from connectofit.sim.neurons.base import KEPT
from connectofit.sim.time_loop import NetworkState

_MS_PER_S = 1000.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class BatchRun:
    """What a batch of trials did.

    outputs: of the readout, [time, trial, output]. activity: {population: [neuron]}, means over trials and time: rates
    in Hz of spiking neurons, values of graded ones. beyond: mean square of the voltage outside of the range that was
    asked for, in its unit; 0 where none was.
    """

    outputs: Float[Array, "time trial output"]
    activity: dict[str, Float[Array, " neuron"]]
    beyond: Float[Array, ""]


def run_batch(
    batched: Batched,
    readout: Readout,
    inputs: Float[Array, "trial time input"],
    key: PRNGKeyArray | None = None,
    *,
    checkpoint: int | Literal["sqrt"] | None = "sqrt",
    voltage_range: tuple[float, float] | None = None,
) -> BatchRun:
    """Run trials from rest. Differentiable in everything that is a float.

    checkpoint: steps of a segment; "sqrt": the square root of their number; None: keep all for reverse mode.
    """
    n_trials, n_steps, _ = inputs.shape
    ahead = batched.longest_fed
    size = segment_length(n_steps, checkpoint)
    time_first = jnp.pad(jnp.swapaxes(inputs, 0, 1), ((ahead, 0), (0, 0), (0, 0)))
    make = _compiled_segment if chosen_block(batched, n_trials) == "compiled" else _segment
    segment = make(batched, readout, time_first, key, voltage_range, again=checkpoint is not None)
    dtype = inputs.dtype
    n_read = readout.weights.shape[0]
    carry = (
        resting_batch(batched, n_trials),
        jnp.zeros((n_trials, readout.n_outputs), dtype),
        jnp.zeros(n_read, dtype),
        jnp.zeros((), dtype),
    )
    n_whole, rest = divmod(n_steps, size)
    carry, outputs = lax.scan(
        lambda carry, start: segment(carry, start, size), carry, jnp.arange(n_whole, dtype=jnp.int32) * size
    )
    outputs = outputs.reshape(n_whole * size, n_trials, readout.n_outputs)
    if rest:
        carry, last = segment(carry, jnp.asarray(n_whole * size, jnp.int32), rest)
        outputs = jnp.concatenate([outputs, last])
    _, _, total, beyond = carry
    spiking = batched.net.population(readout.populations[0]).model.spiking
    mean = total / (n_trials * n_steps) * (_MS_PER_S / batched.dt_ms if spiking else 1.0)
    activity, first = {}, 0
    for name in readout.populations:
        n = batched.net.population(name).size
        activity[name] = mean[first : first + n]
        first += n
    return BatchRun(outputs, activity, beyond / n_steps)


def _segment(
    batched: Batched, readout: Readout, inputs: Array, key: Any, voltage_range: Any, *, again: bool
) -> Callable[[Any, Array, int], tuple[Any, Array]]:
    """A segment of steps in JAX: (carry, the first step, number of steps) -> (carry, outputs).

    inputs: [time, trial, input], with as many steps ahead as the longest delay from the source.
    """
    spiking = batched.net.population(readout.populations[0]).model.spiking

    def one_step(state: NetworkState, row: Any) -> tuple[NetworkState, Any]:
        given, fed = row
        state, shown = full_step(batched, state, given, fed, key)
        return state, (_read(readout, shown), _beyond(batched, state, voltage_range))

    one_step = jax.checkpoint(one_step, policy=_worth_keeping, prevent_cse=False)

    def segment(carry: Any, start: Array, length: int) -> tuple[Any, Array]:
        state, y, total, beyond = carry
        ahead = batched.longest_fed
        rows = lax.dynamic_slice_in_dim(inputs, start, length + ahead)
        state, (x, now) = lax.scan(one_step, state, (rows[ahead:], feed(batched, rows, length)))
        y, outputs, sums = _follow(readout, batched.dt_ms, y, x, spiking=spiking)
        return (state, y, total + sums, beyond + jnp.sum(now)), outputs

    return jax.checkpoint(segment, static_argnums=2) if again else segment


def _compiled_segment(
    batched: Batched, readout: Readout, inputs: Array, key: Any, voltage_range: Any, *, again: bool
) -> Callable[[Any, Array, int], tuple[Any, Array]]:
    """The same by the compiled block, which knows no noise and needs no key."""
    plan = make_plan(batched, watched=voltage_range is not None)
    given = operands(batched)
    dt_ms, n_local = batched.dt_ms, sum(pop.size for pop in batched.local)

    def segment(arguments: Any, length: int) -> tuple[Any, Array]:
        given, readout, inputs, (state, y, total, beyond), start = arguments
        rows = lax.dynamic_slice_in_dim(inputs, start, length + plan.ahead)
        state, shown, traces = run_steps(plan, given, state, rows)
        y, outputs, sums = _follow(readout, dt_ms, y, _read(readout, shown), spiking=True)
        if voltage_range is not None:
            outside = sum(jnp.sum(_outside(v, voltage_range)) for v in traces.values())
            beyond = beyond + outside / (inputs.shape[1] * n_local)
        return (state, y, total + sums, beyond), outputs

    def run(carry: Any, start: Array, length: int) -> tuple[Any, Array]:
        of_length = partial(segment, length=length)
        return (computed_twice(of_length) if again else of_length)((given, readout, inputs, carry, start))

    return run


def _read(readout: Readout, shown: dict[str, Array]) -> Array:
    """What the readout reads, its populations one after the other."""
    read = [shown[name] for name in readout.populations]
    return jnp.concatenate(read, -1) if len(read) > 1 else read[0]


def _follow(readout: Readout, dt_ms: float, y: Array, x: Array, *, spiking: bool) -> tuple[Array, Array, Array]:
    """(the readout after a segment, its outputs in each step, the sums of x over trials and steps)."""
    pull = readout.pull(x, dt_ms, spiking=spiking)
    y, outputs = lax.scan(lambda y, u: (readout.follow(y, u, dt_ms),) * 2, y, pull)
    return y, outputs, jnp.sum(x, (0, 1))


def segment_length(n_steps: int, checkpoint: int | Literal["sqrt"] | None) -> int:
    """Steps of a segment: for "sqrt" the divisor of `n_steps` nearest to its square root, if one is near."""
    if checkpoint is None:
        return n_steps
    if checkpoint == "sqrt":
        root = math.isqrt(n_steps - 1) + 1 if n_steps > 1 else 1
        near = [k for k in range(max(root // 2, 1), 2 * root + 1) if n_steps % k == 0]
        return min(near, key=lambda k: abs(k - root), default=root)
    if not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or checkpoint < 1:
        raise SettingError(f"checkpoint has to be a number of steps, 1 or more, 'sqrt' or None; found {checkpoint!r}.")
    return min(checkpoint, n_steps)


def _beyond(batched: Batched, state: NetworkState, voltage_range: tuple[float, float] | None) -> Array:
    """Mean square of the voltages outside of the range, over trials and neurons."""
    if voltage_range is None:
        return jnp.zeros(())
    total, count = jnp.zeros(()), 0
    for pop in batched.local:
        v = state.populations[pop.name][pop.model.voltage]
        total += jnp.sum(_outside(v, voltage_range))
        count += v.size
    return total / count


def _outside(v: Array, voltage_range: tuple[float, float]) -> Array:
    """The square of how far voltages are outside of the range."""
    low, high = voltage_range
    return jnp.maximum(v - high, 0.0) ** 2 + jnp.maximum(low - v, 0.0) ** 2


def _worth_keeping(primitive: Any, *_: Any, **settings: Any) -> bool:
    """What reverse mode keeps of a step: products along edges, and what models mark as kept."""
    if primitive.name == "name":
        return bool(settings["name"] == KEPT)
    return primitive in (push_p, lax.dot_general_p)
