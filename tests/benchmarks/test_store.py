"""Reopening a stored fly-sized connectome, beside what reads its tables again and what version 1 of the store did."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pa_parquet
import pytest
from measure import in_fresh_process, print_table, timed

from connectofit.connectome import Connectome

pytestmark = pytest.mark.benchmark

IMPORTS = """
from connectofit.connectome import Connectome, read_connectome
before = peak_MB()
"""


def test_a_fly_sized_store_is_reopened_within_a_second(fly: Connectome, fly_tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fly"
    written = timed(lambda: fly.write(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    opened = {}
    for name, code in (
        ("Connectome.read, every byte verified", "c = Connectome.read(folder)"),
        ("Connectome.read(verify=False)", "c = Connectome.read(folder, verify=False)"),
        ("pyarrow.parquet.read_table of both tables", "a, b = map(pq.read_table, files)"),
        ("read_connectome of both tables", "c, _ = read_connectome(*reversed(files))"),
    ):
        setup = IMPORTS + "\nimport pyarrow.parquet as pq\nfiles = [neurons, edges]"
        values: dict[str, Any] = {
            "folder": str(folder),
            "neurons": str(fly_tables / "neurons.parquet"),
            "edges": str(fly_tables / "edges.parquet"),
        }
        opened[name] = in_fresh_process(setup, f"{code}\nresult = peak_MB() - before", **values)
    digest = timed(fly.digest)
    print_table(
        f"Reopening {fly.n_neurons} neurons and {fly.n_edges} edges ({size:.0f} MB on disk)",
        ["", "s", "MB more at the peak"],
        [
            *((name, measured.seconds, measured.result) for name, measured in opened.items()),
            ("Connectome.write", written.seconds, ""),
            ("Connectome.digest", digest.seconds, ""),
        ],
    )
    verified, at_once = list(opened.values())[:2]
    assert verified.seconds <= 1
    assert at_once.seconds <= 0.1
    assert at_once.result < 0.1 * size  # mapped, not read
    assert digest.seconds <= 3


def test_a_reopened_connectome_is_the_one_that_was_written(fly: Connectome, tmp_path: Path) -> None:
    back = Connectome.read(fly.write(tmp_path / "fly"))
    assert back.digest() == fly.digest() == json.loads((tmp_path / "fly" / "manifest.json").read_text())["digest"]
    start = time.perf_counter()
    edges = pa_parquet.read_table(tmp_path / "fly" / "edges.parquet", columns=["pre", "post", "count"])
    assert edges.num_rows == fly.n_edges
    print(f"\nthe stored edges.parquet as an Arrow table: {time.perf_counter() - start:.3g} s")
