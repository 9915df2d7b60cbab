"""Leaky integrate-and-fire neuron with exact integration.

    tau_m dV/dt = -(V - V_rest) + R_m I(t),      V >= V_threshold: spike, V = V_reset for t_ref

(Lapicque 1907; Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, eq. 1.5). Currents that are held over a
step and currents that decay exponentially are integrated exactly (Rotter & Diesmann 1999, Biol Cybern 81:381, eq. 11):

    V(t + dt) = V_inf + (V - V_inf) exp(-dt/tau) + sum_s (R_m / tau_m) i_s (exp(-dt/tau_s) - exp(-dt/tau)) / (1/tau -
    1/tau_s)

and likewise for currents that rise and fall as t exp(-t/tau_s), with tau = tau_m / (1 + R_m G) and V_inf = (V_rest +
R_m (I + sum g E)) / (1 + R_m G) where conductances G (gap junctions) act. A spike is emitted at the end of the step
in which V reaches the threshold; the neuron then stays at V_reset for round(t_ref / dt) steps while synaptic
currents go on decaying, which is NEST's convention.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values, first_moment
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate, spike


def _relative_expm1(x: Array) -> Array:
    """(exp(x) - 1) / x, which is 1 at x = 0, with a derivative that is right there too."""
    small = jnp.abs(x) < 1e-2
    safe = jnp.where(small, 1.0, x)
    series = 1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0)))
    return jnp.where(small, series, jnp.expm1(safe) / safe)


@dataclass(frozen=True)
class LIF(NeuronModel):
    """Leaky integrate-and-fire neuron. `surrogate`: the derivative that stands in for that of the spike."""

    surrogate: Surrogate = field(default_factory=Arctan)

    kind: ClassVar[str] = "lif"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": Parameter(20.0, "ms", "membrane time constant", low=0.0, open_low=True),
        "r_m_GOhm": Parameter(0.1, "GOhm", "membrane resistance (GOhm times pA is mV)", low=0.0, open_low=True),
        "v_rest_mV": Parameter(-70.0, "mV", "resting potential"),
        "v_threshold_mV": Parameter(-55.0, "mV", "threshold"),
        "v_reset_mV": Parameter(-70.0, "mV", "potential after a spike"),
        "t_ref_ms": Parameter(2.0, "ms", "refractory period", low=0.0),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": Parameter(0.0, "mV", "standard deviation of the noise's effect on V at rest", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", "refractory_steps")
    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True

    def initial(self, p: Values) -> State:
        return {"v_mV": p["v_rest_mV"], "refractory_steps": jnp.zeros(p["v_rest_mV"].shape, jnp.int32)}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v, resting = state["v_mV"], state["refractory_steps"]
        r_m, tau = p["r_m_GOhm"], p["tau_m_ms"]
        v_inf = p["v_rest_mV"] + r_m * (drive.current + p["i_bias_pA"])
        if drive.conductance is not None and drive.conductance_potential is not None:
            leak = 1.0 + r_m * drive.conductance
            v_inf, tau = (v_inf + r_m * drive.conductance_potential) / leak, tau / leak
        new = v_inf + (v - v_inf) * jnp.exp(-dt_ms / tau)
        for current, tau_s in drive.decaying:
            x = dt_ms / tau - dt_ms / tau_s
            new = new + r_m * current * (dt_ms / p["tau_m_ms"]) * jnp.exp(-dt_ms / tau) * _relative_expm1(x)
        for slope, tau_s in drive.rising:
            x = dt_ms / tau - dt_ms / tau_s
            new = new + r_m * slope * (dt_ms**2 / p["tau_m_ms"]) * jnp.exp(-dt_ms / tau) * first_moment(x)
        if drive.jump is not None:
            new = new + drive.jump
        if noise is not None:
            new = new + p["noise_mV"] * jnp.sqrt(-jnp.expm1(-2.0 * dt_ms / tau)) * noise
        new = jnp.where(resting > 0, p["v_reset_mV"], new)
        # No threshold test in the refractory period, even where the reset lies above the threshold.
        spikes = spike(new - p["v_threshold_mV"], self.surrogate) * (resting == 0)
        fired = lax.stop_gradient(spikes) > 0
        ref_steps = jnp.round(p["t_ref_ms"] / dt_ms).astype(jnp.int32)
        return {
            "v_mV": (1.0 - spikes) * new + spikes * p["v_reset_mV"],
            "refractory_steps": jnp.where(fired, ref_steps, jnp.maximum(resting - 1, 0)),
        }, spikes
