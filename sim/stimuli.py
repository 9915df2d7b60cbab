"""Stimuli: currents into named neurons, as a function of the absolute step, so that cutting a run into chunks changes
nothing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders
from connectofit.sim.selection import Neurons

Steps = Int[np.ndarray, " time"]
Current = Float[np.ndarray, "time n_selected"]
Memory = dict[str, Any]

LAST_STEP = 2**31 - 1  # steps are counted in int32


def window_steps(start_ms: float, stop_ms: float, dt_ms: float, what: str) -> tuple[int, int]:
    """The steps m with start <= m dt < stop, both ends rounded to the nearest step. `SettingError` for an empty
    window."""
    if not (math.isfinite(start_ms) and start_ms >= 0 and stop_ms > start_ms):
        raise SettingError(
            f"{what} has to start at 0 ms or later and to stop after that; found {start_ms:g} to {stop_ms:g} ms."
        )
    first = round(start_ms / dt_ms)
    last = LAST_STEP if math.isinf(stop_ms) else min(round(stop_ms / dt_ms), LAST_STEP)
    if last <= first:
        raise SettingError(
            f"{what} from {start_ms:g} to {stop_ms:g} ms holds no step of dt_ms = {dt_ms:g}, to which its ends are "
            "rounded. Make it longer, or take a smaller dt_ms."
        )
    return first, last


def _finite(stimulus: object, *names: str) -> None:
    """Raise a `SettingError` for settings that are not finite numbers."""
    for name in names:
        value = getattr(stimulus, name)
        if not math.isfinite(value):
            raise SettingError(f"{name} of a {type(stimulus).__name__} stimulus has to be finite; found {value!r}.")


class Stimulus(ABC):
    """A current into some neurons (relative for graded neurons, pA for LIF). Time starts at 0 of the run's first
    state.

    neurons: an id, ids, `Where`, or None for all. What is given for each neuron is in the order of the ids, or else in
    that of `Network.ids`.
    """

    neurons: Neurons

    @abstractmethod
    def check(self, n_selected: int, dt_ms: float) -> None:
        """Raise a `SettingError` for settings that do not fit; called before anything is compiled."""

    @abstractmethod
    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        """The current in these absolute steps, which follow each other. key: of this stimulus and trial. memory: the
        same in all calls of a run, for what the next call goes on from; empty at first."""

    @property
    @abstractmethod
    def random(self) -> bool:
        """Whether trials differ."""


@dataclass(frozen=True)
class Step(Stimulus):
    """A constant current from start_ms to stop_ms (both rounded to the nearest step)."""

    neurons: Neurons
    amplitude: float
    start_ms: float = 0.0
    stop_ms: float = math.inf

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "A Step stimulus")
        if not math.isfinite(self.amplitude):
            raise SettingError(f"The amplitude of a Step stimulus has to be finite; found {self.amplitude!r}.")

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A Step stimulus")
        on = (steps >= first) & (steps < last)
        return np.broadcast_to((on * self.amplitude)[:, None], (steps.size, n_selected))

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True)
class Ramp(Stimulus):
    """A current that goes from `start` at start_ms in a straight line towards `stop` at stop_ms; 0 before and after."""

    neurons: Neurons
    start: float
    stop: float
    start_ms: float
    stop_ms: float

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "A Ramp stimulus")
        _finite(self, "start", "stop", "stop_ms")

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A Ramp stimulus")
        on = (steps >= first) & (steps < last)
        # The value in the middle of the step, which makes the charge exact.
        at = self.start + (self.stop - self.start) * (steps - first + 0.5) / (last - first)
        return np.broadcast_to(np.where(on, at, 0.0)[:, None], (steps.size, n_selected))

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True)
class Sine(Stimulus):
    """offset + amplitude sin(2 pi frequency_Hz (t - start) + phase_rad), from start_ms to stop_ms, t the start of the
    step."""

    neurons: Neurons
    amplitude: float
    frequency_Hz: float
    phase_rad: float = 0.0
    offset: float = 0.0
    start_ms: float = 0.0
    stop_ms: float = math.inf

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "A Sine stimulus")
        _finite(self, "amplitude", "frequency_Hz", "phase_rad", "offset")
        if abs(self.frequency_Hz) * dt_ms * 1e-3 > 0.5:
            raise SettingError(
                f"A Sine stimulus of {self.frequency_Hz:g} Hz has less than two steps of dt_ms = {dt_ms:g} in a "
                "period. Take a smaller dt_ms."
            )

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A Sine stimulus")
        on = (steps >= first) & (steps < last)
        phase = 2.0 * np.pi * self.frequency_Hz * 1e-3 * dt_ms * (steps - first) + self.phase_rad
        wave = np.where(on, self.offset + self.amplitude * np.sin(phase), 0.0)
        return np.broadcast_to(wave[:, None], (steps.size, n_selected))

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True, eq=False)
class SpikeTrains(Stimulus):
    """Given event times: each event is a current of `amplitude` in the one step that its time falls into.

    times_ms: for each selected neuron in order, its event times (an event at t acts in the step from floor(t / dt)
    dt on). With the default amplitude the neurons of a `SpikeSource` population spike at these times.
    """

    neurons: Neurons
    times_ms: Sequence[Sequence[float] | Float[np.ndarray, " event"]]
    amplitude: float = 1.0

    def check(self, n_selected: int, dt_ms: float) -> None:
        _finite(self, "amplitude")
        if len(self.times_ms) != n_selected:
            raise SettingError(
                f"SpikeTrains needs the times of each of its {n_selected} neurons; found {len(self.times_ms)} lists."
            )
        for k, times in enumerate(self.times_ms):
            wrong = [t for t in np.asarray(times, float).tolist() if not (math.isfinite(t) and t >= 0)]
            if wrong:
                raise SettingError(
                    f"SpikeTrains: times have to be 0 ms or later; found {offenders(wrong)} in list {k}."
                )

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        rows = np.zeros((steps.size, n_selected))
        for k, times in enumerate(self.times_ms):
            # Times that are meant to be multiples of dt are so only to rounding.
            step = np.floor(np.asarray(times, float) / dt_ms + 1e-6).astype(np.int64) - int(steps[0])
            inside = step[(step >= 0) & (step < steps.size)]
            np.add.at(rows[:, k], inside, self.amplitude)
        return rows

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True, eq=False)
class Series(Stimulus):
    """A given current, `current` [time] or [time, neuron], one row per step from start_ms on; 0 before and after."""

    neurons: Neurons
    current: Float[np.ndarray, " time"] | Float[np.ndarray, "time n_selected"]
    start_ms: float = 0.0

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, math.inf, dt_ms, "A Series stimulus")
        current = np.asarray(self.current)
        if (
            current.ndim not in (1, 2)
            or (current.ndim == 2 and current.shape[1] not in (1, n_selected))
            or not len(current)
        ):
            raise SettingError(
                f"A Series stimulus has to be [time] or [time, {n_selected}], a column for each neuron; found "
                f"{current.shape}."
            )
        wrong = np.flatnonzero(~np.isfinite(current.reshape(len(current), -1)).all(axis=1))
        if wrong.size:
            raise SettingError(f"A Series stimulus has to be finite; it is not in rows {offenders(wrong.tolist())}.")

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        current = np.asarray(self.current).reshape(len(self.current), -1)
        row = steps - round(self.start_ms / dt_ms)
        inside = (row >= 0) & (row < current.shape[0])
        picked = np.where(inside[:, None], current[np.clip(row, 0, current.shape[0] - 1)], 0.0)
        return np.broadcast_to(picked, (steps.size, n_selected))

    @property
    def random(self) -> bool:
        return False
