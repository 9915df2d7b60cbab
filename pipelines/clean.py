"""Removing what runs leave behind: of killed runs, of stages that a recipe no longer has, or everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from connectofit.connectome.errors import FolderError, unknown_name
from connectofit.pipelines import folders, lock
from connectofit.pipelines.run_manifest import RUN_FILE, RUN_FORMAT


@dataclass(frozen=True)
class Cleaned:
    """One file or folder that was removed (or would be), and how large it is."""

    path: Path
    bytes: int


def clean(
    run: str | Path, *, stages: Collection[str] = (), everything: bool = False, dry_run: bool = False
) -> tuple[Cleaned, ...]:
    """Remove from a run's folder what killed runs left in it (temporary folders, checkpoints).

    Parameters: `stages` outputs to remove too; `everything` the whole folder; `dry_run` whether nothing is removed.
    Nothing is removed from a folder that connectofit did not make, or that a run is using, and no link is followed.
    Raises `FolderError`, `UnknownNameError` for a stage without an output there.
    """
    run = Path(run)
    if not _is_run(run):
        raise FolderError(
            f"{str(run)!r} is no folder of a run of connectofit ({RUN_FILE} is not in it). Nothing is removed."
        )
    with lock.hold(run):
        outputs = sorted(p.name for p in run.iterdir() if p.is_dir() and (p / folders.MANIFEST).is_file())
        for name in stages:
            if name not in outputs:
                raise unknown_name("stage", name, outputs, where=f"the outputs in {str(run)!r}")
        if everything:
            victims = sorted(run.iterdir())
        else:
            left = [p for p in run.iterdir() if p.name.startswith(folders.LEFT_BEHIND)]
            victims = sorted([*left, *(run / name for name in stages)])
            if stages:
                victims.append(run / folders.MANIFEST)  # it described what is no longer there
        removed = tuple(Cleaned(path, _size(path)) for path in victims if path.exists() and path.name != lock.LOCK)
        if not dry_run:
            for item in removed:
                if item.path.is_dir() and not item.path.is_symlink():
                    shutil.rmtree(item.path)
                else:
                    item.path.unlink()
    if everything and not dry_run:
        (run / lock.LOCK).unlink(missing_ok=True)
        run.rmdir()
    return removed


def _is_run(folder: Path) -> bool:
    try:
        note = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(note, dict) and note.get("format") == RUN_FORMAT["format"]


def _size(path: Path) -> int:
    if path.is_symlink() or path.is_file():
        return path.lstat().st_size
    return sum(p.lstat().st_size for p in path.rglob("*") if not p.is_dir())
