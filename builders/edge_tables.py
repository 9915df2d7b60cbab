"""Tables of edges that are larger than memory allows, read as a stream straight into the arrays of a `Network`.

The table is read twice, a block of rows at a time: the first time to count the edges of every presynaptic neuron and to
find all that is wrong, the second time to put every edge in its place. So the network is all that is held: 8 bytes an
edge, 10 where edges have delays of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from connectofit.builders.streamed import Synapses, parameters_of
from connectofit.builders.streamed_blocks import MAX_EDGES, aligned, delay_dtype
from connectofit.builders.values import column_of, types_of
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.synapse_sources import Part, open_parts
from connectofit.connectome.synthetic.drawing import number
from connectofit.sim import LIF, Network, NeuronModel, Population, Projection, check_network

_BATCH = 2**20  # rows of the table, or edges, that are worked on at once
_EXAMPLES = 5


def stream_network(
    edges: Any,
    neurons: pa.Table,
    *,
    weight: str | float,
    delay_ms: str | float,
    dt_ms: float = 0.1,
    pre: str = "pre",
    post: str = "post",
    model: NeuronModel | None = None,
    params: Mapping[str, float | Mapping[str, float]] | None = None,
    tie_by: str | None = None,
    synapses: Synapses | None = None,
) -> Network:
    """The network of one population and one projection whose edges a table lists.

    Parameters
    ----------
    edges
        Path of a Parquet, Feather or CSV file, of a folder of such files, a list of these, or a table in memory; not
        an iterator, since it is read twice. Every row is an edge: rows of the same pair are several edges.
    neurons
        The neurons in order: a column ``id`` (integers or text), and any more for selections.
    weight
        The column of signed weights, or the weight of all edges.
    delay_ms
        The column of delays, rounded to steps and at least one, or the delay of all edges.
    dt_ms
        The step that delays are multiples of.
    pre, post
        The columns of the ids of the ends.
    model, params, tie_by
        The neurons' model (`LIF` by default), its parameters (one number, or one for each type), and the column of
        `neurons` that holds their types (without it all are of one).
    synapses
        What the edges act through; exponential currents by default.

    Returns
    -------
    A `Network` with the population "cells". Within the row of a presynaptic neuron edges ascend by delay, then by
    target.

    Raises
    ------
    SchemaError
        Ids that no neuron has, values that are missing or no numbers, ids that are not unique: with the first rows.
    UnknownNameError
        Columns or parameters that do not exist.
    SettingError
        Parameters, delays or weights that are not allowed; more edges than int32 counts.
    """
    number("dt_ms", dt_ms, 0.0, above=True)
    model, synapses = model or LIF(), synapses or Synapses()
    population, values = _population(neurons, model, params or {}, tie_by)
    table = _Table(edges, neurons.column("id").combine_chunks(), (pre, post), weight, delay_ms, dt_ms)
    projection = _projection(table, synapses)
    own = parameters_of(synapses.params, projection.parameters, f"synapses {synapses.name!r}")
    tied = {"log_gain": np.zeros(1), **{name: np.full(1, value) for name, value in own.items()}}
    net = Network((population,), (projection,), {"cells": values, synapses.name: tied})
    check_network(net)
    return net


def _population(
    neurons: pa.Table, model: NeuronModel, params: Mapping[str, Any], tie_by: str | None
) -> tuple[Population, dict[str, Float[np.ndarray, " type"]]]:
    ids = tuple(column_of(neurons, "id", "the neurons"))
    if None in ids or len(set(ids)) != len(ids):
        raise SchemaError(f"The {len(ids)} ids of the neurons have to be there and unique; {len(set(ids))} differ.")
    columns = {} if tie_by is None else {tie_by: column_of(neurons, tie_by, "the neurons")}
    type_index, types = types_of(columns, len(ids), "The neurons' table")
    for name, value in params.items():
        if name not in model.parameters:
            raise unknown_name("parameter", name, model.parameters, f"model {model.kind!r}")
        if isinstance(value, Mapping):
            missing = [kind for kind in types if kind not in value]
            if missing:
                raise SettingError(f"Parameter {name!r} has no value for types {offenders(missing)}. Add them.")
    values = {}
    for name, described in model.parameters.items():
        value = params.get(name, described.default)
        values[name] = np.array([float(value[kind] if isinstance(value, Mapping) else value) for kind in types])
    return Population("cells", model, ids, type_index, types, neurons), values


@dataclass(eq=False)
class _Wrong:
    """What is wrong with a table's rows, added up over its blocks."""

    found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, rule: str, rows: Int[np.ndarray, " wrong"], first: int, where: str, values: Any) -> None:
        count, shown = self.found.get(rule, (0, []))
        shown = shown + [f"{where} row {first + r + 1}: {values[int(r)].as_py()!r}" for r in rows[:_EXAMPLES]]
        if len(rows):
            self.found[rule] = (count + len(rows), shown[:_EXAMPLES])

    def check(self) -> None:
        """Raise a `SchemaError` that names all rules with their first offenders."""
        if self.found:
            told = [f"{rule}: {', '.join(shown)} ({count} in all)" for rule, (count, shown) in self.found.items()]
            raise SchemaError(
                f"The table of edges cannot be used. {'; '.join(told)}. Correct or leave out these rows, or add the "
                "neurons that are missing."
            )


@dataclass(frozen=True, eq=False)
class _Table:
    """The table of edges, read block by block. weight, delay_ms: a column's name, or a number for all."""

    source: Any
    ids: pa.Array
    ends: tuple[str, str]
    weight: str | float
    delay_ms: str | float
    dt_ms: float

    @property
    def columns(self) -> list[str]:
        return [*self.ends, *(column for column in (self.weight, self.delay_ms) if isinstance(column, str))]

    def blocks(self) -> Iterator[tuple[Part, int, pa.Table]]:
        """(part, number of its rows before, rows)."""
        for part in open_parts(self.source, _BATCH):
            for column in self.columns:
                if column not in part.names:
                    raise unknown_name("column", column, part.names, f"the table of edges ({part.name})")
            first = 0
            for rows in part.batches(list(dict.fromkeys(self.columns))):
                yield part, first, rows
                first += len(rows)

    def index(self, rows: pa.Table, column: str) -> tuple[Int[np.ndarray, " row"], pa.ChunkedArray]:
        """(position of each id among the neurons, -1 where there is none; the ids as they are given)."""
        given = rows.column(column)
        plain = given.cast(given.type.value_type) if pa.types.is_dictionary(given.type) else given
        try:
            plain = plain.cast(self.ids.type)
        except pa.ArrowInvalid:  # some are no integers: those are unknown, not the whole column
            plain, known = plain.cast(pa.string()), self.ids.cast(pa.string())
        else:
            known = self.ids
        found = pc.index_in(plain, value_set=known)
        return pc.fill_null(found, -1).to_numpy().astype(np.int64), given

    def numbers(self, rows: pa.Table, column: str) -> tuple[Float[np.ndarray, " row"], pa.ChunkedArray]:
        """(a column as float64, NaN where there is no number; the column as it is given)."""
        given = rows.column(column)
        try:
            return pc.fill_null(given.cast(pa.float64()), np.nan).to_numpy(), given
        except pa.ArrowInvalid:
            text = [_float(value) for value in given.cast(pa.string()).to_pylist()]
            return np.array(text), given

    def steps(self, rows: pa.Table, column: str) -> Int[np.ndarray, " row"]:
        return np.maximum(np.rint(self.numbers(rows, column)[0] / self.dt_ms), 1).astype(np.int64)


def _float(text: str | None) -> float:
    try:
        return float("nan" if text is None else text)
    except ValueError:
        return float("nan")


def _counted(table: _Table) -> tuple[Int[np.ndarray, " neuron"], int, int]:
    """(edges of every presynaptic neuron, shortest and longest delay in steps). Raises for whatever is wrong."""
    if isinstance(table.source, Iterator):
        raise SettingError(
            "The edges are an iterator, which can be read only once, and they are read twice. Give a path."
        )
    degree = np.zeros(len(table.ids), np.int64)
    wrong, shortest, longest = _Wrong(), 2**62, 0
    for part, first, rows in table.blocks():
        index, given = table.index(rows, table.ends[0])
        for column, (places, shown) in zip(table.ends, ((index, given), table.index(rows, table.ends[1])), strict=True):
            wrong.add(
                f"ids of column {column!r} that no neuron has", np.flatnonzero(places < 0), first, part.name, shown
            )
        degree += np.bincount(index[index >= 0], minlength=len(degree))
        if isinstance(table.weight, str):
            values, shown = table.numbers(rows, table.weight)
            rule = f"weights of column {table.weight!r} that are no finite numbers"
            wrong.add(rule, np.flatnonzero(~np.isfinite(values)), first, part.name, shown)
        if isinstance(table.delay_ms, str):
            values, shown = table.numbers(rows, table.delay_ms)
            bad = ~(np.isfinite(values) & (values >= 0))
            rule = f"delays of column {table.delay_ms!r} that are no numbers of 0 ms or more"
            wrong.add(rule, np.flatnonzero(bad), first, part.name, shown)
            if not bad.all():
                steps = np.maximum(np.rint(values[~bad] / table.dt_ms), 1)
                shortest, longest = min(shortest, int(steps.min())), max(longest, int(steps.max()))
    wrong.check()
    return degree, shortest, longest


def _projection(table: _Table, synapses: Synapses) -> Projection:
    degree, shortest, longest = _counted(table)
    total = int(degree.sum())
    if total > MAX_EDGES:
        raise SettingError(f"The table has {total:,} edges, and positions are int32: at most {MAX_EDGES:,}. Divide it.")
    if not isinstance(table.delay_ms, str):
        shortest = longest = _steps_of(table.delay_ms, table.dt_ms)
    elif not total:
        shortest = longest = 1
    indptr = aligned(len(degree) + 1, np.int32, zero=True)
    np.cumsum(degree, out=indptr[1:])
    post, weight = aligned(total, np.int32), aligned(total, np.float32)
    own_delays = shortest != longest
    delay = aligned(total, delay_dtype(longest * table.dt_ms, table.dt_ms)) if own_delays else None
    place = indptr[:-1].astype(np.int64)
    for _, _, rows in table.blocks():
        starts, ends = table.index(rows, table.ends[0])[0], table.index(rows, table.ends[1])[0]
        order = np.argsort(starts, kind="stable")
        ordered = starts[order]
        several = np.bincount(starts, minlength=len(degree))
        # Where a neuron's first edge of this block goes, and how far on each of the others.
        at = place[ordered] + np.arange(len(order)) - (np.cumsum(several) - several)[ordered]
        place += several
        post[at] = ends[order]
        weight[at] = table.numbers(rows, table.weight)[0][order] if isinstance(table.weight, str) else table.weight
        if delay is not None:
            delay[at] = table.steps(rows, str(table.delay_ms))[order] * table.dt_ms
    kind = aligned(total, np.int8, zero=True)
    _sort_rows(indptr, post, weight, delay)
    for array in (indptr, post, weight, kind, delay):
        if array is not None:
            array.flags.writeable = False
    return Projection(
        name=synapses.name,
        pre="cells",
        post="cells",
        synapse=synapses.model,
        indptr=indptr,
        post_index=post,
        base_weight=weight,
        type_index=kind,
        types=("all",),
        delay_ms=round(shortest * table.dt_ms, 9),
        edge_delay_ms=delay,
        longest_delay_ms=round(longest * table.dt_ms, 9) if own_delays else None,
    )


def _steps_of(delay_ms: float, dt_ms: float) -> int:
    steps = number("delay_ms", delay_ms, dt_ms * (1 - 1e-6)) / dt_ms
    if abs(steps - round(steps)) > 1e-6 * steps:
        raise SettingError(f"delay_ms is {delay_ms:g} ms, {steps:g} steps of dt_ms = {dt_ms:g}; take whole steps.")
    return round(steps)


def _sort_rows(
    indptr: Int[np.ndarray, " n_pre_plus_1"],
    post: Int[np.ndarray, " edge"],
    weight: Float[np.ndarray, " edge"],
    delay: Float[np.ndarray, " edge"] | None,
) -> None:
    """Sort every row by delay, then target, in place, some rows at a time."""
    row, last = 0, len(indptr) - 1
    while row < last:
        end = max(row + 1, int(np.searchsorted(indptr, indptr[row] + _BATCH, side="right")) - 1)
        here = slice(int(indptr[row]), int(indptr[end]))
        rows = np.repeat(np.arange(end - row), np.diff(indptr[row : end + 1]))
        keys = (post[here], rows) if delay is None else (post[here], delay[here], rows)
        order = np.lexsort(keys)
        for array in (post, weight, delay):
            if array is not None:
                array[here] = array[here][order]
        row = end
