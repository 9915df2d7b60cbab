"""Short-term depression and facilitation: a pool of resources x that spikes use up by a fraction u.

    dx/dt = (1 - x) / tau_rec,    du/dt = -u / tau_facil
    at a spike:  u -> u + U (1 - u),  then sent = u x,  x -> x - u x

(Tsodyks, Pawelzik & Markram 1998, Neural Comput 10:821, eqs 2.1 to 2.3 in the limit of fast inactivation; NEST's
`tsodyks2_synapse`.) The weight is the effect of all resources at once. tau_facil = 0: u is U at every spike. Between
spikes both are propagated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.plasticity.base import ShortTermPlasticity


@dataclass(frozen=True)
class TsodyksMarkram(ShortTermPlasticity):
    """Short-term plasticity with recovery and facilitation."""

    kind: ClassVar[str] = "tsodyks_markram"
    parameters: ClassVar[dict[str, Parameter]] = {
        "use": Parameter(0.5, "1", "U, the fraction of resources that a spike uses after a long rest", 0.0, 1.0),
        "tau_rec_ms": Parameter(800.0, "ms", "time constant of recovery", low=0.0, open_low=True),
        "tau_facil_ms": Parameter(0.0, "ms", "time constant of facilitation, 0 for none", low=0.0),
    }

    def initial(self, like: Float[Array, " pre"]) -> State:
        return {"u": jnp.zeros_like(like), "x": jnp.ones_like(like)}

    def release(
        self, p: Values, state: State, spikes: Float[Array, " pre"], dt_ms: float
    ) -> tuple[State, Float[Array, " pre"]]:
        facil = p["tau_facil_ms"]
        some = jnp.where(facil > 0, facil, 1.0)
        u = state["u"] * jnp.where(facil > 0, jnp.exp(-dt_ms / some), 0.0)
        x = 1.0 + (state["x"] - 1.0) * jnp.exp(-dt_ms / p["tau_rec_ms"])
        u = u + spikes * p["use"] * (1.0 - u)
        sent = spikes * u * x
        return {"u": u, "x": x - sent}, sent
