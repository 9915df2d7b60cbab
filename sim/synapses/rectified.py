"""Graded synapse that passes on what exceeds a threshold: the synapse of rate networks with rectified rates.

    I_i = sum_j w_ij max(0, V_j - V_threshold)

With linear leaky units, tau dx/dt = -x + sum_j w_ij r_j + ..., it makes r = max(0, x) the unit's rate (Song, Yang &
Wang 2016, PLoS Comput Biol 12:e1004792, eqs 1 and 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import Synapse


@dataclass(frozen=True)
class Rectified(Synapse):
    """Graded synapse with a threshold; weights in the postsynaptic current per unit of presynaptic voltage."""

    kind: ClassVar[str] = "rectified"
    parameters: ClassVar[dict[str, Parameter]] = {
        "v_threshold": Parameter(0.0, "V's own", "voltage above which the presynaptic neuron sends"),
    }
    side: ClassVar[Literal["pre", "post"]] = "pre"
    spiking: ClassVar[bool] = False
    delayed: ClassVar[bool] = True
    positive: ClassVar[bool] = False
    electrical: ClassVar[bool] = False

    def initial(self, like: Float[Array, " post"]) -> State:
        return {}

    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        return jax.nn.relu(v - p["v_threshold"])

    def drive(
        self,
        p: Values,
        state: State,
        arriving: Float[Array, " post"],
        total: Float[Array, " post"] | None,
        v: Float[Array, " post"],
        dt_ms: float,
        onto: Drive,
    ) -> None:
        onto.add_current(arriving)

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return state
