"""A fit that is killed goes on where it was, and no other fit takes its checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import DivergedError, SettingError
from connectofit.fit import Free, Parameters, Schedule


class Killed(Exception):
    pass


def kill_after(calls: int):
    """A progress callback that raises at its last call."""
    left = [calls]

    def progress(_: int) -> None:
        left[0] -= 1
        if not left[0]:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def uninterrupted(task):
    return task.run()


@pytest.fixture
def killed(task, tmp_path):
    """The checkpoint of a fit that was killed after 5 of its 20 steps."""
    path = tmp_path / "new folder" / "fit.npz"
    with pytest.raises(Killed):
        task.run(checkpoint=path, progress=kill_after(1))
    return path


@pytest.mark.few(1)
@pytest.mark.parametrize("calls", [1, 2])
def test_a_killed_fit_goes_on_to_the_same_result_bit_for_bit(task, uninterrupted, same, tmp_path, calls):
    path = tmp_path / "fit.npz"
    with pytest.raises(Killed):
        task.run(checkpoint=path, progress=kill_after(calls))
    steps: list[int] = []
    assert same(task.run(checkpoint=path, progress=steps.append), uninterrupted)
    assert steps[0] == calls * task.schedule.interval
    assert sum(steps) == len(uninterrupted.history) // 2


def test_a_fit_that_is_done_is_only_read(task, uninterrupted, same, tmp_path):
    path = tmp_path / "fit.npz"
    task.run(checkpoint=path)
    written = path.stat().st_mtime_ns
    assert same(task.run(checkpoint=path), uninterrupted)
    assert path.stat().st_mtime_ns == written


def test_a_fit_that_stopped_early_is_not_run_on(task, same, tmp_path):
    labels = task.relabelled(task.validating(), 0.0)
    first = task.run(objectives=labels, checkpoint=tmp_path / "fit.npz")
    assert len(first.history) < 2 * task.schedule.steps
    assert same(task.run(objectives=labels, checkpoint=tmp_path / "fit.npz"), first)


def test_a_fit_that_diverged_diverges_again(task, tmp_path):
    net = task.net.with_params({"chemical": {"log_gain": np.full(3, 500.0)}})
    for _ in range(2):
        with pytest.raises(DivergedError):
            task.run(net=net, checkpoint=tmp_path / "fit.npz")


def test_a_write_that_was_cut_off_leaves_the_last_whole_checkpoint(task, uninterrupted, same, killed):
    killed.with_name(killed.name + ".part").write_bytes(b"half a checkpoi")
    assert same(task.run(checkpoint=killed), uninterrupted)
    assert [p.name for p in killed.parent.iterdir()] == [killed.name]


def test_held_out_rows_are_no_part_of_a_fits_identity(task, uninterrupted, same, killed):
    assert same(task.run(checkpoint=killed, objectives=task.relabelled(task.held)), uninterrupted)


@pytest.mark.slow
def test_the_checkpoint_of_another_fit_is_refused(task, graded, matrices, killed):
    training = np.flatnonzero(~task.held & ~task.validating())
    others = [
        {"seed": 2},
        {"starts": 3},
        {"weights": {"atlas": 2.0}},
        {"validation": {"atlas": 0.7}},
        {"validation": None},
        {"hold_out": None},
        {"free": Parameters((Free("chemical.log_gain"),))},
        {"free": Parameters((Free("chemical.log_gain", sd_type=0.31), Free("gap.log_gain")))},
        {"schedule": Schedule(steps=21, learning_rate=0.1, patience=4, interval=5)},
        {"net": task.net.with_params({"gap": {"log_gain": np.ones(1)}})},
        {"net": graded(1.01 * matrices[0], matrices[1], types=3)},
        {"net": graded(*matrices, types=3, method="euler")},
        {"objectives": task.relabelled(training[:1])},
        {"objectives": {"atlas": replace(task.labels, effect_sd=0.31)}},
        {"objectives": {"atlas": replace(task.labels, protocol=replace(task.labels.protocol, amplitude=1.01))}},
    ]
    before = killed.read_bytes()
    for changes in others:
        with pytest.raises(SettingError, match=r"checkpoint of another fit.*Remove it"):
            task.run(checkpoint=killed, **changes)
    assert killed.read_bytes() == before


@pytest.mark.parametrize("size", [0, 10, 1000, -1])
def test_a_truncated_checkpoint_is_refused(task, killed, size):
    whole = killed.read_bytes()
    killed.write_bytes(whole[:size])
    with pytest.raises(SettingError, match=r"cannot be read as a checkpoint.*Remove it"):
        task.run(checkpoint=killed)


def test_a_checkpoint_with_flipped_bits_is_refused(task, killed):
    content = bytearray(killed.read_bytes())
    middle = content.index(b"\x93NUMPY", len(content) // 2) + 100
    content[middle] ^= 0xFF
    killed.write_bytes(bytes(content))
    with pytest.raises(SettingError, match=r"cannot be read as a checkpoint|another fit"):
        task.run(checkpoint=killed)


def test_files_that_are_no_checkpoints_are_refused(task, tmp_path):
    path = tmp_path / "fit.npz"
    path.write_text("step,loss\n")
    with pytest.raises(SettingError, match="cannot be read as a checkpoint"):
        task.run(checkpoint=path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(SettingError, match="cannot be read as a checkpoint"):
        task.run(checkpoint=path)
    with path.open("wb") as file:
        np.savez(file, version=np.array("one"), a=np.zeros(3))
    with pytest.raises(SettingError, match="another fit"):
        task.run(checkpoint=path)
