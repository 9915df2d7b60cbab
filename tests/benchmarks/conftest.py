"""Tables for the benchmarks: run them with ``make bench``, on an otherwise idle machine.

Every benchmark prints what it measured beside an alternative in the same run, and asserts the bar that it guards.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from measure import FLY_EDGES, FLY_NEURONS, write_tables

from connectofit.connectome import Connectome, read_connectome


@pytest.fixture(scope="session")
def fly_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``edges.parquet``, ``edges.csv`` and ``neurons.parquet`` of a synthetic fly-sized connectome."""
    folder = tmp_path_factory.mktemp("fly")
    write_tables(folder, FLY_NEURONS, FLY_EDGES)
    return folder


@pytest.fixture(scope="session")
def fly(fly_tables: Path) -> Connectome:
    """The connectome of `fly_tables`."""
    return read_connectome(fly_tables / "edges.parquet", fly_tables / "neurons.parquet")[0]


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory) -> Connectome:
    """20,000 neurons and a million edges, made like `fly`."""
    folder = tmp_path_factory.mktemp("million")
    write_tables(folder, 20_000, 1_000_000)
    return read_connectome(folder / "edges.parquet", folder / "neurons.parquet")[0]
