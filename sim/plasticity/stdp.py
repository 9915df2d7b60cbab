"""Spike-timing-dependent plasticity by pairs and by triplets of spikes, all to all, through traces.

Pairs (Song, Miller & Abbott 2000, Nat Neurosci 3:919; weight dependence of Guetig et al. 2003, J Neurosci 23:3697):

    dr/dt = -r / tau_plus,  r -> r + 1 when a presynaptic spike arrives;  do/dt = -o / tau_minus,  o -> o + 1 at a
    postsynaptic one
    arrival:             w -> w - w_max a_minus (w / w_max)^mu o
    postsynaptic spike:  w -> w + w_max a_plus (1 - w / w_max)^mu r

Triplets (Pfister & Gerstner 2006, J Neurosci 26:9673, eqs 1 to 4), with two traces on each side, r2 with tau_x and o2
with tau_y:

    arrival:             w -> w - w_max o1 (a2_minus + a3_minus r2)
    postsynaptic spike:  w -> w + w_max r1 (a2_plus + a3_plus o2)

r2 and o2 are read before the spike itself is added. Weights stay between 0 and w_max.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.plasticity.base import LongTermPlasticity, Pairs

_W_MAX = Parameter(1.0, "the weights' own", "largest weight", low=0.0, open_low=True)


def _tau(default: float, meaning: str) -> Parameter:
    return Parameter(default, "ms", f"time constant of the {meaning} trace", low=0.0, open_low=True)


def _amplitude(default: float, meaning: str) -> Parameter:
    return Parameter(default, "w_max", meaning, low=0.0)


def _decayed(trace: Array, tau_ms: Array, dt_ms: float) -> Array:
    return trace * jnp.exp(-dt_ms / tau_ms)


@dataclass(frozen=True)
class PairSTDP(LongTermPlasticity):
    """Pair-based STDP: mu = 0 is additive, mu = 1 multiplicative."""

    kind: ClassVar[str] = "stdp"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_plus_ms": _tau(20.0, "presynaptic"),
        "tau_minus_ms": _tau(20.0, "postsynaptic"),
        "a_plus": _amplitude(0.005, "potentiation by a pair"),
        "a_minus": _amplitude(0.00525, "depression by a pair"),
        "mu": Parameter(0.0, "1", "exponent of the weight dependence", 0.0, 1.0),
        "w_max": _W_MAX,
    }

    def initial(self, like_pre: Float[Array, " pre"], like_post: Float[Array, " post"]) -> State:
        return {"r": jnp.zeros_like(like_pre), "o": jnp.zeros_like(like_post)}

    def learn(
        self,
        p: Values,
        weight: Float[Array, " edge"],
        state: State,
        arrived: Float[Array, " pre"],
        fired: Float[Array, " post"],
        pairs: Pairs,
        dt_ms: float,
    ) -> tuple[Float[Array, " edge"], State]:
        r, o = _decayed(state["r"], p["tau_plus_ms"], dt_ms), _decayed(state["o"], p["tau_minus_ms"], dt_ms)
        w = weight / p["w_max"]
        down = p["a_minus"] * _power(w, p["mu"]) * pairs.of_pre(arrived) * pairs.of_post(o)
        up = p["a_plus"] * _power(1.0 - w, p["mu"]) * pairs.of_pre(r) * pairs.of_post(fired)
        return p["w_max"] * jnp.clip(w + up - down, 0.0, 1.0), {"r": r + arrived, "o": o + fired}


@dataclass(frozen=True)
class TripletSTDP(LongTermPlasticity):
    """Triplet STDP; the defaults are the all-to-all fit to visual cortex of Pfister & Gerstner 2006, table 4 (full)."""

    kind: ClassVar[str] = "triplet_stdp"
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_plus_ms": _tau(16.8, "fast presynaptic"),
        "tau_minus_ms": _tau(33.7, "fast postsynaptic"),
        "tau_x_ms": _tau(101.0, "slow presynaptic"),
        "tau_y_ms": _tau(125.0, "slow postsynaptic"),
        "a2_plus": _amplitude(5e-10, "potentiation by a pair"),
        "a3_plus": _amplitude(6.2e-3, "potentiation by a triplet"),
        "a2_minus": _amplitude(7e-3, "depression by a pair"),
        "a3_minus": _amplitude(2.3e-4, "depression by a triplet"),
        "w_max": _W_MAX,
    }

    def initial(self, like_pre: Float[Array, " pre"], like_post: Float[Array, " post"]) -> State:
        pre, post = jnp.zeros_like(like_pre), jnp.zeros_like(like_post)
        return {"r1": pre, "r2": pre, "o1": post, "o2": post}

    def learn(
        self,
        p: Values,
        weight: Float[Array, " edge"],
        state: State,
        arrived: Float[Array, " pre"],
        fired: Float[Array, " post"],
        pairs: Pairs,
        dt_ms: float,
    ) -> tuple[Float[Array, " edge"], State]:
        r1, r2 = _decayed(state["r1"], p["tau_plus_ms"], dt_ms), _decayed(state["r2"], p["tau_x_ms"], dt_ms)
        o1, o2 = _decayed(state["o1"], p["tau_minus_ms"], dt_ms), _decayed(state["o2"], p["tau_y_ms"], dt_ms)
        sent = arrived * (p["a2_minus"] + p["a3_minus"] * r2)
        got = fired * (p["a2_plus"] + p["a3_plus"] * o2)
        change = pairs.of_pre(r1) * pairs.of_post(got) - pairs.of_pre(sent) * pairs.of_post(o1)
        new = {"r1": r1 + arrived, "r2": r2 + arrived, "o1": o1 + fired, "o2": o2 + fired}
        return p["w_max"] * jnp.clip(weight / p["w_max"] + change, 0.0, 1.0), new


def _power(base: Array, exponent: Array) -> Array:
    """base ** exponent, 1 for exponent 0 even at base 0, with finite derivatives there."""
    positive = base > 0
    return jnp.where(exponent == 0, 1.0, jnp.where(positive, jnp.where(positive, base, 1.0) ** exponent, 0.0))
