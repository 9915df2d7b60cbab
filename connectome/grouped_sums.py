"""Sums of integer columns by key, for more rows than fit into memory.

An external merge sort that adds up on the way. Rows stay as they come up to a memory limit. Then each block of them is
sorted by key and reduced to one row per key, these runs are merged into one, and that goes to disk if it is still
large. Merging cuts the keys into ranges, so that each step sorts a few hundred thousand rows, which a processor's cache
holds.

Keys come as codes that are given out as names are first seen, and are sorted by the order of the names. A name that is
seen later moves others up, but never past each other: a run stays sorted, only its numbers change.

All sums are of integers and thus exact: the result depends neither on how the rows were cut into blocks, nor on what
was merged or spilled when, nor on threads.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from jaxtyping import Int, UInt

from connectofit.connectome.errors import FolderError
from connectofit.connectome.workers import Workers

_SAMPLE = 512  # rows that one of the keys stands for by which ranges are cut
_RANGE_ROWS = 1 << 18
_DISK_ROWS = 1 << 15  # of every run on disk, so many are in memory while runs are merged
_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in any order. The key is `pair` and, where there are parts, `part`.

    Attributes
    ----------
    pair
        uint64 [k]: two codes below 2^31, the first in the upper half; see `pairs_of`.
    part
        uint16 [k], or None.
    columns
        int32 or int64 [k] by name; a name that is not there stands for zeros, None for ones.
    """

    pair: UInt[np.ndarray, " k"]
    part: UInt[np.ndarray, " k"] | None
    columns: Mapping[str, Int[np.ndarray, " k"] | None]

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        arrays = [self.pair, self.part, *self.columns.values()]
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True, eq=False)
class Piece(Rows):
    """Rows sorted by key, each key once, no column None."""

    columns: Mapping[str, Int[np.ndarray, " k"]]

    def slice(self, start: int, stop: int) -> Piece:
        """Some of the rows, without copying them."""
        part = None if self.part is None else self.part[start:stop]
        return Piece(self.pair[start:stop], part, {name: values[start:stop] for name, values in self.columns.items()})


@dataclass(frozen=True, eq=False)
class Order:
    """The order of names: `place` [n] of the name with each code, and `code` [n] of the name at each place; for the
    names of pairs, and for those of parts."""

    place: Int[np.ndarray, " n"]
    code: Int[np.ndarray, " n"]
    part_place: Int[np.ndarray, " m"]
    part_code: Int[np.ndarray, " m"]

    def since(self, earlier: Order) -> tuple[np.ndarray, np.ndarray]:
        """For each earlier place of a name, and of a part's name, the place that it has now."""
        return self.place[earlier.code], self.part_place[earlier.part_code]


def pairs_of(first: Int[np.ndarray, " k"], second: Int[np.ndarray, " k"]) -> UInt[np.ndarray, " k"]:
    """Two codes as one integer that sorts like the pair of them."""
    pair = first.astype(np.uint64)
    pair <<= _HALF
    pair |= second.astype(np.uint64)
    return pair


def codes_of(pair: UInt[np.ndarray, " k"]) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The two codes (int64) of `pairs_of`."""
    return (pair >> _HALF).view(np.int64), (pair & _LOW).view(np.int64)


def narrow(values: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """As int32 where all values fit."""
    if values.dtype == np.int32:
        return values
    limits = np.iinfo(np.int32)
    fits = not len(values) or (values.min() >= limits.min and values.max() <= limits.max)
    return values.astype(np.int32 if fits else np.int64, copy=False)


def reduce_rows(rows: Rows) -> Piece:
    """Rows in any order to one row per key: every column is added up."""
    pair, part = rows.pair, rows.part
    if not len(rows):
        return Piece(pair, part, {name: np.zeros(0, np.int32) for name in rows.columns})
    order = _sorting(pair, part)
    pair = pair[order]
    new = np.empty(len(pair), bool)
    new[0] = True
    np.not_equal(pair[1:], pair[:-1], out=new[1:])
    if part is not None:
        part = part[order]
        new[1:] |= part[1:] != part[:-1]
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(pair)) - 1
    columns = {}
    for name, values in rows.columns.items():
        if values is None:
            columns[name] = (ends - starts + 1).astype(np.int32)
        elif len(starts) == len(pair):
            columns[name] = values[order]
        else:
            columns[name] = narrow(add_up(values[order], ends))
    return Piece(pair[starts], None if part is None else part[starts], columns)


def add_up(values: Int[np.ndarray, " k"], ends: Int[np.ndarray, " g"]) -> Int[np.ndarray, " g"]:
    """Sums (int64) of the groups of values that end at these positions, the last included."""
    # Differences of running sums: exact for integers, even where the running sum itself wraps around.
    running = values.astype(np.int64)
    np.cumsum(running, out=running)
    running = running[ends]
    sums = np.empty_like(running)
    sums[0] = running[0]
    np.subtract(running[1:], running[:-1], out=sums[1:])
    return sums


class GroupedSums:
    """Collects rows, and gives them back added up and sorted; a context manager that removes what it spilled.

    Parameters: `limit_bytes` of rows to hold in memory, above which they go to a temporary folder in `folder` (default:
    the system's); `workers` does the sorting; `order` gives the order of all codes that have come so far.
    """

    def __init__(
        self,
        limit_bytes: int,
        folder: str | os.PathLike[str] | None,
        workers: Workers,
        order: Callable[[], Order],
    ) -> None:
        self._limit, self._folder, self._workers, self._order = limit_bytes, folder, workers, order
        self._rows: deque[Rows] = deque()
        self._memory: _Run | None = None
        self._disk: list[_Run] = []
        self._bytes = 0
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for run in self._disk:
            run.close()
        self._rows.clear()
        self._memory, self._disk = None, []
        if self._temporary is not None:
            self._temporary.cleanup()

    def add(self, rows: Rows) -> None:
        """Take in rows. Raises `FolderError` if the disk cannot hold what memory should not."""
        if len(rows):
            self._rows.append(rows)
            self._bytes += rows.nbytes
            if self._bytes > self._limit:
                self._compact()

    def merged(self) -> tuple[Order, Iterator[Piece]]:
        """The order of the codes, and pieces sorted by it, with places there instead of codes: every key once and no
        pair in two pieces. They are let go of on the way."""
        order = self._order()
        return order, self._merge([*([] if self._memory is None else [self._memory]), *self._disk], order)

    def _merge(self, runs: Sequence[_Run], order: Order) -> Iterator[Piece]:
        """Merge runs and the rows that wait."""
        for run in runs:
            run.follow(order)
        waiting = ((self._rows.popleft(), order) for _ in range(len(self._rows)))
        blocks = [_Run([piece], order) for piece in self._workers.map(_in_order, waiting) if len(piece)]
        return _merge([*runs, *blocks], self._workers)

    def _compact(self) -> None:
        order = self._order()
        before, self._memory = self._memory, None
        pieces = list(self._merge([] if before is None else [before], order))
        self._bytes = sum(piece.nbytes for piece in pieces)
        if self._bytes <= self._limit / 2:
            self._memory = _Run(pieces, order)
            return
        try:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="connectofit-", dir=self._folder)
            self._disk.append(_DiskRun(Path(self._temporary.name) / f"{len(self._disk)}.arrow", pieces, order))
        except OSError as error:
            raise FolderError(
                f"Partial sums of {self._bytes / 1e6:.0f} MB cannot be written to a temporary folder: {error}. Name a "
                "folder with more room (temporary_folder), or allow more memory (memory_limit_MB)."
            ) from error
        self._bytes = 0


# ---- runs ----


class _Run:
    """Pieces that follow each other, sorted by the `order` at that time; they are taken from the front."""

    def __init__(self, pieces: Iterable[Piece], order: Order) -> None:
        self._pieces = deque(pieces)
        self._first_order = order
        self._moved: tuple[np.ndarray, np.ndarray] | None = None
        self._current: Piece | None = None
        self._start = 0
        self._samples = np.concatenate([piece.pair[::_SAMPLE] for piece in self._pieces])

    def follow(self, order: Order) -> None:
        """Give places in this later order from now on."""
        known = self._first_order
        same = len(known.place) == len(order.place) and len(known.part_place) == len(order.part_place)
        self._moved = None if same else order.since(known)

    def samples(self) -> UInt[np.ndarray, " s"]:
        """Every so many-th pair."""
        return self._samples if self._moved is None else _move_pairs(self._samples, self._moved[0])

    def close(self) -> None:
        """Let go of files."""

    def take_below(self, end: np.uint64 | None) -> Iterator[Piece]:
        """What is left with pairs below `end` (None: all)."""
        while True:
            if self._current is None:
                self._current, self._start = self._next(), 0
            piece = self._current
            if piece is None:
                return
            stop = len(piece) if end is None else int(np.searchsorted(piece.pair, end))
            if stop > self._start:
                yield piece.slice(self._start, stop)
            self._start = stop
            if stop < len(piece):
                return
            self._current = None

    def _next(self) -> Piece | None:
        piece = self._load()
        if piece is None or self._moved is None:
            return piece
        places, part_places = self._moved
        part = None if piece.part is None else part_places[piece.part].astype(np.uint16)
        return Piece(_move_pairs(piece.pair, places), part, piece.columns)

    def _load(self) -> Piece | None:
        return self._pieces.popleft() if self._pieces else None


class _DiskRun(_Run):
    """A run in an Arrow IPC file, in record batches small enough to hold one of each of many runs."""

    def __init__(self, path: Path, pieces: Sequence[Piece], order: Order) -> None:
        super().__init__(pieces, order)
        self._pieces.clear()
        names = sorted({name for piece in pieces for name in piece.columns})
        wide = {name for piece in pieces for name, values in piece.columns.items() if values.dtype == np.int64}
        fields = [pa.field("pair", pa.uint64())]
        fields += [pa.field("part", pa.uint16())] if pieces[0].part is not None else []
        fields += [pa.field(f"sum {name}", pa.int64() if name in wide else pa.int32()) for name in names]
        schema = pa.schema(fields)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for piece in pieces:
                columns = [piece.pair] + ([] if piece.part is None else [piece.part])
                columns += [piece.columns.get(name, np.zeros(len(piece), np.int32)) for name in names]
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
                for start in range(0, len(piece), _DISK_ROWS):
                    writer.write_batch(whole.slice(start, _DISK_ROWS))
        self._file = pa.OSFile(str(path), "rb")  # not mapped: pages of a mapping would count as memory of the process
        self._reader = pa.ipc.open_file(self._file)
        self._batch = 0

    def _load(self) -> Piece | None:
        if self._batch == self._reader.num_record_batches:
            return None
        batch = self._reader.get_batch(self._batch)
        self._batch += 1
        columns = {name: batch.column(name).to_numpy() for name in batch.schema.names}
        pair, part = columns.pop("pair"), columns.pop("part", None)
        return Piece(pair, part, {name.removeprefix("sum "): values for name, values in columns.items()})

    def close(self) -> None:
        self._file.close()


def _move_pairs(pair: UInt[np.ndarray, " k"], places: Int[np.ndarray, " n"]) -> UInt[np.ndarray, " k"]:
    first, second = codes_of(pair)
    return pairs_of(places[first], places[second])


def _in_order(rows: Rows, order: Order) -> Piece:
    """Rows by code as a piece by place."""
    part = None if rows.part is None else order.part_place[rows.part].astype(np.uint16)
    return reduce_rows(Rows(_move_pairs(rows.pair, order.place), part, rows.columns))


def _merge(runs: Sequence[_Run], workers: Workers) -> Iterator[Piece]:
    """Merge runs range by range: pieces sorted by key, every key once, no pair in two pieces."""
    samples = np.sort(np.concatenate([run.samples() for run in runs])) if runs else np.zeros(0, np.uint64)
    step = max(_RANGE_ROWS // _SAMPLE, 1)
    ends: list[np.uint64 | None] = [*dict.fromkeys(samples[step::step]), None]
    ranges = ((list(itertools.chain.from_iterable(run.take_below(end) for run in runs)),) for end in ends)
    return (piece for piece in workers.map(_join, ranges) if len(piece))


def _join(pieces: Sequence[Piece]) -> Piece:
    """The sum of pieces."""
    if len(pieces) <= 1:
        return pieces[0] if pieces else Piece(np.zeros(0, np.uint64), None, {})
    names = sorted({name for piece in pieces for name in piece.columns})
    pair = np.concatenate([piece.pair for piece in pieces])
    parts = [piece.part for piece in pieces if piece.part is not None]
    zeros = np.zeros(max(map(len, pieces)), np.int32)
    columns = {
        name: np.concatenate([piece.columns.get(name, zeros[: len(piece)]) for piece in pieces]) for name in names
    }
    return reduce_rows(Rows(pair, np.concatenate(parts) if parts else None, columns))


def _sorting(pair: UInt[np.ndarray, " r"], part: UInt[np.ndarray, " r"] | None) -> Int[np.ndarray, " r"]:
    """Positions that sort the rows by key; rows of one key in any order."""
    first, second = pair >> _HALF, pair & _LOW
    lowest = first.min()
    widths = (int(first.max() - lowest).bit_length(), int(second.max()).bit_length())
    part_width = 0 if part is None else int(part.max()).bit_length()
    if sum(widths) + part_width > 64:
        return np.argsort(pair) if part is None else np.lexsort((part, pair))
    key = first - lowest
    for values, width in ((second, widths[1]), (part, part_width)):
        if width and values is not None:
            key <<= np.uint64(width)
            key |= values.astype(np.uint64, copy=False)
    place = (len(pair) - 1).bit_length()
    if sum(widths) + part_width + place > 64:
        return np.argsort(key)
    # One integer per row that ends in its position: np.sort is several times as fast as np.argsort.
    key <<= np.uint64(place)
    key |= np.arange(len(key), dtype=np.uint64)
    key.sort()
    key &= np.uint64((1 << place) - 1)
    return key.view(np.int64)
