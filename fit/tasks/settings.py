"""Checks of tasks' settings: times, rates, counts and probabilities, each with an error that says what is allowed."""

from __future__ import annotations

import math
from typing import Any

from connectofit.connectome.errors import SettingError
from connectofit.sim.checks import steps_of


def period_steps(task: Any, *names: str) -> dict[str, int]:
    """The steps of the times that are named, without their unit: {name without ``_ms``: steps}.

    Raises `SettingError` where one is no whole number of steps.
    """
    return {
        name.removesuffix("_ms"): steps_of(getattr(task, name), task.dt_ms, f"{name} of {type(task).__name__}")
        for name in names
    }


def require_some(task: Any, *names: str) -> None:
    """Raise a `SettingError` where a time that a task cannot do without is 0."""
    for name in names:
        if getattr(task, name) == 0:
            raise SettingError(f"{name} of {type(task).__name__} has to be at least one step of {task.dt_ms:g} ms.")


def check_rates(task: Any, *names: str) -> None:
    """Raise a `SettingError` where a rate in Hz is negative, or above one spike a step where inputs are spikes."""
    most = 1000.0 / task.dt_ms if task.input_kind == "spikes" else math.inf
    for name in names:
        value = getattr(task, name)
        if not (_is_number(value) and 0 <= value <= most):
            bound = "" if most == math.inf else f", at most {most:g} Hz (one spike in each step of {task.dt_ms:g} ms)"
            raise SettingError(
                f"{name} of {type(task).__name__} has to be a rate of 0 or more{bound}; found {value!r}."
            )


def check_counts(task: Any, least: int, *names: str) -> None:
    """Raise a `SettingError` where a setting is no whole number of at least `least`."""
    for name in names:
        value = getattr(task, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingError(
                f"{name} of {type(task).__name__} has to be a whole number, at least {least}; found {value!r}."
            )


def check_probabilities(task: Any, *names: str) -> None:
    """Raise a `SettingError` where a setting is not from 0 to 1."""
    for name in names:
        value = getattr(task, name)
        if not (_is_number(value) and 0 <= value <= 1):
            raise SettingError(f"{name} of {type(task).__name__} has to be from 0 to 1; found {value!r}.")


def check_numbers_above(task: Any, *names: str) -> None:
    """Raise a `SettingError` where a setting is no number above 0."""
    for name in names:
        value = getattr(task, name)
        if not (_is_number(value) and value > 0):
            raise SettingError(f"{name} of {type(task).__name__} has to be a number above 0; found {value!r}.")


def check_numbers(task: Any, name: str, least: int, low: float, high: float) -> None:
    """Raise a `SettingError` where a setting is no tuple of at least `least` different numbers from low to high."""
    values = getattr(task, name)
    good = isinstance(values, tuple) and all(_is_number(v) and low <= v <= high for v in values)
    if not good or len(values) < least or len(set(values)) != len(values):
        raise SettingError(
            f"{name} of {type(task).__name__} has to be a tuple of at least {least} different numbers from {low:g} to "
            f"{high:g}; found {values!r}."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
