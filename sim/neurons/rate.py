"""Rate unit: a firing rate that follows a function of its input.

    tau dr/dt = -r + f(k (I + b)),      f: tanh, max(0, x) or 1 / (1 + exp(-x))

(Wilson & Cowan 1972, Biophys J 12:1, without the refractory term; Dayan & Abbott 2001, Theoretical Neuroscience, eq.
7.11.) I is the sum of stimuli and graded synapses; a gap junction adds g_j (r_j - r). Over one step the input's mean
is held and the relaxation is exact. Rate and input have no unit of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import unknown_name
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.firing import above_zero
from connectofit.sim.neurons.integration import relax
from connectofit.sim.parameters import Parameter

Activation = Literal["tanh", "relu", "sigmoid"]
_FUNCTIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}


@dataclass(frozen=True)
class RateUnit(NeuronModel):
    """Rate unit. `activation`: f, one of "tanh", "relu" and "sigmoid"."""

    activation: Activation = "tanh"

    kind: ClassVar[str] = "rate"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_ms": above_zero(10.0, "ms", "time constant"),
        "gain": Parameter(1.0, "1 / input", "factor k on the input"),
        "bias": Parameter(0.0, "input", "constant input b"),
        "r_rest": Parameter(0.0, "rate", "rate that a run starts from, and at which graded synapses are silent"),
        "noise": Parameter(0.0, "rate", "standard deviation of the noise's effect on r", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("r",)
    voltage: ClassVar[str] = "r"
    rest: ClassVar[str] = "r_rest"
    noise: ClassVar[str] = "noise"
    spiking: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise unknown_name("activation", self.activation, get_args(Activation), "RateUnit")

    def initial(self, p: Values) -> State:
        return {"r": p["r_rest"]}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, None]:
        r, given = state["r"], drive.mean_current(dt_ms)
        if drive.conductance is not None and drive.conductance_potential is not None:
            given = given + drive.conductance_potential - drive.conductance * r
        r = relax(r, _FUNCTIONS[self.activation](p["gain"] * (given + p["bias"])), p["tau_ms"], dt_ms)
        r = r if drive.jump is None else r + drive.jump
        if noise is not None:
            r = r + p["noise"] * jnp.sqrt(-jnp.expm1(-2.0 * dt_ms / p["tau_ms"])) * noise
        return {"r": r}, None
