"""The connectome as a columnar graph: Arrow table of neurons, edges in compressed sparse rows.

A directed multigraph keyed by kind (a pair of neurons may be joined by a chemical and an electrical edge); its
`chemical` and `electrical` views are simple digraphs. It answers what a NetworkX graph answers (`graph_interface`) and
what connectomics asks (`questions`), and converts both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pandas as pd

from connectofit.connectome.questions import Questions
from connectofit.connectome.records import frame


@dataclass(frozen=True, eq=False, repr=False)
class Connectome(Questions):
    """A connectome: neurons with their attributes, and edges sorted by (presynaptic, postsynaptic, kind).

    Make one with `read_connectome`, `Connectome.from_edges` or `Connectome.from_networkx`; the constructor takes the
    arrays as they are and checks nothing.

    Attributes
    ----------
    neurons
        Arrow table [n]: ``id`` first (int64 or string, exactly as given), then any other columns. The row is the index
        of the neuron in all arrays.
    indptr
        int64 [n + 1]: the edges that leave neuron i are ``indptr[i]:indptr[i + 1]``.
    post
        int32 [e]: index of the postsynaptic neuron.
    count
        int32 [e], float64 where not all are integers: size of the connection (synapses, contacts, sections).
    kind
        int8 [e]: position in `KINDS`. An electrical edge stands in both directions, with equal counts.
    sign
        int8 [e]: +1 excites, -1 inhibits; 0 for electrical edges and where unknown.
    edge_columns
        Arrow table [e] of further columns, such as ``sign_source``: ``column``, ``transmitter`` or ``assumed`` (null
        for edges without a sign).
    only_kind
        ``"chemical"`` or ``"electrical"`` for the views of one kind, else None.
    """

    # ---- conversion and storage (imported late: those modules build Connectomes themselves) ----

    def to_networkx(self) -> nx.MultiDiGraph | nx.DiGraph:
        """As `networkx.MultiDiGraph` keyed by kind, or `DiGraph` for a view of one kind; `from_networkx` inverts it."""
        from connectofit.connectome.networkx_graphs import to_networkx

        return to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> Connectome:
        """From a `DiGraph` or a `MultiDiGraph` keyed by kind; `SchemaError` says what cannot be represented."""
        from connectofit.connectome.networkx_graphs import from_networkx

        return from_networkx(graph)

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Neurons and edges (`edge_table`) as frames; whole numbers with missing ones keep an integer type."""
        return frame(self.neurons), frame(self.edge_table())

    def digest(self) -> str:
        """SHA-256 (hex) of the content: equal for equal neurons and edges, whatever the files they came from."""
        from connectofit.connectome.store import digest

        return digest(self)

    def write(self, folder: str | Path) -> Path:
        """Write to a new folder (Parquet tables, mapped arrays, a manifest); see `connectofit.connectome.store`."""
        from connectofit.connectome.store import write

        return write(self, folder)

    @classmethod
    def read(cls, folder: str | Path, *, verify: bool = True) -> Connectome:
        """Open what `write` wrote, mapping its arrays; `verify` compares all files with their hashes."""
        from connectofit.connectome.store import read

        return read(folder, verify=verify)
