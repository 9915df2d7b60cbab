"""Tasks whose trials are periods in a fixed order, and whose inputs are groups of neurons that share a rate."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.fit.tasks.base import Task, TaskTrials
from connectofit.fit.tasks.settings import check_counts, check_rates

CHANCES = "chances"


@dataclass(frozen=True)
class GroupedTask(Task):
    """A task of periods and groups of input neurons, of which the last, "noise", fires all the time.

    neurons_per_group: input neurons in each group. background_Hz: rate of the noise group. baseline_Hz: rate of the
    others where nothing drives them.
    """

    neurons_per_group: int = 25
    background_Hz: float = 10.0
    baseline_Hz: float = 0.0

    @property
    @abstractmethod
    def signals(self) -> tuple[str, ...]:
        """Names of the groups that carry something, in the order of the inputs; "noise" follows them."""

    @property
    @abstractmethod
    def periods(self) -> Mapping[str, tuple[int, int]]:
        """First step, and step after the last, of each period; the last period ends the trial."""

    @abstractmethod
    def plan(self, key: PRNGKeyArray) -> tuple[Float[Array, "time signal"], Int[Array, ""], Mapping[str, Array]]:
        """Draw a trial: the rate of each signal's neurons in Hz at each step, its label, and what was drawn; under
        `CHANCES`, if there, the chances [output] that the label is drawn from."""

    @property
    @abstractmethod
    def active(self) -> Mapping[str, tuple[int, int]]:
        """First step, and step after the last, between which each signal may differ from the baseline."""

    @property
    @abstractmethod
    def answer(self) -> str:
        """The period in which the answer counts."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all groups, in the order of the inputs."""
        return (*self.signals, "noise")

    @property
    def input_types(self) -> tuple[str, ...]:
        """The group of each input."""
        return tuple(name for name in self.groups for _ in range(self.neurons_per_group))

    @property
    def n_inputs(self) -> int:
        return len(self.groups) * self.neurons_per_group

    @property
    def n_steps(self) -> int:
        return max(stop for _, stop in self.periods.values())

    def check_grouped(self) -> None:
        """The checks that all of them share."""
        check_counts(self, 1, "neurons_per_group")
        check_rates(self, "background_Hz", "baseline_Hz")

    def at(self, period: str) -> slice:
        """The steps of a period."""
        return slice(*self.periods[period])

    def silent(self) -> Float[Array, "time signal"]:
        """Rates of a trial in which nothing happens."""
        return jnp.full((self.n_steps, len(self.signals)), float(self.baseline_Hz))

    def draw(self, key: PRNGKeyArray) -> TaskTrials:
        plan_key, input_key = jax.random.split(key)
        rates, label, info = self.plan(plan_key)
        noise = jnp.full((self.n_steps, 1), self.background_Hz, rates.dtype)
        rates = jnp.concatenate([rates, noise], 1)
        # Random numbers are most of the time that trials take: none for neurons that are silent.
        sparse = self.input_kind == "spikes" and not self.baseline_Hz
        spans = [self.active.get(name, (0, self.n_steps)) if sparse else (0, self.n_steps) for name in self.groups]
        column = jnp.concatenate([rates[start:stop, k : k + 1] for k, (start, stop) in enumerate(spans)])
        emitted = self.emit(input_key, column, self.neurons_per_group)
        parts, done = [], 0
        for start, stop in spans:
            part = emitted[done : done + stop - start]
            parts.append(jnp.pad(part, ((start, self.n_steps - stop), (0, 0))))
            done += stop - start
        start, stop = self.periods[self.answer]
        step = jnp.arange(self.n_steps)
        mask = ((step >= start) & (step < stop)).astype(rates.dtype)
        info = dict(info)
        chances = info.pop(CHANCES, None)
        return TaskTrials(jnp.concatenate(parts, 1), None, label, mask, info, chances)


def in_order(**steps: int) -> dict[str, tuple[int, int]]:
    """Periods that follow each other, from their lengths in steps."""
    periods, start = {}, 0
    for name, length in steps.items():
        periods[name] = (start, start + length)
        start += length
    return periods
