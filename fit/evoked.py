"""What a network does when some of its neurons are stimulated: the model's side of stimulation experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.sim import Network, initial_state, rollout


@dataclass(frozen=True)
class Protocol:
    """How a stimulation experiment is run on the model.

    amplitude: the current into each stimulated neuron, held from time 0 on. dt_ms: time step. duration_ms: how long
    it is run. from_ms: the response is the mean over the steps that end after this time.
    """

    amplitude: float = 1.0
    dt_ms: float = 50.0
    duration_ms: float = 800.0
    from_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("amplitude", "dt_ms", "duration_ms"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise SettingError(f"{name} of a protocol has to be above 0; found {value!r}.")
        if not 0.0 <= self.from_ms < self.duration_ms:
            raise SettingError(
                f"from_ms has to be from 0 to below the duration of {self.duration_ms} ms; found {self.from_ms!r}."
            )
        if self.n_steps < 1 or abs(self.duration_ms / self.dt_ms - self.n_steps) > 1e-9:
            raise SettingError(
                f"The time step has to divide the duration; found {self.dt_ms} ms and {self.duration_ms} ms."
            )

    @property
    def n_steps(self) -> int:
        """Number of time steps."""
        return round(self.duration_ms / self.dt_ms)

    @property
    def first_step(self) -> int:
        """Index of the first step that counts."""
        return min(math.floor(self.from_ms / self.dt_ms + 1e-9), self.n_steps - 1)


def evoked(
    net: Network,
    drive: Float[Array, "condition neuron"],
    protocol: Protocol,
    alive: Float[Array, "condition neuron"] | None = None,
) -> Float[Array, "condition neuron"]:
    """Mean deviation of every neuron's voltage from rest in each condition, in the voltage's own unit.

    net: its neurons in the order of `Network.ids`. drive: 1 for a stimulated neuron (times the protocol's
    amplitude). alive: 0 for an ablated one. Differentiable in `net.params`. Raises `SettingError` for another
    number of neurons.
    """
    for name, given in (("drive", drive), ("alive", alive)):
        if given is not None and jnp.shape(given)[1:] != (net.n_neurons,):
            raise SettingError(
                f"{name} has to be [condition, {net.n_neurons}], one column for each neuron of the network; found "
                f"shape {jnp.shape(given)}."
            )
    drive = jnp.asarray(drive, jnp.result_type(float))  # or the amplitude would be rounded to the data's float32
    rest = initial_state(net, dt_ms=protocol.dt_ms)
    sizes = [population.size for population in net.populations]
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    voltages = {population.name: (population.model.voltage,) for population in net.populations}

    def split(row: Float[Array, "neuron"]) -> dict[str, Float[Array, "of_population"]]:
        return {
            p.name: row[start : start + size] for p, start, size in zip(net.populations, starts, sizes, strict=True)
        }

    def condition(row: Float[Array, "neuron"], mask: Float[Array, "neuron"] | None) -> Float[Array, "neuron"]:
        inputs = {name: protocol.amplitude * part[None, :] for name, part in split(row).items()}
        _, out = rollout(
            net,
            rest,
            inputs,
            dt_ms=protocol.dt_ms,
            n_steps=protocol.n_steps,
            record=voltages,
            alive=None if mask is None else split(mask),
        )
        parts = []
        for p in net.populations:
            v = out[p.name][p.model.voltage][protocol.first_step :]
            parts.append(v.mean(0) - rest.populations[p.name][p.model.voltage])
        return jnp.concatenate(parts)

    if alive is None:
        return jax.vmap(lambda row: condition(row, None))(drive)
    return jax.vmap(condition)(drive, alive)
