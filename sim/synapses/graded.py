"""Graded chemical synapse with sigmoidal release.

    I_i = sum_j w_ij (s(V_j) - s(V_rest_j))
    s(V) = S(b (V - V_rest - V_half)) / (b S'(-b V_half)),    S(x) = 1 / (1 + exp(-x))

The release s is scaled so that s'(V_rest) = 1: near rest the synapse is linear with gain w, and far from it release
saturates. With V_half = 0 it is (2/b) tanh(b (V - V_rest) / 2). Sigmoidal release onto a linear membrane: Wicks,
Roehrig & Rankin 1996 (J Neurosci 16:4017, eq. 3); here without the conductance's driving force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import Synapse


@dataclass(frozen=True)
class Graded(Synapse):
    """Graded chemical synapse; weights in the postsynaptic current per unit of presynaptic voltage."""

    kind: ClassVar[str] = "graded"
    parameters: ClassVar[dict[str, Parameter]] = {
        "slope": Parameter(1.0, "1 / V's own", "steepness b of release", low=0.0, open_low=True),
        "v_half": Parameter(0.0, "V's own", "voltage above rest at which release is half of its maximum"),
    }
    side: ClassVar[Literal["pre", "post"]] = "pre"
    spiking: ClassVar[bool] = False
    delayed: ClassVar[bool] = True
    positive: ClassVar[bool] = False
    electrical: ClassVar[bool] = False

    def initial(self, like: Float[Array, " post"]) -> State:
        return {}

    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        b, at_rest = p["slope"], -p["slope"] * p["v_half"]
        # S(x) = (1 + tanh(x / 2)) / 2, whose differences stay exact at rest; S'(x) = S(x) S(-x).
        change = 0.5 * (jnp.tanh(0.5 * (b * (v - v_rest) + at_rest)) - jnp.tanh(0.5 * at_rest))
        return change / (b * jax.nn.sigmoid(at_rest) * jax.nn.sigmoid(-at_rest))

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
