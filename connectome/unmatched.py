"""Edges whose ends the neuron table does not list: counted, explained, and dropped, kept or refused by policy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.columns import Table
from connectofit.connectome.edge_rules import Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.neuron_rules import NeuronList
from connectofit.connectome.report import Finding, examples_of, rows_text


def drop_unmatched(
    edges: Edges, listed: NeuronList, universe: pa.Array, neuron_table: Table | None, context: Context
) -> Edges:
    """Apply ``unmatched`` and ``max_unmatched``; edges of neurons that another policy dropped go too, and are noted.

    Raises `SchemaError` if the tables seem to belong to different connectomes, or if the policy says so.
    """
    if neuron_table is None:
        return edges
    n_kept = len(listed.ids)
    n_known = n_kept + len(listed.dropped_ids)
    unmatched = (edges.pre >= n_known) | (edges.post >= n_known)
    which, policy = np.flatnonzero(unmatched), context.policies.unmatched
    keep = np.ones(len(edges), bool)
    if len(which):
        unknown = np.where(edges.pre[which] >= n_known, edges.pre[which], edges.post[which])
        examples = examples_of(
            edges.row[which], [repr(item) for item in universe.take(pa.array(unknown[:5])).to_pylist()]
        )
        n_unknown = len(universe) - n_known
        what = f"{len(which)} of {len(edges)} edges join one of {n_unknown} ids that {neuron_table.where} does not list"
        hint = _hint(universe, n_known)
        share = len(which) / len(edges)
        if share > context.policies.max_unmatched:
            raise SchemaError(
                f"{context.subject} seems to belong to another connectome: {what}, which is {share:.0%} and more than "
                f"the policy max_unmatched={context.policies.max_unmatched:.0%} allows. Ids of the edges: "
                f"{rows_text(examples, len(which))}; ids of the neurons: "
                f"{', '.join(repr(item) for item in listed.ids[:5].to_pylist())}. "
                f"{hint}Check that both tables are of the same animal and version, and that columns names the id "
                f"columns."
            )
        if policy == "error":
            raise SchemaError(
                f"{context.subject}: {what}: {rows_text(examples, len(which))}. {hint}"
                "Add these neurons, remove the rows, or set the policy unmatched to 'drop' or 'keep'."
            )
        if policy == "drop":
            keep &= ~unmatched
        done = "dropped" if policy == "drop" else "kept, with their ends as neurons without attributes"
        context.findings.append(
            Finding(
                severity="warning",
                rule="unmatched_id",
                table="edges",
                column=f"{context.columns['pre']}, {context.columns['post']}",
                count=len(which),
                policy=f"unmatched={policy}",
                examples=examples,
                message=f"{what}: {done}. {hint}".strip(),
                rows_removed=len(which) if policy == "drop" else 0,
            )
        )
    gone = keep & (_within(edges.pre, n_kept, n_known) | _within(edges.post, n_kept, n_known))
    if gone.any():
        which = np.flatnonzero(gone)
        context.findings.append(
            Finding(
                severity="warning",
                rule="edge_of_dropped_neuron",
                table="edges",
                column=f"{context.columns['pre']}, {context.columns['post']}",
                count=len(which),
                policy=f"untyped_neurons={context.policies.untyped_neurons}",
                examples=context.pairs(edges, which),
                message=f"{len(which)} edges join a neuron that was dropped for having neither type nor transmitter: "
                f"dropped",
                rows_removed=len(which),
            )
        )
    keep &= ~gone
    return edges if keep.all() else edges.at(keep)


def _within(index: np.ndarray, start: int, stop: int) -> np.ndarray:
    return (index >= start) & (index < stop)


def _hint(universe: pa.Array, n_known: int) -> str:
    """Whether the unknown ids would match if they were spelt otherwise."""
    if universe.type != pa.string():
        return ""
    known, unknown = universe[:n_known], universe[n_known:]
    spellings = {
        "without the blanks around them": lambda ids: pc.utf8_trim_whitespace(ids),
        "in the same case": lambda ids: pc.utf8_upper(ids),
        "without leading zeros in their numbers (VA01, VA1)": lambda ids: pc.replace_substring_regex(
            ids, r"([^0-9.]|^)0+([0-9])", r"\1\2"
        ),
    }
    parts = []
    for how, spell in spellings.items():
        matches = pc.sum(pc.is_in(spell(unknown), value_set=spell(known))).as_py()
        if matches:
            parts.append(f"{matches} would match {how}")
    return f"Of these ids {' and '.join(parts)}. " if parts else ""
