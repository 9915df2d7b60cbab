"""Random sources: a table is the same in one file and in many, a matrix in every form; parts add up to their edge."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from connectofit.connectome import AdjacencyMatrix, Connectome, Policies, read_connectome, region_table

COMMON = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
NAMES = ["a", "b", "c", "d", "e"]

row = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(["X", "Y", "Z", None]), st.integers(0, 4)
)
rows = st.lists(row, min_size=1, max_size=30).filter(lambda items: any(item[3] for item in items))


def table(items: list[tuple[Any, ...]]) -> pa.Table:
    names = {"pre": pa.string(), "post": pa.string(), "area": pa.string(), "count": pa.int64()}
    columns = zip(names.items(), zip(*items, strict=True), strict=True)
    return pa.table({name: pa.array(values, kind) for (name, kind), values in columns})


def counts(connectome: Connectome) -> dict[tuple[Any, Any], int]:
    found = connectome.edge_table()
    names = [found.column(name).to_pylist() for name in ("pre", "post", "count")]
    return {(pre, post): count for pre, post, count in zip(*names, strict=True)}


@COMMON
@given(rows, st.data())
def test_a_table_cut_into_files_is_the_whole_table(items: list[tuple[Any, ...]], data: st.DataObject) -> None:
    whole = table(items)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(len(items) - 1, 1)), max_size=3)) - {len(items)})
    bounds = [0, *cuts, len(items)]
    expected, expected_report = read_connectome(whole)
    pieces = list(itertools.pairwise(bounds))
    with tempfile.TemporaryDirectory() as folder:
        for number, (start, stop) in enumerate(pieces):
            pa_csv.write_csv(whole.slice(start, stop - start), Path(folder) / f"{number}.csv")
        found, report = read_connectome(folder)
    assert counts(found) == counts(expected)
    assert [item.examples for item in report.findings] == [item.examples for item in expected_report.findings]
    if len(pieces) > 1:
        for number, (start, stop) in enumerate(pieces):
            for row_number in range(start + 1, stop + 1):
                assert report.locate("edges", row_number) == (f"{number}.csv", row_number - start)


@COMMON
@given(rows, st.sampled_from(["sum", "max"]))
def test_parts_add_up_to_their_edge_and_no_row_is_lost(items: list[tuple[Any, ...]], duplicates: Any) -> None:
    found, report = read_connectome(table(items), columns={"region": "area"}, policies=Policies(duplicates=duplicates))
    parts: Counter[tuple[Any, Any]] = Counter()
    for item in region_table(found).to_pylist():
        parts[item["pre"], item["post"]] += item["count"]
    assert dict(parts) == counts(found)
    by_region: dict[tuple[Any, Any, Any], list[int]] = {}
    for pre, post, area, count in items:
        if count:
            by_region.setdefault((pre, post, area), []).append(count)
    merge = sum if duplicates == "sum" else max
    expected = {key: merge(values) for key, values in by_region.items()}
    assert {(item["pre"], item["post"], item["region"]): item["count"] for item in region_table(found).to_pylist()} == (
        expected
    )
    removed = sum(finding.rows_removed for finding in report.findings)
    assert report.rows_in["edges"] == len(items) == report.rows_kept["edges"] + removed
    assert report.rows_kept["edges"] == found.n_edges


@settings(COMMON, max_examples=15)
@given(st_np.arrays(np.int64, (4, 4), elements=st.integers(0, 5)).filter(lambda matrix: matrix.any()))
def test_a_matrix_is_the_same_in_every_form(matrix: np.ndarray) -> None:
    names = NAMES[:4]
    expected = {(names[i], names[j]): int(matrix[i, j]) for i, j in zip(*np.nonzero(matrix), strict=True)}
    neurons = pa.table({"id": names})
    frame = pd.DataFrame(matrix, index=names, columns=names)
    with tempfile.TemporaryDirectory() as folder:
        frame.astype(float).to_csv(Path(folder) / "m.csv")
        sp.save_npz(Path(folder) / "m.npz", sp.csc_array(matrix))
        sources = [
            (matrix, neurons),
            (sp.coo_array(matrix), neurons),
            (Path(folder) / "m.npz", neurons),
            (AdjacencyMatrix(Path(folder) / "m.csv"), None),
            (AdjacencyMatrix(frame), None),
            (AdjacencyMatrix(frame.T, rows="post"), None),
            (AdjacencyMatrix(matrix, ids=names), None),
        ]
        for source, table_of_neurons in sources:
            found, _ = read_connectome(source, table_of_neurons)
            assert counts(found) == expected
            assert sorted(found.ids) == names
