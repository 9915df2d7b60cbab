"""The views through which a Connectome answers as a NetworkX graph does."""

from connectofit.connectome.views.adjacency import AdjacencyView, NeighbourView
from connectofit.connectome.views.attributes import Attributes
from connectofit.connectome.views.degrees import DegreeView
from connectofit.connectome.views.edges import EdgeDataView, EdgeView
from connectofit.connectome.views.nodes import NodeDataView, NodeView

__all__ = [
    "AdjacencyView",
    "Attributes",
    "DegreeView",
    "EdgeDataView",
    "EdgeView",
    "NeighbourView",
    "NodeDataView",
    "NodeView",
]
