"""A balanced network of any size: ``python rival_ours_balanced.py SETTINGS.json``. Prints a line of JSON.

n neurons, four fifths of them excitatory, with as many synapses each as SETTINGS.json says, all of one delay or each
with its own; started at random potentials and driven by a constant current.
"""

from __future__ import annotations

import json
import sys
import time

import jax
import numpy as np

from connectofit.builders import FixedTotal, NeuronGroup, Normal, RandomEdges, Synapses, draw_network
from connectofit.sim import Network, initial_state, simulate

CELL = {"tau_m_ms": 10.0, "r_m_GOhm": 0.04, "v_rest_mV": -65.0, "v_threshold_mV": -50.0, "v_reset_mV": -65.0}


def peak_MB() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def network(n: int, synapses: int, *, each_delay: bool, seed: int, dt_ms: float) -> Network:
    """Currents of 87.8 pA and -8 times that at K = 1,000; weights go with 1 / K, so that the mean input stays."""
    n_e, weight = 4 * n // 5, 87.8 * 1_000 / synapses
    cell = {**CELL, "t_ref_ms": 2.0, "i_bias_pA": 560.0}
    groups = (NeuronGroup("E", n_e, cell), NeuronGroup("I", n - n_e, cell))
    fast = Synapses("synapses", params={"tau_syn_ms": 0.5})
    edges = []
    for pre, share, size in (("E", 4, weight), ("I", 1, -8 * weight)):
        for group in groups:
            rule = FixedTotal(group.size * synapses * share // 5)
            delay = Normal(1.5, 0.75 if each_delay else 0.0)
            edges.append(RandomEdges(pre, group.name, rule, Normal(size, 0.1 * abs(size)), delay, fast))
    return draw_network(groups, edges, seed=seed, dt_ms=dt_ms)


def main(path: str) -> None:
    with open(path) as file:
        given = json.load(file)
    n, dt_ms, seed = given["n"], given["dt_ms"], given["seed"]
    start = time.perf_counter()
    net = network(n, given["synapses"], each_delay=given["each_delay"], seed=seed, dt_ms=dt_ms)
    built, after_building = time.perf_counter() - start, peak_MB()
    net = jax.device_put(net)  # shares the arrays
    state = jax.jit(initial_state, static_argnames="dt_ms")(net, dt_ms=dt_ms)
    drawn = np.random.default_rng(seed).uniform(-65.0, -50.0, n).astype(np.float32)
    state.populations["cells"]["v_mV"] = jax.device_put(drawn)
    settings = {"dt_ms": dt_ms, "record": ["spikes"], "method": given["method"]}
    state = simulate(net, duration_ms=given["transient_ms"], state=state, **settings).state
    start = time.perf_counter()
    done = simulate(net, duration_ms=given["duration_ms"], state=state, **settings)
    seconds = time.perf_counter() - start
    projection = net.projections[0]
    place = {i: k for k, i in enumerate(net.ids)}
    neuron = np.array([place[i] for i in done.spikes.ids.tolist()], np.int64)
    longest = projection.longest_delay_ms or projection.delay_ms
    print(
        json.dumps(
            {
                "build_s": built,
                "s_per_model_s": seconds / given["duration_ms"] * 1e3,
                "seconds": seconds,
                "spikes": len(neuron),
                "deliveries": int(np.diff(np.asarray(projection.indptr))[neuron].sum()),
                "rows": round((longest - projection.delay_ms) / dt_ms) + 1,
                "edges": net.n_edges,
                "peak_MB": peak_MB(),
                "built_MB": after_building,
                "method": done.method,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
