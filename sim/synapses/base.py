"""What every synapse model says of itself: what the presynaptic side sends, and what arrivals do to the postsynaptic
side.

State is kept per postsynaptic neuron, never per edge. The weight of edge e is ``base_weight[e] * exp(log_gain[type of
e])``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter


class Synapse(ABC):
    """A synapse model: settings are its fields, parameters live in `Network.params`.

    A parameter has one value for the projection ([1]), or one for each type of the neurons on `side`.
    """

    kind: ClassVar[str]  # its name in a model specification
    parameters: ClassVar[dict[str, Parameter]]
    side: ClassVar[Literal["pre", "post"]]  # whose types its parameters follow
    spiking: ClassVar[bool]  # carries spikes; otherwise graded values
    delayed: ClassVar[bool]  # may have a delay (one that carries spikes must)
    positive: ClassVar[bool]  # weights are conductances, 0 or more; the sign of an effect is that of its driving force
    electrical: ClassVar[bool]  # takes electrical edges

    @abstractmethod
    def initial(self, like: Float[Array, " post"]) -> State:
        """The state before anything has arrived; `like` gives shape and dtype."""

    @abstractmethod
    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        """What the voltages make each presynaptic neuron send in a step; 0 for synapses that carry spikes."""

    @abstractmethod
    def drive(
        self,
        p: Values,
        state: State,
        arriving: Float[Array, " post"],
        total: Float[Array, " post"] | None,
        v: Float[Array, " post"],
        dt_ms: float,
        onto: Drive,
    ) -> None:
        """Add this step's effect to `onto`.

        arriving: W^T source, of a spiking synapse the spikes that come in at the end of this step. total: W^T 1 over
        the neurons that are alive, of an electrical synapse, else None. v: the postsynaptic voltage at the start.
        """

    @abstractmethod
    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        """The state one step later; arriving = W^T spikes that come in at the end of this step (spiking synapses)."""


class SpikingSynapse(Synapse):
    """A synapse that carries spikes."""

    side: ClassVar[Literal["pre", "post"]] = "post"
    spiking: ClassVar[bool] = True
    delayed: ClassVar[bool] = True
    electrical: ClassVar[bool] = False

    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        return jnp.zeros_like(v)


TAU = "time constant of the decay"
E_REV = Parameter(0.0, "mV", "reversal potential")


def time_constant(default: float, meaning: str) -> Parameter:
    """A time constant in ms, above 0."""
    return Parameter(default, "ms", meaning, low=0.0, open_low=True)
