"""The signs of chemical edges: from the table's column, from the transmitter of the edge or of the presynaptic neuron,
or assumed, as `SignPolicy` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from connectofit.connectome.coded import Coded, encode
from connectofit.connectome.columns import Table
from connectofit.connectome.edge_rules import CHEMICAL, ELECTRICAL, Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import SignPolicy
from connectofit.connectome.report import Found, Severity, counted

_SOURCES = {
    "edge": "column",
    "edge_transmitter": "edge transmitter",
    "transmitter": "transmitter",
    "unknown": "assumed",
}


def column_signs(table: Table, policy: SignPolicy) -> tuple[Int[np.ndarray, " rows"], Coded]:
    """What the sign column says about each row: -1, 1, or 0 for nothing definite (missing values included); and the
    column itself, coded.

    Raises `SchemaError` for values that `SignPolicy.values` does not list, and for numbers other than -1, 0 and 1.
    """
    name = table.given["sign"]
    place = f"Column {name!r} of {table.where}"
    kind = table.type_of("sign")
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (number or pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise SchemaError(f"{place} holds {kind}; signs must be text or the numbers -1, 0 and 1.")
    coded = table.coded("sign")
    values = coded.values.to_pylist()
    if number:
        meaning = [int(value) if value in (-1, 0, 1) else None for value in values]
    else:
        known = {"": 0, **policy.values}
        if not table.typed and "1" not in known and set(values) <= {"1", "-1", "0", "+1", *known}:
            known |= {"1": 1, "+1": 1, "-1": -1, "0": 0}  # numbers that CSV could only give as text
        meaning = [known.get(value) for value in values]
    strange = coded.rows_of(np.array([sign is None for sign in meaning], bool))
    if len(strange):
        found = Found.among(strange, lambda rows: [repr(value) for value in coded.at(rows)])
        if number:
            raise SchemaError(
                f"{place}: signs given as numbers must be -1, 0 or 1, which they are not in {found}. If these are "
                "weights, declare the column as 'signed_weight'."
            )
        raise SchemaError(
            f"{place}: the sign policy does not say what these values mean: {found}. Add each to SignPolicy.values as "
            f"1, -1 or 0 (0: no definite sign); it lists {sorted(policy.values)}."
        )
    return coded.each(np.array(meaning, np.int8), 0), coded


def resolve_signs(
    edges: Edges,
    transmitters: pa.Array | None,
    edge_transmitters: pa.Array | None,
    column: Coded | None,
    context: Context,
) -> tuple[Int[np.ndarray, " e"], pa.DictionaryArray]:
    """Sign [e] and ``sign_source`` [e] of every edge; electrical edges have neither.

    `transmitters` [n] are those of the neurons that `edges.pre` indexes, `edge_transmitters` [e] those of the edges
    themselves, `column` the table's column of signs; None where the tables give none.
    """
    policy = context.policies.sign
    by_neuron = _transmitter_signs(transmitters, context.n_ids, policy)
    assumed = np.int8(0 if policy.unknown == "error" else policy.unknown)
    answers: dict[str, Callable[[], np.ndarray]] = {
        "edge": lambda: edges.given_sign,
        "edge_transmitter": lambda: _transmitter_signs(edge_transmitters, len(edges), policy),
        "transmitter": lambda: by_neuron[edges.pre],
        "unknown": lambda: np.broadcast_to(assumed, len(edges)),
    }
    unsigned = edges.kind == CHEMICAL
    sign, source = np.zeros(len(edges), np.int8), np.zeros(len(edges), np.int8)
    decided: dict[str, Found] = {}
    for position, name in enumerate(policy.order):
        if name == "unknown" and policy.unknown == "error" and unsigned.any():
            raise SchemaError(
                f"{context.subject}: neither the sign column nor a transmitter gives a sign for "
                f"{context.found(edges, unsigned)}. Set SignPolicy.unknown to 1, -1 or 0."
            )
        answer = answers[name]()
        mine = unsigned if name == "unknown" else unsigned & (answer != 0)
        np.copyto(sign, answer, where=mine)
        source[mine] = position
        decided[name] = context.found(edges, mine)
        unsigned = unsigned & ~mine
    labels = pa.array([_SOURCES[name] for name in policy.order])
    sources = pa.DictionaryArray.from_arrays(pa.array(source, mask=sign == 0), labels)
    _note(edges, sign, by_neuron, decided, column, context)
    return sign, sources


def _transmitter_signs(transmitters: pa.Array | None, length: int, policy: SignPolicy) -> Int[np.ndarray, " length"]:
    """What the policy says about each transmitter; 0 where it says nothing, or where there is none."""
    if transmitters is None:
        return np.broadcast_to(np.int8(0), length)
    coded = encode(transmitters)
    return coded.each(np.array([policy.transmitters.get(value, 0) for value in coded.values.to_pylist()], np.int8), 0)


def _note(
    edges: Edges,
    sign: np.ndarray,
    by_neuron: np.ndarray,
    decided: dict[str, Found],
    column: Coded | None,
    context: Context,
) -> None:
    policy, chemical = context.policies.sign, edges.kind == CHEMICAL
    total = counted(int(np.count_nonzero(chemical)), "chemical edge", "chemical edges")
    name = context.columns.get("sign", context.columns.get("signed_weight", ""))
    order = f"sign.order={list(policy.order)}"
    transmitters = f"sign.transmitters={policy.transmitters}"

    def note(severity: Severity, rule: str, found: Found, what: tuple[str, str] | str, setting: str) -> None:
        context.note(found, severity, rule, name, what, policy=setting)

    def of_all(what: str) -> tuple[str, str]:
        return f"of {total}: {what}", f"of {total}: {what}"

    if column is not None:
        indefinite = chemical & (edges.given_sign == 0)
        found = context.found(edges, indefinite)
        rest = _indefinite_values(column, edges.row[indefinite]) if found else ""
        share = f"({found.count / np.count_nonzero(chemical):.0%})" if found else ""
        ends = (f"has no definite sign in the column: {rest}", f"have no definite sign in the column: {rest}")
        texts = (f"of {total} {share} {ends[0]}", f"of {total} {share} {ends[1]}")
        note("warning", "no_definite_sign", found, texts, f"sign.values={policy.values}")
    none = Found(0)
    note("info", "sign_from_column", decided.get("edge", none), of_all("sign from the column"), order)
    text = of_all("sign of the transmitter that the table gives for the edge")
    note("info", "sign_from_edge_transmitter", decided.get("edge_transmitter", none), text, transmitters)
    text = of_all("sign of the presynaptic neuron's transmitter")
    note("info", "sign_from_transmitter", decided.get("transmitter", none), text, transmitters)
    assumed = f"assumed to be {policy.unknown:+d}" if policy.unknown in (1, -1) else "left without a sign"
    rest = f"a definite sign from no source: {assumed}"
    text = (f"of {total} has {rest}", f"of {total} have {rest}")
    note("warning", "sign_assumed", decided["unknown"], text, f"sign.unknown={policy.unknown}")
    if edges.given_sign.any():
        other = context.found(edges, chemical & (edges.given_sign * by_neuron[edges.pre] < 0))
        rest = "a sign in the column that is not that of the presynaptic neuron's transmitter"
        text = (f"chemical edge has {rest}", f"chemical edges have {rest}")
        note("info", "sign_contradicts_transmitter", other, text, order)
        on_gaps = context.found(edges, (edges.kind == ELECTRICAL) & (edges.given_sign != 0))
        rest = "a sign, which means nothing there"
        text = (f"electrical edge has {rest}", f"electrical edges have {rest}")
        note("info", "sign_on_electrical", on_gaps, text, "")
    both = np.logical_and(*(_has_edges(edges.pre[sign == value], context.n_ids) for value in (1, -1)))
    if both.any():
        edges_of = context.found(edges, chemical & both[edges.pre])
        rest = "chemical edges of both signs: Dale's law does not hold for these signs"
        text = (f"neuron sends {rest}", f"neurons send {rest}")
        note("info", "mixed_signs", replace(edges_of, count=int(np.count_nonzero(both))), text, order)


def _indefinite_values(column: Coded, rows: np.ndarray) -> str:
    """The values in these rows with how often they occur, the most frequent first."""
    size = np.bincount(column.codes[rows] + 1, minlength=len(column.values) + 1)
    values = ["", *(str(value) for value in column.values.to_pylist())]
    counts: dict[str, int] = {}
    for value, number in zip(values, size.tolist(), strict=True):
        counts[value] = counts.get(value, 0) + number
    ranked = sorted(((value, number) for value, number in counts.items() if number), key=lambda item: -item[1])
    return ", ".join(f"{value!r} {number}" for value, number in ranked[:8])


def _has_edges(pre: np.ndarray, n: int) -> np.ndarray:
    found = np.zeros(n, bool)
    found[pre] = True
    return found
