"""Blocks of synapse rows: what policies remove is noted with its row numbers, the rest becomes keys and integers."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SchemaError
from connectofit.connectome.grouped_sums import Order, Rows, narrow, pairs_of
from connectofit.connectome.id_codes import IntegerCodes, TextCodes
from connectofit.connectome.report import Finding, Found, Severity
from connectofit.connectome.synapse_columns import (
    Numbers,
    Place,
    read_ids,
    read_numbers,
    read_regions,
    shown_values,
    split_positions,
)

AXES = ("x", "y", "z")
MAX_REGIONS = 2**16 - 1


@dataclass(frozen=True)
class SynapsePolicies:
    """See the arguments of `aggregate_synapses`."""

    min_size: float | None
    missing_ids: Literal["drop", "error"]
    missing_values: Literal["keep", "drop", "error"]
    self_loops: Literal["keep", "drop", "error"]
    no_neuron: Collection[int | str]


class Tally:
    """What was seen in the blocks, added up over them. Threads may share it.

    `tally[rule]` are the rows that a rule found; `not_integral` names the columns of numbers that hold not only
    integers; `largest` gives the largest size of a whole part in each.
    """

    def __init__(self) -> None:
        self.not_integral: set[str] = set()
        self.largest: dict[str, int] = {}
        self._found: dict[str, Found] = {}
        self._lock = threading.Lock()

    def add(self, rule: str, found: Found) -> None:
        """Add what a rule found in one block."""
        if found:
            with self._lock:
                before = self._found.get(rule, Found(0))
                examples = tuple(sorted([*before.examples, *found.examples])[:5])
                self._found[rule] = Found(before.count + found.count, examples)

    def see(self, canonical: str, numbers: Numbers) -> None:
        """Keep in mind what a column of numbers holds."""
        largest = max(int(numbers.whole.max(initial=0)), -int(numbers.whole.min(initial=0)))
        with self._lock:
            self.largest[canonical] = max(largest, self.largest.get(canonical, 0))
            if not numbers.integral:
                self.not_integral.add(canonical)

    def __getitem__(self, rule: str) -> Found:
        return self._found.get(rule, Found(0))


@dataclass(frozen=True, eq=False)
class BlockReader:
    """Turns blocks of a table into keys and columns of integers. Threads may share it.

    Attributes
    ----------
    columns
        Canonical names (pre, post, size, position or x, y, z, region) to the table's columns.
    id_type
        int64 or string.
    policies
        What to do with rows that lack something.
    tally
        What was seen so far.
    ids, regions
        The codes of all ids and regions so far.
    """

    columns: Mapping[str, str]
    id_type: pa.DataType
    policies: SynapsePolicies
    tally: Tally
    ids: IntegerCodes | TextCodes
    regions: TextCodes = field(default_factory=TextCodes)

    def read(self, rows: pa.Table, name: str, rows_before: int) -> Rows:
        """What is to be added up, by connection and region. `name` says where the rows come from, for messages.

        Raises `SchemaError` for values that are not what their column is declared to hold, and where a policy says so.
        """
        places = {
            canonical: Place(column, f"the synapses table ({name})", rows_before)
            for canonical, column in self.columns.items()
        }
        block = _Block(self, rows, places, np.ones(len(rows), bool))
        ends = {end: read_ids(block.column(end), self.id_type, places[end]) for end in ("pre", "post")}
        for end, (ids, missing) in ends.items():
            block.remove_missing_ids(end, ids, missing)
        size = block.numbers("size")
        if size is not None:
            block.check_size(size)
        position = block.position()
        region = read_regions(block.column("region"), places["region"]) if "region" in self.columns else None
        if region is not None:
            block.handle_missing("region", region[1])
        keep = None if block.keep.all() else np.flatnonzero(block.keep)
        kept = [ids if keep is None else _take(ids, keep) for ids, _ in ends.values()]
        if not len(kept[0]):
            return Rows(np.zeros(0, np.uint64), None, {})
        pre, post = (self.ids.codes(ids) for ids in kept)
        columns: dict[str, np.ndarray | None] = {"count": None}
        for canonical, numbers in (("size", size), *zip(AXES, position or (), strict=False)):
            if numbers is not None:
                columns |= _sums_of(canonical, numbers, keep)
        part = None if region is None else self._region_codes(region, keep)
        loops = np.flatnonzero(pre == post)
        if len(loops) and self.policies.self_loops != "keep":
            stays = block.remove_loops(loops, keep, kept[0])
            pre, post, part = pre[stays], post[stays], None if part is None else part[stays]
            columns = {name: None if values is None else values[stays] for name, values in columns.items()}
        return Rows(pairs_of(pre, post), part, columns)

    def order(self) -> Order:
        """The order of ids and regions so far; a missing region comes last."""
        code = self.ids.in_order()
        part_code = np.append(self.regions.in_order() + 1, 0)
        return Order(_inverse(code), code, _inverse(part_code), part_code)

    def _region_codes(
        self, region: tuple[pa.DictionaryArray, np.ndarray | None], keep: np.ndarray | None
    ) -> Int[np.ndarray, " r"]:
        """Codes from 1; 0 where the region is missing."""
        names, missing = region
        names = pc.fill_null(names.dictionary_decode(), "") if missing is not None else names
        codes = self.regions.codes(names) + 1
        if len(self.regions) > MAX_REGIONS:
            raise SchemaError(
                f"Column {self.columns['region']!r} of the synapses table has more than {MAX_REGIONS} regions. Is it "
                "the right column?"
            )
        if missing is not None:
            codes[missing] = 0
        return (codes if keep is None else codes[keep]).astype(np.uint16)


@dataclass(eq=False)
class _Block:
    """The rows of one block, and which of them are still to be kept."""

    reader: BlockReader
    rows: pa.Table
    places: Mapping[str, Place]
    keep: Bool[np.ndarray, " r"]

    def column(self, canonical: str) -> pa.ChunkedArray:
        return self.rows.column(self.reader.columns[canonical])

    def numbers(self, canonical: str) -> Numbers | None:
        if canonical not in self.reader.columns:
            return None
        numbers = read_numbers(self.column(canonical), self.places[canonical])
        self.reader.tally.see(canonical, numbers)
        return numbers

    def position(self) -> list[Numbers] | None:
        """The numbers of the three axes; a position of which one is missing is missing."""
        if "position" in self.reader.columns:
            place = self.places["position"]
            found = [read_numbers(column, place) for column in split_positions(self.column("position"), place)]
            for canonical, axis in zip(AXES, found, strict=True):
                self.reader.tally.see(canonical, axis)
        elif "x" in self.reader.columns:
            found = [numbers for name in AXES if (numbers := self.numbers(name)) is not None]
        else:
            return None
        missing = [numbers.missing for numbers in found if numbers.missing is not None]
        if not missing:
            return found
        if self.reader.policies.missing_values == "error":
            for canonical, axis in zip(AXES, found, strict=True):
                self.handle_missing(canonical if canonical in self.places else "position", axis.missing)
        gone = np.logical_or.reduce(missing)
        self.handle_missing("position" if "position" in self.places else "x", gone)
        whole = [np.where(gone, 0, numbers.whole) for numbers in found]
        fraction = [None if numbers.fraction is None else np.where(gone, 0, numbers.fraction) for numbers in found]
        return [
            Numbers(one, part, gone, numbers.integral)
            for one, part, numbers in zip(whole, fraction, found, strict=True)
        ]

    def remove_missing_ids(self, end: str, ids: Any, missing: np.ndarray | None) -> None:
        """Rows without a neuron at one end."""
        policies = self.reader.policies
        if missing is not None:
            if policies.missing_ids == "error":
                remedy = "Complete or remove these rows, or set missing_ids='drop'."
                self.places[end].refuse(missing, self.column(end), "an id is missing", remedy)
            self._remove(f"missing_id {end}", missing, lambda rows: ["missing"] * len(rows))
        if policies.no_neuron:
            nobody = (
                np.isin(ids, list(policies.no_neuron))
                if isinstance(ids, np.ndarray)
                else pc.is_in(ids, value_set=pa.array(list(policies.no_neuron), pa.string())).to_numpy(
                    zero_copy_only=False
                )
            )
            if missing is not None:
                nobody &= ~missing
            self._remove(f"no_neuron {end}", nobody, lambda rows: shown_values(self.column(end), rows))

    def check_size(self, size: Numbers) -> None:
        """Sizes: none negative, missing ones by policy, small ones removed."""
        remedy = "Correct these rows, or give another column."
        self.places["size"].refuse(size.whole < 0, self.column("size"), "a size cannot be negative", remedy)
        self.handle_missing("size", size.missing)
        least = self.reader.policies.min_size
        if least is not None:
            value = size.whole if size.fraction is None else size.whole + size.fraction * 2.0**-32
            small = value < least
            if size.missing is not None:
                small &= ~size.missing
            self._remove("below_min_size size", small, lambda rows: shown_values(self.column("size"), rows))

    def handle_missing(self, canonical: str, missing: np.ndarray | None) -> None:
        """Missing values: kept and noted, removed, or refused."""
        if missing is None or not missing.any():
            return
        policy = self.reader.policies.missing_values
        if policy == "error":
            remedy = "Complete or remove these rows, or set missing_values='keep' or 'drop'."
            self.places[canonical].refuse(missing, self.column(canonical), "a value is missing or NaN", remedy)
        rule = f"missing_value {canonical}"
        if policy == "drop":
            self._remove(rule, missing, lambda rows: ["missing"] * len(rows))
        else:
            self._note(rule, missing & self.keep, lambda rows: ["missing"] * len(rows))

    def remove_loops(self, loops: np.ndarray, keep: np.ndarray | None, ids: Any) -> Bool[np.ndarray, " k"]:
        """Marks the kept rows that are no loops; `loops` are positions among the kept rows."""
        marks = np.zeros(len(self.keep), bool)
        marks[loops if keep is None else keep[loops]] = True
        column = self.column("pre")
        if self.reader.policies.self_loops == "error":
            remedy = "Remove these rows, or set self_loops='keep' or 'drop'."
            self.places["pre"].refuse(marks, column, "a neuron synapses onto itself", remedy)
        self._remove("self_loop pre", marks, lambda rows: shown_values(column, rows))
        stays = np.ones(len(ids), bool)
        stays[loops] = False
        return stays

    def _remove(self, rule: str, marks: np.ndarray, describe: Any) -> None:
        marks = marks & self.keep
        if marks.any():
            self._note(rule, marks, describe)
            self.keep &= ~marks

    def _note(self, rule: str, marks: np.ndarray, describe: Any) -> None:
        before = next(iter(self.places.values())).rows_before
        rows = np.flatnonzero(marks)
        self.reader.tally.add(rule, Found.among(rows + before, lambda shown: describe(shown - before)))


def _inverse(order: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _take(ids: Any, rows: np.ndarray) -> Any:
    return ids[rows] if isinstance(ids, np.ndarray) else ids.take(pa.array(rows))


def _sums_of(canonical: str, numbers: Numbers, keep: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """The columns to add up: the whole part, the fraction if there is one, how many are missing if any are."""
    columns = {canonical: narrow(numbers.whole)}
    if numbers.fraction is not None:
        columns[f"{canonical} fraction"] = numbers.fraction
    if numbers.missing is not None and canonical in ("size", "x"):
        columns[f"{canonical} missing"] = numbers.missing.astype(np.int32)
    return {name: values if keep is None else values[keep] for name, values in columns.items()}


def findings_of(tally: Tally, columns: Mapping[str, str], policies: SynapsePolicies) -> list[Finding]:
    """What was noted in the blocks, as findings, in the order in which the rules are applied."""
    findings: list[Finding] = []

    def note(severity: Severity, rule: str, canonical: str, rest: tuple[str, str], policy: str, removed: bool) -> None:
        found, texts = tally[f"{rule} {canonical}"], (f"row {rest[0]}", f"rows {rest[1]}")
        gone = found.count if removed else 0
        found.note(findings, severity, rule, "synapses", columns.get(canonical, ""), texts, policy=policy, removed=gone)

    for end in ("pre", "post"):
        note("warning", "missing_id", end, _have(f"no {end}synaptic id"), "missing_ids=drop", True)
        rest = _have(f"a {end}synaptic id that means no neuron")
        note("warning", "no_neuron", end, rest, f"no_neuron={list(policies.no_neuron)}", True)
    drop = policies.missing_values == "drop"
    for canonical, what in (("size", "size"), ("position", "position"), ("x", "position"), ("region", "region")):
        effect = "and were removed" if drop else f"and were counted, but not in the {what}"
        if canonical == "region" and not drop:
            effect = "and were counted under the region null"
        rest = _have(f"no {what}", f" {effect}")
        note("warning", "missing_value", canonical, rest, f"missing_values={policies.missing_values}", drop)
    rest = _have("a size below the threshold")
    note("info", "below_min_size", "size", rest, f"min_size={policies.min_size}", True)
    rest = ("joins a neuron with itself", "join a neuron with itself")
    note("info", "self_loop", "pre", rest, f"self_loops={policies.self_loops}", True)
    return findings


def _have(what: str, more: str = "") -> tuple[str, str]:
    return f"has {what}{more.replace('were', 'was')}", f"have {what}{more}"


def columns_left_out(names: Sequence[str], columns: Mapping[str, str]) -> list[Finding]:
    """A note about the columns that are not aggregated."""
    rest = [name for name in names if name not in columns.values()]
    if not rest:
        return []
    text = f"columns that are not aggregated: {', '.join(map(repr, rest[:20]))}{', ...' if len(rest) > 20 else ''}"
    return [Finding("info", "columns_left_out", "synapses", "", len(rest), message=text)]
