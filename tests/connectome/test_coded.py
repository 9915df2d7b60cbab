"""Columns as codes: every form in which Arrow holds a column gives its values back, and no value that no row has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome.coded import Coded, encode


def decoded(coded: Coded) -> list[object]:
    return coded.at(np.arange(len(coded.codes)))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b", "a"]),
        pa.chunked_array([["a"], [], ["b", None], ["a"]], pa.string()),
        pa.array(["a", "b"], pa.large_string()),
        pa.array([5, 3, 5, None, -1]),
        pa.array([2**64 - 1, 0], pa.uint64()),
        pa.array([1.5, None, 1.5]),
        pa.array(["12", "7", None, "12", "-3"]),
        pa.array(["12", "007", "7", "+7", "0x1F"]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()]),
        pa.array(["b", None], pa.large_string()).dictionary_encode(),
        pa.array([9, 8, 9]).dictionary_encode(),
        pa.array([None, None], pa.string()),
        pa.nulls(3),
        pa.array([], pa.string()),
        pa.chunked_array([], pa.int64()),
        pa.array(["x", "y", "z", "y"]).slice(1, 3),
    ],
    ids=lambda column: f"{column.type}-{len(column)}",
)
def test_a_coded_column_gives_its_values_back(column: pa.Array | pa.ChunkedArray) -> None:
    coded = encode(column)
    assert decoded(coded) == column.to_pylist()
    assert coded.codes.dtype == np.int32
    values = coded.values.to_pylist()
    assert len(set(values)) == len(values)
    assert set(values) == {value for value in column.to_pylist() if value is not None}


def test_a_dictionary_with_repeated_missing_and_unused_values_is_put_in_order() -> None:
    given = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, None, 4, 2], pa.uint8()), pa.array(["a", "b", "a", "unused", None])
    )
    coded = encode(given)
    assert coded.values.to_pylist() == ["a", "b"]
    assert decoded(coded) == ["a", "b", "a", None, None, "a"]


def test_narrow_dictionaries_of_many_chunks_are_put_together() -> None:
    chunks = [pa.array([f"{k}_{j}" for j in range(100)]).dictionary_encode() for k in range(4)]
    narrow = [pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int8()), chunk.dictionary) for chunk in chunks]
    coded = encode(pa.chunked_array(narrow))
    assert len(coded.values) == 400
    assert decoded(coded) == [f"{k}_{j}" for k in range(4) for j in range(100)]


def test_pandas_categories_that_no_row_has_are_no_values() -> None:
    column = pa.array(pd.Categorical(["b", "a"], categories=["z", "a", "b"]))
    assert encode(column).values.to_pylist() == ["a", "b"]


def test_what_is_said_of_values_is_said_of_their_rows() -> None:
    coded = encode(pa.array(["a", None, "b", "a"]))
    assert coded.each(np.array([7, 8], np.int8), -1).tolist() == [7, -1, 8, 7]
    assert coded.rows_of(np.array([True, False])).tolist() == [0, 3]
    assert coded.rows_of(np.array([False, False])).tolist() == []
    assert coded.rows_of(np.array([False, True]), missing=True).tolist() == [1, 2]
