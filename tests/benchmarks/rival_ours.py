"""A network here: ``python rival_ours.py CASE.npz METHOD THREADS``. Prints as `rival_brian2` does, and the first time.

THREADS: how many processors the process may use; XLA makes as many threads.
"""

from __future__ import annotations

import json
import os
import sys
import time

if __name__ == "__main__":
    os.sched_setaffinity(0, range(int(sys.argv[3])))

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.sim import (
    LIF,
    Exponential,
    ExponentialConductance,
    Network,
    Population,
    Projection,
    Series,
    initial_state,
    simulate,
)


def network(case: np.lib.npyio.NpzFile) -> Network:
    """The case's network; weights of a kind are one number, or one for each edge."""
    n = int(case["n"])
    names = {"tau_m_ms": "tau_m", "r_m_GOhm": "r_m", "v_rest_mV": "v_rest", "v_threshold_mV": "v_threshold"}
    names |= {"v_reset_mV": "v_reset", "t_ref_ms": "t_ref_here"}
    cells = {k: np.array([p.default]) for k, p in LIF.parameters.items()}
    cells |= {k: np.array([float(case[v])]) for k, v in names.items()}
    model = LIF(clears_synapses=bool(case["clears"]))
    population = Population("cells", model, tuple(range(n)), np.zeros(n, np.int32), ("all",))
    projections, params = [], {"cells": cells}
    for k, tau in enumerate(case["tau"]):
        pre, post, weight = case[f"pre_{k}"], case[f"post_{k}"], case[f"weight_{k}"]
        order = np.argsort(pre, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n))]).astype(np.int32)
        weight = np.broadcast_to(weight, len(pre))[order].astype(np.float32)
        synapse = ExponentialConductance() if bool(case["conductances"]) else Exponential()
        projections.append(
            Projection(
                f"kind_{k}", "cells", "cells", synapse, indptr, post[order].astype(np.int32), weight,
                np.zeros(len(pre), np.int32), ("all",), float(case["delay"]),
            )
        )  # fmt: skip
        params[f"kind_{k}"] = {"log_gain": np.zeros(1), "tau_syn_ms": np.array([float(tau)])}
        if bool(case["conductances"]):
            params[f"kind_{k}"]["e_rev_mV"] = np.array([float(case["e_rev"][k])])
    return Network((population,), tuple(projections), params)


def main(path: str, method: str) -> None:
    case = np.load(path)
    net = jax.tree.map(jnp.asarray, network(case))  # the graph is there before the clock starts, as for the rivals
    duration_ms, dt_ms = float(case["duration"]), 0.1
    stimuli = []
    if case["event_step"].size:
        rows = np.zeros((round(duration_ms / dt_ms), int(case["n_driven"])))
        np.add.at(rows, (case["event_step"], case["event_neuron"]), 1.0)
        leak = -np.expm1(-dt_ms / float(case["tau_m"]))
        stimuli = [Series(case["driven"].tolist(), rows * float(case["jump"]) / (float(case["r_m"]) * leak))]
    state = jax.jit(initial_state, static_argnames="dt_ms")(net, dt_ms=dt_ms)
    state.populations["cells"]["v_mV"] = state.populations["cells"]["v_mV"] * 0 + case["v_start"].astype(np.float32)
    for k in range(len(case["tau"])):
        state.projections[f"kind_{k}"]["y"] = case[f"start_{k}"].astype(np.float32)
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        done = simulate(
            net, duration_ms=duration_ms, dt_ms=dt_ms, stimuli=stimuli, record=["spikes"], method=method, state=state
        )
        taken.append(time.perf_counter() - start)
    print(json.dumps({"seconds": taken[1], "first": taken[0], "spikes": len(done.spikes), "method": done.method}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
