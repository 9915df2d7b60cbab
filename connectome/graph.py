"""The connectome as a columnar graph: Arrow table of neurons, edges in compressed sparse rows.

A directed multigraph keyed by kind (a pair of neurons may be joined by a chemical and an electrical edge); its
`chemical` and `electrical` views are simple digraphs. It answers what a NetworkX graph answers, and converts both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, overload

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from connectofit.connectome.arrays import combine, frozen, rows_of, take_rows
from connectofit.connectome.assembly import as_counts, assemble
from connectofit.connectome.errors import SchemaError, UnknownNameError, offenders, unknown_name
from connectofit.connectome.expressions import column_names, compile_expression
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import edge_records, edge_table, end_names, frame, node_records

Id = str | int


@dataclass(frozen=True, eq=False, repr=False)
class Connectome:
    """A connectome: neurons with their attributes, and edges sorted by (presynaptic, postsynaptic, kind).

    Make one with `read_connectome`, `Connectome.from_edges` or `Connectome.from_networkx`; the constructor takes the
    arrays as they are and checks nothing.

    Attributes
    ----------
    neurons
        Arrow table [n]: ``id`` first (int64 or string, exactly as given), then any other columns. The row is the index
        of the neuron in all arrays.
    indptr
        int64 [n + 1]: the edges that leave neuron i are ``indptr[i]:indptr[i + 1]``.
    post
        int32 [e]: index of the postsynaptic neuron.
    count
        int32 [e], float64 where not all are integers: size of the connection (synapses, contacts, sections).
    kind
        int8 [e]: position in `KINDS`. An electrical edge stands in both directions, with equal counts.
    sign
        int8 [e]: +1 excites, -1 inhibits; 0 for electrical edges and where unknown.
    edge_columns
        Arrow table [e] of further columns, such as ``sign_source``: ``column``, ``transmitter`` or ``assumed`` (null
        for edges without a sign).
    only_kind
        ``"chemical"`` or ``"electrical"`` for the views of one kind, else None.
    """

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
    def chemical(self) -> Connectome:
        """The chemical edges alone, as a simple digraph on the same neurons."""
        return self._of_kind("chemical")

    @cached_property
    def electrical(self) -> Connectome:
        """The gap junctions alone, each in both directions, as a simple digraph on the same neurons."""
        return self._of_kind("electrical")

    def select(self, expression: str) -> Connectome:
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

    def subgraph(self, ids: Iterable[Id]) -> Connectome:
        """The neurons named, in this connectome's order, and the edges between them."""
        return self._induced(np.unique(self.index_of(ids)))

    def with_edges(self, *, count: np.ndarray | None = None, sign: np.ndarray | None = None) -> Connectome:
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

    # ---- the questions of a NetworkX graph ----

    def __len__(self) -> int:
        return self.n_neurons

    def __iter__(self) -> Iterator[Any]:
        return iter(self.ids)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str | int | np.integer) and not isinstance(item, bool) and item in self._index

    def __repr__(self) -> str:
        kinds = ", ".join(f"{int((self.kind == code).sum())} {name}" for code, name in enumerate(KINDS))
        return f"Connectome({self.n_neurons} neurons, {self.n_edges} edges: {kinds})"

    def is_directed(self) -> bool:
        """True: edges have a direction."""
        return True

    def is_multigraph(self) -> bool:
        """Whether two edges may join the same ordered pair; false for the views of one kind."""
        return self.only_kind is None

    @overload
    def nodes(self, data: Literal[False] = False) -> list[Any]: ...
    @overload
    def nodes(self, data: Literal[True]) -> list[tuple[Any, dict[str, Any]]]: ...
    @overload
    def nodes(self, data: str) -> list[tuple[Any, Any]]: ...
    def nodes(self, data: bool | str = False) -> list[Any]:
        """The ids; with `data`, pairs of id and attributes (missing ones left out), or of id and the named column."""
        return node_records(self, data)

    def edges(self, data: bool | str = False, *, keys: bool = False) -> Iterator[tuple[Any, ...]]:
        """Edges as (pre, post), with ``keys=True`` (pre, post, kind), with `data` their attributes or one of them last.

        Attributes: ``count``, ``sign`` and the `edge_columns`, missing ones left out.
        """
        return edge_records(self, data, keys)

    def number_of_nodes(self) -> int:
        """Number of neurons."""
        return self.n_neurons

    def number_of_edges(self, u: Id | None = None, v: Id | None = None) -> int:
        """Number of directed edges, in all or from `u` to `v`."""
        if u is None or v is None:
            return self.n_edges
        start, stop = self._between(u, v)
        return stop - start

    def has_node(self, node: object) -> bool:
        """Whether a neuron has this id."""
        return node in self

    def has_edge(self, u: object, v: object, key: str | None = None) -> bool:
        """Whether an edge (of kind `key`) leads from `u` to `v`; false where either is not a neuron."""
        if u not in self or v not in self:
            return False
        start, stop = self._between(u, v)  # type: ignore[arg-type]
        return stop > start if key is None else key in {KINDS[code] for code in self.kind[start:stop]}

    def successors(self, node: Id) -> Iterator[Any]:
        """Ids of the neurons that `node` sends an edge to, each once."""
        i = int(self.index_of(node)[0])
        return (self.ids[j] for j in np.unique(self.post[self.indptr[i] : self.indptr[i + 1]]))

    def predecessors(self, node: Id) -> Iterator[Any]:
        """Ids of the neurons that send an edge to `node`, each once."""
        i = int(self.index_of(node)[0])
        order, indptr = self._by_post
        return (self.ids[j] for j in np.unique(self.pre[order[indptr[i] : indptr[i + 1]]]))

    def in_degree(self, node: Id | None = None, weight: str | None = None) -> Any:
        """Edges that end at `node`, or a dict over all neurons; with `weight` (a numeric edge column) their sum."""
        return self._degree(node, self.degrees("in", weight))

    def out_degree(self, node: Id | None = None, weight: str | None = None) -> Any:
        """Edges that leave `node`, or a dict over all neurons; with `weight` (a numeric edge column) their sum."""
        return self._degree(node, self.degrees("out", weight))

    def degree(self, node: Id | None = None, weight: str | None = None) -> Any:
        """In-degree plus out-degree of `node`, or a dict over all neurons; a self-loop counts twice."""
        return self._degree(node, self.degrees("in", weight) + self.degrees("out", weight))

    def degrees(self, direction: Literal["in", "out"], weight: str | None = None) -> np.ndarray:
        """Degrees [n] in index order, or with `weight` the sums of this column over each neuron's edges."""
        ends = self.post if direction == "in" else self.pre
        if weight is None:
            return np.bincount(ends, minlength=self.n_neurons)
        values = self._edge_numbers(weight)
        total = np.bincount(ends, weights=values, minlength=self.n_neurons)
        return total.astype(np.int64) if np.issubdtype(values.dtype, np.integer) else total

    # ---- conversion and storage (imported late: those modules build Connectomes themselves) ----

    def to_networkx(self) -> nx.MultiDiGraph | nx.DiGraph:
        """As `networkx.MultiDiGraph` keyed by kind, or `DiGraph` for a view of one kind; `from_networkx` inverts it."""
        from connectofit.connectome.networkx_graphs import to_networkx

        return to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> Connectome:
        """From a `DiGraph` or a `MultiDiGraph` keyed by kind; `SchemaError` says what cannot be represented."""
        from connectofit.connectome.networkx_graphs import from_networkx

        return from_networkx(graph)

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Neurons and edges (`edge_table`) as frames; whole numbers with missing ones keep an integer type."""
        return frame(self.neurons), frame(self.edge_table())

    def digest(self) -> str:
        """SHA-256 (hex) of the content: equal for equal neurons and edges, whatever the files they came from."""
        from connectofit.connectome.store import digest

        return digest(self)

    def write(self, folder: str | Path) -> Path:
        """Write to a new folder (Parquet tables and a manifest); see `connectofit.connectome.store`."""
        from connectofit.connectome.store import write

        return write(self, folder)

    @classmethod
    def read(cls, folder: str | Path) -> Connectome:
        """Read what `write` wrote."""
        from connectofit.connectome.store import read

        return read(folder)

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

    def _between(self, u: Id, v: Id) -> tuple[int, int]:
        """The range of edges from `u` to `v`."""
        i, j = self.index_of([u, v])
        row = self.post[self.indptr[i] : self.indptr[i + 1]]
        first, last = np.searchsorted(row, j, "left"), np.searchsorted(row, j, "right")
        return int(self.indptr[i] + first), int(self.indptr[i] + last)

    def _degree(self, node: Id | None, degrees: np.ndarray) -> Any:
        if node is None:
            return dict(zip(self.ids, degrees.tolist(), strict=True))
        return degrees[self.index_of(node)[0]].item()

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

    def _keep(self, edges: Bool[np.ndarray, " e"], only_kind: str | None) -> Connectome:
        rows = np.flatnonzero(edges)
        return Connectome(
            neurons=self.neurons,
            indptr=frozen(np.concatenate([[0], np.cumsum(edges)])[self.indptr]),
            post=frozen(self.post[rows]),
            count=frozen(self.count[rows]),
            kind=frozen(self.kind[rows]),
            sign=frozen(self.sign[rows]),
            edge_columns=take_rows(self.edge_columns, rows),
            only_kind=only_kind,
        )

    def _of_kind(self, name: str) -> Connectome:
        return self._keep(self.kind == KINDS.index(name), name)

    def _induced(self, neurons: Int[np.ndarray, " k"]) -> Connectome:
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
