"""Damped Gauss-Newton steps for sums of squares, from many starts at once.

    (J^T J + m diag(J^T J)) d = -J^T r                      (Levenberg 1944, Q Appl Math 2:164; Marquardt 1963,
                                                             SIAM J Appl Math 11:431)

over shares of the box: m falls tenfold after a step that lowers the loss and rises tenfold after one that does not.
Where a model is coupled to its recording, residuals are small and nearly linear in the parameters: a handful of steps
reaches the optimum, where first-order information crawls along the valley of conductances that make up for each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from connectofit.fit.optimisers.evaluation import Evaluator
from connectofit.fit.optimisers.objective import Box
from connectofit.fit.optimisers.search import Outcome

REACH, LEAST, TIRED = 0.25, 1e-9, 3  # the longest step, in ranges; the least damping; steps without gain to end after


@dataclass(frozen=True)
class GaussNewton:
    """steps: at most so many a start. tolerance: a start has converged after `TIRED` steps in a row that lower the loss
    by less than this share of it. damping: at first."""

    steps: int = 8
    tolerance: float = 1e-4
    damping: float = 1e-3

    def descend(
        self, ev: Evaluator, z: Float[np.ndarray, "start k"], *, extra: float, stage: str, which: np.ndarray
    ) -> Outcome:
        """Lower the loss coupled with the strength `extra`; which: the numbers under which the starts are noted."""
        n, box = len(z), ev.objective.box
        u = box.share(box.physical(z))
        f, g, h = _by_share(ev, u, extra)
        ev.record(stage, 0, which, f)
        ended = ["" if np.isfinite(f[row]) else "quarantined" for row in range(n)]
        damping, small = np.full(n, self.damping), np.zeros(n, np.int64)
        for step in range(1, self.steps + 1):
            active = np.array([row for row in range(n) if not ended[row]], np.int64)
            if ev.spent or not active.size:
                break
            trial = np.stack([_stepped(u[row], g[row], h[row], damping[row]) for row in active])
            at, slopes, squares = _by_share(ev, trial, extra)
            better = at < f[active]
            drop = np.where(better, f[active] - at, 0.0)
            small[active] = np.where(drop > self.tolerance * np.abs(f[active]), 0, small[active] + 1)
            damping[active] = np.where(better, np.maximum(0.1 * damping[active], LEAST), 10.0 * damping[active])
            moved = active[better]
            u[moved], f[moved], g[moved], h[moved] = trial[better], at[better], slopes[better], squares[better]
            ev.record(stage, step, which[active], f[active])
            for row in active[small[active] >= TIRED]:
                ended[row] = "converged"
        why = "budget" if ev.spent else "steps"
        return Outcome(Box.from_share(u), f, [end or why for end in ended])


def _by_share(ev: Evaluator, u: np.ndarray, extra: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loss, its gradient and its Gauss-Newton Hessian by shares."""
    box = ev.objective.box
    z = Box.from_share(u)
    f, g, h = ev.squares(z, extra)
    x, log = box.physical(z), np.array(box.log)
    slope = np.where(log, x * np.log(np.where(log, box.high / np.where(log, box.low, 1.0), 1.0)), box.high - box.low)
    return f, g * slope, h * slope[:, :, None] * slope[:, None, :]


def _stepped(u: np.ndarray, g: np.ndarray, h: np.ndarray, damping: float) -> np.ndarray:
    """The share after a step; parameters on a bound that the gradient pushes against stay there."""
    free = ~((u <= 0.0) & (g > 0.0)) & ~((u >= 1.0) & (g < 0.0))
    step = np.zeros_like(u)
    if free.any():
        own = h[np.ix_(free, free)]
        scale = np.maximum(np.diag(own), 1e-12 * max(float(np.diag(own).max()), 1e-300))
        step[free] = np.linalg.solve(own + damping * np.diag(scale), -g[free])
    return np.clip(u + step * min(1.0, REACH / max(float(np.abs(step).max()), 1e-300)), 0.0, 1.0)
