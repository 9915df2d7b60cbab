"""Direct connections: the edges between two groups, the partners of a group, and counts as fractions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.connectome.arrays import combine, take_rows
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.connectome.policies import KINDS
from connectofit.connectome.records import frame
from connectofit.connectome.selectors import (
    Direction,
    EdgeChoice,
    Neurons,
    edges_from,
    edges_to,
    marked,
    neuron_indices,
    share,
    sources_of,
    totals,
)

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph


def edge_frame(connectome: ColumnarGraph, edges: Int[np.ndarray, " k"]) -> pd.DataFrame:
    """The edges at these positions: ``pre, post`` (ids), ``kind`` (text), ``count, sign``, then the `edge_columns`."""
    ids = combine(connectome.neurons.column("id"))
    columns = {
        "pre": ids.take(pa.array(sources_of(connectome, edges))),
        "post": ids.take(pa.array(connectome.post[edges])),
        "kind": pa.array(KINDS).take(pa.array(connectome.kind[edges])),
        "count": pa.array(connectome.count[edges]),
        "sign": pa.array(connectome.sign[edges]),
    }
    more = take_rows(connectome.edge_columns, edges)
    return frame(pa.table(columns | {name: more.column(name) for name in more.column_names}))


def neuron_frame(
    connectome: ColumnarGraph, neurons: Int[np.ndarray, " k"], columns: Iterable[str] = ()
) -> pd.DataFrame:
    """Ids, and columns asked for, of the neurons at these indices."""
    names = [columns] if isinstance(columns, str) else list(columns)
    for name in names:
        if name not in connectome.neurons.column_names:
            raise unknown_name("column", name, connectome.neurons.column_names, "the neurons")
    chosen = connectome.neurons.select(list(dict.fromkeys(["id", *names])))
    return frame(take_rows(chosen, neurons))


def check_direction(direction: str) -> None:
    """Raises `UnknownNameError` unless it is upstream or downstream."""
    if direction not in get_args(Direction):
        raise unknown_name("direction", str(direction), get_args(Direction))


def connections_between(
    connectome: ColumnarGraph, a: Neurons, b: Neurons, both_directions: bool, min_count: float, kind: str | None
) -> pd.DataFrame:
    """See `Connectome.connections_between`."""
    choice = EdgeChoice(connectome, kind, min_count)
    first, second = neuron_indices(connectome, a), neuron_indices(connectome, b)
    edges = _leading(connectome, first, second)
    if both_directions:
        edges = np.union1d(edges, _leading(connectome, second, first))
    return edge_frame(connectome, choice.of(edges))


def _leading(connectome: ColumnarGraph, a: np.ndarray, b: np.ndarray) -> Int[np.ndarray, " k"]:
    edges = edges_from(connectome, a)
    return edges[marked(connectome.n_neurons, b)[connectome.post[edges]]]


def partners(
    connectome: ColumnarGraph,
    neurons: Neurons,
    direction: Direction,
    min_count: float,
    top: int | None,
    by: str | None,
    kind: str | None,
    columns: Iterable[str],
) -> pd.DataFrame:
    """See `Connectome.partners`."""
    check_direction(direction)
    if top is not None and (isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 0):
        raise SettingError(f"top must be None or an integer of at least 0; it is {top!r}.")
    if by is not None and list(columns):
        raise SettingError("columns are those of single partners; with by, partners are put together. Leave one out.")
    choice = EdgeChoice(connectome, kind, min_count)
    group = neuron_indices(connectome, neurons)
    upstream = direction == "upstream"
    edges = EdgeChoice(connectome, kind).of(edges_to(connectome, group) if upstream else edges_from(connectome, group))
    of_group = connectome.count[edges].sum()
    edges = choice.of(edges)
    partner = sources_of(connectome, edges) if upstream else connectome.post[edges]
    count, n = connectome.count[edges], connectome.n_neurons
    n_edges = np.bincount(partner, minlength=n)
    found = np.flatnonzero(n_edges)
    sums = {
        "count": _sums(partner, count, n),
        "signed_count": _sums(partner, count * connectome.sign[edges], n),
        "n_edges": n_edges,
    }
    of_partner = totals(connectome, "out" if upstream else "in", kind)
    table = neuron_frame(connectome, found, [by] if by is not None else columns)
    for name, values in sums.items():
        table[name] = values[found]
    if by is not None:
        everyone = neuron_frame(connectome, np.arange(n), [by]).assign(total=of_partner)
        whole = everyone.groupby(by, dropna=False, as_index=False)["total"].sum()
        table = _put_together(table, by).merge(whole, on=by, how="left")  # a missing value matches a missing one
        of_each = table.pop("total").to_numpy()
    else:
        of_each = of_partner[found]
    fractions = share(table["count"].to_numpy(), of_group), share(table["count"].to_numpy(), of_each)
    table["input_fraction"], table["output_fraction"] = fractions if upstream else fractions[::-1]
    table = table.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    return table if top is None else table.head(top)


def _sums(groups: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    total = np.bincount(groups, weights=values, minlength=n)
    return total.astype(np.int64) if np.issubdtype(values.dtype, np.integer) else total


def _put_together(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Partners with the same value in one row, those without a value too."""
    if by == "id":
        raise SettingError("by must be a column that several neurons share; leave it out to see single partners.")
    table = table.assign(n_neurons=1)
    return table.groupby(by, dropna=False, sort=False, as_index=False)[
        ["n_neurons", "count", "signed_count", "n_edges"]
    ].sum()


def fractions(connectome: ColumnarGraph, of: Literal["input", "output"], kind: str | None) -> Float[np.ndarray, " e"]:
    """See `Connectome.fractions`."""
    if of not in ("input", "output"):
        raise unknown_name("total", str(of), ("input", "output"))
    ends, direction = (connectome.post, "in") if of == "input" else (connectome.pre, "out")
    total = totals(connectome, direction, kind)  # type: ignore[arg-type]
    result = share(connectome.count, total[ends])
    choice = EdgeChoice(connectome, kind)
    if not choice.everything:
        result[~choice.mask()] = np.nan
    return result
