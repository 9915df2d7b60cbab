"""Rewiring that keeps how many edges lead from each block of neurons (a type, a region) to each other block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.free_edges import FreeEdges, RewireStats, check_seed
from connectofit.connectome.nulls.matchings import PROPOSALS_PER_ROUND, group_pairs
from connectofit.connectome.nulls.swaps import swap_for
from connectofit.connectome.policies import KINDS


def shuffle_within_blocks(
    connectome: Connectome,
    seed: int,
    by: str | Sequence[str] = "cell_type",
    proposals_per_edge: float = 30,
    missing: Literal["error", "block"] = "error",
) -> tuple[Connectome, RewireStats]:
    """A random connectome with the same number of edges between blocks of neurons, and the same degrees.

    Edges swap their ends only if both start in the same block and both end in the same block. Kept, besides all that
    `rewire` keeps: every neuron's number of edges to each block and from each block, and so the edges and the summed
    counts between any two blocks. What is random is which neuron of a block is joined to which of another. (The degree-
    corrected block model with fixed degrees: Karrer & Newman 2011, Phys Rev E 83:016107, made microcanonical.)

    Blocks of one neuron, or a single edge between two blocks, leave nothing to swap: look at `kept` of the statistics.

    Parameters
    ----------
    connectome
        What to shuffle.
    seed
        An integer; the same seed gives the same result.
    by
        Column of the neurons that holds their block, or several columns: then a block is a combination of values.
    proposals_per_edge
        How many swaps are proposed for each edge, on average at least. Accepted swaps per edge are at most half of it.
    missing
        Neurons without a value: ``"error"``, or all in one ``"block"``.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    SchemaError
        If neurons have no value there.
    """
    seed = check_seed("shuffle_within_blocks", seed)
    rounds = rounds_of(proposals_per_edge)
    block = _blocks(connectome, [by] if isinstance(by, str) else list(by), missing)
    n_blocks = int(block.max(initial=0)) + 1
    stats, wiring = RewireStats(), FreeEdges(connectome)
    for code, kind in enumerate(KINDS):
        edges = wiring.take(kind)
        a, b = block[edges.pre], block[edges.post]
        if edges.undirected:
            # Read from the lower block to the higher one, gap junctions between two blocks swap like directed edges.
            turn = a > b
            pre, post = np.where(turn, edges.post, edges.pre), np.where(turn, edges.pre, edges.post)
            edges = replace(edges, pre=pre, post=post, flippable=a == b)
            a, b = np.minimum(a, b), np.maximum(a, b)
        group = pd.factorize(a * n_blocks + b)[0]
        rng = np.random.default_rng([seed, code])
        wiring.put(kind, edges, swap_for(edges, group_pairs(group), rng, rounds), stats)
    return wiring.connectome(), stats


def rounds_of(proposals_per_edge: float) -> int:
    """Rounds in which every edge has so many proposals on average; `SettingError` if the number is negative."""
    if not 0 <= proposals_per_edge < np.inf:
        raise SettingError(f"proposals_per_edge must be a number of at least 0; it is {proposals_per_edge!r}.")
    return int(np.ceil(proposals_per_edge / PROPOSALS_PER_ROUND))


def _blocks(connectome: Connectome, columns: list[str], missing: str) -> Int[np.ndarray, " n"]:
    """Number of each neuron's block, from 0."""
    if missing not in ("error", "block"):
        raise SettingError(f"missing is {missing!r}; it must be 'error' or 'block'.")
    if not columns:
        raise SettingError("by names no column; name at least one.")
    block = np.zeros(connectome.n_neurons, np.int64)
    for name in columns:
        codes, values = pd.factorize(connectome.column(name))
        lacking = np.flatnonzero(codes < 0)
        if len(lacking) and missing == "error":
            raise SchemaError(
                f"Neurons without a value in column {name!r} belong to no block: "
                f"{offenders([connectome.ids[i] for i in lacking])}. Leave them out (select), or set missing='block' "
                "to make them a block of their own."
            )
        block = pd.factorize(block * (len(values) + 1) + codes + 1)[0]
    return block
