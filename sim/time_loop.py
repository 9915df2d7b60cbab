"""The time loop: one step of a network, and how steps are put together in blocks.

With delays the loop runs in blocks of the shortest one: nothing that is sent in a block can arrive in the same block,
so all that is sent in a block is delivered in one product at its end (`connectofit.sim.wires`).

Reverse mode computes a block again from the state before it and from the few values that models mark as `kept`; the
products along edges are not computed again. The derivative by the weights of edges is a carry of the loop
(`connectofit.sim.kernels.propagate_along`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.sim.csr_primitives import push_p
from connectofit.sim.kernels import propagate, propagate_along
from connectofit.sim.network import Network
from connectofit.sim.neurons import Drive, NeuronModel
from connectofit.sim.neurons.base import DISTANCE, KEPT, State, Values, kept
from connectofit.sim.wires import WEIGHT, Wire

Given = dict[str, dict[str, Array]]  # {what: {population: [time, ...]}}
Recorded = dict[str, dict[str, Float[Array, "time neuron"]]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class NetworkState:
    """All that a run continues from.

    step: how many steps have passed since time 0. populations, projections: the models' own variables, by name (of
    projections that learn also the ``weight`` of every edge). under_way: what will arrive in the next steps through
    each projection with a delay, the next step first.
    """

    step: Int[Array, ""]
    populations: dict[str, State]
    projections: dict[str, State]
    under_way: dict[str, Float[Array, "delay n"]]


def one_step(
    net: Network,
    p: dict[str, Values],
    wires: tuple[Wire, ...],
    wanted: dict[str, tuple[str, ...]],
    held: Given,
    where: dict[str, Int[Array, " index"]],
    totals: dict[str, Array],
    key: PRNGKeyArray | None,
    noisy: Sequence[str] | None,
    dt_ms: float,
    state: NetworkState,
    given: tuple[Given, dict[str, Array]],
) -> tuple[NetworkState, tuple[dict[str, Array], dict[str, dict[str, Array]]]]:
    """One step: the state after it, what was sent through projections with a delay, and what is recorded."""
    varying, delayed = given
    alive, inputs, forced, imposed, clamped, driven = (
        {**held[k], **varying[k]} for k in ("alive", "inputs", "forced", "imposed", "clamped", "driven")
    )
    voltage = {pop.name: state.populations[pop.name][pop.model.voltage] for pop in net.populations}

    def masked(value: Array, name: str) -> Array:
        return value * alive[name] if name in alive else value

    drives = {}
    for name, v in voltage.items():
        current = inputs.get(name, jnp.zeros_like(v))
        if name in driven:
            current = current.at[where[name]].add(driven[name], unique_indices=True)
        drives[name] = Drive(masked(current, name), spikes=imposed.get(name))
    sent: dict[str, Array] = {}
    arriving: dict[str, Array] = {}
    for wire in wires:
        projection, synapse = wire.projection, wire.projection.synapse
        name, pre, post = projection.name, projection.pre, projection.post
        if not synapse.spiking:
            at_rest = p[pre][net.population(pre).model.rest]
            sent[name] = masked(synapse.source(wire.p, voltage[pre], at_rest), pre)
        state_of = state.projections[name]
        if wire.learning is not None:
            arriving[name] = masked(wire.arriving(delayed[name], state_of), post)
        else:
            arriving[name] = masked(delayed[name] if wire.delay else propagate(sent[name], wire.prepared), post)
        total = totals.get(name)
        if synapse.electrical and total is None:
            total = masked(propagate(masked(jnp.ones_like(voltage[pre]), pre), wire.prepared), post)
        synapse.drive(wire.p, state_of, arriving[name], total, voltage[post], dt_ms, drives[post])

    populations: dict[str, State] = {}
    spikes: dict[str, Array] = {}
    step_key = None if key is None else jax.random.fold_in(key, state.step)
    distance: dict[str, Array] = {}
    for k, pop in enumerate(net.populations):
        noise, before = None, state.populations[pop.name]
        if step_key is not None and (noisy is None or pop.name in noisy):
            noise = kept(jax.random.normal(jax.random.fold_in(step_key, k), (pop.size,), voltage[pop.name].dtype))
        if DISTANCE in wanted.get(pop.name, ()):
            distance[pop.name] = _distance(pop.model, p[pop.name], before, drives[pop.name], dt_ms, noise)
        populations[pop.name], fired = pop.model.step(p[pop.name], before, drives[pop.name], dt_ms, noise)
        if pop.name in clamped:
            value, variable = clamped[pop.name], pop.model.voltage
            free = populations[pop.name][variable]
            populations[pop.name][variable] = jnp.where(jnp.isnan(value), free, jnp.nan_to_num(value))
        if fired is not None:
            fired = jnp.maximum(fired, forced[pop.name]) if pop.name in forced else fired
            spikes[pop.name] = masked(fired, pop.name)
    projections = {}
    for wire in wires:
        name, synapse, old = wire.name, wire.projection.synapse, state.projections[wire.name]
        projections[name] = synapse.advance(wire.p, old, arriving[name], dt_ms)
        if not synapse.spiking:
            continue
        if net.population(post := wire.projection.post).model.clears_synapses:
            resting = (spikes[post] > 0) | (state.populations[post]["refractory_steps"] > 0)
            projections[name] = {k: jnp.where(resting, 0.0, a) for k, a in projections[name].items()}
        sent[name] = spikes[wire.projection.pre]
        if wire.short_term is not None:
            traces, sent[name] = wire.short_term.release(wire.p, old, sent[name], dt_ms)
            projections[name] = projections[name] | traces
        elif wire.learning is not None:
            came, fired = delayed[name], spikes.get(wire.projection.post, jnp.zeros_like(voltage[wire.projection.post]))
            weight, traces = wire.learning.learn(wire.p, old[WEIGHT], old, came, fired, wire.pairs, dt_ms)
            projections[name] = projections[name] | {WEIGHT: weight} | traces

    new = NetworkState(state.step + 1, populations, projections, state.under_way)

    def recorded(name: str, variable: str) -> Array:
        if variable == "spikes":
            return spikes[name]
        return distance[name] if variable == DISTANCE else populations[name][variable]

    out = {name: {v: recorded(name, v) for v in variables} for name, variables in wanted.items() if variables}
    return new, ({wire.projection.name: sent[wire.projection.name] for wire in wires if wire.delay}, out)


def _distance(
    model: NeuronModel, p: Values, before: State, drive: Drive, dt_ms: float, noise: Array | None
) -> Float[Array, " neuron"]:
    """V less the threshold at the end of a step, as they are before any spike of it."""
    none = jnp.zeros_like(before[model.voltage])
    silent, _ = model.step(p, before, replace(drive, spikes=none), dt_ms, noise)
    return jnp.where(before["refractory_steps"] > 0, -jnp.inf, silent[model.voltage] - model.threshold(p, silent))


def in_blocks(
    wires: tuple[Wire, ...],
    step: Callable[..., Any],
    state: NetworkState,
    varying: Given,
    n_steps: int,
    length: int,
    checkpoint: int | Literal["sqrt"] | None,
) -> tuple[NetworkState, Recorded]:
    """`n_steps` steps in blocks of `length`, no more than the shortest delay, and what is recorded in them."""
    weights = {wire.name: wire.prepared.weight for wire in wires if _carries_derivative(wire)}
    along = {name: weight[None, :] for name, weight in weights.items() if weight is not None}
    block = partial(_block, wires, step)
    if length == 1:
        carry, out = _scan(partial(block, length=None), (state, along), varying, n_steps, checkpoint)
        return carry[0], out
    n_blocks, rest = divmod(n_steps, length)
    whole = jax.tree.map(lambda a: a[: n_blocks * length].reshape(n_blocks, length, *a.shape[1:]), varying)
    carry, out = _scan(partial(block, length=length), (state, along), whole, n_blocks, checkpoint)
    out = jax.tree.map(lambda a: a.reshape(n_blocks * length, *a.shape[2:]), out)
    if rest:
        carry, last = block(carry, jax.tree.map(lambda a: a[n_blocks * length :], varying), length=rest)
        out = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, last)
    return carry[0], out


def _carries_derivative(wire: Wire) -> bool:
    """Whether the derivative by the wire's weights travels in the carry."""
    of_one_delay = wire.delay > 0 and wire.projection.edge_delay_ms is None
    return of_one_delay and wire.learning is None and wire.prepared.weight is not None


def _worth_keeping(primitive: Any, *_: Any, **settings: Any) -> bool:
    """What reverse mode keeps of a block: products along edges, and what is marked as `kept`."""
    if primitive.name == "name":
        return settings["name"] == KEPT
    return primitive in (push_p, lax.dot_general_p)


def _block(
    wires: tuple[Wire, ...],
    step: Callable[..., Any],
    carry: tuple[NetworkState, dict[str, Array]],
    varying: Given,
    *,
    length: int | None,
) -> tuple[tuple[NetworkState, dict[str, Array]], Recorded]:
    """`length` steps: take what arrives in them, run them, deliver what was sent. None: one step, without an axis of
    time in what is given and recorded, which would be another copy of it."""

    def run(carry: tuple[NetworkState, dict[str, Array]], varying: Given) -> Any:
        state, along = carry[0], dict(carry[1])
        bare = replace(state, under_way={})
        if length is None:
            bare, (sent, out) = step(bare, (varying, {name: rows[0] for name, rows in state.under_way.items()}))
            sent = {name: value[None] for name, value in sent.items()}
        else:
            arriving = {name: rows[:length] for name, rows in state.under_way.items()}
            bare, (sent, out) = lax.scan(step, bare, (varying, arriving), length=length)
        under_way = {}
        for wire in wires:
            name = wire.name
            if name in along:
                y, along[name] = propagate_along(sent[name], wire.prepared, along[name])
                under_way[name] = jnp.concatenate([state.under_way[name][length or 1 :], y])
            elif wire.delay:
                under_way[name] = wire.keep(state.under_way[name], sent[name])
        return (replace(bare, under_way=under_way), along), out

    return jax.checkpoint(run, policy=_worth_keeping, prevent_cse=False)(carry, varying)


def _scan(
    body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: int, checkpoint: int | str | None
) -> tuple[Any, Any]:
    """`lax.scan`, in checkpointed segments where asked for."""
    if checkpoint is None or length < 2:
        return lax.scan(body, carry, xs, length=length)
    size = _near_square_root(length) if checkpoint == "sqrt" else checkpoint
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise SettingError(f"checkpoint has to be a number of blocks, 1 or more, 'sqrt' or None; found {checkpoint!r}.")
    n_segments, rest = divmod(length, min(size, length))
    size = min(size, length)

    def segment(carry: Any, xs: Any) -> tuple[Any, Any]:
        return lax.scan(body, carry, xs, length=size)

    whole = jax.tree.map(lambda a: a[: n_segments * size].reshape(n_segments, size, *a.shape[1:]), xs)
    carry, out = lax.scan(jax.checkpoint(segment), carry, whole, length=n_segments)
    out = jax.tree.map(lambda a: a.reshape(n_segments * size, *a.shape[2:]), out)
    if rest:
        carry, last = lax.scan(body, carry, jax.tree.map(lambda a: a[n_segments * size :], xs), length=rest)
        out = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), out, last)
    return carry, out


def _near_square_root(length: int) -> int:
    """The divisor of `length` that is nearest to its square root, if one is near: without a rest there is less to
    compile, and no copy of the inputs."""
    root = math.isqrt(length - 1) + 1
    divisors = [size for size in range(max(root // 2, 1), 2 * root + 1) if length % size == 0]
    return min(divisors, key=lambda size: abs(size - root), default=root)
