"""Online learning rules: gradients from traces that run forward with the network, in memory that no trial's length
enters.

For an edge e from j to i, h_i the hidden state of neuron i and x_j what arrives from j,

    eps_e(t) = D_i(t) eps_e(t - 1) + (dh_i / dx)(t) x_j(t),      D_i = dh_i(t) / dh_i(t - 1)
    dE/dw_e = sum_t L_i(t) F[d(sent_i)/dh_i eps_e](t),           L_i(t) = sum_k B_ik dE/dy_k(t)

where F filters as the readout does. What is left out is the way from one neuron's h to another's: without recurrent
edges the sum is the gradient.

- `DRTRL` keeps eps for every edge and trial, D with all derivatives within a neuron, and B = the readout's weights
  (Wang et al. 2024, bioRxiv 2024.09.24.614728, D-RTRL, with a neuron's variables as one block).
- `EProp` is e-prop 1 (Bellec et al. 2020, Nat Commun 11:3625, eqs 1 to 4 and Methods): the same with spikes in the
  reset taken as given, and B symmetric or random.
- `ESDRTRL` keeps one trace a neuron on either side instead (ES-D-RTRL of Wang et al.): eps_e is taken to be f_i x_j
  with x_j(t) <- a x_j + x_j(t) and f_i <- a D_i f_i + (1 - a) dh_i/dx. Memory of O(neurons).

The readout's gradient is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.tasks import TaskTrials
from connectofit.fit.train.batch_step import (
    Batched,
    arrivals,
    full_step,
    graded_source,
    make_batched,
    noise_of,
    resting_batch,
)
from connectofit.fit.train.jacobians import LocalDerivatives, local_derivatives
from connectofit.fit.train.losses import accuracy, step_loss, step_weights
from connectofit.fit.train.readout import Readout
from connectofit.fit.train.rules import Gradient, Problem, Rule, finished
from connectofit.fit.train.trainable import Trainable, Values
from connectofit.sim.csr_primitives import push
from connectofit.sim.kernels import propagate
from connectofit.sim.network import Projection
from connectofit.sim.time_loop import NetworkState
from connectofit.sim.wires import Wire

Feedback = Literal["symmetric", "random"]
Sent = dict[str, Array]  # {projection: [delay, trial, pre]}, the oldest first


@dataclass(frozen=True, eq=False)
class Moment:
    """One step as a rule sees it: the state before it, what arrives, x of every projection, and derivatives."""

    t: Array
    x: dict[str, Float[Array, "trial pre"]]
    local: dict[str, LocalDerivatives]


@dataclass(frozen=True)
class OnlineRule(Rule):
    """A rule that runs forward in time."""

    trains: ClassVar[tuple[str, ...]] = ("recurrent", "input", "readout")
    with_reset: ClassVar[bool] = True
    derives: ClassVar[bool] = True

    def check_model(self, problem: Problem, *, choice: bool) -> None:
        if problem.penalties.rate or problem.penalties.voltage:
            raise SettingError(
                f"The rule {self.name!r} has no gradient of penalties on rates and voltages. Take the rule 'bptt', or "
                "penalise changes of weights alone."
            )

    def trained(self, batched: Batched, trainable: Trainable) -> tuple[Wire, ...]:
        """The projections whose weights train."""
        wanted = {
            owner
            for g in ("recurrent", "input")
            if g in trainable.free
            for owner, _ in trainable.places(batched.net, g)
        }
        return tuple(wire for wire in batched.wires if wire.name in wanted)


def run_online(
    batched: Batched,
    readout: Readout,
    trials: TaskTrials,
    key: PRNGKeyArray | None,
    wires: tuple[Wire, ...],
    begin: Any,
    visit: Callable[[Any, Moment, dict[str, Array], Array], Any],
    *,
    with_reset: bool = True,
    derives: bool = True,
) -> tuple[Array, Array, tuple[Array, Array], Any]:
    """Run trials step by step; ``visit(carry, moment, what was sent, dE/dy)`` is called after each.

    Returns the task's loss, the mean output over the steps that count, the readout's gradient (weights, bias), and the
    last carry.
    """
    n_trials, n_steps, _ = trials.inputs.shape
    dtype = trials.inputs.dtype
    weights = step_weights(trials.mask)
    spiking = batched.net.population(readout.populations[0]).model.spiking
    scale = (1.0 / batched.dt_ms) if spiking else 1.0
    decay = readout.decay(batched.dt_ms)
    rings = {
        w.name: jnp.zeros((w.delay, n_trials, batched.net.population(w.projection.pre).size), dtype)
        for w in wires
        if w.delay and not batched.is_fed(w)
    }

    def at(t: Array) -> Array:
        row = lax.dynamic_index_in_dim(trials.inputs, jnp.maximum(t, 0), 1, keepdims=False)
        return jnp.where(t >= 0, row, 0.0)

    def one(carry: Any, t: Array) -> tuple[Any, None]:
        state, rings, y, mean, filtered, ones, total, slope, own = carry
        given = at(t)
        fed = {w.name: propagate(at(t - w.delay), w.prepared) for w in batched.wires if batched.is_fed(w)}
        arriving = arrivals(batched, state, fed)
        x = {w.name: _x(batched, w, state, rings, at, t) for w in wires}
        local = _derivatives(batched, state, arriving, given, key, wires, with_reset) if derives else {}
        after, shown = full_step(batched, state, given, fed, key)
        rings = {
            name: jnp.concatenate([ring[1:], _shown(batched, name, state, shown)[None]]) for name, ring in rings.items()
        }
        read = jnp.concatenate([shown[name] for name in readout.populations], -1)
        y = readout.follow(y, readout.pull(read, batched.dt_ms, spiking=spiking), batched.dt_ms)
        now = lax.dynamic_index_in_dim(weights, t, 1, keepdims=False)
        target = None if trials.targets is None else lax.dynamic_index_in_dim(trials.targets, t, 1, keepdims=False)
        error, loss = _error(y, trials.labels, target, now)
        filtered = decay * filtered + (1.0 - decay) * scale * read
        ones = decay * ones + (1.0 - decay)
        slope = (slope[0] + filtered.T @ error, slope[1] + ones * jnp.sum(error, 0))
        own = visit(own, Moment(t, x, local), shown, error)
        mean = mean + y * now[:, None] * n_trials
        return (after, rings, y, mean, filtered, ones, total + loss, slope, own), None

    zero = jnp.zeros((n_trials, readout.n_outputs), dtype)
    n_read = readout.weights.shape[0]
    none = (jnp.zeros((n_read, readout.n_outputs), dtype), jnp.zeros(readout.n_outputs, dtype))
    carry = (
        resting_batch(batched, n_trials),
        rings,
        zero,
        zero,
        jnp.zeros((n_trials, n_read), dtype),
        jnp.zeros((), dtype),
        jnp.zeros((), dtype),
        none,
        begin,
    )
    carry, _ = lax.scan(one, carry, jnp.arange(n_steps, dtype=jnp.int32))
    _, _, _, mean, _, _, total, slope, own = carry
    return total, mean, slope, own


def _error(y: Array, labels: Array | None, target: Array | None, now: Array) -> tuple[Array, Array]:
    """dE/dy of this step, and its part of E."""
    loss, back = jax.vjp(lambda y: jnp.sum(step_loss(y, labels, target) * now), y)
    return back(jnp.ones_like(loss))[0], loss


def _x(batched: Batched, wire: Wire, state: NetworkState, rings: Sent, at: Callable[[Array], Array], t: Array) -> Array:
    """What arrives in this step from each presynaptic neuron."""
    if batched.is_fed(wire):
        return at(t - wire.delay)
    return rings[wire.name][0] if wire.delay else graded_source(batched, wire, state)


def _shown(batched: Batched, name: str, state: NetworkState, shown: dict[str, Array]) -> Array:
    """What presynaptic neurons have sent in this step."""
    wire = next(w for w in batched.wires if w.name == name)
    if wire.projection.synapse.spiking:
        return shown[wire.projection.pre]
    return graded_source(batched, wire, state)


def _derivatives(
    batched: Batched,
    state: NetworkState,
    arriving: dict[str, Array],
    given: Array,
    key: PRNGKeyArray | None,
    wires: tuple[Wire, ...],
    with_reset: bool,
) -> dict[str, LocalDerivatives]:
    found: dict[str, LocalDerivatives] = {}
    for pop in batched.local:
        names = [w.name for w in batched.onto(pop.name)]
        if not {w.name for w in wires} & set(names):
            continue
        neurons = state.populations[pop.name]
        noise = noise_of(batched, key, state.step, pop, neurons[pop.model.voltage].shape)
        current = given if pop.name == batched.source else None
        found |= local_derivatives(
            batched,
            pop,
            neurons,
            {n: state.projections[n] for n in names},
            {n: arriving[n] for n in names},
            current,
            noise,
            reset=with_reset,
        )
    return {w.name: found[w.name] for w in wires}


def places_in_readout(batched: Batched, readout: Readout) -> dict[str, slice]:
    """The rows of the readout's weights that belong to each population that is read."""
    places, first = {}, 0
    for name in readout.populations:
        size = batched.net.population(name).size
        places[name] = slice(first, first + size)
        first += size
    return places


def to_values(
    problem: Problem,
    values: Values,
    by_weight: dict[str, Float[Array, " edge"]],
    slope: tuple[Array, Array],
    *,
    relative: bool = False,
) -> Values:
    """Gradients by weights and by the readout as gradients by the trained values, with the prior on gains. relative:
    they are by the logarithm of each edge's weight."""
    found: Values = jax.tree.map(jnp.zeros_like, values)
    for group in ("recurrent", "input"):
        for owner, name in problem.trainable.places(problem.net, group) if group in values else ():
            projection = problem.net.projection(owner)
            base = jnp.asarray(problem.net.params[owner][name])
            if projection.n_edges:

                def of_edges(v: Array, p: Projection = projection, base: Array = base) -> Array:
                    return v[jnp.asarray(p.type_index)] if relative else p.weight(base + v)

                _, back = jax.vjp(of_edges, values[group][f"{owner}.{name}"])
                found[group][f"{owner}.{name}"] = back(by_weight[owner])[0]
    if "readout" in values:
        found["readout"] = {"weights": slope[0], "bias": slope[1]}
    return add_prior(problem, values, found)


def add_prior(problem: Problem, values: Values, found: Values) -> Values:
    """A gradient with that of the prior on gains."""
    of_prior = jax.grad(lambda v: problem.penalties.of_gains(problem.trainable.gains(v)))(values)
    return jax.tree.map(jnp.add, found, of_prior)


def prepare_run(problem: Problem, values: Values, rule: OnlineRule) -> tuple[Batched, Readout, tuple[Wire, ...]]:
    """The network with the values, its readout, and the projections that train."""
    net, readout = problem.trainable.apply(problem.net, problem.readout, values)
    batched = make_batched(net, dt_ms=problem.dt_ms, source=problem.trainable.source, noisy=problem.noisy)
    return batched, readout, rule.trained(batched, problem.trainable)


def conclude(
    problem: Problem, values: Values, trials: TaskTrials, total: Array, mean: Array, slope: Values
) -> Gradient:
    """What `Rule.gradient` returns."""
    loss = total + problem.penalties.of_gains(problem.trainable.gains(values))
    return finished(loss, accuracy(mean, trials), slope, {"outputs": mean})


@dataclass(frozen=True)
class DRTRL(OnlineRule):
    """D-RTRL: traces of every edge in every trial, [variable, trial, edge]."""

    name: ClassVar[str] = "d_rtrl"

    def feedback(self, readout: Readout, seed_key: PRNGKeyArray) -> Float[Array, "neuron output"]:
        """What carries errors back to neurons."""
        return readout.weights

    def gradient(
        self, problem: Problem, values: Values, trials: TaskTrials, seed_key: PRNGKeyArray, key: PRNGKeyArray
    ) -> Gradient:
        batched, readout, wires = prepare_run(problem, values, self)
        back, places = self.feedback(readout, seed_key), places_in_readout(batched, readout)
        decay, n_trials, dtype = readout.decay(problem.dt_ms), trials.inputs.shape[0], trials.inputs.dtype
        spiking = batched.net.population(readout.populations[0]).model.spiking
        scale = (1.0 - decay) * ((1.0 / problem.dt_ms) if spiking else 1.0)
        wires = tuple(w for w in wires if w.projection.n_edges)
        state, n_hidden = resting_batch(batched, n_trials), {}
        for w in wires:
            pop = batched.net.population(w.projection.post)
            own = [v for v in state.populations[pop.name].values() if jnp.issubdtype(v.dtype, jnp.floating)]
            n_hidden[w.name] = len(own) + len(state.projections[w.name])
        begin = {
            w.name: (
                jnp.zeros((n_hidden[w.name], n_trials, w.projection.n_edges), dtype),
                jnp.zeros((n_trials, w.projection.n_edges), dtype),
                jnp.zeros(w.projection.n_edges, dtype),
            )
            for w in wires
        }

        def visit(own: Any, moment: Moment, shown: dict[str, Array], error: Array) -> Any:
            learns = jnp.any(error != 0)
            new = {}
            for w in wires:
                trace, passed, total = own[w.name]
                d, post = moment.local[w.name], w.graph.post
                x = moment.x[w.name][:, w.graph.pre]
                sent = d.sent_of_input[:, post] * x
                rows = [d.hidden_of_input[k][:, post] * x for k in range(trace.shape[0])]
                for k in range(trace.shape[0]):
                    sent = sent + d.sent[k][:, post] * trace[k]
                    rows = [row + d.hidden[r, k][:, post] * trace[k] for r, row in enumerate(rows)]
                passed = decay * passed + scale * sent
                place = places.get(w.projection.post)
                if place is not None:
                    signal = error @ back[place].T
                    total = lax.cond(
                        learns,
                        lambda total, signal, passed, post: total + jnp.sum(signal[:, post] * passed, 0),
                        lambda total, *_: total,
                        total,
                        signal,
                        passed,
                        post,
                    )
                new[w.name] = (jnp.stack(rows), passed, total)
            return new

        total, mean, slope, own = run_online(
            batched, readout, trials, key, wires, begin, visit, with_reset=self.with_reset
        )
        by_weight = {name: trace[2] for name, trace in own.items()}
        return conclude(problem, values, trials, total, mean, to_values(problem, values, by_weight, slope))


@dataclass(frozen=True)
class EProp(DRTRL):
    """e-prop 1. feedback_kind: "symmetric" (the readout's weights) or "random" (fixed, drawn by the seed)."""

    feedback_kind: Feedback = "symmetric"
    name: ClassVar[str] = "e_prop"
    with_reset: ClassVar[bool] = False
    models: ClassVar[tuple[str, ...]] = ("lif", "alif", "gif")

    def __post_init__(self) -> None:
        if self.feedback_kind not in get_args(Feedback):
            raise unknown_name("kind of feedback", str(self.feedback_kind), get_args(Feedback), "e_prop")

    def check_model(self, problem: Problem, *, choice: bool) -> None:
        super().check_model(problem, choice=choice)
        refuse_models(self.name, problem, self.models)

    def feedback(self, readout: Readout, seed_key: PRNGKeyArray) -> Float[Array, "neuron output"]:
        if self.feedback_kind == "symmetric":
            return readout.weights
        # As large as a readout's weights are when training starts (`new_readout`).
        width = readout.tau_ms / jnp.sqrt(readout.weights.shape[0])
        return width * jax.random.normal(seed_key, readout.weights.shape, readout.weights.dtype)


def refuse_models(rule: str, problem: Problem, models: tuple[str, ...]) -> None:
    """Raise a `SettingError` where a population that learns is not of one of these models."""
    source = problem.trainable.source
    bad = [
        f"{p.name}: {p.model.kind}" for p in problem.net.populations if p.name != source and p.model.kind not in models
    ]
    if bad:
        raise SettingError(
            f"The rule {rule!r} supports neurons of the models {', '.join(models)}; found {offenders(bad)}. Take the "
            "rule 'bptt' or 'd_rtrl'."
        )


@dataclass(frozen=True)
class ESDRTRL(OnlineRule):
    """ES-D-RTRL: traces of neurons, [variable, trial, neuron]. decay: a, what a step leaves of both traces."""

    decay: float = 0.98
    name: ClassVar[str] = "es_d_rtrl"

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise SettingError(f"decay of 'es_d_rtrl' has to be between 0 and 1; found {self.decay!r}.")

    def gradient(
        self, problem: Problem, values: Values, trials: TaskTrials, seed_key: PRNGKeyArray, key: PRNGKeyArray
    ) -> Gradient:
        batched, readout, wires = prepare_run(problem, values, self)
        back, places = readout.weights, places_in_readout(batched, readout)
        k, n_trials, dtype = readout.decay(problem.dt_ms), trials.inputs.shape[0], trials.inputs.dtype
        spiking = batched.net.population(readout.populations[0]).model.spiking
        scale = (1.0 - k) * ((1.0 / problem.dt_ms) if spiking else 1.0)
        wires = tuple(w for w in wires if w.projection.n_edges)
        state, begin, a = resting_batch(batched, n_trials), {}, self.decay
        for w in wires:
            pre, post = (batched.net.population(n).size for n in (w.projection.pre, w.projection.post))
            own = [v for v in state.populations[w.projection.post].values() if jnp.issubdtype(v.dtype, jnp.floating)]
            n_hidden = len(own) + len(state.projections[w.name])
            total = w.prepared.matrix if w.prepared.matrix is not None else w.prepared.weight
            begin[w.name] = (
                jnp.zeros((n_trials, pre), dtype),
                jnp.zeros((n_hidden, n_trials, post), dtype),
                jnp.zeros((n_trials, post), dtype),
                jnp.zeros_like(total),
            )

        def visit(own: Any, moment: Moment, shown: dict[str, Array], error: Array) -> Any:
            learns = jnp.any(error != 0)
            new = {}
            for w in wires:
                x, f, passed, total = own[w.name]
                d = moment.local[w.name]
                x = a * x + moment.x[w.name]
                # The step's own share of the trace is already in what it sends.
                sent = a * jnp.einsum("ktn,ktn->tn", d.sent, f) + (1.0 - a) * d.sent_of_input
                f = a * jnp.einsum("kltn,ltn->ktn", d.hidden, f) + (1.0 - a) * d.hidden_of_input
                passed = k * passed + scale * sent
                place = places.get(w.projection.post)
                if place is not None:
                    signal = (error @ back[place].T) * passed
                    total = lax.cond(
                        learns,
                        lambda total, x, g, w=w: total + _outer(w, x, g),
                        lambda total, *_: total,
                        total,
                        x,
                        signal,
                    )
                new[w.name] = (x, f, passed, total)
            return new

        total, mean, slope, own = run_online(batched, readout, trials, key, wires, begin, visit)
        by_weight = {}
        for w in wires:
            found = own[w.name][3]
            by_weight[w.name] = found[w.graph.pre, w.graph.post] if w.prepared.matrix is not None else found
        return conclude(problem, values, trials, total, mean, to_values(problem, values, by_weight, slope))


def _outer(wire: Wire, x: Float[Array, "trial pre"], g: Float[Array, "trial post"]) -> Array:
    """The sum over trials of x_j g_i: for all pairs where the projection is a matrix, else for edges."""
    if wire.prepared.matrix is not None:
        return x.T @ g
    c = wire.graph
    weight = wire.prepared.weight
    if weight is None:
        raise TypeError("a projection without a matrix has weights on its graph")
    _, back = jax.vjp(
        lambda w: push(x, w[None], c.indptr, c.post, c.pre, n_post=c.n_post, native=wire.prepared.native), weight
    )
    return back(g)[0]
