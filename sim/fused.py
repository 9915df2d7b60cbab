"""Networks of leaky integrate-and-fire neurons in one compiled call: many steps, no gradients.

What `rollout` does with one operation after another, the kernel ``connectofit_lif`` (sim/native/fused.cpp) does for a
tile of neurons at a time while their state is in the processor's first cache. The equations are those of
`connectofit.sim.neurons.lif` with exponential and delta synapses; this module works out their coefficients, says which
networks qualify (`obstacle`), and calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.sim.native import compiled_kernels
from connectofit.sim.network import Network, Population, Projection
from connectofit.sim.neurons import LIF, PoissonSource, SpikeSource
from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.neurons.linear import relative_expm1
from connectofit.sim.rollout import NetworkState, dtype_of, neuron_values
from connectofit.sim.synapses import Delta, Exponential, Synapse
from connectofit.sim.wires import Wire, make_wire

_MOST_WIRES = 3  # exponential projections onto a population that one compiled loop takes
_KINDS: dict[type[Synapse], int] = {Delta: 0, Exponential: 1}
_SOURCES = (SpikeSource, PoissonSource)
_SUFFIX = {"float32": "f32", "float64": "f64"}

Sparse = tuple[Int[Array, " driven"], Float[Array, "time driven"]]


def obstacle(net: Network) -> str | None:
    """Why the fused kernel cannot run this network, or None where it can.

    It takes LIF neurons without noise whose jumps in the refractory period are dropped, spike sources, and exponential
    or delta synapses with one delay and without plasticity.
    """
    if not compiled_kernels().available:
        return compiled_kernels().reason
    for population in net.populations:
        found = _obstacle_of_population(net, population)
        if found is not None:
            return f"population {population.name!r} {found}"
    for projection in net.projections:
        found = _obstacle_of_projection(net, projection)
        if found is not None:
            return f"projection {projection.name!r} {found}"
    return None


def _obstacle_of_population(net: Network, population: Population) -> str | None:
    model = population.model
    if type(model) in _SOURCES:
        return None
    if type(model) is not LIF:
        return f"is of {model.kind} neurons"
    if model.refractory_input != "drop":
        return "keeps the input of its refractory period"
    if np.any(np.asarray(net.params[population.name]["noise_mV"]) > 0):
        return "has noise"
    wires = [p for p in net.projections if p.post == population.name and type(p.synapse) is Exponential]
    return f"has more than {_MOST_WIRES} exponential projections" if len(wires) > _MOST_WIRES else None


def _obstacle_of_projection(net: Network, projection: Projection) -> str | None:
    if type(projection.synapse) not in _KINDS:
        return f"has {projection.synapse.kind} synapses"
    if projection.plasticity is not None:
        return f"has {projection.plasticity.kind} plasticity"
    if projection.edge_delay_ms is not None:
        return "has delays of single edges"
    if type(net.population(projection.post).model) is not LIF:
        return "ends at a source"
    return None


@dataclass(frozen=True, eq=False)
class Fused:
    """What came out: the state after the last step; {population: number of spikes in each step}, {population: who
    spiked, in order of time and index, as far as there was room}, {population: voltages}."""

    state: NetworkState
    counts: dict[str, Int[Array, " time"]]
    who: dict[str, Int[Array, " room"]]
    voltage: dict[str, Float[Array, "time shown"]]


jax.tree_util.register_dataclass(Fused, ["state", "counts", "who", "voltage"], [])


def run(
    net: Network,
    state: NetworkState,
    inputs: Mapping[str, Sparse],
    alive: Mapping[str, Float[Array, " neuron"]],
    shown: Mapping[str, Int[np.ndarray, " shown"]],
    key: PRNGKeyArray | None = None,
    *,
    dt_ms: float,
    n_steps: int,
    room: tuple[tuple[str, int], ...],
) -> Fused:
    """`n_steps` steps of a network that has no `obstacle`.

    Parameters
    ----------
    inputs: {population: (indices, ascending; [time, index] currents in pA)}, held over each step.
    alive: {population: [neuron]}, 1 for alive, 0 for ablated.
    shown: {population: indices, ascending, whose voltage is recorded at the end of every step}; of LIF neurons.
    key: for the sources' noise, as in `rollout`.
    room: (population, how many spikes there is room for); where there were more (see `Fused.counts`), run again.
    """
    dtype = dtype_of(state, {})
    wires = [make_wire(net, projection, dt_ms, dtype, "event") for projection in net.projections]
    values = neuron_values(net, dtype)
    number = {population.name: k for k, population in enumerate(net.populations)}
    block = min([wire.delay for wire in wires], default=n_steps)
    plan = [n_steps, min(block, n_steps), len(net.populations), len(wires)]
    arguments: list[Array] = []
    results: list[jax.ShapeDtypeStruct] = []
    out = partial(jax.ShapeDtypeStruct, dtype=dtype)
    ints = partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    sources: dict[str, State] = {}
    for k, population in enumerate(net.populations):
        name, n = population.name, population.size
        index, current = inputs.get(name, (np.empty(0, np.int32), np.empty((n_steps, 0))))
        index, current = jnp.asarray(index, jnp.int32), jnp.asarray(current, dtype)
        current = current * alive[name][index] if name in alive else current
        picked = jnp.asarray(shown.get(name, np.empty(0, np.int32)), jnp.int32)
        if type(population.model) in _SOURCES:
            noise_key = None if key is None else (key, k)
            sources[name], spikes = _source_spikes(
                population, values[name], state.populations[name], state.step, index, current, noise_key, dt_ms, n_steps
            )
            plan += [1, n, 0, 0, 0]
            arguments.append(spikes * alive[name] if name in alive else spikes)
        else:
            plan += [0, n, len(index), len(picked), int(name in alive)]
            arguments += _lif_arguments(values[name], state.populations[name], index, current, dt_ms)
            arguments += [picked, jnp.asarray(alive.get(name, np.empty(0)), dtype)]
            results += [out((n,)), ints((n,)), out((n_steps, len(picked)))]
        results += [ints((n_steps,)), ints((dict(room)[name],))]
    for wire in wires:
        projection, n = wire.projection, net.population(wire.projection.post).size
        kind = _KINDS[type(projection.synapse)]
        clears = net.population(projection.post).model.clears_synapses
        plan += [number[projection.pre], number[projection.post], wire.delay, kind, int(clears)]
        y = state.projections[wire.name].get("y", jnp.zeros(0, dtype))
        arguments += [
            y,
            state.under_way[wire.name],
            *_wire_coefficients(wire, values[projection.post], dt_ms, n, dtype),
        ]
        arguments += [wire.graph.indptr, wire.graph.post, jnp.asarray(wire.prepared.weight, dtype)]
        results += [out(y.shape), out((wire.delay, n))]
    call = jax.ffi.ffi_call(f"connectofit_lif_{_SUFFIX[jnp.dtype(dtype).name]}", results, vmap_method="sequential")
    returned = iter(call(*arguments, plan=np.array(plan, np.int64)))
    populations: dict[str, State] = {}
    counts, who, voltage = {}, {}, {}
    for population in net.populations:
        name = population.name
        if name in sources:
            populations[name] = sources[name]
        else:
            populations[name] = {"v_mV": next(returned), "refractory_steps": next(returned)}
            voltage[name] = next(returned)
        counts[name], who[name] = next(returned), next(returned)
    projections, under_way = {}, {}
    for wire in wires:
        y, under_way[wire.name] = next(returned), next(returned)
        projections[wire.name] = {"y": y} if "y" in state.projections[wire.name] else {}
    return Fused(NetworkState(state.step + n_steps, populations, projections, under_way), counts, who, voltage)


def _source_spikes(
    population: Population,
    p: Values,
    state: State,
    first: Int[Array, ""],
    index: Int[Array, " driven"],
    current: Float[Array, "time driven"],
    key: tuple[PRNGKeyArray, int] | None,
    dt_ms: float,
    n_steps: int,
) -> tuple[State, Float[Array, "time neuron"]]:
    """A source's state after some steps, and its spikes in each, from the numbers that `rollout` draws."""
    nothing = jnp.zeros(population.size, current.dtype)

    def one(state: State, given: tuple[Array, Array]) -> tuple[State, Any]:
        step, row = given
        noise = None
        if key is not None:
            own = jax.random.fold_in(jax.random.fold_in(key[0], step), key[1])
            noise = jax.random.normal(own, (population.size,), current.dtype)
        return population.model.step(p, state, Drive(nothing.at[index].add(row)), dt_ms, noise)

    return lax.scan(one, state, (first + jnp.arange(n_steps, dtype=jnp.int32), current))


def _lif_arguments(
    p: Values,
    state: Mapping[str, Array],
    index: Int[Array, " driven"],
    current: Float[Array, "time driven"],
    dt_ms: float,
) -> list[Array]:
    return [
        state["v_mV"],
        state["refractory_steps"],
        p["v_rest_mV"] + p["r_m_GOhm"] * p["i_bias_pA"],
        jnp.exp(-dt_ms / p["tau_m_ms"]),
        p["v_threshold_mV"],
        p["v_reset_mV"],
        jnp.round(p["t_ref_ms"] / dt_ms).astype(jnp.int32),
        index,
        p["r_m_GOhm"][index] * current,
    ]


def _wire_coefficients(wire: Wire, p: Values, dt_ms: float, n: int, dtype: Any) -> tuple[Array, Array]:
    """(what a current y adds to V in a step, what is left of y after it), per neuron; none for delta synapses."""
    if type(wire.projection.synapse) is Delta:
        return jnp.zeros(0, dtype), jnp.zeros(0, dtype)
    tau, tau_m = jnp.broadcast_to(wire.p["tau_syn_ms"], (n,)), p["tau_m_ms"]
    gain = p["r_m_GOhm"] * (dt_ms / tau_m) * jnp.exp(-dt_ms / tau_m) * relative_expm1(dt_ms / tau_m - dt_ms / tau)
    return gain, jnp.exp(-dt_ms / tau)
