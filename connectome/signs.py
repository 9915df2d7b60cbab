"""The signs of chemical edges: from the table's column, from the presynaptic transmitter, or assumed, as `SignPolicy`
says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.columns import Table
from connectofit.connectome.edge_rules import CHEMICAL, ELECTRICAL, Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import SignPolicy
from connectofit.connectome.report import Finding, Severity, examples_of, rows_text

_SOURCES = {"edge": "column", "transmitter": "transmitter", "unknown": "assumed"}


def column_signs(table: Table, policy: SignPolicy) -> Int[np.ndarray, " rows"]:
    """What the sign column says about each row: -1, 1, or 0 for nothing definite (missing values included).

    Raises `SchemaError` for values that `SignPolicy.values` does not list, and for numbers other than -1, 0 and 1.
    """
    column, name = table.column("sign"), table.given["sign"]
    place = f"Column {name!r} of {table.where}"
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        present = pc.fill_null(column, 0).cast(pa.float64()).to_numpy()
        bad = np.flatnonzero(~np.isin(present, (-1, 0, 1)))
        if len(bad):
            raise SchemaError(
                f"{place}: signs given as numbers must be -1, 0 or 1, which they are not in "
                f"{rows_text(examples_of(bad, present[bad]), len(bad))}. If these are weights, declare the column as "
                "'signed_weight'."
            )
        return present.astype(np.int8)
    if not (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
        raise SchemaError(f"{place} holds {column.type}; signs must be text or the numbers -1, 0 and 1.")
    coded = column.cast(pa.string()).dictionary_encode()
    values = coded.dictionary.to_pylist()
    known = {"": 0, **policy.values}
    if not table.typed and "1" not in known and set(values) <= {"1", "-1", "0", "+1", *known}:
        known |= {"1": 1, "+1": 1, "-1": -1, "0": 0}  # numbers that CSV could only give as text
    codes = pc.fill_null(coded.indices, len(values)).to_numpy(zero_copy_only=False)
    strange = [code for code, value in enumerate(values) if value not in known]
    if strange:
        rows = np.flatnonzero(np.isin(codes, strange))
        shown = [repr(values[code]) for code in codes[rows[:5]]]
        raise SchemaError(
            f"{place}: the sign policy does not say what these values mean: "
            f"{rows_text(examples_of(rows, shown), len(rows))}. Add each to SignPolicy.values as 1, -1 or 0 (0: no "
            f"definite sign); it lists {sorted(policy.values)}."
        )
    return np.array([*(known[value] for value in values), 0], np.int8)[codes]


def resolve_signs(
    edges: Edges, transmitters: pa.Array | None, table: Table, context: Context
) -> tuple[Int[np.ndarray, " e"], pa.Array]:
    """Sign [e] and ``sign_source`` [e] of every edge; electrical edges have neither.

    `transmitters` [n] are those of the neurons that `edges.pre` indexes, or None where the tables give none.
    """
    policy = context.policies.sign
    chemical = edges.kind == CHEMICAL
    by_neuron = np.zeros(context.n_ids, np.int8)
    if transmitters is not None:
        coded = transmitters.dictionary_encode()
        table_of = [policy.transmitters.get(value, 0) for value in coded.dictionary.to_pylist()]
        by_neuron = np.array([*table_of, 0], np.int8)[pc.fill_null(coded.indices, len(table_of)).to_numpy()]
    answers: dict[str, np.ndarray] = {
        "edge": edges.given_sign,
        "transmitter": by_neuron[edges.pre],
        "unknown": np.full(len(edges), 0 if policy.unknown == "error" else policy.unknown, np.int8),
    }
    sign, source = np.zeros(len(edges), np.int8), np.full(len(edges), -1)
    decided: dict[str, np.ndarray] = {}
    for position, name in enumerate(policy.order):
        unsigned = chemical & (sign == 0)
        if name == "unknown" and policy.unknown == "error" and unsigned.any():
            which = np.flatnonzero(unsigned)
            raise SchemaError(
                f"{context.subject}: neither the sign column nor a transmitter gives a sign for "
                f"{rows_text(context.pairs(edges, which), len(which))}. Set SignPolicy.unknown to 1, -1 or 0."
            )
        decided[name] = np.flatnonzero(unsigned if name == "unknown" else unsigned & (answers[name] != 0))
        sign[decided[name]] = answers[name][decided[name]]
        source[decided[name]] = position
    source[sign == 0] = -1
    labels = pa.array([_SOURCES[name] for name in policy.order])
    sources = labels.take(pa.array(source, mask=source < 0))
    _note(edges, sign, by_neuron, decided, table, context)
    return sign, sources


def _note(
    edges: Edges,
    sign: np.ndarray,
    by_neuron: np.ndarray,
    decided: dict[str, np.ndarray],
    table: Table,
    context: Context,
) -> None:
    policy, chemical = context.policies.sign, edges.kind == CHEMICAL
    total = int(chemical.sum())
    column = context.columns.get("sign", context.columns.get("signed_weight", ""))
    order = f"sign.order={list(policy.order)}"

    def note(
        severity: Severity, rule: str, which: np.ndarray, setting: str, message: str, count: int | None = None
    ) -> None:
        if len(which):
            found = len(which) if count is None else count
            examples = context.pairs(edges, which)
            text = f"{found} {message}"
            context.findings.append(Finding(severity, rule, "edges", column, found, setting, examples, text))

    indefinite = np.flatnonzero(chemical & (edges.given_sign == 0))
    if table.has("sign") and len(indefinite):
        raw = pc.fill_null(table.column("sign").cast(pa.string()), "").take(pa.array(edges.row[indefinite]))
        values = sorted(raw.value_counts().to_pylist(), key=lambda item: -item["counts"])
        parts = ", ".join(f"{item['values']!r} {item['counts']}" for item in values[:8])
        share = (
            f"of {total} chemical edges ({len(indefinite) / total:.0%}) have no definite sign in the column: {parts}"
        )
        note("warning", "no_definite_sign", indefinite, f"sign.values={policy.values}", share)
    none = np.zeros(0, np.int64)
    note(
        "info", "sign_from_column", decided.get("edge", none), order, f"of {total} chemical edges: sign from the column"
    )
    note(
        "info",
        "sign_from_transmitter",
        decided.get("transmitter", none),
        f"sign.transmitters={policy.transmitters}",
        f"of {total} chemical edges: sign of the presynaptic neuron's transmitter",
    )
    assumed = f"assumed to be {policy.unknown:+d}" if policy.unknown in (1, -1) else "left without a sign"
    note(
        "warning",
        "sign_assumed",
        decided["unknown"],
        f"sign.unknown={policy.unknown}",
        f"of {total} chemical edges have a definite sign from no source: {assumed}",
    )
    note(
        "info",
        "sign_contradicts_transmitter",
        np.flatnonzero(chemical & (edges.given_sign * by_neuron[edges.pre] < 0)),
        order,
        "chemical edges have a sign in the column that is not that of the presynaptic neuron's transmitter",
    )
    on_gaps = np.flatnonzero((edges.kind == ELECTRICAL) & (edges.given_sign != 0))
    note("info", "sign_on_electrical", on_gaps, "", "electrical edges have a sign, which means nothing there")
    both = np.logical_and(
        *(np.bincount(edges.pre[chemical & (sign == s)], minlength=context.n_ids) > 0 for s in (1, -1))
    )
    note(
        "info",
        "mixed_signs",
        np.flatnonzero(chemical & both[edges.pre]),
        order,
        "neurons send chemical edges of both signs: Dale's law does not hold for these signs",
        count=int(both.sum()),
    )
