"""Leaky integrate-and-fire neuron with exact integration.

    tau_m dV/dt = -(V - V_rest) + R_m I(t),      V >= V_threshold: spike, V = V_reset for t_ref

(Lapicque 1907; Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, eq. 1.5). Currents that are held over a
step and currents that decay exponentially are integrated exactly (Rotter & Diesmann 1999, Biol Cybern 81:381, eq. 11):

    V(t + dt) = V_inf + (V - V_inf) exp(-dt/tau) + sum_s (R_m / tau_m) i_s (exp(-dt/tau_s) - exp(-dt/tau)) / (1/tau -
    1/tau_s)

and likewise currents that rise and fall as t exp(-t/tau_s), with tau = tau_m / (1 + R_m G) and V_inf = (V_rest + R_m (I
+ sum g E)) / (1 + R_m G) where conductances G act.

A spike is emitted at the end of the step in which V reaches the threshold; the neuron then stays at V_reset for
round(t_ref / dt) steps while synaptic currents go on decaying, which is NEST's convention. (Brian2 counts the step of
the spike, so that its refractory time of the same length is a step shorter; its spike times are those of the step's
start.) Jumps of delta synapses in that time are lost, as in Brian2 and by default in NEST's `iaf_psc_delta`, or with
``refractory_input="keep"`` stored, each less its decay until the end of the period, as in NEST's with
`refractory_input = True`; V shows the store as V - V_reset.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from connectofit.connectome.errors import unknown_name
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values, kept
from connectofit.sim.neurons.firing import (
    above_zero,
    fire,
    in_refractory_period,
    noise_parameter,
    not_refractory,
    refractory_period,
    reset_potential,
)
from connectofit.sim.neurons.linear import leaky_step, membrane_noise
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate

RefractoryInput = Literal["drop", "keep"]


@dataclass(frozen=True)
class LIF(NeuronModel):
    """Leaky integrate-and-fire neuron. `surrogate`: the derivative that stands in for that of the spike.
    `refractory_input`: what becomes of jumps in the refractory period, "drop" or "keep". `clears_synapses`: a spike
    sets the synaptic currents to 0, where they stay until the period ends (Shiu et al. 2024); else they run on."""

    surrogate: Surrogate = field(default_factory=Arctan)
    refractory_input: RefractoryInput = "drop"
    clears_synapses: bool = False

    kind: ClassVar[str] = "lif"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": above_zero(20.0, "ms", "membrane time constant"),
        "r_m_GOhm": above_zero(0.1, "GOhm", "membrane resistance (GOhm times pA is mV)"),
        "v_rest_mV": Parameter(-70.0, "mV", "resting potential"),
        "v_threshold_mV": Parameter(-55.0, "mV", "threshold"),
        "v_reset_mV": Parameter(-70.0, "mV", "potential after a spike"),
        "t_ref_ms": refractory_period(2.0),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True
    takes_spikes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.refractory_input not in get_args(RefractoryInput):
            raise unknown_name("refractory_input", self.refractory_input, get_args(RefractoryInput), "LIF")

    def initial(self, p: Values) -> State:
        return {"v_mV": p["v_rest_mV"], "refractory_steps": not_refractory(p["v_rest_mV"])}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting = state["v_mV"], state["refractory_steps"]
        rests = in_refractory_period(resting)
        v_rest = p["v_rest_mV"] + p["r_m_GOhm"] * p["i_bias_pA"]
        membrane = leaky_step(v, v_rest, p["r_m_GOhm"], p["tau_m_ms"], drive, dt_ms)
        new = membrane_noise(membrane.v, p["noise_mV"], membrane.tau_ms, dt_ms, noise)
        held = p["v_reset_mV"]
        if self.refractory_input == "keep" and drive.jump is not None:
            left = jnp.maximum(resting - 1, 0) * dt_ms
            held = v + drive.jump * jnp.exp(-left / p["tau_m_ms"])
        # The barrier keeps XLA from computing this anew for every variable that depends on it.
        new = kept(lax.optimization_barrier(jnp.where(rests, held, new)))
        above = new - p["v_threshold_mV"]
        spikes, resting = fire(above, resting, p["t_ref_ms"], dt_ms, self.surrogate, rests, drive.spikes)
        return {"v_mV": reset_potential(spikes, p["v_reset_mV"], new), "refractory_steps": resting}, spikes

    def threshold(self, p: Values, state: State) -> Float[Array, " neuron"]:
        return p["v_threshold_mV"]
