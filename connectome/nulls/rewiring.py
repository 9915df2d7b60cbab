"""Degree-preserving rewiring by double-edge swaps (Maslov & Sneppen 2002, Science 296:910)."""

from __future__ import annotations

import numpy as np

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.free_edges import FreeEdges, RewireStats, check_seed
from connectofit.connectome.nulls.matchings import any_pairs, chunk_pairs
from connectofit.connectome.nulls.swaps import MANY_EDGES, swap_until
from connectofit.connectome.policies import KINDS


def rewire(connectome: Connectome, seed: int, swaps_per_edge: float = 10) -> tuple[Connectome, RewireStats]:
    """A random connectome with the same degrees: chemical and electrical edges are rewired separately.

    Kept for chemical edges: every neuron's in-degree and out-degree, and the counts, signs and further columns of the
    edges that leave it (so its out-strength and, where it held, Dale's law). Kept for gap junctions: every neuron's
    degree and the counts as a whole; both directions stay equal. No self-loop or second edge arises; self-loops that
    are there stay as they are. In-strengths are not kept, nor is how many pairs are joined both ways.

    The chain's stationary distribution is uniform over the simple graphs that it reaches. (Swaps alone cannot reverse a
    directed triangle that shares no swap with another edge, Rao et al. 1996, Sankhya A 58:225; this matters for tiny or
    nearly complete graphs only.) Every edge is as likely to be swapped as any other, those of well-connected neurons
    too.

    Parameters
    ----------
    connectome
        What to rewire.
    seed
        An integer; the same seed gives the same result.
    swaps_per_edge
        Accepted swaps per edge, at least.

    Raises
    ------
    SettingError
        If so few swaps are possible that the number cannot be reached (a star, a complete graph).
    """
    seed = check_seed("rewire", seed)
    if not swaps_per_edge >= 0:
        raise SettingError(f"swaps_per_edge must be at least 0; it is {swaps_per_edge!r}.")
    stats, wiring = RewireStats(), FreeEdges(connectome)
    for code, kind in enumerate(KINDS):
        edges = wiring.take(kind)
        m = len(edges.pre)
        matching = chunk_pairs(m) if m >= MANY_EDGES and not edges.undirected else any_pairs(m)
        swaps = int(np.ceil(swaps_per_edge * m))
        wiring.put(kind, edges, swap_until(edges, matching, np.random.default_rng([seed, code]), swaps), stats)
    return wiring.connectome(), stats
