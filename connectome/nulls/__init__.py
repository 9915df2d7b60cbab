"""Null models: connectomes that keep some properties of the wiring and randomise the rest, from a seed.

Every one is called as ``model(connectome, seed, ...)`` and returns a Connectome and statistics of what was done.
"""

from connectofit.connectome.nulls.blocks import shuffle_within_blocks
from connectofit.connectome.nulls.distances import DistanceStats, distance_matched_shuffle
from connectofit.connectome.nulls.free_edges import RewireStats
from connectofit.connectome.nulls.registry import KEPT, NULL_MODELS, NullModel, randomise
from connectofit.connectome.nulls.rewiring import rewire
from connectofit.connectome.nulls.shuffles import ShuffleStats, shuffle_signs, shuffle_weights

__all__ = [
    "KEPT",
    "NULL_MODELS",
    "DistanceStats",
    "NullModel",
    "RewireStats",
    "ShuffleStats",
    "distance_matched_shuffle",
    "randomise",
    "rewire",
    "shuffle_signs",
    "shuffle_weights",
    "shuffle_within_blocks",
]
