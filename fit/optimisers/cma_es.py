"""CMA-ES: a population drawn from a normal distribution whose mean, step and covariance follow the better half.

Hansen 2016, The CMA Evolution Strategy: A Tutorial (arXiv 1604.00772), figure 6 and table 1 with the positive weights
only; a run whose step has become small, or which has stood still, is begun anew with twice the population (Auger &
Hansen 2005, IEEE CEC, IPOP). It searches shares of the ranges, which are mirrored at the bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from connectofit.fit.optimisers.evaluation import Evaluator
from connectofit.fit.optimisers.objective import Box
from connectofit.fit.optimisers.search import Optimiser, Outcome


@dataclass(frozen=True)
class CMAES(Optimiser):
    """Covariance matrix adaptation, begun at the best of the starts.

    step: standard deviation of the first population, in shares of the range. population: None for 4 + 3 ln k.
    generations: at most so many in all. restarts: at most so many runs after the first, the next from a random point.
    tolerance: a run ends when its step times the longest axis is below it, or when over 30 + 30 k / population
    generations the loss has not fallen by a 1e-8th.
    """

    step: float = 0.3
    population: int | None = None
    generations: int = 10_000
    restarts: int = 9
    tolerance: float = 1e-6
    kind: ClassVar[str] = "cma"

    def run(self, ev: Evaluator, z: Float[np.ndarray, "start k"], seed: int) -> Outcome:
        k, rng = z.shape[1], np.random.default_rng(seed)
        size = self.population or 4 + int(3 * math.log(k))
        losses = ev.losses(z)
        mean = _share(z[int(np.argmin(losses))])
        ends_z, ends_f, ended = [], [], []
        generation = 0
        for run in range(self.restarts + 1):
            best, best_f, why, generation = self._one(ev, mean, size * 2**run, rng, run, generation)
            ends_z.append(Box.from_share(best))
            ends_f.append(best_f)
            ended.append(why)
            if why in ("budget", "steps"):
                break
            mean = rng.random((k,))
        return Outcome(np.array(ends_z), np.array(ends_f), ended)

    def _one(
        self, ev: Evaluator, mean: np.ndarray, size: int, rng: np.random.Generator, run: int, generation: int
    ) -> tuple[np.ndarray, float, str, int]:
        """A run from `mean`: its best share, the loss there, why it ended and how many generations have passed."""
        k = len(mean)
        parents = size // 2
        w = math.log((size + 1) / 2) - np.log(np.arange(1, parents + 1))
        w /= w.sum()
        mu = 1.0 / np.sum(w**2)
        c_s, c_c = (mu + 2) / (k + mu + 5), (4 + mu / k) / (k + 4 + 2 * mu / k)
        damping = 1 + 2 * max(0.0, math.sqrt((mu - 1) / (k + 1)) - 1) + c_s
        c_1 = 2 / ((k + 1.3) ** 2 + mu)
        c_mu = min(1 - c_1, 2 * (mu - 2 + 1 / mu) / ((k + 2) ** 2 + mu))
        length = math.sqrt(k) * (1 - 1 / (4 * k) + 1 / (21 * k**2))  # of a standard normal vector
        sigma, c, path_s, path_c = self.step, np.eye(k), np.zeros(k), np.zeros(k)
        best, best_f, since, count = mean, np.inf, 0, 0
        while True:
            if ev.spent:
                return best, best_f, "budget", generation
            if generation >= self.generations:
                return best, best_f, "steps", generation
            values, axes = np.linalg.eigh(c)
            scales = np.sqrt(np.maximum(values, 1e-20))
            y = (rng.standard_normal((size, k)) * scales) @ axes.T
            place = mean + sigma * y
            f = ev.losses(Box.from_share(mirrored(place)))
            order = np.argsort(f, kind="stable")
            fell = f[order[0]] < best_f - 1e-8 * abs(best_f) if np.isfinite(best_f) else np.isfinite(f[order[0]])
            since = 0 if fell else since + 1
            if f[order[0]] < best_f:
                best, best_f = mirrored(place[order[0]]), float(f[order[0]])
            ev.record("cma", generation, np.array([run]), np.array([best_f]))
            generation, count = generation + 1, count + 1
            if not np.isfinite(f[order[0]]):
                return best, best_f, "quarantined", generation
            y = y[order[:parents]]
            move = w @ y
            mean = mean + sigma * move
            path_s = (1 - c_s) * path_s + math.sqrt(c_s * (2 - c_s) * mu) * (axes @ ((axes.T @ move) / scales))
            norm = float(np.linalg.norm(path_s))
            calm = norm / math.sqrt(1 - (1 - c_s) ** (2 * count)) < (1.4 + 2 / (k + 1)) * length
            path_c = (1 - c_c) * path_c + calm * math.sqrt(c_c * (2 - c_c) * mu) * move
            lost = (1 - calm) * c_1 * c_c * (2 - c_c)
            c = (1 - c_1 - c_mu + lost) * c + c_1 * np.outer(path_c, path_c) + c_mu * (y.T * w) @ y
            sigma = min(sigma * math.exp((c_s / damping) * (norm / length - 1)), 1.0)
            if sigma * scales.max() < self.tolerance or since > 30 + 30 * k / size:
                return best, best_f, "converged", generation


def mirrored(place: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
    """Places on the whole line as shares from 0 to 1: mirrored at the bounds."""
    return 1.0 - np.abs(1.0 - np.mod(place, 2.0))


def _share(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))
