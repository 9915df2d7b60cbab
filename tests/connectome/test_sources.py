"""One connectome from every kind of source: files of every compression, several files, matrices, graphs."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
import scipy.sparse as sp

from connectofit.connectome import (
    AdjacencyMatrix,
    Connectome,
    CsvFile,
    GapJunctionGraph,
    JoinedTables,
    MissingFileError,
    Policies,
    SchemaError,
    SettingError,
    UnknownNameError,
    ValidationReport,
    read_connectome,
)
from connectofit.connectome.sources import load

# Neighbours above 2^53: as float64 the three are one number.
A, B, C = LARGE = (720575940596125868, 720575940596125869, 720575940596125870)

Key = tuple[Any, Any, str]


def contents(connectome: Connectome) -> dict[Key, int]:
    """Counts by (pre, post, kind)."""
    table = connectome.edge_table()
    names = [table.column(name).to_pylist() for name in ("pre", "post", "kind", "count")]
    return {(pre, post, kind): count for pre, post, kind, count in zip(*names, strict=True)}


def compressed(path: Path, text: str) -> Path:
    data = text.encode()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".bz2":
        path.write_bytes(bz2.compress(data))
    elif path.suffix == ".zst":
        path.write_bytes(pa.Codec("zstd").compress(data, asbytes=True))
    else:
        path.write_bytes(data)
    return path


CHEMICAL = {("a", "b", "chemical"): 3, ("b", "c", "chemical"): 1, ("c", "a", "chemical"): 2}


# ---- files ----


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2"])
@pytest.mark.parametrize(("ending", "separator"), [(".csv", ","), (".tsv", "\t")])
def test_compressed_text_is_read_like_plain_text(tmp_path: Path, suffix: str, ending: str, separator: str) -> None:
    text = "pre,post,count\na,b,3\nb,c,1\nc,a,2\n".replace(",", separator)
    found, _ = read_connectome(compressed(tmp_path / f"edges{ending}{suffix}", text))
    assert contents(found) == CHEMICAL


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_without_header_is_read_by_the_names_given(tmp_path: Path, suffix: str) -> None:
    path = compressed(tmp_path / f"edges.csv{suffix}", "a,b,3\nb,c,1\nc,a,2\n")
    found, report = read_connectome(CsvFile(path, names=["pre", "post", "count"]))
    assert contents(found) == CHEMICAL
    assert report.rows_in["edges"] == 3


def test_a_file_without_header_keeps_ids_above_2_to_the_53(tmp_path: Path) -> None:
    path = compressed(tmp_path / "edges.txt", f"{A} {B} 3\n{B} {C} 1\n")
    source = CsvFile(path, names=["from", "to", "n"], delimiter=" ")
    found, _ = read_connectome(source, columns={"pre": "from", "post": "to", "count": "n"}, id_type="int64")
    assert contents(found) == {(A, B, "chemical"): 3, (B, C, "chemical"): 1}


def test_rows_of_a_file_without_header_count_from_its_first_line(tmp_path: Path) -> None:
    names = ["pre", "post", "count"]
    with pytest.raises(SchemaError, match="not a number in row 2: 'x'"):
        read_connectome(CsvFile(compressed(tmp_path / "e.csv", "a,b,3\nb,c,x\n"), names=names))
    with pytest.raises(SchemaError, match="other numbers of fields in row 2: 2 fields"):
        read_connectome(CsvFile(compressed(tmp_path / "f.csv", "a,b,3\nb,c\n"), names=names))


def test_names_of_a_file_without_header_must_be_a_list_of_unique_names() -> None:
    with pytest.raises(SettingError, match="must be a list of column names"):
        CsvFile("edges.csv", names="pre")
    with pytest.raises(SettingError, match="must be unique"):
        CsvFile("edges.csv", names=["pre", "pre"])
    with pytest.raises(SettingError, match="must be one character"):
        CsvFile("edges.csv", delimiter="  ")


@pytest.mark.parametrize("ending", [".arrow", ".ipc", ".feather"])
def test_arrow_ipc_files_are_read(tmp_path: Path, ending: str) -> None:
    table = pa.table({"pre": ["a", "b", "c"], "post": ["b", "c", "a"], "count": [3, 1, 2]})
    with pa.OSFile(str(tmp_path / f"e{ending}"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert contents(read_connectome(tmp_path / f"e{ending}")[0]) == CHEMICAL


# ---- several files ----


def parts(folder: Path, ending: str) -> list[Path]:
    """Three files of 2, 1 and 2 rows."""
    folder.mkdir()
    tables = [
        pa.table({"pre": [A, B], "post": [B, C], "count": [1, 2]}),
        pa.table({"pre": [C], "post": [A], "count": [3]}),
        pa.table({"pre": [A, B], "post": [C, A], "count": [4, 5]}),
    ]
    for number, table in enumerate(tables):
        path = folder / f"part-{number}{ending}"
        if ending == ".parquet":
            pa_parquet.write_table(table, path)
        elif ending == ".feather":
            pa_feather.write_feather(table, str(path))
        else:
            pa_csv.write_csv(table, path)
    return sorted(folder.iterdir())


EVERY = {(A, B): 1, (B, C): 2, (C, A): 3, (A, C): 4, (B, A): 5}


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_a_folder_and_a_list_of_its_files_are_one_table(tmp_path: Path, ending: str) -> None:
    files = parts(tmp_path / "edges", ending)
    (tmp_path / "edges" / "_SUCCESS").touch()
    for source in (tmp_path / "edges", files):
        found, report = read_connectome(source, id_type="int64")
        assert {key[:2]: count for key, count in contents(found).items()} == EVERY
        assert report.rows_in["edges"] == report.rows_kept["edges"] == 5


def test_the_report_says_which_rows_are_in_which_file(tmp_path: Path) -> None:
    parts(tmp_path / "edges", ".csv")
    _, report = read_connectome(tmp_path / "edges")
    named = (("part-0.csv", 1, 2), ("part-1.csv", 3, 3), ("part-2.csv", 4, 5))
    assert report.files == {"edges": named}
    assert report.source["edges"] == "3 files: part-0.csv rows 1-2, part-1.csv rows 3-3, part-2.csv rows 4-5"
    assert [report.locate("edges", row) for row in range(1, 6)] == [
        ("part-0.csv", 1),
        ("part-0.csv", 2),
        ("part-1.csv", 1),
        ("part-2.csv", 1),
        ("part-2.csv", 2),
    ]
    assert ValidationReport.from_json(report.to_json()) == report
    with pytest.raises(SettingError, match="Row 6 of 'edges' cannot be found"):
        report.locate("edges", 6)


def test_a_row_of_one_file_is_located_in_that_file(tmp_path: Path) -> None:
    path = compressed(tmp_path / "edges.csv", "pre,post,count\na,b,1\n")
    assert read_connectome(path)[1].locate("edges", 1) == ("edges.csv", 1)


def test_a_bad_row_in_the_third_file_is_named_by_its_file(tmp_path: Path) -> None:
    files = parts(tmp_path / "edges", ".csv")
    files[2].write_text(f'"pre","post","count"\n{A},{C},4\n{B},{A},many\n')
    with pytest.raises(SchemaError, match="not a number in row 5: 'many'") as caught:
        read_connectome(tmp_path / "edges")
    assert caught.value.__notes__ == ["In the files of the edges table: row 5 is row 2 of part-2.csv."]


def test_many_files_are_named_in_short_but_every_row_can_be_located(tmp_path: Path) -> None:
    for number in range(40):
        compressed(tmp_path / f"{number:02d}.csv", f"pre,post,count\na{number},b,1\n")
    _, report = read_connectome(tmp_path)
    assert report.source["edges"].startswith("40 files: 00.csv rows 1-1, ")
    assert ", ..., " in report.source["edges"]
    assert [report.locate("edges", row) for row in (17, 40)] == [("16.csv", 1), ("39.csv", 1)]


def test_a_neuron_table_may_be_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    for name, text in (("1.csv", "id,side\na,left\n"), ("2.csv", "side,id\nright,b\n")):
        compressed(tmp_path / "n" / name, text)
    found, _ = read_connectome(pa.table({"pre": ["a"], "post": ["b"], "count": [1]}), tmp_path / "n")
    assert found.neurons.to_pylist() == [{"id": "a", "side": "left"}, {"id": "b", "side": "right"}]


def test_files_that_do_not_continue_each_other_are_refused(tmp_path: Path) -> None:
    one = compressed(tmp_path / "1.csv", "pre,post,count\na,b,1\n")
    with pytest.raises(SchemaError, match=r"continue 1\.csv with 2\.csv: the columns differ.*'count'.*'weight'"):
        read_connectome([one, compressed(tmp_path / "2.csv", "pre,post,weight\na,b,1\n")])
    with pytest.raises(SchemaError, match="one is CSV, whose columns are text, and the other has types"):
        read_connectome([one, pa.table({"pre": ["a"], "post": ["b"], "count": [1]})])
    whole = pa.table({"pre": [A], "post": [B], "count": [1]})
    float_ids = pa.table({"pre": [float(A)], "post": [B], "count": [1]})
    with pytest.raises(
        SchemaError, match=r"Column 'pre' .* has different types in its files: .*float.*integer|integer"
    ):
        read_connectome([whole, float_ids])


def test_integers_of_several_widths_continue_each_other() -> None:
    narrow = pa.table({"pre": pa.array([1], pa.int32()), "post": pa.array([2], pa.int32()), "count": [7]})
    wide = pa.table({"pre": [A], "post": [B], "count": pa.array([8], pa.int16())})
    found, report = read_connectome([narrow, wide])
    assert contents(found) == {(1, 2, "chemical"): 7, (A, B, "chemical"): 8}
    assert report.files["edges"] == (("Arrow table 1", 1, 1), ("Arrow table 2", 2, 2))


def test_a_folder_of_anything_but_tables_of_one_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"is a folder; it must hold files of one format.*It holds no file"):
        read_connectome(tmp_path)
    compressed(tmp_path / "1.csv", "pre,post,count\na,b,1\n")
    (tmp_path / "readme.md").touch()
    with pytest.raises(SchemaError, match=r"It holds CSV: '1\.csv'.*; other: 'readme\.md'"):
        read_connectome(tmp_path)
    (tmp_path / "readme.md").unlink()
    (tmp_path / "more").mkdir()
    with pytest.raises(SchemaError, match="other: 'more'"):
        read_connectome(tmp_path)


def test_the_folder_of_a_stored_connectome_says_how_it_is_opened(tmp_path: Path) -> None:
    stored = read_connectome(pa.table({"pre": ["a"], "post": ["b"], "count": [1]}))[0].write(tmp_path / "c")
    with pytest.raises(SchemaError, match=r"is opened by Connectome\.read"):
        read_connectome(stored)


def test_lists_of_anything_but_tables_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"The edges are a list; .* with an item of type tuple"):
        read_connectome([("a", "b")])  # type: ignore[list-item]
    with pytest.raises(SchemaError, match=r"The edges are a list; .* without any item"):
        read_connectome([])


# ---- columns that are left out ----


def with_a_broken_column(path: Path) -> Path:
    """A table whose column ``note`` is not UTF-8, in the format that the file's name says."""
    if path.suffix == ".csv":
        path.write_bytes(b"pre,note,post,count\na,\xff\xfe,b,1\nb,x,a,2\n")
        return path
    raw = pa.array([b"\xff\xfe", b"x"], pa.binary())
    note = pa.StringArray.from_buffers(2, *raw.buffers()[1:])
    table = pa.table({"pre": ["a", "b"], "note": note, "post": ["b", "a"], "count": [1, 2]})
    (pa_parquet.write_table if path.suffix == ".parquet" else pa_feather.write_feather)(table, path)
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_columns_that_are_left_out_are_not_read(tmp_path: Path, ending: str) -> None:
    path = with_a_broken_column(tmp_path / f"edges{ending}")
    with pytest.raises(SchemaError, match="UTF-8"):
        load(path, "edges")
    table = load(path, "edges", ("note", "no_such_column")).table.arrow
    assert table.column_names == ["pre", "post", "count"]
    assert table.column("post").to_pylist() == ["b", "a"]
    assert load([path, path], "edges", ("note",)).table.arrow.num_rows == 4


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_the_report_names_the_columns_that_a_preset_leaves_out(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"weights{ending}"
    table = pa.table({"body_pre": [1, 2], "type_pre": ["x", "y"], "body_post": [2, 1], "weight": [3, 4]})
    if ending == ".csv":
        pa_csv.write_csv(table, path)
    else:
        (pa_parquet.write_table if ending == ".parquet" else pa_feather.write_feather)(table, path)
    found, report = read_connectome(path, preset="neuprint")
    assert "columns not read, as they repeat others: type_pre" in report.find("preset")[0].message
    assert found.edge_columns.column_names == ["sign_source"]
    assert found.count.tolist() == [3, 4]


# ---- joined neuron tables ----

EDGES = pa.table({"pre": [A, B], "post": [B, C], "count": [3, 1]})


def test_joined_tables_add_columns_by_exact_id(tmp_path: Path) -> None:
    first = compressed(tmp_path / "neurons.csv", f"root_id,nt,group\n{A},ACH,X\n{B},GABA,Y\n{C},,Z\n")
    second = compressed(tmp_path / "types.csv.gz", f"root_id,cell_type,group\n{C},T4,z\n{A},T5,x\n")
    mapping = {"id": "root_id", "transmitter": "nt"}
    source = JoinedTables([first, second], on="root_id")
    found, report = read_connectome(EDGES, source, columns=mapping, id_type="int64")
    assert found.neurons.to_pylist() == [
        {"id": A, "transmitter": "ACH", "group": "X", "cell_type": "T5", "group_types": "x"},
        {"id": B, "transmitter": "GABA", "group": "Y", "cell_type": None, "group_types": None},
        {"id": C, "transmitter": None, "group": "Z", "cell_type": "T4", "group_types": "z"},
    ]
    assert report.find("joined_table")[0].severity == "info"
    assert report.rows_in["neurons"] == 3


def test_text_and_integer_ids_are_joined_as_the_type_that_a_schema_gives(tmp_path: Path) -> None:
    more = compressed(tmp_path / "side.csv", f"id,side\n{B},left\n")
    found, _ = read_connectome(EDGES, JoinedTables([pa.table({"id": [A, B, C]}), more], on="id"))
    assert found.neurons.to_pylist() == [{"id": A, "side": None}, {"id": B, "side": "left"}, {"id": C, "side": None}]
    with pytest.raises(SchemaError, match="The id columns have different types"):
        read_connectome(EDGES, JoinedTables([pa.table({"id": [A]}), pa.table({"id": [str(A)]})], on="id"))


def test_rows_of_a_joined_table_that_name_no_neuron_are_reported() -> None:
    neurons = pa.table({"id": [A, B, C]})
    more = pa.table({"id": [C, C + 1, C + 2], "side": ["left", "right", "right"]})
    found, report = read_connectome(EDGES, JoinedTables([neurons, more], on="id"))
    finding = report.find("joined_table")[0]
    assert (finding.severity, finding.count, finding.examples) == ("warning", 2, ((2, str(C + 1)), (3, str(C + 2))))
    assert found.column("side").tolist() == [None, None, "left"]


def test_a_joined_table_must_have_the_id_column_and_name_every_neuron_once() -> None:
    neurons = pa.table({"id": [A, B, C]})
    with pytest.raises(UnknownNameError, match="No column named 'id' in the neurons table"):
        read_connectome(EDGES, JoinedTables([neurons, pa.table({"root": [A]})], on="id"))
    with pytest.raises(SchemaError, match=f"ids are repeated in row 2: {A} \\(1 in all"):
        read_connectome(EDGES, JoinedTables([neurons, pa.table({"id": [A, A], "x": [1, 2]})], on="id"))
    with pytest.raises(SettingError, match="two or more tables"):
        JoinedTables([neurons], on="id")


def test_neuron_tables_with_other_columns_are_told_how_they_are_joined(tmp_path: Path) -> None:
    one, two = pa.table({"id": [A], "x": [1]}), pa.table({"id": [A], "y": [1]})
    with pytest.raises(SchemaError, match=r"use JoinedTables\(\[\.\.\.\], on='id'\)"):
        read_connectome(EDGES, [one, two])


# ---- adjacency matrices ----

DENSE = np.array([[0, 3, 0], [0, 0, 1], [2, 0, 0]])
NEURONS = pa.table({"id": ["a", "b", "c"], "side": ["left", "right", None]})


def matrix_sources(folder: Path) -> dict[str, Any]:
    sp.save_npz(folder / "sparse.npz", sp.csr_array(DENSE))
    sp.save_npz(folder / "coo.npz", sp.coo_matrix(DENSE))
    np.savez(folder / "dense.npz", W=DENSE)
    np.save(folder / "dense.npy", DENSE)
    return {
        "array": DENSE,
        "csr_array": sp.csr_array(DENSE),
        "csc_matrix": sp.csc_matrix(DENSE),
        "coo_array": sp.coo_array(DENSE),
        "sparse npz": folder / "sparse.npz",
        "sparse npz, coo": folder / "coo.npz",
        "dense npz": folder / "dense.npz",
        "npy": folder / "dense.npy",
        "declared": AdjacencyMatrix(folder / "dense.npz"),
    }


@pytest.mark.parametrize(
    "kind",
    ["array", "csr_array", "csc_matrix", "coo_array", "sparse npz", "sparse npz, coo", "dense npz", "npy", "declared"],
)
def test_a_matrix_takes_its_ids_from_the_rows_of_the_neuron_table(tmp_path: Path, kind: str) -> None:
    found, report = read_connectome(matrix_sources(tmp_path)[kind], NEURONS)
    assert contents(found) == CHEMICAL
    assert found.column("side").tolist() == ["left", "right", None]
    finding = report.find("adjacency_matrix")[0]
    assert (finding.count, finding.policy) == (3, "rows=pre")
    assert report.rows_in["edges"] == 3


def test_the_rows_of_a_matrix_can_be_declared_postsynaptic() -> None:
    found, _ = read_connectome(AdjacencyMatrix(DENSE, rows="post"), NEURONS)
    assert contents(found) == {(post, pre, kind): count for (pre, post, kind), count in CHEMICAL.items()}


def test_int64_ids_of_a_csv_neuron_table_reach_the_matrix_exactly(tmp_path: Path) -> None:
    neurons = compressed(tmp_path / "neurons.csv", f"root_id\n{A}\n{B}\n{C}\n")
    found, _ = read_connectome(sp.csr_array(DENSE), neurons, columns={"id": "root_id"}, id_type="int64")
    assert contents(found) == {(A, B, "chemical"): 3, (B, C, "chemical"): 1, (C, A, "chemical"): 2}


def test_a_matrix_may_bring_its_ids_and_needs_no_neuron_table() -> None:
    found, _ = read_connectome(AdjacencyMatrix(DENSE, ids=[A, B, C]))
    assert contents(found) == {(A, B, "chemical"): 3, (B, C, "chemical"): 1, (C, A, "chemical"): 2}
    with pytest.raises(SchemaError, match="has no ids: give the neuron table"):
        read_connectome(DENSE)


def test_a_csv_matrix_has_ids_as_header_and_first_column_in_any_order(tmp_path: Path) -> None:
    # Counts written as 9.0, columns in another order than the rows, and an id that only one side has.
    text = f"id,{C},{A},{B},7\n{A},0.0,0.0,9.0,1\n{C},2.0,3.0,0.0,0\n"
    path = compressed(tmp_path / "matrix.csv.gz", text)
    found, _ = read_connectome(AdjacencyMatrix(path), id_type="int64")
    assert contents(found) == {
        (A, B, "chemical"): 9,
        (A, 7, "chemical"): 1,
        (C, C, "chemical"): 2,
        (C, A, "chemical"): 3,
    }
    assert found.count.dtype == np.int32
    assert set(found.ids) == {A, B, C, 7}


def test_a_csv_matrix_keeps_neurons_without_edges(tmp_path: Path) -> None:
    found, report = read_connectome(AdjacencyMatrix(compressed(tmp_path / "m.csv", ",a,b,c\na,0,5,0\nc,0,0,0\n")))
    assert found.ids == ("a", "c", "b")
    assert report.find("no_edges")[0].examples == ((2, "c"),)


def test_a_parquet_matrix_and_a_frame_are_read_like_a_csv_matrix(tmp_path: Path) -> None:
    frame = pd.DataFrame(DENSE, index=["a", "b", "c"], columns=["a", "b", "c"])
    assert contents(read_connectome(AdjacencyMatrix(frame))[0]) == CHEMICAL
    frame.rename_axis("id").reset_index().to_parquet(tmp_path / "m.parquet")
    assert contents(read_connectome(AdjacencyMatrix(tmp_path / "m.parquet"))[0]) == CHEMICAL
    whole = pd.DataFrame(DENSE, index=list(LARGE), columns=list(LARGE))
    assert contents(read_connectome(AdjacencyMatrix(whole))[0])[(A, B, "chemical")] == 3


def test_an_electrical_matrix_gives_gap_junctions_in_both_directions() -> None:
    found, report = read_connectome(
        AdjacencyMatrix(np.array([[0, 4, 0], [4, 0, 0], [0, 0, 0]]), kind="electrical"), NEURONS
    )
    assert contents(found) == {("a", "b", "electrical"): 4, ("b", "a", "electrical"): 4}
    assert not report.find("electrical_one_direction")


def test_negative_entries_are_an_error_unless_declared_signed() -> None:
    signed = DENSE * np.array([[1], [-1], [1]])
    with pytest.raises(SchemaError, match="counts cannot be negative"):
        read_connectome(signed, NEURONS)
    found, _ = read_connectome(signed, NEURONS, columns={"signed_weight": "count"})
    assert contents(found) == CHEMICAL
    assert found.sign.tolist() == [1, -1, 1]


def test_entries_of_a_sparse_matrix_that_are_stored_twice_add_up_and_stored_zeros_are_no_edges() -> None:
    matrix = sp.coo_matrix(([1, 2, 0], ([0, 0, 1], [1, 1, 2])), shape=(3, 3))
    assert contents(read_connectome(matrix, NEURONS)[0]) == {("a", "b", "chemical"): 3}
    twice = sp.csr_matrix(([1, 2, 0], [1, 1, 2], [0, 2, 3, 3]), shape=(3, 3))
    found, report = read_connectome(twice, NEURONS)
    assert contents(found) == {("a", "b", "chemical"): 3}
    assert not report.find("duplicate_edge")
    assert twice.nnz == 3  # the caller's matrix is left as it was


def test_truth_values_count_one() -> None:
    assert set(contents(read_connectome(DENSE > 0, NEURONS)[0]).values()) == {1}


def test_matrices_of_the_wrong_shape_or_content_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"has the shape \(2, 2\), but .* names 3 neurons: it must be 3 x 3"):
        read_connectome(np.eye(2), NEURONS)
    with pytest.raises(SchemaError, match="has no entry other than 0"):
        read_connectome(np.zeros((3, 3)), NEURONS)
    bad = DENSE.astype(float)
    bad[2, 1] = np.nan
    with pytest.raises(SchemaError, match=r"not finite: nan at \(c, b\) \(1 in all\)"):
        read_connectome(bad, NEURONS)
    with pytest.raises(SchemaError, match="holds complex128; its entries must be numbers"):
        read_connectome(DENSE * 1j, NEURONS)
    with pytest.raises(SettingError, match=r"AdjacencyMatrix\.rows is 'post-synaptic'"):
        AdjacencyMatrix(DENSE, rows="post-synaptic")  # type: ignore[arg-type]


def test_cells_of_a_csv_matrix_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"Column 'b' of the edges table .* not a number in row 2: 'x'"):
        read_connectome(AdjacencyMatrix(compressed(tmp_path / "m.csv", ",a,b\na,0,1\nb,2,x\n")))
    blank = compressed(tmp_path / "blank.csv", ",a,b\na,,1\nb,2,\n")
    with pytest.raises(SchemaError, match=r"Column 'a' of the edges table .* the value is missing.* in row 1"):
        read_connectome(AdjacencyMatrix(blank))
    found, _ = read_connectome(AdjacencyMatrix(blank, blank="zero"))
    assert contents(found) == {("a", "b", "chemical"): 1, ("b", "a", "chemical"): 2}


def test_ids_in_the_margins_of_a_matrix_must_be_there_and_unique(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"first column of the adjacency matrix .* once; repeated: 'a'"):
        read_connectome(AdjacencyMatrix(compressed(tmp_path / "r.csv", ",a,b\na,0,1\na,2,0\n")))
    with pytest.raises(SchemaError, match="more than one column named 'a'"):
        read_connectome(AdjacencyMatrix(compressed(tmp_path / "c.csv", ",a,a\na,0,1\nb,2,0\n")))
    with pytest.raises(SchemaError, match=r"first column .* has 1 empty ids"):
        read_connectome(AdjacencyMatrix(compressed(tmp_path / "e.csv", ",a,b\na,0,1\n,2,0\n")))
    with pytest.raises(SchemaError, match=r"must be ids, all text or all integers; there are 1.5"):
        read_connectome(AdjacencyMatrix(pd.DataFrame([[1.0]], index=[1.5], columns=["a"])))


def test_npz_files_that_are_no_matrix_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", W=DENSE, V=DENSE)
    with pytest.raises(SchemaError, match=r"holds 2 arrays, 'W', 'V' .*say which"):
        read_connectome(tmp_path / "two.npz", NEURONS)
    assert contents(read_connectome(AdjacencyMatrix(tmp_path / "two.npz", array="V"), NEURONS)[0]) == CHEMICAL
    with pytest.raises(UnknownNameError, match=r"No array named 'w' in two.npz. Did you mean 'W'"):
        read_connectome(AdjacencyMatrix(tmp_path / "two.npz", array="w"), NEURONS)
    np.savez(tmp_path / "objects.npz", W=np.array([[{}]], dtype=object))
    with pytest.raises(SchemaError, match=r"objects.npz holds Python objects, which would have to be unpickled"):
        read_connectome(tmp_path / "objects.npz", NEURONS)
    sp.save_npz(tmp_path / "whole.npz", sp.csr_array(DENSE))
    data = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(SchemaError, match=r"cut.npz cannot be read"):
        read_connectome(tmp_path / "cut.npz", NEURONS)
    with pytest.raises(MissingFileError, match=r"whole.npz"):
        read_connectome(tmp_path / "whol.npz", NEURONS)


@pytest.mark.parametrize("layout", ["csr", "coo"])
def test_a_sparse_file_whose_indices_lie_outside_is_refused(tmp_path: Path, layout: str) -> None:
    sp.save_npz(tmp_path / "m.npz", sp.csr_matrix(DENSE).asformat(layout), compressed=False)
    with np.load(tmp_path / "m.npz") as file:
        arrays = dict(file)
    arrays["indices" if layout == "csr" else "row"] = np.array([1, 2, 99], np.int32)
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(SchemaError, match=r"bad.npz cannot be read"):
        read_connectome(tmp_path / "bad.npz", NEURONS)


# ---- graphs ----


def graph() -> nx.DiGraph:
    result = nx.DiGraph()
    result.add_node("a", side="left", nt="ACh")
    result.add_node("b", side="right", nt="GABA")
    result.add_node("lonely")
    result.add_edge("a", "b", weight=3, area="X")
    result.add_edge("b", "a", weight=1)
    return result


def test_a_digraph_is_a_source_with_its_attributes_as_columns() -> None:
    found, report = read_connectome(graph(), columns={"count": "weight", "transmitter": "nt"})
    assert contents(found) == {("a", "b", "chemical"): 3, ("b", "a", "chemical"): 1}
    assert found.sign.tolist() == [1, -1]
    assert found.ids == ("a", "b", "lonely")
    assert found.column("side").tolist() == ["left", "right", None]
    assert found.edge_columns.column("area").to_pylist() == ["X", None]
    assert report.source == {"edges": "networkx DiGraph", "neurons": "nodes of the networkx DiGraph"}
    assert report.find("no_edges")[0].examples == ((3, "lonely"),)


def test_a_graph_may_be_used_with_a_neuron_table_of_its_own() -> None:
    neurons = pa.table({"name": ["a", "b"], "size": [1, 2]})
    found, _ = read_connectome(graph(), neurons, columns={"count": "weight", "id": "name"})
    assert found.neurons.to_pylist() == [{"id": "a", "size": 1}, {"id": "b", "size": 2}]


def test_a_graph_without_counts_is_told_how_to_say_so() -> None:
    with pytest.raises(SchemaError, match=r"needs the column 'count'.*columns=\{'count': None\}"):
        read_connectome(nx.DiGraph([("a", "b")]))
    found, _ = read_connectome(nx.DiGraph([(A, B)]), columns={"count": None})
    assert contents(found) == {(A, B, "chemical"): 1}


def test_what_to_networkx_wrote_is_read_back_with_its_kinds() -> None:
    edges = pa.table(
        {"pre": ["a", "a", "b"], "post": ["b", "b", "a"], "count": [3, 2, 2], "kind": ["chemical", *["electrical"] * 2]}
    )
    first, _ = read_connectome(edges)
    assert contents(read_connectome(first.to_networkx())[0]) == contents(first)
    assert contents(read_connectome(first.electrical.to_networkx())[0]) == contents(first.electrical)


def test_text_keys_of_a_multigraph_are_a_column_and_numbers_are_not() -> None:
    result = nx.MultiDiGraph()
    result.add_edge("a", "b", key="dorsal", n=1)
    result.add_edge("b", "a", key="ventral", n=2)
    found, _ = read_connectome(result, columns={"count": "n"})
    assert found.edge_columns.column("key").to_pylist() == ["dorsal", "ventral"]
    plain = nx.MultiDiGraph()
    plain.add_edge("a", "b", count=1)
    plain.add_edge("a", "b", count=2)
    found, report = read_connectome(plain)
    assert contents(found) == {("a", "b", "chemical"): 3}
    assert "key" not in found.edge_columns.column_names
    assert report.find("duplicate_edge")[0].rows_removed == 1


def test_an_undirected_graph_is_refused_with_the_reason_or_electrical_by_declaration() -> None:
    undirected = nx.Graph()
    undirected.add_edge("a", "b", count=4)
    undirected.add_edge("b", "c", count=1)
    with pytest.raises(SchemaError, match=r"undirected graph: a chemical synapse has a direction.*GapJunctionGraph"):
        read_connectome(undirected)
    found, report = read_connectome(GapJunctionGraph(undirected))
    assert contents(found) == {
        ("a", "b", "electrical"): 4,
        ("b", "a", "electrical"): 4,
        ("b", "c", "electrical"): 1,
        ("c", "b", "electrical"): 1,
    }
    assert not report.find("electrical_one_direction")
    undirected.add_edge("c", "c", count=5)
    found, report = read_connectome(GapJunctionGraph(undirected), policies=Policies(self_loops="keep"))
    assert contents(found)[("c", "c", "electrical")] == 5
    assert report.rows_in["edges"] == 5
    with pytest.raises(SettingError, match="takes an undirected networkx graph"):
        GapJunctionGraph(nx.DiGraph())


def test_graphs_that_are_no_connectome_are_refused() -> None:
    mixed = nx.DiGraph([("a", 1)])
    with pytest.raises(SchemaError, match=r"nodes of the graph must be all text or all integers; the first is 'a'.* 1"):
        read_connectome(mixed)
    with pytest.raises(SchemaError, match="do not fit into int64"):
        read_connectome(nx.DiGraph([(2**70, 1)]))
    strange = nx.DiGraph()
    strange.add_edge("a", "b", count=1, note="x")
    strange.add_edge("b", "a", count=1, note=object())
    with pytest.raises(SchemaError, match="edge attribute 'note' holds values of the types"):
        read_connectome(strange)
    with pytest.raises(SchemaError, match="is empty: the graph has no edges"):
        read_connectome(nx.DiGraph())
    named = nx.DiGraph()
    named.add_edge("a", "b", count=1, pre="x")
    with pytest.raises(SchemaError, match="edge attribute 'pre' has the name of what joins the tables"):
        read_connectome(named)
