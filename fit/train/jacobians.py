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


def local_derivatives(
    batched: Batched,
    pop: Population,
    neurons: State,
    synapses: dict[str, State],
    arriving: dict[str, Float[Array, "trial neuron"]],
    current: Float[Array, "trial neuron"] | None,
    noise: Float[Array, "trial neuron"] | None,
    *,
    reset: bool = True,
) -> dict[str, LocalDerivatives]:
    """The derivatives for each projection onto a population, by its name. reset: whether the surrogate acts on the
    reset of the voltage too; without it the spike of a reset counts as given, as in e-prop."""
    models = [pop]
    if not reset:
        blind: Any = replace(cast(Any, pop.model), surrogate=Blind())
        models.append(replace(pop, model=blind))
    found = {}
    for wire in batched.onto(pop.name):
        name = wire.name
        variables = hidden_names(pop, neurons, synapses[name])

        h = tuple(neurons[k] if whose == "neuron" else synapses[name][k] for whose, k in variables)
        x = arriving[name]
        columns = []
        for of in models:

            def step(*given: Array, of: Population = of, name: str = name, variables: Any = variables) -> Array:
                own = neurons | {k: v for (whose, k), v in zip(variables, given[:-1], strict=True) if whose == "neuron"}
                theirs = {k: v for (whose, k), v in zip(variables, given[:-1], strict=True) if whose == "synapse"}
                after, later, spikes = local_step(
                    batched, of, own, synapses | {name: theirs}, arriving | {name: given[-1]}, current, noise
                )
                new = [after[k] if whose == "neuron" else later[name][k] for whose, k in variables]
                return jnp.stack([*new, after[of.model.voltage] if spikes is None else spikes])

            columns.append(_columns(step, (*h, x)))
        table = columns[0]
        if not reset:
            k = variables.index(("neuron", pop.model.voltage))
            table = table.at[k].set(columns[1][k])
        found[name] = LocalDerivatives(table[:-1, :-1], table[-1, :-1], table[:-1, -1], table[-1, -1])
    return found


def _columns(step: Callable[..., Array], given: tuple[Array, ...]) -> Float[Array, "output input trial neuron"]:
    """The derivatives of an elementwise function of several arrays by each of them."""
    basis = jnp.eye(len(given), dtype=given[-1].dtype)[:, :, None, None] * jnp.ones_like(given[-1])
    found = jax.vmap(lambda tangents: jax.jvp(step, given, tuple(tangents))[1])(basis)
    return jnp.swapaxes(found, 0, 1)
