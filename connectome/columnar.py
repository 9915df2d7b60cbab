"""What a `Connectome` is made of: an Arrow table of neurons, edges in compressed sparse rows, and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from connectofit.connectome.algorithms.csr import Csr
from connectofit.connectome.arrays import combine, frozen, take_rows
from connectofit.connectome.assembly import as_counts, assemble
from connectofit.connectome.conditions import edges_where, neurons_where
from connectofit.connectome.errors import SchemaError, unknown_name
from connectofit.connectome.identifiers import find_indices
from connectofit.connectome.ordering import ranges
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import edge_table
from connectofit.connectome.views.attributes import to_values

Id = str | int
_OF_NEURONS = ("ids", "_index", "node_records")  # what is worked out when first asked for, and of what
_OF_WIRING = ("_rows",)


@dataclass(frozen=True, eq=False, repr=False)
class ColumnarGraph:
    """The columns of a connectome, their parts and their look-ups; the attributes are described at `Connectome`."""

    neurons: pa.Table
    indptr: Int[np.ndarray, n + 1]
    post: Int[np.ndarray, " e"]
    count: Int[np.ndarray, " e"] | Float[np.ndarray, " e"]
    kind: Int[np.ndarray, " e"]
    sign: Int[np.ndarray, " e"]
    edge_columns: pa.Table
    only_kind: str | None = None

    @classmethod
    def from_edges(
        cls,
        neurons: pa.Table,
        *,
        pre: Int[np.ndarray, " e"],
        post: Int[np.ndarray, " e"],
        count: np.ndarray,
        kind: Int[np.ndarray, " e"] | None = None,
        sign: Int[np.ndarray, " e"] | None = None,
        edge_columns: pa.Table | None = None,
        only_kind: str | None = None,
    ) -> Self:
        """Build from indices in any order; `kind` defaults to chemical, `sign` to unknown.

        Raises `SchemaError` if ids are missing or repeated, indices out of range, columns of unequal length, counts
        negative, two edges of the same (pre, post, kind), an electrical edge without its equal other direction, or an
        edge column with the name of an array (``pre``, ``post``, ``kind``, ``count``, ``sign``) or of another column.
        """
        return cls(**assemble(neurons, pre, post, count, kind, sign, edge_columns), only_kind=only_kind)

    # ---- size and names ----

    @property
    def n_neurons(self) -> int:
        """Number of neurons."""
        return self.neurons.num_rows

    @property
    def n_edges(self) -> int:
        """Number of directed edges; a gap junction counts twice."""
        return len(self.post)

    @cached_property
    def ids(self) -> tuple[Any, ...]:
        """The neurons' ids in index order, as str or int."""
        return tuple(to_values(self.neurons.column("id")))

    @cached_property
    def _rows(self) -> Csr:
        """The edges as the graph algorithms see them, without weights; what these work out of them is kept here."""
        return Csr(np.asarray(self.indptr), np.asarray(self.post))

    @property
    def pre(self) -> Int[np.ndarray, " e"]:
        """int32 [e]: index of the presynaptic neuron of every edge."""
        return self._rows.rows

    def index_of(self, ids: Id | Iterable[Id]) -> Int[np.ndarray, " k"]:
        """Indices (int64 [k]) of neurons by id, in the order asked; one id gives an array of one.

        Raises `UnknownNameError` (which is also a `KeyError`) with the nearest name for ids that are not there.
        """
        if isinstance(ids, str | int | np.integer):
            ids = [ids]
        return find_indices(self, ids)

    def column(self, name: str) -> np.ndarray:
        """A column of the neurons as a NumPy array [n]: numbers as they are, text as objects, missing as None or NaN.

        Whole numbers with missing ones among them come as objects, since a float would change large ones.
        """
        if name not in self.neurons.column_names:
            raise unknown_name("column", name, self.neurons.column_names, "the neurons")
        column = combine(self.neurons.column(name))
        if pa.types.is_integer(column.type) and column.null_count:
            return np.array(column.to_pylist(), dtype=object)
        return column.to_numpy(zero_copy_only=False)

    # ---- parts ----

    @cached_property
    def chemical(self) -> Self:
        """The chemical edges alone, as a simple digraph on the same neurons."""
        return self._of_kind("chemical")

    @cached_property
    def electrical(self) -> Self:
        """The gap junctions alone, each in both directions, as a simple digraph on the same neurons."""
        return self._of_kind("electrical")

    def select(self, expression: str) -> Self:
        """The neurons for which an expression on their columns holds, and the edges between them.

        Examples: ``"cell_class == 'AVA'"``, ``"transmitter in ('ACh', 'Glu') and y_um < -200"``. See
        `compile_expression` for the grammar and the errors.
        """
        return self._induced(self.select_neurons(expression))

    def select_neurons(self, expression: str) -> Int[np.ndarray, " k"]:
        """Indices (int64 [k], ascending) of the neurons for which the expression holds."""
        return np.flatnonzero(neurons_where(self, expression))

    def select_edges(self, expression: str) -> Int[np.ndarray, " k"]:
        """Positions (int64 [k], ascending) of the edges for which an expression on their columns holds.

        Columns: ``pre`` and ``post`` (ids), ``kind`` (text), ``count``, ``sign``, the `edge_columns`, and every column
        of the neurons at either end as ``pre.<column>`` and ``post.<column>``.
        """
        return np.flatnonzero(edges_where(self, expression))

    def edge_table(self, end_columns: Iterable[str] = ()) -> pa.Table:
        """The edges as an Arrow table [e]: ``pre, post`` (ids), ``kind`` (text), ``count, sign``, then `edge_columns`.

        `end_columns` adds columns of the neurons at the ends, such as ``"pre.cell_class"``.
        """
        return edge_table(self, end_columns)

    def subgraph(self, ids: Id | Iterable[Id] | None) -> Self:
        """The neurons named (one id, several, or None for all), in this connectome's order, and the edges between them.

        Unlike NetworkX, which leaves out what it does not find, this raises `UnknownNameError`: a misspelt neuron would
        be missing unseen.
        """
        return self if ids is None else self._induced(np.unique(self.index_of(ids)))

    def with_edges(self, *, count: np.ndarray | None = None, sign: np.ndarray | None = None) -> Self:
        """The same wiring with other counts [e] or signs [e]."""
        changes: dict[str, Any] = {}
        for name, values in (("count", count), ("sign", sign)):
            if values is None:
                continue
            values = np.asarray(values)
            if values.shape != (self.n_edges,):
                raise SchemaError(f"{name} has shape {values.shape}; there are {self.n_edges} edges.")
            changes[name] = frozen(as_counts(values.copy()) if name == "count" else values.astype(np.int8))
        if sign is not None and not np.isin(changes["sign"], (-1, 0, 1)).all():
            raise SchemaError("sign must hold -1, 0 and 1 only.")
        return self._sharing(replace(self, **changes), *_OF_NEURONS, *_OF_WIRING)

    # ---- internals ----

    @cached_property
    def _index(self) -> dict[Any, int]:
        return {item: index for index, item in enumerate(self.ids)}

    @property
    def _text_ids(self) -> bool:
        return self.neurons.column("id").type == pa.string()

    @property
    def _by_post(self) -> tuple[np.ndarray, np.ndarray]:
        """Edge positions sorted by postsynaptic neuron, and where each neuron's begin."""
        return self._rows.by_neighbour

    def _keep(self, edges: Bool[np.ndarray, " e"], only_kind: str | None) -> Self:
        return self._take(np.flatnonzero(edges), only_kind=only_kind)

    def _take(self, rows: Int[np.ndarray, " k"], **changes: Any) -> Self:
        """The edges at these positions, which ascend, on the same neurons unless `changes` says otherwise."""
        fields: dict[str, Any] = {
            name: frozen(getattr(self, name)[rows]) for name in ("post", "count", "kind", "sign") if name not in changes
        }
        if "indptr" not in changes:
            fields["indptr"] = frozen(np.searchsorted(rows, self.indptr).astype(np.int64))
        return replace(self, edge_columns=take_rows(self.edge_columns, rows), **fields, **changes)

    def _of_kind(self, name: str) -> Self:
        chosen = self.kind == KINDS.index(name)
        if chosen.all():
            return self._sharing(replace(self, only_kind=name), *_OF_NEURONS, *_OF_WIRING, "edge_records")
        return self._sharing(self._keep(chosen, name), *_OF_NEURONS)

    def _induced(self, neurons: Int[np.ndarray, " k"]) -> Self:
        """The neurons at these indices, which ascend, and the edges between them."""
        if len(neurons) == self.n_neurons:
            return self
        new_index = np.full(self.n_neurons, -1, np.int32)
        new_index[neurons] = np.arange(len(neurons), dtype=np.int32)
        rows, offsets = ranges(self.indptr[neurons], self.indptr[neurons + 1])
        post = new_index[self.post[rows]]
        inside = np.flatnonzero(post >= 0)
        return self._take(
            rows[inside],
            neurons=take_rows(self.neurons, neurons),
            indptr=frozen(np.searchsorted(inside, offsets).astype(np.int64)),
            post=frozen(post[inside]),
        )

    def _sharing(self, other: Self, *names: str) -> Self:
        """`other`, with what was worked out of these neurons or this wiring already, rather than once more."""
        other.__dict__.update((name, self.__dict__[name]) for name in names if name in self.__dict__)
        return other

    def _reversed(self) -> Self:
        order, indptr = self._by_post
        return self._sharing(self._take(order, indptr=indptr, post=self._rows.transpose.indices), *_OF_NEURONS)
