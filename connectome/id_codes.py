"""Numbers for ids as they come: a growing list of distinct ids, and hash tables that look up whole arrays at once.

Arrow and pandas build a hash table anew for every array; here the tables stay, and a look-up is a few NumPy operations.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int

_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples spread well (Knuth, TAOCP 6.4)
_NEXT = 0xD1342543DE82EF95  # of a linear congruential generator: the multipliers of further levels


class IntegerCodes:
    """Codes 0, 1, 2, ... for distinct int64 ids, in the order in which they are first seen. Threads may share it."""

    def __init__(self) -> None:
        self._tables: tuple[_Table, ...] = ()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(len(table.ids) for table in self._tables)

    def codes(self, ids: Int[np.ndarray, " r"]) -> Int[np.ndarray, " r"]:
        """The codes (int64) of ids; those not seen before get the next ones."""
        codes, unknown = _find(self._tables, ids)
        if len(unknown):
            with self._lock:
                # Another thread may have added them meanwhile.
                codes[unknown], left = _find(self._tables, ids[unknown])
                if len(left):
                    new = np.sort(ids[unknown[left]])
                    self._add(new[np.append(True, new[1:] != new[:-1])])
                    codes[unknown], _ = _find(self._tables, ids[unknown])
        return codes

    def in_order(self) -> Int[np.ndarray, " n"]:
        """The codes given out so far in ascending order of their ids."""
        return np.argsort(self._ids())

    def of(self, codes: Int[np.ndarray, " k"]) -> pa.Array:
        """The ids with these codes."""
        return pa.array(self._ids()[codes])

    def _ids(self) -> Int[np.ndarray, " n"]:
        return np.concatenate([np.zeros(0, np.int64), *(table.ids for table in self._tables)])

    def _add(self, ids: Int[np.ndarray, " k"]) -> None:
        tables = list(self._tables)
        first = len(self)
        # Every table is at least twice as large as the next, so that there are few, and each id is moved few times.
        while tables and len(tables[-1].ids) < 2 * len(ids):
            smaller = tables.pop()
            first, ids = smaller.first, np.concatenate([smaller.ids, ids])
        self._tables = (*tables, _Table.of(first, ids))


class TextCodes:
    """Codes 0, 1, 2, ... for distinct strings, in the order in which they are first seen. Threads may share it."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._codes)

    def codes(self, texts: pa.Array) -> Int[np.ndarray, " r"]:
        """The codes (int64) of a string or dictionary array without missing values; new texts get the next ones."""
        coded = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
        distinct = coded.dictionary.to_pylist()
        with self._lock:
            # An entry of a dictionary that no row uses may be added too: a code without rows changes no sum.
            of_value = [self._codes.setdefault(text, len(self._codes)) for text in distinct]
        return np.array(of_value, np.int64)[coded.indices.to_numpy(zero_copy_only=False)]

    def in_order(self) -> Int[np.ndarray, " n"]:
        """The codes given out so far in the order of their texts' code points."""
        with self._lock:
            texts = list(self._codes)
        return np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)

    def of(self, codes: Int[np.ndarray, " k"]) -> pa.Array:
        """The texts with these codes."""
        texts = list(self._codes)
        return pa.array([texts[code] for code in codes], pa.string())


@dataclass(frozen=True, eq=False)
class _Table:
    """The ids with the codes `first`, `first` + 1, ...; every level finds most of the ids that the ones before do not.

    A level is a multiplier, a shift, and slots: the id with the hash ``id * multiplier >> shift`` is, if it is in this
    level, the one at the position that the slot of that number holds. Where two ids have one slot, the next level takes
    the other.
    """

    first: int
    ids: Int[np.ndarray, " k"]
    levels: tuple[tuple[np.uint64, np.uint64, np.ndarray], ...]

    @classmethod
    def of(cls, first: int, ids: Int[np.ndarray, " k"]) -> _Table:
        levels, multiplier = [], _MULTIPLIER
        left = np.arange(len(ids), dtype=np.int32)
        while len(left):
            bits = max((2 * len(left)).bit_length(), 4)
            factor, shift = np.uint64(multiplier), np.uint64(64 - bits)
            slots = np.zeros(1 << bits, np.int32)
            slot = _hash(ids[left], factor, shift)
            slots[slot] = left
            levels.append((factor, shift, slots))
            left = left[slots[slot] != left]
            multiplier = (multiplier * _NEXT + 1) % 2**64 | 1
        return cls(first, ids, tuple(levels))

    def find(self, ids: Int[np.ndarray, " r"]) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " u"]]:
        """The codes (int64) of ids, and the positions of those that are not in the table."""
        factor, shift, slots = self.levels[0]
        place = slots.take(_hash(ids, factor, shift)).astype(np.int64)
        unknown = np.flatnonzero(self.ids.take(place) != ids)
        for factor, shift, slots in self.levels[1:]:
            if not len(unknown):
                break
            wanted = ids[unknown]
            there = slots.take(_hash(wanted, factor, shift)).astype(np.int64)
            place[unknown] = there
            unknown = unknown[self.ids.take(there) != wanted]
        if self.first:
            place += self.first
        return place, unknown


def _find(tables: tuple[_Table, ...], ids: Int[np.ndarray, " r"]) -> tuple[np.ndarray, np.ndarray]:
    if not tables:
        return np.zeros(len(ids), np.int64), np.arange(len(ids))
    codes, unknown = tables[0].find(ids)
    for table in tables[1:]:
        if not len(unknown):
            break
        codes[unknown], still = table.find(ids[unknown])
        unknown = unknown[still]
    return codes, unknown


def _hash(ids: Int[np.ndarray, " r"], factor: np.uint64, shift: np.uint64) -> Int[np.ndarray, " r"]:
    hashed = ids.view(np.uint64) * factor
    hashed >>= shift
    return hashed.view(np.int64)
