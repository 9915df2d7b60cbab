"""Recipes in which networks are fitted to recordings of some of another network's neurons, and predict the others."""

from __future__ import annotations

import pandas as pd

from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.stages import Stage
from connectofit.pipelines.student_report import score_table, verdict, write_report
from connectofit.pipelines.student_settings import StudentSettings, TeachSettings
from connectofit.pipelines.student_stages import study, teach
from connectofit.pipelines.worm_settings import BuildSettings, ImportSettings
from connectofit.pipelines.worm_stages import build_files, build_network, import_connectome, import_files

STAGES = (
    Stage(
        "import",
        import_connectome,
        settings=ImportSettings,
        files=import_files,
        outputs=("connectome/*", "validation.json"),
    ),
    Stage(
        "build",
        build_network,
        settings=BuildSettings,
        files=build_files,
        inputs=("import",),
        outputs=("spec.toml", "network.json"),
    ),
    Stage(
        "teach",
        teach,
        settings=TeachSettings,
        inputs=("import", "build"),
        outputs=("hidden.npz", "activity.npz", "teacher.json"),
    ),
    Stage(
        "study",
        study,
        settings=StudentSettings,
        inputs=("import", "build", "teach"),
        outputs=("neurons.parquet", "scores.parquet", "directions.parquet", "history.parquet", "parameters.npz"),
    ),
    Stage(
        "report",
        write_report,
        inputs=("import", "build", "teach", "study"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: scores of unrecorded neurons, and where the report is."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "study" in done:
        scores = pd.read_parquet(result.path("study", "scores.parquet"))
        table = score_table(scores)
        lines += [table.caption, pd.DataFrame(list(table.rows), columns=list(table.columns)).to_string(index=False)]
        lines += [verdict(scores), ""]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)
