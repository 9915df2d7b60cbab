"""Which neurons and which edges a question is about: ids or an expression, a kind, a smallest count."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.connectome.ordering import ranges
from connectofit.connectome.policies import KINDS

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

Neurons: TypeAlias = str | int | Iterable[str | int]
"""An id, several ids, or one expression on the neurons' columns, such as ``"cell_type == 'LN'"``."""

Direction: TypeAlias = Literal["upstream", "downstream"]


def neuron_indices(connectome: ColumnarGraph, neurons: Neurons) -> Int[np.ndarray, " k"]:
    """Indices (int64 [k], ascending, each once) of the neurons meant.

    A text that is the id of a neuron means this neuron; any other text that reads as a condition is an expression (see
    `compile_expression`). An expression that holds for no neuron gives none, as `select` does.

    Raises `UnknownNameError` for ids and columns that are not there, `SettingError` for a wrong expression.
    """
    if isinstance(neurons, str) and neurons not in connectome and _reads_as_condition(connectome, neurons):  # type: ignore[operator]
        return connectome.select_neurons(neurons)
    return np.unique(connectome.index_of(neurons))


def _reads_as_condition(connectome: ColumnarGraph, text: str) -> bool:
    if not connectome._text_ids:
        return True
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return any(mark in text for mark in "=<>'\"")  # a condition with a slip: its own error says more
    if isinstance(node, ast.Name):
        return node.id in connectome.neurons.column_names
    negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negation or isinstance(node, ast.Compare | ast.BoolOp)


class EdgeChoice:
    """The edges of a `kind` (None: of both) whose count is at least `min_count`.

    Raises `UnknownNameError` for another kind, `SettingError` for a kind that the view of one kind does not hold, and
    for a `min_count` that is no number of at least 0.
    """

    def __init__(self, connectome: ColumnarGraph, kind: str | None = None, min_count: float = 0) -> None:
        if kind is not None and kind not in KINDS:
            raise unknown_name("kind of edge", str(kind), KINDS)
        if kind is not None and connectome.only_kind not in (None, kind):
            raise SettingError(
                f"This is the view of the {connectome.only_kind} edges alone; it has no {kind} ones. Ask the "
                "connectome that it was made from, or leave kind out."
            )
        number = isinstance(min_count, int | float | np.number) and not isinstance(min_count, bool)
        if not number or not min_count >= 0:
            raise SettingError(f"min_count must be a number of at least 0; it is {min_count!r}.")
        self.connectome, self.min_count = connectome, min_count
        code = None if kind is None or connectome.only_kind == kind else KINDS.index(kind)
        self.code = code if code is not None and (connectome.kind != code).any() else None

    @property
    def everything(self) -> bool:
        """Whether every edge is chosen."""
        return self.code is None and not self.min_count

    def of(self, edges: Int[np.ndarray, " k"]) -> Int[np.ndarray, " m"]:
        """Those of the `edges` (positions) that are chosen."""
        if self.code is not None:
            edges = edges[self.connectome.kind[edges] == self.code]
        return edges[self.connectome.count[edges] >= self.min_count] if self.min_count else edges

    def mask(self) -> Bool[np.ndarray, " e"]:
        """Which edges are chosen."""
        chosen = np.ones(self.connectome.n_edges, bool)
        if self.code is not None:
            chosen &= self.connectome.kind == self.code
        if self.min_count:
            chosen &= self.connectome.count >= self.min_count
        return chosen


def edges_from(connectome: ColumnarGraph, neurons: Int[np.ndarray, " k"]) -> Int[np.ndarray, " m"]:
    """Positions (ascending for ascending `neurons`) of the edges that leave these neurons."""
    return ranges(connectome.indptr[neurons], connectome.indptr[neurons + 1])[0]


def edges_to(connectome: ColumnarGraph, neurons: Int[np.ndarray, " k"]) -> Int[np.ndarray, " m"]:
    """Positions (ascending) of the edges that end at these neurons: one pass over the edges, no index needed."""
    return np.flatnonzero(marked(connectome.n_neurons, neurons)[connectome.post])


def sources_of(connectome: ColumnarGraph, edges: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Indices of the presynaptic neurons of `edges` (positions)."""
    if len(edges) > connectome.n_edges // 16:
        return connectome.pre[edges]
    return np.searchsorted(connectome.indptr, edges, side="right") - 1


def marked(n: int, which: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " n"]:
    """True at these indices."""
    result = np.zeros(n, bool)
    result[which] = True
    return result


def totals(connectome: ColumnarGraph, direction: Literal["in", "out"], kind: str | None = None) -> np.ndarray:
    """Summed count [n] of the edges of a kind that end at each neuron (``"in"``) or leave it (``"out"``)."""
    choice, count, n = EdgeChoice(connectome, kind), connectome.count, connectome.n_neurons
    if not choice.everything:
        count = count * choice.mask()
    whole = np.issubdtype(count.dtype, np.integer)
    if direction == "in":
        total = np.bincount(connectome.post, weights=count, minlength=n)
        return total.astype(np.int64) if whole else total
    total = np.zeros(n, np.int64 if whole else np.float64)
    some = np.flatnonzero(np.diff(connectome.indptr))
    if len(some):
        total[some] = np.add.reduceat(count, connectome.indptr[some], dtype=total.dtype)
    return total


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64; 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=np.asarray(whole) != 0)
