"""Psychometric curves as an objective of `fit_network`: how often an animal chooses the second option at each level of
a stimulus, against the chance that the network's decision variable gives.

    P(second | level) = gamma + (1 - gamma - lambda) / (1 + exp(-(gain d + bias)))

(Wichmann & Hill 2001, Percept Psychophys 63:1293, eq. 1, with the logistic function of the network's answer in the
place of that of the stimulus.) d is the mean of the decision variable (`connectofit.fit.decision`) over a window;
gamma and lambda are lapses, the chances of the second option and of the first whatever the stimulus. Counts are
binomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import xlogy

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.decision import DecisionVariable, Pools, conditions_of
from connectofit.fit.likelihood_scores import ScoredObjective
from connectofit.fit.objectives import AnyArray, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network

if TYPE_CHECKING:
    from connectofit.fit.behaviour.choices import ChoiceTrials

LARGEST_LAPSE = 0.4
_START = math.log(0.02 / (LARGEST_LAPSE - 0.02))  # lapses of 0.02
By = Literal["condition", "session"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Psychometric(ScoredObjective):
    """Binomial likelihood of choices between two options; a row is a level of the stimulus (in a session).

        -log C(n, k) - k log P - (n - k) log(1 - P)

    inputs: [condition, step, neuron], currents in the network's own unit; a condition is a level. condition: of every
    row. second, total: how often the second option was chosen, of how many trials. first, last: steps of the window,
    last excluded. The readout is gain (above 0), bias and, with `lapses`, gamma and lambda, from 0 to `LARGEST_LAPSE`.
    """

    inputs: Float[AnyArray, "condition step neuron"]
    condition: Int[AnyArray, "row"]
    second: Float[AnyArray, "row"]
    total: Float[AnyArray, "row"]
    group: Int[AnyArray, "row"]
    decision: DecisionVariable
    dt_ms: float = field(metadata={"static": True})
    first: int = field(metadata={"static": True})
    last: int = field(metadata={"static": True})
    lapses: bool = field(default=True, metadata={"static": True})
    ids: tuple[Id, ...] = field(default=(), repr=False, metadata={"static": True})

    unit: ClassVar[str] = "trial"

    @classmethod
    def from_choices(
        cls,
        trials: ChoiceTrials,
        inputs: Float[np.ndarray, "condition step neuron"],
        ids: Sequence[Id],
        *,
        condition: Int[np.ndarray, "trial"],
        dt_ms: float,
        pools: Pools | None = None,
        read: Sequence[Id] | None = None,
        window_ms: tuple[float, float] | None = None,
        lapses: bool = True,
        group_by: By = "condition",
        tau_ms: float = 0.0,
        scale: float = 1.0,
        weight_sd: float = 1.0,
    ) -> Psychometric:
        """From an animal's choices.

        Parameters
        ----------
        inputs: the current into every neuron of the network in every condition, in steps of dt_ms.
        ids: the network's neurons. condition: of every trial, its place in the inputs (see `condition_table`).
        pools, read, tau_ms, scale, weight_sd: see `DecisionVariable.of`.
        window_ms: the decision variable counts in the mean over the steps that end after the first and not after the
            second time; None for the whole run.
        group_by: rows of one group are held out together: of a condition, or of a session.

        Raises
        ------
        SettingError: what `DecisionVariable.of` raises, inputs and conditions that do not fit, trials without a choice,
            trials of one condition or one option only, and a window outside of the inputs. UnknownNameError: groups
            that do not exist.
        """
        if group_by not in get_args(By):
            raise unknown_name("group", str(group_by), get_args(By))
        decision = DecisionVariable.of(
            ids, trials.options, pools=pools, read=read, tau_ms=tau_ms, scale=scale, weight_sd=weight_sd
        )
        inputs, condition = conditions_of(trials, inputs, ids, condition, dt_ms)
        none = [f"trial {k + 1}" for k in np.flatnonzero(trials.choice < 0)]
        if none:
            raise SettingError(
                f"A psychometric curve is of trials with a choice; found none in {offenders(none)}. Leave them out: "
                "trials.subset(trials.choice >= 0)."
            )
        if np.unique(condition).size < 2 or np.unique(trials.choice).size < 2:
            raise SettingError(
                f"A psychometric curve needs choices of both options and conditions of two levels or more; found "
                f"{trials.n_rows} trials of {np.unique(condition).size} conditions, of which "
                f"{int((trials.choice == 1).sum())} chose {trials.options[1]!r}."
            )
        start, stop = window_ms or (0.0, inputs.shape[1] * dt_ms)
        first, last = math.floor(start / dt_ms + 1e-6), math.floor(stop / dt_ms + 1e-6)
        if not 0 <= first < last <= inputs.shape[1]:
            raise SettingError(
                f"window_ms has to hold a step or more and lie within the {inputs.shape[1] * dt_ms:g} ms of the "
                f"inputs; found {start!r} to {stop!r}."
            )
        session = np.asarray(trials.session) if group_by == "session" else np.zeros(trials.n_rows, np.int64)
        rows, row = np.unique(np.column_stack([session, condition]), axis=0, return_inverse=True)
        row = row.reshape(-1)
        return cls(
            inputs,
            rows[:, 1].astype(np.int32),
            np.bincount(row, weights=trials.choice, minlength=len(rows)).astype(np.float32),
            np.bincount(row, minlength=len(rows)).astype(np.float32),
            rows[:, 0 if group_by == "session" else 1].astype(np.int32),
            decision,
            float(dt_ms),
            first,
            last,
            bool(lapses),
            tuple(ids),
        )

    def initial(self) -> Readout:
        own = {"gain_log": jnp.zeros(()), "bias": jnp.zeros(())}
        lapses = {"gamma_raw": jnp.asarray(_START), "lambda_raw": jnp.asarray(_START)} if self.lapses else {}
        return own | lapses | self.decision.initial()

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        own = (readout["gain_log"] / 2.0) ** 2 + (readout["bias"] / 3.0) ** 2
        if self.lapses:
            own += ((readout["gamma_raw"] - _START) / 2.0) ** 2 + ((readout["lambda_raw"] - _START) / 2.0) ** 2
        return 0.5 * own + self.decision.penalty(readout)

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row"]:
        """Log-odds of the second option, lapses included."""
        course = self.decision.course(net, readout, self.inputs, self.dt_ms)
        d = course[:, self.first : self.last].mean(1)[jnp.asarray(self.condition)]
        logit = jnp.exp(readout["gain_log"]) * d + readout["bias"]
        if not self.lapses:
            return logit
        gamma, lapse = (LARGEST_LAPSE * jax.nn.sigmoid(readout[name]) for name in ("gamma_raw", "lambda_raw"))
        span = jnp.log1p(-gamma - lapse)
        second = jnp.logaddexp(jnp.log(gamma), span + jax.nn.log_sigmoid(logit))
        return second - jnp.logaddexp(jnp.log(lapse), span + jax.nn.log_sigmoid(-logit))

    def loss(self, predicted: Float[Array, "row"]) -> Float[Array, "row"]:
        k, n = jnp.asarray(self.second, predicted.dtype), jnp.asarray(self.total, predicted.dtype)
        gammaln = jax.scipy.special.gammaln
        constant = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
        return k * jax.nn.softplus(-predicted) + (n - k) * jax.nn.softplus(predicted) - constant

    def subset(self, rows: np.ndarray) -> Psychometric:
        rows = np.arange(self.n_rows)[rows]
        used, condition = np.unique(np.asarray(self.condition)[rows], return_inverse=True)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("second", "total", "group")}
        return replace(self, inputs=self.inputs[used], condition=condition.astype(np.int32), **parts)

    def counted(self) -> Float[np.ndarray, "row"]:
        return np.asarray(self.total, float)

    def baseline(self, training: Psychometric) -> Float[np.ndarray, "row"]:
        """Of one share for all levels, that of the training rows with half a choice of each option added."""
        k, n = np.asarray(self.second, float), np.asarray(self.total, float)
        share = (np.sum(training.second) + 0.5) / (np.sum(training.total) + 1.0)
        constant = np.asarray(self.loss(jnp.zeros(self.n_rows))) - n * math.log(2.0)
        return constant - xlogy(k, share) - xlogy(n - k, 1.0 - share)

    def named(self, readout: Readout) -> dict[str, float]:
        """The readout in its own units: gain (per unit of d), bias (log-odds), gamma, lambda."""
        found = {"gain": float(jnp.exp(readout["gain_log"])), "bias": float(readout["bias"])}
        for name in ("gamma", "lambda") if self.lapses else ():
            found[name] = float(LARGEST_LAPSE * jax.nn.sigmoid(readout[f"{name}_raw"]))
        return found
