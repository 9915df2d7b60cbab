"""Learning rules: how the gradient of a batch of trials is had, or what stands in for it.

All rules return the same: a tree of the shape of the trained values, which one optimiser then descends. Names for
``rule=``: "bptt" (`BPTT`), "d_rtrl" (`DRTRL`), "es_d_rtrl" (`ESDRTRL`), "e_prop" (`EProp`), "r_stdp" (`RewardSTDP`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders
from connectofit.fit.tasks import TaskTrials
from connectofit.fit.train.batch_step import Block, make_batched
from connectofit.fit.train.bptt import run_batch
from connectofit.fit.train.coefficients import chosen_block
from connectofit.fit.train.losses import Penalties, accuracy, mean_answer, task_loss
from connectofit.fit.train.readout import Readout
from connectofit.fit.train.trainable import GROUPS, Trainable, Values
from connectofit.sim import Network


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Problem:
    """What is trained: a network as it is before training, its readout, what is free, and what is punished."""

    net: Network
    readout: Readout
    trainable: Trainable = field(metadata={"static": True})
    penalties: Penalties = field(metadata={"static": True})
    dt_ms: float = field(metadata={"static": True})
    noisy: bool = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Gradient:
    """What a rule makes of a batch. loss: of the task, with penalties. accuracy: part of the trials answered rightly.
    values: what to descend. bad: {array: whether anything in it is not finite}, in the order of their making."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    values: Values
    bad: dict[str, Array]


@dataclass(frozen=True)
class Rule(ABC):
    """A learning rule: its settings are its fields."""

    name: ClassVar[str]
    trains: ClassVar[tuple[str, ...]] = GROUPS

    def check(self, problem: Problem, *, choice: bool) -> None:
        """Raises a `SettingError` for networks, groups or penalties that the rule does not support."""
        unknown = [group for group in problem.trainable.free if group not in self.trains]
        if unknown:
            raise SettingError(
                f"The rule {self.name!r} does not train {offenders(unknown)}; it trains {offenders(self.trains)}. Take "
                "those, or the rule 'bptt'."
            )
        self.check_model(problem, choice=choice)

    def check_model(self, problem: Problem, *, choice: bool) -> None:
        """Raises a `SettingError` for networks and tasks that the rule does not support."""
        return

    def runs_on(self, problem: Problem, n_trials: int) -> str:
        """What runs the steps of a batch: "compiled" or "jax", see `make_batched`."""
        return "jax"

    @abstractmethod
    def gradient(
        self, problem: Problem, values: Values, trials: TaskTrials, seed_key: PRNGKeyArray, key: PRNGKeyArray
    ) -> Gradient:
        """What to descend after a batch. seed_key: the same in every step. key: of this step."""


@dataclass(frozen=True)
class BPTT(Rule):
    """Backpropagation through time. checkpoint: see `run_batch`. block: what runs the steps, see `make_batched`."""

    checkpoint: int | Literal["sqrt"] | None = "sqrt"
    block: Block = "auto"
    name: ClassVar[str] = "bptt"

    def runs_on(self, problem: Problem, n_trials: int) -> str:
        """See `Rule.runs_on`."""
        source = problem.trainable.source
        batched = make_batched(problem.net, dt_ms=problem.dt_ms, source=source, noisy=problem.noisy, block=self.block)
        return chosen_block(batched, n_trials)

    def gradient(
        self, problem: Problem, values: Values, trials: TaskTrials, seed_key: PRNGKeyArray, key: PRNGKeyArray
    ) -> Gradient:
        def loss(values: Values) -> tuple[Array, tuple[Array, dict[str, Array]]]:
            total, score, arrays = batch_loss(problem, values, trials, key, self.checkpoint, self.block)
            return total, (score, arrays)

        (total, (score, arrays)), slope = jax.value_and_grad(loss, has_aux=True)(values)
        return finished(total, score, slope, arrays)


def batch_loss(
    problem: Problem,
    values: Values,
    trials: TaskTrials,
    key: PRNGKeyArray,
    checkpoint: int | Literal["sqrt"] | None = "sqrt",
    block: Block = "auto",
) -> tuple[Array, Array, dict[str, Array]]:
    """The loss with penalties, the accuracy, and the arrays that have to be finite."""
    net, readout = problem.trainable.apply(problem.net, problem.readout, values)
    source, penalties = problem.trainable.source, problem.penalties
    batched = make_batched(net, dt_ms=problem.dt_ms, source=source, noisy=problem.noisy, block=block)
    run = run_batch(batched, readout, trials.inputs, key, checkpoint=checkpoint, voltage_range=penalties.watched)
    total = task_loss(run.outputs, trials) + penalties.of_activity(run.activity, run.beyond)
    total = total + penalties.of_gains(problem.trainable.gains(values))
    arrays = {f"activity of {name}": a for name, a in run.activity.items()} | {"outputs": run.outputs}
    return total, accuracy(mean_answer(run.outputs, trials.mask), trials), arrays


def finished(loss: Array, score: Array, slope: Values, arrays: dict[str, Array]) -> Gradient:
    """A gradient with what is not finite about it."""
    named = {**arrays, "loss": loss}
    for group, owners in slope.items():
        named |= {f"gradient of {group} {owner}": value for owner, value in owners.items()}
    # Where it overflows, clipping would divide by infinity and nothing would train.
    named["gradient's norm"] = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(slope)))
    return Gradient(loss, score, slope, {name: ~jnp.all(jnp.isfinite(a)) for name, a in named.items()})
