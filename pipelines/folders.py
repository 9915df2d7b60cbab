"""Output folders that are either complete or absent.

A stage writes to a temporary folder beside its place. The folder is then sealed (every file hashed, flushed to the
disk, the list written last as ``manifest.json``), checked against that list, and renamed into place. A process killed
at any point leaves the old folder, the new one, or none: never half of one.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import ConnectofitError, FolderError, offenders
from connectofit.pipelines.keys import file_digest

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
_REPLACED = ".old-"
WORK = ".work-"
LEFT_BEHIND = (_TEMPORARY, _REPLACED, WORK)
"""How the names of files and folders begin that only killed runs leave behind."""


class DamagedError(ConnectofitError, ValueError):
    """A sealed folder is not as it was sealed: a file is missing, added or changed, or the manifest is unreadable."""


class OutputError(ConnectofitError, ValueError):
    """A stage did not write what it declared, or wrote something else."""


def list_files(folder: Path) -> list[str]:
    """The files below `folder`, relative, with forward slashes, sorted. Raises `DamagedError` for a link or device."""
    names: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DamagedError(f"{path} is a link or a special file; only plain files are read and written here.")
        if path.is_file():
            names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def check_outputs(folder: Path, declared: Sequence[str], what: str) -> None:
    """All declared patterns must match a file, and every file a pattern. Raises `OutputError`."""
    names = list_files(folder)
    missing = [pattern for pattern in declared if not fnmatch.filter(names, pattern)]
    extra = [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in declared)]
    if MANIFEST in names:
        raise OutputError(f"{what} wrote {MANIFEST!r}, a name that is kept for the list of files. Name it otherwise.")
    if missing:
        raise OutputError(f"{what} did not write {offenders(missing)}, which it declares among its outputs.")
    if extra:
        raise OutputError(f"{what} wrote {offenders(extra)}, which it does not declare. Add it to the stage's outputs.")


def seal(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Hash and flush every file below `folder`, then write the manifest with the list ``files``; return it."""
    files: dict[str, dict[str, Any]] = {}
    for name in list_files(folder):
        path = folder / name
        files[name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
        _flush(path)
    for path in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
        _flush(path)
    sealed = with_seal({**manifest, "files": files})
    write_json(folder / MANIFEST, sealed)
    return sealed


def with_seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the SHA-256 of all else that it says, under ``seal``: what was edited by hand is found."""
    rest = {key: value for key, value in manifest.items() if key != "seal"}
    return {**rest, "seal": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def seal_is_broken(manifest: Mapping[str, Any]) -> bool:
    """Whether the manifest has no seal, or another than that of what it says."""
    return manifest.get("seal") != with_seal(manifest)["seal"]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a sealed folder. Raises `DamagedError` if there is none or it is not one."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        raise DamagedError(f"{folder} has no {MANIFEST}, so it is not known to be complete.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is not valid JSON ({error}).") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DamagedError(f"{path} has no list of files.")
    if "seal" in manifest and seal_is_broken(manifest):  # what older versions wrote has none
        raise DamagedError(f"{path} has been edited since it was written.")
    return manifest


def verify(folder: Path) -> dict[str, Any]:
    """The manifest, after comparing every file with it. Raises `DamagedError` naming the first five differences."""
    manifest = read_manifest(folder)
    listed = manifest["files"]
    present = set(list_files(folder)) - {MANIFEST}
    problems = [f"{name} is missing" for name in sorted(set(listed) - present)]
    problems += [f"{name} is not in the manifest" for name in sorted(present - set(listed))]
    for name in sorted(present & set(listed)):
        recorded = listed[name].get("sha256") if isinstance(listed[name], dict) else None
        if recorded != file_digest(folder / name):
            problems.append(f"{name} has changed (its SHA-256 is not the recorded one)")
    if problems:
        more = f", ... ({len(problems)} in all)" if len(problems) > 5 else ""
        raise DamagedError(f"{folder}: {', '.join(problems[:5])}{more}.")
    return manifest


def publish(temporary: Path, final: Path) -> None:
    """Rename a sealed folder into place; what stood there goes away."""
    if final.exists():
        old = final.with_name(f"{_REPLACED}{final.name}")
        shutil.rmtree(old, ignore_errors=True)
        os.rename(final, old)
        os.rename(temporary, final)
        _flush(final.parent)
        shutil.rmtree(old)
    else:
        os.rename(temporary, final)
        _flush(final.parent)


def publish_new(aside: Path, final: Path) -> None:
    """Flush a file or folder that was made aside, and rename it to a name that nothing has."""
    made = [aside, *(aside.rglob("*") if aside.is_dir() else ())]
    for path in made:
        _flush(path)
    os.rename(aside, final)
    _flush(final.parent)


def aside(final: Path) -> Path:
    """Where a file or folder is made before it is renamed to `final`."""
    return final.with_name(f"{_TEMPORARY}{final.name}")


def temporary_folder(final: Path) -> Path:
    """A new, empty folder beside `final`, removed first if a killed run left one."""
    temporary = aside(final)
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    return temporary


def recover(final: Path) -> None:
    """Put back what a killed `publish` moved aside, and remove what it left over."""
    old = final.with_name(f"{_REPLACED}{final.name}")
    if old.exists():
        if final.exists():
            shutil.rmtree(old)
        else:
            os.rename(old, final)
    shutil.rmtree(final.with_name(f"{_TEMPORARY}{final.name}"), ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises `FolderError` with the system's reason if that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(
            f"The folder {str(path)!r} cannot be made: {error.strerror or error}. Name another one, in a place where "
            f"you may write."
        ) from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON beside `path`, flush it and rename it into place, so that the file is never half written."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path`, flush it and rename it into place, so that the file is never half written."""
    aside = path.with_name(f"{_TEMPORARY}{path.name}")
    aside.write_text(text, encoding="utf-8", newline="\n")
    _flush(aside)
    os.replace(aside, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
