"""For which neurons and edges an expression holds, evaluated on as few rows as will do.

A condition on a neuron is the same for all of its edges: ``pre.cell_type == 'LN'`` is evaluated once a neuron and then
spread over the edges, and likewise a condition on the kind or on a dictionary-encoded column once a value.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.acero as acero
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from connectofit.connectome.arrays import combine
from connectofit.connectome.expressions import column_names, compile_expression
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import edge_columns, end_names

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph


class _Values(NamedTuple):
    """A table with one row a value, and the row of every edge."""

    table: pa.Table
    row: Int[np.ndarray, " e"]


def neurons_where(graph: ColumnarGraph, expression: str) -> Bool[np.ndarray, " n"]:
    """Whether the expression holds, for every neuron; see `Connectome.select`."""
    neurons = graph.neurons
    compile_expression(expression, _plain_schema(neurons))
    table = pa.table({name: combine(neurons.column(name)) for name in {"id": None} | _named(expression)})
    return holds(table, compile_expression(expression, table.schema))


def edges_where(graph: ColumnarGraph, expression: str) -> Bool[np.ndarray, " e"]:
    """Whether the expression holds, for every edge; see `Connectome.select_edges`."""
    ends = end_names(graph)
    # All errors come from here, with the expression as it was given: its parts are compiled again below.
    compile_expression(expression, _edge_schema(graph, [n for n in _named(expression) if n in ends]), options=ends)
    return _evaluate(graph, ast.parse(expression.strip(), mode="eval").body)


def holds(table: pa.Table, condition: pc.Expression) -> Bool[np.ndarray, " rows"]:
    """Whether a condition, which is never null, holds, for every row."""
    source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
    projected = acero.Declaration("project", acero.ProjectNodeOptions([condition], ["holds"]), [source])
    # One thread: several would not keep the order of the rows.
    return projected.to_table(use_threads=False).column("holds").to_numpy()


def _evaluate(graph: ColumnarGraph, node: ast.expr) -> Bool[np.ndarray, " e"]:
    text = ast.unparse(node)
    names = list(_named(text))
    owners = {_owner(graph, name) for name in names}
    if not owners:
        always = holds(pa.table({"": [0]}), compile_expression(text, pa.schema([])))
        return np.full(graph.n_edges, bool(always[0]))
    if len(owners) == 1 and (values := _values(graph, owners.pop(), names)) is not None:
        return holds(values.table, compile_expression(text, values.table.schema))[values.row]
    if isinstance(node, ast.BoolOp):
        join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
        return functools.reduce(join, (_evaluate(graph, part) for part in node.values))
    if isinstance(node, ast.UnaryOp):
        return ~_evaluate(graph, node.operand)
    table = pa.table({name: combine(column) for name, column in edge_columns(graph, names).items()})
    return holds(table, compile_expression(text, table.schema))


def _owner(graph: ColumnarGraph, name: str) -> str:
    """What a column of the edges belongs to: an end, the kind, a dictionary-encoded column, or (empty) every edge."""
    end = name.partition(".")[0]
    if name in graph.edge_columns.column_names:
        return name if pa.types.is_dictionary(graph.edge_columns.schema.field(name).type) else ""
    return end if end in ("pre", "post", "kind") else ""


def _values(graph: ColumnarGraph, owner: str, names: list[str]) -> _Values | None:
    if owner == "kind":
        return _Values(pa.table({"kind": KINDS}), graph.kind)
    if owner in ("pre", "post"):
        columns = {name: name.partition(".")[2] or "id" for name in names}
        table = pa.table({name: combine(graph.neurons.column(column)) for name, column in columns.items()})
        return _Values(table, graph.pre if owner == "pre" else graph.post)
    if owner:
        column = graph.edge_columns.column(owner)
        coded = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        missing = len(coded.dictionary)
        known = combine(coded.dictionary)
        table = pa.table({owner: pa.concat_arrays([known, pa.nulls(1, known.type)])})
        rows = pc.fill_null(coded.indices.cast(pa.int64()), missing) if coded.null_count else coded.indices
        return _Values(table, rows.to_numpy())
    return None


def _named(text: str) -> dict[str, None]:
    return dict.fromkeys(column_names(text))


def _edge_schema(graph: ColumnarGraph, ends: Iterable[str]) -> pa.Schema:
    """The columns of `edge_table` with their types, without making it."""
    types = {field.name: field.type for field in _plain_schema(graph.neurons)}
    own = {
        "pre": types["id"],
        "post": types["id"],
        "kind": pa.string(),
        "count": pa.from_numpy_dtype(graph.count.dtype),
        "sign": pa.int8(),
    }
    further = {field.name: field.type for field in _plain_schema(graph.edge_columns)}
    return pa.schema({**own, **further, **{name: types[name.partition(".")[2]] for name in ends}})


def _plain_schema(table: pa.Table) -> pa.Schema:
    """The schema that the columns have once dictionaries are decoded and texts are plain."""
    return pa.schema([(field.name, combine(pa.chunked_array([], field.type)).type) for field in table.schema])
