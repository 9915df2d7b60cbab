"""The sections of recipes that go from recorded cells over a network and a task to an animal's choices."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.problem import LossName
from connectofit.pipelines.config import Settings
from connectofit.pipelines.task_settings import LearningSettings

Variant = Literal["unfitted", "rewired"]
"""What stands beside the model: the same with the neuron model's default parameters in place of fitted ones, and with
edges rewired (every neuron keeps its degrees)."""


class CellsSettings(Settings):
    """Which recorded cell each type of neurons is fitted to, and how, see `connectofit.fit.fit_cell`.

    `excitatory`, `inhibitory`: cells of the recordings. `hold_out`: labels of sweeps that no fit sees; where left out,
    as in the recipe `cell`. `network_dt_ms`: the network's time step, at which the cells are run again to see that they
    fire as they did at the recordings' sampling.
    """

    excitatory: str
    inhibitory: str
    model: Literal["gif", "lif"] = "gif"
    hold_out: tuple[str, ...] | None = None
    loss: LossName = "spikes"
    method: str = "auto"
    starts: int = Field(default=8, ge=1)
    simulated_s: float = Field(gt=0)
    free: tuple[str, ...] | None = None
    fixed: dict[str, float] = Field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    start: dict[str, float] = Field(default_factory=dict)
    network_dt_ms: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)


class NetworkSettings(Settings):
    """How the cells are joined. Conductances are in units of the one whose current at rest is a cell's rheobase
    (`connectofit.builders.rheobase_nS`), so that cells of any resistance can stand in one network.

    `bias`: a constant current, as a share of the rheobase. `drive_e`, `drive_i`: each synapse has the mean of
    |N(0, drive^2 / n_in)| of these units, n_in the mean number of such synapses of a neuron. `tau_e_ms` and `tau_i_ms`
    are those of slow synapses (NMDA, GABA_B). `surrogate_scale`: of the spike's stand-in derivative, whose width is the
    way from rest to threshold.
    `variants`: what stands beside the model. `spontaneous_ms`: how long each network runs by itself, after `settle_ms`:
    of as many inputs as a task has, `inputs`, `noise_inputs` fire, at `noise_Hz`.
    """

    bias: float = Field(default=0.7, ge=0)
    drive_e: float = Field(default=0.6, gt=0)
    drive_i: float = Field(default=0.4, gt=0)
    tau_e_ms: float = Field(default=100.0, gt=0)
    tau_i_ms: float = Field(default=400.0, gt=0)
    e_rev_e_mV: float = 0.0
    e_rev_i_mV: float = -80.0
    delay_ms: float = Field(default=1.0, gt=0)
    surrogate_scale: float = Field(default=0.1, gt=0)
    variants: tuple[Variant, ...] = ("unfitted", "rewired")
    spontaneous_ms: float = Field(default=10_000.0, gt=0)
    settle_ms: float = Field(default=500.0, ge=0)
    inputs: int = Field(default=100, ge=1)
    noise_inputs: int = Field(default=25, ge=0)
    noise_Hz: float = Field(default=10.0, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.noise_inputs > self.inputs:
            raise SettingError(
                f"network.noise_inputs are some of network.inputs ({self.inputs}); found {self.noise_inputs}."
            )
        return self


class TrainedSettings(LearningSettings):
    """How the networks learn; `task`: settings of the task in place of its defaults. `input_drive`, `input_tau_ms`: of
    the synapses from the task's inputs, see `connectofit.builders.with_inputs`."""

    task: dict[str, Any] = Field(default_factory=dict)
    input_drive: float = Field(default=3.0, gt=0)
    input_tau_ms: float = Field(default=10.0, gt=0)
    seed: int = Field(default=0, ge=0)


class EvidenceSettings(TrainedSettings):
    """Evidence accumulation (`connectofit.fit.tasks.EvidenceAccumulation`); `test_trials`: that the final score is
    of."""

    test_trials: int = Field(default=1000, ge=1)


class ChoicesSettings(TrainedSettings):
    """An animal's delayed comparison (`connectofit.fit.tasks.ObservedComparison`). `past`: what of the trial before the
    networks are told. `each`: trials for each condition that chances are worked out from. `answer_steps`: how many of
    the steps at most the networks learn the right answers in, before they learn the animal's, which knew the task; less
    where the accuracy reaches `answer_accuracy`."""

    past: tuple[Literal["choice", "answer"], ...] = ("choice", "answer")
    each: int = Field(default=200, ge=1)
    judged_by: Literal["accuracy", "loss"] = "loss"
    answer_steps: int = Field(default=0, ge=0)
    answer_accuracy: float = Field(default=0.85, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        lessons = self.answer_steps + len(self.delays_ms) * self.lesson_steps
        if lessons >= self.steps:
            raise SettingError(
                f"choices.steps ({self.steps}) hold those of its lessons, {lessons}, so that none is left for the "
                "animal's choices. Raise choices.steps, or lower answer_steps or lesson_steps."
            )
        return self
