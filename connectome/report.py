"""What was found while tables were read: one record per rule, with counts, row numbers and the policy that was applied.

The rows add up: for each table, ``rows_in = rows_kept + sum of rows_removed over the findings``, and the Connectome has
``rows_kept["edges"] + sum of rows_added`` edges. Row numbers count the data rows from 1; a header is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from connectofit.connectome.errors import SchemaError, SettingError

Severity = Literal["error", "warning", "info"]
ROWS_NOTE = "Rows are the table's data rows counted from 1; the header is not counted."
_REPORT_VERSION = 1
_MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One rule and what it found in one table.

    Attributes
    ----------
    severity
        ``"warning"``: rows were changed, removed or completed by assumption; ``"info"``: worth knowing.
    rule
        Short name of the rule, e.g. ``"unmatched_id"``.
    table, column
        Where: ``"edges"`` or ``"neurons"``, and the column's name as it stands in the file (or "").
    count
        How many rows, ids or pairs the rule found; `message` says which of these.
    policy
        The setting that decided what was done, e.g. ``"unmatched=drop"``; "" where there was nothing to decide.
    examples
        The first (row number, value) pairs.
    message
        One sentence for people.
    rows_removed, rows_added
        How many of the table's rows the rule took away or merged into others, and how many edges it added; below 0
        where it took away again what an earlier rule had added.
    """

    severity: Severity
    rule: str
    table: str
    column: str
    count: int
    policy: str = ""
    examples: tuple[tuple[int, str], ...] = ()
    message: str = ""
    rows_removed: int = 0
    rows_added: int = 0

    def __str__(self) -> str:
        policy = f" [{self.policy}]" if self.policy else ""
        lines = [f"{self.severity.upper():7} {self.table}: {self.rule}: {self.message}{policy}"]
        if self.examples:
            more = ", ..." if self.count > len(self.examples) else ""
            lines.append(f"        e.g. {', '.join(f'row {row}: {value}' for row, value in self.examples)}{more}")
        return "\n".join(lines)


@dataclass(frozen=True)
class ValidationReport:
    """All findings of one call of `read_connectome`, and what became of the tables' rows.

    Attributes
    ----------
    findings
        In the order in which the rules were applied.
    rows_in, rows_kept
        Rows of each table (``"edges"``, ``"neurons"``) as read, and of these the ones that the Connectome holds.
    result
        Size of the Connectome: ``neurons``, ``edges``, ``chemical``, ``electrical``.
    source
        Where each table came from.
    columns
        The column mapping as it was used.
    policies
        The policies as plain values (`Policies.to_dict`).
    files
        For a table made of several files, one after the other: the name, first row and last row of each.
    """

    findings: tuple[Finding, ...]
    rows_in: Mapping[str, int]
    rows_kept: Mapping[str, int]
    result: Mapping[str, int] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Sequence[tuple[str, int, int]]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = []
        for table, rows in self.rows_in.items():
            source = f" ({self.source[table]})" if self.source.get(table) else ""
            lines.append(f"{table}{source}: {rows} rows read, {self.rows_kept[table]} kept")
        if self.result:
            lines.append("connectome: " + ", ".join(f"{number} {name}" for name, number in self.result.items()))
        lines.append(ROWS_NOTE)
        lines += [str(finding) for finding in self.findings]
        return "\n".join(lines)

    def find(self, rule: str) -> tuple[Finding, ...]:
        """The findings of one rule (none if it found nothing)."""
        return tuple(finding for finding in self.findings if finding.rule == rule)

    def locate(self, table: str, row: int) -> tuple[str, int]:
        """The file, and the data row in it, of a row number in the findings about `table`.

        Raises `SettingError` for a row that the table does not have.
        """
        if not 1 <= row <= self.rows_in.get(table, 0):
            raise SettingError(f"Row {row} of {table!r} cannot be found: rows read are {dict(self.rows_in)}.")
        for name, first, last in self.files.get(table, ()):
            if first <= row <= last:
                return name, row - first + 1
        return self.source.get(table, ""), row

    def to_frame(self) -> pd.DataFrame:
        """One row per finding, its examples as text."""
        names = [item for item in Finding.__dataclass_fields__ if item != "examples"]
        frame = pd.DataFrame(
            [{name: getattr(finding, name) for name in names} for finding in self.findings], columns=names
        )
        frame["examples"] = ["; ".join(f"row {r}: {v}" for r, v in finding.examples) for finding in self.findings]
        return frame

    def to_json(self) -> str:
        """Everything as JSON; `from_json` brings it back."""
        return json.dumps({"version": _REPORT_VERSION, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Back from `to_json`. Raises `SchemaError` for anything else."""
        try:
            values = json.loads(text)
            version = values.pop("version")
            if version != _REPORT_VERSION:
                raise SchemaError(
                    f"The validation report has version {version!r}; this program reads {_REPORT_VERSION}."
                )
            findings = tuple(
                Finding(**{**item, "examples": tuple((int(row), str(value)) for row, value in item["examples"])})
                for item in values.pop("findings")
            )
            files = {table: tuple(map(tuple, parts)) for table, parts in values.pop("files", {}).items()}
            return cls(findings=findings, files=files, **values)
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"This is not a validation report as written by to_json: {error}.") from error


@dataclass(frozen=True)
class Found:
    """The rows that a rule is about: how many, and the first of them as `Finding.examples`; false if there are none."""

    count: int
    examples: tuple[tuple[int, str], ...] = ()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return rows_text(self.examples, self.count)

    @classmethod
    def among(cls, rows: np.ndarray, describe: Callable[[np.ndarray], Iterable[object]]) -> Self:
        """These 0-based rows, ascending; `describe` gives the values of the few that are shown."""
        shown = rows[:_MAX_EXAMPLES]
        return cls(len(rows), examples_of(shown, list(describe(shown))) if len(shown) else ())

    def note(
        self,
        findings: list[Finding],
        severity: Severity,
        rule: str,
        table: str,
        column: str,
        what: tuple[str, str] | str,
        *,
        policy: str = "",
        removed: int = 0,
        added: int = 0,
    ) -> None:
        """Add a `Finding` about these rows; nothing where there are none.

        `what` follows their number in the message, for one and for many: ``("row has no type", "rows have no type")``.
        A single text is the whole message.
        """
        if self:
            message = what if isinstance(what, str) else counted(self.count, *what)
            findings.append(
                Finding(severity, rule, table, column, self.count, policy, self.examples, message, removed, added)
            )


def counted(count: int, one: str, many: str) -> str:
    """``"1 row has"``, ``"3 rows have"``."""
    return f"{count} {one if count == 1 else many}"


def examples_of(rows: Any, values: Any) -> tuple[tuple[int, str], ...]:
    """The first pairs of 0-based row numbers and values as `Finding.examples` (row numbers from 1)."""
    return tuple(
        (int(row) + 1, str(value)) for row, value in zip(rows[:_MAX_EXAMPLES], values[:_MAX_EXAMPLES], strict=True)
    )


def rows_text(examples: tuple[tuple[int, str], ...], count: int) -> str:
    """Examples for an error message: ``row 3: 'x', row 7: 'y' (2 in all; ...)``."""
    shown = ", ".join(f"row {row}: {value}" for row, value in examples)
    return (
        f"{shown}{', ...' if count > len(examples) else ''} ({count} in all; {ROWS_NOTE[0].lower()}{ROWS_NOTE[1:-1]})"
    )
