"""Random stimuli: their numbers derive from the key and the absolute step, so that cutting a run into chunks changes
nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32
from scipy import stats

from connectofit.connectome.errors import SettingError
from connectofit.sim.selection import Neurons
from connectofit.sim.stimuli import Current, Memory, Steps, Stimulus, window_steps

_PIECE = 10_000
_SMALL_MEAN = 16  # Poisson numbers of a mean up to this are drawn by inversion


@lru_cache
def _poisson_thresholds(mean: float) -> UInt32[np.ndarray, " k"]:
    """P(count <= k) for k = 0, 1, ... in units of 2^-32, up to the last that differs from 1."""
    below = stats.poisson.cdf(np.arange(_SMALL_MEAN * 8), mean)
    return np.rint(below[below < 1.0 - 2.0**-33] * 2.0**32).astype(np.uint64).clip(0, 2**32 - 1).astype(np.uint32)


@partial(jax.jit, static_argnums=3)
def _small_poisson_rows(
    key: PRNGKeyArray, steps: Int[np.ndarray, " time"], thresholds: UInt32[np.ndarray, " k"], n: int
) -> Int[Array, "time n"]:
    """Poisson numbers by inversion, each row from the key and its own absolute step."""
    bits = jax.vmap(lambda step: jax.random.bits(jax.random.fold_in(key, step), (n,), "uint32"))(steps)
    # One pass over the numbers, a comparison for each count: some hundred times as fast as jax.random.poisson.
    count = jnp.zeros(bits.shape, jnp.int32)
    for k in range(thresholds.shape[0]):
        count += bits >= thresholds[k]
    return count


@partial(jax.jit, static_argnums=3)
def _large_poisson_rows(
    key: PRNGKeyArray, steps: Int[np.ndarray, " time"], mean: float, n: int
) -> Int[Array, "time n"]:
    """The same for large means, by rejection."""
    return jax.vmap(lambda step: jax.random.poisson(jax.random.fold_in(key, step), mean, (n,)))(steps)


def _poisson_rows(key: PRNGKeyArray, steps: Int[np.ndarray, " time"], mean: float, n: int) -> Int[np.ndarray, "time n"]:
    """Poisson numbers, each row from the key and its own absolute step."""
    if mean > _SMALL_MEAN:
        return np.asarray(_large_poisson_rows(key, steps, mean, n))
    return np.asarray(_small_poisson_rows(key, steps, _poisson_thresholds(mean), n))


@partial(jax.jit, static_argnums=2)
def _normal_rows(key: PRNGKeyArray, steps: Int[np.ndarray, " time"], n: int) -> Float[Array, "time n"]:
    """Standard normal numbers, each row from the key and its own absolute step."""
    return jax.vmap(lambda step: jax.random.normal(jax.random.fold_in(key, step), (n,), "float32"))(steps)


@partial(jax.jit, static_argnums=2)
def uniform_rows(key: PRNGKeyArray, steps: Int[np.ndarray, " time"], n: int) -> Float[Array, "time n"]:
    """Numbers between 0 and 1, each row from the key and its own absolute step."""
    return jax.vmap(lambda step: jax.random.uniform(jax.random.fold_in(key, step), (n,), "float32"))(steps)


@partial(jax.jit, static_argnums=4)
def _autoregressive_rows(
    key: PRNGKeyArray, steps: Int[np.ndarray, " time"], x: Float[Array, " n"], decay: float, n: int
) -> Float[Array, "time n"]:
    """x at each of the steps after the one where it was `x`: a stationary process of variance 1."""

    def one(x: Array, step: Array) -> tuple[Array, Array]:
        noise = jax.random.normal(jax.random.fold_in(key, step), (n,), "float32")
        x = decay * x + jnp.sqrt(1.0 - decay**2) * noise
        return x, x

    return lax.scan(one, x, jnp.asarray(steps))[1]


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

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A PoissonPulses stimulus")
        on = (steps >= first) & (steps < last)
        if not on.any():
            return np.zeros((steps.size, n_selected))
        events = _poisson_rows(key, steps, self.rate_Hz * dt_ms * 1e-3, n_selected)
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

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "A WhiteNoise stimulus")
        on = (steps >= first) & (steps < last)
        if not on.any():
            return np.zeros((steps.size, n_selected))
        rows = np.asarray(_normal_rows(key, steps, n_selected))
        return np.where(on[:, None], self.mean + rows * (self.deviation / math.sqrt(dt_ms)), 0)

    @property
    def random(self) -> bool:
        return True


@dataclass(frozen=True)
class OrnsteinUhlenbeck(Stimulus):
    """Ornstein-Uhlenbeck noise, independent for every neuron and stationary from start_ms on.

        dI = (mean - I) dt / tau + deviation sqrt(2 / tau) dW

    (Uhlenbeck & Ornstein 1930, Phys Rev 36:823), propagated exactly and held over each step; deviation is its standard
    deviation.
    """

    neurons: Neurons
    deviation: float
    tau_ms: float
    mean: float = 0.0
    start_ms: float = 0.0
    stop_ms: float = math.inf

    def check(self, n_selected: int, dt_ms: float) -> None:
        window_steps(self.start_ms, self.stop_ms, dt_ms, "An OrnsteinUhlenbeck stimulus")
        good = math.isfinite(self.deviation) and self.deviation >= 0 and math.isfinite(self.mean)
        if not (good and math.isfinite(self.tau_ms) and self.tau_ms > 0):
            raise SettingError(
                "OrnsteinUhlenbeck needs a deviation of 0 or more, a finite mean and a tau_ms above 0; found "
                f"{self.deviation!r}, {self.mean!r} and {self.tau_ms!r}."
            )

    def values(self, steps: Steps, n_selected: int, dt_ms: float, key: PRNGKeyArray, memory: Memory) -> Current:
        first, last = window_steps(self.start_ms, self.stop_ms, dt_ms, "An OrnsteinUhlenbeck stimulus")
        rows = np.zeros((steps.size, n_selected))
        on = np.flatnonzero((steps >= first) & (steps < last))
        if not on.size:
            return rows
        decay = math.exp(-dt_ms / self.tau_ms)
        if not memory:
            # Stationary from the first step on; a run that goes on from a state passes through the steps before it.
            memory["x"] = jax.random.normal(jax.random.fold_in(key, first), (n_selected,), "float32")
            memory["step"] = first
        for begin in range(int(memory["step"]) + 1, int(steps[on[0]]), _PIECE):
            before = np.arange(begin, min(begin + _PIECE, int(steps[on[0]])), dtype=np.int32)
            memory["x"] = _autoregressive_rows(key, before, memory["x"], decay, n_selected)[-1]
            memory["step"] = int(before[-1])
        wanted = steps[on]
        x = []
        if int(wanted[0]) == int(memory["step"]):
            x, wanted = [np.asarray(memory["x"])[None]], wanted[1:]
        if wanted.size:
            x.append(np.asarray(_autoregressive_rows(key, wanted, memory["x"], decay, n_selected)))
            memory["x"], memory["step"] = jnp.asarray(x[-1][-1]), int(wanted[-1])
        rows[on] = self.mean + self.deviation * np.concatenate(x)
        return rows

    @property
    def random(self) -> bool:
        return True
