"""Sorting of edges by a neuron's index, stable and fast."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from connectofit.connectome.arrays import frozen


def by_row(rows: Int[np.ndarray, " m"], n: int) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " n+1"]]:
    """Positions sorted by `rows` (0 to n - 1), equal ones in their order, and where each row's begin.

    The positions are int32 where they fit. Row and position are packed into one integer and sorted: a third of the
    time of a stable argsort, because NumPy sorts integers with vector instructions.
    """
    m = len(rows)
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=n), out=indptr[1:])
    if m >= 2**32:
        return frozen(np.argsort(rows, kind="stable")), frozen(indptr)
    packed = rows.astype(np.int64)
    packed <<= 32
    packed |= np.arange(m)
    packed.sort()
    packed &= 2**32 - 1
    return frozen(packed.astype(np.int32 if m < 2**31 else np.int64)), frozen(indptr)


def ranges(
    starts: Int[np.ndarray, " k"], stops: Int[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " k+1"]]:
    """All positions of the ranges ``starts[i]:stops[i]`` one after another, and where each range's begin."""
    lengths = stops - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets
