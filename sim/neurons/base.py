"""What every neuron model says of itself: its parameters, its state, one step, and the input that it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.parameters import Parameter

State = dict[str, Array]
Values = dict[str, Float[Array, " neuron"]]


@dataclass
class Drive:
    """The input of a population in one step, summed over its projections and stimuli.

    current: held over the step. conductance and conductance_potential: the sums over inputs of g and of g E, E the
    potential that each pulls towards. decaying: (current at the start of the step, its time constant in ms) pairs.
    """

    current: Float[Array, " neuron"]
    conductance: Float[Array, " neuron"] | None = None
    conductance_potential: Float[Array, " neuron"] | None = None
    decaying: tuple[tuple[Float[Array, " neuron"], Float[Array, " neuron"]], ...] = ()

    def add_current(self, current: Array) -> None:
        self.current = self.current + current

    def add_conductance(self, conductance: Array, conductance_potential: Array) -> None:
        if self.conductance is None or self.conductance_potential is None:
            self.conductance, self.conductance_potential = conductance, conductance_potential
        else:
            self.conductance = self.conductance + conductance
            self.conductance_potential = self.conductance_potential + conductance_potential

    def add_decaying(self, current: Array, tau_ms: Array) -> None:
        self.decaying = (*self.decaying, (current, tau_ms))

    def mean_current(self, dt_ms: float) -> Array:
        """Everything but the conductances, as the mean current over the step."""
        total = self.current
        for current, tau_ms in self.decaying:
            total = total - current * (tau_ms / dt_ms) * jnp.expm1(-dt_ms / tau_ms)
        return total


class NeuronModel(ABC):
    """A neuron model: settings are its fields, parameters are tied by type and live in `Network.params`."""

    kind: ClassVar[str]  # its name in a model specification
    parameters: ClassVar[dict[str, Parameter]]
    variables: ClassVar[tuple[str, ...]]  # of the state, in the order in which they are shown
    voltage: ClassVar[str]  # the variable that graded synapses and gap junctions read
    rest: ClassVar[str]  # the parameter that is its resting value
    noise: ClassVar[str]  # the parameter that scales the noise, 0 for none
    spiking: ClassVar[bool]

    @abstractmethod
    def initial(self, p: Values) -> State:
        """The state at rest."""

    @abstractmethod
    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"] | None]:
        """The state one step later, and the spikes (1 or 0 as floats; None for a graded neuron).

        noise: independent standard normal numbers, or None.
        """
