"""Graph algorithms on compressed rows, against closed forms, graphs worked out by hand, and dense linear algebra."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from connectofit.connectome.algorithms import (
    Csr,
    attribute_assortativity,
    betweenness,
    breadth_first,
    core_numbers,
    correlation,
    edges_between,
    eigenvector,
    from_edges,
    groups,
    hubs_and_authorities,
    is_acyclic,
    katz,
    list_triangles,
    meeting_path,
    mutual_edges,
    neighbour_sums,
    pagerank,
    pair_counts,
    pairs,
    reached_by,
    rich_club,
    segment_sums,
    sinks,
    strong_labels,
    transitive_triples,
    triadic_census,
    triangle_sums,
    weak_labels,
    weighted_lengths,
)
from connectofit.connectome.algorithms import components as components_module
from connectofit.connectome.algorithms import distances as distances_module
from connectofit.connectome.algorithms import joined_pairs as pairs_module
from connectofit.connectome.algorithms import traversal as traversal_module


def graph(n: int, *edges: tuple[int, int], weights: list[float] | None = None) -> Csr:
    pre, post = np.array(edges, int).reshape(-1, 2).T
    made = from_edges(n, pre, post)
    return made if weights is None else made.weighted(np.array(weights)[np.argsort(pre, kind="stable")])


def path(n: int) -> Csr:
    return from_edges(n, np.arange(n - 1), np.arange(1, n))


def cycle(n: int) -> Csr:
    return from_edges(n, np.arange(n), (np.arange(n) + 1) % n)


def complete(n: int) -> Csr:
    pre, post = np.nonzero(~np.eye(n, dtype=bool))
    return from_edges(n, pre, post)


def random_graph(seed: int, n: int = 60, e: int = 400) -> tuple[Csr, np.ndarray]:
    """A multigraph with self-loops, and its dense matrix of counts."""
    rng = np.random.default_rng(seed)
    pre, post = np.sort(rng.integers(0, n, e)), rng.integers(0, n, e)
    order = np.lexsort((post, pre))
    dense = np.zeros((n, n))
    np.add.at(dense, (pre, post), 1)
    return from_edges(n, pre[order], post[order]), dense


# ---- rows ----


def test_rows_keep_parallel_edges_and_their_order():
    multi = graph(3, (0, 2), (0, 2), (0, 1), (2, 2))
    assert multi.indices.tolist() == [2, 2, 1, 2]
    assert multi.distinct.indices.tolist() == [2, 1, 2]
    assert multi.simple.indices.tolist() == [1, 2]
    assert multi.lengths.tolist() == [3, 0, 1]
    assert multi.in_lengths.tolist() == [0, 1, 3]
    assert multi.loops.tolist() == [0, 0, 1]


def test_rows_that_touch_are_not_taken_for_parallel_edges():
    assert graph(3, (0, 2), (1, 2), (2, 0)).distinct.n_edges == 3


def test_the_transpose_turns_edges_and_weights_round():
    rows, dense = random_graph(1)
    weighted = rows.weighted(np.arange(rows.n_edges))
    turned = weighted.transpose
    assert np.array_equal(turned.matrix_of_weights().toarray(), weighted.matrix_of_weights().toarray().T)
    assert np.array_equal(rows.weight_matrix().toarray(), dense)
    assert turned.column_sums().tolist() == weighted.row_sums().tolist()


def test_whole_weights_add_up_to_whole_numbers():
    weighted = graph(3, (0, 1), (0, 2), (1, 2), weights=[2, 3, 4])
    assert weighted.row_sums().tolist() == [5, 4, 0]
    assert weighted.column_sums().tolist() == [0, 2, 7]
    assert weighted.column_sums().dtype == np.int64
    assert segment_sums(np.array([0.1, 0.2, 0.3]), np.array([0, 2, 2, 3])).tolist() == [0.1 + 0.2, 0, 0.3]


def test_a_part_renumbers_its_nodes_in_the_order_asked_for():
    weighted = graph(4, (0, 1), (1, 3), (3, 0), (3, 3), weights=[5, 6, 7, 8])
    part, edges = weighted.part(np.array([3, 0, 1]))
    assert part.matrix_of_weights().toarray().tolist() == [[8, 7, 0], [0, 0, 5], [6, 0, 0]]
    assert sorted(edges.tolist()) == [0, 1, 2, 3]


# ---- searches ----


def test_levels_of_a_path_are_its_positions_however_they_are_counted(monkeypatch: pytest.MonkeyPatch):
    for few in (0, 48):
        monkeypatch.setattr(traversal_module, "FEW", few)
        found = breadth_first(path(500), np.array([3]))
        assert found.order.tolist() == list(range(3, 500))
        assert found.levels.tolist() == list(range(497))
        assert found.parents.tolist() == [-1, *range(3, 499)]
        assert breadth_first(path(500), np.array([3]), 2).order.tolist() == [3, 4, 5]


@pytest.mark.parametrize("chunk", [7, 65_536])
@pytest.mark.parametrize("few", [0, 5, 10_000])
def test_a_search_discovers_nodes_as_a_queue_does(monkeypatch: pytest.MonkeyPatch, chunk: int, few: int):
    monkeypatch.setattr(traversal_module, "CHUNK", chunk)
    monkeypatch.setattr(traversal_module, "FEW", few)
    rows, _ = random_graph(2, e=150)
    order, parents, levels = [0], [-1], [0]
    for node in order:
        for other in rows.indices[rows.indptr[node] : rows.indptr[node + 1]].tolist():
            if other not in order:
                order.append(other)
                parents.append(node)
                levels.append(levels[order.index(node)] + 1)
    found = breadth_first(rows, np.array([0]))
    assert found.order.tolist() == order
    assert found.parents.tolist() == parents
    assert found.levels.tolist() == levels


def test_a_search_without_sources_finds_nothing():
    assert breadth_first(path(3), np.array([], int)).order.tolist() == []


def test_two_fringes_meet_on_a_shortest_path():
    rows, _ = random_graph(3, e=150)
    levels = dict(
        zip(*((found := breadth_first(rows, np.array([0]))).order.tolist(), found.levels.tolist()), strict=True)
    )
    for target in range(rows.n_nodes):
        way = meeting_path(rows, rows.transpose, 0, target)
        if target not in levels:
            assert way is None
            continue
        assert (way[0], way[-1], len(way) - 1) == (0, target, levels[target])
        assert all(b in rows.indices[rows.indptr[a] : rows.indptr[a + 1]] for a, b in pairwise(way))


def test_cycles_are_found_and_paths_have_none():
    assert is_acyclic(path(5))
    assert is_acyclic(graph(2))
    assert not is_acyclic(cycle(5))
    assert not is_acyclic(graph(2, (0, 1), (1, 1)))
    assert not is_acyclic(graph(5, (0, 1), (1, 2), (2, 1), (3, 4)))


# ---- components and cores ----


def test_weak_components_are_numbered_by_their_first_nodes():
    count, labels = weak_labels(graph(6, (5, 0), (2, 4), (4, 1)))
    assert count == 4 - 1
    assert labels.tolist() == [0, 1, 1, 2, 1, 0]


def test_weak_components_joined_only_by_later_edges_are_found():
    # Nodes 0 to 3 form one group by their first two edges, 4 to 7 another; the third edge of node 3 joins them.
    ring = [(k + base, (k + step) % 4 + base) for base in (0, 4) for k in range(4) for step in (1, 2)]
    assert weak_labels(graph(9, *ring))[0] == 3
    assert weak_labels(graph(9, *ring, (3, 6)))[1].tolist() == [0] * 8 + [1]


def test_strong_components_are_numbered_from_the_end_of_the_edges():
    two_cycles = graph(5, (0, 1), (1, 0), (1, 2), (2, 3), (3, 2), (4, 0))
    count, labels = strong_labels(two_cycles)
    assert count == 3
    assert labels.tolist() == [1, 1, 0, 0, 2]
    assert [part.tolist() for part in groups(count, labels)] == [[2, 3], [0, 1], [4]]
    assert edges_between(two_cycles, labels).tolist() == [[1, 0], [2, 1]]
    assert sinks(two_cycles, labels, count).tolist() == [0]


def test_parallel_edges_do_not_trouble_strong_components():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pre, post = np.sort(rng.integers(0, 6, 12)), rng.integers(0, 6, 12)
        order = np.lexsort((post, pre))
        pre, post = np.repeat(pre[order], 2), np.repeat(post[order], 2)
        reach = (
            np.linalg.matrix_power(np.eye(6) + sparse.coo_array((np.ones(24), (pre, post)), (6, 6)).toarray(), 6) > 0
        )
        _, labels = strong_labels(from_edges(6, pre, post))
        assert np.array_equal(labels[:, None] == labels, reach & reach.T)


@pytest.mark.parametrize("few", [0, 8])
def test_core_numbers_are_the_degrees_that_survive_the_peeling(monkeypatch: pytest.MonkeyPatch, few: int):
    monkeypatch.setattr(components_module, "FEW", few)
    assert core_numbers(complete(6), None).tolist() == [5] * 6
    assert core_numbers(path(200), path(200).transpose).tolist() == [1] * 200
    star_on_triangle = graph(6, (0, 1), (1, 2), (2, 0), (3, 0), (4, 3))
    assert core_numbers(star_on_triangle, star_on_triangle.transpose).tolist() == [2, 2, 2, 1, 1, 0]
    rows, dense = random_graph(4)
    core = core_numbers(rows.simple, rows.simple.transpose)
    joined = (dense + dense.T > 0) & ~np.eye(60, dtype=bool)
    degree_in = ((dense > 0) & joined).astype(int) + ((dense.T > 0) & joined)
    for k in range(1, core.max() + 2):
        inside = core >= k
        # Each node of the k-core has degree k among them; and no larger set has that.
        assert (degree_in[np.ix_(inside, inside)].sum(axis=1) >= k).all()
        left = np.ones(60, bool)
        while (weak := left & (degree_in[:, left].sum(axis=1) < k)).any():
            left &= ~weak
        assert np.array_equal(left, inside)


# ---- distances ----


def test_distances_on_a_cycle_add_up_in_closed_form():
    n = 700  # more sources than travel together
    reached = reached_by(cycle(n), np.arange(n))
    assert set(reached.count) == {n}
    assert set(reached.total) == {n * (n - 1) // 2}
    assert set(reached.farthest) == {n - 1}
    assert reached.inverse == pytest.approx(np.full(n, (1 / np.arange(1, n)).sum()))


@pytest.mark.parametrize("gathered", [50, 1_000_000])
def test_distances_from_some_are_those_of_searches(monkeypatch: pytest.MonkeyPatch, gathered: int):
    monkeypatch.setattr(distances_module, "GATHERED", gathered)
    rows, _ = random_graph(5, e=120)
    sources = np.array([0, 5, 7, 30])
    reached = reached_by(rows, sources)
    count, total = np.zeros(60, int), np.zeros(60, int)
    for source in sources:
        found = breadth_first(rows, np.array([source]))
        count[found.order] += 1
        total[found.order] += found.levels
    assert reached.count.tolist() == count.tolist()
    assert reached.total.tolist() == total.tolist()


def test_weighted_lengths_take_the_lightest_of_parallel_edges_and_pass_edges_of_no_length():
    rows = graph(4, (0, 1), (0, 1), (1, 2), (0, 2), weights=[5, 2, 0, 3])
    (lengths,) = weighted_lengths(rows, np.array([0]))
    assert lengths.tolist() == [[0, 2, 2, np.inf]]
    reached = reached_by(rows, np.array([0, 1]))
    assert reached.count.tolist() == [1, 2, 2, 0]
    assert reached.total.tolist() == [0, 2, 2, 0]
    assert reached.farthest.tolist() == [0, 2, 2, 0]


@pytest.mark.parametrize("cells", [100, 2_000_000])
def test_betweenness_of_paths_and_stars_is_in_closed_form(monkeypatch: pytest.MonkeyPatch, cells: int):
    monkeypatch.setattr(distances_module, "CELLS", cells)
    n = 30
    between = betweenness(path(n), np.arange(n))
    assert between.tolist() == [k * (n - 1 - k) for k in range(n)]
    hub = np.zeros(n - 1, int)
    spokes = np.arange(1, n)
    star = from_edges(n, np.concatenate([hub, spokes]), np.concatenate([spokes, hub]))
    assert betweenness(star, np.arange(n)).tolist() == [(n - 1) * (n - 2)] + [0] * (n - 1)
    # A square has two shortest paths between opposite corners: each of the others lies on half of them.
    square = graph(4, (0, 1), (0, 2), (1, 3), (2, 3))
    assert betweenness(square, np.arange(4)).tolist() == [0, 0.5, 0.5, 0]
    assert betweenness(square, np.arange(4), endpoints=True).tolist() == [3, 2.5, 2.5, 3]


# ---- triangles ----


@pytest.mark.parametrize(("wedges", "cells"), [(1, 1), (2_000_000, 4_000_000)])
def test_every_triangle_is_listed_once(monkeypatch: pytest.MonkeyPatch, wedges: int, cells: int):
    monkeypatch.setattr(pairs_module, "WEDGES", wedges)
    monkeypatch.setattr(pairs_module, "CELLS", cells)
    assert triangle_sums(pairs(complete(8))).tolist() == [21] * 8
    assert triangle_sums(pairs(cycle(8))).tolist() == [0] * 8
    rows, dense = random_graph(6)
    joined = ((dense + dense.T > 0) & ~np.eye(60, dtype=bool)).astype(int)
    assert triangle_sums(pairs(rows)).tolist() == (np.diag(joined @ joined @ joined) // 2).tolist()
    assert sum(len(ij) for ij, _, _ in list_triangles(pairs(rows))) == np.trace(joined @ joined @ joined) // 6


def test_products_of_strengths_are_those_of_the_matrix():
    rows, dense = random_graph(7)
    simple = (dense > 0) & ~np.eye(60, dtype=bool)
    strength = simple.astype(int) + simple.T
    joined = pairs(rows)
    found = triangle_sums(joined, np.bitwise_count(joined.code).astype(np.int64))
    assert found.tolist() == (np.diag(strength @ strength @ strength) // 2).tolist()
    assert found.dtype == np.int64


def test_transitive_triples_are_those_of_the_matrix():
    rows, dense = random_graph(8)
    a = ((dense > 0) & ~np.eye(60, dtype=bool)).astype(int)
    assert transitive_triples(rows) == ((a @ a) * a).sum()


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        ("003", []),
        ("012", [(0, 1)]),
        ("102", [(0, 1), (1, 0)]),
        ("021D", [(1, 0), (1, 2)]),
        ("021U", [(0, 1), (2, 1)]),
        ("021C", [(0, 1), (1, 2)]),
        ("111D", [(0, 1), (1, 0), (2, 1)]),
        ("111U", [(0, 1), (1, 0), (1, 2)]),
        ("030T", [(0, 1), (1, 2), (0, 2)]),
        ("030C", [(0, 1), (1, 2), (2, 0)]),
        ("201", [(0, 1), (1, 0), (1, 2), (2, 1)]),
        ("120D", [(1, 0), (1, 2), (0, 2), (2, 0)]),
        ("120U", [(0, 1), (2, 1), (0, 2), (2, 0)]),
        ("120C", [(0, 1), (1, 2), (0, 2), (2, 0)]),
        ("210", [(0, 1), (1, 2), (2, 1), (0, 2), (2, 0)]),
        ("300", [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)]),
    ],
)
def test_each_triad_is_named_as_holland_and_leinhardt_do(name: str, edges: list[tuple[int, int]]):
    assert {key for key, number in triadic_census(graph(3, *edges)).items() if number} == {name}
    # A self-loop and a parallel edge change nothing.
    assert triadic_census(graph(3, *sorted([*edges, *edges[:1], (1, 1)])))[name] == 1


# ---- fixed points ----


def test_pagerank_solves_its_equation():
    rows, dense = random_graph(9)
    dense[3] = 0
    rows = from_edges(60, *(np.repeat(end, dense[dense > 0].astype(int)) for end in np.nonzero(dense)))
    p = np.arange(1.0, 61.0)
    found = pagerank(rows, alpha=0.8, personalization=p, tol=1e-14)
    p /= p.sum()
    step = np.where(dense.sum(axis=1, keepdims=True) > 0, dense / np.maximum(dense.sum(axis=1, keepdims=True), 1), p)
    exact = np.linalg.solve(np.eye(60) - 0.8 * step.T, 0.2 * p)
    assert found == pytest.approx(exact, abs=1e-10)
    assert pagerank(rows, alpha=0.8, max_iter=1) is None


def test_katz_solves_its_equation_and_gives_up_where_there_is_no_solution():
    rows, dense = random_graph(10)
    beta = np.arange(60.0)
    found = katz(rows, alpha=0.05, beta=beta, start=np.zeros(60), tol=1e-13)
    assert found == pytest.approx(np.linalg.solve(np.eye(60) - 0.05 * dense.T, beta))
    assert katz(rows, alpha=1.0, beta=beta, start=np.zeros(60)) is None


def test_the_eigenvector_belongs_to_the_largest_eigenvalue():
    rows, dense = random_graph(11)
    found = eigenvector(rows, start=np.ones(60), max_iter=1000, tol=1e-12)
    values, vectors = np.linalg.eig(dense.T)
    first = vectors[:, np.argmax(values.real)].real
    assert found == pytest.approx(np.abs(first), abs=1e-6)


def test_hubs_and_authorities_are_the_first_singular_vectors():
    rows, dense = random_graph(12)
    hubs, authorities = hubs_and_authorities(rows)
    left, _, right = np.linalg.svd(dense)
    assert np.abs(hubs / np.linalg.norm(hubs)) == pytest.approx(np.abs(left[:, 0]), abs=1e-7)
    assert np.abs(authorities) == pytest.approx(np.abs(right[0]), abs=1e-7)


# ---- who is joined to whom ----


def test_mutual_edges_are_those_of_the_matrix():
    rows, dense = random_graph(13)
    assert mutual_edges(rows).tolist() == ((dense > 0) & (dense.T > 0)).sum(axis=1).tolist()
    assert mutual_edges(graph(2)).tolist() == [0, 0]


def test_sums_over_neighbours_count_parallel_edges_once():
    rows, dense = random_graph(14)
    assert neighbour_sums(rows, np.arange(60)).tolist() == ((dense > 0) @ np.arange(60)).tolist()


def test_assortativity_follows_newmans_formula():
    # Shares of 3/8 within and 1/8 between two halves: (6/8 - 1/2) / (1 - 1/2).
    ends = np.array([(0, 0)] * 3 + [(0, 1), (1, 0)] + [(1, 1)] * 3)
    assert attribute_assortativity(ends[:, 0], ends[:, 1], 2) == 0.5
    assert attribute_assortativity(np.array([0, 1]), np.array([0, 1]), 2) == 1.0
    assert attribute_assortativity(np.array([0, 1]), np.array([1, 0]), 2) == -1.0
    assert np.isnan(attribute_assortativity(ends[:0, 0], ends[:0, 1], 2))
    assert np.isnan(attribute_assortativity(np.zeros(3, int), np.zeros(3, int), 1))  # 0 / 0


def test_correlation_is_that_of_numpy_and_undefined_without_variation():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 50, 200), rng.integers(0, 50, 200)
    assert correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(correlation(x, np.ones(200)))
    assert np.isnan(correlation(x[:0], y[:0]))


def test_pairs_are_counted_in_the_order_of_their_first_occurrence():
    first, second, count = pair_counts(np.array([2, 0, 2, 1]), np.array([1, 0, 1, 2]), 3)
    assert (first.tolist(), second.tolist(), count.tolist()) == ([2, 0, 1], [1, 0, 2], [2, 1, 1])


def test_the_rich_club_of_a_complete_graph_is_all_joined():
    rows = complete(6)
    assert rich_club(rows, rows.lengths).tolist() == [1.0] * 5
    star = graph(4, (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0))
    assert rich_club(star, star.lengths).tolist() == [0.5]
