"""A connectome's neurons in populations and its edges in groups of one sign, as networks that learn tasks take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from connectofit.builders.values import column_of, types_of
from connectofit.connectome import KINDS, Connectome
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.connectome.synthetic.drawing import number
from connectofit.sim import Population, Projection, Synapse
from connectofit.sim.neurons import NeuronModel

Level = Literal["edges", "types"]
SignRule = Literal["neuron", "majority", "edge"]
Weights = Literal["drawn", "count"]


@dataclass(frozen=True, eq=False)
class Wiring:
    """Edges of one kind with a sign each, and the sign of each neuron.

    neurons: their table. pre, post: indices of each edge's neurons. sign: +1 or -1 of each edge. count: of each edge,
    above 0. excites: whether a neuron belongs to the excitatory ones.
    """

    neurons: pa.Table
    pre: Int[np.ndarray, " edge"]
    post: Int[np.ndarray, " edge"]
    sign: Int[np.ndarray, " edge"]
    count: Float[np.ndarray, " edge"]
    excites: Bool[np.ndarray, " neuron"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges that make one projection: indices within the two populations, sorted by presynaptic neuron, and where each
    stands in the wiring's arrays."""

    pre: Int[np.ndarray, " edge"]
    post: Int[np.ndarray, " edge"]
    place: Int[np.ndarray, " edge"]


def choice(name: str, value: object, options: Any) -> None:
    """Raise an `UnknownNameError` where a setting is none of the options."""
    if value not in get_args(options):
        raise unknown_name(name, str(value), get_args(options))


def signed_wiring(
    connectome: Connectome, sign_rule: SignRule = "neuron", unknown_sign: Literal["error", "drop"] = "error"
) -> Wiring:
    """The edges of a connectome with their signs.

    sign_rule: ``"neuron"``: a neuron whose edges have both signs is an error (Dale's law); ``"majority"``: all its
    edges take the sign that more of its summed count has, +1 where both have the same; ``"edge"``: every edge keeps its
    own, and a neuron counts as excitatory by the majority. A neuron that sends nothing counts as excitatory.
    unknown_sign: what to do with edges of sign 0.

    Raises `SettingError`: no edges, electrical ones, edges with a count of 0 or an unknown sign, a conflict of signs.
    """
    choice("rule of signs", sign_rule, SignRule)
    if unknown_sign not in ("error", "drop"):
        raise unknown_name("treatment of unknown signs", str(unknown_sign), ("error", "drop"))
    other = np.flatnonzero(connectome.kind != KINDS.index("chemical"))
    if other.size:
        raise SettingError(
            f"A network that learns tasks takes chemical edges; {_named(connectome, other)} are electrical. Give the "
            "connectome's `chemical` view."
        )
    nothing = np.flatnonzero(connectome.count == 0)
    if nothing.size:
        raise SettingError(
            f"Edges {_named(connectome, nothing)} have a count of 0, which is no prior for a weight: it would stay 0 "
            "whatever is learnt. Leave them out, or give them their count."
        )
    unknown = np.flatnonzero(connectome.sign == 0)
    if unknown.size and unknown_sign == "error":
        raise SettingError(
            f"Edges {_named(connectome, unknown)} have no sign. Settle signs when reading the tables, or leave these "
            'edges out with unknown_sign="drop".'
        )
    kept = np.flatnonzero(connectome.sign != 0)
    if not kept.size:
        raise SettingError("The connectome has no edges with a sign, so nothing is there to learn with.")
    pre, post, n = connectome.pre[kept], connectome.post[kept], connectome.n_neurons
    sign, count = connectome.sign[kept].astype(np.int64), connectome.count[kept].astype(np.float64)
    excited, inhibited = (np.bincount(pre[sign == s], count[sign == s], minlength=n) for s in (1, -1))
    excites = excited >= inhibited
    mixed = np.flatnonzero((excited > 0) & (inhibited > 0))
    if mixed.size and sign_rule == "neuron":
        ids = connectome.ids
        shown = [f"{ids[k]}: {excited[k]:g} excitatory, {inhibited[k]:g} inhibitory" for k in mixed[:5]]
        raise SettingError(
            f'Neurons send edges of both signs, against Dale\'s law, which sign_rule="neuron" holds: '
            f'{"; ".join(shown)} (summed counts; {mixed.size} neurons in all). Take sign_rule="majority" to give each '
            'neuron the sign of most of its synapses, or sign_rule="edge" to keep each edge\'s own.'
        )
    if sign_rule != "edge":
        sign = np.where(excites[pre], 1, -1)
    return Wiring(connectome.neurons, pre, post, sign, count, excites)


def labels_of(wiring: Wiring, types: str | Sequence[Any] | None) -> list[Any]:
    """The type of each neuron: from a column, one label for each, or for None E and I by sign."""
    n = wiring.excites.size
    if types is None:
        return ["E" if excites else "I" for excites in wiring.excites]
    if isinstance(types, str):
        return column_of(wiring.neurons, types, "the neurons, as types")
    if len(types) != n:
        raise SettingError(f"types has to be a column's name or one label for each of {n} neurons; found {len(types)}.")
    return list(types)


def population_of(
    wiring: Wiring, name: str, members: Int[np.ndarray, " member"], labels: list[Any] | None, model: NeuronModel
) -> Population:
    """A population of these neurons, with their ids and columns. labels: their types; None: each is one of its own."""
    table = wiring.neurons.take(pa.array(members))
    ids = tuple(table.column("id").to_pylist())
    if labels is None:
        return Population(name, model, ids, np.arange(members.size, dtype=np.int32), ids, table)
    type_index, types = types_of({"types": [labels[k] for k in members]}, members.size, f"population {name!r}")
    return Population(name, model, ids, type_index, types, table)


def input_population(labels: Sequence[str], model: NeuronModel, taken: Sequence[Any]) -> Population:
    """The population "input", an input for each label. Its ids are ``input_0``, ...; `taken` are ids of neurons."""
    if not len(labels) or isinstance(labels, str):
        raise SettingError(f"input_types has to hold a label for each input, at least one; found {labels!r}.")
    ids = tuple(f"input_{k}" for k in range(len(labels)))
    clash = sorted(set(ids) & set(taken))
    if clash:
        raise SettingError(f"Neurons of the connectome have ids of inputs: {offenders(clash)}. Rename them.")
    type_index, types = types_of({"input_types": list(labels)}, len(labels), "input_types")
    return Population("input", model, ids, type_index, types, pa.table({"id": ids, "input_type": list(labels)}))


def input_edges(
    n_inputs: int, targets: Int[np.ndarray, " target"], probability: float, scale: float, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " edge"], Int[np.ndarray, " edge"], Float[np.ndarray, " edge"]]:
    """(input, neuron, weight) of each edge from the inputs to the targets, each pair joined with the probability, of
    weights |N(0, scale / n_in)|, a variance, n_in the mean number of inputs to a target.

    Raises `SettingError` where no pair is joined.
    """
    probability = number("input_probability", probability, 0, 1, above=True)
    joined = rng.random((n_inputs, targets.size)) < probability
    pre, k = np.nonzero(joined)
    if not pre.size:
        raise SettingError(
            f"No input reaches a neuron with input_probability = {probability:g}. Take a larger one, or another seed."
        )
    return pre, targets[k], half_normal(pre.size, scale * targets.size / pre.size, rng)


def targets_of(connectome: Connectome, expression: str | None) -> Int[np.ndarray, " target"]:
    """The neurons that inputs reach: those for which the expression on their columns holds, or all.

    Raises `SettingError` where there are none.
    """
    if expression is None:
        return np.arange(connectome.n_neurons)
    found = connectome.select_neurons(expression)
    if not found.size:
        raise SettingError(f"input_to = {expression!r} holds for no neuron. Give another expression, or None for all.")
    return found


def groups_of(
    wiring: Wiring, owner: Int[np.ndarray, " neuron"], local: Int[np.ndarray, " neuron"], *, split_signs: bool
) -> Iterator[tuple[int, int, int, Edges]]:
    """(presynaptic population, postsynaptic one, sign, edges) of each projection. owner, local: population of each
    neuron, and its index in it. split_signs: whether edges of different sign make different projections (else the sign
    that is given is 0)."""
    sign = wiring.sign if split_signs else np.zeros_like(wiring.sign)
    keys = np.stack([owner[wiring.pre], owner[wiring.post], -sign])
    for pre, post, minus in np.unique(keys, axis=1).T.tolist():
        place = np.flatnonzero((keys[0] == pre) & (keys[1] == post) & (keys[2] == minus))
        yield pre, post, -minus, sorted_edges(local[wiring.pre[place]], local[wiring.post[place]], place)


def sorted_edges(pre: np.ndarray, post: np.ndarray, place: np.ndarray) -> Edges:
    """The edges in the order of their presynaptic, then their postsynaptic neuron."""
    order = np.lexsort((post, pre))
    return Edges(pre[order], post[order], place[order])


def projection_of(
    name: str,
    pre: Population,
    post: Population,
    synapse: Synapse,
    edges: Edges,
    weight: Float[np.ndarray, " edge"],
    level: Level,
    delay_ms: float,
) -> Projection:
    """A projection of these edges, with one type for each edge, or for each pair of the neurons' types."""
    if level == "edges":
        types: Any = range(edges.pre.size)
        type_index: np.ndarray = np.arange(edges.pre.size)
    else:
        pair = pre.type_index[edges.pre].astype(np.int64) * len(post.types) + post.type_index[edges.post]
        codes, type_index = np.unique(pair, return_inverse=True)
        types = tuple((pre.types[c // len(post.types)], post.types[c % len(post.types)]) for c in codes.tolist())
    indptr = np.concatenate([[0], np.cumsum(np.bincount(edges.pre, minlength=pre.size))])
    return Projection(
        name=name,
        pre=pre.name,
        post=post.name,
        synapse=synapse,
        indptr=indptr.astype(np.int32),
        post_index=edges.post.astype(np.int32),
        base_weight=weight.astype(np.float32),
        type_index=type_index.astype(np.int32),
        types=types,
        delay_ms=delay_ms,
    )


def half_normal(n: int, variance: float, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """|N(0, variance)|, never 0, so that every weight keeps its edge."""
    return np.maximum(np.abs(rng.standard_normal(n)), 1e-3) * np.sqrt(variance)


def _named(connectome: Connectome, edges: Int[np.ndarray, " edge"]) -> str:
    ids, pre, post = connectome.ids, connectome.pre, connectome.post
    shown = ", ".join(f"{ids[pre[e]]} -> {ids[post[e]]} (row {e})" for e in edges[:5].tolist())
    return f"{shown}{', ...' if edges.size > 5 else ''} ({edges.size} in all)"
