"""The microcircuit here: ``python rival_ours_microcircuit.py SETTINGS.json``. Prints as `rival_nest_microcircuit`."""

from __future__ import annotations

import json
import sys
import time

import jax
import numpy as np

from connectofit.builders import potjans_diesmann_network, potjans_diesmann_state
from connectofit.sim import simulate


def peak_MB() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main(path: str) -> None:
    with open(path) as file:
        given = json.load(file)
    before = peak_MB()
    start = time.perf_counter()
    net = potjans_diesmann_network(
        seed=given["seed"], scale=given["scale"], indegree_scale=given["indegree_scale"], dt_ms=given["dt_ms"]
    )
    built, after_building = time.perf_counter() - start, peak_MB()
    net = jax.device_put(net)  # shares the arrays
    state = potjans_diesmann_state(net, seed=given["seed"], dt_ms=given["dt_ms"])
    settings = {"dt_ms": given["dt_ms"], "record": ["spikes"], "method": given.get("method", "auto")}
    start = time.perf_counter()
    state = simulate(net, duration_ms=given["transient_ms"], state=state, **settings).state
    first = time.perf_counter() - start
    start = time.perf_counter()
    done = simulate(net, duration_ms=given["duration_ms"], state=state, **settings)
    seconds = time.perf_counter() - start
    cells, projection = net.population("cells"), net.projections[0]
    place = {i: k for k, i in enumerate(cells.ids)}
    neuron = np.array([place[i] for i in done.spikes.ids.tolist()], np.int64)
    kinds = np.asarray(cells.type_index)[neuron]
    arrays = [getattr(projection, name) for name in ("indptr", "post_index", "base_weight", "edge_delay_ms")]
    print(
        json.dumps(
            {
                "build_s": built,
                "s_per_model_s": seconds / given["duration_ms"] * 1e3,
                "spikes": np.bincount(kinds, minlength=len(cells.types)).tolist(),
                "deliveries": int(np.diff(np.asarray(projection.indptr))[neuron].sum()),
                "edges": net.n_edges,
                "bytes_per_edge": sum(a.nbytes for a in arrays if a is not None) / max(net.n_edges, 1),
                "peak_MB": peak_MB(),
                "built_MB": after_building,
                "libraries_MB": before,
                "transient_s": first,
                "method": done.method,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
