"""Quadratic integrate-and-fire neuron.

    tau_m dV/dt = (V - V_rest) (V - V_crit) / (V_crit - V_rest) + R_m I(t),   V >= V_peak: spike, V = V_reset

(Latham, Richmond, Nelson & Nirenberg 2000, J Neurophysiol 83:808, eq. 1; Gerstner et al. 2014, Neuronal Dynamics, eq.
5.16 with a_0 = 1 / (V_crit - V_rest).) Near V_rest it is the leaky membrane of the same tau_m and R_m. A constant
current makes it fire above the rheobase (V_crit - V_rest) / (4 R_m). For V_peak and V_reset far away it is the theta
neuron.

method: "rk4" (of order dt^4 between spikes) or "euler" (of order dt, what Brian2 falls back to). V is tested at the
ends of steps, and counts as at most V_peak in the equation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.firing import (
    above_zero,
    fire,
    noise_parameter,
    not_refractory,
    refractory_period,
    reset_certainly,
)
from connectofit.sim.neurons.integration import RungeKutta, Variables, check_method, explicit_step
from connectofit.sim.neurons.linear import membrane_noise
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class QIF(NeuronModel):
    """Quadratic integrate-and-fire neuron. `surrogate`: the spike's stand-in derivative; `method`: see the module."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: RungeKutta = "rk4"

    kind: ClassVar[str] = "qif"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": above_zero(10.0, "ms", "membrane time constant at rest"),
        "r_m_GOhm": above_zero(0.1, "GOhm", "membrane resistance at rest (GOhm times pA is mV)"),
        "v_rest_mV": Parameter(-65.0, "mV", "resting potential"),
        "v_crit_mV": Parameter(-50.0, "mV", "potential above which the neuron fires by itself, above V_rest"),
        "v_peak_mV": Parameter(20.0, "mV", "potential at which the upstroke counts as a spike"),
        "v_reset_mV": Parameter(-80.0, "mV", "potential after a spike"),
        "t_ref_ms": refractory_period(0.0),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_method(self.method, get_args(RungeKutta), "QIF")

    def initial(self, p: Values) -> State:
        return {"v_mV": p["v_rest_mV"], "refractory_steps": not_refractory(p["v_rest_mV"])}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        resting, v_rest, v_crit = state["refractory_steps"], p["v_rest_mV"], p["v_crit_mV"]

        def slopes(y: Variables, t_ms: float) -> Variables:
            v = jnp.minimum(y[0], p["v_peak_mV"])
            pull = (v - v_rest) * (v - v_crit) / (v_crit - v_rest)
            return ((pull + p["r_m_GOhm"] * (drive.into(v, t_ms) + p["i_bias_pA"])) / p["tau_m_ms"],)

        (new,) = explicit_step(slopes, (state["v_mV"],), dt_ms, self.method)
        new = new if drive.jump is None else new + drive.jump
        new = membrane_noise(new, p["noise_mV"], p["tau_m_ms"], dt_ms, noise)
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        spikes, resting = fire(new - p["v_peak_mV"], resting, p["t_ref_ms"], dt_ms, self.surrogate)
        return {"v_mV": reset_certainly(spikes, p["v_reset_mV"], new), "refractory_steps": resting}, spikes
