"""Gap junction: an ohmic contact, I_i = sum_j g_ij (V_j - V_i).

The weight is the conductance: relative to the leak for graded neurons, in nS for neurons whose resistance is in GOhm.
Give both directions of every contact (two edges) the same weight for an ohmic one; it reaches the neuron as
conductance, so that its integration stays stable. A delay makes no sense and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import Synapse


@dataclass(frozen=True)
class GapJunction(Synapse):
    """Gap junction; weights are conductances, 0 or more."""

    kind: ClassVar[str] = "gap_junction"
    parameters: ClassVar[dict[str, Parameter]] = {}
    side: ClassVar[Literal["pre", "post"]] = "pre"
    spiking: ClassVar[bool] = False
    delayed: ClassVar[bool] = False
    positive: ClassVar[bool] = True
    electrical: ClassVar[bool] = True

    def initial(self, like: Float[Array, " post"]) -> State:
        return {}

    def source(self, p: Values, v: Float[Array, " pre"], v_rest: Float[Array, " pre"]) -> Float[Array, " pre"]:
        return v

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
        if total is None:
            raise TypeError("a gap junction needs the summed conductance")
        onto.add_conductance(total, arriving)

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return state
