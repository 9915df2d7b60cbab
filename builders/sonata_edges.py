"""The edges of a SONATA circuit: their size, delay and receptor, and one edge where several join the same neurons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from connectofit.builders.sonata_files import CircuitFiles, EdgeTable
from connectofit.builders.sonata_tables import ParameterSets, Told, by_value, dynamics_of, put_column, type_columns
from connectofit.connectome.errors import SchemaError, offenders

_STATIC = ("static_synapse", "nest:static_synapse")
_EDGE_KEYS = ("syn_weight", "delay", "nsyns", "receptor_type")
_MAX_RULES = 1000


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of all populations. receptor: [edge] into `receptors` (synapse, tau_syn_ms, e_rev_mV), -1 for none."""

    pre: np.ndarray
    post: np.ndarray
    count: np.ndarray
    sign: np.ndarray
    weight: np.ndarray
    delay_ms: np.ndarray
    receptor: np.ndarray
    receptors: Sequence[tuple[str, float, float]]
    further: Mapping[str, np.ma.MaskedArray]

    @classmethod
    def of(cls, files: CircuitFiles, first: Mapping[str, int], sets: ParameterSets, told: Told) -> Edges:
        """All edges, in the files' order."""
        receptors: list[tuple[str, float, float]] = []
        parts: dict[str, list[np.ndarray]] = defaultdict(list)
        further: dict[str, np.ma.MaskedArray] = {}
        read: dict[str, dict[str, Any]] = {}
        size = sum(len(each.type_id) for each in files.edges)
        start = 0
        for each in files.edges:
            rows = slice(start, start := start + len(each.type_id))
            values = _edge_values(files, each, read, told)
            pre, post = first[each.source] + each.source_row, first[each.target] + each.target_row
            receptor = _receptors(each, sets, post, values, receptors, told)
            weight = values["syn_weight"]
            new = {
                "pre": pre,
                "post": post,
                "count": values["nsyns"],
                "sign": np.where(weight < 0, -1, 1).astype(np.int8),
            }
            new |= {"weight": np.abs(weight), "delay_ms": values["delay"], "receptor": receptor}
            for name, column in new.items():
                parts[name].append(column)
            own = {
                "edge_population": np.ma.array(np.full(len(pre), each.name, object)),
                "edge_type_id": np.ma.array(each.type_id),
            }
            for name, column in {**own, **type_columns(each), **each.attributes}.items():
                if name not in _EDGE_KEYS:
                    put_column(further, name, column, rows, size, _OWN, told, "edges")
        if not parts:
            empty = {name: np.zeros(0) for name in ("weight", "delay_ms")}
            whole = {name: np.zeros(0, np.int64) for name in ("pre", "post", "count", "receptor")}
            return cls(**empty, **whole, sign=np.zeros(0, np.int8), receptors=[], further={})
        return cls(
            **{name: np.concatenate(all_of) for name, all_of in parts.items()}, receptors=receptors, further=further
        )

    def merged(self, neurons: pa.Table, told: Told, *, mean_delay: bool = False) -> Edges:
        """One edge for those that join the same neurons in the same way: counts added, sizes averaged by count.

        mean_delay: different delays are no other way; they are averaged by count times size.
        """
        order = np.lexsort((self.delay_ms, self.sign, self.receptor, self.post, self.pre))
        names = ("pre", "post", "receptor", "sign", "delay_ms")
        keys = [getattr(self, name)[order] for name in (names[:-1] if mean_delay else names)]
        new = np.ones(len(order), bool)
        new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
        group = np.cumsum(new) - 1
        pre, post = keys[0][new], keys[1][new]
        again = np.flatnonzero((np.diff(pre) == 0) & (np.diff(post) == 0))
        if again.size:
            ids = neurons.column("id")
            shown = [f"{ids[int(pre[k])]} -> {ids[int(post[k])]}" for k in again[:5].tolist()]
            raise SchemaError(
                f"{again.size} pairs of neurons are joined by edges of different {'' if mean_delay else 'delays, '}"
                f"signs or receptors, and a connectome has one edge from a neuron to another: {', '.join(shown)}"
                f"{', ...' if again.size > 5 else ''}. "
                + ("" if mean_delay else "pair_delays='mean' averages the delays of a pair. ")
                + "Edges of another sign or receptor can only be read apart, in a circuit without the others."
            )
        count = np.bincount(group, self.count[order]) if len(order) else np.zeros(0)
        total = np.bincount(group, (self.count * self.weight)[order]) if len(order) else np.zeros(0)
        first = order[new]
        if len(first) < len(order):
            told.add(
                "info",
                "edges_merged",
                "edges",
                "joined the same neurons and were merged",
                "same pair",
                len(order) - len(first),
            )
        single = np.bincount(group, minlength=len(first)) == 1
        whole = np.where(single, self.weight[first], total / np.maximum(count, 1))
        delay = _mean_delays(self, order, group, told) if mean_delay and len(order) else self.delay_ms[first]
        return Edges(
            pre, post, np.round(count).astype(np.int64), self.sign[first], whole, delay,
            self.receptor[first], self.receptors, {name: column[first] for name, column in self.further.items()},
        )  # fmt: skip


def _mean_delays(edges: Edges, order: np.ndarray, group: np.ndarray, told: Told) -> np.ndarray:
    """[group] The mean of the delays, each counted by the charge it brings (evenly where that is 0)."""
    delay, charge = edges.delay_ms[order], (edges.count * edges.weight)[order]
    charge = np.where((np.bincount(group, charge) > 0)[group], charge, 1.0)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    least, most = np.minimum.reduceat(delay, starts), np.maximum.reduceat(delay, starts)
    mean = np.bincount(group, charge * delay) / np.bincount(group, charge)
    if averaged := int((least < most).sum()):
        what = "have several delays, which were averaged"
        told.add("warning", "delays_averaged", "edges", what, f"at most {(most - least).max():g} ms apart", averaged)
    return np.where(least < most, mean, least)


_OWN = dict.fromkeys(("pre", "post", "kind", "count", "sign", "weight", "delay_ms", "receptor"))


def _edge_values(
    files: CircuitFiles, edges: EdgeTable, read: dict[str, dict[str, Any]], told: Told
) -> dict[str, np.ndarray]:
    """Size, delay, number of contacts and receptor of every edge: its own, else its type's, else NEST's defaults (1 pA,
    1 ms)."""
    n = len(edges.type_id)
    defaults = {"syn_weight": 1.0, "delay": 1.0, "nsyns": 1.0, "receptor_type": 0.0}
    found = {name: np.full(n, np.nan) for name in defaults}
    where = f"edges {edges.name!r}"
    for type_id, rows in by_value(edges.type_id):
        kind = edges.types.get(type_id, {})
        parameters = dynamics_of(files, kind, "synaptic_models_dir", read)
        for name, column in found.items():
            theirs = "weight" if name == "syn_weight" else name
            given = kind.get(name, parameters.get(theirs))
            if given is not None:
                column[rows] = _number(given, f"{name} of type {type_id} of {where}")
        unknown = [key for key in parameters if key not in ("weight", "delay", "receptor_type", "nsyns")]
        for key in unknown:
            told.add(
                "warning",
                "parameter_not_used",
                "edges",
                "have parameters that are not used",
                f"{edges.name}: {key}",
                len(rows),
            )
    for name, column in found.items():
        own = edges.attributes.get(name, edges.dynamics.get("weight" if name == "syn_weight" else name))
        if own is not None:
            there = ~np.ma.getmaskarray(own)
            if own.ndim != 1 or own.dtype.kind not in "iuf":
                raise SchemaError(
                    f"{name} of {where} has to be one number an edge; it is {own.dtype.name} {own.shape}."
                )
            column[there] = own.data[there].astype(float)
        missing = np.isnan(column)
        if missing.any() and name in ("syn_weight", "delay"):
            told.add(
                "warning",
                "nest_default",
                "edges",
                f"have no {name}: NEST's 1 was taken",
                edges.name,
                int(missing.sum()),
            )
        column[missing] = defaults[name]
        least = {"delay": 0.0, "nsyns": 0.0, "receptor_type": 0.0}.get(name, -np.inf)
        wrong = np.flatnonzero(~(np.isfinite(column) & (column >= least)))
        if name != "syn_weight" and name != "delay":
            wrong = np.union1d(wrong, np.flatnonzero(column != np.round(column)))
        if wrong.size:
            shown = [f"edge {k}: {column[k]:g}" for k in wrong]
            raise SchemaError(f"{name} of {where} cannot be {offenders(shown)}.")
    return found


def _number(value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise SchemaError(f"{what} has to be a number; found {value!r:.60}.") from None


def _receptors(
    edges: EdgeTable,
    sets: ParameterSets,
    post: np.ndarray,
    values: Mapping[str, np.ndarray],
    receptors: list[tuple[str, float, float]],
    told: Told,
) -> np.ndarray:
    """What each edge acts on, as a place in `receptors`, which grows; -1 where it is not understood."""
    found = np.full(len(post), -1)
    port = np.where(values["receptor_type"] > 0, values["receptor_type"], np.where(values["syn_weight"] < 0, -1, 0))
    keys = np.stack([edges.type_id, sets.of_node[post], port.astype(np.int64)], axis=1)
    kinds, which = np.unique(keys, axis=0, return_inverse=True)
    for k, rows in by_value(which.reshape(-1)):
        type_id, number, wanted = kinds[k].tolist()
        kind = edges.types.get(type_id, {})
        template = kind.get("model_template", _STATIC[0])
        neuron = sets.neurons[number] if number >= 0 else None
        side: str | int = {0: "ex", -1: "in"}.get(wanted, wanted)
        if template not in _STATIC or "weight_function" in kind:
            why = f"synapse {template!r}" if template not in _STATIC else f"weight_function {kind['weight_function']!r}"
        elif neuron is None:
            why = "onto neurons that are not understood"
        elif side not in neuron.receptors:
            why = f"receptor {side!r} of {neuron.model!r}"
        else:
            entry = (neuron.synapse, *neuron.receptors[side])
            same = [i for i, other in enumerate(receptors) if _same(other, entry)]
            if not same:
                receptors.append(entry)
            found[rows] = same[0] if same else len(receptors) - 1
            continue
        told.add(
            "warning",
            "edges_not_understood",
            "edges",
            "have no rule",
            f"{edges.name} (type {type_id}): {why}",
            len(rows),
        )
    if len(receptors) > _MAX_RULES:
        raise SchemaError(f"The circuit has {len(receptors)} kinds of receptors; at most {_MAX_RULES} are read.")
    return found


def _same(one: tuple[str, float, float], other: tuple[str, float, float]) -> bool:
    return one[0] == other[0] and bool(np.array_equal(one[1:], other[1:], equal_nan=True))
