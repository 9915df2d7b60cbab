"""Timers and tables that the benchmarks share."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest

FLY_NEURONS, FLY_EDGES = 138_639, 15_000_000  # the size of FlyWire's adult fly, version 783
FIRST_ID = 720_575_940_596_125_868  # above 2^53: a float would change it


@dataclass(frozen=True)
class Measurement:
    """Wall time of one call, and the peak memory of the process it ran in where that was its own."""

    seconds: float
    peak_MB: float
    result: Any


def timed(function: Callable[[], Any], repeat: int = 1) -> Measurement:
    """The median wall time of `repeat` calls in this process, and the last result."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return Measurement(float(np.median(seconds)), float("nan"), result)


def in_fresh_process(setup: str, timed_code: str, **values: Any) -> Measurement:
    """Run code in a process of its own: `setup` untimed, then `timed_code`.

    The variable ``result``, if JSON can hold it, comes back. `values` are variables that both see, beside a function
    ``peak_MB()``. The peak is that of the whole process, libraries included; it is not asked of `getrusage`, whose peak
    begins with that of the process that started this one.
    """
    program = "\n".join(
        [
            "import json, sys, time",
            "def peak_MB():",
            "    with open('/proc/self/status') as status:",
            "        return next(int(line.split()[1]) / 1024 for line in status if line.startswith('VmHWM'))",
            "globals().update(json.loads(sys.argv[1]))",
            "result = None",
            textwrap.dedent(setup),
            "_start = time.perf_counter()",
            textwrap.dedent(timed_code),
            "_seconds = time.perf_counter() - _start",
            "print(json.dumps([_seconds, peak_MB(), result]))",
        ]
    )
    given = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(given)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the measured program ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return Measurement(*json.loads(done.stdout.splitlines()[-1]))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output, which pytest shows with ``-s``."""
    cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def write_tables(folder: Path, n_neurons: int, n_edges: int, seed: int = 0) -> None:
    """Neurons with type, side, transmitter and position; edges with log-normal out-degrees, in no order."""
    rng = np.random.default_rng(seed)
    ids = FIRST_ID + rng.permutation(4 * n_neurons)[:n_neurons].astype(np.int64)
    share = rng.lognormal(0.0, 1.0, n_neurons)
    wanted = np.minimum(rng.multinomial(int(n_edges * 1.02), share / share.sum()), n_neurons // 4)
    pre = np.repeat(np.arange(n_neurons), wanted)
    key = np.unique(pre * n_neurons + rng.integers(0, n_neurons, len(pre)))
    if len(key) < n_edges:
        raise ValueError(f"only {len(key)} distinct edges were drawn; {n_edges} are wanted")
    key = rng.permutation(key)[:n_edges]
    count = np.minimum(1 + rng.geometric(0.2, n_edges), 500).astype(np.int32)
    types = np.array([f"type_{k}" for k in range(8_000 if n_neurons > 100_000 else 500)])
    neurons = pa.table(
        {
            "id": ids,
            "cell_class": types[rng.integers(0, 60, n_neurons)],
            "cell_type": types[rng.integers(0, len(types), n_neurons)],
            "side": np.array(["left", "right", "center"])[rng.choice(3, n_neurons, p=[0.48, 0.48, 0.04])],
            "transmitter": np.array(["ACh", "GABA", "Glu"])[rng.choice(3, n_neurons, p=[0.6, 0.2, 0.2])],
            **{axis: rng.normal(0.0, 100.0, n_neurons) for axis in ("x_um", "y_um", "z_um")},
        }
    )
    edges = pa.table({"pre": ids[key // n_neurons], "post": ids[key % n_neurons], "count": count})
    pa_parquet.write_table(neurons, folder / "neurons.parquet")
    pa_parquet.write_table(edges, folder / "edges.parquet")
    pa_csv.write_csv(edges, folder / "edges.csv")
