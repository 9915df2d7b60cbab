"""What NetworkX is told of the backend ``connectofit`` while NetworkX itself is being imported.

The backend (`connectofit.connectome.nx_backend`) is loaded on first use. This module stands by itself because importing
anything of `connectofit` here would need NetworkX, which is not ready yet, and would slow down every other program of
the environment that uses NetworkX.
"""

from __future__ import annotations

from typing import Any

FALLBACK_MAX_EDGES = 1_000_000  # converting this many takes NetworkX several seconds and most of a gigabyte
CONVERT_MIN_EDGES = 1_000

_UNWEIGHTED = "Runs on columns without `weight`."
_FUNCTIONS = {
    "adjacency_matrix": "",
    "all_pairs_dijkstra_path_length": "",
    "all_pairs_shortest_path": "",
    "all_pairs_shortest_path_length": "",
    "ancestors": "",
    "attracting_components": "",
    "attribute_assortativity_coefficient": "",
    "attribute_mixing_dict": "",
    "average_clustering": "",
    "average_degree_connectivity": "Runs on columns without `weight` on multigraphs.",
    "average_neighbor_degree": "Runs on columns without `weight` on multigraphs.",
    "average_shortest_path_length": "Runs on columns with the methods 'unweighted' and 'dijkstra'.",
    "betweenness_centrality": _UNWEIGHTED,
    "bfs_edges": "Runs on columns without `sort_neighbors`.",
    "bfs_layers": "",
    "bfs_successors": "Runs on columns without `sort_neighbors`.",
    "bfs_tree": "Runs on columns without `sort_neighbors`.",
    "bidirectional_shortest_path": "",
    "center": "Runs on columns without `usebounds`, and not on undirected trees.",
    "closeness_centrality": "",
    "clustering": "",
    "condensation": "",
    "connected_components": "",
    "core_number": "",
    "degree_assortativity_coefficient": "",
    "degree_centrality": "",
    "degree_mixing_dict": "",
    "degree_pearson_correlation_coefficient": "",
    "descendants": "",
    "descendants_at_distance": "",
    "diameter": "Runs on columns without `usebounds`.",
    "dijkstra_path_length": "",
    "eccentricity": "Runs on columns without `sp`.",
    "ego_graph": "Gives a Connectome of a Connectome.",
    "eigenvector_centrality": "",
    "eigenvector_centrality_numpy": "",
    "harmonic_centrality": "",
    "has_path": "",
    "hits": "",
    "in_degree_centrality": "",
    "is_attracting_component": "",
    "is_connected": "",
    "is_directed_acyclic_graph": "",
    "is_isolate": "",
    "is_strongly_connected": "",
    "is_weakly_connected": "",
    "isolates": "",
    "k_core": "Gives a Connectome of a Connectome.",
    "k_corona": "Gives a Connectome of a Connectome.",
    "k_crust": "Gives a Connectome of a Connectome.",
    "k_shell": "Gives a Connectome of a Connectome.",
    "katz_centrality": "",
    "multi_source_dijkstra_path_length": "",
    "node_connected_component": "",
    "number_attracting_components": "",
    "number_connected_components": "",
    "number_of_isolates": "",
    "number_strongly_connected_components": "",
    "number_weakly_connected_components": "",
    "numeric_assortativity_coefficient": "",
    "out_degree_centrality": "",
    "overall_reciprocity": "",
    "pagerank": "",
    "periphery": "Runs on columns without `usebounds`.",
    "radius": "Runs on columns without `usebounds`.",
    "reciprocity": "",
    "rich_club_coefficient": "Runs on columns with `normalized=False`.",
    "s_metric": "",
    "shortest_path": _UNWEIGHTED,
    "shortest_path_length": "Runs on columns with the method 'dijkstra'.",
    "single_source_dijkstra_path_length": "",
    "single_source_shortest_path": "",
    "single_source_shortest_path_length": "",
    "single_target_shortest_path": "",
    "single_target_shortest_path_length": "",
    "strongly_connected_components": "",
    "to_scipy_sparse_array": "",
    "transitivity": "",
    "triadic_census": "Runs on columns without `nodelist`.",
    "triangles": "",
    "weakly_connected_components": "",
}


def get_info() -> dict[str, Any]:
    """The backend's name, the functions it implements, and its settings with their defaults.

    ``networkx.config.backends.connectofit.fallback_max_edges``: up to this many edges a Connectome is converted for
    functions that do not run on columns. ``convert_min_edges``: NetworkX graphs with fewer edges are not converted
    when the backend stands in ``networkx.config.backend_priority``.
    """
    return {
        "backend_name": "connectofit",
        "project": "connectofit",
        "package": "connectofit",
        "short_summary": "Columns: functions of connectomics on `Connectome` and other graphs, in NumPy and SciPy.",
        "default_config": {"fallback_max_edges": FALLBACK_MAX_EDGES, "convert_min_edges": CONVERT_MIN_EDGES},
        "functions": {name: {"additional_docs": text} if text else {} for name, text in _FUNCTIONS.items()},
    }
