"""Izhikevich's neuron (Izhikevich 2003, IEEE Trans Neural Netw 14:1569, eqs 1 to 3).

    dv/dt = 0.04 v^2 + 5 v + 140 - u + I / C
    du/dt = a (b v - u)
    v >= 30 mV: spike, v -> c, u -> u + d

v in mV, u in mV/ms. The paper's I is a slope in mV/ms; here currents are in pA, and C = 1 pF makes the numbers the
same. The defaults are the regular spiking cell; the paper's others (a, b, c, d): fast spiking (0.1, 0.2, -65, 2),
intrinsically bursting (0.02, 0.2, -55, 4), chattering (0.02, 0.2, -50, 2), low-threshold spiking (0.02, 0.25, -65,
2). A run starts at v_rest with u = b v; -70 mV is the fixed point for b = 0.2.

method: "euler" (of order dt, both variables from their old values: NEST's `izhikevich`, and Brian2's choice),
"half_steps" (the program of the paper, meant for dt = 1 ms: two half steps of v, then u from the new v; NEST's
`consistent_integration = False`), or "rk4" (of order dt^4 between spikes). v is tested at the ends of steps. The
paper's figures depend on its method and dt. There is no refractory period.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.firing import above_zero, reset_certainly
from connectofit.sim.neurons.integration import Variables, check_method, explicit_step
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate, spike

Integration = Literal["euler", "half_steps", "rk4"]


@dataclass(frozen=True)
class Izhikevich(NeuronModel):
    """Izhikevich's neuron. `surrogate`: the spike's stand-in derivative; `method`: see the module."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Integration = "euler"

    kind: ClassVar[str] = "izhikevich"
    parameters: ClassVar[dict[str, Parameter]] = {
        "a_per_ms": Parameter(0.02, "1/ms", "rate of the recovery u"),
        "b_per_ms": Parameter(0.2, "1/ms", "how far v pulls the recovery"),
        "c_mV": Parameter(-65.0, "mV", "potential after a spike"),
        "d_mV_per_ms": Parameter(8.0, "mV/ms", "what a spike adds to the recovery"),
        "v_peak_mV": Parameter(30.0, "mV", "potential at which the upstroke counts as a spike"),
        "c_m_pF": above_zero(1.0, "pF", "membrane capacitance, which turns currents into slopes"),
        "v_rest_mV": Parameter(-70.0, "mV", "potential that a run starts from"),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV_per_sqrt_ms": Parameter(0.0, "mV/sqrt(ms)", "standard deviation of white noise in dv/dt", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "u_mV_per_ms")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV_per_sqrt_ms"
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_method(self.method, get_args(Integration), "Izhikevich")

    def initial(self, p: Values) -> State:
        return {"v_mV": p["v_rest_mV"], "u_mV_per_ms": p["b_per_ms"] * p["v_rest_mV"]}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        a, b = p["a_per_ms"], p["b_per_ms"]

        def dv(v: Array, u: Array, t_ms: float) -> Array:
            return 0.04 * v**2 + 5.0 * v + 140.0 - u + (drive.into(v, t_ms) + p["i_bias_pA"]) / p["c_m_pF"]

        def slopes(y: Variables, t_ms: float) -> Variables:
            v, u = y
            return dv(v, u, t_ms), a * (b * v - u)

        v, u = state["v_mV"], state["u_mV_per_ms"]
        if self.method == "half_steps":
            v = v + 0.5 * dt_ms * dv(v, u, 0.0)
            v = v + 0.5 * dt_ms * dv(v, u, 0.5 * dt_ms)
            u = u + dt_ms * a * (b * v - u)
        else:
            v, u = explicit_step(slopes, (v, u), dt_ms, self.method)
        v = v if drive.jump is None else v + drive.jump
        if noise is not None:
            v = v + p["noise_mV_per_sqrt_ms"] * jnp.sqrt(dt_ms) * noise
        spikes = spike(v - p["v_peak_mV"], self.surrogate)
        return {
            "v_mV": reset_certainly(spikes, p["c_mV"], v),
            "u_mV_per_ms": reset_certainly(spikes, u + p["d_mV_per_ms"], u),
        }, spikes
