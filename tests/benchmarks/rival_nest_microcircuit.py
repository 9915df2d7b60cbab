"""The microcircuit in NEST: ``python rival_nest_microcircuit.py SETTINGS.json``, by a Python that has NEST 3.

The network is drawn by NEST's own rules (``fixed_total_number``, redrawn normal weights and delays) from the numbers of
neurons and synapses, weights, delays and currents in SETTINGS.json (`microcircuit.settings`). Prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time

import nest
import numpy as np


def peak_MB() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def main(path: str) -> None:
    with open(path) as file:
        given = json.load(file)
    before = peak_MB()
    start = time.perf_counter()
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    # keep_source_table: off, the table of presynaptic neurons is thrown away before the run.
    nest.set(
        resolution=given["dt_ms"],
        local_num_threads=given["threads"],
        rng_seed=given["seed"] + 1,
        keep_source_table=False,
        print_time=False,
    )
    # NEST holds 134 million synapses of a model in a thread: a copy for each source keeps the whole circuit below that.
    for source in range(len(given["sizes"])):
        nest.CopyModel(given.get("synapse", "static_synapse"), f"from_{source}")
    groups = []
    for size, current, (mean, sd) in zip(given["sizes"], given["currents_pA"], given["potentials_mV"], strict=True):
        group = nest.Create("iaf_psc_exp", size, params={**given["neuron"], "I_e": current})
        group.V_m = nest.random.normal(mean, sd)
        groups.append(group)
    for target, row in enumerate(given["numbers"]):
        for source, number in enumerate(row):
            if not number:
                continue
            weight, delay = given["weights_pA"][target][source], given["delays_ms"][source]
            sign = {"min": 0.0, "max": np.inf} if weight > 0 else {"min": -np.inf, "max": 0.0}
            nest.Connect(
                groups[source],
                groups[target],
                {"rule": "fixed_total_number", "N": number},
                {
                    "synapse_model": f"from_{source}",
                    "weight": nest.math.redraw(nest.random.normal(weight, 0.1 * abs(weight)), **sign),
                    # Rounded to steps by NEST, so that the shortest is one step.
                    "delay": nest.math.redraw(
                        nest.random.normal(delay, 0.5 * delay), min=0.5 * given["dt_ms"], max=np.inf
                    ),
                },
            )
    recorder = nest.Create("spike_recorder", params={"start": given["transient_ms"]})
    for group in groups:
        nest.Connect(group, recorder)
    nest.Prepare()
    nest.Cleanup()
    built = time.perf_counter() - start
    nest.Simulate(given["transient_ms"])
    start = time.perf_counter()
    nest.Simulate(given["duration_ms"])
    seconds = time.perf_counter() - start
    senders = recorder.get("events", "senders")
    first = [group[0].global_id for group in groups]
    counts = np.bincount(np.searchsorted(first, senders, side="right") - 1, minlength=len(groups))
    done = {
        "build_s": built,
        "s_per_model_s": seconds / given["duration_ms"] * 1e3,
        "spikes": counts.tolist(),
        "edges": int(np.sum(given["numbers"])),
        "peak_MB": peak_MB(),
        "libraries_MB": before,
        "version": nest.__version__,
    }
    print(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1])
