"""Tables with known columns: column mapping, exact ids, numbers.

Columns from CSV come as text. Ids stay text unless int64 is asked for (they are never inferred: a 64-bit id that once
was a float is another neuron); columns that are only carried along get the narrowest type that holds all their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectofit.connectome.arrays import combine
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import examples_of, rows_text

EDGE_COLUMNS = ("pre", "post", "count", "signed_weight", "kind", "sign")
NEURON_COLUMNS = ("id", "transmitter")

_INTEGER = r"^-?(0|[1-9][0-9]*)$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOT_FINITE = r"^[+-]?([nN]a[nN]|NAN|[iI]nf(inity)?|INF)$"
# What an integer looks like after a trip through a float: 7.2e+17, 720575940596125868.0
_WAS_FLOAT = r"^[+-]?([0-9]+\.0*|[0-9]+\.[0-9]+[eE][+-]?[0-9]+|[0-9]+[eE]\+[0-9]+)$"


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was given: `role` is ``"edges"`` or ``"neurons"``, `typed` says whether its schema is to be trusted
    (Parquet, Feather, Arrow, pandas) or all is text (CSV), and `given` maps canonical names to the source's columns."""

    role: str
    source: str
    arrow: pa.Table
    typed: bool
    given: Mapping[str, str]

    @property
    def where(self) -> str:
        """The table in words, for messages."""
        return f"the {self.role} table ({self.source})"

    @property
    def subject(self) -> str:
        """The table in words that open a sentence."""
        return self.where.replace("the", "The", 1)

    def has(self, canonical: str) -> bool:
        """Whether the canonical column `canonical` was found or declared."""
        return canonical in self.given

    def column(self, canonical: str) -> pa.Array:
        """The column under its canonical name, as one Arrow array."""
        return combine(self.arrow.column(self.given[canonical]))

    def extras(self) -> pa.Table:
        """The columns that are only carried along, under their own names; text from CSV gets its narrowest type."""
        names = [name for name in self.arrow.column_names if name not in self.given.values()]
        columns = {name: combine(self.arrow.column(name)) for name in names}
        if not self.typed:
            columns = {name: _narrowest(column) for name, column in columns.items()}
        return pa.table(columns)


def map_columns(table: Table, columns: Mapping[str, str | None]) -> Table:
    """Find the canonical columns of `table`: those declared in `columns`, else those that bear the canonical name.

    Raises `UnknownNameError` with the nearest name for a declared column that is not there, and `SchemaError` for a
    required one that is neither declared nor there, and for two declarations that contradict each other.
    """
    known = EDGE_COLUMNS if table.role == "edges" else NEURON_COLUMNS
    names = table.arrow.column_names
    given: dict[str, str] = {}
    for canonical in known:
        if canonical in columns:
            name = columns[canonical]
            if name is None:
                continue
            if name not in names:
                raise unknown_name("column", name, names, table.where)
            given[canonical] = name
    required = ("pre", "post") if table.role == "edges" else ("id",)
    for canonical in known:
        free = canonical in required or canonical not in given.values()
        if canonical not in columns and canonical in names and free:
            # "signed_weight" and "count" say the same thing twice: a declared one wins over a name that merely matches.
            if {canonical, *given} >= {"count", "signed_weight"} and {"count", "signed_weight"} & set(columns):
                continue
            given[canonical] = canonical
    for canonical, name in given.items():
        if canonical in names and canonical not in given.values():
            raise SchemaError(
                f"columns says that {name!r} of {table.where} is its {canonical!r}, but the table also has a column "
                f"named {canonical!r}: one of them would be lost. Rename or remove that column."
            )
    used = list(given.values())
    twice = [name for name in dict.fromkeys(used) if used.count(name) > 1]
    if twice:
        raise SchemaError(
            f"columns uses {offenders(twice)} of {table.where} for more than one thing: {dict(given)}. "
            "Each column can have one meaning."
        )
    if "count" in given and "signed_weight" in given:
        raise SchemaError(
            f"{table.subject} has both a count ({given['count']!r}) and a signed_weight "
            f"({given['signed_weight']!r}). Declare one: columns={{'count': ...}} or columns={{'signed_weight': ...}}."
        )
    for canonical in required:
        if canonical not in given:
            raise _missing_column(table, canonical)
    if table.role == "edges" and not {"count", "signed_weight"} & set(given) and "count" not in columns:
        raise _missing_column(table, "count", " To count every row as one contact, say columns={'count': None}.")
    return replace(table, given=given)


def check_mapping(columns: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """The mapping with its keys checked against the canonical names; None is the empty mapping."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise SettingError(f"columns must map canonical names to the table's columns; it is {columns!r}.")
    for canonical, name in columns.items():
        if canonical not in (*EDGE_COLUMNS, *NEURON_COLUMNS):
            raise unknown_name("canonical column", canonical, (*EDGE_COLUMNS, *NEURON_COLUMNS), "columns")
        if name is None and canonical in ("pre", "post", "id"):
            raise SettingError(f"columns[{canonical!r}] is None, but this column is required: name it.")
        if name is not None and not isinstance(name, str):
            raise SettingError(f"columns[{canonical!r}] is {name!r}; it must be the name of a column.")
    return dict(columns)


def choose_id_type(tables: Sequence[tuple[Table, tuple[str, ...]]], id_type: str | None) -> pa.DataType:
    """The type of ids: `id_type`, else that of the tables with a schema, else string. Never a guess from values."""
    if id_type is not None:
        options = {"string": pa.string(), "int64": pa.int64()}
        if id_type not in options:
            raise SettingError(f"id_type is {id_type!r}; it must be 'string', 'int64' or None.")
        return options[id_type]
    found: dict[str, pa.DataType] = {}
    for table, columns in tables:
        for canonical in columns:
            kind = table.column(canonical).type
            # What is neither text nor integer is refused when the ids are read.
            if table.typed and (pa.types.is_integer(kind) or pa.types.is_string(kind)):
                place = f"{table.given[canonical]!r} of {table.where}"
                found[place] = pa.int64() if pa.types.is_integer(kind) else pa.string()
    if len(set(found.values())) > 1:
        raise SchemaError(
            "The id columns have different types: "
            + "; ".join(f"{place} holds {kind}" for place, kind in found.items())
            + ". Ids are compared exactly, so these never match. Say id_type='int64' or 'string', or convert them."
        )
    return next(iter(found.values()), pa.string())


def exact_ids(table: Table, canonical: str, id_type: pa.DataType) -> pa.Array:
    """The ids of one column as string or int64, exactly as given; raises `SchemaError` where that cannot be.

    Refused: missing ids, floats (above 2^53 they are not the ids any more) and text that shows an id went through a
    float, text that is not an integer where int64 is wanted, and anything that is neither text nor integer.
    """
    column, name = table.column(canonical), table.given[canonical]
    place = f"Column {name!r} of {table.where}"
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        raise SchemaError(
            f"{place} holds ids as {kind}: a float cannot hold integers above 2^53 exactly, so ids may already have "
            f"changed into other neurons' ids. Read the original table with this column as int64 or text (a pandas "
            f"column turns into float when it has missing values)."
        )
    missing = pc.is_null(column)
    if pa.types.is_string(kind):
        missing = pc.or_(missing, pc.equal(pc.fill_null(column, ""), ""))
    _refuse(
        table, canonical, column, missing, "an id is missing", "Every row needs one: complete or remove these rows."
    )
    if pa.types.is_string(kind):
        _refuse(
            table,
            canonical,
            column,
            pc.match_substring_regex(column, _WAS_FLOAT),
            "the id went through a float (scientific notation or a trailing '.0')",
            "Its last digits may be lost, and it may now name another neuron: export the ids again as int64 or text.",
        )
        if id_type == pa.int64():
            bad = pc.invert(pc.match_substring_regex(column, _INTEGER))
            _refuse(table, canonical, column, bad, "the id is not an integer", "Correct them, or say id_type='string'.")
            digits = pc.utf8_ltrim(column, characters="-")
            size = pc.utf8_length(digits)
            limit = pc.and_(pc.equal(size, 19), pc.greater(digits, str(np.iinfo(np.int64).max)))
            too_large = pc.or_(pc.greater(size, 19), limit)
            _refuse(table, canonical, column, too_large, "the id does not fit into int64", "Say id_type='string'.")
            column = column.cast(pa.int64())
        return column
    if pa.types.is_integer(kind):
        if kind == pa.uint64():
            too_large = pc.greater(column, pa.scalar(np.iinfo(np.int64).max, pa.uint64()))
            _refuse(table, canonical, column, too_large, "the id does not fit into int64", "Convert them to text.")
        column = column.cast(pa.int64())
        return column.cast(id_type)
    raise SchemaError(f"{place} holds {kind}; ids must be text or integers.")


def numbers(table: Table, canonical: str) -> np.ndarray:
    """A column of finite numbers as int64 or float64 [rows]; raises `SchemaError` naming the rows that hold others."""
    column, kind = table.column(canonical), table.column(canonical).type
    remedy = "Correct or remove these rows."
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(column)
        wrong = pc.invert(pc.or_(pc.match_substring_regex(text, _NUMBER), pc.match_substring_regex(text, _NOT_FINITE)))
        _refuse(table, canonical, column, pc.and_(wrong, pc.not_equal(text, "")), "the value is not a number", remedy)
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        _refuse(table, canonical, column, pc.is_null(text), "the value is missing", remedy)
        integer = pc.all(pc.match_substring_regex(text, r"^-?[0-9]{1,18}$")).as_py()
        column = pc.utf8_ltrim(text, characters="+").cast(pa.int64() if integer else pa.float64())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise SchemaError(
            f"Column {table.given[canonical]!r} of {table.where} holds {kind}, but the {canonical} must be a number. "
            "Name another column or convert it."
        )
    _refuse(table, canonical, column, pc.is_null(column, nan_is_null=True), "the value is missing or NaN", remedy)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        _refuse(table, canonical, column, pc.invert(pc.is_finite(column)), "the value is not finite", remedy)
        return column.to_numpy()
    return column.cast(pa.int64() if column.type != pa.uint64() else pa.float64()).to_numpy()


def _refuse(table: Table, canonical: str, values: pa.Array, bad: pa.Array, rule: str, remedy: str) -> None:
    """Raise `SchemaError` with the rows where `bad` is true, if there are any."""
    rows = np.flatnonzero(pc.fill_null(bad, False).to_numpy(zero_copy_only=False))
    if len(rows):
        shown = values.take(pa.array(rows[:5])).to_pylist()
        examples = examples_of(rows, ["missing" if value is None else repr(value) for value in shown])
        raise SchemaError(
            f"Column {table.given[canonical]!r} of {table.where}: {rule} in {rows_text(examples, len(rows))}. {remedy}"
        )


def _missing_column(table: Table, canonical: str, extra: str = "") -> SchemaError:
    near = unknown_name("column", canonical, table.arrow.column_names, table.where)
    return SchemaError(
        f"{near} The {table.role} table needs the column {canonical!r}; its columns are "
        f"{offenders(table.arrow.column_names, 20)}. Declare which it is: columns={{{canonical!r}: '...'}}.{extra}"
    )


def _narrowest(column: pa.Array) -> pa.Array:
    """Text as int64 or float64 where that loses nothing, else as it is."""
    if not pa.types.is_string(column.type) or column.null_count == len(column):
        return column
    if pc.all(pc.match_substring_regex(column, r"^-?(0|[1-9][0-9]{0,17})$")).as_py():
        return column.cast(pa.int64())
    number = pc.or_(pc.match_substring_regex(column, _NUMBER), pc.match_substring_regex(column, _NOT_FINITE))
    # Codes such as 007 and long integers would come back changed.
    code = pc.match_substring_regex(column, r"^[+-]?0[0-9]|^[+-]?[0-9]{16,}")
    if pc.all(number).as_py() and not pc.any(code).as_py():
        return pc.utf8_ltrim(column, characters="+").cast(pa.float64())
    return column
