"""The command line: what it prints, and its exit codes (0 done, 1 the run failed, 2 bad input)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from connectofit.connectome.errors import DivergedError
from connectofit.pipelines import cli, pipeline
from connectofit.pipelines.config import Settings
from connectofit.pipelines.pipeline import PipelineDefinition
from connectofit.pipelines.run import RunResult
from connectofit.pipelines.stages import Stage, StageContext


class Numbers(Settings):
    count: int = 3


def write_numbers(context: StageContext) -> None:
    if context.settings.count == 13:
        raise RuntimeError("a stage that breaks")
    if context.settings.count == 14:
        raise DivergedError("The fit diverged.")
    (context.out / "numbers.txt").write_text("x" * context.settings.count)


def write_copy(context: StageContext) -> None:
    (context.out / "copy.txt").write_text((context.inputs["numbers"] / "numbers.txt").read_text())


def summary(result: RunResult) -> str:
    return f"ended with {result.stages[-1].name}: {[stage.status for stage in result.stages]}"


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A caller of the command in an empty folder, with a recipe `tiny.toml` in it."""
    stages = (Stage("numbers", write_numbers, settings=Numbers), Stage("copy", write_copy, inputs=("numbers",)))
    monkeypatch.setattr(pipeline, "_definitions", lambda: {"tiny": PipelineDefinition(stages, summary)})
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text('[recipe]\nname = "tiny"\npipeline = "tiny"\n[demo.numbers]\ncount = 1\n')

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.main, arguments)

    return invoke


def test_a_run_ends_with_its_summary_and_says_what_it_does(call):
    first = call("run", "tiny.toml")
    assert first.exit_code == 0
    assert first.stdout == "ended with copy: ['ran', 'ran']\n"
    assert "[1/2] numbers: runs (no result yet)" in first.stderr
    assert Path("runs/tiny/numbers/numbers.txt").read_text() == "xxx"
    second = call("run", "tiny.toml")
    assert second.stdout == "ended with copy: ['kept', 'kept']\n"
    assert "numbers: kept (nothing changed)" in second.stderr


def test_options_reach_the_run(call):
    done = call("run", "tiny.toml", "--out", "there", "--until", "numbers", "--set", "numbers.count=5", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "ended with numbers: ['ran']\n", "")
    assert Path("there/numbers/numbers.txt").read_text() == "xxxxx"
    assert call("run", "tiny.toml", "--out", "there", "--demo").exit_code == 0
    assert Path("there/copy/copy.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "wrom"], "Did you mean 'worm'"),
        (["run", "none.toml"], "no recipe file 'none.toml'"),
        (["run", "tiny.toml", "--until", "cpoy"], "Did you mean 'copy'"),
        (["run", "tiny.toml", "--set", "numbers.cuont=3"], "Did you mean 'count'"),
        (["run", "tiny.toml", "--set", "number.count=3"], "Did you mean 'numbers'"),
        (["run", "tiny.toml", "--set", "numbers.count=many"], "numbers.count = 'many'"),
        (["run", "tiny.toml", "--set", "numbers.count"], "--set expects"),
        (["run", "tiny.toml", "--out", "."], "holds something else"),
        (["run", "tiny.toml", "--out", "tiny.toml"], "is a file"),
        (["validate", "none.csv"], "none.csv"),
        (["validate", "none.csv", "--columns", "pre"], "--columns expects"),
        (["export", "none", "--out", "x.graphml", "--format", "graphml"], "no model bundle"),
    ],
)
def test_bad_input_gives_one_message_without_a_traceback_and_exit_code_2(call, arguments, message):
    before = sorted(path.name for path in Path().iterdir())
    done = call(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize("arguments", [["rnu", "worm"], ["run"], ["run", "tiny.toml", "--otu", "x"]])
def test_wrong_usage_gives_exit_code_2(call, arguments):
    assert call(*arguments).exit_code == 2


def test_a_run_that_breaks_gives_exit_code_1(call):
    done = call("run", "tiny.toml", "--set", "numbers.count=13")
    assert done.exit_code == 1
    assert isinstance(done.exception, RuntimeError)
    assert "stage 'numbers'" in done.exception.__notes__[0]


def test_a_run_that_diverges_gives_exit_code_1_and_no_traceback(call):
    done = call("run", "tiny.toml", "--set", "numbers.count=14")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: The fit diverged.")


def test_recipes_lists_what_ships_with_the_package(call):
    done = call("recipes")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == [
        "cell",
        "delayed_match",
        "evidence",
        "multiscale",
        "random_dots",
        "teacher_student",
        "working_memory",
        "worm",
    ]


def test_validate_tells_what_is_in_the_tables(call):
    Path("edges.csv").write_text("from,to,n\na,b,3\nb,c,2\na,x,1\n")
    Path("neurons.csv").write_text("id\na\nb\nc\n")
    done = call("validate", "edges.csv", "neurons.csv", "--columns", "pre=from,post=to", "--columns", "count=n")
    assert done.exit_code == 0, done.stderr
    assert "3 rows read, 2 kept" in done.stdout
    assert "row 3" in done.stdout


def test_validate_recognises_a_preset_or_takes_the_one_named(call):
    Path("connections.csv").write_text("pre_root_id,post_root_id,neuropil,syn_count,nt_type\n7,8,AL_R,5,ACH\n")
    for options in ([], ["--preset", "flywire"]):
        done = call("validate", "connections.csv", *options)
        assert done.exit_code == 0, done.stderr
        assert "preset 'flywire'" in done.stdout
    done = call("validate", "connections.csv", "--preset", "shiu")
    assert done.exit_code == 2
    assert "none of the forms of preset 'shiu'" in done.stderr
    columns = "pre=pre_root_id,post=post_root_id,count=syn_count"
    assert "preset" not in call("validate", "connections.csv", "--columns", columns).stdout


def test_validate_names_the_file_of_a_bad_row(call):
    Path("edges").mkdir()
    Path("edges/1.csv").write_text("pre,post,count\na,b,3\n")
    Path("edges/2.csv").write_text("pre,post,count\nb,a,x\n")
    done = call("validate", "edges")
    assert done.exit_code == 2
    assert "row 2 is row 1 of 2.csv" in done.stderr


def test_the_installed_command_refuses_a_misspelt_recipe():
    script = Path(sys.executable).parent / "connectofit"
    code = "from connectofit.pipelines.cli import main; main()"
    command = [str(script)] if script.exists() else [sys.executable, "-c", code]
    done = subprocess.run([*command, "run", "wrom"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: No recipe named 'wrom'. Did you mean 'worm'?\n"


def test_a_dry_run_says_what_would_run_and_does_nothing(call):
    done = call("run", "tiny.toml", "--dry-run")
    assert done.stdout.split() == ["numbers", "run", "no", "result", "yet", "copy", "run", "no", "result", "yet"]
    assert not Path("runs").exists()
    call("run", "tiny.toml")
    done = call("run", "tiny.toml", "--set", "numbers.count=5", "--dry-run", "--explain")
    assert "numbers      run     changed: settings\n    settings: count 3 -> 5\n" in done.stdout
    assert "copy         unsure  depends on what numbers writes" in done.stdout


def test_stages_are_forced_and_reasons_explained(call):
    call("run", "tiny.toml")
    assert call("run", "tiny.toml", "--force", "copy").stdout == "ended with copy: ['kept', 'ran']\n"
    assert call("run", "tiny.toml", "--from", "numbers").stdout == "ended with copy: ['ran', 'ran']\n"
    assert "    settings: count 3 -> 4" in call("run", "tiny.toml", "--set", "numbers.count=4", "--explain").stderr


def test_a_finished_run_is_repeated_from_its_manifest_and_compared(call):
    call("run", "tiny.toml", "--set", "numbers.count=7")
    done = call("run", "runs/tiny/manifest.json")
    assert done.exit_code == 0
    assert Path("runs/tiny-again/numbers/numbers.txt").read_text() == "x" * 7
    assert "numbers      the same files\n  copy         the same files" in done.stdout
    other = call("run", "runs/tiny/manifest.json", "--set", "numbers.count=8", "--out", "other")
    assert "numbers      other files (settings, versions or code differ)" in other.stdout
    edited = Path("runs/tiny/manifest.json")
    edited.write_text(edited.read_text().replace('"count": 7', '"count": 9'))
    refused = call("run", "runs/tiny/manifest.json", "--out", "third")
    assert (refused.exit_code, Path("third").exists()) == (2, False)
    assert "has been edited" in refused.stderr


def test_clean_says_what_it_removes(call):
    call("run", "tiny.toml")
    assert call("clean", "runs/tiny").stdout == "Nothing to remove.\n"
    assert "Would remove runs/tiny/copy (" in call("clean", "runs/tiny", "--stage", "copy", "--dry-run").stdout
    assert Path("runs/tiny/copy").exists()
    assert "Removed runs/tiny/copy (" in call("clean", "runs/tiny", "--stage", "copy").stdout
    assert not Path("runs/tiny/copy").exists()
    assert call("clean", ".").exit_code == 2
