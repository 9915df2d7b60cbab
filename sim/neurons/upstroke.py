"""The upstroke of exponential integrate-and-fire neurons, kept finite in value and derivative.

The exponential current diverges in finite time. Two limits keep it in range, without an effect on spike times: its
argument (V - V_T) / Delta_T is cut at 20, from where the membrane needs 2e-9 tau_m to diverge, and V counts as at
most V_peak in the equations, as in NEST's `aeif` models. Where a step leaves V_peak behind, the overshoot is
compressed to at most Delta_T: it means nothing, since V is reset, but its derivative is that of the exponential.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_LARGEST_ARGUMENT = 20.0


def exponential_current(
    v: Float[Array, " neuron"],
    v_t: Float[Array, " neuron"],
    delta_t: Float[Array, " neuron"],
    g_leak: Float[Array, " neuron"],
) -> Float[Array, " neuron"]:
    """g_L Delta_T exp((V - V_T) / Delta_T), in pA for nS and mV."""
    return g_leak * delta_t * jnp.exp(jnp.minimum((v - v_t) / delta_t, _LARGEST_ARGUMENT))


def time_left(
    v: Float[Array, " neuron"],
    v_t: Float[Array, " neuron"],
    delta_t: Float[Array, " neuron"],
    tau_ms: Float[Array, " neuron"],
    dt_ms: float,
) -> Float[Array, " neuron"]:
    """How much of the step that begins at v is left when the exponential alone diverges, 0 where it does not.

    From V it takes tau exp(-(V - V_T) / Delta_T). Of this V is above V_peak for tau exp(-(V_peak - V_T) / Delta_T).
    """
    until = tau_ms * jnp.exp(-jnp.clip((v - v_t) / delta_t, -_LARGEST_ARGUMENT, _LARGEST_ARGUMENT))
    return dt_ms - jnp.minimum(until, dt_ms)


def finished(
    new: Float[Array, " neuron"], v_peak: Float[Array, " neuron"], left_ms: Float[Array, " neuron"]
) -> Float[Array, " neuron"]:
    """`new`, lifted to V_peak where `time_left` says that V diverges within the step.

    A Runge-Kutta step from just before the upstroke ends only a few Delta_T higher, and without this correction a
    quarter of the spikes would be a step late.
    """
    lifted = lax.stop_gradient(jnp.where(left_ms > 0, jnp.maximum(v_peak, new), new))
    return lifted + (new - lax.stop_gradient(new))  # of the value of `lifted` to the last bit, lest V miss V_peak


def over_peak(
    v: Float[Array, " neuron"], v_peak: Float[Array, " neuron"], scale: Float[Array, " neuron"]
) -> Float[Array, " neuron"]:
    """V - V_peak, and where that is above 0 compressed to x / (1 + x / scale)."""
    x = v - v_peak
    above = jnp.maximum(x, 0.0)
    return jnp.where(x > 0, above / (1.0 + above / scale), x)
