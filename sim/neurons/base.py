"""What every neuron model says of itself: its parameters, its state, one step, and the input that it is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.sim.parameters import Parameter

State = dict[str, Array]
Values = dict[str, Float[Array, " neuron"]]

KEPT = "connectofit_kept"
DISTANCE = "distance_mV"
"""What `NeuronModel.threshold` makes recordable: V less the threshold before any spike of the step, -inf in the
refractory period."""


def kept(value: Array) -> Array:
    """The value itself, marked as one that reverse mode keeps of every step.

    What is not marked is computed again from the state and from what is: see `connectofit.sim.time_loop`.
    """
    return checkpoint_name(value, KEPT)


@dataclass
class Drive:
    """The input of a population in one step, summed over its projections and stimuli.

    current: held over the step. conductance and conductance_potential: the sums over inputs of g and of g E, E the
    potential that each pulls towards, as means over the step. decaying: (current at the start of the step, its time
    constant in ms) pairs. rising: (slope, time constant in ms) pairs, each a current slope t exp(-t / tau), t from the
    start of the step. jump: what is added to the voltage at the end of the step, before it is compared with the
    threshold. spikes: those that the neurons are given, 1 or 0, NaN where they fire by themselves.
    """

    current: Float[Array, " neuron"]
    conductance: Float[Array, " neuron"] | None = None
    conductance_potential: Float[Array, " neuron"] | None = None
    decaying: tuple[tuple[Float[Array, " neuron"], Float[Array, " neuron"]], ...] = ()
    rising: tuple[tuple[Float[Array, " neuron"], Float[Array, " neuron"]], ...] = ()
    jump: Float[Array, " neuron"] | None = None
    spikes: Float[Array, " neuron"] | None = None

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

    def add_rising(self, slope: Array, tau_ms: Array) -> None:
        self.rising = (*self.rising, (slope, tau_ms))

    def add_jump(self, jump: Array) -> None:
        self.jump = jump if self.jump is None else self.jump + jump

    def mean_current(self, dt_ms: float) -> Array:
        """Everything but the conductances and jumps, as the mean current over the step."""
        total = self.current
        for current, tau_ms in self.decaying:
            total = total + current * mean_of_decay(dt_ms / tau_ms)
        for slope, tau_ms in self.rising:
            total = total + slope * tau_ms * mean_of_rise(dt_ms / tau_ms)
        return total

    def current_at(self, t_ms: float) -> Array:
        """Everything but the conductances and jumps, at `t_ms` after the start of the step."""
        total = self.current
        for current, tau_ms in self.decaying:
            total = total + current * jnp.exp(-t_ms / tau_ms)
        for slope, tau_ms in self.rising:
            total = total + slope * t_ms * jnp.exp(-t_ms / tau_ms)
        return total

    def into(self, v: Array, t_ms: float) -> Array:
        """The whole current into a membrane at voltage `v`, at `t_ms` after the start of the step, without jumps."""
        total = self.current_at(t_ms)
        if self.conductance is not None and self.conductance_potential is not None:
            total = total + self.conductance_potential - self.conductance * v
        return total


def mean_of_decay(x: Array) -> Array:
    """The mean of exp(-s) for s from 0 to x: (1 - exp(-x)) / x."""
    return -jnp.expm1(-x) / x


def mean_of_rise(x: Array) -> Array:
    """The mean of s exp(-s) for s from 0 to x: (1 - (1 + x) exp(-x)) / x."""
    return x * first_moment(-x)


def first_moment(x: Array) -> Array:
    """The integral of u exp(x u) for u from 0 to 1: (1 + (x - 1) exp(x)) / x^2, which is 1/2 at x = 0."""
    # Near 0 the closed form is the small difference of large numbers: its series there.
    small = jnp.abs(x) < 0.5
    safe, near = jnp.where(small, 1.0, x), jnp.where(small, x, 0.0)
    series = jnp.zeros_like(x)
    for k in reversed(range(14)):
        series = series * near + 1.0 / (math.factorial(k) * (k + 2))
    return jnp.where(small, series, (1.0 + (safe - 1.0) * jnp.exp(safe)) / safe**2)


class NeuronModel(ABC):
    """A neuron model: settings are its fields, parameters are tied by type and live in `Network.params`."""

    kind: ClassVar[str]  # its name in a model specification
    parameters: ClassVar[dict[str, Parameter]]
    variables: ClassVar[tuple[str, ...]]  # of the state, in the order in which they are shown
    voltage: ClassVar[str]  # the variable that graded synapses and gap junctions read
    rest: ClassVar[str]  # the parameter that is its resting value
    noise: ClassVar[str]  # the parameter that scales the noise, 0 for none
    spiking: ClassVar[bool]
    clears_synapses: bool = False  # whether a spike sets its synapses to rest, for the refractory period
    stochastic: ClassVar[bool] = False  # draws random numbers in every step, whatever its parameters
    takes_spikes: ClassVar[bool] = False  # whether it heeds `Drive.spikes` and has a `threshold`

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

    def threshold(self, p: Values, state: State) -> Float[Array, " neuron"]:
        """The threshold that belongs to a state, of models that take spikes."""
        raise SettingError(f"The model {self.kind!r} has no threshold that spikes could be compared with.")
