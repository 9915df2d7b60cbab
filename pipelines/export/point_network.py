"""A network of integrate-and-fire neurons as plain arrays, one value for each neuron and edge, for other simulators.

What they cannot express is collected first and refused in one message, with the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.sim import LIF, Network, Population, Projection
from connectofit.sim.checks import check_delays, check_network

Values = dict[str, Float[np.ndarray, " neuron"]]
SOURCES = ("spike_source", "poisson_source")


@dataclass(frozen=True, eq=False)
class Cells:
    """A population: the kind of its model, and every parameter of each neuron."""

    name: str
    kind: str
    ids: tuple[str | int, ...]
    values: Values

    @property
    def size(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Contacts:
    """A projection. weight: the effective ones. delay_steps: of every edge. values: the synapse's parameters at each
    postsynaptic neuron."""

    name: str
    pre: str
    post: str
    kind: str
    pre_index: Int[np.ndarray, " edge"]
    post_index: Int[np.ndarray, " edge"]
    weight: Float[np.ndarray, " edge"]
    delay_steps: Int[np.ndarray, " edge"]
    values: Values


@dataclass(frozen=True, eq=False)
class PointNetwork:
    """Populations and projections in the network's order."""

    cells: tuple[Cells, ...]
    contacts: tuple[Contacts, ...]

    def onto(self, name: str) -> list[Contacts]:
        """The projections onto a population."""
        return [each for each in self.contacts if each.post == name]

    def of(self, name: str) -> Cells:
        """The population of that name."""
        return next(each for each in self.cells if each.name == name)


@dataclass(frozen=True)
class Limits:
    """What a format can express. target: its name in messages. cells, synapses: kinds. further: more reasons against a
    network that is otherwise expressible."""

    target: str
    cells: tuple[str, ...]
    synapses: tuple[str, ...]
    refractory_input: tuple[str, ...] = ("drop",)
    clears_synapses: bool = False
    further: Callable[[PointNetwork], Sequence[str]] = lambda net: ()


def point_network(net: Network, dt_ms: float, limits: Limits) -> PointNetwork:
    """The arrays of a network. Raises `SettingError` with every reason why the format cannot express it."""
    check_network(net)
    reasons = [r for p in net.populations for r in _against_population(net, p, limits)]
    reasons += [r for p in net.projections for r in _against_projection(net, p, limits)]
    if reasons:
        raise refusal(limits.target, reasons)
    check_delays(net, dt_ms)
    cells = tuple(
        Cells(
            p.name,
            p.model.kind,
            p.ids,
            {k: np.asarray(v, np.float64)[np.asarray(p.type_index)] for k, v in net.params[p.name].items()},
        )
        for p in net.populations
    )
    found = PointNetwork(cells, tuple(_contacts(net, p, dt_ms) for p in net.projections))
    reasons = list(limits.further(found))
    if reasons:
        raise refusal(limits.target, reasons)
    return found


def refusal(target: str, reasons: Sequence[str]) -> SettingError:
    """The error that a model cannot be exported, with the first five reasons."""
    more = f"; and {len(reasons) - 5} more reasons" if len(reasons) > 5 else ""
    return SettingError(
        f"This model cannot be exported to {target} without changing what it computes: {'; '.join(reasons[:5])}{more}. "
        "Change the model, or export it to another format ('bundle' takes every model)."
    )


def whole_steps(t_ref_ms: Float[np.ndarray, " neuron"], dt_ms: float) -> Float[np.ndarray, " neuron"]:
    """The refractory period in ms as it runs here: rounded to steps."""
    return np.round(t_ref_ms / dt_ms) * dt_ms


def _against_population(net: Network, population: Population, limits: Limits) -> list[str]:
    model, name = population.model, population.name
    reasons = []
    if model.kind not in limits.cells:
        return [f"population {name!r} is {model.kind}, and {limits.target} takes {', '.join(limits.cells)}"]
    if model.kind != "poisson_source" and np.any(np.asarray(net.params[name][model.noise]) > 0):
        reasons.append(f"population {name!r} has noise in its membrane ({model.noise} above 0)")
    if isinstance(model, LIF):
        if model.refractory_input not in limits.refractory_input and any(
            p.synapse.kind == "delta" for p in net.projections if p.post == name
        ):
            reasons.append(f"population {name!r} keeps the jumps that come in its refractory period")
        if model.clears_synapses and not limits.clears_synapses:
            reasons.append(f"spikes of population {name!r} set its synapses to 0")
    return reasons


def _against_projection(net: Network, projection: Projection, limits: Limits) -> list[str]:
    kind, name = projection.synapse.kind, projection.name
    reasons = []
    if kind not in limits.synapses:
        reasons.append(f"projection {name!r} is {kind}, and {limits.target} takes {', '.join(limits.synapses)}")
    if projection.plasticity is not None:
        reasons.append(f"the weights of projection {name!r} learn ({projection.plasticity.kind})")
    if net.population(projection.post).model.kind in SOURCES:
        reasons.append(f"projection {name!r} goes onto sources of spikes")
    return reasons


def _contacts(net: Network, projection: Projection, dt_ms: float) -> Contacts:
    own = net.params[projection.name]
    post = net.population(projection.post)
    gain = np.exp(np.asarray(own["log_gain"], np.float64))[np.asarray(projection.type_index)]
    delay_ms = projection.delay_ms if projection.edge_delay_ms is None else np.asarray(projection.edge_delay_ms)
    values = {}
    for name in projection.synapse.parameters:
        value = np.asarray(own[name], np.float64)
        values[name] = np.full(post.size, value[0]) if value.shape == (1,) else value[np.asarray(post.type_index)]
    return Contacts(
        projection.name,
        projection.pre,
        projection.post,
        projection.synapse.kind,
        np.asarray(projection.pre_index, np.int64),
        np.asarray(projection.post_index, np.int64),
        np.asarray(projection.base_weight, np.float64) * gain,
        np.broadcast_to(np.round(np.asarray(delay_ms) / dt_ms).astype(np.int64), projection.n_edges),
        values,
    )


def same_for_all(values: Mapping[str, np.ndarray]) -> bool:
    """Whether every parameter has one value for all neurons."""
    return all(value.size == 0 or bool(np.all(value == value.flat[0])) for value in values.values())
