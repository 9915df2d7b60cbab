"""The null models by name, with what each keeps: for pipelines and reports."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from connectofit.connectome.errors import unknown_name
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.blocks import shuffle_within_blocks
from connectofit.connectome.nulls.distances import distance_matched_shuffle
from connectofit.connectome.nulls.free_edges import RewireStats
from connectofit.connectome.nulls.rewiring import rewire
from connectofit.connectome.nulls.shuffles import ShuffleStats, shuffle_signs, shuffle_weights


@dataclass(frozen=True)
class NullModel:
    """A null model: ``function(connectome, seed, **settings) -> (Connectome, statistics)``.

    Attributes
    ----------
    keeps
        What is the same in every connectome that it returns, whatever its settings: see `KEPT`.
    randomises
        What it makes random, in words.
    """

    name: str
    function: Callable[..., tuple[Connectome, RewireStats | ShuffleStats]]
    keeps: tuple[str, ...]
    randomises: str


KEPT: Mapping[str, str] = MappingProxyType(
    {
        "degrees": "every neuron's in- and out-degree, of chemical and of electrical edges",
        "wiring": "which neurons are joined, by which kind of edge",
        "counts": "the counts as a whole, of chemical and of electrical edges",
        "signs": "how many edges are of either sign",
        "out-strengths": "every neuron's summed count of outgoing chemical edges",
        "edge signs": "the sign of every edge",
        "edge counts": "the count of every edge",
        "signs of neurons": "the signs of the edges that leave each neuron",
        "block edges": "how many edges lead from each block to each other, and their summed counts",
        "distances": "how many edges each distance bin holds",
        "self-loops": "edges from a neuron to itself",
    }
)
"""What null models keep, in words."""

_REWIRED = ("degrees", "counts", "signs", "out-strengths", "signs of neurons", "self-loops")

NULL_MODELS: Mapping[str, NullModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            NullModel("rewire", rewire, _REWIRED, "which neurons are joined"),
            NullModel(
                "shuffle_within_blocks",
                shuffle_within_blocks,
                (*_REWIRED, "block edges"),
                "which neurons of two blocks are joined",
            ),
            NullModel(
                "distance_matched_shuffle",
                distance_matched_shuffle,
                (*_REWIRED, "distances"),
                "which neurons at a distance are joined",
            ),
            NullModel(
                "shuffle_weights",
                shuffle_weights,
                ("wiring", "degrees", "counts", "signs", "edge signs", "signs of neurons"),
                "which edge has which count",
            ),
            NullModel(
                "shuffle_signs",
                shuffle_signs,
                ("wiring", "degrees", "counts", "edge counts", "out-strengths"),
                "which neuron or edge has which sign",
            ),
        )
    }
)
"""The null models by name."""


def randomise(
    connectome: Connectome, model: str, seed: int, **settings: Any
) -> tuple[Connectome, RewireStats | ShuffleStats]:
    """Apply the null model of that name; `settings` are its own.

    Raises `UnknownNameError` for a model or a setting that does not exist, and what the model raises.
    """
    if model not in NULL_MODELS:
        raise unknown_name("null model", model, NULL_MODELS)
    function = NULL_MODELS[model].function
    known = list(inspect.signature(function).parameters)[2:]
    for name in settings:
        if name not in known:
            raise unknown_name("setting", name, known, f"the null model {model}")
    return function(connectome, seed, **settings)
