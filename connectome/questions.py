"""Questions that connectomics asks of a graph, answered on whole columns."""

from __future__ import annotations

from connectofit.connectome.graph_interface import GraphInterface


class Questions(GraphInterface):
    """The questions of the trade that a `Connectome` answers."""
