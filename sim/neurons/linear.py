"""Exact propagation of a leaky membrane, shared by the integrate-and-fire neurons that are linear between spikes.

    tau_m dV/dt = -(V - V_rest) + R_m I(t) + R_m sum_j g_j (E_j - V)

Currents that are held over a step, that decay, or that rise and decay are integrated exactly (Rotter & Diesmann 1999,
Biol Cybern 81:381, eq. 11); conductances are held, which makes them of second order in dt.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, first_moment, mean_of_decay

Decaying = tuple[tuple[Array, Array], ...]  # (current at the start of the step, its time constant in ms)


def relative_expm1(x: Array) -> Array:
    """(exp(x) - 1) / x, which is 1 at x = 0, with a derivative that is right there too."""
    small = jnp.abs(x) < 1e-2
    safe, near = jnp.where(small, 1.0, x), jnp.where(small, x, 0.0)
    series = 1.0 + near / 2.0 * (1.0 + near / 3.0 * (1.0 + near / 4.0 * (1.0 + near / 5.0)))
    return jnp.where(small, series, jnp.expm1(safe) / safe)


@dataclass(frozen=True, eq=False)
class Membrane:
    """A leaky membrane after a step: its potential, the one that its mean input would lead to, and its time constant
    with the conductances open."""

    v: Float[Array, " neuron"]
    v_inf: Float[Array, " neuron"]
    tau_ms: Float[Array, " neuron"]


def leaky_step(
    v: Float[Array, " neuron"],
    v_rest: Float[Array, " neuron"],
    r_m: Float[Array, " neuron"],
    tau_m_ms: Float[Array, " neuron"],
    drive: Drive,
    dt_ms: float,
    own: Decaying = (),
) -> Membrane:
    """The membrane one step later, with the drive's jump. own: decaying currents of the neuron itself."""
    v_inf, tau, leak = v_rest + r_m * drive.current, tau_m_ms, jnp.ones_like(v)
    if drive.conductance is not None and drive.conductance_potential is not None:
        leak = 1.0 + r_m * drive.conductance
        v_inf, tau = (v_inf + r_m * drive.conductance_potential) / leak, tau_m_ms / leak
    decay = jnp.exp(-dt_ms / tau)
    new = v_inf + (v - v_inf) * decay
    mean = drive.mean_current(dt_ms) - drive.current
    for current, tau_s in (*drive.decaying, *own):
        new = new + r_m * current * (dt_ms / tau_m_ms) * decay * relative_expm1(dt_ms / tau - dt_ms / tau_s)
    for current, tau_s in own:
        mean = mean + current * mean_of_decay(dt_ms / tau_s)
    for slope, tau_s in drive.rising:
        new = new + r_m * slope * (dt_ms**2 / tau_m_ms) * decay * first_moment(dt_ms / tau - dt_ms / tau_s)
    if drive.jump is not None:
        new = new + drive.jump
    return Membrane(new, v_inf + r_m * mean / leak, tau)


def pulled_threshold(
    theta: Float[Array, " neuron"],
    rate_per_ms: Float[Array, " neuron"],
    decay_per_ms: Float[Array, " neuron"],
    v: Float[Array, " neuron"],
    v_rest: Float[Array, " neuron"],
    membrane: Membrane,
    dt_ms: float,
) -> Float[Array, " neuron"]:
    """The solution of d theta/dt = a (V - V_rest) - b theta one step later, a and b the rates.

    v: the potential at the start. V follows from it towards `membrane.v_inf`: exact for held currents, and with the
    mean of those that change within the step, which is of second order in dt.
    """
    faded = jnp.exp(-decay_per_ms * dt_ms)
    settled = (membrane.v_inf - v_rest) * relative_expm1(-decay_per_ms * dt_ms)
    moving = (v - membrane.v_inf) * faded * relative_expm1((decay_per_ms - 1.0 / membrane.tau_ms) * dt_ms)
    return theta * faded + rate_per_ms * dt_ms * (settled + moving)


def membrane_noise(v: Array, sigma: Array, tau_ms: Array, dt_ms: float, noise: Float[Array, " neuron"] | None) -> Array:
    """V with a step of the noise that gives a leaky membrane at rest the standard deviation sigma."""
    return v if noise is None else v + sigma * jnp.sqrt(-jnp.expm1(-2.0 * dt_ms / tau_ms)) * noise
