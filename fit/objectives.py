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
from connectofit.fit.responses import Responses
from connectofit.fit.trials import Trials
from connectofit.sim import Network

Readout = dict[str, Array]


class Objective(ABC):
    """Rows of data with their likelihood under a network; a pytree, so that one compiled fit serves all of a shape."""

    group: Int[Array, "row"]

    @property
    def n_rows(self) -> int:
        """Number of rows of data."""
        return int(self.group.shape[0])

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

    drive: Float[Array, "condition neuron"]
    condition: Int[Array, "row"]
    responding: Int[Array, "row"]
    detected: Float[Array, "row"]
    neuron_type: Int[Array, "neuron"]
    group: Int[Array, "row"]
    distance: Float[Array, "row"] | None = None
    n_types: int = field(default=1, metadata={"static": True})
    protocol: Protocol = field(default=Protocol(), metadata={"static": True})
    effect_sd: float = field(default=0.3, metadata={"static": True})
    connected: bool = field(default=True, metadata={"static": True})

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
        stimulated neuron. Raises `SettingError` if they do not match the map's neurons."""
        if len(neuron_types) != len(responses.ids):
            raise SettingError(
                f"neuron_types needs one entry for each of the {len(responses.ids)} neurons; found {len(neuron_types)}."
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

        logit_k = sum over the types t of pool k of weight_kt mean_{i of t} x_i  -  threshold_k,    logit of the default = 0

    x_i is the deviation of neuron i's voltage from rest. Weights are above 0: activity of a pool speaks for its option.

    drive, alive: [row, neuron]. choice: [row]. pool: [option, type, neuron], the mean over the neurons of a type
    that an option reads, zero elsewhere and for the default option.
    """

    drive: Float[Array, "row neuron"]
    alive: Float[Array, "row neuron"]
    choice: Int[Array, "row"]
    pool: Float[Array, "option type neuron"]
    group: Int[Array, "row"]
    protocol: Protocol = field(default=Protocol(), metadata={"static": True})
    weight_sd: float = field(default=1.5, metadata={"static": True})
    threshold_sd: float = field(default=1.5, metadata={"static": True})

    @classmethod
    def from_trials(
        cls,
        trials: Trials,
        *,
        pools: Mapping[str, Sequence[str]],
        neuron_types: Sequence[object],
        protocol: Protocol,
        weight_sd: float = 1.5,
        threshold_sd: float = 1.5,
    ) -> Choice:
        """From assays. pools: option to the types of neurons that speak for it; the option without a pool is the
        default.

        Raises `SettingError` unless exactly one option has no pool, and for types that no neuron has.
        """
        default = [o for o in trials.options if o not in pools]
        unknown = [o for o in pools if o not in trials.options]
        if len(default) != 1 or unknown:
            raise SettingError(
                f"Exactly one of the options {list(trials.options)} has to be without a pool (the default); pools are given for "
                f"{list(pools)}."
            )
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
            weight_sd,
            threshold_sd,
        )

    def initial(self) -> Readout:
        n_options, n_types = self.pool.shape[:2]
        return {"weight_log": jnp.zeros((n_options, n_types)), "threshold": jnp.zeros(n_options)}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        return 0.5 * (
            jnp.sum((readout["weight_log"] / self.weight_sd) ** 2)
            + jnp.sum((readout["threshold"] / self.threshold_sd) ** 2)
        )

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row option"]:
        # A neuron of the pool moves by about a hundredth of what a stimulated one does, hence the factor.
        x = 100.0 * evoked(net, jnp.asarray(self.drive), self.protocol, jnp.asarray(self.alive))
        read = jnp.any(jnp.asarray(self.pool) > 0, axis=(1, 2))
        drive = jnp.einsum("okn,ok,rn->ro", self.pool, jnp.exp(readout["weight_log"]), x)
        return jnp.where(read, drive - readout["threshold"], 0.0)

    def loss(self, predicted: Float[Array, "row option"]) -> Float[Array, "row"]:
        return -jnp.take_along_axis(jax.nn.log_softmax(predicted), jnp.asarray(self.choice)[:, None], axis=1)[:, 0]

    def subset(self, rows: np.ndarray) -> Choice:
        rows = np.arange(self.n_rows)[rows]
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("drive", "alive", "choice", "group")}
        return replace(self, **parts)
