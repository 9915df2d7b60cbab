"""Delta synapse: a spike moves the voltage by its weight at once.

    V_i(t) -> V_i(t) + sum_j w_ij      for spikes that arrive at t

(Brunel 2000, J Comput Neurosci 8:183, eq. 2; NEST's `iaf_psc_delta`.) A spike that arrives at the end of a step counts
before the voltage is compared with the threshold in this step. What arrives in the refractory period is lost or
kept, as the neuron's model says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import SpikingSynapse


@dataclass(frozen=True)
class Delta(SpikingSynapse):
    """Delta synapse; weights in mV."""

    kind: ClassVar[str] = "delta"
    parameters: ClassVar[dict[str, Parameter]] = {}
    positive: ClassVar[bool] = False

    def initial(self, like: Float[Array, " post"]) -> State:
        return {}

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
        onto.add_jump(arriving)

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return state
