"""Losses on the spike times of a freely running integrate-and-fire cell, whose derivatives are exact.

All use `connectofit.fit.cells.spike_times`. Where the recorded cell fires in a sweep and the model does not, there is
no spike time to move: the squared distance of V from the threshold where it comes nearest (mV^2) is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.fit.cells.losses import CellLoss, Data
from connectofit.fit.cells.models import CellModel
from connectofit.fit.cells.spike_times import Event, check_timed, fold_spikes
from connectofit.sim.neurons.base import Values

_SILENT_GAP_MV = 100.0  # the largest distance to the threshold that is looked at


def _above_zero(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} of a loss has to be above 0; found {value!r}.")


class _SpikeLoss(CellLoss):
    @property
    def couples(self) -> bool:
        return False

    @property
    def needs_spikes(self) -> bool:
        return True

    def check(self, cell: CellModel, dt_ms: float) -> None:
        check_timed(cell, self.what)


@dataclass(frozen=True)
class VanRossumLoss(_SpikeLoss):
    """Squared van Rossum distance, summed over sweeps:

        D^2 = 1/tau int (f - g)^2 dt,   f(t) = sum_k H(t - t_k) exp(-(t - t_k) / tau)

    integrated exactly (van Rossum 2001, Neural Comput 13:751; `connectofit.fit.van_rossum` is D).
    """

    tau_ms: float = 10.0

    def __post_init__(self) -> None:
        _above_zero(self.tau_ms, "tau_ms")

    @property
    def what(self) -> str:
        return "van Rossum"

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        step = dt_ms / self.tau_ms

        def add(total: tuple[Array, ...], event: Event, row: Mapping[str, Array]) -> tuple[Array, ...]:
            trace, squares, gap, fired = total
            valid, fires = row["valid"], event.fires
            share = jnp.where(fires, event.share, 1.0)
            middle = trace * jnp.exp(-share * step)
            jumped = middle + fires
            squares = squares + 0.5 * valid * (trace**2 - middle**2)
            end = jumped * jnp.exp(-(1.0 - share) * step)
            squares = squares + 0.5 * valid * (jumped**2 - end**2)
            after = end - row["spikes"]
            return jnp.where(valid > 0, after, trace), squares, _nearest(gap, event, row), _fired(fired, event, row)

        zero = jnp.zeros_like(data["current_pA"][0])
        start: tuple[Array, ...] = (zero, zero, zero + _SILENT_GAP_MV, zero)
        trace, squares, gap, fired = fold_spikes(cell, p, data, add, start, dt_ms=dt_ms)
        return (squares + 0.5 * trace**2 + _silence(gap, fired, data)).sum()


@dataclass(frozen=True)
class RateLoss(_SpikeLoss):
    """Mean squared difference of the firing rates [Hz^2] in bins of `bin_ms`.

    A spike is shared by the two bins whose centres it lies between, in proportion: rates move with its time.
    """

    bin_ms: float = 100.0

    def __post_init__(self) -> None:
        _above_zero(self.bin_ms, "bin_ms")

    @property
    def what(self) -> str:
        return "rate"

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        n_steps, n_sweeps = data["current_pA"].shape
        centres = jnp.asarray(np.arange(math.floor(n_steps * dt_ms / self.bin_ms) + 2) * self.bin_ms)[:, None]

        def shares(times: Array) -> Array:
            return jnp.maximum(1.0 - jnp.abs(times - centres) / self.bin_ms, 0.0)

        def add(total: tuple[Array, ...], event: Event, row: Mapping[str, Array]) -> tuple[Array, ...]:
            difference, ends, clock, gap, fired = total
            clock = clock + 1.0  # whole steps: sums of dt_ms drift in float32
            both = jnp.where(event.fires, shares(event.time_ms), 0.0) - row["spikes"] * shares(clock * dt_ms)
            ends = jnp.where(row["valid"] > 0, clock * dt_ms, ends)
            return difference + row["valid"] * both, ends, clock, _nearest(gap, event, row), _fired(fired, event, row)

        zero = jnp.zeros_like(data["current_pA"][0])
        start: tuple[Array, ...] = (
            jnp.zeros((centres.shape[0], n_sweeps), zero.dtype),
            zero,
            zero[0],
            zero + _SILENT_GAP_MV,
            zero,
        )
        difference, ends, _, gap, fired = fold_spikes(cell, p, data, add, start, dt_ms=dt_ms)
        inside = ((centres <= ends + 0.5 * self.bin_ms) & (ends > 0)).astype(zero.dtype)
        errors = (inside * (difference * (1e3 / self.bin_ms)) ** 2).sum() / inside.sum()
        return errors + _silence(gap, fired, data).sum()


FEATURES = MappingProxyType({"latency_ms": 5.0, "interval_ms": 5.0, "adaptation": 0.02})
"""Features of a train with the standard deviation that a difference is measured in: first spike (since the first
sample), mean interval, adaptation index (mean of (I_k+1 - I_k) / (I_k+1 + I_k), eFEL's without skipping)."""


@dataclass(frozen=True, eq=False)
class FeatureLoss(_SpikeLoss):
    """Mean squared z-scores of features of the train, ((model - recorded) / sd)^2, over the sweeps in which both have
    them (Druckmann et al. 2007, Front Neurosci 1:7, with squares in place of magnitudes).

    scales: {feature: standard deviation}, of `FEATURES`. Raises `UnknownNameError`, and `SettingError` for scales that
    are not above 0.
    """

    scales: Mapping[str, float] = field(default_factory=lambda: dict(FEATURES))

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", MappingProxyType(dict(self.scales)))
        if not self.scales:
            raise SettingError("A loss on features needs one feature or more.")
        for name, sd in self.scales.items():
            if name not in FEATURES:
                raise unknown_name("feature", name, FEATURES, "a loss on features")
            _above_zero(sd, name)

    @property
    def what(self) -> str:
        return "feature"

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        def add(total: dict[str, Any], event: Event, row: Mapping[str, Array]) -> dict[str, Any]:
            clock = total["clock"] + 1.0
            counts = row["valid"] > 0
            model = _noted(total["model"], event.fires & counts, event.time_ms)
            recorded = _noted(
                total["recorded"], (row["spikes"] > 0) & counts, clock * dt_ms + jnp.zeros_like(row["spikes"])
            )
            return {"clock": clock, "model": model, "recorded": recorded, "gap": _nearest(total["gap"], event, row)}

        zero = jnp.zeros_like(data["current_pA"][0])
        none = dict.fromkeys(("n", "first", "last", "interval", "adaptation"), zero)
        start: dict[str, Any] = {"clock": zero[0], "model": none, "recorded": dict(none), "gap": zero + _SILENT_GAP_MV}
        found = fold_spikes(cell, p, data, add, start, dt_ms=dt_ms)
        model, recorded = (_features(found[k]) for k in ("model", "recorded"))
        total, number = zero.sum(), zero.sum()
        for name, sd in self.scales.items():
            both = model[name][1] & recorded[name][1]
            z = jnp.where(both, (model[name][0] - recorded[name][0]) / sd, 0.0)
            total, number = total + (z**2).sum(), number + both.sum()
        return total / jnp.maximum(number, 1.0) + _silence(found["gap"], found["model"]["n"], data).sum()


def _noted(train: Mapping[str, Array], fires: Array, time_ms: Array) -> dict[str, Array]:
    """The running summary of a train: number, first and last spike, last interval, sum of the adaptation's terms."""
    n = train["n"]
    interval = time_ms - train["last"]
    both = jnp.where(fires & (n >= 2), interval + train["interval"], 1.0)
    term = jnp.where(fires & (n >= 2), (interval - train["interval"]) / both, 0.0)
    return {
        "n": n + fires,
        "first": jnp.where(fires & (n == 0), time_ms, train["first"]),
        "last": jnp.where(fires, time_ms, train["last"]),
        "interval": jnp.where(fires & (n >= 1), interval, train["interval"]),
        "adaptation": train["adaptation"] + term,
    }


def _features(train: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
    """{feature: (values, whether there are)} per sweep."""
    n = train["n"]
    return {
        "latency_ms": (train["first"], n >= 1),
        "interval_ms": ((train["last"] - train["first"]) / jnp.maximum(n - 1.0, 1.0), n >= 2),
        "adaptation": (train["adaptation"] / jnp.maximum(n - 2.0, 1.0), n >= 3),
    }


def _nearest(gap: Array, event: Event, row: Mapping[str, Array]) -> Array:
    """The smallest distance to the threshold so far."""
    return jnp.where(row["valid"] > 0, jnp.minimum(gap, event.gap_mV), gap)


def _fired(fired: Array, event: Event, row: Mapping[str, Array]) -> Array:
    return jnp.maximum(fired, event.fires * row["valid"])


def _silence(gap: Array, fired: Array, data: Data) -> Float[Array, " sweep"]:
    """What is added for sweeps in which the cell fires and the model does not."""
    recorded = (data["spikes"] * data["valid"]).sum(axis=0)
    return jnp.where((recorded > 0) & (fired == 0), gap**2, 0.0)
