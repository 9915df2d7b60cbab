"""Expressions select the rows that plain Python selects, and refuse everything outside their grammar."""

from __future__ import annotations

import pyarrow as pa
import pytest

from connectofit.connectome import SettingError, UnknownNameError, compile_expression
from connectofit.connectome.arrays import rows_of
from connectofit.connectome.expressions import column_names

TABLE = pa.table(
    {
        "name": ["a", "b", None, "d"],
        "x": [1.0, None, 3.0, -4.0],
        "n": pa.array([2**60, 2**60 + 1, None, 4], pa.int64()),
        "flag": [True, False, None, True],
        "pre.kind": ["a", "x", "y", "d"],
        "nothing": pa.nulls(4),
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("name == 'a'", [0]),
        ("'a' == name", [0]),
        ("name != 'a'", [1, 2, 3]),
        ("not name == 'a'", [1, 2, 3]),
        ("name in ('a', 'd')", [0, 3]),
        ("name not in ['a', 'd']", [1, 2]),
        ("name in ()", []),
        ("name is None", [2]),
        ("name is not None", [0, 1, 3]),
        ("x > 0", [0, 2]),
        ("not x > 0", [1, 3]),
        ("0 < x", [0, 2]),
        ("-5 < x <= 1", [0, 3]),
        ("x == -4", [3]),
        ("x in (1, 3.0)", [0, 2]),
        ("n == 1152921504606846977", [1]),
        ("n in (1152921504606846976, 4)", [0, 3]),
        ("n >= 5 and (x > 0 or name == 'b')", [0, 1]),
        ("flag", [0, 3]),
        ("not flag", [1, 2]),
        ("flag == False", [1]),
        ("True", [0, 1, 2, 3]),
        ("pre.kind == name", [0, 3]),
        ("nothing is None", [0, 1, 2, 3]),
        ("nothing == 'a'", []),
        ("name == 'a' or x > 2 or n == 4", [0, 2, 3]),
        ("  name == 'a'  ", [0]),
    ],
)
def test_an_expression_selects_its_rows(text: str, rows: list[int]) -> None:
    assert rows_of(TABLE, compile_expression(text, TABLE.schema)).tolist() == rows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a text such as"),
        ("name = 'a'", "Compare with '=='"),
        ("name ==", "cannot be parsed"),
        ("name == 3", "'name' holds text, but 3 is number"),
        ("x == 'a'", "'x' holds number, but 'a' is text"),
        ("x in ('a',)", "'x' holds number, but 'a' is text"),
        ("name", "'name' holds string; compare it"),
        ("x + 1 > 2", "neither a column nor a text or number"),
        ("len(name) > 2", "neither a column nor a text or number"),
        ("__import__('os').system('true')", "is not a condition"),
        ("name.upper() == 'A'", "neither a column"),
        ("name == None", "is None"),
        ("name is 'a'", "'is' compares with None only"),
        ("name in 'abc'", "'in' needs a list"),
        ("'a' in ('a', 'b')", "is not a column"),
        ("name in (name, 'a')", "texts and numbers only"),
        ("[y for y in name]", "is not a condition"),
        ("lambda: 1", "is not a condition"),
        ("n == 1e18", r"a float above 2\^53"),
        ("n == 99999999999999999999", "64 bits"),
        ("(" * 300 + "flag" + ")" * 300, "cannot be parsed"),
        ("flag\x00", "cannot be parsed"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        compile_expression(text, TABLE.schema)


def test_a_misspelt_column_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"No column named 'nme' in the expression.*Did you mean 'name'"):
        compile_expression("nme == 'a'", TABLE.schema)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'pre\.kind'"):
        compile_expression("pre.kid == 'a'", TABLE.schema)


def test_the_names_in_an_expression_are_listed_once() -> None:
    assert column_names("a == 1 and (pre.b > a or c in ('d',))") == ("a", "pre.b", "c")


def test_endless_expressions_are_refused_before_they_are_parsed():
    with pytest.raises(SettingError, match="at most 20,000 characters; this one has"):
        compile_expression(" or ".join(["count == 1"] * 20_000), pa.schema([("count", pa.int64())]))
