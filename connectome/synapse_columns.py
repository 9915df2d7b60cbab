"""The columns of synapse tables: exact ids, and numbers as integers whose sums are exact.

A number is held as its whole part and, where it has one, its fraction in units of 2^-32. Sums of these are sums of
integers: they have no rounding error that would depend on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from connectofit.connectome.arrays import combine
from connectofit.connectome.coded import value_type
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.report import Found
from connectofit.connectome.text_columns import NOT_FINITE, NUMBER, parse_numbers, spelt_integers

FRACTION_BITS = 32
_LIMIT = 2**53  # from here on a float is not exact
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_CONTROL = r"[\x00-\x1f\x7f]"
# What an integer looks like after a trip through a float: 7.2e+17, 720575940596125868.0
_WAS_FLOAT = r"^[+-]?([0-9]+\.0*|[0-9]+\.[0-9]+[eE][+-]?[0-9]+|[0-9]+[eE]\+[0-9]+)$"


@dataclass(frozen=True, eq=False)
class Place:
    """Where a column's rows stand, for messages: its name, the table, and how many rows of that came before."""

    column: str
    table: str
    rows_before: int

    def refuse(self, bad: np.ndarray | pa.Array, values: Any, rule: str, remedy: str) -> None:
        """Raise `SchemaError` naming the rows that are `bad` (truth values), if any are."""
        marks = bad.to_numpy(zero_copy_only=False) if isinstance(bad, pa.Array | pa.ChunkedArray) else bad
        rows = np.flatnonzero(marks)
        if len(rows):
            found = Found.among(rows + self.rows_before, lambda shown: shown_values(values, shown - self.rows_before))
            last = self.rows_before + len(marks)
            raise SchemaError(
                f"Column {self.column!r} of {self.table}: {rule} in {found}, among rows {self.rows_before + 1} to "
                f"{last}; later rows were not read. {remedy}"
            )


def shown_values(values: Any, rows: np.ndarray) -> list[str]:
    """The values in these rows as they are shown in messages."""
    found = [values[int(row)] for row in rows]
    plain = [value.as_py() if isinstance(value, pa.Scalar) else value.item() for value in found]
    return ["missing" if value is None else repr(value) for value in plain]


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers: `whole` (int64 [r]), `fraction` (int64 [r], or None where all are 0), 0 where `missing`.

    `integral` says whether the column holds integers, rather than floats some of which may happen to be whole.
    """

    whole: Int[np.ndarray, " r"]
    fraction: Int[np.ndarray, " r"] | None
    missing: Bool[np.ndarray, " r"] | None
    integral: bool


def id_type_of(column: pa.DataType, place: Place) -> pa.DataType | None:
    """The type of ids that a column with a type gives: int64, string, or None where all are missing.

    Raises `SchemaError` for floats, and for anything else that is neither text nor an integer.
    """
    kind = value_type(column)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        raise SchemaError(
            f"Column {place.column!r} of {place.table} holds ids as {kind}: a float cannot hold integers above 2^53 "
            "exactly, so ids may already have changed into other neurons' ids. Read the original table with this "
            "column as int64 or text (a pandas column turns into float when it has missing values)."
        )
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return None if pa.types.is_null(kind) else pa.string()
    raise SchemaError(f"Column {place.column!r} of {place.table} holds {kind}; ids must be text or integers.")


def read_ids(column: pa.ChunkedArray, id_type: pa.DataType, place: Place) -> tuple[Any, Bool[np.ndarray, " r"] | None]:
    """Ids exactly as given: int64 [r] (0 where missing) or text (a string or dictionary array, "" where missing); and
    which are missing, None where none is.

    Raises `SchemaError` for text that shows an id went through a float, that holds a control character, or that is not
    an integer where int64 is wanted, and for integers that do not fit into int64.
    """
    kind = value_type(column.type)
    if pa.types.is_null(kind):
        column = column.cast(pa.string())
    if id_type == pa.int64():
        return _whole_ids(column, place)
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    array = _one_dictionary(column)
    missing = pc.fill_null(_of_values(array, lambda values: pc.equal(values, "")), True)
    gone = missing.to_numpy(zero_copy_only=False)
    if not pa.types.is_integer(kind):
        _refuse_text(array, column, place)
    if gone.any():
        array = pc.fill_null(combine(column), "")
    return array, gone if gone.any() else None


def _whole_ids(column: pa.ChunkedArray, place: Place) -> tuple[np.ndarray, np.ndarray | None]:
    kind = value_type(column.type)
    if pa.types.is_integer(kind):
        array = combine(column)
        if kind == pa.uint64():
            too_large = pc.fill_null(pc.greater(array, pa.scalar(np.iinfo(np.int64).max, pa.uint64())), False)
            place.refuse(too_large, array, "the id does not fit into int64", "Convert them to text.")
        whole = array.cast(pa.int64())
    else:
        text = combine(column)
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        parsed = spelt_integers(pa.chunked_array([text]))
        if parsed is None and text.null_count < len(text):
            _refuse_text(_one_dictionary(pa.chunked_array([text])), text, place)
            remedy = "Correct them, or say id_type='string'."
            bad = pc.invert(pc.match_substring_regex(text, _INTEGER))
            place.refuse(pc.fill_null(bad, False), text, "the id is not an integer", remedy)
            digits = pc.utf8_ltrim(text, characters="-")
            limit = pc.if_else(pc.starts_with(text, "-"), str(2**63), str(2**63 - 1))
            longest = pc.and_(pc.equal(pc.utf8_length(digits), 19), pc.greater(digits, limit))
            bad = pc.or_(pc.greater(pc.utf8_length(digits), 19), longest)
            place.refuse(pc.fill_null(bad, False), text, "the id does not fit into int64", "Say id_type='string'.")
        whole = text.cast(pa.int64())
    missing = whole.is_null().to_numpy(zero_copy_only=False) if whole.null_count else None
    return pc.fill_null(whole, 0).to_numpy(), missing


def _refuse_text(array: pa.DictionaryArray, column: Any, place: Place) -> None:
    for pattern, rule, remedy in (
        (
            _WAS_FLOAT,
            "the id went through a float (scientific notation or a trailing '.0')",
            "Its last digits may be lost, and it may now name another neuron: export the ids again as int64 or text.",
        ),
        (
            _CONTROL,
            "the id holds a line break or another control character",
            "Look for a quotation mark that is not closed, and for an encoding that is not UTF-8.",
        ),
    ):
        bad = _of_values(array, partial(pc.match_substring_regex, pattern=pattern))
        place.refuse(pc.fill_null(bad, False), column, rule, remedy)


def _of_values(array: pa.DictionaryArray, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """For every row what a function says about its value; it looks at each value of the dictionary once."""
    return function(array.dictionary).take(array.indices)


def _one_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    if not pa.types.is_dictionary(column.type):
        return column.cast(pa.string()).dictionary_encode().combine_chunks()
    # Indices wide enough for the values of all chunks together.
    chunks = [
        pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary.cast(pa.string()))
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks).unify_dictionaries().combine_chunks()


def read_regions(column: pa.ChunkedArray, place: Place) -> tuple[pa.DictionaryArray, Bool[np.ndarray, " r"] | None]:
    """Names of regions as a dictionary array, and which are missing (or empty), None where none is."""
    kind = value_type(column.type)
    if pa.types.is_null(kind):
        column = column.cast(pa.string())
    elif not pa.types.is_string(kind):
        raise SchemaError(f"Column {place.column!r} of {place.table} holds {kind}; regions must be text.")
    array = _one_dictionary(column)
    missing = pc.fill_null(_of_values(array, lambda values: pc.equal(values, "")), True)
    gone = missing.to_numpy(zero_copy_only=False)
    return array, gone if gone.any() else None


def read_numbers(column: pa.ChunkedArray, place: Place) -> Numbers:
    """A column of numbers; missing and NaN are marked.

    Raises `SchemaError` for text that is no number, for infinite numbers and for those of 2^53 and more.
    """
    kind = value_type(column.type)
    column = column.cast(kind) if column.type != kind else column
    if pa.types.is_string(kind):
        parsed = parse_numbers(column)
        if parsed is None:
            text = pc.utf8_trim_whitespace(combine(column))
            known = pc.or_(pc.match_substring_regex(text, NUMBER), pc.match_substring_regex(text, NOT_FINITE))
            bad = pc.and_(pc.invert(known), pc.not_equal(text, ""))
            place.refuse(pc.fill_null(bad, False), column, "the value is not a number", "Correct these rows.")
        column = column.cast(pa.float64()) if parsed is None else parsed
    elif pa.types.is_decimal(kind) or pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise SchemaError(
            f"Column {place.column!r} of {place.table} holds {kind}, but must be numbers. Name another column or "
            "convert it."
        )
    integral = pa.types.is_integer(column.type) or pa.types.is_null(kind)
    array = combine(column)
    missing = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    if array.null_count:
        array = pc.fill_null(array, 0)
    values = array.to_numpy(zero_copy_only=False)
    return _as_integers(values, missing if missing.any() else None, integral, place)


def _as_integers(values: np.ndarray, missing: Bool[np.ndarray, " r"] | None, integral: bool, place: Place) -> Numbers:
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
        if missing is not None:
            values[missing] = 0
        place.refuse(np.isinf(values), values, "the value is not finite", "Correct or remove these rows.")
    too_large = (values <= -_LIMIT) | (values >= _LIMIT) if values.dtype.itemsize == 8 else np.zeros(len(values), bool)
    place.refuse(too_large, values, "the value is 2^53 or more", "Give it in another unit.")
    if values.dtype.kind in "iu":
        return Numbers(values.astype(np.int32 if values.dtype.itemsize < 4 else np.int64), None, missing, integral)
    floor = np.floor(values)
    fraction = np.rint((values - floor) * 2.0**FRACTION_BITS).astype(np.int64)
    return Numbers(floor.astype(np.int64), fraction if fraction.any() else None, missing, integral)


def split_positions(column: pa.ChunkedArray, place: Place) -> list[pa.ChunkedArray]:
    """A column of lists of three numbers as three columns, missing where the list is.

    Raises `SchemaError` for a column that holds no lists, and for lists of another length.
    """
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise SchemaError(
            f"Column {place.column!r} of {place.table} holds {kind}, but a position must be a list of three numbers. "
            "Give three columns instead: columns={'position': ('x', 'y', 'z')}."
        )
    array = combine(column)
    bad = pc.fill_null(pc.not_equal(pc.list_value_length(array), 3), False)
    place.refuse(bad, array, "the position has not three numbers", "Correct these rows.")
    numbers = array.flatten()  # of the lists that are there
    axes = [numbers.take(pa.array(np.arange(axis, len(numbers), 3))) for axis in range(3)]
    if array.null_count:
        there = array.is_valid().to_numpy(zero_copy_only=False)
        rows = pa.array(np.cumsum(there) - 1, mask=~there)
        axes = [axis.take(rows) for axis in axes]
    return [pa.chunked_array([axis]) for axis in axes]
