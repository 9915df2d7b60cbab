"""Adaptive exponential integrate-and-fire neuron.

    C dV/dt = -g_L (V - E_L) + g_L Delta_T exp((V - V_T) / Delta_T) - w + I(t)
    tau_w dw/dt = a (V - E_L) - w
    V >= V_peak: spike, V = V_reset for t_ref, w -> w + b

(Brette & Gerstner 2005, J Neurophysiol 94:3637, eqs 2 and 3; its defaults, with NEST's V_peak of 0 mV.) Below V_peak
the potential that enters both equations is V, above it V_peak (NEST's `aeif_psc_delta`); in the refractory period it
is V_reset, and w goes on.

method: "rk4" (of order dt^4 between spikes), "exponential_euler" (both leaks exact, the exponential and the input's
mean held: of order dt) or "euler" (of order dt, what Brian2 falls back to). V is tested at the ends of steps, where the
last two also add b, as Brian2 does. With "rk4" b is added at the time within the step at which the exponential takes
V to V_peak, and w goes on from there with V_reset: as in NEST, whose integrator takes smaller steps of its own near a
spike. NEST then resets V within the step, too: without a refractory period its trains run ahead by half a step per
spike, with one both start again from a step's end.
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
class AdEx(NeuronModel):
    """Adaptive exponential integrate-and-fire neuron. `surrogate`: the spike's stand-in derivative; `method`: see the
    module."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Method = "rk4"

    kind: ClassVar[str] = "adex"
    parameters: ClassVar[dict[str, Parameter]] = {
        "c_m_pF": above_zero(281.0, "pF", "membrane capacitance"),
        "g_leak_nS": above_zero(30.0, "nS", "leak conductance"),
        "e_leak_mV": Parameter(-70.6, "mV", "leak potential"),
        "v_t_mV": Parameter(-50.4, "mV", "potential V_T at which the upstroke sets in"),
        "delta_t_mV": above_zero(2.0, "mV", "sharpness Delta_T of the upstroke"),
        "v_peak_mV": Parameter(0.0, "mV", "potential at which the upstroke counts as a spike"),
        "v_reset_mV": Parameter(-70.6, "mV", "potential after a spike"),
        "tau_w_ms": above_zero(144.0, "ms", "time constant of the adaptation"),
        "a_nS": Parameter(4.0, "nS", "subthreshold adaptation"),
        "b_pA": Parameter(80.5, "pA", "what a spike adds to the adaptation"),
        "t_ref_ms": refractory_period(0.0),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "w_pA", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "e_leak_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_method(self.method, get_args(Method), "AdEx")

    def initial(self, p: Values) -> State:
        v = p["e_leak_mV"]
        return {"v_mV": v, "w_pA": jnp.zeros_like(v), "refractory_steps": not_refractory(v)}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, w, resting = state["v_mV"], state["w_pA"], state["refractory_steps"]
        c_m, g_leak, e_leak = p["c_m_pF"], p["g_leak_nS"], p["e_leak_mV"]

        def active(v: Array) -> Array:
            return exponential_current(v, p["v_t_mV"], p["delta_t_mV"], g_leak) + p["i_bias_pA"]

        def slopes(y: Variables, t_ms: float) -> Variables:
            v = jnp.where(resting > 0, p["v_reset_mV"], jnp.minimum(y[0], p["v_peak_mV"]))
            dv = (g_leak * (e_leak - v) + active(v) - y[1] + drive.into(v, t_ms)) / c_m
            return dv, (p["a_nS"] * (v - e_leak) - y[1]) / p["tau_w_ms"]

        if self.method == "exponential_euler":
            g, pull = g_leak, g_leak * e_leak + active(v) - w + drive.mean_current(dt_ms)
            if drive.conductance is not None and drive.conductance_potential is not None:
                g, pull = g + drive.conductance, pull + drive.conductance_potential
            new, w = relax(v, pull / g, c_m / g, dt_ms), relax(w, p["a_nS"] * (v - e_leak), p["tau_w_ms"], dt_ms)
        else:
            new, w = explicit_step(slopes, (v, w), dt_ms, self.method)
        after_spike = w + p["b_pA"]
        if self.method == "rk4":
            left = time_left(v, p["v_t_mV"], p["delta_t_mV"], c_m / g_leak, dt_ms)
            new = finished(new, p["v_peak_mV"], left)
            at_peak = relax(state["w_pA"], p["a_nS"] * (v - e_leak), p["tau_w_ms"], dt_ms - left)
            after_spike = relax(at_peak + p["b_pA"], p["a_nS"] * (p["v_reset_mV"] - e_leak), p["tau_w_ms"], left)
        new = new if drive.jump is None else new + drive.jump
        new = membrane_noise(new, p["noise_mV"], c_m / g_leak, dt_ms, noise)
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        above = over_peak(new, p["v_peak_mV"], p["delta_t_mV"])
        spikes, resting = fire(above, resting, p["t_ref_ms"], dt_ms, self.surrogate)
        return {
            "v_mV": reset_certainly(spikes, p["v_reset_mV"], p["v_peak_mV"] + above),
            "w_pA": reset_certainly(spikes, after_spike, w),
            "refractory_steps": resting,
        }, spikes
