"""Every row of an edge table as an edge, its kind, count and sign checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.coded import Coded
from connectofit.connectome.columns import Table, numbers
from connectofit.connectome.edge_rules import CHEMICAL, ELECTRICAL, Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import KINDS
from connectofit.connectome.report import Found
from connectofit.connectome.signs import column_signs


def edges_as_given(
    table: Table, pre: Coded, post: Coded, universe: pa.Array, context: Context
) -> tuple[Edges, Coded | None]:
    """One edge per row of the table, its ends numbered in `universe`, and the column of signs if the table has one.

    Raises `SchemaError` for kinds that the policies do not name, negative counts, counts that are all 0, and signs that
    the policies do not name.
    """
    n_rows = table.arrow.num_rows
    rows, nothing = Found(n_rows), np.broadcast_to(np.int8(0), n_rows)
    kind = _kinds(table, context) if table.has("kind") else nothing
    if not table.has("kind"):
        text = "the table has no column of kinds: all edges are chemical"
        context.note(rows, "info", "no_kind_column", "", text)
    given_sign, signs = column_signs(table, context.policies.sign) if table.has("sign") else (nothing, None)
    if table.has("signed_weight"):
        weight = numbers(table, "signed_weight")
        context.columns["count"] = table.given["signed_weight"]
        negative = weight < 0
        _refuse_negative(table, "signed_weight", weight, negative & (kind == ELECTRICAL), "gap junctions have no sign")
        count = np.abs(weight.astype(np.int64) if negative.any() and weight.dtype.kind == "i" else weight)
        given_sign = np.where(given_sign != 0, given_sign, np.sign(weight).astype(np.int8) * (kind == CHEMICAL))
    elif table.has("count"):
        count = numbers(table, "count")
        if len(count) and count.min() < 0:
            remedy = "If the sign says whether the edge excites or inhibits, declare the column as 'signed_weight'"
            rule = f"counts cannot be negative. {remedy} instead of 'count'"
            _refuse_negative(table, "count", count, count < 0, rule)
    else:
        count = np.broadcast_to(np.int32(1), n_rows)
        text = "no column of counts is declared: every row counts 1"
        context.note(rows, "info", "no_count_column", "", text)
    if not count.any():
        raise SchemaError(
            f"Column {context.columns.get('count', '')!r} of {context.where}: every value is 0. Check which column "
            "holds the counts."
        )
    ends = [pc.index_in(ids.values, value_set=universe).to_numpy()[ids.codes] for ids in (pre, post)]
    row = np.arange(n_rows, dtype=np.int32 if n_rows < 2**31 else np.int64)
    return Edges(row, ends[0], ends[1], count, kind, given_sign), signs


def _kinds(table: Table, context: Context) -> np.ndarray:
    held, name, meaning = table.type_of("kind"), table.given["kind"], context.policies.kinds
    if not (pa.types.is_string(held) or pa.types.is_null(held)):
        raise SchemaError(f"Column {name!r} of {table.where} holds {held}; the kind must be text.")
    coded = table.coded("kind")
    values = coded.values.to_pylist()
    of_value = np.array([KINDS.index(meaning[value]) if value in meaning else -1 for value in values], np.int8)
    bad = coded.rows_of(of_value < 0, missing=bool((coded.codes < 0).any()))
    if len(bad):
        found = Found.among(bad, lambda rows: ["missing" if v is None else repr(v) for v in coded.at(rows)])
        raise SchemaError(
            f"Column {name!r} of {table.where}: the kind is none of {sorted(meaning)} in {found}. Correct these rows, "
            "or say what their values mean in Policies.kinds, e.g. {'gap': 'electrical'}."
        )
    return coded.each(of_value, -1)


def _refuse_negative(table: Table, canonical: str, values: np.ndarray, negative: np.ndarray, rule: str) -> None:
    found = Found.among(np.flatnonzero(negative), lambda rows: values[rows].tolist())
    if found:
        raise SchemaError(f"Column {table.given[canonical]!r} of {table.where}: {rule}; negative in {found}.")
