"""Graded leaky neuron: no spikes, as most neurons of *C. elegans*.

    tau_m dV/dt = -(V - V_rest) + I + sum_j g_j (E_j - V)

I is the sum of stimuli and chemical synapses, g_j the conductances relative to the leak (for a gap junction E_j is the
voltage of the other neuron); V and I share one unit, which may be relative. It is the leaky integrator of Kunert,
Shlizerman & Kutz 2014 (Phys Rev E 89:052805, eq. 1) with the input as current.

Over one step the inputs are held, which leaves a linear equation with the exact solution (exponential Euler)

    V' = V_inf + (V - V_inf) exp(-dt (1 + G) / tau_m),    V_inf = (V_rest + I + sum_j g_j E_j) / (1 + G)

with G = sum_j g_j. The total conductance acts as the leak, so V' is a mean, with positive weights, of V, V_rest + I and
the E_j: gap junctions and leak alone are stable for every dt, the stationary state is that of the equation itself
whatever dt, and the error at a given time is of first order in dt. For dt far above tau_m a step is one Jacobi
iteration towards that state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import unknown_name
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.parameters import Parameter

Integration = Literal["exponential_euler", "euler"]


@dataclass(frozen=True)
class GradedLeaky(NeuronModel):
    """Graded leaky neuron. `method`: "exponential_euler", or "euler", which needs dt well below tau_m / (1 + G)."""

    method: Integration = "exponential_euler"

    kind: ClassVar[str] = "graded_leaky"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_m_ms": Parameter(20.0, "ms", "membrane time constant", low=0.0, open_low=True),
        "v_rest": Parameter(0.0, "V's own", "resting potential"),
        "noise": Parameter(0.0, "V's own", "standard deviation of the noise's effect on V at rest", low=0.0),
    }
    variables: ClassVar[tuple[str, ...]] = ("v",)
    voltage: ClassVar[str] = "v"
    rest: ClassVar[str] = "v_rest"
    noise: ClassVar[str] = "noise"
    spiking: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Integration):
            raise unknown_name("method", self.method, get_args(Integration), "GradedLeaky")

    def initial(self, p: Values) -> State:
        return {"v": p["v_rest"]}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, None]:
        v, pull = state["v"], p["v_rest"] + drive.mean_current(dt_ms)
        rate = dt_ms / p["tau_m_ms"]
        leak: Array | float = 1.0
        if drive.conductance is not None and drive.conductance_potential is not None:
            leak, pull = 1.0 + drive.conductance, pull + drive.conductance_potential
        change = rate * leak if self.method == "euler" else -jnp.expm1(-rate * leak)
        v = v + change * (pull / leak - v)
        if drive.jump is not None:
            v = v + drive.jump
        if noise is not None:
            v = v + p["noise"] * jnp.sqrt(-jnp.expm1(-2.0 * rate)) * noise
        return {"v": v}, None
