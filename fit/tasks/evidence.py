"""Evidence accumulation: cues on the left and on the right, a delay, and the question which side had more.

A mouse runs along a virtual track with towers on both sides and turns to the side of the majority (Morcos & Harvey
2016, Nat Neurosci 19:1672). As a task of input spikes: Bellec et al. 2020 (Nat Commun 11:3625), whose groups of
neurons and probabilities Wang et al. 2024 (arXiv 2406.19708) take up; the defaults are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
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


@dataclass(frozen=True)
class EvidenceAccumulation(GroupedTask):
    """Which side showed more cues? Answers: 0 left, 1 right.

    Each cue is preceded by a gap, as in Bellec et al. A side is drawn for the trial, and each cue falls on the other
    side with the probability `minority`, independently; the right answer is the side that has more cues in fact.
    Input groups: left, right, recall, noise. The recall neurons fire at `cue_Hz` while the answer counts.

    n_cues: an odd number. cue_ms, gap_ms: of each cue and of the gap before it. delay_ms: from the last cue to the
    recall. recall_ms: how long the answer counts. cue_Hz: rate of a cue's neurons while it is on.
    """

    n_cues: int = 7
    cue_ms: float = 100.0
    gap_ms: float = 50.0
    delay_ms: float = 1000.0
    recall_ms: float = 150.0
    minority: float = 0.3
    cue_Hz: float = 40.0

    def check(self) -> None:
        self.check_grouped()
        check_counts(self, 1, "n_cues")
        if self.n_cues % 2 == 0:
            raise SettingError(
                f"n_cues of EvidenceAccumulation is {self.n_cues}: with an even number of cues, both sides can have "
                "the same number and there is no right answer. Take an odd number."
            )
        period_steps(self, "cue_ms", "gap_ms", "delay_ms", "recall_ms")
        require_some(self, "cue_ms", "recall_ms")
        check_probabilities(self, "minority")
        check_rates(self, "cue_Hz")

    @property
    def signals(self) -> tuple[str, ...]:
        return ("left", "right", "recall")

    @property
    def n_outputs(self) -> int:
        return 2

    @property
    def full_rate_Hz(self) -> float:
        return self.cue_Hz

    @property
    def answer(self) -> str:
        return "recall"

    @property
    def periods(self) -> Mapping[str, tuple[int, int]]:
        steps = period_steps(self, "cue_ms", "gap_ms", "delay_ms", "recall_ms")
        cues = self.n_cues * (steps["gap"] + steps["cue"])
        return in_order(cues=cues, delay=steps["delay"], recall=steps["recall"])

    @property
    def active(self) -> Mapping[str, tuple[int, int]]:
        periods = self.periods
        return {"left": periods["cues"], "right": periods["cues"], "recall": periods["recall"]}

    @property
    def cue_steps(self) -> tuple[tuple[int, int], ...]:
        """First step, and step after the last, of each cue."""
        steps = period_steps(self, "cue_ms", "gap_ms")
        slot = steps["gap"] + steps["cue"]
        return tuple((k * slot + steps["gap"], (k + 1) * slot) for k in range(self.n_cues))

    def plan(self, key: PRNGKeyArray) -> tuple[Float[Array, "time signal"], Int[Array, ""], Mapping[str, Array]]:
        side_key, cue_key = jax.random.split(key)
        side = jax.random.bernoulli(side_key).astype(jnp.int32)
        other = jax.random.bernoulli(cue_key, self.minority, (self.n_cues,))
        cues = jnp.where(other, 1 - side, side)
        n_right = jnp.sum(cues)
        rates = self.silent()
        for k, (start, stop) in enumerate(self.cue_steps):
            on = jnp.where(jnp.arange(2) == cues[k], self.cue_Hz, self.baseline_Hz)
            rates = rates.at[start:stop, :2].set(on)
        rates = rates.at[self.at("recall"), 2].set(self.cue_Hz)
        label = (2 * n_right > self.n_cues).astype(jnp.int32)
        info = {"n_left": self.n_cues - n_right, "n_right": n_right, "side": side, "last_cue": cues[-1]}
        return rates, label, info
