"""Hodgkin-Huxley neurons side by side here: ``python rival_hh_ours.py CASE.npz METHOD CHECKPOINT THREADS``.

METHOD: of integration; CHECKPOINT: "none" or "sqrt". Prints two lines of JSON as `rival_gradient_ours` does: of the
simulation alone, and with the gradient by the sodium and potassium conductance of every neuron.
"""

from __future__ import annotations

import os
import sys

path, method, checkpoint, threads = sys.argv[1:5]
os.sched_setaffinity(0, range(int(threads)))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from measure_calls import report  # noqa: E402

from connectofit.sim import HodgkinHuxley, Network, Population, rollout  # noqa: E402

case = np.load(path)
n = len(case["g_na_nS"])
model = HodgkinHuxley(method=method)
params = {k: np.full(n, p.default, np.float32) for k, p in model.parameters.items()}
index = np.arange(n, dtype=np.int32)
net = Network((Population("cells", model, tuple(range(n)), index, tuple(range(n))),), (), {"cells": params})
chosen = {k: jnp.asarray(case[k]) for k in ("g_na_nS", "g_k_nS")}
current, target = jnp.asarray(case["current_pA"]), jnp.asarray(case["target_mV"])
n_steps, dt_ms = int(case["n_steps"]), float(case["dt_ms"])


def trace(chosen: dict[str, jax.Array], current: jax.Array) -> jax.Array:
    own = net.with_params({"cells": net.params["cells"] | chosen})
    how = {"n_steps": n_steps, "record": ("v_mV",), "checkpoint": None if checkpoint == "none" else checkpoint}
    return rollout(own, None, {"cells": current[None, :]}, dt_ms=dt_ms, **how)[1]["cells"]["v_mV"]


def loss(chosen: dict[str, jax.Array], current: jax.Array, target: jax.Array) -> jax.Array:
    return ((trace(chosen, current) - target) ** 2).mean()


v = np.asarray(jax.jit(trace)(chosen, current))
spikes = float(((v[1:] >= 0) & (v[:-1] < 0)).sum())
report(jax.jit(lambda *args: (loss(*args), ())), chosen, current, target, spikes=spikes)
report(jax.jit(jax.value_and_grad(loss)), chosen, current, target, spikes=spikes)
