"""The largest networks: the whole Potjans-Diesmann microcircuit beside NEST, and time against size at 1,000 synapses.

`microcircuit_table` and `scaling_table` print what they measure. Every run is a process of its own, so that its peak
memory is its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import print_table

from connectofit.builders.microcircuit import MEAN_RATES_Hz, STARTING_POTENTIALS_mV
from connectofit.connectome.synthetic.microcircuit import EXTERNAL_INPUTS, POPULATION_SIZES, synapse_numbers

HERE = Path(__file__).parent
NAMES = tuple(POPULATION_SIZES)
NEURON = {
    "C_m": 250.0,
    "tau_m": 10.0,
    "tau_syn_ex": 0.5,
    "tau_syn_in": 0.5,
    "t_ref": 2.0,
    "E_L": -65.0,
    "V_th": -50.0,
    "V_reset": -65.0,
}


def settings(
    *,
    seed: int,
    scale: float = 1.0,
    indegree_scale: float = 1.0,
    transient_ms: float = 500.0,
    duration_ms: float = 1000.0,
    threads: int = 1,
) -> dict[str, Any]:
    """Numbers of the microcircuit for any simulator: [post][pre] synapses and weights, currents, potentials, delays."""
    full = np.array(list(POPULATION_SIZES.values()))
    weights = np.tile([87.8, -4 * 87.8], 4)[None, :].repeat(8, axis=0)
    weights[0, 2] *= 2
    currents = np.array(EXTERNAL_INPUTS) * 8.0 * 0.5e-3 * 87.8
    return {
        "seed": seed,
        "scale": scale,
        "indegree_scale": indegree_scale,
        "threads": threads,
        "dt_ms": 0.1,
        "transient_ms": transient_ms,
        "duration_ms": duration_ms,
        "neuron": NEURON,
        "sizes": np.rint(full * scale).astype(int).tolist(),
        "numbers": np.rint(synapse_numbers() * scale * indegree_scale).astype(int).tolist(),
        "weights_pA": weights.tolist(),
        "delays_ms": [1.5, 0.75] * 4,
        "currents_pA": currents.tolist(),
        "potentials_mV": STARTING_POTENTIALS_mV,
    }


def run(python: str, script: str, given: dict[str, Any], most_GB: float | None = None) -> dict[str, Any]:
    """What a program prints, or {"failed": its last words}; with a limit on its address space where one is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.json"
        path.write_text(json.dumps(given))
        limit = "" if most_GB is None else f"ulimit -v {int(most_GB * 1e6)}; "
        command = f"{limit}exec {python} {HERE / script} {path}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def microcircuit_table(
    nest: str | None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    scale: float = 1.0,
    indegree_scale: float = 1.0,
    nest_threads: Sequence[int] = (1, 2),
    most_GB: float = 16.0,
    **times_ms: float,
) -> None:
    """Print two tables: time and memory of connectofit and of NEST, one seed after the other in turns; and the rates of
    the eight populations, with their spread over the seeds.

    nest: a Python that has NEST 3. most_GB: how much address space NEST may take. times_ms: see `settings`.
    """
    programs: dict[str, tuple[str, str, int, float | None]] = {
        "connectofit": (sys.executable, "rival_ours_microcircuit.py", 1, None)
    }
    for threads in nest_threads if nest else ():
        programs[f"NEST, {threads} thread(s)"] = (str(nest), "rival_nest_microcircuit.py", threads, most_GB)
    if nest is None:
        print("NEST: not measured; name a Python that has it.")
    sizes, found = np.array([]), dict[str, list[dict[str, Any]]]()
    for seed in seeds:
        for program, (python, script, threads, limit) in programs.items():
            given = settings(seed=seed, scale=scale, indegree_scale=indegree_scale, threads=threads, **times_ms)
            sizes, out_degrees = np.array(given["sizes"]), np.sum(given["numbers"], 0) / given["sizes"]
            seconds = given["duration_ms"] * 1e-3
            done = run(python, script, given, limit)
            if "failed" in done:
                print(f"{program}: not measured: {done['failed']}")
                continue
            done["rates_Hz"] = np.array(done["spikes"]) / sizes / seconds
            done["deliveries_per_s"] = np.dot(done["spikes"], out_degrees) / seconds / done["s_per_model_s"]
            found.setdefault(program, []).append(done)
    rows = [
        (
            program,
            *(_middle(runs, "build_s"), _middle(runs, "s_per_model_s"), _spread(runs, "s_per_model_s")),
            max(run["peak_MB"] for run in runs) / 1e3,
            max(run["peak_MB"] - run["libraries_MB"] for run in runs) * 1e6 / runs[0]["edges"],
            _middle(runs, "deliveries_per_s") / 1e6,
            1e9 / _middle(runs, "deliveries_per_s"),
        )
        for program, runs in found.items()
    ]
    header = ["", "build s", "s per model s", "(range)", "peak GB", "bytes an edge, peak"]
    header += ["10^6 deliveries per s", "ns per delivery"]
    edges = next((runs[0]["edges"] for runs in found.values()), 0)
    print_table(f"microcircuit: {int(sizes.sum()):,} neurons, {edges:,} synapses", header, rows)
    by_program = {program: np.array([run["rates_Hz"] for run in runs]) for program, runs in found.items()}
    print_table(
        f"mean rates in Hz over {len(seeds)} seeds, with their standard deviation",
        ["", *by_program, "published"],
        [
            (name, *(f"{r[:, k].mean():.3f} +- {r[:, k].std():.3f}" for r in by_program.values()), MEAN_RATES_Hz[k])
            for k, name in enumerate(NAMES)
        ],
    )


def scaling_table(
    sizes: Sequence[int] = (10_000, 30_000, 100_000, 300_000, 1_000_000),
    *,
    synapses: int = 1_000,
    deliveries: float = 1e9,
    seed: int = 0,
) -> None:
    """Print time per model second against size, at so many synapses a neuron, beside what memory allows.

    deliveries: how many a run lasts for, at about 10 Hz. Times include checks and compiling for a run of this length,
    of the order of a second. The limits: to read an edge in order, and to add to a random place of the sums that are
    under way, each measured alone by memory.c.
    """
    rows = []
    for each_delay in (False, True):
        for n in sizes:
            given = {"n": n, "synapses": synapses, "each_delay": each_delay, "seed": seed, "dt_ms": 0.1}
            duration_ms = float(np.clip(np.round(deliveries / n / synapses / 10 * 10) * 100, 100, 1000))
            given |= {"transient_ms": 50.0, "duration_ms": duration_ms, "method": "auto"}
            done = run(sys.executable, "rival_ours_balanced.py", given)
            if "failed" in done:
                rows.append((n, each_delay, done["failed"]))
                continue
            limits = memory_limits([4 * n * done["rows"]])
            rows.append(
                (
                    n,
                    "each" if each_delay else "one",
                    done["edges"] / 1e6,
                    done["build_s"],
                    done["peak_MB"] / 1e3,
                    done["spikes"] / n / duration_ms * 1e3,
                    done["s_per_model_s"],
                    done["seconds"] / done["deliveries"] * 1e9,
                    *limits,
                    done["method"],
                )
            )
    header = ["neurons", "delay", "10^6 edges", "build s", "peak GB", "rate Hz", "s per model s", "ns per delivery"]
    header += ["ns to read an edge", "ns to add at random", "method"]
    print_table(f"balanced networks of {synapses:,} synapses a neuron", header, rows)


def memory_limits(places: Sequence[int], edge_bytes: int = 8) -> tuple[float, ...]:
    """ns to read an edge in order, then ns to add to a random place of so many bytes; NaN without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return (float("nan"),) * (1 + len(places))
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "memory")
        subprocess.run([compiler, "-O3", str(HERE / "memory.c"), "-o", program], check=True)
        done = subprocess.run([program, *map(str, places)], capture_output=True, text=True, check=True)
    rate, *adds = (float(line) for line in done.stdout.split())
    return (edge_bytes / rate, *adds)


def _middle(runs: Sequence[dict[str, Any]], key: str) -> float:
    return float(np.median([run[key] for run in runs]))


def _spread(runs: Sequence[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{min(values):.3g}-{max(values):.3g}"
