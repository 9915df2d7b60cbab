"""Text as numbers where that loses nothing: whole columns are converted, and looked at closely only if that fails."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
NOT_FINITE = r"^[+-]?([nN]a[nN]|NAN|[iI]nf(inity)?|INF)$"
# Codes such as 007 and long integers would come back changed.
_CODE = r"^[+-]?0[0-9]|^[+-]?[0-9]{16,}"


def parse_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of text as int64, or float64 where not all are whole; None where some text is no number.

    Blanks around a number are ignored, and nothing but blanks is a missing value.
    """
    found = _parsed(column)
    if found is None:
        text = pc.utf8_trim_whitespace(column)
        found = _parsed(pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text))
    return found


def narrowest(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as int64 (of at most 18 digits) or float64 where that loses nothing, else as it is."""
    if not pa.types.is_string(column.type) or column.null_count == len(column):
        return column
    whole = spelt_integers(column)
    if whole is not None and pc.all(pc.less(pc.abs(whole), 10**18)).as_py():
        return whole
    try:
        found = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column
    return column if pc.any(pc.match_substring_regex(column, _CODE)).as_py() else found


def spelt_integers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Text as int64 if every one is an integer as it would be printed, so that nothing is lost; else None."""
    whole = _as_integers(column)
    if whole is None or whole.null_count == len(whole):
        return None
    # Anything else that reads as an integer is longer than that: 007, -0.
    length = sum(len(part) for part in text_bytes(column))
    return whole if _printed_length(whole.drop_null().to_numpy()) == length else None


def _printed_length(values: np.ndarray) -> int:
    """The number of characters that it takes to print all these integers."""
    low, high = int(values.min()), int(values.max())
    if low >= 0 and len(str(low)) == len(str(high)):
        return len(values) * len(str(low))
    size = np.abs(values)
    length = len(values) + int(np.count_nonzero(values < 0))
    digits = range(1, len(str(max(-low, high))))
    return length + sum(int(np.count_nonzero(size >= 10**power)) for power in digits)


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    whole = _as_integers(column)
    if whole is not None:
        return whole
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _as_integers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    # Arrow also reads 0x1F as an integer: no byte may be above the digits.
    if any(part.max(initial=0) > ord("9") for part in text_bytes(column)):
        return None
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def text_bytes(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The bytes (uint8) of a column of text, chunk by chunk, without copying them."""
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        width = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        if len(chunk) and data is not None:
            ends = np.frombuffer(offsets, width)[[chunk.offset, chunk.offset + len(chunk)]]
            yield np.frombuffer(data, np.uint8)[ends[0] : ends[1]]
