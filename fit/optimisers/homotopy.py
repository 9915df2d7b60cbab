"""Searches that make a hard problem from an easy one: by coupling, by a growing horizon, and by shooting.

Coupling: a current g (V_recorded - V) makes every model follow the recording, so that the loss has one broad valley;
g is annealed to 0 (Abarbanel, Creveling, Farsian & Kostuk 2009, SIAM J Appl Dyn Syst 8:1341). Growing horizon: the
loss over the first part of the time, whose spikes hide no later ones, then over more of it. Shooting: every segment of
time has a state of its own to start from, and the gaps between them are closed by a growing penalty (Bock 1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers.evaluation import Evaluator, Of
from connectofit.fit.optimisers.gauss_newton import GaussNewton
from connectofit.fit.optimisers.lbfgs import LBFGS
from connectofit.fit.optimisers.search import Optimiser, Outcome


@dataclass(frozen=True)
class Nudged(Optimiser):
    """Coupled to the recording, then let go: `stage` at each of the objective's couplings above 0, then `polish`.

    keep: after each stage this share of the starts goes on, those with the lowest loss. squares, last: what takes the
    place of `stage` and of `polish` where the objective has `squares`, None: nothing; starts that have come nearer to
    one another than the share `join` of every range then go on as one.
    """

    stage: LBFGS = field(default_factory=lambda: LBFGS(steps=15, tolerance=1e-4))
    polish: LBFGS = field(default_factory=lambda: LBFGS(steps=100))
    keep: float = 1.0
    squares: GaussNewton | None = field(default_factory=GaussNewton)
    last: GaussNewton = field(default_factory=lambda: GaussNewton(steps=40, tolerance=1e-6))
    join: float = 1e-3
    kind: ClassVar[str] = "nudged"
    needs: ClassVar[tuple[str, ...]] = ("nudged",)

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        couplings = [float(c) for c in ev.objective.couplings if c > 0]
        if not couplings or sorted(couplings, reverse=True) != couplings:
            raise SettingError(f"The couplings of an objective have to fall to 0; found {ev.objective.couplings!r}.")
        if self.squares is not None and ev.objective.squares is not None:
            return self._by_squares(ev, z.copy(), couplings, self.squares)
        return _staged(ev, z, "nudged", couplings, self.stage, self.polish, self.keep)

    def _by_squares(self, ev: Evaluator, z: np.ndarray, couplings: list[float], stage: GaussNewton) -> Outcome:
        ended, losses = [""] * len(z), np.full(len(z), np.inf)
        for coupling in [*couplings, 0.0]:
            which = np.array([k for k, end in enumerate(ended) if not end], np.int64)
            how = stage if coupling else self.last
            name = f"nudged {coupling:g}" if coupling else "polish"
            out = how.descend(ev, z[which], extra=coupling, stage=name, which=which)
            z[which] = out.z
            lost = ~np.isfinite(out.losses)
            for start in which[lost]:
                ended[start] = "quarantined"
            if ev.spent or lost.all() or not coupling:
                losses[which] = ev.losses(z[which]) if coupling else out.losses
                for row, start in enumerate(which):
                    ended[start] = ended[start] or ("budget" if coupling else out.ended[row])
                break
            order = which[np.argsort(out.losses, kind="stable")][: max(1, math.ceil(self.keep * (~lost).sum()))]
            share = 1.0 / (1.0 + np.exp(-z))
            kept: list[int] = []
            for start in order:
                if all(np.abs(share[start] - share[other]).max() > self.join for other in kept):
                    kept.append(int(start))
            for start in which[~lost]:
                ended[start] = "" if start in kept else "pruned"
        return Outcome(z, losses, ended)


@dataclass(frozen=True)
class GrowingHorizon(Optimiser):
    """The loss over the first `shares` of the time, one after another, then over all of it.

    keep: after each stage this share of the starts goes on, those with the lowest loss.
    """

    shares: tuple[float, ...] = (0.05, 0.15, 0.4)
    stage: LBFGS = field(default_factory=lambda: LBFGS(steps=30, tolerance=1e-4))
    polish: LBFGS = field(default_factory=lambda: LBFGS(steps=100))
    keep: float = 1.0
    kind: ClassVar[str] = "horizon"
    needs: ClassVar[tuple[str, ...]] = ("within",)

    def __post_init__(self) -> None:
        if not all(0 < a < b < 1 for a, b in zip((1e-300, *self.shares), (*self.shares, 1 - 1e-9), strict=True)):
            raise SettingError(f"Shares of the time have to grow between 0 and 1; found {self.shares!r}.")

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        return _staged(ev, z, "within", self.shares, self.stage, self.polish, self.keep)


@dataclass(frozen=True)
class Shoot(Optimiser):
    """Multiple shooting with a penalty on the gaps, times `growth` in each of `rounds`, then `polish`.

    The penalty is `weight` times the mean squared gap, in the scale that the objective gives.
    """

    weight: float = 0.1
    growth: float = 10.0
    rounds: int = 4
    stage: LBFGS = field(default_factory=lambda: LBFGS(steps=40, memory=20, tolerance=1e-4))
    polish: LBFGS = field(default_factory=lambda: LBFGS(steps=100))
    kind: ClassVar[str] = "shooting"
    needs: ClassVar[tuple[str, ...]] = ("shooting",)

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        k, shooting = z.shape[1], ev.objective.shooting
        offsets = np.zeros((len(z), np.size(shooting.states) if shooting is not None else 0))
        v, alive = np.concatenate([z, offsets], axis=1), np.ones(len(z), bool)
        for stage in range(self.rounds):
            weight = self.weight * self.growth**stage
            which = np.flatnonzero(alive)
            out = self.stage.descend(
                ev, v[which], of="shooting", extra=weight, stage=f"shooting {weight:g}", which=which
            )
            v[which] = out.z
            alive[which] = np.isfinite(out.losses)
            if ev.spent or not alive.any():
                break
        return _polished(ev, v[:, :k], alive, np.zeros(len(z), bool), self.polish)


def _staged(
    ev: Evaluator,
    z: np.ndarray,
    of: Of,
    levels: list[float] | tuple[float, ...],
    stage: LBFGS,
    polish: LBFGS,
    keep: float,
) -> Outcome:
    if not 0 < keep <= 1:
        raise SettingError(f"The share of the starts to keep has to be above 0 and at most 1; found {keep!r}.")
    z, alive, pruned = z.copy(), np.ones(len(z), bool), np.zeros(len(z), bool)
    for level in levels:
        which = np.flatnonzero(alive & ~pruned)
        out = stage.descend(ev, z[which], of=of, extra=level, stage=f"{of} {level:g}", which=which)
        z[which] = out.z
        alive[which] = np.isfinite(out.losses)
        if ev.spent or not (alive & ~pruned).any():
            break
        order = which[np.argsort(out.losses, kind="stable")]
        pruned[order[max(1, math.ceil(keep * len(order))) :]] = True
    return _polished(ev, z, alive, pruned, polish)


def _polished(ev: Evaluator, z: np.ndarray, alive: np.ndarray, pruned: np.ndarray, polish: LBFGS) -> Outcome:
    which = np.flatnonzero(alive & ~pruned)
    losses = np.full(len(z), np.inf)
    ended = ["pruned" if p and a else "quarantined" for p, a in zip(pruned, alive, strict=True)]
    out = polish.descend(ev, z[which], stage="polish", which=which)
    z[which], losses[which] = out.z, out.losses
    for row, start in enumerate(which):
        ended[start] = out.ended[row]
    return Outcome(z, losses, ended)
