"""Large tables: what a connectome takes in memory, that nothing of the source is kept, one bad row among very many.

The tables here have a hundred thousand rows, several blocks of CSV and several row groups of Parquet; the tests
marked slow have fifteen million.
"""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import Connectome, Policies, SchemaError, read_connectome

FIRST_ID = 720_575_940_596_125_868  # above 2^53
N, ROWS = 3_000, 100_000


@cache
def tables(n: int = N, rows: int = ROWS, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Distinct edges in no order, and their neurons."""
    rng = np.random.default_rng(seed)
    ids = FIRST_ID + 3 * rng.permutation(n)
    key = rng.permutation(np.unique(rng.integers(0, n * n, rows + rows // 10)))[:rows]
    edges = pa.table(
        {"pre": ids[key // n], "post": ids[key % n], "count": rng.integers(1, 50, len(key)).astype(np.int32)}
    )
    return edges, pa.table({"id": ids})


def with_cell(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    """The table with one value changed, in a column that is made text if need be."""
    column = table.column(name)
    if isinstance(value, str):
        column = column.cast(pa.string())
    changed = pa.chunked_array([column.slice(0, row), pa.array([value], column.type), column.slice(row + 1)])
    return table.set_column(table.column_names.index(name), name, changed)


def bytes_of(connectome: Connectome) -> int:
    arrays = (connectome.indptr, connectome.post, connectome.count, connectome.kind, connectome.sign)
    return sum(array.nbytes for array in arrays) + connectome.edge_columns.nbytes


def save(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pa_parquet.write_table(table, path, row_group_size=max(table.num_rows // 5, 1))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_an_edge_takes_at_most_forty_bytes(tmp_path: Path, suffix: str, id_type: str) -> None:
    edges, neurons = tables()
    connectome, _ = read_connectome(save(edges, tmp_path / f"e{suffix}"), neurons, id_type=id_type)
    assert connectome.n_edges == ROWS
    # post and count 4 bytes each; kind, sign and where the sign is from 1 each; 8 a neuron; a few words in all.
    assert 0 <= bytes_of(connectome) - 8 * (N + 1) - 11 * ROWS < 200
    assert bytes_of(connectome) <= 40 * ROWS


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_nothing_of_the_source_table_is_kept(tmp_path: Path, suffix: str) -> None:
    edges, neurons = tables()
    path, neuron_path = save(edges, tmp_path / f"e{suffix}"), save(neurons, tmp_path / "n.parquet")
    del edges, neurons
    gc.collect()
    before = pa.total_allocated_bytes()
    connectome, report = read_connectome(path, neuron_path, id_type="int64")
    gc.collect()
    kept = pa.total_allocated_bytes() - before
    assert kept <= connectome.neurons.nbytes + connectome.edge_columns.nbytes + 100_000
    assert report.rows_kept["edges"] == ROWS


def test_the_arrays_of_the_caller_stay_writable() -> None:
    pre, post, count = np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32), np.array([1, 2, 3], np.int32)
    kind, sign = np.zeros(3, np.int8), np.ones(3, np.int8)
    connectome = Connectome.from_edges(
        pa.table({"id": ["a", "b"]}), pre=pre, post=post, count=count, kind=kind, sign=sign
    )
    for array in (pre, post, count, kind, sign):
        array[:] = 0
    assert connectome.post.tolist() == [0, 1, 0]
    assert connectome.count.tolist() == [1, 2, 3]
    assert connectome.sign.tolist() == [1, 1, 1]
    assert not connectome.post.flags.writeable


def test_the_order_of_rows_and_how_they_are_chunked_make_no_difference() -> None:
    edges, neurons = tables(rows=50_000)
    expected = read_connectome(edges, neurons)[0].digest()
    by_pre = edges.sort_by([("pre", "ascending"), ("post", "descending")])
    in_order = edges.take(pa.array(np.lexsort((edges["post"].to_numpy(), edges["pre"].to_numpy()))))
    chunks = pa.concat_tables([edges.slice(k, 999) for k in range(0, 50_000, 999)])
    coded = edges.set_column(0, "pre", edges.column("pre").dictionary_encode())
    for table in (by_pre, in_order, chunks, coded, edges.slice(1).slice(0, 49_999)):
        connectome = read_connectome(table, neurons)[0]
        assert (connectome.digest() == expected) == (table.num_rows == 50_000)


@pytest.mark.parametrize("id_type", ["int64", "string"])
def test_many_rows_with_repeats_are_what_pandas_makes_of_them(id_type: str) -> None:
    rng = np.random.default_rng(1)
    n, rows = 300, 100_000
    ids = FIRST_ID + rng.permutation(n)
    frame = pd.DataFrame(
        {"pre": rng.choice(ids, rows), "post": rng.choice(ids, rows), "count": rng.integers(0, 6, rows)}
    )
    listed = ids[: n - 3]
    policies = Policies(chemical_self_loops="drop", min_count=4)
    connectome, report = read_connectome(frame, pd.DataFrame({"id": listed}), policies=policies, id_type=id_type)
    known = frame[frame["pre"].isin(listed) & frame["post"].isin(listed)]
    simple = known[(known["count"] > 0) & (known["pre"] != known["post"])]
    sums = simple.groupby(["pre", "post"])["count"].sum()
    strong = sums[sums >= 4]
    found = {(int(u), int(v)): count for u, v, count in connectome.edges(data="count")}
    assert found == {pair: int(count) for pair, count in strong.items()}
    removed = {finding.rule: finding.rows_removed for finding in report.findings if finding.rows_removed}
    assert removed == {
        "unmatched_id": len(frame) - len(known),
        "zero_count": int((known["count"] == 0).sum()),
        "self_loop": int(((known["count"] > 0) & (known["pre"] == known["post"])).sum()),
        "duplicate_edge": len(simple) - len(sums),
        "weak_connection": len(sums) - len(strong),
    }
    rows_of = frame.assign(row=np.arange(1, rows + 1))
    first = rows_of[(frame["count"] == 0) & rows_of.index.isin(known.index)].head(5)
    shown = [(row, f"{pre} -> {post}") for pre, post, row in first[["pre", "post", "row"]].itertuples(index=False)]
    assert list(report.find("zero_count")[0].examples) == shown


BAD = ROWS - 777  # the 0-based row with the fault, far behind the first block and row group

FAULTS = [
    ("count", "12x", {}, r"'count' .* not a number in row {row}: '12x' \(1 in all"),
    ("count", None, {}, r"'count' .* the value is missing.* in row {row}: missing \(1 in all"),
    ("count", -3, {}, r"'count' .* negative in row {row}: -3 \(1 in all"),
    ("count", "nan", {}, r"'count' .* NaN in row {row}: 'nan' \(1 in all"),
    ("pre", None, {}, r"'pre' .* an id is missing in row {row}: missing \(1 in all"),
    (
        "pre",
        "720575940596125869.0",
        {"id_type": "string"},
        r"'pre' .* went through a float .* in row {row}: '720575940596125869\.0' \(1 in",
    ),
    (
        "post",
        "7.2e+17",
        {"id_type": "string"},
        r"'post' .* went through a float .* in row {row}: '7\.2e\+17' \(1 in all",
    ),
    ("post", "LN 1", {"id_type": "int64"}, r"'post' .* not an integer in row {row}: 'LN 1' \(1 in all"),
    ("post", "9" * 19, {"id_type": "int64"}, r"'post' .* does not fit into int64 in row {row}: '9{{19}}' \(1 in all"),
]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(("name", "value", "settings", "message"), FAULTS, ids=lambda item: str(item)[:12])
def test_one_bad_row_among_very_many_is_named(
    tmp_path: Path, suffix: str, name: str, value: object, settings: dict[str, str], message: str
) -> None:
    path = save(with_cell(tables()[0], name, BAD, value), tmp_path / f"edges{suffix}")
    with pytest.raises(SchemaError, match=message.format(row=BAD + 1)) as caught:
        read_connectome(path, **settings)  # type: ignore[arg-type]
    assert "the edges table (edges" in str(caught.value)


def test_one_row_with_a_field_too_many_among_very_many_is_named(tmp_path: Path) -> None:
    path = save(tables()[0], tmp_path / "edges.csv")
    lines = path.read_text().split("\n")
    lines[1 + BAD] += ",9"
    path.write_text("\n".join(lines))
    with pytest.raises(SchemaError, match=rf"edges\.csv has 3 columns, .* in row {BAD + 1}: 4 fields \(1 in all"):
        read_connectome(path)


def test_one_row_with_bytes_that_are_no_text_among_very_many_is_named(tmp_path: Path) -> None:
    path = save(with_cell(tables()[0], "pre", BAD, "LNX1"), tmp_path / "edges.csv")
    path.write_bytes(path.read_bytes().replace(b"LNX1", b"LN\xff1"))
    with pytest.raises(SchemaError, match=rf"must be in UTF-8, but .* in row {BAD + 1}: .*LN\\xff1.* \(1 in all"):
        read_connectome(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_unmatched_row_among_very_many_is_reported(tmp_path: Path, suffix: str) -> None:
    edges, neurons = tables()
    path = save(with_cell(edges, "post", BAD, 17), tmp_path / f"edges{suffix}")
    connectome, report = read_connectome(path, neurons)
    (finding,) = report.find("unmatched_id")
    assert (finding.count, finding.rows_removed, finding.examples) == (1, 1, ((BAD + 1, "17"),))
    assert finding.message.startswith(f"1 of {ROWS} edges joins one of 1 id that")
    assert connectome.n_edges == ROWS - 1


def test_a_line_break_in_quotes_may_fall_between_two_blocks(tmp_path: Path) -> None:
    # Blocks have a megabyte: one note of two megabytes, with line breaks and commas, lies across two or three.
    note = "a,b,1\n" * 100_000
    notes = ["plain", note, "plain"]
    edges = pa.table({"pre": ["a", "b", "c"], "post": ["b", "c", "a"], "count": [1, 2, 3], "note": notes})
    connectome, report = read_connectome(save(edges, tmp_path / "edges.csv"))
    assert report.rows_in["edges"] == 3
    assert connectome.edge_columns.column("note").to_pylist() == notes


@pytest.fixture(scope="module")
def fifteen_million() -> pa.Table:
    return tables.__wrapped__(138_639, 15_000_000)[0]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("name", "value", "message"), [("count", "12x", "not a number"), ("post", "7.2e+17", "a float")]
)
def test_one_bad_row_in_fifteen_million_is_named(
    tmp_path: Path, fifteen_million: pa.Table, suffix: str, name: str, value: str, message: str
) -> None:
    path = save(with_cell(fifteen_million, name, 14_999_222, value), tmp_path / f"edges{suffix}")
    with pytest.raises(SchemaError, match=rf"'{name}' of .*{message}.* in row 14999223: '{value[:3]}.*\(1 in all"):
        read_connectome(path)


@pytest.mark.slow
def test_fifteen_million_rows_take_eleven_bytes_each(tmp_path: Path, fifteen_million: pa.Table) -> None:
    connectome, report = read_connectome(save(fifteen_million, tmp_path / "edges.parquet"))
    assert report.rows_kept["edges"] == connectome.n_edges == 15_000_000
    assert bytes_of(connectome) <= 12 * 15_000_000
