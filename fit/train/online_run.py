"""What online learning rules share: a run that visits every step, and the way from edges to what trains.

A rule gives `run_online` what it carries from step to step; nothing else is kept, so that memory does not depend on how
long a trial is. The loss, the answers and the readout's gradient, which is exact, are had on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders
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
from connectofit.fit.train.jacobians import LocalStep
from connectofit.fit.train.losses import accuracy, step_loss, step_weights
from connectofit.fit.train.readout import Readout
from connectofit.fit.train.rules import Gradient, Problem, Rule, finished
from connectofit.fit.train.trainable import Trainable, Values
from connectofit.sim.kernels import propagate
from connectofit.sim.network import Projection
from connectofit.sim.time_loop import NetworkState
from connectofit.sim.wires import Wire

Sent = dict[str, Array]  # {projection: [delay, trial, pre]}, the oldest first


@dataclass(frozen=True, eq=False)
class Moment:
    """One step as a rule sees it: x of every projection, what arrives, and the step of the neurons that it goes to."""

    t: Array
    x: dict[str, Float[Array, "trial pre"]]
    steps: dict[str, LocalStep]


@dataclass(frozen=True)
class OnlineRule(Rule):
    """A rule that runs forward in time."""

    trains: ClassVar[tuple[str, ...]] = ("recurrent", "input", "readout")
    with_reset: ClassVar[bool] = True

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
        steps = _steps(batched, state, arriving, given, key, wires)
        after, shown = full_step(batched, state, given, fed, key)
        rings = {
            name: jnp.concatenate([ring[1:], _shown(batched, name, state, shown)[None]]) for name, ring in rings.items()
        }
        read = jnp.concatenate([shown[name] for name in readout.populations], -1)
        y = readout.follow(y, readout.pull(read, batched.dt_ms, spiking=spiking), batched.dt_ms)
        now = lax.dynamic_index_in_dim(weights, t, 1, keepdims=False)
        target = None if trials.targets is None else lax.dynamic_index_in_dim(trials.targets, t, 1, keepdims=False)
        error, loss = _error(y, trials.answers, target, now)
        filtered = decay * filtered + (1.0 - decay) * scale * read
        ones = decay * ones + (1.0 - decay)
        slope = (slope[0] + filtered.T @ error, slope[1] + ones * jnp.sum(error, 0))
        own = visit(own, Moment(t, x, steps), shown, error)
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


def _steps(
    batched: Batched,
    state: NetworkState,
    arriving: dict[str, Array],
    given: Array,
    key: PRNGKeyArray | None,
    wires: tuple[Wire, ...],
) -> dict[str, LocalStep]:
    found: dict[str, LocalStep] = {}
    for wire in wires:
        pop = batched.net.population(wire.projection.post)
        names = [w.name for w in batched.onto(pop.name)]
        neurons = state.populations[pop.name]
        found[wire.name] = LocalStep(
            batched,
            pop,
            wire.name,
            neurons,
            {n: state.projections[n] for n in names},
            {n: arriving[n] for n in names},
            given if pop.name == batched.source else None,
            noise_of(batched, key, state.step, pop, neurons[pop.model.voltage].shape),
        )
    return found


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
