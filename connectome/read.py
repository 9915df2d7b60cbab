"""Tables in, `Connectome` and `ValidationReport` out: every row is kept, or reported with the policy that removed it.

The order of the rules: types and values (errors), neurons without type, unmatched ids, zero counts, self-loops,
duplicates, gap junctions given twice, signs. All work on whole columns; nothing loops over edges.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome import edge_rules as rules
from connectofit.connectome.arrays import is_in
from connectofit.connectome.columns import (
    Table,
    check_mapping,
    choose_id_type,
    exact_ids,
    map_columns,
    numbers,
)
from connectofit.connectome.edge_rules import CHEMICAL, ELECTRICAL, Context, Edges
from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.neuron_rules import NeuronList, list_neurons, neurons_of_edges
from connectofit.connectome.policies import KINDS, Policies
from connectofit.connectome.report import Finding, ValidationReport, examples_of, rows_text
from connectofit.connectome.signs import column_signs, resolve_signs
from connectofit.connectome.tables import load_table
from connectofit.connectome.unmatched import drop_unmatched

Source: TypeAlias = str | os.PathLike[str] | pa.Table | pd.DataFrame
_MAX_IDS = 2**30  # (pre, post, kind) must fit into 63 bits


def read_connectome(
    edges: Source,
    neurons: Source | None = None,
    *,
    columns: Mapping[str, str | None] | None = None,
    policies: Policies | None = None,
    id_type: str | None = None,
    source: str | None = None,
) -> tuple[Connectome, ValidationReport]:
    """Read the tables of a connectome, check them, and say what was found and done.

    Parameters
    ----------
    edges
        One row per edge: path of a CSV (also TSV, and compressed), Parquet or Feather file, `pyarrow.Table`, or pandas
        frame (its index is not read).
    neurons
        One row per neuron, likewise. Without it the neurons are the ids that occur in `edges`, sorted.
    columns
        Which column holds what: maps ``pre, post, count`` (or ``signed_weight``), ``kind, sign`` of the edges and
        ``id, transmitter`` of the neurons to the names in the tables; a name left out is its own default. None as name
        declares that there is no such column; ``{"count": None}`` counts every row as 1. A ``signed_weight`` is split
        into its size, the count, and its sign. All other columns are kept under their own names.
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
    policies = Policies() if policies is None else policies
    if not isinstance(policies, Policies):
        raise SettingError(f"policies must be a Policies object; it is {policies!r}. Make one with Policies.from_dict.")
    mapping = check_mapping(columns)
    edge_table = map_columns(load_table(edges, "edges"), mapping)
    neuron_table = None if neurons is None else map_columns(load_table(neurons, "neurons"), mapping)
    ids_in = [(edge_table, ("pre", "post"))] + ([(neuron_table, ("id",))] if neuron_table else [])
    chosen = choose_id_type(ids_in, id_type)
    pre, post = exact_ids(edge_table, "pre", chosen), exact_ids(edge_table, "post", chosen)

    findings: list[Finding] = []
    if neuron_table is None:
        listed = neurons_of_edges(pre, post, findings)
    else:
        listed = list_neurons(neuron_table, exact_ids(neuron_table, "id", chosen), policies, findings)
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
    everything = _edges_as_given(edge_table, pre, post, universe, context)
    found = drop_unmatched(everything, listed, universe, neuron_table, context)
    _note_both_kinds(everything, found, context)
    found = rules.zero_counts(found, context)
    found = rules.self_loops(found, everything, context)
    found = rules.duplicates(found, context)
    found = rules.electrical_pairs(found, everything, context)
    transmitters = listed.transmitters(len(universe))
    sign, sign_source = resolve_signs(found, transmitters, edge_table, context)
    connectome = _assemble(found, sign, sign_source, listed, universe, edge_table, context)
    _note_isolated(connectome, listed, findings)
    return connectome, _report(connectome, edge_table, neuron_table, listed, policies, findings, source)


def _universe(listed: NeuronList, pre: pa.Array, post: pa.Array) -> pa.Array:
    """All ids that occur: the neurons kept, those of the table that were not, then the unmatched, sorted."""
    known = pa.concat_arrays([listed.ids, listed.dropped_ids])
    unknown = [ids.filter(pc.invert(pc.is_in(ids, value_set=known))) for ids in (pre, post)]
    unmatched = pc.unique(pa.concat_arrays(unknown))
    universe = pa.concat_arrays([known, unmatched.take(pc.array_sort_indices(unmatched))])
    if len(universe) > _MAX_IDS:
        raise SchemaError(f"The tables name {len(universe)} neurons; at most {_MAX_IDS} are possible.")
    return universe


def _edges_as_given(table: Table, pre: pa.Array, post: pa.Array, universe: pa.Array, context: Context) -> Edges:
    """Every row of the table as an edge, its values checked."""
    rows = table.arrow.num_rows
    kind = _kinds(table, context) if table.has("kind") else np.zeros(rows, np.int8)
    if not table.has("kind"):
        text = "the table has no column of kinds: all edges are chemical"
        context.findings.append(Finding("info", "no_kind_column", "edges", "", rows, message=text))
    given_sign = column_signs(table, context.policies.sign) if table.has("sign") else np.zeros(rows, np.int8)
    if table.has("signed_weight"):
        weight = numbers(table, "signed_weight")
        context.columns["count"] = table.given["signed_weight"]
        _refuse_negative(table, "signed_weight", weight, kind == ELECTRICAL, "gap junctions have no sign")
        count = np.abs(weight)
        given_sign = np.where(given_sign != 0, given_sign, np.sign(weight).astype(np.int8) * (kind == CHEMICAL))
    elif table.has("count"):
        count = numbers(table, "count")
        remedy = (
            "counts cannot be negative. If the sign says whether the edge excites or inhibits, declare the column as "
        )
        _refuse_negative(table, "count", count, np.ones(rows, bool), remedy + "'signed_weight' instead of 'count'")
    else:
        count = np.ones(rows, np.int64)
        text = "no column of counts is declared: every row counts 1"
        context.findings.append(Finding("info", "no_count_column", "edges", "", rows, message=text))
    index = [pc.index_in(ids, value_set=universe).to_numpy().astype(np.int64) for ids in (pre, post)]
    return Edges(np.arange(rows), index[0], index[1], count, kind, given_sign.astype(np.int8))


def _kinds(table: Table, context: Context) -> np.ndarray:
    column, name, meaning = table.column("kind"), table.given["kind"], context.policies.kinds
    if not (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
        raise SchemaError(f"Column {name!r} of {table.where} holds {column.type}; the kind must be text.")
    coded = column.cast(pa.string()).dictionary_encode()
    values = coded.dictionary.to_pylist()
    codes = pc.fill_null(coded.indices, len(values)).to_numpy()
    of_value = np.array([KINDS.index(meaning[value]) if value in meaning else -1 for value in values] + [-1], np.int8)
    kind = of_value[codes]
    bad = np.flatnonzero(kind < 0)
    if len(bad):
        shown = ["missing" if codes[row] == len(values) else repr(values[codes[row]]) for row in bad[:5]]
        raise SchemaError(
            f"Column {name!r} of {table.where}: the kind is none of {sorted(meaning)} in "
            f"{rows_text(examples_of(bad, shown), len(bad))}. Correct these rows, or say what their values mean in "
            "Policies.kinds, e.g. {'gap': 'electrical'}."
        )
    return kind


def _refuse_negative(table: Table, canonical: str, values: np.ndarray, where: np.ndarray, rule: str) -> None:
    bad = np.flatnonzero((values < 0) & where)
    if len(bad):
        raise SchemaError(
            f"Column {table.given[canonical]!r} of {table.where}: {rule}; negative in "
            f"{rows_text(examples_of(bad, values[bad]), len(bad))}."
        )


def _note_both_kinds(everything: Edges, kept: Edges, context: Context) -> None:
    """Pairs joined by a chemical and an electrical edge: why the graph is a multigraph keyed by kind."""

    def both(edges: Edges) -> np.ndarray:
        pair = edges.pre * context.n_ids + edges.post
        electrical = np.flatnonzero(edges.kind == ELECTRICAL)
        return electrical[is_in(pair[electrical], pair[edges.kind == CHEMICAL])]

    which = both(kept)
    if len(which):
        context.findings.append(
            Finding(
                severity="info",
                rule="both_kinds",
                table="edges",
                column=context.columns.get("kind", ""),
                count=len(which),
                examples=context.pairs(kept, which),
                message=f"{len(which)} ordered pairs of kept neurons ({len(both(everything))} in the whole table) "
                f"are joined by a chemical and an electrical edge; the graph keeps both, keyed by kind",
            )
        )


def _assemble(
    found: Edges,
    sign: np.ndarray,
    sign_source: pa.Array,
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
        shift = np.arange(len(universe))
        shift[first_unmatched:] -= len(listed.dropped_ids)  # the dropped neurons' numbers are free
        found = replace(found, pre=shift[found.pre], post=shift[found.post])
    columns = {"sign_source": sign_source}
    extras = table.extras()
    reserved = {"pre", "post", "kind", "count", "sign", "sign_source"}
    rows = pa.array(found.row)
    for name in extras.column_names:
        if name in reserved:
            text = f"the column {name!r} is not carried along: the connectome has one of this name"
            context.findings.append(Finding("info", "ignored_column", "edges", name, len(extras), message=text))
        else:
            columns[name] = extras.column(name).take(rows)
    if table.has("sign") and table.given["sign"] not in reserved:
        columns[table.given["sign"]] = table.column("sign").take(rows)  # as given: "complex" is not "no pred"
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
    alone = np.flatnonzero(connectome.degrees("in") + connectome.degrees("out") == 0)
    alone = alone[alone < len(listed.rows)]  # not those that only the edges named
    if len(alone) and listed.from_table:
        findings.append(
            Finding(
                severity="info",
                rule="no_edges",
                table="neurons",
                column=listed.id_column,
                count=len(alone),
                examples=examples_of(listed.rows[alone[:5]], [connectome.ids[index] for index in alone[:5]]),
                message=f"{len(alone)} neurons have no edge",
            )
        )


def _report(
    connectome: Connectome,
    edge_table: Table,
    neuron_table: Table | None,
    listed: NeuronList,
    policies: Policies,
    findings: list[Finding],
    source: str | None,
) -> ValidationReport:
    tables = {"edges": edge_table} | ({"neurons": neuron_table} if neuron_table else {})
    rows_in = {role: table.arrow.num_rows for role, table in tables.items()}
    removed = {role: sum(item.rows_removed for item in findings if item.table == role) for role in tables}
    sizes = {name: int((connectome.kind == code).sum()) for code, name in enumerate(KINDS)}
    return ValidationReport(
        findings=tuple(findings),
        rows_in=rows_in,
        rows_kept={role: rows_in[role] - removed[role] for role in tables},
        result={"neurons": connectome.n_neurons, "edges": connectome.n_edges, **sizes},
        source={role: f"{source}: {table.source}" if source else table.source for role, table in tables.items()},
        columns={canonical: name for table in tables.values() for canonical, name in table.given.items()},
        policies=policies.to_dict(),
    )
