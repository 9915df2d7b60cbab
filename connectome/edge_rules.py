"""The rules that turn rows of an edge table into edges: zero counts, self-loops, duplicates, gap junctions given twice.

Each rule takes the edges, applies its policy, and notes a `Finding`; all are sorts and reductions over whole columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import KINDS, Policies
from connectofit.connectome.report import Finding, examples_of, rows_text

CHEMICAL, ELECTRICAL = range(len(KINDS))


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges on the way from table to graph: `row` is the (first) row of the table, 0-based; `pre` and `post` number the
    ids of the table, the listed neurons first; `given_sign` is what the table says (0: nothing definite)."""

    row: Int[np.ndarray, " e"]
    pre: Int[np.ndarray, " e"]
    post: Int[np.ndarray, " e"]
    count: np.ndarray
    kind: Int[np.ndarray, " e"]
    given_sign: Int[np.ndarray, " e"]

    def __len__(self) -> int:
        return len(self.row)

    def at(self, which: np.ndarray) -> Edges:
        """The edges at these positions, or where this is true."""
        return Edges(*(getattr(self, item.name)[which] for item in fields(self)))

    def key(self, n: int) -> Int[np.ndarray, " e"]:
        """One integer per (pre, post, kind)."""
        return (self.pre * n + self.post) * len(KINDS) + self.kind


@dataclass(frozen=True)
class Context:
    """What the rules share: how many ids there are, their names, the policies, and where findings go."""

    n_ids: int
    names: Callable[[np.ndarray], list[str]]
    where: str
    subject: str
    columns: dict[str, str]
    policies: Policies
    findings: list[Finding]

    def pairs(self, edges: Edges, which: np.ndarray) -> tuple[tuple[int, str], ...]:
        """Examples: the first of the edges at the positions `which`, by row."""
        first = which[np.argsort(edges.row[which], kind="stable")][:5]
        names = zip(self.names(edges.pre[first]), self.names(edges.post[first]), strict=True)
        return examples_of(edges.row[first], [f"{pre} -> {post}" for pre, post in names])


def zero_counts(edges: Edges, context: Context) -> Edges:
    """Edges with the count 0 are no edges: apply ``zero_counts``; a table of zeros alone is refused."""
    zero = np.flatnonzero(edges.count == 0)
    if not len(zero):
        return edges
    column, policy, examples = (
        context.columns.get("count", ""),
        context.policies.zero_counts,
        context.pairs(edges, zero),
    )
    if len(zero) == len(edges):
        raise SchemaError(
            f"Column {column!r} of {context.where}: every value is 0. Check which column holds the counts."
        )
    if policy == "error":
        raise SchemaError(
            f"Column {column!r} of {context.where}: the count is 0 in {rows_text(examples, len(zero))}. "
            "Remove these rows, or set the policy zero_counts to 'drop' or 'keep'."
        )
    dropped = len(zero) if policy == "drop" else 0
    context.findings.append(
        Finding(
            severity="warning",
            rule="zero_count",
            table="edges",
            column=column,
            count=len(zero),
            policy=f"zero_counts={policy}",
            examples=examples,
            message=f"{len(zero)} edges have the count 0",
            rows_removed=dropped,
        )
    )
    return edges.at(edges.count != 0) if dropped else edges


def self_loops(edges: Edges, all_edges: Edges, context: Context) -> Edges:
    """Apply ``self_loops`` (electrical) and ``chemical_self_loops``; `all_edges` include the unmatched."""
    keep = np.ones(len(edges), bool)
    settings = {"electrical": "self_loops", "chemical": "chemical_self_loops"}
    total = int((all_edges.pre == all_edges.post).sum())
    for name, setting in settings.items():
        policy, code = getattr(context.policies, setting), KINDS.index(name)
        every = np.flatnonzero((all_edges.pre == all_edges.post) & (all_edges.kind == code))
        loops = (edges.pre == edges.post) & (edges.kind == code)
        if not len(every):
            continue
        examples = context.pairs(all_edges, every)
        if policy == "error" and loops.any():
            raise SchemaError(
                f"{context.subject} has {name} self-loops: {rows_text(examples, len(every))}. "
                f"Remove these rows, or set the policy {setting} to 'drop' or 'keep'."
            )
        if policy == "drop":
            keep &= ~loops
        verb = "dropped" if policy == "drop" else "kept"
        context.findings.append(
            Finding(
                severity="warning" if policy == "drop" else "info",
                rule="self_loop",
                table="edges",
                column=f"{context.columns['pre']}, {context.columns['post']}",
                count=len(every),
                policy=f"{setting}={policy}",
                examples=examples,
                message=f"{len(every)} {name} edges lead from a neuron to itself ({total} of all kinds in the table); "
                f"{int(loops.sum())} of them on neurons that are kept: {verb}",
                rows_removed=int(loops.sum()) if policy == "drop" else 0,
            )
        )
    return edges if keep.all() else edges.at(keep)


def duplicates(edges: Edges, context: Context) -> Edges:
    """Merge rows with the same pre, post and kind, as ``duplicates`` says."""
    key = edges.key(context.n_ids)
    order = np.argsort(key, kind="stable")
    first = np.concatenate([[True], np.diff(key[order]) != 0])[: len(key)]
    if first.all():
        return edges
    policy = context.policies.duplicates
    repeated = order[~first]
    examples = context.pairs(edges, repeated)
    if policy == "error":
        raise SchemaError(
            f"{context.subject} repeats the same pre, post and kind: {rows_text(examples, len(repeated))}. "
            "Merge these rows, or set the policy duplicates to 'sum' or 'max'."
        )
    starts = np.flatnonzero(first)
    count, sign = edges.count[order], edges.given_sign[order].astype(np.int64)
    merged_count = np.add.reduceat(count, starts) if policy == "sum" else np.maximum.reduceat(count, starts)
    net = np.add.reduceat(sign * count, starts)
    both = (np.minimum.reduceat(sign, starts) < 0) & (np.maximum.reduceat(sign, starts) > 0)
    merged = replace(edges.at(order[starts]), count=merged_count, given_sign=np.sign(net).astype(np.int8))
    context.findings.append(
        Finding(
            severity="warning",
            rule="duplicate_edge",
            table="edges",
            column=f"{context.columns['pre']}, {context.columns['post']}",
            count=len(repeated),
            policy=f"duplicates={policy}",
            examples=examples,
            message=f"{len(repeated)} rows repeat the pre, post and kind of an earlier row and were merged into it; "
            "further columns are those of the first row",
            rows_removed=len(repeated),
        )
    )
    if both.any():
        rows = np.flatnonzero(both)
        context.findings.append(
            Finding(
                severity="warning",
                rule="duplicate_sign",
                table="edges",
                column=context.columns.get("sign", context.columns.get("signed_weight", "")),
                count=len(rows),
                policy=f"duplicates={policy}",
                examples=context.pairs(merged, rows),
                message=f"{len(rows)} merged edges had rows of both signs; the sign with the larger summed count was "
                f"taken",
            )
        )
    return merged.at(np.argsort(merged.row, kind="stable"))


def electrical_pairs(edges: Edges, all_edges: Edges, context: Context) -> Edges:
    """Make every gap junction stand in both directions with one count, as ``electrical_pairs`` says."""
    policy = context.policies.electrical_pairs
    gap = (edges.kind == ELECTRICAL) & (edges.pre != edges.post)
    _note_pairs(all_edges, edges.at(gap), context)
    if not gap.any():
        return edges
    part = edges.at(gap)
    key, back = _pair_key(part, context.n_ids)
    order = np.lexsort((back, key))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    size = np.diff(np.append(starts, len(order)))
    count = part.count[order]
    if policy == "sum":
        joint = np.add.reduceat(count, starts)
    elif policy == "mean":
        joint = np.add.reduceat(count, starts) / size
    else:
        joint = np.maximum.reduceat(count, starts)
    # Sorted by pair and then direction: a pair's first row is the forward one if that exists, its last the backward
    # one.
    one, two = part.at(order[starts]), part.at(order[starts + size - 1])
    low, high = np.minimum(one.pre, one.post), np.maximum(one.pre, one.post)
    forward = replace(one, pre=low, post=high, count=joint)
    backward = replace(two, pre=high, post=low, count=joint)
    rest = edges.at(~gap)
    joined = [
        np.concatenate([getattr(item, field.name) for item in (rest, forward, backward)]) for field in fields(Edges)
    ]
    return Edges(*joined)


def _pair_key(edges: Edges, n: int) -> tuple[Int[np.ndarray, " e"], Bool[np.ndarray, " e"]]:
    """One integer per unordered pair, and which rows run from the higher index to the lower."""
    return np.minimum(edges.pre, edges.post) * n + np.maximum(edges.pre, edges.post), edges.pre > edges.post


def _unequal(edges: Edges, n: int) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Positions of the gap junctions whose other direction is missing, and of those where it has another count.

    A direction given by several rows is compared by its first row."""
    which = np.flatnonzero((edges.kind == ELECTRICAL) & (edges.pre != edges.post))
    part = edges.at(which)
    key = part.pre * n + part.post
    order = np.argsort(key, kind="stable")
    reverse = part.post * n + part.pre
    place = np.minimum(np.searchsorted(key[order], reverse), max(len(key) - 1, 0))
    there = key[order][place] == reverse if len(key) else np.zeros(0, bool)
    differs = there & (part.count[order][place] != part.count) if len(key) else there
    return which[~there], which[differs]


def _note_pairs(all_edges: Edges, kept: Edges, context: Context) -> None:
    policy = context.policies.electrical_pairs
    both = int((all_edges.kind == ELECTRICAL).sum())
    kept_single, kept_differ = _unequal(kept, context.n_ids)
    single, differ = _unequal(all_edges, context.n_ids)
    if policy == "error" and len(kept_single) + len(kept_differ):
        which = np.concatenate([kept_single, kept_differ])
        raise SchemaError(
            f"{context.subject} has gap junctions that stand in one direction only, or with different counts: "
            f"{rows_text(context.pairs(kept, which), len(which))}. Correct these rows, or set the policy "
            "electrical_pairs to 'max', 'mean' or 'sum'."
        )
    common = {"table": "edges", "policy": f"electrical_pairs={policy}"}
    if both:
        context.findings.append(
            Finding(
                severity="info",
                rule="electrical_both_directions",
                column=context.columns.get("kind", ""),
                count=both,
                message=f"{both} electrical rows: a gap junction is listed in both directions, and counts once; "
                f"{len(kept)} rows of {len(np.unique(_pair_key(kept, context.n_ids)[0]))} pairs are between different "
                "neurons that are kept",
                **common,  # type: ignore[arg-type]
            )
        )
    if len(single):
        context.findings.append(
            Finding(
                severity="warning",
                rule="electrical_one_direction",
                column=f"{context.columns['pre']}, {context.columns['post']}",
                count=len(single),
                examples=context.pairs(all_edges, single),
                message=f"{len(single)} gap junctions stand in one direction only; {len(kept_single)} of them between "
                "neurons that are kept: the other direction was added",
                rows_added=len(kept_single),
                **common,  # type: ignore[arg-type]
            )
        )
    if len(differ):
        context.findings.append(
            Finding(
                severity="warning",
                rule="electrical_different_counts",
                column=context.columns.get("count", ""),
                count=len(differ),
                examples=context.pairs(all_edges, differ),
                message=f"{len(differ)} electrical rows ({len(differ) // 2} pairs) have another count in the other "
                f"direction; {len(kept_differ)} of them ({len(kept_differ) // 2} pairs) between neurons that are kept",
                **common,  # type: ignore[arg-type]
            )
        )
