"""What a gradient of a cell's likelihood costs: ``python tests/benchmarks/cells_gradient.py [SECONDS]``; and a whole
search, 64 starts by 300 steps of Adam on 5 sweeps of 3 s: ``python tests/benchmarks/cells_gradient.py search``.

The negative log likelihood of spikes and voltage of 5 sweeps at 0.1 ms, by all free parameters of a model, for 8 and 64
starts at once: forward mode, reverse mode mapped over the starts, and reverse mode with the starts side by side
(`Objective.together`, what searches with many starts use). Processor time of one thread, the least of three rounds in
turn, as a multiple of the losses alone of as many starts.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np

from connectofit.fit import ForcedLikelihood, Recordings, Sweep, cell_problem
from connectofit.fit.optimisers import Adam, minimise

DT_MS, SWEEPS = 0.1, 5


def recordings(seconds: float) -> tuple[Recordings, list[np.ndarray]]:
    """Sweeps that any model can be laid over, and their spikes: what they mean does not matter for the time."""
    rng, n = np.random.default_rng(0), round(1e3 * seconds / DT_MS)
    current = 200.0 + 100.0 * np.repeat(rng.normal(size=(n // 20, SWEEPS)), 20, axis=0)
    voltage = -65.0 + rng.normal(size=(n, SWEEPS)) + 0.02 * current
    spikes = [np.arange(500 + 37 * k, n - 10, 900) for k in range(SWEEPS)]
    sweeps = (Sweep(str(k), current[:, k], voltage[:, k], DT_MS, 0.0, n * DT_MS) for k in range(SWEEPS))
    return Recordings(tuple(sweeps)), spikes


def cost(model: str, n_starts: int, seconds: float) -> None:
    """Print one row of the table."""
    given, spikes = recordings(seconds)
    problem = cell_problem(given, model, ForcedLikelihood(), onsets=spikes, initial="rest")
    objective = problem.objective
    box, together = objective.box, objective.together
    assert together is not None
    z = jnp.asarray(box.from_physical(problem.start), jnp.float32)
    z = z + 0.3 * jax.random.normal(jax.random.key(0), (n_starts, box.size))

    def loss(z, data):
        return objective.loss(box.to_physical(z), data)

    ways = {
        "losses": jax.vmap(loss, in_axes=(0, None)),
        "forward mode": jax.vmap(jax.jacfwd(loss), in_axes=(0, None)),
        "reverse mode, mapped": jax.vmap(jax.grad(loss), in_axes=(0, None)),
        "reverse mode, side by side": jax.grad(lambda z, data: together(box.to_physical(z), data).sum()),
    }
    programs, compiling = {}, {}
    for name, way in ways.items():
        began = time.perf_counter()
        programs[name] = jax.jit(way).lower(z, objective.data).compile()
        compiling[name] = time.perf_counter() - began
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(3):
        for name, program in programs.items():
            began = time.process_time()
            jax.block_until_ready(program(z, objective.data))
            taken[name].append(time.process_time() - began)
    base = min(taken["losses"])
    shown = ", ".join(
        f"{name} {min(t) / base:.1f} (to {max(t) / base:.1f}; compiled in {compiling[name]:.1f} s)"
        for name, t in taken.items()
        if name != "losses"
    )
    print(f"{model}, {box.size} parameters, {n_starts} starts: losses {base:.3f} s; {shown}", flush=True)


def search(model: str) -> None:
    """Print what 64 starts by 300 steps take."""
    given, spikes = recordings(3.0)
    problem = cell_problem(given, model, ForcedLikelihood(), onsets=spikes, initial="rest")
    began, used = time.perf_counter(), time.process_time()
    found = minimise(problem.objective, method=Adam(steps=300, prune_at=()), starts=64, seed=0)
    wall, used = time.perf_counter() - began, time.process_time() - used
    steps = found.course.groupby("start")["step"].max()
    print(f"{model}: 64 starts, {steps.min()} to {steps.max()} steps: {wall:.0f} s ({used:.0f} s of processor time)")


if __name__ == "__main__":
    if sys.argv[1:] == ["search"]:
        for model in ("lif", "glif3"):
            search(model)
        sys.exit()
    for model in ("lif", "glif3", "glif5"):
        for n_starts in (8, 64):
            cost(model, n_starts, float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
