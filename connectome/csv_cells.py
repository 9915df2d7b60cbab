"""Text cells of CSV files that spreadsheets show and do not run.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, also behind blanks and in
full width, and a formula can call programs and send what is in the table elsewhere (CWE-1236; OWASP, "CSV Injection").
Names of neurons come from strangers' tables, so every CSV file that is written here has an apostrophe put before such
cells, which spreadsheets take for "this is text". `plain_cells` takes it off again.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_FORMULA = r"'*[\s\x00-\x1f\x{feff}\x{a0}]*[=+\-@＝＋－＠\t\r\n]"
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GUARDED = "^" + _FORMULA
_PLAIN = f"^{_NUMBER}$"
_ADDED = re.compile("^'(?=" + _FORMULA.replace(r"\x{feff}\x{a0}", "\ufeff\xa0") + ")")


def csv_cells(table: pa.Table) -> pa.Table:
    """The table with an apostrophe before every text, and every column's name, that a spreadsheet would take for a
    formula.

    Numbers stay as they are, also those kept as text (``-70.5``), and so does all other text. What already has
    apostrophes before a formula gets one more, so that `plain_cells` is the exact inverse. Columns of categories become
    columns of text; the types of all others are kept.
    """
    columns = [_guarded(column) for column in table.columns]
    names = _guarded(pa.chunked_array([pa.array(table.column_names, pa.string())])).to_pylist()
    return pa.table(columns, names=names)


def plain_cells(table: pa.Table) -> pa.Table:
    """The inverse of `csv_cells`, for a table that was read from such a file."""
    columns = []
    for column in table.columns:
        if _is_text(column.type):
            texts = [None if text is None else _ADDED.sub("", text) for text in column.to_pylist()]
            column = pa.chunked_array([pa.array(texts, column.type)])
        columns.append(column)
    return pa.table(columns, names=[_ADDED.sub("", name) for name in table.column_names])


def _guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        return column
    formula = pc.and_(pc.match_substring_regex(column, _GUARDED), pc.invert(pc.match_substring_regex(column, _PLAIN)))
    quoted = pc.binary_join_element_wise(pa.scalar("'", column.type), column, pa.scalar("", column.type))
    return pc.if_else(formula, quoted, column)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
