"""Edges drawn in blocks of presynaptic neurons into arrays that are made once, for `connectofit.builders.streamed`.

The arrays are in the order of the presynaptic neurons, and so are the blocks: each fills a stretch of its own, and
several threads can fill them at once. A block's edges are numbers whose order is that of presynaptic neuron, delay and
target, so that sorting them makes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from connectofit.builders.random_edges import Rule, Share
from connectofit.connectome.errors import SettingError
from connectofit.connectome.workers import Workers

MAX_EDGES = 2**31 - 1
"""Edges of one projection: their positions are int32."""

_BLOCK_EDGES, _BLOCK_ROWS = 2**20, 2**12  # of a block: about so many edges, at most so many presynaptic neurons
_SPREAD = 10.0  # standard deviations within which all normal values of a float32 lie
_ALIGNMENT = 64  # bytes
_NONE = 2**31  # the shortest delay of a block without edges


@dataclass(frozen=True)
class Normal:
    """Normally distributed weights or delays.

    Weights are drawn again where they have another sign than the mean. Delays are drawn again below half a step and
    then rounded to steps, so that the shortest is one step and rounding does not heap them there.
    """

    mean: float
    sd: float = 0.0


@dataclass(frozen=True)
class Span:
    """Neurons of one group: its name, its size, and the index of its first neuron in its population."""

    name: str
    size: int
    first: int


@dataclass(frozen=True)
class Member:
    """One rule of a projection. number: its place among all rules, part of the key of its draws. kind: the type of its
    edges."""

    number: int
    pre: Span
    post: Span
    rule: Rule
    weight: Normal
    delay_ms: Normal
    kind: int


@dataclass(frozen=True, eq=False)
class Arrays:
    """A projection's arrays, as `connectofit.sim.Projection` has them. `steps`: shortest and longest delay."""

    indptr: Int[np.ndarray, " n_pre_plus_1"]
    post: Int[np.ndarray, " edge"]
    weight: Float[np.ndarray, " edge"]
    kind: Int[np.ndarray, " edge"]
    delay_ms: Float[np.ndarray, " edge"] | None
    steps: tuple[int, int]


def aligned(length: int, dtype: Any, *, zero: bool = False) -> np.ndarray:
    """An array that begins at a multiple of 64 bytes, which `jax.device_put` on the CPU shares instead of copying."""
    size = length * np.dtype(dtype).itemsize
    raw = (np.zeros if zero else np.empty)(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype)


def delay_dtype(longest_ms: float, dt_ms: float) -> type[np.floating]:
    """float16 where it tells all delays up to the longest apart, a step from the next; else float32.

    A float16 has 11 significant bits: below 128 ms it is off by at most 1/32 ms, less than half a step of 0.1 ms.
    """
    error = 2.0 ** (math.floor(math.log2(max(longest_ms, dt_ms))) - 11)
    return np.float16 if error < 0.4 * dt_ms and longest_ms < 6e4 else np.float32


def draw_arrays(
    name: str,
    sources: Sequence[Span],
    members: Sequence[Member],
    n_post: int,
    *,
    seed: int,
    dt_ms: float,
    threads: int | None,
) -> Arrays:
    """Draw the edges of a projection.

    Parameters
    ----------
    name: what messages call it.
    sources: the groups of the presynaptic population, in order.
    members: the rules; at least one.
    n_post: neurons of the postsynaptic population.

    Raises
    ------
    SettingError: more than `MAX_EDGES` edges.
    """
    plan = [_Source(span, [m for m in members if m.pre == span]) for span in sources]
    total = sum(
        m.rule.total(source.rows, m.post.size, _generator(seed, 0, m.number)) for source in plan for m in source.members
    )
    if total > MAX_EDGES:
        raise SettingError(
            f"Projection {name!r} would have {total:,} edges, and positions in it are int32: at most {MAX_EDGES:,}. "
            "Divide its edges among Synapses of several names, or draw fewer."
        )
    delays = [member.delay_ms for member in members]
    one_delay = len(set(delays)) == 1 and delays[0].sd == 0
    longest_ms = max(delay.mean + _SPREAD * delay.sd for delay in delays)
    most_kinds = max(member.kind for member in members) + 1
    indptr = aligned(sum(span.size for span in sources) + 1, np.int32, zero=True)
    drawing = _Drawing(
        name,
        seed,
        dt_ms,
        n_post,
        indptr,
        aligned(total, np.int32),
        aligned(total, np.float32),
        aligned(total, np.int8 if most_kinds <= 128 else np.int32, zero=True),  # takes no memory until it is written
        None if one_delay else aligned(total, delay_dtype(longest_ms, dt_ms)),
    )
    shortest, longest = _NONE, 0
    with Workers(threads) as workers:
        for low, high in workers.map(drawing.fill, _blocks(plan, seed)):
            shortest, longest = min(shortest, low), max(longest, high)
    if shortest == _NONE:
        shortest = longest = round(min(delay.mean for delay in delays) / dt_ms)
    np.cumsum(indptr, out=indptr)
    for array in (indptr, drawing.post, drawing.weight, drawing.kind, drawing.delay_ms):
        if array is not None:
            array.flags.writeable = False  # JAX takes what it shares for constant
    return Arrays(indptr, drawing.post, drawing.weight, drawing.kind, drawing.delay_ms, (shortest, longest))


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


@dataclass(frozen=True, eq=False)
class _Source:
    """A group and the rules that begin in it."""

    span: Span
    members: Sequence[Member]

    @property
    def rows(self) -> Int[np.ndarray, " block"]:
        """How many neurons each block has: set by the rules alone, since blocks are part of the draws' keys."""
        n = self.span.size
        mean = sum(m.rule.expected(n, m.post.size) for m in self.members) / n
        most = int(min(max(_BLOCK_EDGES / max(mean, 1.0), 1), _BLOCK_ROWS))
        return np.diff(np.append(np.arange(0, n, most), n))


_Block = tuple[_Source, int, int, int, int, Sequence[Share]]


def _blocks(plan: Sequence[_Source], seed: int) -> Iterator[_Block]:
    """(source, number of the block in it, first row, rows, first edge, what each rule has in it), in order."""
    position = 0
    for source in plan:
        rows = source.rows
        dealt = [m.rule.shares(rows, m.post.size, _generator(seed, 0, m.number)) for m in source.members]
        for block, (n, end) in enumerate(zip(rows.tolist(), accumulate(rows.tolist()), strict=True)):
            shares = [next(one) for one in dealt]
            yield source, block, source.span.first + end - n, n, position, shares
            position += sum(count for count, _ in shares)


@dataclass(frozen=True, eq=False)
class _Drawing:
    """The arrays of a projection that are being filled. Threads may share it."""

    name: str
    seed: int
    dt_ms: float
    n_post: int
    indptr: Int[np.ndarray, " n_pre_plus_1"]  # out-degrees until all are known, each a place on
    post: Int[np.ndarray, " edge"]
    weight: Float[np.ndarray, " edge"]
    kind: Int[np.ndarray, " edge"]
    delay_ms: Float[np.ndarray, " edge"] | None

    def fill(
        self, source: _Source, block: int, first_row: int, rows: int, start: int, shares: Sequence[Share]
    ) -> tuple[int, int]:
        """Draw a block. Returns its shortest and longest delay in steps."""
        members = source.members
        n = sum(count for count, _ in shares)
        if not n:
            return _NONE, 0
        drawn = []
        for member, share in zip(members, shares, strict=True):
            rng = _generator(self.seed, 1, member.number, block)
            row, post = member.rule.ends(share, rows, member.post.size, rng)
            post += np.int32(member.post.first)
            drawn.append((row, _delay_steps(member.delay_ms, self.dt_ms, len(row), rng), post))
        longest = max(int(np.max(steps, initial=0)) for _, steps, _ in drawn)
        widths = (longest.bit_length(), (self.n_post - 1).bit_length(), (len(members) - 1).bit_length())
        if sum(widths) + (rows - 1).bit_length() > 64:
            raise SettingError(
                f"Projection {self.name!r} has delays of {longest} steps onto {self.n_post} neurons by {len(members)} "
                f"rules from {source.span.name!r}, more than are told apart in 64 bits. Divide its edges among "
                "Synapses of several names."
            )
        key = _packed(drawn, widths, n)
        del drawn
        key.sort()
        here = slice(start, start + n)
        rank, post, steps, row = _unpacked(key, widths)
        self.post[here] = post
        if self.delay_ms is not None:
            np.multiply(steps, self.dt_ms, out=self.delay_ms[here], casting="unsafe")
        self.indptr[first_row + 1 : first_row + 1 + rows] = np.bincount(row.astype(np.intp), minlength=rows)
        which = rank.astype(np.intp) if widths[2] else np.zeros(1, np.intp)
        # The key of a block's weights has the first of its rules in it, since no two groups share a rule.
        rng = _generator(self.seed, 2, members[0].number, block)
        self.weight[here] = _weights([member.weight for member in members], which, n, rng)
        kinds = np.array([member.kind for member in members], self.kind.dtype)
        if kinds.any():
            self.kind[here] = kinds[which]
        return int(np.min(steps)), longest


def _packed(drawn: Sequence[tuple[Any, Any, Any]], widths: tuple[int, int, int], n: int) -> Int[np.ndarray, " edge"]:
    """Row, delay, target and rule of every edge as one number, from the highest bits to the lowest: sorting numbers is
    faster than sorting an index of them."""
    key, filled = np.empty(n, np.uint64), 0
    for rank, (row, steps, post) in enumerate(drawn):
        part = key[filled : filled + len(row)]
        part[:] = row
        for width, value in zip(widths, (steps, post, np.array(rank)), strict=True):
            part <<= np.uint64(width)
            part |= value.astype(np.uint64)
        filled += len(row)
    return key


def _unpacked(key: Int[np.ndarray, " edge"], widths: tuple[int, int, int]) -> list[Int[np.ndarray, " edge"]]:
    """(rule, target, delay, row)."""
    fields = []
    for width in widths[::-1]:
        fields.append(key & np.uint64((1 << width) - 1))
        key = key >> np.uint64(width)
    return [*fields, key]


def _delay_steps(
    delay: Normal, dt_ms: float, n: int, rng: np.random.Generator
) -> Int[np.ndarray, " edge"] | Int[np.ndarray, ""]:
    """One number of steps for each edge, or one for all of them."""
    if not delay.sd:
        return np.array(round(delay.mean / dt_ms))
    mean, sd = np.float32(delay.mean / dt_ms), np.float32(delay.sd / dt_ms)
    steps = rng.standard_normal(n, np.float32)
    steps *= sd
    steps += mean
    low = np.flatnonzero(steps < 0.5)
    while low.size:
        steps[low] = rng.standard_normal(low.size, np.float32) * sd + mean
        low = low[steps[low] < 0.5]
    return np.maximum(np.rint(steps), 1).astype(np.int32)  # 0.5 itself rounds to 0


def _weights(
    weights: Sequence[Normal], rank: Int[np.ndarray, " edge"], n: int, rng: np.random.Generator
) -> Float[np.ndarray, " edge"]:
    """Weights of edges of these distributions; `rank` says which each edge has (one entry: all have the first)."""
    mean = np.array([weight.mean for weight in weights], np.float32)
    sd = np.array([weight.sd for weight in weights], np.float32)
    if not sd.any():
        return np.broadcast_to(mean[rank], (n,))
    values = rng.standard_normal(n, np.float32)
    values *= sd[rank]
    values += mean[rank]
    sign = np.sign(mean)[rank]
    low = np.flatnonzero(values * sign < 0)
    while low.size:
        own = rank[low] if rank.size == n else np.zeros(low.size, np.intp)
        values[low] = rng.standard_normal(low.size, np.float32) * sd[own] + mean[own]
        low = low[values[low] * np.sign(mean)[own] < 0]
    return values
