"""Tasks that need memory: delayed match to sample, delayed comparison, and go/no-go after a delay.

Their periods are fixation, one stimulus (or two, with a delay between), a delay, and the answer, during which neurons
of the group "go" fire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks.grouped import GroupedTask, in_order
from connectofit.fit.tasks.settings import (
    check_counts,
    check_probabilities,
    check_rates,
    period_steps,
    require_some,
)

Plan = tuple[Float[Array, "time signal"], Int[Array, ""], Mapping[str, Array]]


@dataclass(frozen=True)
class MemoryTask(GroupedTask):
    """What these tasks share. fixation_ms: before the first stimulus. answer_ms: how long the answer counts. go_Hz:
    rate of the go neurons during it."""

    fixation_ms: float = 50.0
    answer_ms: float = 150.0
    go_Hz: float = 40.0

    @property
    def n_outputs(self) -> int:
        return 2

    @property
    def active(self) -> Mapping[str, tuple[int, int]]:
        start, stop = self.periods["fixation"][1], self.periods["answer"][0]
        return {name: self.periods["answer"] if name == "go" else (start, stop) for name in self.signals}

    @property
    def answer(self) -> str:
        return "answer"

    def check_memory(self, *stimuli: str) -> None:
        """The checks that all of them share; `stimuli` are the names of the stimuli's times."""
        self.check_grouped()
        check_rates(self, "go_Hz")
        period_steps(self, "fixation_ms", "answer_ms", "delay_ms", *stimuli)
        require_some(self, "answer_ms", *stimuli)

    def with_go(self) -> Float[Array, "time signal"]:
        """Rates of a trial in which only the go neurons fire."""
        return self.silent().at[self.at("answer"), self.signals.index("go")].set(self.go_Hz)


@dataclass(frozen=True)
class DelayedMatch(MemoryTask):
    """Delayed match to sample: is the second stimulus the first again? Answers: 0 no, 1 yes.

    (Miller, Erickson & Desimone 1996, J Neurosci 16:5154, with one test stimulus.) Sample and test are each one of
    `n_stimuli`; half of the trials match, and in the others the test is any of the other stimuli. Either stimulus alone
    says nothing about the answer. Input groups: one per stimulus, go, noise.

    sample_ms, delay_ms, test_ms: of the sample, between the two, of the test. stimulus_Hz: rate of a stimulus's neurons
    while it is on. answer_ms begins with the end of the test.
    """

    n_stimuli: int = 2
    sample_ms: float = 200.0
    delay_ms: float = 500.0
    test_ms: float = 200.0
    stimulus_Hz: float = 40.0

    def check(self) -> None:
        check_counts(self, 2, "n_stimuli")
        self.check_memory("sample_ms", "test_ms")
        check_rates(self, "stimulus_Hz")

    @property
    def signals(self) -> tuple[str, ...]:
        return (*(f"stimulus_{k}" for k in range(self.n_stimuli)), "go")

    @property
    def full_rate_Hz(self) -> float:
        return self.stimulus_Hz

    @property
    def periods(self) -> Mapping[str, tuple[int, int]]:
        names = ("fixation_ms", "sample_ms", "delay_ms", "test_ms", "answer_ms")
        return in_order(**period_steps(self, *names))

    def plan(self, key: PRNGKeyArray) -> Plan:
        sample_key, match_key, other_key = jax.random.split(key, 3)
        sample = jax.random.randint(sample_key, (), 0, self.n_stimuli)
        match = jax.random.bernoulli(match_key).astype(jnp.int32)
        other = (sample + jax.random.randint(other_key, (), 1, self.n_stimuli)) % self.n_stimuli
        test = jnp.where(match == 1, sample, other)
        rates = self.with_go()
        stimuli = jnp.arange(self.n_stimuli)
        for period, shown in (("sample", sample), ("test", test)):
            on = jnp.where(stimuli == shown, self.stimulus_Hz, self.baseline_Hz)
            rates = rates.at[self.at(period), : self.n_stimuli].set(on)
        return rates, match, {"sample": sample, "test": test}


@dataclass(frozen=True)
class DelayedComparison(MemoryTask):
    """Delayed comparison of two stimuli of graded size: was the first larger? Answers: 0 no, 1 yes.

    (Romo et al. 1999, Nature 399:470; with the pairs of Barak, Tsodyks & Romo 2010, J Neurosci 30:9424, Hz of a
    vibration.) Each trial shows one of `pairs`, in either order. A stimulus of size f makes the neurons of the group
    "rising" fire at low_Hz + (high_Hz - low_Hz) x and those of "falling" at high_Hz - (high_Hz - low_Hz) x, x = (f -
    smallest) / (largest - smallest). Input groups: rising, falling, go, noise. What one of the two stimuli alone gives
    away is `single_stimulus_accuracy`.
    """

    pairs: tuple[tuple[float, float], ...] = ((18, 10), (22, 14), (26, 18), (30, 22), (34, 26))
    first_ms: float = 200.0
    delay_ms: float = 500.0
    second_ms: float = 200.0
    low_Hz: float = 10.0
    high_Hz: float = 40.0

    def check(self) -> None:
        self.check_memory("first_ms", "second_ms")
        check_rates(self, "low_Hz", "high_Hz")
        good = isinstance(self.pairs, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in self.pairs)
        if not good or not self.pairs or any(a == b or not np.isfinite([a, b]).all() for a, b in self.pairs):
            raise SettingError(
                "pairs of DelayedComparison has to be a tuple of pairs of two different numbers, at least one pair; "
                f"found {self.pairs!r}."
            )
        if self.low_Hz >= self.high_Hz:
            raise SettingError(
                f"low_Hz of DelayedComparison ({self.low_Hz:g}) has to be below high_Hz ({self.high_Hz:g})."
            )

    @property
    def signals(self) -> tuple[str, ...]:
        return ("rising", "falling", "go")

    @property
    def full_rate_Hz(self) -> float:
        return self.high_Hz

    @property
    def periods(self) -> Mapping[str, tuple[int, int]]:
        names = ("fixation_ms", "first_ms", "delay_ms", "second_ms", "answer_ms")
        return in_order(**period_steps(self, *names))

    @property
    def single_stimulus_accuracy(self) -> float:
        """The best accuracy from one of the two stimuli alone (the same for either), each pair and order equally
        likely."""
        sizes = sorted({size for pair in self.pairs for size in pair})
        larger = {size: sum(max(pair) == size for pair in self.pairs) for size in sizes}
        smaller = {size: sum(min(pair) == size for pair in self.pairs) for size in sizes}
        return sum(max(larger[size], smaller[size]) for size in sizes) / (2 * len(self.pairs))

    def plan(self, key: PRNGKeyArray) -> Plan:
        pair_key, order_key = jax.random.split(key)
        pairs = jnp.asarray(self.pairs, jnp.result_type(float))
        pair = pairs[jax.random.randint(pair_key, (), 0, len(self.pairs))]
        first, second = jnp.where(jax.random.bernoulli(order_key), pair, pair[::-1])
        smallest, span = float(np.min(self.pairs)), float(np.ptp(self.pairs))
        rates = self.with_go()
        for period, size in (("first", first), ("second", second)):
            above = (self.high_Hz - self.low_Hz) * (size - smallest) / span
            rates = rates.at[self.at(period), :2].set(jnp.stack([self.low_Hz + above, self.high_Hz - above]))
        return rates, (first > second).astype(jnp.int32), {"first": first, "second": second}


@dataclass(frozen=True)
class GoNoGo(MemoryTask):
    """Go or no-go after a delay. Answers: 0 no-go, 1 go.

    Input groups: stimulus_0 (no-go), stimulus_1 (go), go (the sign that the answer counts, in every trial), noise.
    stimulus_ms, delay_ms: of the stimulus, and after it. go_fraction: of the trials. stimulus_Hz: rate of a stimulus's
    neurons while it is on.
    """

    stimulus_ms: float = 200.0
    delay_ms: float = 300.0
    go_fraction: float = 0.5
    stimulus_Hz: float = 40.0

    def check(self) -> None:
        self.check_memory("stimulus_ms")
        check_probabilities(self, "go_fraction")
        check_rates(self, "stimulus_Hz")

    @property
    def signals(self) -> tuple[str, ...]:
        return ("stimulus_0", "stimulus_1", "go")

    @property
    def full_rate_Hz(self) -> float:
        return self.stimulus_Hz

    @property
    def periods(self) -> Mapping[str, tuple[int, int]]:
        return in_order(**period_steps(self, "fixation_ms", "stimulus_ms", "delay_ms", "answer_ms"))

    def plan(self, key: PRNGKeyArray) -> Plan:
        go = jax.random.bernoulli(key, self.go_fraction).astype(jnp.int32)
        on = jnp.where(jnp.arange(2) == go, self.stimulus_Hz, self.baseline_Hz)
        return self.with_go().at[self.at("stimulus"), :2].set(on), go, {"go": go}
