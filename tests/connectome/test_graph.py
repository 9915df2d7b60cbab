"""The graph's own questions on a small connectome whose answers can be read off the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SchemaError, SettingError, UnknownNameError

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
    assert list(c) == ["AVAL", "AVAR", "PVCL", "M1"] == list(c.ids) == list(c.nodes())
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


def scattered(n: int = 40, e: int = 300) -> tuple[Connectome, pd.DataFrame]:
    """A connectome with dictionary-encoded and missing values, beside its edges as pandas joins them."""
    rng = np.random.default_rng(3)
    key = np.unique(rng.integers(0, n * n, e))
    words = pa.array(["x", "y", None])

    def coded(length: int) -> pa.ChunkedArray:
        cut = length // 2  # two chunks whose dictionaries differ
        parts = [words.take(pa.array(rng.integers(0, 3, size))) for size in (cut, length - cut)]
        return pa.chunked_array([part.dictionary_encode() for part in parts])

    neurons = pa.table({"id": [f"n{k}" for k in range(n)], "type": coded(n), "x_um": rng.normal(size=n)})
    columns = pa.table({"source": coded(len(key)), "size": pa.array(rng.normal(size=len(key)))})
    count = rng.integers(0, 9, len(key))
    c = Connectome(
        neurons,
        np.searchsorted(key // n, np.arange(n + 1)),
        (key % n).astype(np.int32),
        count.astype(np.int32),
        np.zeros(len(key), np.int8),
        np.ones(len(key), np.int8),
        columns,
    )
    frame = pd.DataFrame({"count": count, "source": columns["source"].to_pylist(), "size": columns["size"].to_pylist()})
    for end, index in (("pre", key // n), ("post", key % n)):
        for name in neurons.column_names:
            frame[f"{end}_{name}"] = np.array(neurons[name].to_pylist(), dtype=object)[index]
    return c, frame


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("pre.type == 'x'", lambda f: f.pre_type == "x"),
        ("pre.type != 'x'", lambda f: f.pre_type != "x"),
        ("not post.type in ('x', 'y')", lambda f: f.post_type.isna()),
        ("pre.type == 'x' and post.x_um > 0.5", lambda f: (f.pre_type == "x") & (f.post_x_um > 0.5)),
        ("pre.type == 'x' or post.type == 'y'", lambda f: (f.pre_type == "x") | (f.post_type == "y")),
        ("pre.type == post.type", lambda f: f.pre_type.notna() & (f.pre_type == f.post_type)),
        ("pre.x_um < post.x_um and count > 3", lambda f: (f.pre_x_um < f.post_x_um) & (f["count"] > 3)),
        ("0 < pre.x_um < 1", lambda f: (f.pre_x_um > 0) & (f.pre_x_um < 1)),
        ("source == 'x'", lambda f: f.source == "x"),
        ("source is None and size > 0", lambda f: f.source.isna() & (f["size"] > 0)),
        ("source == pre.type", lambda f: f.source.notna() & (f.source == f.pre_type)),
        ("pre == 'n3' or post in ('n1', 'n2')", lambda f: (f.pre_id == "n3") | f.post_id.isin(["n1", "n2"])),
        ("post.id == 'n1' and not count == 0", lambda f: (f.post_id == "n1") & (f["count"] != 0)),
        ("kind == 'electrical'", lambda f: f["count"] < 0),
        ("kind == 'chemical' and sign == 1", lambda f: f["count"] >= 0),
        ("True and not (count > 3 and False)", lambda f: f["count"] >= 0),
    ],
)
def test_conditions_on_edges_select_what_pandas_selects(text: str, mask: Callable[[pd.DataFrame], pd.Series]) -> None:
    c, frame = scattered()
    assert c.select_edges(text).tolist() == np.flatnonzero(mask(frame)).tolist()


def test_dictionary_encoded_columns_in_several_parts_are_read_as_their_values() -> None:
    c, frame = scattered()
    types = c.neurons["type"].to_pylist()
    assert [c.nodes[u].get("type") for u in c] == types == [value for _, value in c.nodes(data="type")]
    sources = c.edge_columns["source"].to_pylist()
    assert [value for *_, value in c.edges(data="source")] == sources
    assert [c.edges[edge].get("source") for edge in c.edges] == sources
    order = np.lexsort((frame.index, c.post))
    assert [value for *_, value in c.in_edges(data="source")] == [sources[k] for k in order]
    nodes = ["n7", "n1"]
    expected = [s for u in nodes for s, pre in zip(sources, frame.pre_id, strict=True) if pre == u]
    assert [value for *_, value in c.edges(nodes, data="source")] == expected


def test_neurons_are_selected_by_dictionary_encoded_columns() -> None:
    c, _ = scattered()
    types = c.neurons["type"].to_pylist()
    assert c.select_neurons("type == 'x'").tolist() == [k for k, name in enumerate(types) if name == "x"]
    assert c.select_neurons("type is None").tolist() == [k for k, name in enumerate(types) if name is None]
    assert c.select("True") is c
    assert c.select("False").ids == ()


def test_errors_in_conditions_show_them_as_they_were_written() -> None:
    c, _ = scattered()
    with pytest.raises(
        SettingError, match=r"expression 'count  > 3 and pre\.type>4' is not valid: 'pre\.type' holds text"
    ):
        c.select_edges("count  > 3 and pre.type>4")
    with pytest.raises(UnknownNameError, match=r"'post\.tipe'.*Did you mean 'post\.type'"):
        c.select_edges("count > 3 and post.tipe == 'x'")
    with pytest.raises(UnknownNameError, match=r"'tipe'.*Did you mean 'type'"):
        c.select("tipe == 'x'")


@pytest.mark.parametrize("text", [False, True])
def test_many_ids_are_found_at_once(text: bool) -> None:
    ids = [f"n{k}" for k in range(500)] if text else [2**60 + k for k in range(500)]
    c = Connectome.from_edges(pa.table({"id": ids}), pre=[0], post=[1], count=[1])
    asked = np.random.default_rng(0).integers(0, 500, 3000)
    wanted = [ids[k] for k in asked]
    for form in (wanted, tuple(wanted), iter(wanted), np.array(wanted), pa.array(wanted), pd.Series(wanted)):
        found = c.index_of(form)
        assert found.dtype == np.int64
        assert found.tolist() == asked.tolist()
    stranger = "nobody" if text else 5
    with pytest.raises(UnknownNameError, match=rf"named '{stranger}'"):
        c.index_of([*wanted, stranger])
    for strange in (True, 1.5, None, 3 if text else "3"):
        with pytest.raises(UnknownNameError, match="give them as such"):
            c.index_of([*wanted, strange])
    if not text:
        with pytest.raises(UnknownNameError, match="The ids are int64"):
            c.index_of(np.array(wanted).astype(float))


def test_a_subgraph_of_any_size_is_what_a_loop_over_the_edges_keeps() -> None:
    c, _ = scattered()
    for some in ([], [5], list(range(0, 40, 3)), list(range(39)), list(range(40))):
        part = c.subgraph([f"n{k}" for k in some])
        kept = [(u, v, d) for u, v, d in c.edges(data=True) if {int(u[1:]), int(v[1:])} <= set(some)]
        assert list(part.edges(data=True)) == kept
        assert part.ids == tuple(f"n{k}" for k in some)
        assert part.column("x_um").tolist() == c.column("x_um")[some].tolist()
        assert part.indptr.dtype == np.int64
        assert part.post.dtype == part.pre.dtype == np.int32


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
        (
            {"edge_columns": pa.table({"size": range(6), "sign": range(6)})},
            r"named 'sign' \(1 in all\).*hide the other",
        ),
        (
            {"edge_columns": pa.table({name: range(6) for name in ("kind", "note", "count", "post", "pre")})},
            r"named 'kind', 'count', 'post', 'pre' \(4 in all\).*rename the columns",
        ),
        ({"edge_columns": pa.table([range(6), range(6)], ["note", "note"])}, r"unique; repeated: 'note'"),
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
    assert (len(c), c.n_edges, list(c.nodes()), list(c.edges())) == (0, 0, [], [])
    assert len(c.to_networkx()) == 0
    assert c.chemical.n_edges == 0


def test_weighted_degrees_sum_a_column() -> None:
    c = graph()
    assert c.out_degree("AVAL", weight="count") == 13
    assert c.in_degree("AVAL", weight="size") == 4 + 1 + 1  # the gap junction has no size and counts 1
    assert c.degree("AVAL") == 7
    with pytest.raises(SchemaError, match="'note': it holds string"):
        c.degree(weight="note")


def test_frames_keep_large_integers_exact() -> None:
    neurons, edges = graph().to_pandas()
    assert neurons["birth"].dropna().tolist() == [2**60 + 1, 3, 4]
    assert list(edges.columns) == ["pre", "post", "kind", "count", "sign", "note", "size"]
    assert edges["size"].dropna().tolist() == [4, 2, 3, 1]
    assert len(edges) == 6
