"""The digest of a Connectome: SHA-256 over names, types and values of all columns.

It does not depend on how Arrow chunks, pads or encodes the columns, nor on the version of the stored form, and must
never change for a given content: caches, bundles and stored connectomes hold digests made by earlier versions. Columns
go through the hash in slices, so that no copy of a large one is made.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.arrays import combine
from connectofit.connectome.columnar import ColumnarGraph

T = TypeVar("T")
_NAME = ("connectofit.connectome", 1)  # what the first digests began with
_SLICE = 1 << 18  # a multiple of 8, so that the packed bits of slices are the packed bits of the whole


def digest(connectome: ColumnarGraph) -> str:
    """SHA-256 (hex) of the content: equal for equal neurons and edges, whatever the files they came from."""
    state = hashlib.sha256()
    state.update(json.dumps([*_NAME, connectome.n_neurons, connectome.n_edges, connectome.only_kind]).encode())
    for name in ("indptr", "post", "count", "kind", "sign"):
        values = getattr(connectome, name)
        state.update(f"{name}:{values.dtype.str}".encode())
        state.update(np.ascontiguousarray(values).data)
    for part, table in (("neurons", connectome.neurons), ("edges", connectome.edge_columns)):
        for name in table.column_names:
            column = combine(table.column(name))
            state.update(json.dumps([part, name, str(column.type)]).encode())
            _update(state, column)
    return state.hexdigest()


def _update(state: Any, column: pa.Array) -> None:
    for part in _slices(column):
        state.update(np.packbits(part.is_valid().to_numpy(zero_copy_only=False)).data)
    kind = column.type
    if pa.types.is_string(kind):
        for part in _slices(column):
            state.update(pc.fill_null(pc.binary_length(part), 0).to_numpy().data)
        for part in _slices(column):
            state.update(_text(part))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        for part in _slices(column):
            values = pc.fill_null(part, False if pa.types.is_boolean(kind) else 0)
            state.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)
    else:
        # The text of the column as a list of Python values, put together without making those values.
        state.update(b"[")
        for number, text in enumerate(_in_threads(_items, _slices(column))):
            state.update(text if number else text[2:])
        state.update(b"]")


def _slices(column: pa.Array) -> Iterator[pa.Array]:
    return (column.slice(start, _SLICE) for start in range(0, len(column), _SLICE))


def _in_threads(function: Callable[[pa.Array], T], parts: Iterable[pa.Array]) -> Iterator[T]:
    """The results in order, with no more of them in memory at once than there are processors."""
    workers = os.cpu_count() or 1
    waiting = iter(parts)
    with ThreadPoolExecutor(workers) as pool:
        while group := list(islice(waiting, workers)):
            yield from pool.map(function, group)


def _items(values: pa.Array) -> memoryview | bytes:
    """The representations of the elements, each after a comma and a blank."""
    return _text(pc.binary_join_element_wise(", ", representations(values), ""))


def _text(strings: pa.Array) -> memoryview | bytes:
    """The bytes of all strings, one after the other; missing ones give none."""
    if strings.null_count:  # the bytes under a missing value are whatever a writer left there
        strings = pc.fill_null(strings, "")
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset : strings.offset + len(strings) + 1]
    text = strings.buffers()[2]
    return b"" if text is None else memoryview(text)[offsets[0] : offsets[-1]]


def representations(values: pa.Array) -> pa.Array:
    """What Python's `repr` gives for every element, as an Arrow array of strings without nulls.

    Whole columns at a time for numbers, text, lists and structs of these; other types go through Python values.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return representations(values.dictionary_decode())
    if pa.types.is_null(kind):
        text = pa.array(["None"] * len(values), pa.string())
    elif pa.types.is_integer(kind):
        text = values.cast(pa.string())
    elif pa.types.is_boolean(kind):
        text = pc.if_else(values, "True", "False")
    elif pa.types.is_string(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        # Floats are told apart by their bits: 0.0 equals -0.0 and NaN does not equal itself.
        bits = {pa.float32(): pa.int32(), pa.float64(): pa.int64()}.get(kind, kind)
        coded = (values if bits == kind else values.view(bits)).dictionary_encode()
        distinct = coded.dictionary if bits == kind else coded.dictionary.view(kind)
        text = pa.array([repr(value) for value in distinct.to_pylist()], pa.string()).take(coded.indices)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy().astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        items = representations(values.flatten())  # without the items under missing lists
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
        text = pc.binary_join_element_wise("[", pc.binary_join(lists, ", "), "]", "")
        text = pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))
    elif pa.types.is_struct(kind) and 0 < kind.num_fields == len({field.name for field in kind}):
        pieces: list[Any] = []
        children = values.flatten()  # missing where the struct is
        for number, (field, child) in enumerate(zip(kind, children, strict=True)):
            pieces += [f"{', ' if number else '{'}{field.name!r}: ", representations(child)]
        text = pc.binary_join_element_wise(*pieces, "}", "")
        text = pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))
    else:
        text = pa.array([repr(value) for value in values.to_pylist()], pa.string())
    return pc.fill_null(text, "None")
