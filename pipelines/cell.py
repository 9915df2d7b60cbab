"""The recipe `cell`: from current-clamp recordings to fitted neuron models, their held-out scores and a report."""

from __future__ import annotations

import pandas as pd

from connectofit.fit.cell_fit import TRAINING
from connectofit.pipelines.cell_report import comparison_table, failures, write_report
from connectofit.pipelines.cell_settings import FitSettings, ImportSettings
from connectofit.pipelines.cell_stages import (
    RECORDINGS,
    SUGGESTED,
    fit_cells_of_recipe,
    import_files,
    import_recordings,
)
from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.run import RunResult
from connectofit.pipelines.stages import Stage

STAGES = (
    Stage(
        "import",
        import_recordings,
        settings=ImportSettings,
        files=import_files,
        outputs=(RECORDINGS, "validation.json", SUGGESTED),
    ),
    Stage(
        "fit",
        fit_cells_of_recipe,
        settings=FitSettings,
        inputs=("import",),
        outputs=(
            "scores.parquet",
            "intervals.parquet",
            "starts.parquet",
            "course.parquet",
            "comparison.parquet",
            "parameters.json",
            "traces.parquet",
            "trains.parquet",
            "cells/*.toml",
        ),
    ),
    Stage(
        "report",
        write_report,
        inputs=("import", "fit"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: the table of models, and where the report and the cells are."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "fit" in done:
        table = pd.read_parquet(result.path("fit", "comparison.parquet"))
        shown = comparison_table(table, held_out=bool((table["part"] != TRAINING).any()))
        plain = pd.DataFrame(list(shown.rows), columns=list(shown.columns))
        lines += [shown.caption, plain.to_string(index=False)]
        lines += [text.text for text in failures(table)]
        lines += ["", f"Cells:  {result.path('fit', 'cells')}"]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)
