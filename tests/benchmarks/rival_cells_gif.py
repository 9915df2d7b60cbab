"""Rivals on the problem of `cells_gif`: ``OTHER_PYTHON rival_cells_gif.py RIVALS.jsonl [METHOD ...]``.

SciPy's differential evolution; nevergrad's particle swarm and CMA-ES; Bayesian optimisation by optuna (tree-structured
Parzen estimators) and by scikit-optimize (Gaussian processes). Each asks for the candidates that its own kind of
generation has, at most 20 at once, and these are simulated together: nobody waits for single simulations. Each runs
until both budgets are spent, simulated seconds and time; Bayesian optimisation, whose own computations take longer
than the simulations, until the larger time is spent and at least the second budget of simulated seconds. Gaussian
processes take minutes for 100 simulations: they get one cell of each seed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from cells_gif import BOX, BUDGETS_S, CELLS, SIMULATED_S, TIMES_S, Case, case, courses, loss, scored

import jax  # isort: skip
import jax.numpy as jnp  # isort: skip
import numpy as np  # isort: skip

LOW, HIGH = BOX.low, BOX.high
losses = jax.jit(jax.vmap(loss, in_axes=(0, None)))


class Spent(Exception):
    """The budget is spent."""


class Asked:
    """Losses of batches of shares of the ranges, counted, and the incumbents."""

    def __init__(self, given: Case, simulated_s: float, seconds: float) -> None:
        self.data, self.limits = given.training, (simulated_s, seconds)
        self.simulated_s, self.began, self.rows = 0.0, time.process_time(), list[list[Any]]()

    def __call__(self, shares: np.ndarray) -> np.ndarray:
        x = LOW + (HIGH - LOW) * np.clip(shares, 0.0, 1.0)
        found = np.asarray(losses(jnp.asarray(x, jnp.float32), self.data), np.float64)
        self.simulated_s += SIMULATED_S * len(x)
        seconds = time.process_time() - self.began
        best = int(np.argmin(found))
        if not self.rows or found[best] < self.rows[-1][2]:
            self.rows.append([self.simulated_s, seconds, float(found[best]), x[best].tolist()])
        if self.simulated_s >= self.limits[0] and seconds >= self.limits[1]:
            raise Spent
        return found


def differential_evolution(asked: Asked, seed: int) -> None:
    """SciPy's defaults, with the whole population at once; begun anew when it has converged."""
    from scipy.optimize import differential_evolution as evolve

    for again in range(1000):
        evolve(lambda s: asked(s.T), [(0, 1)] * 4, vectorized=True, updating="deferred", polish=False, popsize=15,
               tol=1e-8, maxiter=10_000, seed=1000 * again + seed)  # fmt: skip


def _nevergrad(name: str, workers: int) -> Callable[[Asked, int], None]:
    def run(asked: Asked, seed: int) -> None:
        import nevergrad

        space = nevergrad.p.Array(shape=(4,), lower=0.0, upper=1.0)
        space.random_state.seed(seed)
        budget = int(4 * max(BUDGETS_S) / SIMULATED_S)
        optimiser = nevergrad.optimizers.registry[name](space, budget=budget, num_workers=workers)
        while True:
            candidates = [optimiser.ask() for _ in range(workers)]
            for candidate, found in zip(candidates, asked(np.array([c.value for c in candidates])), strict=True):
                optimiser.tell(candidate, float(found))

    return run


def optuna_tpe(asked: Asked, seed: int) -> None:
    """Tree-structured Parzen estimators, 10 candidates at once."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True))
    while True:
        trials = [study.ask() for _ in range(10)]
        shares = np.array([[t.suggest_float(name, 0.0, 1.0) for name in BOX.names] for t in trials])
        for trial, found in zip(trials, asked(shares), strict=True):
            study.tell(trial, float(found))


def skopt_gp(asked: Asked, seed: int) -> None:
    """Gaussian processes, 4 candidates at once by the constant liar; 20 random ones at first."""
    import skopt

    optimiser = skopt.Optimizer([(0.0, 1.0)] * 4, "GP", n_initial_points=20, random_state=seed)
    while True:
        shares = optimiser.ask(n_points=4)
        optimiser.tell(shares, asked(np.array(shares)).tolist())


METHODS: dict[str, tuple[Callable[[Asked, int], None], int, float, float]] = {
    # how, size of its batches, least simulated seconds, least seconds
    "differential evolution": (differential_evolution, 60, max(BUDGETS_S), max(TIMES_S)),
    "PSO": (_nevergrad("PSO", 20), 20, max(BUDGETS_S), max(TIMES_S)),
    "CMA-ES": (_nevergrad("CMA", 8), 8, max(BUDGETS_S), max(TIMES_S)),
    "TPE": (optuna_tpe, 10, BUDGETS_S[1], max(TIMES_S)),
    "GP": (skopt_gp, 4, BUDGETS_S[0], TIMES_S[1]),
}


def main() -> None:
    """Run the rivals, appending a line of JSON each."""
    warnings.simplefilter("ignore")
    names = sys.argv[2:] or list(METHODS)
    with open(sys.argv[1], "a") as file:
        for name in names:
            how, batch, simulated_s, seconds = METHODS[name]
            losses(jnp.zeros((batch, 4), jnp.float32), case("tonic", 10_000).training)  # compiles
            for cell, seed in courses(sys.argv[1], name):
                if name == "GP" and list(CELLS).index(cell) != seed % len(CELLS):
                    continue
                given = case(cell, seed)
                asked = Asked(given, simulated_s, seconds)
                with contextlib.suppress(Spent):
                    how(asked, seed)
                spent = {"simulated_s": asked.simulated_s, "seconds": time.process_time() - asked.began}
                line = {"cell": cell, "seed": seed, "method": name, **spent}
                scores = [s for s in scored(given, asked.rows) if s["limit"] <= spent[str(s["budget"])] + 1e-6]
                file.write(json.dumps({**line, "scores": scores}) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
