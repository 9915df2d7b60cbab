"""The sections of the cell recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.models import model_kind
from connectofit.fit.cells.problem import LossName
from connectofit.pipelines.config import DataFile, Settings


class ImportSettings(Settings):
    """Which recordings are read, and how. Without `recordings` these are the rat cells that ship with the package, with
    their stimulus, bridge and lag (`connectofit.data`) where these are left out.

    `recordings` may be a table (CSV, Parquet, Feather), an NWB, ABF or Igor file; the current of Igor's is in a file of
    its own, `current`. `columns` maps canonical names (cell, sweep, time, current, voltage) to those in the table, or
    to channels of an ABF file, `units` says what they are in; `electrodes`: of an NWB file, the ones to take.
    `stimulus_ms`: onset and offset; found in the current where left out. `cells`: the ones to take; all where
    left out. `bridge_MOhm`: what is taken off the voltage of each cell; below 0 it undoes an over-compensation.
    `advance_samples`: by how many samples the recorded current lags behind the voltage's answer. `dt_ms`: to resample
    to.
    """

    recordings: DataFile | None = None
    current: DataFile | None = None
    electrodes: tuple[str, ...] = ()
    columns: dict[str, str] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    stimulus_ms: tuple[float, float] | None = None
    cells: tuple[str, ...] = ()
    bridge_MOhm: dict[str, float] | None = None
    junction_mV: float = 0.0
    advance_samples: int | None = None
    dt_ms: float | None = Field(default=None, gt=0)


class FitSettings(Settings):
    """Which models are fitted to which sweeps. `hold_out`: labels (cell/sweep) of the sweeps that no fit sees; where
    left out, the middle steps of the rat cells that ship with the package, and none of other recordings.

    `loss`: what is made small, see `fit_cell`; `losses`: {model: in place of it}. `method`: of the optimiser; `beside`:
    further methods that get the same wall time as the first took, to compare. `simulated_s`: the model time, over
    sweeps and starts, that a fit may simulate; unlike a limit of wall time it stops at the same step everywhere.
    `budgets`: {model: in place of it}.
    `uncertainty`: how intervals of the parameters are worked out, from the likelihood's curvature ("laplace") or from
    `draws` refits to resampled blocks ("bootstrap"). `free`, `bounds`, `start`, `fixed`: {model: what `fit_cell`
    takes}.
    """

    models: tuple[str, ...] = Field(min_length=1)
    hold_out: tuple[str, ...] | None = None
    loss: LossName = "auto"
    losses: dict[str, LossName] = Field(default_factory=dict)
    method: str = "auto"
    beside: tuple[str, ...] = ()
    starts: int = Field(default=8, ge=1)
    simulated_s: float = Field(gt=0)
    budgets: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    trials: int = Field(default=20, ge=1)
    uncertainty: Literal["laplace", "bootstrap", "none"] = "bootstrap"
    draws: int = Field(default=30, ge=2)
    seed: int = 0
    free: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    bounds: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    start: dict[str, dict[str, float]] = Field(default_factory=dict)
    fixed: dict[str, dict[str, float]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [model_kind(model) for model in self.models]
        _once("models", self.models)
        for name in OF_MODELS:
            given: dict[str, Any] = getattr(self, name)
            _once(name, given)
            idle = [model for model in given if model_kind(model) not in kinds]
            if idle and name not in ("losses", "budgets"):  # which the recipe has for models that need not be fitted
                raise SettingError(
                    f"fit.{name} is for models that are not fitted: {', '.join(idle)}; fit.models are "
                    f"{', '.join(self.models)}"
                )
        return self

    def of_model(self, name: str, model: str) -> Any:
        """What the setting `name`, one of `OF_MODELS`, says of a model, by whichever of its names; None: nothing."""
        given: dict[str, Any] = getattr(self, name)
        return next((value for key, value in given.items() if model_kind(key) == model_kind(model)), None)


OF_MODELS = ("losses", "budgets", "free", "bounds", "start", "fixed")
"""Settings of single models."""


def _once(name: str, models: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for model in models:
        kind = model_kind(model)
        if kind in seen:
            raise SettingError(f"fit.{name} has one model twice: {seen[kind]!r} and {model!r}. Leave one out.")
        seen[kind] = model
