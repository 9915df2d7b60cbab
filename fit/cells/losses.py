"""What a fit of a cell makes small: the interface of the losses, and those of a freely running model's voltage.

A loss sees the model's parameters, its own, and the recording as rows of time; it runs the model as it needs it. Losses
add up with weights (`WeightedSum`). Those on spikes are in `connectofit.fit.cells.spike_losses`, likelihoods under
recorded spikes in `connectofit.fit.cells.teacher_forced`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.models import CellModel, Range
from connectofit.fit.cells.simulation import advanced, cell_start, fold_cell
from connectofit.fit.optimisers.objective import folded_squares
from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values

Data = Mapping[str, Any]
"""A recording as the losses see it: ``current_pA``, ``voltage_mV``, ``spikes`` (1 where one begins), ``counted`` (1
where the voltage counts), ``valid`` (1 in a sweep, 0 after its end), all [time, sweep]; ``start_mV`` [sweep], or
absent for a start at rest; ``fixed``, the parameters that are not free; perhaps ``pull_nS`` and ``towards_mV`` [time,
sweep]."""


class CellLoss(ABC):
    """A loss of one cell."""

    @property
    def couples(self) -> bool:
        """Whether a current can pull the model towards the recording."""
        return True

    @property
    def needs_spikes(self) -> bool:
        """Whether it has nothing to go by where the recording has no spike."""
        return False

    @property
    @abstractmethod
    def what(self) -> str:
        """What it is on, for messages."""

    def parameters(self) -> dict[str, Range]:
        """The loss's own free parameters."""
        return {}

    def check(self, cell: CellModel, dt_ms: float) -> None:
        """Raise a `SettingError` where the loss does not suit the model."""
        return

    @abstractmethod
    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        """The loss, a number. p: the model's parameters; own: the loss's."""


def running(data: Data, *names: str) -> dict[str, Array]:
    """The rows that a run needs, with the coupling where there is one, and the named ones."""
    coupling = ("pull_nS", "towards_mV") if "pull_nS" in data else ()
    return {name: data[name] for name in dict.fromkeys(("current_pA", *coupling, *names))}


@dataclass(frozen=True)
class VoltageError(CellLoss):
    """Mean squared difference of the freely running model's voltage from the recorded one [mV^2], where it counts.

    For models that draw their action potentials; the voltage of an integrate-and-fire neuron says little about when
    it fires, and after one spike that is off it counts as wrong until the next.
    """

    @property
    def what(self) -> str:
        return "voltage"

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        def add(total: Array, state: State, spikes: Array, row: Mapping[str, Array]) -> Array:
            return total + row["counted"] * (state[cell.neuron.voltage] - row["voltage_mV"]) ** 2

        zero = jnp.zeros_like(data["current_pA"][0])
        rows = running(data, "voltage_mV", "counted")
        total, _ = fold_cell(cell.neuron, p, rows, add, zero, dt_ms=dt_ms, start_mV=data.get("start_mV"))
        return total.sum() / jnp.maximum(data["counted"].sum(), 1.0)

    def squares(
        self, neuron: NeuronModel, values: Callable[[Array], Values], x: Array, data: Data, dt_ms: float
    ) -> tuple[Array, Array, Array]:
        """The loss, its gradient and its Gauss-Newton Hessian by `x`, for models whose state is all floating-point.
        values: x -> all parameters."""
        current = data["current_pA"]

        def start(x: Array) -> State:
            return cell_start(neuron, values(x), data.get("start_mV"), current.shape[1], current.dtype)

        def step(x: Array, state: State, row: Mapping[str, Array]) -> tuple[State, Array]:
            drive = Drive(row["current_pA"])
            if "pull_nS" in row:
                drive.add_conductance(row["pull_nS"], row["pull_nS"] * row["towards_mV"])
            state, _ = advanced(neuron, values(x), state, drive, dt_ms)
            return state, row["counted"] * (state[neuron.voltage] - row["voltage_mV"])

        total, slope, square = folded_squares(start, step, x, running(data, "voltage_mV", "counted"))
        n = jnp.maximum(data["counted"].sum(), 1.0)
        return total / n, 2.0 * slope / n, 2.0 * square / n


@dataclass(frozen=True)
class WeightedSum(CellLoss):
    """The sum of several losses times their weights, (weight, loss) pairs.

    Raises `SettingError` for weights that are not above 0.
    """

    parts: tuple[tuple[float, CellLoss], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple((float(w), loss) for w, loss in self.parts))
        if not self.parts or not all(math.isfinite(w) and w > 0 for w, _ in self.parts):
            raise SettingError(
                f"A sum of losses needs weights above 0; found {[w for w, _ in self.parts]!r}. Leave the others out."
            )

    @property
    def what(self) -> str:
        return " and ".join(loss.what for _, loss in self.parts)

    @property
    def couples(self) -> bool:
        return all(loss.couples for _, loss in self.parts)

    @property
    def needs_spikes(self) -> bool:
        return any(loss.needs_spikes for _, loss in self.parts)

    def parameters(self) -> dict[str, Range]:
        found: dict[str, Range] = {}
        for _, loss in self.parts:
            found |= loss.parameters()
        return found

    def check(self, cell: CellModel, dt_ms: float) -> None:
        for _, loss in self.parts:
            loss.check(cell, dt_ms)

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        values = [w * loss.value(cell, p, own, data, dt_ms) for w, loss in self.parts]
        return jnp.stack(values).sum()
