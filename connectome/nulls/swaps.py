"""Double-edge swaps, a whole matching of edges at a time.

Two edges a→b and c→d become a→d and c→b, if neither exists and neither is a self-loop (Maslov & Sneppen 2002, Science
296:910; Fosdick et al. 2018, SIAM Review 60:315). A round draws a matching of the edges and proposes a swap for each of
its pairs. A pair is accepted if its two old and its two new edges each occur once among all present and all proposed
edges. This condition reads the same before and after the swaps, so a round is as likely as its reverse: the chain's
stationary distribution is uniform over the simple graphs that it reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SettingError
from connectofit.connectome.nulls.matchings import Matching
from connectofit.connectome.nulls.row_loops import RowExchange

MANY_EDGES = 100_000
"""From so many directed edges on, rounds run as compiled loops: faster, after about a second to compile."""

_MAX_ROUNDS_PER_SWAP = 40
_ROUNDS_TO_JUDGE = 50

Allowed = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From starts [m] and offered ends [m], which edges could take the ends that they are offered, bool [m]."""


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges to swap: starts and ends [m], each edge once, without self-loops.

    `pre` ascends where edges are directed; `flippable` says of undirected ones which may be read either way round.
    """

    pre: Int[np.ndarray, " m"]
    post: Int[np.ndarray, " m"]
    n: int
    name: str
    undirected: bool = False
    flippable: Bool[np.ndarray, " m"] | None = None


@dataclass(frozen=True, eq=False)
class Swapped:
    """New starts and ends in the places of the old ones, swaps accepted and swaps proposed."""

    pre: Int[np.ndarray, " m"]
    post: Int[np.ndarray, " m"]
    accepted: int
    attempted: int


def swap_until(edges: Edges, matching: Matching, rng: np.random.Generator, swaps: int) -> Swapped:
    """Swap until at least `swaps` swaps were accepted, in whole rounds.

    Some rounds follow when enough swaps are made: to stop at an accepted swap would favour graphs with many neighbours.

    Raises
    ------
    SettingError
        If so few swaps are possible that the number cannot be reached.
    """
    m = len(edges.pre)
    if m < 2 or swaps == 0:
        return Swapped(edges.pre, edges.post, 0, 0)
    most = int(np.ceil(_MAX_ROUNDS_PER_SWAP * swaps / (m // 2)))
    last_round = None

    def finished(number: int, accepted: int) -> bool:
        nonlocal last_round
        if last_round is None and accepted >= swaps:
            # Chance moves the end less where there are many edges.
            last_round = number + number // (4 if m < MANY_EDGES else 20) + 1
        hopeless = m >= MANY_EDGES and number >= _ROUNDS_TO_JUDGE and accepted * most < swaps * number
        return number in (last_round, most) or (hopeless and last_round is None)

    swapped = _swap(edges, matching, rng, finished, None)
    if swapped.accepted < swaps:
        raise SettingError(
            f"The {edges.name} edges cannot be rewired: of {swapped.attempted} swaps proposed among {m} edges "
            f"{swapped.accepted} were possible, and {swaps} are asked for. Such a graph (a star, a nearly complete "
            "graph) has few others with its degrees. Ask for fewer swaps_per_edge or use another null model."
        )
    return swapped


def swap_for(
    edges: Edges, matching: Matching, rng: np.random.Generator, rounds: int, allowed: Allowed | None = None
) -> Swapped:
    """Swap for a number of rounds, however many swaps are accepted; `allowed` restricts them further.

    `allowed` must hold of every edge as it is: then it is symmetric, like the other conditions.
    """
    return _swap(edges, matching, rng, lambda number, _: number >= rounds, allowed)


def _swap(
    edges: Edges,
    matching: Matching,
    rng: np.random.Generator,
    finished: Callable[[int, int], bool],
    allowed: Allowed | None,
) -> Swapped:
    m = len(edges.pre)
    if m < 2:
        return Swapped(edges.pre, edges.post, 0, 0)
    state: _Exchange | RowExchange
    if edges.undirected or m < MANY_EDGES:
        state = _Exchange(edges.pre, edges.post, edges.n, edges.undirected)
    else:
        state = RowExchange(edges.pre, edges.post, edges.n)
    flippable = True if edges.flippable is None else edges.flippable
    everyone = np.arange(m)
    number = accepted = attempted = 0
    while not finished(number, accepted):
        partner = matching(rng)
        if edges.undirected and isinstance(state, _Exchange):
            state.flip((rng.random(m) < 0.5) & flippable)
        if allowed is None:
            made, proposed = state.round(partner)
        else:
            offered = np.asarray(partner)
            fits = allowed(state.pre, state.post[offered])
            made, _ = state.round(np.where(fits & fits[offered], offered, everyone))
            proposed = int(np.count_nonzero(offered != everyone)) // 2
        number, accepted, attempted = number + 1, accepted + made, attempted + proposed
    return Swapped(state.pre, state.post, accepted, attempted)


class _Exchange:
    """Edges in any order, directed or not: whether an edge occurs once is found by sorting."""

    def __init__(self, pre: np.ndarray, post: np.ndarray, n: int, undirected: bool) -> None:
        self.pre, self.post = pre.astype(np.int64), post.astype(np.int64)
        self._n, self._undirected = n, undirected

    def flip(self, which: np.ndarray) -> None:
        """Read these edges the other way round."""
        self.pre, self.post = np.where(which, self.post, self.pre), np.where(which, self.pre, self.post)

    def round(self, partner: np.ndarray) -> tuple[int, int]:
        """Swap the ends of all partners that can; returns the swaps made and proposed."""
        i = np.flatnonzero(partner > np.arange(len(partner)))
        j = partner[i]
        pre, post = self.pre, self.post
        new = np.concatenate([self._keys(pre[i], post[j]), self._keys(pre[j], post[i])])
        good = _once(self._keys(pre, post), new, i, j)
        good &= (pre[i] != post[j]) & (pre[j] != post[i])
        proposed = len(i)
        i, j = i[good], j[good]
        post[i], post[j] = post[j], post[i]
        return len(i), proposed

    def _keys(self, a: np.ndarray, b: np.ndarray) -> Int[np.ndarray, " k"]:
        return np.minimum(a, b) * self._n + np.maximum(a, b) if self._undirected else a * self._n + b


def _once(
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
