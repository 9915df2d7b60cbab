"""What an animal's choices are compared with before a network is asked for them: regressions with lapses.

    P(second option) = l_1 + (1 - l_0 - l_1) sigmoid(w . x + b)

x are numbers that are known before the choice: stimuli, what happened in the trial before, the mean of the session's
stimuli so far. l_0 and l_1 are lapses (Wichmann & Hill 2001, Percept Psychophys 63:1293), the chances to choose
against what one sees. Fitted by maximum likelihood with a weak normal prior on the weights of standardised x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize
from scipy.special import expit, log_expit, xlogy

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.fit.behaviour.choices import ChoiceTrials

History = Literal["stimuli", "choice", "answer", "session_mean"]
HISTORY: tuple[History, ...] = ("stimuli", "choice", "answer", "session_mean")
LARGEST_LAPSE = 0.4


def choice_features(
    trials: ChoiceTrials, *, history: Sequence[History] = (), stimuli: Sequence[str] | None = None
) -> pd.DataFrame:
    """What an animal can go by, one column each: the stimuli, and of what came before in the session

        "stimuli": those of the trial before; "choice", "answer": -1 for the first option, 1 for the second, of the
        trial before; "session_mean": the mean of all stimuli of the session's earlier trials.

    0 in the first trial of a session, and where no answer is known. stimuli: which; all where left out. Raises
    `UnknownNameError`, and `SettingError` for trials with other than two options.
    """
    if len(trials.options) != 2:
        raise SettingError(f"These features are for choices between two options; found {len(trials.options)}.")
    names = list(trials.stimuli) if stimuli is None else list(stimuli)
    for name in names:
        if name not in trials.stimuli:
            raise unknown_name("stimulus", name, trials.stimuli)
    for kind in history:
        if kind not in HISTORY:
            raise unknown_name("kind of history", str(kind), HISTORY, "choice_features")
    found = {name: np.asarray(trials.stimuli[name], float) for name in names}
    before = trials.previous
    known = before >= 0
    if "stimuli" in history:
        found |= {f"previous_{name}": np.where(known, trials.stimuli[name][before], 0.0) for name in names}
    if "choice" in history:
        chosen = known & (trials.choice[before] >= 0)
        found["previous_choice"] = np.where(chosen, 2.0 * trials.choice[before] - 1.0, 0.0)
    if "answer" in history:
        answered = known & (trials.answer[before] >= 0)
        found["previous_answer"] = np.where(answered, 2.0 * trials.answer[before] - 1.0, 0.0)
    if "session_mean" in history:
        found["session_mean"] = running_mean(trials, names)
    return pd.DataFrame(found)


def running_mean(trials: ChoiceTrials, stimuli: Sequence[str]) -> Float[np.ndarray, "trial"]:
    """The mean over the stimuli of the session's earlier trials, 0 in its first."""
    both = np.mean([trials.stimuli[name] for name in stimuli], axis=0)
    earlier = pd.Series(both).groupby(trials.session).cumsum().to_numpy() - both
    n = pd.Series(both).groupby(trials.session).cumcount().to_numpy()
    return np.where(n > 0, earlier / np.maximum(n, 1), 0.0)


@dataclass(frozen=True, eq=False)
class ChoiceRegression:
    """A fitted regression. weights: by feature, in log-odds of the second option for one unit of the feature. bias:
    log-odds at 0. lapses: (l_0, l_1). nll: of the trials that it was fitted to, in nats a trial."""

    weights: pd.Series
    bias: float
    lapses: tuple[float, float]
    nll: float
    n_trials: int = field(default=0)

    def probability(self, features: pd.DataFrame) -> Float[np.ndarray, "trial"]:
        """Of the second option. Raises `SettingError` if the features are not those of the fit."""
        if list(features.columns) != list(self.weights.index):
            raise SettingError(
                f"The regression was fitted to {', '.join(self.weights.index)}; found {', '.join(features.columns)}."
            )
        first, second = self.lapses
        logit = features.to_numpy(float) @ self.weights.to_numpy() + self.bias
        return second + (1.0 - first - second) * expit(logit)


def choice_regression(
    features: pd.DataFrame, choice: Int[np.ndarray, "trial"], *, lapses: bool = False, prior_sd: float = 10.0
) -> ChoiceRegression:
    """Fit a regression to choices (0 or 1). lapses: fitted up to `LARGEST_LAPSE` each, else 0. prior_sd: of the weights
    of standardised features; 10 log-odds keeps them finite where an option is perfectly predicted.

    Raises `SettingError` for features and choices that do not match, are not finite or are of one option only,
    `DivergedError` if the fit does not converge.
    """
    x, y = features.to_numpy(float), np.asarray(choice)
    if x.shape[0] != y.shape[0] or not len(y) or not np.isfinite(x).all():
        raise SettingError(
            f"A regression needs finite features for every choice; found {x.shape[0]} rows of features, "
            f"{int((~np.isfinite(x)).sum())} numbers in them that are not finite, and {len(y)} choices."
        )
    if set(np.unique(y)) != {0, 1}:
        raise SettingError(f"A regression needs choices of both options, 0 and 1; found {np.unique(y).tolist()}.")
    middle, scale = x.mean(axis=0), np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1.0)
    z = np.column_stack([(x - middle) / scale, np.ones(len(y))])
    prior = np.append(np.full(x.shape[1], prior_sd**-2.0), 0.0)

    def loss(p: np.ndarray) -> tuple[float, np.ndarray]:
        w, (first, second) = p[: z.shape[1]], p[z.shape[1] :] if lapses else (0.0, 0.0)
        logit = z @ w
        share, span = expit(logit), 1.0 - first - second
        if not lapses:
            value = -np.where(y == 1, log_expit(logit), log_expit(-logit)).sum()
            return value + 0.5 * prior @ w**2, z.T @ (share - y) + prior * w
        chance = np.clip(second + span * share, 1e-12, 1.0 - 1e-12)
        slope = (1 - y) / (1.0 - chance) - y / chance  # of the loss by the chance
        by_w = z.T @ (slope * span * share * (1.0 - share)) + prior * w
        by_lapse = [-(slope * share).sum(), (slope * (1.0 - share)).sum()]
        return _nll(chance, y) * len(y) + 0.5 * prior @ w**2, np.append(by_w, by_lapse)

    start = np.append(np.zeros(z.shape[1]), [0.02, 0.02] if lapses else [])
    bounds = [(None, None)] * z.shape[1] + [(0.0, LARGEST_LAPSE)] * (2 if lapses else 0)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-12})
    if not np.isfinite(found.fun):
        raise DivergedError(f"The regression of {len(y)} choices did not converge: {found.message}")
    w = found.x[: x.shape[1]] / scale
    first, second = found.x[z.shape[1] :] if lapses else (0.0, 0.0)
    fitted = ChoiceRegression(
        pd.Series(w, index=list(features.columns)),
        float(found.x[x.shape[1]] - w @ middle),
        (float(first), float(second)),
        float("nan"),
        len(y),
    )
    nll = _nll(fitted.probability(features), y)
    return ChoiceRegression(fitted.weights, fitted.bias, fitted.lapses, nll, len(y))


def choice_nll(probability: Float[np.ndarray, "trial"], choice: Int[np.ndarray, "trial"]) -> Float[np.ndarray, "trial"]:
    """Minus the logarithm of the probability that was given to each choice [nats]; infinite where it was 0."""
    p = np.asarray(probability, float)
    with np.errstate(divide="ignore"):
        return -np.where(np.asarray(choice) == 1, np.log(p), np.log1p(-p))


def _nll(probability: np.ndarray, choice: np.ndarray) -> float:
    return float(-np.mean(xlogy(choice, probability) + xlogy(1 - choice, 1.0 - probability)))


@dataclass(frozen=True)
class ContractionBias:
    """How much better an animal does when the first stimulus lies so that a memory drawn to the mean of past stimuli
    helps: accuracy where it `helps`, where it `hurts`, their difference, and how many trials each is of."""

    helps: float
    hurts: float
    difference: float
    n_helps: int
    n_hurts: int


def contraction_bias(
    right: Float[np.ndarray, "trial"],
    first: Float[np.ndarray, "trial"],
    second: Float[np.ndarray, "trial"],
    mean: Float[np.ndarray, "trial"] | float = 0.0,
    *,
    rows: Bool[np.ndarray, "trial"] | None = None,
) -> ContractionBias:
    """Of comparisons of a first stimulus with a later second one.

    right: 1 where the choice was right, else 0, or the probability that a model gives to the right one. A memory of the
    first stimulus that is drawn to `mean` helps where that moves it away from the second, and hurts where it moves
    towards it (Ashourian & Loewenstein 2011, PLoS One 6:e19551; Akrami et al. 2018, Nature 554:368). Trials with first
    or second at the mean, equal stimuli, and those whose `right` is NaN do not count.
    """
    right, first, second = (np.asarray(a, float) for a in (right, first, second))
    pull, apart = np.sign(mean - first), np.sign(first - second)
    used = np.isfinite(right) & (pull * apart != 0)
    used = used if rows is None else used & rows
    helps, hurts = used & (pull * apart > 0), used & (pull * apart < 0)
    a, b = (float(right[k].mean()) if k.any() else float("nan") for k in (helps, hurts))
    return ContractionBias(a, b, a - b, int(helps.sum()), int(hurts.sum()))
