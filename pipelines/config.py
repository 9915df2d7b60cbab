"""Settings: checked sections of a recipe, and the tables (TOML, overrides) that they are made from.

A recipe's sections are pydantic models that refuse unknown keys; what pydantic finds is told as the package's own
errors, with the nearest name for a misspelt key.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectofit.connectome import toml_files
from connectofit.connectome.errors import ConnectofitError, SettingError, unknown_name

Table = dict[str, Any]

DataFile = Annotated[Path, Field(strict=False)]
"""A setting that names a file. Relative paths in a recipe start at the recipe, those in overrides at the current
folder; the key of a stage holds the file's content, not its path."""


class Settings(BaseModel):
    """Base of a recipe's sections: unknown keys, wrong types and non-finite numbers are refused; frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _tuples(cls, value: Any) -> Any:
        return {key: _as_tuple(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _as_tuple(value: Any) -> Any:
    """Lists become tuples, so that a frozen section is frozen all through and strict checks accept TOML's arrays."""
    if isinstance(value, Mapping):
        return {key: _as_tuple(item) for key, item in value.items()}
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value


def read_toml(path: Path) -> Table:
    """The table in a TOML file. Raises `MissingFileError`, or `SettingError` with the line that is not TOML."""
    return toml_files.read_toml(path)


def merge(*layers: Mapping[str, Any]) -> Table:
    """Later tables over earlier ones: tables merge key by key, every other value is replaced."""
    merged: Table = {}
    for layer in layers:
        for key, value in layer.items():
            here = merged.get(key)
            merged[key] = merge(here if isinstance(here, dict) else {}, value) if isinstance(value, Mapping) else value
    return merged


def parse_assignment(text: str) -> tuple[str, Any]:
    """``a.b=3`` as ``("a.b", 3)``. The value is read as TOML; what is not TOML is a plain string (``x=my/file.csv``).

    Raises `SettingError` if there is no ``=``, or if a value begins like a TOML string, array or table and is not one.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or not all(part.strip() for part in name.split(".")):
        raise SettingError(f"--set expects SECTION.NAME=VALUE, for example fit.seed=3; found {text!r}.")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError as error:
        if not value or value[0] in "[{\"'":
            raise SettingError(f"--set {name}: {value!r} is not a TOML value: {error}.") from None
        return name, value


def nest(overrides: Mapping[str, Any]) -> Table:
    """``{"fit.seed": 3}`` as ``{"fit": {"seed": 3}}``; nested tables are accepted too."""
    tables: list[Table] = []
    for dotted, value in overrides.items():
        table: Any = nest(value) if isinstance(value, Mapping) else value
        for part in reversed(dotted.split(".")):
            table = {part.strip(): table}
        tables.append(table)
    return merge(*tables)


def anchor_paths(tables: Mapping[str, Any], models: Mapping[str, type[Settings]], folder: Path) -> Table:
    """Make the relative paths among the sections' `DataFile` settings absolute, starting at `folder`."""
    anchored = dict(tables)
    for name, model in models.items():
        if isinstance(tables.get(name), Mapping):
            anchored[name] = _anchor_section(tables[name], model, folder)
    return anchored


def _anchor_section(section: Mapping[str, Any], model: type[BaseModel], folder: Path) -> Table:
    anchored = dict(section)
    for key, value in section.items():
        info = model.model_fields.get(key)
        types = list(_types(info.annotation)) if info else []
        if Path in types and isinstance(value, str | Path):
            anchored[key] = str(folder / Path(value).expanduser())
        elif isinstance(value, Mapping):
            for inner in types:
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    anchored[key] = _anchor_section(value, inner, folder)
    return anchored


def _types(annotation: Any) -> Iterable[Any]:
    """The classes that an annotation is made of: ``Path | None`` gives Path and NoneType."""
    inner = typing.get_args(annotation)
    if not inner:
        yield annotation
    for part in inner:
        yield from _types(part)


def check_sections(tables: Mapping[str, Any], models: Mapping[str, type[Settings]], where: str) -> dict[str, Settings]:
    """One checked instance for each section.

    Parameters: `tables` the merged tables by section; `models` the class of each section; `where` names the recipe in
    messages.
    Raises `UnknownNameError` for a key that does not exist, `SettingError` for a value of the wrong type or range.
    """
    for name in tables:
        if name not in models:
            raise unknown_name("section", name, models, where=where)
    checked: dict[str, Settings] = {}
    for name, model in models.items():
        table = tables.get(name, {})
        if not isinstance(table, Mapping):
            raise SettingError(f"{where}: {name!r} is a section with settings, not a value; found {table!r}.")
        try:
            checked[name] = model.model_validate(dict(table))
        except ValidationError as error:
            raise as_package_error(error, model, section=name, where=where) from None
    return checked


def as_package_error(error: ValidationError, model: type[BaseModel], section: str, where: str) -> ConnectofitError:
    """What pydantic found, as one error of the package that names the setting, the rule and what was found."""
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "extra_forbidden":
            location = item["loc"]
            options = _field_names(model, location[:-1])
            table = ".".join([section, *map(str, location[:-1])])
            return unknown_name("setting", str(location[-1]), options, where=f"section {table!r} of {where}")
    lines = []
    for item in found[:5]:
        setting = ".".join([section, *(str(part) for part in item["loc"])])
        if item["type"] == "missing":
            lines.append(f"{setting} is not set, and has no default")
        else:
            rule = item["msg"].removeprefix("Value error, ")
            rule = rule[:1].lower() + rule[1:]
            # A rule about several settings has the whole section as its input, which would bury the message.
            lines.append(f"{setting} = {item['input']!r}: {rule}" if item["loc"] else f"{section}: {rule}")
    more = f" ({len(found)} in all)" if len(found) > 5 else ""
    return SettingError(f"{where}: " + "; ".join(lines) + more + ". Correct the recipe, or override it with --set.")


def _field_names(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The settings that exist at `location` inside a section."""
    for part in location:
        info = model.model_fields.get(str(part))
        for inner in _types(info.annotation) if info else ():
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return list(model.model_fields)
