"""What a run would do, what is forced, what is copied from other runs, and what is cleaned away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectofit.connectome.errors import FolderError, SettingError, UnknownNameError
from connectofit.pipelines.clean import clean
from connectofit.pipelines.pipeline import Pipeline
from connectofit.pipelines.run_manifest import read_run_manifest
from connectofit.pipelines.stages import Stage, StageContext


def actions(plan) -> list[tuple[str, str]]:
    return [(planned.name, planned.action) for planned in plan]


def test_a_plan_says_what_would_run_and_writes_nothing(pipeline, runs, tmp_path):
    out = tmp_path / "run"
    assert actions(pipeline().plan(out)) == [("numbers", "run"), ("squares", "run"), ("total", "run")]
    assert not out.exists()
    pipeline().run(out)
    runs.clear()
    assert actions(pipeline().plan(out)) == [("numbers", "keep"), ("squares", "keep"), ("total", "keep")]
    plan = pipeline(power=3).plan(out)
    assert actions(plan) == [("numbers", "keep"), ("squares", "run"), ("total", "unsure")]
    assert plan[1].reason == "changed: settings"
    assert plan[1].details == ("settings: power 2.0 -> 3.0",)
    assert plan[2].reason == "depends on what squares writes"
    assert actions(pipeline().plan(out, start="squares")) == [("numbers", "keep"), ("squares", "run"), ("total", "run")]
    assert runs == []


def test_a_forced_stage_runs_again_and_later_ones_only_if_its_output_changed(pipeline, runs, tmp_path):
    pipeline().run(tmp_path / "run")
    runs.clear()
    result = pipeline().run(tmp_path / "run", force=("numbers",))
    assert runs == ["numbers"]
    assert result["numbers"].reason == "asked for"


def test_a_run_from_a_stage_makes_all_that_depend_on_it_anew(pipeline, runs, tmp_path):
    pipeline().run(tmp_path / "run")
    runs.clear()
    pipeline().run(tmp_path / "run", start="squares")
    assert runs == ["squares", "total"]


def test_until_runs_what_the_stage_needs_and_no_other(pipeline, runs, tmp_path):
    def write(context: StageContext) -> None:
        runs.append("aside")
        (context.out / "x").write_text("x")

    with_aside = Pipeline("tiny", (Stage("aside", write), *pipeline().stages))
    with_aside.run(tmp_path / "run", until="squares")
    assert runs == ["numbers", "squares"]
    with pytest.raises(UnknownNameError, match="what 'squares' needs"):
        with_aside.run(tmp_path / "run", until="squares", force=("total",))


def test_an_output_with_the_same_key_is_copied_from_another_run(pipeline, runs, tmp_path):
    pipeline().run(tmp_path / "one")
    runs.clear()
    result = pipeline(power=3).run(tmp_path / "two", reuse=[tmp_path / "one", tmp_path / "nowhere"])
    assert runs == ["squares", "total"]
    assert result["numbers"].status == "copied"
    (tmp_path / "one" / "squares" / "deep" / "squares.txt").write_text("9")
    runs.clear()
    pipeline().run(tmp_path / "three", reuse=[tmp_path / "one"])
    assert runs == ["squares"]  # damaged there, and made anew; what follows is the same, and copied


def test_a_manifest_repeats_settings_and_refuses_what_was_edited(pipeline, tmp_path):
    pipeline(power=3).run(tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    assert read_run_manifest(path)["settings"]["squares"] == {"power": 3.0}
    with pytest.raises(SettingError, match="made from Python"):
        Pipeline.repeat(path)
    edited = json.loads(path.read_text())
    edited["settings"]["squares"]["power"] = 4.0
    path.write_text(json.dumps(edited))
    with pytest.raises(SettingError, match="has been edited"):
        Pipeline.repeat(path)
    edited["version"] = 99
    path.write_text(json.dumps(edited))
    with pytest.raises(SettingError, match="format 99"):
        Pipeline.repeat(path)
    path.write_text("{}")
    with pytest.raises(SettingError, match="no manifest of a run"):
        Pipeline.repeat(path)


def test_an_edited_manifest_of_a_stage_is_found_and_the_stage_made_again(pipeline, runs, tmp_path):
    result = pipeline().run(tmp_path / "run")
    path = result.path("squares", "manifest.json")
    edited = json.loads(path.read_text())
    edited["seconds"] = 0.0
    path.write_text(json.dumps(edited))
    runs.clear()
    assert pipeline().run(tmp_path / "run")["squares"].reason == "damaged"
    assert runs == ["squares"]


def test_cleaning_removes_what_killed_runs_left_and_no_result(pipeline, runs, tmp_path):
    run = tmp_path / "run"
    pipeline().run(run)
    for name in (".tmp-squares", ".old-total", ".work-numbers"):
        (run / name / "deep").mkdir(parents=True)
        (run / name / "deep" / "file").write_text("12345")
    (run / ".tmp-link").symlink_to(tmp_path)
    told = clean(run, dry_run=True)
    assert {(item.path.name, item.bytes) for item in told if item.path.name != ".tmp-link"} == {
        (".tmp-squares", 5),
        (".old-total", 5),
        (".work-numbers", 5),
    }
    assert (run / ".work-numbers").exists()
    assert clean(run) == told
    assert not list(run.glob(".[tow]*-*"))
    runs.clear()
    pipeline().run(run)
    assert runs == []


def test_cleaning_a_stage_or_everything_removes_just_that(pipeline, runs, tmp_path):
    run = tmp_path / "run"
    pipeline().run(run)
    clean(run, stages=("squares",))
    assert {path.name for path in run.iterdir()} == {"numbers", "total", "run.json", "settings.toml", ".lock"}
    with pytest.raises(UnknownNameError, match="Did you mean 'total'"):
        clean(run, stages=("totl",))
    clean(run, everything=True)
    assert not run.exists()


def test_cleaning_refuses_what_is_no_run(tmp_path):
    Path(tmp_path / "precious").write_text("data")
    with pytest.raises(FolderError, match="Nothing is removed"):
        clean(tmp_path, everything=True)
    assert (tmp_path / "precious").exists()
