"""What is free in a fit: which of a network's parameters, how they are shared, and their prior.

Each free parameter, one value per type in the network, is written as

    p_k = p0_k + shared + deviation_k        (transform "add": log gains, potentials)
    p_k = p0_k exp(shared + deviation_k)     (transform "scale": what has to stay above 0, such as time constants)

with Gaussian priors of standard deviation `sd_shared` and `sd_type` on the two parts, so types with few data stay
near the common value. Weights are ``sign * count * exp(log_gain)``: no value of a log gain can change a sign or make
an edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim import Network
from connectofit.sim.network import LOG_GAIN, Population, Projection
from connectofit.sim.parameters import Parameter

Values = dict[str, dict[str, Array]]


@dataclass(frozen=True)
class Free:
    """One free parameter: ``name`` is "owner.parameter", such as "chemical.log_gain"; sds are of its prior.

    start_sd: standard deviation of the shared part between starts.
    """

    name: str
    sd_shared: float = 3.0
    sd_type: float = 0.3
    start_sd: float = 0.5
    transform: Literal["add", "scale"] = "add"

    def __post_init__(self) -> None:
        if self.name.count(".") != 1:
            raise SettingError(
                f'A free parameter is named "owner.parameter", as "chemical.log_gain"; found {self.name!r}.'
            )
        for sd in ("sd_shared", "sd_type"):
            if not (math.isfinite(getattr(self, sd)) and getattr(self, sd) > 0):
                raise SettingError(f"{sd} of {self.name} has to be above 0; found {getattr(self, sd)!r}.")
        if not (math.isfinite(self.start_sd) and self.start_sd >= 0):
            raise SettingError(f"start_sd of {self.name} has to be 0 or more; found {self.start_sd!r}.")
        if self.transform not in get_args(Literal["add", "scale"]):
            raise unknown_name("transform", self.transform, ("add", "scale"), self.name)

    @property
    def owner(self) -> str:
        """The population or projection."""
        return self.name.split(".")[0]

    @property
    def parameter(self) -> str:
        """The parameter of the owner."""
        return self.name.split(".")[1]


@dataclass(frozen=True)
class Parameters:
    """All that is free in a network; hashable, so that it can be static under `jax.jit`."""

    free: tuple[Free, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "free", tuple(self.free))
        names = [f.name for f in self.free]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise SettingError(f"Every free parameter may be named once; named again: {offenders(twice)}.")

    def check(self, net: Network) -> None:
        """Raises `UnknownNameError` for owners or parameters that the network does not have, `SettingError` for a
        transform that would leave a parameter's bounds ("add" to a time constant) or change nothing ("scale" of 0)."""
        described = self._described(net)
        for f in self.free:
            if f.owner not in net.params:
                raise unknown_name("population or projection", f.owner, net.params, "the free parameters")
            if f.parameter not in net.params[f.owner]:
                raise unknown_name("parameter", f.parameter, net.params[f.owner], f.owner)
            parameter = described[f.owner][f.parameter]
            if f.transform == "add" and (parameter.low > -math.inf or parameter.high < math.inf):
                raise SettingError(
                    f"{f.name} has to be {parameter.rule}, which adding to it would not keep to. Use "
                    'transform = "scale".'
                )
            if f.transform == "scale" and not np.any(np.asarray(net.params[f.owner][f.parameter])):
                raise SettingError(f'{f.name} is 0, which no factor changes. Use transform = "add".')

    def initial(self, net: Network, key: PRNGKeyArray) -> Values:
        """Values of one start: shared parts drawn from N(0, start_sd), no deviations."""
        keys = jax.random.split(key, max(len(self.free), 1))
        values: Values = {}
        for f, k in zip(self.free, keys, strict=False):
            shape = jnp.shape(net.params[f.owner][f.parameter])
            values[f.name] = {"shared": f.start_sd * jax.random.normal(k), "deviation": jnp.zeros(shape)}
        return values

    def apply(self, net: Network, values: Mapping[str, Mapping[str, Any]]) -> Network:
        """The network with these values."""
        params: dict[str, dict[str, Array]] = {}
        for f in self.free:
            base, change = net.params[f.owner][f.parameter], values[f.name]["shared"] + values[f.name]["deviation"]
            params.setdefault(f.owner, {})[f.parameter] = (
                base + change if f.transform == "add" else base * jnp.exp(change)
            )
        return net.with_params(params)

    def table(self, net: Network) -> pd.DataFrame:
        """The free parameters of a network, a row each value: ``parameter`` ("owner.parameter"), ``unit``, ``type`` (of
        neurons, or "pre to post" of edges; empty where one value is for all) and ``value``."""
        rows = []
        owners: dict[str, Population | Projection] = {p.name: p for p in net.populations}
        owners |= {p.name: p for p in net.projections}
        for f in self.free:
            values, types = np.asarray(net.params[f.owner][f.parameter]), owners[f.owner].types
            names = [_type_name(t) for t in types] if len(types) == len(values) else [""] * len(values)
            unit = self._described(net)[f.owner][f.parameter].unit
            rows += [(f.name, unit, name, float(value)) for name, value in zip(names, values, strict=True)]
        return pd.DataFrame(rows, columns=["parameter", "unit", "type", "value"])

    @staticmethod
    def _described(net: Network) -> dict[str, Mapping[str, Parameter]]:
        described: dict[str, Mapping[str, Parameter]] = {p.name: p.model.parameters for p in net.populations}
        return described | {p.name: {"log_gain": LOG_GAIN, **p.parameters} for p in net.projections}

    def penalty(self, values: Mapping[str, Mapping[str, Any]]) -> Float[Array, ""]:
        """Minus the logarithm of the prior, without its constant."""
        terms = [
            0.5 * (values[f.name]["shared"] / f.sd_shared) ** 2
            + 0.5 * jnp.sum((values[f.name]["deviation"] / f.sd_type) ** 2)
            for f in self.free
        ]
        return jnp.asarray(sum(terms, start=jnp.zeros(())))


def _type_name(name: object) -> str:
    return " to ".join(map(str, name)) if isinstance(name, tuple) else str(name)
