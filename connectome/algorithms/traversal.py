"""Breadth-first search, level by level: who is reached, in which order, over how many edges, from whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from connectofit.connectome.algorithms.csr import Csr, ranges

FEW = 48  # edges of a level below which plain Python is faster than a dozen array operations
CHUNK = 65_536  # edges looked at together


@dataclass(frozen=True, eq=False)
class Search:
    """What a breadth-first search found.

    Attributes
    ----------
    order
        int32 [k]: the nodes reached, in the order of their discovery, sources first.
    parents
        int32 [k]: the node that each was discovered from, -1 for sources.
    bounds
        int64 [levels + 1]: level d is ``order[bounds[d]:bounds[d + 1]]``.
    """

    order: Int[np.ndarray, " k"]
    parents: Int[np.ndarray, " k"]
    bounds: Int[np.ndarray, " levels+1"]

    @property
    def levels(self) -> Int[np.ndarray, " k"]:
        """int64 [k]: number of edges from the nearest source to each node of `order`."""
        return np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))


def breadth_first(graph: Csr, sources: Int[np.ndarray, " s"], max_levels: float | None = None) -> Search:
    """Search from distinct sources along the rows of `graph`, over at most `max_levels` edges (rounded up).

    Nodes are discovered in the order of the rows, as a queue does it. Levels with few edges run as plain loops, so
    that a long chain of nodes costs no more than the same loop over dicts.
    """
    marks = bytearray(graph.n_nodes)
    seen = np.frombuffer(marks, np.uint8)
    slot = np.empty(graph.n_nodes, np.int32)
    frontier = np.asarray(sources, np.int32)
    seen[frontier] = 1
    orders, parents, bounds = [frontier], [np.full(len(frontier), -1, np.int32)], [0, len(frontier)]
    limit = np.inf if max_levels is None else max_levels
    while len(frontier) and len(bounds) - 2 < limit and bounds[-1] < graph.n_nodes:
        lengths = graph.lengths[frontier]
        if lengths.sum() <= FEW:
            order, parent, sizes = _few_at_a_time(graph, frontier.tolist(), marks, limit - (len(bounds) - 2))
        else:
            missing = graph.n_nodes - bounds[-1]
            order, parent = _many_at_once(graph, frontier, lengths, seen, slot, missing)
            sizes = [len(order)]
        frontier = order[len(order) - sizes[-1] :]
        orders.append(order)
        parents.append(parent)
        for size in sizes:
            bounds.append(bounds[-1] + size)
    if bounds[-1] == bounds[-2] and len(bounds) > 2:
        bounds.pop()
    return Search(np.concatenate(orders), np.concatenate(parents), np.array(bounds))


def _many_at_once(
    graph: Csr, frontier: np.ndarray, lengths: np.ndarray, seen: np.ndarray, slot: np.ndarray, missing: int
) -> tuple[np.ndarray, np.ndarray]:
    """The next level and where its nodes come from; stops looking when the `missing` nodes have all been found."""
    ends = np.cumsum(lengths)
    levels, origins = [], []
    first = 0
    while first < len(frontier) and missing:
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
        part = frontier[first:last]
        found = graph.indices[ranges(graph.indptr[part], lengths[first:last])]
        fresh = np.flatnonzero(seen[found] == 0)
        if len(fresh):
            found = found[fresh]
            # Of several assignments to one slot the last one stays: written backwards, that is the first discovery.
            number = np.arange(len(found), dtype=np.int32)
            slot[found[::-1]] = number[::-1]
            firsts = np.flatnonzero(slot[found] == number)
            new = found[firsts]
            seen[new] = 1
            missing -= len(new)
            levels.append(new)
            origins.append(part[np.searchsorted(ends[first:last] - before, fresh[firsts], side="right")])
        first = last
    if not levels:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return np.concatenate(levels), np.concatenate(origins)


def _few_at_a_time(
    graph: Csr, frontier: list[int], marks: bytearray, limit: float
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """The next levels, at most `limit` of them, for as long as they have few edges; and how many nodes each has."""
    order: list[int] = []
    parents: list[int] = []
    sizes: list[int] = []
    starts, indices = graph.indptr.data, graph.indices
    edges = 0
    while frontier and edges <= FEW and len(sizes) < limit:
        level: list[int] = []
        edges = 0
        for node in frontier:
            for other in indices[starts[node] : starts[node + 1]].tolist():
                if not marks[other]:
                    marks[other] = 1
                    level.append(other)
                    parents.append(node)
                    edges += starts[other + 1] - starts[other]
        order += level
        sizes.append(len(level))
        frontier = level
    return np.array(order, np.int32), np.array(parents, np.int32), sizes


def meeting_path(successors: Csr, predecessors: Csr, source: int, target: int) -> list[int] | None:
    """A shortest path from `source` to `target` as node numbers, both ends included; None where there is none.

    Grows the smaller of two fringes, one from each end, until they meet. Which of several shortest paths is found
    follows from the order of the rows.
    """
    if source == target:
        return [source]
    before: dict[int, int | None] = {source: None}
    after: dict[int, int | None] = {target: None}
    forward, backward = [source], [target]
    while forward and backward:
        if len(forward) <= len(backward):
            forward, met = _grow(successors, forward, before, after)
        else:
            backward, met = _grow(predecessors, backward, after, before)
        if met is not None:
            path = []
            node: int | None = met
            while node is not None:
                path.append(node)
                node = before[node]
            path.reverse()
            while (node := after[path[-1]]) is not None:
                path.append(node)
            return path
    return None


def _grow(
    graph: Csr, fringe: list[int], mine: dict[int, int | None], others: dict[int, int | None]
) -> tuple[list[int], int | None]:
    """One step of a fringe: the next one, and the first node met that the other side knows."""
    grown: list[int] = []
    known = others.keys()
    indptr, indices = graph.indptr, graph.indices
    for node in fringe:
        row = indices[indptr[node] : indptr[node + 1]].tolist()
        if known.isdisjoint(row):
            fresh = dict.fromkeys(row, node)
            for other in fresh.keys() & mine.keys():
                del fresh[other]
            mine.update(fresh)
            grown.extend(fresh)
            continue
        for other in row:
            if other not in mine:
                mine[other] = node
            if other in others:
                return grown, other
    return grown, None


def is_acyclic(graph: Csr) -> bool:
    """Whether no path leads from a node back to itself; a self-loop is such a path."""
    from connectofit.connectome.algorithms.components import strong_labels

    if graph.n_edges and (not (graph.in_lengths == 0).any() or not (graph.lengths == 0).any() or graph.loops.any()):
        return False
    return strong_labels(graph)[0] == graph.n_nodes
