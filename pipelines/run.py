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
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import FolderError, offenders
from connectofit.pipelines import folders, keys, lock, memory
from connectofit.pipelines.config import Settings
from connectofit.pipelines.plan import ASKED, Selection, content_digest, decide, declared_files
from connectofit.pipelines.results import RunResult, StageResult
from connectofit.pipelines.run_manifest import RUN_FILE, RUN_FORMAT, write_run_manifest
from connectofit.pipelines.stages import Stage, StageContext, StageCost, in_order

logger = logging.getLogger(__name__)

STAGE_FORMAT = {"format": "connectofit stage", "version": 1}
_FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def run_stages(
    recipe: str,
    stages: Sequence[Stage],
    sections: Mapping[str, Settings],
    out: Path,
    *,
    until: str | None = None,
    start: str | None = None,
    force: Collection[str] = (),
    reuse: Sequence[Path] = (),
    explain: bool = False,
    progress: bool = False,
    pipeline: str | None = None,
) -> RunResult:
    """Run the stages on the folder `out`: every one after those that it reads.

    A stage whose key is that of the output at its place, which is intact, is kept.

    Parameters
    ----------
    until: only that stage and all that it needs. start: that stage and all that depend on it run even if nothing
        changed. force: these stages run even if nothing changed.
    reuse: folders of other runs, whose outputs are copied where a stage there has the same key.
    explain: whether the log tells what changed in every part of a stage's key.
    pipeline: what a recipe's ``pipeline = "..."`` calls these stages, if it can: such a run can be repeated from its
        manifest.

    Raises `FolderError` if the folder holds something else, is in use or cannot be written, `UnknownNameError` for a
    stage that does not exist, `SettingError` for stages that form no acyclic graph, and whatever a stage's function
    raises, with a note that names the stage.
    """
    selection = Selection.of(in_order(stages), recipe, until, start, force)
    files = {stage.name: declared_files(stage, sections) for stage in selection.stages}  # a missing one ends it here
    with _writing(out):
        _check_folder(out, recipe)
        folders.make_folder(out)
        with lock.hold(out):
            _check_folder(out, recipe)  # again, since another run may have claimed it meanwhile
            if not (out / RUN_FILE).exists():
                folders.write_json(out / RUN_FILE, {**RUN_FORMAT, "recipe": recipe})
            work = _Run(recipe, pipeline, sections, files, out, tuple(reuse), explain, progress)
            return work.through(selection)


@dataclass(frozen=True)
class _Run:
    """One run on a locked folder: what stays the same from stage to stage."""

    recipe: str
    pipeline: str | None
    sections: Mapping[str, Settings]
    files: Mapping[str, Mapping[str, Path]]
    out: Path
    reuse: tuple[Path, ...]
    explain: bool
    progress: bool

    def through(self, selection: Selection) -> RunResult:
        """Run, copy or keep every stage, in order."""
        environment = keys.environment()
        results: dict[str, StageResult] = {}
        facts: dict[str, Any] = {}
        for i, stage in enumerate(selection.stages):
            place = self.out / stage.name
            folders.recover(place)
            settings = self.sections.get(stage.name)
            earlier = {name: result.key for name, result in results.items()}
            read = {name: results[name].content for name in stage.inputs}
            parts = keys.key_parts(stage, settings, self.files[stage.name], read, earlier)
            decision = decide(place, parts, forced=stage.name in selection.forced)
            label = f"[{i + 1}/{len(selection.stages)}] {stage.name}"
            manifest, status, reason = decision.manifest, "kept", decision.reason
            if manifest is None:
                (self.out / folders.MANIFEST).unlink(missing_ok=True)  # it described results that are about to change
                source = None if decision.reason == ASKED else self._made_elsewhere(stage.name, decision.key)
                if source is not None:
                    status, reason = "copied", f"made by the run in {str(source.parent)!r}"
                    manifest = _copied(source, place)
                else:
                    status = "ran"
                    logger.info("%s: runs (%s)", label, reason)
            if self.explain:
                for line in decision.details:
                    logger.info("    %s", line)
            if manifest is None:
                context = StageContext(
                    settings=settings,
                    out=folders.temporary_folder(place),
                    inputs={name: results[name].folder for name in stage.inputs},
                    files=self.files[stage.name],
                    work=_work_folder(self.out, stage.name, decision.key),
                    show_progress=self.progress,
                    **(_run_facts(self.recipe, environment, results, facts) if stage.documents_run else {}),
                )
                told = {"key": decision.key, "key_parts": parts.digests, "key_told": parts.told}
                manifest = _run_stage(stage, context, place, {**told, "environment": environment})
                shutil.rmtree(context.work.parent, ignore_errors=True)
                logger.info("%s: done in %.1f s", label, manifest["seconds"])
            else:
                # A run that was killed after the output was in place has left its checkpoints.
                shutil.rmtree(self.out / f"{folders.WORK}{stage.name}", ignore_errors=True)
                logger.info("%s: %s (%s)", label, status, reason)
            facts[stage.name] = _stage_facts(decision.key, settings, self.files[stage.name], parts.told["files"])
            results[stage.name] = StageResult(
                stage.name,
                status,
                reason,
                place,
                decision.key,
                float(manifest["seconds"]),
                manifest["peak_memory_bytes"],
                content_digest(manifest),
                decision.details,
            )
        settings_used = {name: found.get("settings") or {} for name, found in facts.items()}
        result = RunResult(self.recipe, self.out, tuple(results.values()), settings_used)
        write_run_manifest(result, self.pipeline, self.sections, environment)
        return result

    def _made_elsewhere(self, stage: str, key: str) -> Path | None:
        """The folder of an intact output with this key among the runs to reuse."""
        for other in self.reuse:
            place = other / stage
            if other.resolve() != self.out.resolve() and place.is_dir():
                try:
                    if folders.verify(place).get("key") == key:
                        return place
                except (folders.DamagedError, OSError) as error:
                    logger.warning("An output of another run cannot be reused: %s", error)
        return None


def _copied(source: Path, place: Path) -> dict[str, Any]:
    """A copy of a sealed output, checked and renamed into place; its manifest."""
    aside = folders.temporary_folder(place)
    shutil.copytree(source, aside, dirs_exist_ok=True)
    manifest = folders.verify(aside)
    folders.publish(aside, place)
    return manifest


def _run_facts(
    recipe: str, environment: Mapping[str, str], results: Mapping[str, StageResult], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """`StageContext.costs` and `.provenance`."""
    costs = {name: StageCost(result.seconds, result.peak_memory_bytes) for name, result in results.items()}
    return {"costs": costs, "provenance": {"recipe": recipe, "environment": environment, "stages": dict(facts)}}


def _stage_facts(
    key: str, settings: Settings | None, files: Mapping[str, Path], digests: Mapping[str, str]
) -> dict[str, Any]:
    """A stage's key, settings and data files, without the paths of this machine."""
    described = {name: {"name": path.name, "sha256": digests[name]} for name, path in files.items()}
    plain = settings.model_dump(mode="python", exclude_none=True) if settings is not None else {}
    return {"key": key, "settings": _without_folders(plain), "files": described}


def _without_folders(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    return [_without_folders(item) for item in value] if isinstance(value, list | tuple) else value


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
    base = out / f"{folders.WORK}{stage}"
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
    except (ValueError, RecursionError):
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
