"""Sorting of edges and the search for the first rows, against Python's own sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome.arrays import edges_in_order, first_by_row, narrow, sort_edges

EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)), max_size=40)


def columns(edges: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(edges, int).reshape(-1, 3)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), table[:, 2].astype(np.int8)


# With 2^30 neurons the parts of an edge no longer fit into one integer, and another way is taken.
@pytest.mark.parametrize("n", [6, 2**30])
@settings(deadline=None)
@given(edges=EDGES)
def test_edges_are_sorted_as_python_sorts_tuples(n: int, edges: list[tuple[int, int, int]]) -> None:
    pre, post, kind, order = sort_edges(*columns(edges), n)
    expected = sorted(range(len(edges)), key=lambda k: edges[k])
    assert list(zip(pre.tolist(), post.tolist(), kind.tolist(), strict=True)) == sorted(edges)
    assert (list(range(len(edges))) if order is None else order.tolist()) == expected
    assert (order is None) == (expected == list(range(len(edges))))


def test_the_largest_indices_survive_sorting() -> None:
    for n in (2, 3, 2**16, 2**17 + 1, 2**29, 2**30):
        pre, post = np.array([n - 1, 0, n - 1], np.int32), np.array([n - 1, n - 1, 0], np.int32)
        one, two, _, order = sort_edges(pre, post, np.zeros(3, np.int8), n)
        assert (one.tolist(), two.tolist()) == ([0, n - 1, n - 1], [n - 1, 0, n - 1])
        assert order is not None
        assert order.tolist() == [1, 2, 0]


@settings(deadline=None)
@given(EDGES)
def test_edges_are_in_order_when_python_says_so(edges: list[tuple[int, int, int]]) -> None:
    assert edges_in_order(*columns(edges), strictly=False) == (edges == sorted(edges))
    assert edges_in_order(*columns(edges), strictly=True) == (edges == sorted(set(edges)))


def test_the_first_rows_are_found_without_sorting_all() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 3, 1000, 200_000):
        rows = rng.permutation(size)
        for share in (0.0, 1e-4, 0.5, 1.0):
            marked = rng.random(size) < share
            expected = sorted(rows[marked].tolist())[:5]
            assert rows[first_by_row(marked, rows)].tolist() == expected


def test_integers_become_narrow_only_where_all_fit() -> None:
    assert narrow(np.array([1, 2**31 - 1])).dtype == np.int32
    assert narrow(np.array([1, 2**31])).dtype == np.int64
    assert narrow(np.array([-(2**31) - 1])).dtype == np.int64
    assert narrow(np.array([1, 2], np.uint8)).dtype == np.int32
    assert narrow(np.array([1.0])).dtype == np.float64
    assert narrow(np.zeros(0, np.int64)).dtype == np.int64
