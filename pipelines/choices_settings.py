"""The sections of recipes that train networks to choose as an animal does."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from connectofit.data import RAT_CHOICES_OPTIONS, RAT_CHOICES_STIMULI
from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.task_settings import TrainSettings


class TrialsSettings(Settings):
    """Whose choices, and which sessions are held out. Without `table` these are the rat's that ship with the package.

    `options`: the two things that were chosen, as the table calls them; the network's answers 0 and 1. `stimuli`: the
    columns of the first and the second. `columns`: {canonical name (session, trial, choice, answer): the table's}.
    `folds`: into so many parts sessions are dealt by `seed`; part `fold` is held out.
    """

    table: DataFile | None = None
    options: tuple[str, str] = RAT_CHOICES_OPTIONS
    stimuli: tuple[str, str] = RAT_CHOICES_STIMULI
    columns: dict[str, str] = Field(default_factory=dict)
    folds: int = Field(default=5, ge=2)
    fold: int = Field(default=0, ge=0)
    seed: int = Field(default=0, ge=0)


class NetworkSettings(TrainSettings):
    """The networks; see `TrainSettings`. The controls are of the network that learns the animal's choices.

    `past`: what of the trial before these networks are told. `networks`: "choices" learns the animal's choices from
    stimuli and past, "stimuli" from stimuli alone, "answers" the right answers. `task`: settings of
    `connectofit.fit.tasks.ObservedComparison`. `each`: trials for each condition that chances are worked out from.
    """

    networks: tuple[Literal["choices", "stimuli", "answers"], ...] = ("choices", "stimuli", "answers")
    past: tuple[Literal["choice", "answer"], ...] = ("choice", "answer")
    task: dict[str, Any] = Field(default_factory=dict)
    each: int = Field(default=200, ge=1)
    judged_by: Literal["accuracy", "loss"] = "loss"


class ScoreSettings(Settings):
    """`resamples`: of sessions, for the intervals."""

    resamples: int = Field(default=999, ge=2)
    seed: int = Field(default=0, ge=0)
