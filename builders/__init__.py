"""From a connectome to a network by a declarative specification; and networks too large to be tables in memory."""

from connectofit.builders.build import build
from connectofit.builders.cells import Cell
from connectofit.builders.edge_tables import stream_network
from connectofit.builders.from_network import spec_of
from connectofit.builders.microcircuit import potjans_diesmann_network, potjans_diesmann_state
from connectofit.builders.random_edges import Bernoulli, FixedInDegree, FixedTotal
from connectofit.builders.rate_network import rate_network
from connectofit.builders.sonata_circuit import read_sonata_circuit
from connectofit.builders.spec import ByType, Column, Delays, Distance, EdgeRule, ModelSpec, NeuronRule, examples
from connectofit.builders.streamed import NeuronGroup, RandomEdges, Synapses, draw_network
from connectofit.builders.streamed_blocks import Normal
from connectofit.builders.task_inputs import rheobase_nS, with_inputs
from connectofit.builders.task_network import task_network

__all__ = [
    "Bernoulli",
    "ByType",
    "Cell",
    "Column",
    "Delays",
    "Distance",
    "EdgeRule",
    "FixedInDegree",
    "FixedTotal",
    "ModelSpec",
    "NeuronGroup",
    "NeuronRule",
    "Normal",
    "RandomEdges",
    "Synapses",
    "build",
    "draw_network",
    "examples",
    "potjans_diesmann_network",
    "potjans_diesmann_state",
    "rate_network",
    "read_sonata_circuit",
    "rheobase_nS",
    "spec_of",
    "stream_network",
    "task_network",
    "with_inputs",
]
