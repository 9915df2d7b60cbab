"""Tasks of NeuroGym (Molano-Mazón et al. 2022, doi 10.31234/osf.io/aqc9n) as tasks of this package.

A thin adapter: a trial's observations become the inputs, and the right action at the end of its decision the label.
It needs the package neurogym, which is optional: ``pip install "connectofit[neurogym]"``. Trials are drawn on the host,
one environment each, seeded by the trial's key: this works under `jax.jit`, but more slowly than other tasks.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks.base import Task, TaskTrials
from connectofit.fit.tasks.settings import check_numbers_above
from connectofit.sim.checks import steps_of

_MODULE = "neurogym"


@dataclass(frozen=True)
class NeuroGymTask(Task):
    """A task of NeuroGym with one right action a trial, out of a discrete set.

    The answer counts in the period "decision" or, where a task has none, in the last steps of the trial that have the
    same right action.

    name: such as ``"PerceptualDecisionMaking-v0"``. settings: further arguments of the environment, as pairs (name,
    value), so that the task is hashable. trial_ms: length of a trial, which a task whose periods are drawn needs;
    trials that end earlier are filled up with zeros. unit_Hz: rate of an input whose observation is 1; where inputs are
    spikes, observations below 0 are silent, and none has more than one spike a step.
    """

    name: str = "PerceptualDecisionMaking-v0"
    settings: tuple[tuple[str, Any], ...] = ()
    trial_ms: float | None = None
    unit_Hz: float = 40.0

    def check(self) -> None:
        if importlib.util.find_spec(_MODULE) is None:
            raise SettingError(
                f"NeuroGymTask({self.name!r}) needs the package {_MODULE}, which is not installed. Install it with "
                'pip install "connectofit[neurogym]".'
            )
        check_numbers_above(self, "unit_Hz")
        pairs = isinstance(self.settings, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in self.settings)
        if not pairs:
            raise SettingError(
                f"settings of NeuroGymTask has to be a tuple of pairs (name, value); found {self.settings!r}."
            )
        if self.trial_ms is not None:
            steps_of(self.trial_ms, self.dt_ms, "trial_ms of NeuroGymTask")

    @property
    def n_inputs(self) -> int:
        return _sizes(self)[0]

    @property
    def n_outputs(self) -> int:
        return _sizes(self)[1]

    @property
    def n_steps(self) -> int:
        return _sizes(self)[2]

    @property
    def full_rate_Hz(self) -> float:
        return self.unit_Hz

    def draw(self, key: PRNGKeyArray) -> TaskTrials:
        draw_key, input_key = jax.random.split(key)
        dtype = jnp.result_type(float)
        shapes = (
            jax.ShapeDtypeStruct((self.n_steps, self.n_inputs), dtype),
            jax.ShapeDtypeStruct((), jnp.int32),
            jax.ShapeDtypeStruct((self.n_steps,), dtype),
            jax.ShapeDtypeStruct((), jnp.int32),
        )

        def on_the_host(seed: Any) -> tuple[Any, ...]:
            observed, label, mask, length = _trial(self, int(seed))
            return observed.astype(dtype), np.int32(label), mask.astype(dtype), np.int32(length)

        seed = jax.random.bits(draw_key, (), jnp.uint32)
        observed, label, mask, length = jax.pure_callback(on_the_host, shapes, seed, vmap_method="sequential")
        rates = observed * self.unit_Hz
        if self.input_kind == "spikes":
            rates = jnp.clip(rates, 0.0, 1000.0 / self.dt_ms)
        return TaskTrials(self.emit(input_key, rates), None, label, mask, {"length_steps": length})


def _environment(task: NeuroGymTask) -> Any:
    try:
        module = importlib.import_module(_MODULE)
    except ImportError as error:
        raise SettingError(
            f"The package {_MODULE} is installed but cannot be imported: {error}. Install what it lacks, or the "
            'version of pip install "connectofit[neurogym]".'
        ) from error
    try:
        return module.make(task.name, dt=task.dt_ms, **dict(task.settings)).unwrapped
    except Exception as error:  # gymnasium has no common base of what unknown names and settings raise
        raise SettingError(
            f"neurogym cannot make {task.name!r} with dt = {task.dt_ms:g} and {dict(task.settings)!r}: {error}. "
            "Correct name or settings."
        ) from error


@lru_cache(maxsize=64)
def _sizes(task: NeuroGymTask) -> tuple[int, int, int]:
    """Inputs, actions and steps; `SettingError` where the task has no such sizes."""
    environment = _environment(task)
    shape = environment.observation_space.shape
    actions = getattr(environment.action_space, "n", None)
    if shape is None or len(shape) != 1 or actions is None:
        raise SettingError(
            f"{task.name!r} has observations of shape {shape} and actions {environment.action_space}; this adapter "
            "takes observations that are a vector, and actions of a discrete set."
        )
    if task.trial_ms is not None:
        return int(shape[0]), int(actions), steps_of(task.trial_ms, task.dt_ms, "trial_ms of NeuroGymTask")
    lengths = set()
    for seed in range(5):
        environment.seed(seed)
        environment.new_trial()
        lengths.add(len(environment.ob))
    if len(lengths) > 1:
        raise SettingError(
            f"Trials of {task.name!r} differ in length: {sorted(lengths)} steps in five of them. Give trial_ms, at "
            'least that of the longest, or fixed times by settings=(("timing", ...),).'
        )
    return int(shape[0]), int(actions), lengths.pop()


def _trial(
    task: NeuroGymTask, seed: int
) -> tuple[Float[np.ndarray, "time input"], int, Float[np.ndarray, " time"], int]:
    """Observations, label, mask and length of the trial of a seed, filled up to the task's length."""
    environment = _environment(task)
    environment.seed(seed % 2**32)
    environment.new_trial()
    observed, right = np.asarray(environment.ob), np.asarray(environment.gt).reshape(-1).astype(np.int64)
    length, n_steps = len(observed), task.n_steps
    if length > n_steps:
        raise SettingError(
            f"A trial of {task.name!r} takes {length * task.dt_ms:g} ms, longer than trial_ms = "
            f"{n_steps * task.dt_ms:g}. Give a longer trial_ms."
        )
    if "decision" in environment.start_ind:
        start, stop = environment.start_ind["decision"], environment.end_ind["decision"]
    else:
        others = np.flatnonzero(right != right[-1])
        start, stop = (others[-1] + 1 if others.size else 0), length
    answers = set(right[start:stop].tolist())
    if len(answers) != 1:
        raise SettingError(
            f"A trial of {task.name!r} has {len(answers)} right actions while it counts; this adapter takes tasks with "
            "one right action a trial."
        )
    label = answers.pop()
    if not 0 <= label < task.n_outputs:
        raise SettingError(
            f"A trial of {task.name!r} has the right action {label}, out of {task.n_outputs} actions: the environment "
            "contradicts itself. Take another version of neurogym, or another task."
        )
    inputs, mask = np.zeros((n_steps, observed.shape[1])), np.zeros(n_steps)
    inputs[:length] = observed
    mask[start:stop] = 1.0
    return inputs, label, mask, length
