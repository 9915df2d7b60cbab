"""Hold-outs by group, so that nothing about a held-out group is seen in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SettingError


def group_folds(groups: Sequence[object], n_folds: int, seed: int) -> Int[np.ndarray, "row"]:
    """The fold of every row: all rows of one group are in one fold, groups are dealt out in random order.

    Raises `SettingError` for fewer than 2 folds or fewer groups than folds, and for a seed that is no whole number.
    """
    check_seed(seed)
    names = sorted({str(group) for group in groups})
    if isinstance(n_folds, bool) or not isinstance(n_folds, int | np.integer) or not 2 <= n_folds <= len(names):
        raise SettingError(
            f"Folds by group need 2 folds or more and a group for each; found {n_folds} folds and {len(names)} groups."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {names[k]: place % n_folds for place, k in enumerate(order)}
    return np.array([fold[str(group)] for group in groups], dtype=np.int32)


def check_seed(seed: int) -> None:
    """Raises `SettingError` unless `seed` is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SettingError(f"A seed has to be a whole number, 0 or more; found {seed!r}.")


def validation_part(groups: Sequence[object], fraction: float, seed: int) -> Bool[np.ndarray, "row"]:
    """True for the rows of about `fraction` of the groups, chosen at random and at least one.

    Raises `SettingError` unless 0 < fraction < 1 and there are two groups or more.
    """
    check_seed(seed)
    names = sorted({str(group) for group in groups})
    if not 0.0 < fraction < 1.0 or len(names) < 2:
        raise SettingError(
            "A validation part needs a fraction between 0 and 1 and two groups or more; found "
            f"{fraction} of {len(names)}."
        )
    size = min(max(1, round(fraction * len(names))), len(names) - 1)
    chosen = {names[k] for k in np.random.default_rng(seed).permutation(len(names))[:size]}
    return np.array([str(group) in chosen for group in groups], dtype=bool)
