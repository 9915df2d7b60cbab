"""Edges whose ends the neuron table does not list: counted, explained, and dropped, kept or refused by policy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.columns import Table
from connectofit.connectome.edge_rules import Context, Edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.neuron_rules import NeuronList
from connectofit.connectome.report import Found, counted, examples_of


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
    found, policy = _found(edges, unmatched, universe, n_known), context.policies.unmatched
    dropped = np.zeros(len(edges), bool)
    if found:
        n_unknown = len(universe) - n_known
        ids = f"{counted(n_unknown, 'id', 'ids')} that {neuron_table.where} does not list"
        what = f"of {len(edges)} edges {'joins' if found.count == 1 else 'join'} one of {ids}"
        hint = _hint(universe, n_known)
        share = found.count / len(edges)
        if share > context.policies.max_unmatched:
            raise SchemaError(
                f"{context.subject} seems to belong to another connectome: {found.count} {what}, which is {share:.0%} "
                f"and more than the policy max_unmatched={context.policies.max_unmatched:.0%} allows. Ids of the "
                f"edges: {found}; ids of the neurons: "
                f"{', '.join(repr(item) for item in listed.ids[:5].to_pylist())}. "
                f"{hint}Check that both tables are of the same animal and version, and that columns names the id "
                f"columns."
            )
        if policy == "error":
            raise SchemaError(
                f"{context.subject}: {found.count} {what}: {found}. {hint}"
                "Add these neurons, remove the rows, or set the policy unmatched to 'drop' or 'keep'."
            )
        if policy == "drop":
            dropped |= unmatched
        done = "dropped" if policy == "drop" else "kept, with their ends as neurons without attributes"
        context.note(
            found,
            "warning",
            "unmatched_id",
            context.ends,
            f"{found.count} {what}: {done}. {hint}".strip(),
            policy="unmatched",
            removed=found.count if policy == "drop" else 0,
        )
    if len(listed.dropped_ids):
        gone = _within(edges.pre, n_kept, n_known) | _within(edges.post, n_kept, n_known)
        found = context.found(edges, gone & ~dropped)
        rest = "a neuron that was dropped for having neither type nor transmitter: dropped"
        context.note(
            found,
            "warning",
            "edge_of_dropped_neuron",
            context.ends,
            (f"edge joins {rest}", f"edges join {rest}"),
            policy="untyped_neurons",
            removed=found.count,
        )
        dropped |= gone
    return edges.without(dropped)


def _found(edges: Edges, unmatched: np.ndarray, universe: pa.Array, n_known: int) -> Found:
    """The edges with an unmatched end, shown by the id that is not listed (the presynaptic one if both are not)."""

    def unknown(which: np.ndarray) -> list[str]:
        ends = np.where(edges.pre[which] >= n_known, edges.pre[which], edges.post[which])
        return [repr(item) for item in universe.take(pa.array(ends)).to_pylist()]

    which = np.flatnonzero(unmatched)
    return Found(len(which), examples_of(edges.row[which], unknown(which[:5])))


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
