"""What a run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import unknown_name


@dataclass(frozen=True)
class StageResult:
    """What became of one stage: `status` says whether it ran now, an earlier result was kept or another run's copied,
    `reason` why, `details` what changed in its key.

    `seconds` and `peak_memory_bytes` are those of the run that made the output, now or earlier; `content` is the
    digest of all its files.
    """

    name: str
    status: str
    reason: str
    folder: Path
    key: str
    seconds: float
    peak_memory_bytes: int | None
    content: str
    details: tuple[str, ...] = ()


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
