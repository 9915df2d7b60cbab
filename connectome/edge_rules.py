"""The rules that turn rows of an edge table into edges: zero counts, self-loops, duplicates, gap junctions given twice,
weak connections.

Each rule takes the edges, applies its policy, and notes a `Finding`; all are sorts and reductions over whole columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.arrays import first_by_row, is_in, sort_edges
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import KINDS, Policies
from connectofit.connectome.report import Finding, Found, Severity, counted, examples_of

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

    def without(self, dropped: Bool[np.ndarray, " e"]) -> Edges:
        """The edges that are not `dropped`; these edges themselves where none is."""
        return self.at(~dropped) if dropped.any() else self

    def loops(self) -> Bool[np.ndarray, " e"]:
        """Which lead from a neuron to itself."""
        return self.pre == self.post

    def pair(self, n: int) -> Int[np.ndarray, " e"]:
        """One integer per ordered pair (pre, post) of `n` neurons."""
        return self.pre.astype(np.int64) * n + self.post

    def in_order(self, n: int) -> Edges:
        """The edges of `n` neurons sorted by (pre, post, kind), rows of the same edge in the table's order."""
        pre, post, kind, order = sort_edges(self.pre, self.post, self.kind, n)
        if order is None:
            return self
        return Edges(self.row[order], pre, post, self.count[order], kind, self.given_sign[order])


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

    @property
    def ends(self) -> str:
        """The names of the table's two id columns."""
        return f"{self.columns['pre']}, {self.columns['post']}"

    def found(self, edges: Edges, marked: Bool[np.ndarray, " e"]) -> Found:
        """The edges that are `marked`, and the first five by row."""
        count = int(np.count_nonzero(marked))
        if not count:
            return Found(0)
        first = first_by_row(marked, edges.row)
        names = zip(self.names(edges.pre[first]), self.names(edges.post[first]), strict=True)
        return Found(count, examples_of(edges.row[first], [f"{pre} -> {post}" for pre, post in names]))

    def note(
        self,
        found: Found,
        severity: Severity,
        rule: str,
        column: str,
        what: tuple[str, str] | str,
        *,
        policy: str = "",
        removed: int = 0,
        added: int = 0,
    ) -> None:
        """Add a finding about rows of the edge table, where there are any; `policy` names the setting that decided."""
        setting = f"{policy}={getattr(self.policies, policy)}" if hasattr(self.policies, policy) else policy
        found.note(self.findings, severity, rule, "edges", column, what, policy=setting, removed=removed, added=added)


def zero_counts(edges: Edges, context: Context) -> Edges:
    """Edges with the count 0 are no edges: apply ``zero_counts``."""
    zero = edges.count == 0
    found = context.found(edges, zero)
    if not found:
        return edges
    column, policy = context.columns.get("count", ""), context.policies.zero_counts
    if policy == "error":
        raise SchemaError(
            f"Column {column!r} of {context.where}: the count is 0 in {found}. "
            "Remove these rows, or set the policy zero_counts to 'drop' or 'keep'."
        )
    context.note(
        found,
        "warning",
        "zero_count",
        column,
        ("edge has the count 0", "edges have the count 0"),
        policy="zero_counts",
        removed=found.count if policy == "drop" else 0,
    )
    return edges.without(zero) if policy == "drop" else edges


def self_loops(edges: Edges, all_edges: Edges, context: Context) -> Edges:
    """Apply ``self_loops`` (electrical) and ``chemical_self_loops``; `all_edges` include the unmatched."""
    every = all_edges.loops()
    total = int(np.count_nonzero(every))
    if not total:
        return edges
    loops = edges.loops()
    dropped = np.zeros(len(edges), bool)
    for name, setting in {"electrical": "self_loops", "chemical": "chemical_self_loops"}.items():
        policy, code = getattr(context.policies, setting), KINDS.index(name)
        found = context.found(all_edges, every & (all_edges.kind == code))
        mine = loops & (edges.kind == code)
        kept = int(np.count_nonzero(mine))
        if policy == "error" and kept:
            raise SchemaError(
                f"{context.subject} has {name} self-loops: {found}. "
                f"Remove these rows, or set the policy {setting} to 'drop' or 'keep'."
            )
        if policy == "drop":
            dropped |= mine
        done = "dropped" if policy == "drop" else "kept"
        rest = f"from a neuron to itself ({total} of all kinds in the table); {kept} of them on neurons that are kept: "
        context.note(
            found,
            "warning" if policy == "drop" else "info",
            "self_loop",
            context.ends,
            (f"{name} edge leads {rest}{done}", f"{name} edges lead {rest}{done}"),
            policy=setting,
            removed=kept if policy == "drop" else 0,
        )
    return edges.without(dropped)


def duplicates(edges: Edges, context: Context) -> Edges:
    """Sort the edges, and merge rows with the same pre, post and kind as ``duplicates`` says."""
    edges = edges.in_order(context.n_ids)
    repeats = np.zeros(len(edges), bool)
    repeats[1:] = (edges.pre[1:] == edges.pre[:-1]) & (edges.post[1:] == edges.post[:-1])
    repeats[1:] &= edges.kind[1:] == edges.kind[:-1]
    found = context.found(edges, repeats)
    if not found:
        return edges
    policy = context.policies.duplicates
    if policy == "error":
        raise SchemaError(
            f"{context.subject} repeats the same pre, post and kind: {found}. "
            "Merge these rows, or set the policy duplicates to 'sum' or 'max'."
        )
    starts = np.flatnonzero(~repeats)
    merged = replace(edges.at(starts), count=_merged(edges.count, starts, policy))
    context.note(
        found,
        "warning",
        "duplicate_edge",
        context.ends,
        (
            "row repeats the pre, post and kind of an earlier row and was merged into it; further columns are those of "
            "the first row",
            "rows repeat the pre, post and kind of an earlier row and were merged into it; further columns are those "
            "of the first row",
        ),
        policy="duplicates",
        removed=found.count,
    )
    if not edges.given_sign.any():
        return merged
    net = np.add.reduceat(edges.given_sign * _wide(edges.count), starts)
    merged = replace(merged, given_sign=np.sign(net).astype(np.int8))
    both = np.minimum.reduceat(edges.given_sign, starts) < 0
    both &= np.maximum.reduceat(edges.given_sign, starts) > 0
    rest = "rows of both signs; the sign with the larger summed count was taken"
    context.note(
        context.found(merged, both),
        "warning",
        "duplicate_sign",
        context.columns.get("sign", context.columns.get("signed_weight", "")),
        (f"merged edge had {rest}", f"merged edges had {rest}"),
        policy="duplicates",
    )
    return merged


def _wide(count: np.ndarray) -> np.ndarray:
    """Counts in a type whose sums do not overflow."""
    return count.astype(np.float64 if count.dtype.kind == "f" else np.int64, copy=False)


def _merged(count: np.ndarray, starts: np.ndarray, policy: str) -> np.ndarray:
    """The counts of the groups that begin at `starts`, as the policy ``sum``, ``mean`` or ``max`` says."""
    if policy in ("sum", "mean"):
        total = np.add.reduceat(_wide(count), starts)
        return total if policy == "sum" else total / np.diff(np.append(starts, len(count)))
    return np.maximum.reduceat(count, starts)


def note_both_kinds(all_edges: Edges, kept: Edges, context: Context) -> None:
    """Pairs joined by a chemical and an electrical edge: why the graph is a multigraph keyed by kind."""

    def both(edges: Edges) -> np.ndarray:
        electrical = edges.kind == ELECTRICAL
        if electrical.any():
            pair = edges.pair(context.n_ids)
            electrical[electrical] = is_in(pair[electrical], pair[~electrical])
        return electrical

    found = context.found(kept, both(kept))
    if found:
        rest = f"({int(np.count_nonzero(both(all_edges)))} in the whole table)"
        end = "joined by a chemical and an electrical edge; the graph keeps both, keyed by kind"
        texts = (f"ordered pair of kept neurons {rest} is {end}", f"ordered pairs of kept neurons {rest} are {end}")
        context.note(found, "info", "both_kinds", context.columns.get("kind", ""), texts)


def electrical_pairs(edges: Edges, all_edges: Edges, context: Context) -> Edges:
    """Make every gap junction stand in both directions with one count, as ``electrical_pairs`` says.

    `all_edges` are all rows of the table, in its order.
    """
    if not all_edges.kind.any():
        return edges
    gap = (edges.kind == ELECTRICAL) & ~edges.loops()
    part = edges.at(gap)
    _note_pairs(all_edges, part, context)
    if not len(part):
        return edges
    key, back = _pair_key(part, context.n_ids)
    order = np.lexsort((back, key))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    size = np.diff(np.append(starts, len(order)))
    joint = _merged(part.count[order], starts, context.policies.electrical_pairs)
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
    low, high = np.minimum(edges.pre, edges.post), np.maximum(edges.pre, edges.post)
    return low.astype(np.int64) * n + high, edges.pre > edges.post


def _unequal(edges: Edges, n: int) -> tuple[Bool[np.ndarray, " e"], Bool[np.ndarray, " e"]]:
    """Which are gap junctions whose other direction is missing, and which those where it has another count.

    A direction given by several rows is compared by its first row."""
    single = (edges.kind == ELECTRICAL) & ~edges.loops()
    differs = single.copy()
    part = edges.at(single)
    if len(part):
        key = part.pair(n)
        order = np.lexsort((part.row, key))
        reverse = part.post.astype(np.int64) * n + part.pre
        place = np.minimum(np.searchsorted(key[order], reverse), len(key) - 1)
        there = key[order][place] == reverse
        differs[single] = there & (part.count[order][place] != part.count)
        single[single] = ~there
    return single, differs


def _note_pairs(all_edges: Edges, kept: Edges, context: Context) -> None:
    policy = context.policies.electrical_pairs
    kept_single, kept_differ = _unequal(kept, context.n_ids)
    if policy == "error" and (kept_single.any() or kept_differ.any()):
        raise SchemaError(
            f"{context.subject} has gap junctions that stand in one direction only, or with different counts: "
            f"{context.found(kept, kept_single | kept_differ)}. Correct these rows, or set the policy "
            "electrical_pairs to 'max', 'mean' or 'sum'."
        )
    single, differ = _unequal(all_edges, context.n_ids)
    single[kept.row[kept_single]] = True  # also where an earlier rule dropped the other direction
    both = Found(int(np.count_nonzero(all_edges.kind == ELECTRICAL)))
    pairs = len(np.unique(_pair_key(kept, context.n_ids)[0]))
    rest = (
        f"a gap junction is listed in both directions, and counts once; {counted(len(kept), 'row', 'rows')} of "
        f"{counted(pairs, 'pair is', 'pairs are')} between different neurons that are kept"
    )
    texts = (f"electrical row: {rest}", f"electrical rows: {rest}")
    context.note(
        both, "info", "electrical_both_directions", context.columns.get("kind", ""), texts, policy="electrical_pairs"
    )
    n_single, n_differ = int(np.count_nonzero(kept_single)), int(np.count_nonzero(kept_differ))
    rest = f"in one direction only; {n_single} of them between neurons that are kept: the other direction was added"
    context.note(
        context.found(all_edges, single),
        "warning",
        "electrical_one_direction",
        context.ends,
        (f"gap junction stands {rest}", f"gap junctions stand {rest}"),
        policy="electrical_pairs",
        added=n_single,
    )
    found = context.found(all_edges, differ)
    rest = (
        f"({counted(found.count // 2, 'pair', 'pairs')}) have another count in the other direction; {n_differ} of them "
        f"({counted(n_differ // 2, 'pair', 'pairs')}) between neurons that are kept"
    )
    context.note(
        found,
        "warning",
        "electrical_different_counts",
        context.columns.get("count", ""),
        (f"electrical row {rest}", f"electrical rows {rest}"),
        policy="electrical_pairs",
    )


def weak_connections(edges: Edges, context: Context) -> Edges:
    """Drop the connections whose count, after all merging, is below ``min_count``."""
    least = context.policies.min_count
    weak = edges.count < least
    found = context.found(edges, weak)
    if not found:
        return edges
    # Both directions of a gap junction that the table gives in one come from the same row.
    rows = len(np.unique(edges.row[weak]))
    context.note(
        found,
        "warning",
        "weak_connection",
        context.columns.get("count", ""),
        (f"connection has a count below {least:g}: dropped", f"connections have a count below {least:g}: dropped"),
        policy="min_count",
        removed=rows,
        added=rows - found.count,
    )
    return edges.without(weak)
