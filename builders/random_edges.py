"""Rules that draw edges at random, block by block of presynaptic neurons, so that no table of edges is ever made.

A rule first deals its edges out to the blocks (how many begin in each), then draws the ends of a block's edges. Both
together have the distribution that the rule would have if it drew all edges at once:

- `FixedTotal`: edges fall into blocks as a multinomial sample, and every end is uniform in its block;
- `FixedInDegree`: each target's edges fall into blocks as a multinomial sample, drawn one block after the other as
  binomials of what is left;
- `Bernoulli`: a block of pairs has a binomial number of edges, and every set of that many pairs is equally likely.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from connectofit.connectome.synthetic.drawing import number, whole_number

Share: TypeAlias = tuple[int, Int[np.ndarray, " post"] | None]
"""How many edges begin in a block and, where a rule fixes it, how many of them end at each target."""

Ends: TypeAlias = tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"]]


class Rule(ABC):
    """How the edges from one group of neurons to another are drawn. A neuron may be joined to itself."""

    @abstractmethod
    def expected(self, n_pre: int, n_post: int) -> float:
        """The mean number of edges."""

    @abstractmethod
    def total(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> int:
        """How many edges there are in all, if `shares` is given a generator of the same seed."""

    @abstractmethod
    def shares(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> Iterator[Share]:
        """What begins in each block of so many presynaptic neurons, one block after the other."""

    @abstractmethod
    def ends(self, share: Share, rows: int, n_post: int, rng: np.random.Generator) -> Ends:
        """(presynaptic neuron within the block, postsynaptic neuron) of a block's edges, in any order."""


@dataclass(frozen=True)
class FixedTotal(Rule):
    """A given number of edges whose ends are uniform and independent, so that pairs may be joined repeatedly.

    The rule of Potjans & Diesmann (2014); ``fixed_total_number`` in NEST.
    """

    number: int

    def __post_init__(self) -> None:
        whole_number("number of FixedTotal", self.number)

    def expected(self, n_pre: int, n_post: int) -> float:
        return float(self.number)

    def total(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> int:
        return self.number

    def shares(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> Iterator[Share]:
        for count in rng.multinomial(self.number, rows / rows.sum()).tolist():
            yield count, None

    def ends(self, share: Share, rows: int, n_post: int, rng: np.random.Generator) -> Ends:
        return rng.integers(0, rows, share[0], np.int32), rng.integers(0, n_post, share[0], np.int32)


@dataclass(frozen=True)
class FixedInDegree(Rule):
    """A given number of edges onto every postsynaptic neuron, from sources that are uniform and independent.

    ``fixed_indegree`` in NEST, with multiple edges between a pair allowed.
    """

    number: int

    def __post_init__(self) -> None:
        whole_number("number of FixedInDegree", self.number)

    def expected(self, n_pre: int, n_post: int) -> float:
        return float(self.number) * n_post

    def total(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> int:
        return self.number * n_post

    def shares(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> Iterator[Share]:
        left, rows_left = np.full(n_post, self.number, np.int64), int(rows.sum())
        for n in rows.tolist():
            taken = left.copy() if n == rows_left else rng.binomial(left, n / rows_left)
            left -= taken
            rows_left -= n
            yield int(taken.sum()), taken

    def ends(self, share: Share, rows: int, n_post: int, rng: np.random.Generator) -> Ends:
        count, onto = share
        if onto is None:
            raise TypeError("a fixed in-degree deals edges out target by target")
        return rng.integers(0, rows, count, np.int32), np.repeat(np.arange(n_post, dtype=np.int32), onto)


@dataclass(frozen=True)
class Bernoulli(Rule):
    """Every ordered pair of neurons is joined by one edge with the same probability, independently.

    ``pairwise_bernoulli`` in NEST.
    """

    probability: float

    def __post_init__(self) -> None:
        number("probability of Bernoulli", self.probability, 0.0, 1.0)

    def expected(self, n_pre: int, n_post: int) -> float:
        return self.probability * n_pre * n_post

    def total(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> int:
        return sum(count for count, _ in self.shares(rows, n_post, rng))

    def shares(self, rows: Int[np.ndarray, " block"], n_post: int, rng: np.random.Generator) -> Iterator[Share]:
        for count in rng.binomial(rows * n_post, self.probability).tolist():
            yield count, None

    def ends(self, share: Share, rows: int, n_post: int, rng: np.random.Generator) -> Ends:
        pair = _subset(share[0], rows * n_post, rng)
        row = pair // n_post
        return row.astype(np.int32), (pair - row * n_post).astype(np.int32)


def _subset(count: int, of: int, rng: np.random.Generator) -> Int[np.ndarray, " count"]:
    """`count` different numbers below `of`, ascending; every such set is equally likely."""
    if 2 * count > of:
        left_out = np.ones(of, bool)
        left_out[_subset(of - count, of, rng)] = False
        return np.flatnonzero(left_out)
    found = np.zeros(0, np.int64)
    while len(found) < count:
        # As many as are lacking: numbers that are there already count for nothing, and none has to be thrown away.
        found = np.unique(np.concatenate([found, rng.integers(0, of, count - len(found))]))
    return found
