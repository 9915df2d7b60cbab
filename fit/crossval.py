"""Cross-validation of a network fit: every fold is predicted by a model that never saw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.fit.network_fit import DEFAULT_SCHEDULE, Schedule, fit_network
from connectofit.fit.objectives import Objective
from connectofit.fit.parameters import Parameters
from connectofit.sim import Network


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Held-out predictions and the course of the fits.

    predictions: {objective: [row, ...]}, NaN in the folds that were not run. history: `FitResult.history` of all
    folds, with a column ``fold``. parameters: `Parameters.table` of every fold's fit, with a column ``fold``.
    """

    predictions: Mapping[str, Float[np.ndarray, "row *outcome"]]
    history: pd.DataFrame
    parameters: pd.DataFrame


def cross_validate(
    net: Network,
    objectives: Mapping[str, Objective],
    folds: Mapping[str, Int[np.ndarray, "row"]],
    *,
    free: Parameters,
    which: Sequence[int],
    weights: Mapping[str, float] | None = None,
    validation: Mapping[str, float] | None = None,
    seed: int = 0,
    starts: int = 3,
    schedule: Schedule = DEFAULT_SCHEDULE,
    checkpoints: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> CrossValidation:
    """Fit once for each fold in `which` without its rows, and predict them.

    Parameters
    ----------
    folds: the fold of every row of every objective, for example from `group_folds`; one number means one fold in all
    of them.
    checkpoints: a folder for the fits' checkpoints, so that a killed call goes on where it was. The others are those of
        `fit_network`.

    Raises
    ------
    SettingError: if folds do not match the objectives' rows, and what `fit_network` raises.
    """
    for name, objective in objectives.items():
        if name not in folds or len(folds[name]) != objective.n_rows:
            raise SettingError(f"folds needs the fold of each of the {objective.n_rows} rows of objective {name!r}.")
    predictions: dict[str, np.ndarray] = {}
    histories, parameters = [], []
    for fold in which:
        held = {name: np.asarray(folds[name]) == fold for name in objectives}
        result = fit_network(
            net,
            objectives,
            free=free,
            weights=weights,
            hold_out=held,
            validation=validation,
            seed=seed,
            starts=starts,
            schedule=schedule,
            checkpoint=None if checkpoints is None else checkpoints / f"fold_{fold}.npz",
            progress=progress,
        )
        for name, objective in objectives.items():
            if held[name].any():
                predicted = result.predict(name, objective.subset(held[name]))
                rows = predictions.setdefault(name, np.full((objective.n_rows, *predicted.shape[1:]), np.nan))
                rows[held[name]] = predicted
        histories.append(result.history.assign(fold=fold))
        parameters.append(free.table(result.network).assign(fold=fold))
    return CrossValidation(
        predictions, pd.concat(histories, ignore_index=True), pd.concat(parameters, ignore_index=True)
    )
