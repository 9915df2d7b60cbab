"""The five generalised leaky integrate-and-fire neurons of the Allen Institute (Teeter et al. 2018, Nat Commun 9:709).

    C dV/dt = -g (V - E_L) + I(t) + sum_j I_j          j = 1, 2; after-spike currents: levels 3, 4, 5
    dI_j/dt = -k_j I_j
    dTheta_s/dt = -b_s Theta_s                         threshold's dependence on spikes: levels 2, 4, 5
    dTheta_v/dt = a_v (V - E_L) - b_v Theta_v          threshold's dependence on the voltage: level 5
    V > Theta_inf + Theta_s + Theta_v: spike, then for the refractory period t_ref

    V -> V_reset                                       levels 1 and 3
    V -> E_L + f_v (V_before - E_L) + dV               levels 2, 4, 5
    Theta_s -> Theta_s exp(-b_s t_ref) + dTheta_s      levels 2, 4, 5
    I_j -> r_j I_j exp(-k_j t_ref) + dI_j              levels 3, 4, 5

(ibid., Methods). Level 1 is LIF, 2 adds the reset rules (R), 3 the currents (ASC), 4 both, 5
also the threshold that follows the voltage (A). The defaults are those of NEST's `glif_psc`, an Allen cell.

Rules of update are those of `glif_psc`: a spike is emitted at the end of the step in which V exceeds the threshold of
that time; V_before is the potential at the start of that step; all variables then stand still for round(t_ref / dt)
steps, which is why the rules carry the decay over t_ref. Integration is exact where NEST holds the after-spike
currents' mean over the step, a difference of second order in dt (below 1e-3 mV at 0.1 ms); Theta_v takes the mean of
currents that change within the step, as NEST's. Synaptic input acts on Theta_v through V, which NEST leaves out.
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

_MEMBRANE = {
    "c_m_pF": above_zero(58.72, "pF", "membrane capacitance"),
    "g_nS": above_zero(9.43, "nS", "leak conductance"),
    "e_l_mV": Parameter(-78.85, "mV", "resting potential"),
    "v_threshold_mV": Parameter(-51.68, "mV", "threshold Theta_inf of a neuron at rest"),
    "t_ref_ms": refractory_period(3.75),
    "i_bias_pA": Parameter(0.0, "pA", "constant current"),
    "noise_mV": noise_parameter(),
}
_FIXED_RESET = {"v_reset_mV": Parameter(-78.85, "mV", "potential after a spike")}
_RESET_RULES = {
    "reset_fraction": Parameter(0.2, "1", "f_v, the part of V - E_L that a spike leaves", low=0.0, high=1.0),
    "reset_add_mV": Parameter(18.51, "mV", "dV, what a spike adds to it"),
    "theta_spike_add_mV": Parameter(0.37, "mV", "what a spike adds to the threshold"),
    "theta_spike_decay_per_ms": above_zero(0.009, "1/ms", "decay rate b_s of that part of the threshold"),
}
_CURRENTS = {
    "asc_1_add_pA": Parameter(-9.18, "pA", "what a spike adds to the first after-spike current"),
    "asc_2_add_pA": Parameter(-198.94, "pA", "what a spike adds to the second after-spike current"),
    "asc_1_decay_per_ms": above_zero(0.003, "1/ms", "decay rate k_1"),
    "asc_2_decay_per_ms": above_zero(0.1, "1/ms", "decay rate k_2"),
    "asc_1_fraction": Parameter(1.0, "1", "r_1, the part of the current that a spike leaves", low=0.0, high=1.0),
    "asc_2_fraction": Parameter(1.0, "1", "r_2, the part of the current that a spike leaves", low=0.0, high=1.0),
}
_VOLTAGE_THRESHOLD = {
    "theta_voltage_index_per_ms": Parameter(0.005, "1/ms", "a_v, how fast V - E_L pulls the threshold"),
    "theta_voltage_decay_per_ms": above_zero(0.09, "1/ms", "decay rate b_v of that part of the threshold"),
}


class GLIF(NeuronModel):
    """What the five levels share; each says which mechanisms it has."""

    surrogate: Surrogate
    has_reset_rules: ClassVar[bool]
    has_currents: ClassVar[bool]
    has_voltage_threshold: ClassVar[bool]

    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "e_l_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True
    takes_spikes: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        none = jnp.zeros_like(p["e_l_mV"])
        own = dict.fromkeys(self.variables[1:-1], none)
        return {"v_mV": p["e_l_mV"], **own, "refractory_steps": not_refractory(none)}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting, e_l = state["v_mV"], state["refractory_steps"], p["e_l_mV"]
        r_m, tau_m = 1.0 / p["g_nS"], p["c_m_pF"] / p["g_nS"]
        numbers = (1, 2) if self.has_currents else ()
        own = tuple((state[f"asc_{j}_pA"], 1.0 / p[f"asc_{j}_decay_per_ms"]) for j in numbers)
        membrane = leaky_step(v, e_l + r_m * p["i_bias_pA"], r_m, tau_m, drive, dt_ms, own)

        silent = {"v_mV": membrane_noise(membrane.v, p["noise_mV"], membrane.tau_ms, dt_ms, noise)}
        fired = {"v_mV": e_l + p["reset_fraction"] * (v - e_l) + p["reset_add_mV"]} if self.has_reset_rules else {}
        fired = fired or {"v_mV": p["v_reset_mV"]}
        threshold = p["v_threshold_mV"]
        if self.has_reset_rules:
            rate = p["theta_spike_decay_per_ms"]
            theta = silent["theta_spike_mV"] = state["theta_spike_mV"] * jnp.exp(-rate * dt_ms)
            fired["theta_spike_mV"] = theta * jnp.exp(-rate * p["t_ref_ms"]) + p["theta_spike_add_mV"]
            threshold = threshold + theta
        if self.has_voltage_threshold:
            rates = p["theta_voltage_index_per_ms"], p["theta_voltage_decay_per_ms"]
            theta = pulled_threshold(state["theta_voltage_mV"], *rates, v, e_l, membrane, dt_ms)
            silent["theta_voltage_mV"] = fired["theta_voltage_mV"] = theta
            threshold = threshold + theta
        for j in numbers:
            rate = p[f"asc_{j}_decay_per_ms"]
            current = silent[f"asc_{j}_pA"] = state[f"asc_{j}_pA"] * jnp.exp(-rate * dt_ms)
            kept = p[f"asc_{j}_fraction"] * jnp.exp(-rate * p["t_ref_ms"]) * current
            fired[f"asc_{j}_pA"] = kept + p[f"asc_{j}_add_pA"]

        above = silent["v_mV"] - threshold
        spikes, left = fire(above, resting, p["t_ref_ms"], dt_ms, self.surrogate, given=drive.spikes)
        after = {k: switch(spikes, fired[k], silent[k]) for k in silent}
        after["v_mV"] = reset_potential(spikes, fired["v_mV"], silent["v_mV"])
        still = resting > 0 if drive.spikes is None else (resting > 0) & (spikes <= 0)
        after = {k: jnp.where(still, state[k], value) for k, value in after.items()}
        return {**after, "refractory_steps": left}, spikes

    def threshold(self, p: Values, state: State) -> Float[Array, " neuron"]:
        parts = (state[name] for name in ("theta_spike_mV", "theta_voltage_mV") if name in state)
        return sum(parts, start=p["v_threshold_mV"])


@dataclass(frozen=True)
class GLIF1(GLIF):
    """Level 1: leaky integrate-and-fire."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "glif1"
    has_reset_rules: ClassVar[bool] = False
    has_currents: ClassVar[bool] = False
    has_voltage_threshold: ClassVar[bool] = False
    parameters: ClassVar[dict[str, Parameter]] = {**_MEMBRANE, **_FIXED_RESET}
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "refractory_steps")


@dataclass(frozen=True)
class GLIF2(GLIF):
    """Level 2: with reset rules and a threshold that rises with spikes."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "glif2"
    has_reset_rules: ClassVar[bool] = True
    has_currents: ClassVar[bool] = False
    has_voltage_threshold: ClassVar[bool] = False
    parameters: ClassVar[dict[str, Parameter]] = {**_MEMBRANE, **_RESET_RULES}
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "theta_spike_mV", "refractory_steps")


@dataclass(frozen=True)
class GLIF3(GLIF):
    """Level 3: with after-spike currents."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "glif3"
    has_reset_rules: ClassVar[bool] = False
    has_currents: ClassVar[bool] = True
    has_voltage_threshold: ClassVar[bool] = False
    parameters: ClassVar[dict[str, Parameter]] = {**_MEMBRANE, **_FIXED_RESET, **_CURRENTS}
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "asc_1_pA", "asc_2_pA", "refractory_steps")


@dataclass(frozen=True)
class GLIF4(GLIF):
    """Level 4: with reset rules and after-spike currents."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "glif4"
    has_reset_rules: ClassVar[bool] = True
    has_currents: ClassVar[bool] = True
    has_voltage_threshold: ClassVar[bool] = False
    parameters: ClassVar[dict[str, Parameter]] = {**_MEMBRANE, **_RESET_RULES, **_CURRENTS}
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "theta_spike_mV", "asc_1_pA", "asc_2_pA", "refractory_steps")


@dataclass(frozen=True)
class GLIF5(GLIF):
    """Level 5: with reset rules, after-spike currents and a threshold that follows the voltage."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "glif5"
    has_reset_rules: ClassVar[bool] = True
    has_currents: ClassVar[bool] = True
    has_voltage_threshold: ClassVar[bool] = True
    parameters: ClassVar[dict[str, Parameter]] = {**_MEMBRANE, **_RESET_RULES, **_CURRENTS, **_VOLTAGE_THRESHOLD}
    variables: ClassVar[tuple[str, ...]] = (
        "v_mV",
        "theta_spike_mV",
        "theta_voltage_mV",
        "asc_1_pA",
        "asc_2_pA",
        "refractory_steps",
    )
