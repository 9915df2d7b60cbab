"""The graph itself at the size of the adult fly: memory, parts of it, and looking things up in it.

Beside it stand pandas frames, joined by ids as in an ordinary analysis script, and for looking things up NetworkX on a
million edges, which is as much of it as there is time and memory for.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx
import numpy as np
import pytest
from measure import print_table

from connectofit.connectome import Connectome
from connectofit.connectome.networkx_graphs import to_networkx

pytestmark = pytest.mark.benchmark

MOST_BYTES_AN_EDGE = 40
MOST_SECONDS = 1.0


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def bytes_of(connectome: Connectome) -> dict[str, float]:
    """Bytes an edge of what a connectome holds, with everything that it keeps once it has been worked out."""
    c, e = connectome, connectome.n_edges
    order, starts = c._by_post
    arrays = {
        "edges (indptr, post, count, kind, sign)": [c.indptr, c.post, c.count, c.kind, c.sign],
        "presynaptic neurons, edges by target": [c.pre, order, starts],
    }
    found = {name: sum(array.nbytes for array in parts) / e for name, parts in arrays.items()}
    ids = sum(map(sys.getsizeof, (c.ids, c._index, *c.ids)))
    return found | {
        "edge columns": c.edge_columns.nbytes / e,
        "neurons": c.neurons.nbytes / e,
        "ids and where they stand": ids / e,
    }


def networkx_bytes(connectome: Connectome) -> float:
    """Bytes an edge of a NetworkX graph with the same edges and attributes."""
    part = connectome.subgraph(connectome.ids[: connectome.n_neurons // 3])
    tracemalloc.start()
    try:
        graph = to_networkx(part)
        return tracemalloc.get_traced_memory()[0] / graph.number_of_edges()
    finally:
        tracemalloc.stop()


def test_an_edge_takes_at_most_forty_bytes(fly: Connectome, million: Connectome) -> None:
    found = bytes_of(fly)
    total = sum(found.values())
    rows = [*found.items(), ("all", total), ("NetworkX (a part of a million edges)", networkx_bytes(million))]
    print_table(f"Bytes an edge ({fly.n_edges:,} edges)", ["", "bytes"], rows)
    assert total <= MOST_BYTES_AN_EDGE


def test_parts_of_the_fly_take_at_most_a_second(fly: Connectome) -> None:
    neurons, edges = fly.to_pandas()
    rng = np.random.default_rng(0)
    half = [fly.ids[k] for k in rng.permutation(fly.n_neurons)[: fly.n_neurons // 2]]
    asked = np.array(fly.ids)[rng.integers(0, fly.n_neurons, 1_000_000)]
    place = dict(zip(neurons["id"].tolist(), range(len(neurons)), strict=True))

    def rows_of(condition: str) -> Any:
        chosen = neurons.query(condition)["id"]
        return edges[edges["pre"].isin(chosen) & edges["post"].isin(chosen)]

    def joined(condition: str) -> Any:
        pre = neurons[["id", "cell_class"]].set_axis(["pre", "pre_cell_class"], axis=1)
        post = neurons[["id", "side"]].set_axis(["post", "post_side"], axis=1)
        return edges[["pre", "post", "count"]].merge(pre, on="pre").merge(post, on="post").query(condition)

    few, many = "cell_class == 'type_7' and side == 'left'", "side in ('left',)"
    ends = "pre.cell_class == 'type_7' and post.side == 'left' and count > 10"
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "select, 1 % of neurons": (lambda: fly.select(few), lambda: rows_of(few)),
        "select, half of them": (lambda: fly.select(many), lambda: rows_of(many)),
        "subgraph, half of them by id": (lambda: fly.subgraph(half), lambda: edges[edges["pre"].isin(half)]),
        "select_edges by both ends": (lambda: fly.select_edges(ends), lambda: joined(ends.replace(".", "_"))),
        "select_edges by count": (lambda: fly.select_edges("count > 10"), lambda: edges.query("count > 10")),
        "index_of a million ids": (lambda: fly.index_of(asked), lambda: [place[item] for item in asked.tolist()]),
        "all in-degrees": (lambda: fly.degrees("in"), lambda: edges.groupby("post").size()),
        "all weighted out-degrees": (
            lambda: fly.degrees("out", "count"),
            lambda: edges.groupby("pre")["count"].sum(),
        ),
        "chemical view": (lambda: fly._of_kind("chemical"), lambda: edges[edges["kind"] == "chemical"]),
    }
    rows: list[Sequence[object]] = []
    slow = []
    for name, (ours, theirs) in cases.items():
        first, pandas = seconds(ours), seconds(theirs)
        rows.append((name, first, pandas, pandas / first))
        slow += [name] if first > MOST_SECONDS else []
    print_table(f"Parts of {fly.n_edges:,} edges", ["seconds", "Connectome", "pandas", "times faster"], rows)
    assert not slow


def test_looking_up_beside_networkx(fly: Connectome, million: Connectome) -> None:
    graph: nx.MultiDiGraph = to_networkx(million)
    rng = np.random.default_rng(0)

    def pairs_of(c: Connectome) -> list[tuple[int, int]]:
        pick = rng.integers(0, c.n_neurons, (5_000, 2)).tolist()
        return [(c.ids[i], c.ids[j]) for i, j in pick]

    some, of_fly = pairs_of(million), pairs_of(fly)
    fly.degree(fly.ids[0]), million.degree(million.ids[0])
    questions: dict[str, Callable[[Any, list[tuple[int, int]]], Any]] = {
        "has_edge(u, v)": lambda g, pairs: [g.has_edge(u, v) for u, v in pairs],
        "list(g[u])": lambda g, pairs: [list(g[u]) for u, _ in pairs],
        "list(g.predecessors(u))": lambda g, pairs: [list(g.predecessors(u)) for u, _ in pairs],
        "in_degree(u)": lambda g, pairs: [g.in_degree(u) for u, _ in pairs],
        "in_degree(u, weight='count')": lambda g, pairs: [g.in_degree(u, weight="count") for u, _ in pairs],
        "g.nodes[u]": lambda g, pairs: [g.nodes[u] for u, _ in pairs],
        "dict(g[u]) with attributes": lambda g, pairs: [dict(g[u].items()) for u, _ in pairs[:500]],
    }
    rows: list[Sequence[object]] = []
    for name, question in questions.items():
        calls = 500 if "attributes" in name else len(some)
        times = [seconds(question, *asked) for asked in ((million, some), (graph, some), (fly, of_fly))]
        assert question(million, some[:50]) == question(graph, some[:50])
        rows.append((name, *(1e6 * each / calls for each in times)))
    print_table("Looking up", ["microseconds a call", "a million edges", "NetworkX, the same", "the fly"], rows)
