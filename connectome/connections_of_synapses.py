"""From sums over synapses to the table of connections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from connectofit.connectome.errors import SchemaError
from connectofit.connectome.grouped_sums import Order, Piece, add_up, codes_of
from connectofit.connectome.report import Finding, counted
from connectofit.connectome.synapse_blocks import AXES, BlockReader
from connectofit.connectome.synapse_columns import FRACTION_BITS


@dataclass(frozen=True, eq=False)
class Batch:
    """Connections in order, and those that were removed because they have too few synapses."""

    rows: pa.RecordBatch
    ends: tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]
    few: int
    few_synapses: int
    few_examples: tuple[str, ...]


class Connections:
    """The table of connections, made batch by batch from pieces whose keys are places in `order`."""

    def __init__(self, order: Order, reader: BlockReader, min_count: int) -> None:
        self._least, self._reader = min_count, reader
        ids = self._ids = reader.ids.of(order.code)
        names = reader.regions.of(order.part_code[:-1] - 1)  # the last is the missing one
        self._regions = pa.concat_arrays([names, pa.array([None], pa.string())])
        self._batches: list[pa.RecordBatch] = []
        self._named = np.zeros(len(ids), bool)
        self._few, self._few_synapses = 0, 0
        self._few_examples: tuple[str, ...] = ()
        columns = reader.columns
        fields = [("pre", reader.id_type), ("post", reader.id_type), ("count", pa.int64())]
        if "size" in columns:
            fields.append(("size", pa.float64() if "size" in reader.tally.not_integral else pa.int64()))
        if {"position", "x"} & set(columns):
            fields += [(axis, pa.float64()) for axis in AXES]
        if "region" in columns:
            fields += [("region", pa.list_(pa.string())), ("region_count", pa.list_(pa.int64()))]
        self._schema = pa.schema(fields)

    @property
    def n_neurons(self) -> int:
        """How many neurons are in the connections."""
        return int(self._named.sum())

    def batch(self, piece: Piece) -> Batch:
        """The connections in a piece. Raises `SchemaError` for sums that 64 bits cannot hold."""
        new = np.empty(len(piece), bool)
        new[0] = True
        np.not_equal(piece.pair[1:], piece.pair[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(piece)) - 1

        def total(name: str) -> Int[np.ndarray, " k"] | None:
            values = piece.columns.get(name)
            if values is None:
                return None
            return values.astype(np.int64) if len(starts) == len(piece) else add_up(values, ends)

        def value(name: str) -> np.ndarray:
            whole, fraction = total(name), total(f"{name} fraction")
            if whole is None:
                whole = np.zeros(len(starts), np.int64)
            return whole if fraction is None else whole + fraction * 2.0**-FRACTION_BITS

        def there(name: str) -> Int[np.ndarray, " k"]:
            missing = total(f"{name} missing")
            return count if missing is None else count - missing

        count = value("count")
        self._check_range(int(count.max()))
        pre, post = codes_of(piece.pair[starts])
        arrays = {"count": pa.array(count)}
        if "size" in self._schema.names:
            size = value("size").astype(self._schema.field("size").type.to_pandas_dtype(), copy=False)
            arrays["size"] = _array(size, there("size"))
        if "x" in self._schema.names:
            number = there("x")
            arrays |= {axis: _array(value(axis) / np.maximum(number, 1), number) for axis in AXES}
        if piece.part is not None:
            offsets = pa.array(np.append(starts, len(piece)), pa.int32())
            arrays["region"] = pa.ListArray.from_arrays(offsets, self._regions.take(pa.array(piece.part)))
            parts = pa.array(piece.columns["count"], pa.int64())
            arrays["region_count"] = pa.ListArray.from_arrays(offsets, parts)
        arrays |= {"pre": self._ids.take(pa.array(pre)), "post": self._ids.take(pa.array(post))}
        rows = pa.RecordBatch.from_arrays([arrays[name] for name in self._schema.names], schema=self._schema)
        keep = count >= self._least
        few = np.flatnonzero(~keep)
        shown = tuple(f"{self._ids[int(pre[row])]} -> {self._ids[int(post[row])]}" for row in few[:5])
        if len(few):
            rows = rows.filter(pa.array(keep))
            pre, post = pre[keep], post[keep]
        return Batch(rows, (pre, post), len(few), int(count[few].sum()), shown)

    def append(self, batch: Batch) -> None:
        """Add a batch; they must come in order."""
        self._batches.append(batch.rows)
        for end in batch.ends:
            self._named[end] = True
        self._few += batch.few
        self._few_synapses += batch.few_synapses
        self._few_examples = (*self._few_examples, *batch.few_examples)[:5]

    def table(self) -> pa.Table:
        """All connections so far."""
        return pa.Table.from_batches(self._batches, self._schema)

    def findings(self) -> list[Finding]:
        """A note about the connections that were removed."""
        if not self._few:
            return []
        more = ", ..." if self._few > len(self._few_examples) else ""
        text = (
            f"{counted(self._few, 'connection has', 'connections have')} fewer than {self._least} synapses and "
            f"{'was' if self._few == 1 else 'were'} removed with "
            f"{counted(self._few_synapses, 'row', 'rows')}: {', '.join(self._few_examples)}{more}"
        )
        columns = self._reader.columns
        return [
            Finding(
                severity="info",
                rule="below_min_count",
                table="synapses",
                column=f"{columns['pre']}, {columns['post']}",
                count=self._few,
                policy=f"min_count={self._least}",
                message=text,
                rows_removed=self._few_synapses,
            )
        ]

    def _check_range(self, count: int) -> None:
        for canonical, largest in self._reader.tally.largest.items():
            if count * (largest + 1) >= 2**63:
                column = self._reader.columns.get(canonical, self._reader.columns.get("position"))
                raise SchemaError(
                    f"Column {column!r} of the synapses table holds numbers up to {largest}; added up over the {count} "
                    "synapses of one connection they may exceed 64 bits. Give them in another unit."
                )


def _array(values: np.ndarray, number: Int[np.ndarray, " k"]) -> pa.Array:
    """The values, missing where the number of synapses that have one is 0."""
    none = number == 0
    return pa.array(values, mask=none if none.any() else None)
