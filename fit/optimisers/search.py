"""What optimisers have in common: what they return, and what a search comes to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.fit.optimisers.evaluation import Evaluator


@dataclass(eq=False)
class Outcome:
    """Where the starts of an optimiser ended: coordinates, their losses, and why each ended.

    `ended`: "converged", "stuck" (no step in the direction of descent lowers the loss), "steps", "patience" (the check
    stopped improving), "pruned", "quarantined" (the loss is not finite), "budget".
    """

    z: Float[np.ndarray, "start k"]
    losses: Float[np.ndarray, " start"]
    ended: list[str]


class Optimiser(ABC):
    """A way to lower a loss: settings are its fields."""

    kind: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # what the objective has to have beside the loss

    @abstractmethod
    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        """Lower the loss from the starts `z` until it is done or the budget is spent."""


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    best: parameters by name, x the same as an array. loss: at best; check: the check's loss there, NaN without one.
    starts: one row a start: its end's loss and check, why it ended, its parameters. A method that keeps a population
    has one row for every run of it. course: one row a start and step. incumbents: every time that a lower loss than all
    before was found, with what had been spent. stopped: why the search ended: the limit that was reached, or "done".
    quarantined: how many starts ended where the loss is not finite; nonfinite: how many evaluations were not.
    """

    method: str
    seed: int
    best: Mapping[str, float]
    x: Float[np.ndarray, " k"]
    loss: float
    check: float
    starts: pd.DataFrame
    course: pd.DataFrame
    incumbents: pd.DataFrame
    stopped: str
    simulated_s: float
    wall_s: float
    evaluations: int
    quarantined: int
    nonfinite: int


@dataclass(eq=False)
class Watch:
    """Early stopping of each start by the objective's check: the best point so far and how long ago it was found.

    every: steps between two looks. patience: looks without improvement after which a start is stopped.
    """

    ev: Evaluator
    n: int
    every: int
    patience: int
    best: np.ndarray = field(init=False)
    since: np.ndarray = field(init=False)
    z: np.ndarray | None = None
    losses: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.best = np.full(self.n, np.inf)
        self.losses = np.full(self.n, np.inf)
        self.since = np.zeros(self.n, np.int64)

    @property
    def on(self) -> bool:
        """Whether there is a check to watch."""
        return self.ev.objective.check is not None and self.every > 0

    def look(self, z: np.ndarray, losses: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Check the starts `which` (indices); the mask over them of those to be stopped."""
        if self.z is None:
            self.z = z.copy()
        found = self.ev.losses(z[which], "check")
        better = found < self.best[which]
        self.best[which[better]] = found[better]
        self.z[which[better]], self.losses[which[better]] = z[which[better]], losses[which[better]]
        self.since[which] = np.where(better, 0, self.since[which] + 1)
        return self.since[which] >= self.patience

    def chosen(self, z: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best point of every start by its check; the one given where none was ever looked at."""
        if self.z is None:
            return z, losses
        seen = np.isfinite(self.best)
        return np.where(seen[:, None], self.z, z), np.where(seen, self.losses, losses)
