"""The README is true: its Python runs, top to bottom in one session, and its commands exist with the options shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from connectofit.connectome import Connectome
from connectofit.pipelines import Pipeline, cli
from connectofit.pipelines.config import parse_assignment
from connectofit.pipelines.export import FORMATS
from connectofit.pipelines.sweep import parse_axis

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
JOBS = (
    "Import",
    "Ask the graph",
    "Build and simulate",
    "Fit",
    "Recordings of single cells",
    "Choices of an animal",
    "Export",
    "Pipelines of your own",
)


def blocks(language: str) -> list[tuple[str, int, str]]:
    """(section, line of the first line of code, code) of every fenced block in this language, in order."""
    found, section, start = [], "", 0
    inside: list[str] | None = None
    for number, line in enumerate(README.read_text(encoding="utf-8").splitlines(), 1):
        if inside is not None and line == "```":
            if start:
                found.append((section, start, "\n".join(inside) + "\n"))
            inside = None
        elif inside is not None:
            inside.append(line)
        elif line.startswith("```"):
            inside, start = [], number + 1 if line == f"```{language}" else 0
        elif line.startswith("## "):
            section = line[3:]
    return found


def commands() -> list[list[str]]:
    """Every command line of the shell blocks, in words and without its comment."""
    lines = (line for _, _, code in blocks("sh") for line in code.splitlines())
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> dict[str, object]:
    """The names that are left after all Python blocks ran in one namespace, in an empty folder with the TOML files and
    the modules (blocks of Python whose first line names a file)."""
    folder = tmp_path_factory.mktemp("readme")
    for _, line, code in blocks("toml"):
        name = re.fullmatch(r"# (\S+\.toml)", code.splitlines()[0])
        assert name, f"README.md:{line}: the block's first line names its file"
        (folder / name[1]).write_text(code, encoding="utf-8")
    namespace: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        for _, line, code in blocks("python"):
            module = re.fullmatch(r"# (\w+\.py)", code.splitlines()[0])
            if module:
                (folder / module[1]).write_text(code, encoding="utf-8")
                continue
            # Blank lines in front, so that a traceback has the README's line numbers.
            exec(compile("\n" * (line - 1) + code, str(README), "exec"), namespace)
    return namespace | {"folder": folder}


def test_the_table_of_formats_is_the_registrys():
    text = README.read_text(encoding="utf-8")
    for each in FORMATS.values():
        extra = f"`{each.extra}`" if each.extra else ""
        assert f"| `{each.name}` | {extra} | {each.keeps} | {each.loses} | {each.refuses} |" in text, each.name


def test_each_of_the_jobs_has_code():
    assert {section for section, _, _ in blocks("python")} == set(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_each_job_fits_on_one_screen(job):
    assert max(len(code.splitlines()) for section, _, code in blocks("python") if section == job) <= 50


def test_the_recordings_are_checked_and_a_sweep_is_held_out(session):
    assert session["checked"].find("bridge")
    assert session["checked"].find("current_lags")
    assert session["parts"].training.labels == ("B6/181", "B6/182", "B6/184", "B6/185")


def test_the_import_reads_the_worm_and_reports_what_it_did(session):
    assert session["connectome"].n_neurons == 302
    assert session["command"].ids == ("AVAL", "AVAR", "AVBL", "AVBR", "AVDL", "AVDR", "PVCL", "PVCR")
    (unmatched,) = session["report"].find("unmatched_id")
    assert unmatched.count == 1573


def test_touch_moves_the_command_neurons_and_an_ablated_class_stays_at_rest(session):
    intact, ablated = session["intact"], session["ablated"]
    assert np.abs(intact.trace("v", "AVDL")).max() > 1e-3
    assert np.abs(ablated.trace("v", ["AVDL", "AVDR"])).max() == 0
    assert session["traces"].shape == (1000, 302)


def test_the_spiking_network_fires_below_what_the_refractory_period_allows(session):
    rates = session["recording"].rates_Hz()
    assert len(rates) == 400
    assert 0 < rates.mean() < 500


def test_the_fit_saw_no_held_out_class_and_kept_the_signs(session):
    group, held_out = np.asarray(session["answers"].group), session["held_out"]
    assert 0 < held_out.sum() < len(held_out)
    assert not set(group[held_out]) & set(group[~held_out])
    before, after = session["network"], session["result"].network
    for projection in before.projections:
        gains = np.asarray(after.params[projection.name]["log_gain"])
        assert np.isfinite(gains).all()
        assert not np.array_equal(gains, before.params[projection.name]["log_gain"])
        weights = np.asarray(after.projection(projection.name).weight(gains))
        np.testing.assert_array_equal(np.sign(weights), projection.sign)


def test_the_fit_lowers_its_training_loss(session):
    history = session["result"].history
    losses = history[history["start"] == session["result"].best_start]["training"].to_numpy()
    assert losses[-1] < losses[0]


def test_the_exported_files_exist_and_the_recipe_ran(session):
    folder = session["folder"]
    assert {"my_model", "my_model.graphml", "my_worm.toml", "runs"} <= {path.name for path in folder.iterdir()}
    assert Connectome.read(folder / "runs" / "worm" / "import" / "connectome").n_neurons == 302


def test_the_pipeline_of_functions_ran_and_has_nothing_more_to_do(session):
    ranks = pd.read_parquet(session["folder"] / session["ranked"].path("ranks", "table.parquet"))
    assert ranks["rank"].sum() == pytest.approx(1.0)
    assert [stage.status for stage in session["ranked"].stages] == ["ran", "ran"]


def test_every_command_of_the_readme_has_the_options_that_it_shows():
    shown = [words for words in commands() if words[0] == "connectofit"]
    assert {words[1] for words in shown} == set(cli.main.commands)
    for words in shown:
        command = cli.main.commands[words[1]]
        context = command.make_context(words[1], words[2:])  # parses, and does not run
        if words[1] == "sweep":
            axes = dict(parse_axis(text) for text in context.params["axes"])
            Pipeline.load(context.params["recipe"], {name: values[0] for name, values in axes.items()})
        if words[1] == "run" and Path(context.params["recipe"]).name != "manifest.json":
            settings = dict(parse_assignment(text) for text in context.params["assignments"])
            pipeline = Pipeline.load(context.params["recipe"], settings, demo=context.params["demo"])
            assert {context.params[name] for name in ("until", "start")} <= {None, *(s.name for s in pipeline.stages)}


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [words[1] for words in commands() if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_validate_runs_as_the_readme_shows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("edges.csv").write_text("source,target,synapses\na,b,3\nb,c,2\n")
    Path("neurons.csv").write_text("id\na\nb\nc\n")
    (words,) = (words for words in commands() if words[:2] == ["connectofit", "validate"])
    done = CliRunner().invoke(cli.main, words[1:])
    assert done.exit_code == 0, done.output
    assert "2 rows read, 2 kept" in done.output


def test_every_path_that_the_readme_names_exists():
    named = re.findall(r"`([\w./-]+\.(?:txt|cff|toml|csv)|LICENSE)`", README.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert {"LICENSE", "CITATION.cff", "data/celegans/LICENSE.txt"} <= set(named)
