"""What trains: groups of a network's parameters, written so that no value of them can change wiring or sign.

    "recurrent"       log gains of the projections between populations other than the source of inputs
    "input"           log gains of the projections from that source
    "bias"            constant input of the neurons
    "time constants"  of membranes and synapses, as factors exp(value)
    "readout"         weights and bias of the readout

A weight is ``base_weight * exp(log_gain)``: a log gain for each edge trains single edges, one for each type trains
types (`Projection.type_index`). Values are changes from where training starts, 0 at first, but for the readout's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.train.readout import Readout
from connectofit.sim import Network

GROUPS = ("recurrent", "input", "bias", "time constants", "readout")
DEFAULT_FREE = ("recurrent", "input", "readout")
_BIASES = ("i_bias_pA", "bias")
_TIME_CONSTANTS = ("tau_m_ms", "tau_ms", "tau_syn_ms", "tau_rise_ms", "tau_decay_ms", "tau_a_ms")

Values = dict[str, dict[str, Array]]  # {group: {owner or owner.parameter: [type]}}


@dataclass(frozen=True)
class Trainable:
    """Which groups train, and the population that inputs go to; hashable, so that it can be static under `jax.jit`."""

    free: tuple[str, ...] = DEFAULT_FREE
    source: str = "input"

    def __post_init__(self) -> None:
        given: Iterable[str] = (self.free,) if isinstance(self.free, str) else self.free
        object.__setattr__(self, "free", tuple(given))
        for name in self.free:
            if name not in GROUPS:
                raise unknown_name("group of parameters", str(name), GROUPS, "free")
        if not self.free:
            raise SettingError(f"Nothing is free to train. Name groups: {offenders(GROUPS)}.")

    def check(self, net: Network) -> None:
        """Raises a `SettingError` for a group that the network has nothing of, and for edges that no training moves."""
        for group in self.free:
            if group != "readout" and not self.places(net, group):
                raise SettingError(f"The network has no parameters of the group {group!r}. Leave it out of `free`.")
        for projection in net.projections:
            group = "input" if projection.pre == self.source else "recurrent"
            none = np.flatnonzero(np.asarray(projection.base_weight) == 0)
            if group in self.free and none.size:
                rows = [int(e) for e in none]
                raise SettingError(
                    f"Edges of {projection.name!r} have weight 0, which no factor changes: {offenders(rows)}. Remove "
                    "edges of count 0, or give them a weight."
                )

    def places(self, net: Network, group: str) -> list[tuple[str, str]]:
        """(owner, parameter) of what a group names in this network."""
        if group in ("recurrent", "input"):
            return [(p.name, "log_gain") for p in net.projections if (p.pre == self.source) == (group == "input")]
        found = []
        if group == "bias":
            found = [(p.name, n) for p in net.populations if p.name != self.source for n in _BIASES]
        elif group == "time constants":
            owners = [p.name for p in net.populations if p.name != self.source]
            owners += [p.name for p in net.projections if p.pre != self.source]
            found = [(owner, n) for owner in owners for n in _TIME_CONSTANTS]
        return [(owner, n) for owner, n in found if n in net.params[owner]]

    def initial(self, net: Network, readout: Readout) -> Values:
        """Values that change nothing."""
        dtype = jnp.result_type(float)
        values: Values = {}
        for group in self.free:
            if group == "readout":
                values[group] = {k: jnp.asarray(getattr(readout, k), dtype) for k in ("weights", "bias")}
                continue
            places = self.places(net, group)
            values[group] = {f"{o}.{n}": jnp.zeros(jnp.shape(net.params[o][n]), dtype) for o, n in places}
        return values

    def apply(self, net: Network, readout: Readout, values: Values) -> tuple[Network, Readout]:
        """The network and the readout with these values."""
        params: dict[str, dict[str, Any]] = {}
        for group in self.free:
            if group == "readout":
                readout = replace(readout, weights=values[group]["weights"], bias=values[group]["bias"])
                continue
            for owner, name in self.places(net, group):
                base, change = jnp.asarray(net.params[owner][name]), values[group][f"{owner}.{name}"]
                new = base * jnp.exp(change) if group == "time constants" else base + change
                params.setdefault(owner, {})[name] = new
        return net.with_params(params), readout

    def gains(self, values: Values) -> list[Array]:
        """All changes of log gains."""
        return [v for group in ("recurrent", "input") if group in values for v in values[group].values()]
