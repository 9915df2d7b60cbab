"""Gradients side by side: a spiking network beside brainevent, and Hodgkin-Huxley neurons beside Jaxley.

`gradient` and `hodgkin_huxley` run one case each and print tables. The programs take turns, each run in a process of
its own, all in float32 with the same parameters, drive and loss; wall time is that of a call that has been compiled.
The numbers of spikes, losses and gradient norms are printed so that the reader sees that the work is the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from measure import print_table

HERE = Path(__file__).parent
HEADER = [
    "",
    "s",
    "least",
    "most",
    "of the rival's best",
    "first call s",
    "temporary MB",
    "spikes",
    "loss",
    "|gradient|",
    "its median entry",
]


def spiking_case(*, equal_degrees: bool, n: int = 4_000, degree: int = 80, n_steps: int = 1_000) -> dict[str, Any]:
    """LIF neurons of which about 2.6 % spike in a step of 1 ms: the edges' ends are drawn at random, or only where they
    end, with the same number of edges from each neuron."""
    rng = np.random.default_rng(0)
    n_edges = n * degree
    pre = np.repeat(np.arange(n), degree) if equal_degrees else np.sort(rng.integers(0, n, n_edges))
    sign = np.where(np.arange(n) < 4 * n // 5, 1.0, -4.0)
    case: dict[str, Any] = {"n": n, "dt": 1.0, "width": 5.0, "tau_m": 20.0, "tau_syn": 5.0, "r_m": 0.1}
    case |= {"v_rest": -70.0, "v_threshold": -55.0, "v_reset": -70.0, "t_ref": 2.0}
    case["indptr"] = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n))]).astype(np.int32)
    case["post"] = rng.integers(0, n, n_edges, dtype=np.int32)
    case["weight"] = (6.0 * sign[pre] * rng.lognormal(0.0, 0.5, n_edges)).astype(np.float32)
    case["drive"] = rng.normal(180.0, 120.0, (n_steps, n)).astype(np.float32)
    case["target"] = rng.normal(0.0, 100.0, n).astype(np.float32)
    return case


def squid_case(n: int = 1_000, n_steps: int = 2_000) -> dict[str, Any]:
    """Hodgkin-Huxley neurons with conductances and constant currents of their own, for 50 ms."""
    rng = np.random.default_rng(0)
    case: dict[str, Any] = {"n_steps": n_steps, "dt_ms": 0.025}
    case["g_na_nS"] = (12_000.0 * rng.uniform(0.9, 1.1, n)).astype(np.float32)
    case["g_k_nS"] = (3_600.0 * rng.uniform(0.9, 1.1, n)).astype(np.float32)
    case["current_pA"] = rng.uniform(0.0, 2_000.0, n).astype(np.float32)
    case["target_mV"] = rng.normal(-65.0, 5.0, (n_steps, n)).astype(np.float32)
    return case


def gradient(brainevent: str | None, rounds: int = 3) -> None:
    """The gradient of 1,000 steps of 4,000 LIF neurons by the weights of 320,000 edges.

    brainevent: a Python that has it, or None. Its fixed-degree format takes no other networks, so that there is a table
    for each kind of network.
    """
    if brainevent is None:
        print("brainevent: not measured; name a Python that has it.")
    for equal_degrees in (False, True):
        programs: dict[str, list[str]] = {}
        for method in ("native", "event"):
            for checkpoint in ("none", "sqrt"):
                label = f"connectofit, {method}" + (", checkpoints" if checkpoint == "sqrt" else "")
                programs[label] = [sys.executable, "rival_gradient_ours.py", "CASE", method, checkpoint, "2"]
        for form in ("csr", "fixed") if equal_degrees else ("csr",):
            for threads in ("1", "2") if brainevent else ():
                name = f"brainevent, {form}, {threads} thread(s)"
                programs[name] = [str(brainevent), "rival_brainevent.py", "CASE", form, threads]
        kind = "the same number of edges from each neuron" if equal_degrees else "edges at random"
        case = spiking_case(equal_degrees=equal_degrees)
        for lines in in_turns(case, programs, rounds).values():
            table(f"gradient of a spiking network, {kind}", lines, "brainevent")


def hodgkin_huxley(jaxley: str | None, rounds: int = 3) -> None:
    """1,000 Hodgkin-Huxley neurons for 2,000 steps of 0.025 ms: the simulation, and the gradient by two conductances.

    jaxley: a Python that has it, or None. Its scheme is of first order in dt, as "exponential_euler" here.
    """
    if jaxley is None:
        print("Jaxley: not measured; name a Python that has it.")
    programs: dict[str, list[str]] = {}
    for method in ("exponential_euler", "exponential_midpoint"):
        for checkpoint in ("none", "sqrt"):
            label = f"connectofit, {method}" + (", checkpoints" if checkpoint == "sqrt" else "")
            programs[label] = [sys.executable, "rival_hh_ours.py", "CASE", method, checkpoint, "2"]
    for checkpoint in ("none", "levels"):
        for threads in ("1", "2") if jaxley else ():
            label = f"Jaxley, {threads} thread(s)" + (", checkpoints" if checkpoint == "levels" else "")
            programs[label] = [str(jaxley), "rival_jaxley.py", "CASE", "vmap", checkpoint, threads]
    for k, lines in in_turns(squid_case(), programs, rounds).items():
        table(("Hodgkin-Huxley neurons, simulated", "Hodgkin-Huxley neurons, gradient")[k], lines, "Jaxley")


def in_turns(
    case: dict[str, Any], programs: dict[str, list[str]], rounds: int
) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """What the programs print, by number of line and by program, a list of rounds."""
    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "case.npz")
        np.savez(path, **case)
        for _ in range(rounds):
            for name, (python, script, _, *arguments) in programs.items():
                command = [python, str(HERE / script), path, *arguments]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
                lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
                for k, line in enumerate(lines):
                    found.setdefault(k, {}).setdefault(name, []).append(line)
    return found


def table(title: str, lines: dict[str, list[dict[str, Any]]], rival: str) -> None:
    """Print medians over all calls of all rounds, and their ratio to the rival's best median."""
    times = {name: [t for run in runs for t in run["seconds"]] for name, runs in lines.items()}
    best = min((median(t) for name, t in times.items() if name.startswith(rival)), default=float("nan"))
    last: Callable[[str], dict[str, Any]] = lambda name: lines[name][-1]  # noqa: E731
    rows: list[Sequence[object]] = [
        (
            name,
            median(t),
            min(t),
            max(t),
            median(t) / best,
            median(run["first"] for run in lines[name]),
            last(name)["temp_MB"],
            int(last(name)["spikes"]),
            f"{last(name)['loss']:.6g}",
            f"{last(name)['norm']:.6g}",
            f"{last(name)['median']:.6g}",
        )
        for name, t in times.items()
    ]
    print_table(title, HEADER, rows)
