"""Graph algorithms as pure functions on compressed sparse rows; the NetworkX backend is written in them."""

from connectofit.connectome.algorithms.components import (
    core_numbers,
    edges_between,
    groups,
    sinks,
    strong_labels,
    weak_labels,
)
from connectofit.connectome.algorithms.csr import Csr, from_edges, segment_sums
from connectofit.connectome.algorithms.distances import (
    Reached,
    betweenness,
    reached_by,
    weighted_lengths,
    weighted_lengths_from_any,
)
from connectofit.connectome.algorithms.joined_pairs import Pairs, list_triangles, pair_strength, pairs, triangle_sums
from connectofit.connectome.algorithms.mixing import (
    attribute_assortativity,
    correlation,
    mutual_edges,
    neighbour_sums,
    pair_counts,
    rich_club,
)
from connectofit.connectome.algorithms.spectral import (
    eigenvector,
    eigenvector_arpack,
    hubs_and_authorities,
    katz,
    pagerank,
)
from connectofit.connectome.algorithms.traversal import Search, breadth_first, is_acyclic, meeting_path
from connectofit.connectome.algorithms.triads import transitive_triples, triadic_census

__all__ = [
    "Csr",
    "Pairs",
    "Reached",
    "Search",
    "attribute_assortativity",
    "betweenness",
    "breadth_first",
    "core_numbers",
    "correlation",
    "edges_between",
    "eigenvector",
    "eigenvector_arpack",
    "from_edges",
    "groups",
    "hubs_and_authorities",
    "is_acyclic",
    "katz",
    "list_triangles",
    "meeting_path",
    "mutual_edges",
    "neighbour_sums",
    "pagerank",
    "pair_counts",
    "pair_strength",
    "pairs",
    "reached_by",
    "rich_club",
    "segment_sums",
    "sinks",
    "strong_labels",
    "transitive_triples",
    "triadic_census",
    "triangle_sums",
    "weak_labels",
    "weighted_lengths",
    "weighted_lengths_from_any",
]
