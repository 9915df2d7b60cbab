"""Fitted cells as files: a neuron model with its parameters under a name, which a specification's neuron rules can use.

A cell is a TOML file ``NAME.toml``::

    name = "B6_glif5"
    model = "glif5"

    [params]                    # all parameters of the model, in its units
    c_m_pF = 121.6

    [settings]                  # fields of the model, where they are not the defaults
    [loss_params]               # what the fit had beside the model, such as delta_v_mV; a network does not use it
    [fitted]                    # where it comes from, for people

A neuron rule takes it by ``cell = "B6_glif5"`` in place of its model: the file is looked for in the folder of the
specification and in ``cells/`` below it. The rule's own params and settings go before those of the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.builders import serialise
from connectofit.connectome.errors import MissingFileError, SettingError, unknown_name
from connectofit.sim import NEURON_MODELS
from connectofit.sim.parameters import check_values


@dataclass(frozen=True)
class Cell:
    """A neuron model with its parameters. params: {parameter: number}; settings: fields of the model. loss_params and
    fitted: what its fit says of it.

    Raises `UnknownNameError` for models and parameters that do not exist, `SettingError` for values that are not
    allowed.
    """

    name: str
    model: str
    params: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    loss_params: Mapping[str, float] = field(default_factory=dict)
    fitted: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"cell {self.name!r}"
        if self.model not in NEURON_MODELS:
            raise unknown_name("neuron model", self.model, NEURON_MODELS, where)
        described = NEURON_MODELS[self.model].parameters
        for parameter, value in self.params.items():
            if parameter not in described:
                raise unknown_name("parameter", parameter, described, where)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"Parameter {parameter!r} of {where} has to be a number; found {value!r}.")
        check_values({k: np.asarray(v) for k, v in self.params.items()}, {k: described[k] for k in self.params}, where)
        serialise.with_settings(NEURON_MODELS[self.model], self.settings, where)

    @classmethod
    def load(cls, path: str | Path) -> Cell:
        """Read a cell's file. Raises `MissingFileError`, and as `Cell`."""
        path = Path(path)
        if not path.is_file():
            raise MissingFileError(f"There is no cell file {str(path)!r}. Check the path.")
        return serialise.from_dict(cls, serialise.read_toml(path))

    def dump(self, path: str | Path) -> Path:
        """Write the file ``NAME.toml`` into a folder, or to a path that ends with ``.toml``."""
        path = Path(path)
        if path.suffix != ".toml":
            path.mkdir(parents=True, exist_ok=True)
            path = path / f"{self.name}.toml"
        return serialise.write_toml(serialise.to_dict(self), path)


def with_cells(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A specification's tables with the cells that its neuron rules name put in their place.

    Raises `MissingFileError` for a cell without a file, `SettingError` for a rule that names a model and a cell.
    """
    rules = values.get("neurons")
    if not isinstance(rules, list) or not any(isinstance(rule, dict) and "cell" in rule for rule in rules):
        return values
    return {**values, "neurons": [_with_cell(rule, folder) for rule in rules]}


def _with_cell(rule: Any, folder: Path) -> Any:
    if not isinstance(rule, dict) or "cell" not in rule:
        return rule
    name, where = rule["cell"], f"neuron rule {rule.get('name', '?')!r}"
    if "model" in rule:
        raise SettingError(f"The {where} names a model and a cell, which has one. Leave one of the two out.")
    if not isinstance(name, str):
        raise SettingError(f"'cell' of {where} has to be the name of a cell; found {name!r}.")
    places = [folder / f"{name}.toml", folder / "cells" / f"{name}.toml"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise MissingFileError(
            f"The {where} names the cell {name!r}, and there is neither {str(places[0])!r} nor {str(places[1])!r}. "
            "Put the file that CellFit.as_cell().dump wrote there."
        )
    cell = Cell.load(found)
    rest = {key: value for key, value in rule.items() if key != "cell"}
    params = {**cell.params, **rest.get("params", {})}
    settings = {**cell.settings, **rest.get("settings", {})}
    return {**rest, "model": cell.model, "params": params, "settings": settings}
