"""The gradient of a spiking network here: ``python rival_gradient_ours.py CASE.npz METHOD CHECKPOINT THREADS``.

METHOD: a kernel; CHECKPOINT: "none" or "sqrt". Prints a line of JSON: the seconds of some calls, those of the first
one, the loss, the number of spikes, the gradient's norm, and the temporary memory that XLA plans.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

path, method, checkpoint, threads = sys.argv[1:5]
os.sched_setaffinity(0, range(int(threads)))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from measure_calls import report  # noqa: E402

from connectofit.sim import LIF, Exponential, Network, Population, Projection, rollout  # noqa: E402
from connectofit.sim.surrogate import Arctan  # noqa: E402


def network(case: np.lib.npyio.NpzFile) -> Network:
    """The case's network: one population with exponential synapses onto itself."""
    n, n_edges = int(case["n"]), len(case["post"])
    names = {"tau_m_ms": "tau_m", "r_m_GOhm": "r_m", "v_rest_mV": "v_rest", "v_threshold_mV": "v_threshold"}
    names |= {"v_reset_mV": "v_reset", "t_ref_ms": "t_ref"}
    cells = {k: np.array([p.default]) for k, p in LIF.parameters.items()}
    cells |= {k: np.array([float(case[v])]) for k, v in names.items()}
    model = LIF(surrogate=Arctan(float(case["width"])))
    population = Population("cells", model, tuple(range(n)), np.zeros(n, np.int32), ("all",))
    projection = Projection(
        "syn", "cells", "cells", Exponential(), case["indptr"], case["post"], case["weight"],
        np.zeros(n_edges, np.int32), ("all",), float(case["dt"]),
    )  # fmt: skip
    syn = {"log_gain": np.zeros(1), "tau_syn_ms": np.array([float(case["tau_syn"])])}
    return Network((population,), (projection,), {"cells": cells, "syn": syn})


case = np.load(path)
net = jax.tree.map(jnp.asarray, network(case))
drive, target = jnp.asarray(case["drive"]), jnp.asarray(case["target"])


def run(weight: jax.Array, net: Network, drive: jax.Array, record: tuple[str, ...]) -> tuple[Any, Any]:
    (projection,) = net.projections
    own = dataclasses.replace(net, projections=(dataclasses.replace(projection, base_weight=weight),))
    return rollout(
        own, None, {"cells": drive}, dt_ms=float(case["dt"]), record=record, method=method,
        checkpoint=None if checkpoint == "none" else checkpoint,
    )  # fmt: skip


def loss(weight: jax.Array, net: Network, drive: jax.Array) -> jax.Array:
    end, _ = run(weight, net, drive, ())
    return ((end.projections["syn"]["y"] - target) ** 2).mean()


weight = net.projections[0].base_weight
spikes = jax.jit(lambda *args: run(*args, ("spikes",))[1]["cells"]["spikes"].sum())(weight, net, drive)
report(jax.jit(jax.value_and_grad(loss)), weight, net, drive, spikes=float(spikes))
