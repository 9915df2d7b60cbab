"""What the nulls that swap share: the edges that can be swapped, and the connectome of the swapped ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from connectofit.connectome.arrays import is_in
from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.swaps import Edges, Swapped
from connectofit.connectome.policies import KINDS


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

    edges: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    attempted: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)


def check_seed(model: str, seed: object) -> int:
    """The seed as an int; `SettingError` if it is not a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"{model} needs a seed that is an integer of at least 0; it is {seed!r}.")
    return int(seed)


class FreeEdges:
    """The wiring of a connectome, whose chemical edges and gap junctions can be taken out, swapped and put back."""

    def __init__(self, connectome: Connectome) -> None:
        self._connectome = connectome
        self._pre, self._post = connectome.pre.astype(np.int64), connectome.post.astype(np.int64)
        self._places: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}

    def take(self, kind: str) -> Edges:
        """The edges of a kind without self-loops, each gap junction once (from the lower to the higher index)."""
        pre, post, n = self._pre, self._post, self._connectome.n_neurons
        movable = np.flatnonzero((self._connectome.kind == KINDS.index(kind)) & (pre != post))
        electrical = kind == "electrical"
        backward = None
        if electrical:
            forward = movable[pre[movable] < post[movable]]
            backward = _reverse_of(pre, post, movable, forward, n)
            movable = forward
        self._places[kind] = movable, backward
        return Edges(pre[movable], post[movable], n, kind, undirected=electrical)

    def put(self, kind: str, old: Edges, new: Swapped, stats: RewireStats) -> None:
        """Put the edges taken back into their places, swapped, and enter into `stats` what was done."""
        forward, backward = self._places[kind]
        stats.edges[kind], stats.accepted[kind], stats.attempted[kind] = len(forward), new.accepted, new.attempted
        stats.kept[kind] = _in_common(old, new)
        self._pre[forward], self._post[forward] = new.pre, new.post
        if backward is not None:
            self._pre[backward], self._post[backward] = new.post, new.pre

    def connectome(self) -> Connectome:
        """The connectome with the edges as they are now."""
        c = self._connectome
        return Connectome.from_edges(
            c.neurons,
            pre=self._pre,
            post=self._post,
            count=c.count,
            kind=c.kind,
            sign=c.sign,
            edge_columns=c.edge_columns,
            only_kind=c.only_kind,
        )


def _in_common(old: Edges, new: Swapped) -> int:
    """How many pairs both have; of undirected ones, whichever way round."""

    def keys(edges: Edges | Swapped) -> np.ndarray:
        a, b = edges.pre, edges.post
        return np.minimum(a, b) * old.n + np.maximum(a, b) if old.undirected else a * old.n + b

    return int(is_in(keys(new), keys(old)).sum())


def _reverse_of(
    pre: Int[np.ndarray, " e"],
    post: Int[np.ndarray, " e"],
    movable: Int[np.ndarray, " 2m"],
    forward: Int[np.ndarray, " m"],
    n: int,
) -> Int[np.ndarray, " m"]:
    """For each gap junction in `forward` the position of its other direction."""
    backward = movable[pre[movable] > post[movable]]
    wanted, there = pre[forward] * n + post[forward], post[backward] * n + pre[backward]
    order = np.argsort(there)
    if len(wanted) != len(there) or not np.array_equal(np.sort(wanted), there[order]):
        raise SettingError("The electrical edges do not all stand in both directions; read them with read_connectome.")
    return backward[order][np.searchsorted(there[order], wanted)]
