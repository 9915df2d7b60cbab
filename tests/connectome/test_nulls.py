"""Rewiring keeps what it says it keeps, randomises the rest evenly, and is repeatable."""

from __future__ import annotations

import time
from collections import Counter
from functools import cache
from itertools import permutations

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, RewireStats, SettingError, read_connectome, rewire
from connectofit.data import CELEGANS_COLUMNS, celegans_paths


@cache
def worm() -> Connectome:
    paths = celegans_paths()
    return read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)[0]


@cache
def rewired() -> tuple[Connectome, RewireStats]:
    return rewire(worm(), seed=3)


@pytest.mark.parametrize("kind", ["chemical", "electrical"])
def test_every_neuron_keeps_its_degrees(kind: str) -> None:
    before, after = getattr(worm(), kind).to_networkx(), getattr(rewired()[0], kind).to_networkx()
    assert dict(before.in_degree()) == dict(after.in_degree())
    assert dict(before.out_degree()) == dict(after.out_degree())
    assert after.number_of_edges() == before.number_of_edges()


def test_counts_signs_and_columns_travel_with_the_presynaptic_neuron() -> None:
    def leaving(connectome: Connectome) -> dict[str, Counter[tuple[object, ...]]]:
        found: dict[str, Counter[tuple[object, ...]]] = {}
        for u, _, d in connectome.chemical.edges(data=True):
            found.setdefault(u, Counter())[d["count"], d["sign"], d["sign_source"], d["pred_sign"]] += 1
        return found

    assert leaving(rewired()[0]) == leaving(worm())


def test_gap_junctions_stay_symmetric_and_keep_their_counts() -> None:
    after = {(u, v): count for u, v, count in rewired()[0].electrical.edges(data="count")}
    assert all(after[v, u] == count for (u, v), count in after.items())
    assert sorted(after.values()) == sorted(worm().electrical.count.tolist())


def test_no_self_loop_arises_and_those_there_stay() -> None:
    def loops(connectome: Connectome) -> list[tuple[object, ...]]:
        return [edge for edge in connectome.edges(keys=True, data="count") if edge[0] == edge[1]]

    assert loops(rewired()[0]) == loops(worm())


def test_at_least_ten_swaps_per_edge_are_accepted_and_few_pairs_survive() -> None:
    connectome, stats = rewired()
    pairs = {
        kind: {frozenset(e) if kind == "electrical" else e for e in getattr(worm(), kind).edges() if e[0] != e[1]}
        for kind in stats.edges
    }
    for kind, edges in pairs.items():
        assert stats.edges[kind] == len(edges)
        assert stats.accepted[kind] >= 10 * len(edges)
        assert stats.attempted[kind] >= stats.accepted[kind]
        new = {frozenset(e) if kind == "electrical" else e for e in getattr(connectome, kind).edges() if e[0] != e[1]}
        assert stats.kept[kind] == len(new & edges) < len(edges) / 5


def test_the_seed_decides_the_result() -> None:
    assert rewire(worm(), seed=3)[0].digest() == rewired()[0].digest()
    assert rewire(worm(), seed=4)[0].digest() != rewired()[0].digest()
    for seed in (None, -1, 1.5, True):
        with pytest.raises(SettingError, match="seed"):
            rewire(worm(), seed)  # type: ignore[arg-type]


def test_the_worm_is_rewired_in_less_than_three_seconds() -> None:
    start = time.perf_counter()
    rewire(worm(), seed=0)
    assert time.perf_counter() - start < 3


def test_views_of_one_kind_can_be_rewired_and_no_swaps_change_nothing() -> None:
    assert rewire(worm().chemical, seed=3)[0].only_kind == "chemical"
    assert rewire(worm().chemical, seed=3)[0].digest() == rewired()[0].chemical.digest()
    assert rewire(worm(), seed=3, swaps_per_edge=0)[0].digest() == worm().digest()


def test_a_graph_without_alternatives_is_refused() -> None:
    star = Connectome.from_edges(pa.table({"id": list("abcd")}), pre=[0, 0, 0], post=[1, 2, 3], count=[1, 1, 1])
    with pytest.raises(SettingError, match=r"chemical edges cannot be rewired.*0 were possible, and 30 are asked for"):
        rewire(star, seed=0)


def chi_square(counts: Counter[object], states: int) -> float:
    expected = sum(counts.values()) / states
    return sum((counts[state] - expected) ** 2 / expected for state in counts) + (states - len(counts)) * expected


def test_directed_rewirings_are_even_over_all_graphs_with_the_degrees() -> None:
    # In-degree and out-degree 1 everywhere and no self-loops: the graphs are the 44 derangements of five neurons.
    states = {p for p in permutations(range(5)) if all(i != p[i] for i in range(5))}
    ring = Connectome.from_edges(pa.table({"id": list("abcde")}), pre=range(5), post=[1, 2, 3, 4, 0], count=np.ones(5))
    found = (rewire(ring, seed=k, swaps_per_edge=4)[0] for k in range(440))
    counts: Counter[object] = Counter(tuple(connectome.post.tolist()) for connectome in found)
    assert set(counts) <= states
    # 99.9 % quantile of chi square with 43 degrees of freedom
    assert chi_square(counts, len(states)) < 77.4


def test_undirected_rewirings_are_even_over_all_graphs_with_the_degrees() -> None:
    # Degree 2 everywhere on five neurons: the graphs are the 12 five-cycles.
    ring = [(i, (i + 1) % 5) for i in range(5)]
    pre, post = zip(*ring, *[(j, i) for i, j in ring], strict=True)
    c = Connectome.from_edges(pa.table({"id": list("abcde")}), pre=pre, post=post, count=np.ones(10), kind=np.ones(10))
    counts: Counter[object] = Counter(frozenset(rewire(c, seed=k, swaps_per_edge=3)[0].edges()) for k in range(240))
    assert all(nx.is_isomorphic(nx.Graph(list(state)), nx.cycle_graph(5)) for state in counts)
    # 99.9 % quantile of chi square with 11 degrees of freedom
    assert chi_square(counts, 12) < 31.3
