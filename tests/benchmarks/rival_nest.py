"""A network in NEST: ``python rival_nest.py CASE.npz THREADS``. Prints as `rival_brian2`.

`iaf_psc_exp` and `iaf_cond_exp` have no port for jumps of the voltage: a driven neuron gets a current that reaches the
threshold within a step and is taken back one step later. A spike does not clear synaptic currents there. The drive
comes with the network's own delay, since NEST exchanges spikes as often as the shortest delay asks for; for that the
clock starts, and everything stays at rest, one delay earlier.
"""

from __future__ import annotations

import json
import sys
import time

import nest
import numpy as np

DT_MS = 0.1


def connect(case: np.lib.npyio.NpzFile, cells: nest.NodeCollection, k: int) -> None:
    pre, post, weight = case[f"pre_{k}"], case[f"post_{k}"], case[f"weight_{k}"].astype(float)
    sign = -1.0 if bool(case["conductances"]) and case["e_rev"][k] < case["v_rest"] else 1.0
    first = cells.tolist()[0]
    weights = sign * np.broadcast_to(weight, pre.shape)
    step = 2_000_000
    for begin in range(0, len(pre), step):
        part = slice(begin, begin + step)
        syn_spec = {"weight": weights[part], "delay": np.full(len(pre[part]), float(case["delay"]))}
        nest.Connect(first + pre[part].astype(np.int64), first + post[part].astype(np.int64), "one_to_one", syn_spec)


def drive(case: np.lib.npyio.NpzFile, cells: nest.NodeCollection) -> None:
    """Spikes at given steps into the driven neurons, which come one delay after time 0."""
    tau = float(case["tau"][0])
    # Five times what lifts V from rest to threshold within a step.
    reach = 5 * (case["v_threshold"] - case["v_rest"]) * float(case["tau_m"]) / (float(case["r_m"]) * DT_MS)
    for k, neuron in enumerate(case["driven"]):
        steps = np.unique(case["event_step"][case["event_neuron"] == k])
        if not steps.size:
            continue
        times = np.concatenate([steps + 2, steps + 3]) * DT_MS  # sent; a delay later it is step + 1 after the start
        size = np.concatenate([np.full(steps.size, reach), np.full(steps.size, -reach * np.exp(-DT_MS / tau))])
        order = np.argsort(times, kind="stable")
        source = nest.Create("spike_generator", params={"allow_offgrid_times": True})
        source.set(spike_times=np.round(times[order], 1), spike_weights=size[order])
        nest.Connect(source, cells[int(neuron)], syn_spec={"weight": 1.0, "delay": float(case["delay"])})


def main(path: str, threads: int) -> None:
    case = np.load(path)
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.set(resolution=DT_MS, local_num_threads=threads)
    n, r_m, tau_m = int(case["n"]), float(case["r_m"]), float(case["tau_m"])
    names = {"E_L": "v_rest", "V_th": "v_threshold", "V_reset": "v_reset", "t_ref": "t_ref_here"}
    params = {name: float(case[key]) for name, key in names.items()} | {"C_m": tau_m / r_m}
    taus = [float(t) for t in case["tau"]]
    params |= {"tau_syn_ex": taus[0], "tau_syn_in": taus[-1]}
    if bool(case["conductances"]):
        params |= {"g_L": 1.0 / r_m, "E_ex": float(case["e_rev"][0]), "E_in": float(case["e_rev"][1])}
        cells = nest.Create("iaf_cond_exp", n, params=params)
    else:
        cells = nest.Create("iaf_psc_exp", n, params=params | {"tau_m": tau_m})
    cells.V_m = case["v_start"].tolist()
    if bool(case["conductances"]):
        cells.g_ex, cells.g_in = (np.maximum(case[f"start_{k}"], 0).tolist() for k in range(2))
    for k in range(len(taus)):
        connect(case, cells, k)
    drive(case, cells)
    recorder = nest.Create("spike_recorder")
    nest.Connect(cells, recorder)
    nest.Prepare()
    if case["driven"].size:
        nest.Run(float(case["delay"]))
    start = time.perf_counter()
    nest.Run(float(case["duration"]))
    seconds = time.perf_counter() - start
    nest.Cleanup()
    print(json.dumps({"seconds": seconds, "spikes": int(recorder.n_events)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
