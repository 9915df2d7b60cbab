"""The way back: a connectome and a specification that build a given network, such as one that was trained on a task.

A model that is written as a bundle is built again when it is read, so that it needs both. Networks that did not come
from `connectofit.builders.build`, as those of `task_network`, get them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.builders.build import build
from connectofit.builders.serialise import settings_of
from connectofit.builders.spec import Delays, EdgeRule, ModelSpec, NeuronRule
from connectofit.connectome import KINDS, Connectome
from connectofit.connectome.errors import SettingError, offenders
from connectofit.sim import Network, Population, Projection, check_network

_TIES: tuple[tuple[str, ...], ...] = ((), ("pre.type", "post.type"), ("pre.type",), ("post.type",))
_EACH = ("pre.id", "post.id")
_DELAY_RESOLUTION_ms = 1e-6


def spec_of(network: Network, connectome: Connectome | None = None) -> tuple[Connectome, ModelSpec, Network]:
    """A connectome and a specification that build a network, and the network as they build it, with its parameters.

    The network that comes back has the same neurons, edges, weights, delays and values, and so the same activity. What
    may differ is the order of types and of edges, names of projections (``RULE:PRE->POST``), and gains whose sharing
    follows neither the neurons' types nor the edges: each edge then has one of its own. The connectome has the columns
    ``population`` and ``type`` of neurons (where a population has types; others as the populations have them),
    and ``projection``, ``weight`` (of one contact) and perhaps ``delay_ms`` of edges.

    Parameters
    ----------
    connectome: whose counts and signs the edges keep that join the same ids there. Counts of others are 1; their signs
    those of their weights, and for conductances, which have none, those of the reversal potential relative to the
    threshold or rest that the neuron has, unknown where it has neither.

    Raises
    ------
    SettingError: a pair of neurons with several edges of one kind, which a connectome has not; a coupling against the
    direction of its edges (take the specification that it was built with); neurons of two
    populations with one id; parameters of synapses that differ between types of neurons.
    """
    check_network(network)
    against = [each.name for each in network.projections if each.reverse]
    if against:
        raise SettingError(
            f"Projections {offenders(against)} run against the direction of their edges, which only the specification "
            "that the network was built with can say. Export the model with that one."
        )
    neurons = _neurons(network.populations)
    start = dict(zip((p.name for p in network.populations), _starts(network.populations), strict=True))
    ids = neurons.column("id").to_pylist()
    ends = [
        (start[each.pre] + each.pre_index.astype(np.int64), start[each.post] + np.asarray(each.post_index, np.int64))
        for each in network.projections
    ]
    pre, post = (_joined((end[k] for end in ends), np.int64) for k in (0, 1))
    kind = _joined((np.full(p.n_edges, _kind(p)) for p in network.projections), np.int8)
    _refuse_parallel(pre, post, kind, ids)
    count, sign = _counts_and_signs(network, ids, pre, post, kind, connectome)
    size = np.abs(_joined((np.asarray(p.base_weight) for p in network.projections), np.float64)) / count
    columns: dict[str, Any] = {
        "projection": [p.name for p in network.projections for _ in range(p.n_edges)],
        "weight": size,
    }
    if any(p.edge_delay_ms is not None for p in network.projections):
        columns["delay_ms"] = _joined((_delays(p) for p in network.projections), np.float64)
    graph = Connectome.from_edges(
        neurons,
        pre=pre.astype(np.int32),
        post=post.astype(np.int32),
        count=count,
        kind=kind,
        sign=sign,
        edge_columns=pa.table(columns),
    )
    spec = ModelSpec(
        tuple(_neuron_rule(p) for p in network.populations),
        tuple(_edge_rules(network)),
        name="network",
        description="made from a network",
    )
    return graph, spec, _with_values(build(graph, spec), network)


def _neurons(populations: Sequence[Population]) -> pa.Table:
    """One table of all neurons: id, population, type, and what the populations' own tables hold."""
    ids = [i for p in populations for i in p.ids]
    if len({type(i) for i in ids}) > 1:
        ids = [str(i) for i in ids]
    if len(set(ids)) < len(ids):
        raise SettingError(
            "Neurons have the same id as text, as 7 and '7'; a connectome's ids are unique. Rename them."
        )
    types = [_type_name(p, k) for p in populations for k in np.asarray(p.type_index).tolist()]
    own = {
        "id": pa.array(ids),
        "population": pa.array([p.name for p in populations for _ in p.ids]),
        "type": pa.array(types, pa.string()),
    }
    tables = [pa.table({"": pa.nulls(p.size)}) if p.table is None else p.table for p in populations]
    tables = [t.select([name for name in t.column_names if name not in own]) for t in tables]
    further = pa.concat_tables(tables, promote_options="permissive")
    return pa.table({**own, **{name: further.column(name) for name in further.column_names if name}})


def _type_name(population: Population, k: int) -> str | None:
    return str(population.types[k]) if _has_types(population) else None


def _has_types(population: Population) -> bool:
    return 1 < len(population.types) < population.size


def _starts(populations: Sequence[Population]) -> Int[np.ndarray, " population"]:
    return np.cumsum([0, *(p.size for p in populations)])[:-1]


def _joined(parts: Iterable[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(part, dtype) for part in parts)])


def _kind(projection: Projection) -> int:
    return KINDS.index("electrical" if projection.synapse.electrical else "chemical")


def _delays(projection: Projection) -> Float[np.ndarray, " edge"]:
    if projection.edge_delay_ms is None:
        return np.full(projection.n_edges, projection.delay_ms)
    return np.asarray(projection.edge_delay_ms)


def _refuse_parallel(pre: np.ndarray, post: np.ndarray, kind: np.ndarray, ids: Sequence[Any]) -> None:
    order = np.lexsort((kind, post, pre))
    same = np.flatnonzero(np.all([np.diff(x[order]) == 0 for x in (pre, post, kind)], axis=0))
    if same.size:
        shown = [f"{ids[pre[order[k]]]} -> {ids[post[order[k]]]}" for k in same[:5].tolist()]
        raise SettingError(
            f"Neurons are joined by several edges of one kind, and a connectome has one: {', '.join(shown)}"
            f"{', ...' if same.size > 5 else ''} ({same.size} in all). Merge them first."
        )


def _counts_and_signs(
    network: Network, ids: Sequence[Any], pre: np.ndarray, post: np.ndarray, kind: np.ndarray, graph: Connectome | None
) -> tuple[np.ndarray, Int[np.ndarray, " edge"]]:
    sign = _joined((_signs(network, p) for p in network.projections), np.int8)
    count = np.ones(pre.size)
    if graph is not None and graph.n_edges:
        places = {str(i): k for k, i in enumerate(graph.ids)}
        place = np.array([places.get(str(i), -1) for i in ids])
        n = graph.n_neurons
        known = (graph.pre.astype(np.int64) * n + graph.post) * len(KINDS) + graph.kind
        wanted = (place[pre] * n + place[post]) * len(KINDS) + kind
        wanted[(place[pre] < 0) | (place[post] < 0)] = -1
        rows = np.minimum(np.searchsorted(known, wanted), known.size - 1)
        there = (known[rows] == wanted) & (graph.count[rows] > 0)
        count[there] = graph.count[rows[there]]
        # A projection's own sign goes first: wiring may have been given other signs by rule.
        sign = np.where((sign == 0) & there, graph.sign[rows], sign)
    return count.astype(np.int32) if np.all(count == np.round(count)) else count, sign.astype(np.int8)


def _signs(network: Network, projection: Projection) -> Int[np.ndarray, " edge"]:
    """What an edge does to its target: the sign of its weight, or of its reversal potential above the neuron's rest."""
    if projection.synapse.electrical:
        return np.zeros(projection.n_edges, np.int8)
    if not projection.synapse.positive:
        return np.where(np.asarray(projection.base_weight) < 0, -1, 1).astype(np.int8)
    values = network.params[projection.name].get("e_rev_mV")
    post = network.population(projection.post)
    rest = network.params[projection.post].get(post.model.rest)
    if values is None or rest is None:
        return np.zeros(projection.n_edges, np.int8)
    kinds = np.asarray(post.type_index)[np.asarray(projection.post_index)]
    reversal = np.asarray(values)
    driven = (reversal[kinds] if reversal.size > 1 else reversal[0]) - np.asarray(rest)[kinds]
    return np.sign(driven).astype(np.int8)


def _neuron_rule(population: Population) -> NeuronRule:
    each = len(population.types) == population.size > 1
    tie = "id" if each else "type" if _has_types(population) else None
    return NeuronRule(
        name=population.name,
        model=population.model.kind,
        where=f"population == {population.name!r}",
        tie_by=tie,
        settings=settings_of(population.model),
    )


def _edge_rules(network: Network) -> Iterable[EdgeRule]:
    taken = {p.name for p in network.populations}
    for projection in network.projections:
        if not projection.n_edges:
            continue
        stem = projection.name.removesuffix(f":{projection.pre}->{projection.post}")
        name = next(text for text in (stem, projection.name, f"{projection.name}:") if text not in taken)
        taken.add(name)
        yield EdgeRule(
            name=name,
            synapse=projection.synapse.kind,
            where=f"projection == {projection.name!r}",
            tie_by=_tie(network, projection) or None,
            delay_ms=projection.delay_ms
            if projection.edge_delay_ms is None
            else Delays("delay_ms", _DELAY_RESOLUTION_ms),
            plasticity=None if projection.plasticity is None else projection.plasticity.kind,
            settings=settings_of(projection.synapse),
            weight="weight",
        )


def _tie(network: Network, projection: Projection) -> tuple[str, ...]:
    """The first of `_TIES` whose values stand for the types of the edges, one for one; else each edge on its own."""
    types = np.asarray(projection.type_index, np.int64)
    n_types = np.unique(types).size
    index = {"pre": projection.pre_index, "post": np.asarray(projection.post_index)}
    for tie in _TIES:
        ends = [column.partition(".")[0] for column in tie]
        populations = {end: network.population(getattr(projection, end)) for end in ends}
        if not all(_has_types(population) for population in populations.values()):
            continue
        code = np.zeros(types.size, np.int64)
        for end in ends:
            code = code * len(populations[end].types) + np.asarray(populations[end].type_index)[index[end]]
        pairs = np.unique(np.stack([code, types]), axis=1).shape[1]
        if pairs == n_types == np.unique(code).size:
            return tie
    return _EACH


def _with_values(built: Network, network: Network) -> Network:
    """The built network with the values of the one that it was made from."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for made, population in zip(built.populations, network.populations, strict=True):
        was = np.zeros(len(made.types), np.int64)
        was[np.asarray(made.type_index)] = np.asarray(population.type_index)
        params[made.name] = {k: np.asarray(v)[was] for k, v in network.params[population.name].items()}
    same = {_first_edge(p): p for p in built.projections}
    for old in network.projections:
        if not old.n_edges:
            continue
        new = same[_first_edge(old)]
        at_new = np.lexsort((np.asarray(new.post_index), new.pre_index))
        at_old = np.lexsort((np.asarray(old.post_index), old.pre_index))
        values = network.params[old.name]
        gain = np.asarray(values["log_gain"])[np.asarray(old.type_index)[at_old]]
        new_type = np.asarray(new.type_index)[at_new]
        log_gain = np.zeros(len(new.types), gain.dtype)
        log_gain[new_type] = gain
        if not np.array_equal(log_gain[new_type], gain):
            raise SettingError(
                f"Gap junctions of {old.name!r} have other gains in one direction than in the other, which a "
                "specification cannot say. Export the model with the specification that it was built with."
            )
        rest = {k: np.asarray(v) for k, v in values.items() if k != "log_gain"}
        by_type = [k for k, v in rest.items() if v.shape != (1,)]
        if by_type:
            raise SettingError(
                f"Parameters {offenders(by_type)} of {old.name!r} have a value for each type of neurons, which a "
                "specification cannot say. Make a projection for each type."
            )
        params[new.name] = {"log_gain": log_gain} | rest
    found = built.with_params(params)
    check_network(found)
    return found


def _first_edge(projection: Projection) -> tuple[Any, ...]:
    """What tells a projection from others: no edge joins the same neurons as another of its kind."""
    first = np.lexsort((np.asarray(projection.post_index), projection.pre_index))[0]
    ends = (int(projection.pre_index[first]), int(np.asarray(projection.post_index)[first]))
    return (projection.pre, projection.post, _kind(projection), *ends)
