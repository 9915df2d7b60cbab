"""Runs of a batch of trials whose gradient is that of backpropagation through time, in segments that are computed
twice.

The loop over time is cut into segments of about the square root of its steps. Reverse mode keeps the state at the start
of each segment and computes the segment again when it gets there (Chen et al. 2016, arXiv 1604.06174): memory for about
two square roots of the steps, for one more forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.train.batch_step import Batched, feed, full_step, resting_batch
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
    spiking = batched.net.population(readout.populations[0]).model.spiking

    def one_step(state: NetworkState, row: Any) -> tuple[NetworkState, Any]:
        given, fed = row
        state, shown = full_step(batched, state, given, fed, key)
        read = [shown[name] for name in readout.populations]
        seen = (jnp.concatenate(read, -1) if len(read) > 1 else read[0], _beyond(batched, state, voltage_range))
        return state, seen

    one_step = jax.checkpoint(one_step, policy=_worth_keeping, prevent_cse=False)

    def segment(carry: Any, start: Array, length: int) -> tuple[Any, Array]:
        state, y, total, beyond = carry
        rows = lax.dynamic_slice_in_dim(time_first, start, length + ahead)
        state, (x, beyond_now) = lax.scan(one_step, state, (rows[ahead:], feed(batched, rows, length)))
        pull = readout.pull(x, batched.dt_ms, spiking=spiking)
        y, outputs = lax.scan(lambda y, u: (readout.follow(y, u, batched.dt_ms),) * 2, y, pull)
        return (state, y, total + jnp.sum(x, (0, 1)), beyond + jnp.sum(beyond_now)), outputs

    dtype = inputs.dtype
    n_read = readout.weights.shape[0]
    carry = (
        resting_batch(batched, n_trials),
        jnp.zeros((n_trials, readout.n_outputs), dtype),
        jnp.zeros(n_read, dtype),
        jnp.zeros((), dtype),
    )
    n_whole, rest = divmod(n_steps, size)
    again = jax.checkpoint(segment, static_argnums=2) if checkpoint is not None else segment
    carry, outputs = lax.scan(
        lambda carry, start: again(carry, start, size), carry, jnp.arange(n_whole, dtype=jnp.int32) * size
    )
    outputs = outputs.reshape(n_whole * size, n_trials, readout.n_outputs)
    if rest:
        carry, last = again(carry, jnp.asarray(n_whole * size, jnp.int32), rest)
        outputs = jnp.concatenate([outputs, last])
    _, _, total, beyond = carry
    mean = total / (n_trials * n_steps) * (_MS_PER_S / batched.dt_ms if spiking else 1.0)
    activity, first = {}, 0
    for name in readout.populations:
        n = batched.net.population(name).size
        activity[name] = mean[first : first + n]
        first += n
    return BatchRun(outputs, activity, beyond / n_steps)


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
    low, high = voltage_range
    total, count = jnp.zeros(()), 0
    for pop in batched.local:
        v = state.populations[pop.name][pop.model.voltage]
        total += jnp.sum(jnp.maximum(v - high, 0.0) ** 2 + jnp.maximum(low - v, 0.0) ** 2)
        count += v.size
    return total / count


def _worth_keeping(primitive: Any, *_: Any, **settings: Any) -> bool:
    """What reverse mode keeps of a step: products along edges, and what models mark as kept."""
    if primitive.name == "name":
        return bool(settings["name"] == KEPT)
    return primitive in (push_p, lax.dot_general_p)
