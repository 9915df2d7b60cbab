"""Pipelines: stages with content keys, recipes, the command line, reports, and models as files."""

from connectofit.pipelines.bundle import Model, load_model
from connectofit.pipelines.config import DataFile, Settings
from connectofit.pipelines.export import export, to_networkx
from connectofit.pipelines.pipeline import Pipeline, recipes
from connectofit.pipelines.run import RunResult, StageResult
from connectofit.pipelines.stage import Stage, StageContext, StageCost

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
    "export",
    "load_model",
    "recipes",
    "to_networkx",
]
