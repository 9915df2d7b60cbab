"""Derivatives of one step of neurons, each by itself: what online rules carry along instead of a tape.

The hidden state of a neuron for a projection q onto it is h: the model's own variables and those of q's synapse. A step
maps (h, what arrives through q) to (h', what the neuron sends). Its derivatives are a small matrix a neuron and trial,
which forward mode gives with one pass for each variable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.fit.train.batch_step import Batched, local_step
from connectofit.sim.network import Population
from connectofit.sim.neurons.base import State
from connectofit.sim.surrogate import Surrogate


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class LocalDerivatives:
    """Of one projection, in one step.

    hidden: dh'_k / dh_l, [k, l, trial, neuron]. sent: d(sent) / dh_l, [l, trial, neuron]. hidden_of_input,
    sent_of_input: the derivatives by what arrives, [k, trial, neuron] and [trial, neuron].
    """

    hidden: Float[Array, "k k trial neuron"]
    sent: Float[Array, "k trial neuron"]
    hidden_of_input: Float[Array, "k trial neuron"]
    sent_of_input: Float[Array, "trial neuron"]


@dataclass(frozen=True)
class Blind(Surrogate):
    """No derivative: spikes count as given."""

    width_mV: float = field(default=1.0)
    kind: ClassVar[str] = "blind"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.zeros_like(u)


def hidden_names(pop: Population, neurons: State, synapse: State) -> list[tuple[str, str]]:
    """(whose, variable) of the hidden state: the float variables of the neuron and of the synapse."""
    own = [("neuron", k) for k in pop.model.variables if jnp.issubdtype(neurons[k].dtype, jnp.floating)]
    return own + [("synapse", k) for k in synapse]


@dataclass(frozen=True, eq=False)
class LocalStep:
    """One step of a population as seen from the projection `name` onto it: a function of (h..., what arrives), at the
    state `at`; the synapses of other projections and what arrives there are as they are."""

    batched: Batched
    pop: Population
    name: str
    neurons: State
    synapses: dict[str, State]
    arriving: dict[str, Float[Array, "trial neuron"]]
    current: Float[Array, "trial neuron"] | None
    noise: Float[Array, "trial neuron"] | None

    @property
    def variables(self) -> list[tuple[str, str]]:
        return hidden_names(self.pop, self.neurons, self.synapses[self.name])

    @property
    def at(self) -> tuple[Array, ...]:
        theirs = self.synapses[self.name]
        return (
            *(self.neurons[k] if whose == "neuron" else theirs[k] for whose, k in self.variables),
            self.arriving[self.name],
        )

    def __call__(self, *given: Array) -> Float[Array, "output trial neuron"]:
        """The hidden state after the step, and what is sent."""
        named = list(zip(self.variables, given[:-1], strict=True))
        own = self.neurons | {k: v for (whose, k), v in named if whose == "neuron"}
        theirs = {k: v for (whose, k), v in named if whose == "synapse"}
        after, later, spikes = local_step(
            self.batched,
            self.pop,
            own,
            self.synapses | {self.name: theirs},
            self.arriving | {self.name: given[-1]},
            self.current,
            self.noise,
        )
        new = [after[k] if whose == "neuron" else later[self.name][k] for whose, k in self.variables]
        return jnp.stack([*new, after[self.pop.model.voltage] if spikes is None else spikes])

    def along(
        self, hidden: Float[Array, "k trial neuron"], arriving: Float[Array, "trial neuron"]
    ) -> tuple[Float[Array, "k trial neuron"], Float[Array, "trial neuron"]]:
        """The derivatives of the hidden state after the step, and of what is sent, in a direction: a forward pass, and
        no matrices."""
        found = jax.jvp(self, self.at, (*hidden, arriving))[1]
        return found[:-1], found[-1]

    def derivatives(self, *, reset: bool = True) -> LocalDerivatives:
        """All of them. reset: whether the surrogate acts on the reset of the voltage too; without it the spike of a
        reset counts as given, as in e-prop."""
        table = _columns(self, self.at)
        if not reset:
            blind: Any = replace(cast(Any, self.pop.model), surrogate=Blind())
            k = self.variables.index(("neuron", self.pop.model.voltage))
            other = replace(self, pop=replace(self.pop, model=blind))
            table = table.at[k].set(_columns(other, self.at)[k])
        return LocalDerivatives(table[:-1, :-1], table[-1, :-1], table[:-1, -1], table[-1, -1])


def _columns(step: Callable[..., Array], given: tuple[Array, ...]) -> Float[Array, "output input trial neuron"]:
    """The derivatives of an elementwise function of several arrays by each of them."""
    basis = jnp.eye(len(given), dtype=given[-1].dtype)[:, :, None, None] * jnp.ones_like(given[-1])
    found = jax.vmap(lambda tangents: jax.jvp(step, given, tuple(tangents))[1])(basis)
    return jnp.swapaxes(found, 0, 1)
