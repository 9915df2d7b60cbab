"""What a connectome is like in numbers: sizes, degrees, counts, reciprocity, components, signs, types, extent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from connectofit.connectome.arrays import combine
from connectofit.connectome.collapse import sum_by_type, types_of
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.connectome.policies import KINDS
from connectofit.connectome.selectors import totals

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

TYPE_COLUMNS = ("cell_type", "type", "primary_type", "cell_class", "class", "super_class")
"""Names of neuron columns that are taken for the neurons' types, the first one first."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
OTHERS = "(other types)"
UNTYPED = "(no type)"
_SIGNS = ((1, "excitatory"), (-1, "inhibitory"), (0, "unknown"))
_MOST_BINS = 2**22


@dataclass(frozen=True, eq=False)
class Summary:
    """A connectome in numbers; made by `Connectome.summary`.

    Attributes
    ----------
    n_neurons, n_edges, n_isolated
        Neurons, directed edges (a gap junction counts twice), and neurons without any edge.
    kinds
        A row a kind that occurs: ``edges``; ``count``, their sum; ``density``, edges between different neurons over all
        ordered pairs; ``self_loops``; ``reciprocity``, the share of edges between different neurons whose reverse is an
        edge too (NaN without any).
    distributions
        A row a kind and quantity (``in-degree, out-degree``: edges; ``input, output``: summed counts; all over the
        neurons; ``count`` over the edges): mean, smallest, quantiles (the smallest value that at least this share of
        them does not exceed), largest.
    components
        Number of weakly and strongly connected components over all edges, and the size of the largest.
    signs
        Of the chemical edges, a row a sign: ``edges, count``, and their shares.
    types
        Summed counts between the largest types (rows presynaptic, columns postsynaptic; see `type_column`), all
        kinds together; the others as ``"(other types)"``, neurons without one as ``"(no type)"``. None if there is no
        column of types.
    type_sizes
        Neurons in each of these; None likewise.
    type_column
        The column of types.
    extent
        A row a position column: ``smallest, largest``, and ``missing``, the neurons without. None without positions.
    """

    n_neurons: int
    n_edges: int
    n_isolated: int
    kinds: pd.DataFrame
    distributions: pd.DataFrame
    components: pd.DataFrame
    signs: pd.DataFrame
    types: pd.DataFrame | None
    type_sizes: pd.Series | None
    type_column: str | None
    extent: pd.DataFrame | None

    def to_frame(self) -> pd.DataFrame:
        """Every number but the matrix of types in one long frame: ``topic, item, quantity, value``."""
        rows: list[tuple[str, str, str, float]] = [
            ("size", "", name, getattr(self, name)) for name in ("n_neurons", "n_edges", "n_isolated")
        ]
        tables = {
            "kind": self.kinds,
            "distribution": self.distributions,
            "components": self.components,
            "sign": self.signs,
            "extent": self.extent,
        }
        for topic, table in tables.items():
            if table is None:
                continue
            for item, row in table.iterrows():
                name = " ".join(item) if isinstance(item, tuple) else str(item)
                rows += [(topic, name, str(quantity), value) for quantity, value in row.items()]
        if self.type_sizes is not None:
            rows += [("type", str(name), "neurons", size) for name, size in self.type_sizes.items()]
        return pd.DataFrame(rows, columns=["topic", "item", "quantity", "value"]).astype({"value": float})

    def __str__(self) -> str:
        with pd.option_context("display.width", 200, "display.max_columns", 50):
            parts = [
                f"{self.n_neurons:,} neurons ({self.n_isolated:,} without edges), {self.n_edges:,} edges",
                self.kinds.to_string(float_format="{:.4g}".format),
                self.distributions.to_string(float_format="{:.4g}".format),
                "connected components:\n" + self.components.to_string(),
                "signs of the chemical edges:\n" + self.signs.to_string(float_format="{:.4g}".format),
            ]
            if self.types is not None:
                parts.append(f"counts between the largest {self.type_column}:\n" + self.types.to_string())
            if self.extent is not None:
                parts.append("positions:\n" + self.extent.to_string(float_format="{:.6g}".format))
        return "\n\n".join(parts)


def summarise(connectome: ColumnarGraph, by: str | None, positions: Sequence[str] | None, max_types: int) -> Summary:
    """See `Connectome.summary`."""
    if isinstance(max_types, bool) or not isinstance(max_types, int | np.integer) or max_types < 1:
        raise SettingError(f"max_types must be an integer of at least 1; it is {max_types!r}.")
    present = {code: name for code, name in enumerate(KINDS) if (connectome.kind == code).any()}
    kinds, distributions = {}, {}
    for code, name in present.items():
        alone = len(present) == 1
        edges = slice(None) if alone else np.flatnonzero(connectome.kind == code)
        pre, post, count = connectome.pre[edges], connectome.post[edges], connectome.count[edges]
        kinds[name] = _sizes(pre, post, count, connectome.n_neurons)
        quantities = {
            "in-degree": np.bincount(post, minlength=connectome.n_neurons),
            "out-degree": np.bincount(pre, minlength=connectome.n_neurons),
            "input": totals(connectome, "in", name),
            "output": totals(connectome, "out", name),
            "count": count,
        }
        for quantity, values in quantities.items():
            distributions[name, quantity] = _distribution(values)
    used = np.bincount(connectome.post, minlength=connectome.n_neurons) + np.diff(connectome.indptr)
    column = by if by is not None else type_column(connectome.neurons)
    types, sizes = _type_matrix(connectome, column, max_types) if column is not None else (None, None)
    index = pd.MultiIndex.from_tuples(list(distributions), names=["kind", "quantity"])
    names = ["mean", "smallest", *(f"{q:.0%}" for q in QUANTILES), "largest"]
    return Summary(
        n_neurons=connectome.n_neurons,
        n_edges=connectome.n_edges,
        n_isolated=int((used == 0).sum()),
        kinds=pd.DataFrame.from_dict(
            kinds, orient="index", columns=["edges", "count", "density", "self_loops", "reciprocity"]
        ),
        distributions=pd.DataFrame(list(distributions.values()), index=index, columns=names),
        components=_components(connectome),
        signs=_signs(connectome),
        types=types,
        type_sizes=sizes,
        type_column=column,
        extent=_extent(connectome, position_columns(connectome.neurons) if positions is None else tuple(positions)),
    )


def type_column(neurons: pa.Table) -> str | None:
    """The column of `neurons` that holds their types, going by its name (`TYPE_COLUMNS`); None if there is none."""
    for name in TYPE_COLUMNS:
        if name in neurons.column_names:
            column = combine(neurons.column(name))
            if pa.types.is_string(column.type) and column.null_count < len(column):
                return name
    return None


def position_columns(neurons: pa.Table) -> tuple[str, ...]:
    """The columns of positions, going by their names: numbers that differ in a part x, y, z, such as ``soma_x_nm``."""
    stems: dict[tuple[str, str], dict[str, str]] = {}
    for field in neurons.schema:
        found = re.fullmatch(r"(|.*_)([xyzXYZ])(|_.*)", field.name)
        if found and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
            stems.setdefault((found[1], found[3]), {})[found[2].lower()] = field.name
    for axes in stems.values():
        if {"x", "y"} <= set(axes):
            return tuple(axes[axis] for axis in sorted(axes))
    return ()


def _sizes(pre: np.ndarray, post: np.ndarray, count: np.ndarray, n: int) -> list[float]:
    different = pre != post
    m = int(different.sum())
    low = np.minimum(pre, post)[different].astype(np.int64) * n + np.maximum(pre, post)[different]
    low.sort()
    # Edges of one kind differ in (pre, post): the same two neurons twice in a row are an edge and its reverse.
    reciprocity = 2 * int((low[1:] == low[:-1]).sum()) / m if m else np.nan
    density = m / (n * (n - 1)) if n > 1 else np.nan
    return [len(pre), count.sum().item(), density, len(pre) - m, reciprocity]


def _distribution(values: np.ndarray) -> list[float]:
    if np.issubdtype(values.dtype, np.integer) and values.max(initial=0) < _MOST_BINS:
        upto = np.cumsum(np.bincount(values))  # counting is faster than sorting
        rank = np.maximum(np.ceil(np.array(QUANTILES) * len(values)), 1)
        quantiles = np.searchsorted(upto, rank)
    else:
        quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
    return [values.mean(), values.min(), *quantiles, values.max()]


def _components(connectome: ColumnarGraph) -> pd.DataFrame:
    n = connectome.n_neurons
    small = connectome.n_edges < 2**31  # SciPy wants both index arrays of one type, and copies what is not
    indptr = connectome.indptr.astype(np.int32) if small else connectome.indptr
    graph = csr_array((np.ones(connectome.n_edges, np.int8), connectome.post, indptr), shape=(n, n))
    n_strong, strong = connected_components(graph, connection="strong") if n else (0, np.zeros(0, np.int32))
    # What is strongly connected is weakly connected: only the edges in between are left to look at.
    pre, post = np.repeat(strong, np.diff(connectome.indptr)), strong[connectome.post]
    between = np.flatnonzero(pre != post)
    between_graph = csr_array((np.ones(len(between), np.int8), (pre[between], post[between])), shape=(n_strong,) * 2)
    n_weak, of_strong = connected_components(between_graph, directed=False) if n else (0, strong)
    labels = {"weak": (n_weak, of_strong[strong]), "strong": (n_strong, strong)}
    rows = {name: [number, np.bincount(label).max(initial=0)] for name, (number, label) in labels.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["number", "largest"])


def _signs(connectome: ColumnarGraph) -> pd.DataFrame:
    chemical = connectome.kind == KINDS.index("chemical")
    rows = {}
    for sign, name in _SIGNS:
        of_sign = connectome.sign == sign
        of_sign &= chemical
        rows[name] = [np.count_nonzero(of_sign), connectome.count[of_sign].sum(dtype=np.float64)]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["edges", "count"])
    for name in ("edges", "count"):
        frame[f"{name}_share"] = frame[name] / (frame[name].sum() or 1)
    return frame[["edges", "edges_share", "count", "count_share"]]


def _type_matrix(connectome: ColumnarGraph, column: str, max_types: int) -> tuple[pd.DataFrame, pd.Series]:
    types = types_of(connectome, column, "drop")
    names = [str(name) for name in types.ids.to_pylist()]
    ranked = np.argsort(-types.sizes, kind="stable")
    shown = ranked[:max_types]
    number = np.full(len(names) + 1, len(shown))  # the others, then those of code -1
    number[shown] = np.arange(len(shown))
    number[-1] = len(shown) + 1
    code = number[types.code]
    sums = sum_by_type(connectome, code, len(shown) + 2)
    matrix = np.zeros((len(shown) + 2,) * 2, sums.unsigned.dtype)
    matrix[sums.pre, sums.post] = sums.excitatory + sums.inhibitory + sums.unsigned
    labels = [*(names[i] for i in shown), OTHERS, UNTYPED]
    sizes = np.bincount(code, minlength=len(labels))
    some = [*range(len(shown)), *(i for i in (len(shown), len(shown) + 1) if sizes[i])]
    labels = [labels[i] for i in some]
    frame = pd.DataFrame(matrix[np.ix_(some, some)], index=labels, columns=labels)
    return frame, pd.Series(sizes[some], index=labels, name="neurons")


def _extent(connectome: ColumnarGraph, positions: Sequence[str]) -> pd.DataFrame | None:
    rows: dict[str, list[float]] = {}
    for name in positions:
        if name not in connectome.neurons.column_names:
            raise unknown_name("column", name, connectome.neurons.column_names, "the neurons")
        values = numbers_of(connectome, name)
        known = values[np.isfinite(values)]
        ends = [known.min(), known.max()] if len(known) else [np.nan, np.nan]
        rows[name] = [*ends, len(values) - len(known)]
    if not rows:
        return None
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["smallest", "largest", "missing"])
    return frame.astype({"missing": np.int64})


def numbers_of(connectome: ColumnarGraph, name: str) -> Int[np.ndarray, " n"] | np.ndarray:
    """A numeric column of the neurons as float64 [n], NaN where missing. Raises `SettingError` for other columns."""
    column = combine(connectome.neurons.column(name))
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise SettingError(f"The column {name!r} of the neurons holds {column.type}; positions are numbers.")
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
