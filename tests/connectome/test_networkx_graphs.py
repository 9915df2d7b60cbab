"""Connectomes turn into NetworkX graphs and back without loss; what cannot be represented is refused."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import networkx as nx
import numpy as np
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


NESTED = {
    "coded": pa.array(["b", None, "a"]).dictionary_encode(),
    "list": pa.array([[1.5, None], [], None], pa.list_(pa.float32())),
    "struct": pa.array([{"x": 1, "y": "a"}, {"x": None, "y": None}, None]),
    "time": pa.array([1, None, 2], pa.timestamp("ms", tz="UTC")),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(7, 2)),
    "binary": pa.array([b"a", None, b""], pa.binary()),
    "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
    "truth": pa.array([True, None, False]),
    "small": pa.array([1, None, -3], pa.int8()),
    "float": pa.array([1.5, None, float("nan")], pa.float32()),
    "large": pa.array(["a", None, ""], pa.large_string()),
    "empty": pa.nulls(3, pa.list_(pa.string())),
}


@pytest.mark.parametrize("name", NESTED)
def test_columns_of_every_arrow_type_come_back_as_they_were(name: str) -> None:
    column = NESTED[name]
    neurons = pa.table({"id": ["a", "b", "c"], name: column})
    edges = pa.table({name: column})
    c = Connectome.from_edges(neurons, pre=[0, 1, 2], post=[1, 2, 0], count=[2, 3, 4], edge_columns=edges)
    for part in (c, c.chemical, c.subgraph([])):
        back = Connectome.from_networkx(part.to_networkx())
        assert back.neurons.schema.types == part.neurons.schema.types
        assert back.edge_columns.schema.types == part.edge_columns.schema.types
        assert back.digest() == part.digest()


def test_a_graph_that_was_changed_may_change_the_types_of_its_columns() -> None:
    neurons = pa.table({"id": ["a", "b"], "size": pa.array([1, 2], pa.int8())})
    graph = Connectome.from_edges(neurons, pre=[0], post=[1], count=[2]).to_networkx()
    graph.nodes["a"]["size"] = 1.5
    graph.edges["a", "b", "chemical"]["count"] = 0.5
    graph.nodes["b"]["new"] = "x"
    back = Connectome.from_networkx(graph)
    assert back.nodes["a"] == {"size": 1.5}
    assert back.nodes["b"] == {"size": 2.0, "new": "x"}
    assert back.count.tolist() == [0.5]


def test_counts_of_a_graph_are_integers_where_all_are() -> None:
    plain = nx.DiGraph([("a", "b")])
    assert Connectome.from_networkx(plain).count.dtype == np.int32
    whole = Connectome.from_edges(pa.table({"id": ["a", "b"]}), pre=[0], post=[1], count=np.array([2.0]))
    assert Connectome.from_networkx(whole.to_networkx()).count.dtype == np.float64


def test_tuples_and_arrays_come_back_as_lists() -> None:
    graph = nx.DiGraph()
    graph.add_node("a", pos=(1.5, 2.0), trace=np.array([1, 2]), mass=np.float32(0.5))
    assert Connectome.from_networkx(graph).nodes["a"] == {"pos": [1.5, 2.0], "trace": [1, 2], "mass": 0.5}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([{1, 2}], r"types \['set'\].*Arrow would change \{1, 2\}"),
        ([{"x": 1}, {"y": 2}], r"types \['dict'\].*Arrow would change \{'x': 1\}"),
        ([2**60 + 1, 0.5], r"types \['float', 'int'\]"),
        ([1, True], r"types \['bool', 'int'\]"),
        ([1 + 2j], r"types \['complex'\]"),
        ([2**70], r"types \['int'\]"),
    ],
)
def test_values_that_would_not_come_back_are_refused(values: list[object], reason: str) -> None:
    nodes, edges = nx.DiGraph(), nx.DiGraph()
    for k, value in enumerate(values):
        nodes.add_node(k, thing=value)
        edges.add_edge(k, k, thing=value)
    for graph, what in ((nodes, "node"), (edges, "edge")):
        with pytest.raises(SchemaError, match=f"The {what} attribute 'thing' holds values of the {reason}"):
            Connectome.from_networkx(graph)


@pytest.mark.parametrize("attribute", [{"table": {1: "a"}}, {"when": {1, 2}}, {1: "a"}])
def test_attributes_of_the_graph_that_json_would_change_are_refused(attribute: dict[object, object]) -> None:
    graph = nx.DiGraph([("a", "b")])
    graph.graph.update(attribute)
    with pytest.raises(SchemaError, match="The graph's own attributes"):
        Connectome.from_networkx(graph)


def test_names_that_tables_use_for_ends_and_counts_that_floats_would_change_are_refused() -> None:
    for name in ("pre", "post"):
        with pytest.raises(SchemaError, match=f"edges cannot be named '{name}': that is an end of the edge"):
            Connectome.from_networkx(multi(("a", "b", "chemical"), **{name: 1}))
    with pytest.raises(SchemaError, match=r"'count' holds integers above 2\^53"):
        Connectome.from_networkx(multi(("a", "b", "chemical"), count=2**53 + 1))


def test_attributes_of_the_graph_stay_with_its_parts() -> None:
    graph = multi(("a", "b", "chemical"), ("b", "a", "chemical"))
    graph.graph.update(name="drawing", scale=[1.5, None])
    c = Connectome.from_networkx(graph)
    for part in (c, c.chemical, c.subgraph(["a"]), c.reverse(), c.to_undirected()):
        assert (part.name, part.graph["scale"]) == ("drawing", [1.5, None])


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
