"""On random graphs a Connectome, its views of one kind and its undirected reading answer what NetworkX answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import contains, getitem
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectofit.connectome import Connectome
from connectofit.connectome.networkx_graphs import to_networkx
from connectofit.connectome.undirected import UndirectedConnectome

COMMON = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
TEXT = ["AVAL", "AVAR", "VA1", "M 1", "é", "7"]
WHOLE = [2**60 + 3 * k for k in range(6)]
STRANGERS = ["nobody", -1, 2**60 + 1]
WEIGHTS = [None, "count", "sign", "size", "flag", "weight"]


@st.composite
def connectomes(draw: st.DrawFn) -> Connectome:
    """Both kinds, self-loops, isolated neurons, parallel edges, missing attributes of every sort."""
    n = draw(st.integers(0, 6))
    ids = draw(st.permutations(draw(st.sampled_from([TEXT, WHOLE]))))[:n]
    node = st.integers(0, max(n - 1, 0))
    pairs = st.tuples(node, node) if n else st.nothing()
    chemical = draw(st.sets(pairs, max_size=14)) if n else set()
    gaps = draw(st.sets(pairs, max_size=5)) if n else set()
    weight = {frozenset((a, b)): a + b for a, b in gaps}
    gaps |= {(b, a) for a, b in gaps}
    edges = draw(st.permutations([*((a, b, 0) for a, b in chemical), *((a, b, 1) for a, b in gaps)]))

    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def column(values: list[Any], length: int, kind: pa.DataType) -> pa.Array:
        return pa.array([[None, *values][k] for k in rng.integers(0, len(values) + 1, length)], kind)

    neurons = pa.table(
        {
            "id": pa.array(ids, pa.int64() if ids and isinstance(ids[0], int) else pa.string()),
            "cell_type": column(["x", "y"], n, pa.string()),
            "birth": column([-(2**61) - 1, 0, 2**53 + 1], n, pa.int64()),
            "soma": column([[], [0.5, -1.0]], n, pa.list_(pa.float64())),
        }
    )
    columns = pa.table(
        {
            "source": column(["x", "y"], len(edges), pa.dictionary(pa.int8(), pa.string())),
            "size": column([2**53 + 1, -3, 0, 7], len(edges), pa.int64()),
            "flag": column([True, False], len(edges), pa.bool_()),
            "at": column([{"x": 1}, {"x": None}], len(edges), pa.struct([pa.field("x", pa.int64())])),
        }
    )
    return Connectome.from_edges(
        neurons,
        pre=np.array([a for a, *_ in edges], np.int64),
        post=np.array([b for _, b, _ in edges], np.int64),
        kind=np.array([kind for *_, kind in edges], np.int64),
        count=np.array([weight[frozenset((a, b))] if k else rng.integers(0, 9) for a, b, k in edges], np.int64),
        sign=np.array([0 if kind else rng.integers(-1, 2) for *_, kind in edges], np.int64),
        edge_columns=columns,
    )


def pairs_of(c: Connectome) -> list[tuple[Any, Any]]:
    """The graph and its views, each beside what NetworkX holds."""
    return [(part, to_networkx(part)) for part in (c, c.chemical, c.electrical)]


def bunches(graph: Any) -> list[Any]:
    nodes = list(graph)
    return [None, nodes[::-2], [*nodes[:2], *STRANGERS, *nodes[:1]], *nodes[:1], set(nodes[1:3])]


def outcome(question: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, iterators as lists, or for a refusal the class of the error that NetworkX's users catch."""
    try:
        answer = question(*arguments)
        return list(answer) if isinstance(answer, Iterator) else answer
    except (nx.NetworkXException, KeyError, ValueError, TypeError) as error:
        return type(error)


def agree(ours: Any, theirs: Any, question: Callable[..., Any], *arguments: Any) -> None:
    expected, found = outcome(question, theirs, *arguments), outcome(question, ours, *arguments)
    if isinstance(expected, type) and issubclass(expected, Exception):
        assert issubclass(found, expected)
    else:
        assert found == expected


def ask(graph: Any, method: str, *arguments: Any) -> Any:
    return getattr(graph, method)(*arguments)


def degrees_of(view: Any, bunch: Any, weight: str | None) -> Any:
    found = view(bunch, weight)
    return found if isinstance(found, int) else list(found)


@COMMON
@given(connectomes())
def test_nodes(c: Connectome) -> None:
    for ours, theirs in pairs_of(c):
        assert list(ours) == list(theirs) == list(ours.nodes) == list(ours.nodes())
        assert len(ours.nodes) == len(ours) == ours.order() == ours.number_of_nodes() == len(theirs)
        assert dict(ours.nodes.items()) == dict(theirs.nodes.items()) == dict(ours.nodes)
        assert dict(ours._node.items()) == theirs._node
        assert ours.nodes == theirs.nodes
        assert [ours.nodes[u] for u in ours] == [theirs.nodes[u] for u in theirs] == list(ours.nodes.values())
        assert ours.nodes & set(list(theirs)[:2]) == theirs.nodes & set(list(theirs)[:2])
        assert ours.nodes - {*list(theirs)[:1]} == theirs.nodes - {*list(theirs)[:1]}
        assert ours.nodes | {"other"} == theirs.nodes | {"other"}
        for data, default in ((True, None), (False, None), ("cell_type", "?"), ("birth", None), ("nothing", 3)):
            a, b = ours.nodes(data=data, default=default), theirs.nodes(data=data, default=default)
            assert list(a) == list(b) == list(ours.nodes.data(data, default=default))
            for u in theirs:
                assert a[u] == b[u]
                assert u in a
                assert (u, "wrong") not in a
                if data is not False:
                    assert (u, b[u]) in a
        for stranger in (*STRANGERS, None, 1.5, (1, 2)):
            assert (stranger in ours, stranger in ours.nodes, ours.has_node(stranger)) == (False, False, False)
            agree(ours.nodes, theirs.nodes, getitem, stranger)
            agree(ours, theirs, getitem, stranger)


@settings(COMMON, max_examples=20)
@given(connectomes())
def test_edges(c: Connectome) -> None:
    for ours, theirs in pairs_of(c):
        keyed: list[dict[str, Any]] = [{}, {"keys": True}] if theirs.is_multigraph() else [{}]
        for name in ("edges", "out_edges", "in_edges"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert list(a) == list(b)
            assert len(a) == len(b)
            assert dict(a.items()) == dict(b.items())
            assert a & set(list(b)[::2]) == b & set(list(b)[::2])
            assert a - set(list(b)[::2]) == b - set(list(b)[::2])
            for bunch in bunches(theirs):
                for keys in keyed:
                    for data, default in ((False, None), (True, None), ("count", None), ("source", "?"), ("no", 7)):
                        x = a(nbunch=bunch, data=data, default=default, **keys)
                        y = b(nbunch=bunch, data=data, default=default, **keys)
                        assert list(x) == list(y) == list(a.data(data, default, bunch, **keys))
                        assert len(x) == len(y)
                        assert all(edge in x for edge in y)
                        if data is not False:
                            assert not any((*edge[:-1], "wrong") in x for edge in y)
            every = list(theirs)
            for edge in [*b, *((u, v) for u in every for v in every), ("nobody", "nobody"), ("nobody",) * 3]:
                agree(a, b, contains, edge)
                agree(a, b, getitem, edge)
                agree(a(data=False), b(data=False), contains, edge)


@COMMON
@given(connectomes())
def test_adjacency(c: Connectome) -> None:
    for ours, theirs in pairs_of(c):
        for name in ("adj", "succ", "pred", "_adj", "_succ", "_pred"):
            a, b = getattr(ours, name), getattr(theirs, name)
            assert list(a) == list(b)
            assert len(a) == len(b)
            assert a == b
            assert a.copy() == {u: dict(b[u]) for u in b}
            for u in b:
                assert list(a[u]) == list(b[u])
                assert len(a[u]) == len(b[u])
                assert bool(a[u]) == bool(b[u])
                assert list(a[u].items()) == list(b[u].items())
                assert list(a[u].values()) == list(b[u].values())
                assert a[u].copy() == b[u] == a[u]
                assert a[u].keys() & set(list(b)[:2]) == b[u].keys() & set(list(b)[:2])
                for v in [*b, *STRANGERS]:
                    assert (v in a[u]) == (v in b[u])
                    agree(a[u], b[u], getitem, v)
                    assert a[u].get(v, "none") == b[u].get(v, "none")
        assert [(u, dict(row)) for u, row in ours.adjacency()] == [(u, dict(row)) for u, row in theirs.adjacency()]
        for u in [*theirs, *STRANGERS]:
            for name in ("neighbors", "successors", "predecessors"):
                agree(ours, theirs, ask, name, u)
            for v in [*theirs, *STRANGERS]:
                for name in ("has_edge", "has_successor", "has_predecessor", "number_of_edges", "get_edge_data"):
                    agree(ours, theirs, ask, name, u, v)
                if theirs.is_multigraph():
                    for kind in ("chemical", "electrical", 0):
                        assert ours.has_edge(u, v, kind) == theirs.has_edge(u, v, kind)
                        assert ours.get_edge_data(u, v, kind, 5) == theirs.get_edge_data(u, v, kind, 5)
                else:
                    assert ours.get_edge_data(u, v, 5) == theirs.get_edge_data(u, v, 5)


@COMMON
@given(connectomes())
def test_degrees(c: Connectome) -> None:
    for ours, theirs in [*pairs_of(c), (c.to_undirected(), to_networkx(c).to_undirected())]:
        names = ("degree", "in_degree", "out_degree") if theirs.is_directed() else ("degree",)
        for name in names:
            a, b = getattr(ours, name), getattr(theirs, name)
            assert list(a) == list(b)
            assert len(a) == len(b)
            for weight in WEIGHTS:
                assert list(a(weight=weight)) == list(b(weight=weight))
                assert all(a(u, weight=weight) == b(u, weight=weight) for u in theirs)
                assert all(a(u, weight) == a(weight=weight)[u] for u in theirs)
                for bunch in bunches(theirs):
                    agree(a, b, degrees_of, bunch, weight)
            for stranger in (-1, 2**60 + 1):
                agree(a, b, degrees_of, stranger, None)
                agree(a, b, getitem, stranger)
        for weight in WEIGHTS:
            assert ours.size(weight) == theirs.size(weight)


@COMMON
@given(connectomes())
def test_the_graph_itself_and_others_made_from_it(c: Connectome) -> None:
    for ours, theirs in pairs_of(c):
        assert (ours.is_directed(), ours.is_multigraph()) == (True, theirs.is_multigraph())
        assert (ours.graph, ours.name) == (theirs.graph, theirs.name)
        assert ours.to_directed_class() is theirs.to_directed_class()
        assert ours.to_undirected_class() is theirs.to_undirected_class()
        for bunch in bunches(theirs):
            assert list(ours.nbunch_iter(bunch)) == list(theirs.nbunch_iter(bunch))
        some = list(theirs)[::2]
        chosen = sorted(ours.edges, key=repr)[::2]
        chosen = [e for e in chosen if e[-1] != "electrical" and ours.only_kind != "electrical"]
        same(ours.subgraph(some), theirs.subgraph(some))
        same(ours.edge_subgraph(chosen), theirs.edge_subgraph(chosen))
        same(ours.reverse(), theirs.reverse())
        same(ours.copy(), theirs.copy())
        same(ours.to_directed(), theirs.to_directed())
        same(ours.reverse().reverse(), theirs)
        assert nx.utils.graphs_equal(type(theirs)(ours), theirs)


@COMMON
@given(connectomes(), st.booleans())
def test_the_undirected_reading(c: Connectome, reciprocal: bool) -> None:
    for directed, graph in pairs_of(c):
        ours, theirs = directed.to_undirected(reciprocal=reciprocal), graph.to_undirected(reciprocal=reciprocal)
        assert isinstance(ours, UndirectedConnectome)
        same(ours, theirs)
        assert nx.utils.graphs_equal(ours.to_networkx(), theirs)
        assert [list(ours[u]) for u in ours] == [list(theirs[u]) for u in theirs]
        assert list(ours.edges) == list(theirs.edges)
        keyed: list[dict[str, Any]] = [{}, {"keys": True}] if theirs.is_multigraph() else [{}]
        for bunch in bunches(theirs):
            for keys in keyed:
                for data in (False, True, "size"):
                    x = ours.edges(bunch, data=data, **keys)
                    y = theirs.edges(bunch, data=data, **keys)
                    assert list(x) == list(y)
                    assert len(x) == len(y)
                    assert all(edge in x for edge in y)
                    assert [(e[1], e[0], *e[2:]) in x for e in y] == [(e[1], e[0], *e[2:]) in y for e in y]
        for u in [*theirs, "nobody"]:
            for v in [*theirs, -1]:
                for name in ("has_edge", "number_of_edges", "get_edge_data"):
                    agree(ours, theirs, ask, name, u, v)
        some = list(theirs)[::2]
        same(ours.subgraph(some), theirs.subgraph(some))
        same(ours.edge_subgraph(list(theirs.edges)[::2]), theirs.edge_subgraph(list(theirs.edges)[::2]))
        assert nx.utils.graphs_equal(ours.to_directed(), theirs.to_directed())
        assert not hasattr(ours, "_succ")


def same(ours: Any, theirs: Any) -> None:
    """Equal nodes, edges and attributes, in any order: NetworkX's subgraphs have none of their own."""
    assert dict(ours.nodes(data=True)) == dict(theirs.nodes(data=True))
    assert {u: row.copy() for u, row in ours.adjacency()} == {u: dict(row) for u, row in theirs.adjacency()}
    assert ours.number_of_edges() == theirs.number_of_edges() == len(ours.edges) == len(list(ours.edges))
    if theirs.is_directed():
        assert {u: row.copy() for u, row in ours.pred.items()} == {u: dict(row) for u, row in theirs.pred.items()}


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "density": nx.density,
    "degree_histogram": nx.degree_histogram,
    "nodes": lambda g: list(nx.nodes(g)),
    "edges": lambda g: list(nx.edges(g)),
    "degree": lambda g: dict(nx.degree(g)),
    "number_of_nodes": nx.number_of_nodes,
    "number_of_edges": nx.number_of_edges,
    "is_directed": nx.is_directed,
    "is_frozen": lambda g: nx.is_frozen(nx.freeze(g) if isinstance(g, nx.Graph) else g),
    "neighbors": lambda g: [list(nx.neighbors(g, u)) for u in g],
    "all_neighbors": lambda g: [list(nx.all_neighbors(g, u)) for u in g],
    "non_neighbors": lambda g: [set(nx.non_neighbors(g, u)) for u in g],
    "non_edges": lambda g: set(nx.non_edges(g)),
    "nodes_with_selfloops": lambda g: list(nx.nodes_with_selfloops(g)),
    "selfloop_edges": lambda g: list(nx.selfloop_edges(g)),
    "selfloop_edges with data": lambda g: list(nx.selfloop_edges(g, data=True)),
    "selfloop_edges with a column": lambda g: list(nx.selfloop_edges(g, data="size", default=4)),
    "is_path": lambda g: [nx.is_path(g, [u, v]) for u in g for v in g],
    "subgraph": lambda g: set(map(frozenset, nx.subgraph(g, list(g)[:2]).edges)),
    "to_undirected": lambda g: list(nx.to_undirected(g)),
    "to_edgelist": lambda g: list(nx.to_edgelist(g)),
    "to_dict_of_dicts": nx.to_dict_of_dicts,
    "is_empty": nx.is_empty,
    "number_of_selfloops": nx.number_of_selfloops,
    "get_node_attributes": lambda g: nx.get_node_attributes(g, "birth"),
    "get_edge_attributes": lambda g: nx.get_edge_attributes(g, "size"),
    "is_weighted": lambda g: (nx.is_weighted(g), nx.is_weighted(g, weight="count")),
    "to_numpy_array": lambda g: nx.to_numpy_array(g, weight="count", dtype=float).tolist(),
    "to_scipy_sparse_array": lambda g: nx.to_scipy_sparse_array(g, weight="count", dtype=float).toarray().tolist(),
    "to_pandas_edgelist": lambda g: nx.to_pandas_edgelist(g).astype(object).fillna("none").to_dict("records"),
    "shortest_path_length": lambda g: {u: dict(found) for u, found in nx.shortest_path_length(g)},
    "bfs_edges": lambda g: [list(nx.bfs_edges(g, u)) for u in g],
    "dfs_preorder_nodes": lambda g: [list(nx.dfs_preorder_nodes(g, u)) for u in g],
    "dijkstra_path_length": lambda g: [
        dict(nx.single_source_dijkstra_path_length(g, u, weight=lambda *_: 2)) for u in g
    ],
    "to_dict_of_lists": nx.to_dict_of_lists,
    "generate_edgelist": lambda g: list(nx.generate_edgelist(g)),
    "node_link_data": lambda g: nx.node_link_data(g, edges="edges"),
}


@settings(COMMON, max_examples=15)
@given(connectomes())
def test_functions_of_networkx(c: Connectome) -> None:
    for ours, theirs in pairs_of(c):
        for question in FUNCTIONS.values():
            agree(ours, theirs, question)


@settings(COMMON, max_examples=15)
@given(connectomes())
def test_functions_of_networkx_on_the_undirected_reading(c: Connectome) -> None:
    for part in (c, c.chemical, c.electrical):
        ours, theirs = part.to_undirected(), to_networkx(part).to_undirected()
        for question in FUNCTIONS.values():
            agree(ours, theirs, question)
        for u in theirs:
            for v in theirs:
                assert nx.common_neighbors(ours, u, v) == nx.common_neighbors(theirs, u, v)
        assert list(map(set, nx.connected_components(ours))) == list(map(set, nx.connected_components(theirs)))
        assert dict(nx.all_pairs_shortest_path_length(ours)) == dict(nx.all_pairs_shortest_path_length(theirs))
        if not theirs.is_multigraph():
            assert nx.clustering(ours) == nx.clustering(theirs)
            assert nx.triangles(ours) == nx.triangles(theirs)
            for u in theirs:
                assert list(nx.bfs_edges(ours, u)) == list(nx.bfs_edges(theirs, u))


@COMMON
@given(connectomes())
def test_networkx_brings_every_connectome_back_with_the_types_of_its_columns(c: Connectome) -> None:
    for part in (c, c.chemical, c.electrical):
        back = Connectome.from_networkx(to_networkx(part))
        assert back.digest() == part.digest()
        assert back.neurons.schema.types == part.neurons.schema.types
        assert back.edge_columns.schema.types == part.edge_columns.schema.types
        assert nx.utils.graphs_equal(to_networkx(back), to_networkx(part))
