"""What every synapse model says of itself: what the presynaptic side sends, and what arrivals do to the postsynaptic
side.

State is kept per postsynaptic neuron, never per edge. The weight of edge e is ``base_weight[e] * exp(log_gain[type of
e])``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

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
    positive: ClassVar[bool]  # weights have to be 0 or more

    @abstractmethod
    def initial(self, like: Float[Array, " post"]) -> State:
        """The state before anything has arrived; `like` gives shape and dtype."""

    @abstractmethod
    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        """What the voltages make each presynaptic neuron send in a step; 0 for synapses that carry spikes."""

    @abstractmethod
    def drive(
        self, p: Values, state: State, arriving: Float[Array, " post"], total: Float[Array, " post"] | None, onto: Drive
    ) -> None:
        """Add this step's effect to `onto`. arriving = W^T source; total = W^T 1 over the neurons
        that are alive, for synapses whose weights are conductances (`positive`), else None."""

    @abstractmethod
    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        """The state one step later; arriving = W^T spikes that come in at the end of this step (spiking synapses)."""
