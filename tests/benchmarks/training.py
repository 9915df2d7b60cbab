"""Training gradients side by side: ``python tests/benchmarks/training.py [batch|large] [--brainevent PYTHON]``.

`batch`: 64 trials of 2,200 steps of evidence accumulation through a `task_network` of 400 neurons and 16,000 recurrent
edges, all inputs on all neurons, on the compiled block and in JAX, in turns in one process. `large`: 16 trials of 4,000
LIF neurons with 320,000 edges, beside brainevent; every run is a process of its own, on two cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import click
import jax
import numpy as np
from gradients import in_turns, spiking_case, table
from measure import print_table

from connectofit.builders.task_network import task_network
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.fit.tasks import EvidenceAccumulation
from connectofit.fit.train import BPTT, Penalties, Trainable, new_readout
from connectofit.fit.train.rules import Problem


def batch(rounds: int, n_trials: int = 64) -> None:
    """The table of `batch`: seconds of a gradient and processor seconds of it, of the block and of JAX in turns."""
    task = EvidenceAccumulation()
    net = task_network(erdos_renyi(400, edges=16_000, seed=0), task.input_types, seed=0)
    readout = new_readout(net, task.n_outputs, jax.random.key(0), populations=("E", "I"))
    problem = Problem(net, readout, Trainable(), Penalties(), task.dt_ms, False)
    values = problem.trainable.initial(net, readout)
    key = jax.random.key(1)
    trials = jax.jit(lambda k: task.trials(k, n_trials))(key)
    runs: dict[str, Any] = {}
    compiling: dict[str, float] = {}
    for block in ("compiled", "jax"):
        start = time.perf_counter()
        rule = BPTT(block=block)
        runs[block] = (
            jax.jit(lambda v, t, rule=rule: rule.gradient(problem, v, t, key, key)).lower(values, trials).compile()
        )
        compiling[block] = time.perf_counter() - start
    seconds: dict[str, list[tuple[float, float]]] = {block: [] for block in runs}
    for _ in range(rounds):
        for block, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(run(values, trials))
            seconds[block].append((time.perf_counter() - wall, time.process_time() - processor))
    rows = []
    for block, taken in seconds.items():
        wall, processor = ([t[k] for t in taken] for k in (0, 1))
        memory = runs[block].memory_analysis().temp_size_in_bytes / 1e6
        rows.append((block, median(wall), min(wall), max(wall), median(processor), compiling[block], memory))
    header = ["block", "s", "least", "most", "processor s", "compiling s", "temporary MB"]
    print_table(f"{n_trials} trials of {task.n_steps} steps through 400 neurons", header, rows)


def training_case(n_trials: int = 16, n_steps: int = 200, n_in: int = 100) -> dict[str, Any]:
    """The network of `gradients.spiking_case` for a batch of trials of input spikes on all neurons."""
    case = spiking_case(equal_degrees=False, n_steps=1)
    rng = np.random.default_rng(1)
    case["n_in"] = n_in
    case["inputs"] = (rng.random((n_trials, n_steps, n_in)) < 0.04).astype(np.float32)
    case["weight_in"] = rng.normal(18.0, 9.0, (n_in, case["n"])).astype(np.float32)
    case["target"] = rng.normal(20.0, 5.0, case["n"]).astype(np.float32)
    return case


def large(brainevent: str | None, rounds: int) -> None:
    """The table of `large`."""
    programs = {
        f"connectofit, {block}": [sys.executable, "rival_training_ours.py", "CASE", block, "2"]
        for block in ("compiled", "jax")
    }
    for how in ("vmap", "loop") if brainevent else ():
        programs[f"brainevent, {how}"] = [str(brainevent), "rival_training_brainevent.py", "CASE", how, "2"]
    for lines in in_turns(training_case(), programs, rounds).values():
        table("gradient of 16 trials of 200 steps, 4,000 neurons, 320,000 edges", lines, "brainevent")


@click.command()
@click.argument("case", type=click.Choice(["batch", "large"]))
@click.option("--brainevent", help="A Python that has brainevent.")
@click.option("--rounds", default=3, show_default=True)
def main(case: str, brainevent: str | None, rounds: int) -> None:
    """Training gradients, beside brainevent where a Python with it is named."""
    batch(rounds) if case == "batch" else large(brainevent, rounds)


if __name__ == "__main__":
    main()
