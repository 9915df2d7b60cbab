"""The triadic census: how often each of the 16 ways to join three nodes occurs (Holland and Leinhardt 1970)."""

from __future__ import annotations

from itertools import permutations
from math import comb

import numpy as np

from connectofit.connectome.algorithms.csr import Csr
from connectofit.connectome.algorithms.joined_pairs import BACK, FORTH, Pairs, list_triangles, pairs

TRIADS: tuple[str, ...] = ("003", "012", "102", "021D", "021U", "021C", "111D", "111U", "030T", "030C", "201")
TRIADS += ("120D", "120U", "120C", "210", "300")


def triadic_census(graph: Csr) -> dict[str, int]:
    """Counts of the 16 triads of a directed graph; self-loops and parallel edges are left out.

    Triads with three joined pairs are listed (`list_triangles`). Those with two follow from the degrees: a node with a
    neighbours that it sends to, b that it hears from, and m of both kinds is the centre of C(a, 2) pairs of type
    021D, and so on, and a triangle has three such centres. Those with one pair follow from the number of pairs.
    """
    joined = pairs(graph)
    n = graph.n_nodes
    census = dict.fromkeys(TRIADS, 0)
    kinds = _closed(joined)
    closed_centres = dict.fromkeys(TRIADS, 0)
    for codes, number in kinds.items():
        census[_name(codes)] += number
        for centre in _centres(codes):
            closed_centres[_open_name(*centre)] += number

    out, into, mutual = _degrees(joined)
    centres = {
        "021D": out * (out - 1) // 2,
        "021U": into * (into - 1) // 2,
        "021C": out * into,
        "111U": mutual * out,
        "111D": mutual * into,
        "201": mutual * (mutual - 1) // 2,
    }
    for name, number in centres.items():
        census[name] = int(number.sum()) - closed_centres[name]

    # A pair and any third node is one triad; the triads that hold more than one pair were counted above.
    single = int((joined.code != FORTH + BACK).sum())
    double = len(joined.code) - single
    singles = {"021D": 2, "021U": 2, "021C": 2, "111D": 1, "111U": 1, "030T": 3, "030C": 3}
    singles |= {"120D": 2, "120U": 2, "120C": 2, "210": 1}
    doubles = {"111D": 1, "111U": 1, "201": 2, "120D": 1, "120U": 1, "120C": 1, "210": 2, "300": 3}
    census["012"] = single * (n - 2) - sum(census[name] * times for name, times in singles.items())
    census["102"] = double * (n - 2) - sum(census[name] * times for name, times in doubles.items())
    census["003"] = comb(n, 3) - sum(census.values())
    return census


def transitive_triples(graph: Csr) -> int:
    """How many ordered triples of nodes have edges a -> b, a -> c and b -> c; in an undirected graph, 6 a triangle."""
    total = 0
    for (ij, ik, jk), number in _closed(pairs(graph)).items():
        edge = {(0, 1): ij & FORTH, (1, 0): ij & BACK, (0, 2): ik & FORTH, (2, 0): ik & BACK}
        edge |= {(1, 2): jk & FORTH, (2, 1): jk & BACK}
        total += number * sum(bool(edge[a, b] and edge[a, c] and edge[b, c]) for a, b, c in permutations(range(3)))
    return total


def _closed(joined: Pairs) -> dict[tuple[int, int, int], int]:
    """How many triangles have each combination of codes of their pairs (i, j), (i, k), (j, k)."""
    code = joined.code.astype(np.int64)
    counts = np.zeros(64, np.int64)
    for ij, ik, jk in list_triangles(joined):
        counts += np.bincount(16 * code[ij] + 4 * code[ik] + code[jk], minlength=64)
    return {(int(k) // 16, int(k) // 4 % 4, int(k) % 4): int(counts[k]) for k in np.flatnonzero(counts)}


def _degrees(joined: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per rank the pairs in which it only sends, only receives, and does both (int64 each)."""
    n = len(joined.nodes)

    def at(ends: np.ndarray, code: int) -> np.ndarray:
        return np.bincount(ends[joined.code == code], minlength=n)

    low, high = joined.rows, joined.indices
    return (
        at(low, FORTH) + at(high, BACK),
        at(low, BACK) + at(high, FORTH),
        at(low, FORTH + BACK) + at(high, FORTH + BACK),
    )


def _turned(code: int) -> int:
    return {FORTH: BACK, BACK: FORTH}.get(code, code)


def _centres(codes: tuple[int, int, int]) -> list[tuple[int, int]]:
    """For each corner of a triangle the codes of its two pairs, as that corner sees them."""
    ij, ik, jk = codes
    return [(ij, ik), (_turned(ij), jk), (_turned(ik), _turned(jk))]


def _open_name(one: int, other: int) -> str:
    """The triad of a centre and two nodes that are not joined, from the codes of the two pairs."""
    both = FORTH + BACK
    names = {(FORTH, FORTH): "021D", (FORTH, BACK): "021C", (BACK, BACK): "021U"}
    names |= {(FORTH, both): "111U", (BACK, both): "111D", (both, both): "201"}
    return names[(min(one, other), max(one, other))]


def _name(codes: tuple[int, int, int]) -> str:
    """The triad of three joined pairs."""
    both = FORTH + BACK
    mutual = codes.count(both)
    if mutual == 3:
        return "300"
    if mutual == 2:
        return "210"
    seen = _centres(codes)
    if mutual == 0:
        # In a cycle every corner sends once and receives once.
        return "030C" if all(set(pair) == {FORTH, BACK} for pair in seen) else "030T"
    # One mutual pair: the third node sends to both of its ends, hears from both, or stands between them.
    third = next(pair for pair in seen if both not in pair)
    return {(FORTH, FORTH): "120D", (BACK, BACK): "120U"}.get(third, "120C")
