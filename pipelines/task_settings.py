"""The sections of a recipe that trains networks on a task."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from connectofit.fit.tasks import (
    DelayedComparison,
    DelayedMatch,
    EvidenceAccumulation,
    GoNoGo,
    GroupedTask,
    ObservedComparison,
    RandomDots,
)
from connectofit.pipelines.config import DataFile, Settings

TASKS: dict[str, type[GroupedTask]] = {
    "evidence": EvidenceAccumulation,
    "delayed_match": DelayedMatch,
    "delayed_comparison": DelayedComparison,
    "random_dots": RandomDots,
    "go_no_go": GoNoGo,
    "observed": ObservedComparison,
}
"""By the names that bundles of trained networks use; recipes take those of `TaskSettings.kind`."""
Control = Literal["rewired", "signs", "unwired", "input_readout", "readout"]
"""Rewired: every neuron keeps its degrees; signs: shuffled over edges; unwired: no recurrent edge; and what alone
trains."""


class WiringSettings(Settings):
    """Whose wiring constrains the network: a graph drawn at random or by distance, or tables of a connectome.

    random_types: put neurons into so many types at random, the column "random_type" (for train.types): a stand-in for
    the cell types of a connectome.
    """

    source: Literal["random", "distance", "tables"] = "random"
    neurons: int = Field(default=400, ge=10)
    density: float = Field(default=0.1, gt=0, le=1)
    inhibitory: float = Field(default=0.2, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    random_types: int | None = Field(default=None, ge=1)
    edges: DataFile | None = None
    neuron_table: DataFile | None = None
    preset: str | None = None


class TaskSettings(Settings):
    """The task, by name, with its own settings in place of the defaults; and how many example trials are kept."""

    kind: Literal["evidence", "delayed_match", "delayed_comparison", "random_dots", "go_no_go"] = "evidence"
    settings: dict[str, Any] = Field(default_factory=dict)
    examples: int = Field(default=500, ge=1)
    seed: int = Field(default=0, ge=0)


class LearningSettings(Settings):
    """What trains and how, see `connectofit.fit.train.train_task`."""

    rule: Literal["bptt", "d_rtrl", "es_d_rtrl", "e_prop", "r_stdp"] = "bptt"
    free: tuple[str, ...] = ("recurrent", "input", "readout")
    steps: int = Field(default=200, ge=1)
    batch: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    warmup: int = Field(default=0, ge=0)
    decay: Literal["constant", "cosine"] = "constant"
    clip: float | None = Field(default=1.0, gt=0)
    interval: int = Field(default=10, ge=1)
    validation: int = Field(default=256, ge=0)
    patience: int | None = Field(default=None, ge=1)
    goal: float | None = Field(default=None, gt=0)
    judged_by: Literal["accuracy", "loss"] = "accuracy"
    rate_penalty: float = Field(default=0.0, ge=0)
    rate_Hz: float = Field(default=10.0, gt=0)
    shrinkage: float = Field(default=0.0, ge=0)
    delays_ms: tuple[float, ...] = ()
    lesson_steps: int = Field(default=50, ge=1)
    lesson_accuracy: float = Field(default=0.9, gt=0)


class TrainSettings(LearningSettings):
    """The network on the wiring, what trains and how, on which seeds, and the controls beside.

    neuron: parameters of the neurons in place of those of `connectofit.builders.task_network`. tau_syn_ms: time
    constant of all conductances.
    """

    level: Literal["edges", "types"] = "edges"
    types: str | None = None
    weights: Literal["drawn", "count"] = "drawn"
    sign_rule: Literal["neuron", "majority", "edge"] = "neuron"
    unknown_sign: Literal["error", "drop"] = "error"
    input_to: str | None = None
    neuron: dict[str, float] = Field(default_factory=dict)
    tau_syn_ms: float = Field(default=10.0, gt=0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    test_trials: int = Field(default=1000, ge=1)
    controls: tuple[Control, ...] = ("rewired", "signs", "input_readout", "readout")
    control_seeds: tuple[int, ...] = (0, 1)
