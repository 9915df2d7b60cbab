"""What the reader does with rows that could be read in more than one way: every choice is a named, visible setting."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from connectofit.connectome.errors import SettingError, unknown_name

KINDS = ("chemical", "electrical")
"""The kinds of edge; their positions are the codes in `Connectome.kind`."""

SIGN_SOURCES = ("edge", "edge_transmitter", "transmitter", "unknown")


def _check_options(policy: object) -> None:
    """Compare every field that is a `Literal` of strings with its options, and name the nearest when it is misspelt."""
    hints = get_type_hints(type(policy))
    for item in dataclasses.fields(policy):  # type: ignore[arg-type]
        if get_origin(hints[item.name]) is Literal:
            options, value = get_args(hints[item.name]), getattr(policy, item.name)
            if value not in options:
                near = difflib.get_close_matches(str(value), [str(option) for option in options], n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise SettingError(
                    f"{type(policy).__name__}.{item.name} is {value!r}; it must be one of {list(options)}.{hint}"
                )


def _from_mapping(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` as keyword arguments of `cls`; a key that is not a field is refused."""
    known = [item.name for item in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise unknown_name("setting", key, known, cls.__name__)
    return dict(values)


@dataclass(frozen=True)
class SignPolicy:
    """How a chemical edge gets its sign: +1 excites, -1 inhibits.

    The sources in `order` are asked one after the other; the first with a definite answer decides.

    - ``"edge"``: the sign column of the edge table, through `values`. A value of 0 is no definite answer. What
      the column holds and `values` does not list is an error, so that no spelling is ignored unseen. Columns of
      numbers must hold -1, 0 and 1 and need no `values`.
    - ``"edge_transmitter"``: the transmitter that the edge table gives for the edge itself, through `transmitters`.
    - ``"transmitter"``: the presynaptic neuron's transmitter, through `transmitters`. One that is not listed gives no
      answer, with a warning.
    - ``"unknown"``: the constant `unknown` (0 leaves the edge without a sign; ``"error"`` refuses the table).

    The defaults suit the worm tables: ``complex`` (receptors of both signs) and ``no pred`` are no definite answer, so
    that these edges take the sign of their transmitter; set ``values["complex"]`` to 1 or -1 to decide otherwise. In
    the fly, glutamate mostly inhibits: set ``transmitters["Glu"]`` to -1 there.
    """

    values: Mapping[str, int] = field(default_factory=lambda: {"+": 1, "-": -1, "complex": 0, "no pred": 0})
    transmitters: Mapping[str, int] = field(default_factory=lambda: {"ACh": 1, "Glu": 1, "GABA": -1})
    unknown: Literal[1, -1, 0, "error"] = 1
    order: tuple[str, ...] = SIGN_SOURCES

    def __post_init__(self) -> None:
        for name in ("values", "transmitters"):
            mapping = getattr(self, name)
            if not isinstance(mapping, Mapping):
                raise SettingError(f"SignPolicy.{name} must map a text to -1, 0 or 1; it is {mapping!r}.")
            for key, value in mapping.items():
                if not isinstance(key, str) or value not in (-1, 0, 1) or isinstance(value, bool):
                    raise SettingError(f"SignPolicy.{name}[{key!r}] is {value!r}; a text must map to -1, 0 or 1.")
            object.__setattr__(self, name, dict(mapping))
        _check_options(self)
        if isinstance(self.order, str):
            raise SettingError(f"SignPolicy.order must be a list of sources; it is the text {self.order!r}.")
        object.__setattr__(self, "order", tuple(self.order))
        for source in self.order:
            if source not in SIGN_SOURCES:
                raise unknown_name("source of signs", str(source), SIGN_SOURCES, "SignPolicy.order")
        if len(set(self.order)) != len(self.order) or not self.order or self.order[-1] != "unknown":
            raise SettingError(
                f"SignPolicy.order is {list(self.order)}; each source may stand there once, and 'unknown' must be last."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for TOML or JSON."""
        return {
            "values": dict(self.values),
            "transmitters": dict(self.transmitters),
            "unknown": self.unknown,
            "order": list(self.order),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Back from `to_dict`; keys left out keep their defaults, unknown keys raise `UnknownNameError`."""
        return cls(**_from_mapping(cls, values))


@dataclass(frozen=True)
class Policies:
    """What `read_connectome` does where a table can be read in more than one way.

    Attributes
    ----------
    unmatched
        Edges with an end that the neuron table does not list: drop them, keep them (their ends become neurons without
        attributes), or refuse the table.
    max_unmatched
        The fraction of edges that may be unmatched. Above it the tables are refused, whatever `unmatched` says: most
        likely they belong to different connectomes.
    self_loops, chemical_self_loops
        Edges from a neuron to itself: electrical (a neuron cannot be coupled to itself) and chemical (autapses exist).
    duplicates
        Rows with the same pre, post and kind: merge them, adding their counts or taking the largest, or refuse. The
        merged edge keeps the further columns of its first row; its sign is that of the larger summed count.
    electrical_pairs
        A gap junction given in both directions is one: its count is the larger, the mean or the sum of the two, or a
        difference (or a missing direction) is refused. A missing direction is always filled in.
    zero_counts
        Edges whose count is 0.
    min_count
        Connections whose count is below this, after duplicates and the two directions of gap junctions are merged, are
        dropped. 0 keeps all.
    untyped_neurons, type_column
        Rows of the neuron table with neither a type (in `type_column`) nor a transmitter. Not applied to a table
        without the default column `cell_class`.
    kinds
        What the kind column's values mean: ``"chemical"`` or ``"electrical"``.
    sign
        How chemical edges get their signs.
    """

    unmatched: Literal["drop", "keep", "error"] = "drop"
    max_unmatched: float = 0.5
    self_loops: Literal["drop", "keep", "error"] = "drop"
    chemical_self_loops: Literal["drop", "keep", "error"] = "keep"
    duplicates: Literal["sum", "max", "error"] = "sum"
    electrical_pairs: Literal["max", "mean", "sum", "error"] = "max"
    zero_counts: Literal["drop", "keep", "error"] = "drop"
    min_count: float = 0
    untyped_neurons: Literal["drop", "keep", "error"] = "drop"
    type_column: str = "cell_class"
    kinds: Mapping[str, str] = field(default_factory=lambda: {kind: kind for kind in KINDS})
    sign: SignPolicy = field(default_factory=SignPolicy)

    def __post_init__(self) -> None:
        _check_options(self)
        if isinstance(self.max_unmatched, bool) or not isinstance(self.max_unmatched, int | float):
            raise SettingError(f"Policies.max_unmatched is {self.max_unmatched!r}; it must be a number from 0 to 1.")
        if isinstance(self.min_count, bool) or not isinstance(self.min_count, int | float):
            raise SettingError(f"Policies.min_count is {self.min_count!r}; it must be a number.")
        if not 0 <= self.min_count < math.inf:
            raise SettingError(f"Policies.min_count is {self.min_count!r}; it must be finite and not below 0.")
        if not 0 <= self.max_unmatched <= 1:
            raise SettingError(f"Policies.max_unmatched is {self.max_unmatched!r}; it must lie between 0 and 1.")
        if not isinstance(self.sign, SignPolicy):
            raise SettingError(f"Policies.sign must be a SignPolicy; it is {self.sign!r}.")
        for value, kind in self.kinds.items():
            if kind not in KINDS:
                raise unknown_name("kind of edge", str(kind), KINDS, f"Policies.kinds[{value!r}]")
        object.__setattr__(self, "kinds", dict(self.kinds))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for TOML or JSON."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {**values, "kinds": dict(self.kinds), "sign": self.sign.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Back from `to_dict`; keys left out keep their defaults, unknown keys raise `UnknownNameError`."""
        settings = _from_mapping(cls, values)
        if isinstance(settings.get("sign"), Mapping):
            settings["sign"] = SignPolicy.from_dict(settings["sign"])
        return cls(**settings)
