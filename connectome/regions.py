"""Tables with a row per connection and region: the rows of one connection are its parts, and not duplicates.

Their counts are added, and kept by region in two list columns of the edges: ``region`` (names) and ``region_count``
(the counts, in the same order; they add up to the count, unless a policy for gap junctions changes that). Lists,
because a connection has synapses in a few of some eighty regions: a column a region would be nearly empty.
`region_table` gives them as a table again. The regions must not overlap: where one contains another, synapses would
count twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.arrays import combine, sort_edges
from connectofit.connectome.coded import Coded, encode, value_type
from connectofit.connectome.columnar import ColumnarGraph
from connectofit.connectome.columns import Table
from connectofit.connectome.edge_rules import Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import KINDS
from connectofit.connectome.report import Found, counted

REGION_COLUMNS = ("region", "region_count")


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of edges: those of the edge whose first row is `rows[k]` stand from `offsets[k]` to `offsets[k + 1]`.

    `names` [parts] and `counts` [parts] are the regions and the counts in them; `transmitters` [k], where the table has
    them, the code of the transmitter with the largest summed count (-1: none).
    """

    rows: Int[np.ndarray, " e"]
    offsets: Int[np.ndarray, " e+1"]
    names: pa.Array
    counts: np.ndarray
    transmitters: Int[np.ndarray, " e"] | None

    @cached_property
    def place(self) -> Int[np.ndarray, " rows"]:
        """For each row of the table the position of the edge whose first row it is (undefined for other rows)."""
        place = np.zeros(int(self.rows.max(initial=-1)) + 1, np.int32)
        place[self.rows] = np.arange(len(self.rows))
        return place

    def columns(self, rows: Int[np.ndarray, " k"]) -> dict[str, pa.Array]:
        """``region`` and ``region_count`` of the edges whose first rows these are."""
        place, offsets = pa.array(self.place[rows]), pa.array(self.offsets, pa.int32())
        counts = pa.array(self.counts)
        return {
            "region": pa.ListArray.from_arrays(offsets, self.names).take(place),
            "region_count": pa.ListArray.from_arrays(offsets, counts).take(place),
        }


def merge_regions(edges: Edges, table: Table, context: Context) -> tuple[Edges, Parts | None]:
    """Merge the rows that give one connection by region; rows that repeat a region too are ``duplicates``.

    Without a declared region column the edges come back as they are. Raises `SchemaError` for regions that are not
    text, and for repeated ones if the policy says so.
    """
    if not table.has("region"):
        return edges, None
    column = table.arrow.column(table.given["region"])
    if value_type(column.type) != pa.string() and not pa.types.is_null(column.type):
        raise SchemaError(
            f"Column {table.given['region']!r} of {table.where} holds {column.type}; regions must be text."
        )
    regions = encode(column.cast(pa.string()) if pa.types.is_null(column.type) else column)
    edges = edges.in_order(context.n_ids)
    new = np.ones(len(edges), bool)
    new[1:] = (edges.pre[1:] != edges.pre[:-1]) | (edges.post[1:] != edges.post[:-1])
    new[1:] |= edges.kind[1:] != edges.kind[:-1]
    edge, starts = np.cumsum(new, dtype=np.int32) - np.int32(1), np.flatnonzero(new)
    missing = len(regions.values)
    region = regions.codes[edges.row]
    region[region < 0] = missing  # sorts behind the others
    order = _sorted_within(edge, region)
    region = region[order]
    first = new.copy()  # of a part; every edge has its rows where it had them
    first[1:] |= region[1:] != region[:-1]
    repeats = np.zeros(len(order), bool)
    repeats[order[~first]] = True
    n_repeats = _merge_repeats(context.found(edges, repeats), context)
    at = np.flatnonzero(first)
    merge = np.maximum if context.policies.duplicates == "max" else np.add
    counts = merge.reduceat(_wide(edges.count)[order], at) if len(at) else _wide(edges.count)
    offsets = np.append(np.searchsorted(at, starts), len(at))
    names = regions.values.take(pa.array(region[at], mask=region[at] == missing))
    merged = edges.at(starts)
    if len(starts):
        merged = replace(merged, count=np.add.reduceat(counts, offsets[:-1]))
        if edges.given_sign.any():
            net = np.add.reduceat(edges.given_sign * _wide(edges.count), starts)
            merged = replace(merged, given_sign=np.sign(net).astype(np.int8))
    _note(edges, merged, new, n_repeats, missing, context)
    transmitters = _largest(edges, edge, starts, merged, table, context) if table.has("transmitter") else None
    return merged, Parts(merged.row, offsets, combine(names), counts, transmitters)


def region_table(connectome: ColumnarGraph) -> pa.Table:
    """The counts of edges by region as a table: ``pre, post`` (ids), ``kind``, ``region`` (null: not given), ``count``.

    Raises `SchemaError` for a connectome that was not read with a ``region`` column.
    """
    if not set(REGION_COLUMNS) <= set(connectome.edge_columns.column_names):
        raise SchemaError(
            "The connectome has no counts by region: its edges lack the columns 'region' and 'region_count'. They come "
            "from read_connectome(..., columns={'region': '...'})."
        )
    names, counts = (combine(connectome.edge_columns.column(name)) for name in REGION_COLUMNS)
    edge = pc.list_parent_indices(names)
    ids = combine(connectome.neurons.column("id"))
    ends = {name: pa.array(getattr(connectome, name)).take(edge) for name in ("pre", "post", "kind")}
    return pa.table(
        {
            "pre": ids.take(ends["pre"]),
            "post": ids.take(ends["post"]),
            "kind": pa.array(KINDS).take(ends["kind"]),
            "region": pc.list_flatten(names),
            "count": pc.list_flatten(counts),
        }
    )


def edge_transmitters(edges: Edges, table: Table, parts: Parts | None, context: Context) -> pa.Array | None:
    """The transmitter [e] that the table gives for each edge, as text; None if it gives none.

    Of an edge made of several rows it is that of its first row, or, where the rows are its parts by region, the one
    with the largest summed count. Raises `SchemaError` for transmitters that are not text.
    """
    if not table.has("transmitter"):
        return None
    name, coded = table.given["transmitter"], _transmitters(table)
    codes = coded.codes[edges.row]
    if parts is not None and parts.transmitters is not None:
        codes = parts.transmitters[parts.place[edges.row]]
    values = coded.values.to_pylist()
    known = np.array([value in context.policies.sign.transmitters for value in values] + [True])
    empty = np.array([value == "" for value in values] + [False])
    codes = np.where(empty[codes], -1, codes)
    rest = "a transmitter that the sign policy does not list; it gives no sign"
    setting = f"sign.transmitters={context.policies.sign.transmitters}"
    texts = (f"edge has {rest}", f"edges have {rest}")
    context.note(context.found(edges, ~known[codes]), "warning", "undeclared_transmitter", name, texts, policy=setting)
    return coded.values.take(pa.array(codes, mask=codes < 0))


def _sorted_within(edge: Int[np.ndarray, " r"], code: Int[np.ndarray, " r"]) -> Int[np.ndarray, " r"]:
    """The order of rows, which stand edge by edge, that sorts each edge's by `code`, equal ones as they stand."""
    order = np.arange(len(edge))
    same = edge[1:] == edge[:-1]
    shared = np.zeros(len(edge), bool)
    shared[1:] |= same
    shared[:-1] |= same
    which = np.flatnonzero(shared)  # most edges have one row, which need not be sorted
    if len(which):
        n = int(max(edge.max(), code.max())) + 1
        *_, places = sort_edges(edge[which], code[which], np.zeros(len(which), np.int8), n)
        order[which] = which if places is None else which[places]
    return order


def _largest(
    edges: Edges,
    edge: Int[np.ndarray, " r"],
    starts: Int[np.ndarray, " e"],
    merged: Edges,
    table: Table,
    context: Context,
) -> Int[np.ndarray, " e"]:
    """For each edge the code of the transmitter with the largest summed count, of equal ones the first; -1: none.

    `edges` are the rows, which stand edge by edge; those of one begin at `starts`, and `edge` numbers them.
    """
    coded = _transmitters(table)
    codes = coded.codes[edges.row]
    if not len(starts):
        return codes
    largest = np.maximum.reduceat(codes, starts)
    mixed = np.minimum.reduceat(np.where(codes < 0, len(coded.values), codes), starts) < largest
    which = np.flatnonzero(mixed[edge] & (codes >= 0))
    if len(which):
        which = which[_sorted_within(edge[which], codes[which])]
        first = np.ones(len(which), bool)
        first[1:] = (edge[which][1:] != edge[which][:-1]) | (codes[which][1:] != codes[which][:-1])
        total = np.add.reduceat(_wide(edges.count)[which], np.flatnonzero(first))
        which = which[first]
        ranked = which[np.lexsort((which, -total, edge[which]))]
        best = ranked[np.append(True, edge[ranked][1:] != edge[ranked][:-1])]
        largest[edge[best]] = codes[best]
    rest = "different transmitters in different regions; the one with the largest summed count was taken"
    texts = (f"connection has {rest}", f"connections have {rest}")
    column = context.columns["transmitter"]
    context.note(context.found(merged, mixed), "info", "mixed_transmitters", column, texts)
    return largest


def _transmitters(table: Table) -> Coded:
    column = table.arrow.column(table.given["transmitter"])
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if value_type(column.type) != pa.string():
        raise SchemaError(
            f"Column {table.given['transmitter']!r} of {table.where} holds {column.type}; transmitters must be text."
        )
    return encode(column)


def _wide(count: np.ndarray) -> np.ndarray:
    return count.astype(np.float64 if count.dtype.kind == "f" else np.int64, copy=False)


def _merge_repeats(repeats: Found, context: Context) -> int:
    """Note, or refuse, the rows that repeat pre, post, kind and region."""
    policy = context.policies.duplicates
    if repeats and policy == "error":
        raise SchemaError(
            f"{context.subject} repeats the same pre, post, kind and region: {repeats}. "
            "Merge these rows, or set the policy duplicates to 'sum' or 'max'."
        )
    rest = "the pre, post, kind and region of an earlier row and {} merged into it"
    texts = (f"row repeats {rest.format('was')}", f"rows repeat {rest.format('were')}")
    context.note(repeats, "warning", "duplicate_edge", context.ends, texts, policy="duplicates", removed=repeats.count)
    return repeats.count


def _note(edges: Edges, merged: Edges, new: np.ndarray, n_repeats: int, n_regions: int, context: Context) -> None:
    column = context.columns["region"]
    several = Found(len(edges), context.found(edges, ~new).examples)
    text = (
        f"{counted(len(edges), 'row gives', 'rows give')} {counted(len(merged), 'connection', 'connections')} by "
        f"region ({n_regions} regions): the counts of a connection are added, and kept by region in its columns "
        "'region' and 'region_count'; further columns are those of its first row. Regions are taken not to overlap"
    )
    context.note(several, "info", "region_rows", column, text, removed=len(edges) - len(merged) - n_repeats)
    both = np.zeros(len(merged), bool)
    starts = np.flatnonzero(new)
    if len(starts) and edges.given_sign.any():
        both = np.minimum.reduceat(edges.given_sign, starts) < 0
        both &= np.maximum.reduceat(edges.given_sign, starts) > 0
    rest = "parts of both signs; the sign with the larger summed count was taken"
    sign = context.columns.get("sign", context.columns.get("signed_weight", ""))
    texts = (f"connection had {rest}", f"connections had {rest}")
    context.note(context.found(merged, both), "warning", "duplicate_sign", sign, texts, policy="duplicates")
