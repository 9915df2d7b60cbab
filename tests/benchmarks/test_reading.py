"""Reading tables of the size of the adult fly: seconds, peak memory, bytes per edge, beside pandas, SciPy and NetworkX.

pandas and SciPy read the same file and sort it into a CSR matrix of counts, without any check, sign or report; NetworkX
builds its graph from a million of the edges, and its figures are per edge.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pa_parquet
import pytest
from measure import FLY_EDGES, Measurement, in_fresh_process, print_table

pytestmark = pytest.mark.benchmark

NETWORKX_EDGES = 1_000_000

OURS = """
connectome, report = read_connectome(edges, neurons, id_type=id_type)
arrays = [connectome.indptr, connectome.post, connectome.count, connectome.kind, connectome.sign]
size = sum(array.nbytes for array in arrays) + connectome.edge_columns.nbytes
result = {"edges": connectome.n_edges, "rows_in": report.rows_in["edges"], "bytes_per_edge": size / connectome.n_edges}
"""

PANDAS = """
frame = pd.read_csv(edges) if edges.endswith(".csv") else pd.read_parquet(edges)
if text:
    frame = frame.astype({"pre": str, "post": str})
codes, ids = pd.factorize(pd.concat([frame["pre"], frame["post"]], ignore_index=True))
ends = codes[: len(frame)], codes[len(frame) :]
matrix = sparse.coo_array((frame["count"].to_numpy(), ends), shape=(len(ids), len(ids))).tocsr()
size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
result = {"edges": int(matrix.nnz), "bytes_per_edge": size / matrix.nnz}
"""

NETWORKX = """
import resource
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
before = rss()
graph = nx.from_pandas_edgelist(frame, "pre", "post", "count", create_using=nx.DiGraph)
result = {"edges": graph.number_of_edges(), "bytes_per_edge": (rss() - before) / graph.number_of_edges()}
"""


def ours(edges: Path, id_type: str | None = None) -> Measurement:
    setup = "from connectofit.connectome import read_connectome"
    neurons = str(edges.parent / "neurons.parquet")
    return in_fresh_process(setup, OURS, edges=edges, neurons=neurons, id_type=id_type)


def pandas_and_scipy(edges: Path, text: bool = False) -> Measurement:
    setup = "import pandas as pd\nfrom scipy import sparse"
    return in_fresh_process(setup, PANDAS, edges=edges, text=text)


def networkx(folder: Path) -> Measurement:
    part = folder / "part.parquet"
    pa_parquet.write_table(pa_parquet.read_table(folder / "edges.parquet").slice(0, NETWORKX_EDGES), part)
    setup = "import networkx as nx\nimport pandas as pd\nframe = pd.read_parquet(part)"
    return in_fresh_process(setup, NETWORKX, part=part)


def report(title: str, measured: dict[str, Measurement]) -> None:
    first = next(iter(measured.values()))
    rows = [
        [
            name,
            one.seconds,
            1e6 * one.seconds / one.result["edges"],
            one.peak_MB,
            one.result["bytes_per_edge"],
            (one.seconds / one.result["edges"]) / (first.seconds / first.result["edges"]),
        ]
        for name, one in measured.items()
    ]
    print_table(title, ["", "seconds", "µs/edge", "peak MB", "bytes/edge", "time per edge, ours = 1"], rows)


def test_parquet_takes_eight_seconds_and_two_and_a_half_gigabytes(fly_tables: Path) -> None:
    path = fly_tables / "edges.parquet"
    measured = {
        "connectofit": ours(path),
        "pandas + SciPy, unchecked": pandas_and_scipy(path),
        f"NetworkX, {NETWORKX_EDGES} edges": networkx(fly_tables),
    }
    report("Parquet to graph, 15 million edges, int64 ids", measured)
    found = measured["connectofit"]
    assert found.result["edges"] == found.result["rows_in"] == FLY_EDGES
    assert found.seconds <= 8
    assert found.peak_MB <= 2500
    assert found.result["bytes_per_edge"] <= 40


@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_csv_takes_twenty_seconds(fly_tables: Path, id_type: str) -> None:
    path = fly_tables / "edges.csv"
    neurons = fly_tables / "neurons.parquet"
    assert pa_parquet.read_schema(neurons).field("id").type == "int64"
    measured = {
        "connectofit": ours(path, id_type),
        "pandas + SciPy, unchecked": pandas_and_scipy(path, text=id_type == "string"),
    }
    report(f"CSV to graph, 15 million edges, {id_type} ids", measured)
    found = measured["connectofit"]
    assert found.result["edges"] == found.result["rows_in"] == FLY_EDGES
    assert found.seconds <= 20
    assert found.result["bytes_per_edge"] <= 40
