"""Parameters from numbers, columns and tables, tied by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.builders.spec import ByType, Column, Value
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim.parameters import Parameter


def types_of(
    columns: Mapping[str, list[Any]], size: int, where: str
) -> tuple[Int[np.ndarray, " row"], tuple[Any, ...]]:
    """(type_index, types): the distinct values of one column, or combinations of several, in order.

    Without a column all rows are of one type, "all". Raises `SettingError` where a value is missing.
    """
    if not columns:
        return np.zeros(size, np.int32), ("all",)
    for name, values in columns.items():
        missing = [row for row, value in enumerate(values) if value is None]
        if missing:
            raise SettingError(
                f"{where} ties by column {name!r}, which has no value in rows {offenders(missing)} of the rule. Give "
                "them a value, leave these rows out with 'where', or tie by another column."
            )
    keys = next(iter(columns.values())) if len(columns) == 1 else list(zip(*columns.values(), strict=True))
    types = sorted(set(keys))
    position = {value: k for k, value in enumerate(types)}
    return np.array([position[key] for key in keys], np.int32).reshape(size), tuple(types)


def column_of(table: pa.Table, name: str, where: str) -> list[Any]:
    """A column as Python values; `UnknownNameError` with the nearest where there is none."""
    if name not in table.column_names:
        raise unknown_name("column", name, table.column_names, where)
    return table.column(name).to_pylist()


def tied_values(
    name: str,
    value: Value | None,
    described: Parameter,
    table: pa.Table,
    type_index: Int[np.ndarray, " row"],
    types: tuple[Any, ...],
    where: str,
) -> Float[np.ndarray, " type"]:
    """One value per type of a parameter, from its rule (None: the default).

    Raises `SettingError` where neurons of one type would have different values, or some have none.
    """
    if value is None:
        value = described.default
    if not isinstance(value, Column | ByType):
        return np.full(len(types), float(value))
    each = per_row(name, value, table, where)
    first = np.zeros(len(types))
    first[type_index[::-1]] = each[::-1]
    different = np.flatnonzero(each != first[type_index])
    if different.size:
        shown = [f"{types[type_index[r]]}: {first[type_index[r]]:g} and {each[r]:g}" for r in different]
        raise SettingError(
            f"Parameter {name!r} of {where} has several values within one type: {offenders(shown)}. Neurons of one "
            "type share their parameters: tie by the column that the values depend on, or by 'id'."
        )
    return first


def per_row(name: str, value: Column | ByType, table: pa.Table, where: str) -> Float[np.ndarray, " row"]:
    """One value per row of a parameter that comes from a column or a table."""
    column = value.column if isinstance(value, Column) else value.by
    found = column_of(table, column, where)
    if isinstance(value, ByType):
        known = {str(item) for item in found}
        for key in value.table:
            if key not in known:
                raise unknown_name("type", key, known, f"column {column!r}, in the table for {name!r} of {where}")
        numbers = [value.table.get(str(item)) for item in found]
    else:
        wrong = [f"row {k}: {x!r}" for k, x in enumerate(found) if isinstance(x, str | bool)]
        if wrong:
            raise SettingError(f"Parameter {name!r} of {where} comes from {column!r}, which holds {offenders(wrong)}.")
        numbers = [None if x is None or x != x else float(x) for x in found]
    missing = sorted({str(item) for item, number in zip(found, numbers, strict=True) if number is None})
    if missing and value.default is None:
        what = (
            f"values {offenders(missing)} of column {column!r}" if isinstance(value, ByType) else f"column {column!r}"
        )
        rows = [k for k, number in enumerate(numbers) if number is None]
        raise SettingError(
            f"Parameter {name!r} of {where} has no value for {what}, in rows {offenders(rows)} of the rule. Add "
            "them, or a default."
        )
    return np.array([value.default if number is None else number for number in numbers], np.float64)
