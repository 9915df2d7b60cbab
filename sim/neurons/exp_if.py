"""Exponential integrate-and-fire neuron.

    C dV/dt = -g_L (V - E_L) + g_L Delta_T exp((V - V_T) / Delta_T) + I(t),   V >= V_peak: spike, V = V_reset

(Fourcaud-Trocme, Hansel, van Vreeswijk & Brunel 2003, J Neurosci 23:11628, eqs 8 and 9; its defaults, fitted to the
Wang-Buzsaki neuron, on a membrane of 10,000 um^2.) V_T is where dV/dt has its minimum, not a threshold: a constant
current makes the neuron fire above the rheobase g_L (V_T - E_L - Delta_T). V_peak cuts the upstroke off; that far up
it diverges within less than a step.

method: "rk4" (of order dt^4 between spikes), "exponential_euler" (leak exact, the exponential and the input's mean
held: of order dt) or "euler" (of order dt, what Brian2 falls back to). All test V at the ends of steps only, so that
a spike is up to a step late, and V starts from V_reset at the end of its step.
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
from connectofit.sim.neurons.integration import Method, Variables, check_method, explicit_step, relax
from connectofit.sim.neurons.linear import membrane_noise
from connectofit.sim.neurons.upstroke import exponential_current, finished, over_peak, time_left
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class ExpIF(NeuronModel):
    """Exponential integrate-and-fire neuron. `surrogate`: the spike's stand-in derivative; `method`: see the module."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Method = "rk4"

    kind: ClassVar[str] = "exp_if"
    parameters: ClassVar[dict[str, Parameter]] = {
        "c_m_pF": above_zero(100.0, "pF", "membrane capacitance"),
        "g_leak_nS": above_zero(10.0, "nS", "leak conductance"),
        "e_leak_mV": Parameter(-65.0, "mV", "leak potential"),
        "v_t_mV": Parameter(-59.9, "mV", "potential V_T at which the upstroke sets in"),
        "delta_t_mV": above_zero(3.48, "mV", "sharpness Delta_T of the upstroke"),
        "v_peak_mV": Parameter(0.0, "mV", "potential at which the upstroke counts as a spike"),
        "v_reset_mV": Parameter(-68.0, "mV", "potential after a spike"),
        "t_ref_ms": refractory_period(1.7),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "e_leak_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_method(self.method, get_args(Method), "ExpIF")

    def initial(self, p: Values) -> State:
        return {"v_mV": p["e_leak_mV"], "refractory_steps": not_refractory(p["e_leak_mV"])}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting = state["v_mV"], state["refractory_steps"]
        c_m, g_leak, e_leak = p["c_m_pF"], p["g_leak_nS"], p["e_leak_mV"]

        def active(v: Array) -> Array:
            return exponential_current(v, p["v_t_mV"], p["delta_t_mV"], g_leak) + p["i_bias_pA"]

        def slopes(y: Variables, t_ms: float) -> Variables:
            v = jnp.minimum(y[0], p["v_peak_mV"])
            return ((g_leak * (e_leak - v) + active(v) + drive.into(v, t_ms)) / c_m,)

        if self.method == "exponential_euler":
            g, pull = g_leak, g_leak * e_leak + active(v) + drive.mean_current(dt_ms)
            if drive.conductance is not None and drive.conductance_potential is not None:
                g, pull = g + drive.conductance, pull + drive.conductance_potential
            new = relax(v, pull / g, c_m / g, dt_ms)
        else:
            (new,) = explicit_step(slopes, (v,), dt_ms, self.method)
        if self.method == "rk4":
            left = time_left(v, p["v_t_mV"], p["delta_t_mV"], c_m / g_leak, dt_ms)
            new = finished(new, p["v_peak_mV"], left)
        new = new if drive.jump is None else new + drive.jump
        new = membrane_noise(new, p["noise_mV"], c_m / g_leak, dt_ms, noise)
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        above = over_peak(new, p["v_peak_mV"], p["delta_t_mV"])
        spikes, resting = fire(above, resting, p["t_ref_ms"], dt_ms, self.surrogate)
        return {
            "v_mV": reset_certainly(spikes, p["v_reset_mV"], p["v_peak_mV"] + above),
            "refractory_steps": resting,
        }, spikes
