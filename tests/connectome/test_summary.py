"""The summary's numbers are those of NetworkX, NumPy and pandas."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SettingError, UnknownNameError, read_connectome, summary
from connectofit.data import CELEGANS_COLUMNS, celegans_paths


def simple(edges: list[tuple[int, int]], n: int, **columns: Any) -> Connectome:
    pre, post = zip(*edges, strict=True) if edges else ((), ())
    table = pa.table({"id": pa.array([f"n{i}" for i in range(n)], pa.string()), **columns})
    return Connectome.from_edges(table, pre=np.array(pre, int), post=np.array(post, int), count=np.ones(len(pre), int))


@pytest.mark.parametrize("whole", [True, False])
def test_sizes_agree_with_networkx(random_connectome: Any, whole: bool) -> None:
    for seed in range(3):
        c = random_connectome(seed, density=0.1, whole=whole)
        found = c.summary()
        for kind in ("chemical", "electrical"):
            graph = getattr(c, kind).to_networkx()
            row = found.kinds.loc[kind]
            loops = nx.number_of_selfloops(graph)
            assert row["edges"] == graph.number_of_edges()
            assert row["count"] == pytest.approx(graph.size("count"))
            assert row["self_loops"] == loops
            graph.remove_edges_from(list(nx.selfloop_edges(graph)))
            assert row["density"] == pytest.approx(nx.density(graph))
            assert row["reciprocity"] == pytest.approx(nx.overall_reciprocity(graph))
        graph = c.to_networkx()
        assert (found.n_neurons, found.n_edges) == (len(graph), graph.number_of_edges())
        assert found.n_isolated == nx.number_of_isolates(graph)
        for name, parts in (
            ("weak", list(nx.weakly_connected_components(graph))),
            ("strong", list(nx.strongly_connected_components(graph))),
        ):
            assert found.components.loc[name].tolist() == [len(parts), max(map(len, parts))]


def test_distributions_agree_with_numpy(random_connectome: Any) -> None:
    for seed, whole in ((0, True), (1, False)):
        c = random_connectome(seed, whole=whole)
        chemical = c.chemical.to_networkx()
        values = {
            "in-degree": [degree for _, degree in chemical.in_degree()],
            "out-degree": [degree for _, degree in chemical.out_degree()],
            "input": [degree for _, degree in chemical.in_degree(weight="count")],
            "output": [degree for _, degree in chemical.out_degree(weight="count")],
            "count": [count for _, _, count in chemical.edges(data="count")],
        }
        for quantity, expected in values.items():
            row = c.summary().distributions.loc["chemical", quantity]
            assert row["mean"] == pytest.approx(np.mean(expected))
            assert (row["smallest"], row["largest"]) == pytest.approx((min(expected), max(expected)))
            quantiles = np.quantile(expected, summary.QUANTILES, method="inverted_cdf")
            assert row[[f"{q:.0%}" for q in summary.QUANTILES]].to_numpy() == pytest.approx(quantiles)


def test_large_counts_have_exact_quantiles() -> None:
    c = simple([(0, 1), (1, 2), (2, 0)], 3).with_edges(count=np.array([1, 2**30, 2**29]))
    assert c.summary().distributions.loc["chemical", "count"][["50%", "99%"]].tolist() == [2**29, 2**30]


def test_two_islands_and_a_lonely_neuron() -> None:
    found = simple([(0, 1), (1, 0), (1, 2), (3, 4)], 6).summary()
    assert found.components.loc["weak"].tolist() == [3, 3]
    assert found.components.loc["strong"].tolist() == [5, 2]
    assert found.n_isolated == 1
    assert found.kinds.loc["chemical", "reciprocity"] == 0.5


def test_signs_count_chemical_edges_alone(random_connectome: Any) -> None:
    c = random_connectome(2)
    table = c.edge_table().to_pandas()
    chemical = table[table["kind"] == "chemical"]
    found = c.summary().signs
    for name, sign in (("excitatory", 1), ("inhibitory", -1), ("unknown", 0)):
        rows = chemical[chemical["sign"] == sign]
        assert found.loc[name, "edges"] == len(rows)
        assert found.loc[name, "count"] == rows["count"].sum()
        assert found.loc[name, "edges_share"] == pytest.approx(len(rows) / len(chemical))
    assert found[["edges_share", "count_share"]].sum().tolist() == pytest.approx([1, 1])


def test_the_matrix_of_types_holds_every_count(random_connectome: Any) -> None:
    c = random_connectome(4, n=30)
    table = c.edge_table(["pre.cell_type", "post.cell_type"]).to_pandas()
    sizes = c.neurons["cell_type"].to_pandas().value_counts()
    found = c.summary(max_types=2)
    first, second, other, untyped = found.types.index
    assert (other, untyped) == (summary.OTHERS, summary.UNTYPED)
    assert sizes[first] >= sizes[second] >= sizes.drop([first, second]).max()
    names = {name: name if name in (first, second) else other for name in sizes.index}
    ends = {end: table[f"{end}.cell_type"].map(names).fillna(untyped) for end in ("pre", "post")}
    expected = table.groupby([ends["pre"], ends["post"]])["count"].sum()
    for (pre, post), count in expected.items():
        assert found.types.loc[pre, post] == count
    assert found.types.to_numpy().sum() == c.count.sum()
    assert found.type_sizes.sum() == c.n_neurons
    every = list(c.summary(max_types=9).types.index)
    assert every[:2] == [first, second]
    assert set(every) == {*sizes.index, summary.UNTYPED}


def test_columns_of_types_and_positions_go_by_their_names() -> None:
    table = pa.table({"id": ["a"], "class": ["Q"], "cell_type": pa.array([None], pa.string()), "super_class": ["S"]})
    assert summary.type_column(table) == "class"
    assert summary.type_column(pa.table({"id": ["a"], "cell_type": [1]})) is None
    for names, expected in (
        (["x_um", "y_um", "z_um"], ("x_um", "y_um", "z_um")),
        (["z", "y", "x"], ("x", "y", "z")),
        (["soma_x_nm", "soma_y_nm", "size"], ("soma_x_nm", "soma_y_nm")),
        (["pos_x", "other_y"], ()),
        (["max", "maxy"], ()),
    ):
        assert summary.position_columns(pa.table({name: [1.0] for name in names})) == expected
    assert summary.position_columns(pa.table({"x": ["1"], "y": ["2"]})) == ()


def test_the_extent_leaves_out_missing_positions() -> None:
    c = simple([(0, 1)], 3, x=[1.5, None, -2.0], y=[2**60, 5, 7])
    assert c.summary().extent.loc["x"].tolist() == [-2.0, 1.5, 1]
    assert c.summary(positions=["y"]).extent.loc["y"].tolist() == [5.0, 2.0**60, 0]
    assert c.summary(positions=[]).extent is None
    with pytest.raises(UnknownNameError, match="No column named 'w'"):
        c.summary(positions=["w"])
    with pytest.raises(SettingError, match="holds string"):
        c.summary(positions=["id"])


def test_summaries_of_nothing_are_made_and_printed() -> None:
    for c in (simple([], 0), simple([], 2), simple([(0, 0)], 1)):
        found = c.summary()
        assert found.types is None
        assert str(found).startswith(f"{c.n_neurons} neurons")
        assert found.to_frame()["value"].dtype == float
    with pytest.raises(SettingError, match="max_types must be"):
        simple([], 0).summary(max_types=0)


def test_the_worm_in_numbers() -> None:
    paths = celegans_paths()
    c, _ = read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)
    found = c.summary(by="cell_class", max_types=3)
    assert (found.n_neurons, found.n_edges) == (302, 5798)
    assert found.type_column == "cell_class"
    assert list(found.extent.index) == ["x_um", "y_um", "z_um"]
    text = str(found)
    for part in ("302 neurons (2 without edges), 5,798 edges", "reciprocity", "counts between the largest cell_class"):
        assert part in text
    frame = found.to_frame()
    chosen = frame[(frame["topic"] == "distribution") & (frame["item"] == "chemical count")]
    assert chosen.set_index("quantity")["value"]["largest"] == c.chemical.count.max()
