"""The pipeline that trains networks to choose as an animal does: whole sessions held out, scores by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit.train import evaluate_network
from connectofit.pipelines import Pipeline
from connectofit.pipelines.choices_settings import NetworkSettings, ScoreSettings
from connectofit.pipelines.choices_stages import (
    ANSWERS,
    CHOICES,
    REGRESSION,
    SHARES,
    STIMULI,
    read_part,
    score,
    task_of_training,
    trainings,
)
from connectofit.pipelines.task_export import load_trained
from connectofit.pipelines.task_stages import Training

CHANCE = {(1.0, 2.0): 0.2, (2.0, 1.0): 0.7, (2.0, 3.0): 0.4, (3.0, 2.0): 0.9}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """12 sessions of 40 trials, whose choices are drawn by the pair alone."""
    rng, rows = np.random.default_rng(0), []
    pairs = list(CHANCE)
    for session in range(12):
        for trial, k in enumerate(rng.integers(4, size=40)):
            a, b = pairs[k]
            choice = "r" if rng.random() < CHANCE[a, b] else "l"
            rows.append((f"day {session}", trial, a, b, choice, "r" if a > b else "l"))
    path = tmp_path_factory.mktemp("trials") / "trials.csv"
    pd.DataFrame(rows, columns=["session", "trial", "s1", "s2", "choice", "answer"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def settings(table):
    return {
        "trials.table": str(table),
        "trials.options": ["l", "r"],
        "trials.folds": 3,
        "wiring.neurons": 30,
        "wiring.density": 0.2,
        "train.networks": ["choices"],
        "train.past": ["choice"],
        "train.task": {
            "fixation_ms": 10.0,
            "first_ms": 20.0,
            "delay_ms": 10.0,
            "second_ms": 20.0,
            "answer_ms": 20.0,
            "neurons_per_group": 5,
        },
        "train.delays_ms": [],
        "train.steps": 3,
        "train.interval": 3,
        "train.batch": 16,
        "train.validation": 16,
        "train.each": 20,
        "train.seeds": [0],
        "train.controls": [],
        "score.resamples": 50,
    }


@pytest.fixture(scope="module")
def result(settings, tmp_path_factory):
    """The whole of a tiny run."""
    return Pipeline.load("working_memory", settings).run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def trials(settings, tmp_path_factory):
    """The folder of the stage `trials`."""
    run = Pipeline.load("working_memory", settings).run(tmp_path_factory.mktemp("trials") / "run", until="trials")
    return run.path("trials")


@pytest.fixture(scope="module")
def scored(trials, tmp_path_factory):
    """What `score` makes of two networks that give the chances that the choices were drawn by, with 10 % lapses."""
    made, out = tmp_path_factory.mktemp("train"), tmp_path_factory.mktemp("score")
    rows = [
        (a, b, before, 0.1 + 0.8 * chance, "choices", seed)
        for (a, b), chance in CHANCE.items()
        for before in (-1, 0, 1)
        for seed in (0, 1)
    ]
    columns = ["first", "second", "before_choice", "chance", "control", "seed"]
    pd.DataFrame(rows, columns=columns).to_parquet(made / "chances.parquet")
    settings = ScoreSettings(resamples=50)
    score(SimpleNamespace(settings=settings, inputs={"trials": trials, "train": made}, out=out))
    return out


def test_sessions_are_held_out_whole_and_nothing_is_lost(settings, table, tmp_path):
    run = Pipeline.load("working_memory", settings).run(tmp_path / "run", until="trials")
    parts = {n: pd.read_parquet(run.path("trials", f"{n}.parquet")) for n in ("training", "held_out")}
    days = {name: set(part["session"]) for name, part in parts.items()}
    assert not days["training"] & days["held_out"]
    assert (len(days["training"]), len(days["held_out"])) == (8, 4)
    assert sum(len(part) for part in parts.values()) == len(pd.read_csv(table))
    pairs = pd.read_parquet(run.path("trials", "pairs.parquet"))
    assert [tuple(row) for row in pairs.to_numpy().tolist()] == sorted(CHANCE)


def test_a_part_that_does_not_exist_is_refused(settings, tmp_path):
    with pytest.raises(SettingError, match="from 0 to 2"):
        Pipeline.load("working_memory", settings | {"trials.fold": 3}).run(tmp_path / "run", until="trials")


def test_networks_learn_from_training_sessions_alone(trials):
    trials, stimuli = read_part(trials, "training")
    s = NetworkSettings(past=("choice",))
    told = task_of_training(Training(STIMULI, 0), s, trials, stimuli)
    for condition in told.conditions:
        own = (trials.stimuli["s1"] == condition.first) & (trials.stimuli["s2"] == condition.second)
        assert condition.chance == pytest.approx(trials.choice[own].mean())
        assert condition.share == own.sum()
    right = task_of_training(Training(ANSWERS, 0), s, trials, stimuli)
    assert {(c.first > c.second, c.chance) for c in right.conditions} == {(True, 1.0), (False, 0.0)}
    past = task_of_training(Training(CHOICES, 0), s, trials, stimuli)
    assert past.past == ("choice",)
    assert task_of_training(Training("rewired", 0), s, trials, stimuli) == past


@pytest.mark.slow
def test_held_out_choices_have_no_effect_on_training(settings, table, result, tmp_path):
    """Choices of held-out sessions are turned round: what the networks learn stays the same, bit for bit."""
    held = set(pd.read_parquet(result.path("trials", "held_out.parquet"))["session"])
    changed = pd.read_csv(table)
    rows = changed["session"].isin(held)
    changed.loc[rows, "choice"] = changed.loc[rows, "choice"].map({"l": "r", "r": "l"})
    changed.to_csv(tmp_path / "changed.csv", index=False)
    other = Pipeline.load("working_memory", settings | {"trials.table": str(tmp_path / "changed.csv")})
    chances = pd.read_parquet(other.run(tmp_path / "run", until="train").path("train", "chances.parquet"))
    first = pd.read_parquet(result.path("train", "chances.parquet"))
    first = first[(first["control"] == "choices") & (first["seed"] == 0)].reset_index(drop=True)
    np.testing.assert_array_equal(first["chance"], chances["chance"])


def test_every_model_is_scored_on_the_same_held_out_trials(scored, trials):
    scores = pd.read_parquet(scored / "scores.parquet").set_index("model")
    assert {"choices", "regression", "regression_history", "shares", "shares_past"} == set(scores.index)
    assert scores["trials"].nunique() == 1
    assert scores.loc["choices", "runs"] == 2
    assert ((scores["low"] <= scores["held_out"]) & (scores["held_out"] <= scores["high"])).all()
    # The shares of training sessions, scored by hand.
    parts = {n: pd.read_parquet(trials / f"{n}.parquet") for n in ("training", "held_out")}
    chosen = {n: (part["choice"] == "r").groupby([part["s1"], part["s2"]]) for n, part in parts.items()}
    p = (chosen["training"].sum() + 1) / (chosen["training"].count() + 2)
    n, k = chosen["held_out"].count(), chosen["held_out"].sum()
    expected = -(k * np.log(p) + (n - k) * np.log(1 - p)).sum() / n.sum()
    assert scores.loc[SHARES, "held_out"] == pytest.approx(expected)
    # Chances drawn towards a half are no lapses: none are found, and the network's chances are scored as they are.
    given = pd.Series({pair: 0.1 + 0.8 * chance for pair, chance in CHANCE.items()}).reindex(n.index)
    expected = -(k * np.log(given) + (n - k) * np.log(1 - given)).sum() / n.sum()
    assert scores.loc["choices", "held_out"] == pytest.approx(expected, abs=2e-3)
    apart = pd.read_parquet(scored / "differences.parquet").set_index("model")
    difference = scores.loc[REGRESSION, "held_out"] - scores.loc[CHOICES, "held_out"]
    assert apart.loc[REGRESSION, "difference"] == pytest.approx(difference)


def test_bias_and_shares_are_those_of_the_animals_trials(scored, trials):
    held = pd.read_parquet(trials / "held_out.parquet")
    training = pd.read_parquet(trials / "training.parquet")
    bias = pd.read_parquet(scored / "bias.parquet").set_index("model").loc["animal"]
    mean = training[["s1", "s2"]].to_numpy().mean()
    assert bias["mean"] == pytest.approx(mean)
    away = np.sign(mean - held["s1"]) * np.sign(held["s1"] - held["s2"])
    right = held["choice"] == held["answer"]
    assert bias["helps"] == pytest.approx(right[away > 0].mean())
    assert bias["hurts"] == pytest.approx(right[away < 0].mean())
    shares = pd.read_parquet(scored / "psychometric.parquet")
    expected = (held["choice"] == "r").groupby([held["s1"], held["s2"]]).mean()
    np.testing.assert_allclose(shares["animal"], expected)


@pytest.mark.slow
def test_the_report_and_the_bundle_tell_the_result(result):
    report = result.path("report", "report.html").read_text()
    assert "regression, history and session mean too" in report
    assert "Contraction bias" in report
    net, readout, task = load_trained(result.path("export", "model"))
    assert task.past == ("choice",)
    assert len(task.conditions) > 4
    table = evaluate_network(net, readout, task, n_trials=20)
    assert set(table["answer"]) <= {0, 1}


def test_controls_are_of_the_network_that_learns_choices():
    s = NetworkSettings(networks=("choices",), seeds=(4,), controls=("rewired",), control_seeds=(7,))
    assert [t.name for t in trainings(s)] == ["choices-4", "rewired-7"]


def test_names_of_options_go_with_the_trials(trials):
    assert json.loads((trials / "names.json").read_text()) == [["l", "r"], ["s1", "s2"]]
