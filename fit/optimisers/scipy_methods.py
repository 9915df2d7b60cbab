"""SciPy's optimisers on the same evaluations: differential evolution, L-BFGS-B and Nelder-Mead.

They search shares of the ranges, from 0 to 1 (`Box.share`). Differential evolution asks for whole generations, which
are simulated together; the other two take one start after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from scipy.optimize import OptimizeResult, differential_evolution, minimize

from connectofit.fit.optimisers.evaluation import Evaluator
from connectofit.fit.optimisers.objective import EDGE, Box
from connectofit.fit.optimisers.search import Optimiser, Outcome

HUGE = 1e300  # stands for infinity, which SciPy subtracts from itself


@dataclass(frozen=True)
class DifferentialEvolution(Optimiser):
    """Storn & Price 1997 (J Glob Optim 11:341) as SciPy has it, begun with the starts (at least 5) as the population.

    population: members for each parameter, drawn beside the starts where these are fewer; None: the starts alone. The
    others are SciPy's settings of the same names.
    """

    population: int | None = None
    generations: int = 1000
    strategy: str = "best1bin"
    mutation: tuple[float, float] = (0.5, 1.0)
    recombination: float = 0.7
    tolerance: float = 1e-8
    kind: ClassVar[str] = "differential_evolution"

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        k, rng = z.shape[1], np.random.default_rng(seed)
        members = max(5, len(z), 0 if self.population is None else self.population * k)
        first = np.concatenate([_share(z), rng.random((members - len(z), k))])
        generation = [0]

        def losses(shares: np.ndarray) -> np.ndarray:  # [k, member]
            return np.minimum(ev.losses(Box.from_share(shares.T)), HUGE)

        def after(intermediate_result: OptimizeResult) -> bool:
            generation[0] += 1
            ev.record("differential_evolution", generation[0], np.zeros(1, np.int64), np.array([ev.best_loss]))
            return ev.spent

        found = differential_evolution(
            losses,
            [(0.0, 1.0)] * k,
            strategy=self.strategy,
            maxiter=self.generations,
            mutation=self.mutation,
            recombination=self.recombination,
            tol=self.tolerance,
            atol=0.0,
            init=first,
            polish=False,
            updating="deferred",
            vectorized=True,
            callback=after,
            seed=seed,
        )
        why = "budget" if ev.spent else "converged" if found.success else "steps"
        return _outcome([Box.from_share(found.x)], [float(found.fun)], [why])


@dataclass(frozen=True)
class LBFGSB(Optimiser):
    """L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995, SIAM J Sci Comput 16:1190), one start after another."""

    steps: int = 200
    tolerance: float = 1e-9
    kind: ClassVar[str] = "lbfgsb"

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        def fun(share: np.ndarray) -> tuple[float, np.ndarray]:
            f, g = ev.gradients(Box.from_share(share)[None])
            inside = np.clip(share, EDGE, 1.0 - EDGE)
            return float(f[0]), g[0] / (inside * (1.0 - inside))

        options = {"maxiter": self.steps, "ftol": self.tolerance, "gtol": 0.0}
        return _each(ev, z, "lbfgsb", fun, {"method": "L-BFGS-B", "jac": True, "options": options})


@dataclass(frozen=True)
class NelderMead(Optimiser):
    """The simplex of Nelder & Mead 1965 (Comput J 7:308), one start after another; `size` of it in shares."""

    steps: int = 2000
    size: float = 0.1
    tolerance: float = 1e-6
    kind: ClassVar[str] = "nelder_mead"

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        def fun(share: np.ndarray) -> float:
            return float(ev.losses(Box.from_share(share)[None])[0])

        options = {"maxiter": self.steps, "xatol": self.tolerance, "fatol": self.tolerance}
        return _each(ev, z, "nelder_mead", fun, {"method": "Nelder-Mead", "options": options}, self.size)


class _SpentError(Exception):
    """Ends a run of SciPy's between two evaluations."""


def _each(
    ev: Evaluator,
    z: np.ndarray,
    stage: str,
    fun: Callable[[np.ndarray], Any],
    how: dict[str, Any],
    simplex: float | None = None,
) -> Outcome:
    k = z.shape[1]
    ends, losses, ended = [], [], []
    for start, share in enumerate(_share(z)):
        best: list[Any] = [share, np.inf, 0]

        def counted(x: np.ndarray, best: list[Any] = best, start: int = start) -> Any:
            if ev.spent:
                raise _SpentError
            value = fun(x)
            f = value[0] if isinstance(value, tuple) else value
            if not np.isfinite(f):
                # Far above what was found, and yet of its size: line searches fit parabolas to it.
                f = HUGE if not np.isfinite(best[1]) else 10.0 * abs(best[1]) + 1.0
                value = (f, value[1]) if isinstance(value, tuple) else f
            elif f < best[1]:
                best[:2] = [x.copy(), f]
            best[2] += 1
            ev.record(stage, best[2], np.array([start]), np.array([best[1]]))
            return value

        settings = dict(how)
        if simplex is not None:
            corners = np.concatenate([share[None], share + np.where(share > 0.5, -simplex, simplex) * np.eye(k)])
            settings["options"] = {**how["options"], "initial_simplex": corners}
        why = "budget"
        try:
            found = minimize(counted, share, bounds=[(0.0, 1.0)] * k, **settings)
            why = "converged" if found.success else "stuck"
        except _SpentError:
            pass
        ends.append(Box.from_share(best[0]))
        losses.append(best[1])
        ended.append(why)
    return _outcome(ends, losses, ended)


def _outcome(z: list[np.ndarray], losses: list[float], ended: list[str]) -> Outcome:
    f = np.array([loss if loss < HUGE else np.inf for loss in losses])
    begun = [why if np.isfinite(loss) or why == "budget" else "quarantined" for why, loss in zip(ended, f, strict=True)]
    return Outcome(np.array(z), f, begun)


def _share(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))
