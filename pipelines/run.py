"""Run stages in order on one folder: skip what is unchanged and intact, run the rest, lose nothing to a kill.

The folder of a run holds ``run.json`` (whose folder this is), one sealed folder a stage, ``settings.toml`` (the
resolved settings), and ``manifest.json``, written when all stages that were asked for are done.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from connectofit.connectome.errors import FolderError, offenders, unknown_name
from connectofit.pipelines import folders, keys, lock, memory
from connectofit.pipelines.config import Settings
from connectofit.pipelines.stage import Stage, StageContext, StageCost

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"
RUN_FORMAT = {"format": "connectofit run", "version": 1}
STAGE_FORMAT = {"format": "connectofit stage", "version": 1}
_FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class StageResult:
    """What became of one stage: `status` says whether it ran now or an earlier result was kept, `reason` why.

    `seconds` and `peak_memory_bytes` are those of the run that made the output, now or earlier.
    """

    name: str
    status: Literal["ran", "kept"]
    reason: str
    folder: Path
    key: str
    seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, what became of each stage, in order, and the stages' settings as plain values."""

    recipe: str
    folder: Path
    stages: tuple[StageResult, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> StageResult:
        """The result of one stage. Raises `UnknownNameError`, also for a stage that `until` left out."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise unknown_name("stage", name, [stage.name for stage in self.stages], where="this run")

    def path(self, stage: str, *parts: str) -> Path:
        """A path below the output folder of a stage."""
        return self[stage].folder.joinpath(*parts)


def run_stages(
    recipe: str,
    stages: Sequence[Stage],
    sections: Mapping[str, Settings],
    out: Path,
    *,
    until: str | None = None,
    progress: bool = False,
) -> RunResult:
    """Run the stages in order on the folder `out`, up to and with the stage `until`.

    A stage whose key is that of the output at its place, which is intact, is kept. Raises `FolderError` if the folder
    holds something else, is in use or cannot be written, `UnknownNameError` for a stage that does not exist, and
    whatever a stage's function raises, with a note that names the stage.
    """
    names = [stage.name for stage in stages]
    if until is not None and until not in names:
        raise unknown_name("stage", until, names, where=f"recipe {recipe!r}")
    wanted = list(stages[: names.index(until) + 1] if until is not None else stages)
    files = {stage.name: _declared_files(stage, sections) for stage in wanted}  # a missing file ends the run here
    with _writing(out):
        _check_folder(out, recipe)
        folders.make_folder(out)
        with lock.hold(out):
            _check_folder(out, recipe)  # again, since another run may have claimed it meanwhile
            if not (out / RUN_FILE).exists():
                folders.write_json(out / RUN_FILE, {**RUN_FORMAT, "recipe": recipe})
            return _run_locked(recipe, wanted, sections, files, out, progress)


def _declared_files(stage: Stage, sections: Mapping[str, Settings]) -> dict[str, Path]:
    files = dict(stage.files(sections.get(stage.name))) if stage.files is not None else {}
    for path in files.values():
        keys.file_digest(path)
    return files


def _run_locked(
    recipe: str,
    wanted: Sequence[Stage],
    sections: Mapping[str, Settings],
    files: Mapping[str, Mapping[str, Path]],
    out: Path,
    progress: bool,
) -> RunResult:
    environment = keys.environment()
    results: dict[str, StageResult] = {}
    contents: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for i, stage in enumerate(wanted):
        place = out / stage.name
        folders.recover(place)
        settings = sections.get(stage.name)
        earlier = {name: result.key for name, result in results.items()}
        contents_read = {name: contents[name] for name in stage.inputs}
        parts = keys.key_parts(stage, settings, files[stage.name], contents_read, earlier)
        key = keys.stage_key(parts)
        label = f"[{i + 1}/{len(wanted)}] {stage.name}"
        manifest, reason = _intact(place, key, parts)
        status: Literal["ran", "kept"] = "kept"
        if manifest is None:
            logger.info("%s: runs (%s)", label, reason)
            status = "ran"
            (out / folders.MANIFEST).unlink(missing_ok=True)  # it described results that are about to change
            context = StageContext(
                settings=settings,
                out=folders.temporary_folder(place),
                inputs={name: results[name].folder for name in stage.inputs},
                files=files[stage.name],
                work=_work_folder(out, stage.name, key),
                show_progress=progress,
                **(_run_facts(recipe, environment, results, facts) if stage.documents_run else {}),
            )
            manifest = _run_stage(stage, context, place, {"key": key, "key_parts": parts, "environment": environment})
            shutil.rmtree(context.work.parent, ignore_errors=True)
            logger.info("%s: done in %.1f s", label, manifest["seconds"])
        else:
            logger.info("%s: kept (%s)", label, reason)
        facts[stage.name] = _stage_facts(key, settings, files[stage.name])
        contents[stage.name] = keys.value_digest({name: entry["sha256"] for name, entry in manifest["files"].items()})
        results[stage.name] = StageResult(
            stage.name, status, reason, place, key, float(manifest["seconds"]), manifest["peak_memory_bytes"]
        )
    settings_used = {name: found.get("settings") or {} for name, found in facts.items()}
    result = RunResult(recipe, out, tuple(results.values()), settings_used)
    _write_run_manifest(result, sections, environment)
    return result


def _run_facts(
    recipe: str, environment: Mapping[str, str], results: Mapping[str, StageResult], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """`StageContext.costs` and `.provenance`."""
    costs = {name: StageCost(result.seconds, result.peak_memory_bytes) for name, result in results.items()}
    return {"costs": costs, "provenance": {"recipe": recipe, "environment": environment, "stages": dict(facts)}}


def _stage_facts(key: str, settings: Settings | None, files: Mapping[str, Path]) -> dict[str, Any]:
    """A stage's key, settings and data files, without the paths of this machine."""
    described = {name: {"name": path.name, "sha256": keys.file_digest(path)} for name, path in files.items()}
    plain = settings.model_dump(mode="python", exclude_none=True) if settings is not None else {}
    return {"key": key, "settings": _without_folders(plain), "files": described}


def _without_folders(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    return [_without_folders(item) for item in value] if isinstance(value, list | tuple) else value


def _intact(place: Path, key: str, parts: Mapping[str, str]) -> tuple[dict[str, Any] | None, str]:
    """The manifest of a finished, intact output with this key, or None; and the reason in words."""
    if not place.exists():
        return None, "no result yet"
    try:
        manifest = folders.verify(place)
        before, entries = manifest.get("key_parts"), manifest["files"].values()
        if manifest.get("key") != key:
            changed = [part for part in parts if not isinstance(before, dict) or before.get(part) != parts[part]]
            return None, f"changed: {', '.join(changed)}"
        whole = isinstance(manifest.get("seconds"), int | float) and "peak_memory_bytes" in manifest
        if not whole or not all(isinstance(entry, dict) for entry in entries):
            return None, "its manifest has been edited"
    except folders.DamagedError as error:
        logger.warning("The result of an earlier run is damaged and is made again: %s", error)
        return None, "damaged"
    return manifest, "nothing changed"


def _run_stage(stage: Stage, context: StageContext, place: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Run one stage into its temporary folder, seal and check it, rename it into place; return the manifest."""
    memory.reset_peak()
    started = time.perf_counter()
    try:
        stage.function(context)
        seconds = time.perf_counter() - started
        folders.check_outputs(context.out, stage.outputs, f"Stage {stage.name!r}")
    except BaseException as error:
        error.add_note(f"This happened in stage {stage.name!r}.")
        shutil.rmtree(context.out, ignore_errors=True)
        raise
    cost = {"seconds": seconds, "peak_memory_bytes": memory.peak_bytes()}
    folders.seal(context.out, {**STAGE_FORMAT, "stage": stage.name, **facts, **cost})
    manifest = folders.verify(context.out)
    folders.publish(context.out, place)
    return manifest


def _work_folder(out: Path, stage: str, key: str) -> Path:
    """The folder for a stage's checkpoints under this key; checkpoints made under another key are removed."""
    base = out / f".work-{stage}"
    if base.exists():
        for other in base.iterdir():
            if other.name != key:
                shutil.rmtree(other)
    folders.make_folder(base / key)
    return base / key


def _check_folder(out: Path, recipe: str) -> None:
    """Refuse a folder that holds something else than a run of this recipe; writes nothing."""
    if out.exists() and not out.is_dir():
        raise FolderError(f"{str(out)!r} is a file, where a folder for the run was expected. Name another folder.")
    marker = out / RUN_FILE
    if not marker.exists():
        own = (f".tmp-{RUN_FILE}", lock.LOCK)
        present = sorted(path.name for path in out.iterdir() if path.name not in own) if out.exists() else []
        if present:
            raise FolderError(
                f"The folder {str(out)!r} holds something else than a run of connectofit: {offenders(present)}. "
                f"Name an empty or a new folder."
            )
        return
    try:
        note = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        note = None
    if not isinstance(note, dict) or note.get("format") != RUN_FORMAT["format"]:
        raise FolderError(f"{str(marker)!r} was not written by connectofit. Name an empty or a new folder.")
    if note.get("version") != RUN_FORMAT["version"]:
        raise FolderError(
            f"The folder {str(out)!r} was written in format {note.get('version')!r}; this connectofit writes "
            f"format {RUN_FORMAT['version']}. Update connectofit, or name another folder."
        )
    if note.get("recipe") != recipe:
        raise FolderError(
            f"The folder {str(out)!r} holds a run of the recipe {note.get('recipe')!r}, not of {recipe!r}. "
            f"Name another folder."
        )


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn what the system says about a full or read-only disk into the package's error."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FolderError) or error.errno not in _FULL_OR_CLOSED:
            raise
        raise FolderError(
            f"Cannot write to {str(out)!r}: {error.strerror} ({error.filename or 'no file named'}). Finished "
            f"stages are kept; make room or name another folder, and run again."
        ) from error


def _write_run_manifest(result: RunResult, sections: Mapping[str, Settings], environment: Mapping[str, str]) -> None:
    folders.write_text(result.folder / "settings.toml", tomli_w.dumps(plain_settings(sections)))
    stages = [
        {
            "name": stage.name,
            "key": stage.key,
            "status": stage.status,
            "reason": stage.reason,
            "seconds": stage.seconds,
            "peak_memory_bytes": stage.peak_memory_bytes,
        }
        for stage in result.stages
    ]
    manifest = {**RUN_FORMAT, "recipe": result.recipe, "environment": dict(environment), "stages": stages}
    folders.write_json(result.folder / folders.MANIFEST, manifest)


def plain_settings(sections: Mapping[str, Settings]) -> dict[str, Any]:
    """The sections as plain tables, as TOML can hold them: settings that are None are left out."""
    return {name: section.model_dump(mode="json", exclude_none=True) for name, section in sections.items()}
