"""The reading half of a NetworkX graph, answered from the columns of a `Connectome`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import numpy as np

from connectofit.connectome.columnar import ColumnarGraph, Id
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import edge_records, node_records


class GraphInterface(ColumnarGraph):
    """What a `Connectome` answers as a NetworkX graph does; it has no fields of its own."""

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
