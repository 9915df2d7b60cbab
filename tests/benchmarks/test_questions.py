"""Questions of the trade on a fly-sized connectome, beside pandas on the same edges and NetworkX on a million of them.

Every call is made on a Connectome that has answered nothing before, so that what it has to build counts. The bar is one
second for each of select, partners, collapse and descendants over three hops. Types and edges are drawn at random here,
so that nearly every edge joins another pair of the 8,000 types: there is little to collapse. That row is printed, and
the bar asserted on the 60 classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import networkx as nx
import pandas as pd
import pytest

from connectofit.connectome import Connectome

pytestmark = pytest.mark.benchmark
BAR_s = 1.0


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def cold(connectome: Connectome, question: Callable[[Connectome], Any]) -> float:
    """Median wall time of three calls, each on a copy without anything cached."""
    taken = []
    for _ in range(3):
        fresh = replace(connectome)
        taken.append(seconds(partial(question, fresh)))
    return median(taken)


def show(title: str, rows: list[tuple[str, float, str, float | None]]) -> None:
    print(f"\n{title}\n{'question':<44}{'ours (s)':>9}  {'alternative':<30}{'(s)':>8}{'ratio':>8}")
    for name, ours, other, theirs in rows:
        end = "" if theirs is None else f"{theirs:8.2f}{theirs / ours:8.0f}"
        print(f"{name:<44}{ours:9.3f}  {other:<30}{end}")


class InPandas:
    """The same questions as one would ask them of two frames."""

    def __init__(self, connectome: Connectome) -> None:
        self.neurons = connectome.neurons.to_pandas()
        ids = self.neurons["id"].to_numpy()
        self.edges = pd.DataFrame({"pre": ids[connectome.pre], "post": ids[connectome.post], "count": connectome.count})

    def of(self, condition: str) -> pd.Series:
        return self.neurons.query(condition)["id"]

    def select(self, condition: str) -> pd.DataFrame:
        ids = self.of(condition)
        return self.edges[self.edges["pre"].isin(ids) & self.edges["post"].isin(ids)]

    def partners(self, condition: str) -> pd.Series:
        near = self.edges[self.edges["post"].isin(self.of(condition))]
        return near.groupby("pre")["count"].sum().sort_values(ascending=False)

    def collapse(self, by: str) -> pd.DataFrame:
        types = self.neurons.set_index("id")[by].astype("category")
        ends = [self.edges[end].map(types) for end in ("pre", "post")]
        return self.edges["count"].groupby(ends, observed=True).agg(["sum", "size"])

    def descendants(self, start: int, hops: int) -> set[int]:
        found = {start}
        for _ in range(hops):
            found |= set(self.edges.loc[self.edges["pre"].isin(found), "post"].unique())
        return found


def test_questions_on_the_fly_take_at_most_a_second_each(fly: Connectome) -> None:
    types = "cell_class == 'type_7' and side == 'left'"
    start = fly.ids[12_345]
    frames = InPandas(fly)
    questions: dict[str, tuple[Callable[[Connectome], Any], Callable[[], Any] | None]] = {
        "select one class and side": (lambda c: c.select(types), lambda: frames.select(types)),
        "partners upstream of these": (lambda c: c.partners(types, "upstream"), lambda: frames.partners(types)),
        "partners downstream of one neuron": (lambda c: c.partners(start, "downstream", top=20), None),
        "collapse to 60 classes": (lambda c: c.collapse("cell_class"), lambda: frames.collapse("cell_class")),
        "descendants in 3 hops": (lambda c: c.descendants(start, max_hops=3), lambda: frames.descendants(start, 3)),
    }
    measured = [
        (name, cold(fly, ours), "pandas" if theirs else "", seconds(theirs) if theirs else None)
        for name, (ours, theirs) in questions.items()
    ]
    show(f"{fly.n_neurons:,} neurons, {fly.n_edges:,} edges; at most {BAR_s:g} s each", measured)
    slow = {name: ours for name, ours, _, _ in measured if ours > BAR_s}
    assert not slow


def test_the_answers_timed_are_those_of_pandas(fly: Connectome) -> None:
    types, start, frames = "cell_class == 'type_7' and side == 'left'", fly.ids[12_345], InPandas(fly)
    assert fly.select(types).n_edges == len(frames.select(types))
    ours = fly.partners(types, "upstream").set_index("id")["count"]
    assert ours.equals(frames.partners(types).loc[ours.index].astype(ours.dtype))
    theirs, collapsed = frames.collapse("cell_class"), fly.collapse("cell_class")
    places = {name: i for i, name in enumerate(collapsed.ids)}
    theirs.index = pd.MultiIndex.from_tuples([(places[pre], places[post]) for pre, post in theirs.index])
    assert collapsed.count.tolist() == theirs["sum"].sort_index().tolist()
    assert collapsed.edge_columns["n_pairs"].to_pylist() == theirs["size"].sort_index().tolist()
    assert set(fly.descendants(start, max_hops=3)["id"]) == frames.descendants(start, 3) - {start}


def test_further_questions_on_the_fly(fly: Connectome) -> None:
    a, b = fly.ids[12_345], fly.ids[54_321]
    questions: dict[str, Callable[[Connectome], Any]] = {
        "collapse to 8,000 random types": lambda c: c.collapse("cell_type"),
        "connections_between two classes": lambda c: c.connections_between(
            "cell_class == 'type_1'", "cell_class == 'type_2'"
        ),
        "partners by class": lambda c: c.partners("cell_class == 'type_1'", "upstream", by="cell_class"),
        "ancestors in 3 hops": lambda c: c.ancestors(a, max_hops=3),
        "paths of at most 3 hops": lambda c: c.paths(a, b, max_hops=3, min_count=10),
        "influence over 3 steps": lambda c: c.influence(a, unknown_sign="excite"),
        "fractions of the input": lambda c: c.fractions(),
        "ego in one hop": lambda c: c.ego(a),
        "summary": lambda c: c.summary(),
        "compare with itself": lambda c: c.compare(fly),
    }
    rows = [(name, cold(fly, question), "", None) for name, question in questions.items()]
    show(f"{fly.n_neurons:,} neurons, {fly.n_edges:,} edges", rows)


def test_questions_on_a_million_edges_beside_networkx(million: Connectome) -> None:
    graph = million.chemical.to_networkx()
    a, b = million.ids[123], million.ids[4_321]
    group = set(million.select("cell_class == 'type_7'").ids)

    def descendants() -> set[Any]:
        return set(nx.single_source_shortest_path_length(graph, a, cutoff=3))

    def partners() -> dict[Any, int]:
        found: dict[Any, int] = {}
        for u, _, count in graph.in_edges(group, data="count"):
            found[u] = found.get(u, 0) + count
        return found

    def collapse() -> dict[Any, int]:
        kinds, sums = dict(graph.nodes(data="cell_class")), {}
        for u, v, count in graph.edges(data="count"):
            sums[kinds[u], kinds[v]] = sums.get((kinds[u], kinds[v]), 0) + count
        return sums

    questions: dict[str, tuple[Callable[[Connectome], Any], Callable[[], Any]]] = {
        "select one class": (lambda c: c.select("cell_class == 'type_7'"), lambda: graph.subgraph(group).copy()),
        "partners of one class": (lambda c: c.partners("cell_class == 'type_7'", "upstream"), partners),
        "collapse to 60 classes": (lambda c: c.collapse("cell_class"), collapse),
        "descendants in 3 hops": (lambda c: c.descendants(a, max_hops=3), descendants),
        "paths of 2 hops": (lambda c: c.paths(a, b, max_hops=2), lambda: list(nx.all_simple_paths(graph, a, b, 2))),
    }
    measured = [(name, cold(million, ours), "NetworkX", seconds(theirs)) for name, (ours, theirs) in questions.items()]
    show(f"{million.n_neurons:,} neurons, {million.n_edges:,} edges (a NetworkX graph is ready-made)", measured)
    assert set(million.descendants(a, max_hops=3)["id"]) == descendants() - {a}
