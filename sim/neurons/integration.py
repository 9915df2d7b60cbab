"""One step of the equations of neurons that are not linear, over which the input's course is known.

`rk4`: the classic Runge-Kutta method, whose error over a given time is of order dt^4; it samples the input at the
start, the middle and the end of the step. `euler`: of order dt, with the input at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array

from connectofit.connectome.errors import unknown_name

RungeKutta = Literal["rk4", "euler"]
Method = Literal["rk4", "exponential_euler", "euler"]
Variables = tuple[Array, ...]
Slopes = Callable[[Variables, float], Variables]  # (variables, time since the start of the step in ms) -> per ms


def explicit_step(slopes: Slopes, y: Variables, dt_ms: float, method: str) -> Variables:
    """The variables one step later, by "rk4" or "euler"."""
    k1 = slopes(y, 0.0)
    if method == "euler":
        return _moved(y, k1, dt_ms)
    k2 = slopes(_moved(y, k1, 0.5 * dt_ms), 0.5 * dt_ms)
    k3 = slopes(_moved(y, k2, 0.5 * dt_ms), 0.5 * dt_ms)
    k4 = slopes(_moved(y, k3, dt_ms), dt_ms)
    mean = tuple((a + 2.0 * b + 2.0 * c + d) / 6.0 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return _moved(y, mean, dt_ms)


def relax(y: Array, y_inf: Array, tau_ms: Array, dt_ms: float | Array) -> Array:
    """The solution of tau dy/dt = y_inf - y one step later."""
    return y - (y_inf - y) * jnp.expm1(-dt_ms / tau_ms)


def relax_at(rate: Array, y: Array, pull: Array, dt_ms: float | Array) -> Array:
    """The solution of dy/dt = pull - rate y one step later, for rates above 0."""
    # 1 - exp(-x) = 2 T / (1 + T) with T = tanh(x / 2): exact where x is small too, and faster than `expm1`.
    t = jnp.tanh(0.5 * dt_ms * rate)
    return y + (pull - rate * y) * (2.0 * t) / ((1.0 + t) * rate)


def check_method(method: str, allowed: tuple[str, ...], owner: str) -> None:
    """Raise `UnknownNameError` for a method that the model does not have."""
    if method not in allowed:
        raise unknown_name("method", method, allowed, owner)


def _moved(y: Variables, slope: Variables, dt_ms: float) -> Variables:
    return tuple(a + dt_ms * b for a, b in zip(y, slope, strict=True))
