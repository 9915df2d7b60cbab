"""NetworkX's functions run on the columns, give what NetworkX gives, and fall back where they do not."""

from __future__ import annotations

import inspect
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from connectofit.connectome import Connectome
from connectofit.connectome.graph_errors import ImmutableGraphError
from connectofit.connectome.nx_backend import FallbackError, _without_defaults, backend
from connectofit.connectome.nx_functions import FUNCTIONS, ConvertedGraph, Unsupported

LISTED = nx.utils.backends.backend_info["connectofit"]["functions"]


def test_the_list_that_networkx_is_given_names_the_functions_that_there_are():
    assert set(LISTED) == set(FUNCTIONS)
    assert len(FUNCTIONS) >= 25


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_has_the_arguments_and_defaults_of_networkx(name: str):
    def arguments(function: Any) -> list[tuple[str, Any]]:
        return [(item.name, item.default) for item in inspect.signature(function).parameters.values()]

    theirs = nx.utils.backends._registered_algorithms[name].orig_func
    ours = arguments(FUNCTIONS[name])
    assert ours == arguments(theirs)[: len(ours)]
    # What later versions of NetworkX add, by keyword alone, is handled for all functions at once.
    added = list(inspect.signature(theirs).parameters.values())[len(ours) :]
    assert all(item.kind is inspect.Parameter.KEYWORD_ONLY for item in added)


def test_arguments_that_a_later_networkx_adds_are_dropped_at_their_defaults_alone(monkeypatch, worm: Connectome):
    def later(G: Any, *, method: str = "usual") -> str:
        return f"NetworkX's own, {method}"

    registered = nx.utils.backends._registered_algorithms
    monkeypatch.setitem(FUNCTIONS, "is_isolate", lambda G: "on columns")
    monkeypatch.setattr(registered["is_isolate"], "orig_func", later)
    assert backend.is_isolate(worm) == backend.is_isolate(worm, method="usual") == "on columns"
    with pytest.raises(Unsupported, match="the argument 'method'"):
        _without_defaults("is_isolate", {"G"}, {"method": "other"})


# ---- results in the form of the question ----


@pytest.fixture
def worm() -> Connectome:
    """A ring of 20 neurons with chords, and a gap junction."""
    graph = nx.circulant_graph(20, [1, 3], create_using=nx.MultiDiGraph)
    result = nx.MultiDiGraph()
    result.add_nodes_from((node, {"label": node % 3}) for node in graph)
    result.add_edges_from(((u, v, "chemical") for u, v in nx.DiGraph(graph).edges), count=2)
    result.add_edges_from([(0, 1, "electrical"), (1, 0, "electrical")], count=5)
    return Connectome.from_networkx(result)


def test_a_part_of_a_connectome_is_a_connectome(worm: Connectome):
    ego = nx.ego_graph(worm, 0)
    assert isinstance(ego, Connectome)
    assert ego.digest() == worm.subgraph([0, *worm.successors(0)]).digest()
    core = nx.k_core(worm.electrical)
    assert isinstance(core, Connectome)
    assert set(core) == {0, 1}


def test_misspelt_attributes_are_named_and_not_taken_for_missing(worm: Connectome):
    with pytest.raises(LookupError, match="Did you mean 'count'"):
        nx.pagerank(worm, weight="cuont")
    with pytest.raises(LookupError, match="Did you mean 'label'"):
        nx.attribute_assortativity_coefficient(worm, "lable")


# ---- what does not run on columns ----


def test_other_functions_run_on_a_converted_copy(worm: Connectome, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "connectofit")
    assert nx.square_clustering(worm.chemical) == nx.square_clustering(worm.chemical.to_networkx())
    assert "networkx.square_clustering runs on a converted copy" in caplog.text


def test_other_arguments_run_on_a_converted_copy(worm: Connectome, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "connectofit")
    assert nx.triadic_census(worm, [0, 1]) == nx.triadic_census(worm.to_networkx(), [0, 1])
    found = nx.shortest_path_length(worm, 0, weight=lambda u, v, keyed: len(keyed))
    assert found == nx.shortest_path_length(worm.to_networkx(), 0, weight=lambda u, v, keyed: len(keyed))
    assert caplog.text.count("runs on a converted copy") == 2


def test_functions_on_columns_convert_nothing(worm: Connectome, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Connectome, "to_networkx", lambda self: pytest.fail("converted"))
    nx.pagerank(worm)
    nx.triadic_census(worm)
    nx.condensation(worm)


def test_a_large_connectome_is_not_converted_unasked_and_the_error_says_what_to_do(worm: Connectome):
    with nx.config.backends.connectofit(fallback_max_edges=50), pytest.raises(FallbackError) as error:
        nx.square_clustering(worm.chemical)
    text = str(error.value)
    assert "networkx.square_clustering" in text
    assert f"its {worm.chemical.n_edges} edges are more than the 50" in text
    assert "select, subgraph" in text
    assert "fallback_max_edges" in text
    with nx.config.backends.connectofit(fallback_max_edges=50):
        assert nx.pagerank(worm)
        with pytest.raises(FallbackError, match=r"triadic_census.*does not run on columns for a list of nodes"):
            nx.triadic_census(worm, [0, 1])


def test_the_limit_is_a_million_edges():
    assert nx.utils.backends.backend_info["connectofit"]["default_config"]["fallback_max_edges"] == 1_000_000


def test_networkx_cannot_change_a_connectome(worm: Connectome):
    with pytest.raises(ImmutableGraphError):
        nx.set_node_attributes(worm, 1, "size")
    with pytest.raises(ImmutableGraphError):
        nx.relabel_nodes(worm, {0: 100}, copy=False)
    assert set(nx.relabel_nodes(worm, {0: 100})) == {*range(1, 20), 100}


def test_functions_that_do_not_exist_stay_so():
    assert not hasattr(backend, "no_such_function")
    assert not hasattr(backend, "graph__new__")


# ---- other graphs, sent here ----


def test_small_graphs_and_local_questions_are_not_worth_a_conversion():
    graph = nx.path_graph(5)
    assert backend.should_run("pagerank", (graph,), {}) == "it has fewer than 1000 edges"
    assert backend.should_run("pagerank", (nx.path_graph(2000),), {}) is True
    assert backend.should_run("has_path", (nx.path_graph(2000),), {}) == "it looks at a small part of the graph"


def test_graphs_of_networkx_come_here_by_priority_and_are_converted_once():
    graph = nx.gnp_random_graph(100, 0.3, seed=0)
    with nx.config(backend_priority=["connectofit"], warnings_to_ignore={"cache"}):
        nx.triangles(graph)
        (kept,) = graph.__networkx_cache__["backends"]["connectofit"].values()
        nx.core_number(graph)
        assert graph.__networkx_cache__["backends"]["connectofit"].popitem()[1] is kept
    assert isinstance(kept, ConvertedGraph)
    assert backend.convert_to_nx(kept) is graph


def test_what_columns_cannot_hold_stays_with_networkx():
    graph = nx.gnp_random_graph(100, 0.3, seed=0, directed=True)
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, "heavy"), "cost")
    with pytest.raises(NotImplementedError):
        nx.single_source_dijkstra_path_length(graph, 0, weight="cost", backend="connectofit")
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, -1), "cost")
    ours = nx.config(backend_priority=["connectofit"], warnings_to_ignore={"cache"})
    with ours, pytest.raises(ValueError, match="Contradictory paths"):
        nx.single_source_dijkstra_path_length(graph, 0, weight="cost")


# ---- NetworkX itself ----


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), **variables}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=environment)


def test_importing_networkx_finds_the_backend_and_loads_nothing_of_it(tmp_path: Path):
    program = (
        "import networkx, sys;"
        "print(len(networkx.utils.backends.backend_info['connectofit']['functions']));"
        "print([name for name in ('pandas', 'pyarrow', 'scipy', 'connectofit.connectome') if name in sys.modules])"
    )
    done = run("-W", "error::RuntimeWarning", "-c", program)
    assert done.stdout.split("\n")[:2] == [str(len(FUNCTIONS)), "[]"], done.stderr


TEST_FILES = """
algorithms.assortativity.tests.test_connectivity algorithms.assortativity.tests.test_correlation
algorithms.assortativity.tests.test_mixing algorithms.assortativity.tests.test_neighbor_degree
algorithms.assortativity.tests.test_pairs algorithms.centrality.tests.test_closeness_centrality
algorithms.centrality.tests.test_degree_centrality algorithms.centrality.tests.test_eigenvector_centrality
algorithms.centrality.tests.test_harmonic_centrality algorithms.centrality.tests.test_katz_centrality
algorithms.components.tests.test_attracting algorithms.components.tests.test_connected
algorithms.components.tests.test_strongly_connected algorithms.components.tests.test_weakly_connected
algorithms.link_analysis.tests.test_hits algorithms.link_analysis.tests.test_pagerank
algorithms.shortest_paths.tests.test_generic algorithms.shortest_paths.tests.test_unweighted
algorithms.tests.test_core algorithms.tests.test_isolate algorithms.tests.test_reciprocity
algorithms.tests.test_richclub algorithms.tests.test_smetric algorithms.traversal.tests.test_bfs
generators.tests.test_ego linalg.tests.test_graphmatrix tests.test_convert_scipy
"""
SLOWER_TEST_FILES = """
algorithms.centrality.tests.test_betweenness_centrality algorithms.shortest_paths.tests.test_weighted
algorithms.tests.test_cluster algorithms.tests.test_dag algorithms.tests.test_distance_measures
algorithms.tests.test_triads
"""


def networkx_tests(files: str, tmp_path: Path) -> dict[str, dict[str, int]]:
    """Run these of NetworkX's tests with every call sent to the backend that it has a function for."""
    counts = tmp_path / "counts.json"
    modules = [f"networkx.{name}" for name in files.split()]
    options = ["-q", "-p", "networkx_suite", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    done = run(
        *("-m", "pytest", *options, "--pyargs", *modules),
        NETWORKX_TEST_BACKEND="connectofit",
        NETWORKX_FALLBACK_TO_NX="True",
        NETWORKX_SUITE_COUNTS=str(counts),
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return json.loads(counts.read_text(encoding="utf-8"))


def check(found: dict[str, dict[str, int]]) -> None:
    outcomes = found["outcomes"]
    assert set(outcomes) <= {"passed", "xskipped", "skipped"}
    assert outcomes.get("xskipped", 0) <= 0.1 * sum(outcomes.values())


@pytest.mark.slow
def test_networkx_passes_its_own_tests_on_the_backend(tmp_path: Path):
    found = networkx_tests(TEST_FILES, tmp_path)
    check(found)
    assert found["outcomes"]["passed"] >= 300
    assert sum(found["calls"].values()) >= 600
    assert len(found["calls"]) >= 55


@pytest.mark.slow
def test_networkx_passes_the_slower_of_its_own_tests_on_the_backend(tmp_path: Path):
    found = networkx_tests(SLOWER_TEST_FILES, tmp_path)
    check(found)
    assert {"betweenness_centrality", "clustering", "eccentricity", "triadic_census"} <= set(found["calls"])
