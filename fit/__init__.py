"""From data to fitted networks: data types, what is free, likelihoods, optimisers and held-out scores."""

from connectofit.fit.crossval import CrossValidation, cross_validate
from connectofit.fit.evoked import Protocol, evoked
from connectofit.fit.folds import group_folds, validation_part
from connectofit.fit.network_fit import FitResult, Schedule, fit_network
from connectofit.fit.objectives import Choice, Detection, Objective
from connectofit.fit.parameters import Free, Parameters
from connectofit.fit.responses import Responses, read_responses
from connectofit.fit.scores import auroc, spearman, within
from connectofit.fit.trials import Trials, read_trials

__all__ = [
    "Choice",
    "CrossValidation",
    "Detection",
    "FitResult",
    "Free",
    "Objective",
    "Parameters",
    "Protocol",
    "Responses",
    "Schedule",
    "Trials",
    "auroc",
    "cross_validate",
    "evoked",
    "fit_network",
    "group_folds",
    "read_responses",
    "read_trials",
    "spearman",
    "validation_part",
    "within",
]
