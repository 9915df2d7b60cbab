"""A model as data: rules that give neurons their model and edges their synapse, read from and written to TOML.

A `ModelSpec` says nothing of particular neurons; it becomes a network with `connectofit.builders.build(connectome,
spec)`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from connectofit.builders import serialise
from connectofit.builders.cells import with_cells
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim import NEURON_MODELS, PLASTICITY_MODELS, SYNAPSE_MODELS, NeuronModel, Plasticity, Synapse
from connectofit.sim.parameters import Parameter, check_values

Normalise = Literal["none", "post_sum", "total_post"]
UnknownSign = Literal["error", "drop", 1, -1]
Direction = Literal["forward", "reverse"]

GAIN = Parameter(1.0, "1", "factor on the weights", low=0.0, open_low=True)


@dataclass(frozen=True)
class Column:
    """A parameter's values from a column of the neurons. default: for neurons without a value; None refuses them."""

    column: str
    default: float | None = None


@dataclass(frozen=True)
class ByType:
    """A parameter's values from a table over the values of a column. default: for those that are not in it.

    by: a column of the neurons; of an edge rule's gain, a column it is tied by, such as ``"pre.cell_class"``.
    """

    by: str
    table: Mapping[str, float]
    default: float | None = None


Value = float | Column | ByType


@dataclass(frozen=True)
class Distance:
    """A delay from the distance between two cell bodies: max(minimum_ms, distance / velocity), rounded to
    resolution_ms.

    columns: the neurons' coordinates, in µm. velocity_um_per_ms: 1000 is 1 m/s. resolution_ms: a multiple of the time
    step; delays are rounded to the nearest multiple of it (halves to the even one), those of spikes to at least one.
    """

    velocity_um_per_ms: float
    columns: tuple[str, ...] = ("x_um", "y_um", "z_um")
    minimum_ms: float = 0.0
    resolution_ms: float = 0.1

    def __post_init__(self) -> None:
        for name, low in (("velocity_um_per_ms", 0.0), ("resolution_ms", 0.0)):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > low):
                raise SettingError(f"{name} of a delay by distance has to be above 0; found {getattr(self, name)!r}.")
        if not (math.isfinite(self.minimum_ms) and self.minimum_ms >= 0) or not self.columns:
            raise SettingError(
                "A delay by distance needs one column or more and a minimum_ms of 0 or more; found "
                f"{self.columns!r} and {self.minimum_ms!r}."
            )


@dataclass(frozen=True)
class Delays:
    """Delays from a column of the edges, in ms, rounded as those by `Distance` to a multiple of resolution_ms."""

    column: str
    resolution_ms: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.resolution_ms) and self.resolution_ms > 0):
            raise SettingError(f"resolution_ms of a column of delays has to be above 0; found {self.resolution_ms!r}.")


@dataclass(frozen=True)
class NeuronRule:
    """Neurons that share a model; they become one population.

    Attributes
    ----------
    name: of the population.
    model: a name in `connectofit.sim.NEURON_MODELS`.
    where: an expression on the neurons' columns; None: all.
    tie_by: the column whose values are the types: neurons of one type share each parameter. "id": none share; None:
    all do.
    params: {parameter: number, `Column` or `ByType`}; the model's defaults for those that are left out.
    settings: fields of the model, such as ``{"method": "euler"}``.
    """

    name: str
    model: str
    where: str | None = None
    tie_by: str | None = None
    params: Mapping[str, Value] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"neuron rule {self.name!r}"
        if self.model not in NEURON_MODELS:
            raise unknown_name("neuron model", self.model, NEURON_MODELS, where)
        _check_params(self.params, NEURON_MODELS[self.model].parameters, where)
        self.neuron_model()

    def neuron_model(self) -> NeuronModel:
        """The model with its settings."""
        return serialise.with_settings(NEURON_MODELS[self.model], self.settings, f"neuron rule {self.name!r}")


@dataclass(frozen=True)
class EdgeRule:
    """Edges that share a synapse model: one projection for each pair of populations that they join.

    The weight of an edge is ``sign * count * weight / norm * gain``, its weight 1 unless it comes from a column; the
    logarithm of the gain is a parameter of the network.

    Attributes
    ----------
    name: of the projection (with ``:pre->post`` after it where the spec has several populations).
    synapse: a name in `connectofit.sim.SYNAPSE_MODELS`. Gap junctions take electrical edges, all others chemical ones.
        Conductances have no sign (the reversal potential decides what they do): give excitatory and inhibitory edges a
        rule each, with ``where = "sign == 1"`` and ``"sign == -1"``.
    where: an expression on the edges' columns: kind, count, sign, pre, post, and pre.<column> and post.<column> of the
        neurons; None: all.
    normalise: what the counts are divided by: "none": 1; "post_sum": their sum onto the same postsynaptic neuron,
        over this rule's edges; "total_post": that sum over the edges of all rules. Both make a gap junction's two
        directions unequal, as if each neuron's leak were in proportion to its contacts.
    gain: factor on the weights, above 0, or a table of factors by a column of tie_by. In pA per count for LIF neurons.
    tie_by: the columns whose values are the types that share a gain: "pre.cell_class", "post.cell_class", or both as a
        list; ("pre.id", "post.id"): every edge has its own; None: all share one. A pair of types is unordered for gap
        junctions.
    direction: "forward", from the presynaptic neuron to the postsynaptic one; "reverse": a second, retrograde coupling
        along the same contacts, from the postsynaptic neuron to the presynaptic one, excitatory whatever the sign of
        the edge. Of such a rule pre, post and the sums of `normalise` are those of the reversed edges; it may share
        edges with others.
    unknown_sign: chemical edges of unknown sign: "error", "drop", or the sign to assume, 1 or -1.
    delay_ms: a time, `Distance`, or `Delays` from a column.
    plasticity: a name in `connectofit.sim.PLASTICITY_MODELS`; None for fixed weights.
    params: {parameter of the synapse or plasticity: number}; the defaults for those that are left out.
    settings: fields of the synapse model.
    weight: a column of the edges, numbers of 0 or more: the size of one synapse (the sign is the edge's); None: 1.
    """

    name: str
    synapse: str
    where: str | None = None
    normalise: Normalise = "none"
    gain: float | ByType = 1.0
    tie_by: str | tuple[str, ...] | None = None
    direction: Direction = "forward"
    unknown_sign: UnknownSign = "error"
    delay_ms: float | Distance | Delays = 0.0
    plasticity: str | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    weight: str | None = None

    def __post_init__(self) -> None:
        where = f"edge rule {self.name!r}"
        if self.synapse not in SYNAPSE_MODELS:
            raise unknown_name("synapse model", self.synapse, SYNAPSE_MODELS, where)
        if self.normalise not in get_args(Normalise):
            raise unknown_name("normalisation", str(self.normalise), get_args(Normalise), where)
        if self.direction not in get_args(Direction):
            raise unknown_name("direction", str(self.direction), get_args(Direction), where)
        if self.plasticity is not None and self.plasticity not in PLASTICITY_MODELS:
            raise unknown_name("plasticity", self.plasticity, PLASTICITY_MODELS, where)
        if self.direction == "reverse" and (self.synapse_model().electrical or self.normalise == "total_post"):
            raise SettingError(
                f"direction = 'reverse' of {where} is for chemical edges (gap junctions go both ways already), "
                "normalised by 'none' or 'post_sum'."
            )
        if self.unknown_sign not in get_args(UnknownSign) or isinstance(self.unknown_sign, bool):
            raise SettingError(
                f"unknown_sign of {where} has to be one of 'error', 'drop', 1 and -1; found {self.unknown_sign!r}."
            )
        for column in self.tie_columns:
            if not column.startswith(("pre.", "post.")):
                raise SettingError(
                    f"tie_by of {where} has to name columns of the neurons at the ends, as 'pre.{column}' or "
                    f"'post.{column}'; found {column!r}."
                )
        if isinstance(self.gain, ByType) and self.gain.by not in self.tie_columns:
            raise SettingError(
                f"The gain of {where} is a table by {self.gain.by!r}, but gains are tied by {list(self.tie_columns)}. "
                "Tie them by the same column."
            )
        if isinstance(self.delay_ms, int | float) and not (math.isfinite(self.delay_ms) and self.delay_ms >= 0):
            raise SettingError(f"delay_ms of {where} has to be 0 ms or more; found {self.delay_ms!r}.")
        for name, value in self.params.items():
            if isinstance(value, Column | ByType):
                raise SettingError(f"Parameter {name!r} of {where} has to be a number; found {value!r}.")
        plastic = {} if self.plasticity is None else PLASTICITY_MODELS[self.plasticity].parameters
        _check_params(self.params, {**SYNAPSE_MODELS[self.synapse].parameters, **plastic}, where)
        _check_params({"gain": self.gain}, {"gain": GAIN}, where)
        self.synapse_model()

    @property
    def tie_columns(self) -> tuple[str, ...]:
        """tie_by as a tuple."""
        if self.tie_by is None:
            return ()
        return (self.tie_by,) if isinstance(self.tie_by, str) else tuple(self.tie_by)

    def synapse_model(self) -> Synapse:
        """The synapse model with its settings."""
        return serialise.with_settings(SYNAPSE_MODELS[self.synapse], self.settings, f"edge rule {self.name!r}")

    def plasticity_model(self) -> Plasticity | None:
        """The plasticity, None for fixed weights."""
        return None if self.plasticity is None else PLASTICITY_MODELS[self.plasticity]()


@dataclass(frozen=True)
class ModelSpec:
    """A model: every neuron has to be claimed by exactly one neuron rule, every edge by one edge rule at most (and,
    beside it, by one whose direction is "reverse").

    unclaimed_edges: what to do with edges that no rule claims: "error" or "drop".
    """

    neurons: tuple[NeuronRule, ...]
    edges: tuple[EdgeRule, ...] = ()
    name: str = "model"
    description: str = ""
    unclaimed_edges: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        if not self.neurons:
            raise SettingError(f"The specification {self.name!r} has no neuron rule. Give it one [[neurons]] or more.")
        names = Counter([rule.name for rule in self.neurons] + [rule.name for rule in self.edges])
        twice = [name for name, n in names.items() if n > 1]
        if twice:
            raise SettingError(f"Rules need names of their own; used twice in {self.name!r}: {offenders(twice)}.")
        if self.unclaimed_edges not in ("error", "drop"):
            raise unknown_name("choice for unclaimed_edges", str(self.unclaimed_edges), ("error", "drop"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """From nested mappings, as TOML gives them. Unknown keys raise `UnknownNameError` with the nearest."""
        return serialise.from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Nested mappings that `from_dict` reads back; what has its default is left out."""
        return serialise.to_dict(self)

    @classmethod
    def load(cls, path: str | Path) -> ModelSpec:
        """Read a TOML file. Raises `MissingFileError`, `SettingError` (not TOML; wrong types) or `UnknownNameError`.

        A neuron rule may name a fitted cell in place of a model, see `connectofit.builders.cells`.
        """
        path = Path(path)
        return cls.from_dict(with_cells(serialise.read_toml(path), path.parent))

    @classmethod
    def example(cls, name: str) -> ModelSpec:
        """One of the specifications that come with the package, see `examples`."""
        if name not in examples():
            raise unknown_name("example specification", name, examples())
        return cls.load(_EXAMPLES / f"{name}.toml")

    def dump(self, path: str | Path) -> Path:
        """Write a TOML file that `load` reads back to an equal specification."""
        return serialise.write_toml(self.to_dict(), Path(path))


_EXAMPLES = Path(__file__).parent / "specs"


def examples() -> tuple[str, ...]:
    """Names of the specifications that come with the package."""
    return tuple(sorted(path.stem for path in _EXAMPLES.glob("*.toml")))


def _check_params(params: Mapping[str, Value], described: Mapping[str, Parameter], where: str) -> None:
    """Names and plain values of parameters, as far as they can be known without a connectome."""
    for name, value in params.items():
        if name not in described:
            raise unknown_name("parameter", name, described, where)
        numbers: list[Any] = [value]
        if isinstance(value, Column):
            numbers = [] if value.default is None else [value.default]
        elif isinstance(value, ByType):
            numbers = [*value.table.values(), *([] if value.default is None else [value.default])]
        wrong = [x for x in numbers if isinstance(x, bool) or not isinstance(x, int | float)]
        if wrong:
            raise SettingError(f"Parameter {name!r} of {where} has to be a number; found {offenders(wrong)}.")
        for number in numbers:
            check_values({name: number}, {name: described[name]}, where)
