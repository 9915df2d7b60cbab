"""Reaction times as an objective of `fit_network`: the first passage of the network's decision variable through one of
two bounds, whose crossing has a smooth hazard.

    log(lambda_k 1 ms) = steepness (s_k (d + bias) - bound),      s = -1 for the first option, 1 for the second

lambda_k(t) is the rate of answers k while none was given. The sharper the bound the steeper the rise; an infinitely
steep one is the first passage itself (the escape rate of neurons, Gerstner & Kistler 2002, Spiking Neuron Models,
section 5.3; first passage of decisions: Ratcliff 1978, Psychol Rev 85:59). In steps of dt the two answers are competing
risks (Prentice et al. 1978, Biometrics 34:541; in discrete time Tutz & Schmid 2016, chapter 8):

    h_k = (1 - exp(-(lambda_0 + lambda_1) dt)) lambda_k / (lambda_0 + lambda_1)
    log P(answer k in step t) = log h_k(t) + sum_{s<t} log(1 - h_0(s) - h_1(s))

A trial without an answer is censored: it has the sum alone, up to its end. Answers are seen a non-decision time after
the passage; between steps log P is interpolated, so that this time can be fitted.
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

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.cells.teacher_forced import expected, log_chance
from connectofit.fit.decision import DecisionVariable, Pools, conditions_of
from connectofit.fit.likelihood_scores import ScoredObjective
from connectofit.fit.objectives import AnyArray, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network

if TYPE_CHECKING:
    from connectofit.fit.behaviour.choices import ChoiceTrials

By = Literal["session", "condition", "trial"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ReactionTimes(ScoredObjective):
    """Likelihood of choices between two options and their reaction times; a row is a trial.

    inputs: [condition, step, neuron], currents in the network's own unit. condition: of every row. choice: of every
    row, -1 for none. step: of every row, that in which the answer was given (it ends with or after the answer), and
    without one the number of steps without an answer; both since `onset`, the step from which decisions are made.
    non_decision_ms: bounds of the non-decision time, fixed where they are the same. start: log rate of answers [1/ms]
    that a fit begins from, `-steepness bound`. The readout is the log rate at d = 0, steepness (above 0), bias and
    non-decision time.
    """

    inputs: Float[AnyArray, "condition step neuron"]
    condition: Int[AnyArray, "row"]
    choice: Int[AnyArray, "row"]
    step: Int[AnyArray, "row"]
    group: Int[AnyArray, "row"]
    decision: DecisionVariable
    dt_ms: float = field(metadata={"static": True})
    onset: int = field(metadata={"static": True})
    non_decision_ms: tuple[float, float] = field(metadata={"static": True})
    start: float = field(metadata={"static": True})
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
        onset_ms: float = 0.0,
        non_decision_ms: tuple[float, float] | float | None = None,
        group_by: By = "session",
        tau_ms: float = 0.0,
        scale: float = 1.0,
        weight_sd: float = 1.0,
    ) -> ReactionTimes:
        """From an animal's choices with their reaction times.

        Parameters
        ----------
        trials: those without an answer (`read_choices` with ``unanswered="keep"``) are censored at their reaction time
            where they have one, and else at the end of the inputs.
        inputs: the current into every neuron of the network in every condition, in steps of dt_ms.
        ids: the network's neurons. condition: of every trial, its place in the inputs.
        pools, read, tau_ms, scale, weight_sd: see `DecisionVariable.of`.
        onset_ms: the time in the inputs from which reaction times count.
        non_decision_ms: from which to which time it may be, or its known value; None for 0 to the shortest reaction
            time.
        group_by: rows of one group are held out together.

        Raises
        ------
        SettingError: what `DecisionVariable.of` raises, inputs and conditions that do not fit, answers without a
            reaction time, reaction times that are not above the longest non-decision time or beyond the inputs, no
            answer at all, and bounds that are none. UnknownNameError: groups that do not exist.
        """
        if group_by not in get_args(By):
            raise unknown_name("group", str(group_by), get_args(By))
        decision = DecisionVariable.of(
            ids, trials.options, pools=pools, read=read, tau_ms=tau_ms, scale=scale, weight_sd=weight_sd
        )
        inputs, condition = conditions_of(trials, inputs, ids, condition, dt_ms)
        n_steps = inputs.shape[1]
        onset = round(onset_ms / dt_ms)
        if abs(onset * dt_ms - onset_ms) > 1e-3 * dt_ms or not 0 <= onset < n_steps:
            raise SettingError(
                f"onset_ms has to be a step's beginning within the {n_steps * dt_ms:g} ms of the inputs; found "
                f"{onset_ms!r}."
            )
        duration = (n_steps - onset) * dt_ms
        choice, time = np.asarray(trials.choice), np.asarray(trials.reaction_ms, float)
        answered = choice >= 0
        _check_times(choice, time, duration)
        low, high = _bounds(non_decision_ms, time[answered])
        early = [f"trial {k + 1}: {time[k]:g} ms" for k in np.flatnonzero(answered & (time <= high))]
        if early and non_decision_ms is not None:
            raise SettingError(
                f"Reaction times have to be above the longest non-decision time, {high:g} ms; found "
                f"{offenders(early)}. Leave these trials out (trials.subset), or lower non_decision_ms."
            )
        # An answer at the end of a step belongs to it; a censored trial has survived whole steps.
        steps = np.ceil(time / dt_ms - 1e-6) - 1
        survived = np.floor(np.where(np.isfinite(time), time, duration) / dt_ms + 1e-6)
        per_answer = np.where(np.isfinite(time), time, duration).sum() / answered.sum()
        groups = {"session": np.asarray(trials.session), "condition": condition, "trial": np.arange(trials.n_rows)}
        return cls(
            inputs,
            condition,
            choice.astype(np.int32),
            np.where(answered, np.maximum(steps, 0), survived).astype(np.int32),
            groups[group_by].astype(np.int32),
            decision,
            float(dt_ms),
            onset,
            (low, high),
            -math.log(2.0 * per_answer),
            tuple(ids),
        )

    def initial(self) -> Readout:
        own = {"log_rate": jnp.asarray(self.start), "steepness_log": jnp.zeros(()), "bias": jnp.zeros(())}
        free = {"non_decision_raw": jnp.zeros(())} if self.non_decision_ms[1] > self.non_decision_ms[0] else {}
        return own | free | self.decision.initial()

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        own = ((readout["log_rate"] - self.start) / 5.0) ** 2 + (readout["steepness_log"] / 2.0) ** 2
        own += (readout["bias"] / 3.0) ** 2
        if "non_decision_raw" in readout:
            own += (readout["non_decision_raw"] / 2.0) ** 2
        return 0.5 * own + self.decision.penalty(readout)

    def predict(self, net: Network, readout: Readout) -> Float[Array, "row outcome"]:
        """Log-probabilities at the time of every row: that the first option, or the second, is answered in its step,
        and that no option was answered before its end."""
        answer, silent = self._by_condition(net, readout)
        condition, step = jnp.asarray(self.condition), jnp.asarray(self.step)
        delay = self._non_decision_ms(readout) / self.dt_ms
        given = step - delay
        none = jnp.where(jnp.asarray(self.choice) < 0, given, given + 1.0)
        rows = [_between(answer[k], condition, given) for k in range(2)]
        return jnp.stack([*rows, _between(silent, condition, none)], axis=1)

    def loss(self, predicted: Float[Array, "row outcome"]) -> Float[Array, "row"]:
        choice = jnp.asarray(self.choice)
        return -jnp.take_along_axis(predicted, jnp.where(choice < 0, 2, choice)[:, None], axis=1)[:, 0]

    def distribution(
        self, net: Network, readout: Readout
    ) -> tuple[Float[Array, "condition option step"], Float[Array, "condition"]]:
        """The probability of every answer in every step since the onset, and that of none until the end."""
        answer, silent = self._by_condition(net, readout)
        n_steps, n = answer.shape[2], answer.shape[1]
        delay = self._non_decision_ms(readout) / self.dt_ms
        rows, steps = jnp.repeat(jnp.arange(n), n_steps), jnp.tile(jnp.arange(n_steps), n) - delay
        chance = [jnp.where(steps > -1.0, jnp.exp(_between(answer[k], rows, steps)), 0.0) for k in range(2)]
        end = jnp.exp(_between(silent, jnp.arange(n), jnp.full(n, n_steps) - delay))
        return jnp.stack([c.reshape(n, n_steps) for c in chance], axis=1), end

    def subset(self, rows: np.ndarray) -> ReactionTimes:
        rows = np.arange(self.n_rows)[rows]
        used, condition = np.unique(np.asarray(self.condition)[rows], return_inverse=True)
        parts: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("choice", "step", "group")}
        return replace(self, inputs=self.inputs[used], condition=condition.astype(np.int32), **parts)

    def counted(self) -> Float[np.ndarray, "row"]:
        return np.ones(self.n_rows)

    def baseline(self, training: ReactionTimes) -> Float[np.ndarray, "row"]:
        """Of a constant hazard of each answer after the longest non-decision time that is allowed, those of the
        training rows with half an answer of each option added."""
        delay = math.floor(self.non_decision_ms[1] / self.dt_ms + 1e-6)

        def silent(o: ReactionTimes) -> np.ndarray:
            return np.maximum(np.asarray(o.step) - delay, 0)

        choice = np.asarray(training.choice)
        exposed = silent(training).sum() + (choice >= 0).sum() + 1.0
        hazard = np.array([(choice == k).sum() + 0.5 for k in range(2)]) / exposed
        mine = np.asarray(self.choice)
        own = np.where(mine >= 0, np.log(hazard)[np.maximum(mine, 0)], 0.0)
        return -own - silent(self) * np.log1p(-min(float(hazard.sum()), 1.0 - 1e-9))

    def named(self, readout: Readout) -> dict[str, float]:
        """The readout in its own units: bound and bias (units of d), steepness (1 / unit of d), non_decision_ms."""
        steepness = float(jnp.exp(readout["steepness_log"]))
        return {
            "bound": -float(readout["log_rate"]) / steepness,
            "steepness": steepness,
            "bias": float(readout["bias"]),
            "non_decision_ms": float(self._non_decision_ms(readout)),
        }

    def _non_decision_ms(self, readout: Readout) -> Float[Array, ""]:
        low, high = self.non_decision_ms
        if "non_decision_raw" not in readout:
            return jnp.asarray(low)
        return low + (high - low) * jax.nn.sigmoid(readout["non_decision_raw"])

    def _by_condition(
        self, net: Network, readout: Readout
    ) -> tuple[Float[Array, "option condition step"], Float[Array, "condition boundary"]]:
        """Log-probabilities of a passage in every step, and of none before it, by the time of the decision."""
        d = self.decision.course(net, readout, self.inputs, self.dt_ms)[:, self.onset :]
        return first_passage(d, readout["log_rate"], jnp.exp(readout["steepness_log"]), readout["bias"], self.dt_ms)


def first_passage(
    d: Float[Array, "condition step"],
    log_rate: Float[Array, ""],
    steepness: Float[Array, ""],
    bias: Float[Array, ""],
    dt_ms: float,
) -> tuple[Float[Array, "option condition step"], Float[Array, "condition boundary"]]:
    """Log-probabilities of a passage through either bound in every step, and of none in the steps before each and
    before the end. log_rate: of each option at d + bias = 0, in 1/ms."""
    pull = steepness * (d + bias)
    y = jnp.stack([-pull, pull]) + log_rate + math.log(dt_ms)
    both = jnp.logaddexp(y[0], y[1])
    silent = jnp.concatenate([jnp.zeros_like(both[:, :1]), -jnp.cumsum(expected(both), axis=1)], axis=1)
    return log_chance(both) + y - both + silent[:, :-1], silent


def _between(
    values: Float[Array, "condition step"], row: Int[Array, "n"], place: Float[Array, "n"]
) -> Float[Array, "n"]:
    """Values between two steps, along a line; before the first and after the last the values there."""
    last = values.shape[1] - 1
    place = jnp.clip(place, 0.0, last)
    low = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)).astype(int), 0, max(last - 1, 0))
    part = place - low
    return (1.0 - part) * values[row, low] + part * values[row, jnp.minimum(low + 1, last)]


def _check_times(choice: np.ndarray, time: np.ndarray, duration: float) -> None:
    answered = choice >= 0
    if not answered.any():
        raise SettingError(f"None of the {choice.size} trials has an answer; a reaction time needs one.")
    absent = [f"trial {k + 1}" for k in np.flatnonzero(answered & ~np.isfinite(time))]
    if absent:
        raise SettingError(
            f"Answers need a reaction time; found none in {offenders(absent)}. Leave these trials out: "
            "trials.subset((trials.choice < 0) | np.isfinite(trials.reaction_ms))."
        )
    outside = np.isfinite(time) & ((time <= 0) | (time > duration * (1 + 1e-6)))
    shown = [f"trial {k + 1}: {time[k]:g} ms" for k in np.flatnonzero(outside)]
    if shown:
        raise SettingError(
            f"Reaction times have to lie within the {duration:g} ms of the inputs after the onset; found "
            f"{offenders(shown)}. Make the inputs longer, or leave these trials out."
        )


def _bounds(given: tuple[float, float] | float | None, time: np.ndarray) -> tuple[float, float]:
    if given is None:
        return 0.0, float(time.min())
    pair = (given, given) if isinstance(given, int | float) else tuple(given)
    if len(pair) != 2 or not (math.isfinite(pair[1]) and 0 <= pair[0] <= pair[1]):
        raise SettingError(f"non_decision_ms has to be a time of 0 or more, or two in order; found {given!r}.")
    return float(pair[0]), float(pair[1])
