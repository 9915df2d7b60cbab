"""The graph's own questions on a small connectome whose answers can be read off the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SchemaError, UnknownNameError

NEURONS = pa.table(
    {
        "id": ["AVAL", "AVAR", "PVCL", "M1"],
        "cell_class": ["AVA", "AVA", "PVC", None],
        "x_um": [1.0, -1.0, None, 0.5],
        "birth": [2**60 + 1, None, 3, 4],
    }
)
# (pre, post, count, kind, sign)
EDGES = [(2, 0, 5, 0, -1), (0, 1, 2, 1, 0), (1, 0, 2, 1, 0), (0, 1, 7, 0, 1), (0, 2, 1, 0, 1), (0, 0, 3, 0, 1)]


def graph(**changes: Any) -> Connectome:
    pre, post, count, kind, sign = (np.array(column) for column in zip(*EDGES, strict=True))
    columns = {"pre": pre, "post": post, "count": count, "kind": kind, "sign": sign}
    extra = pa.table({"note": list("abcdef"), "size": [1, None, None, 2, 3, 4]})
    return Connectome.from_edges(NEURONS, **{**columns, "edge_columns": extra, **changes})


def test_edges_are_sorted_by_pre_post_and_kind() -> None:
    c = graph()
    assert c.indptr.tolist() == [0, 4, 5, 6, 6]
    assert c.post.tolist() == [0, 1, 1, 2, 0, 0]
    assert c.kind.tolist() == [0, 0, 1, 0, 1, 0]
    assert c.count.tolist() == [3, 7, 2, 1, 2, 5]
    assert c.edge_columns.column("note").to_pylist() == ["f", "d", "b", "e", "c", "a"]
    assert c.pre.tolist() == [0, 0, 0, 0, 1, 2]
    assert [a.dtype for a in (c.indptr, c.post, c.count, c.kind, c.sign, c.pre)] == [
        np.dtype(name) for name in ("int64", "int32", "int32", "int8", "int8", "int32")
    ]


def test_arrays_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        graph().count[0] = 1


def test_sizes_names_and_membership() -> None:
    c = graph()
    assert (len(c), c.n_neurons, c.n_edges, c.number_of_nodes(), c.number_of_edges()) == (4, 4, 6, 4, 6)
    assert list(c) == ["AVAL", "AVAR", "PVCL", "M1"] == list(c.ids) == c.nodes()
    assert "M1" in c
    assert "M2" not in c
    assert 0 not in c
    assert repr(c) == "Connectome(4 neurons, 6 edges: 4 chemical, 2 electrical)"


def test_indices_are_found_in_the_order_asked() -> None:
    c = graph()
    assert c.index_of(["M1", "AVAL"]).tolist() == [3, 0]
    assert c.index_of("AVAR").tolist() == [1]
    assert c.index_of("AVAR").dtype == np.int64
    with pytest.raises(
        UnknownNameError, match=r"No neuron named 'AVBL'.*Did you mean 'AVAL'.*Missing: 'AVBL', 'X' \(2 in all"
    ):
        c.index_of(["AVAL", "AVBL", "X"])
    with pytest.raises(UnknownNameError, match="The ids are string"):
        c.index_of([0])


def test_integer_ids_are_found_exactly() -> None:
    ids = [2**60, 2**60 + 1]
    c = Connectome.from_edges(pa.table({"id": ids}), pre=[0], post=[1], count=[1])
    assert c.index_of(2**60 + 1).tolist() == [1]
    assert c.index_of(np.array(ids)).tolist() == [0, 1]
    assert list(c.edges()) == [(2**60, 2**60 + 1)]
    for strange in ("1152921504606846976", True, 2**60 + 2):
        with pytest.raises(UnknownNameError):
            c.index_of([strange])


def test_columns_come_as_arrays_and_large_integers_stay_exact() -> None:
    c = graph()
    assert c.column("cell_class").tolist() == ["AVA", "AVA", "PVC", None]
    assert np.array_equal(c.column("x_um"), [1.0, -1.0, np.nan, 0.5], equal_nan=True)
    assert c.column("birth").tolist() == [2**60 + 1, None, 3, 4]
    with pytest.raises(UnknownNameError, match=r"'cell_clas'.*Did you mean 'cell_class'"):
        c.column("cell_clas")


def test_views_of_one_kind_are_simple_digraphs_on_the_same_neurons() -> None:
    c = graph()
    assert c.is_multigraph()
    assert not c.chemical.is_multigraph()
    assert c.chemical.ids == c.electrical.ids == c.ids
    assert sorted(c.chemical.edges(data="count")) == [
        ("AVAL", "AVAL", 3), ("AVAL", "AVAR", 7), ("AVAL", "PVCL", 1), ("PVCL", "AVAL", 5),
    ]  # fmt: skip
    assert list(c.electrical.edges(data="note")) == [("AVAL", "AVAR", "b"), ("AVAR", "AVAL", "c")]


def test_edges_with_data_leave_missing_attributes_out() -> None:
    edges = {(u, v, k): d for u, v, k, d in graph().edges(data=True, keys=True)}
    assert edges["AVAL", "AVAR", "electrical"] == {"count": 2, "sign": 0, "note": "b"}
    assert edges["AVAL", "AVAR", "chemical"] == {"count": 7, "sign": 1, "note": "d", "size": 2}
    with pytest.raises(UnknownNameError, match=r"'cuont'.*Did you mean 'count'"):
        graph().edges(data="cuont")


def test_nodes_with_data_leave_missing_attributes_out() -> None:
    nodes = dict(graph().nodes(data=True))
    assert nodes["M1"] == {"x_um": 0.5, "birth": 4}
    assert dict(graph().nodes(data="cell_class")) == {"AVAL": "AVA", "AVAR": "AVA", "PVCL": "PVC", "M1": None}


def test_selecting_gives_the_induced_subgraph() -> None:
    part = graph().select("cell_class == 'AVA'")
    assert part.ids == ("AVAL", "AVAR")
    assert sorted(part.edges(keys=True, data="count")) == [
        ("AVAL", "AVAL", "chemical", 3),
        ("AVAL", "AVAR", "chemical", 7),
        ("AVAL", "AVAR", "electrical", 2),
        ("AVAR", "AVAL", "electrical", 2),
    ]
    assert part.select("x_um < 0").ids == ("AVAR",)
    assert graph().select("x_um > 100").ids == ()
    assert graph().chemical.select("cell_class == 'AVA'").only_kind == "chemical"


def test_a_subgraph_keeps_the_graphs_own_order() -> None:
    part = graph().subgraph(["PVCL", "AVAL"])
    assert part.ids == ("AVAL", "PVCL")
    assert sorted(part.edges()) == [("AVAL", "AVAL"), ("AVAL", "PVCL"), ("PVCL", "AVAL")]
    with pytest.raises(UnknownNameError):
        graph().subgraph(["AVBL"])


def test_edges_are_selected_by_their_own_columns_and_those_of_their_ends() -> None:
    c = graph()
    assert c.select_edges("kind == 'electrical' and count == 2").tolist() == [2, 4]
    assert c.select_edges("pre.cell_class == post.cell_class").tolist() == [0, 1, 2, 4]
    assert c.select_edges("post.id == 'PVCL' or note == 'a'").tolist() == [3, 5]
    with pytest.raises(UnknownNameError, match=r"'pre\.cell_clas'.*Did you mean 'pre\.cell_class'"):
        c.select_edges("pre.cell_clas == 'AVA'")


def test_counts_and_signs_can_be_replaced() -> None:
    c = graph()
    changed = c.with_edges(count=c.count * 0.5, sign=-c.sign)
    assert changed.count.tolist() == [1.5, 3.5, 1.0, 0.5, 1.0, 2.5]
    assert changed.sign.tolist() == [-1, -1, 0, -1, 0, 1]
    assert c.count.tolist() == [3, 7, 2, 1, 2, 5]
    with pytest.raises(SchemaError, match=r"shape \(2,\); there are 6 edges"):
        c.with_edges(count=np.ones(2))
    with pytest.raises(SchemaError, match="-1, 0 and 1"):
        c.with_edges(sign=np.full(6, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"post": np.array([0, 1, 0, 1, 2, 9])}, r"post must lie between 0 and 3; found 9 \(edge 5\)"),
        ({"kind": np.array([0, 1, 1, 0, 0, 5])}, "kind must lie between 0 and 1"),
        ({"sign": np.array([0, 1, 1, 0, 0, 5])}, "sign must lie between -1 and 1"),
        ({"count": np.array([1, 2, 2, 7, 1])}, "same length"),
        ({"count": np.array([1, 2, 2, 7, 1, -3])}, r"not negative; found -3 \(edge 5\)"),
        ({"count": np.array([1, 2, 2, 7, 1, np.nan])}, "must be finite"),
        ({"kind": np.zeros(6)}, r"same pre, post and kind: AVAL -> AVAR"),
        ({"count": np.array([1, 2, 3, 7, 1, 3])}, r"both directions with equal counts.*AVAL -> AVAR, AVAR -> AVAL"),
        ({"kind": np.array([1, 1, 1, 0, 0, 0])}, r"both directions with equal counts.*PVCL -> AVAL"),
    ],
)
def test_arrays_that_are_no_connectome_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        graph(**changes)


def test_neurons_without_unique_ids_are_refused() -> None:
    for table, message in (
        (pa.table({"name": ["a"]}), "first column of neurons must be 'id'"),
        (pa.table({"id": ["a", None]}), "without missing"),
        (pa.table({"id": [1.0]}), "string or int64"),
        (pa.table({"id": ["a", "b", "a"]}), r"repeated: 'a' \(1 in all"),
    ):
        with pytest.raises(SchemaError, match=message):
            Connectome.from_edges(table, pre=[0], post=[0], count=[1])


def test_an_empty_graph_is_legal() -> None:
    c = Connectome.from_edges(pa.table({"id": pa.array([], pa.string())}), pre=[], post=[], count=np.zeros(0))
    assert (len(c), c.n_edges, c.nodes(), list(c.edges())) == (0, 0, [], [])
    assert len(c.to_networkx()) == 0
    assert c.chemical.n_edges == 0


def test_weighted_degrees_sum_a_column() -> None:
    c = graph()
    assert c.out_degree("AVAL", weight="count") == 13
    assert c.in_degree("AVAL", weight="size") == 5
    assert c.degree("AVAL") == 7
    with pytest.raises(SchemaError, match="'note': it holds string"):
        c.degree(weight="note")


def test_frames_keep_large_integers_exact() -> None:
    neurons, edges = graph().to_pandas()
    assert neurons["birth"].dropna().tolist() == [2**60 + 1, 3, 4]
    assert list(edges.columns) == ["pre", "post", "kind", "count", "sign", "note", "size"]
    assert edges["size"].dropna().tolist() == [4, 2, 3, 1]
    assert len(edges) == 6
