"""Generalised integrate-and-fire neuron with two spike-triggered currents and a moving threshold.

    tau_m dV/dt = -(V - V_rest) + R_m (I_1 + I_2 + I(t))
    dTheta/dt = a (V - V_rest) - b (Theta - Theta_inf)
    dI_j/dt = -k_j I_j,      j = 1, 2
    V >= Theta: spike, I_j -> R_j I_j + A_j, V -> V_reset, Theta -> max(Theta_reset, Theta)

(Mihalas & Niebur 2009, Neural Comput 21:704, eqs 2.1 and 2.2, in the units of Wang et al. 2024, arXiv 2406.19708, who
fit it.) With a > 0 the threshold accommodates, with R_j = 1 a current accumulates over spikes: the parameters' signs
give tonic, bursting, rebound and accommodating cells. The defaults are Wang et al.'s, whose resistance of 20 MOhm
makes 1.5 nA a strong current; A_j = 0 leaves both currents off.

V and the currents are integrated exactly; Theta is exact for held currents and of second order in dt for those that
change within a step. A spike is emitted at the end of the step in which V reaches Theta, and all four rules act then.
Mihalas & Niebur have no refractory period; with t_ref > 0, V is held at V_reset while the currents and Theta go on.
Wang et al.'s program keeps Theta above Theta_reset at all times; here, as in the paper, a spike lifts it there.
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
    switch,
)
from connectofit.sim.neurons.linear import leaky_step, membrane_noise, pulled_threshold
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class GIF(NeuronModel):
    """Generalised integrate-and-fire neuron with two currents. `surrogate`: the spike's stand-in derivative."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "gif"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": above_zero(20.0, "ms", "membrane time constant"),
        "r_m_GOhm": above_zero(0.02, "GOhm", "membrane resistance (GOhm times pA is mV)"),
        "v_rest_mV": Parameter(-70.0, "mV", "resting potential"),
        "v_reset_mV": Parameter(-70.0, "mV", "potential after a spike"),
        "theta_inf_mV": Parameter(-50.0, "mV", "threshold at rest"),
        "theta_reset_mV": Parameter(-60.0, "mV", "lower bound of the threshold after a spike"),
        "a_per_ms": Parameter(0.0, "1/ms", "how fast V - V_rest pulls the threshold"),
        "b_per_ms": Parameter(0.01, "1/ms", "rate of the threshold's return", low=0.0),
        "k_1_per_ms": above_zero(0.2, "1/ms", "decay rate of the first current"),
        "k_2_per_ms": above_zero(0.02, "1/ms", "decay rate of the second current"),
        "r_1": Parameter(0.0, "1", "part of the first current that a spike leaves"),
        "r_2": Parameter(1.0, "1", "part of the second current that a spike leaves"),
        "a_1_pA": Parameter(0.0, "pA", "what a spike adds to the first current"),
        "a_2_pA": Parameter(0.0, "pA", "what a spike adds to the second current"),
        "t_ref_ms": refractory_period(0.0),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "theta_mV", "i_1_pA", "i_2_pA", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True
    takes_spikes: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        v = p["v_rest_mV"]
        none = jnp.zeros_like(v)
        resting = not_refractory(v)
        return {"v_mV": v, "theta_mV": p["theta_inf_mV"], "i_1_pA": none, "i_2_pA": none, "refractory_steps": resting}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting = state["v_mV"], state["refractory_steps"]
        own = tuple((state[f"i_{j}_pA"], 1.0 / p[f"k_{j}_per_ms"]) for j in (1, 2))
        bias = p["r_m_GOhm"] * p["i_bias_pA"]
        membrane = leaky_step(v, p["v_rest_mV"] + bias, p["r_m_GOhm"], p["tau_m_ms"], drive, dt_ms, own)
        off = state["theta_mV"] - p["theta_inf_mV"]
        off = pulled_threshold(off, p["a_per_ms"], p["b_per_ms"], v, p["v_rest_mV"], membrane, dt_ms)
        theta = p["theta_inf_mV"] + off
        new = membrane_noise(membrane.v, p["noise_mV"], membrane.tau_ms, dt_ms, noise)
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        spikes, resting = fire(new - theta, resting, p["t_ref_ms"], dt_ms, self.surrogate, given=drive.spikes)
        after = {
            "v_mV": reset_potential(spikes, p["v_reset_mV"], new),
            "theta_mV": switch(spikes, jnp.maximum(theta, p["theta_reset_mV"]), theta),
            "refractory_steps": resting,
        }
        for j in (1, 2):
            current = state[f"i_{j}_pA"] * jnp.exp(-p[f"k_{j}_per_ms"] * dt_ms)
            after[f"i_{j}_pA"] = switch(spikes, p[f"r_{j}"] * current + p[f"a_{j}_pA"], current)
        return after, spikes

    def threshold(self, p: Values, state: State) -> Float[Array, " neuron"]:
        return state["theta_mV"]
