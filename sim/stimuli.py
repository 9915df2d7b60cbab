"""Stimuli: currents into named neurons, as a function of the absolute step, so that cutting a run into chunks changes
nothing."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders
from connectofit.sim.selection import Neurons

Steps = Int[np.ndarray, " time"]
Current = Float[np.ndarray, "time n_selected"]

LAST_STEP = 2**31 - 1  # steps are counted in int32


def window_steps(start_ms: float, stop_ms: float, dt_ms: float, what: str) -> tuple[int, int]:
    """The steps m with start <= m dt < stop, both ends rounded to the nearest step. `SettingError` for an empty
    window."""
    if not (math.isfinite(start_ms) and start_ms >= 0 and stop_ms > start_ms):
        raise SettingError(
            f"{what} has to start at 0 ms or later and to stop after that; found {start_ms:g} to {stop_ms:g} ms."
        )
    last = LAST_STEP if math.isinf(stop_ms) else min(round(stop_ms / dt_ms), LAST_STEP)
    return round(start_ms / dt_ms), last


@partial(jax.jit, static_argnums=3)
def _poisson_rows(key: PRNGKeyArray, steps: Int[np.ndarray, " time"], mean: float, n: int) -> Int[Array, "time n"]:
    """Poisson numbers, each row from the key and its own absolute step."""
    return jax.vmap(lambda step: jax.random.poisson(jax.random.fold_in(key, step), mean, (n,)))(steps)


@partial(jax.jit, static_argnums=2)
def _normal_rows(key: PRNGKeyArray, steps: Int[np.ndarray, " time"], n: int) -> Float[Array, "time n"]:
    """Standard normal numbers, each row from the key and its own absolute step."""
    return jax.vmap(lambda step: jax.random.normal(jax.random.fold_in(key, step), (n,), "float32"))(steps)


class Stimulus(ABC):
    """A current into some neurons (relative for graded neurons, pA for LIF). Time starts at 0 of the run's first
    state."""

    neurons: Neurons

    @abstractmethod
    def check(self, n_selected: int, dt_ms: float) -> None:
        """Raise a `SettingError` for settings that do not fit; called before anything is compiled."""

    @abstractmethod
    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray) -> Current:
        """The current in these absolute steps. key: of this stimulus and trial."""

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

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A Step stimulus")
        on = (steps >= first) & (steps < last)
        return np.broadcast_to((on * self.amplitude)[:, None], (steps.size, n_selected))

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

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray) -> Current:
        current = np.asarray(self.current).reshape(len(self.current), -1)
        row = steps - round(self.start_ms / dt_ms)
        inside = (row >= 0) & (row < current.shape[0])
        picked = np.where(inside[:, None], current[np.clip(row, 0, current.shape[0] - 1)], 0.0)
        return np.broadcast_to(picked, (steps.size, n_selected))

    @property
    def random(self) -> bool:
        return False


@dataclass(frozen=True)
class PoissonPulses(Stimulus):
    """Independent Poisson trains into every neuron: each event is a pulse of `charge` (current times ms) within one
    step."""

    neurons: Neurons
    rate_Hz: float
    charge: float
    start_ms: float = 0.0
    stop_ms: float = math.inf

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "A PoissonPulses stimulus")
        if not (math.isfinite(self.rate_Hz) and self.rate_Hz >= 0 and math.isfinite(self.charge)):
            raise SettingError(
                f"PoissonPulses needs a rate of 0 Hz or more and a finite charge; found {self.rate_Hz!r} and "
                f"{self.charge!r}."
            )

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A PoissonPulses stimulus")
        events = np.asarray(_poisson_rows(key, steps, self.rate_Hz * dt_ms * 1e-3, n_selected))
        on = (steps >= first) & (steps < last)
        return np.where(on[:, None], events * (self.charge / dt_ms), 0)

    @property
    def random(self) -> bool:
        return True


@dataclass(frozen=True)
class WhiteNoise(Stimulus):
    """Gaussian white noise current, independent for every neuron: mean, and standard deviation when averaged over 1
    ms."""

    neurons: Neurons
    deviation: float
    mean: float = 0.0
    start_ms: float = 0.0
    stop_ms: float = math.inf

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "A WhiteNoise stimulus")
        if not (math.isfinite(self.deviation) and self.deviation >= 0 and math.isfinite(self.mean)):
            raise SettingError(
                f"WhiteNoise needs a deviation of 0 or more and a finite mean; found {self.deviation!r} and "
                f"{self.mean!r}."
            )

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A WhiteNoise stimulus")
        rows = np.asarray(_normal_rows(key, steps, n_selected))
        on = (steps >= first) & (steps < last)
        return np.where(on[:, None], self.mean + rows * (self.deviation / math.sqrt(dt_ms)), 0)

    @property
    def random(self) -> bool:
        return True
