"""Choices of animals: trials, regressions to compare with, and contraction bias."""

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

__all__ = [
    "HISTORY",
    "ChoiceRegression",
    "ChoiceTrials",
    "ContractionBias",
    "choice_features",
    "choice_nll",
    "choice_regression",
    "contraction_bias",
    "read_choices",
    "running_mean",
]
