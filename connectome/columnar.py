"""What a `Connectome` is made of: an Arrow table of neurons, edges in compressed sparse rows, and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from connectofit.connectome.arrays import combine, frozen, rows_of, take_rows
from connectofit.connectome.assembly import as_counts, assemble
from connectofit.connectome.errors import SchemaError, UnknownNameError, offenders, unknown_name
from connectofit.connectome.expressions import column_names, compile_expression
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import edge_table, end_names

Id = str | int


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
        negative, two edges of the same (pre, post, kind), or an electrical edge without its equal other direction.
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
        return tuple(self.neurons.column("id").to_pylist())

    @cached_property
    def pre(self) -> Int[np.ndarray, " e"]:
        """int32 [e]: index of the presynaptic neuron of every edge."""
        return frozen(np.repeat(np.arange(self.n_neurons, dtype=np.int32), np.diff(self.indptr)))

    def index_of(self, ids: Id | Iterable[Id]) -> Int[np.ndarray, " k"]:
        """Indices (int64 [k]) of neurons by id, in the order asked; one id gives an array of one.

        Raises `UnknownNameError` with the nearest name for ids that are not there.
        """
        wanted = [ids] if isinstance(ids, str | int | np.integer) else list(ids)
        found = [self._index.get(item, -1) if not isinstance(item, bool) else -1 for item in wanted]
        if -1 in found:
            missing = [item for item, index in zip(wanted, found, strict=True) if index < 0]
            error = unknown_name("neuron", str(missing[0]), (str(item) for item in self.ids), "the connectome")
            kind = f" The ids are {self.neurons.column('id').type}: give them as such."
            wrong_type = type(missing[0]) is not (str if self._text_ids else int)
            more = f" Missing: {offenders(missing)}." if len(missing) > 1 else ""
            raise UnknownNameError(f"{error}{kind if wrong_type else ''}{more}")
        return np.array(found, np.int64)

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
        return rows_of(self.neurons, compile_expression(expression, self.neurons.schema))

    def select_edges(self, expression: str) -> Int[np.ndarray, " k"]:
        """Positions (int64 [k], ascending) of the edges for which an expression on their columns holds.

        Columns: ``pre`` and ``post`` (ids), ``kind`` (text), ``count``, ``sign``, the `edge_columns`, and every column
        of the neurons at either end as ``pre.<column>`` and ``post.<column>``.
        """
        ends = end_names(self)
        table = self.edge_table(name for name in column_names(expression) if name in ends)
        return rows_of(table, compile_expression(expression, table.schema, options=ends))

    def edge_table(self, end_columns: Iterable[str] = ()) -> pa.Table:
        """The edges as an Arrow table [e]: ``pre, post`` (ids), ``kind`` (text), ``count, sign``, then `edge_columns`.

        `end_columns` adds columns of the neurons at the ends, such as ``"pre.cell_class"``.
        """
        return edge_table(self, end_columns)

    def subgraph(self, ids: Iterable[Id]) -> Self:
        """The neurons named, in this connectome's order, and the edges between them."""
        return self._induced(np.unique(self.index_of(ids)))

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
        return replace(self, **changes)

    # ---- internals ----

    @cached_property
    def _index(self) -> dict[Any, int]:
        return {item: index for index, item in enumerate(self.ids)}

    @property
    def _text_ids(self) -> bool:
        return self.neurons.column("id").type == pa.string()

    @cached_property
    def _by_post(self) -> tuple[np.ndarray, np.ndarray]:
        """Edge positions sorted by postsynaptic neuron, and where each neuron's begin."""
        indptr = np.concatenate([[0], np.cumsum(np.bincount(self.post, minlength=self.n_neurons))])
        return np.argsort(self.post, kind="stable"), indptr

    def _edge_numbers(self, name: str) -> np.ndarray:
        known = {"count": self.count, "sign": self.sign}
        if name in known:
            return known[name]
        if name not in self.edge_columns.column_names:
            raise unknown_name("column", name, [*known, *self.edge_columns.column_names], "the edges")
        column = combine(self.edge_columns.column(name))
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise SchemaError(f"Edges cannot be weighted by their column {name!r}: it holds {column.type}.")
        return pc.fill_null(column, 0).to_numpy()

    def _keep(self, edges: Bool[np.ndarray, " e"], only_kind: str | None) -> Self:
        rows = np.flatnonzero(edges)
        return replace(
            self,
            indptr=frozen(np.concatenate([[0], np.cumsum(edges)])[self.indptr]),
            post=frozen(self.post[rows]),
            count=frozen(self.count[rows]),
            kind=frozen(self.kind[rows]),
            sign=frozen(self.sign[rows]),
            edge_columns=take_rows(self.edge_columns, rows),
            only_kind=only_kind,
        )

    def _of_kind(self, name: str) -> Self:
        return self._keep(self.kind == KINDS.index(name), name)

    def _induced(self, neurons: Int[np.ndarray, " k"]) -> Self:
        inside = np.zeros(self.n_neurons, bool)
        inside[neurons] = True
        new_index = np.cumsum(inside, dtype=np.int32) - np.int32(1)
        part = self._keep(inside[self.pre] & inside[self.post], self.only_kind)
        lengths = np.diff(part.indptr)[neurons]
        return replace(
            part,
            neurons=take_rows(self.neurons, neurons),
            indptr=frozen(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)),
            post=frozen(new_index[part.post]),
        )
