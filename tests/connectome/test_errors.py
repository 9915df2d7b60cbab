"""Messages that name what is wrong and suggest what was meant."""

from __future__ import annotations

import pytest

from connectofit.connectome.errors import ConnectofitError, offenders, unknown_name


@pytest.mark.parametrize(("given", "meant"), [("weigth", "weight"), ("DFF", "dFF"), ("PRE", "pre")])
def test_the_nearest_name_is_suggested_also_when_only_case_differs(given, meant):
    error = unknown_name("column", given, ["pre", "dFF", "weight"])
    assert f"Did you mean {meant!r}?" in str(error)
    assert isinstance(error, ConnectofitError)
    assert isinstance(error, LookupError)


def test_without_a_near_name_all_are_listed():
    assert "Known: 'pre', 'weight' (2 in all)." in str(unknown_name("column", "zzz", ["weight", "pre"]))


def test_offenders_are_counted_and_cut_after_five():
    assert offenders([1, 2, 3, 4, 5, 6, 7]) == "1, 2, 3, 4, 5, ... (7 in all)"
