"""Connectome tables in, a typed graph out: read, check, query, randomise, store."""

from connectofit.connectome.compare import Comparison
from connectofit.connectome.errors import (
    ConnectofitError,
    DivergedError,
    FolderError,
    MissingFileError,
    SchemaError,
    SettingError,
    UnknownNameError,
)
from connectofit.connectome.expressions import compile_expression
from connectofit.connectome.graph import Connectome
from connectofit.connectome.graph_tables import GapJunctionGraph
from connectofit.connectome.matrices import AdjacencyMatrix
from connectofit.connectome.nulls import RewireStats, rewire
from connectofit.connectome.policies import KINDS, Policies, SignPolicy
from connectofit.connectome.presets import Preset, TableForm, presets
from connectofit.connectome.read import read_connectome
from connectofit.connectome.regions import region_table
from connectofit.connectome.report import Finding, ValidationReport
from connectofit.connectome.sources import CsvFile, JoinedTables
from connectofit.connectome.summary import Summary
from connectofit.connectome.synapses import aggregate_synapses

__all__ = [
    "KINDS",
    "AdjacencyMatrix",
    "Comparison",
    "ConnectofitError",
    "Connectome",
    "CsvFile",
    "DivergedError",
    "Finding",
    "FolderError",
    "GapJunctionGraph",
    "JoinedTables",
    "MissingFileError",
    "Policies",
    "Preset",
    "RewireStats",
    "SchemaError",
    "SettingError",
    "SignPolicy",
    "Summary",
    "TableForm",
    "UnknownNameError",
    "ValidationReport",
    "aggregate_synapses",
    "compile_expression",
    "presets",
    "read_connectome",
    "region_table",
    "rewire",
]
