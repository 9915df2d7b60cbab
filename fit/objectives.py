"""Likelihoods that join a network to data, each with the few readout parameters that an experiment needs.

An objective knows its rows of data, computes the model's answer to the conditions that they were measured in, and
returns one negative log-likelihood per row. `fit_network` adds them up; which rows train, validate or are held out
is not theirs to decide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, offenders
from connectofit.fit.evoked import Protocol, evoked
from connectofit.fit.responses import Id, Responses
from connectofit.fit.trials import Trials
from connectofit.sim import Network

Readout = dict[str, Array]
AnyArray = Array | np.ndarray  # data come as NumPy's arrays and become JAX's inside compiled functions


class Objective(ABC):
    """Rows of data with their likelihood under a network; a pytree, so that one compiled fit serves all of a shape.

    group: of every row; rows of one group are held out together. ids: the neurons that the data's indices refer to,
    which have to be those of the network in its order; () where there are none.
    """

    group: Int[AnyArray, "row"]
    ids: tuple[Id, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows of data."""
        return int(self.group.shape[0])

    def at(self, share: float) -> Self:
        """What a fit makes small after this share of its steps: itself, or an easier objective on the way there."""
        return self

    @abstractmethod
    def initial(self) -> Readout:
        """Readout parameters to start from."""

    @abstractmethod
    def penalty(self, readout: Readout) -> Float[Array, ""]:
        """Minus the logarithm of the readout's prior, without its constant."""

    @abstractmethod
    def predict(self, net: Network, readout: Readout) -> Float[Array, "row *outcome"]:
        """Log-odds of the row being positive, or the logits of its outcomes."""

    @abstractmethod
    def loss(self, predicted: Float[Array, "row *outcome"]) -> Float[Array, "row"]:
        """Negative log-likelihood of every row."""

    @abstractmethod
    def subset(self, rows: np.ndarray) -> Self:
        """The rows of a mask, with the conditions that they need and no others."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Detection(Objective):
    """Which neuron answers the stimulation of which other one, as a yes or no per pair.

        logit P(j answers i) = offset + slope log(|x_ij| + floor) + excitability[type of j] (+ distance_gain d_ij)

    x_ij is the network's response (`connectofit.fit.evoked`). Excitability, one value per type of the responding
    neuron, says how readily its answers are detected; nothing in the readout belongs to the stimulated neuron, so a
    held-out one is predicted from the network alone. slope and floor are above 0.

    drive: [condition, neuron], 1 for the stimulated neuron. condition, responding: of every row. detected: 1 or 0.
    neuron_type: [neuron]. group: of every row, for hold-outs. distance: of every row, standardised by the caller, or
    None. effect_sd: standard deviation of the prior on excitability. connected: False leaves the network out (x_ij =
    0): class effects alone.
    """

    drive: Float[AnyArray, "condition neuron"]
    condition: Int[AnyArray, "row"]
    responding: Int[AnyArray, "row"]
    detected: Float[AnyArray, "row"]
    neuron_type: Int[AnyArray, "neuron"]
    group: Int[AnyArray, "row"]
    distance: Float[AnyArray, "row"] | None = None
    n_types: int = field(default=1, metadata={"static": True})
    protocol: Protocol = field(default=Protocol(), metadata={"static": True})
    effect_sd: float = field(default=0.3, metadata={"static": True})
    connected: bool = field(default=True, metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    @classmethod
    def from_responses(
        cls,
        responses: Responses,
        *,
        neuron_types: Sequence[object],
        protocol: Protocol,
        q_below: float = 0.05,
        effect_sd: float = 0.3,
        connected: bool = True,
        distance: Float[np.ndarray, "row"] | None = None,
    ) -> Detection:
        """From a stimulation map. neuron_types: one per neuron, e.g. its class; rows are grouped by the type of the
        stimulated neuron. Raises `SettingError` if they do not match the map's neurons, and for distances that do not
        match its rows."""
        if len(neuron_types) != len(responses.ids):
            raise SettingError(
                f"neuron_types needs one entry for each of the {len(responses.ids)} neurons; found {len(neuron_types)}."
            )
        if distance is not None and (len(distance) != responses.n_rows or not np.isfinite(distance).all()):
            raise SettingError(
                f"distance needs a finite number for each of the {responses.n_rows} rows; found {len(distance)}, "
                f"{int(np.isfinite(distance).sum())} of them finite."
            )
        names = sorted({str(t) for t in neuron_types})
        code = {name: k for k, name in enumerate(names)}
        kind = np.array([code[str(t)] for t in neuron_types], dtype=np.int32)
        stimulated, condition = np.unique(responses.stimulated, return_inverse=True)
        return cls(
            np.eye(len(responses.ids), dtype=np.float32)[stimulated],
            condition.astype(np.int32),
            np.asarray(responses.responding, np.int32),
            responses.significant(q_below).astype(np.float32),
            kind,
            kind[responses.stimulated],
            None if distance is None else np.asarray(distance, np.float32),
            len(names),
            protocol,
            effect_sd,
            connected,
            responses.ids,
        )

    def initial(self) -> Readout:
        readout = {
            "offset": jnp.asarray(-1.0),
            "slope_raw": jnp.asarray(-0.7),
            "floor_log": jnp.asarray(-7.0),
            "excitability": jnp.zeros(self.n_types),
        }
        return readout if self.distance is None else readout | {"distance_gain": jnp.zeros(())}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        return 0.5 * jnp.sum((readout["excitability"] / self.effect_sd) ** 2)

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row"]:
        logit = readout["offset"] + readout["excitability"][self.neuron_type][self.responding]
        if self.connected:
            x = jnp.abs(evoked(net, jnp.asarray(self.drive), self.protocol))[self.condition, self.responding]
            logit += jax.nn.softplus(readout["slope_raw"]) * jnp.log(x + jnp.exp(readout["floor_log"]))
        if self.distance is not None:
            logit += readout["distance_gain"] * self.distance
        return logit

    def loss(self, predicted: Float[Array, "row"]) -> Float[Array, "row"]:
        return jax.nn.softplus(predicted) - self.detected * predicted

    def subset(self, rows: np.ndarray) -> Detection:
        rows = np.arange(self.n_rows)[rows]
        used, condition = np.unique(np.asarray(self.condition)[rows], return_inverse=True)
        return replace(
            self,
            drive=self.drive[used],
            condition=condition.astype(np.int32),
            responding=self.responding[rows],
            detected=self.detected[rows],
            group=self.group[rows],
            distance=None if self.distance is None else self.distance[rows],
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Choice(Objective):
    """Which of a few things the animal does, read out from pools of neurons (for example the command interneurons).

        logit_k = gain (a_k - threshold) + bias_k
        a_k = mean over the types t of pool k of log(floor + scale max(x_t, 0))

    x_t is the mean deviation from rest of the voltages of the neurons of type t; the default option has logit 0. The
    geometric mean asks for all types of a pool to be active, as the loss of a withdrawal when one type is ablated
    suggests (Chalfie et al. 1985). gain is above 0, and gain and threshold are common to all options.

    drive, alive: [row, neuron]. choice: [row]. pool: [option, type, neuron], the mean over the neurons of a type
    that an option reads, zero elsewhere and for the default option.
    """

    drive: Float[AnyArray, "row neuron"]
    alive: Float[AnyArray, "row neuron"]
    choice: Int[AnyArray, "row"]
    pool: Float[AnyArray, "option type neuron"]
    group: Int[AnyArray, "row"]
    protocol: Protocol = field(default=Protocol(), metadata={"static": True})
    gain_sd: float = field(default=1.0, metadata={"static": True})
    threshold_sd: float = field(default=2.0, metadata={"static": True})
    bias_sd: float = field(default=0.5, metadata={"static": True})
    floor: float = field(default=0.05, metadata={"static": True})
    scale: float = field(default=100.0, metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    @classmethod
    def from_trials(
        cls,
        trials: Trials,
        *,
        pools: Mapping[str, Sequence[str]],
        neuron_types: Sequence[object],
        protocol: Protocol,
    ) -> Choice:
        """From assays. pools: option to the types of neurons that speak for it; the option without a pool is the
        default.

        Raises `SettingError` unless exactly one option has no pool, for pools of no or unknown types, and if
        neuron_types does not match the trials' neurons.
        """
        if len(neuron_types) != len(trials.ids):
            raise SettingError(
                f"neuron_types needs one entry for each of the {len(trials.ids)} neurons; found {len(neuron_types)}."
            )
        default = [o for o in trials.options if o not in pools]
        unknown = [o for o in pools if o not in trials.options]
        if len(default) != 1 or unknown:
            raise SettingError(
                f"Exactly one of the options {list(trials.options)} has to be without a pool (the default); pools are "
                f"given for {list(pools)}."
            )
        empty = [o for o, types in pools.items() if not types]
        if empty:
            raise SettingError(f"A pool needs a type of neuron or more; found none for {offenders(empty)}.")
        kinds = [str(t) for t in neuron_types]
        members = list(dict.fromkeys(t for types in pools.values() for t in types))
        absent = [t for t in members if t not in kinds]
        if absent:
            raise SettingError(f"No neuron has the types that the pools read: {offenders(absent)}.")
        pool = np.zeros((len(trials.options), len(members), len(trials.ids)), np.float32)
        for option, types in pools.items():
            for t in types:
                mine = np.array([kind == t for kind in kinds])
                pool[trials.options.index(option), members.index(t), mine] = 1.0 / mine.sum()
        codes = {s: k for k, s in enumerate(dict.fromkeys(trials.situation))}
        return cls(
            trials.drive().astype(np.float32),
            trials.alive().astype(np.float32),
            np.asarray(trials.choice, np.int32),
            pool,
            np.array([codes[s] for s in trials.situation], np.int32),
            protocol,
            ids=trials.ids,
        )

    def initial(self) -> Readout:
        return {"gain_log": jnp.zeros(()), "threshold": jnp.asarray(-1.0), "bias": jnp.zeros(self.pool.shape[0])}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        return 0.5 * (
            (readout["gain_log"] / self.gain_sd) ** 2
            + ((readout["threshold"] + 1.0) / self.threshold_sd) ** 2
            + jnp.sum((readout["bias"] / self.bias_sd) ** 2)
        )

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row option"]:
        x = evoked(net, jnp.asarray(self.drive), self.protocol, jnp.asarray(self.alive))
        pool = jnp.asarray(self.pool)
        member = jnp.any(pool > 0, axis=2)
        active = jnp.log(self.floor + self.scale * jax.nn.relu(jnp.einsum("okn,rn->rok", pool, x)))
        n_members = jnp.sum(member, axis=1)
        mean = jnp.sum(jnp.where(member, active, 0.0), axis=2) / jnp.maximum(n_members, 1)
        logit = jnp.exp(readout["gain_log"]) * (mean - readout["threshold"]) + readout["bias"]
        return jnp.where(n_members > 0, logit, 0.0)

    def loss(self, predicted: Float[Array, "row option"]) -> Float[Array, "row"]:
        return -jnp.take_along_axis(jax.nn.log_softmax(predicted), jnp.asarray(self.choice)[:, None], axis=1)[:, 0]

    def subset(self, rows: np.ndarray) -> Choice:
        rows = np.arange(self.n_rows)[rows]
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("drive", "alive", "choice", "group")}
        return replace(self, **parts)
