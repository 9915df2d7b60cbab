"""From a connectome to a network by a declarative specification."""

from connectofit.builders.build import build
from connectofit.builders.spec import ByType, Column, Delays, Distance, EdgeRule, ModelSpec, NeuronRule, examples

__all__ = ["ByType", "Column", "Delays", "Distance", "EdgeRule", "ModelSpec", "NeuronRule", "build", "examples"]
