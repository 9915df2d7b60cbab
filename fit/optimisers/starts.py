"""Where searches begin: random places in the ranges, spread evenly, beside a place that the data suggest."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import qmc

from connectofit.connectome.errors import SettingError
from connectofit.fit.folds import check_seed
from connectofit.fit.optimisers.objective import Box


def random_starts(
    box: Box, n: int, seed: int, *, first: Float[np.ndarray, " k"] | None = None, spread: float = 1.0
) -> Float[np.ndarray, "start k"]:
    """`n` places in the ranges, in the parameters' own units, by Latin hypercube sampling (McKay et al. 1979,
    Technometrics 21:239): each n-th part of each range, on its scale, has one.

    first: a place that is the first start, around which the others are drawn: within `spread` of each range to both
    sides, cut at the bounds; with a spread of 1 anywhere in the ranges. Raises `SettingError` for fewer than one start,
    a spread not above 0, and a first place outside the bounds.
    """
    check_seed(seed)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SettingError(f"The number of starts has to be a whole number, 1 or more; found {n!r}.")
    if not spread > 0:
        raise SettingError(f"The spread of starts has to be above 0; found {spread!r}.")
    share = qmc.LatinHypercube(box.size, seed=seed).random(n)
    if first is not None:
        middle = box.share(box.physical(box.from_physical(first)))
        low, high = np.maximum(middle - spread, 0.0), np.minimum(middle + spread, 1.0)
        share = low + (high - low) * share
    places = box.physical(box.from_share(share))
    if first is not None:
        places[0] = first
    return places
