"""What is minimised: how wrong the answers are, and penalties on activity and weights.

Choices: the cross-entropy of the softmax of the outputs, at each step at which the answer counts; the answer of a trial
is the output with the largest mean over these steps. Regressions: the mean square error over them. Both are means over
trials of means over a trial's counted steps, so that they are sums of terms of single steps, as online rules need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, offenders
from connectofit.fit.tasks import Task, TaskTrials


@dataclass(frozen=True)
class Penalties:
    """Terms that are added to a task's loss, each a mean with a weight; 0 switches it off.

    rate: on the mean square of the neurons' rates' distance from rate_Hz, in units of rate_Hz. voltage: on the mean
    square of voltages outside of voltage_range. shrinkage: on the mean square of the change of log gains, in units of
    shrinkage_sd: a Gaussian prior around the weights that the wiring gives.
    """

    rate: float = 0.0
    rate_Hz: float = 10.0
    voltage: float = 0.0
    voltage_range: tuple[float, float] = (-math.inf, math.inf)
    shrinkage: float = 0.0
    shrinkage_sd: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rate", "voltage", "shrinkage"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingError(f"The weight of the penalty {name!r} has to be 0 or more; found {value!r}.")
        for name in ("rate_Hz", "shrinkage_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of the penalties has to be above 0; found {value!r}.")
        object.__setattr__(self, "voltage_range", tuple(self.voltage_range))
        if not self.voltage_range[0] < self.voltage_range[1]:
            raise SettingError(f"voltage_range has to be (low, high); found {self.voltage_range!r}.")

    @property
    def watched(self) -> tuple[float, float] | None:
        """The range of voltages, where there is a penalty on leaving it."""
        return self.voltage_range if self.voltage else None

    def of_activity(self, activity: dict[str, Float[Array, " neuron"]], beyond: Float[Array, ""]) -> Float[Array, ""]:
        """The penalties on rates and voltages."""
        total = self.voltage * beyond
        if self.rate:
            rates = jnp.concatenate(list(activity.values()))
            total = total + self.rate * jnp.mean((rates / self.rate_Hz - 1.0) ** 2)
        return jnp.asarray(total)

    def of_gains(self, changes: list[Array]) -> Float[Array, ""]:
        """The penalty on changes of log gains."""
        flat = [c.ravel() for c in changes if c.size]
        if not self.shrinkage or not flat:
            return jnp.zeros(())
        return self.shrinkage * jnp.mean((jnp.concatenate(flat) / self.shrinkage_sd) ** 2)


def step_weights(mask: Float[Array, "trial time"]) -> Float[Array, "trial time"]:
    """How much each step of each trial counts: the sum over all is 1."""
    return mask / jnp.maximum(jnp.sum(mask, 1, keepdims=True), 1e-9) / mask.shape[0]


def step_loss(
    y: Float[Array, "*batch output"],
    labels: Int[Array, "*batch"] | Float[Array, "*batch output"] | None,
    targets: Float[Array, "*batch output"] | None,
) -> Float[Array, "*batch"]:
    """The loss of outputs at one step. labels: of the right answers, or the chances of all answers."""
    if targets is not None:
        return jnp.mean((y - targets) ** 2, -1)
    if labels is None:
        raise TypeError("a step's loss needs labels or targets")
    if labels.ndim == y.ndim:
        # Not as one reduction: beside that of the softmax, jaxlib 0.10.2 gets it wrong on CPUs.
        told = jax.nn.log_softmax(y)
        return jnp.asarray(-sum(labels[..., k] * told[..., k] for k in range(y.shape[-1])))
    return -jnp.take_along_axis(jax.nn.log_softmax(y), labels[..., None], -1)[..., 0]


def task_loss(outputs: Float[Array, "time trial output"], trials: TaskTrials) -> Float[Array, ""]:
    """The task's loss over a batch."""
    known = trials.answers
    labels = None if known is None else jnp.broadcast_to(known, (outputs.shape[0], *known.shape))
    targets = None if trials.targets is None else jnp.swapaxes(trials.targets, 0, 1)
    return jnp.sum(step_loss(outputs, labels, targets) * step_weights(trials.mask).T)


def mean_answer(outputs: Float[Array, "time trial output"], mask: Float[Array, "trial time"]) -> Array:
    """[trial, output]: the mean output over the steps that count."""
    return jnp.einsum("tbo,bt->bo", outputs, step_weights(mask)) * mask.shape[0]


def accuracy(answer: Float[Array, "trial output"], trials: TaskTrials) -> Float[Array, ""]:
    """The part of the trials that is answered rightly; of a regression, 1 less the error's share of the variance."""
    if trials.labels is not None:
        return jnp.mean((jnp.argmax(answer, -1) == trials.labels).astype(answer.dtype))
    return jnp.asarray(jnp.nan, answer.dtype)


def check_task(task: Task, trials: TaskTrials, n_outputs: int) -> None:
    """Raise a `SettingError` where a task's trials do not fit its own settings or the readout."""
    name = type(task).__name__
    n, n_steps = trials.inputs.shape[:2]
    if task.n_outputs > n_outputs:
        raise SettingError(
            f"{name} has {task.n_outputs} outputs and the readout {n_outputs}. Make a readout with `new_readout(net, "
            f"{task.n_outputs}, ...)`, or leave `readout` out."
        )
    if (trials.labels is None) == (trials.targets is None):
        raise SettingError(f"Trials of {name} need labels or targets, and not both.")
    for what, value in (("mask", trials.mask), ("targets", trials.targets)):
        if value is not None and value.shape[1] != n_steps:
            longer = "longer" if value.shape[1] > n_steps else "shorter"
            raise SettingError(
                f"The {what} of {name} are {longer} than its trials: {value.shape[1]} steps, and inputs for {n_steps}. "
                "Give one row for each step."
            )
    if trials.targets is not None and trials.targets.shape[2] != n_outputs:
        raise SettingError(f"Targets of {name} are {trials.targets.shape[2]} wide, and the readout {n_outputs}.")
    if trials.labels is not None:
        labels = np.asarray(trials.labels)
        bad = np.flatnonzero((labels < 0) | (labels >= n_outputs))
        if bad.size:
            rows = [f"trial {k}: {labels[k]}" for k in bad]
            raise SettingError(
                f"Labels of {name} have to be from 0 to {n_outputs - 1}, one for each output; found {offenders(rows)}."
            )
    if trials.chances is not None:
        chances = np.asarray(trials.chances)
        if trials.labels is None or chances.shape != (n, n_outputs) or not np.allclose(chances.sum(1), 1, atol=1e-4):
            raise SettingError(
                f"Chances of {name} go with labels and are [trial, output], {(n, n_outputs)}, with a sum of 1 for each "
                f"trial; found {chances.shape}{'' if trials.labels is not None else ' and no labels'}."
            )
    silent = np.flatnonzero(np.asarray(trials.mask).sum(1) == 0)
    if silent.size:
        raise SettingError(
            f"In trials of {name} no step counts: {offenders([int(k) for k in silent])} of {n}. Set the mask to 1 "
            "where the answer is asked for."
        )
