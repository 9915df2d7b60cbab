"""Training gradients side by side: ``python tests/benchmarks/training.py CASE [--brainevent PYTHON]``.

`batch`: 64 trials of 2,200 steps of evidence accumulation through a `task_network` of 400 neurons and 16,000 recurrent
edges, all inputs on all neurons, on the compiled block and in JAX, in turns in one process. `large`: 16 trials of 4,000
LIF neurons with 320,000 edges, beside brainevent; every run is a process of its own, on two cores. `rules`: a gradient
of 128 trials of the network of `batch`, by backpropagation through time with and without segments that are computed
twice, and by online rules, against the length of trials. `largest`: a step of training of 100,000 neurons and five
million edges by an online rule.
"""

from __future__ import annotations

import resource
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
from connectofit.fit.train import (
    BPTT,
    DRTRL,
    ESDRTRL,
    EProp,
    Penalties,
    Rule,
    Trainable,
    TrainSchedule,
    new_readout,
    train_task,
)
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


RULES: dict[str, Rule] = {
    "backpropagation, all kept": BPTT(checkpoint=None),
    "backpropagation, in segments": BPTT(),
    "ES-D-RTRL": ESDRTRL(),
    "e-prop": EProp(),
    "D-RTRL": DRTRL(),
}


def rules(lengths_ms: tuple[int, ...], n_trials: int = 128) -> None:
    """The table of `rules`: seconds and temporary memory of a gradient, by the length of trials."""
    seconds, memory = {}, {}
    for length in lengths_ms:
        task = EvidenceAccumulation(n_cues=1, delay_ms=length - 250.0, recall_ms=100.0)
        assert task.n_steps == length
        net = task_network(erdos_renyi(400, edges=16_000, seed=0), task.input_types, seed=0)
        readout = new_readout(net, task.n_outputs, jax.random.key(0), populations=("E", "I"))
        problem = Problem(net, readout, Trainable(), Penalties(), task.dt_ms, False)
        values, key = problem.trainable.initial(net, readout), jax.random.key(1)
        trials = jax.jit(lambda k, task=task: task.trials(k, n_trials))(key)
        for name, rule in RULES.items():
            run = jax.jit(lambda v, t, k, rule=rule, problem=problem: rule.gradient(problem, v, t, k, k))
            run = run.lower(values, trials, key).compile()
            jax.block_until_ready(run(values, trials, key))
            start = time.perf_counter()
            jax.block_until_ready(run(values, trials, key))
            seconds[name, length] = time.perf_counter() - start
            memory[name, length] = run.memory_analysis().temp_size_in_bytes / 1e6
            print(f"{name}, {length} ms: {seconds[name, length]:.2f} s, {memory[name, length]:.0f} MB", flush=True)
    for what, found in (("s", seconds), ("temporary MB", memory)):
        rows = [(name, *(found[name, length] for length in lengths_ms)) for name in RULES]
        header = ["rule", *(f"{length} ms" for length in lengths_ms)]
        print_table(f"gradient of {n_trials} trials, 400 neurons: {what}", header, rows)


def largest(n_neurons: int = 100_000, n_edges: int = 5_000_000, n_trials: int = 4) -> None:
    """The table of `largest`: seconds of steps of ES-D-RTRL with all weights free, and the most memory in use."""
    task = EvidenceAccumulation(n_cues=1, delay_ms=0.0, recall_ms=100.0)
    start = time.perf_counter()
    net = task_network(erdos_renyi(n_neurons, edges=n_edges, seed=0), task.input_types, seed=0, input_probability=0.01)
    built = time.perf_counter() - start
    taken = []
    schedule = TrainSchedule(steps=4, batch=n_trials, validation=0, interval=1)
    train_task(net, task, rule="es_d_rtrl", schedule=schedule, progress=lambda _: taken.append(time.perf_counter()))
    edges = sum(p.n_edges for p in net.projections)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    row = [(f"{n_neurons:,}", f"{edges:,}", n_trials, task.n_steps, built, *np.diff(taken), most)]
    print_table(
        "training by ES-D-RTRL",
        ["neurons", "edges", "trials", "steps of a trial", "building s", *["a step s"] * 3, "most memory GB"],
        row,
    )


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
@click.argument("case", type=click.Choice(["batch", "large", "rules", "largest"]))
@click.option("--brainevent", help="A Python that has brainevent.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--lengths", default="250,500,1000,2000,4000", show_default=True, help="Trials of `rules`, in ms.")
def main(case: str, brainevent: str | None, rounds: int, lengths: str) -> None:
    """Training gradients, beside brainevent where a Python with it is named."""
    if case == "batch":
        batch(rounds)
    elif case == "rules":
        rules(tuple(int(length) for length in lengths.split(",")))
    elif case == "largest":
        largest()
    else:
        large(brainevent, rounds)


if __name__ == "__main__":
    main()
