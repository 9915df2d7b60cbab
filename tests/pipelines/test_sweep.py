"""Sweeps: grids, one run a point, what is shared, what failed, and the table and plot of all."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from connectofit.connectome.errors import FolderError, MissingExtraError, SettingError, UnknownNameError
from connectofit.pipelines import cli, pipeline, sweep
from connectofit.pipelines.config import Settings
from connectofit.pipelines.pipeline import PipelineDefinition
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.stages import Stage, StageContext

RUNS: list[str] = []


class Draw(Settings):
    n: int = 3
    seed: int = 0


class Fit(Settings):
    rate: float = 0.1
    method: str = "adam"


def draw(context: StageContext) -> None:
    RUNS.append("draw")
    (context.out / "n.txt").write_text(str(context.settings.n + context.settings.seed))


def fit(context: StageContext) -> None:
    RUNS.append("fit")
    if context.settings.rate > 1:
        raise RuntimeError("too fast")
    n = int((context.inputs["draw"] / "n.txt").read_text())
    table = pd.DataFrame({"model": ["one", "two"], "loss": [n * context.settings.rate, n + context.settings.rate]})
    table.to_parquet(context.out / "scores.parquet")


def scores(result: RunResult) -> pd.DataFrame:
    return pd.read_parquet(result.path("fit", "scores.parquet"))


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    stages = (Stage("draw", draw, settings=Draw), Stage("fit", fit, settings=Fit, inputs=("draw",)))
    monkeypatch.setattr(pipeline, "_definitions", lambda: {"tiny": PipelineDefinition(stages, None, scores)})

    @contextmanager
    def in_threads(jobs: int, dask: str | None):
        with ThreadPoolExecutor(jobs) as pool:  # processes would not see the recipe of this test
            yield pool

    monkeypatch.setattr(sweep, "_executor", in_threads)
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text('[recipe]\nname = "tiny"\npipeline = "tiny"\n')
    RUNS.clear()
    return "tiny.toml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit.seed=0:3", ("fit.seed", (0, 1, 2))),
        ("fit.seed=5:0:-2", ("fit.seed", (5, 3, 1))),
        ("fit.lr=1e-3, 1e-2", ("fit.lr", (0.001, 0.01))),
        ("fit.on=true,false", ("fit.on", (True, False))),
        ('fit.m="a","b,c"', ("fit.m", ("a", "b,c"))),
        ("fit.m=adam,lbfgs", ("fit.m", ("adam", "lbfgs"))),
        ("fit.w=[1, 2],[3]", ("fit.w", ([1, 2], [3]))),
    ],
)
def test_an_axis_is_a_range_or_values(text, expected):
    assert sweep.parse_axis(text) == expected


@pytest.mark.parametrize("text", ["fit.seed", "seed=1", "fit.seed=", "fit.=1", "fit.seed=3:0", "fit.seed=0:3:0"])
def test_what_is_no_axis_is_refused(text):
    with pytest.raises(SettingError, match="--grid"):
        sweep.parse_axis(text)


def test_a_sweep_runs_every_point_and_collects_its_scores(recipe):
    found = sweep.sweep(recipe, {"fit.rate": (0.1, 0.2), "fit.method": ("adam", "lbfgs")})
    table = found.table
    assert len(table) == 2 * 2 * 2
    assert RUNS.count("draw") == 1  # the grid does not touch it
    assert {path.name for path in Path("runs/tiny-sweep/shared").iterdir() if path.is_dir()} == {"draw"}
    assert RUNS.count("fit") == 4
    np.testing.assert_allclose(
        table.loc[table["model"] == "one", "loss"], 3 * table.loc[table["model"] == "one", "fit.rate"]
    )
    pd.testing.assert_frame_equal(pd.read_parquet("runs/tiny-sweep/results.parquet"), table)
    assert set(table["status"]) == {"done"}
    assert all((Path("runs/tiny-sweep") / place / "manifest.json").is_file() for place in table["point"])


def test_a_sweep_goes_on_where_it_was_and_takes_new_points(recipe):
    sweep.sweep(recipe, {"fit.rate": (0.1, 0.2)}, "s")
    RUNS.clear()
    table = sweep.sweep(recipe, {"fit.rate": (0.1, 0.2, 0.3)}, "s").table
    assert RUNS == ["fit"]
    assert sorted(table["fit.rate"].unique()) == [0.1, 0.2, 0.3]


def test_a_point_that_fails_is_told_and_the_others_go_on(recipe):
    found = sweep.sweep(recipe, {"fit.rate": (0.1, 2.0)}, jobs=2)
    assert found.failed["fit.rate"].tolist() == [2.0]
    assert "RuntimeError: too fast" in found.failed["error"].item()
    assert "1 done, 1 failed" in found.text()
    assert len(found.table) == 3


def test_settings_that_a_point_would_refuse_end_the_sweep_before_anything_runs(recipe):
    with pytest.raises(UnknownNameError, match="Did you mean 'rate'"):
        sweep.sweep(recipe, {"fit.rat": (0.1,)}, "s")
    with pytest.raises(SettingError, match=r"fit\.rate"):
        sweep.sweep(recipe, {"fit.rate": (0.1, "fast")}, "s")
    with pytest.raises(SettingError, match="twice"):
        sweep.sweep(recipe, {"fit.rate": (0.1, 0.1)}, "s")
    with pytest.raises(SettingError, match="at least one setting"):
        sweep.sweep(recipe, {}, "s")
    assert RUNS == []
    assert not Path("s").exists()


@pytest.mark.slow
def test_values_that_name_no_folder_get_one_of_their_own(recipe):
    table = sweep.sweep(recipe, {"fit.method": ("../up", "a/b", "x" * 300)}, "s").table
    assert len({*table["point"]}) == 3
    assert all(Path("s", place).resolve().parent == Path("s/points").resolve() for place in table["point"])


def test_a_folder_that_holds_something_else_is_refused(recipe):
    Path("s").mkdir()
    Path("s/mine.txt").write_text("")
    with pytest.raises(FolderError, match="something else"):
        sweep.sweep(recipe, {"fit.rate": (0.1,)}, "s")
    Path("other.toml").write_text('[recipe]\nname = "other"\npipeline = "tiny"\n')
    sweep.sweep("other.toml", {"fit.rate": (0.1,)}, "o")
    with pytest.raises(FolderError, match="a sweep of 'other'"):
        sweep.sweep(recipe, {"fit.rate": (0.1,)}, "o")


def test_the_plot_is_a_picture_with_a_panel_for_each_score(recipe):
    sweep.sweep(recipe, {"fit.rate": (0.001, 0.01, 0.1), "draw.seed": (0, 1)}, "s")
    picture = imread("s/sweep.png")
    assert picture.shape[:2] == (384, 504)
    assert picture[..., :3].std() > 0.05


def test_the_command_sweeps_and_says_where_the_table_is(recipe):
    done = CliRunner().invoke(cli.main, ["sweep", recipe, "--grid", "fit.rate=0.1,0.2", "--out", "s", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "2 points, 2 done, 0 failed." in done.output
    assert "s/results.parquet" in done.output
    failed = CliRunner().invoke(cli.main, ["sweep", recipe, "--grid", "fit.rate=0.1,9.0", "--out", "s", "--quiet"])
    assert failed.exit_code == 1


@pytest.mark.slow
def test_points_run_in_processes_of_their_own(tmp_path):
    found = sweep.sweep("cell", {"import.cells": (["B6"], ["B8"])}, tmp_path / "s", until="import", jobs=2)
    assert found.table["status"].tolist() == ["done", "done"]
    assert found.table["import.cells"].tolist() == ["['B6']", "['B8']"]


def test_points_run_on_a_dask_cluster(recipe, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        found = sweep.sweep("cell", {"import.cells": (["B6"], ["B8"])}, "s", until="import", dask=address)
    assert found.table["status"].tolist() == ["done", "done"]


def test_a_cluster_that_is_not_there_and_dask_that_is_not_installed_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "_PATIENCE", "0.5s")
    with pytest.raises(SettingError, match="no Dask scheduler"):
        sweep.sweep("cell", {"import.cells": (["B6"],)}, "s", until="import", dask="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"connectofit\[dask\]"):
        sweep.sweep("cell", {"import.cells": (["B6"],)}, "s", until="import", dask="tcp://127.0.0.1:1")
