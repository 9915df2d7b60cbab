"""One step of a network for a batch of trials at once, with the parts that learning rules need apart from each other.

`connectofit.sim.rollout` steps one trial and is mapped over a batch. Here every array has the trials as first axis, and
a step is made of three: what arrives at each projection, what that does to each neuron by itself (`local_step`, of
which online rules take derivatives neuron by neuron), and what neurons send. The order of events is that of
`connectofit.sim.time_loop`, and so are the results. Inputs of a task are given to one population, "input": as the
spikes (or any value) that its neurons send, where they spike, else as the current into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim import Network
from connectofit.sim.kernels import Method, propagate
from connectofit.sim.network import Population
from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.rollout import neuron_values
from connectofit.sim.time_loop import NetworkState
from connectofit.sim.wires import Wire, make_wire

# Up to this many entries a matrix product is the fastest gradient of a batch: it uses all cores, and the derivative by
# spikes needs all edges.
DENSE_ENTRIES = 1_000_000

Block = Literal["auto", "compiled", "jax"]
"""What runs the steps of a batch: the compiled block (`connectofit.fit.train.compiled_block`), JAX, or the compiled
block wherever it can and is faster."""


@dataclass(frozen=True, eq=False)
class Batched:
    """A network made ready for steps of a batch of trials; it lives inside of one trace.

    p: the populations' parameters, [neuron] or [1]. wires: the projections. source: the population that inputs go to.
    block: what runs batches.
    """

    net: Network
    p: dict[str, Values]
    wires: tuple[Wire, ...]
    source: str
    dt_ms: float
    noisy: bool
    block: Block = "auto"

    @property
    def spiking_source(self) -> bool:
        """Whether inputs are what the source's neurons send, and not a current."""
        return self.net.population(self.source).model.spiking

    @property
    def local(self) -> tuple[Population, ...]:
        """The populations that are stepped: all, less a source whose spikes are given."""
        return tuple(p for p in self.net.populations if not (p.name == self.source and self.spiking_source))

    def is_fed(self, wire: Wire) -> bool:
        """Whether a projection carries given spikes, so that all that arrives through it is known beforehand."""
        return self.spiking_source and wire.projection.pre == self.source

    @property
    def longest_fed(self) -> int:
        """The longest delay of the projections from the source, in steps."""
        return max((wire.delay for wire in self.wires if self.is_fed(wire)), default=0)

    def onto(self, name: str) -> tuple[Wire, ...]:
        """The projections onto a population."""
        return tuple(wire for wire in self.wires if wire.projection.post == name)


def make_batched(
    net: Network,
    *,
    dt_ms: float,
    source: str,
    dtype: Any = None,
    method: Method = "auto",
    noisy: bool = False,
    block: Block = "auto",
) -> Batched:
    """See `Batched`. `check_trainable` says what networks are fit for it.

    method: of the products along edges, where no compiled block runs the steps.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    wires = []
    for projection in net.projections:
        size = net.population(projection.pre).size * net.population(projection.post).size
        chosen: Method = "dense" if method == "auto" and size <= DENSE_ENTRIES else method
        wires.append(make_wire(net, projection, dt_ms, dtype, chosen))
    return Batched(net, neuron_values(net, dtype, one_for_all=True), tuple(wires), source, dt_ms, noisy, block)


def check_trainable(net: Network, source: str, n_inputs: int) -> None:
    """Raise a `SettingError` for a network that batches of trials cannot be run on, and for inputs that do not fit."""
    if source not in {p.name for p in net.populations}:
        raise unknown_name("population for a task's inputs", source, [p.name for p in net.populations], "the network")
    size = net.population(source).size
    if size != n_inputs:
        raise SettingError(
            f"The task has {n_inputs} inputs and population {source!r}, which they go to, {size} neurons. Build the "
            "network for this task, or name another population with `source`."
        )
    bad = [
        f"{p.name}: {why}"
        for p in net.projections
        for why, yes in (
            ("plasticity", p.plasticity is not None),
            ("delays of edges", p.edge_delay_ms is not None),
            ("gap junctions", p.synapse.electrical),
            ("onto the source of inputs", p.post == source and net.population(source).model.spiking),
        )
        if yes
    ]
    bad += [f"{p.name}: random numbers in every step" for p in net.populations if p.model.stochastic]
    bad += [f"{p.name}: spikes that clear synapses" for p in net.populations if p.model.clears_synapses]
    if bad:
        raise SettingError(
            f"Training runs batches of trials, and does not support: {offenders(bad)}. Train a network without them."
        )


def resting_batch(batched: Batched, n_trials: int) -> NetworkState:
    """The state at time 0 of every trial: [trial, neuron], and what is under way [delay, trial, neuron]."""
    net, dtype = batched.net, jnp.result_type(float)
    full = neuron_values(net, dtype)
    populations: dict[str, State] = {}
    for pop in batched.local:
        populations[pop.name] = {
            k: jnp.broadcast_to(v, (n_trials, pop.size)) for k, v in pop.model.initial(full[pop.name]).items()
        }
    projections, under_way = {}, {}
    for wire in batched.wires:
        size = net.population(wire.projection.post).size
        projections[wire.name] = wire.projection.synapse.initial(jnp.zeros((n_trials, size), dtype))
        if wire.delay and not batched.is_fed(wire):
            under_way[wire.name] = jnp.zeros((wire.delay, n_trials, size), dtype)
            if not wire.projection.synapse.spiking:
                pop = net.population(wire.projection.pre)
                v, rest = full[pop.name][pop.model.rest], full[pop.name][pop.model.rest]
                at_rest = propagate(wire.projection.synapse.source(wire.p, v, rest), wire.prepared)
                under_way[wire.name] = jnp.broadcast_to(at_rest, under_way[wire.name].shape)
    return NetworkState(jnp.zeros((), jnp.int32), populations, projections, under_way)


def local_step(
    batched: Batched,
    pop: Population,
    neurons: State,
    synapses: dict[str, State],
    arriving: dict[str, Float[Array, "trial neuron"]],
    current: Float[Array, "trial neuron"] | None,
    noise: Float[Array, "trial neuron"] | None,
) -> tuple[State, dict[str, State], Float[Array, "trial neuron"] | None]:
    """A population's neurons and the synapses onto them one step later, and their spikes: each neuron by itself.

    synapses and arriving: of the projections onto the population, by name.
    """
    v = neurons[pop.model.voltage]
    drive = Drive(jnp.zeros_like(v) if current is None else current)
    for wire in batched.onto(pop.name):
        name = wire.name
        wire.projection.synapse.drive(wire.p, synapses[name], arriving[name], None, v, batched.dt_ms, drive)
    after, spikes = pop.model.step(batched.p[pop.name], neurons, drive, batched.dt_ms, noise)
    later = {
        wire.name: wire.projection.synapse.advance(wire.p, synapses[wire.name], arriving[wire.name], batched.dt_ms)
        for wire in batched.onto(pop.name)
    }
    return after, later, spikes


def feed(
    batched: Batched, inputs: Float[Array, "time trial input"], n_steps: int
) -> dict[str, Float[Array, "time trial post"]]:
    """What arrives from a source of spikes in each of the last `n_steps` of `inputs`, whose first steps, as many as the
    longest delay, only serve to know what is under way."""
    fed = {}
    for wire in batched.wires:
        if batched.is_fed(wire):
            stop = inputs.shape[0] - wire.delay
            fed[wire.name] = propagate(inputs[stop - n_steps : stop], wire.prepared)
    return fed


def arrivals(
    batched: Batched, state: NetworkState, fed: dict[str, Float[Array, "trial post"]]
) -> dict[str, Float[Array, "trial post"]]:
    """What arrives through every projection in this step."""
    arriving = dict(fed)
    for wire in batched.wires:
        if batched.is_fed(wire):
            continue
        if wire.delay:
            arriving[wire.name] = state.under_way[wire.name][0]
        else:
            arriving[wire.name] = propagate(graded_source(batched, wire, state), wire.prepared)
    return arriving


def graded_source(batched: Batched, wire: Wire, state: NetworkState) -> Float[Array, "trial pre"]:
    """What graded neurons send in this step."""
    pop = batched.net.population(wire.projection.pre)
    v = state.populations[pop.name][pop.model.voltage]
    return wire.projection.synapse.source(wire.p, v, batched.p[pop.name][pop.model.rest])


def noise_of(batched: Batched, key: PRNGKeyArray | None, step: Array, pop: Population, shape: tuple[int, ...]) -> Any:
    """Standard normal numbers of a population in a step, or None."""
    if key is None or not batched.noisy:
        return None
    k = [p.name for p in batched.net.populations].index(pop.name)
    return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, step), k), shape)


def full_step(
    batched: Batched,
    state: NetworkState,
    given: Float[Array, "trial input"],
    fed: dict[str, Float[Array, "trial post"]],
    key: PRNGKeyArray | None,
) -> tuple[NetworkState, dict[str, Array]]:
    """The state one step later, and what every population sent: spikes, or the values of graded neurons.

    given: the inputs of this step. fed: what `feed` says of it.
    """
    arriving = arrivals(batched, state, fed)
    sent = {
        wire.name: graded_source(batched, wire, state) for wire in batched.wires if not wire.projection.synapse.spiking
    }
    populations, projections, shown = {}, dict(state.projections), {}
    if batched.spiking_source:
        shown[batched.source] = given
    for pop in batched.local:
        names = [wire.name for wire in batched.onto(pop.name)]
        neurons = state.populations[pop.name]
        current = given if pop.name == batched.source else None
        noise = noise_of(batched, key, state.step, pop, neurons[pop.model.voltage].shape)
        after, later, spikes = local_step(
            batched,
            pop,
            neurons,
            {n: state.projections[n] for n in names},
            {n: arriving[n] for n in names},
            current,
            noise,
        )
        populations[pop.name] = after
        projections |= later
        shown[pop.name] = after[pop.model.voltage] if spikes is None else spikes
    under_way = {}
    for wire in batched.wires:
        if wire.delay and not batched.is_fed(wire):
            x = shown[wire.projection.pre] if wire.projection.synapse.spiking else sent[wire.name]
            row = propagate(x, wire.prepared)[None]
            under_way[wire.name] = row if wire.delay == 1 else jnp.concatenate([state.under_way[wire.name][1:], row])
    return NetworkState(state.step + 1, populations, projections, under_way), shown


def is_noisy(net: Network) -> bool:
    """Whether any neuron has noise."""
    values = (np.asarray(net.params[p.name][p.model.noise]) for p in net.populations if p.model.noise)
    return any(bool(np.any(v != 0)) for v in values)
