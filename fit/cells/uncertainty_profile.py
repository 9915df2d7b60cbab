"""Profile likelihoods: how the best loss rises as one parameter is moved and all others are fitted again.

    l_p(theta) = min over all others of -log L,    interval: l_p(theta) - min l_p <= chi2_1(level) / 2

(Wilks 1938, Ann Math Stat 9:60; Raue et al. 2009, Bioinformatics 25:1923), 1.92 nats at 95 %. It assumes no parabola,
does not depend on the scale of the parameter, and an interval without an end shows as one: the data do not say where
the parameter stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import chi2

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.cells.problem import CellProblem
from connectofit.fit.cells.uncertainty_likelihood import FLAT, TOLERANCE, Likelihood, descend, newton_step, polished

WIDER = 1.4  # a first grid reaches so many half intervals of Laplace's to both sides
EXTENSIONS = 12  # further points to a side, each twice as far as the last step


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile likelihood of a parameter.

    table: one row a value, in order: ``value``, ``loss``, ``rise_nats`` above the lowest loss, whether the others'
    optimum was reached (``converged``), which others lie on a bound there (``on_bound``), and all parameters by name.
    value, loss: of the optimum. low, high: the ends of the interval; where one is open, the data do not bound the
    parameter within what was looked at, up to there. limited_by: other parameters that lie on their bounds at an end,
    so that it may be their bounds that end it. gain_nats: by how much the lowest loss is below that of the optimum next
    to the given parameters: above 0 there is a better fit, `best`.
    """

    parameter: str
    table: pd.DataFrame = field(repr=False)
    value: float
    loss: float
    level: float
    low: float
    high: float
    low_open: bool
    high_open: bool
    limited_by: tuple[str, ...]
    gain_nats: float
    best: Float[np.ndarray, " k"]

    @property
    def identifiable(self) -> bool:
        """Whether the interval has both ends."""
        return not (self.low_open or self.high_open)

    @property
    def sentence(self) -> str:
        """The interval in words."""
        percent = f"{100 * self.level:g} %"
        if self.low_open and self.high_open:
            text = (
                f"These data do not identify {self.parameter}: all of {self.low:g} to {self.high:g} fits ({percent})."
            )
        elif self.low_open or self.high_open:
            known, end = ("at most", self.high) if self.low_open else ("at least", self.low)
            other = "lower" if self.low_open else "upper"
            text = f"{self.parameter} is {known} {end:g} ({percent}); these data set no {other} end to it."
        else:
            text = f"{self.parameter} lies from {self.low:g} to {self.high:g} ({percent})."
        if self.limited_by:
            text += f" There {', '.join(self.limited_by)} would leave the bounds."
        if self.gain_nats > 10 * TOLERANCE:
            text += f" A fit better by {self.gain_nats:.3g} nats was found on the way."
        return text


def profile(
    problem: CellProblem,
    x: Float[np.ndarray, " k"],
    parameter: str,
    values: int | Sequence[float] | Float[np.ndarray, " value"] = 20,
    *,
    level: float = 0.95,
) -> Profile:
    """The profile likelihood of `parameter`.

    Parameters
    ----------
    x: the free parameters at or near the optimum, which is sought from there first.
    values: of the parameter in its own units, or how many: so many are spread around the optimum to where the loss is
        expected to have risen enough, and more are added until it has, or a bound is met.
    level: of the interval.

    From the optimum outward every value starts from the optimum of the one before, moved along the valley; then inward
    again, from the far ends, and the lower loss of both counts, since an optimum that is followed in one direction may
    not be the best.

    Raises `UnknownNameError` for a parameter that is not free, `SettingError` for values outside of its bounds, fewer
    than 4 of them, a level outside 0 to 1, and a loss that is no likelihood.
    """
    likelihood = Likelihood(problem)
    box = likelihood.box
    if parameter not in box.names:
        raise unknown_name("free parameter", parameter, box.names, "what was fitted")
    if not 0 < level < 1:
        raise SettingError(f"level has to be between 0 and 1; found {level!r}.")
    k = box.names.index(parameter)
    start = likelihood.share(polished(problem, x))
    hessian = likelihood.hessian(start)
    limit = 0.5 * float(chi2.ppf(level, 1))
    sides, extend = _sides(likelihood, start, hessian, k, values, limit)
    walk = _Walk(likelihood, k, start, hessian)
    walk.outward(sides, limit if extend else None)
    walk.inward()
    return _profile(walk, box.names, parameter, level, limit)


def _sides(
    likelihood: Likelihood,
    start: Float[np.ndarray, " k"],
    hessian: Float[np.ndarray, "k k"],
    k: int,
    values: int | Sequence[float] | np.ndarray,
    limit: float,
) -> tuple[list[list[float]], bool]:
    """The shares to visit below and above the optimum, nearest first, and whether more may be added."""
    box, u = likelihood.box, float(start[k])
    if isinstance(values, bool) or (np.ndim(values) == 0 and not isinstance(values, int | np.integer)):
        raise SettingError(f"values has to be a number of values, or the values themselves; found {values!r}.")
    if isinstance(values, int | np.integer):
        n = int(values)
        if n < 4:
            raise SettingError(f"A profile needs 4 values or more; found {n}.")
        curved, vectors = np.linalg.eigh(hessian)
        variance = float(vectors[k] ** 2 @ (1.0 / np.maximum(curved, FLAT)))
        reach = WIDER * float(np.sqrt(2.0 * limit * variance))
        ends = max(0.0, u - reach), min(1.0, u + reach)
        steps = [n // 2 if abs(end - u) > 1e-9 else 0 for end in ends]
        return [list(np.linspace(u, end, m + 1)[1:]) for end, m in zip(ends, steps, strict=True)], True
    given = np.sort(np.asarray(values, np.float64).reshape(-1))
    outside = given[~((given >= box.low[k]) & (given <= box.high[k]))]
    if outside.size or given.size < 4:
        raise SettingError(
            f"A profile of {box.names[k]} needs 4 values or more inside its bounds, {box.low[k]:g} to {box.high[k]:g}; "
            f"found {given.size}, {f'{outside[0]:g} outside' if outside.size else 'all inside'}."
        )
    at = np.tile(likelihood.physical(start), (given.size, 1))
    at[:, k] = given
    shares = np.clip(box.share(at)[:, k], 0.0, 1.0)
    return [list(shares[shares < u - 1e-9][::-1]), list(shares[shares > u + 1e-9])], False


class _Walk:
    """The optima at the values of one parameter, on both sides of the best one; both sides are fitted together."""

    def __init__(self, likelihood: Likelihood, k: int, start: np.ndarray, hessian: np.ndarray) -> None:
        self.likelihood, self.k = likelihood, k
        self.start, self.hessian = start, hessian
        self.loss = float(likelihood.gradients(start[None])[0][0])
        self.fixed = np.arange(start.size) == k
        # Of each side, nearest first: place, loss, whether it converged, and what is known of the Hessian.
        self.found: list[list[tuple[np.ndarray, float, bool, np.ndarray]]] = [[], []]

    def outward(self, sides: list[list[float]], limit: float | None) -> None:
        """Visit the shares of both sides, and further ones until the loss has risen by `limit`, if one is given."""
        ahead = [list(side) for side in sides]
        extra = [EXTENSIONS, EXTENSIONS]
        while True:
            if limit is not None:
                for side in (0, 1):
                    if not ahead[side] and extra[side] and self._short(side, limit):
                        ahead[side].append(self._further(side))
                        extra[side] -= 1
            if not any(ahead):
                return
            nearest = [self._last(side) for side in (0, 1)]
            targets = [ahead[side].pop(0) if ahead[side] else None for side in (0, 1)]
            for side, result in enumerate(self._fit(nearest, targets)):
                if targets[side] is not None:
                    self.found[side].append(result)

    def inward(self) -> None:
        """Go back from the ends; keep what is lower."""
        depth = max(len(side) for side in self.found)
        for back in range(1, depth):
            rows = [len(side) - 1 - back for side in self.found]
            begin = [self.found[s][r + 1] if r >= 0 else self._origin() for s, r in enumerate(rows)]
            targets = [float(self.found[s][r][0][self.k]) if r >= 0 else None for s, r in enumerate(rows)]
            for side, result in enumerate(self._fit(begin, targets)):
                if rows[side] >= 0 and result[1] < self.found[side][rows[side]][1]:
                    self.found[side][rows[side]] = result

    def _fit(
        self, begin: Sequence[tuple[np.ndarray, float, bool, np.ndarray]], targets: Sequence[float | None]
    ) -> list[tuple[np.ndarray, float, bool, np.ndarray]]:
        moved = np.array([self._moved(*given, target) for given, target in zip(begin, targets, strict=True)])
        hessians = np.array([given[3] for given in begin])
        out = descend(self.likelihood.gradients, moved, hessians, fixed=self.fixed)
        if not np.isfinite(out.losses).all():  # the valley bends away: from where the neighbour is
            moved[:, ~self.fixed] = np.array([given[0] for given in begin])[:, ~self.fixed]
            out = descend(self.likelihood.gradients, moved, hessians, fixed=self.fixed)
        return [
            (out.share[r], float(out.losses[r]), bool(out.converged[r]), out.hessians[r]) for r in range(len(moved))
        ]

    def _moved(
        self, place: np.ndarray, loss: float, converged: bool, hessian: np.ndarray, target: float | None
    ) -> np.ndarray:
        """The place with the parameter at its target and the others along the valley, as far as it is a parabola's."""
        new = place.copy()
        if target is not None:
            others = ~self.fixed & (place > 0.0) & (place < 1.0)
            pull = hessian[others, self.k] * (target - place[self.k])
            new[others] += newton_step(hessian[np.ix_(others, others)], pull)
            new[self.k] = target
        return np.clip(new, 0.0, 1.0)

    def _origin(self) -> tuple[np.ndarray, float, bool, np.ndarray]:
        return self.start, self.loss, True, self.hessian

    def _last(self, side: int) -> tuple[np.ndarray, float, bool, np.ndarray]:
        return self.found[side][-1] if self.found[side] else self._origin()

    def _short(self, side: int, limit: float) -> bool:
        """Whether a side ends before the loss has risen enough and before the bound."""
        place, loss, _, _ = self._last(side)
        at = float(place[self.k])
        return loss - self.loss < limit and (at > 0.0 if side == 0 else at < 1.0)

    def _further(self, side: int) -> float:
        at = float(self._last(side)[0][self.k])
        before = float(self.found[side][-2][0][self.k]) if len(self.found[side]) > 1 else float(self.start[self.k])
        step = 2.0 * max(abs(at - before), 1e-3)
        return max(0.0, at - step) if side == 0 else min(1.0, at + step)


def _profile(walk: _Walk, names: tuple[str, ...], parameter: str, level: float, limit: float) -> Profile:
    rows = [*walk.found[0][::-1], walk._origin(), *walk.found[1]]
    middle = len(walk.found[0])
    shares = np.array([place for place, _, _, _ in rows])
    losses = np.array([loss for _, loss, _, _ in rows])
    x = walk.likelihood.physical(shares)
    lowest = int(np.argmin(losses))
    rise = losses - losses[lowest]
    bound = (shares <= 1e-9) | (shares >= 1.0 - 1e-9)
    bound[:, walk.k] = False
    on_bound = [tuple(n for n, b in zip(names, row, strict=True) if b) for row in bound]
    table = pd.DataFrame(
        {
            "value": x[:, walk.k],
            "loss": losses,
            "rise_nats": rise,
            "converged": [done for _, _, done, _ in rows],
            "on_bound": [", ".join(found) for found in on_bound],
        }
    )
    table = pd.concat([table, pd.DataFrame(x, columns=[*names])], axis=1)
    at = shares[:, walk.k]
    inside = np.flatnonzero(rise <= limit)
    low, low_open, low_row = _end(at, rise, int(inside[0]), -1, limit)
    high, high_open, high_row = _end(at, rise, int(inside[-1]), 1, limit)
    ends = np.tile(shares[middle], (2, 1))
    ends[:, walk.k] = low, high
    physical = walk.likelihood.physical(ends)[:, walk.k]
    touched = {
        name
        for row, is_open in ((low_row, low_open), (high_row, high_open))
        for name in on_bound[row]
        if not is_open and name not in on_bound[lowest]
    }
    return Profile(
        parameter,
        table,
        float(x[lowest, walk.k]),
        float(losses[lowest]),
        level,
        float(physical[0]),
        float(physical[1]),
        low_open,
        high_open,
        tuple(name for name in names if name in touched),
        float(walk.loss - losses[lowest]),
        x[lowest],
    )


def _end(
    at: Float[np.ndarray, " row"], rise: Float[np.ndarray, " row"], last: int, step: int, limit: float
) -> tuple[float, bool, int]:
    """Where the rise passes the limit beyond the row `last`, the outermost inside: (share, whether it never does, the
    row outside). The root of the rise is about a line between two rows."""
    after = last + step
    if not 0 <= after < len(at):
        return float(at[last]), True, last
    near, far, root = np.sqrt(max(rise[last], 0.0)), np.sqrt(rise[after]), np.sqrt(limit)
    # The root of a parabola is a line, and the chord between two rows near it.
    part = (root - near) / (far - near) if np.isfinite(far) else 0.0
    return float(at[last] + part * (at[after] - at[last])), False, after
