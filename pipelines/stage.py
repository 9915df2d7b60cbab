"""A stage: one named step of a pipeline, a plain function from settings, files and earlier stages' outputs to files.

A stage declares everything that its result may depend on, because its key (`connectofit.pipelines.keys`) is made of
that and of nothing else. Its function gets a `StageContext` and writes files below `context.out`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.pipelines.config import Settings

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class StageCost:
    """What the last run of a stage cost: wall time, and the peak memory of the process meanwhile (None: unknown)."""

    seconds: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class StageContext:
    """What a stage's function sees.

    Parameters: `settings` the stage's section of the recipe, checked; `out` an empty folder to write to; `inputs` the
    output folder of each declared input stage (read only); `files` the data files that the stage declared; `work` a
    folder for checkpoints, which outlives a killed run and is emptied when the stage's key changes or it completes;
    `show_progress` whether bars are drawn. For a stage that documents the run also `costs`, what the stages before it
    cost, and `provenance`: ``recipe``, ``environment`` (versions) and ``stages``, each with its ``key``, ``settings``
    and ``files`` (name and SHA-256), as plain values.
    """

    settings: Any
    out: Path
    inputs: Mapping[str, Path]
    files: Mapping[str, Path]
    work: Path
    show_progress: bool = False
    costs: Mapping[str, StageCost] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def bar(self, total: int | None, label: str, unit: str = "it") -> tqdm:
        """A progress bar that appears after two seconds; call `.update(n)`, and `.close()` or use it in `with`."""
        return progress_bar(total, label, unit=unit, show=self.show_progress)


def progress_bar(total: int | None, label: str, *, unit: str = "it", show: bool = True) -> tqdm:
    """A tqdm bar on standard error that stays hidden for the first two seconds."""
    return tqdm(total=total, desc=label, unit=unit, disable=not show, delay=2.0, leave=False, dynamic_ncols=True)


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline.

    Parameters
    ----------
    name : the stage's name, also that of its output folder and of its section in the recipe
    function : called with a `StageContext`; what it returns is ignored, what it writes below `context.out` is kept
    version : raise it when the meaning of the output changes although the source may not
    settings : the class of the section (a `Settings`), or None for a stage without settings
    inputs : names of earlier stages whose output it reads
    outputs : the files it writes, as glob patterns relative to `context.out`; all must be there, and nothing else
    files : from the settings to the data files that it reads, by name; their content is part of the key
    documents_run : whether it writes down where results come from. Its key then holds the keys of all stages before
        it, so that it runs again when a setting changes, even one that left every result as it was.
    """

    name: str
    function: Callable[[StageContext], object]
    version: int = 1
    settings: type[Settings] | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("*",)
    files: Callable[[Any], Mapping[str, Path]] | None = None
    documents_run: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                f"A stage's name is a lower-case word (letters, digits, underscores), because it names a folder and a "
                f"section of the recipe; found {self.name!r}."
            )
        if not self.outputs:
            raise SettingError(f"Stage {self.name!r} declares no outputs; name the files that it writes.")


def check_order(stages: Sequence[Stage]) -> None:
    """Every stage's inputs must stand before it, names must be unique: so the stages form an acyclic graph.

    Raises `SettingError` for a repeated name or an input that stands later, `UnknownNameError` for one that is nowhere.
    """
    names = [stage.name for stage in stages]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SettingError(f"Two stages write one output: {offenders(repeated)}. Give every stage its own name.")
    seen: set[str] = set()
    for stage in stages:
        for wanted in stage.inputs:
            if wanted not in names:
                raise unknown_name("stage", wanted, names, where=f"the inputs of stage {stage.name!r}")
            if wanted not in seen:
                raise SettingError(
                    f"Stage {stage.name!r} reads stage {wanted!r}, which does not run before it. "
                    f"Inputs must be earlier stages; the order is {', '.join(names)}."
                )
        seen.add(stage.name)
