"""Columns read as the attribute dictionaries of a NetworkX graph: missing values are absent, nothing can be changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.arrays import combine
from connectofit.connectome.errors import SchemaError, unknown_name
from connectofit.connectome.graph_errors import ImmutableGraphError

Where = slice | np.ndarray
CUSTOMARY = "weight"  # NetworkX's functions ask for it unless told otherwise, so it is no misspelt column


class Attributes(dict[Any, Any]):
    """A dictionary that cannot be changed; `copy` gives one that can."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ImmutableGraphError

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[dict[Any, Any]]]:
        return dict, (dict(self),)


class Records(ABC):
    """Attributes by position: those of neurons by index, or those of edges."""

    names: tuple[str, ...]

    @abstractmethod
    def values(self, name: str, where: Where, default: Any = None) -> list[Any]:
        """One attribute at these positions, `default` where it is missing."""

    @abstractmethod
    def dicts(self, where: Where) -> list[Attributes]:
        """All attributes at these positions."""

    @abstractmethod
    def numeric(self, name: str) -> None:
        """Raise `SchemaError` if an attribute exists that holds no numbers or truth values."""

    @abstractmethod
    def numbers(self, name: str) -> np.ndarray:
        """A numeric attribute at every position, 1 where it is missing, as NetworkX counts an edge without a weight.

        Integers come as int64 or narrower, others as floats.
        """

    @abstractmethod
    def one(self, position: int) -> Attributes:
        """All attributes at one position."""

    def known(self, name: Any, what: str) -> None:
        """Raise `UnknownNameError` unless the attribute exists or is the one that NetworkX asks for by itself."""
        if name not in self.names and name != CUSTOMARY:
            raise unknown_name("column", name, self.names, what)


class ColumnRecords(Records):
    """Attributes that stand in columns."""

    def __init__(self, columns: Mapping[str, np.ndarray | pa.ChunkedArray], length: int) -> None:
        self._columns, self._length = dict(columns), length
        self.names = tuple(self._columns)
        # The attributes that are missing somewhere: to know which saves a look at every value of the others.
        self.gaps = {name for name, column in self._columns.items() if _has_gaps(column)}

    def values(self, name: str, where: Where, default: Any = None) -> list[Any]:
        column = self._columns.get(name)
        if column is None:
            return [default] * _size(where, self._length)
        values = to_values(column, where)
        if default is None or name not in self.gaps:
            return values
        return [default if value is None else value for value in values]

    def dicts(self, where: Where) -> list[Attributes]:
        if not self.names:
            return [Attributes() for _ in range(_size(where, self._length))]
        rows = zip(*(to_values(column, where) for column in self._columns.values()), strict=True)
        if not self.gaps:
            return [Attributes(zip(self.names, row, strict=False)) for row in rows]
        return [Attributes((k, v) for k, v in zip(self.names, row, strict=True) if v is not None) for row in rows]

    def one(self, position: int) -> Attributes:
        found = ((name, column[position]) for name, column in self._columns.items())
        plain = ((name, value.as_py() if isinstance(value, pa.Scalar) else value.item()) for name, value in found)
        return Attributes((name, value) for name, value in plain if value is not None)

    def numbers(self, name: str) -> np.ndarray:
        column = self._columns.get(name)
        if column is None:
            return np.ones(self._length, np.int8)
        if isinstance(column, np.ndarray):
            return column
        self.numeric(name)
        whole = combine(column)
        if pa.types.is_boolean(whole.type) or pa.types.is_uint64(whole.type):
            whole = whole.cast(pa.int8() if pa.types.is_boolean(whole.type) else pa.int64())
        return pc.fill_null(whole, 1).to_numpy()

    def numeric(self, name: str) -> None:
        column = self._columns.get(name)
        if isinstance(column, pa.ChunkedArray):
            kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
                raise SchemaError(f"Edges cannot be weighted by their column {name!r}: it holds {kind}.")

    def missing(self, name: str) -> np.ndarray | None:
        """At which positions an attribute is missing; None if nowhere."""
        if name not in self.gaps:
            return None
        return combine(self._columns[name]).is_null().to_numpy(zero_copy_only=False)


def to_values(column: np.ndarray | pa.ChunkedArray | pa.Array, where: Where = slice(None)) -> list[Any]:
    """A column, or the part of it at `where`, as a list of Python values, None where missing."""
    if isinstance(column, np.ndarray):
        return column[where].tolist()
    if isinstance(where, slice):
        start, stop, _ = where.indices(len(column))
        part = column.slice(start, max(0, stop - start))
    else:
        part = column.take(pa.array(where))
    kind = part.type
    if pa.types.is_dictionary(kind):
        part, kind = part.cast(kind.value_type), kind.value_type
    exact = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if pa.types.is_string(kind) or (exact and not part.null_count):
        values = part.to_numpy() if isinstance(part, pa.ChunkedArray) else part.to_numpy(zero_copy_only=False)
        return values.tolist()
    return part.to_pylist()


def _has_gaps(column: np.ndarray | pa.ChunkedArray) -> bool:
    if isinstance(column, np.ndarray):
        return False
    if column.null_count or pa.types.is_null(column.type):
        return True
    # A dictionary may hold the missing value itself.
    return pa.types.is_dictionary(column.type) and any(chunk.dictionary.null_count for chunk in column.chunks)


def _size(where: Where, length: int) -> int:
    return len(range(*where.indices(length))) if isinstance(where, slice) else len(where)
