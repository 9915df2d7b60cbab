"""Parts that the reports of several recipes have: what the stages cost, and where the results come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tomli_w

from connectofit.pipelines.references import references_table
from connectofit.pipelines.report import Picture, Table, Text
from connectofit.pipelines.stages import StageContext

Blocks = list[Text | Table | Picture]


def cost_table(context: StageContext) -> Blocks:
    """Wall time and peak memory of every stage."""
    rows = []
    for name, cost in context.costs.items():
        peak = "-" if cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 1e6:,.0f}"
        rows.append((name, f"{cost.seconds:,.1f}", peak))
    rows.append(("all", f"{sum(cost.seconds for cost in context.costs.values()):,.1f}", ""))
    caption = "Wall time and peak memory of the process, of the run that made each result (without this report)"
    return [Table(caption, ("stage", "seconds", "peak memory (MB)"), rows, numeric=(1, 2), strong=(len(rows) - 1,))]


def provenance_blocks(
    provenance: Mapping[str, Any],
    shipped: Mapping[str, tuple[str, str]],
    method: Sequence[str],
    used: Iterable[tuple[str, str]],
) -> Blocks:
    """Software, data files, licences, references, keys and settings. shipped: SHA-256 of files of the package to
    (licence, what to cite). method: paragraphs on the method. used: what `references_table` takes."""
    stages = provenance["stages"]
    files, sources = [], []
    for stage, facts in stages.items():
        for role, entry in facts["files"].items():
            files.append((stage, role, entry["name"], entry["sha256"]))
            if entry["sha256"] in shipped:
                sources.append((entry["name"], *shipped[entry["sha256"]]))
    settings = {name: facts["settings"] for name, facts in stages.items() if facts["settings"]}
    cited = "Data that ship with the package: licence, and what to cite"
    return [
        Table("Software", ("library", "version"), list(provenance["environment"].items())),
        Table("Data files read", ("stage", "role", "file", "SHA-256"), files),
        *([Table(cited, ("file", "licence", "cite"), sources)] if sources else []),
        *(Text(line) for line in method),
        references_table([("method", "multi-scale method"), *used]),
        Table("Keys of the stages", ("stage", "key"), [(name, facts["key"]) for name, facts in stages.items()]),
        Text("The settings of this run:"),
        Text(tomli_w.dumps(settings), style="code"),
    ]
