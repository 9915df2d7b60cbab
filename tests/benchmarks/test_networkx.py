"""NetworkX's functions on a Connectome beside the same functions on a NetworkX graph made from it.

Every call is timed on a Connectome that has answered nothing before (cold: it builds what it needs, such as the list
of ids or the edges turned round) and again (warm: it finds them). The bars are asserted on the first. Nothing is
compiled. NetworkX gets its graph ready-made, and the better of two calls where they are short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from measure import print_table

from connectofit.connectome import Connectome

pytestmark = pytest.mark.benchmark

MULTI, SIMPLE = "multigraph", "one kind"
HEADER = ("function", "graph", "nx s", "cold s", "warm s", "nx/cold", "nx/warm")


@dataclass(frozen=True)
class Case:
    """A function, the graph it runs on, its arguments (from the node of most edges) and its options."""

    name: str
    on: str = SIMPLE
    arguments: Callable[[Any], tuple[Any, ...]] = lambda hub: ()
    options: tuple[tuple[str, Any], ...] = ()

    def call(self, graph: Any, hub: Any) -> Any:
        result = getattr(nx, self.name)(graph, *self.arguments(hub), **dict(self.options))
        return list(result) if hasattr(result, "__next__") else result


def from_hub(hub: Any) -> tuple[Any, ...]:
    return (hub,)


COUNTED = (("weight", "count"),)
MILLION = {"neurons": 20_000, "edges": 1_000_000}
# NetworkX needs minutes to days for some functions at a million edges: these run on the smaller graphs named here.
GROUPS: dict[str, tuple[dict[str, Any], list[Case]]] = {
    "degrees and mixing": (
        MILLION,
        [
            Case("degree_centrality", MULTI),
            Case("in_degree_centrality", MULTI),
            Case("out_degree_centrality", MULTI),
            Case("isolates", MULTI),
            Case("number_of_isolates", MULTI),
            Case("overall_reciprocity"),
            Case("average_neighbor_degree", MULTI),
            Case("attribute_assortativity_coefficient", MULTI, lambda hub: ("cell_class",)),
            Case("numeric_assortativity_coefficient", SIMPLE, lambda hub: ("layer",)),
            Case("s_metric"),
            Case("to_scipy_sparse_array", MULTI, options=COUNTED),
        ],
    ),
    "components and searches": (
        MILLION,
        [
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
            Case("single_source_shortest_path", MULTI, from_hub),
            Case("single_source_dijkstra_path_length", MULTI, from_hub, COUNTED),
            Case("bfs_layers", MULTI, from_hub),
            Case("bfs_edges", MULTI, from_hub),
            Case("bfs_tree", MULTI, from_hub),
            Case("descendants", MULTI, from_hub),
            Case("ancestors", MULTI, from_hub),
        ],
    ),
    "centralities and cores": (
        MILLION,
        [
            Case("pagerank", MULTI),
            Case("pagerank", MULTI, options=COUNTED),
            Case("hits", MULTI),
            Case("eigenvector_centrality", SIMPLE, options=(("max_iter", 1000),)),
            Case("katz_centrality", SIMPLE, options=(("alpha", 0.001),)),
            Case("core_number"),
            Case("k_core"),
        ],
    ),
    "clustering and degrees of neighbours": (
        {"neurons": 5_000, "edges": 100_000},
        [
            Case("clustering"),
            Case("average_clustering"),
            Case("clustering", options=COUNTED),
            Case("transitivity"),
            Case("average_degree_connectivity", MULTI),
            Case("degree_assortativity_coefficient", MULTI),
            Case("degree_pearson_correlation_coefficient", MULTI),
            Case("ego_graph", MULTI, lambda hub: (hub, 2)),
        ],
    ),
    "all pairs, and triads": (
        {"neurons": 1_000, "edges": 20_000, "connected": True},
        [
            Case("triadic_census"),
            Case("closeness_centrality"),
            Case("harmonic_centrality"),
            Case("average_shortest_path_length"),
            Case("diameter"),
            Case("eigenvector_centrality_numpy"),
            Case("betweenness_centrality"),
        ],
    ),
}

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


def graphs(neurons: int, edges: int, connected: bool = False) -> dict[str, Connectome]:
    """Synthetic graphs with log-normal out-degrees, without self-loops; `connected` keeps the largest strong part."""
    rng = np.random.default_rng(0)
    share = rng.lognormal(0.0, 1.0, neurons)
    drawn = np.repeat(np.arange(neurons), rng.multinomial(int(edges * 1.03), share / share.sum()))
    key = np.unique(drawn * neurons + rng.integers(0, neurons, len(drawn)))
    key = rng.permutation(key[key // neurons != key % neurons])[:edges]
    table = pa.table(
        {
            "id": 720_575_940_596_125_868 + np.arange(neurons),
            "cell_class": [f"class_{k}" for k in rng.integers(0, 60, neurons)],
            "layer": rng.integers(1, 7, neurons),
        }
    )
    count = 1 + rng.geometric(0.2, len(key))
    graph = Connectome.from_edges(table, pre=key // neurons, post=key % neurons, count=count)
    if connected:
        graph = graph.subgraph(max(nx.strongly_connected_components(graph), key=len))
    return {MULTI: graph, SIMPLE: graph.chemical}


def compared(cases: list[Case], made: dict[str, Connectome]) -> list[tuple[Any, ...]]:
    """Rows of function, graph, NetworkX's seconds, ours cold and warm, and both ratios; the results must agree."""
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
    return bool(np.isclose(ours, theirs)) if isinstance(theirs, float) else bool(ours == theirs)


@pytest.fixture(scope="module")
def ratios() -> list[float]:
    """What the groups have measured so far: NetworkX's time over ours, cold."""
    return []


@pytest.mark.parametrize("group", GROUPS)
def test_no_function_is_slower_than_networkx(group: str, ratios: list[float]):
    size, cases = GROUPS[group]
    nx.pagerank(graphs(100, 1_000)[MULTI])  # loads the backend, once in a process
    made = graphs(**size)
    rows = compared(cases, made)
    print_table(f"{group}: {made[MULTI].n_neurons} neurons, {made[MULTI].n_edges} edges", HEADER, rows)
    ratios += [row[5] for row in rows]
    assert min(row[5] for row in rows) >= 1


def test_the_median_function_is_ten_times_as_fast(ratios: list[float]):
    if len(ratios) < sum(len(cases) for _, cases in GROUPS.values()):
        pytest.skip("not all groups were measured")
    print(f"\n{len(ratios)} calls: median {median(ratios):.1f} times as fast, least {min(ratios):.2f} times")
    assert median(ratios) >= 10


def test_local_functions_answer_in_the_time_of_networkx_once_the_ids_are_indexed():
    rows = compared(LOCAL, graphs(**MILLION))
    print_table("20000 neurons, 1000000 edges: functions that look at a part of the graph", HEADER, rows)
    assert min(row[6] for row in rows) >= 0.5
