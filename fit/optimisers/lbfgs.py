"""L-BFGS from many starts at once: limited-memory quasi-Newton steps, each start with a line search of its own.

    d = -H grad f,  H by two loops over the last `memory` pairs (s, y)          (Nocedal & Wright 2006, alg. 7.4)
    f(z + t d) <= f(z) + c1 t grad f . d    and    grad f(z + t d) . d >= c2 grad f . d

Steps are taken in angles u with s = (1 - cos u) / 2 the share of the range (Box). The logistic coordinates are flat far
out: a step too long leaves a parameter at its bound with no gradient to return by. Angles come back by themselves, and
have no minimum at a bound from which the loss falls inwards.

The second line, the weak Wolfe conditions, is met by bisection (Lewis & Overton 2013, Math Program 141:135), which
needs no smoothness. All starts are simulated together in each round, whatever place of their line search they are at.
A step into a region where the loss is not finite counts as one that is too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers.evaluation import Evaluator, Of
from connectofit.fit.optimisers.objective import EDGE, Box
from connectofit.fit.optimisers.search import Optimiser, Outcome, Watch

SUFFICIENT, CURVATURE = 1e-4, 0.9
TRIALS, ENOUGH = 20, 6  # of one line search; where a lower loss is in hand


@dataclass(frozen=True)
class LBFGS(Optimiser):
    """Limited-memory BFGS from every start.

    steps: at most so many a start. memory: pairs kept. tolerance: a start has converged when two steps in a row lower
    the loss by less than this share of it, or when no component of the gradient is above `gradient_tolerance`. reach:
    the largest change of an angle in one trial (a range is pi wide). check_every, patience: of early stopping, where
    the objective has a check. best_of: how many of the starts, by their loss, are followed; None: all.
    """

    steps: int = 200
    memory: int = 10
    tolerance: float = 1e-7
    gradient_tolerance: float = 1e-9
    reach: float = 0.75
    check_every: int = 5
    patience: int = 4
    best_of: int | None = None
    kind: ClassVar[str] = "lbfgs"

    def __post_init__(self) -> None:
        whole = {"steps": self.steps, "memory": self.memory, "best_of": 1 if self.best_of is None else self.best_of}
        for name, given in whole.items():
            if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
                raise SettingError(f"{name} has to be a whole number, 1 or more; found {given!r}.")
        for name in ("tolerance", "gradient_tolerance"):
            given = getattr(self, name)
            if not (np.isfinite(given) and given >= 0):
                raise SettingError(f"{name} has to be finite and 0 or more; found {given!r}.")
        if not self.reach > 0:
            raise SettingError(f"reach has to be above 0; found {self.reach!r}.")

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        if self.best_of is not None and self.best_of < len(z):
            losses = ev.losses(z)
            order = np.argsort(losses, kind="stable")[: self.best_of]
            pruned = np.where(np.isfinite(losses), "pruned", "quarantined").astype(object)
            followed = self.descend(ev, z[order], which=order)
            z, losses = z.copy(), losses.copy()
            z[order], losses[order], pruned[order] = followed.z, followed.losses, followed.ended
            return Outcome(z, losses, [str(end) for end in pruned])
        return self.descend(ev, z)

    def descend(
        self,
        ev: Evaluator,
        v: Float[np.ndarray, "start variable"],
        *,
        of: Of = "loss",
        extra: float = 0.0,
        stage: str = "lbfgs",
        which: np.ndarray | None = None,
    ) -> Outcome:
        """Lower what `of` stands for; which: the numbers under which the starts are noted."""
        size = ev.objective.box.size
        which = np.arange(len(v)) if which is None else which
        watch = Watch(ev, len(v), self.check_every if of == "loss" else 0, self.patience)

        def asked(z: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return ev.gradients(z, of, extra)

        for state, taken in descents(self, asked, v, size, spent=lambda: ev.spent):
            ev.record(stage, state.steps[taken], which[taken], state.f[taken])
            due = taken[(state.steps[taken] % max(self.check_every, 1) == 0) & state.running[taken]]
            due = due[state.steps[due] > 0]
            if watch.on and due.size:
                for start in due[watch.look(state.z, state.f, due)]:
                    state.end(start, "patience")
        z, ended = state.z, [end or "budget" for end in state.ended]
        if watch.on:
            last = np.flatnonzero(np.isfinite(state.f))
            if last.size and not ev.spent:
                watch.look(z, state.f, last)
            return Outcome(*watch.chosen(z, state.f), ended)
        return Outcome(z, state.f, ended)


Asked = Callable[
    [Float[np.ndarray, "row variable"], np.ndarray], tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row variable"]]
]


def descents(
    how: LBFGS,
    asked: Asked,
    v: Float[np.ndarray, "start variable"],
    size: int,
    *,
    spent: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Descent, np.ndarray]]:
    """The descents from `v`, once before the first step and then after every round in which starts made one, with the
    numbers of these starts. It ends when all have ended or the budget is spent.

    asked: (coordinates, the starts whose they are) -> losses and gradients. size: the variables that are coordinates of
    a `Box`; further ones are free.
    """
    state = Descent(how, _angles(v, size), size)

    def told(u: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f, g = asked(_coordinates(u, size), rows)
        return f, _slopes(u, g, size)

    everyone = np.arange(len(v))
    state.begin(*told(state.v, everyone))
    yield state, everyone
    while not spent():
        active = np.flatnonzero(state.running)
        if not active.size:
            return
        taken = state.take(active, *told(state.trial(active), active))
        if taken.size:
            yield state, taken


def _angles(v: np.ndarray, size: int) -> np.ndarray:
    """Angles for the first `size` columns; further variables stay what they are."""
    return np.concatenate([np.arccos(-np.tanh(0.5 * v[:, :size])), v[:, size:]], axis=1)  # 1 - 2 s = -tanh(z / 2)


def _coordinates(u: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([Box.from_share(0.5 * (1.0 - np.cos(u[:, :size]))), u[:, size:]], axis=1)


def _slopes(u: np.ndarray, g: np.ndarray, size: int) -> np.ndarray:
    """Gradients by the angles from those by the coordinates: ds/du over ds/dz, as far inside as `from_share` stays."""
    share = np.clip(0.5 * (1.0 - np.cos(u[:, :size])), EDGE, 1.0 - EDGE)
    return np.concatenate([g[:, :size] * 0.5 * np.sin(u[:, :size]) / (share * (1.0 - share)), g[:, size:]], axis=1)


class Descent:
    """The starts' points, memories and line searches. v: points, in angles; f: their losses; steps: how many each made;
    running: which go on; ended: why the others do not."""

    def __init__(self, how: LBFGS, v: np.ndarray, size: int) -> None:
        n, k = v.shape
        self.size = size  # the variables that are angles, whose steps are limited
        self.how, self.v = how, v.astype(np.float64)
        self.f, self.g, self.d = np.zeros(n), np.zeros((n, k)), np.zeros((n, k))
        self.s, self.y = np.zeros((n, how.memory, k)), np.zeros((n, how.memory, k))  # zeros: no pair
        self.t, self.low, self.high = np.ones(n), np.zeros(n), np.full(n, np.inf)
        self.steps, self.trials, self.small = (np.zeros(n, np.int64) for _ in range(3))
        self.ended: list[str] = [""] * n
        self.running = np.ones(n, bool)
        # The best point of the line search that is under way which lowers the loss enough.
        self.found_f, self.found_v, self.found_g = np.full(n, np.inf), self.v.copy(), np.zeros((n, k))

    @property
    def z(self) -> Float[np.ndarray, "start variable"]:
        """The points in the coordinates of a `Box`."""
        return _coordinates(self.v, self.size)

    def begin(self, f: np.ndarray, g: np.ndarray) -> None:
        self.f, self.g = f, g
        for start in np.flatnonzero(~np.isfinite(f)):
            self.end(int(start), "quarantined")
        self._settle(np.flatnonzero(self.running))
        self._aim(np.flatnonzero(self.running))

    def end(self, start: int, why: str) -> None:
        self.running[start], self.ended[start] = False, why

    def trial(self, active: np.ndarray) -> np.ndarray:
        return self.v[active] + self.t[active, None] * self.d[active]

    def take(self, active: np.ndarray, f: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Use the losses at the trial points; the starts that have made a step."""
        t, d = self.t[active], self.d[active]
        slope = np.sum(self.g[active] * d, axis=1)
        lower = f <= self.f[active] + SUFFICIENT * t * slope
        flat = np.sum(g * d, axis=1) >= CURVATURE * slope
        self.trials[active] += 1
        ahead = active[lower & (f < self.found_f[active])]
        rows = np.flatnonzero(lower & (f < self.found_f[active]))
        self.found_f[ahead], self.found_g[ahead] = f[rows], g[rows]
        self.found_v[ahead] = self.v[ahead] + self.t[ahead, None] * self.d[ahead]
        tired = self.trials[active] >= TRIALS
        far = t * np.abs(d[:, : self.size]).max(axis=1) >= self.how.reach * (1.0 - 1e-9)
        done = lower & (flat | far)
        # A line search that has gone on for long with a lower loss in hand takes it.
        done |= np.isfinite(self.found_f[active]) & (self.trials[active] >= ENOUGH)
        self._narrow(active[~done], f[~done], slope[~done], lower[~done])
        self._give_up(active[tired & ~done])
        taken = active[done]
        self._move(taken)
        return taken

    def _narrow(self, active: np.ndarray, f: np.ndarray, slope: np.ndarray, lower: np.ndarray) -> None:
        t = self.t[active]
        self.low[active] = np.where(lower, t, self.low[active])
        self.high[active] = np.where(lower, self.high[active], t)
        low, high = self.low[active], self.high[active]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # The minimum of the parabola through f(0), its slope and f(t), within bounds; a tenth where f is infinite.
            parabola = -slope * t**2 / (2.0 * (f - self.f[active] - slope * t))
        parabola = np.where(np.isfinite(f), np.clip(np.nan_to_num(parabola), 0.1 * t, 0.5 * t), 0.1 * t)
        bounded = np.where(low > 0, 0.5 * (low + high), parabola)
        reach = self.how.reach / np.maximum(np.abs(self.d[active, : self.size]).max(axis=1), 1e-300)
        stretched = np.minimum(2.0 * t, np.maximum(reach, t))
        self.t[active] = np.where(np.isfinite(high), bounded, stretched)

    def _give_up(self, failed: np.ndarray) -> None:
        for start in failed:
            if self.s[start].any():
                self.s[start], self.y[start] = 0.0, 0.0
                self._aim(np.array([start]))
            else:
                self.end(int(start), "stuck")

    def _move(self, taken: np.ndarray) -> None:
        s, y = self.found_v[taken] - self.v[taken], self.found_g[taken] - self.g[taken]
        drop, size = self.f[taken] - self.found_f[taken], np.abs(self.f[taken])
        self.v[taken], self.f[taken], self.g[taken] = self.found_v[taken], self.found_f[taken], self.found_g[taken]
        self.steps[taken] += 1
        norm = np.linalg.norm(s, axis=1) * np.linalg.norm(y, axis=1)
        curved = np.sum(s * y, axis=1) > 1e-10 * np.maximum(norm, 1e-300)
        kept = taken[curved]
        self.s[kept] = np.concatenate([self.s[kept, 1:], s[curved, None]], axis=1)
        self.y[kept] = np.concatenate([self.y[kept, 1:], y[curved, None]], axis=1)
        self.small[taken] = np.where(drop <= self.how.tolerance * size, self.small[taken] + 1, 0)
        self._settle(taken)
        self._aim(taken[self.running[taken]])

    def _settle(self, starts: np.ndarray) -> None:
        flat = np.abs(self.g[starts]).max(axis=1, initial=0.0) <= self.how.gradient_tolerance
        for start in starts[flat | (self.small[starts] >= 2)]:
            self.end(int(start), "converged")
        for start in starts[self.steps[starts] >= self.how.steps]:
            if self.running[start]:
                self.end(int(start), "steps")

    def _aim(self, starts: np.ndarray) -> None:
        """A new direction, and the first trial along it."""
        g, s, y = self.g[starts], self.s[starts], self.y[starts]
        sy = np.sum(s * y, axis=2)
        rho = np.where(sy > 0, 1.0 / np.where(sy > 0, sy, 1.0), 0.0)
        q, alpha = g.copy(), np.zeros_like(rho)
        for m in reversed(range(self.how.memory)):
            alpha[:, m] = rho[:, m] * np.sum(s[:, m] * q, axis=1)
            q -= alpha[:, m, None] * y[:, m]
        yy = np.sum(y[:, -1] ** 2, axis=1)
        first = sy[:, -1] <= 0
        steepest = 0.2 / np.maximum(np.linalg.norm(g, axis=1), 1e-300)
        q *= np.where(first, steepest, sy[:, -1] / np.where(yy > 0, yy, 1.0))[:, None]
        for m in range(self.how.memory):
            q += s[:, m] * (alpha[:, m] - rho[:, m] * np.sum(y[:, m] * q, axis=1))[:, None]
        uphill = np.sum(q * g, axis=1) <= 0
        q = np.where(uphill[:, None], steepest[:, None] * g, q)
        self.d[starts] = -q
        self.t[starts] = np.minimum(1.0, self.how.reach / np.maximum(np.abs(q[:, : self.size]).max(axis=1), 1e-300))
        self.low[starts], self.high[starts], self.trials[starts] = 0.0, np.inf, 0
        self.found_f[starts] = np.inf
