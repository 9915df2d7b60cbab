"""A key changes with everything that a result depends on, and with nothing else."""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines import keys
from connectofit.pipelines.config import Settings
from connectofit.pipelines.sources import imported_modules
from connectofit.pipelines.stages import Stage, StageContext


class Section(Settings):
    steps: int = 10
    seed: int = 0


def function(context: StageContext) -> None:
    pass


def other_function(context: StageContext) -> None:
    pass


def parts(tmp_path: Path, **changes: object) -> keys.KeyParts:
    data = tmp_path / "data.csv"
    data.write_text(str(changes.get("data", "a,b")))
    stage = Stage(
        str(changes.get("name", "fit")),
        changes.get("function", function),
        changes.get("version", 1),
        inputs=("before",),
    )
    section = Section(steps=changes.get("steps", 10), seed=changes.get("seed", 0))
    stage = replace(stage, documents_run=bool(changes.get("documents_run", False)))
    inputs, earlier = {"before": str(changes.get("before", "0" * 64))}, {"first": str(changes.get("earlier", "key"))}
    return keys.key_parts(stage, section, {"table": data}, inputs, earlier)


def different(one: keys.KeyParts, other: keys.KeyParts) -> set[str]:
    return {name for name in one.digests if one.digests[name] != other.digests[name]}


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"name": "evaluate"}, "name"),
        ({"version": 2}, "version"),
        ({"steps": 11}, "settings"),
        ({"seed": 1}, "seed"),
        ({"data": "a,c"}, "files"),
        ({"before": "1" * 64}, "inputs"),
        ({"function": other_function}, "source"),
    ],
)
def test_each_part_changes_the_key_and_is_named(tmp_path, change, part):
    first, second = parts(tmp_path), parts(tmp_path, **change)
    assert different(first, second) == {part}
    assert keys.stage_key(first) != keys.stage_key(second)


def test_the_keys_of_earlier_stages_count_for_a_stage_that_documents_the_run_and_no_other(tmp_path):
    assert parts(tmp_path, earlier="other") == parts(tmp_path)
    first, second = parts(tmp_path, documents_run=True), parts(tmp_path, documents_run=True, earlier="other")
    assert different(first, second) == {"earlier_stages"}


def test_the_same_things_give_the_same_key(tmp_path):
    assert keys.stage_key(parts(tmp_path)) == keys.stage_key(parts(tmp_path))


@pytest.mark.parametrize("library", ["connectofit", "jax", "numpy"])
def test_another_version_of_a_library_changes_the_key(tmp_path, monkeypatch, library):
    first = parts(tmp_path)
    versions = keys.library_versions()
    monkeypatch.setattr(keys, "library_versions", lambda: {**versions, library: "0.0.0"})
    assert different(first, parts(tmp_path)) == {"libraries"}


@dataclass
class Point:
    x: float
    y: float


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (b"a", "a"),
        (["ab", "c"], ["a", "bc"]),
        ([1, [2]], [[1], 2]),
        ([], None),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({1: "x"}, {"1": "x"}),
        (0.1, 0.1 + 1e-17 + 1e-16),
        (Point(1, 2), Point(2, 1)),
        (np.zeros(3, np.float32), np.zeros(3, np.float64)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.float32(1), np.float64(1)),
        (functools.partial(function, 1), functools.partial(function, 2)),
    ],
)
def test_different_values_have_different_digests(one, other):
    assert keys.value_digest(one) != keys.value_digest(other)


def test_the_order_of_a_table_does_not_matter():
    assert keys.value_digest({"a": 1, "b": 2}) == keys.value_digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), print, [lambda: 0, object()]])
def test_what_cannot_be_hashed_is_an_error(value):
    with pytest.raises(SettingError, match="cannot be hashed"):
        keys.value_digest(value)


def test_a_function_that_closes_over_a_value_changes_with_it():
    def make(value: object) -> object:
        def inner(context: StageContext) -> object:
            return value

        return inner

    assert keys.value_digest(make(1)) != keys.value_digest(make(2))
    with pytest.raises(SettingError, match="'value', which value closes over"):
        keys.value_digest(make(object()))


def test_a_function_without_a_source_file_is_an_error():
    namespace: dict[str, object] = {"__name__": "typed_at_a_prompt"}
    exec("def typed(context): pass", namespace)
    with pytest.raises(SettingError, match="no source file"):
        keys.value_digest(namespace["typed"])


def load(path: Path) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_a_changed_source_changes_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "users_stages", None)
    path = tmp_path / "users_stages.py"
    path.write_text("def work(context):\n    return 1\n")
    first = keys.source_digest(load(path).work)
    path.write_text("def work(context):\n    return 2\n")
    assert keys.source_digest(load(path).work) != first


def test_the_sources_of_a_module_are_those_it_imports_in_turn():
    found = imported_modules(
        "connectofit.pipelines.run", Path(sys.modules[Stage.__module__].__file__).parent / "run.py"
    )
    assert {
        "connectofit.pipelines.run",
        "connectofit.pipelines.folders",
        "connectofit.pipelines.stages",
        "connectofit.pipelines.config",
        "connectofit.connectome.errors",
    } <= set(found)
    others = ("connectofit.sim.rollout", "connectofit.fit", "connectofit.pipelines.worm")
    assert not {name for name in found if name.startswith(others)}


def test_a_change_of_the_report_or_the_command_line_leaves_the_keys_of_other_stages_alone():
    stages = sys.modules["connectofit.pipelines.worm_stages"]
    found = imported_modules(stages.__name__, Path(stages.__file__))
    assert {"connectofit.sim.simulate", "connectofit.builders.build", "connectofit.connectome.read"} <= set(found)
    others = ("cli", "pipeline", "report", "figures", "worm_report", "worm", "run")
    assert not {f"connectofit.pipelines.{name}" for name in others} & set(found)
