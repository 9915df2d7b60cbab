"""Every function that runs on columns gives what NetworkX gives, on graphs of all sorts."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectofit.connectome import Connectome
from connectofit.connectome.nx_backend import backend
from connectofit.connectome.nx_functions import FUNCTIONS, ConvertedGraph

COMMON = settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
KINDS_OF_GRAPH = [nx.DiGraph, nx.MultiDiGraph, nx.Graph, nx.MultiGraph]
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


def calls(nodes: list[Any], *, weight: str, label: str, number: str) -> list[Call]:
    """Calls of every function that runs on columns, with the arguments that it knows.

    `weight` is a numeric edge attribute, `label` and `number` are attributes of nodes; there is at least one node.
    """
    u, v, some = nodes[0], nodes[-1], nodes[::2]
    start = {node: 1.0 + k for k, node in enumerate(nodes)}
    plain = [
        "degree_centrality in_degree_centrality out_degree_centrality isolates number_of_isolates reciprocity",
        "overall_reciprocity weakly_connected_components number_weakly_connected_components is_weakly_connected",
        "strongly_connected_components number_strongly_connected_components is_strongly_connected condensation",
        "connected_components number_connected_components is_connected attracting_components",
        "number_attracting_components is_attracting_component is_directed_acyclic_graph shortest_path",
        "all_pairs_shortest_path all_pairs_shortest_path_length shortest_path_length average_shortest_path_length",
        "eccentricity diameter radius periphery center pagerank closeness_centrality harmonic_centrality",
        "betweenness_centrality eigenvector_centrality katz_centrality transitivity triadic_census core_number k_core",
        "k_shell k_crust average_neighbor_degree average_degree_connectivity s_metric triangles clustering",
        "average_clustering degree_mixing_dict degree_assortativity_coefficient adjacency_matrix to_scipy_sparse_array",
        "degree_pearson_correlation_coefficient",
    ]
    found: list[Call] = [(name, (), {}) for line in plain for name in line.split()]

    def add(names: str, *arguments: Any, **options: Any) -> None:
        found.extend((name, arguments, options) for name in names.split())

    for node in (u, v, "stranger"):
        add("reciprocity clustering triangles closeness_centrality eccentricity is_isolate", node)
        add("single_source_shortest_path_length single_target_shortest_path_length single_source_shortest_path", node)
        add("single_target_shortest_path node_connected_component descendants ancestors bfs_edges bfs_tree", node)
        add("bfs_successors bfs_layers ego_graph", node)
        add("bfs_edges bfs_tree", node, reverse=True, depth_limit=2)
        add("bfs_successors", node, depth_limit=1)
        add("single_source_shortest_path_length single_target_shortest_path_length", node, cutoff=1)
        add("descendants_at_distance", node, 2)
        add("ego_graph", node, 2, center=False)
        add("ego_graph", node, undirected=True)
        add("ego_graph", node, 3, distance=weight)
        add("shortest_path shortest_path_length bidirectional_shortest_path has_path", u, node)
        add("shortest_path shortest_path_length", node)
        add("shortest_path shortest_path_length", target=node)
        add("shortest_path_length", u, node, weight=weight)
        add("shortest_path_length", node, weight=weight)
        add("shortest_path_length", target=node, weight=weight)
        add("dijkstra_path_length", u, node, weight)
        add("single_source_dijkstra_path_length", node, weight=weight)
        add("single_source_dijkstra_path_length", node, 3, weight)
        add("closeness_centrality", node, weight, False)
    add("reciprocity clustering triangles average_clustering eccentricity bfs_layers harmonic_centrality", some)
    add("harmonic_centrality", some[:1], weight)
    add("harmonic_centrality", None, None, some)
    add("all_pairs_dijkstra_path_length", weight=weight)
    add("multi_source_dijkstra_path_length", set(some), weight=weight)
    add("clustering average_clustering", some[:1], weight)
    add("average_clustering", count_zeros=False)
    add("clustering pagerank average_neighbor_degree average_degree_connectivity", weight=weight)
    add("degree_assortativity_coefficient degree_mixing_dict adjacency_matrix", weight=weight)
    add("eigenvector_centrality", max_iter=500, weight=weight)
    add("eigenvector_centrality", nstart=start)
    add("eigenvector_centrality", nstart=dict.fromkeys(nodes, 0))
    add("eigenvector_centrality katz_centrality pagerank", max_iter=1)
    add("katz_centrality", alpha=0.01, beta=start, weight=weight, normalized=False)
    add("katz_centrality", alpha=0.02, nstart=start)
    add("pagerank", alpha=0.5, personalization={u: 2, v: 1}, dangling={v: 1}, nstart=start)
    add("pagerank", personalization=dict.fromkeys(nodes, 0))
    add("closeness_centrality harmonic_centrality", distance=weight)
    add("average_shortest_path_length eccentricity diameter", weight=weight)
    add("betweenness_centrality", normalized=False, endpoints=True)
    add("betweenness_centrality", k=max(1, len(nodes) // 2), seed=3)
    add("betweenness_centrality", k=max(1, len(nodes) // 2), seed=3, normalized=False)
    add("k_core k_shell k_crust k_corona", 2)
    add("condensation", [[node] for node in nodes])
    for source in ("in", "out", "in+out"):
        for target in ("in", "out", "in+out"):
            add("average_neighbor_degree average_degree_connectivity", source, target)
            add("average_neighbor_degree average_degree_connectivity", source, target, some, weight)
    add("average_neighbor_degree average_degree_connectivity", "up", "down")
    for x in ("in", "out"):
        add("degree_assortativity_coefficient degree_mixing_dict", x, "out", None, some)
    add("attribute_assortativity_coefficient attribute_mixing_dict", label)
    add("attribute_assortativity_coefficient attribute_mixing_dict", label, some)
    add("attribute_mixing_dict", label, normalized=True)
    add("numeric_assortativity_coefficient", number)
    add("numeric_assortativity_coefficient", number, some)
    add("rich_club_coefficient", normalized=False)
    add("to_scipy_sparse_array", nodes[::-1], weight=weight, format="csc", dtype=float)
    add("to_scipy_sparse_array", [u, u])
    add("to_scipy_sparse_array", ["stranger"])
    return found


def outcome(call: Call, graph: Any, **options: Any) -> Any:
    """What a call gives, iterators as lists, or the class and the text of its error."""
    name, arguments, named = call
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of divisions by zero in tables of one value
            result = getattr(nx, name)(graph, *arguments, **named, **options)
            return list(result) if isinstance(result, Iterator) else result
    except NotImplementedError:
        raise
    except Exception as error:
        return type(error), str(error)


def _by_members(condensation: nx.DiGraph) -> nx.DiGraph:
    """A condensation whose nodes are the sets of their members, in place of numbers."""
    members = {node: frozenset(inside) for node, inside in condensation.nodes(data="members")}
    graph = nx.relabel_nodes(condensation, members)
    graph.graph["mapping"] = {node: members[number] for node, number in condensation.graph["mapping"].items()}
    return graph


def agree(ours: Any, theirs: Any, plain: Callable[[Any], Any] = lambda graph: graph) -> bool:
    """Whether two results are equal in type and value, floats to within rounding; `plain` turns graphs into NetworkX's.

    An integer and an equal float agree: both are numbers to whoever asked. The order in which strongly connected
    components come, and by which a condensation numbers them, is another in other versions of NetworkX.
    """
    if isinstance(theirs, nx.Graph) and "mapping" in theirs.graph:
        return nx.utils.graphs_equal(*(_by_members(graph) for graph in (plain(ours), theirs)))
    if isinstance(theirs, nx.Graph):
        return nx.utils.graphs_equal(plain(ours), theirs)
    if isinstance(theirs, list) and theirs and all(isinstance(part, set) for part in theirs):
        return Counter(map(frozenset, ours)) == Counter(map(frozenset, theirs))
    if hasattr(theirs, "toarray"):
        return type(ours) is type(theirs) and ours.dtype == theirs.dtype and bool((ours != theirs).nnz == 0)
    if isinstance(theirs, bool) or isinstance(ours, bool | np.generic):
        return ours is theirs
    if isinstance(theirs, int | float) and isinstance(ours, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-9) or (ours != ours and theirs != theirs)
    if type(ours) is not type(theirs):
        return False
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(agree(ours[key], value, plain) for key, value in theirs.items())
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(agree(a, b, plain) for a, b in zip(ours, theirs, strict=True))
    return bool(ours == theirs)


@st.composite
def networkx_graphs(draw: Any, kind: type[nx.Graph]) -> nx.Graph:
    """Small graphs with nodes of several types, self-loops, isolated nodes, and weights that some edges lack."""
    nodes = draw(st.permutations([*"abcd", 1, 2, (3, 4), frozenset({5}), 6.5]))[: draw(st.integers(1, 9))]
    graph = kind()
    graph.add_nodes_from(
        (node, {"label": draw(st.sampled_from("xyz")), "size": draw(st.integers(1, 3))}) for node in nodes
    )
    ends = st.sampled_from(nodes)
    for u, v, weight in draw(st.lists(st.tuples(ends, ends, st.sampled_from([None, 0, 1, 2, 0.5])), max_size=25)):
        if u != v or draw(st.booleans()):
            graph.add_edge(u, v, **({} if weight is None else {"cost": weight}))
    return graph


@st.composite
def connectomes(draw: Any) -> Connectome:
    n = draw(st.integers(1, 9))
    triple = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    chemical = sorted(draw(st.sets(triple, max_size=30)))
    gaps = sorted({tuple(sorted(pair)) for pair in draw(st.sets(triple, max_size=4)) if pair[0] != pair[1]})
    if draw(st.booleans()):
        chemical = [(a, b) for a, b in chemical if a != b]
    pairs = [*chemical, *gaps, *((b, a) for a, b in gaps)]
    count = draw(st.lists(st.integers(1, 4), min_size=len(chemical), max_size=len(chemical)))
    neurons = {
        "id": draw(st.permutations(range(2**60, 2**60 + n))),
        "label": draw(st.lists(st.sampled_from("xyz"), min_size=n, max_size=n)),
        "size": draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)),
    }
    return Connectome.from_edges(
        pa.table(neurons),
        pre=np.array([a for a, _ in pairs], np.int64),
        post=np.array([b for _, b in pairs], np.int64),
        kind=np.array([0] * len(chemical) + [1] * 2 * len(gaps), np.int64),
        count=np.array(count + [2] * 2 * len(gaps), np.int64),
    )


def plain(graph: Any) -> nx.Graph:
    return backend.convert_to_nx(graph)


@pytest.mark.slow
@COMMON
@given(st.data())
def test_functions_on_a_connectome_give_what_they_give_on_its_networkx_graph(data: Any):
    whole = data.draw(connectomes())
    for ours in (whole, whole.chemical, whole.electrical):
        theirs = ours.to_networkx()
        for call in calls(list(ours), weight="count", label="label", number="size"):
            assert agree(outcome(call, ours), outcome(call, theirs), plain), call


@COMMON
@given(st.data())
def test_functions_on_the_undirected_reading_give_what_they_give_in_networkx(data: Any):
    whole = data.draw(connectomes())
    for part in (whole, whole.chemical):
        ours, theirs = part.to_undirected(), part.to_networkx().to_undirected()
        for call in calls(list(ours), weight="count", label="label", number="size"):
            assert agree(outcome(call, ours), outcome(call, theirs), plain), call


@pytest.mark.parametrize("kind", KINDS_OF_GRAPH)
def test_functions_on_a_converted_graph_give_what_networkx_gives(kind: type[nx.Graph]):
    @COMMON
    @given(networkx_graphs(kind))
    def check(graph: nx.Graph) -> None:
        with nx.config(warnings_to_ignore={"cache"}):
            for call in calls(list(graph), weight="cost", label="label", number="size"):
                expected = outcome(call, graph)
                try:
                    found = outcome(call, graph, backend="connectofit")
                except NotImplementedError:
                    continue  # NetworkX then runs its own, as the next test sees
                assert agree(found, expected, plain), call

    check()


def test_every_function_that_is_listed_is_called_and_runs_on_columns():
    rng = np.random.default_rng(0)
    ran = set()
    for kind in KINDS_OF_GRAPH:
        graph = kind(nx.gnp_random_graph(12, 0.4, seed=1, directed=True))
        for u, v, *_ in list(graph.edges):  # of a multigraph each gets a parallel edge
            graph.add_edge(u, v, cost=int(rng.integers(1, 4)))
        nx.set_node_attributes(graph, {node: {"label": node % 3, "size": node % 4} for node in graph})
        converted = ConvertedGraph(graph)
        listed = [
            *calls(list(graph), weight="cost", label="label", number="size"),
            ("eigenvector_centrality_numpy", (), {}),
            ("hits", (), {}),
        ]
        for name, arguments, options in listed:
            try:
                FUNCTIONS[name](converted, *arguments, **options)
            except (nx.NetworkXException, ArithmeticError, LookupError, NotImplementedError):
                continue
            ran.add(name)
    assert ran == set(FUNCTIONS)


@pytest.mark.parametrize("name", ["hits", "eigenvector_centrality_numpy"])
def test_eigenvectors_that_start_at_random_are_those_of_networkx(name: str):
    # One large component, since the vectors of a graph in parts are not determined.
    graph = nx.gnp_random_graph(30, 0.3, seed=2, directed=True)
    assert agree(getattr(nx, name)(Connectome.from_networkx(graph)), getattr(nx, name)(graph))


def test_searches_meet_neurons_in_the_order_of_networkx():
    graph = nx.gnp_random_graph(60, 0.05, seed=3, directed=True)
    ours = Connectome.from_networkx(graph)
    theirs = ours.to_networkx()
    assert list(nx.single_source_shortest_path_length(ours, 0)) == list(
        nx.single_source_shortest_path_length(theirs, 0)
    )
    parts = [{frozenset(part) for part in nx.strongly_connected_components(graph)} for graph in (ours, theirs)]
    assert parts[0] == parts[1]  # their order is not the same in all versions of NetworkX
    assert nx.shortest_path(ours, 0, 50) == nx.shortest_path(theirs, 0, 50)
