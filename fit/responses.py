"""Population activity as data: here, maps of which neuron answers the stimulation of which other one.

A `Responses` holds one row per measured pair (stimulated neuron, responding neuron) of a signal-propagation atlas
such as Randi et al. 2023 (Nature 623:406): the mean response, the number of trials and the false-discovery rate q at
which it differs from no response. `read_responses` matches the names to a network's neurons and reports what it
leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from connectofit.connectome.errors import SchemaError, UnknownNameError, offenders, unknown_name
from connectofit.connectome.report import Finding, ValidationReport, examples_of
from connectofit.connectome.tables import load_table

Id = str | int

COLUMNS = {"stimulated": "stimulated", "responding": "responding", "effect": "effect", "trials": "trials", "q": "q"}
"""Canonical columns of a stimulation map; `read_responses` takes a mapping from these to the columns of a table."""


@dataclass(frozen=True, eq=False)
class Responses:
    """A stimulation map: one row per measured pair of neurons.

    ids: the neurons that the indices refer to. stimulated, responding: index of each row's neurons. effect: mean
    response (dF/F). trials: how many trials it is the mean of. q: false-discovery rate of its difference from no
    response.
    """

    ids: tuple[Id, ...]
    stimulated: Int[np.ndarray, "row"]
    responding: Int[np.ndarray, "row"]
    effect: Float[np.ndarray, "row"]
    trials: Int[np.ndarray, "row"]
    q: Float[np.ndarray, "row"]

    @property
    def n_rows(self) -> int:
        return int(self.stimulated.size)

    def significant(self, q_below: float = 0.05) -> Float[np.ndarray, "row"]:
        """1 for the pairs with q below `q_below`, else 0."""
        return (self.q < q_below).astype(float)

    def subset(self, rows: np.ndarray) -> Responses:
        """The rows of a mask or index array, in their order."""
        parts = (self.stimulated, self.responding, self.effect, self.trials, self.q)
        return Responses(self.ids, *(part[rows] for part in parts))


def read_responses(
    source: str | Path | pa.Table, ids: Sequence[Id], *, columns: Mapping[str, str] | None = None
) -> tuple[Responses, ValidationReport]:
    """Read a stimulation map and match it to the neurons `ids`.

    Parameters
    ----------
    source: path (CSV, Parquet, Feather), Arrow table or pandas frame with one row per pair.
    ids: the neurons of the network, in its order; string or integer ids, matched exactly (CSV, which has no types, by
        their text).
    columns: canonical name (see `COLUMNS`) to the table's column, for those that differ.

    Returns
    -------
    The matched pairs, and a report of the rows that were left out: neurons that are not in `ids`, responses of a
    stimulated neuron to itself (they show that the stimulus worked, not a connection), and values that are not finite.

    Raises
    ------
    UnknownNameError: a column that is not there. SchemaError: wrong types, duplicated pairs, q outside 0 to 1, a number
        of trials that is not whole or below 1, or no row left.
    """
    table = load_table(source, "responses")
    data = mapped_columns(table.arrow, COLUMNS, columns, table.where)
    names = {name: np.asarray(data[name].to_pylist(), dtype=object) for name in ("stimulated", "responding")}
    place: dict[Id, int] = {neuron if table.typed else str(neuron): k for k, neuron in enumerate(ids)}
    shown = {name: (columns or {}).get(name, name) for name in COLUMNS}
    index = {name: np.array([place.get(v, -1) for v in values], dtype=np.int64) for name, values in names.items()}
    number = {name: numbers(data[name], shown[name], table.where) for name in ("effect", "trials", "q")}

    findings: list[Finding] = []
    keep = np.ones(table.arrow.num_rows, dtype=bool)

    def leave_out(
        rule: str, rows: np.ndarray, values: Sequence[object], message: str, severity: Any = "warning"
    ) -> None:
        rows = rows & keep
        if rows.any():
            where = np.flatnonzero(rows)
            findings.append(
                Finding(
                    severity,
                    rule,
                    "responses",
                    "",
                    int(rows.sum()),
                    f"{rule}=drop",
                    examples_of(where, [values[int(k)] for k in where]),
                    f"{int(rows.sum())} {message}",
                    int(rows.sum()),
                )
            )
            keep[rows] = False

    pairs = [f"{a} -> {b}" for a, b in zip(names["stimulated"], names["responding"], strict=True)]
    missing = (index["stimulated"] < 0) | (index["responding"] < 0)
    absent = sorted({v for k in names for v, i in zip(names[k], index[k], strict=True) if i < 0}, key=str)
    if missing.all():
        raise SchemaError(
            f"No row of {table.where} joins two neurons of the network; its names look like {offenders(absent)} and "
            f"the network's like {offenders(list(ids))}. Check that both are of one animal and name neurons alike."
        )
    leave_out("unmatched_id", missing, pairs, f"rows name neurons that the network does not have: {offenders(absent)}")
    leave_out(
        "self_response",
        index["stimulated"] == index["responding"],
        pairs,
        "rows are responses of the stimulated neuron itself",
        "info",
    )
    bad = ~np.isfinite(number["effect"]) | ~np.isfinite(number["q"]) | ~np.isfinite(number["trials"])
    leave_out("not_finite", bad, pairs, "rows have an effect, q or number of trials that is missing or not finite")
    for name, rule, allowed in (
        ("q", "from 0 to 1", (number["q"] >= 0) & (number["q"] <= 1)),
        ("trials", "a whole number, 1 or more", (number["trials"] >= 1) & (number["trials"] % 1 == 0)),
    ):
        values = [f"{shown[name]} = {value:g} ({pair})" for value, pair in zip(number[name], pairs, strict=True)]
        _refuse(keep & ~allowed, values, table.where, f"{shown[name]!r} has to be {rule}")
    key = index["stimulated"] * len(ids) + index["responding"]
    again = np.zeros_like(keep)
    _, first = np.unique(key[keep], return_index=True)
    again[np.flatnonzero(keep)] = True
    again[np.flatnonzero(keep)[first]] = False
    _refuse(again, pairs, table.where, "every pair of neurons may stand in one row only")
    if not keep.any():
        raise SchemaError(f"No row of {table.where} is left: {'; '.join(f.message for f in findings)}.")

    responses = Responses(
        tuple(ids),
        index["stimulated"][keep].astype(np.int32),
        index["responding"][keep].astype(np.int32),
        number["effect"][keep],
        number["trials"][keep].astype(np.int64),
        number["q"][keep],
    )
    report = ValidationReport(
        tuple(findings),
        {"responses": int(keep.size)},
        {"responses": int(keep.sum())},
        source={"responses": table.source},
        columns=shown,
    )
    return responses, report


def mapped_columns(
    table: pa.Table, canonical: Mapping[str, str], columns: Mapping[str, str] | None, where: str
) -> dict[str, pa.ChunkedArray]:
    """The canonical columns of `table` under a mapping. Raises `UnknownNameError` for names that do not exist."""
    given = dict(columns or {})
    for name in given:
        if name not in canonical:
            raise unknown_name("canonical column", name, canonical)
    found = {}
    for name in canonical:
        column = given.get(name, name)
        if column not in table.column_names:
            error = unknown_name("column", column, table.column_names, where)
            raise UnknownNameError(f"{error} Declare it with columns={{{name!r}: ...}}.")
        found[name] = table.column(column)
    return found


def numbers(column: pa.ChunkedArray, name: str, where: str) -> np.ndarray:
    """As float64, missing as NaN. Raises `SchemaError` with the first rows that are no numbers."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        blank = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
        number = pc.match_substring_regex(
            blank, r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[nN]a[nN])\s*$"
        )
        bad = np.flatnonzero(pc.fill_null(pc.invert(number), False).to_numpy(zero_copy_only=False))
        if bad.size:
            rows = [f"row {k + 1}: {column[int(k)].as_py()!r}" for k in bad]
            raise SchemaError(f"Column {name!r} of {where} has to hold numbers; found {offenders(rows)}. Correct them.")
        column = pc.cast(pc.utf8_trim_whitespace(blank), pa.float64())
    elif not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise SchemaError(f"Column {name!r} of {where} has to hold numbers; its type is {column.type}.")
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy(), dtype=float)


def _refuse(rows: np.ndarray, shown: Sequence[object], where: str, rule: str) -> None:
    if rows.any():
        found = [f"row {k + 1}: {shown[int(k)]}" for k in np.flatnonzero(rows)]
        raise SchemaError(f"In {where}, {rule}; found otherwise in {offenders(found)}. Correct these rows.")
