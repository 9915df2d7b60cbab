"""From what the caller gives (files, graphs, matrices, a preset) to two tables whose columns have known meanings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.arrays import plain
from connectofit.connectome.columns import Table, check_mapping, map_columns
from connectofit.connectome.errors import ConnectofitError, SchemaError, SettingError
from connectofit.connectome.graph_tables import GapJunctionGraph, graph_tables
from connectofit.connectome.matrices import AdjacencyMatrix, matrix_tables
from connectofit.connectome.policies import Policies
from connectofit.connectome.presets import Choice, TableForm, as_source, choose, hint
from connectofit.connectome.report import Finding, Found, ValidationReport
from connectofit.connectome.sources import FilePart, JoinedTables, Loaded, column_names, is_graph_or_matrix, join, load
from connectofit.connectome.synapses import SYNAPSE_COLUMNS, aggregate_synapses


@dataclass(eq=False)
class Intake:
    """The tables with their columns mapped, how to read them, and what was found on the way.

    `files` says for each table made of several files which rows are in which. Not frozen: columns of `edges` that are
    no longer needed are let go while the table is read. `synapses` is the report of the aggregation, where the edges
    were aggregated from a table of synapses.
    """

    edges: Table
    neurons: Table | None
    policies: Policies
    id_type: str | None
    findings: list[Finding]
    files: Mapping[str, Sequence[FilePart]]
    synapses: ValidationReport | None = None

    @contextmanager
    def naming_files(self) -> Iterator[None]:
        """Add to errors that name rows of a table made of several files a note which rows of which files they are."""
        try:
            yield
        except ConnectofitError as error:
            for role, parts in self.files.items():
                if f"{role} table" in str(error):
                    rows = [int(row) for row in dict.fromkeys(re.findall(r"\brow (\d+)", str(error)))]
                    named = [
                        f"row {row} is row {row - first + 1} of {name}"
                        for row in rows
                        for name, first, last in parts
                        if first <= row <= last
                    ]
                    if named:
                        error.add_note(f"In the files of the {role} table: {', '.join(named)}.")
            raise


def take_in(
    edges: Any,
    neurons: Any,
    columns: Mapping[str, str | None] | None,
    policies: Policies | None,
    id_type: str | None,
    preset: str | None,
) -> Intake:
    """Load the tables and map their columns; see `read_connectome` for the arguments and what is raised."""
    if policies is not None and not isinstance(policies, Policies):
        raise SettingError(f"policies must be a Policies object; it is {policies!r}. Make one with Policies.from_dict.")
    mapping, findings = check_mapping(columns), list[Finding]()
    choice = None if preset is None else choose(preset, edges, neurons, mapping)
    used = policies or (choice.preset.policies if choice else Policies())
    if choice is not None:
        mapping, id_type = choice.mapping(mapping), id_type or choice.preset.id_type
    edge_files: tuple[FilePart, ...] = ()
    implied: Table | None = None
    synapses: ValidationReport | None = None
    try:
        neuron_table, neuron_files = _neurons(neurons, choice, mapping, id_type, findings)
        if choice is not None and choice.edges.layout == "synapses":
            edge_table, synapses = _aggregated(edges, choice, columns or {}, id_type)
        else:
            edge_table, edge_files, implied = _edges(edges, neuron_table, choice, mapping, used, findings)
    except SchemaError as error:
        canonical = {"pre", "post"} <= set(column_names(edges)) and (neurons is None or "id" in column_names(neurons))
        advice = "" if preset is not None or columns or canonical else hint(edges, neurons)
        raise (SchemaError(f"{error}{advice}") if advice else error) from None
    if neuron_table is None and implied is not None:
        # The ids of a graph or matrix stand in its own column, whatever the caller calls that of his tables.
        others = {name: column for name, column in mapping.items() if name not in ("id", "neurons.id")}
        there = {name: column for name, column in others.items() if column in implied.arrow.column_names}
        neuron_table = map_columns(implied, there)
    if preset is not None:
        text = _which(choice, edges, neurons, policies is None)
        rows = edge_table.arrow.num_rows
        findings.insert(0, Finding("info", "preset", "edges", "", rows, f"preset={preset}", (), text))
    files = {"edges": edge_files, "neurons": neuron_files, **(synapses.files if synapses else {})}
    files = {role: parts for role, parts in files.items() if parts}
    return Intake(edge_table, neuron_table, used, id_type, findings, files, synapses)


def _neurons(
    source: Any, choice: Choice | None, mapping: Mapping[str, str | None], id_type: str | None, findings: list[Finding]
) -> tuple[Table | None, tuple[FilePart, ...]]:
    if source is None:
        return None, ()
    form = choice.neurons if choice else None
    if isinstance(source, list | tuple) and choice is not None and choice.preset.join_on and len(source) > 1:
        different = len({frozenset(column_names(item)) for item in source}) > 1
        source = JoinedTables(source, on=choice.preset.join_on) if different else source
    loaded = (
        Loaded(join(source, id_type, findings))
        if isinstance(source, JoinedTables)
        else load(as_source(source, form), "neurons", form.left_out if form else ())
    )
    return map_columns(loaded.table, mapping), loaded.files


def _edges(
    source: Any,
    neurons: Table | None,
    choice: Choice | None,
    mapping: Mapping[str, str | None],
    policies: Policies,
    findings: list[Finding],
) -> tuple[Table, tuple[FilePart, ...], Table | None]:
    """The edges, the files that they come from, and the neurons that a graph or matrix names itself."""
    form = choice.edges if choice else None
    if isinstance(source, nx.Graph | GapJunctionGraph):
        table, implied = graph_tables(source, policies.kinds)
        return map_columns(table, mapping), (), implied
    if is_graph_or_matrix(source) or (form is not None and form.layout == "matrix"):
        source = AdjacencyMatrix(source)
    if isinstance(source, AdjacencyMatrix):
        matrix, own = matrix_tables(source, neurons, policies.kinds, findings)
        return map_columns(matrix, mapping), (), own
    loaded = load(as_source(source, form), "edges", form.left_out if form else ())
    table = _with_whole_numbers(loaded.table, form) if form else loaded.table
    return map_columns(table, mapping), loaded.files, None


def _aggregated(
    source: Any, choice: Choice, columns: Mapping[str, str | None], id_type: str | None
) -> tuple[Table, ValidationReport]:
    """The connections of a table of synapses, and what was found in it."""
    given = {name: column for name, column in columns.items() if name in SYNAPSE_COLUMNS}
    table, report = aggregate_synapses(
        as_source(source, choice.edges),
        columns={**choice.edges.mapping, **given},
        id_type=id_type,
        no_neuron=choice.preset.no_neuron,
    )
    names = ", ".join(report.source.values())
    return map_columns(Table("edges", f"connections of {names}", table, True, {}), {}), report


def _with_whole_numbers(table: Table, form: TableForm) -> Table:
    """The table with the whole numbers that were written as floats (``9.0``) written as integers.

    Raises `SchemaError` where one is not whole.
    """
    arrow = table.arrow
    for name in form.whole:
        column = plain(arrow.column(name)) if name in arrow.column_names else None
        if column is None or pa.types.is_integer(column.type):
            continue
        text = column.cast(pa.string())
        bad = pc.fill_null(pc.match_substring_regex(text, r"\.0*[1-9]|[eE]-"), False)
        rows = np.flatnonzero(bad.to_numpy())
        if len(rows):
            found = Found.among(rows, partial(_shown, text))
            raise SchemaError(f"Column {name!r} of {table.where} counts synapses; it is not a whole number in {found}.")
        whole = pc.replace_substring_regex(text, r"\.0*$", "")
        arrow = arrow.set_column(arrow.column_names.index(name), name, whole)
    return replace(table, arrow=arrow)


def _shown(column: pa.ChunkedArray, rows: np.ndarray) -> list[str]:
    return [repr(column[int(row)].as_py()) for row in rows]


def _which(choice: Choice | None, edges: Any, neurons: Any, with_policies: bool) -> str:
    """Which preset was used, in words."""
    if choice is None:
        return "the tables have the columns of no preset: columns are taken by their canonical names"
    how = ", recognised by the tables' columns" if choice.recognised else ""
    parts = [f"preset {choice.preset.name!r}{how}: {choice.preset.title}", f"edges: {choice.edges.files}"]
    parts += [f"neurons: {choice.neurons.files}"] if choice.neurons else []
    named = [*column_names(edges), *(column_names(neurons) if neurons is not None else ())]
    forms = [form for form in (choice.edges, choice.neurons) if form is not None]
    left_out = [name for form in forms for name in form.left_out if name in named]
    if left_out:
        parts.append(f"columns not read, as they repeat others: {', '.join(left_out)}")
    if with_policies and choice.preset.sign_source:
        parts.append(f"signs: {choice.preset.sign_source}")
    return "; ".join(parts)
