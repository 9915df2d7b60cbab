"""The directions in which a likelihood is steep or soft, and what the soft ones say in the parameters' own units."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from connectofit.fit.optimisers.objective import Box

HALF = 0.5
"""An interval that spans more of the range does not identify a parameter, nor a direction."""

NAMED = 0.1  # of the largest component: smaller ones of a direction are left out of sentences
_SHOWN = 6  # parameters of a direction in a sentence


@dataclass(frozen=True, eq=False)
class Direction:
    """An eigenvector of the Hessian over shares.

    curvature: its eigenvalue [nats per squared range]; relative: as a share of the largest. weights: by parameter, with
    signs, of length 1. span: the interval along it as a share of the longest way through the box in this direction;
    above `HALF` it is `soft`. rise_nats: by how much the loss rises a quarter of that way from the optimum: at 95 %,
    below 1.92 where soft.
    """

    curvature: float
    relative: float
    weights: Mapping[str, float]
    span: float
    rise_nats: float
    soft: bool


def directions_of(
    values: Float[np.ndarray, " k"], vectors: Float[np.ndarray, "k k"], names: list[str], half: float
) -> tuple[Direction, ...]:
    """The eigenvectors of a Hessian over the shares of `names`; half: of an interval, in standard errors."""
    found = []
    for value, vector in zip(values, vectors.T, strict=True):
        # The first face of the box is met by the largest component: the way through is 1 over it.
        through = 1.0 / float(np.abs(vector).max())
        span = 2 * half / float(np.sqrt(value)) / through if value > 0 else np.inf
        signed = vector * np.sign(vector[np.argmax(np.abs(vector))])
        found.append(
            Direction(
                float(value),
                float(value / np.abs(values).max()) if np.abs(values).max() > 0 else 0.0,
                dict(zip(names, signed.tolist(), strict=True)),
                float(span),
                float(0.5 * value * (0.25 * through) ** 2),
                bool(span > HALF),
            )
        )
    return tuple(found)


def combinations_of(
    directions: tuple[Direction, ...],
    box: Box,
    names: tuple[str, ...],
    slope: Float[np.ndarray, " k"],
    x: Float[np.ndarray, " k"],
) -> list[tuple[str, tuple[str, ...]]]:
    """The soft directions in which several parameters move together, in words, in the parameters' own units, each with
    the parameters that it names."""
    soft = [d for d in directions if d.soft]
    if not soft:
        return []
    index = [names.index(n) for n in soft[0].weights]
    basis = _sparse(np.array([[d.weights[names[k]] for d in soft] for k in index]))
    found = []
    for column in basis.T:
        lead = int(np.argmax(np.abs(column)))
        named = [
            row for row in np.argsort(-np.abs(column), kind="stable") if abs(column[row]) >= NAMED * abs(column[lead])
        ]
        if len(named) < 2:
            continue
        named = named[:_SHOWN]
        own = column * slope[index]  # per unit along the direction
        first = named[0]
        unit = 0.1 * x[index[first]] if box.log[index[first]] else 1.0
        moves = own * (unit / own[first])
        parts = []
        for row in named:
            k = index[row]
            size = f"{100 * moves[row] / x[k]:+.3g} %" if box.log[k] else f"{moves[row]:+.3g}"
            parts.append(f"{names[k]} {size}")
        found.append((", ".join(parts), tuple(names[index[row]] for row in named)))
    return found


def _sparse(vectors: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "k m"]:
    """Another basis of what the columns span, in which each has as few parameters as can be.

    Eigenvectors of like eigenvalues are mixed at will; a basis in which one parameter moves in one direction only reads
    better. Chosen among all such bases (of up to 3 vectors), well conditioned ones first.
    """
    k, m = vectors.shape
    if not 1 < m <= 3:
        return vectors
    best, cost = vectors, np.inf
    sizes = {rows: abs(np.linalg.det(vectors[list(rows)])) for rows in itertools.combinations(range(k), m)}
    largest = max(sizes.values())
    for rows, size in sizes.items():
        if size < 0.05 * largest:
            continue
        basis = vectors @ np.linalg.inv(vectors[list(rows)])
        basis = basis / np.abs(basis).max(axis=0)
        price = float((np.abs(basis) >= NAMED).sum()) + 1e-3 * float(np.abs(basis).sum())
        if price < cost - 1e-9:
            best, cost = basis, price
    return best


def along(combinations: Sequence[str]) -> str:
    """Part of a sentence on soft combinations."""
    return f"the loss hardly changes along {' or along '.join(f'({moves})' for moves in combinations)}"
