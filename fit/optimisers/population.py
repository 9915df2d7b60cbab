"""Searches in two stages: a population finds the valley and gradients its floor, or the other way round.

A loss that counts spikes is flat between jumps: its gradient, if it has one, is a surrogate's. Two ways to use
gradients all the same: after a population has come near (`PopulationThenPolish`), and on a smooth stand-in of the loss
whose minimum a population then corrects (`Guided`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from connectofit.fit.optimisers.cma_es import CMAES
from connectofit.fit.optimisers.evaluation import Evaluator
from connectofit.fit.optimisers.lbfgs import LBFGS
from connectofit.fit.optimisers.scipy_methods import DifferentialEvolution
from connectofit.fit.optimisers.search import Optimiser, Outcome


@dataclass(frozen=True)
class PopulationThenPolish(Optimiser):
    """A population with the share `first` of the budget, then L-BFGS from the `best_of` best points that it saw.

    apart: how far these have to lie from one another, in shares of the ranges. The polish stops early by the
    objective's check, if it has one.
    """

    population: CMAES | DifferentialEvolution = field(default_factory=lambda: CMAES(population=32))
    polish: LBFGS = field(default_factory=LBFGS)
    first: float = 0.5
    best_of: int = 4
    apart: float = 0.02
    kind: ClassVar[str] = "population"

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        population = self.population
        if not ev.meter.budget.limited:
            # Without a budget the population ends by itself: one run of it.
            population = replace(population, restarts=0) if isinstance(population, CMAES) else population
        ev.meter.share = self.first
        with ev.remembering() as seen:
            population.run(ev, z, seed)
        ev.meter.share = 1.0
        return self.polish.descend(ev, _apart(*seen(), self.best_of, self.apart), stage="polish")


@dataclass(frozen=True)
class Guided(Optimiser):
    """L-BFGS on the objective's guide from every start, then a narrow population on the loss around the best end.

    With `descent.best_of` only as many starts are followed, those where the guide is lowest. The ends are ranked by the
    loss itself. step: the first population's width, in shares of the ranges. population, generations, restarts: as in
    `CMAES`.
    """

    descent: LBFGS = field(default_factory=lambda: LBFGS(steps=60, tolerance=1e-5))
    step: float = 0.03
    population: int | None = 16
    generations: int = 10_000
    restarts: int = 0
    kind: ClassVar[str] = "guided"
    needs: ClassVar[tuple[str, ...]] = ("guide",)

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        if self.descent.best_of is not None:
            z = z[np.argsort(ev.losses(z, "guide"), kind="stable")[: self.descent.best_of]]
        ev.losses(z[:1])  # so that there is something to show, however early the budget is spent
        out = self.descent.descend(ev, z, of="guide", stage="guide")
        losses = ev.losses(out.z)
        ev.record("guided", 0, np.arange(len(z)), losses)
        best = int(np.argmin(losses))
        ended = ["quarantined" if not np.isfinite(f) else end for f, end in zip(losses, out.ended, strict=True)]
        if ev.spent or not np.isfinite(losses[best]):
            return Outcome(out.z, losses, ended)
        narrow = CMAES(self.step, self.population, self.generations, self.restarts)
        final = narrow.run(ev, out.z[best : best + 1], seed)
        row = int(np.argmin(final.losses))
        if final.losses[row] < losses[best]:
            out.z[best], losses[best], ended[best] = final.z[row], final.losses[row], final.ended[row]
        return Outcome(out.z, losses, ended)


def _apart(z: np.ndarray, losses: np.ndarray, n: int, apart: float) -> np.ndarray:
    """The `n` best points that lie at least `apart` from one another, in shares of the ranges."""
    share = 1.0 / (1.0 + np.exp(-z))
    chosen: list[int] = []
    for row in np.argsort(losses, kind="stable"):
        if len(chosen) == n or not np.isfinite(losses[row]):
            break
        if all(np.abs(share[row] - share[other]).max() >= apart for other in chosen):
            chosen.append(int(row))
    return z[chosen] if chosen else z[:1]
