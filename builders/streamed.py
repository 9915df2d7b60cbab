"""Random networks drawn straight into the arrays of a `Network`, where a table of the edges would not fit into memory.

Groups of neurons are joined by rules (`connectofit.builders.random_edges`). Edges are drawn in blocks of presynaptic
neurons, which come in the order of the arrays, so nothing but a block is ever held beside the network itself. An edge
takes 8 bytes (its target as int32, its weight as float32), 10 where edges have delays of their own, and a byte more
where their gains differ by type.

Every block draws from generators whose keys are the seed, the rule and the block, so the network does not depend on the
number of threads. Within the row of a presynaptic neuron edges ascend by delay, then by target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from connectofit.builders.random_edges import Rule
from connectofit.builders.streamed_blocks import Arrays, Member, Normal, Span, draw_arrays
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.connectome.synthetic.drawing import names_of_sizes, number, whole_number
from connectofit.sim import LIF, Exponential, Network, NeuronModel, Population, Projection, Synapse, check_network
from connectofit.sim.parameters import Parameter


@dataclass(frozen=True)
class NeuronGroup:
    """Neurons of one type: their number and parameters, and the population that they are part of.

    All groups of a population have one model, and are its types. Parameters that are not given have the model's
    defaults.
    """

    name: str
    size: int
    params: Mapping[str, float] = field(default_factory=dict)
    model: NeuronModel = field(default_factory=LIF)
    population: str = "cells"


@dataclass(frozen=True)
class Synapses:
    """What edges act through: edges of one name, between the same populations, are one projection."""

    name: str = "synapses"
    model: Synapse = field(default_factory=Exponential)
    params: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RandomEdges:
    """Edges from the neurons of group `pre` to those of group `post`; weights are signed."""

    pre: str
    post: str
    rule: Rule
    weight: Normal | float
    delay_ms: Normal | float
    synapses: Synapses = field(default_factory=Synapses)


def draw_network(
    groups: Sequence[NeuronGroup],
    edges: Sequence[RandomEdges],
    *,
    seed: int,
    dt_ms: float = 0.1,
    gains: Literal["one", "pairs"] = "one",
    threads: int | None = None,
) -> Network:
    """Draw a network of groups of neurons and random edges between them.

    Parameters
    ----------
    groups
        In the order of the neurons. Ids are ``"<group>_<number>"``; the column ``cell_type`` holds the group.
    edges
        Any number of rules, several between the same groups too.
    seed
        An integer; the same seed gives the same network (with the same version of NumPy).
    dt_ms
        The step that delays are multiples of.
    gains
        Edges of a projection share "one" gain (``log_gain`` has one entry, and simulations use the weights as they
        are), or the edges between each pair of groups have their own, in ``"pairs"``.
    threads
        How many to draw with; all processors by default.

    Raises
    ------
    SettingError
        Sizes, probabilities, parameters or delays that are not allowed; more than `MAX_EDGES` edges in a projection.
    UnknownNameError
        An edge rule that names a group, or a parameter, that does not exist.
    """
    whole_number("seed", seed)
    number("dt_ms", dt_ms, 0.0, above=True)
    if gains not in ("one", "pairs"):
        raise unknown_name("setting of gains", str(gains), ("one", "pairs"))
    places = _places(groups)
    _check_edges(edges, places, dt_ms)
    populations, params = _populations(groups)
    size = {population.name: population.size for population in populations}
    together: dict[tuple[str, str, str], list[int]] = {}
    for k, each in enumerate(edges):
        ends = places[each.pre].population, places[each.post].population
        together.setdefault((each.synapses.name, *ends), []).append(k)
    projections = []
    for (name, pre, post), numbers in together.items():
        name = name if len(populations) == 1 else f"{name}:{pre}->{post}"
        sources = [place.span for place in places.values() if place.population == pre]
        synapses = edges[numbers[0]].synapses
        pairs = list(dict.fromkeys((edges[k].pre, edges[k].post) for k in numbers)) if gains == "pairs" else []
        members = [_member(k, edges[k], places, pairs) for k in numbers]
        arrays = draw_arrays(name, sources, members, size[post], seed=seed, dt_ms=dt_ms, threads=threads)
        projection = _projection(name, (pre, post), synapses.model, arrays, tuple(pairs) or ("all",), dt_ms)
        values = parameters_of(synapses.params, projection.parameters, f"synapses {synapses.name!r}")
        params[name] = {"log_gain": np.zeros(len(projection.types)), **{k: np.full(1, v) for k, v in values.items()}}
        projections.append(projection)
    net = Network(tuple(populations), tuple(projections), params)
    check_network(net)
    return net


@dataclass(frozen=True)
class _Place:
    """Where the neurons of a group are."""

    population: str
    span: Span


def _places(groups: Sequence[NeuronGroup]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    filled: dict[str, int] = {}
    for group in groups:
        if group.name in places:
            raise SettingError(f"Two groups of neurons are named {group.name!r}. Give each a name of its own.")
        first = filled.get(group.population, 0)
        size = whole_number(f"size of group {group.name!r}", group.size, 1)
        places[group.name] = _Place(group.population, Span(group.name, size, first))
        filled[group.population] = first + size
    if not places:
        raise SettingError("There is no group of neurons to draw a network of. Give at least one NeuronGroup.")
    return places


def _populations(groups: Sequence[NeuronGroup]) -> tuple[list[Population], dict[str, dict[str, Any]]]:
    populations, params = [], {}
    for name in dict.fromkeys(group.population for group in groups):
        own = [group for group in groups if group.population == name]
        model = own[0].model
        other = [group.name for group in own if group.model != model]
        if other:
            raise SettingError(
                f"Groups {offenders([own[0].name, *other])} of population {name!r} differ in their model. Neurons of a "
                "population share one: give them populations of their own."
            )
        values = [parameters_of(group.params, model.parameters, f"group {group.name!r}") for group in own]
        sizes = {group.name: group.size for group in own}
        ids = tuple(f"{group.name}_{k}" for group in own for k in range(group.size))
        table = pa.table({"id": pa.array(ids), "cell_type": names_of_sizes(sizes)})
        kinds = np.repeat(np.arange(len(own), dtype=np.int32), list(sizes.values()))
        populations.append(Population(name, model, ids, kinds, tuple(sizes), table))
        params[name] = {key: np.array([each[key] for each in values]) for key in model.parameters}
    return populations, params


def _check_edges(edges: Sequence[RandomEdges], places: Mapping[str, _Place], dt_ms: float) -> None:
    synapses: dict[str, Synapses] = {}
    for each in edges:
        for end in (each.pre, each.post):
            if end not in places:
                raise unknown_name("group of neurons", end, places, f"the edges {each.pre!r} -> {each.post!r}")
        where = f"of the edges {each.pre!r} -> {each.post!r}"
        if synapses.setdefault(each.synapses.name, each.synapses) != each.synapses:
            raise SettingError(
                f"The synapses {each.synapses.name!r} {where} have another model or other parameters than those of "
                "the same name before. Give them a name of their own."
            )
        if not each.synapses.model.spiking:
            raise SettingError(
                f"The synapses {each.synapses.name!r} {where} are {each.synapses.model.kind} synapses, which carry no "
                "spikes; edges that are drawn have delays and carry spikes. Take another model."
            )
        weight, delay = _normal(each.weight), _normal(each.delay_ms)
        number(f"weight {where}", weight.mean, -np.inf)
        number(f"sd of the weight {where}", weight.sd, 0.0)
        if weight.sd > 0 and weight.mean == 0:
            raise SettingError(f"The weight {where} has mean 0 and so no sign to keep. Give it a mean that is not 0.")
        number(f"delay_ms {where} (a step of dt_ms = {dt_ms:g} or more)", delay.mean, dt_ms * (1 - 1e-6))
        number(f"sd of delay_ms {where}", delay.sd, 0.0)
        steps = delay.mean / dt_ms
        if delay.sd == 0 and abs(steps - round(steps)) > 1e-6 * steps:
            raise SettingError(
                f"delay_ms {where} is {delay.mean:g} ms, {steps:g} steps of dt_ms = {dt_ms:g}; it has to be a whole "
                f"number of steps. Take {round(steps) * dt_ms:g} ms, or another dt_ms."
            )


def parameters_of(given: Mapping[str, float], described: Mapping[str, Parameter], owner: str) -> dict[str, float]:
    """A value for every parameter: the one given, or the default."""
    for name in given:
        if name not in described:
            raise unknown_name("parameter", name, described, owner)
    return {name: float(given.get(name, parameter.default)) for name, parameter in described.items()}


def _member(number: int, edges: RandomEdges, places: Mapping[str, _Place], pairs: Sequence[tuple[str, str]]) -> Member:
    kind = pairs.index((edges.pre, edges.post)) if pairs else 0
    pre, post = places[edges.pre].span, places[edges.post].span
    return Member(number, pre, post, edges.rule, _normal(edges.weight), _normal(edges.delay_ms), kind)


def _projection(
    name: str, ends: tuple[str, str], synapse: Synapse, arrays: Arrays, types: tuple[Any, ...], dt_ms: float
) -> Projection:
    shortest_ms, longest_ms = (round(steps * dt_ms, 9) for steps in arrays.steps)  # so that 3 * 0.1 is 0.3
    return Projection(
        name=name,
        pre=ends[0],
        post=ends[1],
        synapse=synapse,
        indptr=arrays.indptr,
        post_index=arrays.post,
        base_weight=arrays.weight,
        type_index=arrays.kind,
        types=types,
        delay_ms=shortest_ms,
        edge_delay_ms=arrays.delay_ms,
        longest_delay_ms=None if arrays.delay_ms is None else longest_ms,
    )


def _normal(value: Normal | float) -> Normal:
    return value if isinstance(value, Normal) else Normal(value)
