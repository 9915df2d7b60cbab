"""Synapse tables, one row a synapse, to tables of connections, one row for each pair of neurons.

The rows are read as a stream, so that the table may be larger than memory; partial sums that are larger than memory go
to the disk. What comes out is a table for `read_connectome(edges=...)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa

from connectofit.connectome.connections_of_synapses import Connections
from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name
from connectofit.connectome.grouped_sums import GroupedSums
from connectofit.connectome.id_codes import IntegerCodes, TextCodes
from connectofit.connectome.report import Finding, ValidationReport
from connectofit.connectome.sources import CsvFile
from connectofit.connectome.synapse_blocks import (
    AXES,
    BlockReader,
    SynapsePolicies,
    Tally,
    columns_left_out,
    findings_of,
)
from connectofit.connectome.synapse_columns import Place, id_type_of
from connectofit.connectome.synapse_sources import ROLE, Part, open_parts
from connectofit.connectome.workers import Workers

SynapseSource: TypeAlias = (
    str
    | os.PathLike[str]
    | CsvFile
    | pa.Table
    | pd.DataFrame
    | Sequence[str | os.PathLike[str] | CsvFile | pa.Table | pd.DataFrame]
    | Iterable[pa.RecordBatch]
)
SYNAPSE_COLUMNS = ("pre", "post", "size", "position", "x", "y", "z", "region")
_BLOCK_ROWS = 1 << 18  # the columns of a block fit into a processor's cache
_NAMED_FILES = 12


def aggregate_synapses(
    source: SynapseSource,
    *,
    columns: Mapping[str, str | Sequence[str] | None] | None = None,
    id_type: str | None = None,
    min_size: float | None = None,
    min_count: int = 1,
    missing_ids: Literal["drop", "error"] = "drop",
    missing_values: Literal["keep", "drop", "error"] = "keep",
    self_loops: Literal["keep", "drop", "error"] = "keep",
    no_neuron: Collection[int | str] = (),
    memory_limit_MB: float = 500,
    temporary_folder: str | os.PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[pa.Table, ValidationReport]:
    """Aggregate synapses to connections, and say what was found and done.

    Parameters
    ----------
    source
        One row per synapse: the path of a CSV (also TSV, and compressed), Parquet or Feather file, or of a folder of
        such files; a `CsvFile`, `pyarrow.Table` or pandas frame; a list of these, which continue each other; or an
        iterator of `pyarrow.RecordBatch` (such as a `RecordBatchReader`). Files are read in parts.
    columns
        Which column holds what: maps ``pre``, ``post``, ``size``, ``region``, and either ``position`` (one column of
        lists of three numbers, or the names of three columns) or ``x, y, z``, to names in the table. A name left out is
        its own default; None declares that there is no such column. Only ``pre`` and ``post`` must be there. All other
        columns are not read.
    id_type
        ``"string"`` or ``"int64"``. By default that of the Parquet, Arrow or pandas schema; ids from CSV are text.
        Never inferred from values.
    min_size
        Synapses with a size below it are removed; one without a size is not below it.
    min_count
        Connections with fewer synapses, counted after all other rules, are removed.
    missing_ids
        Rows where an id is missing or empty: drop them, or refuse the table.
    missing_values
        Rows without a size (or NaN), without a position (any of its numbers missing) or without a region: count them,
        but leave them out of the summed size and the mean position, and count them under the region null; drop them;
        or refuse the table.
    self_loops
        Synapses of a neuron onto itself.
    no_neuron
        Ids that mean that there is no neuron, such as 0 in CAVE's tables; their rows are removed.
    memory_limit_MB
        Memory for partial sums, above which they go to the disk. The table that is returned, and a few hundred MB for
        reading, come on top.
    temporary_folder
        Where partial sums go that memory does not hold; by default the system's folder for temporary files. Removed
        before the function returns.
    progress
        Called with the number of rows read since the last call.

    Returns
    -------
    pyarrow.Table
        One row per connection, sorted by ``pre``, then ``post`` (integers by value, text by code points):

        - ``pre, post``: ids, int64 or string, exactly as given;
        - ``count`` (int64): synapses;
        - ``size``: summed size, int64 where all sizes are integers, else float64; null where no synapse has one;
        - ``x, y, z`` (float64): mean position, null where no synapse has one;
        - ``region`` (list of string) and ``region_count`` (list of int64): the regions, sorted by code points with null
          last, and the synapses in each, which add up to ``count``.

        Columns for which the source has none are left out. Sums are exact, for fractions in units of 2^-32 of whatever
        unit the numbers have: the table is the same however the rows are ordered, cut into files and batches, or
        spilled.
    ValidationReport
        For the table ``"synapses"``: ``rows_in``, ``rows_kept``, and findings that account for the difference. Rows are
        numbered through all files; `ValidationReport.locate` finds the file. ``result`` has the number of connections
        and of neurons in them.

    Raises
    ------
    MissingFileError
        A file is not there.
    UnknownNameError
        A column, or a canonical name in `columns`, does not exist; names the nearest.
    SchemaError
        There are no rows, a file cannot be read, ids are floats or went through one, a number is negative (sizes), not
        finite, not a number or 2^53 and more, or a policy says ``"error"``. Names the rows.
    SettingError
        A threshold or a policy is not valid.
    FolderError
        The disk cannot hold the partial sums.
    """
    policies = _checked(min_size, min_count, missing_ids, missing_values, self_loops, no_neuron, id_type)
    if not isinstance(memory_limit_MB, int | float) or not memory_limit_MB > 0:
        raise SettingError(f"memory_limit_MB is {memory_limit_MB!r}; it must be a number above 0.")
    stream = _Stream(open_parts(source, _BLOCK_ROWS), _check_mapping(columns), id_type, progress)
    wanted = int if stream.id_type == pa.int64() else str
    if not all(isinstance(item, wanted) for item in policies.no_neuron):
        raise SettingError(f"no_neuron is {no_neuron!r}, but the ids are {stream.id_type}: give them as such.")
    ids = IntegerCodes() if stream.id_type == pa.int64() else TextCodes()
    reader = BlockReader(stream.columns, stream.id_type, policies, Tally(), ids)
    limit = int(memory_limit_MB * 1e6)
    with Workers() as workers, GroupedSums(limit, temporary_folder, workers, reader.order) as sums:
        for rows in workers.map(reader.read, stream.blocks()):
            sums.add(rows)
        order, pieces = sums.merged()
        connections = Connections(order, reader, min_count)
        for batch in workers.map(connections.batch, ((piece,) for piece in pieces)):
            connections.append(batch)
    table = connections.table()
    result = {"neurons": connections.n_neurons, "connections": len(table)}
    return table, stream.report(reader, connections.findings(), result, min_count)


def _checked(
    min_size: float | None,
    min_count: int,
    missing_ids: Any,
    missing_values: Any,
    self_loops: Any,
    no_neuron: Collection[int | str],
    id_type: str | None,
) -> SynapsePolicies:
    for name, value, options in (
        ("missing_ids", missing_ids, ("drop", "error")),
        ("missing_values", missing_values, ("keep", "drop", "error")),
        ("self_loops", self_loops, ("keep", "drop", "error")),
        ("id_type", id_type, ("string", "int64", None)),
    ):
        if value not in options:
            raise SettingError(f"{name} is {value!r}; it must be one of {list(options)}.")
    if min_size is not None and (isinstance(min_size, bool) or not isinstance(min_size, int | float)):
        raise SettingError(f"min_size is {min_size!r}; it must be a number or None.")
    if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
        raise SettingError(f"min_count is {min_count!r}; it must be a whole number from 1.")
    if isinstance(no_neuron, str) or any(isinstance(i, bool) or not isinstance(i, int | str) for i in no_neuron):
        raise SettingError(f"no_neuron is {no_neuron!r}; it must list ids, such as [0].")
    return SynapsePolicies(min_size, missing_ids, missing_values, self_loops, tuple(no_neuron))


def _check_mapping(columns: Mapping[str, Any] | None) -> dict[str, str | None]:
    """The mapping with its keys and values checked, three position columns as x, y and z."""
    if columns is not None and not isinstance(columns, Mapping):
        raise SettingError(f"columns must map canonical names to the table's columns; it is {columns!r}.")
    mapping = dict(columns or {})
    for canonical in mapping:
        if canonical not in SYNAPSE_COLUMNS:
            raise unknown_name("canonical column", str(canonical), SYNAPSE_COLUMNS, "columns")
    position = mapping.get("position")
    if isinstance(position, list | tuple) and len(position) == 3:
        del mapping["position"]
        if set(AXES) & set(mapping):
            raise SettingError(f"columns gives the position twice: {dict(columns or {})}.")
        mapping |= dict(zip(AXES, position, strict=True))
    for canonical, name in mapping.items():
        if name is None and canonical in ("pre", "post"):
            raise SettingError(f"columns[{canonical!r}] is None, but this column is required: name it.")
        if name is not None and not isinstance(name, str):
            more = ", or the names of three" if canonical == "position" else ""
            raise SettingError(f"columns[{canonical!r}] is {name!r}; it must be the name of a column{more}.")
    axes = [axis for axis in AXES if mapping.get(axis) is not None]
    if axes and (len(axes) < 3 or mapping.get("position") is not None):
        raise SettingError(
            f"columns gives {', '.join(axes)}{' and the position' if mapping.get('position') else ' alone'}; give x, y "
            "and z, or the position."
        )
    return mapping


def _find_columns(mapping: Mapping[str, str | None], names: Sequence[str], where: str) -> dict[str, str]:
    """The canonical columns that a table has: those declared, else those that bear the canonical name."""
    found: dict[str, str] = {}
    declared = {canonical: name for canonical, name in mapping.items() if name is not None}
    places = ("position", *AXES)
    for canonical, name in declared.items():
        if name not in names:
            raise unknown_name("column", name, names, where)
        found[canonical] = name
    free = [name for name in SYNAPSE_COLUMNS if name in names and name not in mapping and name not in found.values()]
    found |= {name: name for name in free if name not in places}
    if not set(places) & set(declared):
        # A position under its own name; three axes make one, fewer do not.
        if "position" in free:
            found["position"] = "position"
        elif set(AXES) <= set(free):
            found |= {axis: axis for axis in AXES}
    for canonical in ("pre", "post"):
        if canonical not in found:
            near = unknown_name("column", canonical, names, where)
            raise SchemaError(
                f"{near} Synapses need the column {canonical!r}; the columns are {offenders(names, 20)}. Declare which "
                f"it is: columns={{{canonical!r}: '...'}}."
            )
    used = list(found.values())
    for name in used:
        if used.count(name) > 1:
            raise SchemaError(f"columns uses {name!r} of {where} for more than one thing: {found}.")
        if list(names).count(name) > 1:
            raise SchemaError(f"{where.replace('the', 'The', 1)} has more than one column named {name!r}. Rename them.")
    return found


class _Stream:
    """The rows of the source, and which file they come from."""

    def __init__(
        self,
        parts: Iterator[Part],
        mapping: Mapping[str, str | None],
        id_type: str | None,
        progress: Callable[[int], object] | None,
    ) -> None:
        first = next(parts, None)
        if first is None:
            raise SchemaError(f"The {ROLE} table is empty: there is no file and no batch. Check the path.")
        self.first = first
        self.columns = _find_columns(mapping, first.names, _where(first))
        self.rows = 0
        self.files: list[tuple[str, int, int]] = []
        self._parts, self._progress = parts, progress
        self._fixed = id_type is not None
        given = {"int64": pa.int64(), "string": pa.string(), None: None}[id_type]
        self.id_type = given or self._id_type(first, first.schema) or pa.string()

    def _id_type(self, part: Part, schema: pa.Schema | None) -> pa.DataType | None:
        """The type of ids by a schema; None where it does not say. Raises `SchemaError` for two types."""
        if schema is None:
            return None
        kinds = []
        for end in ("pre", "post"):
            place = Place(self.columns[end], _where(part), self.rows)
            kinds.append(id_type_of(schema.field(self.columns[end]).type, place))
        told = {kind for kind in kinds if kind is not None}
        if len(told) > 1 and not self._fixed:
            raise SchemaError(
                f"The id columns of {_where(part)} have different types, {' and '.join(map(str, kinds))}. Ids are "
                "compared exactly, so these never match. Say id_type='int64' or 'string', or convert them."
            )
        return next(iter(told), None)

    def blocks(self) -> Iterator[tuple[pa.Table, str, int]]:
        """Blocks of rows, the name of where they come from, and the number of rows before them."""
        names = list(dict.fromkeys(self.columns.values()))
        for part in chain([self.first], self._parts):
            if (part.schema is None) != (self.first.schema is None):
                raise SchemaError(
                    f"The {ROLE} table cannot continue {self.first.name} with {part.name}: one is CSV, whose columns "
                    "are text, and the other has types. Give files of one format."
                )
            missing = [name for name in names if name not in part.names]
            if missing:
                raise unknown_name("column", missing[0], part.names, _where(part))
            before = self.rows
            for block in _blocks(part.batches(names)):
                found = None if part.schema is None else self._id_type(part, block.schema)
                if found not in (None, self.id_type) and not self._fixed:
                    raise SchemaError(
                        f"The id columns of {_where(part)} hold {found} after row {self.rows}, those before "
                        f"{self.id_type}. Ids are compared exactly, so these never match. Say id_type='int64' or "
                        "'string', or convert them."
                    )
                try:
                    block.validate(full=True)  # a file may hold text that is not UTF-8, and indices of nothing
                except pa.ArrowInvalid as error:
                    raise SchemaError(
                        f"The synapses table ({part.name}) holds values that are none, among rows {self.rows + 1} to "
                        f"{self.rows + len(block)}: {error}. The file may be damaged, or its text not in UTF-8."
                    ) from error
                yield block, part.name, self.rows
                self.rows += len(block)
                if self._progress is not None:
                    self._progress(len(block))
            self.files.append((part.name, before + 1, self.rows))
        if not self.rows:
            raise SchemaError(f"The {ROLE} table is empty: it has no data rows. Check the path and how it was made.")

    def report(
        self, reader: BlockReader, removed_later: list[Finding], result: Mapping[str, int], min_count: int
    ) -> ValidationReport:
        """The report on everything that was read."""
        findings = [
            *findings_of(reader.tally, self.columns, reader.policies),
            *removed_later,
            *columns_left_out(self.first.names, self.columns),
        ]
        if not result["connections"]:
            text = "no row is left: there is no connection"
            findings.append(Finding("warning", "no_rows_left", ROLE, "", 0, message=text))
        names = [name for name, *_ in self.files]
        if len(names) > _NAMED_FILES:
            names = [*names[: _NAMED_FILES // 2], "...", *names[-_NAMED_FILES // 2 :]]
        policies = {**vars(reader.policies), "no_neuron": list(reader.policies.no_neuron), "min_count": min_count}
        return ValidationReport(
            findings=tuple(findings),
            rows_in={ROLE: self.rows},
            rows_kept={ROLE: self.rows - sum(finding.rows_removed for finding in findings)},
            result=result,
            source={ROLE: ", ".join(names)},
            columns=self.columns,
            policies=policies,
            files={ROLE: tuple(self.files)} if len(self.files) > 1 else {},
        )


def _where(part: Part) -> str:
    return f"the {ROLE} table ({part.name})"


def _blocks(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Batches of any size as blocks of about `_BLOCK_ROWS`; only such of one schema are put together."""
    waiting: list[pa.Table] = []
    rows = 0
    for batch in batches:
        for start in range(0, len(batch), _BLOCK_ROWS):
            part = batch.slice(start, _BLOCK_ROWS)
            if waiting and (rows + len(part) > _BLOCK_ROWS or part.schema != waiting[0].schema):
                yield pa.concat_tables(waiting)
                waiting, rows = [], 0
            waiting.append(part)
            rows += len(part)
    if waiting:
        yield pa.concat_tables(waiting)
