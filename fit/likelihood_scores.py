"""Held-out likelihoods against what is known without a network: nats gained per trial or per spike.

    gain = (sum of the baseline's negative log-likelihoods - sum of the model's) / (number of trials or spikes)

The baseline knows the training data's marginal alone: the share of choices, the rate of answers, or each neuron's rate
of spikes (of the latter the gain is the "log-likelihood per spike" of Pillow et al. 2008, Nature 454:995, in nats).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.intervals import Interval, bootstrap_interval
from connectofit.fit.objectives import Objective


class ScoredObjective(Objective):
    """An objective whose likelihoods can be set against a baseline's. unit: what its data are counted in."""

    unit: ClassVar[str]

    @abstractmethod
    def counted(self) -> Float[np.ndarray, "row"]:
        """How many units (trials, spikes) every row has."""

    @abstractmethod
    def baseline(self, training: Any) -> Float[np.ndarray, "row"]:
        """Negative log-likelihood of every row under the marginal of `training`, an objective of the same type."""


@dataclass(frozen=True)
class LikelihoodScore:
    """model, baseline: negative log-likelihoods in nats per unit. gain: baseline less model. unit: "trial" or "spike".
    n: how many there are. interval: of the gain over groups of rows drawn again, None where there is one group."""

    model: float
    baseline: float
    gain: float
    unit: str
    n: int
    interval: Interval | None


def likelihood_score(
    objective: ScoredObjective,
    predicted: Float[np.ndarray, "row *outcome"],
    training: ScoredObjective,
    *,
    seed: int = 0,
    level: float = 0.95,
    n_resamples: int = 999,
) -> LikelihoodScore:
    """The score of predictions for the rows of `objective`, as `FitResult.predict` or `cross_validate` makes them.

    training: the rows that the fit has seen, from which the baseline is taken. seed, level, n_resamples: of the
    interval (`bootstrap_interval`).

    Raises `SettingError` for predictions of other rows, training of another type, and data without a trial or spike.
    """
    if type(training) is not type(objective):
        raise SettingError(
            f"A baseline of {type(objective).__name__} needs training data of the same type; found "
            f"{type(training).__name__}."
        )
    if len(predicted) != objective.n_rows:
        raise SettingError(
            f"Predictions are needed for each of the {objective.n_rows} rows; found {len(predicted)}. Predict the same "
            "subset that is scored."
        )
    model = np.asarray(objective.loss(jnp.asarray(predicted)), float)
    baseline, counted = objective.baseline(training), objective.counted()
    total = float(counted.sum())
    if not total:
        raise SettingError(f"There is no {objective.unit} among the {objective.n_rows} rows to score. Take more rows.")
    _, group = np.unique(np.asarray(objective.group), return_inverse=True)
    sums = np.stack([np.bincount(group, weights=values) for values in (model, baseline, counted)])

    def gain(units: np.ndarray) -> float:
        a, b, n = sums[:, units].sum(1)
        return float((b - a) / n) if n else float("nan")

    interval = None
    if sums.shape[1] > 1:
        interval = bootstrap_interval(gain, sums.shape[1], seed=seed, level=level, n_resamples=n_resamples)
    a, b = float(model.sum()) / total, float(baseline.sum()) / total
    return LikelihoodScore(a, b, b - a, objective.unit, round(total), interval)
