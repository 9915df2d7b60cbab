"""Dataclasses from and to nested mappings and TOML, with errors that name the key and suggest the nearest."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import tomli_w

from connectofit.connectome import toml_files
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.sim.surrogate import SURROGATES, Surrogate

_T = TypeVar("_T")


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file. Raises `MissingFileError` or `SettingError`."""
    return toml_files.read_toml(path, "model specification")


def write_toml(values: Mapping[str, Any], path: Path) -> Path:
    """Write a TOML file and return its path."""
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def from_dict(cls: type[_T], values: Any, where: str = "") -> _T:
    """An instance of a dataclass from a mapping, nested ones included."""
    place = where or f"the {cls.__name__}"
    if not isinstance(values, Mapping):
        raise SettingError(f"{place} has to be a table of settings; found {values!r}.")
    hints = get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown_name("key", key, known, place)
    missing = [
        name
        for name, f in known.items()
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SettingError(f"{place} lacks {missing[0]!r}. Add it; it has no default.")
    named = f"{place} ({values['name']!r})" if where and isinstance(values.get("name"), str) else place
    return cls(**{key: _convert(hints[key], value, f"{key!r} of {named}") for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SettingError(f"{where} has to be a list; found {value!r}.")
        return tuple(_convert(args[0], item, f"{where}, entry {k + 1}") for k, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise SettingError(f"{where} has to be a table; found {value!r}.")
        return {str(k): _convert(args[1], v, f"{k!r} in {where}") for k, v in value.items()}
    expected = {float: (int, float), int: (int,), str: (str,)}.get(hint)
    if expected and (not isinstance(value, expected) or isinstance(value, bool)):
        kind = {float: "a number", int: "a whole number", str: "text"}[hint]
        raise SettingError(f"{where} has to be {kind}; found {value!r}.")
    return float(value) if hint is float else value


def _convert_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    if isinstance(value, Mapping):
        # The dataclass whose required fields are there; otherwise the one that shares most keys explains what is wrong.
        tables = [o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
        if tables:
            keys = set(value)
            best = max(tables, key=lambda t: len(keys & {f.name for f in dataclasses.fields(t)} - {"default"}))
            return from_dict(best, value, where)
    if isinstance(value, list | tuple):
        lists = [option for option in options if get_origin(option) is tuple]
        if lists:
            return _convert(lists[0], value, where)
    for option in options:
        if option in (float, str) and isinstance(value, (int, float) if option is float else str):
            return _convert(option, value, where)
    kinds = {float: "a number", str: "text"}
    wanted = [
        kinds.get(o, "a table" if dataclasses.is_dataclass(o) else "a list") for o in options if o is not type(None)
    ]
    raise SettingError(f"{where} has to be {' or '.join(dict.fromkeys(wanted))}; found {value!r}.")


def to_dict(instance: Any) -> dict[str, Any]:
    """The inverse of `from_dict`; fields that have their default are left out."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(instance):
        value = getattr(instance, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if default is not dataclasses.MISSING and value == default:
            continue
        found[f.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def with_settings(cls: type[_T], settings: Mapping[str, Any], where: str) -> _T:
    """A model of class `cls` with settings for its fields; a surrogate is a table ``{kind = "arctan", width_mV =
    5}``."""
    fields = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in fields:
            raise unknown_name("setting", name, fields, where)
        values[name] = _surrogate(value, where) if name == "surrogate" else value
    return cls(**values)


def _surrogate(value: Any, where: str) -> Surrogate:
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or table.get("kind") not in SURROGATES:
        kind = table.get("kind") if isinstance(table, Mapping) else value
        raise unknown_name("surrogate", str(kind), SURROGATES, where)
    options = {name: value for name, value in table.items() if name != "kind"}
    return from_dict(SURROGATES[table["kind"]], options, f"the surrogate of {where}")


def settings_of(model: Any) -> dict[str, Any]:
    """The inverse of `with_settings`: a model's fields that do not have their defaults."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(model):
        value = getattr(model, f.name)
        if value == getattr(type(model)(), f.name):
            continue
        found[f.name] = {"kind": value.kind, **to_dict(value)} if isinstance(value, Surrogate) else value
    return found
