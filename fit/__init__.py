"""From data to fitted networks and cells: data types, features, what is free, likelihoods, optimisers, scores."""

from connectofit.fit.activity import Activity, Indicator, read_activity
from connectofit.fit.activity_likelihood import ActivityLikelihood, explained, noise_ceiling
from connectofit.fit.cell_batch import fit_cells
from connectofit.fit.cell_fit import CellFit, compare_models, fit_cell
from connectofit.fit.cell_scores import CellTrace, cell_traces, score_cell, score_intervals
from connectofit.fit.cells.losses import CellLoss, VoltageError, WeightedSum
from connectofit.fit.cells.models import FITTABLE, CellModel, cell_model
from connectofit.fit.cells.problem import CellProblem, cell_problem
from connectofit.fit.cells.spike_losses import FeatureLoss, RateLoss, VanRossumLoss
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.cells.uncertainty import Uncertainty, laplace
from connectofit.fit.cells.uncertainty_bootstrap import BlockBootstrap, block_bootstrap
from connectofit.fit.cells.uncertainty_likelihood import polished
from connectofit.fit.cells.uncertainty_profile import Profile, profile
from connectofit.fit.coincidence import Coincidence, gamma, intrinsic_gamma, md_star, mean_gamma
from connectofit.fit.crossval import CrossValidation, cross_validate
from connectofit.fit.decision import DecisionVariable
from connectofit.fit.escape_rate import EscapeRate
from connectofit.fit.evoked import Protocol, evoked
from connectofit.fit.features import (
    RheobaseBracket,
    SpikeFeatures,
    adaptation_index,
    feature_table,
    isi_cv,
    rheobase_bracket,
    spike_features,
)
from connectofit.fit.folds import group_folds, validation_part
from connectofit.fit.intervals import Interval, block_interval, bootstrap_interval
from connectofit.fit.kinematics import Kinematics, Movement, read_movement
from connectofit.fit.likelihood_scores import LikelihoodScore, ScoredObjective, likelihood_score
from connectofit.fit.network_fit import FitResult, Schedule, fit_network
from connectofit.fit.network_uncertainty import NetworkUncertainty, network_profile, network_uncertainty
from connectofit.fit.objectives import Choice, Detection, Objective
from connectofit.fit.parameters import Free, Parameters
from connectofit.fit.passive import ChargingFit, PassiveProperties, charging_fit, passive_properties
from connectofit.fit.psychometric import Psychometric
from connectofit.fit.reaction_times import ReactionTimes
from connectofit.fit.recording_checks import check_recordings
from connectofit.fit.recording_io import read_recordings, recordings_from_arrays, write_recordings
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.responses import Responses, read_responses
from connectofit.fit.scores import auroc, spearman, within
from connectofit.fit.sealed import SealedRecordings, Split, split
from connectofit.fit.spike_distances import van_rossum, victor_purpura
from connectofit.fit.spike_scores import (
    explained_variance,
    explained_variance_ratio,
    reliability,
    spike_mask,
    spike_scores,
    subthreshold_rmse,
)
from connectofit.fit.spikes import ActionPotentials, SpikeDetection, detect_spikes
from connectofit.fit.step_baseline import StepBaseline, baseline_scores, regular_train, step_baseline
from connectofit.fit.stimulus_edges import find_stimulus
from connectofit.fit.trials import Trials, read_trials
from connectofit.fit.weight_tails import WeightTails, weight_tails

__all__ = [
    "FITTABLE",
    "ActionPotentials",
    "Activity",
    "ActivityLikelihood",
    "BlockBootstrap",
    "CellFit",
    "CellLoss",
    "CellModel",
    "CellProblem",
    "CellTrace",
    "ChargingFit",
    "Choice",
    "Coincidence",
    "CrossValidation",
    "DecisionVariable",
    "Detection",
    "EscapeRate",
    "FeatureLoss",
    "FitResult",
    "ForcedLikelihood",
    "Free",
    "Indicator",
    "Interval",
    "Kinematics",
    "LikelihoodScore",
    "Movement",
    "NetworkUncertainty",
    "Objective",
    "Parameters",
    "PassiveProperties",
    "Profile",
    "Protocol",
    "Psychometric",
    "RateLoss",
    "ReactionTimes",
    "Recordings",
    "Responses",
    "RheobaseBracket",
    "Schedule",
    "ScoredObjective",
    "SealedRecordings",
    "SpikeDetection",
    "SpikeFeatures",
    "Split",
    "StepBaseline",
    "Sweep",
    "Trials",
    "Uncertainty",
    "VanRossumLoss",
    "VoltageError",
    "WeightTails",
    "WeightedSum",
    "adaptation_index",
    "auroc",
    "baseline_scores",
    "block_bootstrap",
    "block_interval",
    "bootstrap_interval",
    "cell_model",
    "cell_problem",
    "cell_traces",
    "charging_fit",
    "check_recordings",
    "compare_models",
    "cross_validate",
    "detect_spikes",
    "evoked",
    "explained",
    "explained_variance",
    "explained_variance_ratio",
    "feature_table",
    "find_stimulus",
    "fit_cell",
    "fit_cells",
    "fit_network",
    "gamma",
    "group_folds",
    "intrinsic_gamma",
    "isi_cv",
    "laplace",
    "likelihood_score",
    "md_star",
    "mean_gamma",
    "network_profile",
    "network_uncertainty",
    "noise_ceiling",
    "passive_properties",
    "polished",
    "profile",
    "read_activity",
    "read_movement",
    "read_recordings",
    "read_responses",
    "read_trials",
    "recordings_from_arrays",
    "regular_train",
    "reliability",
    "rheobase_bracket",
    "score_cell",
    "score_intervals",
    "spearman",
    "spike_features",
    "spike_mask",
    "spike_scores",
    "split",
    "step_baseline",
    "subthreshold_rmse",
    "validation_part",
    "van_rossum",
    "victor_purpura",
    "weight_tails",
    "within",
    "write_recordings",
]
