"""Projections made ready for the time loop: their weights on their graph, and what is under way through their delays.

What presynaptic neurons send is multiplied by the weights when it is sent, and waits as input to come: `under_way`
holds [delay, post], the sums that will arrive at the end of each of the next steps. Edges with delays of their own
add to different rows of it. Only where weights learn, they are read at arrival: there `under_way` holds what was
sent, [delay, pre].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from connectofit.sim.checks import delay_steps, longest_delay_steps
from connectofit.sim.csr_primitives import push
from connectofit.sim.kernels import Csr, Method, Prepared, csr, prepare, propagate
from connectofit.sim.native import compiled_kernels
from connectofit.sim.network import Network, Projection
from connectofit.sim.neurons.base import State, Values
from connectofit.sim.plasticity import LongTermPlasticity, Pairs, ShortTermPlasticity

WEIGHT = "weight"  # the state's name for the size of a learning edge's weight


@dataclass(frozen=True, eq=False)
class Wire:
    """A projection made ready for the time loop. delay, longest: in steps, 0 for what arrives at once."""

    projection: Projection
    graph: Csr
    prepared: Prepared
    p: Values
    delay: int
    longest: int

    @property
    def name(self) -> str:
        return self.projection.name

    @property
    def learning(self) -> LongTermPlasticity | None:
        """The plasticity, where it changes the weights of edges."""
        plasticity = self.projection.plasticity
        return plasticity if isinstance(plasticity, LongTermPlasticity) else None

    @property
    def short_term(self) -> ShortTermPlasticity | None:
        """The plasticity, where it scales what neurons send."""
        plasticity = self.projection.plasticity
        return plasticity if isinstance(plasticity, ShortTermPlasticity) else None

    def initial_state(self, n_pre: int, n_post: int, dtype: Any, log_gain: Array) -> State:
        """The variables of the synapse and of the plasticity before any spike."""
        pre, post = jnp.zeros(n_pre, dtype), jnp.zeros(n_post, dtype)
        state = self.projection.synapse.initial(post)
        if self.short_term is not None:
            return state | self.short_term.initial(pre)
        if self.learning is not None:
            weight = jnp.abs(self.projection.weight(jnp.asarray(log_gain, dtype)))
            return state | {WEIGHT: weight} | self.learning.initial(pre, post)
        return state

    def nothing_under_way(self, n_pre: int, n_post: int, dtype: Any) -> Float[Array, "delay n"]:
        """What is under way where no neuron has sent anything."""
        return jnp.zeros((self.longest, n_post) if self.learning is None else (self.delay, n_pre), dtype)

    def under_way_at_rest(self, sent: Float[Array, " pre"], n_post: int) -> Float[Array, "delay n"]:
        """What is under way where every neuron has been sending `sent` for ever (graded synapses)."""
        per_edge = self.projection.edge_delay_ms
        if per_edge is None:
            return jnp.broadcast_to(propagate(sent, self.prepared), (self.delay, n_post))
        # An edge with delay d has filled the rows before d.
        rows = jnp.zeros((self.longest, n_post), sent.dtype)
        return lax.fori_loop(0, self.longest, lambda _, rows: self._deposit(_shift(rows, 1), sent, 1), rows)

    def learnt(self, state: State, dtype: Any) -> Float[Array, " edge"]:
        """The signed weights that learning has made."""
        return jnp.sign(jnp.asarray(self.projection.base_weight, dtype)) * state[WEIGHT]

    def arriving(self, sent: Float[Array, " pre"], state: State) -> Float[Array, " post"]:
        """W^T of what arrives in this step, of a wire that learns."""
        weight, g = self.learnt(state, sent.dtype), self.graph
        if not weight.shape[0]:
            return jnp.zeros(g.n_post, sent.dtype)
        native = self.prepared.native
        return push(sent[None, :], weight[None, :], g.indptr, g.post, g.pre, n_post=g.n_post, native=native)[0]

    @property
    def pairs(self) -> Pairs:
        """Where the edges begin and end."""
        return Pairs(self.graph.pre, self.graph.post)

    def keep(self, under_way: Float[Array, "delay n"], sent: Float[Array, "step pre"]) -> Float[Array, "delay n"]:
        """What is under way after a block of steps (no more than the delay) in which `sent` was sent."""
        length = sent.shape[0]
        if self.learning is not None:
            return jnp.concatenate([under_way[length:], sent])
        if self.projection.edge_delay_ms is None:
            return jnp.concatenate([under_way[length:], propagate(sent, self.prepared)])

        def one(rows: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            step, x = given
            return self._deposit(rows, x, length - step), None

        steps = jnp.arange(length, dtype=jnp.int32)
        return lax.scan(one, _shift(under_way, length), (steps, sent))[0]

    def _deposit(self, rows: Float[Array, "delay post"], sent: Float[Array, " pre"], ago: Any) -> Array:
        """Add what was sent at the end of the step that is the `ago`-th last of the block."""
        weight, g, dtype = self.prepared.weight, self.graph, sent.dtype
        if weight is None:
            raise TypeError("edges with delays of their own need weights on their graph")
        if not weight.shape[0]:
            return rows
        span = self.longest - self.delay + 1
        native = self.prepared.native
        y = push(sent[None, :], weight[None, :], g.indptr, g.post, g.pre, n_post=span * g.n_post, native=native)[0]
        width = rows.shape[1]
        first = jnp.asarray(self.delay - ago, jnp.int32)
        start = (first, jnp.zeros_like(first))
        old = lax.dynamic_slice(rows, start, (span, width))
        return lax.dynamic_update_slice(rows, old + y.reshape(span, width).astype(dtype), start)


def _shift(rows: Float[Array, "delay n"], by: int) -> Float[Array, "delay n"]:
    return jnp.concatenate([rows[by:], jnp.zeros_like(rows[:by])])


def make_wire(net: Network, projection: Projection, dt_ms: float, dtype: Any, method: Method) -> Wire:
    """See `Wire`. Raises `SettingError` for delays that do not fit the time step."""
    weight = projection.weight(jnp.asarray(net.params[projection.name]["log_gain"], dtype))
    delay, longest = delay_steps(projection, dt_ms), longest_delay_steps(projection, dt_ms)
    n_post, post = net.population(projection.post).size, jnp.asarray(projection.post_index, jnp.int32)
    if projection.edge_delay_ms is not None:
        later = jnp.round(jnp.asarray(projection.edge_delay_ms, dtype) / dt_ms).astype(jnp.int32) - delay
        graph = csr(projection.indptr, later * n_post + post, n_post)  # row and neuron in one index
        prepared = prepare(weight, graph, _sparse(method))
    else:
        graph = csr(projection.indptr, post, n_post)
        learns = isinstance(projection.plasticity, LongTermPlasticity)
        prepared = prepare(weight, graph, _sparse(method) if learns else method, spiking=projection.synapse.spiking)
    return Wire(projection, graph, prepared, values_of(net, projection, dtype), delay, longest)


def _sparse(method: Method) -> Method:
    """The implementation that keeps weights on their edges, where `method` may mean a matrix."""
    if method in ("auto", "dense"):
        return "native" if compiled_kernels().available else "event"
    return method


def values_of(net: Network, projection: Projection, dtype: Any) -> Values:
    """The projection's parameters but the gain: [1], or one value per neuron on the synapse's side."""
    side = net.population(projection.pre if projection.synapse.side == "pre" else projection.post)
    values = {}
    for name in projection.parameters:
        value = jnp.asarray(net.params[projection.name][name], dtype)
        values[name] = value if value.shape == (1,) else value[jnp.asarray(side.type_index)]
    return values
