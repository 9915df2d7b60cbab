"""A training gradient of a batch of trials with connectofit: ``python rival_training_ours.py CASE.npz BLOCK THREADS``.

BLOCK: "compiled" or "jax". The loss is the mean square distance of the rates from a target; derivatives are by the
weights of the recurrent edges and of the inputs. Prints the line of JSON of `measure_calls.report`.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

path, block, threads = sys.argv[1:4]
os.sched_setaffinity(0, range(int(threads)))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from measure_calls import report  # noqa: E402

from connectofit.fit.train import new_readout, run_batch  # noqa: E402
from connectofit.fit.train.batch_step import make_batched  # noqa: E402
from connectofit.sim import LIF, Exponential, Network, Population, Projection, SpikeSource  # noqa: E402
from connectofit.sim.surrogate import Arctan  # noqa: E402

case = np.load(path)
n, n_in, dt = int(case["n"]), int(case["n_in"]), float(case["dt"])


def network() -> Network:
    """Inputs, and one population with exponential synapses from them and onto itself."""
    names = {"tau_m_ms": "tau_m", "r_m_GOhm": "r_m", "v_rest_mV": "v_rest", "v_threshold_mV": "v_threshold"}
    names |= {"v_reset_mV": "v_reset", "t_ref_ms": "t_ref"}
    cells = {k: np.array([p.default]) for k, p in LIF.parameters.items()}
    cells |= {k: np.array([float(case[v])]) for k, v in names.items()}
    model = LIF(surrogate=Arctan(float(case["width"])))
    populations = (
        Population("input", SpikeSource(), tuple(range(n_in)), np.zeros(n_in, np.int32), ("all",)),
        Population("cells", model, tuple(range(n)), np.zeros(n, np.int32), ("all",)),
    )
    everyone = np.arange(n_in + 1, dtype=np.int32) * n, np.tile(np.arange(n, dtype=np.int32), n_in)
    projections, params = [], {"input": {k: np.array([p.default]) for k, p in SpikeSource.parameters.items()}}
    params["cells"] = cells
    for name, pre, (indptr, post), weight in (
        ("in", "input", everyone, case["weight_in"].ravel()),
        ("syn", "cells", (case["indptr"], case["post"]), case["weight"]),
    ):
        index = np.zeros(len(post), np.int32)
        projections.append(Projection(name, pre, "cells", Exponential(), indptr, post, weight, index, ("all",), dt))
        params[name] = {"log_gain": np.zeros(1), "tau_syn_ms": np.array([float(case["tau_syn"])])}
    return Network(populations, tuple(projections), params)


net = jax.tree.map(jnp.asarray, network())
readout = new_readout(net, 1, jax.random.key(0), populations=("cells",))
inputs, target = jnp.asarray(case["inputs"]), jnp.asarray(case["target"])


def rates(weights: list[jax.Array], net: Network, inputs: jax.Array) -> jax.Array:
    parts = zip(net.projections, weights, strict=True)
    own = dataclasses.replace(net, projections=tuple(dataclasses.replace(p, base_weight=w) for p, w in parts))
    batched = make_batched(own, dt_ms=dt, source="input", method="native", block=block)
    return run_batch(batched, readout, inputs).activity["cells"]


def loss(weights: list[jax.Array], net: Network, inputs: jax.Array) -> jax.Array:
    return ((rates(weights, net, inputs) - target) ** 2).mean()


weights: list[Any] = [p.base_weight for p in net.projections]
seconds = inputs.shape[0] * inputs.shape[1] * dt / 1e3
spikes = float(jax.jit(rates)(weights, net, inputs).sum()) * seconds
report(jax.jit(jax.value_and_grad(loss)), weights, net, inputs, spikes=round(spikes))
