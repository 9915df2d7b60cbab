"""The validation report prints, turns into a frame, and comes back from JSON."""

from __future__ import annotations

import pyarrow as pa
import pytest

from connectofit.connectome import SchemaError, ValidationReport, read_connectome


def report() -> ValidationReport:
    edges = pa.table({"pre": ["a", "b", "ä"], "post": ["b", "c", "a"], "count": [1, 2, 3]})
    return read_connectome(edges, pa.table({"id": ["a", "b", "ä"]}), source="a drawing")[1]


def test_json_brings_the_report_back() -> None:
    assert ValidationReport.from_json(report().to_json()) == report()
    for text in ("", "[]", '{"version": 99, "findings": []}', '{"version": 1, "findings": [{"rule": "x"}]}'):
        with pytest.raises(SchemaError, match=r"validation report"):
            ValidationReport.from_json(text)


def test_the_text_gives_rows_policies_examples_and_how_rows_count() -> None:
    text = str(report())
    assert "edges (a drawing: Arrow table): 3 rows read, 2 kept" in text
    assert "counted from 1; the header is not counted" in text
    assert "[unmatched=drop]" in text
    assert "row 2: 'c'" in text


def test_the_frame_has_a_row_for_every_finding() -> None:
    frame = report().to_frame()
    assert list(frame["rule"]) == [finding.rule for finding in report().findings]
    assert frame.set_index("rule").loc["unmatched_id", "examples"] == "row 2: 'c'"
