"""The sections of the worm recipe. Their values stand in the recipe; only what has an obvious one has a default."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from connectofit.connectome import Policies
from connectofit.connectome.errors import SettingError
from connectofit.pipelines.config import DataFile, Settings

NeuronId = str | int


class ImportSettings(Settings):
    """Which tables are read, and how. Without `edges` and `neurons` these are the worm's, which ship with the package.

    `columns` maps canonical names to those in the tables; "" says that there is no such column. `policies` are the
    fields of `connectofit.connectome.Policies`.
    """

    edges: DataFile | None = None
    neurons: DataFile | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    id_type: Literal["string", "int64"] | None = None
    policies: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.neurons is not None and self.edges is None:
            raise SettingError("import.neurons is set and import.edges is not: give both tables of one connectome")
        Policies.from_dict(self.policies)
        return self


class BuildSettings(Settings):
    """The `ModelSpec` that makes the network: a TOML file `spec`, or else an `example` of the package."""

    example: str = "worm_graded"
    spec: DataFile | None = None


class SimulateSettings(Settings):
    """A constant input to some neurons of the network as built; `show` names the neurons whose traces are drawn."""

    stimulate: tuple[NeuronId, ...] = Field(min_length=1)
    show: tuple[NeuronId, ...] = Field(min_length=1)
    amplitude: float
    start_ms: float = Field(ge=0)
    stop_ms: float = Field(gt=0)
    duration_ms: float = Field(gt=0)
    dt_ms: float = Field(gt=0)
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.start_ms < self.stop_ms <= self.duration_ms:
            raise SettingError(
                f"the stimulus must start before it stops, within the {self.duration_ms:g} ms of the simulation; "
                f"found {self.start_ms:g} to {self.stop_ms:g} ms"
            )
        return self


class ExportSettings(Settings):
    """`formats`: what is written beside the model bundle."""

    formats: tuple[Literal["graphml", "networkx", "parquet"], ...] = ("graphml", "networkx", "parquet")
