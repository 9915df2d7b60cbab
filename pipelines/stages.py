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

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.pipelines.config import Settings
from connectofit.pipelines.progress import Progress, progress_bar

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
    `show_progress` whether progress is shown. For a stage that documents the run also `costs`, what those before it
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

    def bar(self, total: int | None, label: str, unit: str = "it") -> Progress:
        """A progress bar, or lines of the log without a terminal; to be used in `with`, or closed."""
        return progress_bar(total, label, unit=unit, show=self.show_progress)


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline.

    Parameters
    ----------
    name : the stage's name, also that of its output folder and of its section in the recipe
    function : called with a `StageContext`; what it returns is ignored, what it writes below `context.out` is kept
    version : raise it when the meaning of the output changes although the source may not
    settings : the class of the section (a `Settings`), or None for a stage without settings
    inputs : names of the stages whose output it reads
    outputs : the files it writes, as glob patterns relative to `context.out`; all must be there, and nothing else
    files : from the settings to the data files that it reads, by name; their content is part of the key
    documents_run : whether it writes down where results come from. Its key then holds the keys of all stages before
        it, so that it runs again when a setting changes, even one that left every result as it was.
    returns, takes : of a stage made of a typed function (`connectofit.pipelines.function_stage`), the type of its
        output, and by input stage the type that it takes
    """

    name: str
    function: Callable[[StageContext], object]
    version: int = 1
    settings: type[Settings] | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ("*",)
    files: Callable[[Any], Mapping[str, Path]] | None = None
    documents_run: bool = False
    returns: Any = None
    takes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingError(
                f"A stage's name is a lower-case word (letters, digits, underscores), because it names a folder and a "
                f"section of the recipe; found {self.name!r}."
            )
        if not self.outputs:
            raise SettingError(f"Stage {self.name!r} declares no outputs; name the files that it writes.")


def in_order(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages with every one after those that it reads, else in the order given: a directed acyclic graph, sorted.

    A stage that documents the run stays after all that were given before it. Raises `SettingError` for a repeated name
    and for a cycle, which it spells out, `UnknownNameError` for an input that is no stage.
    """
    names = [stage.name for stage in stages]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SettingError(f"Two stages write one output: {offenders(repeated)}. Give every stage its own name.")
    needs = {}
    for k, stage in enumerate(stages):
        for wanted in stage.inputs:
            if wanted not in names:
                raise unknown_name("stage", wanted, names, where=f"the inputs of stage {stage.name!r}")
        needs[stage.name] = list(dict.fromkeys([*stage.inputs, *(names[:k] if stage.documents_run else ())]))
    by_name = dict(zip(names, stages, strict=True))
    for stage in stages:
        _check_types(stage, by_name)
    done: list[str] = []
    while len(done) < len(names):
        ready = next((n for n in names if n not in done and all(need in done for need in needs[n])), None)
        if ready is None:
            raise SettingError(f"The stages read each other in a cycle: {' reads '.join(_cycle(needs, done))}.")
        done.append(ready)
    return tuple(by_name[name] for name in done)


def _check_types(stage: Stage, by_name: Mapping[str, Stage]) -> None:
    for name, taken in stage.takes.items():
        returned = by_name[name].returns
        if taken is not Path and taken != returned:
            made = "files" if returned is None else str(getattr(returned, "__name__", returned))
            raise SettingError(
                f"Stage {stage.name!r} takes {name!r} as {getattr(taken, '__name__', taken)}, but that stage writes "
                f"{made}. Annotate {name!r} with what it is" + (" (Path: its folder)." if returned is None else ".")
            )


def _cycle(needs: Mapping[str, Sequence[str]], done: Sequence[str]) -> list[str]:
    """The stages of one cycle, the first also at the end, among those that are not done."""
    path = [next(name for name in needs if name not in done)]
    while path[-1] not in path[:-1]:
        path.append(next(need for need in needs[path[-1]] if need not in done))
    return path[path.index(path[-1]) :]


def needed_for(stages: Sequence[Stage], name: str) -> tuple[Stage, ...]:
    """The stage of that name and all that it reads, directly or in turn, in the order of `stages`."""
    wanted = {name}
    for stage in reversed(stages):
        if stage.name in wanted:
            earlier = [other.name for other in stages[: stages.index(stage)]] if stage.documents_run else []
            wanted |= {*stage.inputs, *earlier}
    return tuple(stage for stage in stages if stage.name in wanted)


def dependents(stages: Sequence[Stage], name: str) -> tuple[str, ...]:
    """The names of all stages that read this one, directly or in turn, in the order of `stages`."""
    reached = {name}
    for k, stage in enumerate(stages):
        earlier = [other.name for other in stages[:k]] if stage.documents_run else []
        if reached & {*stage.inputs, *earlier}:
            reached.add(stage.name)
    return tuple(stage.name for stage in stages if stage.name in reached and stage.name != name)
