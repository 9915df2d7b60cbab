"""The paths between two groups of neurons: which they are, and how strong each is at its weakest step.

Only neurons that stand on some walk of at most `max_hops` steps from a source to a target are looked at: those whose
distance from the sources and distance to the targets add up to no more (a breadth-first search from either side).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from connectofit.connectome.errors import SettingError, offenders
from connectofit.connectome.ordering import ranges
from connectofit.connectome.reach import check_hops, distances
from connectofit.connectome.selectors import EdgeChoice, Neurons, edges_from, marked, neuron_indices, sources_of

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

_BLOCK = 500_000
"""Steps tried at a time: bounds the memory, whatever the number of walks."""


@dataclass(frozen=True, eq=False)
class _Part:
    """The neurons and steps that may lie on a path, renumbered: `left` are the fewest further steps to a target."""

    neurons: Int[np.ndarray, " m"]
    indptr: Int[np.ndarray, m + 1]
    post: Int[np.ndarray, " s"]
    count: Float[np.ndarray, " s"] | Int[np.ndarray, " s"]
    source: Bool[np.ndarray, " m"]
    target: Bool[np.ndarray, " m"]
    left: Int[np.ndarray, " m"]


def paths(
    connectome: ColumnarGraph,
    source: Neurons,
    target: Neurons,
    max_hops: int | None,
    min_count: float,
    kind: str | None,
    limit: int,
) -> pd.DataFrame:
    """See `Connectome.paths`."""
    check_hops(max_hops)
    if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 1:
        raise SettingError(f"limit must be an integer of at least 1; it is {limit!r}.")
    choice = EdgeChoice(connectome, kind, min_count)
    sources, targets = neuron_indices(connectome, source), neuron_indices(connectome, target)
    from_source = distances(choice, sources, "downstream", max_hops)
    if max_hops is None:
        both = np.intersect1d(sources, targets)
        if len(both):
            names = [connectome.ids[i] for i in both]
            raise SettingError(
                f"The shortest paths between groups that share neurons are not defined, and source and target share "
                f"{offenders(names)}. Set max_hops, or leave these out of one group."
            )
        reachable = from_source[targets][from_source[targets] > 0]
        max_hops = int(reachable.min(initial=len(from_source))) if len(reachable) else 0
    part = _prune(choice, sources, targets, from_source, int(max_hops))
    return _frame(connectome, part, _enumerate(part, int(max_hops), int(limit)))


def _prune(
    choice: EdgeChoice,
    sources: Int[np.ndarray, " k"],
    targets: Int[np.ndarray, " l"],
    from_source: Int[np.ndarray, " n"],
    max_hops: int,
) -> _Part:
    connectome, n = choice.connectome, choice.connectome.n_neurons
    edges = choice.of(edges_from(connectome, np.flatnonzero((from_source >= 0) & (from_source < max_hops))))
    pre, post = sources_of(connectome, edges).astype(np.int64), connectome.post[edges].astype(np.int64)
    to_target = np.full(n, -1, np.int64)
    to_target[targets] = 0
    level = marked(n, targets)
    for hops in range(1, max_hops + 1):
        level = marked(n, pre[level[post]]) & (to_target < 0)
        to_target[level] = hops
        if not level.any():
            break
    on_walk = (to_target[post] >= 0) & (from_source[pre] + 1 + to_target[post] <= max_hops)
    pre, post, count = pre[on_walk], post[on_walk], connectome.count[edges[on_walk]]
    count = count.astype(np.int64) if np.issubdtype(count.dtype, np.integer) else count
    # Edges are sorted by pre and post: a chemical and an electrical edge of one pair are neighbours, and one step.
    first = np.flatnonzero(np.concatenate([[True], (np.diff(pre) != 0) | (np.diff(post) != 0)])[: len(pre)])
    count = np.add.reduceat(count, first) if len(first) else count
    pre, post = pre[first], post[first]
    neurons = np.unique(np.concatenate([pre, post]))
    number = np.zeros(n, np.int64)
    number[neurons] = np.arange(len(neurons))
    return _Part(
        neurons=neurons,
        indptr=np.concatenate([[0], np.cumsum(np.bincount(number[pre], minlength=len(neurons)))]),
        post=number[post],
        count=count,
        source=marked(n, sources)[neurons],
        target=marked(n, targets)[neurons],
        left=to_target[neurons],
    )


def _enumerate(part: _Part, max_hops: int, limit: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All simple paths, as blocks of neurons [path, hops + 1] and counts [path, hops].

    Depth first in blocks: a block of walks is lengthened by one step, those that end at a target are noted, and
    those that can still reach one in the steps left go on.
    """
    start = np.flatnonzero(part.source)[:, None]
    stack = [(start, np.zeros((len(start), 0), part.count.dtype))]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    n_found = 0
    while stack:
        walks, counts = stack.pop()
        degree = np.diff(part.indptr)[walks[:, -1]]
        rows = max(1, int(np.searchsorted(np.cumsum(degree), _BLOCK, side="right")))
        if rows < len(walks):
            stack.append((walks[rows:], counts[rows:]))
            walks, counts, degree = walks[:rows], counts[:rows], degree[:rows]
        steps, _ = ranges(part.indptr[walks[:, -1]], part.indptr[walks[:, -1] + 1])
        parent = np.repeat(np.arange(len(walks)), degree)
        then = part.post[steps]
        fits = part.left[then] + counts.shape[1] + 1 <= max_hops
        fits &= (walks[parent] != then[:, None]).all(axis=1)
        parent, then, steps = parent[fits], then[fits], steps[fits]
        walks = np.column_stack([walks[parent], then])
        counts = np.column_stack([counts[parent], part.count[steps]])
        ended = part.target[then]
        if ended.any():
            found.append((walks[ended], counts[ended]))
            n_found += int(ended.sum())
            if n_found > limit:
                raise SettingError(_too_many(part, max_hops, limit))
        if counts.shape[1] < max_hops and len(walks):
            stack.append((walks, counts))
    return found


def _too_many(part: _Part, max_hops: int, limit: int) -> str:
    pre = np.repeat(np.arange(len(part.neurons)), np.diff(part.indptr))
    walks, bound = part.source.astype(float), 0.0
    for _ in range(max_hops):
        walks = np.bincount(part.post, weights=walks[pre], minlength=len(walks))
        bound += walks[part.target].sum()
    return (
        f"There are more than limit={limit} paths of at most {max_hops} steps (no more than {bound:.3g}, the number of "
        f"walks, which may come back to a neuron; they pass {len(part.neurons)} neurons). Nothing was left out "
        "unseen: raise limit, raise min_count, or lower max_hops."
    )


def _frame(connectome: ColumnarGraph, part: _Part, found: list[tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    names = np.array(connectome.neurons.column("id").take(part.neurons).to_pylist(), dtype=object)
    rows = []
    for walks, counts in found:
        weakest = counts.min(axis=1).tolist()
        for walk, count, least in zip(walks, counts.tolist(), weakest, strict=True):
            rows.append((tuple(names[walk]), len(count), least, tuple(count), tuple(walk)))
    rows.sort(key=lambda row: (row[1], -row[2], row[4]))
    return pd.DataFrame(
        {
            "path": pd.Series([row[0] for row in rows], dtype=object),
            "hops": np.array([row[1] for row in rows], np.int64),
            "bottleneck": np.array([row[2] for row in rows], part.count.dtype),
            "counts": pd.Series([row[3] for row in rows], dtype=object),
        }
    )
