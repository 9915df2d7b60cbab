"""The views of a Connectome: what they refuse and how, what they cost, and that nothing changes through them."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import tracemalloc
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import ConnectofitError, Connectome, SchemaError, UnknownNameError
from connectofit.connectome import graph_errors as graph_errors_module
from connectofit.connectome.graph_errors import ImmutableGraphError
from connectofit.connectome.ordering import by_row, ranges
from connectofit.connectome.undirected import UndirectedConnectome
from connectofit.connectome.views import links

#  A -> B chemical and electrical, B -> A electrical, A -> A, C -> A; D is alone
EDGES = [("A", "B", 0, 7, 1), ("A", "B", 1, 2, 0), ("B", "A", 1, 2, 0), ("A", "A", 0, 3, 1), ("C", "A", 0, 5, -1)]
IDS = ["A", "B", "C", "D"]


def graph(**tables: Any) -> Connectome:
    pre, post, kind, count, sign = (list(column) for column in zip(*EDGES, strict=True))
    return Connectome.from_edges(
        tables.get("neurons", pa.table({"id": IDS, "cell_type": ["x", None, "y", None]})),
        pre=np.array([IDS.index(name) for name in pre]),
        post=np.array([IDS.index(name) for name in post]),
        kind=np.array(kind),
        count=np.array(count),
        sign=np.array(sign),
        edge_columns=pa.table({"size": [1.5, None, None, 2.0, None]}),
    )


@cache
def large(n: int = 20_000, e: int = 200_000) -> Connectome:
    rng = np.random.default_rng(0)
    key = np.unique(rng.integers(0, n * n, e))
    ids = pa.array(2**60 + 100_003 * np.arange(n))
    count = rng.integers(1, 9, len(key))
    return Connectome.from_edges(pa.table({"id": ids}), pre=key // n, post=key % n, count=count)


# ---- what is not there ----


@pytest.mark.parametrize(
    "question",
    [
        lambda g: g["AVAX"],
        lambda g: g.nodes["AVAX"],
        lambda g: g.adj["AVAX"],
        lambda g: g.pred["AVAX"],
        lambda g: g.degree["AVAX"],
        lambda g: g.in_degree("AVAX"),
        lambda g: g.edges("AVAX"),
        lambda g: g.edges["AVAX", "AVAL", "chemical"],
        lambda g: g.edge_subgraph([("AVAX", "AVAL", "chemical")]),
        lambda g: g.subgraph(["AVAX"]),
        lambda g: g.index_of("AVAX"),
        lambda g: list(g.successors("AVAX")),
        lambda g: list(g.predecessors("AVAX")),
        lambda g: list(g.neighbors("AVAX")),
        lambda g: list(g.nbunch_iter("AVAX")),
    ],
)
def test_a_missing_neuron_is_an_error_of_every_sort_that_names_the_nearest(question: Callable[[Any], Any]) -> None:
    g = Connectome.from_edges(pa.table({"id": ["AVAL", "PVCR"]}), pre=[0], post=[1], count=[1])
    for kind in (UnknownNameError, KeyError, nx.NetworkXError, nx.NodeNotFound, ConnectofitError):
        with pytest.raises(kind, match=r"AVAX.*(Did you mean 'AVAL'|->)"):
            question(g)


def test_a_missing_edge_is_a_key_error_that_names_both_ends() -> None:
    g = graph()
    for question in (lambda: g["A"]["D"], lambda: g.edges["A", "D", "chemical"], lambda: g.pred["D"]["A"]):
        with pytest.raises(KeyError, match=r"edge '.' -> '.'"):
            question()
    with pytest.raises(UnknownNameError, match="no electrical edge 'C' -> 'A'"):
        g.edges["C", "A", "electrical"]
    assert g["A"].get("D") is None


def test_an_error_searches_for_the_nearest_name_only_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(graph_errors_module, "unknown_name", never)
    assert graph().adj.get("nobody") is None
    with pytest.raises(KeyError) as caught:
        graph()["nobody"]
    with pytest.raises(AssertionError):
        str(caught.value)


def test_of_many_names_the_nearest_is_found_among_those_that_begin_or_end_alike() -> None:
    exact = large().ids[137]
    rounded = int(float(exact))
    assert rounded != exact
    with pytest.raises(UnknownNameError, match=f"named '{rounded}'.*Did you mean '{exact}'"):
        large().subgraph([exact, rounded])
    many = Connectome.from_edges(pa.table({"id": [f"neuron {k}" for k in range(6000)]}), pre=[0], post=[0], count=[1])
    with pytest.raises(UnknownNameError, match="Did you mean 'neuron 5999'"):
        many.index_of("Neuron 5999")


def test_errors_travel_between_processes_as_their_text() -> None:
    with pytest.raises(KeyError) as caught:
        graph()["AA"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    assert "Did you mean 'A'" in str(again)


def test_what_python_holds_equal_to_an_id_is_none() -> None:
    g = Connectome.from_edges(pa.table({"id": [0, 1]}), pre=[0], post=[1], count=[1])
    assert [item in g for item in (0, 1, np.int64(1), np.uint8(1))] == [True] * 4
    assert [item in g for item in (True, 1.0, "1", None, [1], np.float64(1))] == [False] * 6
    assert not g.has_edge(0, True)


def test_misspelt_columns_name_the_nearest_unless_a_default_is_given() -> None:
    g = graph()
    for question in (
        lambda: g.nodes(data="cell_tipe"),
        lambda: g.edges(data="siez"),
        lambda: g.in_edges.data("siez"),
        lambda: g.degree(weight="siez"),
        lambda: g.in_degree("A", weight="siez"),
        lambda: g.size("siez"),
        lambda: g.to_undirected().edges(data="siez"),
    ):
        with pytest.raises(UnknownNameError, match=r"Did you mean '(cell_type|size)'"):
            question()
    assert list(g.nodes(data="cell_tipe", default=0)) == [(name, 0) for name in IDS]
    assert set(g.edges(data="siez", default=None)) == {(u, v, None) for u, v, *_ in EDGES}


def test_the_weight_that_networkx_asks_for_by_itself_counts_edges() -> None:
    g = graph()
    assert dict(g.degree(weight="weight")) == dict(g.degree()) == {"A": 6, "B": 3, "C": 1, "D": 0}
    assert set(g.edges(data="weight")) == {(u, v, None) for u, v, *_ in EDGES}


def test_a_text_that_is_no_neuron_is_not_read_as_letters() -> None:
    with pytest.raises(nx.NetworkXError, match="No neuron named 'AB'"):
        graph().degree("AB")
    assert dict(graph().degree(["A", "AB", "C"])) == {"A": 6, "C": 1}
    with pytest.raises(nx.NetworkXError, match="not a valid node"):
        graph().degree([["A"]])


@pytest.mark.parametrize("name", ["nodes", "edges", "in_edges"])
def test_views_cannot_be_sliced(name: str) -> None:
    with pytest.raises(nx.NetworkXError, match=r"sliced; take list\(g\.(nodes|edges)\)\[0:2:None\]"):
        getattr(graph(), name)[0:2]


# ---- nothing changes ----


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("add_node", ("E",)),
        ("add_nodes_from", (["E"],)),
        ("add_edge", ("A", "C")),
        ("add_edges_from", ([("A", "C")],)),
        ("add_weighted_edges_from", ([("A", "C", 1)],)),
        ("remove_node", ("A",)),
        ("remove_nodes_from", (["A"],)),
        ("remove_edge", ("A", "B")),
        ("remove_edges_from", ([("A", "B")],)),
        ("update", ()),
        ("clear", ()),
        ("clear_edges", ()),
    ],
)
def test_a_connectome_cannot_be_changed(name: str, arguments: tuple[Any, ...]) -> None:
    for g in (graph(), graph().chemical, graph().to_undirected()):
        for kind in (ImmutableGraphError, nx.NetworkXError, TypeError, ConnectofitError):
            with pytest.raises(kind, match=r"immutable.*to_networkx\(\)"):
                getattr(g, name)(*arguments)


def test_attributes_cannot_be_changed_but_their_copies_can() -> None:
    g = graph()
    records = [g.nodes["A"], g.edges["A", "B", "chemical"], g["A"]["B"], g["A"]["B"]["chemical"], g.graph]
    for record in [*records, next(iter(g.nodes(data=True)))[1], next(iter(g.edges(data=True)))[2]]:
        for change in (
            lambda r: r.__setitem__("new", 1),
            lambda r: r.update(new=1),
            lambda r: r.setdefault("new", 1),
            lambda r: r.pop("new", None),
            lambda r: r.__delitem__("new"),
            lambda r: r.__ior__({}),
            lambda r: r.popitem(),
            lambda r: r.clear(),
        ):
            with pytest.raises(ImmutableGraphError, match="immutable"):
                change(record)
        for other in (record.copy(), copy.deepcopy(record), copy.copy(record), pickle.loads(pickle.dumps(record))):
            assert type(other) is dict
            assert other == record
        assert json.loads(json.dumps(record)) == record
    with pytest.raises(TypeError):
        g["A"]["B"] = 1  # type: ignore[index]
    assert nx.is_frozen(g)


def test_a_copy_of_the_adjacency_is_made_of_dictionaries_that_can_be_changed() -> None:
    copied = graph().adj.copy()
    copied["A"]["B"]["chemical"]["count"] = 0
    assert type(copied["A"]["B"]["chemical"]) is dict
    assert graph()["A"]["B"]["chemical"] == {"count": 7, "sign": 1, "size": 1.5}


# ---- shapes of answers ----


def test_views_are_attributes_and_can_be_called() -> None:
    g = graph()
    assert list(g.nodes) == list(g.nodes()) == IDS
    assert g.nodes["A"] == g.nodes(data=True)["A"] == {"cell_type": "x"}
    assert list(g.edges)[:2] == [("A", "A", "chemical"), ("A", "B", "chemical")]
    assert list(g.edges())[:2] == list(g.chemical.edges)[:2] == [("A", "A"), ("A", "B")]
    assert g.chemical.edges["A", "B"] == g.edges["A", "B", "chemical"] == {"count": 7, "sign": 1, "size": 1.5}
    assert list(g.in_edges("B", keys=True, data="count")) == [("A", "B", "chemical", 7), ("A", "B", "electrical", 2)]
    assert (g.degree["A"], g.degree("A"), g.in_degree("A", weight="count")) == (6, 6, 10)
    assert g.degree("A", weight="size") == 1.5 + 2.0 + 1 + 1 + 1 + 2.0
    assert g.degree.to_numpy().tolist() == [6, 3, 1, 0]
    assert g.out_degree(weight="size").to_numpy().tolist() == [4.5, 1.0, 1.0, 0.0]


def test_views_say_what_they_are_without_listing_everything() -> None:
    g = large()
    for view in (
        g.nodes,
        g.nodes(data=True),
        g.edges,
        g.edges(data="count"),
        g.adj,
        g.degree,
        g.to_undirected(),
        g.to_undirected().edges,
    ):
        assert len(repr(view)) < 80
        assert str(len(view)) in repr(view)
    assert repr(graph()["C"]) == "NeighbourView({'A': {'chemical': {'count': 5, 'sign': -1}}})"


def test_opposite_directions_are_one_undirected_edge_with_the_attributes_of_the_later() -> None:
    pre, post, count, sign = np.array([0, 1, 1, 2]), np.array([1, 0, 2, 2]), np.array([4, 9, 1, 3]), np.ones(4, int)
    note = pa.table({"note": ["forth", None, None, "loop"]})
    g = Connectome.from_edges(
        pa.table({"id": ["a", "b", "c"]}), pre=pre, post=post, count=count, sign=sign, edge_columns=note
    ).to_undirected()
    assert isinstance(g, UndirectedConnectome)
    assert (g.is_directed(), g.is_multigraph(), len(g.edges), repr(g)) == (
        False, True, 3, "UndirectedConnectome(3 neurons, 3 edges)",
    )  # fmt: skip
    assert g["a"]["b"] == g["b"]["a"] == {"chemical": {"count": 9, "sign": 1, "note": "forth"}}
    assert dict(g.degree) == {"a": 1, "b": 2, "c": 3}
    assert dict(g.degree(weight="count")) == {"a": 9, "b": 10, "c": 7}
    assert g.to_undirected() is g.copy() is g
    assert list(g.directed.to_undirected(reciprocal=True).edges(data="count")) == [("a", "b", 9), ("c", "c", 3)]
    assert list(g.subgraph(["b", "c"]).edges()) == [("b", "c"), ("c", "c")]
    assert list(g.edge_subgraph([("c", "b", "chemical")]).nodes) == ["b", "c"]
    with pytest.raises(UnknownNameError, match="no chemical edge 'a' -> 'c'"):
        g.edge_subgraph([("a", "c", "chemical")])


def test_a_gap_junction_is_not_cut_in_half() -> None:
    with pytest.raises(SchemaError, match=r"stand in one: A -> B \(1 in all\)\. Name both directions"):
        graph().edge_subgraph([("A", "B", "electrical")])
    both = graph().edge_subgraph([("A", "B", "electrical"), ("B", "A", "electrical")])
    assert list(both.edges) == [("A", "B", "electrical"), ("B", "A", "electrical")]
    assert graph().edge_subgraph([("A", "B"), ("B", "A")]).n_edges == 3


def test_reversing_turns_every_edge_and_its_attributes() -> None:
    back = graph().reverse()
    turned = {(v, u, d["count"], d["sign"]) for u, v, d in back.edges(data=True)}
    assert turned == {(u, v, count, sign) for u, v, _, count, sign in EDGES}
    assert Connectome.from_networkx(back.to_networkx()).digest() == back.digest()


# ---- costs ----


def test_iterating_in_blocks_gives_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[Callable[[Any], list[Any]]] = [
        lambda g: list(g.edges(keys=True, data=True)),
        lambda g: list(g.edges(["C", "A", "D", "B"], data="size")),
        lambda g: list(g.to_undirected().edges(keys=True)),
    ]
    whole = [question(graph()) for question in questions]
    for size in (1, 2, 3):
        monkeypatch.setattr(links, "_BLOCK", size)
        assert [question(graph()) for question in questions] == whole


def test_looking_at_a_few_edges_makes_no_record_of_the_others() -> None:
    g = large()
    g.ids, g._index, g._by_post, g.pre  # noqa: B018
    tracemalloc.start()
    try:
        for u in g.ids[:20]:
            for v in g[u]:
                assert g.has_edge(u, v)
                assert g.edges[u, v, "chemical"] == g.pred[v][u]["chemical"]
            assert g.degree(u) == len(list(nx.all_neighbors(g, u)))
        next(iter(g.edges(data=True)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * links._BLOCK * 8  # one block of records, where all of them are three


def test_views_do_not_keep_a_graph_alive_by_circles() -> None:
    gc.disable()
    try:
        g = graph()
        list(g.nodes(data=True)), list(g.edges(data=True)), dict(g.adj["A"]), dict(g.degree), g.chemical, g.graph
        g.to_undirected().degree("A")
        gone = weakref.ref(g)
        del g
        assert gone() is None
    finally:
        gc.enable()


def test_a_connectome_of_one_kind_shares_its_arrays_with_its_view() -> None:
    g = large()
    g.pre  # noqa: B018
    view = g.chemical
    assert view.only_kind == "chemical"
    for name in ("indptr", "post", "count", "kind", "sign", "pre"):
        assert getattr(view, name) is getattr(g, name)
    assert view.edge_columns is g.edge_columns
    assert (view.electrical.n_edges, g.electrical.n_edges) == (0, 0)


def test_memory_stays_below_forty_bytes_an_edge_with_all_indices_made() -> None:
    g = large()
    arrays = [g.indptr, g.post, g.count, g.kind, g.sign, g.pre, *g._by_post]
    assert sum(array.nbytes for array in arrays) < 24 * g.n_edges


def test_the_views_and_networkx_functions_share_one_index_by_target() -> None:
    g = large(50, 300)
    order, starts = g._by_post
    assert nx.ancestors(g, g.ids[0]) == nx.ancestors(g.to_networkx(), g.ids[0])
    assert g._rows.transpose.indptr is starts
    assert g._rows.by_neighbour[0] is order
    other = g.with_edges(count=g.count + 1)
    assert other._by_post[0] is g.chemical._by_post[0] is order
    assert g.reverse().post is g._rows.transpose.indices


def test_rows_are_sorted_stably() -> None:
    rows = np.random.default_rng(1).integers(0, 50, 3000).astype(np.int32)
    order, indptr = by_row(rows, 60)
    assert order.tolist() == np.argsort(rows, kind="stable").tolist()
    assert indptr.tolist() == np.searchsorted(np.sort(rows), np.arange(61)).tolist()
    assert order.dtype == np.int32
    positions, offsets = ranges(np.array([5, 2, 9]), np.array([7, 2, 12]))
    assert (positions.tolist(), offsets.tolist()) == ([5, 6, 9, 10, 11], [0, 2, 2, 5])
