"""The rules for the neuron table: unique ids, rows without type and transmitter, missing transmitters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.arrays import combine, take_rows
from connectofit.connectome.coded import Coded
from connectofit.connectome.columns import Table
from connectofit.connectome.errors import SchemaError, unknown_name
from connectofit.connectome.policies import Policies
from connectofit.connectome.report import Finding, Found, counted

_DEFAULT_TYPE_COLUMN = Policies.__dataclass_fields__["type_column"].default


@dataclass(frozen=True, eq=False)
class NeuronList:
    """The neurons that the edges may join.

    Attributes
    ----------
    table
        Arrow table [n] of those kept: ``id`` first, ``transmitter`` if declared, then all other columns.
    rows
        0-based rows [n] of these in the neuron table.
    dropped_ids
        Ids of the rows that a policy dropped.
    from_table
        False when there was no neuron table.
    id_column
        The id column's name in the file.
    """

    table: pa.Table
    rows: Int[np.ndarray, " n"]
    dropped_ids: pa.Array
    from_table: bool
    id_column: str

    @property
    def ids(self) -> pa.Array:
        """The ids [n] of the neurons kept."""
        return combine(self.table.column("id"))

    def transmitters(self, length: int) -> pa.Array | None:
        """Transmitters of the neurons kept, padded with missing ones to `length`; None if none are declared."""
        if "transmitter" not in self.table.column_names:
            return None
        known = combine(self.table.column("transmitter"))
        return pa.concat_arrays([known, pa.nulls(length - len(known), pa.string())])


def neurons_of_edges(pre: Coded, post: Coded, findings: list[Finding]) -> NeuronList:
    """Without a neuron table: all ids of the edges, sorted."""
    ids = pc.unique(pa.concat_arrays([pre.values, post.values]))
    ids = ids.take(pc.array_sort_indices(ids))
    named = counted(len(ids), "id", "ids")
    text = f"there is no neuron table: the neurons are the {named} of the edges, without attributes"
    Found(len(ids)).note(findings, "info", "no_neuron_table", "edges", "", text)
    return NeuronList(pa.table({"id": ids}), np.arange(len(ids)), pa.array([], ids.type), False, "")


def list_neurons(table: Table, coded: Coded, policies: Policies, findings: list[Finding]) -> NeuronList:
    """Check the neuron table's rows and apply ``untyped_neurons``; raises `SchemaError` for ids that occur twice."""
    _refuse_repeated(table, coded)
    ids = coded.values.take(pa.array(coded.codes))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"id": ids}
    transmitter = _transmitters(table)
    if transmitter is not None:
        columns["transmitter"] = transmitter
    extras = table.extras()
    for name in extras.column_names:
        if name in ("id", "transmitter"):
            text = f"the column {name!r} is not carried along: the connectome has one of this name"
            findings.append(Finding("info", "ignored_column", "neurons", name, len(extras), message=text))
        else:
            columns[name] = extras.column(name)
    neurons = pa.table(columns)
    untyped = _untyped(neurons, table, policies, findings)
    if transmitter is not None:
        _note_missing_transmitters(neurons, untyped, table, policies, findings)
    keep = np.ones(len(ids), bool)
    if policies.untyped_neurons == "drop":
        keep[untyped] = False
    rows = np.flatnonzero(keep)
    return NeuronList(take_rows(neurons, rows), rows, ids.filter(pa.array(~keep)), True, table.given["id"])


def _refuse_repeated(table: Table, ids: Coded) -> None:
    if np.bincount(ids.codes).max() == 1:
        return
    first = np.unique(ids.codes, return_index=True)[1]
    rows = np.setdiff1d(np.arange(len(ids.codes)), first)

    def shown(which: np.ndarray) -> list[str]:
        return [
            f"{value!r} (first in row {int(first[ids.codes[row]]) + 1})"
            for row, value in zip(which, ids.at(which), strict=True)
        ]

    raise SchemaError(
        f"Column {table.given['id']!r} of {table.where} must name every neuron once, but ids are repeated in "
        f"{Found.among(rows, shown)}. Remove or rename these rows."
    )


def _transmitters(table: Table) -> pa.Array | None:
    if not table.has("transmitter"):
        return None
    column = table.column("transmitter")
    if not (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
        raise SchemaError(
            f"Column {table.given['transmitter']!r} of {table.where} holds {column.type}; transmitters must be text."
        )
    column = column.cast(pa.string())
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def _blank(column: pa.ChunkedArray) -> np.ndarray:
    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type):
        missing = pc.or_(missing, pc.equal(pc.fill_null(column, ""), ""))
    return combine(missing).to_numpy(zero_copy_only=False)


def _untyped(neurons: pa.Table, table: Table, policies: Policies, findings: list[Finding]) -> np.ndarray:
    """0-based rows with neither a type nor a transmitter."""
    name, policy = policies.type_column, policies.untyped_neurons
    if name not in neurons.column_names:
        if name != _DEFAULT_TYPE_COLUMN:
            raise unknown_name("column", name, table.arrow.column_names, f"{table.where} (Policies.type_column)")
        return np.zeros(0, np.int64)
    blank = _blank(neurons.column(name))
    if "transmitter" in neurons.column_names:
        blank &= _blank(neurons.column("transmitter"))
    rows = np.flatnonzero(blank)
    found = Found.among(rows, lambda which: neurons.column("id").take(pa.array(which)).to_pylist())
    what = f"neither a type (column {name!r}) nor a transmitter"
    if found and (policy == "error" or (policy == "drop" and len(rows) == len(blank))):
        raise SchemaError(
            f"{table.subject} has rows with {what}: {found}. "
            f"Complete or remove them, or set the policy untyped_neurons to 'keep' (or type_column to another column)."
        )
    done = "dropped" if policy == "drop" else "kept"
    found.note(
        findings,
        "warning",
        "untyped_neuron",
        "neurons",
        name,
        (f"row has {what}: {done}", f"rows have {what}: {done}"),
        policy=f"untyped_neurons={policy}",
        removed=found.count if policy == "drop" else 0,
    )
    return rows


def _note_missing_transmitters(
    neurons: pa.Table, untyped: np.ndarray, table: Table, policies: Policies, findings: list[Finding]
) -> None:
    column, ids = combine(neurons.column("transmitter")), combine(neurons.column("id"))
    name = table.given["transmitter"]

    def note(marked: pa.Array, shown: pa.Array, rule: str, what: tuple[str, str], policy: str) -> None:
        rows = np.flatnonzero(marked.to_numpy(zero_copy_only=False))
        found = Found.among(rows, lambda which: shown.take(pa.array(which)).to_pylist())
        found.note(findings, "warning", rule, "neurons", name, what, policy=policy)

    also = f", {len(untyped)} of them without a type either" if len(untyped) else ""
    texts = (f"neuron has no transmitter{also}", f"neurons have no transmitter{also}")
    note(column.is_null(), ids, "missing_transmitter", texts, f"sign.unknown={policies.sign.unknown}")
    listed = pa.array(sorted(policies.sign.transmitters), pa.string())
    strange = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=listed)))
    rest = "a transmitter that the sign policy does not list; it gives no sign"
    texts = (f"neuron has {rest}", f"neurons have {rest}")
    note(strange, column, "undeclared_transmitter", texts, f"sign.transmitters={policies.sign.transmitters}")
