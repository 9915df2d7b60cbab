"""Tasks for networks to learn: settings that draw batches of trials."""

from connectofit.fit.tasks.base import InputKind, Task, TaskTrials
from connectofit.fit.tasks.dots import RandomDots
from connectofit.fit.tasks.evidence import EvidenceAccumulation
from connectofit.fit.tasks.grouped import GroupedTask
from connectofit.fit.tasks.memory import DelayedComparison, DelayedMatch, GoNoGo
from connectofit.fit.tasks.neurogym import NeuroGymTask
from connectofit.fit.tasks.observed import Condition, ObservedComparison

__all__ = [
    "Condition",
    "DelayedComparison",
    "DelayedMatch",
    "EvidenceAccumulation",
    "GoNoGo",
    "GroupedTask",
    "InputKind",
    "NeuroGymTask",
    "ObservedComparison",
    "RandomDots",
    "Task",
    "TaskTrials",
]
