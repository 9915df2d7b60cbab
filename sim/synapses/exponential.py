"""Exponential synapse, current-based: a spike adds w to a current that decays.

    dI_i/dt = -I_i / tau_syn + sum_j w_ij sum_k delta(t - t_j^k - delay)

(Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, eq. 3.2 with the driving force held; NEST's
`iaf_psc_exp`.) The decay is exact, and neurons that can (LIF) integrate the decaying current exactly. A spike at time
t changes I at t + delay, and V after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import Synapse


@dataclass(frozen=True)
class Exponential(Synapse):
    """Exponential current-based synapse; weights in pA for LIF neurons."""

    kind: ClassVar[str] = "exponential"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_syn_ms": Parameter(5.0, "ms", "time constant of the current", low=0.0, open_low=True),
    }
    side: ClassVar[Literal["pre", "post"]] = "post"
    spiking: ClassVar[bool] = True
    delayed: ClassVar[bool] = True
    positive: ClassVar[bool] = False

    def initial(self, like: Float[Array, " post"]) -> State:
        return {"current": jnp.zeros_like(like)}

    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        return jnp.zeros_like(v)

    def drive(
        self, p: Values, state: State, arriving: Float[Array, " post"], total: Float[Array, " post"] | None, onto: Drive
    ) -> None:
        onto.add_decaying(state["current"], p["tau_syn_ms"])

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return {"current": state["current"] * jnp.exp(-dt_ms / p["tau_syn_ms"]) + arriving}
