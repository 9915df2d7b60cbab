"""Behaviour as time series (position, speed, the angle of a joint), read out from a network's activity.

    y_c(t) = sum_j W_cj (x_j(t) - x_j(rest)) + b_c,    x through a low-pass of `tau_ms` where that is above 0

W and b are fitted with the network; the prior on W, N(0, weight_sd^2), keeps what many neurons could say alike apart
from what the network does. Scores are `connectofit.fit.explained`, R^2 by channel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, offenders
from connectofit.connectome.report import ValidationReport
from connectofit.fit.activity import Indicator, read_activity
from connectofit.fit.activity_likelihood import filtered, steps_of_samples, voltages
from connectofit.fit.objectives import AnyArray, Objective, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network, initial_state


@dataclass(frozen=True, eq=False)
class Movement:
    """Time series of behaviour: values [trial, time, channel], NaN where nothing was measured; sample k is at first_ms
    + k dt_ms of its trial."""

    channels: tuple[str, ...]
    values: Float[np.ndarray, "trial time channel"] = field(repr=False)
    dt_ms: float
    first_ms: float
    trials: tuple[Any, ...] = field(repr=False)


def read_movement(
    source: str | Path | pa.Table | pd.DataFrame,
    channels: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
) -> tuple[Movement, ValidationReport]:
    """Read behaviour from a table with one row a sample of a channel.

    columns: canonical name ("trial", "time", "neuron" for the channel, "value") to the table's column. Raises and
    reports as `read_activity` does, with channels in the place of neurons.
    """
    activity, report = read_activity(
        source, list(channels), kind="rate", columns={"neuron": "channel"} | dict(columns or {})
    )
    names = tuple(str(name) for name in activity.recorded)
    return Movement(names, activity.values, activity.dt_ms, activity.first_ms, activity.trials), report


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Kinematics(Objective):
    """How near a readout of the network comes to behaviour; a row is one channel in one trial:

        sum over samples of (y - f)^2 / (2 sd^2)

    inputs: [trial, step, neuron]. values: [row, sample], NaN where nothing was measured. trial, channel: of every row.
    sd: of every row. read: places of the neurons that are read.
    """

    inputs: Float[AnyArray, "trial step neuron"]
    values: Float[AnyArray, "row sample"]
    trial: Int[AnyArray, "row"]
    channel: Int[AnyArray, "row"]
    group: Int[AnyArray, "row"]
    sd: Float[AnyArray, "row"]
    read: Int[AnyArray, "read"]
    n_channels: int = field(metadata={"static": True})
    dt_ms: float = field(metadata={"static": True})
    first: int = field(metadata={"static": True})
    every: int = field(metadata={"static": True})
    tau_ms: float = field(default=0.0, metadata={"static": True})
    weight_sd: float = field(default=1.0, metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    @classmethod
    def from_movement(
        cls,
        movement: Movement,
        inputs: Float[np.ndarray, "trial step neuron"],
        ids: Sequence[Id],
        *,
        dt_ms: float,
        read: Sequence[Id] | None = None,
        tau_ms: float = 0.0,
        weight_sd: float = 1.0,
        sd: float | None = None,
    ) -> Kinematics:
        """From behaviour. ids: the network's neurons; read: those whose activity is read, None for all. sd: of the
        differences, None for the standard deviation of each channel. Rows are grouped by trial.

        Raises `SettingError` for inputs of other trials or neurons, samples off the steps or beyond them, neurons that
        do not exist, and settings that are not above 0.
        """
        inputs = np.asarray(inputs)
        n_trials, n_samples, n = movement.values.shape
        if inputs.ndim != 3 or inputs.shape[0] != n_trials or inputs.shape[2] != len(ids):
            raise SettingError(
                f"inputs have to be [trial, step, neuron], ({n_trials}, any, {len(ids)}); found {inputs.shape}."
            )
        for name, value, low in (("tau_ms", tau_ms, 0.0), ("weight_sd", weight_sd, 1e-300), ("sd", sd, 1e-300)):
            if value is not None and not (math.isfinite(value) and value >= low):
                raise SettingError(
                    f"{name} of kinematics has to be {'0 or more' if not low else 'above 0'}: {value!r}."
                )
        place = {name: k for k, name in enumerate(ids)}
        absent = [name for name in read or () if name not in place]
        if absent:
            raise SettingError(f"The network has no neurons {offenders(absent)} to read behaviour from.")
        first, every = steps_of_samples(movement.first_ms, movement.dt_ms, n_samples, dt_ms, inputs.shape[1])
        spread = np.nanstd(movement.values, axis=(0, 1)) if sd is None else np.full(n, float(sd))
        spread = np.where(spread > 0, spread, 1.0)
        trial, channel = (a.ravel() for a in np.meshgrid(np.arange(n_trials), np.arange(n), indexing="ij"))
        values = movement.values.transpose(0, 2, 1).reshape(-1, n_samples)
        kept = np.isfinite(values).any(axis=1)
        return cls(
            inputs.astype(np.float32),
            values[kept].astype(np.float32),
            trial[kept].astype(np.int32),
            channel[kept].astype(np.int32),
            trial[kept].astype(np.int32),
            spread[channel][kept].astype(np.float32),
            np.arange(len(ids)) if read is None else np.array([place[name] for name in read]),
            n,
            float(dt_ms),
            first,
            every,
            float(tau_ms),
            float(weight_sd),
            tuple(ids),
        )

    def initial(self) -> Readout:
        return {"weights": jnp.zeros((self.n_channels, self.read.shape[0])), "offset": jnp.zeros(self.n_channels)}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        return 0.5 * jnp.sum((readout["weights"] / self.weight_sd) ** 2)

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row sample"]:
        read = jnp.asarray(self.read)
        start = initial_state(net, dt_ms=self.dt_ms).populations
        rest = jnp.concatenate([start[p.name][p.model.voltage] for p in net.populations])
        x = (voltages(net, self.inputs, self.dt_ms) - rest)[:, :, read]
        y = jnp.einsum("tsn,cn->tcs", x, readout["weights"])[jnp.asarray(self.trial), jnp.asarray(self.channel)]
        if self.tau_ms:
            y = filtered(y, Indicator(self.tau_ms), self.dt_ms)
        y = y[:, self.first - 1 :: self.every][:, : self.values.shape[1]]
        return y + readout["offset"][jnp.asarray(self.channel)][:, None]

    def loss(self, predicted: Float[Array, "row sample"]) -> Float[Array, "row"]:
        y = jnp.asarray(self.values, predicted.dtype)
        known = jnp.isfinite(y)
        each = 0.5 * ((jnp.where(known, y, 0.0) - predicted) / jnp.asarray(self.sd, predicted.dtype)[:, None]) ** 2
        return jnp.sum(jnp.where(known, each, 0.0), axis=1)

    def subset(self, rows: np.ndarray) -> Kinematics:
        rows = np.arange(self.n_rows)[rows]
        used, trial = np.unique(np.asarray(self.trial)[rows], return_inverse=True)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("values", "channel", "group", "sd")}
        return replace(self, inputs=self.inputs[used], trial=trial.astype(np.int32), **parts)
