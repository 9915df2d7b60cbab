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

    Raises as `check_quantities`.
    """
    return {**STORED, **check_quantities(units)}


def check_quantities(units: Mapping[str, str] | None) -> dict[str, str]:
    """The units that were given. Raises `UnknownNameError` for a quantity, `SettingError` for a unit that is none."""
    given = dict(units or {})
    for quantity, unit in given.items():
        if quantity not in FACTORS:
            raise unknown_name("quantity", quantity, FACTORS, "units")
        if unit not in FACTORS[quantity]:
            # Case tells units apart (mV and MV), so that the nearest name is no safe suggestion here.
            raise SettingError(
                f"No unit of {quantity} named {unit!r} in units; known are {', '.join(FACTORS[quantity])}."
            )
    return given


_WORD = re.compile("(pico|nano|micro|milli|)(ampere|amp|volt|second|sec)s?", re.IGNORECASE)
_SHORT = {"pico": "p", "nano": "n", "micro": "u", "milli": "m", "ampere": "A", "amp": "A", "volt": "V"}
_NOTHING = ("", "?", "unknown", "n/a", "none")


def spelt_unit(text: str) -> str:
    """A unit as `FACTORS` spells it: ``volts`` is V, ``µA`` uA, ``milliseconds`` ms; other text is given back."""
    short = text.strip().replace("µ", "u").replace("μ", "u")
    word = _WORD.fullmatch(short)
    return "".join(_SHORT.get(part.lower(), "s" if part else "") for part in word.groups()) if word else short


def stated_unit(quantity: str, stated: str, asked: str | None, what: str) -> str:
    """The unit of a trace in a file that says itself what its units are.

    Parameters
    ----------
    stated: as the file has it, e.g. ``volts`` or ``pA``; "" where it says nothing. asked: the unit that the caller
        gave for this quantity, None where none was given. what: names the trace in messages.

    Raises
    ------
    SchemaError: the file states a unit of another quantity, such as volts for a current, or one that is not known, or
    none and none was given. SettingError: the file states another unit than the caller.
    """
    unit = spelt_unit(stated)
    known = ", ".join(FACTORS[quantity])
    if unit in FACTORS[quantity]:
        if asked is not None and asked != unit:
            raise SettingError(f"{what} is in {unit}, as its file says, not in {asked}. Leave the unit out.")
        return unit
    other = next((name for name, units in FACTORS.items() if unit in units), "")
    if other:
        raise SchemaError(
            f"{what} has to be a {quantity}, in one of {known}; its file says that it is in {stated.strip()!r}, a unit "
            f"of {other}. If the channels were mixed up, name the right one; a recording in voltage clamp is of no use "
            "here."
        )
    if unit.lower() not in _NOTHING:
        raise SchemaError(f"{what} is in {stated.strip()!r}, which is no known unit of {quantity}: {known}.")
    if asked is None:
        raise SchemaError(f"{what} has no unit in its file. Give it: units={{{quantity!r}: ...}}, one of {known}.")
    return asked


def check_suffix(column: str, quantity: str, unit: str, where: str) -> None:
    """Raises `SchemaError` if a column's name ends with another unit of `quantity` than `unit`, e.g. ``i_nA``, or with
    one of another quantity, e.g. ``current_mV``."""
    found = re.search(r"(?:_|\(|\[)([a-zA-Z]+)[)\]]?$", column)
    other = next((name for name, units in FACTORS.items() if name != quantity and found and found[1] in units), None)
    if found and other:
        raise SchemaError(
            f"Column {column!r} of {where} is to be the {quantity}, but is named as if in {found[1]}, a unit of "
            f"{other}. If columns were mixed up, name the right one; else rename the column."
        )
    if found and found[1] in FACTORS[quantity] and found[1] != unit:
        raise SchemaError(
            f"Column {column!r} of {where} is named as if in {found[1]}, but is to be read in {unit}. Give "
            f"units={{{quantity!r}: {found[1]!r}}}, or rename the column."
        )
