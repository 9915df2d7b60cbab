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

from connectofit.connectome.arrays import combine, narrow, plain
from connectofit.connectome.coded import Coded, encode, value_type
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.report import Found
from connectofit.connectome.text_columns import NOT_FINITE, NUMBER, narrowest, parse_numbers

EDGE_COLUMNS = ("pre", "post", "count", "signed_weight", "kind", "sign", "transmitter", "region")
NEURON_COLUMNS = ("id", "transmitter")
_NOT_BY_NAME = ("region",)  # it changes what a row is, so that a column of this name alone does not declare it

_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_CONTROL = r"[\x00-\x1f\x7f]"
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

    def type_of(self, canonical: str) -> pa.DataType:
        """The type of the values in a column; string for all kinds of text."""
        return value_type(self.arrow.schema.field(self.given[canonical]).type)

    def chunks(self, canonical: str) -> pa.ChunkedArray:
        """The column under its canonical name, as it was read."""
        return self.arrow.column(self.given[canonical])

    def column(self, canonical: str) -> pa.Array:
        """The column under its canonical name, as one Arrow array."""
        return combine(self.chunks(canonical))

    def coded(self, canonical: str) -> Coded:
        """The column under its canonical name, as codes into its distinct values."""
        return encode(self.chunks(canonical))

    def without(self, *canonical: str) -> Table:
        """The table without these columns' values, which frees them; it still knows their names and its rows."""
        names = {self.given[name] for name in canonical if name in self.given}
        return replace(self, arrow=self.arrow.select([name for name in self.arrow.column_names if name not in names]))

    def extras(self) -> pa.Table:
        """The columns that are only carried along, under their own names; text from CSV gets its narrowest type."""
        names = [name for name in self.arrow.column_names if name not in self.given.values()]
        columns = {name: plain(self.arrow.column(name)) for name in names}
        if not self.typed:
            columns = {name: narrowest(column) for name, column in columns.items()}
        return pa.table(columns)


def map_columns(table: Table, columns: Mapping[str, str | None]) -> Table:
    """Find the canonical columns of `table`: those declared in `columns`, else those that bear the canonical name.

    Raises `UnknownNameError` with the nearest name for a declared column that is not there, and `SchemaError` for a
    required one that is neither declared nor there, and for two declarations that contradict each other.
    """
    known = EDGE_COLUMNS if table.role == "edges" else NEURON_COLUMNS
    names = table.arrow.column_names
    given: dict[str, str] = {}
    columns = _of_role(columns, table.role)
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
        free = canonical not in _NOT_BY_NAME and (canonical in required or canonical not in given.values())
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


def _of_role(columns: Mapping[str, str | None], role: str) -> dict[str, str | None]:
    """What `columns` says about one table: ``edges.transmitter`` is of the edges only, ``transmitter`` of the neurons,
    and every other name of the table that has such a column."""
    own = NEURON_COLUMNS if role == "neurons" else [name for name in EDGE_COLUMNS if name not in NEURON_COLUMNS]
    plain = {name: column for name, column in columns.items() if name in own}
    prefix = f"{role}."
    return plain | {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}


def check_mapping(columns: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """The mapping with its keys checked against the canonical names; None is the empty mapping."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise SettingError(f"columns must map canonical names to the table's columns; it is {columns!r}.")
    tables = {"edges": EDGE_COLUMNS, "neurons": NEURON_COLUMNS}
    known = dict.fromkeys(name for names in tables.values() for name in names)
    known |= dict.fromkeys(f"{role}.{name}" for role, names in tables.items() for name in names)
    for canonical, name in columns.items():
        if canonical not in known:
            raise unknown_name("canonical column", canonical, known, "columns")
        if name is None and canonical.rpartition(".")[2] in ("pre", "post", "id"):
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
            kind = table.type_of(canonical)
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
    """The ids of one column, row by row; see `coded_ids`."""
    ids = coded_ids(table, canonical, id_type)
    return ids.values.take(pa.array(ids.codes))


def coded_ids(table: Table, canonical: str, id_type: pa.DataType) -> Coded:
    """The ids of one column as codes into distinct strings or int64, exactly as given; raises `SchemaError` where that
    cannot be.

    Refused: missing ids, floats (above 2^53 they are not the ids any more) and text that shows an id went through a
    float, text that is not an integer where int64 is wanted, text with a line break or another control character in it
    (a quotation mark that is not closed swallows rows), and anything that is neither text nor integer.
    """
    kind, place = table.type_of(canonical), f"Column {table.given[canonical]!r} of {table.where}"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        raise SchemaError(
            f"{place} holds ids as {kind}: a float cannot hold integers above 2^53 exactly, so ids may already have "
            f"changed into other neurons' ids. Read the original table with this column as int64 or text (a pandas "
            f"column turns into float when it has missing values)."
        )
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise SchemaError(f"{place} holds {kind}; ids must be text or integers.")
    ids = table.coded(canonical)
    values = ids.values

    def refuse(bad: pa.Array, rule: str, remedy: str) -> None:
        rows = ids.rows_of(bad.to_numpy(zero_copy_only=False))
        _refuse(table, canonical, rows, rule, remedy)

    text = pa.types.is_string(values.type)
    empty = pc.equal(values, "").to_numpy(zero_copy_only=False) if text else np.zeros(len(values), bool)
    missing = ids.rows_of(empty, bool((ids.codes < 0).any()))
    _refuse(table, canonical, missing, "an id is missing", "Every row needs one: complete or remove these rows.")
    if text:
        refuse(
            pc.match_substring_regex(values, _WAS_FLOAT),
            "the id went through a float (scientific notation or a trailing '.0')",
            "Its last digits may be lost, and it may now name another neuron: export the ids again as int64 or text.",
        )
        refuse(
            pc.match_substring_regex(values, _CONTROL),
            "the id holds a line break or another control character",
            "Look for a quotation mark that is not closed, and for an encoding that is not UTF-8.",
        )
        if id_type == pa.int64():
            bad = pc.invert(pc.match_substring_regex(values, _INTEGER))
            refuse(bad, "the id is not an integer", "Correct them, or say id_type='string'.")
            digits = pc.utf8_ltrim(values, characters="-")
            size = pc.utf8_length(digits)
            limit = pc.and_(pc.equal(size, 19), pc.greater(digits, str(np.iinfo(np.int64).max)))
            refuse(pc.or_(pc.greater(size, 19), limit), "the id does not fit into int64", "Say id_type='string'.")
    elif kind == pa.uint64():
        too_large = pc.greater(values, pa.scalar(np.iinfo(np.int64).max, pa.uint64()))
        refuse(too_large, "the id does not fit into int64", "Convert them to text.")
    return replace(ids, values=values.cast(id_type))


def numbers(table: Table, canonical: str) -> np.ndarray:
    """A column of finite numbers as int32, int64 or float64 [rows]; raises `SchemaError` naming the rows that hold
    others."""
    column, kind = plain(table.chunks(canonical)), table.type_of(canonical)
    if pa.types.is_string(kind):
        parsed = parse_numbers(column)
        if parsed is None:
            raise _not_numbers(table, canonical)
        column = parsed
    elif pa.types.is_decimal(kind) or pa.types.is_null(kind) or kind == pa.uint64():
        column = column.cast(pa.float64(), safe=False)  # counts above 2^53 are rounded
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise SchemaError(
            f"Column {table.given[canonical]!r} of {table.where} holds {kind}, but the {canonical} must be a number. "
            "Name another column or convert it."
        )
    if column.null_count:
        rule = "the value is missing" if pa.types.is_string(kind) else "the value is missing or NaN"
        _refuse(table, canonical, _rows(column.is_null(nan_is_null=True)), rule)
    values = column.to_numpy()
    if pa.types.is_floating(column.type) and not np.isfinite(values).all():
        _refuse(table, canonical, np.flatnonzero(np.isnan(values)), "the value is missing or NaN")
        _refuse(table, canonical, np.flatnonzero(np.isinf(values)), "the value is not finite")
    return narrow(values) if pa.types.is_integer(column.type) else values.astype(np.float64, copy=False)


def _not_numbers(table: Table, canonical: str) -> SchemaError:
    """The error that names the rows of text that are not numbers, once it is known that there are some."""
    text = pc.utf8_trim_whitespace(plain(table.chunks(canonical)))
    wrong = pc.invert(pc.or_(pc.match_substring_regex(text, NUMBER), pc.match_substring_regex(text, NOT_FINITE)))
    wrong = pc.fill_null(pc.and_(wrong, pc.not_equal(text, "")), False)
    return _refusal(table, canonical, _rows(wrong), "the value is not a number")


def _rows(marked: pa.ChunkedArray) -> np.ndarray:
    return np.flatnonzero(combine(marked).to_numpy(zero_copy_only=False))


_REMEDY = "Correct or remove these rows."


def _refuse(table: Table, canonical: str, rows: np.ndarray, rule: str, remedy: str = _REMEDY) -> None:
    """Raise `SchemaError` naming these rows of a column, if there are any."""
    if len(rows):
        raise _refusal(table, canonical, rows, rule, remedy)


def _refusal(table: Table, canonical: str, rows: np.ndarray, rule: str, remedy: str = _REMEDY) -> SchemaError:
    def shown(which: np.ndarray) -> list[str]:
        values = [table.chunks(canonical)[int(row)].as_py() for row in which]
        return ["missing" if value is None else repr(value) for value in values]

    place = f"Column {table.given[canonical]!r} of {table.where}"
    return SchemaError(f"{place}: {rule} in {Found.among(rows, shown)}. {remedy}")


def _missing_column(table: Table, canonical: str, extra: str = "") -> SchemaError:
    near = unknown_name("column", canonical, table.arrow.column_names, table.where)
    return SchemaError(
        f"{near} The {table.role} table needs the column {canonical!r}; its columns are "
        f"{offenders(table.arrow.column_names, 20)}. Declare which it is: columns={{{canonical!r}: '...'}}.{extra}"
    )
