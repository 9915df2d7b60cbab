"""What the generators share: distinct random partners, checks of their settings, and tables of neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError

_DENSE = 8  # rows that want more than one in so many partners look at all of them
_ROUNDS = 10  # of drawing partners anew that were drawn before


def whole_number(name: str, value: object, least: int = 0, most: int | None = None) -> int:
    """The value as an int; `SettingError` if it is no whole number from `least` to `most`."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        found = int(value)
        if least <= found and (most is None or found <= most):
            return found
    bound = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise SettingError(f"{name} must be a whole number {bound}; it is {value!r}.")


def number(name: str, value: object, low: float, high: float = np.inf, *, above: bool = False) -> float:
    """The value as a float; `SettingError` if it is not finite, not from `low` to `high`, or, with `above`, `low`."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:  # a whole number beyond all floats
            found = float("inf")
        if np.isfinite(found) and low <= found <= high and not (above and found == low):
            return found
    bound = f"{'above' if above else 'of at least'} {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
    raise SettingError(f"{name} must be a number {bound}; it is {value!r}.")


def distinct_partners(
    degree: Int[np.ndarray, " n"],
    pool: int,
    rng: np.random.Generator,
    *,
    own: Int[np.ndarray, " n"] | None = None,
    weight: Float[np.ndarray, " pool"] | None = None,
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """For each of n rows `degree` different partners out of `pool`; rows ascend, partners ascend within them.

    Every set of partners of that size is equally likely; with `weight`, partners are drawn one after the other with
    probabilities proportional to it among those not drawn yet.

    Parameters
    ----------
    own
        The partner that each row may not have (itself), -1 for none.

    Raises
    ------
    SettingError
        If a row wants more partners than there are.
    """
    n = len(degree)
    own = np.full(n, -1, np.int64) if own is None else own
    room = pool - (own >= 0)
    if (degree > room).any():
        row = int(np.flatnonzero(degree > room)[0])
        raise SettingError(f"Neuron {row} cannot have {degree[row]} different partners; there are {room[row]} for it.")
    cumulative = None if weight is None else np.cumsum(weight) / np.sum(weight)
    found = np.zeros(0, np.int64)
    chosen: list[np.ndarray] = []
    lacking = np.where(_DENSE * degree > pool, 0, degree).astype(np.int64)
    for _ in range(_ROUNDS):
        if not lacking.any():
            break
        rows = np.repeat(np.arange(n), lacking)
        if cumulative is None:
            partner = rng.integers(0, pool, len(rows))
        else:
            partner = np.minimum(np.searchsorted(cumulative, rng.random(len(rows)), side="right"), pool - 1)
        # A partner that a row has already counts for nothing, as if the next had been drawn in its place.
        key = np.concatenate([found, (rows * pool + partner)[partner != own[rows]]])
        key.sort()
        key = key[np.append(True, key[1:] != key[:-1])] if len(key) else key
        owner = key // pool
        lacking = np.where(lacking > 0, degree - np.bincount(owner, minlength=n), 0)
        complete = lacking[owner] == 0
        chosen.append(key[complete])
        found = key[~complete]
    for row in np.flatnonzero(lacking + (_DENSE * degree > pool)).tolist():
        first, last = np.searchsorted(found, [row * pool, (row + 1) * pool])
        has = found[first:last] % pool
        # Drawn one after the other with these probabilities, in another way: the first of exponential waiting times.
        wait = rng.standard_exponential(pool) if weight is None else rng.standard_exponential(pool) / weight
        wait[has] = np.inf
        if own[row] >= 0:
            wait[own[row]] = np.inf
        k = int(degree[row]) - len(has)
        chosen.append(row * pool + np.argpartition(wait, k - 1)[:k])
    key = np.concatenate([found, *chosen])
    key.sort()
    return key // pool, key % pool


def names_of_sizes(sizes: Mapping[str, int]) -> pa.Array:
    """A text column that holds each name as often as its size says, in order."""
    return pa.array(np.repeat(np.array(list(sizes), dtype=object), list(sizes.values())), pa.string())


def in_box(n: int, extent_um: Sequence[float], rng: np.random.Generator) -> dict[str, Float[np.ndarray, " n"]]:
    """Columns x_um, y_um, z_um of places drawn evenly from a box with a corner at the origin.

    Raises `SettingError` unless `extent_um` are three numbers of at least 0.
    """
    if isinstance(extent_um, str) or not isinstance(extent_um, Sequence | np.ndarray) or len(extent_um) != 3:
        raise SettingError(f"extent_um must be three numbers, one for each axis; it is {extent_um!r}.")
    sizes = [number(f"extent_um[{axis}]", extent, 0) for axis, extent in enumerate(extent_um)]
    return {name: rng.random(n) * size for name, size in zip(("x_um", "y_um", "z_um"), sizes, strict=True)}
