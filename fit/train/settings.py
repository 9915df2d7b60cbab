"""How long, how fast and on how much a training descends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import optax

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.tasks import Task

OptimiserName = Literal["adam", "adamw", "nadam", "rmsprop", "sgd"]
Decay = Literal["constant", "cosine"]
Judge = Literal["accuracy", "loss"]


@dataclass(frozen=True)
class TrainSchedule:
    """Settings of a descent.

    steps: at most, with those of lessons. batch: trials of each step. learning_rate: at its highest, after `warmup`
    steps. decay: "constant", or "cosine" down to 0 at the last step. optimiser: of optax. clip: the largest norm of the
    gradient; None: any. interval: steps between validations, which are also those between checkpoints. validation:
    trials of each; 0: none. patience: validations without improvement until training stops; None: never. goal: accuracy
    in validation at which training stops. judged_by: what is better in validation: a higher accuracy (a lower loss at
    the same one), or a lower loss, where answers are chances that no network can tell for certain.
    """

    steps: int = 200
    batch: int = 64
    learning_rate: float = 0.01
    warmup: int = 0
    decay: Decay = "constant"
    optimiser: OptimiserName = "adam"
    clip: float | None = 1.0
    interval: int = 10
    validation: int = 256
    patience: int | None = None
    goal: float | None = None
    judged_by: Judge = "accuracy"

    def __post_init__(self) -> None:
        lows = {"steps": 1, "batch": 1, "interval": 1, "warmup": 0, "validation": 0, "patience": 1}
        for name, low in lows.items():
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise SettingError(f"{name} of a training has to be a whole number, {low} or more; found {value!r}.")
        for name in ("learning_rate", "clip", "goal"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of a training has to be above 0; found {value!r}.")
        if self.optimiser not in get_args(OptimiserName):
            raise unknown_name("optimiser", str(self.optimiser), get_args(OptimiserName))
        if self.judged_by not in get_args(Judge):
            raise unknown_name("judge", str(self.judged_by), get_args(Judge))
        if self.decay not in get_args(Decay):
            raise unknown_name("decay", str(self.decay), get_args(Decay))
        if (self.goal is not None or self.patience is not None) and not self.validation:
            raise SettingError("A goal and patience are judged by validation trials. Set `validation` to some.")

    def rate(self) -> Any:
        """The learning rate as optax's function of the step."""
        if self.decay == "cosine":
            after = optax.cosine_decay_schedule(self.learning_rate, max(self.steps - self.warmup, 1))
        else:
            after = optax.constant_schedule(self.learning_rate)
        if not self.warmup:
            return after
        return optax.join_schedules([optax.linear_schedule(0.0, self.learning_rate, self.warmup), after], [self.warmup])

    def transformation(self) -> Any:
        """The optimiser, with clipping before it."""
        made = getattr(optax, self.optimiser)(self.rate())
        return made if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), made)


@dataclass(frozen=True)
class Lesson:
    """A part of a curriculum: a task, which is left after `steps`, or before when the mean accuracy on the training
    trials of the last `window` steps has reached `accuracy`."""

    task: Task
    steps: int = 100
    accuracy: float = 0.9
    window: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "window"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} of a lesson has to be a whole number, 1 or more; found {value!r}.")


def delay_curriculum(
    task: Task, delays_ms: Sequence[float], *, steps: int = 100, accuracy: float = 0.9, window: int = 10
) -> tuple[Lesson, ...]:
    """Lessons with these delays, for `train_task`; the task itself, with its own delay, follows them.

    Raises a `SettingError` for a task without a delay.
    """
    if not hasattr(task, "delay_ms"):
        raise SettingError(f"{type(task).__name__} has no delay_ms: a curriculum over delays needs one.")
    lessons = [replace(task, delay_ms=float(delay)) for delay in delays_ms]  # type: ignore[call-arg]
    return tuple(Lesson(lesson, steps, accuracy, window) for lesson in lessons)
