"""Stages run when they have to and only then; outputs are complete or absent; folders and locks are respected."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from connectofit.connectome.errors import FolderError, MissingFileError, SettingError, UnknownNameError
from connectofit.pipelines import folders, lock
from connectofit.pipelines.folders import DamagedError, OutputError
from connectofit.pipelines.pipeline import Pipeline
from connectofit.pipelines.run import run_stages
from connectofit.pipelines.stages import Stage, StageContext


def test_the_stages_run_in_order_and_give_the_sum_of_squares(pipeline, runs, tmp_path):
    result = pipeline().run(tmp_path / "run")
    assert runs == ["numbers", "squares", "total"]
    assert float(result.path("total", "total.txt").read_text()) == 0 + 1 + 4
    assert [stage.status for stage in result.stages] == ["ran"] * 3


def test_an_unchanged_pipeline_runs_nothing_again(pipeline, runs, tmp_path):
    pipeline().run(tmp_path / "run")
    runs.clear()
    result = pipeline().run(tmp_path / "run")
    assert runs == []
    assert [(stage.status, stage.reason) for stage in result.stages] == [("kept", "nothing changed")] * 3


def test_a_changed_setting_reruns_its_stage_and_what_depends_on_it(pipeline, runs, tmp_path):
    pipeline().run(tmp_path / "run")
    runs.clear()
    result = pipeline(power=3).run(tmp_path / "run")
    assert runs == ["squares", "total"]
    assert result["squares"].reason == "changed: settings"
    assert result["total"].reason == "changed: inputs"
    assert float(result.path("total", "total.txt").read_text()) == 0 + 1 + 8


def test_a_rerun_with_the_same_output_leaves_later_stages_alone(pipeline, runs, tmp_path):
    start = tmp_path / "start.txt"
    start.write_text("5")
    pipeline(start=start).run(tmp_path / "run")
    runs.clear()
    start.write_text("5 ")
    pipeline(start=start).run(tmp_path / "run")
    assert runs == ["numbers"]


def test_a_data_file_with_other_content_reruns_its_stage_and_one_that_moved_does_not(pipeline, runs, tmp_path):
    first, moved = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("1")
    pipeline(start=first).run(tmp_path / "run")
    runs.clear()
    first.rename(moved)
    pipeline(start=moved).run(tmp_path / "run")
    assert runs == []
    moved.write_text("2")
    result = pipeline(start=moved).run(tmp_path / "run")
    assert float(result.path("total", "total.txt").read_text()) == 4 + 9 + 16


def test_a_missing_data_file_ends_the_run_before_the_folder_is_made(pipeline, tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere\.txt"):
        pipeline(start=tmp_path / "nowhere.txt").run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_until_stops_after_the_named_stage_and_the_rest_follows_later(pipeline, runs, tmp_path):
    result = pipeline().run(tmp_path / "run", until="squares")
    assert runs == ["numbers", "squares"]
    with pytest.raises(UnknownNameError, match="total"):
        result["total"]
    pipeline().run(tmp_path / "run")
    assert runs == ["numbers", "squares", "total"]


def test_a_misspelt_stage_is_refused_with_the_nearest_name(pipeline, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'squares'"):
        pipeline().run(tmp_path / "run", until="sqares")
    assert not (tmp_path / "run").exists()


@pytest.mark.few(2)
@pytest.mark.parametrize("damage", ["changed", "removed", "added", "manifest", "link"])
def test_a_damaged_output_is_found_and_made_again(pipeline, runs, tmp_path, damage):
    first = pipeline().run(tmp_path / "run")
    folder = first["squares"].folder
    victim = folder / "deep" / "squares.txt"
    if damage == "changed":
        victim.write_text("0.0\n1.0\n5.0")
    elif damage == "removed":
        victim.unlink()
    elif damage == "added":
        (folder / "more.txt").write_text("")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("{")
    else:
        victim.rename(tmp_path / "elsewhere.txt")
        victim.symlink_to(tmp_path / "elsewhere.txt")
    runs.clear()
    second = pipeline().run(tmp_path / "run")
    assert runs == ["squares"]
    assert second["squares"].reason == "damaged"
    assert victim.read_text() == "0.0\n1.0\n4.0"


def test_costs_of_a_kept_stage_are_those_of_the_run_that_made_it(pipeline, tmp_path):
    first = pipeline().run(tmp_path / "run")
    second = pipeline().run(tmp_path / "run")
    assert [stage.seconds for stage in first.stages] == [stage.seconds for stage in second.stages]
    assert all(stage.peak_memory_bytes > 10e6 for stage in second.stages)


def test_the_run_manifest_lists_the_stages_and_is_gone_while_results_change(pipeline, tmp_path):
    pipeline().run(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [stage["name"] for stage in manifest["stages"]] == ["numbers", "squares", "total"]
    assert {"connectofit", "jax", "numpy", "python"} <= set(manifest["environment"])

    def fail(context: StageContext) -> None:
        raise RuntimeError("no")

    stages = (*pipeline().stages[:2], Stage("total", fail, inputs=("squares",)))
    with pytest.raises(RuntimeError, match="no") as caught:
        Pipeline("tiny", stages, pipeline().sections).run(tmp_path / "run")
    assert "stage 'total'" in caught.value.__notes__[0]
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_failing_stage_leaves_its_earlier_result_and_nothing_half_written(pipeline, tmp_path):
    pipeline().run(tmp_path / "run")
    before = (tmp_path / "run" / "total" / "total.txt").read_text()

    def fail(context: StageContext) -> None:
        (context.out / "total.txt").write_text("half")
        raise ValueError("stop")

    stages = (*pipeline().stages[:2], Stage("total", fail, inputs=("squares",)))
    with pytest.raises(ValueError, match="stop"):
        Pipeline("tiny", stages, pipeline().sections).run(tmp_path / "run")
    assert (tmp_path / "run" / "total" / "total.txt").read_text() == before
    assert not list((tmp_path / "run").glob(".tmp*"))


def test_an_output_that_was_declared_and_not_written_is_an_error(tmp_path):
    def write(context: StageContext) -> None:
        (context.out / "a.txt").write_text("")

    def write_two(context: StageContext) -> None:
        (context.out / "a.txt").write_text("")
        (context.out / "b.txt").write_text("")

    with pytest.raises(OutputError, match=r"did not write 'b\.txt'"):
        Pipeline("one", (Stage("one", write, outputs=("a.txt", "b.txt")),)).run(tmp_path / "run")
    with pytest.raises(OutputError, match=r"wrote 'a\.txt'.*does not declare"):
        run_stages("two", (Stage("two", write_two, outputs=("b.txt",)),), {}, tmp_path / "other")
    assert not (tmp_path / "other" / "two").exists()
    assert not list((tmp_path / "other").glob(".tmp*"))


ATTEMPTS: list[str] = []


def long_work(context: StageContext) -> None:
    """Fails on its first two attempts, each time after writing a checkpoint."""
    ATTEMPTS.append("resumed" if (context.work / "checkpoint").exists() else "began")
    (context.work / "checkpoint").write_text("step 10")
    if len(ATTEMPTS) < 3:
        raise RuntimeError("killed")
    (context.out / "done.txt").write_text("")


def test_checkpoints_survive_a_failure_under_the_same_key_and_no_other(tmp_path):
    ATTEMPTS.clear()
    for version in (1, 1):
        with pytest.raises(RuntimeError, match="killed"):
            run_stages("slow", (Stage("fit", long_work, version=version),), {}, tmp_path / "run")
    run_stages("slow", (Stage("fit", long_work, version=2),), {}, tmp_path / "run")
    assert ATTEMPTS == ["began", "resumed", "began"]
    assert not list((tmp_path / "run").glob(".work*"))


def write_facts(context: StageContext) -> None:
    (context.out / "facts.json").write_text(json.dumps(context.provenance["stages"]["numbers"]))
    assert context.costs["squares"].seconds >= 0


def test_a_stage_that_documents_the_run_is_told_what_came_before(pipeline, tmp_path):
    start = tmp_path / "start.txt"
    start.write_text("5")
    tiny = pipeline(start=start, seed=2)
    document = Stage("document", write_facts, documents_run=True)
    result = Pipeline("tiny", (*tiny.stages, document), tiny.sections).run(tmp_path / "run")
    facts = json.loads(result.path("document", "facts.json").read_text())
    assert facts["settings"] == {"count": 3, "seed": 2, "start": "start.txt"}
    sha256 = "ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d"  # of "5", from coreutils' sha256sum
    assert facts["files"] == {"start": {"name": "start.txt", "sha256": sha256}}
    assert facts["key"] == result["numbers"].key


@pytest.mark.parametrize("content", ["notes.txt", ".git"])
def test_a_folder_that_holds_something_else_is_refused_and_left_alone(pipeline, runs, tmp_path, content):
    (tmp_path / content).mkdir()
    with pytest.raises(FolderError, match=f"holds something else.*{content}"):
        pipeline().run(tmp_path)
    assert runs == []
    assert [path.name for path in tmp_path.iterdir()] == [content]


def test_a_file_in_place_of_the_folder_is_refused(pipeline, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(FolderError, match="is a file"):
        pipeline().run(tmp_path / "run")
    with pytest.raises(FolderError, match="cannot be made"):
        pipeline().run(tmp_path / "run" / "below")


def test_a_folder_of_another_recipe_is_refused(pipeline, tmp_path):
    pipeline().run(tmp_path / "run")
    with pytest.raises(FolderError, match="recipe 'tiny', not of 'other'"):
        Pipeline("other", pipeline().stages).run(tmp_path / "run")


def test_a_folder_of_a_newer_format_is_refused(pipeline, tmp_path):
    pipeline().run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"format": "connectofit run", "version": 2, "recipe": "tiny"}')
    with pytest.raises(FolderError, match="Update connectofit"):
        pipeline().run(tmp_path / "run")


def test_a_marker_of_another_program_is_refused(pipeline, tmp_path):
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(FolderError, match="not written by connectofit"):
        pipeline().run(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to read-only folders")
def test_a_read_only_folder_is_refused(pipeline, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FolderError, match="cannot be made"):
            pipeline().run(tmp_path / "run")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("reason", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_is_read_only_or_full_gives_one_clear_error(pipeline, tmp_path, monkeypatch, reason):
    def refuse(*args: object) -> None:
        raise OSError(reason, os.strerror(reason), "the file")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(FolderError, match=os.strerror(reason)):
        pipeline().run(tmp_path / "run")


def test_a_second_run_on_the_same_folder_is_told_who_holds_it(pipeline, tmp_path):
    (tmp_path / "run").mkdir()
    script = (
        "import sys, pathlib\nfrom connectofit.pipelines import lock\n"
        "with lock.hold(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(FolderError, match=f"process {other.pid} on {socket.gethostname()}"):
            pipeline().run(tmp_path / "run")
    finally:
        other.kill()
        other.wait()
    # The killed holder's note is still there, and stale: the run goes ahead.
    assert str(other.pid) in (tmp_path / "run" / lock.LOCK).read_text()
    pipeline().run(tmp_path / "run")
    assert (tmp_path / "run" / lock.LOCK).read_text() == ""


def test_two_threads_cannot_hold_one_folder(tmp_path):
    held: list[str] = []

    def try_to_hold() -> None:
        try:
            with lock.hold(tmp_path):
                held.append("held")
        except FolderError as error:
            held.append(str(error))

    with lock.hold(tmp_path):
        thread = threading.Thread(target=try_to_hold)
        thread.start()
        thread.join()
    assert "in use by another run" in held[0]
    try_to_hold()
    assert held[1] == "held"


def test_a_lock_left_on_another_machine_is_not_taken(tmp_path):
    (tmp_path / lock.LOCK).write_text(json.dumps({"pid": 1, "host": "another", "since": "yesterday"}))
    with pytest.raises(FolderError, match=r"process 1 on another.*delete"), lock.hold(tmp_path):
        pass


def test_stages_are_put_in_the_order_of_what_they_read(pipeline):
    numbers, squares, total = pipeline().stages
    assert Pipeline("tiny", (total, squares, numbers)).stages == (numbers, squares, total)


def test_stages_that_form_no_acyclic_graph_are_refused(pipeline):
    numbers, squares, _ = pipeline().stages
    circle = [Stage(a, numbers.function, inputs=(b,)) for a, b in (("one", "two"), ("two", "three"), ("three", "two"))]
    with pytest.raises(SettingError, match="cycle: two reads three reads two"):
        Pipeline("tiny", circle)
    with pytest.raises(SettingError, match="cycle: own reads own"):
        Pipeline("tiny", (Stage("own", numbers.function, inputs=("own",)),))
    with pytest.raises(UnknownNameError, match="No stage named 'numbers'"):
        Pipeline("tiny", (squares,))
    with pytest.raises(SettingError, match="Two stages write one output"):
        Pipeline("tiny", (numbers, numbers))
    with pytest.raises(SettingError, match="lower-case word"):
        Stage("../escape", numbers.function)


def test_a_sealed_folder_refuses_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    with pytest.raises(DamagedError, match="link"):
        folders.seal(tmp_path / "a", {})


def test_run_stages_needs_no_settings(tmp_path, pipeline):
    def write(context: StageContext) -> None:
        assert context.settings is None
        (context.out / "x").write_text("1")

    result = run_stages("plain", (Stage("x", write),), {}, tmp_path / "run")
    assert result.path("x", "x").read_text() == "1"
