"""Tables in, `Connectome` and `ValidationReport` out: every row is kept, or reported with the policy that removed it.

The order of the rules: types and values (errors), neurons without type, unmatched ids, zero counts, self-loops, parts
by region, duplicates, gap junctions given twice, weak connections, signs. All work on whole columns; nothing loops over
edges. What must be checked of every value is checked by a reduction, and only a fault is looked for row by row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome import edge_rules as rules
from connectofit.connectome.arrays import plain
from connectofit.connectome.coded import Coded
from connectofit.connectome.columns import NEURON_COLUMNS, Table, choose_id_type, coded_ids
from connectofit.connectome.edge_rules import Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.given_edges import edges_as_given
from connectofit.connectome.graph import Connectome
from connectofit.connectome.graph_tables import GapJunctionGraph
from connectofit.connectome.intake import Intake, take_in
from connectofit.connectome.matrices import AdjacencyMatrix
from connectofit.connectome.neuron_rules import NeuronList, list_neurons, neurons_of_edges
from connectofit.connectome.policies import KINDS, Policies
from connectofit.connectome.regions import edge_transmitters, merge_regions
from connectofit.connectome.report import Finding, Found, ValidationReport, examples_of
from connectofit.connectome.signs import resolve_signs
from connectofit.connectome.sources import CsvFile, JoinedTables
from connectofit.connectome.unmatched import drop_unmatched

OneTable: TypeAlias = str | os.PathLike[str] | CsvFile | pa.Table | pd.DataFrame
NeuronSource: TypeAlias = OneTable | JoinedTables | Sequence[OneTable]
Source: TypeAlias = OneTable | Sequence[OneTable] | nx.Graph | GapJunctionGraph | AdjacencyMatrix | np.ndarray | Any
"""`Any` stands for SciPy's sparse matrices, which have no common type."""

_MAX_IDS = 2**30  # (pre, post, kind) must fit into 63 bits


def read_connectome(
    edges: Source,
    neurons: NeuronSource | None = None,
    *,
    columns: Mapping[str, str | None] | None = None,
    preset: str | None = None,
    policies: Policies | None = None,
    id_type: str | None = None,
    source: str | None = None,
) -> tuple[Connectome, ValidationReport]:
    """Read the tables of a connectome, check them, and say what was found and done.

    Parameters
    ----------
    edges
        One row per edge: path of a CSV (also TSV, and compressed), Parquet or Feather file, `CsvFile` (without header),
        `pyarrow.Table`, or pandas frame (its index is not read); a list of these, one after the other, or a folder of
        files of one format, in the order of their names. Also a directed networkx graph, `GapJunctionGraph`, and an
        adjacency matrix: `AdjacencyMatrix`, or, its rows presynaptic, an array, a SciPy sparse matrix or an npz file.
    neurons
        One row per neuron, likewise, or `JoinedTables`. Without it the neurons are the nodes of a graph, the ids of a
        matrix, or the ids that occur in `edges`, sorted.
    columns
        Which column holds what: maps ``pre, post, count`` (or ``signed_weight``), ``kind, sign, region`` and
        ``edges.transmitter`` of the edges and ``id, transmitter`` of the neurons to the names in the tables; a name
        left out is its own default (but ``region`` must be declared). None as name declares that there is no such
        column; ``{"count": None}`` counts every row as 1. A ``signed_weight`` is split into its size, the count, and
        its sign. Rows that differ in ``region`` are parts of one connection: their counts are added, and kept in the
        list columns ``region`` and ``region_count`` of the edges. All other columns are kept under their own names.
    preset
        The name of a layout that is known (see `presets`), such as ``"flywire"``: its columns, types and policies are
        used where `columns`, `id_type` and `policies` do not say otherwise. ``"auto"`` recognises it by the tables'
        columns, and the report names it.
    policies
        What to do where a table can be read in more than one way; see `Policies`.
    id_type
        ``"string"`` or ``"int64"``. By default that of the Parquet, Arrow or pandas schema; ids from CSV are text.
        Never inferred from values.
    source
        Where the tables come from, for the report; by default the files' names.

    Returns
    -------
    Connectome, ValidationReport

    Raises
    ------
    MissingFileError
        A file is not there.
    UnknownNameError
        A column, or a canonical name in `columns`, does not exist; names the nearest.
    SchemaError
        A table cannot be read as what it is declared to be, or a policy says ``"error"``. The message names the table,
        the column, the rule, the first five rows and what to do.
    """
    given = take_in(edges, neurons, columns, policies, id_type, preset)
    with given.naming_files():
        return _read(given, source)


def _read(given: Intake, source: str | None) -> tuple[Connectome, ValidationReport]:
    edge_table, neuron_table, policies, findings = given.edges, given.neurons, given.policies, given.findings
    chosen = choose_id_type(
        [(edge_table, ("pre", "post")), *([(neuron_table, ("id",))] if neuron_table else [])], given.id_type
    )
    pre, post = _both_ends(edge_table, chosen)

    if neuron_table is None:
        listed = neurons_of_edges(pre, post, findings)
    else:
        listed = list_neurons(neuron_table, coded_ids(neuron_table, "id", chosen), policies, findings)
    universe = _universe(listed, pre, post)
    context = Context(
        n_ids=len(universe),
        names=lambda index: universe.take(pa.array(index)).cast(pa.string()).to_pylist(),
        where=edge_table.where,
        subject=edge_table.subject,
        columns=dict(edge_table.given),
        policies=policies,
        findings=findings,
    )
    everything, signs = edges_as_given(edge_table, pre, post, universe, context)
    del pre, post
    # What is needed of these columns was taken: the largest part of the table can be freed.
    given.edges = edge_table = edge_table.without("pre", "post", "count", "signed_weight", "kind")
    found = drop_unmatched(everything, listed, universe, neuron_table, context)
    rules.note_both_kinds(everything, found, context)
    found = rules.zero_counts(found, context)
    found = rules.self_loops(found, everything, context)
    found, parts = merge_regions(found, edge_table, context)
    found = rules.duplicates(found, context)
    found = rules.electrical_pairs(found, everything, context)
    del everything
    found = rules.weak_connections(found, context)
    transmitters = listed.transmitters(len(universe))
    of_edges = edge_transmitters(found, edge_table, parts, context)
    sign, sign_source = resolve_signs(found, transmitters, of_edges, signs, context)
    columns = {"sign_source": sign_source} | ({} if of_edges is None else {"transmitter": of_edges})
    columns |= parts.columns(found.row) if parts else {}
    connectome = _assemble(found, sign, columns, listed, universe, edge_table, context)
    _note_isolated(connectome, listed, findings)
    return connectome, _report(connectome, given, edge_table, source)


def _both_ends(table: Table, id_type: pa.DataType) -> tuple[Coded, Coded]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        pre, post = pool.map(lambda end: coded_ids(table, end, id_type), ("pre", "post"))
    return pre, post


def _universe(listed: NeuronList, pre: Coded, post: Coded) -> pa.Array:
    """All ids that occur: the neurons kept, those of the table that were not, then the unmatched, sorted."""
    known = pa.concat_arrays([listed.ids, listed.dropped_ids])
    unknown = [ids.values.filter(pc.invert(pc.is_in(ids.values, value_set=known))) for ids in (pre, post)]
    unmatched = pc.unique(pa.concat_arrays(unknown))
    universe = pa.concat_arrays([known, unmatched.take(pc.array_sort_indices(unmatched))])
    if len(universe) > _MAX_IDS:
        raise SchemaError(f"The tables name {len(universe)} neurons; at most {_MAX_IDS} are possible.")
    return universe


def _assemble(
    found: Edges,
    sign: np.ndarray,
    columns: dict[str, pa.Array],
    listed: NeuronList,
    universe: pa.Array,
    table: Table,
    context: Context,
) -> Connectome:
    neurons, n_listed = listed.table, len(listed.ids)
    first_unmatched = n_listed + len(listed.dropped_ids)
    if context.policies.unmatched == "keep" and len(universe) > first_unmatched:
        more = pa.table({"id": universe[first_unmatched:]})
        neurons = pa.concat_tables([neurons, more], promote_options="default").combine_chunks()
        shift = np.arange(len(universe), dtype=np.int32)
        shift[first_unmatched:] -= len(listed.dropped_ids)  # the dropped neurons' numbers are free
        found = replace(found, pre=shift[found.pre], post=shift[found.post])
    extras = table.extras()
    reserved = {"pre", "post", "kind", "count", "sign", *columns}
    rows = pa.array(found.row)
    for name in extras.column_names:
        if name in reserved:
            text = f"the column {name!r} is not carried along: the connectome has one of this name"
            context.note(Found(len(extras)), "info", "ignored_column", name, text)
        else:
            columns[name] = extras.column(name).take(rows)
    if table.has("sign") and table.given["sign"] not in reserved:
        columns[table.given["sign"]] = plain(table.chunks("sign")).take(rows)  # as given: "complex" is not "no pred"
    if not len(found):
        text = "no edge is left: the connectome has neurons only"
        context.findings.append(Finding("warning", "no_edges_left", "edges", "", 0, message=text))
    return Connectome.from_edges(
        neurons,
        pre=found.pre,
        post=found.post,
        count=found.count,
        kind=found.kind,
        sign=sign,
        edge_columns=pa.table(columns),
    )


def _note_isolated(connectome: Connectome, listed: NeuronList, findings: list[Finding]) -> None:
    alone = np.diff(connectome.indptr) == 0
    alone[connectome.post] = False
    rows = np.flatnonzero(alone[: len(listed.rows)])  # not those that only the edges named
    if listed.from_table:
        found = Found.among(rows, lambda which: listed.ids.take(pa.array(which)).to_pylist())
        found = replace(found, examples=examples_of(listed.rows[rows[:5]], [name for _, name in found.examples]))
        texts = ("neuron has no edge", "neurons have no edge")
        found.note(findings, "info", "no_edges", "neurons", listed.id_column, texts)


def _report(connectome: Connectome, given: Intake, edge_table: Table, source: str | None) -> ValidationReport:
    findings = given.findings
    tables = {"edges": edge_table} | ({"neurons": given.neurons} if given.neurons else {})
    rows_in = {role: table.arrow.num_rows for role, table in tables.items()}
    removed = {role: sum(item.rows_removed for item in findings if item.table == role) for role in tables}
    rows_kept = {role: rows_in[role] - removed[role] for role in tables}
    sources = {role: table.source for role, table in tables.items()}
    if given.synapses is not None:
        rows_in = {**given.synapses.rows_in, **rows_in}
        rows_kept = {**given.synapses.rows_kept, **rows_kept}
        sources = {**given.synapses.source, **sources}
        findings = [*given.synapses.findings, *findings]
    sizes = {name: int((connectome.kind == code).sum()) for code, name in enumerate(KINDS)}
    return ValidationReport(
        findings=tuple(findings),
        rows_in=rows_in,
        rows_kept=rows_kept,
        result={"neurons": connectome.n_neurons, "edges": connectome.n_edges, **sizes},
        source={role: f"{source}: {name}" if source else name for role, name in sources.items()},
        columns={
            f"edges.{canonical}" if role == "edges" and canonical in NEURON_COLUMNS else canonical: name
            for role, table in tables.items()
            for canonical, name in table.given.items()
        },
        policies=given.policies.to_dict(),
        files=given.files,
    )
