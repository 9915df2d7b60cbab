"""What a task is: settings that draw trials, and the trials that are drawn.

A `Task` is a frozen dataclass of settings, hashable and therefore static under `jax.jit`. Its `trials` is a pure
function of a key: trial i depends on the key and on i alone, not on how many are drawn. `TaskTrials` holds a batch, as
arrays that JAX sees: inputs, and either targets of a regression or labels of a choice with a mask of the steps at
which the answer counts.

Inputs come in two kinds. ``"spikes"``: zeros and ones, a spike in each step with probability rate times dt,
independently (a Bernoulli process, which is Poisson's for rates well below 1 / dt). ``"rates"``: the rates themselves,
as multiples of the task's `full_rate_Hz`, plus white noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int, PRNGKeyArray

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.sim.checks import steps_of

InputKind = Literal["spikes", "rates"]
_MS_PER_S = 1000.0


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["inputs", "targets", "labels", "mask", "info", "chances"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False)
class TaskTrials:
    """Trials of a task: a pytree of arrays, whose first axis is the trial.

    inputs: to the network, [trial, time, input]: 0 or 1 where they are spikes. targets: of a regression, [trial, time,
    output]; None for choices. labels: index of the right answer among the outputs, [trial]; None for regressions.
    mask: [trial, time], 1 at the steps at which the answer counts and 0 elsewhere. info: what was drawn for each trial,
    {name: [trial]}. chances: [trial, output], where the labels are drawn from known chances: these are then what the
    loss is worked out with, which has the same mean as the labels' and less noise; else None.
    """

    inputs: Float[Array, "trial time input"]
    targets: Float[Array, "trial time output"] | None
    labels: Int[Array, " trial"] | None
    mask: Float[Array, "trial time"]
    info: Mapping[str, Array]
    chances: Float[Array, "trial output"] | None = None

    @property
    def n_trials(self) -> int:
        return self.inputs.shape[0]

    @property
    def answers(self) -> Array | None:
        """What the outputs of a choice are to tell: the chances where they are known, else the labels."""
        return self.labels if self.chances is None else self.chances

    def table(self) -> pd.DataFrame:
        """One row a trial: its label, where it has one, and what was drawn for it."""
        columns = {} if self.labels is None else {"label": np.asarray(self.labels)}
        columns |= {name: np.asarray(value) for name, value in self.info.items()}
        return pd.DataFrame(columns, index=pd.RangeIndex(self.n_trials, name="trial"))


@dataclass(frozen=True)
class Task(ABC):
    """Settings of a task.

    dt_ms: the time step, of which every duration is a whole number. input_kind: ``"spikes"`` or ``"rates"``. noise: of
    rates, the standard deviation of their mean over 1 ms (over T ms: noise / sqrt(T)), in units of `full_rate_Hz`;
    without effect on spikes.
    """

    dt_ms: float = 1.0
    input_kind: InputKind = "spikes"
    noise: float = 0.0

    choice: ClassVar[bool] = True
    """Whether the answer is one of `n_outputs` (labels), or a time course (targets)."""

    def __post_init__(self) -> None:
        if self.input_kind not in get_args(InputKind):
            raise unknown_name("kind of input", str(self.input_kind), get_args(InputKind), type(self).__name__)
        if not (isinstance(self.noise, int | float) and math.isfinite(self.noise) and self.noise >= 0):
            raise SettingError(f"noise of {type(self).__name__} has to be a number, 0 or more; found {self.noise!r}.")
        steps_of(0.0, self.dt_ms, "dt_ms")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raise a `SettingError` where the settings make no trials."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """How many inputs there are."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """How many outputs the answer takes: the options of a choice, or the width of targets."""

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Time steps of a trial."""

    @property
    @abstractmethod
    def full_rate_Hz(self) -> float:
        """The rate that counts as 1 where inputs are rates."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray) -> TaskTrials:
        """One trial: a `TaskTrials` whose arrays lack the axis of trials."""

    @property
    def duration_ms(self) -> float:
        """How long a trial is."""
        return self.n_steps * self.dt_ms

    def trials(self, key: PRNGKeyArray, n: int) -> TaskTrials:
        """`n` trials. Traceable in `key`; the same key draws the same trials, and the first of more are those of fewer.

        Raises `SettingError` where n is no positive whole number.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise SettingError(f"The number of trials has to be a whole number, at least 1; found {n!r}.")
        return jax.vmap(lambda i: self.draw(jax.random.fold_in(key, i)))(jnp.arange(n))

    def emit(self, key: PRNGKeyArray, rates_Hz: Float[Array, "time #input"], n: int | None = None) -> Array:
        """Inputs of these rates, of the task's kind, [time, input]. n: how many inputs share a rate that is given for
        one."""
        shape = rates_Hz.shape if n is None else (rates_Hz.shape[0], n)
        if self.input_kind == "spikes":
            p = rates_Hz * (self.dt_ms / _MS_PER_S)
            # Compared as whole numbers: half the memory traffic of uniform floats, and exact to 2**-32.
            below = jnp.minimum(p, 1.0 - 2.0**-24) * 2.0**32
            drawn = jax.random.bits(key, shape, jnp.uint32) < below.astype(jnp.uint32)
            return (drawn | (p >= 1.0)).astype(rates_Hz.dtype)
        rates = jnp.broadcast_to(rates_Hz / self.full_rate_Hz, shape)
        if self.noise:
            rates = rates + self.noise / math.sqrt(self.dt_ms) * jax.random.normal(key, shape, rates.dtype)
        return rates
