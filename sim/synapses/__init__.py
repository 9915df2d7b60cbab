"""Synapse models, one a module."""

from connectofit.sim.synapses.base import Synapse
from connectofit.sim.synapses.exponential import Exponential
from connectofit.sim.synapses.gap_junction import GapJunction
from connectofit.sim.synapses.graded import Graded

__all__ = ["SYNAPSE_MODELS", "Exponential", "GapJunction", "Graded", "Synapse"]

SYNAPSE_MODELS: dict[str, type[Synapse]] = {model.kind: model for model in (Exponential, GapJunction, Graded)}
