"""From ids to indices: one at a time through a dictionary, many at once through Arrow's hash table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.arrays import combine
from connectofit.connectome.graph_errors import no_neuron

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

_MANY = 1_000  # from here on Arrow's hash table is faster than one look-up after the other


def lookup(index: Mapping[Any, int], item: object) -> int | None:
    """The index of an id; None where there is none, as for truth values and floats, which are no ids."""
    kind = type(item)
    if kind is str or kind is int or (isinstance(item, str | np.integer | int) and kind is not bool):
        return index.get(item)
    return None


def find_indices(graph: ColumnarGraph, wanted: Iterable[Any]) -> Int[np.ndarray, " k"]:
    """See `Connectome.index_of`."""
    items = wanted.to_pylist() if isinstance(wanted, pa.Array | pa.ChunkedArray) else wanted
    if not isinstance(items, np.ndarray | list | tuple):
        items = list(items)
    if len(items) >= _MANY:
        ids = combine(graph.neurons.column("id"))
        typed = _typed(items, ids.type)
        if typed is not None:
            found = pc.index_in(typed, value_set=ids)
            if not found.null_count:
                return found.to_numpy().astype(np.int64)
    indices = [lookup(graph._index, item) for item in items]
    missing = [item for item, place in zip(items, indices, strict=True) if place is None]
    if missing:
        raise no_neuron(missing, graph.ids, str(graph.neurons.column("id").type))
    return np.array(indices, np.int64)


def _typed(items: np.ndarray | list[Any] | tuple[Any, ...], kind: pa.DataType) -> pa.Array | None:
    """The items as an Arrow array of the type of the ids; None if they are of another sort."""
    try:
        array = pa.array(items)
        whole = pa.types.is_integer(array.type) and pa.types.is_integer(kind)
        return array.cast(kind) if whole or (pa.types.is_string(array.type) and pa.types.is_string(kind)) else None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
