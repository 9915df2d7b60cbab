"""Connectome tables in, a typed graph out: read, check, query, randomise, store."""

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
from connectofit.connectome.nulls import RewireStats, rewire
from connectofit.connectome.policies import KINDS, Policies, SignPolicy
from connectofit.connectome.read import read_connectome
from connectofit.connectome.report import Finding, ValidationReport

__all__ = [
    "KINDS",
    "ConnectofitError",
    "Connectome",
    "DivergedError",
    "Finding",
    "FolderError",
    "MissingFileError",
    "Policies",
    "RewireStats",
    "SchemaError",
    "SettingError",
    "SignPolicy",
    "UnknownNameError",
    "ValidationReport",
    "compile_expression",
    "read_connectome",
    "rewire",
]
