"""Reward-modulated spike-timing-dependent plasticity: the local baseline, without any error that is sent back.

Each edge keeps an eligibility of coincidences, which a reward at the end of the trial turns into a change:

    dc_ij/dt = -c_ij / tau_c + A+ xbar_j s_i - A- sbar_i x_j,      d log w_ij ~ (R - Rbar) c_ij

(Izhikevich 2007, Cereb Cortex 17:2443; Fremaux & Gerstner 2016, Front Neural Circuits 9:85, eqs 10 and 11.) x_j are the
spikes that arrive, s_i those of the neuron, xbar and sbar their low-pass traces. The answer is drawn from the softmax
of the mean outputs, R is 1 where it is right, and Rbar the mean over the batch. The readout learns by the same reward
(Williams 1992, Mach Learn 8:229: REINFORCE), from its own traces. Changes are relative: the sign of a weight stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks import TaskTrials
from connectofit.fit.train.losses import step_weights
from connectofit.fit.train.online_run import (
    Moment,
    OnlineRule,
    conclude,
    prepare_run,
    refuse_models,
    run_online,
    to_values,
)
from connectofit.fit.train.rules import Gradient, Problem
from connectofit.fit.train.trainable import Values


@dataclass(frozen=True)
class RewardSTDP(OnlineRule):
    """Reward-modulated STDP. tau_plus_ms, tau_minus_ms: of the traces of arriving and of own spikes. tau_c_ms: of the
    eligibility. a_plus, a_minus: how much each coincidence counts."""

    tau_plus_ms: float = 20.0
    tau_minus_ms: float = 20.0
    tau_c_ms: float = 500.0
    a_plus: float = 1.0
    a_minus: float = 1.0
    name: ClassVar[str] = "r_stdp"
    models: ClassVar[tuple[str, ...]] = ("lif", "alif", "gif", "glif", "adex", "izhikevich", "qif", "exp_if")

    def __post_init__(self) -> None:
        for name in ("tau_plus_ms", "tau_minus_ms", "tau_c_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of 'r_stdp' has to be above 0; found {value!r}.")

    def check_model(self, problem: Problem, *, choice: bool) -> None:
        super().check_model(problem, choice=choice)
        refuse_models(self.name, problem, self.models)
        if not choice:
            raise SettingError(
                "The rule 'r_stdp' learns from rewards for choices, and this task has targets. Take the rule 'e_prop' "
                "or 'bptt'."
            )

    def gradient(
        self, problem: Problem, values: Values, trials: TaskTrials, seed_key: PRNGKeyArray, key: PRNGKeyArray
    ) -> Gradient:
        batched, readout, wires = prepare_run(problem, values, self)
        n_trials, dtype, dt = trials.inputs.shape[0], trials.inputs.dtype, problem.dt_ms
        plus, minus, fade = (math.exp(-dt / tau) for tau in (self.tau_plus_ms, self.tau_minus_ms, self.tau_c_ms))
        k, weights = readout.decay(dt), step_weights(trials.mask) * n_trials
        wires = tuple(w for w in wires if w.projection.n_edges)

        def zeros(n: int) -> Array:
            return jnp.zeros((n_trials, n), dtype)

        begin: dict[str, Any] = {}
        for w in wires:
            pre, post = (batched.net.population(n).size for n in (w.projection.pre, w.projection.post))
            begin[w.name] = (zeros(pre), zeros(post), zeros(w.projection.n_edges))
        n_read = readout.weights.shape[0]
        begin[""] = (zeros(n_read), zeros(n_read), jnp.zeros((), dtype), jnp.zeros(n_trials, dtype))

        def visit(own: Any, moment: Moment, shown: dict[str, Array], error: Array) -> Any:
            new: dict[str, Any] = {}
            for w in wires:
                came, fired, c = own[w.name]
                x, s = moment.x[w.name], shown[w.projection.post]
                came = plus * came + x
                pairs = self.a_plus * came[:, w.graph.pre] * s[:, w.graph.post]
                pairs = pairs - self.a_minus * x[:, w.graph.pre] * fired[:, w.graph.post]
                new[w.name] = (came, minus * fired + s, fade * c + pairs)
            filtered, mean, ones, of_bias = own[""]
            read = jnp.concatenate([shown[name] for name in readout.populations], -1) / dt
            filtered, ones = k * filtered + (1.0 - k) * read, k * ones + (1.0 - k)
            now = weights[:, moment.t]
            new[""] = (filtered, mean + filtered * now[:, None], ones, of_bias + ones * now)
            return new

        total, mean, _, own = run_online(batched, readout, trials, key, wires, begin, visit)
        answer = jax.random.categorical(jax.random.fold_in(key, 1), mean)
        right = jnp.equal(answer, jnp.asarray(trials.labels)).astype(dtype)
        advantage = (right - jnp.mean(right)) / n_trials
        surprise = jax.nn.one_hot(answer, readout.n_outputs, dtype=dtype) - jax.nn.softmax(mean)
        by_hand = advantage[:, None] * surprise
        slope = (-own[""][1].T @ by_hand, -own[""][3] @ by_hand)
        by_gain = {w.name: -(advantage @ own[w.name][2]) for w in wires}
        found = to_values(problem, values, by_gain, slope, relative=True)
        return conclude(problem, values, trials, total, mean, found)
