"""Training gradients side by side: ``python tests/benchmarks/training.py CASE [--brainevent PYTHON]``.

`batch`: 64 trials of 2,200 steps of evidence accumulation through a `task_network` of 400 neurons and 16,000 recurrent
edges, all inputs on all neurons, on the compiled block and in JAX, in turns in one process. `large`: 16 trials of 4,000
LIF neurons with 320,000 edges, beside brainevent; every run is a process of its own, on two cores. `rules`: a gradient
of 128 trials of the network of `batch`, by backpropagation through time with and without segments that are computed
twice, and by online rules, against the length of trials, beside BrainPy. `largest`: a step of training of 100,000
neurons and five million edges by an online rule.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import click
import jax
import matplotlib.pyplot as plt
import numpy as np
from gradients import in_turns, spiking_case, table
from measure import print_table

from connectofit.builders.task_network import task_network
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.fit.tasks import EvidenceAccumulation, TaskTrials
from connectofit.fit.train import (
    BPTT,
    DRTRL,
    ESDRTRL,
    EProp,
    Penalties,
    Readout,
    Rule,
    Trainable,
    TrainSchedule,
    new_readout,
    train_task,
)
from connectofit.fit.train.rules import Problem
from connectofit.sim import Network


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


BRAINPY = {"bptt": "BrainPy, backpropagation", "es_d_rtrl": "BrainPy, ES-D-RTRL", "d_rtrl": "BrainPy, D-RTRL"}
MOST_STEPS = {"e-prop": 500, "D-RTRL": 500, "bptt": 1_000, "es_d_rtrl": 500, "d_rtrl": 250}
"""Steps of a trial up to which a rule is timed, whose time grows in proportion to them and is minutes here."""


LONG_S = 20.0  # what takes longer is run once: the first call is hardly slower than the second


def rules(lengths_ms: tuple[int, ...], brainpy: str | None, plot: Path | None, n_trials: int = 128) -> None:
    """The table of `rules`: seconds and temporary memory of a gradient, by the length of trials."""
    seconds: dict[tuple[str, int], float] = {}
    memory: dict[tuple[str, int], float] = {}
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
            memory[name, length] = run.memory_analysis().temp_size_in_bytes / 1e6
            if length > MOST_STEPS.get(name, length):
                continue
            for _ in range(2):
                start = time.perf_counter()
                found = jax.block_until_ready(run(values, trials, key))
                seconds[name, length] = time.perf_counter() - start
                if seconds[name, length] > LONG_S:
                    break
            _say(name, length, seconds, memory, float(found.loss))
        for method, name in BRAINPY.items() if brainpy else ():
            if length > MOST_STEPS[method]:
                continue
            line = _brainpy(str(brainpy), method, brainpy_case(net, readout, trials))
            seconds[name, length], memory[name, length] = line["seconds"], line["temp_MB"]
            _say(name, length, seconds, memory, line["loss"])
    names = list(dict.fromkeys(name for name, _ in memory))
    for what, of in (("s", seconds), ("temporary MB", memory)):
        rows = [(name, *(of.get((name, length), "") for length in lengths_ms)) for name in names]
        header = ["rule", *(f"{length} ms" for length in lengths_ms)]
        print_table(f"gradient of {n_trials} trials, 400 neurons: {what}", header, rows)
    if plot is not None:
        _plot(plot, lengths_ms, names, seconds, memory)


def _say(name: str, length: int, seconds: dict[Any, float], memory: dict[Any, float], loss: float) -> None:
    found = f"{seconds[name, length]:.2f} s, {memory[name, length]:.0f} MB, loss {loss:.4f}"
    print(f"{name}, {length} ms: {found}", flush=True)


def brainpy_case(net: Network, readout: Readout, trials: TaskTrials) -> dict[str, Any]:
    """The same network, readout and trials in arrays, E before I."""
    n_e, n = net.population("E").size, net.population("E").size + net.population("I").size
    first = {"E": 0, "I": n_e, "input": 0}
    size = {"input": net.population("input").size, "E": n_e, "I": n - n_e}
    full = {name: np.zeros((size[name], n), np.float32) for name in size}
    for p in net.projections:
        pre = np.repeat(np.arange(size[p.pre]), np.diff(np.asarray(p.indptr)))
        weight = np.asarray(p.weight(jax.numpy.asarray(net.params[p.name]["log_gain"])))
        full[p.pre][pre, first[p.post] + np.asarray(p.post_index)] = weight
    params = {name: net.params[name] for name in ("E", "I")}
    return {
        "input": full["input"],
        "excitatory": full["E"],
        "inhibitory": full["I"],
        "tau_current": np.concatenate([1.0 / params[k]["k_2_per_ms"] for k in ("E", "I")]).astype(np.float32),
        "tau_m": params["E"]["tau_m_ms"][0],
        "tau_syn": net.params["E_E"]["tau_syn_ms"][0],
        "bias": params["E"]["i_bias_pA"][0],
        "step": params["E"]["a_2_pA"][0],
        "readout": np.asarray(readout.weights) / readout.tau_ms,
        "tau_out": readout.tau_ms,
        "inputs": np.asarray(trials.inputs, np.float32).swapaxes(0, 1),
        "answers": np.asarray(trials.labels),
        "answer_steps": 100,
    }


def _brainpy(python: str, method: str, case: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "case.npz")
        np.savez(path, **case)
        command = [python, str(Path(__file__).parent / "rival_training_brainpy.py"), path, method]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def _plot(path: Path, lengths: Sequence[int], names: Sequence[str], *tables: dict[Any, float]) -> None:
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, found, label in zip(axes, tables, ("seconds of a gradient", "temporary memory (MB)"), strict=True):
        for name in names:
            at = [length for length in lengths if (name, length) in found]
            style = "--" if name in BRAINPY.values() else "-"
            ax.loglog(at, [found[name, length] for length in at], style, marker="o", markersize=4, label=name)
        ax.set(xlabel="length of a trial (ms)", ylabel=label)
        ax.set_xticks(lengths, [str(length) for length in lengths], minor=False)
        ax.minorticks_off()
    axes[1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    fig.savefig(path, dpi=150)


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
@click.option("--brainpy", help="A Python that has brainpy, brainstate and braintrace; for `rules`.")
@click.option("--plot", type=click.Path(path_type=Path), help="Where `rules` draws its table.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--lengths", default="250,500,1000,2000,4000", show_default=True, help="Trials of `rules`, in ms.")
def main(case: str, brainevent: str | None, brainpy: str | None, plot: Path | None, rounds: int, lengths: str) -> None:
    """Training gradients, beside brainevent where a Python with it is named."""
    if case == "batch":
        batch(rounds)
    elif case == "rules":
        rules(tuple(int(length) for length in lengths.split(",")), brainpy, plot)
    elif case == "largest":
        largest()
    else:
        large(brainevent, rounds)


if __name__ == "__main__":
    main()
