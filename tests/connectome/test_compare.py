"""Two connectomes are told apart edge by edge, whatever the order of their neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SchemaError


def connectome(ids: list[Any], edges: list[tuple[Any, Any, int, int, int]]) -> Connectome:
    place = {name: i for i, name in enumerate(ids)}
    pre, post, count, kind, sign = zip(*edges, strict=True) if edges else ((),) * 5
    return Connectome.from_edges(
        pa.table({"id": pa.array(ids, pa.string() if not ids else None), "note": [f"n{name}" for name in ids]}),
        pre=np.array([place[name] for name in pre], int),
        post=np.array([place[name] for name in post], int),
        count=np.array(count, int),
        kind=np.array(kind, int),
        sign=np.array(sign, int),
    )


BEFORE = connectome(
    ["a", "b", "c", "d"],
    [
        ("a", "b", 3, 0, 1), ("a", "b", 2, 1, 0), ("b", "a", 2, 1, 0), ("b", "c", 4, 0, 1), ("c", "a", 5, 0, -1),
        ("d", "a", 6, 0, 1), ("a", "a", 1, 0, 1),
    ],
)  # fmt: skip
AFTER = connectome(
    ["e", "c", "b", "a"],
    [
        ("a", "b", 3, 0, 1), ("a", "b", 7, 1, 0), ("b", "a", 7, 1, 0), ("b", "c", 4, 0, -1), ("a", "c", 5, 0, -1),
        ("e", "a", 6, 0, 1), ("a", "a", 1, 0, 1),
    ],
)  # fmt: skip


def edges(frame: pd.DataFrame, *more: str) -> list[tuple[Any, ...]]:
    return list(frame[["pre", "post", "kind", *more]].itertuples(index=False, name=None))


def test_edges_are_kept_changed_lost_and_gained() -> None:
    found = BEFORE.compare(AFTER)
    assert edges(found.kept, "count", "sign") == [("a", "a", "chemical", 1, 1), ("a", "b", "chemical", 3, 1)]
    assert edges(found.changed, "count", "count_other", "sign", "sign_other") == [
        ("a", "b", "electrical", 2, 7, 0, 0),
        ("b", "a", "electrical", 2, 7, 0, 0),
        ("b", "c", "chemical", 4, 4, 1, -1),
    ]
    assert edges(found.lost, "count") == [("c", "a", "chemical", 5), ("d", "a", "chemical", 6)]
    assert edges(found.gained, "count") == [("e", "a", "chemical", 6), ("a", "c", "chemical", 5)]
    assert found.neurons_lost.to_dict("records") == [{"id": "d", "note": "nd"}]
    assert found.neurons_gained.to_dict("records") == [{"id": "e", "note": "ne"}]
    assert not found.identical


def test_the_comparison_prints_its_numbers() -> None:
    found = BEFORE.compare(AFTER)
    assert found.to_frame().loc["all"].to_dict() == {"kept": 2, "changed": 3, "lost": 2, "gained": 2}
    assert found.to_frame().loc["electrical"].to_dict() == {"kept": 0, "changed": 2, "lost": 0, "gained": 0}
    text = str(found)
    assert "3 in both, 1 (d) only in this, 1 (e) only in the other" in text
    assert "of the changed edges 2 have another count and 1 another sign" in text


def test_a_graph_is_identical_to_itself_in_any_order(random_connectome: Any) -> None:
    c = random_connectome(5)
    order = np.random.default_rng(0).permutation(c.n_neurons)
    place = np.argsort(order)
    same = Connectome.from_edges(
        c.neurons.take(order), pre=place[c.pre], post=place[c.post], count=c.count, kind=c.kind, sign=c.sign
    )
    found = c.compare(same)
    assert found.identical
    assert len(found.kept) == c.n_edges
    assert not c.compare(c.chemical).identical


def test_the_comparison_agrees_with_an_outer_merge_in_pandas(random_connectome: Any) -> None:
    for seed in range(4):
        one, two = random_connectome(seed), random_connectome(seed, density=0.35)
        found = one.compare(two)
        ours, theirs = (c.edge_table().to_pandas() for c in (one, two))
        both = ours.merge(theirs, on=["pre", "post", "kind"], how="outer", suffixes=("", "_other"), indicator=True)
        equal = both["count"].eq(both["count_other"]) & both["sign"].eq(both["sign_other"])
        expected = {
            "kept": both[equal],
            "changed": both[(both["_merge"] == "both") & ~equal],
            "lost": both[both["_merge"] == "left_only"],
            "gained": both[both["_merge"] == "right_only"],
        }
        for name, frame in expected.items():
            assert sorted(edges(getattr(found, name))) == sorted(edges(frame))
        for name in ("count", "count_other", "sign", "sign_other"):
            values = found.changed.set_index(["pre", "post", "kind"])[name].sort_index()
            others = expected["changed"].set_index(["pre", "post", "kind"])[name].sort_index()
            assert values.tolist() == others.tolist()


def test_empty_connectomes_compare() -> None:
    nothing = connectome([], [])
    assert nothing.compare(nothing).identical
    assert len(BEFORE.compare(nothing).lost) == 7
    assert len(nothing.compare(BEFORE).gained) == 7
    assert "4 (a, b, c, d) only in this" in str(BEFORE.compare(nothing))


def test_ids_of_different_types_are_refused() -> None:
    numbers = Connectome.from_edges(pa.table({"id": [1, 2]}), pre=[0], post=[1], count=[1])
    with pytest.raises(SchemaError, match="this one's ids are string, the other's int64"):
        BEFORE.compare(numbers)
