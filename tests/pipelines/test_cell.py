"""The cell recipe on the cells that ship with the package, and on a user's table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from connectofit.builders import Cell, ModelSpec
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.data import rat_cortex_path
from connectofit.fit import read_recordings
from connectofit.pipelines import Pipeline, RunResult
from connectofit.pipelines.cell import summary

QUICK = {"fit.models": ["lif"], "fit.beside": ["nelder_mead"], "fit.starts": 1, "fit.simulated_s": 1000.0}
QUICK |= {"fit.trials": 3, "import.cells": ["B6"], "import.dt_ms": 1.0, "import.bridge_MOhm": {"B6": -18.0}}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunResult:
    quick = QUICK | {"fit.hold_out": ["B6/183"]}
    return Pipeline.load("cell", quick).run(tmp_path_factory.mktemp("cell") / "run")


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


def test_held_out_sweeps_are_scored_beside_the_regular_train(run):
    table = pd.read_parquet(run.path("fit", "comparison.parquet"))
    held = table[table["part"] != "training"]
    assert held["model"].tolist() == ["lif", "regular train", "lif"]
    assert held["method"].tolist()[2] == "nelder_mead"
    scores = pd.read_parquet(run.path("fit", "scores.parquet"))
    assert set(scores.loc[scores["part"] == "training", "sweep"]) == {"181", "182", "184", "185"}
    assert set(scores.loc[scores["part"] != "training", "sweep"]) == {"183"}


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
