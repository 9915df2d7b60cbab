"""The gradient of `rival_training_ours` with brainevent: ``python rival_training_brainevent.py CASE.npz HOW THREADS``.

HOW: "vmap" (one trial at a time is written, and mapped over the batch) or "loop" (trials one after the other). The
equations are those of connectofit's step, in a `lax.scan`; the synapses among the cells are `brainevent.CSR`.
"""

from __future__ import annotations

import math
import os
import sys

path, how, threads = sys.argv[1:4]
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
matrix = brainevent.CSR(
    (jnp.asarray(case["weight"]), jnp.asarray(case["post"]), jnp.asarray(case["indptr"])), shape=(n, n)
)


@jax.custom_jvp
def spike(x: jax.Array) -> jax.Array:
    return (x >= 0).astype(x.dtype)


@spike.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (x,), (x_dot,) = primals, tangents
    return spike(x), x_dot / (math.pi * width * (1.0 + (x / width) ** 2))


def counts(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    """The spikes of every neuron in one trial."""
    arriving_in = jnp.concatenate([jnp.zeros((1, n)), x[:-1] @ weights[0].reshape(-1, n)])

    def step(state: tuple, coming: jax.Array) -> tuple:
        v, resting, y, arriving, total = state
        new = jnp.where(resting > 0, v_reset, v_rest + (v - v_rest) * decay + gain * y)
        spikes = spike(new - v_threshold) * (resting == 0)
        certain = lax.stop_gradient(spikes)
        v = jnp.where(certain > 0, v_reset, new) + (spikes - certain) * jnp.minimum(
            lax.stop_gradient(v_reset - new), 0.0
        )
        resting = jnp.where(certain > 0, period, jnp.maximum(resting - 1, 0))
        sent = brainevent.BinaryArray(spikes) @ matrix.with_data(weights[1])
        return (v, resting, y * fade + arriving + coming, sent, total + spikes), None

    zeros = jnp.zeros(n, jnp.float32)
    start = (jnp.full(n, v_rest, jnp.float32), jnp.zeros(n, jnp.int32), zeros, zeros, zeros)
    return lax.scan(step, start, arriving_in)[0][4]


def rates(weights: list[jax.Array], inputs: jax.Array) -> jax.Array:
    mapped = jax.vmap(counts, (None, 0)) if how == "vmap" else lambda w, x: lax.map(lambda each: counts(w, each), x)
    return mapped(weights, inputs).mean(0) / (inputs.shape[1] * dt / 1e3)


def loss(weights: list[jax.Array], inputs: jax.Array, target: jax.Array) -> jax.Array:
    return ((rates(weights, inputs) - target) ** 2).mean()


weights = [jnp.asarray(case["weight_in"]).ravel(), jnp.asarray(case["weight"])]
inputs, target = jnp.asarray(case["inputs"]), jnp.asarray(case["target"])
spikes = float(jax.jit(rates)(weights, inputs).sum()) * inputs.shape[0] * inputs.shape[1] * dt / 1e3
report(jax.jit(jax.value_and_grad(loss)), weights, inputs, target, spikes=round(spikes))
