"""Which optimiser suits which neuron model: ``python tests/benchmarks/cells_methods.py fit OUT.jsonl [MODEL ...]``.

Every model is fitted to the training sweeps of a rat cell (B6; the held-out sweep 183 is not read) and to a synthetic
cell, by every method for the same processor time of one thread, compiling excluded. One training sweep is set aside;
the loss on it is what is compared: the one that the fit would be chosen by. Each line of JSON is one search, and what
the file has already is not run again. ``table OUT.jsonl`` prints the comparison.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_path
from connectofit.fit import CellProblem, Recordings, Sweep, cell_model, cell_problem, read_recordings
from connectofit.fit.cells.models import TYPICAL
from connectofit.fit.cells.problem import cell_data
from connectofit.fit.cells.teacher_forced import draw_spikes
from connectofit.fit.optimisers import Budget, minimise, random_starts

MODELS = ("lif", "glif1", "glif3", "glif5", "gif", "adex", "izhikevich", "hh", "glif2", "glif4")
METHODS = ("lbfgs", "nudged", "differential_evolution", "population", "cma_es", "adam")
CELLS = ("B6", "synthetic")
SECONDS, STARTS, DT_MS = 5.0, 8, 0.5


def rat() -> tuple[Recordings, None]:
    """The training sweeps of B6, corrected as the recipe does."""
    recordings, _ = read_recordings(rat_cortex_path(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS)
    cell = recordings.cell("B6").advanced(1).corrected(bridge_MOhm=-18.0).resampled(DT_MS)
    return Recordings(tuple(s for s in cell if s.name != "183")), None


def synthetic() -> tuple[Recordings, tuple[np.ndarray, ...]]:
    """A GLIF3 with an escape rate of 1 mV under noise of 50 ms, 4 sweeps of 2 s, and 1 mV of noise on its voltage."""
    rng, n, sweeps = np.random.default_rng(6), round(2000 / DT_MS), 4
    decay = np.exp(-DT_MS / 50.0)
    x = np.zeros((n, sweeps))
    for k in range(1, n):
        x[k] = decay * x[k - 1] + np.sqrt(1 - decay**2) * rng.standard_normal(sweeps)
    current = 260.0 + 120.0 * x
    cell = cell_model("glif3", TYPICAL)
    empty = Recordings(tuple(Sweep(str(k), current[:, k], current[:, k], DT_MS, 0.0, n * DT_MS) for k in range(sweeps)))
    data = cell_data(empty, [np.zeros(0, int)] * sweeps, cell.fixed, mask_ms=None, initial="rest")
    p = cell.values(jnp.asarray(cell.start, jnp.float32))
    spikes, voltage = (np.asarray(a) for a in draw_spikes(cell, p, jnp.float32(1.0), data, DT_MS, jax.random.key(6)))
    noisy = np.concatenate([voltage[:1], voltage]) + rng.standard_normal((n, sweeps))
    made = Recordings(tuple(Sweep(str(k), current[:, k], noisy[:, k], DT_MS, 0.0, n * DT_MS) for k in range(sweeps)))
    return made, tuple(np.flatnonzero(spikes[:, k] > 0.5) + 1 for k in range(sweeps))


def problem(cell: str, model: str) -> CellProblem:
    """The fit of a model to a cell, with a sweep set aside."""
    recordings, onsets = rat() if cell == "B6" else synthetic()
    aside = "182" if cell == "B6" else "1"
    return cell_problem(recordings, model, onsets=onsets, validation=[aside])


def search(cell: str, model: str, given: CellProblem, method: str) -> dict[str, object]:
    """One line of the file."""
    starts = random_starts(given.objective.box, STARTS, 0, first=given.start)
    try:
        minimise(given.objective, method=method, starts=starts, budget=Budget(evaluations=3 * STARTS))  # compiles
        began = time.process_time()
        budget = Budget(wall_s=SECONDS)
        found = minimise(given.objective, method=method, starts=starts, budget=budget, clock=time.process_time)
    except ArithmeticError as why:
        return {"cell": cell, "model": model, "method": method, "why": str(why)}
    told = {"loss": found.loss, "validation": found.check, "seconds": time.process_time() - began}
    told |= {"stopped": found.stopped, "simulated_s": found.simulated_s, "evaluations": found.evaluations}
    return {"cell": cell, "model": model, "method": method, **told}


def table(path: str) -> str:
    """The validation loss of every model by every method, less the best one's, as Markdown."""
    rows = pd.DataFrame([json.loads(line) for line in Path(path).read_text().splitlines()])
    wide = rows.pivot_table(index=["cell", "model"], columns="method", values="validation", dropna=False, sort=False)
    wide = wide.dropna(how="all")[[m for m in METHODS if m in wide]]
    lines = [f"| cell | model | best | {' | '.join(wide.columns)} |", "|---" * (3 + len(wide.columns)) + "|"]
    for (cell, model), row in wide.iterrows():
        best = row.min()
        shown = " | ".join("-" if np.isnan(v) else f"{v - best:.3g}" for v in row)
        lines.append(f"| {cell} | {model} | {best:.5g} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """`fit PATH [MODEL ...]` or `table PATH`."""
    if sys.argv[1] == "table":
        print(table(sys.argv[2]))
        return
    path = Path(sys.argv[2])
    held = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["cell"], row["model"], row["method"]) for row in held}
    with path.open("a") as file:
        for model in sys.argv[3:] or MODELS:
            for cell in CELLS:
                given = problem(cell, model)
                for method in METHODS:
                    if (cell, model, method) in done or (method == "nudged" and given.objective.nudged is None):
                        continue
                    file.write(json.dumps(search(cell, model, given, method)) + "\n")
                    file.flush()


if __name__ == "__main__":
    main()
