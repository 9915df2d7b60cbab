"""The stages of recipes that train networks to choose as an animal does: trials, networks, scores on held-out sessions.

Sessions are held out whole. Networks see the trials of the others as conditions (stimuli, and what came before) with
the share of each choice; their lapses and the regressions beside them are fitted to the same sessions. Choices of
held-out sessions are read by the stage `score` alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.data import rat_choices_path
from connectofit.fit import bootstrap_interval, group_folds
from connectofit.fit.behaviour import (
    HISTORY,
    PAST,
    ChoiceTrials,
    Past,
    choice_features,
    choice_nll,
    choice_regression,
    condition_table,
    contraction_bias,
    lapsed,
    network_chances,
    observed_task,
    read_choices,
    with_lapses,
)
from connectofit.fit.tasks import Condition, ObservedComparison
from connectofit.fit.train import TrainResult
from connectofit.pipelines.arrays import flatten_params, nest_params, read_arrays, write_arrays
from connectofit.pipelines.choices_settings import NetworkSettings, ScoreSettings, TrialsSettings
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_stages import Training, network_of, shown_activity, trained, weight_table

CHOICES, STIMULI, ANSWERS = "choices", "stimuli", "answers"
KEYS = ("first", "second")
_SURE = 1e-6  # chances are kept this far from 0 and 1


def trial_files(settings: TrialsSettings) -> dict[str, Path]:
    """The table that the stage `trials` reads."""
    return {"table": settings.table or rat_choices_path()}


def make_trials(context: StageContext) -> None:
    """The animal's trials, ``training.parquet`` and ``held_out.parquet``, the pairs of stimuli in both, and what
    reading found."""
    s: TrialsSettings = context.settings
    if s.fold >= s.folds:
        raise SettingError(f"trials.fold is the number of a part, from 0 to {s.folds - 1}; found {s.fold}.")
    path = context.files["table"]
    trials, report = read_choices(path, options=s.options, stimuli=s.stimuli, columns=dict(s.columns) or None)
    held = group_folds(trials.session.tolist(), s.folds, s.seed) == s.fold
    table = trials.to_pandas()
    table[~held].to_parquet(context.out / "training.parquet", index=False)
    table[held].to_parquet(context.out / "held_out.parquet", index=False)
    pairs = table[list(s.stimuli)].drop_duplicates().sort_values(list(s.stimuli))
    pairs.set_axis(list(KEYS), axis=1).to_parquet(context.out / "pairs.parquet", index=False)
    (context.out / "validation.json").write_text(report.to_json(), encoding="utf-8")
    (context.out / "names.json").write_text(json.dumps([list(s.options), list(s.stimuli)]), encoding="utf-8")


def read_part(folder: Path, *names: str) -> tuple[ChoiceTrials, tuple[str, str]]:
    """Parts that the stage `trials` wrote ("training", "held_out"), one after the other, and the names of the
    stimuli."""
    options, stimuli = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    table = pd.concat([pd.read_parquet(folder / f"{name}.parquet") for name in names], ignore_index=True)
    trials, _ = read_choices(table.drop(columns="reaction_ms"), options=options, stimuli=stimuli)
    return trials, (stimuli[0], stimuli[1])


def trainings(s: NetworkSettings) -> list[Training]:
    """All that the settings ask for; controls are of the network that learns choices."""
    found = [Training(name, seed) for name in s.networks for seed in s.seeds]
    return found + [Training(control, seed) for control in s.controls for seed in s.control_seeds]


def task_of_training(
    training: Training, s: NetworkSettings, trials: ChoiceTrials, stimuli: tuple[str, str]
) -> ObservedComparison:
    """What a network learns."""
    past = () if training.control in (STIMULI, ANSWERS) else s.past
    goal: Any = "answer" if training.control == ANSWERS else "choice"
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in s.task.items()}
    return observed_task(trials, stimuli=stimuli, past=past, goal=goal, **settings)


def train(context: StageContext) -> None:
    """All trainings. Writes the chances of every network in every condition, histories and weights, and of the first
    network its parameters and its activity before and after."""
    s: NetworkSettings = context.settings
    if not s.seeds or not s.networks:
        raise SettingError("train.seeds and train.networks have to name one or more each.")
    graph = Connectome.read(context.inputs["wiring"] / "connectome")
    trials, stimuli = read_part(context.inputs["trials"], "training")
    pairs = pd.read_parquet(context.inputs["trials"] / "pairs.parquet")
    todo = trainings(s)
    with context.bar(len(todo) * s.steps, "training", "step") as bar:
        for training in todo:
            _train_one(training, s, graph, trials, pairs, stimuli, context.work / training.name, bar.update)
    for name in ("chances", "history", "weights", "ends"):
        parts = [pd.read_parquet(context.work / t.name / f"{name}.parquet") for t in todo]
        pd.concat([p for p in parts if len(p)], ignore_index=True).to_parquet(
            context.out / f"{name}.parquet", index=False
        )
    first = todo[0]
    arrays = read_arrays(context.work / first.name / "parameters.npz")
    write_arrays(context.out / "parameters.npz", arrays)
    shutil.copy(context.work / first.name / "readout.json", context.out / "readout.json")
    task = task_of_training(first, s, trials, stimuli)
    before = network_of(first, s, graph, task)
    activity = {
        f"{when}_{name}": value
        for when, net in (("before", before), ("after", before.with_params(nest_params(arrays))))
        for name, value in shown_activity(net, task, first.seed).items()
    }
    write_arrays(context.out / "activity.npz", activity)
    told = {"periods": {k: [x * task.dt_ms for x in v] for k, v in task.periods.items()}, "dt_ms": task.dt_ms}
    (context.out / "task.json").write_text(json.dumps(told), encoding="utf-8")


def _train_one(
    training: Training,
    s: NetworkSettings,
    graph: Connectome,
    trials: ChoiceTrials,
    pairs: pd.DataFrame,
    stimuli: tuple[str, str],
    folder: Path,
    update: Callable[[int], object],
) -> None:
    if (folder / "done").exists():
        update(s.steps)
        return
    folder.mkdir(parents=True, exist_ok=True)
    task = task_of_training(training, s, trials, stimuli)
    net = network_of(training, s, graph, task)
    result = trained(training, s, net, task, folder, update)
    label: dict[str, Any] = {"control": training.control, "seed": training.seed}
    tables = {
        "chances": chance_table(result, task, pairs, each=s.each, seed=training.seed).assign(**label),
        "history": result.history.drop(columns="seed").assign(**label),
        "weights": weight_table(net, result.network).assign(**label),
        "ends": result.seeds.drop(columns="seed").assign(**label),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    write_arrays(folder / "parameters.npz", flatten_params(result.network.params))
    (folder / "readout.json").write_text(json.dumps(result.readout.to_dict()), encoding="utf-8")
    (folder / "done").touch()


def chance_table(
    result: TrainResult, task: ObservedComparison, pairs: pd.DataFrame, *, each: int, seed: int
) -> pd.DataFrame:
    """The network's ``chance`` of the second option for all pairs of stimuli, also those that no training session has,
    after all that can have come before."""
    kinds = pairs
    for name in task.past:
        kinds = kinds.merge(pd.DataFrame({f"before_{name}": [-1, 0, 1]}), how="cross")
    everywhere = replace(task, conditions=tuple(_condition(row, task.past) for row in kinds.to_dict("records")))
    return kinds.assign(chance=network_chances(result, everywhere, each=each, seed=seed))


def _condition(row: Mapping[Any, Any], past: tuple[str, ...]) -> Condition:
    before = tuple(int(row[f"before_{name}"]) for name in past)
    return Condition(float(row["first"]), float(row["second"]), before, 0.5, 1.0)


def score(context: StageContext) -> None:
    """Every model on the held-out sessions: chances of the choices, differences between models, contraction bias, and
    the share of choices by pair of stimuli. Intervals are from sessions drawn again."""
    s: ScoreSettings = context.settings
    trials, stimuli = read_part(context.inputs["trials"], "training", "held_out")
    held = np.arange(trials.n_rows) >= read_part(context.inputs["trials"], "training")[0].n_rows
    chances = pd.read_parquet(context.inputs["train"] / "chances.parquet")
    models, lapses = _models(trials, held, stimuli, chances)
    session = trials.session[held]
    groups = [np.flatnonzero(session == k) for k in np.unique(session)]

    def interval(values: Float[np.ndarray, "trial"]) -> tuple[float, float, float]:
        """Mean over trials, with its interval over sessions."""
        sums, sizes = (
            np.array([np.nansum(values[g]) for g in groups]),
            np.array([np.isfinite(values[g]).sum() for g in groups]),
        )
        found = bootstrap_interval(
            lambda k: float(sums[k].sum() / max(sizes[k].sum(), 1)), len(groups), seed=s.seed, n_resamples=s.resamples
        )
        return found.value, found.low, found.high

    losses = {name: np.stack([choice_nll(p, trials.choice) for p in given]) for name, given in models.items()}
    rows = []
    for name, loss in losses.items():
        each = ", ".join(f"{v:.4f}" for v in loss[:, held].mean(1))
        value, low, high = interval(loss.mean(0)[held])
        rows.append(
            {
                "model": name,
                "runs": len(loss),
                "training": float(loss[:, ~held].mean()),
                "held_out": value,
                "low": low,
                "high": high,
                "of_each_run": each,
                "lapse_0": lapses[name][0],
                "lapse_1": lapses[name][1],
                "trials": int(held.sum()),
                "sessions": len(groups),
            }
        )
    pd.DataFrame(rows).to_parquet(context.out / "scores.parquet", index=False)
    reference = losses[CHOICES].mean(0)[held] if CHOICES in losses else None
    apart = []
    for name, loss in losses.items() if reference is not None else ():
        if name != CHOICES:
            value, low, high = interval(loss.mean(0)[held] - reference)
            apart.append({"model": name, "difference": value, "low": low, "high": high})
    pd.DataFrame(apart, columns=["model", "difference", "low", "high"]).to_parquet(
        context.out / "differences.parquet", index=False
    )
    _bias(trials, held, stimuli, models, groups, s).to_parquet(context.out / "bias.parquet", index=False)
    _psychometric(trials, held, stimuli, models).to_parquet(context.out / "psychometric.parquet", index=False)


REGRESSION, WITH_HISTORY, SHARES, SHARES_PAST = "regression", "regression_history", "shares", "shares_past"


def _models(
    trials: ChoiceTrials, held: np.ndarray, stimuli: tuple[str, str], chances: pd.DataFrame
) -> tuple[dict[str, Float[np.ndarray, "run trial"]], dict[str, tuple[float, float]]]:
    """{model: the chance of option 1 in every trial, for each of its runs}, and the mean lapses of each. Everything is
    fitted to the training sessions."""
    models: dict[str, np.ndarray] = {}
    lapses: dict[str, tuple[float, float]] = {}
    training = ~held
    for name in chances["control"].unique():
        own = chances[chances["control"] == name]
        past = tuple(p for p in PAST if f"before_{p}" in own and own[f"before_{p}"].notna().all())
        kinds, which = condition_table(trials, stimuli=stimuli, past=past)
        keys = [*KEYS, *(f"before_{p}" for p in past)]
        runs, found = [], []
        for _, part in own.groupby("seed"):
            chance = kinds.merge(part[[*keys, "chance"]], on=keys, how="left")["chance"].to_numpy()[which]
            fitted, _ = with_lapses(chance[training], trials.choice[training])
            found.append(fitted)
            runs.append(lapsed(chance, fitted))
        models[name] = np.clip(np.stack(runs), _SURE, 1 - _SURE)
        lapses[name] = (float(np.mean([f[0] for f in found])), float(np.mean([f[1] for f in found])))
    for name, history in ((REGRESSION, ()), (WITH_HISTORY, HISTORY)):
        features = choice_features(trials, history=history)
        fit = choice_regression(features[training], trials.choice[training], lapses=True)
        models[name], lapses[name] = fit.probability(features)[None], fit.lapses
    told: tuple[tuple[str, tuple[Past, ...]], ...] = ((SHARES, ()), (SHARES_PAST, PAST))
    for name, past in told:
        kinds, which = condition_table(trials, stimuli=stimuli, past=past)
        n = np.bincount(which[training], minlength=len(kinds))
        ones = np.bincount(which[training], trials.choice[training], minlength=len(kinds))
        models[name], lapses[name] = ((ones + 1.0) / (n + 2.0))[which][None], (0.0, 0.0)
    return models, lapses


def _bias(
    trials: ChoiceTrials,
    held: np.ndarray,
    stimuli: tuple[str, str],
    models: Mapping[str, np.ndarray],
    groups: list[np.ndarray],
    s: ScoreSettings,
) -> pd.DataFrame:
    """Contraction bias of the animal and of every model, in the held-out sessions; the mean is that of the training
    sessions' stimuli."""
    first, second = (trials.stimuli[name][held] for name in stimuli)
    mean = float(np.mean([trials.stimuli[name][~held] for name in stimuli]))
    answer = trials.answer[held]
    right = {"animal": trials.correct[held]}
    for name, chance in models.items():
        p = chance.mean(0)[held]
        right[name] = np.where(answer < 0, np.nan, np.where(answer == 1, p, 1.0 - p))
    rows = []
    for name, values in right.items():

        def difference(k: np.ndarray, values: np.ndarray = values) -> float:
            rows = np.concatenate([groups[i] for i in k])
            return contraction_bias(values[rows], first[rows], second[rows], mean).difference

        found = contraction_bias(values, first, second, mean)
        interval = bootstrap_interval(difference, len(groups), seed=s.seed, n_resamples=s.resamples)
        rows.append(
            {
                "model": name,
                "helps": found.helps,
                "hurts": found.hurts,
                "difference": found.difference,
                "low": interval.low,
                "high": interval.high,
                "n_helps": found.n_helps,
                "n_hurts": found.n_hurts,
                "mean": mean,
            }
        )
    return pd.DataFrame(rows)


def _psychometric(
    trials: ChoiceTrials, held: np.ndarray, stimuli: tuple[str, str], models: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """The share of option 1 by pair of stimuli in held-out sessions, the animal's and each model's."""
    columns = {"first": trials.stimuli[stimuli[0]][held], "second": trials.stimuli[stimuli[1]][held]}
    table = pd.DataFrame({**columns, "animal": trials.choice[held]})
    for name, chance in models.items():
        table[name] = chance.mean(0)[held]
    grouped = table.groupby(list(KEYS))
    return grouped.mean().assign(trials=grouped.size()).reset_index()
