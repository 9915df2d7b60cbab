"""Paths are those that NetworkX enumerates, with the right bottlenecks, and never a part of them unseen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome import Connectome, SettingError, UnknownNameError

NAMES = list("abcdefg")


def graph(edges: list[tuple[str, str, int]], names: list[str] = NAMES) -> Connectome:
    place = {name: i for i, name in enumerate(names)}
    return Connectome.from_edges(
        pa.table({"id": names}),
        pre=[place[pre] for pre, _, _ in edges],
        post=[place[post] for _, post, _ in edges],
        count=np.array([count for _, _, count in edges], np.int64),
    )


DIAMOND = [("a", "b", 5), ("b", "d", 2), ("a", "c", 3), ("c", "d", 9), ("b", "c", 1), ("d", "a", 4), ("d", "e", 7)]


def test_paths_of_a_diamond() -> None:
    found = graph(DIAMOND).paths("a", "d")
    assert found["path"].tolist() == [("a", "c", "d"), ("a", "b", "d"), ("a", "b", "c", "d")]
    assert found["hops"].tolist() == [2, 2, 3]
    assert found["bottleneck"].tolist() == [3, 2, 1]
    assert found["counts"].tolist() == [(3, 9), (5, 2), (5, 1, 9)]


def test_fewer_hops_a_threshold_and_the_shortest_leave_less() -> None:
    c = graph(DIAMOND)
    assert c.paths("a", "d", max_hops=2)["path"].tolist() == [("a", "c", "d"), ("a", "b", "d")]
    assert c.paths("a", "d", min_count=3)["path"].tolist() == [("a", "c", "d")]
    assert c.paths("a", "e", max_hops=None)["path"].tolist() == [("a", "c", "d", "e"), ("a", "b", "d", "e")]
    assert c.paths("b", ["d", "e"], max_hops=None)["path"].tolist() == [("b", "d")]


@pytest.mark.parametrize("max_hops", [0, 1, 3, None])
def test_where_there_is_no_path_there_is_none(max_hops: int | None) -> None:
    found = graph(DIAMOND).paths("e", "a", max_hops=max_hops)
    assert len(found) == 0
    assert list(found.columns) == ["path", "hops", "bottleneck", "counts"]
    assert found.dtypes[["hops", "bottleneck"]].tolist() == [np.int64, np.int64]
    assert len(graph(DIAMOND).paths("a", "a", max_hops=4)) == 0  # a way back home is no simple path
    assert len(graph([]).paths("a", "b", max_hops=max_hops)) == 0


def test_a_pair_joined_by_both_kinds_is_one_step() -> None:
    c = Connectome.from_edges(
        pa.table({"id": ["a", "b", "c"]}),
        pre=[0, 0, 1, 1],
        post=[1, 1, 0, 2],
        count=[2, 3, 3, 4],
        kind=[0, 1, 1, 0],
    )
    assert c.paths("a", "c")["counts"].tolist() == [(5, 4)]
    assert c.paths("a", "c", kind="chemical")["counts"].tolist() == [(2, 4)]
    assert c.paths("a", "c", min_count=3)["counts"].tolist() == [(3, 4)]
    assert len(c.paths("a", "c", kind="electrical")) == 0


edges = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 9)),
    max_size=30,
    unique_by=lambda edge: edge[:2],
)
groups = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)


@settings(deadline=None, max_examples=150)
@given(edges, groups, groups, st.integers(1, 5), st.integers(0, 4))
def test_paths_are_those_of_networkx(
    given_edges: list[tuple[str, str, int]], source: list[str], target: list[str], max_hops: int, min_count: int
) -> None:
    found = graph(given_edges).paths(source, target, max_hops=max_hops, min_count=min_count)
    other = nx.DiGraph()
    other.add_nodes_from(NAMES)
    other.add_weighted_edges_from(edge for edge in given_edges if edge[2] >= min_count)
    expected = [
        tuple(path)
        for s in source
        for t in target
        if s != t
        for path in nx.all_simple_paths(other, s, t, cutoff=max_hops)
    ]
    assert sorted(found["path"]) == sorted(expected)
    for path, hops, bottleneck, counts in found.itertuples(index=False):
        assert counts == tuple(other.edges[step]["weight"] for step in pairwise(path))
        assert (hops, bottleneck) == (len(path) - 1, min(counts))
    keys = list(zip(found["hops"], -found["bottleneck"], strict=True))
    assert keys == sorted(keys)


@settings(deadline=None, max_examples=100)
@given(edges, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_the_shortest_paths_are_those_of_networkx(
    given_edges: list[tuple[str, str, int]], source: str, target: str
) -> None:
    if source == target:
        return
    other = nx.DiGraph([edge[:2] for edge in given_edges])
    other.add_nodes_from(NAMES)
    expected = list(nx.all_shortest_paths(other, source, target)) if nx.has_path(other, source, target) else []
    found = graph(given_edges).paths(source, target, max_hops=None)
    assert sorted(found["path"]) == sorted(map(tuple, expected))


def layers(width: int, depth: int) -> Connectome:
    """Full layers one after the other: width ** (depth - 2) paths from the first neuron to the last."""
    names = ["s", *(f"{i}.{j}" for i in range(depth - 2) for j in range(width)), "t"]
    found = [("s", f"0.{j}", 1) for j in range(width)] + [(f"{depth - 3}.{j}", "t", 1) for j in range(width)]
    for i in range(depth - 3):
        found += [(f"{i}.{j}", f"{i + 1}.{k}", 1) for j in range(width) for k in range(width)]
    return graph(found, names)


def test_more_paths_than_the_limit_are_refused_and_told() -> None:
    c = layers(10, 5)
    assert len(c.paths("s", "t", max_hops=4, limit=1000)) == 1000
    with pytest.raises(
        SettingError, match=r"more than limit=999 paths of at most 4 steps \(no more than 1e\+03.*32 neu"
    ):
        c.paths("s", "t", max_hops=4, limit=999)


def test_blocks_of_walks_are_cut_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectofit.connectome.paths._BLOCK", 7)
    assert len(layers(6, 6).paths("s", "t", max_hops=5)) == 6**4


def test_only_what_can_lie_on_a_path_is_searched() -> None:
    # A million walks lead away from the source; none of them reaches the target in time.
    names = ["s", "t", *(f"{i}.{j}" for i in range(5) for j in range(16))]
    found = [("s", "t", 1), *(("s", f"0.{j}", 1) for j in range(16))]
    for i in range(4):
        found += [(f"{i}.{j}", f"{i + 1}.{k}", 1) for j in range(16) for k in range(16)]
    assert graph(found, names).paths("s", "t", max_hops=5)["path"].tolist() == [("s", "t")]


def test_group_to_group_paths_may_pass_other_members() -> None:
    c = graph([("a", "b", 1), ("b", "c", 1), ("c", "d", 1)])
    assert c.paths(["a", "b"], ["c", "d"])["path"].tolist() == [
        ("b", "c"), ("a", "b", "c"), ("b", "c", "d"), ("a", "b", "c", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_hops": -1}, "max_hops must be an integer"),
        ({"max_hops": 2.5}, "max_hops must be an integer"),
        ({"limit": 0}, "limit must be an integer"),
        ({"kind": "chem"}, "Did you mean 'chemical'"),
        ({"source": ["a", "d"], "max_hops": None}, r"share 'd' \(1 in all\)"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((SettingError, UnknownNameError), match=message):
        graph(DIAMOND).paths(**{"source": "a", "target": "d", **arguments})
