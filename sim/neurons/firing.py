"""What spiking neurons share: the threshold test, the refractory period and the reset.

In the refractory period V is held, while synaptic currents and conductances go on decaying, as in NEST and Brian2.
Jumps of V by delta synapses are lost in it, unless a model has a setting for them, as `LIF.refractory_input`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from connectofit.sim.neurons.base import kept
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Surrogate, spike

T_REF = "refractory period, rounded to steps"


def refractory_period(default: float) -> Parameter:
    """The parameter of the refractory period."""
    return Parameter(default, "ms", T_REF, low=0.0)


def noise_parameter() -> Parameter:
    """The parameter of noise in the membrane."""
    return Parameter(0.0, "mV", "standard deviation of the noise's effect on V at rest", low=0.0)


def above_zero(default: float, unit: str, meaning: str) -> Parameter:
    """A parameter that has to be above 0."""
    return Parameter(default, unit, meaning, low=0.0, open_low=True)


def in_refractory_period(resting: Int[Array, " neuron"]) -> Bool[Array, " neuron"]:
    """Whether a neuron is in its refractory period. Reverse mode keeps it, a byte a neuron, and not the count."""
    return kept(resting > 0)


def fire(
    above: Float[Array, " neuron"],
    resting: Int[Array, " neuron"],
    t_ref_ms: Float[Array, " neuron"],
    dt_ms: float,
    surrogate: Surrogate,
    rests: Bool[Array, " neuron"] | None = None,
    given: Float[Array, " neuron"] | None = None,
) -> tuple[Float[Array, " neuron"], Int[Array, " neuron"]]:
    """(spikes, steps that are left of the refractory period after this one).

    above: the distance to the threshold. There is no test in the refractory period, even where the reset lies above the
    threshold; it lasts round(t_ref / dt) steps after the one that ends with the spike, as in NEST. rests: what
    `in_refractory_period` returned, where a model has asked. given: spikes that happen whatever the threshold and the
    refractory period say (`Drive.spikes`).
    """
    spikes = spike(above, surrogate) * ~(in_refractory_period(resting) if rests is None else rests)
    if given is not None:
        spikes = jnp.where(jnp.isnan(given), spikes, jnp.nan_to_num(given))
    fired = lax.stop_gradient(spikes) > 0
    steps = jnp.round(t_ref_ms / dt_ms).astype(jnp.int32)
    return spikes, jnp.where(fired, steps, jnp.maximum(resting - 1, 0))


def switch(spikes: Float[Array, " neuron"], fired: Array, silent: Array) -> Array:
    """`fired` where there is a spike, else `silent`; the surrogate's derivative acts on their difference."""
    return (1.0 - spikes) * silent + spikes * fired


def reset_potential(
    spikes: Float[Array, " neuron"], reset: Float[Array, " neuron"], v: Float[Array, " neuron"]
) -> Float[Array, " neuron"]:
    """`reset` where there is a spike, else `v`; the surrogate's derivative acts on the reset as far as it lowers v.

    The surrogate smears a spike over the steps that V spends near the threshold. Where the reset lies above V, each of
    them would multiply the derivative by a number above 1, and gradients would grow exponentially with their number.
    """
    certain = lax.stop_gradient(spikes)
    fall = jnp.minimum(lax.stop_gradient(reset - v), 0.0)
    return switch(certain, reset, v) + (spikes - certain) * fall


def reset_certainly(spikes: Float[Array, " neuron"], reset: Array, silent: Array) -> Array:
    """`reset` where there is a spike, else `silent`, without the surrogate: for neurons with an upstroke.

    Once the upstroke has begun its end is certain, and to first order a reset does not depend on the potentials before
    it. The surrogate would multiply its value by the steepness of the upstroke, a thousandfold with every spike.
    """
    return switch(lax.stop_gradient(spikes), reset, silent)


def not_refractory(like: Float[Array, " neuron"]) -> Int[Array, " neuron"]:
    """The initial count of refractory steps."""
    return jnp.zeros(like.shape, jnp.int32)
