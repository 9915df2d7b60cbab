"""Time and memory of one batch of training: a task network of 400 neurons, any learning rule, any length of trial.

    python tests/benchmarks/training.py --rule bptt --steps 2200 --batch 64 --repeats 3

prints one line of JSON: seconds for each repeat after the first (which compiles), the bytes that XLA asks for beside
arguments and results, and the largest resident set of the process. Without --steps the trial is the task's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import replace

import jax
import jax.numpy as jnp

from connectofit.builders.task_network import task_network
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.fit.tasks import EvidenceAccumulation
from connectofit.fit.train import Penalties, Trainable, new_readout
from connectofit.fit.train.rules import Problem
from connectofit.fit.train.train import RULES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rule", choices=sorted(RULES), default="bptt")
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()

    task = EvidenceAccumulation()
    net = task_network(erdos_renyi(given.neurons, seed=0, probability=0.1), task.input_types, seed=0)
    readout = new_readout(net, task.n_outputs, jax.random.key(0))
    problem = Problem(net, readout, Trainable(), Penalties(), task.dt_ms, False)
    values = problem.trainable.initial(net, readout)
    key = jax.random.key(1)
    trials = task.trials(key, given.batch)
    steps = given.steps or task.n_steps
    inputs = jnp.tile(trials.inputs, (1, -(-steps // task.n_steps), 1))[:, :steps]
    mask = jnp.broadcast_to((jnp.arange(steps) >= steps - 150).astype(inputs.dtype), (given.batch, steps))
    trials = replace(trials, inputs=inputs, mask=mask)

    rule = RULES[given.rule]()
    compiled = jax.jit(lambda p, v, t: rule.gradient(p, v, t, key, key)).lower(problem, values, trials).compile()
    jax.block_until_ready(compiled(problem, values, trials))
    seconds = []
    for _ in range(given.repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(problem, values, trials))
        seconds.append(round(time.perf_counter() - start, 3))
    report = {
        "rule": given.rule,
        "neurons": given.neurons,
        "edges": net.n_edges,
        "steps": steps,
        "batch": given.batch,
        "seconds": seconds,
        "temporary_MB": round(compiled.memory_analysis().temp_size_in_bytes / 1e6, 1),
        "resident_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
