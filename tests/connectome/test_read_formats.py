"""One table in every format gives one connectome, and ids come through exactly."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import SchemaError, read_connectome

# Neighbours above 2^53: as float64 the three are one number.
LARGE = (720575940596125868, 720575940596125869, 720575940596125870)
assert len({float(item) for item in LARGE}) == 1


def tables(ids: tuple[object, ...]) -> tuple[pa.Table, pa.Table]:
    a, b, c = ids
    edges = pa.table({"pre": [a, b, c, a], "post": [b, c, a, c], "count": [3, 1, 2, 9], "area": ["X", "Y", None, "X"]})
    neurons = pa.table({"id": [a, b, c], "cell_class": ["P", "P", "Q"], "size": [1.5, None, 2.0], "rank": [1, None, 3]})
    return edges, neurons


def save(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pa_parquet.write_table(table, path)
    elif path.suffix == ".feather":
        pa_feather.write_feather(table, str(path))
    elif path.suffix == ".tsv":
        pa_csv.write_csv(table, path, pa_csv.WriteOptions(delimiter="\t"))
    elif path.suffix == ".gz":
        with gzip.open(path, "wb") as file:
            pa_csv.write_csv(table, file)
    else:
        pa_csv.write_csv(table, path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".feather"])
def test_files_of_every_format_give_the_connectome_of_the_arrow_tables(tmp_path: Path, suffix: str) -> None:
    edges, neurons = tables(("a", "b", "c"))
    expected, _ = read_connectome(edges, neurons)
    found, report = read_connectome(save(edges, tmp_path / f"e{suffix}"), save(neurons, tmp_path / f"n{suffix}"))
    assert found.digest() == expected.digest()
    assert report.source["edges"] == f"e{suffix}"


def test_pandas_frames_give_the_connectome_of_the_arrow_tables() -> None:
    edges, neurons = tables(("a", "b", "c"))
    frames = [table.to_pandas() for table in (edges, neurons)]
    frames[1]["rank"] = frames[1]["rank"].astype("Int64")
    frames[1]["cell_class"] = frames[1]["cell_class"].astype("category")
    assert read_connectome(*frames)[0].digest() == read_connectome(edges, neurons)[0].digest()


@pytest.mark.parametrize("kind", ["arrow", "parquet", "csv", "pandas"])
def test_int64_ids_above_2_to_the_53_stay_exact(tmp_path: Path, kind: str) -> None:
    edges, neurons = tables(LARGE)
    if kind == "arrow":
        found, _ = read_connectome(edges, neurons)
    elif kind == "pandas":
        found, _ = read_connectome(edges.to_pandas(), neurons.select(["id"]).to_pandas())
    else:
        paths = save(edges, tmp_path / f"e.{kind}"), save(neurons, tmp_path / f"n.{kind}")
        found, _ = read_connectome(*paths, id_type="int64")
    assert found.ids == LARGE
    assert sorted(found.edges(data="count")) == sorted(
        [(LARGE[0], LARGE[1], 3), (LARGE[1], LARGE[2], 1), (LARGE[2], LARGE[0], 2), (LARGE[0], LARGE[2], 9)]
    )


def test_ids_from_csv_are_text_unless_int64_is_asked_for(tmp_path: Path) -> None:
    edges, neurons = tables((7, 8, 9))
    paths = save(edges, tmp_path / "e.csv"), save(neurons, tmp_path / "n.csv")
    assert read_connectome(*paths)[0].ids == ("7", "8", "9")
    assert read_connectome(*paths, id_type="int64")[0].ids == (7, 8, 9)


def test_csv_ids_take_the_type_of_the_table_that_has_a_schema(tmp_path: Path) -> None:
    edges, neurons = tables((7, 8, 9))
    assert read_connectome(save(edges, tmp_path / "e.csv"), neurons)[0].ids == (7, 8, 9)
    assert read_connectome(edges, neurons, id_type="string")[0].ids == ("7", "8", "9")


def test_text_and_integer_ids_in_two_typed_tables_are_refused() -> None:
    edges, neurons = tables((7, 8, 9))[0], tables(("7", "8", "9"))[1]
    with pytest.raises(SchemaError, match=r"'pre' of the edges table .* int64.*'id' of the neurons table .* string"):
        read_connectome(edges, neurons)
    assert read_connectome(edges, neurons, id_type="int64")[0].ids == (7, 8, 9)


def test_neurons_named_like_missing_values_survive(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("pre,post,count\nNA,nan,1\nnull,NA,2\n")
    connectome, _ = read_connectome(tmp_path / "e.csv")
    assert connectome.ids == ("NA", "nan", "null")


def test_further_csv_columns_get_the_narrowest_type_that_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text(
        "id,whole,part,code,long,mixed,empty\na,1,0.5,007,123456789012345678901,1,\nb,,-2e3,010,12345678901234567.5,x,\n"
    )
    (tmp_path / "e.csv").write_text("pre,post,count\na,b,1\n")
    table = read_connectome(tmp_path / "e.csv", tmp_path / "n.csv")[0].neurons
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names[1:]}
    assert kinds == {
        "whole": "int64", "part": "double", "code": "string", "long": "string", "mixed": "string", "empty": "string",
    }  # fmt: skip
    assert table.column("whole").to_pylist() == [1, None]
    assert table.column("code").to_pylist() == ["007", "010"]


def test_a_quoted_line_break_is_part_of_its_field(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text('id,note\na,"two\nlines, one field"\nb,plain\n')
    (tmp_path / "e.csv").write_text("pre,post,count\na,b,1\n")
    connectome, _ = read_connectome(tmp_path / "e.csv", tmp_path / "n.csv")
    assert connectome.column("note").tolist() == ["two\nlines, one field", "plain"]


def test_without_a_neuron_table_the_ids_of_the_edges_are_the_neurons() -> None:
    connectome, report = read_connectome(tables(("b", "c", "a"))[0])
    assert connectome.ids == ("a", "b", "c")
    assert report.find("no_neuron_table")[0].count == 3


def test_a_missing_count_column_can_be_declared_and_every_row_counts_one() -> None:
    edges = pa.table({"from": ["a", "b"], "to": ["b", "a"]})
    connectome, report = read_connectome(edges, columns={"pre": "from", "post": "to", "count": None})
    assert connectome.count.tolist() == [1, 1]
    assert report.find("no_count_column")


def test_a_mapping_for_both_tables_may_be_used_without_neurons() -> None:
    edges = pa.table({"pre": ["a"], "post": ["b"], "n": [4]})
    assert read_connectome(edges, columns={"count": "n", "id": "name", "transmitter": "nt"})[0].count.tolist() == [4]


def test_what_to_pandas_gives_can_be_read_back() -> None:
    edges = pa.table(
        {
            "pre": ["a", "b", "a"],
            "post": ["b", "a", "b"],
            "count": [1, 1, 5],
            "kind": ["electrical", "electrical", "chemical"],
        }
    )
    first, _ = read_connectome(edges, tables(("a", "b", "c"))[1])
    neurons, frame = first.to_pandas()
    second, report = read_connectome(frame, neurons)
    assert report.find("ignored_column")[0].column == "sign_source"
    assert (second.sign == first.sign).all()
    assert sorted(second.edges(data="count", keys=True)) == sorted(first.edges(data="count", keys=True))
    assert isinstance(frame, pd.DataFrame)
