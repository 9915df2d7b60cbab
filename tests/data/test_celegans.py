"""The shipped worm tables are the published ones: counts taken with the csv module, names as text, nothing repaired."""

from __future__ import annotations

import csv

import pyarrow as pa
import pytest

from connectofit.data import CELEGANS_COLUMNS, celegans_paths, celegans_tables, citations, licence


def test_every_file_exists_and_every_csv_row_is_in_its_table() -> None:
    tables = celegans_tables()
    assert set(tables) == set(celegans_paths()) == {"neurons", "edges", "atlas", "touch"}
    for name, path in celegans_paths().items():
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            assert tables[name].num_rows == len(rows)
            for column in ("name", "pre", "post", "stimulus"):
                if column in rows[0]:
                    assert tables[name].column(column).to_pylist() == [row[column] or None for row in rows]
    assert tables["atlas"].num_rows == 24074


def test_neuron_names_are_text_and_weights_are_integers() -> None:
    tables = celegans_tables()
    assert tables["neurons"].schema.field("name").type == pa.string()
    assert tables["edges"].schema.field("pre").type == tables["edges"].schema.field("post").type == pa.string()
    assert tables["edges"].schema.field("weight").type == pa.int64()
    assert {tables["atlas"].schema.field(name).type for name in ("stim", "response")} == {pa.string()}


def test_the_mapping_names_columns_that_the_tables_have() -> None:
    names = {name for table in ("edges", "neurons") for name in celegans_tables()[table].column_names}
    assert set(CELEGANS_COLUMNS.values()) <= names


def test_each_table_has_a_citation_and_a_licence() -> None:
    for name in celegans_paths():
        assert all(len(text) > 20 for text in citations(name))
        assert licence(name)
    assert "10.1038/s41586-019-1352-7" in citations("edges")[0]
    with pytest.raises(LookupError, match=r"No worm table named 'edgs'.*edges"):
        citations("edgs")
