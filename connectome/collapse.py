"""From neurons to types: the graph whose nodes are the values of a column."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.arrays import combine, frozen
from connectofit.connectome.assembly import as_counts
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.policies import KINDS
from connectofit.connectome.selectors import edges_from, share

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

G = TypeVar("G", bound="ColumnarGraph")
COLUMNS = ("n_pairs", "excitatory", "inhibitory", "unsigned", "input_fraction", "output_fraction")
"""The edge columns of a collapsed connectome, beside count, kind and sign."""
Untyped = Literal["error", "drop", "together", "apart"]
_FIELDS = ("pre", "post", "count", "kind", "sign")
_BLOCK = 2**19
"""Pairs of types whose sums are made at a time."""
_CELLS_PER_EDGE = 16
"""Pairs of types for each edge up to which a sum is kept for every pair."""


class Types(NamedTuple):
    """The types and whose they are: `ids` [t] (text or int64), `sizes` [t], and `code` [n], -1 for none."""

    ids: pa.Array
    sizes: Int[np.ndarray, " t"]
    code: Int[np.ndarray, " n"]


class Sums(NamedTuple):
    """Summed edges, one row per pair of types that has any, sorted by (pre, post)."""

    pre: Int[np.ndarray, " s"]
    post: Int[np.ndarray, " s"]
    excitatory: np.ndarray
    inhibitory: np.ndarray
    unsigned: np.ndarray
    n_pairs: Int[np.ndarray, " s"]


def types_of(connectome: ColumnarGraph, by: str, untyped: Untyped) -> Types:
    """The values of a neuron column, sorted, and the neurons that have them; see `Connectome.collapse`."""
    if by not in connectome.neurons.column_names:
        raise unknown_name("column", by, connectome.neurons.column_names, "the neurons")
    if untyped not in get_args(Untyped):
        raise unknown_name("way to treat neurons without a type", str(untyped), get_args(Untyped), "untyped")
    column = combine(connectome.neurons.column(by))
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError(f"Neurons cannot be put together by {by!r}: it holds {column.type}, not text or integers.")
    column = column if pa.types.is_string(column.type) else column.cast(pa.int64())
    missing = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
    if len(missing) and untyped == "error":
        names = connectome.neurons.column("id").take(missing).to_pylist()
        raise SchemaError(
            f"{len(missing)} of {connectome.n_neurons} neurons have no {by}: {offenders(names)}. Say what to do with "
            f"them by untyped: 'drop' (with their edges), 'together' (one type) or 'apart' (each its own)."
        )
    if len(missing) and untyped in ("together", "apart"):
        column = pc.coalesce(*_stand_ins(connectome, column, by, untyped))
    values = pc.unique(column).drop_null()
    values = values.take(pc.array_sort_indices(values))
    code = pc.fill_null(pc.index_in(column, value_set=values, skip_nulls=True), -1).to_numpy().astype(np.int32)
    return Types(values, np.bincount(code[code >= 0], minlength=len(values)), code)


def _stand_ins(connectome: ColumnarGraph, column: pa.Array, by: str, untyped: Untyped) -> tuple[pa.Array, pa.Array]:
    """The column, as text where it has to be, and what stands where it has no value."""
    ids = combine(connectome.neurons.column("id"))
    if untyped == "together" or ids.type != column.type:
        column = column.cast(pa.string())
    other = pa.array([f"(no {by})"] * len(column)) if untyped == "together" else ids.cast(column.type)
    clash = set(pc.unique(column).to_pylist()) & set(other.filter(column.is_null()).to_pylist())
    if clash:
        raise SettingError(
            f"The neurons without {by} cannot stand {untyped}: {offenders(sorted(clash))} would name them and is a "
            f"{by} of other neurons. Choose another untyped."
        )
    return column, other


def sum_by_type(connectome: ColumnarGraph, code: Int[np.ndarray, " n"], n_types: int, kind: int | None = None) -> Sums:
    """Sum the edges (of one kind, if given) over ordered pairs of types; code -1 is type `n_types`.

    A block of presynaptic types at a time, so that the sums for all their pairs fit into the cache. Where pairs by far
    outnumber the edges (nearly every neuron is a type), the edges are sorted by pair instead.
    """
    size = n_types + 1
    code = np.where(code < 0, n_types, code).astype(np.int64)
    if size**2 > _CELLS_PER_EDGE * max(connectome.n_edges, _BLOCK):
        return _sorted_sums(connectome, code, size, kind)
    rows = max(1, _BLOCK // size)  # presynaptic types in a block
    order = np.argsort(code, kind="stable")
    begins = np.searchsorted(code[order], np.arange(0, size + rows, rows))
    whole = np.issubdtype(connectome.count.dtype, np.integer)
    blocks = []
    for i, (begin, end) in enumerate(itertools.pairwise(begins)):
        neurons = order[begin:end]
        every = len(neurons) == connectome.n_neurons
        edges = slice(None) if every else edges_from(connectome, neurons)
        neurons = np.arange(connectome.n_neurons) if every else neurons
        lengths = connectome.indptr[neurons + 1] - connectome.indptr[neurons]
        cells = min(rows, size - i * rows) * size
        key = np.repeat((code[neurons] - i * rows) * size, lengths)  # the pair as one integer, made in place
        key += code[connectome.post[edges]]
        count, sign = connectome.count[edges], connectome.sign[edges]
        if kind is not None:
            chosen = connectome.kind[edges] == kind
            key, count, sign = key[chosen], count[chosen], sign[chosen]
        n_each = np.bincount(key, minlength=cells)
        found = np.flatnonzero(n_each)
        by_sign = []
        for value in (1, -1, 0):
            of_sign = sign == value
            total = np.bincount(key[of_sign], weights=count[of_sign], minlength=cells)[found]
            by_sign.append(total.astype(np.int64) if whole else total)
        up, down, none = by_sign
        pre = found // size
        blocks.append(Sums(pre + i * rows, found - size * pre, up, down, none, n_each[found]))
    return Sums._make(np.concatenate(column) for column in zip(*blocks, strict=True))


def _sorted_sums(connectome: ColumnarGraph, code: Int[np.ndarray, " n"], size: int, kind: int | None) -> Sums:
    pair = np.repeat(code * size, np.diff(connectome.indptr)) + code[connectome.post]
    edges = np.arange(len(pair)) if kind is None else np.flatnonzero(connectome.kind == kind)
    edges = edges[np.argsort(pair[edges], kind="stable")]
    pair, count, sign = pair[edges], connectome.count[edges], connectome.sign[edges]
    first = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]])[: len(pair)])
    up, down, none = (_runs(np.where(sign == value, count, 0), first) for value in (1, -1, 0))
    return Sums(pair[first] // size, pair[first] % size, up, down, none, np.diff(np.append(first, len(pair))))


def _runs(values: np.ndarray, first: Int[np.ndarray, " s"]) -> np.ndarray:
    """Sums of the runs that begin at these positions."""
    wide = values.astype(np.int64 if np.issubdtype(values.dtype, np.integer) else np.float64)
    return np.add.reduceat(wide, first) if len(first) else wide


def collapse(connectome: G, by: str, untyped: Untyped) -> G:
    """See `Connectome.collapse`."""
    types = types_of(connectome, by, untyped)
    kinds = [code for code in range(len(KINDS)) if (connectome.kind == code).any()]
    neurons = pa.table({"id": types.ids, "n_neurons": types.sizes})
    if len(kinds) == 1:  # in order already, so that nothing has to be sorted or checked
        part = _of_kind(connectome, types, kinds[0], alone=True)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(part["pre"], minlength=len(types.ids)))])
        fields = {"post": part["post"].astype(np.int32), "count": as_counts(part["count"])}
        fields |= {"indptr": indptr.astype(np.int64), "kind": part["kind"], "sign": part["sign"]}
        return type(connectome)(
            neurons=neurons,
            edge_columns=pa.table({name: part[name] for name in COLUMNS}),
            only_kind=connectome.only_kind,
            **{name: frozen(values) for name, values in fields.items()},
        )
    parts = [_of_kind(connectome, types, code, alone=False) for code in kinds]
    empty = [{name: np.zeros(0, np.int64) for name in (*_FIELDS, *COLUMNS)}]
    columns = {name: np.concatenate([part[name] for part in parts or empty]) for name in (*_FIELDS, *COLUMNS)}
    return type(connectome).from_edges(
        neurons,
        **{name: columns[name] for name in _FIELDS},
        edge_columns=pa.table({name: columns[name] for name in COLUMNS}),
        only_kind=connectome.only_kind,
    )


def _of_kind(connectome: ColumnarGraph, types: Types, code: int, alone: bool) -> dict[str, np.ndarray]:
    n_types = len(types.ids)
    sums = sum_by_type(connectome, types.code, n_types, None if alone else code)
    if KINDS[code] == "electrical":
        # Both directions add the same numbers, in another order: of sums that are not whole the last digits may differ.
        reverse = np.lexsort((sums.pre, sums.post))
        sums = sums._replace(unsigned=np.where(sums.pre <= sums.post, sums.unsigned, sums.unsigned[reverse]))
    count = sums.excitatory + sums.inhibitory + sums.unsigned
    total_in = np.bincount(sums.post, weights=count, minlength=n_types + 1)
    total_out = np.bincount(sums.pre, weights=count, minlength=n_types + 1)
    columns = {
        "pre": sums.pre,
        "post": sums.post,
        "count": count,
        "kind": np.full(len(sums.pre), code, np.int8),
        "sign": np.sign(sums.excitatory - sums.inhibitory).astype(np.int8),
        "n_pairs": sums.n_pairs,
        "excitatory": sums.excitatory,
        "inhibitory": sums.inhibitory,
        "unsigned": sums.unsigned,
        "input_fraction": share(count, total_in[sums.post]),
        "output_fraction": share(count, total_out[sums.pre]),
    }
    typed = (sums.pre < n_types) & (sums.post < n_types)
    return columns if typed.all() else {name: values[typed] for name, values in columns.items()}
