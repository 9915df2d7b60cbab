"""What every plasticity says of itself: how the weight of a synapse depends on the spikes that it has seen.

A plasticity belongs to a projection and works with every synapse that carries spikes. Short-term plasticity scales
what a presynaptic neuron sends (state per presynaptic neuron); long-term plasticity changes the weight of each edge.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float

from connectofit.sim.neurons.base import State, Values
from connectofit.sim.parameters import Parameter


class Plasticity(ABC):
    """A plasticity; its parameters ([1] each) stand among those of its projection."""

    kind: ClassVar[str]  # its name in a model specification
    parameters: ClassVar[dict[str, Parameter]]


class ShortTermPlasticity(Plasticity):
    """Scales what each presynaptic neuron sends, by its own past spikes."""

    @abstractmethod
    def initial(self, like: Float[Array, " pre"]) -> State:
        """The state after a long rest; `like` gives shape and dtype."""

    @abstractmethod
    def release(
        self, p: Values, state: State, spikes: Float[Array, " pre"], dt_ms: float
    ) -> tuple[State, Float[Array, " pre"]]:
        """The state at the end of a step, and what the spikes at its end send, in units of the weight."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Where edges begin and end: from values per neuron to values per edge."""

    pre: Array
    post: Array

    def of_pre(self, x: Float[Array, " pre"]) -> Float[Array, " edge"]:
        """The presynaptic neuron's value, for every edge."""
        return x[self.pre]

    def of_post(self, x: Float[Array, " post"]) -> Float[Array, " edge"]:
        """The postsynaptic neuron's value, for every edge."""
        return x[self.post]


class LongTermPlasticity(Plasticity):
    """Changes the weight of each edge (its size; the sign is that of the wiring) by spikes on both sides.

    A presynaptic spike counts when it arrives, so the whole delay is axonal; spikes that arrive and spikes that are
    emitted at the same time do not see each other.
    """

    @abstractmethod
    def initial(self, like_pre: Float[Array, " pre"], like_post: Float[Array, " post"]) -> State:
        """The traces before any spike."""

    @abstractmethod
    def learn(
        self,
        p: Values,
        weight: Float[Array, " edge"],
        state: State,
        arrived: Float[Array, " pre"],
        fired: Float[Array, " post"],
        pairs: Pairs,
        dt_ms: float,
    ) -> tuple[Float[Array, " edge"], State]:
        """Weights and traces at the end of a step, after the spikes that arrived or were fired at its end."""
