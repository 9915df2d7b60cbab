"""The delayed comparison that an animal did: its stimuli, what came before, and its choices as answers.

Trials with the same stimuli and the same past are one `Condition`, with the share of trials in which the animal gave
answer 1. A network that is trained on this task learns the animal's chances, errors included; one whose chances are 0
and 1 learns the right answers. The loss is that of the chances themselves, not of labels drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.tasks.grouped import CHANCES
from connectofit.fit.tasks.memory import DelayedComparison, Plan


class Condition(NamedTuple):
    """Trials that are alike. first, second: sizes of the stimuli. before: -1, 0 (nothing) or 1 for each of the task's
    `past`. chance: of answer 1. share: how often they come, in any unit."""

    first: float
    second: float
    before: tuple[int, ...]
    chance: float
    share: float


@dataclass(frozen=True)
class ObservedComparison(DelayedComparison):
    """A delayed comparison with an animal's own trials.

    conditions: what trials there are. past: names of what came before, such as the previous choice; for each there are
    two input groups, "before_NAME_0" and "before_NAME_1", of which one fires at `high_Hz` where something did:
    past_during "fixation", so that the network has to remember it, or "trial", as a trace that the animal keeps. The
    stimuli are coded as in `DelayedComparison`, over the range of all of them. `pairs` is without effect. Input groups:
    rising, falling, those of the past, go, noise.
    """

    conditions: tuple[Condition, ...] = ()
    past: tuple[str, ...] = ()
    past_during: Literal["fixation", "trial"] = "fixation"

    def __post_init__(self) -> None:
        made = tuple(Condition(*each)._replace(before=tuple(each[2])) for each in self.conditions)
        object.__setattr__(self, "conditions", made)
        super().__post_init__()

    def check(self) -> None:
        super().check()
        if self.past_during not in ("fixation", "trial"):
            raise unknown_name("period of the past", str(self.past_during), ("fixation", "trial"))
        if not self.conditions:
            raise SettingError("ObservedComparison needs one condition or more.")
        for k, each in enumerate(self.conditions):
            numbers = [each.first, each.second, each.chance, each.share]
            wrong = not np.isfinite(numbers).all() or not 0 <= each.chance <= 1 or not each.share >= 0
            if wrong or len(each.before) != len(self.past) or any(b not in (-1, 0, 1) for b in each.before):
                raise SettingError(
                    f"Condition {k + 1} of ObservedComparison needs finite stimuli, a chance from 0 to 1, a share of 0 "
                    f"or more and -1, 0 or 1 for each of the past ({', '.join(self.past) or 'none'}); found {each}."
                )
        if not sum(each.share for each in self.conditions) > 0:
            raise SettingError("No condition of ObservedComparison has a share above 0.")
        if len({(c.first, c.second, c.before) for c in self.conditions}) < len(self.conditions):
            raise SettingError("Conditions of ObservedComparison have to differ in stimuli or past.")
        if not np.ptp([size for each in self.conditions for size in (each.first, each.second)]) > 0:
            raise SettingError("The stimuli of ObservedComparison are all the same: there is nothing to compare.")
        known = sorted(set(self.past))
        if len(known) < len(self.past):
            raise SettingError(f"Names of the past have to differ; found {offenders(list(self.past))}.")

    @property
    def signals(self) -> tuple[str, ...]:
        return ("rising", "falling", *(f"before_{name}_{k}" for name in self.past for k in (0, 1)), "go")

    @property
    def active(self) -> Mapping[str, tuple[int, int]]:
        found = dict(super().active)
        told = self.periods["fixation"] if self.past_during == "fixation" else (0, self.n_steps)
        return found | {name: told for name in self.signals if name.startswith("before_")}

    def plan(self, key: PRNGKeyArray) -> Plan:
        which_key, answer_key = jax.random.split(key)
        kinds = self.conditions
        share = np.array([each.share for each in kinds])
        which = jax.random.choice(which_key, len(kinds), p=jnp.asarray(share / share.sum()))
        stimuli = np.array([(each.first, each.second) for each in kinds])
        smallest, span = float(stimuli.min()), float(np.ptp(stimuli))
        first, second = jnp.asarray(stimuli, jnp.result_type(float))[which]
        rates = self.with_go()
        for period, size in (("first", first), ("second", second)):
            above = (self.high_Hz - self.low_Hz) * (size - smallest) / span
            rates = rates.at[self.at(period), :2].set(jnp.stack([self.low_Hz + above, self.high_Hz - above]))
        if self.past:
            before = jnp.asarray([each.before for each in kinds])[which]
            on = jnp.stack([before == -1, before == 1], axis=1).reshape(-1)
            fires = jnp.where(on, self.high_Hz, self.baseline_Hz)
            told = self.at("fixation") if self.past_during == "fixation" else slice(None)
            rates = rates.at[told, 2 : 2 + fires.size].set(fires)
        chance = jnp.asarray([each.chance for each in kinds])[which]
        label: Array = jax.random.bernoulli(answer_key, chance).astype(jnp.int32)
        info = {"first": first, "second": second, "condition": which, CHANCES: jnp.stack([1.0 - chance, chance])}
        return rates, label, info
