"""The type-level graph holds the sums that a groupby in pandas gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SchemaError, SettingError, UnknownNameError, collapse

NEURONS = pa.table({"id": ["a", "b", "c", "d"], "cell_type": ["P", "P", "Q", None], "group": [2, 2, 1, 1]})
# (pre, post, count, kind, sign)
EDGES = [
    (0, 1, 2, 0, 1),
    (0, 2, 3, 0, 1),
    (1, 2, 5, 0, -1),
    (2, 0, 4, 0, 0),
    (3, 2, 8, 0, 1),
    (2, 2, 1, 0, -1),
    (0, 1, 6, 1, 0),
    (1, 0, 6, 1, 0),
    (1, 2, 7, 1, 0),
    (2, 1, 7, 1, 0),
]


def small() -> Connectome:
    pre, post, count, kind, sign = (np.array(column) for column in zip(*EDGES, strict=True))
    return Connectome.from_edges(NEURONS, pre=pre, post=post, count=count, kind=kind, sign=sign)


def edges_of(connectome: Connectome) -> pd.DataFrame:
    return connectome.edge_table().to_pandas().set_index(["pre", "post", "kind"])


def test_counts_pairs_signs_and_fractions_of_a_small_graph() -> None:
    types = small().collapse(untyped="drop")
    assert types.neurons.to_pylist() == [{"id": "P", "n_neurons": 2}, {"id": "Q", "n_neurons": 1}]
    found = edges_of(types)
    columns = ["count", "sign", "n_pairs", "excitatory", "inhibitory", "unsigned"]
    assert {key: tuple(row) for key, row in zip(found.index, found[columns].to_numpy().tolist(), strict=True)} == {
        ("P", "P", "chemical"): (2, 1, 1, 2, 0, 0),
        ("P", "Q", "chemical"): (8, -1, 2, 3, 5, 0),  # the members disagree: 3 excite, 5 inhibit
        ("Q", "P", "chemical"): (4, 0, 1, 0, 0, 4),
        ("Q", "Q", "chemical"): (1, -1, 1, 0, 1, 0),
        ("P", "P", "electrical"): (12, 0, 2, 0, 0, 12),  # one gap junction, in both directions
        ("P", "Q", "electrical"): (7, 0, 1, 0, 0, 7),
        ("Q", "P", "electrical"): (7, 0, 1, 0, 0, 7),
    }
    # All input of Q counts, that from the dropped neuron too: 3 + 5 + 8 + 1.
    assert found.loc[("P", "Q", "chemical"), "input_fraction"] == 8 / 17
    assert found.loc[("P", "Q", "chemical"), "output_fraction"] == 8 / 10
    assert found.loc[("P", "Q", "electrical"), "output_fraction"] == 7 / 19


def test_neurons_without_type_are_refused_unless_decided() -> None:
    c = small()
    with pytest.raises(SchemaError, match=r"1 of 4 neurons have no cell_type: 'd' \(1 in all\).*'drop'.*'apart'"):
        c.collapse()
    assert c.collapse(untyped="together").ids == ("(no cell_type)", "P", "Q")
    assert c.collapse(untyped="apart").ids == ("P", "Q", "d")
    apart = edges_of(c.collapse(untyped="apart"))
    assert apart.loc[("d", "Q", "chemical"), ["count", "n_pairs", "input_fraction"]].tolist() == [8, 1, 8 / 17]


def test_a_name_that_would_stand_for_two_types_is_refused() -> None:
    table = pa.table({"id": ["P", "b"], "cell_type": [None, "P"]})
    c = Connectome.from_edges(table, pre=[0], post=[1], count=[1])
    with pytest.raises(SettingError, match="cannot stand apart: 'P'"):
        c.collapse(untyped="apart")
    assert c.collapse(untyped="together").n_edges == 1


def test_integers_are_types_too() -> None:
    types = small().collapse("group")
    assert types.ids == (1, 2)
    assert types.neurons["n_neurons"].to_pylist() == [2, 2]
    assert edges_of(types).loc[(2, 1, "chemical"), "count"] == 8
    numbered = pa.table({"id": [7, 8], "cell_type": ["P", None]})
    mixed = Connectome.from_edges(numbered, pre=[0], post=[1], count=[1])
    assert mixed.collapse(untyped="apart").ids == ("8", "P")


def test_a_type_graph_answers_questions_itself() -> None:
    types = small().collapse(untyped="drop")
    assert types.partners("Q", "upstream", kind="chemical")["id"].tolist() == ["P", "Q"]
    assert types.collapse("n_neurons").ids == (1, 2)
    assert type(types) is Connectome


def test_views_of_one_kind_stay_views() -> None:
    types = small().chemical.collapse(untyped="drop")
    assert types.only_kind == "chemical"
    assert types.count.tolist() == [2, 8, 4, 1]
    assert small().electrical.collapse(untyped="drop").count.tolist() == [12, 7, 7]


def test_a_graph_without_edges_or_types_collapses_to_its_types() -> None:
    c = Connectome.from_edges(NEURONS, pre=[], post=[], count=np.zeros(0, int))
    types = c.collapse(untyped="drop")
    assert (types.ids, types.n_edges) == (("P", "Q"), 0)
    nameless = Connectome.from_edges(
        pa.table({"id": ["a"], "cell_type": pa.array([None], pa.string())}), pre=[0], post=[0], count=[1]
    )
    assert (nameless.collapse(untyped="drop").n_neurons, nameless.collapse(untyped="drop").n_edges) == (0, 0)
    assert nameless.collapse(untyped="together").count.tolist() == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "cell_typ"}, "Did you mean 'cell_type'"),
        ({"untyped": "dorp"}, "Did you mean 'drop'"),
        ({"by": "x"}, "'x': it holds double"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    neurons = NEURONS.append_column("x", pa.array([1.0, 2.0, 3.0, 4.0]))
    c = Connectome.from_edges(neurons, pre=[0], post=[1], count=[1])
    with pytest.raises((UnknownNameError, SchemaError), match=message):
        c.collapse(**settings)


def expected(connectome: Connectome) -> pd.DataFrame:
    """Sums by pandas, neurons without type dropped from the result and not from the wholes."""
    table = connectome.edge_table(["pre.cell_type", "post.cell_type"]).to_pandas()
    for name, sign in (("excitatory", 1), ("inhibitory", -1), ("unsigned", 0)):
        table[name] = table["count"].where(table["sign"] == sign, 0)
    keys = ["pre.cell_type", "post.cell_type", "kind"]
    sums = table.groupby(keys).agg(
        count=("count", "sum"),
        n_pairs=("count", "size"),
        excitatory=("excitatory", "sum"),
        inhibitory=("inhibitory", "sum"),
        unsigned=("unsigned", "sum"),
    )
    for name, ends in (("input_fraction", keys[1:]), ("output_fraction", keys[::2])):
        whole = table.groupby(ends)["count"].sum()
        rows = sums.index.to_frame()[ends]
        sums[name] = sums["count"].to_numpy() / whole.loc[list(rows.itertuples(index=False, name=None))].to_numpy()
    return sums


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("electrical", [True, False])
@pytest.mark.parametrize("way", ["one block", "blocks", "sorted"])
def test_sums_agree_with_pandas(
    random_connectome: Any, monkeypatch: pytest.MonkeyPatch, whole: bool, electrical: bool, way: str
) -> None:
    if way == "blocks":
        monkeypatch.setattr(collapse, "_BLOCK", 11)
    if way == "sorted":
        monkeypatch.setattr(collapse, "_CELLS_PER_EDGE", 0)
    for seed in range(3):
        c = random_connectome(seed, n=25, electrical=electrical, whole=whole)
        found, sums = edges_of(c.collapse(untyped="drop")), expected(c)
        assert set(found.index) == set(sums.index)
        found = found.loc[sums.index]
        np.testing.assert_allclose(found[sums.columns].to_numpy(), sums.to_numpy(), rtol=1e-12)
        np.testing.assert_array_equal(
            found["sign"], np.sign((sums["excitatory"] - sums["inhibitory"]).round(9)).astype(int)
        )


def test_many_types_come_out_as_few_do(random_connectome: Any) -> None:
    """Every neuron its own type: the graph itself, whichever way the sums are made."""
    c = random_connectome(3, n=40)
    own = Connectome.from_edges(
        c.neurons.set_column(1, "cell_type", c.neurons["id"]),
        pre=c.pre, post=c.post, count=c.count, kind=c.kind, sign=c.sign,
    )  # fmt: skip
    types = own.collapse()
    pd.testing.assert_frame_equal(
        edges_of(types)[["count", "sign"]].sort_index(), edges_of(c)[["count", "sign"]].sort_index()
    )
    assert set(edges_of(types)["n_pairs"]) == {1}
