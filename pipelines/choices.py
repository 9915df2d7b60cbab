"""Recipes that train networks to choose as an animal does: from its trials to held-out scores beside regressions."""

from __future__ import annotations

import pandas as pd

from connectofit.pipelines.choices_export import export_model
from connectofit.pipelines.choices_report import score_table, write_report
from connectofit.pipelines.choices_settings import NetworkSettings, ScoreSettings, TrialsSettings
from connectofit.pipelines.choices_stages import make_trials, score, train, trial_files
from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.stages import Stage
from connectofit.pipelines.task_settings import WiringSettings
from connectofit.pipelines.task_stages import make_wiring, wiring_files

STAGES = (
    Stage(
        "trials",
        make_trials,
        settings=TrialsSettings,
        files=trial_files,
        outputs=("training.parquet", "held_out.parquet", "pairs.parquet", "names.json", "validation.json"),
    ),
    Stage(
        "wiring",
        make_wiring,
        settings=WiringSettings,
        files=wiring_files,
        outputs=("connectome/*", "validation.json"),
    ),
    Stage(
        "train",
        train,
        settings=NetworkSettings,
        inputs=("trials", "wiring"),
        outputs=(
            "chances.parquet",
            "history.parquet",
            "weights.parquet",
            "ends.parquet",
            "parameters.npz",
            "readout.json",
            "activity.npz",
            "task.json",
        ),
    ),
    Stage(
        "score",
        score,
        settings=ScoreSettings,
        inputs=("trials", "train"),
        outputs=("scores.parquet", "differences.parquet", "bias.parquet", "psychometric.parquet"),
    ),
    Stage("export", export_model, inputs=("trials", "wiring", "train"), outputs=("model/*",), documents_run=True),
    Stage(
        "report",
        write_report,
        inputs=("trials", "wiring", "train", "score"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: scores on held-out sessions, and where the report is."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "score" in done:
        table = score_table(result.path("score"))
        lines += [table.caption, pd.DataFrame(list(table.rows), columns=list(table.columns)).to_string(index=False), ""]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    if "export" in done:
        lines.append(f"Model:  {result.path('export', 'model')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)
