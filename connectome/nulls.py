"""Null models: connectomes that keep some properties of the wiring and randomise the rest, from a seed.

Degree-preserving rewiring by double-edge swaps (Maslov & Sneppen 2002, Science 296:910; Fosdick et al. 2018, SIAM
Review 60:315). Two edges a→b and c→d become a→d and c→b, if neither exists and neither is a self-loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.arrays import is_in, take_rows
from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.policies import KINDS

_MAX_ROUNDS_PER_SWAP = 40


@dataclass(frozen=True)
class RewireStats:
    """What a rewiring did, by kind of edge.

    Attributes
    ----------
    edges
        Edges that could be swapped: self-loops left out, and a gap junction counted once.
    accepted, attempted
        Double-edge swaps made and proposed. Each moves two edges.
    kept
        How many (pre, post) pairs of the original are still joined (of `edges`).
    """

    edges: dict[str, int]
    accepted: dict[str, int]
    attempted: dict[str, int]
    kept: dict[str, int]


def rewire(connectome: Connectome, seed: int, swaps_per_edge: float = 10) -> tuple[Connectome, RewireStats]:
    """A random connectome with the same degrees: chemical and electrical edges are rewired separately.

    Kept for chemical edges: every neuron's in-degree and out-degree, and the counts, signs and further columns of the
    edges that leave it (so its out-strength and, where it held, Dale's law). Kept for gap junctions: every neuron's
    degree and the counts as a whole; both directions stay equal. No self-loop or second edge arises; self-loops that
    are there stay as they are. In-strengths are not kept, nor is how many pairs are joined both ways.

    The chain's stationary distribution is uniform over the simple graphs that it reaches. (Swaps alone cannot reverse a
    directed triangle that shares no swap with another edge, Rao et al. 1996, Sankhya A 58:225; this matters for tiny or
    nearly complete graphs only.)

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
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"rewire needs a seed that is an integer of at least 0; it is {seed!r}.")
    if not swaps_per_edge >= 0:
        raise SettingError(f"swaps_per_edge must be at least 0; it is {swaps_per_edge!r}.")
    n = connectome.n_neurons
    pre, post = connectome.pre.astype(np.int64), connectome.post.astype(np.int64)
    stats = RewireStats({}, {}, {}, {})
    for code, name in enumerate(KINDS):
        rng = np.random.default_rng([int(seed), code])
        movable = np.flatnonzero((connectome.kind == code) & (pre != post))
        if name == "electrical":
            forward = movable[pre[movable] < post[movable]]
            backward = _reverse_of(pre, post, movable, forward, n)
        else:
            forward = movable
        old_keys = pre[forward] * n + post[forward]
        a, b, accepted, attempted = _swap(
            pre[forward], post[forward], n, rng, swaps_per_edge, name == "electrical", name
        )
        pre[forward], post[forward] = a, b
        if name == "electrical":
            pre[backward], post[backward] = b, a
            new_keys = np.minimum(a, b) * n + np.maximum(a, b)
        else:
            new_keys = a * n + b
        stats.edges[name], stats.accepted[name], stats.attempted[name] = len(forward), accepted, attempted
        stats.kept[name] = int(is_in(new_keys, old_keys).sum())
    rewired = Connectome.from_edges(
        connectome.neurons,
        pre=pre,
        post=post,
        count=connectome.count,
        kind=connectome.kind,
        sign=connectome.sign,
        edge_columns=take_rows(connectome.edge_columns, np.arange(connectome.n_edges)),
        only_kind=connectome.only_kind,
    )
    return rewired, stats


def _reverse_of(pre: np.ndarray, post: np.ndarray, movable: np.ndarray, forward: np.ndarray, n: int) -> np.ndarray:
    """For each gap junction in `forward` the position of its other direction."""
    backward = movable[pre[movable] > post[movable]]
    wanted, there = pre[forward] * n + post[forward], post[backward] * n + pre[backward]
    order = np.argsort(there)
    if len(wanted) != len(there) or not np.array_equal(np.sort(wanted), there[order]):
        raise SettingError("The electrical edges do not all stand in both directions; read them with read_connectome.")
    return backward[order][np.searchsorted(there[order], wanted)]


def _swap(
    pre: Int[np.ndarray, " m"],
    post: Int[np.ndarray, " m"],
    n: int,
    rng: np.random.Generator,
    swaps_per_edge: float,
    undirected: bool,
    name: str,
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Swap until `swaps_per_edge` times m swaps were accepted: whole batches of disjoint pairs of edges at a time.

    A round draws a random matching of the edges and proposes a swap for each of its pairs. A pair is accepted if its
    two old and its two new edges each occur once among all present and all proposed edges. This condition reads the
    same before and after the swaps, so every round is as likely as its reverse, and the graph stays simple.

    Some rounds follow when enough swaps are made: to stop at an accepted swap would favour graphs with many neighbours.
    """
    m = len(pre)
    target = int(np.ceil(swaps_per_edge * m))
    accepted = attempted = 0
    if m < 2 or target == 0:
        return pre, post, 0, 0
    pre, post = pre.copy(), post.copy()
    half = m // 2
    last_round = None
    for round_number in range(int(np.ceil(_MAX_ROUNDS_PER_SWAP * target / half))):
        if last_round is None and accepted >= target:
            last_round = round_number + round_number // 4 + 1
        if round_number == last_round:
            break
        order = rng.permutation(m)
        i, j = order[:half], order[half : 2 * half]
        if undirected:
            flip = rng.random(m) < 0.5
            pre, post = np.where(flip, post, pre), np.where(flip, pre, post)
        new = np.concatenate([_keys(pre[i], post[j], n, undirected), _keys(pre[j], post[i], n, undirected)])
        good = _simple(_keys(pre, post, n, undirected), new, i, j)
        good &= (pre[i] != post[j]) & (pre[j] != post[i])
        i, j = i[good], j[good]
        post[i], post[j] = post[j], post[i]
        accepted += len(i)
        attempted += half
    if accepted < target:
        raise SettingError(
            f"The {name} edges cannot be rewired: of {attempted} swaps proposed among {m} edges {accepted} were "
            f"possible, and {target} are asked for ({swaps_per_edge} per edge). Such a graph (a star, a nearly "
            "complete graph) has few others with its degrees. Ask for fewer swaps_per_edge or use another null model."
        )
    return pre, post, accepted, attempted


def _keys(a: np.ndarray, b: np.ndarray, n: int, undirected: bool) -> Int[np.ndarray, " k"]:
    return np.minimum(a, b) * n + np.maximum(a, b) if undirected else a * n + b


def _simple(
    old: Int[np.ndarray, " m"], new: Int[np.ndarray, " 2h"], i: Int[np.ndarray, " h"], j: Int[np.ndarray, " h"]
) -> Bool[np.ndarray, " h"]:
    """Which pairs' two old and two new edges each occur once among all `old` and `new` ones."""
    every = np.concatenate([old, new])
    order = np.argsort(every)
    ranked = every[order]
    repeats = np.zeros(len(every), bool)
    same = ranked[1:] == ranked[:-1]
    repeats[order[1:]] |= same
    repeats[order[:-1]] |= same
    once = ~repeats
    half = len(i)
    return once[i] & once[j] & once[len(old) : len(old) + half] & once[len(old) + half :]
