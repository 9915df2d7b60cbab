"""The cell recipe on the cells that ship with the package, and on a user's table."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest

from connectofit.builders import Cell, ModelSpec
from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.data import rat_cortex_path
from connectofit.fit import fit_cell, read_recordings
from connectofit.pipelines import Pipeline, RunResult, cell_stages
from connectofit.pipelines.cell import summary
from connectofit.pipelines.cell_settings import FitSettings

QUICK = {"fit.models": ["lif"], "fit.beside": ["nelder_mead"], "fit.starts": 1, "fit.simulated_s": 1000.0}
QUICK |= {"fit.trials": 3, "import.cells": ["B6"], "import.dt_ms": 1.0}


class Kept(logging.Handler):
    """What was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _diverging(recordings, model, **given):
    """`fit_cell`, but that the recipe's own method finds no finite loss of GLIF1."""
    if model == "glif1" and given["method"] == "auto":
        raise DivergedError("No loss that 'lbfgs' looked at was finite (it looked at 1).")
    return fit_cell(recordings, model, **given)


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> tuple[RunResult, list[str]]:
    quick = QUICK | {"fit.models": ["lif", "glif1"], "fit.draws": 3}
    kept, logger = Kept(), logging.getLogger("connectofit")
    logger.addHandler(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_stages, "fit_cell", _diverging)
        result = Pipeline.load("cell", quick).run(tmp_path_factory.mktemp("cell") / "run")
    logger.removeHandler(kept)
    return result, kept.messages


@pytest.fixture(scope="module")
def run(logged) -> RunResult:
    return logged[0]


def test_the_recording_is_corrected_as_the_recipe_says(run):
    recordings, _ = read_recordings(run.path("import", "recordings.parquet"))
    raw = pd.read_parquet(rat_cortex_path()).query("cell == 'B6' and sweep == 183")
    assert recordings.cells == ("B6",)
    sweep = recordings["B6/183"]
    assert (sweep.dt_ms, sweep.bridge_MOhm, sweep.onset_ms, sweep.offset_ms) == (1.0, -18.0, 700.0, 2700.0)
    # Late in the step the bridge's -18 MOhm lower a voltage at rest by 0.018 mV a pA, less 0.018 mV of the step itself.
    before = (raw["t_ms"] < 690).to_numpy()
    expected = raw["v_mV"].to_numpy()[before].mean() + 0.018 * raw["i_pA"].to_numpy()[before].mean()
    assert sweep.voltage_mV[sweep.time_ms < 690].mean() == pytest.approx(expected, abs=0.02)


def test_a_users_own_recordings_are_taken_as_they_are(tmp_path):
    table = pd.read_parquet(rat_cortex_path()).query("cell == 'B8' and sweep in (145, 147, 149)")
    table[["sweep", "t_ms", "i_pA", "v_mV"]].to_csv(tmp_path / "mine.csv", index=False)
    own = {"import.recordings": tmp_path / "mine.csv", "import.columns": {"time": "t_ms", "current": "i_pA"}}
    own["import.columns"] |= {"voltage": "v_mV", "sweep": "sweep"}
    quick = {"fit.models": ["lif"], "fit.beside": [], "fit.starts": 1, "fit.trials": 1, "fit.budgets": {"lif": 30.0}}
    run = Pipeline.load("cell", quick | own | {"fit.uncertainty": "none"}).run(tmp_path / "run", until="fit")
    recordings, _ = read_recordings(run.path("import", "recordings.parquet"))
    sweep = recordings["147"]
    raw = table[table["sweep"] == 147]
    np.testing.assert_allclose(sweep.voltage_mV, raw["v_mV"], atol=1e-4)
    np.testing.assert_allclose(sweep.current_pA, raw["i_pA"], atol=1e-4)
    assert (sweep.bridge_MOhm, sweep.onset_ms) == (0.0, pytest.approx(700.0, abs=1.0))
    assert set(pd.read_parquet(run.path("fit", "comparison.parquet"))["part"]) == {"training"}  # nothing is held out
    told = json.loads(run.path("fit", "parameters.json").read_text(encoding="utf-8"))[0]
    assert (told["stopped"], 30.0 < told["simulated_s"] < 1000.0) == ("simulated_s", True)


def test_a_model_is_known_by_either_of_its_names():
    settings = FitSettings(
        models=("traub_miles",), simulated_s=1.0, losses={"hh": "spikes"}, free={"hh": ("g_leak_nS",)}
    )
    assert settings.of_model("losses", "traub_miles") == "spikes"
    assert settings.of_model("free", "traub_miles") == ("g_leak_nS",)
    assert settings.of_model("start", "traub_miles") is None
    with pytest.raises(ValueError, match="has one model twice"):
        FitSettings(models=("hh", "traub_miles"), simulated_s=1.0)
    with pytest.raises(UnknownNameError, match="cell model"):
        FitSettings(models=("hh",), simulated_s=1.0, losses={"hhh": "spikes"})


def test_held_out_sweeps_are_scored_beside_the_regular_train(run):
    table = pd.read_parquet(run.path("fit", "comparison.parquet"))
    held = table[table["part"] != "training"]
    assert held["model"].tolist() == ["lif", "regular train", "lif", "glif1", "glif1"]
    assert held["method"].tolist()[2] == "nelder_mead"
    scores = pd.read_parquet(run.path("fit", "scores.parquet"))
    assert set(scores.loc[scores["part"] == "training", "sweep"]) == {"181", "182", "184", "185"}
    assert set(scores.loc[scores["part"] != "training", "sweep"]) == {"183"}


def test_a_fit_that_diverges_is_named_with_its_reason_and_the_others_are_kept(run):
    table = pd.read_parquet(run.path("fit", "comparison.parquet"))
    lost = table[table["why"] != ""]
    assert lost[["cell", "model", "method"]].to_numpy().tolist() == [["B6", "glif1", "auto"]]
    assert "finite" in lost["why"].iloc[0]
    assert lost["gamma"].isna().all()
    fitted = table[(table["part"] == "training")][["model", "method"]].to_numpy().tolist()
    assert fitted == [["lif", "lbfgs"], ["lif", "nelder_mead"], ["glif1", "nelder_mead"]]
    for shown in (summary(run), run.path("report", "report.html").read_text(encoding="utf-8")):
        assert "auto: no fit" in shown
        assert "B6, glif1 by auto has no fit" in shown


def test_a_recipe_without_a_single_fit_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(cell_stages, "fit_cell", _diverging)
    quick = QUICK | {"fit.models": ["glif1"], "fit.beside": [], "fit.hold_out": []}
    with pytest.raises(DivergedError, match=r"None of the 1 fits came to anything.*glif1 to B6: No loss"):
        Pipeline.load("cell", quick).run(tmp_path / "run")


def test_what_is_odd_about_a_recording_is_said_once_for_all_models(logged):
    run, said = logged
    coarse = [message for message in said if "too coarse for the shape of spikes" in message]
    assert len(coarse) == 1
    for fit in json.loads(run.path("fit", "parameters.json").read_text(encoding="utf-8")):
        assert any("too coarse" in message for message in fit["findings"])


def test_intervals_of_parameters_say_how_they_were_worked_out(run):
    told = json.loads(run.path("fit", "parameters.json").read_text(encoding="utf-8"))
    known = [fit["uncertainty"] for fit in told]
    assert known[0]["how"] == "3 refits to resampled blocks"
    assert set(known[0]["intervals"]) == set(told[0]["free"])
    assert known[1:] == [None, None]  # of methods beside
    assert "3 refits to resampled blocks" in run.path("report", "report.html").read_text(encoding="utf-8")


def test_a_fitted_cell_can_be_named_in_a_specification(run, tmp_path):
    folder = run.path("fit", "cells")
    cell = Cell.load(folder / "B6_lif.toml")
    told = json.loads(run.path("fit", "parameters.json").read_text(encoding="utf-8"))[0]
    assert cell.params == told["parameters"]
    cell.dump(tmp_path)
    (tmp_path / "m.toml").write_text('name = "m"\n[[neurons]]\nname = "all"\ncell = "B6_lif"\n')
    assert dict(ModelSpec.load(tmp_path / "m.toml").neurons[0].params) == told["parameters"]


def test_the_summary_and_the_report_have_the_table(run):
    said = summary(run)
    assert "held-out sweeps" in said
    html = run.path("report", "report.html").read_text(encoding="utf-8")
    for cited in ("Teeter et al. 2018", "Nelder", "Pillow", "Kistler"):
        assert cited in html, cited
    assert "Storn" not in html  # differential evolution was not asked for
    assert html.count("data:image/png") >= 6  # five sweeps, a course
    assert "regular train" in html
    assert "BSD" in html


def test_traces_cover_every_sample_of_every_sweep(run):
    traces = pd.read_parquet(run.path("fit", "traces.parquet"))
    recordings, _ = read_recordings(run.path("import", "recordings.parquet"))
    assert traces.groupby("sweep").size().to_dict() == {s.name: s.n_samples for s in recordings}
    assert np.isfinite(traces["model_mV"]).all()


def test_wrong_names_are_refused_before_any_fit(tmp_path):
    with pytest.raises(UnknownNameError, match="sweep"):
        Pipeline.load("cell", QUICK | {"fit.hold_out": ["B6/1"]}).run(tmp_path / "a")
    with pytest.raises(UnknownNameError, match="cell"):
        Pipeline.load("cell", {"import.cells": ["B5"]}).run(tmp_path / "b", until="import")
    with pytest.raises(SettingError, match="models that are not fitted"):
        Pipeline.load("cell", QUICK | {"fit.fixed": {"glif3": {"t_ref_ms": 2.0}}})
    with pytest.raises(UnknownNameError, match="cell model"):
        Pipeline.load("cell", QUICK | {"fit.hold_out": [], "fit.models": ["lif", "glif6"]}).run(tmp_path / "c")
    wrong = Pipeline.load("cell", QUICK | {"fit.hold_out": [], "fit.fixed": {"lif": {"tref_ms": 2.0}}})
    with pytest.raises(UnknownNameError, match="Did you mean 't_ref_ms'"):
        wrong.run(tmp_path / "d")
    narrow = {"fit.models": ["lif", "glif1"], "fit.bounds": {"glif1": {"e_l_mV": [0.0, 10.0]}}}
    with pytest.raises(SettingError, match=r"glif1 to B6: .*e_l_mV"):
        Pipeline.load("cell", QUICK | narrow).run(tmp_path / "e")
