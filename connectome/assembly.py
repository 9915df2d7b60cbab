"""From edges in any order to the sorted, checked arrays of a Connectome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.arrays import combine, edges_in_order, frozen, sort_edges, take_rows
from connectofit.connectome.errors import SchemaError, offenders
from connectofit.connectome.policies import KINDS

_ELECTRICAL = KINDS.index("electrical")
_OWN_NAMES = ("pre", "post", "kind", "count", "sign")


def assemble(
    neurons: pa.Table,
    pre: np.ndarray,
    post: np.ndarray,
    count: np.ndarray,
    kind: np.ndarray | None,
    sign: np.ndarray | None,
    edge_columns: pa.Table | None,
) -> dict[str, Any]:
    """The fields of a Connectome, edges sorted by (pre, post, kind); see `Connectome.from_edges`."""
    neurons = neurons.combine_chunks()
    ids = _check_neurons(neurons)
    n, e = len(ids), len(pre)
    kind = np.zeros(e, np.int8) if kind is None else np.asarray(kind)
    sign = np.zeros(e, np.int8) if sign is None else np.asarray(sign)
    count = as_counts(np.asarray(count))
    table = pa.table({}) if edge_columns is None else edge_columns
    _check_names(table.column_names)
    lengths = {"pre": e, "post": len(post), "count": len(count), "kind": len(kind), "sign": len(sign)}
    if table.num_columns:
        lengths["edge_columns"] = table.num_rows
    if len(set(lengths.values())) > 1:
        raise SchemaError(f"All columns of the edges must have the same length; they have {lengths}.")
    for name, values, low, high in (
        ("pre", pre, 0, n - 1),
        ("post", post, 0, n - 1),
        ("kind", kind, 0, len(KINDS) - 1),
        ("sign", sign, -1, 1),
    ):
        values = np.asarray(values)
        if e and not (low <= values.min() and values.max() <= high):
            bad = np.flatnonzero(~((values >= low) & (values <= high)))
            found = [f"{values[i]} (edge {i})" for i in bad[:5]]
            raise SchemaError(
                f"{name} must lie between {low} and {high}; found {', '.join(found)} ({len(bad)} in all)."
            )
    pre, post, kind, sign = (np.asarray(v, t) for v, t in ((pre, "i4"), (post, "i4"), (kind, "i1"), (sign, "i1")))
    pre, post, kind, order = sort_edges(pre, post, kind, n)
    # Copies where nothing had to be sorted: the caller's own arrays must not be made read-only.
    rows = slice(None) if order is None else order
    fields = {"post": post.copy(), "count": count[rows].copy(), "kind": kind.copy(), "sign": sign[rows].copy()}
    _check_edges(ids, pre, n=n, **fields)
    return {
        "neurons": neurons,
        "indptr": frozen(np.searchsorted(pre, np.arange(n + 1)).astype(np.int64)),
        "edge_columns": table.combine_chunks() if order is None else take_rows(table, order),
        **{name: frozen(values) for name, values in fields.items()},
    }


def as_counts(values: np.ndarray) -> np.ndarray:
    """Counts as int32 where they are integers that fit, else as float64; `SchemaError` if not finite or negative."""
    if values.dtype == bool or not np.issubdtype(values.dtype, np.number):
        raise SchemaError(f"Counts must be numbers; they are {values.dtype}.")
    if len(values) and not (values.min() >= 0 and values.max() < np.inf):  # false for NaN, too
        bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        found = [f"{values[i]} (edge {i})" for i in bad[:5]]
        raise SchemaError(f"Counts must be finite and not negative; found {', '.join(found)} ({len(bad)} in all).")
    whole = np.issubdtype(values.dtype, np.integer) and values.max(initial=0) <= np.iinfo(np.int32).max
    return values.astype(np.int32 if whole else np.float64)


def _check_names(names: list[str]) -> None:
    taken = [name for name in names if name in _OWN_NAMES]
    if taken:
        raise SchemaError(
            f"Edge columns cannot be named {offenders(taken)}: a connectome keeps {', '.join(_OWN_NAMES)} itself, and "
            "the one would hide the other. Give them as arguments of these names, or rename the columns."
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise SchemaError(f"Names of edge columns must be unique; repeated: {offenders(twice)}. Rename the columns.")


def _check_neurons(neurons: pa.Table) -> pa.Array:
    if not neurons.column_names or neurons.column_names[0] != "id":
        raise SchemaError(f"The first column of neurons must be 'id'; the columns are {neurons.column_names}.")
    ids = combine(neurons.column("id"))
    if ids.type not in (pa.string(), pa.int64()) or ids.null_count:
        raise SchemaError(f"Neuron ids must be string or int64 without missing ones; they are {ids.type}.")
    if pc.count_distinct(ids).as_py() != len(ids):
        counts = ids.value_counts()
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
        raise SchemaError(f"Neuron ids must be unique; repeated: {offenders(repeated)}.")
    return ids


def _check_edges(
    ids: pa.Array,
    pre: np.ndarray,
    *,
    n: int,
    post: np.ndarray,
    count: np.ndarray,
    kind: np.ndarray,
    **_: Any,
) -> None:
    def named(edges: np.ndarray) -> str:
        shown = [f"{ids[int(pre[i])]} -> {ids[int(post[i])]}" for i in edges[:5]]
        return f"{', '.join(shown)}{', ...' if len(edges) > 5 else ''} ({len(edges)} in all)"

    if not edges_in_order(pre, post, kind, strictly=True):
        same = np.flatnonzero((np.diff(pre) == 0) & (np.diff(post) == 0) & (np.diff(kind) == 0))
        raise SchemaError(f"Two edges have the same pre, post and kind: {named(same)}. Merge them first.")
    gap = np.flatnonzero(kind == _ELECTRICAL)
    there = pre[gap].astype(np.int64) * n + post[gap]  # ascending, as the edges are sorted
    reverse = post[gap].astype(np.int64) * n + pre[gap]
    place = np.minimum(np.searchsorted(there, reverse), max(len(gap) - 1, 0))
    unpaired = gap[(there[place] != reverse) | (count[gap][place] != count[gap])] if len(gap) else gap
    if len(unpaired):
        raise SchemaError(
            f"A gap junction stands in both directions with equal counts, but these electrical edges do not: "
            f"{named(unpaired)}. read_connectome completes them by its policy electrical_pairs."
        )
