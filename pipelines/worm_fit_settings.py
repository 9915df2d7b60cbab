"""The sections `fit` and `evaluate` of the worm recipe."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from connectofit.connectome.errors import SettingError
from connectofit.fit import Free, Parameters, Protocol, Schedule
from connectofit.pipelines.config import DataFile, Settings


class ProtocolSettings(Settings):
    """How a stimulation is run on the model; see `connectofit.fit.Protocol`."""

    amplitude: float = 1.0
    dt_ms: float = 100.0
    duration_ms: float = 800.0
    from_ms: float = 0.0


class FreeSettings(Settings):
    """The network's free parameters and their priors; see `connectofit.fit.Free`."""

    names: tuple[str, ...] = Field(min_length=1)
    sd_shared: float = 3.0
    sd_type: float = 0.1
    start_sd: float = 0.5


class FitSettings(Settings):
    """Data, model and course of the fits.

    `atlas` and `assays`: tables; the worm's, which ship with the package, where left out. `columns` map canonical
    names to theirs. `group_by`: the neurons' column that ties parameters of the readout and that folds are made by.
    `folds`, `fold_seeds`: cross-validations, one for each seed. `run_folds`: only that many of the folds.
    `rewirings`: degree-preserving rewirings of the same connectome, each fitted on one of the fold seeds in turn.
    `distance`: also fit models that know the distance between the cell bodies, one rewiring for each fold seed among
    them. `assay_weight`: how often each assay counts. `validation`: fraction of the training groups to stop early on.
    `jobs`: fits that run side by side.
    """

    atlas: DataFile | None = None
    atlas_columns: dict[str, str] = Field(default_factory=dict)
    assays: DataFile | None = None
    assay_columns: dict[str, str] = Field(default_factory=dict)
    options: tuple[str, ...] = Field(min_length=2)
    pools: dict[str, tuple[str, ...]]
    group_by: str
    position_columns: tuple[str, ...] = ("x_um", "y_um", "z_um")
    q_below: float = Field(gt=0, lt=1)
    protocol: ProtocolSettings = ProtocolSettings()
    free: FreeSettings
    excitability_sd: float = Field(gt=0)
    assay_weight: float = Field(gt=0)
    folds: int = Field(ge=2)
    run_folds: int | None = Field(default=None, ge=1)
    fold_seeds: tuple[int, ...] = Field(min_length=1)
    rewirings: int = Field(ge=0)
    distance: bool
    validation: float = Field(gt=0, lt=1)
    starts: int = Field(ge=1)
    steps: int = Field(ge=1)
    interval: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    patience: int = Field(ge=1)
    seed: int = 0
    jobs: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.run_folds is not None and self.run_folds > self.folds:
            raise SettingError(f"run_folds is at most the number of folds, {self.folds}; found {self.run_folds}")
        if len(set(self.fold_seeds)) < len(self.fold_seeds):
            raise SettingError(f"every fold seed may be named once; found {list(self.fold_seeds)}")
        self.make_protocol(), self.make_free(), self.make_schedule()
        return self

    def make_protocol(self) -> Protocol:
        """The settings as a `Protocol`."""
        return Protocol(**self.protocol.model_dump())

    def make_free(self) -> Parameters:
        """The settings as `Parameters`."""
        sds = self.free.model_dump(exclude={"names"})
        return Parameters(tuple(Free(name, **sds) for name in self.free.names))

    def make_schedule(self) -> Schedule:
        """The settings as a `Schedule`."""
        return Schedule(self.steps, self.learning_rate, self.patience, self.interval)


class EvaluateSettings(Settings):
    """How held-out predictions are scored: a group needs `least` significant and as many other pairs to count."""

    least: int = Field(default=3, ge=1)
