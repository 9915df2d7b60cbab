"""Random matchings of edges: who is to exchange ends with whom in one round of swaps.

A matching is an array of partners, int [m]: ``partner[partner[e]] == e``, and an edge that is its own partner takes no
part. A matching may depend on fixed labels of the places (their start, their block), never on where the edges lead at
the time: otherwise a round would not be as likely as its reverse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    import jax

Matching = Callable[[np.random.Generator], Any]
"""Draws partners [m], as a NumPy or a JAX array."""

COIN = 192  # of 256: pairs take part with probability 3/4, which parts edges that are neighbours
PROPOSALS_PER_ROUND = COIN / 256


def any_pairs(m: int) -> Matching:
    """All edges in pairs, every matching equally likely (an odd one is left over)."""

    def draw(rng: np.random.Generator) -> Int[np.ndarray, " m"]:
        return _matched(rng.permutation(m), np.arange(m))

    return draw


def chunk_pairs(m: int, chunk: int = 32) -> Matching:
    """Like `any_pairs`, but neighbours have neighbours for partners, which is faster.

    The edges, in a circle, are cut into chunks from a random place on, chunks are matched at random, and the edges of
    two chunks by a random reflection. A coin for each pair parts the neighbours. The result lies on JAX's device.
    """
    n_chunks = -(-m // chunk)
    size = n_chunks * chunk

    def draw(rng: np.random.Generator) -> jax.Array:
        chunks = _matched(rng.permutation(n_chunks), np.arange(n_chunks, dtype=np.int32))
        start, turn = np.int32(rng.integers(size)), np.int32(rng.integers(chunk))
        return _compiled_chunk_pairs(chunk, m)(chunks, start, turn, np.frombuffer(rng.bytes(size), np.uint8))

    return draw


def group_pairs(
    group: Int[np.ndarray, " m"], windows: tuple[int, ...] = (), along: Int[np.ndarray, " m"] | None = None
) -> Matching:
    """Pairs within groups of edges: by a random reflection of each group onto itself, and a coin for each pair.

    Parameters
    ----------
    group
        Number of each edge's group, from 0; -1 for edges that take no part.
    windows
        Sizes of windows, taken in turns: then each window of so many edges is reflected onto itself, counted in the
        order of `along` from a random place of the group on. 0 stands for the whole group.
    along
        Sorts the edges of a group; by default they stand as given.
    """
    order = np.argsort(group, kind="stable") if along is None else np.lexsort((along, group))
    order = order[np.count_nonzero(group < 0) :]
    size = np.bincount(group[order]) if len(order) else np.zeros(0, np.int64)
    member = np.repeat(np.arange(len(size)), size)
    start = (np.cumsum(size) - size)[member]
    length = size[member]
    place = np.arange(len(order)) - start
    everyone = np.arange(len(group))
    sizes = windows or (0,)
    turn = 0

    def draw(rng: np.random.Generator) -> Int[np.ndarray, " m"]:
        nonlocal turn
        width = sizes[turn % len(sizes)]
        turn += 1
        width = min(width, int(size.max(initial=1))) or int(size.max(initial=1))
        first = rng.integers(0, np.maximum(size, 1))[member] if width < size.max(initial=1) else 0
        from_first = (place - first) % length
        window, inside = np.divmod(from_first, width)
        inner = np.minimum(width, length - window * width)
        # One random number for each window; no two windows share a number below, whatever their groups.
        numbers = rng.integers(0, 2**62, int((-(-size // width)).sum()))
        which = (np.cumsum(-(-size // width)) - -(-size // width))[member] + window
        mirrored = window * width + (numbers[which] - inside) % inner
        mate = start + (mirrored + first) % length
        coins = rng.integers(0, 256, len(order), dtype=np.uint8)
        mate = np.where(coins + coins[mate] < COIN, mate, np.arange(len(order)))
        partner = everyone.copy()
        partner[order] = order[mate]
        return partner

    return draw


def _matched(order: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Partners where the first half of `order` is matched with the second; `partner` is overwritten."""
    half = len(order) // 2
    partner[order[:half]], partner[order[half : 2 * half]] = order[half : 2 * half], order[:half]
    return partner


@cache
def _compiled_chunk_pairs(chunk: int, m: int) -> Callable[..., jax.Array]:
    import jax
    from jax import numpy as jnp

    size = -(-m // chunk) * chunk

    def partners(chunks: Any, start: Any, turn: Any, coins: Any) -> Any:
        edge = jnp.arange(m, dtype=jnp.int32)
        place = jnp.where(edge < start, edge - start + size, edge - start)
        partner = chunks[place // chunk] * chunk + (turn - place % chunk) % chunk + start
        partner = jnp.where(partner >= size, partner - size, partner)
        # The sum of two fair bytes is fair, and the same for both edges of a pair.
        heads = coins[:m] + coins.at[partner].get(mode="promise_in_bounds") < jnp.uint8(COIN)
        return jnp.where(heads & (partner < m), partner, edge)

    return jax.jit(partners)
