"""Descriptions of model parameters: default, unit and the values that are allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from connectofit.connectome.errors import SettingError, offenders, unknown_name


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model. `low` and `high` bound what is allowed; `open_low` leaves `low` itself out."""

    default: float
    unit: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def allowed(self, values: np.ndarray) -> np.ndarray:
        """Which values are finite and within the bounds."""
        above = values > self.low if self.open_low else values >= self.low
        return np.isfinite(values) & above & (values <= self.high)

    @property
    def rule(self) -> str:
        """The bounds in words."""
        if self.low == -math.inf and self.high == math.inf:
            return "finite"
        low = "" if self.low == -math.inf else f"{'above' if self.open_low else 'at least'} {self.low:g}"
        high = "" if self.high == math.inf else f"at most {self.high:g}"
        return "finite and " + " and ".join(part for part in (low, high) if part)


def check_values(
    values: Mapping[str, np.ndarray], described: Mapping[str, Parameter], owner: str, labels: Sequence[object] = ()
) -> None:
    """Raise `UnknownNameError` for a parameter that does not exist, `SettingError` for values that are not allowed.

    labels: names of the entries (types), shown for the ones that are wrong.
    """
    for name, array in values.items():
        if name not in described:
            raise unknown_name("parameter", name, described, owner)
        array = np.atleast_1d(np.asarray(array, np.float64))
        wrong = np.flatnonzero(~described[name].allowed(array).reshape(-1))
        if wrong.size:
            named = [
                f"{labels[i]} = {array.reshape(-1)[i]:g}" if len(labels) == array.size else f"{array.reshape(-1)[i]:g}"
                for i in wrong.tolist()
            ]
            raise SettingError(
                f"Parameter {name!r} of {owner} has to be {described[name].rule} [{described[name].unit}]; found "
                f"{offenders(named)}. Correct these values in the model's specification or in the fitted parameters."
            )
    missing = [name for name in described if name not in values]
    if missing:
        raise SettingError(f"{owner} lacks parameters {offenders(missing)}. Give every parameter of the model a value.")
