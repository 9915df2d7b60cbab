"""Pipelines and recipes: a pipeline is a list of stages; a recipe is a TOML file that names one and its settings.

A recipe's file::

    [recipe]
    name = "my_worm"
    base = "worm"            # start from the settings of this recipe; or: pipeline = "worm", for all of them anew
    title = "..."

    [import]                 # a section for each stage
    edges = "my_edges.csv"   # relative paths start at this file

    [demo.fit]               # laid over the rest by `--demo`
    folds = 3
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from connectofit.connectome.errors import MissingFileError, SettingError, unknown_name
from connectofit.pipelines import cell, choices, config, multiscale, student, task, worm
from connectofit.pipelines.config import Settings, Table
from connectofit.pipelines.plan import Planned, Selection, plan_stages
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.run import run_stages
from connectofit.pipelines.run_manifest import read_run_manifest
from connectofit.pipelines.stages import Stage, in_order

RECIPES = Path(__file__).parent / "recipes"
_META_KEYS = ("name", "pipeline", "base", "title")


@dataclass(frozen=True)
class Pipeline:
    """Stages, each after those that it reads, with their checked settings.

    Make one with `Pipeline.load`, or from stages of your own (`connectofit.pipelines.stages`), in any order:
    ``Pipeline("mine", (first, second))``. Settings, checked sections or plain tables, that are not given take their
    defaults. `summary` turns a finished run into the text that the command line ends with; `definition` is what a
    recipe's ``pipeline`` calls these stages, if it can. `scores` turns a finished run into the table that a sweep
    collects, or None where no stage has made it.
    """

    name: str
    stages: tuple[Stage, ...]
    sections: Mapping[str, Settings | Mapping[str, Any]] = field(default_factory=dict)
    title: str = ""
    summary: Callable[[RunResult], str] | None = None
    definition: str | None = None
    scores: Callable[[RunResult], pd.DataFrame | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", in_order(self.stages))
        models = _models(self.stages)
        given = {name: section for name, section in self.sections.items() if isinstance(section, Settings)}
        for name in self.sections:
            if name not in models:
                raise unknown_name("section", name, models, where=f"pipeline {self.name!r}")
        tables = {name: table for name, table in self.sections.items() if not isinstance(table, Settings)}
        tables = config.anchor_paths(tables, models, Path.cwd())
        open_ = {name: model for name, model in models.items() if name not in given}
        rest = config.check_sections(tables, open_, f"pipeline {self.name!r}")
        object.__setattr__(self, "sections", {name: given.get(name, rest.get(name)) for name in models})

    @classmethod
    def load(cls, recipe: str | Path, overrides: Mapping[str, Any] | None = None, *, demo: bool = False) -> Pipeline:
        """The pipeline of a recipe.

        Parameters: `recipe` the name of one that ships with the package, or the path of a TOML file; `overrides`
        settings laid over it, ``{"fit.seed": 3}`` or nested; `demo` whether the recipe's demo table is laid over it.
        Raises `UnknownNameError` (recipe, section, setting), `MissingFileError`, `SettingError`.
        """
        path = find_recipe(recipe)
        where = f"recipe {path.stem!r}" if path.parent == RECIPES else str(path)
        meta, layers = _read(path, where)
        definition = _definition(meta, where)
        models = _models(definition.stages)
        tables = config.merge(*(config.anchor_paths(table, models, folder) for table, folder in layers))
        demo_table = tables.pop("demo", {})
        if not isinstance(demo_table, dict):
            raise SettingError(f"{where}: [demo] holds sections, such as [demo.fit]; found {demo_table!r}.")
        with_demo = config.merge(tables, demo_table)
        changes = config.nest(overrides or {})
        for reserved in ("recipe", "demo"):
            if reserved in changes:
                raise unknown_name("section", reserved, models, where="the overrides")
        changes = config.anchor_paths(changes, models, Path.cwd())
        sections = config.check_sections(config.merge(with_demo if demo else tables, changes), models, where)
        # The demo's own settings are checked even when they are not used: a misspelt one should not wait for --demo.
        config.check_sections(with_demo, models, f"[demo] of {where}")
        title = meta.get("title", "")
        return cls(
            meta["name"], definition.stages, sections, title, definition.summary, meta["pipeline"], definition.scores
        )

    @classmethod
    def repeat(cls, manifest: str | Path, overrides: Mapping[str, Any] | None = None) -> Pipeline:
        """The pipeline of a finished run, with its settings, from the run's ``manifest.json``.

        Raises `MissingFileError`, and `SettingError` for what is no manifest, was edited, has another format
        or belongs to stages that no recipe can name (run those again from Python).
        """
        found = read_run_manifest(Path(manifest))
        where = str(manifest)
        if found["pipeline"] is None:
            raise SettingError(
                f"{where}: the run {found['recipe']!r} was made from Python, of stages that no recipe names. Run that "
                f"program again; on the same folder it does only what has changed."
            )
        definition = _definition({"pipeline": found["pipeline"]}, where)
        models = _models(definition.stages)
        changes = config.anchor_paths(config.nest(overrides or {}), models, Path.cwd())
        sections = config.check_sections(config.merge(found["settings"], changes), models, where)
        name = found["pipeline"]
        return cls(found["recipe"], definition.stages, sections, "", definition.summary, name, definition.scores)

    def run(
        self,
        out: str | Path | None = None,
        *,
        until: str | None = None,
        start: str | None = None,
        force: Collection[str] = (),
        reuse: Sequence[str | Path] = (),
        explain: bool = False,
        progress: bool = False,
    ) -> RunResult:
        """Run the stages that have to run; see `connectofit.pipelines.run.run_stages` for what is not said here.

        Parameters: `out` the folder of the run, by default ``runs/<name>``; `until` only that stage and what it needs;
        `start` that stage and all that depend on it, `force` these stages, even if nothing changed; `reuse` folders of
        other runs; `explain` whether the log says what changed; `progress` whether bars are drawn.
        """
        return run_stages(
            self.name,
            self.stages,
            self._checked,
            self._folder(out),
            until=until,
            start=start,
            force=force,
            reuse=[Path(path) for path in reuse],
            explain=explain,
            progress=progress,
            pipeline=self.definition,
        )

    def plan(
        self,
        out: str | Path | None = None,
        *,
        until: str | None = None,
        start: str | None = None,
        force: Collection[str] = (),
    ) -> tuple[Planned, ...]:
        """What `run` would do with the same arguments, and why. Nothing is run or written."""
        selection = Selection.of(self.stages, self.name, until, start, force)
        return plan_stages(selection, self._checked, self._folder(out))

    def _folder(self, out: str | Path | None) -> Path:
        return Path(out) if out is not None else Path("runs") / self.name

    @property
    def _checked(self) -> dict[str, Settings]:
        return {name: section for name, section in self.sections.items() if isinstance(section, Settings)}


@dataclass(frozen=True)
class PipelineDefinition:
    """What a recipe's ``pipeline = "..."`` names: stages, the text that ends a run, and what a sweep collects."""

    stages: tuple[Stage, ...]
    summary: Callable[[RunResult], str] | None = None
    scores: Callable[[RunResult], pd.DataFrame | None] | None = None


def recipes() -> dict[str, str]:
    """The recipes that ship with the package: name to title."""
    found = {}
    for path in sorted(RECIPES.glob("*.toml")):
        meta = config.read_toml(path).get("recipe")
        if isinstance(meta, dict):
            found[path.stem] = str(meta.get("title", ""))
    return found


def find_recipe(recipe: str | Path) -> Path:
    """The file of a recipe: a path if it looks like one (has a suffix or a folder), else a name in the package."""
    path = Path(recipe)
    if path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise MissingFileError(f"There is no recipe file {str(path)!r}. Check the path.")
        return path
    if str(recipe) not in recipes():
        raise unknown_name("recipe", str(recipe), recipes())
    return RECIPES / f"{recipe}.toml"


def _read(path: Path, where: str, seen: tuple[Path, ...] = ()) -> tuple[Table, list[tuple[Table, Path]]]:
    """A recipe's ``[recipe]`` table, and its other tables with their folder, those of its bases first."""
    if path in seen:
        raise SettingError(f"{where}: recipes are based on each other in a circle: {' -> '.join(map(str, seen))}.")
    table = config.read_toml(path)
    meta = table.pop("recipe", None)
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        raise SettingError(f"{where}: a recipe needs a table [recipe] with a name, and a pipeline or a base.")
    for key, value in meta.items():
        if key not in _META_KEYS:
            raise unknown_name("setting", key, _META_KEYS, where=f"section 'recipe' of {where}")
        if not isinstance(value, str):
            raise SettingError(f"{where}: recipe.{key} is a text; found {value!r}.")
    if ("pipeline" in meta) == ("base" in meta):
        raise SettingError(f"{where}: [recipe] names either a pipeline or a base, one of the two.")
    layers = [(table, path.parent.resolve())]
    if "base" in meta:
        base = path.parent / meta["base"] if Path(meta["base"]).suffix else Path(meta["base"])
        base_meta, base_layers = _read(find_recipe(base), where, (*seen, path))
        meta = {**base_meta, **{key: value for key, value in meta.items() if key != "base"}}
        layers = base_layers + layers
    return meta, layers


def _definitions() -> dict[str, PipelineDefinition]:
    """The pipelines that a recipe can name."""
    return {
        "worm": PipelineDefinition(worm.STAGES, worm.summary, partial(_table, "evaluate", "summary.parquet")),
        "task": PipelineDefinition(task.STAGES, task.summary, task.scores),
        "choices": PipelineDefinition(choices.STAGES, choices.summary, partial(_table, "score", "scores.parquet")),
        "student": PipelineDefinition(student.STAGES, student.summary, partial(_table, "study", "scores.parquet")),
        "multiscale": PipelineDefinition(
            multiscale.STAGES, multiscale.summary, partial(_table, "score", "scores.parquet")
        ),
        "cell": PipelineDefinition(cell.STAGES, cell.summary, partial(_table, "fit", "comparison.parquet")),
    }


def _table(stage: str, name: str, result: RunResult) -> pd.DataFrame | None:
    """A table that a stage wrote, if it was among those that ran."""
    if all(done.name != stage for done in result.stages):
        return None
    return pd.read_parquet(result.path(stage, name))


def _definition(meta: Table, where: str) -> PipelineDefinition:
    known = _definitions()
    if meta["pipeline"] not in known:
        raise unknown_name("pipeline", meta["pipeline"], known, where=where)
    return known[meta["pipeline"]]


def _models(stages: tuple[Stage, ...]) -> dict[str, type[Settings]]:
    return {stage.name: stage.settings for stage in stages if stage.settings is not None}
