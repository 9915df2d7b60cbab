"""Random dots: which of two directions do most of the dots move in? With the ideal observer's accuracy in closed form.

Britten et al. 1992 (J Neurosci 12:4745): a fraction of the dots, the coherence c, moves together. Neurons that prefer
one direction fire at r (1 + k c) for dots in it and at r (1 - k c) for dots in the other (Britten et al. 1993, Vis
Neurosci 10:1157: rates change about linearly with coherence).

The ideal observer knows the rates, not the coherence of the trial. Of n neurons a group and m steps, the spikes of
either group are binomial, B(n m, p), p = r (1 +- k c) dt. The odds of the two directions are, at each coherence,
[p+ (1 - p-) / (p- (1 - p+))] to the power of the difference of the counts, so that the larger count is the better
answer whatever the coherence, and

    accuracy(c) = P(N+ > N-) + P(N+ = N-) / 2,      N+ ~ B(n m, p+), N- ~ B(n m, p-).

For rates with white noise of standard deviation s (of the mean over 1 ms) over T ms, with r in units of the full rate,
it is Phi(2 k c r sqrt(n T / 2) / s). (Green & Swets 1966, Signal detection theory and psychophysics.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import stats

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks.grouped import GroupedTask, in_order
from connectofit.fit.tasks.settings import check_numbers, check_probabilities, check_rates, period_steps, require_some


@dataclass(frozen=True)
class RandomDots(GroupedTask):
    """Which direction do more dots move in? Answers: 0 left, 1 right.

    Input groups: left, right, go, noise. At coherence 0 the label is drawn all the same, and nobody can tell.

    coherences: one is drawn for each trial, from 0 to 1. fixation_ms, stimulus_ms, delay_ms, answer_ms: the periods;
    the answer counts in the last, while the go neurons fire at go_Hz. dots_Hz: the rate r at coherence 0. slope: k,
    how much of the coherence reaches the rates.
    """

    coherences: tuple[float, ...] = (0.0, 0.032, 0.064, 0.128, 0.256, 0.512)
    fixation_ms: float = 50.0
    stimulus_ms: float = 500.0
    delay_ms: float = 0.0
    answer_ms: float = 150.0
    dots_Hz: float = 20.0
    slope: float = 0.3
    go_Hz: float = 40.0

    def check(self) -> None:
        self.check_grouped()
        check_numbers(self, "coherences", 1, 0.0, 1.0)
        period_steps(self, "fixation_ms", "stimulus_ms", "delay_ms", "answer_ms")
        require_some(self, "stimulus_ms", "answer_ms")
        check_rates(self, "dots_Hz", "go_Hz", "highest_Hz")
        check_probabilities(self, "slope")
        if not self.dots_Hz:
            raise SettingError("dots_Hz of RandomDots is 0: no neuron would tell of the dots. Take a rate above 0.")

    @property
    def highest_Hz(self) -> float:
        """The rate for dots of the highest coherence in the preferred direction."""
        return self.dots_Hz * (1.0 + self.slope * max(self.coherences))

    @property
    def signals(self) -> tuple[str, ...]:
        return ("left", "right", "go")

    @property
    def n_outputs(self) -> int:
        return 2

    @property
    def full_rate_Hz(self) -> float:
        return 2.0 * self.dots_Hz

    @property
    def answer(self) -> str:
        return "answer"

    @property
    def periods(self) -> Mapping[str, tuple[int, int]]:
        return in_order(**period_steps(self, "fixation_ms", "stimulus_ms", "delay_ms", "answer_ms"))

    @property
    def active(self) -> Mapping[str, tuple[int, int]]:
        periods = self.periods
        return {"left": periods["stimulus"], "right": periods["stimulus"], "go": periods["answer"]}

    def ideal_accuracy(self, coherence: float) -> float:
        """The accuracy of the ideal observer of the inputs at a coherence; the equation at the module's head.

        Raises `SettingError` for a coherence outside of 0 to 1.
        """
        if not 0.0 <= coherence <= 1.0:
            raise SettingError(f"A coherence has to be from 0 to 1; found {coherence!r}.")
        start, stop = self.periods["stimulus"]
        n = self.neurons_per_group
        if self.input_kind == "rates":
            apart = 2.0 * self.slope * coherence * self.dots_Hz / self.full_rate_Hz
            if self.noise == 0.0 or apart == 0.0:
                return 1.0 if apart else 0.5
            return float(stats.norm.cdf(apart * math.sqrt(n * self.stimulus_ms / 2.0) / self.noise))
        with_dots, against = (
            stats.binom((stop - start) * n, self.dots_Hz * (1.0 + sign * self.slope * coherence) * self.dt_ms / 1000.0)
            for sign in (1, -1)
        )
        counts = np.arange((stop - start) * n + 1)
        return float(np.sum(with_dots.pmf(counts) * (against.cdf(counts - 1) + 0.5 * against.pmf(counts))))

    def ideal_observer(self) -> pd.DataFrame:
        """The ideal observer's accuracy at each of the task's coherences: columns ``coherence`` and ``accuracy``."""
        accuracy = [self.ideal_accuracy(c) for c in self.coherences]
        return pd.DataFrame({"coherence": self.coherences, "accuracy": accuracy})

    def plan(self, key: PRNGKeyArray) -> tuple[Float[Array, "time signal"], Int[Array, ""], Mapping[str, Array]]:
        coherence_key, side_key = jax.random.split(key)
        k = jax.random.randint(coherence_key, (), 0, len(self.coherences))
        coherence = jnp.asarray(self.coherences, jnp.result_type(float))[k]
        right = jax.random.bernoulli(side_key).astype(jnp.int32)
        towards = jnp.where(jnp.arange(2) == right, 1.0, -1.0)
        rates = self.silent().at[self.at("stimulus"), :2].set(self.dots_Hz * (1.0 + towards * self.slope * coherence))
        rates = rates.at[self.at("answer"), 2].set(self.go_Hz)
        return rates, right, {"coherence": coherence, "coherence_index": k}
