"""Synapse tables become connections, as pandas and exact fractions have them, however rows are cut, sorted, spilled."""

from __future__ import annotations

import gzip
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectofit.connectome import (
    FolderError,
    MissingFileError,
    SchemaError,
    SettingError,
    UnknownNameError,
    aggregate_synapses,
    grouped_sums,
    read_connectome,
    synapses,
)
from connectofit.connectome.id_codes import IntegerCodes, TextCodes
from connectofit.connectome.sources import CsvFile

BIG = 2**60
COMMON = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

ROWS = pa.table(
    {
        "pre": [BIG + 1, BIG, 7, BIG + 1, BIG + 1, 7],
        "post": [BIG, BIG + 1, 7, BIG, 7, BIG],
        "size": [10, 20, 30, 5, 1, 2],
        "x": [1.0, 2.0, 3.0, 2.0, 5.0, 6.0],
        "y": [0.5, 0.25, 0.0, 1.5, 0.0, 0.0],
        "z": [-1.0, -2.0, -3.0, -4.0, 0.0, 1e6],
        "region": ["LH", "AL", None, "AL", "é", "LH"],
    }
)


def lists(table: pa.Table) -> dict[str, list[Any]]:
    return table.to_pydict()


# ---- what comes out ----


def test_rows_of_a_connection_become_one() -> None:
    table, report = aggregate_synapses(ROWS)
    assert lists(table) == {
        "pre": [7, 7, BIG, BIG + 1, BIG + 1],
        "post": [7, BIG, BIG + 1, 7, BIG],
        "count": [1, 1, 1, 1, 2],
        "size": [30, 2, 20, 1, 15],
        "x": [3.0, 6.0, 2.0, 5.0, 1.5],
        "y": [0.0, 0.0, 0.25, 0.0, 1.0],
        "z": [-3.0, 1e6, -2.0, 0.0, -2.5],
        "region": [[None], ["LH"], ["AL"], ["é"], ["AL", "LH"]],
        "region_count": [[1], [1], [1], [1], [1, 1]],
    }
    assert [str(field.type) for field in table.schema] == [
        *["int64"] * 4,
        *["double"] * 3,
        "list<item: string>",
        "list<item: int64>",
    ]
    assert report.rows_in == report.rows_kept == {"synapses": 6}
    assert report.result == {"neurons": 3, "connections": 5}


def test_what_comes_out_is_read_as_a_connectome() -> None:
    table, _ = aggregate_synapses(ROWS)
    connectome, _ = read_connectome(table)
    assert connectome.ids == (7, BIG, BIG + 1)
    assert [(u, v, d["count"], d["size"], d["x"]) for u, v, d in connectome.chemical.edges(data=True)] == [
        (7, 7, 1, 30, 3.0),
        (7, BIG, 1, 2, 6.0),
        (BIG, BIG + 1, 1, 20, 2.0),
        (BIG + 1, 7, 1, 1, 5.0),
        (BIG + 1, BIG, 2, 15, 1.5),
    ]
    assert connectome.edge_columns.column("region").to_pylist()[-1] == ["AL", "LH"]
    assert connectome.edge_columns.column("region_count").to_pylist()[-1] == [1, 1]


def test_only_the_ends_must_be_there() -> None:
    table, report = aggregate_synapses(ROWS, columns={"size": None, "x": None, "region": None})
    assert table.column_names == ["pre", "post", "count"]
    left_out = report.find("columns_left_out")[0]
    assert "'size', 'x', 'y', 'z', 'region'" in left_out.message
    assert left_out.count == 5


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 60))
    kind = draw(st.sampled_from(["small", "big", "text"]))
    pool = {
        "small": [0, 1, 2, 3, -1],
        "big": [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 720575940596125868],
        "text": ["AVAL", "a", "é", "神", "AVA"],
    }[kind]
    column = lambda values: [draw(values) for _ in range(rows)]  # noqa: E731
    maybe = (lambda values: st.one_of(st.none(), values)) if draw(st.booleans()) else (lambda values: values)
    sizes = draw(
        st.sampled_from([st.integers(0, 10**6), st.floats(0, 1e6, width=32), st.floats(0, 1, allow_subnormal=False)])
    )
    place = draw(st.sampled_from([st.integers(-(10**7), 10**7), st.floats(-1e6, 1e6)]))
    names = {"pre": column(st.sampled_from(pool)), "post": column(st.sampled_from(pool))}
    arrays = {name: pa.array(values, pa.string() if kind == "text" else pa.int64()) for name, values in names.items()}
    arrays["size"] = pa.array(column(maybe(sizes)))
    for axis in "xyz":
        arrays[axis] = pa.array(column(maybe(place)))
    arrays["region"] = pa.array(column(maybe(st.sampled_from(["AL", "LH", "é"]))), pa.string())
    return pa.table(arrays)


def by_pandas(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    incomplete = frame[["x", "y", "z"]].isna().any(axis=1)
    for axis in "xyz":
        frame[axis] = frame[axis].astype(float).mask(incomplete)
    frame["size"] = frame["size"].astype(float)
    groups = frame.groupby(["pre", "post"], sort=True)
    out = groups.agg(count=("pre", "size"), size=("size", lambda values: values.sum(min_count=1)))
    for axis in "xyz":
        out[axis] = groups[axis].mean()
    out["regions"] = groups["region"].agg(lambda names: dict(names.fillna("-").value_counts()))
    return out.reset_index()


@COMMON
@given(tables())
def test_connections_are_those_of_pandas(table: pa.Table) -> None:
    found, report = aggregate_synapses(table)
    expected = by_pandas(table)
    assert found.column("pre").to_pylist() == expected["pre"].tolist()
    assert found.column("post").to_pylist() == expected["post"].tolist()
    assert found.column("count").to_pylist() == expected["count"].tolist()
    for name in ("size", "x", "y", "z"):
        ours = np.array(found.column(name).to_pylist(), float)
        np.testing.assert_allclose(ours, expected[name].to_numpy(float), rtol=1e-9, atol=1e-9)
    for names, counts, regions in zip(
        found.column("region").to_pylist(), found.column("region_count").to_pylist(), expected["regions"], strict=True
    ):
        assert dict(zip(["-" if name is None else name for name in names], counts, strict=True)) == regions
        assert names == sorted(names, key=lambda name: (name is None, name or ""))
    assert report.rows_in["synapses"] == report.rows_kept["synapses"] == table.num_rows
    assert sum(found.column("count").to_pylist()) == table.num_rows


def cut(table: pa.Table, sizes: list[int]) -> Iterator[pa.RecordBatch]:
    start = 0
    for size in [*sizes, table.num_rows]:
        yield from table.slice(start, size).to_batches()
        start += size


@pytest.mark.slow
@COMMON
@given(tables(), st.lists(st.integers(0, 20), max_size=5), st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_result_depends_neither_on_batches_nor_blocks_nor_the_order_of_rows_nor_on_memory(
    table: pa.Table, sizes: list[int], block: int, random: Any
) -> None:
    expected, report = aggregate_synapses(table)
    order = list(range(table.num_rows))
    random.shuffle(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        patch.setattr(synapses, "_BLOCK_ROWS", block)
        patch.setattr(grouped_sums, "_RANGE_ROWS", 4)
        patch.setattr(grouped_sums, "_SAMPLE", 2)
        patch.setattr(grouped_sums, "_DISK_ROWS", 3)
        cut_up, cut_report = aggregate_synapses(cut(table, sizes))
        spilled, _ = aggregate_synapses(table, memory_limit_MB=1e-5)
        shuffled, _ = aggregate_synapses(table.take(order), memory_limit_MB=1e-4)
    for other in (cut_up, spilled, shuffled):
        assert other.equals(expected)
    assert cut_report.findings == report.findings


def test_sums_and_means_are_exact_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(5000) * 10.0 ** rng.integers(-6, 8, 5000)
    table = pa.table(
        {"pre": [1] * 5000, "post": [2] * 5000, "size": values, "x": values, "y": -values, "z": values * 3}
    )
    found = aggregate_synapses(table)[0].to_pylist()[0]
    # The exact sum of the values, each rounded to a multiple of 2^-32.
    total = sum((Fraction(round(Fraction(value) * 2**32), 2**32) for value in values), Fraction(0))
    assert found["size"] == pytest.approx(float(total), rel=1e-15)
    assert found["x"] == pytest.approx(float(total / 5000), rel=1e-15)
    assert found["y"] == pytest.approx(-float(total / 5000), rel=1e-15)
    assert found["size"] == pytest.approx(math.fsum(values), rel=1e-12)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(5000)
        assert aggregate_synapses(table.take(order))[0].to_pylist()[0] == found


def test_whole_sizes_are_added_exactly_above_2_to_the_53() -> None:
    sizes = [2**53 - 1] * 9 + [1]
    table, _ = aggregate_synapses(pa.table({"pre": [1] * 10, "post": [1] * 10, "size": sizes}))
    assert table.column("size").to_pylist() == [9 * (2**53 - 1) + 1]


# ---- large tables ----


def random_rows(rows: int, ids: int, seed: int = 0, text: bool = False) -> pa.Table:
    rng = np.random.default_rng(seed)
    names = np.unique(rng.integers(-(2**62), 2**62, ids))
    ends = {end: names[(rng.random(rows) ** 2 * len(names)).astype(int)] for end in ("pre", "post")}
    return pa.table(
        {
            **{end: pa.array(values).cast(pa.string()) if text else values for end, values in ends.items()},
            "size": rng.integers(0, 1000, rows),
            **{axis: rng.integers(0, 10**6, rows) for axis in "xyz"},
            "region": pa.array([f"R{k}" for k in range(40)]).take(pa.array(rng.integers(0, 40, rows))),
        }
    )


@pytest.mark.parametrize("text", [False, True])
def test_many_blocks_and_merges_give_what_arrow_gives(text: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(300_000, 500, text=text)
    monkeypatch.setattr(synapses, "_BLOCK_ROWS", 20_000)
    monkeypatch.setattr(grouped_sums, "_RANGE_ROWS", 8192)
    tables = [aggregate_synapses(rows, memory_limit_MB=limit)[0] for limit in (1000, 5, 0.5)]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    sums = [(name, "sum") for name in ("size", "x", "y", "z")]
    expected = rows.group_by(["pre", "post"]).aggregate([("size", "count"), *sums])
    expected = expected.sort_by([("pre", "ascending"), ("post", "ascending")])
    found = tables[0]
    for ours, theirs in (("pre", "pre"), ("post", "post"), ("count", "size_count"), ("size", "size_sum")):
        assert found.column(ours).to_pylist() == expected.column(theirs).to_pylist()
    for axis in "xyz":
        mean = expected.column(f"{axis}_sum").to_numpy() / expected.column("size_count").to_numpy()
        np.testing.assert_allclose(found.column(axis).to_numpy(), mean, rtol=1e-14)
    by_region = rows.group_by(["pre", "post", "region"]).aggregate([("size", "count")])
    by_region = by_region.sort_by([("pre", "ascending"), ("post", "ascending"), ("region", "ascending")])
    assert pa.compute.list_flatten(found.column("region")).to_pylist() == by_region.column("region").to_pylist()
    flat = pa.compute.list_flatten(found.column("region_count"))
    assert flat.to_pylist() == by_region.column("size_count").to_pylist()


def test_what_is_spilled_is_removed_and_was_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    class Watched(tempfile.TemporaryDirectory):  # type: ignore[type-arg]
        def cleanup(self) -> None:
            made.extend(Path(self.name).iterdir())
            super().cleanup()

    monkeypatch.setattr(tempfile, "TemporaryDirectory", Watched)
    monkeypatch.setattr(synapses, "_BLOCK_ROWS", 10_000)
    rows = random_rows(100_000, 500)
    aggregate_synapses(rows, memory_limit_MB=0.5, temporary_folder=tmp_path)
    assert len(made) > 2
    assert list(tmp_path.iterdir()) == []
    made.clear()
    aggregate_synapses(rows, memory_limit_MB=1000, temporary_folder=tmp_path)
    assert made == []

    broken = pa.chunked_array([rows.column("size").combine_chunks(), pa.array([-1])])
    with pytest.raises(SchemaError, match="negative"):
        aggregate_synapses(
            pa.concat_tables([rows, rows.slice(0, 1)]).set_column(2, "size", broken),
            memory_limit_MB=0.5,
            temporary_folder=tmp_path,
        )
    assert len(made) > 2
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapses, "_BLOCK_ROWS", 1000)
    with pytest.raises(FolderError, match="temporary_folder"):
        aggregate_synapses(random_rows(5000, 50), memory_limit_MB=1e-3, temporary_folder=tmp_path / "nowhere")


def test_keys_too_wide_to_pack_are_sorted_all_the_same() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 2**31, 2000) for _ in range(2))
    pick = rng.integers(0, 2000, 50_000)
    part = rng.integers(0, 2**16, 50_000).astype(np.uint16)
    for parts, pairs in ((None, 2000), (part, 2000), (part % 2, 2000), (None, 3)):
        pair = grouped_sums.pairs_of(first[pick % pairs], second[pick % pairs])
        piece = grouped_sums.reduce_rows(grouped_sums.Rows(pair, parts, {"count": None, "v": pick}))
        expected: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
        for key, value, p in zip(
            pair.tolist(), pick.tolist(), [0] * len(pick) if parts is None else parts, strict=True
        ):
            expected[key, int(p)][0] += 1
            expected[key, int(p)][1] += value
        keys = list(zip(piece.pair.tolist(), [0] * len(piece) if parts is None else piece.part.tolist(), strict=True))
        assert keys == sorted(expected)
        assert piece.columns["count"].tolist() == [expected[key][0] for key in keys]
        assert piece.columns["v"].tolist() == [expected[key][1] for key in keys]


def test_codes_of_integers_are_those_of_a_dictionary() -> None:
    rng = np.random.default_rng(0)
    codes, seen = IntegerCodes(), {}
    for block in range(40):
        # Runs of neighbours, random 64-bit integers, and ids seen before.
        ids = np.concatenate(
            [np.arange(block * 50, block * 50 + 100), rng.integers(-(2**63), 2**63, 200), rng.integers(0, 500, 300)]
        )
        rng.shuffle(ids)
        found = codes.codes(ids)
        for item, code in zip(ids.tolist(), found.tolist(), strict=True):
            assert seen.setdefault(item, code) == code
    assert sorted(seen.values()) == list(range(len(seen))) == list(range(len(codes)))
    assert codes.of(codes.in_order()).to_pylist() == sorted(seen)
    assert codes.of(np.array(list(seen.values()))).to_pylist() == list(seen)


def test_codes_of_texts_order_by_code_points() -> None:
    codes = TextCodes()
    texts = ["b", "é", "a", "😀", "\ufb01", "b"]
    found = codes.codes(pa.array(texts))
    assert codes.of(codes.in_order()).to_pylist() == ["a", "b", "é", "\ufb01", "😀"]
    assert codes.of(found).to_pylist() == texts


# ---- sources ----


def write(folder: Path, table: pa.Table, kind: str, stem: str = "s") -> Path:
    path = folder / f"{stem}.{kind}"
    if kind == "parquet":
        pa_parquet.write_table(table, path, row_group_size=4)
    elif kind == "feather":
        pa_feather.write_feather(table, path, chunksize=4)
    elif kind == "arrow":
        pa_feather.write_feather(table, path, compression="uncompressed")
    elif kind == "csv.gz":
        pa_csv.write_csv(table, folder / "plain.txt")
        path.write_bytes(gzip.compress((folder / "plain.txt").read_bytes()))
        (folder / "plain.txt").unlink()
    elif kind == "tsv":
        pa_csv.write_csv(table, path, pa_csv.WriteOptions(delimiter="\t"))
    else:
        pa_csv.write_csv(table, path)
    return path


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow", "csv", "csv.gz", "tsv"])
def test_files_lists_and_folders_give_what_the_table_gives(tmp_path: Path, kind: str) -> None:
    expected, _ = aggregate_synapses(ROWS)
    one = write(tmp_path, ROWS, kind)
    assert aggregate_synapses(one, id_type="int64")[0].equals(expected)
    folder = tmp_path / "folder"
    folder.mkdir()
    parts = [write(folder, ROWS.slice(start, 2), kind, f"part{start}") for start in (0, 2, 4)]
    for source in (folder, parts, [str(part) for part in parts], parts[::-1]):
        table, report = aggregate_synapses(source, id_type="int64")
        assert table.equals(expected)
        assert report.rows_in == {"synapses": 6}
    assert report.files["synapses"] == tuple(
        (part.name, start, start + 1) for part, start in zip(parts[::-1], (1, 3, 5), strict=True)
    )
    assert report.locate("synapses", 4) == (parts[1].name, 2)


def test_frames_batches_and_readers_give_what_the_table_gives() -> None:
    expected, _ = aggregate_synapses(ROWS)
    batches = ROWS.to_batches(max_chunksize=2)
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, batches)
    frame = pd.DataFrame({name: ROWS.column(name).to_pylist() for name in ROWS.column_names})
    for source in (
        batches,
        iter(batches),
        reader,
        (ROWS.slice(k, 1) for k in range(6)),
        frame,
        [ROWS.slice(0, 1), frame[1:]],
    ):
        assert aggregate_synapses(source)[0].equals(expected)


def test_dictionaries_and_narrow_types_give_what_plain_columns_give() -> None:
    expected, _ = aggregate_synapses(ROWS)
    other = ROWS.set_column(6, "region", ROWS.column("region").cast(pa.large_string()).dictionary_encode())
    for number, kind in ((2, pa.uint8()), (3, pa.float32()), (4, pa.float32())):
        other = other.set_column(number, ROWS.column_names[number], ROWS.column(number).cast(kind))
    assert aggregate_synapses(other)[0].equals(expected)
    halves = [other.slice(0, 3), other.slice(3)]
    apart = [
        half.set_column(6, "region", half.column("region").cast(pa.string()).dictionary_encode()) for half in halves
    ]
    assert aggregate_synapses(apart)[0].equals(expected)
    narrow = [
        half.set_column(6, "region", half.column("region").cast(pa.dictionary(pa.int8(), pa.string())))
        for half in apart
    ]
    assert aggregate_synapses(batch for half in narrow for batch in half.to_batches())[0].equals(expected)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 3), pa.list_(pa.int32()), pa.large_list(pa.float32())])
def test_a_position_in_one_column_is_the_same_as_in_three(kind: pa.DataType) -> None:
    points = [[1, 2, 3], [3, 4, 5], None, [7, 8, 9]]
    rows = pa.table({"pre": [1, 1, 1, 2], "post": [2, 2, 2, 1], "ctr_pt_position": pa.array(points, kind)})
    for source in (rows, rows.slice(1), pa.concat_tables([rows.slice(2, 1), rows.slice(0, 2), rows.slice(3)])):
        table, report = aggregate_synapses(source, columns={"position": "ctr_pt_position"})
        missing = report.find("missing_value")
        assert [(item.column, item.count) for item in missing] == [("ctr_pt_position", 1)]
        assert table.column("z").to_pylist() == [4 if source is not rows.slice(1) and len(source) == 4 else 5, 9]
    split = pa.table({"pre": [1], "post": [2], "a": [1], "b": [2], "c": [3]})
    table, report = aggregate_synapses(split, columns={"position": ("c", "a", "b")})
    assert [table.column(axis).to_pylist() for axis in "xyz"] == [[3], [1], [2]]
    assert report.columns == {"pre": "pre", "post": "post", "x": "c", "y": "a", "z": "b"}


def test_a_list_of_two_numbers_is_no_position() -> None:
    rows = pa.table({"pre": [1, 1], "post": [2, 2], "position": [[1, 2, 3], [1, 2]]})
    with pytest.raises(SchemaError, match=r"'position'.*has not three numbers in row 2: \[1, 2\]"):
        aggregate_synapses(rows)
    with pytest.raises(SchemaError, match=r"holds string, but a position must be a list"):
        aggregate_synapses(rows.set_column(2, "position", pa.array(["1 2 3", "1"])))


def test_a_csv_without_header_is_read_by_the_names_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("a|b|1\na|b|2.5\n")
    source = CsvFile(tmp_path / "s.txt", names=["from", "to", "n"], delimiter="|")
    table, _ = aggregate_synapses(source, columns={"pre": "from", "post": "to", "size": "n"})
    assert table.to_pylist() == [{"pre": "a", "post": "b", "count": 2, "size": 3.5}]


def test_csv_ids_are_text_and_numbers_are_read_in_full(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('pre,post,size,region\n007,NA,1,"x, ""y"""\n007,NA, 2 ,\n7,null,3,"two\nlines"\n')
    table, _ = aggregate_synapses(tmp_path / "s.csv")
    assert table.to_pylist() == [
        {"pre": "007", "post": "NA", "count": 2, "size": 3, "region": ['x, "y"', None], "region_count": [1, 1]},
        {"pre": "7", "post": "null", "count": 1, "size": 3, "region": ["two\nlines"], "region_count": [1]},
    ]


def test_text_and_integer_ids_are_exact_in_both_types(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "pre,post\n9007199254740993,9007199254740992\n9007199254740993,-9223372036854775808\n"
    )
    table, _ = aggregate_synapses(tmp_path / "s.csv", id_type="int64")
    assert table.column("post").to_pylist() == [-(2**63), 2**53]
    assert table.column("pre").to_pylist() == [2**53 + 1] * 2
    text, _ = aggregate_synapses(ROWS, id_type="string")
    assert text.column("pre").to_pylist() == sorted(map(str, [7, 7, BIG, BIG + 1, BIG + 1]))
    assert text.schema.field("pre").type == pa.string()


def test_progress_adds_up_to_the_rows() -> None:
    done: list[int] = []
    aggregate_synapses(random_rows(1000, 10).to_batches(max_chunksize=100), progress=done.append)
    assert sum(done) == 1000


# ---- policies ----


def test_rows_without_ids_are_dropped_and_reported_by_row() -> None:
    rows = pa.table({"pre": [1, None, 0, 2, 3], "post": [2, 3, None, 0, 1]})
    table, report = aggregate_synapses(rows, no_neuron=[0])
    assert lists(table) == {"pre": [1, 3], "post": [2, 1], "count": [1, 1]}
    assert report.rows_kept == {"synapses": 2}
    found = {(item.rule, item.column): (item.rows_removed, item.examples, item.policy) for item in report.findings}
    assert found == {
        ("missing_id", "pre"): (1, ((2, "missing"),), "missing_ids=drop"),
        ("no_neuron", "pre"): (1, ((3, "0"),), "no_neuron=[0]"),
        ("no_neuron", "post"): (1, ((4, "0"),), "no_neuron=[0]"),
    }
    with pytest.raises(SchemaError, match=r"'pre'.*an id is missing in row 2: missing .*missing_ids='drop'"):
        aggregate_synapses(rows, missing_ids="error")


def test_empty_and_missing_text_ids_are_missing(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('pre,post\na,b\n,b\n"",b\na,\nnobody,b\n')
    table, report = aggregate_synapses(tmp_path / "s.csv", no_neuron=["nobody"])
    assert lists(table) == {"pre": ["a"], "post": ["b"], "count": [1]}
    assert [(item.rule, item.column, item.examples) for item in report.findings] == [
        ("missing_id", "pre", ((2, "missing"), (3, "missing"))),
        ("no_neuron", "pre", ((5, "'nobody'"),)),
        ("missing_id", "post", ((4, "missing"),)),
    ]
    coded = pa.table({"pre": ["a", "", None], "post": ["b", "b", "b"]})
    coded = coded.set_column(0, "pre", coded.column("pre").dictionary_encode())
    assert aggregate_synapses(coded)[0].column("count").to_pylist() == [1]


MISSING = pa.table(
    {
        "pre": [1, 1, 1, 2],
        "post": [2, 2, 2, 1],
        "size": pa.array([1.5, None, math.nan, None], pa.float64()),
        "x": pa.array([1.0, 2.0, math.nan, 9.0]),
        "y": pa.array([1.0, None, 3.0, None], pa.float64()),
        "z": [1, 2, 3, 4],
        "region": ["a", "", None, "b"],
    }
)


def test_missing_values_are_counted_but_not_added() -> None:
    table, report = aggregate_synapses(MISSING)
    assert lists(table) == {
        "pre": [1, 2],
        "post": [2, 1],
        "count": [3, 1],
        "size": [1.5, None],
        "x": [1.0, None],
        "y": [1.0, None],
        "z": [1.0, None],
        "region": [["a", None], ["b"]],
        "region_count": [[1, 2], [1]],
    }
    assert report.rows_kept == {"synapses": 4}
    missing = {item.column: (item.count, [row for row, _ in item.examples]) for item in report.find("missing_value")}
    assert missing == {"size": (3, [2, 3, 4]), "x": (3, [2, 3, 4]), "region": (2, [2, 3])}
    assert all(item.severity == "warning" and not item.rows_removed for item in report.find("missing_value"))


def test_rows_with_missing_values_are_dropped_or_refused_where_the_policy_says_so() -> None:
    table, report = aggregate_synapses(MISSING, missing_values="drop")
    assert table.to_pylist() == [
        {"pre": 1, "post": 2, "count": 1, "size": 1.5, "x": 1, "y": 1, "z": 1, "region": ["a"], "region_count": [1]}
    ]
    assert report.rows_kept == {"synapses": 1}
    assert {item.column: item.rows_removed for item in report.find("missing_value")} == {"size": 3}
    with pytest.raises(SchemaError, match=r"'size'.*missing or NaN in row 2: missing, row 3: nan, row 4"):
        aggregate_synapses(MISSING, missing_values="error")
    with pytest.raises(SchemaError, match=r"'x'.*missing or NaN in row 3: nan"):
        aggregate_synapses(MISSING, columns={"size": None}, missing_values="error")
    with pytest.raises(SchemaError, match=r"'region'.*missing or NaN in row 2: '', row 3: missing"):
        aggregate_synapses(MISSING.drop_columns(["size", "x"]), missing_values="error")


def test_thresholds_remove_synapses_and_connections_and_report_them() -> None:
    rows = pa.table({"pre": [1, 1, 1, 2, 3], "post": [2, 2, 2, 1, 1], "size": [5, 4, 1, 9, None]})
    table, report = aggregate_synapses(rows, min_size=4, min_count=2)
    assert lists(table) == {"pre": [1], "post": [2], "count": [2], "size": [9]}
    small, few = report.find("below_min_size")[0], report.find("below_min_count")[0]
    assert (small.rows_removed, small.examples) == (1, ((3, "1"),))
    assert (few.count, few.rows_removed) == (2, 2)
    assert "2 -> 1, 3 -> 1" in few.message
    assert report.rows_in["synapses"] == report.rows_kept["synapses"] + 3
    assert report.result == {"neurons": 2, "connections": 1}


def test_self_loops_are_kept_dropped_or_refused() -> None:
    rows = pa.table({"pre": [1, 2, 2], "post": [2, 2, 2]})
    assert aggregate_synapses(rows)[0].num_rows == 2
    table, report = aggregate_synapses(rows, self_loops="drop")
    assert lists(table) == {"pre": [1], "post": [2], "count": [1]}
    assert report.find("self_loop")[0].examples == ((2, "2"), (3, "2"))
    assert report.rows_kept == {"synapses": 1}
    with pytest.raises(SchemaError, match=r"onto itself in row 2: 2, row 3: 2"):
        aggregate_synapses(rows, self_loops="error")


@COMMON
@given(
    tables(),
    st.sampled_from(["keep", "drop"]),
    st.sampled_from(["keep", "drop"]),
    st.one_of(st.none(), st.integers(0, 10**6)),
    st.integers(1, 4),
    st.integers(1, 20),
)
def test_rows_in_are_rows_kept_plus_rows_reported(
    table: pa.Table, values: Any, loops: Any, min_size: int | None, min_count: int, block: int
) -> None:
    nobody = table.column("pre")[0].as_py()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        patch.setattr(synapses, "_BLOCK_ROWS", block)
        found, report = aggregate_synapses(
            table,
            missing_values=values,
            self_loops=loops,
            min_size=min_size,
            min_count=min_count,
            no_neuron=[nobody],
        )
    removed = sum(item.rows_removed for item in report.findings)
    assert report.rows_in["synapses"] == table.num_rows == report.rows_kept["synapses"] + removed
    assert sum(found.column("count").to_pylist()) == report.rows_kept["synapses"]
    kept = [
        row
        for row in table.to_pylist()
        if nobody not in (row["pre"], row["post"])
        and not (min_size is not None and row["size"] is not None and row["size"] < min_size)
        and not (values == "drop" and None in row.values())
        and not (loops == "drop" and row["pre"] == row["post"])
    ]
    counts: dict[tuple[Any, Any], int] = defaultdict(int)
    for row in kept:
        counts[row["pre"], row["post"]] += 1
    expected = {pair: count for pair, count in counts.items() if count >= min_count}
    pairs = zip(found.column("pre").to_pylist(), found.column("post").to_pylist(), strict=True)
    assert dict(zip(pairs, found.column("count").to_pylist(), strict=True)) == expected
    assert type(report).from_json(report.to_json()).to_json() == report.to_json()


def test_a_table_of_which_nothing_is_left_says_so() -> None:
    table, report = aggregate_synapses(pa.table({"pre": [0, 1], "post": [1, 0], "size": [1, 1]}), no_neuron=[0])
    assert table.num_rows == 0
    assert table.column_names == ["pre", "post", "count", "size"]
    assert report.find("no_rows_left")
    assert report.rows_kept == {"synapses": 0}


# ---- bad input ----


def test_tables_without_rows_are_refused(tmp_path: Path) -> None:
    for source in (ROWS.slice(0, 0), iter([]), [ROWS.slice(0, 0)], write(tmp_path, ROWS.slice(0, 0), "parquet")):
        with pytest.raises(SchemaError, match="is empty"):
            aggregate_synapses(source)
    (tmp_path / "s.csv").write_text("")
    with pytest.raises(SchemaError, match=r"s\.csv is empty: it has not even a header"):
        aggregate_synapses(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("pre,post\n")
    with pytest.raises(SchemaError, match="it has no data rows"):
        aggregate_synapses(tmp_path / "s.csv")
    table, _ = aggregate_synapses([ROWS.slice(0, 0), ROWS])
    assert table.equals(aggregate_synapses(ROWS)[0])


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow", "csv.gz"])
def test_truncated_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, random_rows(3000, 50), kind)
    content = path.read_bytes()
    for share in (0.2, 0.5, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(SchemaError, match=rf"s\.{kind} (cannot be read|is empty)"):
            aggregate_synapses(path, id_type="int64")


def test_a_csv_row_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("pre,post\na,b\na,b,c\n")
    with pytest.raises(SchemaError, match=r"s\.csv cannot be read as CSV.*Expected 2 columns, got 3: a,b,c"):
        aggregate_synapses(tmp_path / "s.csv")


def test_float_ids_are_refused_with_the_reason() -> None:
    rows = pa.table({"pre": [1.0, 2.0], "post": [1, 2]})
    with pytest.raises(SchemaError, match=r"'pre'.*ids as double: a float cannot hold integers above 2\^53"):
        aggregate_synapses(rows)
    with pytest.raises(SchemaError, match="ids as double"):
        aggregate_synapses(rows, id_type="int64")
    with pytest.raises(SchemaError, match=r"holds bool; ids must be text or integers"):
        aggregate_synapses(pa.table({"pre": [True], "post": [1]}))
    with pytest.raises(SchemaError, match=r"does not fit into int64 in row 1: 9223372036854775808"):
        aggregate_synapses(pa.table({"pre": pa.array([2**63], pa.uint64()), "post": [1]}))


@pytest.mark.parametrize("id_type", ["int64", None])
def test_text_ids_that_went_through_a_float_are_refused(tmp_path: Path, id_type: str | None) -> None:
    (tmp_path / "s.csv").write_text("pre,post\n1,2\n7.2e+17,2\n720575940596125868.0,3\n")
    with pytest.raises(SchemaError, match=r"went through a float .* in row 2: '7\.2e\+17', row 3: '720575940596125868"):
        aggregate_synapses(tmp_path / "s.csv", id_type=id_type)


def test_text_that_is_no_int64_is_refused_by_row(tmp_path: Path) -> None:
    for text, message in (("x1", "not an integer"), ("9223372036854775808", "does not fit"), ("007", "not an integer")):
        (tmp_path / "s.csv").write_text(f"pre,post\n1,2\n3,{text}\n")
        with pytest.raises(SchemaError, match=rf"'post'.*{message}.* in row 2: '{text}'"):
            aggregate_synapses(tmp_path / "s.csv", id_type="int64")


def test_ids_of_two_types_are_refused() -> None:
    with pytest.raises(SchemaError, match="have different types, int64 and string"):
        aggregate_synapses(pa.table({"pre": [1], "post": ["1"]}))
    batches = [pa.table({"pre": ["1"], "post": ["1"]}), pa.table({"pre": [1], "post": [1]})]
    with pytest.raises(SchemaError, match="hold int64 after row 1, those before string"):
        aggregate_synapses(batches)
    table, _ = aggregate_synapses(batches, id_type="string")
    assert table.column("count").to_pylist() == [2]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("size", -1, "a size cannot be negative in row 3: -1"),
        ("size", -0.25, r"a size cannot be negative in row 3: -0\.25"),
        ("size", math.inf, "not finite in row 3: inf"),
        ("x", -math.inf, "not finite in row 3: -inf"),
        ("y", 2.0**53, r"2\^53 or more in row 3: 9007199254740992\.0"),
        ("z", -(2**53), r"2\^53 or more in row 3: -9007199254740992"),
        ("size", "many", "not a number in row 3: 'many'"),
        ("x", True, "holds bool, but must be numbers"),
        ("region", 5, "holds int64; regions must be text"),
    ],
)
def test_wrong_values_are_refused_by_row(column: str, value: Any, message: str) -> None:
    values = [type(value)(1)] * 2 + [value]
    if column == "size" and value == -0.25:
        values = [1.0, 1.0, value]
    rows = ROWS.slice(0, 3)
    rows = rows.set_column(rows.column_names.index(column), column, pa.array(values))
    with pytest.raises(SchemaError, match=message):
        aggregate_synapses([ROWS.slice(0, 0), rows])


def test_row_numbers_run_through_files_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapses, "_BLOCK_ROWS", 100)
    rows = random_rows(1000, 20)
    bad = pa.concat_tables([rows, rows.slice(0, 1).set_column(2, "size", pa.array([-5]))])
    paths = [write(tmp_path, table, "parquet", stem) for table, stem in ((rows, "a"), (bad, "b"))]
    with pytest.raises(SchemaError, match=r"\(b\.parquet\): a size cannot be negative in row 2001: -5"):
        aggregate_synapses(paths)


def test_sums_that_64_bits_cannot_hold_are_refused() -> None:
    rows = pa.table({"pre": [1] * 1100, "post": [1] * 1100, "size": [2**53 - 1] * 1100})
    with pytest.raises(SchemaError, match=r"'size'.*may exceed 64 bits"):
        aggregate_synapses(rows)


def test_files_that_do_not_continue_each_other_are_refused(tmp_path: Path) -> None:
    parquet, csv = write(tmp_path, ROWS, "parquet"), write(tmp_path, ROWS, "csv")
    with pytest.raises(SchemaError, match=r"cannot continue s\.parquet with s\.csv"):
        aggregate_synapses([parquet, csv])
    with pytest.raises(SchemaError, match="must hold files of one format"):
        aggregate_synapses(tmp_path)
    other = write(tmp_path, ROWS.drop_columns(["size"]), "parquet", "other")
    with pytest.raises(UnknownNameError, match=r"No column named 'size' in the synapses table \(other\.parquet\)"):
        aggregate_synapses([parquet, other])
    with pytest.raises(SchemaError, match=r"Batch 2 of the synapses has the columns 'a'"):
        aggregate_synapses(iter([ROWS, pa.table({"a": [1]})]))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, ROWS, "parquet", "synapses")
    with pytest.raises(MissingFileError, match=r"Did you mean 'synapses\.parquet'"):
        aggregate_synapses(tmp_path / "synapse.parquet")
    with pytest.raises(MissingFileError, match="no such folder"):
        aggregate_synapses(tmp_path / "a" / "b.csv")
    (tmp_path / "x.xlsx").write_bytes(b"x")
    with pytest.raises(SchemaError, match="none of the formats read"):
        aggregate_synapses(tmp_path / "x.xlsx")
    for source in (5, [5], iter([5]), [ROWS, 5]):
        with pytest.raises(SchemaError, match="The synapses are a int"):
            aggregate_synapses(source)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"No column named 'sice' in the synapses table.*Did you mean 'size'"):
        aggregate_synapses(ROWS, columns={"size": "sice"})
    with pytest.raises(UnknownNameError, match=r"canonical column named 'sizes'.*Did you mean 'size'"):
        aggregate_synapses(ROWS, columns={"sizes": "size"})
    with pytest.raises(SchemaError, match=r"Synapses need the column 'pre'.*columns=\{'pre': '\.\.\.'\}"):
        aggregate_synapses(ROWS.rename_columns(["a", *ROWS.column_names[1:]]))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"columns": {"pre": None}}, r"columns\['pre'\] is None"),
        ({"columns": {"pre": 5}}, r"columns\['pre'\] is 5"),
        ({"columns": {"position": ("x", "y")}}, "or the names of three"),
        ({"columns": {"x": "x", "y": "y"}}, "columns gives x, y alone"),
        ({"columns": {"x": "x", "y": "y", "z": "z", "position": "region"}}, "and the position"),
        ({"columns": {"position": ("x", "y", "z"), "x": "x"}}, "twice"),
        ({"columns": ["pre"]}, "must map"),
        ({"id_type": "int32"}, "id_type is 'int32'"),
        ({"missing_ids": "keep"}, "missing_ids is 'keep'"),
        ({"missing_values": "zero"}, "missing_values is 'zero'"),
        ({"self_loops": True}, "self_loops is True"),
        ({"min_size": "4"}, "min_size is '4'"),
        ({"min_count": 0}, "min_count is 0"),
        ({"min_count": 1.5}, "min_count is 1.5"),
        ({"no_neuron": "0"}, "no_neuron is '0'"),
        ({"no_neuron": ["0"]}, "but the ids are int64"),
        ({"memory_limit_MB": 0}, "memory_limit_MB is 0"),
    ],
)
def test_settings_that_are_not_valid_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        aggregate_synapses(ROWS, **settings_)


def test_a_column_cannot_mean_two_things() -> None:
    with pytest.raises(SchemaError, match="for more than one thing"):
        aggregate_synapses(ROWS, columns={"pre": "pre", "post": "pre"})
    twice = pa.table([[1], [2], [3]], names=["pre", "post", "pre"])
    with pytest.raises(SchemaError, match="more than one column named 'pre'"):
        aggregate_synapses(twice)


@COMMON
@given(
    st.sampled_from(["parquet", "feather", "csv", "csv.gz"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_files_with_changed_bytes_are_read_in_full_or_refused(
    tmp_path: Path, kind: str, changes: list[tuple[float, int]], end: float | None
) -> None:
    path = write(tmp_path, random_rows(200, 20).drop_columns(["x"]), kind)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[int(place * len(content))] = byte
    path.write_bytes(bytes(content if end is None else content[: int(end * len(content))]))
    try:
        table, report = aggregate_synapses(path)
    except (SchemaError, UnknownNameError):
        return
    removed = sum(item.rows_removed for item in report.findings)
    assert report.rows_in["synapses"] == report.rows_kept["synapses"] + removed
    assert sum(table.column("count").to_pylist()) == report.rows_kept["synapses"]


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    raw = pa.array([b"\x80\xff", b"a"], pa.binary())
    text = pa.StringArray.from_buffers(2, *raw.buffers()[1:])
    good = pa.array(["a", "b"])
    for table in (
        pa.table({"pre": text, "post": good}),
        pa.table({"pre": good, "post": good, "region": text.dictionary_encode()}),
        pa.table({"pre": good, "post": good, "size": text}),
    ):
        path = tmp_path / "s.parquet"
        pa_parquet.write_table(table, path)
        for source in (path, table):
            with pytest.raises(SchemaError, match=r"among rows 1 to 2: .*UTF-?8"):
                aggregate_synapses(source)
