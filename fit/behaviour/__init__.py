"""Choices of animals: trials, regressions to compare with, contraction bias, and networks that choose likewise."""

from connectofit.fit.behaviour.choice_models import (
    HISTORY,
    ChoiceRegression,
    ContractionBias,
    choice_features,
    choice_nll,
    choice_regression,
    contraction_bias,
    running_mean,
)
from connectofit.fit.behaviour.choices import ChoiceTrials, read_choices
from connectofit.fit.behaviour.network_choices import (
    PAST,
    Past,
    condition_table,
    lapsed,
    network_chances,
    observed_task,
    with_lapses,
)

__all__ = [
    "HISTORY",
    "PAST",
    "ChoiceRegression",
    "ChoiceTrials",
    "ContractionBias",
    "Past",
    "choice_features",
    "choice_nll",
    "choice_regression",
    "condition_table",
    "contraction_bias",
    "lapsed",
    "network_chances",
    "observed_task",
    "read_choices",
    "running_mean",
    "with_lapses",
]
