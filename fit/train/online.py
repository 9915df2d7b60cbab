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
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.tasks import TaskTrials
from connectofit.fit.train.batch_step import resting_batch
from connectofit.fit.train.online_run import (
    Moment,
    OnlineRule,
    conclude,
    places_in_readout,
    prepare_run,
    refuse_models,
    run_online,
    to_values,
)
from connectofit.fit.train.readout import Readout
from connectofit.fit.train.rules import Gradient, Problem
from connectofit.fit.train.trainable import Values
from connectofit.sim.csr_primitives import push
from connectofit.sim.wires import Wire

Feedback = Literal["symmetric", "random"]
T = TypeVar("T")


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
                d = _apart(moment, partial(moment.steps[w.name].derivatives, reset=self.with_reset))
                post = w.graph.post
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

        total, mean, slope, own = run_online(batched, readout, trials, key, wires, begin, visit)
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
            shape = (pre, post) if w.prepared.matrix is not None else (w.projection.n_edges,)
            begin[w.name] = (
                jnp.zeros((n_trials, pre), dtype),
                jnp.zeros((n_hidden, n_trials, post), dtype),
                jnp.zeros((n_trials, post), dtype),
                jnp.zeros(shape, dtype),
            )

        def visit(own: Any, moment: Moment, shown: dict[str, Array], error: Array) -> Any:
            learns = jnp.any(error != 0)
            new = {}
            for w in wires:
                x, f, passed, total = own[w.name]
                x = a * x + moment.x[w.name]
                # D f and the input's share in one pass; the step's own share of the trace is in what it sends.
                f, sent = _apart(moment, moment.steps[w.name].along, a * f, jnp.full_like(passed, 1.0 - a))
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


def _apart(moment: Moment, of: Callable[..., T], *given: Array) -> T:
    """What a function returns, worked out once: under a condition, which always holds, it is a computation of its own.
    XLA would otherwise work out neurons' derivatives again for each of their edges or variables (its
    `optimization_barrier` does not keep it from that on CPUs)."""
    shapes = jax.eval_shape(of, *given)
    return lax.cond(moment.t >= 0, of, lambda *_: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes), *given)


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
