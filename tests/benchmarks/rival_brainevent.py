"""The gradient of a spiking network with brainevent: ``python rival_brainevent.py CASE.npz FORM THREADS``.

FORM: "csr" (`brainevent.CSR`) or "fixed" (`brainevent.FixedNumPerPre`). The equations are those of
`rival_gradient_ours`, in a plain `lax.scan`; only the synapses are brainevent's. Prints the same line of JSON.
"""

from __future__ import annotations

import math
import os
import sys

path, form, threads = sys.argv[1:4]
os.sched_setaffinity(0, range(int(threads)))

import brainevent  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from measure_calls import report  # noqa: E402

if int(threads) > 1:
    brainevent.config.set_numba_parallel(True, int(threads))

case = np.load(path)
n, dt, width = int(case["n"]), float(case["dt"]), float(case["width"])
tau_m, tau_syn, r_m = (float(case[k]) for k in ("tau_m", "tau_syn", "r_m"))
v_rest, v_threshold, v_reset = (float(case[k]) for k in ("v_rest", "v_threshold", "v_reset"))
period = round(float(case["t_ref"]) / dt)
decay, fade = math.exp(-dt / tau_m), math.exp(-dt / tau_syn)
gain = r_m / tau_m * (fade - decay) / (1.0 / tau_m - 1.0 / tau_syn)
post, indptr = jnp.asarray(case["post"]), jnp.asarray(case["indptr"])
degree = int(case["indptr"][1])


@jax.custom_jvp
def spike(x: jax.Array) -> jax.Array:
    return (x >= 0).astype(x.dtype)


@spike.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (x,), (x_dot,) = primals, tangents
    return spike(x), x_dot / (math.pi * width * (1.0 + (x / width) ** 2))


def connections() -> brainevent.CSR | brainevent.FixedNumPerPre:
    """Made once, outside of `jit`, as brainevent asks for."""
    if form == "csr":
        return brainevent.CSR((jnp.asarray(case["weight"]), post, indptr), shape=(n, n))
    return brainevent.FixedNumPerPre(
        (jnp.asarray(case["weight"]).reshape(n, degree), post.reshape(n, degree)), shape=(n, n)
    )


matrix = connections()


def delivered(spikes: jax.Array, weight: jax.Array) -> jax.Array:
    return brainevent.BinaryArray(spikes) @ matrix.with_data(weight.reshape(matrix.data.shape))


def run(weight: jax.Array, drive: jax.Array) -> tuple[jax.Array, jax.Array]:
    def step(state: tuple, current: jax.Array) -> tuple:
        v, resting, y, arriving = state
        v_inf = v_rest + r_m * current
        new = jnp.where(resting > 0, v_reset, v_inf + (v - v_inf) * decay + gain * y)
        spikes = spike(new - v_threshold) * (resting == 0)
        certain = lax.stop_gradient(spikes)
        fall = jnp.minimum(lax.stop_gradient(v_reset - new), 0.0)
        v = jnp.where(certain > 0, v_reset, new) + (spikes - certain) * fall
        resting = jnp.where(certain > 0, period, jnp.maximum(resting - 1, 0))
        return (v, resting, y * fade + arriving, delivered(spikes, weight)), certain

    zeros = jnp.zeros(n, jnp.float32)
    end, spikes = lax.scan(step, (jnp.full(n, v_rest, jnp.float32), jnp.zeros(n, jnp.int32), zeros, zeros), drive)
    return end[2], spikes


def loss(weight: jax.Array, drive: jax.Array, target: jax.Array) -> jax.Array:
    return ((run(weight, drive)[0] - target) ** 2).mean()


weight, drive = jnp.asarray(case["weight"]), jnp.asarray(case["drive"])
spikes = jax.jit(lambda *args: run(*args)[1].sum())(weight, drive)
report(jax.jit(jax.value_and_grad(loss)), weight, drive, jnp.asarray(case["target"]), spikes=float(spikes))
