"""Every null model keeps what it says, randomises something, and is repeatable."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, SettingError, UnknownNameError
from connectofit.connectome.nulls import KEPT, NULL_MODELS, RewireStats, ShuffleStats, randomise

N = 60
BOUNDS = (20.0, 45.0, 80.0)
SETTINGS = {"shuffle_within_blocks": {"by": "kind"}, "distance_matched_shuffle": {"bins": BOUNDS}}


@cache
def original() -> Connectome:
    """Both kinds of edges, signs of Dale, self-loops, further columns, and neurons in three blocks."""
    rng = np.random.default_rng(0)
    sign = rng.choice([1, -1], N, p=[0.7, 0.3])
    pre, post = np.nonzero(rng.random((N, N)) < 0.15)
    a, b = np.nonzero(np.triu(rng.random((N, N)) < 0.08, 1))
    size = rng.integers(1, 9, len(a))
    neurons = pa.table(
        {
            "id": [f"n{k}" for k in range(N)],
            "kind": rng.choice(["x", "y", "z"], N),
            **{axis: rng.random(N) * 100 for axis in ("x_um", "y_um", "z_um")},
        }
    )
    return Connectome.from_edges(
        neurons,
        pre=np.concatenate([pre, a, b]),
        post=np.concatenate([post, b, a]),
        count=np.concatenate([rng.integers(1, 40, len(pre)), size, size]),
        kind=np.repeat([0, 1], [len(pre), 2 * len(a)]),
        sign=np.concatenate([sign[pre], np.zeros(2 * len(a), int)]),
        edge_columns=pa.table({"volume": rng.random(len(pre) + 2 * len(a))}),
    )


def chemical(c: Connectome) -> np.ndarray:
    return np.flatnonzero(c.kind == 0)


def degrees(c: Connectome) -> list[list[int]]:
    return [np.bincount(end[c.kind == k], minlength=N).tolist() for k in (0, 1) for end in (c.pre, c.post)]


def wiring(c: Connectome) -> set[tuple[int, int, int]]:
    return set(zip(c.pre.tolist(), c.post.tolist(), c.kind.tolist(), strict=True))


def edge_values(values: Callable[[Connectome], np.ndarray]) -> Callable[[Connectome], list[object]]:
    return lambda c: sorted(zip(c.pre.tolist(), c.post.tolist(), c.kind.tolist(), values(c).tolist(), strict=True))


def block_edges(c: Connectome) -> object:
    block = c.column("kind")
    edges: Counter[tuple[object, ...]] = Counter()
    counts: Counter[tuple[object, ...]] = Counter()
    for a, b, kind, count in zip(c.pre, c.post, c.kind, c.count, strict=True):
        edges[block[a], block[b], int(kind)] += 1
        counts[block[a], block[b], int(kind)] += int(count)
    return (
        edges,
        {key: total for key, total in counts.items() if key[2] == 0},
        {frozenset(key[:2]): total for key, total in counts.items() if key[2] == 1},
    )


def distances(c: Connectome) -> list[list[int]]:
    place = np.stack([c.column(axis) for axis in ("x_um", "y_um", "z_um")], axis=1)
    apart = np.linalg.norm(place[c.pre] - place[c.post], axis=1)
    return [np.histogram(apart[c.kind == k], bins=[0, *BOUNDS, np.inf])[0].tolist() for k in (0, 1)]


CHECKS: dict[str, Callable[[Connectome], object]] = {
    "degrees": degrees,
    "wiring": wiring,
    "counts": lambda c: [sorted(c.count[c.kind == k].tolist()) for k in (0, 1)],
    "signs": lambda c: Counter(c.sign.tolist()),
    "out-strengths": lambda c: np.bincount(c.pre[chemical(c)], c.count[chemical(c)], N).tolist(),
    "edge signs": edge_values(lambda c: c.sign),
    "edge counts": edge_values(lambda c: c.count),
    "signs of neurons": lambda c: sorted(Counter(zip(c.pre.tolist(), c.sign.tolist(), strict=True)).items()),
    "block edges": block_edges,
    "distances": distances,
    "self-loops": lambda c: sorted(c.pre[(c.pre == c.post)].tolist()),
}


@cache
def randomised(name: str, seed: int = 1) -> tuple[Connectome, RewireStats | ShuffleStats]:
    return randomise(original(), name, seed, **SETTINGS.get(name, {}))


def test_there_is_a_check_and_a_description_for_all_that_is_kept() -> None:
    named = {kept for model in NULL_MODELS.values() for kept in model.keeps}
    assert named == set(KEPT) == set(CHECKS)
    assert all(model.name == name == model.function.__name__ for name, model in NULL_MODELS.items())


@pytest.mark.parametrize(("name", "kept"), [(m.name, kept) for m in NULL_MODELS.values() for kept in m.keeps])
def test_a_null_model_keeps_what_it_says(name: str, kept: str) -> None:
    assert CHECKS[kept](randomised(name)[0]) == CHECKS[kept](original())


@pytest.mark.parametrize("name", NULL_MODELS)
def test_a_null_model_changes_what_it_does_not_say(name: str) -> None:
    if "wiring" in NULL_MODELS[name].keeps:
        change = "edge signs" if name == "shuffle_signs" else "edge counts"
    else:
        change = "wiring"
    assert CHECKS[change](randomised(name)[0]) != CHECKS[change](original())


@pytest.mark.parametrize("name", NULL_MODELS)
def test_gap_junctions_stay_symmetric_and_neurons_and_columns_stay(name: str) -> None:
    c, _ = randomised(name)
    both = {(a, b): n for a, b, k, n in zip(c.pre, c.post, c.kind, c.count, strict=True) if k == 1}
    assert all(both[b, a] == n for (a, b), n in both.items())
    assert c.neurons.equals(original().neurons)
    assert sorted(c.edge_columns["volume"].to_pylist()) == sorted(original().edge_columns["volume"].to_pylist())
    # A connectome that from_edges accepts as it is: sorted, no edge twice, all in range.
    again = Connectome.from_edges(
        c.neurons, pre=c.pre, post=c.post, count=c.count, kind=c.kind, sign=c.sign, edge_columns=c.edge_columns
    )
    assert again.digest() == c.digest()


@pytest.mark.parametrize("name", NULL_MODELS)
def test_the_seed_decides_and_must_be_a_whole_number(name: str) -> None:
    again = randomise(original(), name, 1, **SETTINGS.get(name, {}))
    assert again[0].digest() == randomised(name)[0].digest()
    assert randomised(name, 2)[0].digest() != again[0].digest()
    for seed in (None, -1, 1.5, True):
        with pytest.raises(SettingError, match="seed"):
            randomise(original(), name, seed, **SETTINGS.get(name, {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NULL_MODELS)
def test_connectomes_without_edges_or_neurons_stay_as_they_are(name: str) -> None:
    for neurons in (original().neurons, original().neurons.slice(0, 0)):
        empty = Connectome.from_edges(neurons, pre=[], post=[], count=np.zeros(0, int))
        assert randomise(empty, name, 0, **SETTINGS.get(name, {}))[0].digest() == empty.digest()


@pytest.mark.parametrize("name", NULL_MODELS)
def test_statistics_count_the_edges_of_each_kind(name: str) -> None:
    c, stats = randomised(name)[0], randomised(name)[1]
    loops = original().pre == original().post
    movable = [int((~loops & (original().kind == 0)).sum()), int((original().kind == 1).sum()) // 2]
    if isinstance(stats, RewireStats):
        assert list(stats.edges.values()) == movable
        for k, kind in enumerate(("chemical", "electrical")):
            pairs = [{(a, b) for a, b, of in wiring(x) if of == k and a != b} for x in (original(), c)]
            assert stats.kept[kind] == len(pairs[0] & pairs[1]) / (k + 1)
            assert 0 < stats.accepted[kind] <= stats.attempted[kind]
    else:
        changed = {"shuffle_weights": "count", "shuffle_signs": "sign"}[name]
        differs = getattr(c, changed) != getattr(original(), changed)
        assert stats.changed == {
            "chemical": int(differs[original().kind == 0].sum()),
            "electrical": int(differs[original().kind == 1].sum()) // 2,
        }
        assert stats.edges["chemical"] == int((original().kind == 0).sum())


def test_misspelt_models_and_settings_suggest_the_right_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rewire'"):
        randomise(original(), "rewier", 0)
    with pytest.raises(UnknownNameError, match="Did you mean 'swaps_per_edge'"):
        randomise(original(), "rewire", 0, swap_per_edge=3)


def test_all_models_are_called_alike() -> None:
    for model in NULL_MODELS.values():
        assert list(inspect.signature(model.function).parameters)[:2] == ["connectome", "seed"]
