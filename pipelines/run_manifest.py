"""The manifest of a run: which recipe and settings, on which versions, and what every stage made.

It is written last, beside ``settings.toml``, when all stages that were asked for are done, and says enough to repeat
the run (`Pipeline.repeat`) and to compare what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from connectofit.connectome.errors import MissingFileError, SettingError
from connectofit.pipelines import folders
from connectofit.pipelines.config import Settings
from connectofit.pipelines.results import RunResult

RUN_FILE = "run.json"
RUN_FORMAT = {"format": "connectofit run", "version": 1}


def write_run_manifest(
    result: RunResult, pipeline: str | None, sections: Mapping[str, Settings], environment: Mapping[str, str]
) -> None:
    """Write ``settings.toml`` and then the manifest into the run's folder."""
    settings = plain_settings(sections)
    folders.write_text(result.folder / "settings.toml", tomli_w.dumps(settings))
    stages = [
        {
            "name": stage.name,
            "key": stage.key,
            "content": stage.content,
            "status": stage.status,
            "reason": stage.reason,
            "seconds": stage.seconds,
            "peak_memory_bytes": stage.peak_memory_bytes,
        }
        for stage in result.stages
    ]
    manifest = {**RUN_FORMAT, "recipe": result.recipe, "pipeline": pipeline, "settings": settings}
    manifest |= {"environment": dict(environment), "stages": stages}
    folders.write_json(result.folder / folders.MANIFEST, folders.with_seal(manifest))


def read_run_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run.

    Raises `MissingFileError`, and `SettingError` for a file that is no such manifest, was written by a newer version or
    has been edited.
    """
    if not path.is_file():
        raise MissingFileError(
            f"There is no run manifest {str(path)!r}. Name the {folders.MANIFEST} of a finished run."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not valid JSON ({error}), so it is no manifest of a run.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != RUN_FORMAT["format"]:
        raise SettingError(
            f"{path} is no manifest of a run of connectofit. Name the {folders.MANIFEST} of a run's folder."
        )
    if manifest.get("version") != RUN_FORMAT["version"]:
        raise SettingError(
            f"{path} was written in format {manifest.get('version')!r}; this connectofit reads format "
            f"{RUN_FORMAT['version']}. Use the version that wrote it, which the manifest names."
        )
    if folders.seal_is_broken(manifest):
        raise SettingError(
            f"{path} has been edited since it was written, so it does not say what was run. To run with other "
            f"settings, write a recipe (settings.toml beside it holds them all) or use --set."
        )
    return manifest


def plain_settings(sections: Mapping[str, Settings]) -> dict[str, Any]:
    """The sections as plain tables, as TOML can hold them: settings that are None are left out."""
    return {name: section.model_dump(mode="json", exclude_none=True) for name, section in sections.items()}
