"""Connections, partners, descendants, surroundings and influence, on graphs read off the page and on random ones."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SettingError, UnknownNameError

IDS = ["a1", "a2", "b1", "b2", "c1", "x 1"]
TYPES = ["A", "A", "B", "B", "C", None]
# (pre, post, count, kind, sign)
EDGES = [
    ("a1", "b1", 4, 0, 1),
    ("a1", "b2", 1, 0, 1),
    ("a2", "b1", 6, 0, 1),
    ("a2", "a1", 2, 0, 1),
    ("b1", "c1", 3, 0, -1),
    ("b2", "c1", 1, 0, -1),
    ("c1", "a1", 8, 0, 0),
    ("x 1", "b1", 5, 0, 1),
    ("b1", "b1", 5, 0, -1),
    ("a1", "b1", 7, 1, 0),
    ("b1", "a1", 7, 1, 0),
]


def small() -> Connectome:
    place = {name: i for i, name in enumerate(IDS)}
    pre, post, count, kind, sign = zip(*EDGES, strict=True)
    return Connectome.from_edges(
        pa.table(
            {"id": IDS, "cell_type": TYPES, "rank": [1, 2, 3, 4, 5, 6], "big": [True, False, True, False, True, None]}
        ),
        pre=[place[name] for name in pre],
        post=[place[name] for name in post],
        count=count,
        kind=kind,
        sign=sign,
    )


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def edges_of(connectome: Connectome) -> pd.DataFrame:
    """Edges with the types of their ends, from the Arrow table."""
    return connectome.edge_table(["pre.cell_type", "post.cell_type"]).to_pandas()


# ---- which neurons are meant ----


@pytest.mark.parametrize(
    ("group", "found"),
    [
        ("a1", ["a1"]),
        ("x 1", ["x 1"]),  # an id with a blank is still an id
        (["b2", "a1", "b2"], ["a1", "b2"]),
        ("cell_type == 'B'", ["b1", "b2"]),
        ("rank > 4 or cell_type == 'B'", ["b1", "b2", "c1", "x 1"]),
        ("not cell_type == 'A'", ["b1", "b2", "c1", "x 1"]),
        ("big", ["a1", "b1", "c1"]),
        (np.array(["c1"]), ["c1"]),
        (pd.Series(["c1", "a2"]), ["a2", "c1"]),
        ("cell_type == 'Z'", []),
        ([], []),
    ],
)
def test_neurons_are_named_by_id_by_ids_or_by_an_expression(group: Any, found: list[str]) -> None:
    assert small().ego(group, hops=0).neurons["id"].to_pylist() == found


def test_an_id_goes_before_an_expression_of_the_same_text() -> None:
    c = Connectome.from_edges(pa.table({"id": ["big", "b"], "big": [False, True]}), pre=[0], post=[1], count=[1])
    assert c.descendants("big")["id"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ("a3", UnknownNameError, "No neuron named 'a3' in the connectome. Known: 'a1', 'a2'"),
        (["a1", "zz"], UnknownNameError, "No neuron named 'zz'"),
        ("cell_typ == 'A'", UnknownNameError, "Did you mean 'cell_type'"),
        ("cell_type = 'A'", SettingError, "Compare with '=='"),
        ("rank", SettingError, "compare it with something"),
        (7, UnknownNameError, "7"),
    ],
)
def test_neurons_that_are_not_there_are_named(group: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small().partners(group, "upstream")


def test_ids_that_are_integers_leave_text_to_expressions() -> None:
    c = Connectome.from_edges(pa.table({"id": [2**60, 2**60 + 1], "w": [1, 2]}), pre=[0], post=[1], count=[1])
    assert c.descendants("w == 1")["id"].tolist() == [2**60 + 1]
    assert c.descendants(np.int64(2**60))["id"].tolist() == [2**60 + 1]
    with pytest.raises(SettingError, match=r"cannot be parsed|not a condition"):
        c.descendants("1152921504606846976")


# ---- connections ----


def test_connections_lead_from_the_first_group_to_the_second() -> None:
    found = small().connections_between("cell_type == 'A'", "cell_type == 'B'")
    assert rows(found, "pre", "post", "kind", "count", "sign") == [
        ("a1", "b1", "chemical", 4, 1),
        ("a1", "b1", "electrical", 7, 0),
        ("a1", "b2", "chemical", 1, 1),
        ("a2", "b1", "chemical", 6, 1),
    ]


def test_connections_in_both_directions_stand_once_each() -> None:
    c = small()
    found = c.connections_between(["a1", "b1"], ["b1", "c1"], both_directions=True, kind="chemical")
    assert rows(found, "pre", "post") == [("a1", "b1"), ("b1", "b1"), ("b1", "c1"), ("c1", "a1")]
    assert rows(c.connections_between("a1", "c1", both_directions=True), "pre", "post") == [("c1", "a1")]


def test_connections_keep_their_columns_and_obey_threshold_and_kind() -> None:
    c = small()
    with_columns = Connectome.from_edges(
        c.neurons, pre=c.pre, post=c.post, count=c.count, kind=c.kind, sign=c.sign,
        edge_columns=pa.table({"size": [None, *range(1, 11)]}),
    )  # fmt: skip
    found = with_columns.connections_between("a1", ["b1", "b2"], min_count=4)
    assert rows(found, "count", "kind") == [(4, "chemical"), (7, "electrical")]
    assert found["size"].isna().tolist() == [True, False]
    assert found["size"].iloc[1] == 1
    assert len(c.connections_between("a1", "b2", min_count=2)) == 0
    assert rows(c.connections_between("a1", "b1", kind="electrical"), "count") == [(7,)]


def test_connections_agree_with_a_filter_in_pandas(random_connectome: Any) -> None:
    for seed in range(4):
        c = random_connectome(seed)
        table = edges_of(c)
        one, two = table["pre.cell_type"] == "A", table["post.cell_type"].isin(["B", "A"])
        back = table["post.cell_type"].eq("A") & table["pre.cell_type"].isin(["B", "A"])
        for both in (False, True):
            expected = table[((one & two) | (back if both else False)) & (table["count"] >= 4)]
            found = c.connections_between(
                "cell_type == 'A'", "cell_type in ('A', 'B')", both_directions=both, min_count=4
            )
            columns = ("pre", "post", "kind", "count", "sign")
            assert rows(found, *columns) == rows(expected, *columns)


# ---- partners ----


def test_upstream_partners_with_their_fractions() -> None:
    found = small().partners("b1", "upstream", kind="chemical")
    assert rows(found, "id", "count", "signed_count", "n_edges") == [
        ("a2", 6, 6, 1), ("b1", 5, -5, 1), ("x 1", 5, 5, 1), ("a1", 4, 4, 1),
    ]  # fmt: skip
    assert np.allclose(found["input_fraction"], [6 / 20, 5 / 20, 5 / 20, 4 / 20])
    assert np.allclose(found["output_fraction"], [6 / 8, 5 / 8, 1, 4 / 5])


def test_downstream_partners_of_a_group_are_summed() -> None:
    found = small().partners("cell_type == 'A'", "downstream", kind="chemical", columns=["cell_type"])
    assert rows(found, "id", "cell_type", "count", "n_edges") == [
        ("b1", "B", 10, 2),
        ("a1", "A", 2, 1),
        ("b2", "B", 1, 1),
    ]
    assert np.allclose(found["output_fraction"], [10 / 13, 2 / 13, 1 / 13])
    assert np.allclose(found["input_fraction"], [10 / 20, 2 / 10, 1])


def test_one_column_may_be_named_without_a_list() -> None:
    assert small().partners("c1", "downstream", columns="cell_type")["cell_type"].tolist() == ["A"]


def test_a_threshold_leaves_out_edges_and_keeps_the_wholes() -> None:
    found = small().partners("b1", "upstream", kind="chemical", min_count=5)
    assert rows(found, "id", "count") == [("a2", 6), ("b1", 5), ("x 1", 5)]
    assert np.allclose(found["input_fraction"], [6 / 20, 5 / 20, 5 / 20])


def test_both_kinds_are_added_where_none_is_chosen() -> None:
    found = small().partners("b1", "upstream").set_index("id")
    assert found.loc["a1", ["count", "n_edges", "signed_count"]].tolist() == [11, 2, 4]
    assert found.loc["a1", "input_fraction"] == 11 / 27
    assert found.loc["a1", "output_fraction"] == 11 / 12


def test_partners_by_type_put_those_without_one_together() -> None:
    found = small().partners("cell_type == 'B'", "upstream", by="cell_type", kind="chemical")
    assert rows(found.fillna({"cell_type": "-"}), "cell_type", "n_neurons", "count", "n_edges") == [
        ("A", 2, 11, 3), ("B", 1, 5, 1), ("-", 1, 5, 1),
    ]  # fmt: skip
    assert np.allclose(found["input_fraction"], [11 / 21, 5 / 21, 5 / 21])
    assert np.allclose(found["output_fraction"], [11 / 13, 5 / 9, 1])


def test_the_whole_of_a_type_counts_its_neurons_that_are_no_partners() -> None:
    found = small().partners("b2", "upstream", by="cell_type", kind="chemical")
    assert rows(found, "cell_type", "n_neurons", "count") == [("A", 1, 1)]
    assert found["output_fraction"].item() == 1 / 13


def test_top_keeps_the_largest() -> None:
    assert small().partners("b1", "upstream", kind="chemical", top=2)["id"].tolist() == ["a2", "b1"]
    assert len(small().partners("b1", "upstream", top=0)) == 0


def test_a_neuron_without_partners_has_none() -> None:
    found = small().partners("x 1", "upstream")
    assert len(found) == 0
    assert list(found.columns) == ["id", "count", "signed_count", "n_edges", "input_fraction", "output_fraction"]
    assert len(small().partners("x 1", "upstream", by="cell_type")) == 0


@pytest.mark.parametrize("whole", [True, False])
def test_partners_agree_with_a_groupby_in_pandas(random_connectome: Any, whole: bool) -> None:
    for seed in range(4):
        c = random_connectome(seed, whole=whole)
        table = edges_of(c).assign(signed=lambda t: t["count"] * t["sign"])
        for direction, near, far in (("upstream", "post", "pre"), ("downstream", "pre", "post")):
            for kind in (None, "chemical", "electrical"):
                of_kind = table if kind is None else table[table["kind"] == kind]
                chosen = of_kind[of_kind[f"{near}.cell_type"] == "A"]
                grouped = chosen.groupby(far).agg(
                    count=("count", "sum"), signed_count=("signed", "sum"), n_edges=("count", "size")
                )
                whole_far = of_kind.groupby(far)["count"].sum()
                found = c.partners("cell_type == 'A'", direction, kind=kind).set_index("id")
                assert set(found.index) == set(grouped.index)
                grouped = grouped.loc[found.index]
                pd.testing.assert_frame_equal(found[grouped.columns], grouped, check_names=False, check_dtype=False)
                assert (found["count"].diff().dropna() <= 0).all()
                names = ("input_fraction", "output_fraction")
                of_group, of_partner = names if direction == "upstream" else names[::-1]
                assert np.allclose(found[of_group], grouped["count"] / chosen["count"].sum())
                assert np.allclose(found[of_partner], grouped["count"] / whole_far.loc[found.index])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "up"}, "No direction named 'up'"),
        ({"direction": "upstream", "min_count": -1}, "min_count must be a number of at least 0"),
        ({"direction": "upstream", "min_count": float("nan")}, "min_count must be"),
        ({"direction": "upstream", "top": -1}, "top must be"),
        ({"direction": "upstream", "kind": "chemcal"}, "Did you mean 'chemical'"),
        ({"direction": "upstream", "by": "cell_typ"}, "Did you mean 'cell_type'"),
        ({"direction": "upstream", "columns": ["rnk"]}, "Did you mean 'rank'"),
        ({"direction": "upstream", "by": "id"}, "by must be a column that several neurons share"),
        ({"direction": "upstream", "by": "rank", "columns": ["rank"]}, "Leave one out"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=message):
        small().partners("a1", **settings)


def test_a_view_of_one_kind_refuses_the_other() -> None:
    c = small()
    assert c.electrical.partners("a1", "upstream", kind="electrical")["id"].tolist() == ["b1"]
    with pytest.raises(SettingError, match="view of the electrical edges alone"):
        c.electrical.partners("a1", "upstream", kind="chemical")


# ---- fractions ----


@pytest.mark.parametrize("kind", [None, "chemical", "electrical"])
def test_fractions_agree_with_pandas(random_connectome: Any, kind: str | None) -> None:
    for seed in range(5):
        c = random_connectome(seed)
        table = edges_of(c)
        used = table if kind is None else table[table["kind"] == kind]
        for of, end in (("input", "post"), ("output", "pre")):
            expected = used["count"] / used.groupby(end)["count"].transform("sum")
            found = c.fractions(of, kind=kind)
            np.testing.assert_allclose(found[used.index], expected)
            assert np.isnan(np.delete(found, used.index)).all()


def test_fractions_of_nothing_are_zero() -> None:
    c = Connectome.from_edges(pa.table({"id": ["a", "b"]}), pre=[0], post=[1], count=[0])
    assert c.fractions("input").tolist() == [0.0]
    with pytest.raises(UnknownNameError, match=r"No total named 'inputs'.*Did you mean 'input'"):
        c.fractions("inputs")  # type: ignore[arg-type]


# ---- several steps ----


def test_descendants_are_nearest_first_and_without_the_start() -> None:
    c = small()
    assert rows(c.descendants("a2", kind="chemical"), "id", "hops") == [("a1", 1), ("b1", 1), ("b2", 2), ("c1", 2)]
    assert rows(c.descendants("a2", kind="chemical", max_hops=1), "id", "hops") == [("a1", 1), ("b1", 1)]
    assert rows(c.descendants("a1", kind="chemical", min_count=3), "id", "hops") == [("b1", 1), ("c1", 2)]
    assert rows(c.ancestors("c1", kind="chemical", max_hops=1), "id", "hops") == [("b1", 1), ("b2", 1)]
    assert len(c.descendants("a1", max_hops=0)) == 0


def test_descendants_and_ancestors_agree_with_networkx(random_connectome: Any) -> None:
    for seed in range(5):
        c = random_connectome(seed, density=0.08)
        graph = c.to_networkx()
        start = [c.ids[0], c.ids[5]]
        for direction, way in (("descendants", graph), ("ancestors", graph.reverse())):
            steps: dict[int, int] = {}
            for source in start:
                for node, length in nx.single_source_shortest_path_length(way, source).items():
                    steps[node] = min(length, steps.get(node, length))
            expected = {node: length for node, length in steps.items() if node not in start}
            found = getattr(c, direction)(start)
            assert dict(zip(found["id"], found["hops"], strict=True)) == expected
            assert found["hops"].is_monotonic_increasing
            near = getattr(c, direction)(start, max_hops=2)["id"]
            assert set(near) == {node for node, length in expected.items() if length <= 2}
        for distance in range(1, 4):
            found = c.descendants(start[0])
            at = nx.descendants_at_distance(graph, start[0], distance)
            assert set(found.loc[found["hops"] == distance, "id"]) == at


def test_a_long_chain_is_followed_to_its_end_either_way() -> None:
    n = 60
    place = np.random.default_rng(0).permutation(n)  # where the neurons of the chain stand in the table
    chain = Connectome.from_edges(
        pa.table({"id": np.argsort(place)}), pre=place[:-1], post=place[1:], count=np.ones(n - 1, int)
    )
    assert chain.descendants(0)["id"].tolist() == list(range(1, n))
    assert chain.ancestors(n - 1)["id"].tolist() == list(range(n - 2, -1, -1))
    assert chain.ancestors(n - 1)["hops"].tolist() == list(range(1, n))


def test_surroundings_agree_with_networkx(random_connectome: Any) -> None:
    for seed in range(4):
        c = random_connectome(seed, density=0.08)
        graph, centre = c.to_networkx(), c.ids[3]
        for hops in (0, 1, 2):
            ways = {"downstream": graph, "upstream": graph.reverse(), "both": graph.to_undirected()}
            for direction, way in ways.items():
                expected = graph.subgraph(nx.ego_graph(way, centre, radius=hops))
                found = c.ego(centre, hops=hops, direction=direction)
                assert set(found.ids) == set(expected)
                assert set(found.to_networkx().edges(keys=True)) == set(expected.edges(keys=True))


def test_surroundings_keep_edges_that_are_no_steps() -> None:
    part = small().ego("a1", kind="electrical")
    assert part.ids == ("a1", "b1")
    assert part.chemical.n_edges == 2
    with pytest.raises(SettingError, match="hops must be an integer"):
        small().ego("a1", hops=-1)
    with pytest.raises(UnknownNameError, match="No direction named 'down'"):
        small().ego("a1", direction="down")  # type: ignore[arg-type]


# ---- influence ----


def test_influence_of_a_chain_is_the_product_of_its_fractions() -> None:
    # a -(3/4)-> b -(-1/2)-> c -(-1)-> d; the rest of the input comes from e.
    ids = ["a", "b", "c", "d", "e"]
    c = Connectome.from_edges(
        pa.table({"id": ids}), pre=[0, 4, 1, 4, 2], post=[1, 1, 2, 2, 3], count=[3, 1, 2, 2, 9], sign=[1, 1, -1, 1, -1]
    )
    found = c.influence("a", steps=3, by_step=True).set_index("id")
    assert found["influence"].tolist() == [0, 3 / 4, -3 / 8, 3 / 8, 0]
    assert found["excitation"].tolist() == [0, 3 / 4, 0, 3 / 8, 0]
    assert found["inhibition"].tolist() == [0, 0, 3 / 8, 0, 0]
    assert found[["step_1", "step_2", "step_3"]].to_numpy().tolist() == [
        [0, 0, 0], [3 / 4, 0, 0], [0, -3 / 8, 0], [0, 0, 3 / 8], [0, 0, 0],
    ]  # fmt: skip
    assert c.influence("a", steps=3, gain=0.5)["influence"].tolist() == [0, 3 / 8, -3 / 32, 3 / 64, 0]
    assert c.influence(["a", "e"], steps=1)["influence"].tolist() == [0, 1, 1 / 2, 0, 0]


def dense(c: Connectome, kind: str | None, unknown: int, min_count: float) -> tuple[np.ndarray, np.ndarray]:
    """Signed and unsigned input fractions as full matrices, from the edges one by one."""
    signed, size, total = np.zeros((c.n_neurons,) * 2), np.zeros((c.n_neurons,) * 2), np.zeros(c.n_neurons)
    for pre, post, count, code, sign in zip(c.pre, c.post, c.count, c.kind, c.sign, strict=True):
        if kind is not None and code != ("chemical", "electrical").index(kind):
            continue
        total[post] += count
        if count >= min_count:
            value = 1 if code else int(sign) or unknown
            signed[pre, post] += value * count
            size[pre, post] += abs(value) * count
    whole = np.where(total > 0, total, 1)
    return signed / whole, size / whole


@pytest.mark.parametrize(("unknown_sign", "value"), [("ignore", 0), ("excite", 1), ("inhibit", -1)])
def test_influence_agrees_with_powers_of_a_dense_matrix(random_connectome: Any, unknown_sign: str, value: int) -> None:
    for seed in range(4):
        c = random_connectome(seed)
        for kind in (None, "chemical", "electrical"):
            net, size = dense(c, kind, value, 3)
            start = np.zeros(c.n_neurons)
            start[[0, 7]] = 1
            found = c.influence(
                [c.ids[0], c.ids[7]],
                steps=4,
                gain=0.9,
                kind=kind,
                min_count=3,
                unknown_sign=unknown_sign,  # type: ignore[arg-type]
            )
            powers = [np.linalg.matrix_power(0.9 * net, k).T @ start for k in range(1, 5)]
            sizes = [np.linalg.matrix_power(0.9 * size, k).T @ start for k in range(1, 5)]
            np.testing.assert_allclose(found["influence"], np.sum(powers, axis=0), atol=1e-12)
            np.testing.assert_allclose(found["excitation"] + found["inhibition"], np.sum(sizes, axis=0), atol=1e-12)
            assert (found[["excitation", "inhibition"]] > -1e-12).all(axis=None)


def test_many_steps_tend_to_the_steady_state_of_the_linear_model(random_connectome: Any) -> None:
    c = random_connectome(1)
    net, _ = dense(c, None, 1, 0)
    start = np.eye(c.n_neurons)[2]
    steady = np.linalg.solve(np.eye(c.n_neurons) - 0.8 * net.T, start) - start
    found = c.influence(c.ids[2], steps=200, gain=0.8, unknown_sign="excite")
    np.testing.assert_allclose(found["influence"], steady, atol=1e-12)


def test_unknown_signs_on_the_way_are_an_error_unless_decided() -> None:
    c = small()
    with pytest.raises(SettingError, match=r"sign of 1 of the 1 edges on the way is not known.*unknown_sign"):
        c.influence("c1", kind="chemical")
    assert c.influence("x 1", steps=1)["influence"].tolist() == [0, 0, 5 / 27, 0, 0, 0]
    with pytest.raises(UnknownNameError, match="Did you mean 'excite'"):
        c.influence("c1", unknown_sign="excit")  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"steps": 0}, {"steps": 1.5}, {"gain": 0}, {"gain": float("inf")}])
def test_influence_refuses_impossible_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        small().influence("a1", **settings)


def test_the_influence_of_nothing_is_nothing() -> None:
    assert (small().influence("cell_type == 'Z'")["influence"] == 0).all()
