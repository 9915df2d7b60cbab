"""The pure function under every simulation and every fit: state and inputs in, state and recorded variables out.

Time runs in steps of dt. At step m, from t = m dt to t + dt, every neuron sees its input of that step (held), what
graded synapses and gap junctions pass on from the voltages at t, and synaptic currents. Recorded values at index m
are those at t + dt, and a spike at index m has the time t + dt. A spike of step m that travels for D steps reaches
its target's synapse at the end of step m + D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim.checks import steps_of
from connectofit.sim.kernels import Method, propagate
from connectofit.sim.network import Network, Population
from connectofit.sim.neurons.base import DISTANCE, Values
from connectofit.sim.time_loop import NetworkState, in_blocks, one_step
from connectofit.sim.wires import Wire, make_wire

PerPopulation = Mapping[str, Float[Array, "time neuron"]]
Driven = Mapping[str, tuple[Int[Array, " index"], Float[Array, "time index"]]]
Record = Sequence[str] | Mapping[str, Sequence[str]] | None


def recordable(population: Population) -> tuple[str, ...]:
    """The names of what can be recorded: the state's variables, of spiking neurons ``"spikes"``, and of those with a
    threshold ``"distance_mV"`` from it."""
    model = population.model
    return (*model.variables, *(("spikes",) if model.spiking else ()), *((DISTANCE,) if model.takes_spikes else ()))


def recorded_variables(net: Network, record: Record) -> dict[str, tuple[str, ...]]:
    """Which variables of which population `record` asks for; None means the voltage, and spikes where there are any.

    Raises `UnknownNameError` for a population that does not exist and for a variable that no (or not that) population
    has.
    """
    if record is None:
        return {p.name: (p.model.voltage, "spikes") if p.model.spiking else (p.model.voltage,) for p in net.populations}
    if isinstance(record, str):
        record = (record,)
    if isinstance(record, Mapping):
        for name, variables in record.items():
            known = recordable(net.population(name))
            for variable in variables:
                if variable not in known:
                    raise unknown_name("variable to record", variable, known, f"population {name!r}")
        return {p.name: tuple(record.get(p.name, ())) for p in net.populations}
    everything = dict.fromkeys(v for p in net.populations for v in recordable(p))
    for variable in record:
        if variable not in everything:
            raise unknown_name("variable to record", variable, everything, "the network")
    return {p.name: tuple(v for v in record if v in recordable(p)) for p in net.populations}


def initial_state(net: Network, *, dt_ms: float, dtype: Any = None) -> NetworkState:
    """The state at time 0: every neuron at rest, no synaptic current, nothing under way. Differentiable in
    `net.params`.

    dtype: of the floats; by default JAX's own (float32, or float64 under `jax.enable_x64`).
    """
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    p = neuron_values(net, dtype)
    populations = {pop.name: pop.model.initial(p[pop.name]) for pop in net.populations}
    projections, under_way = {}, {}
    for projection in net.projections:
        pre, post, synapse = net.population(projection.pre), net.population(projection.post), projection.synapse
        wire = make_wire(net, projection, dt_ms, dtype, "auto")
        log_gain = net.params[projection.name]["log_gain"]
        projections[projection.name] = wire.initial_state(pre.size, post.size, dtype, log_gain)
        if wire.delay and synapse.spiking:
            under_way[projection.name] = wire.nothing_under_way(pre.size, post.size, dtype)
        elif wire.delay:
            sent = synapse.source(wire.p, populations[pre.name][pre.model.voltage], p[pre.name][pre.model.rest])
            under_way[projection.name] = wire.under_way_at_rest(sent, post.size)
    return NetworkState(jnp.zeros((), jnp.int32), populations, projections, under_way)


def check_state(net: Network, state: NetworkState, dt_ms: float) -> None:
    """Raise a `SettingError` where a state cannot belong to this network and time step (works on traced states)."""
    expected = jax.eval_shape(lambda: initial_state(net, dt_ms=dt_ms))
    for what in ("populations", "projections", "under_way"):
        theirs, ours = getattr(state, what), getattr(expected, what)
        shapes = [jax.tree_util.tree_map(jnp.shape, side) for side in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise SettingError(
                f"The state to go on from does not fit the network at dt_ms = {dt_ms:g}: its {what} have shapes "
                f"{shapes[0]}, the network's {shapes[1]}. Use a state of the same network, made with the same dt_ms."
            )


def rollout(
    net: Network,
    state: NetworkState | None,
    inputs: PerPopulation,
    key: PRNGKeyArray | None = None,
    *,
    dt_ms: float,
    record: Record = None,
    alive: Mapping[str, Float[Array, " neuron"] | Float[Array, "time neuron"]] | None = None,
    forced: PerPopulation | None = None,
    imposed: PerPopulation | None = None,
    clamped: PerPopulation | None = None,
    driven: Driven | None = None,
    n_steps: int | None = None,
    method: Method = "auto",
    checkpoint: int | Literal["sqrt"] | None = None,
    noisy: Sequence[str] | None = None,
    take: Callable[[dict[str, dict[str, Array]]], Any] | None = None,
) -> tuple[NetworkState, Any]:
    """Run the network over dense inputs. Pure: it can be jitted, vmapped and differentiated in `net.params`, state
    and inputs.

    Parameters
    ----------
    net: the network; replace its parameters with `Network.with_params`.
    state: where to start; None for `initial_state`.
    inputs: {population: [time, neuron]}, the current into each neuron (relative for graded neurons, pA for LIF), held
        over each step. A population that is left out gets none. One row ([1, neuron]) is held over all steps.
    key: for the models' noise; None runs without. The noise of a step depends on the key and on `state.step` alone.
    dt_ms: the time step, a Python number (static under `jit`).
    record: variables to return, for all populations that have them or {population: variables}; ``"spikes"`` of spiking
        ones, ``"distance_mV"`` of those whose spikes can be imposed: V less the threshold before any spike of the step,
        -inf in the refractory period. None: voltages and spikes.
    alive: {population: [neuron] or [time, neuron]}, 1 for alive and 0 for ablated: such a neuron neither sends nor
        receives, through synapses, gap junctions or inputs. Floats, so that a batch of ablations can be mapped over.
    forced: {population: [time, neuron]}, 1 where a neuron of a spiking model sends a spike whatever its voltage, which
        goes on as if there were none.
    imposed: {population: [time, neuron]}, 1 where a neuron of an integrate-and-fire model (LIF, ALIF, GLIF, GIF) has a
        spike, with its reset and all that follows, 0 where it has none, NaN where it fires by itself.
    driven: {population: (indices, [time, index])}, further current into these neurons alone, whose indices differ:
        faster than `inputs` where few of many neurons get any.
    clamped: {population: [time, neuron]}, the voltage that a neuron has at the end of the step, NaN where it is free.
    n_steps: how many steps; by default the inputs' length.
    method: kernel, see `connectofit.sim.kernels`.
    checkpoint: for reverse mode over long runs: recompute the loop in segments of that many blocks ("sqrt": the
        square root of their number), which keeps memory at about the square root of the steps for one more forward
        pass.
    noisy: the populations to draw noise for, where `key` is given; None: all. The others draw none, which saves most of
        the time of large ones.

    Returns
    -------
    The state after the last step, and {population: {variable: [time, neuron]}}; index m holds the values at the end
    of step m.

    Raises
    ------
    UnknownNameError, SettingError: names, shapes, delays or settings that do not fit, before anything is compiled.
    """
    wanted = recorded_variables(net, record)
    dtype = dtype_of(state, inputs)
    where = {name: jnp.asarray(index) for name, (index, _) in (driven or {}).items()}
    rows = {name: current for name, (_, current) in (driven or {}).items()}
    series = {
        "inputs": inputs,
        "alive": alive or {},
        "forced": forced or {},
        "imposed": imposed or {},
        "clamped": clamped or {},
        "driven": rows,
    }
    for name in imposed or {}:
        if not net.population(name).model.takes_spikes:
            raise SettingError(
                f"Spikes cannot be imposed on population {name!r}: its model {net.population(name).model.kind!r} has "
                "no threshold that they could stand for. Possible with LIF, ALIF, GLIF and GIF."
            )
    n_steps = _n_steps(net, series, n_steps, {name: index.shape[0] for name, index in where.items()})
    steps_of(0.0, dt_ms, "The duration")
    if state is None:
        state = initial_state(net, dt_ms=dt_ms, dtype=dtype)
    else:
        check_state(net, state, dt_ms)
    wires = tuple(make_wire(net, projection, dt_ms, dtype, method) for projection in net.projections)
    varying: dict[str, dict[str, Array]] = {what: {} for what in series}
    held: dict[str, dict[str, Array]] = {what: {} for what in series}
    for what, given in series.items():
        for name, value in given.items():
            value = jnp.asarray(value, dtype)
            is_held = value.ndim == 1 or (value.shape[0] == 1 and n_steps != 1)
            (held if is_held else varying)[what][name] = value.reshape(value.shape[-1]) if is_held else value
    step = partial(
        one_step,
        net,
        neuron_values(net, dtype, one_for_all=True),
        wires,
        wanted,
        held,
        where,
        _totals(wires, held, varying, dtype),
        key,
        noisy,
        dt_ms,
    )
    if take is not None:
        step = partial(_taking, step, take)
    length = min(min((wire.delay for wire in wires if wire.delay), default=1), max(n_steps, 1))
    return in_blocks(wires, step, state, varying, n_steps, length, checkpoint)


def _taking(step: Callable[..., Any], take: Callable[[Any], Any], state: NetworkState, given: Any) -> Any:
    """A step that records what `take` makes of the recorded variables."""
    state, (sent, out) = step(state, given)
    return state, (sent, take(out))


def _totals(
    wires: tuple[Wire, ...], held: dict[str, dict[str, Array]], varying: dict[str, dict[str, Array]], dtype: Any
) -> dict[str, Array]:
    """The summed conductance onto every neuron, where it is the same at every step."""
    totals = {}
    for wire in wires:
        pre, post = wire.projection.pre, wire.projection.post
        if wire.projection.synapse.electrical and pre not in varying["alive"] and post not in varying["alive"]:
            n_pre = wire.projection.indptr.shape[0] - 1
            total = propagate(held["alive"].get(pre, jnp.ones(n_pre, dtype)), wire.prepared)
            totals[wire.projection.name] = total * held["alive"][post] if post in held["alive"] else total
    return totals


def neuron_values(net: Network, dtype: Any, *, one_for_all: bool = False) -> dict[str, Values]:
    """Every population's parameters, one value per neuron. one_for_all: [1] where all neurons are of one type, which
    spares the time loop to read an array for each parameter."""

    def spread(population: Population, value: Array) -> Array:
        if one_for_all and value.shape[0] == 1:
            return value
        return value[jnp.asarray(population.type_index)]

    return {
        pop.name: {k: spread(pop, jnp.asarray(v, dtype)) for k, v in net.params[pop.name].items()}
        for pop in net.populations
    }


def dtype_of(state: NetworkState | None, inputs: PerPopulation) -> Any:
    """The type of the floats of a state, or without one of the inputs."""
    if state is not None:
        return next(a.dtype for a in jax.tree.leaves(state.populations) if jnp.issubdtype(a.dtype, jnp.floating))
    floats = [jnp.asarray(a).dtype for a in inputs.values() if jnp.issubdtype(jnp.asarray(a).dtype, jnp.floating)]
    return jnp.result_type(*floats) if floats else jnp.result_type(float)


def _n_steps(
    net: Network, series: Mapping[str, Mapping[str, Array]], n_steps: int | None, n_driven: Mapping[str, int]
) -> int:
    """The number of steps that inputs, masks and the argument agree on. n_driven: how many neurons `driven` names."""
    lengths = {} if n_steps is None else {"n_steps": n_steps}
    for what, given in series.items():
        for name, value in given.items():
            size, shape = net.population(name).size, jnp.shape(value)
            size = n_driven[name] if what == "driven" else size
            if len(shape) not in ((1, 2) if what == "alive" else (2,)) or shape[-1] != size:
                raise SettingError(
                    f"{what}[{name!r}] has to be [time, {size}]{' or [neuron]' if what == 'alive' else ''}, one "
                    f"column for each neuron of the population; found shape {shape}. Map a batch with jax.vmap."
                )
            if len(shape) == 2 and (shape[0] != 1 or (n_steps is None and what == "inputs")):
                lengths[f"{what}[{name!r}]"] = shape[0]
    found = set(lengths.values()) - ({1} if len(set(lengths.values())) > 1 else set())
    if len(found) != 1:
        rows = [f"{name}: {length} steps" for name, length in lengths.items()]
        found_text = offenders(rows) if rows else "neither inputs nor n_steps"
        raise SettingError(f"Inputs have to be of one length, or n_steps given; found {found_text}.")
    return found.pop()
