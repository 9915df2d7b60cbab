"""Text becomes numbers where Python would print them the same or read them the same, and stays text elsewhere."""

from __future__ import annotations

import math
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome.text_columns import narrowest, parse_numbers, spelt_integers

SPELLINGS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.floats(allow_nan=False).map(str),
    st.text("0123456789", min_size=1, max_size=20),
    st.text("0123456789+-.eEx ", min_size=1, max_size=6),
    st.sampled_from(["nan", "inf", "-Infinity", "", "é", "1_0", "٣", "0b1", "0o7", "1d5", "True", "1,5", "1 2"]),
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)|", re.IGNORECASE)


def chunked(texts: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts[:2], pa.string()), pa.array(texts[2:], pa.string())])


@settings(deadline=None, max_examples=150)
@given(st.lists(SPELLINGS, min_size=1, max_size=5))
def test_text_parses_as_numbers_exactly_where_it_spells_numbers(texts: list[str]) -> None:
    found = parse_numbers(chunked(texts))
    spelt = [NUMBER.fullmatch(text.strip()) or NOT_FINITE.fullmatch(text.strip()) for text in texts]
    if found is None:
        assert not all(spelt)
        return
    for text, value in zip(texts, found.to_pylist(), strict=True):
        if text.strip() == "":
            assert value is None
        elif math.isfinite(float(text)):
            assert value == float(text) or value == int(text)
        else:
            assert not math.isfinite(value)


@settings(deadline=None, max_examples=150)
@given(st.lists(SPELLINGS, min_size=1, max_size=5))
def test_integers_are_those_texts_that_python_prints_so(texts: list[str]) -> None:
    found = spelt_integers(chunked(texts))
    printed = [re.fullmatch(r"-?\d+", text, re.ASCII) and str(int(text)) == text for text in texts]
    fit = all(printed) and all(-(2**63) <= int(text) < 2**63 for text in texts)
    assert (found is not None) == fit
    if found is not None:
        assert found.to_pylist() == [int(text) for text in texts]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "20", None], "int64"),
        (["-1", "999999999999999999"], "int64"),
        (["1", "9999999999999999999"], "string"),
        (["720575940596125868", "7"], "int64"),
        (["1234567890123456789", "7"], "string"),
        (["0.5", "-2e3", "+1"], "double"),
        (["007", "010"], "string"),
        (["+1", "2"], "double"),
        (["12345678901234567.5", "1"], "string"),
        (["nan", "1"], "double"),
        (["1", "x"], "string"),
        (["0x1F", "1"], "string"),
        ([" 1", "1"], "string"),
        ([None, None], "string"),
    ],
)
def test_carried_columns_take_the_narrowest_type_that_loses_nothing(texts: list[str | None], kind: str) -> None:
    assert str(narrowest(chunked(texts)).type) == kind


def test_codes_with_leading_zeros_that_add_up_to_the_length_of_integers_stay_text() -> None:
    # 18 characters in all, as 10, 200 and so on would take: the sum of lengths alone must not decide.
    assert str(narrowest(chunked(["01", "0", "10"])).type) == "string"
    assert spelt_integers(chunked(["-0", "0"])) is None
    assert spelt_integers(chunked(["01", "1"])) is None
