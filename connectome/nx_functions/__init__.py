"""NetworkX's functions on columns: the same names, arguments, results and errors."""

from connectofit.connectome.nx_functions import (  # noqa: F401 (each registers its functions)
    assortativity,
    centralities,
    cohesion,
    components,
    degrees,
    matrices,
    searches,
    shortest_paths,
)
from connectofit.connectome.nx_functions.graphs import ConvertedGraph, Unsupported, columns_of
from connectofit.connectome.nx_functions.registry import FUNCTIONS

__all__ = ["FUNCTIONS", "ConvertedGraph", "Unsupported", "columns_of"]
