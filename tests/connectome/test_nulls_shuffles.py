"""Shuffles within blocks, at matched distances, of weights and of signs: what is particular to each."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2

from connectofit.connectome import Connectome, SchemaError, SettingError, UnknownNameError
from connectofit.connectome.nulls import (
    distance_matched_shuffle,
    shuffle_signs,
    shuffle_weights,
    shuffle_within_blocks,
)


def graph(pre: object, post: object, count: object = None, sign: object = None, **columns: object) -> Connectome:
    pre, post = np.asarray(pre), np.asarray(post)
    n = len(next(iter(columns.values()))) if columns else int(max(pre.max(), post.max())) + 1  # type: ignore[arg-type]
    return Connectome.from_edges(
        pa.table({"id": range(n), **columns}),
        pre=pre,
        post=post,
        count=np.ones(len(pre), int) if count is None else np.asarray(count),
        sign=None if sign is None else np.asarray(sign),
    )


def evenness(counts: Counter[object], states: int) -> float:
    """p-value of a chi-square test that all states are equally likely."""
    expected = sum(counts.values()) / states
    chi = sum((n - expected) ** 2 / expected for n in counts.values()) + (states - len(counts)) * expected
    return float(chi2.sf(chi, states - 1))


# ---- blocks ----


def test_within_blocks_all_graphs_with_the_block_degrees_are_equally_likely() -> None:
    # 0, 1, 2 (block a) each reach one of 3, 4, 5 (block b), which each get one: the 6 matchings; and back alike.
    c = graph([0, 1, 2, 3, 4, 5], [3, 4, 5, 0, 1, 2], block=list("aaabbb"))
    found = (shuffle_within_blocks(c, k, by="block", proposals_per_edge=9)[0] for k in range(540))
    counts: Counter[object] = Counter(tuple(f.post.tolist()) for f in found)
    assert all(set(state[:3]) == {3, 4, 5} and set(state[3:]) == {0, 1, 2} for state in counts)  # type: ignore[index]
    assert evenness(counts, 36) > 0.001


def test_edges_do_not_leave_their_blocks() -> None:
    # One edge between each two blocks: nothing can be swapped, though a rewiring could.
    pre, post = zip(*[(a, b) for a, b in product(range(4), repeat=2) if a != b][:8], strict=True)
    c = graph(pre, post, block=list("abcd"))
    shuffled, stats = shuffle_within_blocks(c, 0, by="block")
    assert shuffled.digest() == c.digest()
    assert stats.kept["chemical"] == 8
    assert stats.accepted["chemical"] == 0


def test_blocks_of_several_columns_are_combinations() -> None:
    rng = np.random.default_rng(0)
    pre, post = np.nonzero(rng.random((40, 40)) < 0.3)
    types, sides = rng.choice(["p", "q"], 40), rng.choice(["l", "r"], 40)
    c = graph(pre, post, cell_type=types, side=sides)
    both, _ = shuffle_within_blocks(c, 0, by=["cell_type", "side"])
    block = np.char.add(types, sides)

    def table(x: Connectome) -> Counter[tuple[str, str]]:
        return Counter(zip(block[x.pre].tolist(), block[x.post].tolist(), strict=True))

    assert table(both) == table(c)
    assert table(shuffle_within_blocks(c, 0, by="side")[0]) != table(c)


def test_neurons_without_a_block_are_an_error_or_a_block() -> None:
    c = graph([0, 1, 2, 3], [2, 3, 0, 1], cell_type=["a", "a", None, None])
    with pytest.raises(SchemaError, match=r"without a value in column 'cell_type'.*2, 3 \(2 in all\).*missing='block'"):
        shuffle_within_blocks(c, 0)
    found = {tuple(shuffle_within_blocks(c, k, missing="block")[0].post.tolist()) for k in range(40)}
    assert found == {(2, 3, 0, 1), (3, 2, 0, 1), (2, 3, 1, 0), (3, 2, 1, 0)}
    with pytest.raises(UnknownNameError, match="Did you mean 'cell_type'"):
        shuffle_within_blocks(c, 0, by="cel_type")
    for wrong in ({"missing": "drop"}, {"by": []}, {"proposals_per_edge": -1}, {"proposals_per_edge": np.nan}):
        with pytest.raises(SettingError):
            shuffle_within_blocks(c, 0, **{"missing": "block", **wrong})  # type: ignore[arg-type]


# ---- distances ----


def test_at_matched_distances_near_edges_stay_near_and_far_ones_far() -> None:
    # Two clusters of ten, 1000 apart: half of the edges join neurons of a cluster.
    rng = np.random.default_rng(1)
    x = np.repeat([0.0, 1000.0], 20) + rng.random(40)
    far = (x[:, None] - x[None, :]).__abs__() > 500
    pre, post = np.nonzero(rng.random((40, 40)) < np.where(far, 0.05, 0.25) * ~np.eye(40, dtype=bool))
    c = graph(pre, post, x_um=x)
    shuffled, stats = distance_matched_shuffle(c, 0, bins=[500.0], positions=["x_um"])
    cluster = np.repeat([0, 1], 20)

    def joined(of: Connectome) -> list[list[int]]:
        return [np.bincount(of.pre, cluster[of.post] == side, 40).tolist() for side in (0, 1)]

    assert joined(shuffled) == joined(c)
    assert stats.bounds_um == (500.0,)
    assert stats.kept["chemical"] < 0.5 * c.n_edges
    assert stats.unplaced == {"chemical": 0, "electrical": 0}


def test_one_axis_can_be_named_alone() -> None:
    c = graph([0, 1, 2, 3], [1, 2, 3, 0], x_um=[0.0, 1.0, 5.0, 9.0])
    one, several = (distance_matched_shuffle(c, 0, bins=1, positions=axes)[0] for axes in ("x_um", ["x_um"]))
    assert one.digest() == several.digest() != c.digest()


def test_bins_that_hold_equally_many_edges_are_quantiles_of_the_lengths() -> None:
    c = graph([0] * 8, range(1, 9), x_um=np.arange(9.0))
    _, stats = distance_matched_shuffle(c, 0, bins=4, positions=["x_um"])
    assert stats.bounds_um == (2.75, 4.5, 6.25)
    lengths = np.arange(1, 9)
    assert np.histogram(lengths, [0, *stats.bounds_um, 9])[0].tolist() == [2, 2, 2, 2]


def test_distances_are_euclidean_over_the_axes_named() -> None:
    # 0 and 1 sit together, so do 2 and 3: all four joins are 5 long, and either of two graphs is possible.
    c = graph([0, 1], [2, 3], x_um=[0.0, 0.0, 3.0, 3.0], y_um=[0.0, 0.0, 4.0, 4.0])
    found = {
        tuple(distance_matched_shuffle(c, k, bins=[4.9, 5.1], positions=["x_um", "y_um"])[0].post.tolist())
        for k in range(20)
    }
    assert found == {(2, 3), (3, 2)}
    # Moved apart, the swap would take one edge out of its bin.
    moved = graph([0, 1], [2, 3], x_um=[0.0, 0.0, 3.0, 3.5], y_um=[0.0, 0.5, 4.0, 4.5])
    assert {
        tuple(distance_matched_shuffle(moved, k, bins=[5.1], positions=["x_um", "y_um"])[0].post.tolist())
        for k in range(20)
    } == {(2, 3)}


def test_neurons_without_a_position_are_an_error_or_keep_their_edges() -> None:
    rng = np.random.default_rng(2)
    pre, post = np.nonzero((rng.random((20, 20)) < 0.4) & ~np.eye(20, dtype=bool))
    x = [None, None, *rng.random(18).tolist()]
    c = graph(pre, post, x_um=x, y_um=[0.0] * 20, z_um=[0.0] * 20)
    with pytest.raises(SchemaError, match=r"without a position.*0, 1 \(2 in all\)"):
        distance_matched_shuffle(c, 0)
    shuffled, stats = distance_matched_shuffle(c, 0, bins=2, missing="keep")
    fixed = {(a, b) for a, b in zip(pre.tolist(), post.tolist(), strict=True) if min(a, b) < 2}
    after = set(zip(shuffled.pre.tolist(), shuffled.post.tolist(), strict=True))
    assert {(a, b) for a, b in after if min(a, b) < 2} == fixed
    assert stats.unplaced["chemical"] == len(fixed)
    assert stats.kept["chemical"] < stats.edges["chemical"]


def test_distances_need_columns_of_numbers_and_bins_that_ascend() -> None:
    c = graph([0, 1], [1, 0], x_um=[0.0, 1.0], name=["a", "b"])
    with pytest.raises(UnknownNameError, match="Did you mean 'x_um'"):
        distance_matched_shuffle(c, 0, positions=["x_nm"])
    with pytest.raises(SchemaError, match="'name' of the neurons does not hold numbers"):
        distance_matched_shuffle(c, 0, positions=["name"])
    for wrong in (
        {"bins": 0},
        {"bins": [3.0, 2.0]},
        {"bins": True},
        {"bins": [np.nan]},
        {"bins": "many"},
        {"bins": 2.5},
        {"positions": []},
        {"missing": "drop"},
    ):
        with pytest.raises(SettingError):
            distance_matched_shuffle(c, 0, **{"positions": ["x_um"], **wrong})  # type: ignore[arg-type]


# ---- weights ----


def test_all_orders_of_the_counts_are_equally_likely() -> None:
    c = graph([0, 1, 2, 3], [1, 2, 3, 0], count=[1, 2, 3, 4])
    counts: Counter[object] = Counter(tuple(shuffle_weights(c, k)[0].count.tolist()) for k in range(960))
    assert evenness(counts, 24) > 0.001


def test_counts_stay_among_edges_of_one_sign() -> None:
    c = graph([0, 1, 2, 3], [1, 2, 3, 0], count=[1, 2, 3, 4], sign=[1, 1, -1, 0])
    found = {tuple(shuffle_weights(c, k)[0].count.tolist()) for k in range(30)}
    assert found == {(1, 2, 3, 4), (2, 1, 3, 4)}


def test_within_neurons_out_strengths_are_kept() -> None:
    rng = np.random.default_rng(3)
    pre, post = np.nonzero(rng.random((12, 12)) < 0.5)
    c = graph(pre, post, count=rng.integers(1, 50, len(pre)))
    kept, _ = shuffle_weights(c, 0, within="neuron")
    lost, _ = shuffle_weights(c, 0)
    strength = [np.bincount(x.pre, x.count, 12).tolist() for x in (c, kept, lost)]
    assert strength[0] == strength[1] != strength[2]
    assert kept.digest() != c.digest()


def test_named_columns_move_together() -> None:
    table = pa.table({"size": [10, 20, 30, 40], "name": list("abcd")})
    c = Connectome.from_edges(
        pa.table({"id": range(4)}), pre=[0, 1, 2, 3], post=[1, 2, 3, 0], count=[1, 2, 3, 4], edge_columns=table
    )
    for seed in range(10):
        shuffled, _ = shuffle_weights(c, seed, columns=["count", "size"])
        assert shuffled.edge_columns["size"].to_pylist() == (10 * shuffled.count).tolist()
        assert shuffled.edge_columns["name"].to_pylist() == list("abcd")
    assert shuffle_weights(c, 0, columns=["size"])[0].count.tolist() == [1, 2, 3, 4]
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        shuffle_weights(c, 0, columns=["sise"])
    with pytest.raises(SettingError, match="within"):
        shuffle_weights(c, 0, within="post")  # type: ignore[arg-type]


# ---- signs ----


def test_over_neurons_dales_law_holds_and_as_many_neurons_inhibit() -> None:
    rng = np.random.default_rng(4)
    of_neuron = np.array([1] * 7 + [-1] * 3 + [0] * 2)
    pre, post = np.nonzero(rng.random((12, 12)) < 0.6)
    c = graph(pre, post, sign=of_neuron[pre])
    found = set()
    for seed in range(50):
        shuffled, _ = shuffle_signs(c, seed)
        signs = [set(shuffled.sign[shuffled.pre == i].tolist()) for i in range(12)]
        assert all(len(s) == 1 for s in signs)
        assert signs[10:] == [{0}, {0}]
        flat = [next(iter(s)) for s in signs]
        assert Counter(flat) == Counter(of_neuron.tolist())
        found.add(tuple(flat))
    assert len(found) > 30  # of 120


def test_an_edge_without_a_sign_keeps_none() -> None:
    c = graph([0, 0, 1, 1], [1, 2, 0, 2], sign=[1, 0, -1, 0])
    for over in ("neurons", "edges"):
        found = {tuple(shuffle_signs(c, k, over=over)[0].sign.tolist()) for k in range(20)}  # type: ignore[arg-type]
        assert found == {(1, 0, -1, 0), (-1, 0, 1, 0)}


def test_over_edges_all_orders_are_equally_likely() -> None:
    c = graph([0, 1, 2, 3, 4], [1, 2, 3, 4, 0], sign=[1, 1, 1, -1, -1])
    counts: Counter[object] = Counter(tuple(shuffle_signs(c, k, over="edges")[0].sign.tolist()) for k in range(400))
    assert evenness(counts, 10) > 0.001


def test_neurons_of_both_signs_are_named_and_a_way_out_is_shown() -> None:
    c = graph([0, 0, 1], [1, 2, 0], sign=[1, -1, 1])
    with pytest.raises(SettingError, match=r"edges of both signs.*, 0 \(1 in all\).*over='edges'"):
        shuffle_signs(c, 0)
    with pytest.raises(SettingError, match="over is 'synapses'"):
        shuffle_signs(c, 0, over="synapses")  # type: ignore[arg-type]
