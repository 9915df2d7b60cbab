"""Simulators side by side, from the root of the repository:

    python -m tests.benchmarks [CASE ...] --brian2 PYTHON --nest PYTHON --brainevent PYTHON --jaxley PYTHON

Every case is one network, drawn once and given to all, with the same frozen drive. The programs take turns, each run in
a process of its own; wall time is that of the simulation alone, without building and compiling. A rival without a
Python that has it is named and left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from gradients import gradient, hodgkin_huxley
from measure import FLY_EDGES, FLY_NEURONS, print_table
from microcircuit import microcircuit_table, scaling_table

HERE = Path(__file__).parent
OURS = ("event", "native", "fused")


def balanced(n: int, *, conductances: bool, seed: int = 0) -> dict[str, Any]:
    """COBA or CUBA (Brette et al. 2007) of n neurons with 80 inputs each, started in an active state."""
    rng = np.random.default_rng(seed)
    case: dict[str, Any] = {"n": n, "conductances": conductances, "clears": False, "tau_m": 20.0, "r_m": 0.1}
    case |= {"v_threshold": -50.0, "v_reset": -60.0, "t_ref": 5.0, "t_ref_here": 4.9, "tau": [5.0, 10.0], "delay": 0.1}
    case |= {"v_rest": -60.0 if conductances else -49.0, "e_rev": [0.0, -80.0]}
    case["v_start"] = rng.normal(-65.0 if conductances else -55.0, 5.0, n)
    weights = (6.0, 67.0) if conductances else (16.2, -90.0)
    starts = ((40.0, 15.0), (200.0, 120.0)) if conductances else ((0.0, 0.0), (0.0, 0.0))  # as in Brian2's example
    for k, (low, high) in enumerate(((0, 4 * n // 5), (4 * n // 5, n))):
        n_edges = rng.binomial(n * (high - low), 80 / n)
        case[f"pre_{k}"] = rng.integers(low, high, n_edges, dtype=np.int32)
        case[f"post_{k}"] = rng.integers(0, n, n_edges, dtype=np.int32)
        case[f"weight_{k}"] = np.array([weights[k]], np.float32)
        case[f"start_{k}"] = rng.normal(*starts[k], n)
    none = np.empty(0, np.int64)
    return case | {"event_step": none, "event_neuron": none, "driven": none, "n_driven": 0, "jump": 0.0}


def fly(seed: int = 0) -> dict[str, Any]:
    """The whole-fly model of Shiu et al. 2024 on a synthetic connectome, 100 neurons driven at 150 Hz."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0.0, 1.0, FLY_NEURONS)
    pre = np.repeat(np.arange(FLY_NEURONS, dtype=np.int32), rng.multinomial(FLY_EDGES, share / share.sum()))
    sign = np.where(rng.random(FLY_NEURONS) < 0.6, 1, -1)[pre]
    count = np.minimum(1 + rng.geometric(0.2, FLY_EDGES), 500)
    case: dict[str, Any] = {"n": FLY_NEURONS, "conductances": False, "clears": True, "tau_m": 20.0, "r_m": 1.0}
    case |= {"v_rest": -52.0, "v_threshold": -45.0, "v_reset": -52.0, "t_ref": 2.2, "t_ref_here": 2.1, "delay": 1.8}
    case |= {"tau": [5.0], "e_rev": [0.0], "v_start": np.full(FLY_NEURONS, -52.0), "start_0": np.zeros(FLY_NEURONS)}
    case |= {"pre_0": pre, "post_0": rng.integers(0, FLY_NEURONS, FLY_EDGES, dtype=np.int32)}
    case["weight_0"] = (sign * count * 0.275).astype(np.float32)
    step, neuron = np.nonzero(rng.random((10_000, 100)) < 0.015)
    driven = np.sort(rng.choice(FLY_NEURONS, 100, replace=False))
    return case | {"event_step": step, "event_neuron": neuron, "driven": driven, "n_driven": 100, "jump": 68.75}


CASES = {
    "coba_4000": lambda: balanced(4_000, conductances=True),
    "cuba_4000": lambda: balanced(4_000, conductances=False),
    "coba_40000": lambda: balanced(40_000, conductances=True),
    "fly": fly,
}


def measured(command: list[str]) -> dict[str, Any]:
    """What a program prints of itself in its last line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def side_by_side(name: str, rivals: Mapping[str, str | None], rounds: int) -> None:
    """Run one case in all programs in turn, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "case.npz")
        np.savez(path, duration=1000.0, **CASES[name]())
        programs = [(f"connectofit, {m}", [sys.executable, str(HERE / "rival_ours.py"), path, m]) for m in OURS]
        for rival, python in rivals.items():
            if python:
                programs.append((rival, [str(python), str(HERE / f"rival_{rival.lower()}.py"), path]))
        commands = {f"{p}, {n} thread(s)": [*command, str(n)] for p, command in programs for n in (1, 2)}
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(rounds):
            for program, command in commands.items():
                found.setdefault(program, []).append(measured(command))
    times = {program: [run["seconds"] for run in runs] for program, runs in found.items()}
    best = min((median(t) for program, t in times.items() if program.startswith("Brian2")), default=float("nan"))
    rows = [
        (
            program,
            median(times[program]),
            min(times[program]),
            max(times[program]),
            median(times[program]) / best,
            runs[-1]["spikes"],
            median(run["first"] - run["seconds"] for run in runs) if "first" in runs[-1] else "",
        )
        for program, runs in found.items()
    ]
    header = ["", "s per model s", "least", "most", "of Brian2's best", "spikes", "compilation s"]
    print_table(f"{name}, {rounds} rounds", header, rows)


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice([*CASES, "gradient", "hh", "microcircuit", "scaling"]))
@click.option("--brian2", type=click.Path(exists=True), help="A Python that has Brian2.")
@click.option("--nest", type=click.Path(exists=True), help="A Python that has NEST.")
@click.option("--brainevent", type=click.Path(exists=True), help="A Python (3.12 or newer) that has brainevent.")
@click.option("--jaxley", type=click.Path(exists=True), help="A Python that has Jaxley.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(
    cases: tuple[str, ...],
    brian2: str | None,
    nest: str | None,
    brainevent: str | None,
    jaxley: str | None,
    rounds: int,
) -> None:
    """Run the cases, by default those that take minutes: all but the microcircuit and scaling."""
    rivals = {"Brian2": brian2, "NEST": nest, "brainevent": brainevent, "Jaxley": jaxley}
    for name, python in rivals.items():
        if python is None:
            print(f"{name}: not measured; name a Python that has it with --{name.lower()}.")
    for name in cases or (*CASES, "gradient", "hh"):
        if name in CASES:
            side_by_side(name, {"Brian2": brian2, "NEST": nest}, rounds)
        elif name == "gradient":
            gradient(brainevent, rounds)
        elif name == "hh":
            hodgkin_huxley(jaxley, rounds)
        elif name == "microcircuit":
            microcircuit_table(nest, seeds=range(rounds))
        else:
            scaling_table()
