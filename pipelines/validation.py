"""What was found while tables were read, as tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from connectofit.connectome import ValidationReport
from connectofit.pipelines.report import Table


def validation_tables(reports: Sequence[ValidationReport]) -> list[Table]:
    """Rows read and kept of every table, and all findings with the policy that handled each."""
    sizes = Table(
        "Rows read and kept",
        ("table", "source", "rows read", "rows kept"),
        [
            (table, report.source.get(table, ""), f"{n:,}", f"{report.rows_kept[table]:,}")
            for report in reports
            for table, n in report.rows_in.items()
        ],
        numeric=(2, 3),
    )
    rows = []
    for f in (finding for report in reports for finding in report.findings):
        examples = "; ".join(f"{row}: {value}" for row, value in f.examples)
        rule = f"{f.table}: {f.rule}".replace("_", " ")
        rows.append((f.severity, rule, f"{f.count:,}", f.message, f.policy, examples))
    findings = Table(
        "Findings, and the policy that handled each. Examples are row: value; the data rows count from 1.",
        ("severity", "rule", "count", "what", "policy", "examples"),
        rows,
        numeric=(2,),
    )
    return [sizes, findings]
