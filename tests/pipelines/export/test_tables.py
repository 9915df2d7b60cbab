"""CSV: every value comes back, and no cell is one that a spreadsheet would run."""

from __future__ import annotations

import csv
import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.pipelines import to_networkx
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export import export

EVIL = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "'=1", "＝1", "plain = 1", '"=1"', "a,b\nc", ""]


def cells(path):
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    return rows[0], rows[1:]


def undone(text: str) -> str:
    return text.removeprefix("'")


@pytest.mark.parametrize("start", range(0, len(EVIL), 3))
def test_no_text_begins_like_a_formula_and_every_text_comes_back(graded, tmp_path, start):
    given = EVIL[start : start + 3]
    model = graded(["a", "b", "c"], {"note": given, "=HYPERLINK(1)": ["x", "y", "z"]})
    header, rows = cells(export(model, tmp_path / "t", format="csv") / "neurons.csv")
    texts = header + [row[header.index("note")] for row in rows]
    assert not [text for text in texts if text and text[0] in "=+-@\t\r\n＝＋－＠" and text != "-2"]  # a number is none
    assert [undone(row[header.index("note")]) for row in rows] == given
    assert "'=HYPERLINK(1)" in header


def test_integer_ids_beyond_2_to_53_have_all_their_digits(graded, tmp_path):
    ids = [2**53 + 1, 2**60 + 7, -5]
    folder = export(graded(ids), tmp_path / "t", format="csv")
    header, rows = cells(folder / "neurons.csv")
    assert sorted(int(row[header.index("id")]) for row in rows) == sorted(ids)
    frame = pd.read_csv(folder / "edges.csv")
    assert set(frame["pre"]) | set(frame["post"]) == set(ids)


def test_fitted_values_come_back_to_the_bit(graded, tmp_path):
    model = graded(["a", "b", "c"])
    folder = export(model, tmp_path / "t", format="csv")
    for name, table in zip(("neurons", "edges"), model.tables(), strict=True):
        read = pa_csv.read_csv(folder / f"{name}.csv")
        assert read.column_names == table.column_names
        for column in table.column_names:
            if pa.types.is_floating(table.schema.field(column).type):
                expected = table.column(column).to_numpy()
                assert read.column(column).to_numpy().astype(expected.dtype).tobytes() == expected.tobytes(), column
    weights = read.to_pandas().set_index(["pre", "post"])["model.weight"]
    assert weights["a", "b"] == pytest.approx(3 * 0.1 * np.exp(0.25 - np.log(0.1)))


def test_missing_values_and_empty_texts_differ(graded, tmp_path):
    model = graded(["a", "b", "c"], {"note": ["", None, "x"]})
    lines = (export(model, tmp_path / "t", format="csv") / "neurons.csv").read_text().splitlines()
    column = lines[0].split(",").index('"note"')
    assert [line.split(",")[column] for line in lines[1:]] == ['""', "", '"x"']


def test_columns_of_lists_are_refused(graded, tmp_path):
    model = graded(["a", "b", "c"])

    class WithLists(Model):
        def tables(self):
            neurons, edges = Model.tables(self)
            return neurons.append_column("lists", pa.array([[1], [2], []])), edges

    other = WithLists(model.network, model.connectome, model.spec)
    with pytest.raises(SchemaError, match=r"'lists'.*parquet"):
        export(other, tmp_path / "t", format="csv")
    assert not list(tmp_path.iterdir())


def test_the_graph_in_memory_has_the_fitted_values(graded):
    graph = to_networkx(graded(["a", "b", "c"]))
    assert graph["a"]["b"]["chemical"]["model.weight"] == pytest.approx(3 * np.exp(0.25))
    assert graph.nodes["a"]["model.tau_m_ms"] == 7.0


VALUES = {
    "lists": [[1], [2], []],
    "times": [datetime.datetime(2020, 1, 1)] * 3,
    "bytes": [b"a", b"b", b"c"],
    "infinite": [1.0, float("inf"), None],
}
REFUSED = {("graphml", "lists"), ("graphml", "times"), ("graphml", "bytes")}
REFUSED |= {("networkx", "times"), ("networkx", "bytes"), ("networkx", "infinite")}


@pytest.mark.parametrize("name", ["graphml", "networkx"])
@pytest.mark.parametrize("kind", VALUES)
def test_values_that_a_format_does_not_have_are_refused_with_their_column(graded, tmp_path, name, kind):
    model = graded(["a", "b", "c"], {"odd": VALUES[kind]})
    if (name, kind) not in REFUSED:
        assert export(model, tmp_path / "out", format=name).is_file()
        return
    with pytest.raises(SettingError, match="'odd' of neuron"):
        export(model, tmp_path / "out", format=name)
    assert not list(tmp_path.iterdir())


def test_parquet_keeps_every_type(graded, tmp_path):
    model = graded(["a", "b", "c"], VALUES)
    folder = export(model, tmp_path / "tables", format="parquet")
    for name, table in zip(("neurons", "edges"), model.tables(), strict=True):
        assert pq.read_table(folder / f"{name}.parquet").equals(table)
