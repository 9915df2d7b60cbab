"""Spike trains as the scores take them: one array of rising times in ms, or several for repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SchemaError, SettingError, offenders

Train = Float[np.ndarray, "spike"]
Trains = Sequence[np.ndarray] | np.ndarray
"""One train, or one for each repetition of the same stimulus."""


def as_train(times_ms: Sequence[float] | np.ndarray, what: str = "A spike train") -> Train:
    """As a float64 array [spike]. Raises `SchemaError` unless it is one-dimensional, finite and does not fall."""
    try:
        times = np.asarray(times_ms, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"{what} has to hold times in ms: {error}.") from error
    if times.ndim != 1:
        raise SchemaError(f"{what} has to be one-dimensional, times in ms; its shape is {times.shape}.")
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise SchemaError(f"{what} has times that are not finite at {offenders(bad.tolist())}. Take these spikes out.")
    falls = np.flatnonzero(np.diff(times) < 0)
    if falls.size:
        found = [f"spike {k + 1}: {times[k + 1]:g} after {times[k]:g} ms" for k in falls]
        raise SchemaError(f"{what} has to be in order of time; found {offenders(found)}. Sort it.")
    return times


def as_trains(trains: Trains, what: str = "A spike train") -> list[Train]:
    """A list of trains from one train or several. Raises `SchemaError` for no train and as `as_train`."""
    if isinstance(trains, np.ndarray) and trains.ndim == 1 and trains.dtype != object:
        return [as_train(trains, what)]
    several = list(trains)
    if several and all(np.ndim(item) == 0 for item in several):
        return [as_train(np.asarray(several), what)]
    if not several:
        raise SchemaError(f"{what} is missing: give one array of times in ms, empty if the cell was silent.")
    return [as_train(train, f"{what} (repetition {k})") for k, train in enumerate(several)]


def duration_of(duration_ms: float) -> float:
    """Raises `SettingError` unless it is finite and above 0."""
    return positive(duration_ms, "duration_ms")


def positive(value: float, name: str) -> float:
    """Raises `SettingError` unless it is finite and above 0."""
    if isinstance(value, bool) or not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} has to be finite and above 0; found {value!r}.")
    return float(value)


def cut(trains: Trains, start_ms: float, stop_ms: float) -> list[Train]:
    """The spikes from `start_ms` up to `stop_ms`, as times after `start_ms`."""
    return [t[(t >= start_ms) & (t < stop_ms)] - start_ms for t in as_trains(trains)]
