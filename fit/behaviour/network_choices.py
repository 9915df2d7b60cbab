"""Networks that choose as an animal does: from trials to a task, and from a trained network to chances of choices.

A network's choice is drawn from its outputs, whose noise is that of its input spikes, so that the chance of a choice
is the mean over many trials of the same condition. Lapses, in which the animal does not look, are added afterwards:
fitted to the same sessions that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import expit

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.behaviour.choice_models import LARGEST_LAPSE, choice_nll
from connectofit.fit.behaviour.choices import ChoiceTrials
from connectofit.fit.tasks.observed import Condition, ObservedComparison
from connectofit.fit.train.result import TrainResult, evaluate_task

Past = Literal["choice", "answer"]
PAST: tuple[Past, ...] = ("choice", "answer")


def condition_table(
    trials: ChoiceTrials, *, stimuli: tuple[str, str], past: Sequence[Past] = ()
) -> tuple[pd.DataFrame, Int[np.ndarray, "trial"]]:
    """The conditions of trials, one row each (``first``, ``second``, ``before_NAME``, ``trials``), and the row that
    each trial belongs to. before: -1 and 1 for the first and the second option, 0 in the first trial of a session.

    Raises `SettingError` for other than two options, `UnknownNameError` for stimuli and pasts that do not exist.
    """
    if len(trials.options) != 2:
        raise SettingError(f"A comparison has two options; these trials have {len(trials.options)}.")
    for name in stimuli:
        if name not in trials.stimuli:
            raise unknown_name("stimulus", name, trials.stimuli)
    for name in past:
        if name not in PAST:
            raise unknown_name("past", str(name), PAST)
    columns: dict[str, np.ndarray] = {"first": trials.stimuli[stimuli[0]], "second": trials.stimuli[stimuli[1]]}
    for name in past:
        codes = trials.choice if name == "choice" else trials.answer
        before = codes[trials.previous]
        columns[f"before_{name}"] = np.where((trials.previous >= 0) & (before >= 0), 2 * before - 1, 0)
    table = pd.DataFrame(columns)
    grouped = table.groupby(list(columns), sort=True)
    kinds = grouped.size().rename("trials").reset_index()
    return kinds, grouped.ngroup().to_numpy()


def observed_task(
    trials: ChoiceTrials,
    *,
    stimuli: tuple[str, str],
    past: Sequence[Past] = (),
    goal: Literal["choice", "answer"] = "choice",
    **settings: Any,
) -> ObservedComparison:
    """The task of these trials: with the animal's choices as answers, or with the right ones.

    settings: of `ObservedComparison`. Raises as `condition_table`, and `SettingError` where trials have no choice, or
    for goal "answer" no answer.
    """
    if goal not in ("choice", "answer"):
        raise unknown_name("goal", str(goal), ("choice", "answer"))
    kinds, which = condition_table(trials, stimuli=stimuli, past=past)
    if goal == "answer" and (trials.answer < 0).any():
        raise SettingError(f"{int((trials.answer < 0).sum())} trials have no answer to learn; leave them out.")
    if goal == "choice" and (trials.choice < 0).any():
        raise SettingError(f"{int((trials.choice < 0).sum())} trials have no choice to learn; leave them out.")
    found = pd.Series(trials.choice if goal == "choice" else trials.answer).groupby(which).mean().to_numpy()
    conditions = tuple(
        Condition(
            float(row["first"]),
            float(row["second"]),
            tuple(int(row[f"before_{name}"]) for name in past),
            float(found[k]),
            float(row["trials"]),
        )
        for k, row in enumerate(kinds.to_dict("records"))
    )
    return ObservedComparison(conditions=conditions, past=tuple(past), **settings)


def network_chances(
    result: TrainResult, task: ObservedComparison, *, each: int = 200, seed: int = 0
) -> Float[np.ndarray, "condition"]:
    """The chance that a trained network gives answer 1 in each condition of a task: the softmax of its mean outputs
    while the answer counts, in the mean over the seeds' networks and about `each` trials a condition."""
    n = len(task.conditions)
    even = replace(task, conditions=tuple(c._replace(share=1.0) for c in task.conditions))
    table = evaluate_task(result, task=even, n_trials=each * n, seed=seed).trials
    chance = expit((table["output_1"] - table["output_0"]).to_numpy(float))
    mean = pd.Series(chance).groupby(table["condition"].to_numpy()).mean().reindex(range(n))
    if mean.isna().any():
        raise SettingError(f"No trial of {int(mean.isna().sum())} conditions was drawn; take more trials for each.")
    return mean.to_numpy()


def with_lapses(
    chance: Float[np.ndarray, "trial"], choice: Int[np.ndarray, "trial"]
) -> tuple[tuple[float, float], float]:
    """Lapses (l_0, l_1) that make l_1 + (1 - l_0 - l_1) p most likely, from 0 to `LARGEST_LAPSE` each, and the negative
    log likelihood a trial [nats]."""
    p, y = np.clip(np.asarray(chance, float), 1e-9, 1 - 1e-9), np.asarray(choice)

    def loss(lapses: np.ndarray) -> float:
        return float(choice_nll(lapsed(p, (lapses[0], lapses[1])), y).mean())

    found = minimize(loss, [0.02, 0.02], method="L-BFGS-B", bounds=[(0.0, LARGEST_LAPSE)] * 2)
    return (float(found.x[0]), float(found.x[1])), float(found.fun)


def lapsed(chance: Float[np.ndarray, "trial"], lapses: tuple[float, float]) -> Float[np.ndarray, "trial"]:
    """The chance of answer 1 with lapses."""
    first, second = lapses
    return second + (1.0 - first - second) * np.asarray(chance, float)
