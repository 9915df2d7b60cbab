"""Recipes and overrides: what is written is what runs; what is misspelt is told with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from connectofit.connectome.errors import MissingFileError, SettingError, UnknownNameError
from connectofit.pipelines import config, pipeline
from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.pipeline import Pipeline, PipelineDefinition
from connectofit.pipelines.stages import Stage, StageContext


class Inner(Settings):
    file: DataFile | None = None
    depth: int = 1


class Reading(Settings):
    edges: DataFile | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    inner: Inner = Inner()


class Fitting(Settings):
    steps: int = Field(default=10, ge=1)
    learning_rate: float = 0.1
    fold_seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0


def nothing(context: StageContext) -> None:
    pass


STAGES = (Stage("read", nothing, settings=Reading), Stage("fit", nothing, settings=Fitting, inputs=("read",)))

RECIPE = """
[recipe]
name = "mine"
pipeline = "test"
title = "A test"
[read]
edges = "tables/edges.csv"
columns = {pre = "source", post = "target"}
[fit]
steps = 20
[demo.fit]
fold_seeds = [0]
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "_definitions", lambda: {"test": PipelineDefinition(STAGES)})

    def write(text: str = RECIPE, name: str = "mine.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_settings_come_from_the_recipe_and_defaults(recipe):
    loaded = Pipeline.load(recipe())
    assert loaded.name == "mine"
    assert loaded.title == "A test"
    fit = loaded.sections["fit"]
    assert (fit.steps, fit.learning_rate, fit.fold_seeds) == (20, 0.1, (0, 1, 2))


def test_the_demo_table_is_laid_over_and_overrides_over_that(recipe):
    assert Pipeline.load(recipe(), demo=True).sections["fit"].fold_seeds == (0,)
    fit = Pipeline.load(recipe(), {"fit.fold_seeds": [4, 5]}, demo=True).sections["fit"]
    assert (fit.fold_seeds, fit.steps) == ((4, 5), 20)


def test_overrides_may_be_nested_and_merge_with_tables(recipe):
    loaded = Pipeline.load(recipe(), {"read": {"columns": {"count": "weight"}}, "fit.seed": 7})
    assert loaded.sections["read"].columns == {"pre": "source", "post": "target", "count": "weight"}
    assert loaded.sections["fit"].seed == 7


def test_paths_in_a_recipe_start_at_the_recipe_and_those_in_overrides_here(recipe, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert Pipeline.load(recipe()).sections["read"].edges == tmp_path / "tables" / "edges.csv"
    read = Pipeline.load(recipe(), {"read.edges": "mine.csv", "read.inner.file": "a.bin"}).sections["read"]
    assert read.edges == here / "mine.csv"
    assert read.inner.file == here / "a.bin"


def test_a_recipe_may_start_from_another(recipe, tmp_path):
    recipe()
    child = recipe('[recipe]\nname = "child"\nbase = "mine.toml"\n[fit]\nlearning_rate = 0.5\n', "child.toml")
    loaded = Pipeline.load(child)
    assert (loaded.name, loaded.sections["fit"].steps, loaded.sections["fit"].learning_rate) == ("child", 20, 0.5)
    loop = recipe('[recipe]\nname = "loop"\nbase = "loop.toml"\n', "loop.toml")
    with pytest.raises(SettingError, match="in a circle"):
        Pipeline.load(loop)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"fit.lerning_rate": 1}, "No setting named 'lerning_rate' in section 'fit'.*Did you mean 'learning_rate'"),
        ({"fti.steps": 1}, "No section named 'fti'.*Did you mean 'fit'"),
        ({"read.inner.dpth": 1}, "No setting named 'dpth' in section 'read.inner'.*Did you mean 'depth'"),
        ({"recipe.name": "x"}, "No section named 'recipe' in the overrides"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest_name(recipe, overrides, message):
    with pytest.raises(UnknownNameError, match=message):
        Pipeline.load(recipe(), overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"fit.steps": "many"}, "fit.steps = 'many': input should be a valid integer"),
        ({"fit.steps": 1.5}, "fit.steps = 1.5"),
        ({"fit.steps": True}, "fit.steps = True"),
        ({"fit.steps": 0}, "fit.steps = 0: input should be greater than or equal to 1"),
        ({"fit.learning_rate": float("nan")}, "fit.learning_rate = nan"),
        ({"fit.fold_seeds": [1, "b"]}, "fit.fold_seeds.1 = 'b'"),
        ({"fit": 3}, "'fit' is a section"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused_and_named(recipe, overrides, message):
    with pytest.raises(SettingError, match=message):
        Pipeline.load(recipe(), overrides)


def test_a_misspelt_setting_in_the_demo_table_is_found_without_the_demo(recipe):
    with pytest.raises(UnknownNameError, match=r"'fold_seed' in section 'fit' of \[demo\].*'fold_seeds'"):
        Pipeline.load(recipe(RECIPE.replace("fold_seeds", "fold_seed")))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[fit]\nsteps = \nseed = 1", SettingError, r"bad\.toml is not valid TOML.*line 2"),
        ("[fit]\nsteps = 1", SettingError, r"needs a table \[recipe\]"),
        ('[recipe]\nname = "x"', SettingError, "either a pipeline or a base"),
        ('[recipe]\nname = "x"\npipeline = "tset"', UnknownNameError, "Did you mean 'test'"),
        ('[recipe]\nname = "x"\npipline = "test"', UnknownNameError, "Did you mean 'pipeline'"),
    ],
)
def test_a_recipe_that_is_not_one_is_refused(recipe, text, error, message):
    with pytest.raises(error, match=message):
        Pipeline.load(recipe(text, "bad.toml"))


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"No recipe named 'wrom'\. Did you mean 'worm'"):
        Pipeline.load("wrom")
    with pytest.raises(MissingFileError, match=r"none\.toml"):
        Pipeline.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit.seed=3", ("fit.seed", 3)),
        ("fit.lr = 1e-3", ("fit.lr", 1e-3)),
        ("fit.fold_seeds=[0, 1]", ("fit.fold_seeds", [0, 1])),
        ('a.b="3"', ("a.b", "3")),
        ("a.b=true", ("a.b", True)),
        ("read.edges=my/edges=1.csv", ("read.edges", "my/edges=1.csv")),
        ("a.b={x=1}", ("a.b", {"x": 1})),
    ],
)
def test_assignments_are_read_as_toml_and_else_as_text(text, expected):
    name, value = config.parse_assignment(text)
    assert (name, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["fit.seed", "=3", "fit..seed=3", "fit.folds=[0, ", 'a.b="open', "a.b="])
def test_an_assignment_that_is_none_is_refused(text):
    with pytest.raises(SettingError, match="--set"):
        config.parse_assignment(text)
