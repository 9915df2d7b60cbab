"""Networks of integrate-and-fire neurons in one compiled call: many steps, no gradients.

What `rollout` does with one operation after another, the kernel ``connectofit_spiking`` (sim/native/fused.cpp) does for
a few vectors of neurons at a time while their state is in registers. The equations are those of
`connectofit.sim.neurons.lif` and `.glif` with exponential currents, exponential conductances and delta synapses; this
module works out their coefficients, says which networks qualify (`obstacle`), and calls it.
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

from connectofit.connectome.errors import SettingError
from connectofit.sim.checks import delay_steps
from connectofit.sim.native import compiled_kernels
from connectofit.sim.network import Network, Population, Projection
from connectofit.sim.neurons import LIF, PoissonSource, SpikeSource
from connectofit.sim.neurons.base import Drive, State, Values, mean_of_decay
from connectofit.sim.neurons.glif import GLIF
from connectofit.sim.neurons.linear import relative_expm1
from connectofit.sim.rollout import NetworkState, dtype_of, neuron_values
from connectofit.sim.synapses import Delta, Exponential, ExponentialConductance, Synapse
from connectofit.sim.wires import values_of

_KINDS: dict[type[Synapse], int] = {Delta: 0, Exponential: 1, ExponentialConductance: 2}
_SOURCES = (SpikeSource, PoissonSource)
_SUFFIX = {"float32": "f32", "float64": "f64"}

Sparse = tuple[Int[Array, " driven"], Float[Array, "time driven"]]


def obstacle(net: Network) -> str | None:
    """Why the fused kernel cannot run this network, or None where it can.

    It takes LIF and GLIF neurons without noise, LIF with exponential or delta synapses (currents or conductances, not
    both onto one population) and jumps that are dropped in the refractory period, GLIF with currents and jumps; spike
    sources; one delay or one for each edge. It takes no plasticity.
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
    if type(model) is not LIF and not isinstance(model, GLIF):
        return f"is of {model.kind} neurons"
    if isinstance(model, LIF) and model.refractory_input != "drop":
        return "keeps the input of its refractory period"
    if np.any(np.asarray(net.params[population.name]["noise_mV"]) > 0):
        return "has noise"
    kinds = {type(p.synapse) for p in net.projections if p.post == population.name}
    if {Exponential, ExponentialConductance} <= kinds:
        return "gets both currents and conductances"
    return None


def _obstacle_of_projection(net: Network, projection: Projection) -> str | None:
    model = net.population(projection.post).model
    if type(projection.synapse) not in _KINDS:
        return f"has {projection.synapse.kind} synapses"
    if type(projection.synapse) is ExponentialConductance and isinstance(model, GLIF):
        return f"has {projection.synapse.kind} synapses onto {model.kind} neurons"
    if projection.plasticity is not None:
        return f"has {projection.plasticity.kind} plasticity"
    if type(model) in _SOURCES:
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
    shown: {population: indices, ascending, whose voltage is recorded at the end of every step}; of LIF and GLIF
        neurons.
    key: for the sources' noise, as in `rollout`.
    room: (population, how many spikes there is room for); where there were more (see `Fused.counts`), run again.
    """
    dtype = dtype_of(state, {})
    values = neuron_values(net, dtype)
    number = {population.name: k for k, population in enumerate(net.populations)}
    block = min([delay_steps(projection, dt_ms) for projection in net.projections], default=n_steps)
    plan = [n_steps, min(block, n_steps), len(net.populations), len(net.projections)]
    arguments: list[Array] = []
    results: list[jax.ShapeDtypeStruct] = []
    out = partial(jax.ShapeDtypeStruct, dtype=dtype)
    ints = partial(jax.ShapeDtypeStruct, dtype=jnp.int32)
    sources: dict[str, State] = {}
    for k, population in enumerate(net.populations):
        name, n, p, before = population.name, population.size, values[population.name], state.populations
        index, current = inputs.get(name, (np.empty(0, np.int32), np.empty((n_steps, 0))))
        index, current = jnp.asarray(index, jnp.int32), jnp.asarray(current, dtype)
        current = current * alive[name][index] if name in alive else current
        picked = jnp.asarray(shown.get(name, np.empty(0, np.int32)), jnp.int32)
        if type(population.model) in _SOURCES:
            noise_key = None if key is None else (key, k)
            sources[name], spikes = _source_spikes(
                population, p, before[name], state.step, index, current, noise_key, dt_ms, n_steps
            )
            plan += [0, n, 0, 0, 0, 0]
            arguments.append(spikes * alive[name] if name in alive else spikes)
        else:
            kind = 1 if type(population.model) is LIF else 2
            plan += [kind, n, len(index), len(picked), int(name in alive), int(population.model.clears_synapses)]
            rest, r_m, _ = _membrane(p)
            arguments += [
                before[name]["v_mV"],
                before[name]["refractory_steps"],
                rest + r_m * p["i_bias_pA"],
                jnp.round(p["t_ref_ms"] / dt_ms).astype(jnp.int32),
                index,
                r_m[index] * current,
                picked,
                jnp.asarray(alive.get(name, np.empty(0)), dtype),
            ]
            if kind == 1:
                own = _leaky_arguments(net, population, p, dt_ms)
            else:
                own = _generalised_arguments(p, before[name], dt_ms)
            arguments += own
            results += [out((n,)), ints((n,))]
            results += [out(a.shape) for a in own[:-1]] if kind == 2 else []
            results.append(out((n_steps, len(picked))))
        results += [ints((n_steps,)), ints((dict(room)[name],))]
    for projection in net.projections:
        y = state.projections[projection.name].get("y", jnp.zeros(0, dtype))
        under_way = state.under_way[projection.name]
        shortest = delay_steps(projection, dt_ms)
        later, later_bytes = _later(projection, dt_ms, shortest, under_way.shape[0])
        weight, scale = _weight(projection, net.params[projection.name]["log_gain"], dtype)
        kind = _KINDS[type(projection.synapse)]
        plan += [number[projection.pre], number[projection.post], shortest, under_way.shape[0], kind, later_bytes]
        arguments += [y, under_way, *_wire_coefficients(net, projection, values[projection.post], dt_ms, dtype)]
        arguments += [jnp.asarray(projection.indptr, jnp.int32), jnp.asarray(projection.post_index, jnp.int32)]
        arguments += [weight, scale, later]
        results += [out(y.shape), out(under_way.shape)]
    call = jax.ffi.ffi_call(f"connectofit_spiking_{_SUFFIX[jnp.dtype(dtype).name]}", results, vmap_method="sequential")
    returned = iter(call(*arguments, plan=np.array(plan, np.int64)))
    populations: dict[str, State] = {}
    counts, who, voltage = {}, {}, {}
    for population in net.populations:
        name = population.name
        if name in sources:
            populations[name] = sources[name]
        else:
            v, resting = next(returned), next(returned)
            levels = {k: next(returned) for k in _GENERALISED_STATE} if isinstance(population.model, GLIF) else {}
            made = {"v_mV": v, **levels, "refractory_steps": resting}
            populations[name] = {k: made[k] for k in population.model.variables}
            voltage[name] = next(returned)
        counts[name], who[name] = next(returned), next(returned)
    projections, under_way_after = {}, {}
    for projection in net.projections:
        y, under_way_after[projection.name] = next(returned), next(returned)
        projections[projection.name] = {"y": y} if "y" in state.projections[projection.name] else {}
    return Fused(NetworkState(state.step + n_steps, populations, projections, under_way_after), counts, who, voltage)


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


# --- coefficients -----------------------------------------------------------------------------------------------------


def _membrane(p: Values) -> tuple[Array, Array, Array]:
    """(resting potential, resistance in GOhm, time constant in ms) of LIF or GLIF neurons."""
    if "r_m_GOhm" in p:
        return p["v_rest_mV"], p["r_m_GOhm"], p["tau_m_ms"]
    return p["e_l_mV"], 1.0 / p["g_nS"], p["c_m_pF"] / p["g_nS"]


def _gets_conductances(net: Network, name: str) -> bool:
    return any(p.post == name and type(p.synapse) is ExponentialConductance for p in net.projections)


def _leaky_arguments(net: Network, population: Population, p: Values, dt_ms: float) -> list[Array]:
    rate = -dt_ms / p["tau_m_ms"]
    decay = rate if _gets_conductances(net, population.name) else jnp.exp(rate)
    return [decay, p["v_threshold_mV"], p["v_reset_mV"]]


_GENERALISED_STATE = ("theta_spike_mV", "theta_voltage_mV", "asc_1_pA", "asc_2_pA")


def _generalised_arguments(p: Values, state: State, dt_ms: float) -> list[Array]:
    """The variables that only some levels have ([0] for the others), and the coefficients in the kernel's order."""
    e_l, r_m, tau_m = _membrane(p)
    none = jnp.zeros_like(e_l)
    decay, t_ref = jnp.exp(-dt_ms / tau_m), p["t_ref_ms"]
    rows = [decay, p["v_threshold_mV"]]
    if "reset_fraction" in p:
        rate = p["theta_spike_decay_per_ms"]
        rows += [e_l + p["reset_add_mV"], p["reset_fraction"], e_l]
        rows += [jnp.exp(-rate * dt_ms), jnp.exp(-rate * t_ref), p["theta_spike_add_mV"]]
    else:
        rows += [p["v_reset_mV"], none, e_l, none, none, none]
    if "theta_voltage_index_per_ms" in p:
        pull, back = p["theta_voltage_index_per_ms"] * dt_ms, p["theta_voltage_decay_per_ms"] * dt_ms
        faded = jnp.exp(-back)
        rows += [faded, pull * relative_expm1(-back), pull * faded * relative_expm1(back - dt_ms / tau_m), e_l]
    else:
        rows += [none, none, none, e_l]
    for j in (1, 2):
        if f"asc_{j}_add_pA" in p:
            rate = p[f"asc_{j}_decay_per_ms"]
            rows += [_gain(r_m, tau_m, 1.0 / rate, dt_ms), jnp.exp(-rate * dt_ms)]
            rows += [p[f"asc_{j}_fraction"] * jnp.exp(-rate * t_ref), p[f"asc_{j}_add_pA"]]
            rows.append(r_m * mean_of_decay(rate * dt_ms))
        else:
            rows += [none] * 5
    return [*(state.get(k, none[:0]) for k in _GENERALISED_STATE), jnp.stack(rows)]


def _gain(r_m: Array, tau_m: Array, tau: Array, dt_ms: float) -> Array:
    """What a current of 1 pA that decays with tau adds to V in a step."""
    return r_m * (dt_ms / tau_m) * jnp.exp(-dt_ms / tau_m) * relative_expm1(dt_ms / tau_m - dt_ms / tau)


def _wire_coefficients(
    net: Network, projection: Projection, p: Values, dt_ms: float, dtype: Any
) -> tuple[Array, Array, Array]:
    """(gain, fade, pull) per neuron, as in the kernel's equations; none of them for delta synapses.

    The pull of a current onto generalised neurons is what its mean over the step adds to the potential V moves to.
    """
    none = jnp.zeros(0, dtype)
    if type(projection.synapse) is Delta:
        return none, none, none
    own, n = values_of(net, projection, dtype), net.population(projection.post).size
    tau = jnp.broadcast_to(own["tau_syn_ms"], (n,))
    _, r_m, tau_m = _membrane(p)
    fade, mean = jnp.exp(-dt_ms / tau), mean_of_decay(dt_ms / tau)
    if type(projection.synapse) is ExponentialConductance:
        return r_m * mean, fade, r_m * mean * own["e_rev_mV"]
    is_generalised = isinstance(net.population(projection.post).model, GLIF)
    return _gain(r_m, tau_m, tau, dt_ms), fade, r_m * mean if is_generalised else none


def _weight(projection: Projection, log_gain: Array, dtype: Any) -> tuple[Array, Array]:
    """(weights, what to multiply them by): one gain for all leaves the edges' weights as they are, without a copy."""
    log_gain = jnp.asarray(log_gain, dtype)
    if log_gain.shape == (1,):
        return jnp.asarray(projection.base_weight, dtype), jnp.exp(log_gain)
    return projection.weight(log_gain), jnp.ones(1, dtype)


def _later(projection: Projection, dt_ms: float, shortest: int, longest: int) -> tuple[Array, int]:
    """(how many steps later than the shortest delay each edge delivers, bytes of such a number; none and 0 where all
    edges have one delay)."""
    if projection.edge_delay_ms is None:
        return jnp.zeros(0, jnp.uint8), 0
    if longest - shortest >= 2**16:
        raise SettingError(
            f"Delays of projection {projection.name!r} spread over {longest - shortest} steps; at most 65,535."
        )
    smallest = jnp.uint8 if longest - shortest < 256 else jnp.uint16
    steps = jnp.round(jnp.asarray(projection.edge_delay_ms).astype(jnp.float32) / dt_ms)
    return (steps - shortest).astype(smallest), jnp.dtype(smallest).itemsize
