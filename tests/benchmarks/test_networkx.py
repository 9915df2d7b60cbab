"""NetworkX's functions on a Connectome beside the same functions on a NetworkX graph made from it.

Every call is timed twice on a Connectome that has answered nothing before: the first call (cold) builds what it
needs, such as the list of ids or the edges turned round; the second finds it. The bars are asserted on the first.
Nothing is compiled. NetworkX gets its graph ready-made, and the best of two calls where they are short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import networkx as nx
import numpy as np
import pytest

from connectofit.connectome import Connectome

pytestmark = pytest.mark.benchmark

MULTI, SIMPLE = "multigraph", "one kind"


@dataclass(frozen=True)
class Case:
    """A function with its arguments, what it runs on, and whether it looks at a small part of the graph only."""

    name: str
    on: str = SIMPLE
    arguments: Callable[[Any], tuple[Any, ...]] = lambda hub: ()
    options: tuple[tuple[str, Any], ...] = ()

    def call(self, graph: Any, hub: Any) -> Any:
        result = getattr(nx, self.name)(graph, *self.arguments(hub), **dict(self.options))
        lazy = hasattr(result, "__next__")
        return list(result) if lazy else result


def from_hub(hub: Any) -> tuple[Any, ...]:
    return (hub,)


WHOLE = [
    Case("degree_centrality", MULTI),
    Case("in_degree_centrality", MULTI),
    Case("out_degree_centrality", MULTI),
    Case("isolates", MULTI),
    Case("number_of_isolates", MULTI),
    Case("overall_reciprocity"),
    Case("weakly_connected_components", MULTI),
    Case("number_weakly_connected_components", MULTI),
    Case("is_weakly_connected", MULTI),
    Case("strongly_connected_components", MULTI),
    Case("number_strongly_connected_components", MULTI),
    Case("condensation", MULTI),
    Case("attracting_components", MULTI),
    Case("is_directed_acyclic_graph", MULTI),
    Case("single_source_shortest_path_length", MULTI, from_hub),
    Case("single_target_shortest_path_length", MULTI, from_hub),
    Case("shortest_path_length", MULTI, from_hub),
    Case("single_source_shortest_path", MULTI, from_hub),
    Case("single_source_dijkstra_path_length", MULTI, from_hub, (("weight", "count"),)),
    Case("bfs_layers", MULTI, from_hub),
    Case("bfs_edges", MULTI, from_hub),
    Case("bfs_tree", MULTI, from_hub),
    Case("descendants", MULTI, from_hub),
    Case("ancestors", MULTI, from_hub),
    Case("ego_graph", MULTI, lambda hub: (hub, 2)),
    Case("pagerank", MULTI),
    Case("pagerank", MULTI, options=(("weight", "count"),)),
    Case("hits", MULTI),
    Case("eigenvector_centrality", SIMPLE, options=(("max_iter", 1000),)),
    Case("katz_centrality", SIMPLE, options=(("alpha", 0.001),)),
    Case("core_number"),
    Case("k_core"),
    Case("transitivity"),
    Case("average_neighbor_degree", MULTI),
    Case("average_degree_connectivity", MULTI),
    Case("attribute_assortativity_coefficient", MULTI, lambda hub: ("cell_class",)),
    Case("numeric_assortativity_coefficient", SIMPLE, lambda hub: ("layer",)),
    Case("degree_assortativity_coefficient", MULTI),
    Case("degree_pearson_correlation_coefficient", MULTI),
    Case("s_metric"),
    Case("to_scipy_sparse_array", MULTI, options=(("weight", "count"),)),
]

# NetworkX needs minutes to days for these at a million edges: they run on a graph of the size that each list names.
SMALLER = [
    Case("clustering"),
    Case("average_clustering"),
    Case("triadic_census"),
    Case("clustering", options=(("weight", "count"),)),
]
SMALLEST = [
    Case("closeness_centrality"),
    Case("harmonic_centrality"),
    Case("average_shortest_path_length"),
    Case("diameter"),
    Case("eigenvector_centrality_numpy"),
    Case("betweenness_centrality"),
]

# These look at some neighbourhoods only. NetworkX answers in microseconds; a new Connectome first indexes its ids.
LOCAL = [
    Case("has_path", SIMPLE, lambda hub: (hub, hub + 1)),
    Case("shortest_path", SIMPLE, lambda hub: (hub, hub + 1)),
    Case("ego_graph", SIMPLE, from_hub),
    Case("clustering", SIMPLE, from_hub),
]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def graphs(n_neurons: int, n_edges: int, *, connected: bool = False) -> dict[str, Connectome]:
    """Synthetic graphs with log-normal out-degrees, without self-loops; `connected` keeps the largest strong part."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    share = rng.lognormal(0.0, 1.0, n_neurons)
    pre = np.repeat(np.arange(n_neurons), rng.multinomial(int(n_edges * 1.03), share / share.sum()))
    key = np.unique(pre * n_neurons + rng.integers(0, n_neurons, len(pre)))
    key = rng.permutation(key[key // n_neurons != key % n_neurons])[:n_edges]
    neurons = pa.table(
        {
            "id": 720_575_940_596_125_868 + np.arange(n_neurons),
            "cell_class": [f"class_{k}" for k in rng.integers(0, 60, n_neurons)],
            "layer": rng.integers(1, 7, n_neurons),
        }
    )
    count = 1 + rng.geometric(0.2, len(key))
    graph = Connectome.from_edges(neurons, pre=key // n_neurons, post=key % n_neurons, count=count)
    if connected:
        graph = graph.subgraph(max(nx.strongly_connected_components(graph), key=len))
    return {MULTI: graph, SIMPLE: graph.chemical}


def measure(cases: list[Case], made: dict[str, Connectome], cap_s: float = 60.0) -> list[tuple[Any, ...]]:
    """Rows of function, graph, NetworkX's seconds, ours cold and warm, and both ratios."""
    theirs = {kind: graph.to_networkx() for kind, graph in made.items()}
    hub = made[SIMPLE].ids[int(np.argmax(np.diff(made[SIMPLE].indptr)))]
    rows = []
    for case in cases:
        new = replace(made[case.on])
        cold, ours = seconds(lambda: case.call(new, hub))  # noqa: B023 (called at once)
        warm = min(seconds(lambda: case.call(new, hub))[0] for _ in range(3))  # noqa: B023
        nx_s, expected = seconds(lambda: case.call(theirs[case.on], hub))  # noqa: B023
        if nx_s < 1.0:
            nx_s = min(nx_s, seconds(lambda: case.call(theirs[case.on], hub))[0])  # noqa: B023
        assert same(ours, expected), case
        name = case.name + "".join(f" {key}={value}" for key, value in case.options)
        rows.append((name, case.on, nx_s, cold, warm, nx_s / cold, nx_s / warm))
    return rows


def same(ours: Any, theirs: Any) -> bool:
    """Whether two results agree, numbers to within the tolerance of the power iterations."""
    if isinstance(ours, Connectome):
        return set(ours) == set(theirs) and ours.number_of_edges() == theirs.number_of_edges()
    if isinstance(theirs, nx.Graph):
        return nx.utils.graphs_equal(ours, theirs)
    if hasattr(theirs, "nnz"):
        return (ours != theirs).nnz == 0
    if isinstance(theirs, tuple) and all(isinstance(part, dict) for part in theirs):
        return all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    if isinstance(theirs, dict) and theirs and isinstance(next(iter(theirs.values())), float):
        values = [(ours[key], value) for key, value in theirs.items()]
        return len(ours) == len(theirs) and bool(np.allclose(*zip(*values, strict=True), rtol=1e-5, atol=1e-9))
    return bool(np.isclose(ours, theirs)) if isinstance(theirs, float) else ours == theirs


def show(title: str, rows: list[tuple[Any, ...]]) -> None:
    cells = [HEADER, *([f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEADER))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


HEADER = ("function", "graph", "nx s", "cold s", "warm s", "nx/cold", "nx/warm")


def test_whole_graph_functions_are_ten_times_as_fast_as_networkx_and_none_is_slower():
    rows = measure(WHOLE, graphs(20_000, 1_000_000))
    show("20,000 neurons, 1,000,000 edges", rows)
    small = measure(SMALLER, graphs(5_000, 100_000))
    show("5,000 neurons, 100,000 edges", small)
    least = measure(SMALLEST, graphs(1_000, 20_000, connected=True))
    show("the largest strong component of 1,000 neurons, 20,000 edges", least)
    ratios = [row[5] for row in [*rows, *small, *least]]
    print(f"{len(ratios)} functions: median {median(ratios):.1f} times as fast, least {min(ratios):.2f} times")
    assert median(ratios) >= 10
    assert min(ratios) >= 1


def test_local_functions_are_no_slower_once_the_ids_are_indexed():
    rows = measure(LOCAL, graphs(20_000, 1_000_000))
    show("20,000 neurons, 1,000,000 edges: functions that look at a part of it", rows)
    assert min(row[6] for row in rows) >= 0.5
