"""Hodgkin-Huxley neurons side by side in Jaxley: ``python rival_jaxley.py CASE.npz FORM CHECKPOINT THREADS``.

FORM: "network" (one `jx.Network` of all cells) or "vmap" (one cell, mapped over parameters and currents); CHECKPOINT:
"none" or "levels", two of about the square root of the steps. Prints the same lines of JSON as `rival_hh_ours`.
"""

from __future__ import annotations

import math
import os
import sys

path, form, checkpoint, threads = sys.argv[1:5]
os.sched_setaffinity(0, range(int(threads)))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jaxley as jx  # noqa: E402
import numpy as np  # noqa: E402
from jaxley.channels import HH  # noqa: E402
from measure_calls import report  # noqa: E402

case = np.load(path)
n, n_steps, dt_ms = len(case["g_na_nS"]), int(case["n_steps"]), float(case["dt_ms"])
AREA_UM2 = 10_000.0  # what the densities of Hodgkin & Huxley stand for in connectofit
side = math.sqrt(AREA_UM2 / math.pi)  # of a cylinder of equal length and diameter
root = math.isqrt(n_steps - 1) + 1
levels = None if checkpoint == "none" else [root, -(-n_steps // root)]
# nS on the area to S/cm^2, pA to nA
chosen = [{"HH_gNa": jnp.asarray(case["g_na_nS"] * 1e-5)}, {"HH_gK": jnp.asarray(case["g_k_nS"] * 1e-5)}]
chosen = [{k: v * 1e4 / AREA_UM2 for k, v in own.items()} for own in chosen]
currents = jnp.asarray(case["current_pA"] * 1e-3, jnp.float32)
target = jnp.asarray(case["target_mV"]).T

cell = jx.Cell([jx.Branch(jx.Compartment(), ncomp=1)], parents=[-1])
module = cell if form == "vmap" else jx.Network([cell for _ in range(n)])
module.insert(HH())
for name, value in (("radius", side / 2), ("length", side), ("capacitance", 1.0), ("HH_eLeak", -54.387), ("v", -65.0)):
    module.set(name, value)
module.init_states(delta_t=dt_ms)
if form == "vmap":
    module.make_trainable("HH_gNa")
    module.make_trainable("HH_gK")
    module.branch(0).loc(0.0).record("v", verbose=False)
else:
    module.cell("all").make_trainable("HH_gNa")
    module.cell("all").make_trainable("HH_gK")
    module.cell("all").branch(0).loc(0.0).record("v", verbose=False)


def integrated(own: list[dict], current: jax.Array) -> jax.Array:
    """[cells, time], from currents [cells]."""
    wave = jnp.broadcast_to(current[:, None], (current.shape[0], n_steps))
    view = module.branch(0).loc(0.0) if form == "vmap" else module.cell("all").branch(0).loc(0.0)
    stimuli = view.data_stimulate(wave, None)
    v = jx.integrate(
        module, params=own, data_stimuli=stimuli, delta_t=dt_ms, t_max=n_steps * dt_ms, checkpoint_lengths=levels
    )
    return v[:, 1 : n_steps + 1]


def trace(chosen: list[dict], current: jax.Array) -> jax.Array:
    if form == "network":
        return integrated(chosen, current)
    one = lambda own, i: integrated([{k: v[None] for k, v in o.items()} for o in own], i[None])[0]  # noqa: E731
    return jax.vmap(one)(chosen, current)


def loss(chosen: list[dict], current: jax.Array, target: jax.Array) -> jax.Array:
    v = trace(chosen, current)
    return ((v - target[:, : v.shape[1]]) ** 2).mean()


v = np.asarray(jax.jit(trace)(chosen, currents))
spikes = float(((v[:, 1:] >= 0) & (v[:, :-1] < 0)).sum())
report(jax.jit(lambda *args: (loss(*args), ())), chosen, currents, target, spikes=spikes)
report(jax.jit(jax.value_and_grad(loss)), chosen, currents, target, spikes=spikes, scale=1e-5)  # per nS
