"""Adaptive leaky integrate-and-fire neuron: the threshold rises with each spike and decays.

    tau_m dV/dt = -(V - V_rest) + R_m I(t),      V >= V_threshold + a: spike, V = V_reset for t_ref
    tau_a da/dt = -a,                            a -> a + beta at a spike

(Bellec et al. 2020, Nat Commun 11:3625, Methods, with the decay in continuous time and LIF's reset.) The adaptation
is of the threshold, not a current. Integration is exact, as LIF's; the threshold decays in the refractory period too.
A spike is emitted at the end of the step in which V reaches the threshold of that time, and raises it from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.firing import (
    above_zero,
    fire,
    noise_parameter,
    not_refractory,
    refractory_period,
    reset_potential,
)
from connectofit.sim.neurons.linear import leaky_step, membrane_noise
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class ALIF(NeuronModel):
    """Leaky integrate-and-fire neuron with an adaptive threshold. `surrogate`: the spike's stand-in derivative."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "alif"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": above_zero(20.0, "ms", "membrane time constant"),
        "r_m_GOhm": above_zero(0.1, "GOhm", "membrane resistance (GOhm times pA is mV)"),
        "v_rest_mV": Parameter(-70.0, "mV", "resting potential"),
        "v_threshold_mV": Parameter(-55.0, "mV", "threshold without adaptation"),
        "v_reset_mV": Parameter(-70.0, "mV", "potential after a spike"),
        "t_ref_ms": refractory_period(2.0),
        "tau_a_ms": above_zero(200.0, "ms", "time constant of the threshold's adaptation"),
        "beta_mV": Parameter(1.7, "mV", "rise of the threshold with a spike"),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "a_mV", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True
    takes_spikes: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        v = p["v_rest_mV"]
        return {"v_mV": v, "a_mV": jnp.zeros_like(v), "refractory_steps": not_refractory(v)}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting = state["v_mV"], state["refractory_steps"]
        v_rest = p["v_rest_mV"] + p["r_m_GOhm"] * p["i_bias_pA"]
        membrane = leaky_step(v, v_rest, p["r_m_GOhm"], p["tau_m_ms"], drive, dt_ms)
        new = membrane_noise(membrane.v, p["noise_mV"], membrane.tau_ms, dt_ms, noise)
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        a = state["a_mV"] * jnp.exp(-dt_ms / p["tau_a_ms"])
        above = new - p["v_threshold_mV"] - a
        spikes, resting = fire(above, resting, p["t_ref_ms"], dt_ms, self.surrogate, given=drive.spikes)
        return {
            "v_mV": reset_potential(spikes, p["v_reset_mV"], new),
            "a_mV": a + spikes * p["beta_mV"],
            "refractory_steps": resting,
        }, spikes

    def threshold(self, p: Values, state: State) -> Float[Array, " neuron"]:
        return p["v_threshold_mV"] + state["a_mV"]
