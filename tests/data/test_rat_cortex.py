"""The shipped recordings are those of the source, untouched."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from connectofit.data import (
    RAT_CORTEX_CITATION,
    RAT_CORTEX_COLUMNS,
    RAT_CORTEX_LICENCE,
    RAT_CORTEX_STIMULUS_MS,
    rat_cortex_path,
    rat_cortex_step_currents,
)

CELLS = {"B6": list(range(181, 186)), "B8": list(range(145, 150))}


def test_ten_sweeps_of_12000_samples_a_quarter_of_a_millisecond_apart():
    table = rat_cortex_step_currents()
    assert table.num_rows == 120_000
    assert table.schema.field("cell").type == pa.string()
    frame = table.to_pandas()
    sizes = frame.groupby(["cell", "sweep"]).size()
    assert sizes.index.tolist() == [(cell, sweep) for cell, sweeps in CELLS.items() for sweep in sweeps]
    assert set(sizes) == {12_000}
    for _, rows in frame.groupby(["cell", "sweep"]):
        np.testing.assert_array_equal(rows["t_ms"], np.arange(12_000) * 0.25)
    assert not frame.isna().any().any()


def test_the_file_is_the_one_that_the_licence_was_checked_for():
    digest = hashlib.sha256(rat_cortex_path().read_bytes()).hexdigest()
    assert digest == "c05de1ee443787c56efa803b50ea20b1535fa77040f76779b5b1f0fd4500469d"


def test_the_mapping_names_columns_that_the_table_has():
    assert set(RAT_CORTEX_COLUMNS.values()) == set(rat_cortex_step_currents().column_names)


@pytest.mark.parametrize("cell", CELLS)
def test_the_current_is_up_between_the_stated_times(cell):
    frame = rat_cortex_step_currents().to_pandas()
    onset, offset = RAT_CORTEX_STIMULUS_MS
    for _, rows in frame[frame["cell"] == cell].groupby("sweep"):
        inside = rows["t_ms"].between(onset + 1, offset - 1)
        outside = (rows["t_ms"] < onset - 1) | (rows["t_ms"] > offset + 1)
        assert rows["i_pA"][inside].min() > rows["i_pA"][outside].max()


def test_citation_and_licence_are_given_and_the_licence_text_ships():
    assert "BluePyEfe" in RAT_CORTEX_CITATION
    assert "BSD" in RAT_CORTEX_LICENCE
    text = (rat_cortex_path().parent / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in text
    assert rat_cortex_path().name in text
