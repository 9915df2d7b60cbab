"""Pipelines: stages with content keys, recipes, the command line, reports, and models as files."""

from connectofit.pipelines.bundle import Model, load_model
from connectofit.pipelines.clean import clean
from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.export import export, to_networkx
from connectofit.pipelines.function_stage import stage
from connectofit.pipelines.pipeline import Pipeline, recipes
from connectofit.pipelines.results import RunResult, StageResult
from connectofit.pipelines.stages import Stage, StageContext, StageCost

__all__ = [
    "DataFile",
    "Model",
    "Pipeline",
    "RunResult",
    "Settings",
    "Stage",
    "StageContext",
    "StageCost",
    "StageResult",
    "clean",
    "export",
    "load_model",
    "recipes",
    "stage",
    "to_networkx",
]
