"""Stages made of plain functions: what their annotations mean, what they hand on, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome
from connectofit.connectome.errors import ConnectofitError, MissingFileError, SettingError, UnknownNameError
from connectofit.pipelines import DataFile, Pipeline, StageContext, stage
from connectofit.pipelines.artifacts import ReturnedError, read_value, write_value


@stage(version=2)
def numbers(start: DataFile | None = None, n: int = 3, seed: int = 0) -> np.ndarray:
    first = 0 if start is None else int(start.read_text())
    return np.arange(first + seed, first + seed + n)


@stage
def squares(numbers: np.ndarray, power: float = 2.0) -> pd.DataFrame:
    return pd.DataFrame({"number": numbers, "square": numbers**power})


@stage(name="sum")
def total(squares: pd.DataFrame, context: StageContext) -> dict[str, float]:
    with context.bar(1, "sum") as bar:
        bar.update()
    return {"sum": float(squares["square"].sum())}


STAGES = (total, squares, numbers)  # in any order


def test_a_pipeline_of_functions_runs_in_the_order_of_what_they_take(tmp_path):
    pipeline = Pipeline("mine", STAGES)
    assert [s.name for s in pipeline.stages] == ["numbers", "squares", "sum"]
    result = pipeline.run(tmp_path / "run")
    assert read_value(dict, result.path("sum")) == {"sum": 0.0 + 1.0 + 4.0}
    assert numbers.version == 2


def test_settings_of_functions_are_checked_by_their_annotations_and_change_keys(tmp_path):
    Pipeline("mine", STAGES).run(tmp_path / "run")
    result = Pipeline("mine", STAGES, {"squares": {"power": 3.0}, "numbers": {"n": 4}}).run(tmp_path / "run")
    assert read_value(dict, result.path("sum")) == {"sum": 0.0 + 1.0 + 8.0 + 27.0}
    assert result["numbers"].reason == "changed: settings"
    assert result["numbers"].details == ("settings: n 3 -> 4",)
    again = Pipeline("mine", STAGES, {"squares": {"power": 3.0}, "numbers": {"n": 4, "seed": 1}}).run(tmp_path / "run")
    assert again["numbers"].details == ("seed: seed 0 -> 1",)
    with pytest.raises(UnknownNameError, match="Did you mean 'power'"):
        Pipeline("mine", STAGES, {"squares": {"powr": 3.0}})
    with pytest.raises(SettingError, match=r"squares\.power"):
        Pipeline("mine", STAGES, {"squares": {"power": "three"}})


@pytest.mark.slow
def test_a_data_file_counts_by_its_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("first.txt").write_text("5")
    pipeline = Pipeline("mine", STAGES, {"numbers": {"start": "first.txt"}})
    assert read_value(dict, pipeline.run("run").path("sum")) == {"sum": 25.0 + 36.0 + 49.0}
    Path("first.txt").write_text("0")
    assert pipeline.run("run")["numbers"].reason == "changed: settings, files"
    with pytest.raises(MissingFileError, match="nowhere"):
        Pipeline("mine", STAGES, {"numbers": {"start": "nowhere.txt"}}).run("other")


def test_an_input_of_another_type_than_is_made_is_refused_before_anything_runs():
    @stage
    def wrong(squares: np.ndarray) -> dict:
        return {}

    with pytest.raises(SettingError, match="takes 'squares' as ndarray, but that stage writes DataFrame"):
        Pipeline("mine", (*STAGES, wrong))

    @stage
    def folder(squares: Path) -> list[str]:
        return sorted(path.name for path in squares.iterdir())

    Pipeline("mine", (*STAGES, folder))


def no_annotation(numbers) -> int:
    return 1


def no_return(n: int = 3):
    return 1


def strange_type(numbers: set[int]) -> int:
    return 1


def strange_return(n: int = 3) -> set[int]:
    return {n}


def many(*numbers: int) -> int:
    return 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_annotation, "'numbers' needs an annotation"),
        (no_return, "needs an annotation of what it returns"),
        (strange_type, "which stages do not hand on"),
        (strange_return, "which stages do not hand on"),
        (many, "names of their own"),
        (len, "written with def"),
    ],
)
def test_a_function_that_does_not_say_what_it_takes_and_returns_is_refused(function, message):
    with pytest.raises(SettingError, match=message):
        stage(function)


def test_a_stage_that_returns_what_it_did_not_declare_fails_and_leaves_nothing(tmp_path):
    @stage
    def wrong(n: int = 3) -> pd.DataFrame:
        return [n]

    with pytest.raises(ReturnedError, match="is a list, where DataFrame is declared"):
        Pipeline("mine", (wrong,)).run(tmp_path / "run")
    assert not (tmp_path / "run" / "wrong").exists()


@dataclass(frozen=True)
class Several:
    table: pd.DataFrame
    rates: dict[str, np.ndarray]
    note: str


GRAPH = Connectome.from_networkx(nx.DiGraph([(1, 2, {"count": 3}), (2, 1, {"count": 1})]))


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (np.arange(6.0).reshape(2, 3), np.ndarray),
        ({"a": np.arange(3), "b": np.array(["x", "y"])}, dict[str, np.ndarray]),
        (pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="who")), pd.DataFrame),
        (pa.table({"a": [1, None]}), pa.Table),
        ("two\r\nlines", str),
        (3, int),
        (None, None),
        ([1, {"a": [0.1, "b", None, True]}], list),
        ({"b": 1.5}, dict[str, float]),
    ],
)
def test_what_is_handed_on_comes_back_as_it_was(tmp_path, value, annotation):
    write_value(value, annotation, tmp_path, "it")
    back = read_value(annotation, tmp_path)
    if annotation is pd.DataFrame:
        pd.testing.assert_frame_equal(back, value)
    elif annotation in (np.ndarray, dict[str, np.ndarray]):
        np.testing.assert_equal(back, value)
    else:
        assert back == value
        assert type(back) is type(value)


def test_several_outputs_are_the_fields_of_a_dataclass(tmp_path):
    value = Several(pd.DataFrame({"a": [1]}), {"E": np.ones(3)}, "text")
    write_value(value, Several, tmp_path, "it")
    back = read_value(Several, tmp_path)
    assert (back.note, back.table["a"].tolist(), back.rates["E"].tolist()) == ("text", [1], [1.0, 1.0, 1.0])


def test_a_graph_is_handed_on_with_its_ids(tmp_path):
    write_value(GRAPH, Connectome, tmp_path, "it")
    back = read_value(Connectome, tmp_path)
    assert sorted(back.edges(data="count")) == sorted(GRAPH.edges(data="count"))


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (np.array([object()]), np.ndarray),
        ({"a": float("nan")}, dict),
        ({1: "a"}, dict),
        ([(1, 2)], list),
        (True, int),
        ({"a": np.array([None])}, dict[str, np.ndarray]),
        (pd.DataFrame({"a": [object()]}), pd.DataFrame),
    ],
)
def test_what_would_not_come_back_as_it_was_is_refused(tmp_path, value, annotation):
    with pytest.raises(ConnectofitError):
        write_value(value, annotation, tmp_path, "it")
