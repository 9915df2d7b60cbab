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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import MissingFileError, SettingError, unknown_name
from connectofit.pipelines import cell, config, worm
from connectofit.pipelines.config import Settings, Table
from connectofit.pipelines.run import RunResult, run_stages
from connectofit.pipelines.stage import Stage, check_order

RECIPES = Path(__file__).parent / "recipes"
_META_KEYS = ("name", "pipeline", "base", "title")


@dataclass(frozen=True)
class Pipeline:
    """Stages in order, with their checked settings.

    Make one with `Pipeline.load`, or from stages of your own: ``Pipeline("mine", (first, second))``. Sections that are
    not given take their defaults. `summary` turns a finished run into the text that the command line ends with.
    """

    name: str
    stages: tuple[Stage, ...]
    sections: Mapping[str, Settings] = field(default_factory=dict)
    title: str = ""
    summary: Callable[[RunResult], str] | None = None

    def __post_init__(self) -> None:
        check_order(self.stages)
        models = _models(self.stages)
        given = {name: section for name, section in self.sections.items() if name in models}
        for name in self.sections:
            if name not in models:
                raise unknown_name("section", name, models, where=f"pipeline {self.name!r}")
        rest = config.check_sections({}, {n: m for n, m in models.items() if n not in given}, f"pipeline {self.name!r}")
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
        return cls(meta["name"], definition.stages, sections, meta.get("title", ""), definition.summary)

    def run(self, out: str | Path | None = None, *, until: str | None = None, progress: bool = False) -> RunResult:
        """Run the stages that have to run, up to and with `until`; see `connectofit.pipelines.run.run_stages`.

        Parameters: `out` the folder of the run, by default ``runs/<name>``; `progress` whether bars are drawn.
        """
        folder = Path(out) if out is not None else Path("runs") / self.name
        return run_stages(self.name, self.stages, self.sections, folder, until=until, progress=progress)


@dataclass(frozen=True)
class PipelineDefinition:
    """What a recipe's ``pipeline = "..."`` names: stages, and the text that ends a run."""

    stages: tuple[Stage, ...]
    summary: Callable[[RunResult], str] | None = None


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
        "worm": PipelineDefinition(worm.STAGES, worm.summary),
        "cell": PipelineDefinition(cell.STAGES, cell.summary),
    }


def _definition(meta: Table, where: str) -> PipelineDefinition:
    known = _definitions()
    if meta["pipeline"] not in known:
        raise unknown_name("pipeline", meta["pipeline"], known, where=where)
    return known[meta["pipeline"]]


def _models(stages: tuple[Stage, ...]) -> dict[str, type[Settings]]:
    return {stage.name: stage.settings for stage in stages if stage.settings is not None}
