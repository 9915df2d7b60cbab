"""Sources of spikes, for input populations: spikes that are given, and Poisson spikes.

`SpikeSource` emits a spike at the end of each step whose input reaches its threshold of 1: an array of zeros and ones
as stimulus makes a spike train. `PoissonSource` emits a spike with probability (rate + input) dt in each step, at
most one, independently: a Poisson process of that rate for rates well below 1 / dt (as Brian2's `PoissonGroup`).
Neither has a membrane: they receive stimuli, and no synapse makes sense onto them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate, spike

_HZ_PER_MS = 1e-3


@dataclass(frozen=True)
class SpikeSource(NeuronModel):
    """Spikes that are given. `surrogate`: their derivative by the input, whose unit its width has."""

    surrogate: Surrogate = field(default_factory=lambda: Arctan(width_mV=0.5))

    kind: ClassVar[str] = "spike_source"
    parameters: ClassVar[dict[str, Parameter]] = {
        "threshold": Parameter(1.0, "input", "input from which a step holds a spike"),
        "silence": Parameter(0.0, "input", "input that a run starts from"),
        "noise": Parameter(0.0, "input", "standard deviation of noise in the input, one draw per step", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("input",)
    voltage: ClassVar[str] = "input"
    rest: ClassVar[str] = "silence"
    noise: ClassVar[str] = "noise"
    spiking: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        return {"input": p["silence"]}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        given = drive.mean_current(dt_ms)
        given = given if drive.jump is None else given + drive.jump
        given = given if noise is None else given + p["noise"] * noise
        return {"input": given}, spike(given - p["threshold"], self.surrogate)


@dataclass(frozen=True)
class PoissonSource(NeuronModel):
    """Poisson spikes. A spike's derivative by the rate is that of its probability."""

    kind: ClassVar[str] = "poisson_source"
    parameters: ClassVar[dict[str, Parameter]] = {
        "rate_Hz": Parameter(10.0, "Hz", "rate without input", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("rate_Hz",)
    voltage: ClassVar[str] = "rate_Hz"
    rest: ClassVar[str] = "rate_Hz"
    noise: ClassVar[str] = "rate_Hz"
    spiking: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        return {"rate_Hz": p["rate_Hz"]}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        if noise is None:
            raise SettingError(
                "A Poisson source draws random numbers in every step, and none are drawn in this run. Give `rollout` a "
                "key."
            )
        rate = jnp.maximum(p["rate_Hz"] + drive.mean_current(dt_ms), 0.0)
        probability = rate * (dt_ms * _HZ_PER_MS)
        # A standard normal number is below the quantile of p with probability p.
        fired = (jax.scipy.special.ndtr(noise) < probability).astype(rate.dtype)
        return {"rate_Hz": rate}, fired + (probability - jax.lax.stop_gradient(probability))
