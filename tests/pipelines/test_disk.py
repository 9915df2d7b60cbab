"""A disk that is really full, or really read-only, gives one clear error; afterwards nothing is missing or false."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectofit.connectome.errors import FolderError

PAGES = 64
PAGE = 4096  # what a file of this file system takes at least


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of `PAGES` pages."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={PAGES * PAGE}", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system to fill")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, free: int) -> Path:
    """A file that leaves so many pages free."""
    filler = place / "filler"
    filler.write_bytes(bytes(PAGE * (shutil.disk_usage(place).free // PAGE - free)))
    assert shutil.disk_usage(place).free == free * PAGE
    return filler


def made(folder: Path) -> dict[str, bytes]:
    """What the stages wrote, by path."""
    names = ("numbers/numbers.txt", "squares/deep/squares.txt", "total/total.txt")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("apart", [25, pytest.param(1, marks=pytest.mark.slow)])
def test_wherever_the_disk_gets_full_the_run_ends_clearly_and_the_next_one_makes_up_for_it(
    pipeline, disk, tmp_path, apart
):
    pipeline().run(tmp_path / "undisturbed")
    expected = made(tmp_path / "undisturbed")
    failed = set()
    for free in range(0, PAGES, apart):
        filler = fill(disk, free)
        told = ""
        try:
            pipeline().run(disk / "run")
        except FolderError as error:
            told = str(error)
            failed.add(free)
        assert not told or "No space left on device" in told, free
        # What is there now must be what it says it is: the rerun keeps it or makes it anew, and ends in the same files.
        filler.unlink()
        pipeline().run(disk / "run")
        assert made(disk / "run") == expected, free
        assert not list((disk / "run").glob(".tmp-*")), free
        shutil.rmtree(disk / "run")
    assert failed == set(range(0, max(failed) + 1, apart)), "more room, and full all the same"
    assert 8 < max(failed) < PAGES - apart, "the disk has to get full in many places, and not always"


def test_a_read_only_disk_is_refused_and_what_is_there_stays(pipeline, disk):
    pipeline().run(disk / "run")
    before = made(disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(FolderError, match="Read-only file system"):
        pipeline().run(disk / "other")
    with pytest.raises(FolderError, match="Read-only file system"):
        pipeline(power=3).run(disk / "run")
    assert made(disk / "run") == before
