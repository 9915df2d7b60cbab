"""Units of recordings: what a table or array is given in, and the pA, mV and ms that everything here is stored in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from connectofit.connectome.errors import SchemaError, SettingError, unknown_name

FACTORS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "current": MappingProxyType({"pA": 1.0, "nA": 1e3, "uA": 1e6, "A": 1e12}),
        "voltage": MappingProxyType({"mV": 1.0, "uV": 1e-3, "V": 1e3}),
        "time": MappingProxyType({"ms": 1.0, "us": 1e-3, "s": 1e3}),
    }
)
"""How many pA, mV or ms one unit is, by quantity."""

STORED: Final = MappingProxyType({"current": "pA", "voltage": "mV", "time": "ms"})


def full_units(units: Mapping[str, str] | None) -> dict[str, str]:
    """The unit of every quantity: those given, else pA, mV and ms.

    Raises `UnknownNameError` for a quantity or unit that does not exist.
    """
    given = dict(units or {})
    for quantity, unit in given.items():
        if quantity not in FACTORS:
            raise unknown_name("quantity", quantity, FACTORS, "units")
        if unit not in FACTORS[quantity]:
            # Case tells units apart (mV and MV), so that the nearest name is no safe suggestion here.
            raise SettingError(
                f"No unit of {quantity} named {unit!r} in units; known are {', '.join(FACTORS[quantity])}."
            )
    return {**STORED, **given}


def check_suffix(column: str, quantity: str, unit: str, where: str) -> None:
    """Raises `SchemaError` if a column's name ends with another unit of `quantity` than `unit`, e.g. ``i_nA``."""
    found = re.search(r"(?:_|\(|\[)([a-zA-Z]+)[)\]]?$", column)
    if found and found[1] in FACTORS[quantity] and found[1] != unit:
        raise SchemaError(
            f"Column {column!r} of {where} is named as if in {found[1]}, but is to be read in {unit}. Give "
            f"units={{{quantity!r}: {found[1]!r}}}, or rename the column."
        )
