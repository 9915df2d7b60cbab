"""Leaky linear readout of a network: what a task's outputs are read from.

    tau dy/dt = -y + x(t) W + b

x are the spike trains of the neurons that are read, as sums of delta functions in 1/ms, or the rates of graded ones.
Over a step x is held and y is exact: y(t + dt) = k y(t) + (1 - k) (x W + b), k = exp(-dt / tau), so that a spike adds
about
W / tau whatever the time step is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.sim import Network


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Readout:
    """Weights and bias of a leaky readout.

    weights: [neuron, output], neurons of `populations` one after the other. bias: [output]. tau_ms: the time constant.
    """

    weights: Float[Array, "neuron output"]
    bias: Float[Array, " output"]
    tau_ms: float = field(metadata={"static": True})
    populations: tuple[str, ...] = field(metadata={"static": True})

    @property
    def n_outputs(self) -> int:
        return self.bias.shape[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, which `from_dict` reads back."""
        return {
            "weights": np.asarray(self.weights).tolist(),
            "bias": np.asarray(self.bias).tolist(),
            "tau_ms": self.tau_ms,
            "populations": list(self.populations),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Readout:
        """The inverse of `to_dict`."""
        weights, bias = jnp.asarray(told["weights"]), jnp.asarray(told["bias"])
        return cls(weights, bias, float(told["tau_ms"]), tuple(told["populations"]))

    def decay(self, dt_ms: float) -> float:
        """What a step leaves of y."""
        return math.exp(-dt_ms / self.tau_ms)

    def pull(self, x: Float[Array, "*batch neuron"], dt_ms: float, *, spiking: bool) -> Float[Array, "*batch output"]:
        """What y moves towards: x W + b. Spikes are numbers per step; rates are taken as they are."""
        scale = 1.0 / dt_ms if spiking else 1.0
        return jnp.matmul(x, self.weights * scale, precision=lax.Precision.HIGHEST) + self.bias

    def follow(
        self, y: Float[Array, "*batch output"], pull: Float[Array, "*batch output"], dt_ms: float
    ) -> Float[Array, "*batch output"]:
        """y one step later."""
        k = self.decay(dt_ms)
        return k * y + (1.0 - k) * pull


def new_readout(
    net: Network,
    n_outputs: int,
    key: PRNGKeyArray,
    *,
    populations: Sequence[str] | None = None,
    tau_ms: float = 20.0,
    scale: float | None = None,
) -> Readout:
    """A readout with random weights and no bias.

    populations: whose neurons are read; None for all but sources of spikes. scale: standard deviation of the weights
    times the square root of the number of neurons; by default `tau_ms` for spiking neurons, 1 for others.

    Raises `UnknownNameError` for a population that does not exist, `SettingError` for settings that make no readout.
    """
    names = recurrent_populations(net) if populations is None else tuple(populations)
    if not names:
        raise SettingError("No population is left to read from. Name some with `populations`.")
    if n_outputs < 1 or not (math.isfinite(tau_ms) and tau_ms > 0):
        raise SettingError(f"A readout needs an output and a time constant above 0; found {n_outputs} and {tau_ms!r}.")
    size = sum(net.population(name).size for name in names)
    width = scale if scale is not None else tau_ms if net.population(names[0]).model.spiking else 1.0
    weights = width / math.sqrt(size) * jax.random.normal(key, (size, n_outputs))
    return Readout(weights, jnp.zeros(n_outputs), float(tau_ms), names)


def recurrent_populations(net: Network) -> tuple[str, ...]:
    """The populations that have a membrane or a rate: all but sources, whose activity is given."""
    sources = ("spike_source", "poisson_source")
    return tuple(p.name for p in net.populations if p.model.kind not in sources)
