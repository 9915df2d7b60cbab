"""A tiny pipeline of plain functions: numbers -> squares -> total."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.pipeline import Pipeline
from connectofit.pipelines.stages import Stage, StageContext

RUNS: list[str] = []
"""Names of the stages that ran, in order; cleared before each test."""


class Numbers(Settings):
    count: int = 3
    seed: int = 0
    start: DataFile | None = None


class Squares(Settings):
    power: float = 2


def write_numbers(context: StageContext) -> None:
    RUNS.append("numbers")
    first = int(context.files["start"].read_text()) if "start" in context.files else 0
    values = range(first + context.settings.seed, first + context.settings.seed + context.settings.count)
    (context.out / "numbers.txt").write_text("\n".join(map(str, values)))


def write_squares(context: StageContext) -> None:
    RUNS.append("squares")
    numbers = [int(line) for line in (context.inputs["numbers"] / "numbers.txt").read_text().split()]
    (context.out / "deep").mkdir()
    text = "\n".join(str(number**context.settings.power) for number in numbers)
    (context.out / "deep" / "squares.txt").write_text(text)


def write_total(context: StageContext) -> None:
    RUNS.append("total")
    squares = [float(line) for line in (context.inputs["squares"] / "deep" / "squares.txt").read_text().split()]
    (context.out / "total.txt").write_text(str(sum(squares)))


def start_file(settings: Numbers) -> dict[str, Path]:
    return {"start": settings.start} if settings.start is not None else {}


STAGES = (
    Stage("numbers", write_numbers, settings=Numbers, outputs=("numbers.txt",), files=start_file),
    Stage("squares", write_squares, settings=Squares, inputs=("numbers",), outputs=("deep/squares.txt",)),
    Stage("total", write_total, inputs=("squares",), outputs=("total.txt",)),
)


@pytest.fixture(autouse=True)
def no_runs_yet() -> None:
    RUNS.clear()


@pytest.fixture
def runs() -> list[str]:
    return RUNS


@pytest.fixture
def pipeline() -> Callable[..., Pipeline]:
    """A maker of the tiny pipeline: keyword arguments are settings of `numbers`, `power` that of `squares`."""

    def make(power: float = 2, **numbers: object) -> Pipeline:
        return Pipeline("tiny", STAGES, {"numbers": Numbers(**numbers), "squares": Squares(power=power)})

    return make
