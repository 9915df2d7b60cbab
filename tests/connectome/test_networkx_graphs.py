"""Connectomes turn into NetworkX graphs and back without loss; what cannot be represented is refused."""

from __future__ import annotations

from functools import cache

import networkx as nx
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SchemaError, read_connectome
from connectofit.data import CELEGANS_COLUMNS, celegans_paths


@cache
def worm() -> Connectome:
    paths = celegans_paths()
    return read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)[0]


def test_the_worm_comes_back_from_networkx_unchanged() -> None:
    graph = worm().to_networkx()
    assert isinstance(graph, nx.MultiDiGraph)
    assert set(graph["AVAL"]["AVAR"]) <= {"chemical", "electrical"}
    assert Connectome.from_networkx(graph).digest() == worm().digest()


@pytest.mark.parametrize("kind", ["chemical", "electrical"])
def test_views_become_digraphs_and_come_back(kind: str) -> None:
    view = getattr(worm(), kind)
    graph = view.to_networkx()
    assert type(graph) is nx.DiGraph
    assert Connectome.from_networkx(graph).digest() == view.digest()


def test_a_networkx_graph_comes_back_with_its_attributes() -> None:
    graph = nx.MultiDiGraph(name="drawing", year=1986)
    graph.add_node(2**60 + 1, soma=[1.0, 2.0], flag=True)
    graph.add_node(3, label="x")
    graph.add_edge(3, 2**60 + 1, key="chemical", count=2, sign=-1, delay=0.5)
    graph.add_edge(3, 2**60 + 1, key="electrical", count=1.5, sign=0)
    graph.add_edge(2**60 + 1, 3, key="electrical", count=1.5, sign=0, delay=1.5)
    back = Connectome.from_networkx(graph).to_networkx()
    back.graph.pop("connectofit_types")
    assert back.graph == graph.graph
    assert dict(back.nodes(data=True)) == dict(graph.nodes(data=True))
    assert {(u, v, k): d for u, v, k, d in back.edges(keys=True, data=True)} == {
        (u, v, k): d for u, v, k, d in graph.edges(keys=True, data=True)
    }


def test_a_plain_digraph_is_a_chemical_view_with_counts_of_one() -> None:
    connectome = Connectome.from_networkx(nx.DiGraph([("a", "b"), ("b", "c")]))
    assert (connectome.only_kind, connectome.count.tolist(), connectome.sign.tolist()) == ("chemical", [1, 1], [0, 0])


def test_columns_without_values_and_narrow_types_survive() -> None:
    neurons = pa.table(
        {"id": ["a", "b"], "none": pa.array([None, None], pa.int16()), "small": pa.array([1, 2], pa.int8())}
    )
    connectome = Connectome.from_edges(neurons, pre=[0], post=[1], count=[2.0])
    back = Connectome.from_networkx(connectome.to_networkx())
    assert back.neurons.schema.types == neurons.schema.types
    assert back.digest() == connectome.digest()


def multi(*edges: tuple[object, object, object], **attributes: object) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    for u, v, key in edges:
        graph.add_edge(u, v, key=key, **attributes)
    return graph


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (nx.Graph([("a", "b")]), "edges would get a direction that nobody measured"),
        (nx.DiGraph([("a", 1)]), r"all text or all integers.*relabel"),
        (nx.DiGraph([(1.5, 2)]), "all text or all integers"),
        (nx.DiGraph([(True, 2)]), "all text or all integers"),
        (nx.DiGraph([(2**63, 2)]), "int64"),
        (multi(("a", "b", "gap")), "kinds are"),
        (multi(("a", "b", "electrical")), "both directions"),
        (multi(("a", "b", 0), ("a", "b", 1)), "same pre, post and kind: a -> b"),
        (multi(("a", "b", "chemical"), count="two"), "'count' must be a number"),
        (multi(("a", "b", "chemical"), thing=object()), "'thing' holds values of the types"),
    ],
)
def test_what_a_connectome_cannot_hold_is_refused(graph: nx.Graph, reason: str) -> None:
    with pytest.raises(SchemaError, match=f"(?i){reason}"):
        Connectome.from_networkx(graph)


def test_counts_on_some_edges_only_and_mixed_attributes_are_refused() -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", count=1)
    graph.add_edge("b", "a")
    with pytest.raises(SchemaError, match="on every edge"):
        Connectome.from_networkx(graph)
    mixed = nx.DiGraph()
    mixed.add_node("a", size=1)
    mixed.add_node("b", size="large")
    with pytest.raises(SchemaError, match=r"'size' holds values of the types \['int', 'str'\]"):
        Connectome.from_networkx(mixed)
    named = nx.DiGraph()
    named.add_node("a", id=3)
    with pytest.raises(SchemaError, match="cannot be named 'id'"):
        Connectome.from_networkx(named)
