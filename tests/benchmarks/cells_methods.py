"""Which method for which model and loss: ``python tests/benchmarks/cells_methods.py run RESULTS.jsonl [MODEL ...]``,
and ``... table RESULTS.jsonl``.

Every method fits every model to the two cells that ship with the package (the held-out sweep of each under seal), with
seeds 0 and 1, in 10 s of processor time of one process each (Hodgkin-Huxley 40 s), compilation not counted: a search of
another seed has gone before. The table has the training loss that each found, less the lowest that any found for that
cell and model: the mean over cells and seeds, and the worst. Held-out sweeps play no part.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from connectofit.connectome.errors import DivergedError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_path
from connectofit.fit import cell_problem, read_recordings, split
from connectofit.fit.cells.problem import CellProblem
from connectofit.fit.optimisers import OPTIMISERS, Budget, minimise, random_starts

CELLS = {"B6": (-18.0, "183"), "B8": (-15.0, "147")}  # bridge, held-out sweep
LIKELIHOODS = ("lif", "glif1", "glif2", "glif3", "glif4", "glif5", "gif", "adex", "izhikevich")
VOLTAGES = ("adex", "hh")
METHODS = ("lbfgs", "lbfgsb", "adam", "nudged", "horizon", "population", "cma", "differential_evolution")
FEW = {"hh": ("lbfgs", "nudged", "population", "differential_evolution")}  # whose simulations are slow
SEEDS, STARTS, SECONDS = (0, 1), 8, {"hh": 40.0}


def problem(cell: str, model: str, loss: str) -> CellProblem:
    """The training sweeps of a cell."""
    recordings, _ = read_recordings(rat_cortex_path(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS)
    bridge, held = CELLS[cell]
    own = recordings.cell(cell).advanced(1).corrected(bridge_MOhm=bridge)
    return cell_problem(split(own, [held]).training, model, loss)


def run(path: str, models: list[str]) -> None:
    """Fit what the file does not have yet."""
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    known = {(t["model"], t["loss"], t["method"]) for t in map(json.loads, lines)}
    cases = [(m, "likelihood") for m in LIKELIHOODS] + [(m, "voltage") for m in VOLTAGES]
    for model, loss in cases:
        if models and f"{model}/{loss}" not in models:
            continue
        problems = {cell: problem(cell, model, loss) for cell in CELLS}
        for method in FEW.get(model, METHODS):
            objective = problems["B6"].objective
            if method == "horizon" and loss == "likelihood":  # under recorded spikes nothing hides what comes later
                continue
            if (model, loss, method) in known or any(getattr(objective, n) is None for n in OPTIMISERS[method].needs):
                continue
            seconds = SECONDS.get(model, 10.0)
            searched(problems["B6"], method, 10_000, 0.5 * seconds)  # compiles
            rows = [
                {"model": model, "loss": loss, "method": method, "cell": cell, "seed": seed}
                | searched(each, method, seed, seconds)
                for cell, each in problems.items()
                for seed in SEEDS
            ]
            with open(path, "a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            told = ", ".join(f"{row['found']:.5g}" for row in rows)
            print(f"{model} {loss} {method}: {told}", flush=True)


def searched(given: CellProblem, method: str, seed: int, seconds: float) -> dict[str, object]:
    """The lowest loss that a search finds, and what it took."""
    places = random_starts(given.objective.box, STARTS, seed, first=given.start)
    began = time.process_time()
    try:
        found = minimise(
            given.objective,
            method=method,
            starts=places,
            budget=Budget(wall_s=seconds),
            seed=seed,
            clock=time.process_time,
        )
    except DivergedError:
        return {"found": float("inf"), "seconds": time.process_time() - began, "stopped": "diverged"}
    return {"found": found.loss, "seconds": found.wall_s, "stopped": found.stopped, "simulated_s": found.simulated_s}


def table(path: str) -> str:
    """The comparison as Markdown."""
    rows = pd.DataFrame([json.loads(line) for line in Path(path).read_text().splitlines()])
    rows = rows.drop_duplicates(["model", "loss", "method", "cell", "seed"], keep="last")
    keys = ["model", "loss", "cell"]
    rows = rows[rows["method"].isin(METHODS) & ~((rows["method"] == "horizon") & (rows["loss"] == "likelihood"))]
    rows["above"] = rows["found"] - rows.groupby(keys)["found"].transform("min")
    methods = [m for m in METHODS if m in set(rows["method"])]
    lines = ["| model | loss | " + " | ".join(methods) + " |", "|---|---|" + "---:|" * len(methods)]
    for (model, loss), part in rows.groupby(["model", "loss"], sort=False):
        cells = []
        for method in methods:
            own = part.loc[part["method"] == method, "above"].to_numpy()
            cells.append(f"{np.mean(own):.3g} ({np.max(own):.3g})" if len(own) else "")
        lines.append(f"| {model} | {loss} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1] == "table":
        print(table(sys.argv[2]))
    else:
        run(sys.argv[2], sys.argv[3:])
