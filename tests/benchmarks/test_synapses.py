"""A hundred million synapse rows aggregated to connections: time and peak memory, beside pandas on what fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from measure import FIRST_ID, FLY_NEURONS, in_fresh_process, print_table

pytestmark = pytest.mark.benchmark

FILES, ROWS_PER_FILE, CONNECTIONS = 10, 10_000_000, 15_000_000
ON_BOTH = 2  # files that pandas is given too
COLUMNS = {
    "pre": "pre_pt_root_id",
    "post": "post_pt_root_id",
    "size": "size",
    "position": ["ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z"],
}


@pytest.fixture(scope="module")
def synapse_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Parquet files laid out like CAVE's synapse tables with a neuropil column; the rows are in no order."""
    folder = tmp_path_factory.mktemp("synapses")
    rng = np.random.default_rng(0)
    ids = FIRST_ID + rng.permutation(4 * FLY_NEURONS)[:FLY_NEURONS].astype(np.int64)
    share = rng.lognormal(0.0, 1.0, FLY_NEURONS)
    share /= share.sum()
    pre, post = (rng.choice(FLY_NEURONS, CONNECTIONS, p=share).astype(np.int32) for _ in range(2))
    reach = np.cumsum(rng.lognormal(0.0, 1.0, CONNECTIONS))
    reach /= reach[-1]
    neuropils = pa.array([f"NEUROPIL_{k}" for k in range(78)])
    paths = []
    for number in range(FILES):
        which = np.searchsorted(reach, np.sort(rng.random(ROWS_PER_FILE))).astype(np.int32)
        rng.shuffle(which)
        neuropil = (pre[which] + (rng.random(ROWS_PER_FILE) < 0.25) * rng.integers(0, 78, ROWS_PER_FILE)) % 78
        table = {
            "pre_pt_root_id": ids[pre[which]],
            "post_pt_root_id": ids[post[which]],
            "size": rng.integers(1, 5000, ROWS_PER_FILE, dtype=np.int32),
            "neuropil": pa.DictionaryArray.from_arrays(pa.array(neuropil.astype(np.int8)), neuropils),
        }
        for axis in "xyz":
            table[f"ctr_pt_position_{axis}"] = rng.integers(0, 1_000_000, ROWS_PER_FILE, dtype=np.int32)
        paths.append(folder / f"part-{number}.parquet")
        pa_parquet.write_table(pa.table(table), paths[-1])
    return paths


OURS = """
table, report = aggregate_synapses(files, columns=columns, **settings)
result = [table.num_rows, table.column("count").to_numpy().sum().item(), report.rows_in["synapses"]]
"""
PANDAS = """
by = [columns["pre"], columns["post"]]
frame = pd.concat([pd.read_parquet(path, columns=[*by, "size", *columns["position"]]) for path in files])
grouped = frame.groupby(by)
means = {name: (name, "mean") for name in columns["position"]}
table = grouped.agg(count=("size", "size"), size=("size", "sum"), **means)
result = [len(table), int(table["count"].sum()), len(frame)]
"""


def test_synapses_are_aggregated_faster_than_by_pandas(synapse_files: list[Path]) -> None:
    files = [str(path) for path in synapse_files[:ON_BOTH]]
    setup = "import pandas as pd\nfrom connectofit.connectome import aggregate_synapses"
    runs = {}
    for name, code in (("aggregate_synapses", OURS), ("pandas.groupby", PANDAS)):
        runs[name] = in_fresh_process(setup, code, files=files, columns=COLUMNS, settings={})
    ours, theirs = runs.values()
    print_table(
        f"{ON_BOTH * ROWS_PER_FILE} synapse rows from Parquet to {ours.result[0]} connections",
        ["", "s", "ns per row", "peak MB", "times as fast"],
        [
            (
                name,
                run.seconds,
                run.seconds / (ON_BOTH * ROWS_PER_FILE) * 1e9,
                run.peak_MB,
                theirs.seconds / run.seconds,
            )
            for name, run in runs.items()
        ],
    )
    assert ours.result == theirs.result
    assert ours.seconds < theirs.seconds


@pytest.mark.parametrize("regions", [False, True])
def test_a_hundred_million_synapses_take_at_most_three_gigabytes(synapse_files: list[Path], regions: bool) -> None:
    files = [str(path) for path in synapse_files]
    columns = {**COLUMNS, **({"region": "neuropil"} if regions else {})}
    setup = "from connectofit.connectome import aggregate_synapses"
    rows = []
    for limit in (500, 200) if regions else (500,):  # 500 is the default
        run = in_fresh_process(setup, OURS, files=files, columns=columns, settings={"memory_limit_MB": limit})
        rows.append((limit, run.seconds, run.seconds / (FILES * ROWS_PER_FILE) * 1e9, run.peak_MB, run.result[0]))
        assert run.result[1] == run.result[2] == FILES * ROWS_PER_FILE
        assert run.peak_MB * 1024**2 <= 3e9
    print_table(
        f"{FILES * ROWS_PER_FILE} synapse rows{', by region' if regions else ''}",
        ["memory_limit_MB", "s", "ns per row", "peak MB", "connections"],
        rows,
    )
