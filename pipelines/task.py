"""Recipes that train networks on a task: from wiring to accuracy beside controls, and a report."""

from __future__ import annotations

import pandas as pd

from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.stages import Stage
from connectofit.pipelines.task_export import export_model
from connectofit.pipelines.task_report import score_table, write_report
from connectofit.pipelines.task_settings import TaskSettings, TrainSettings, WiringSettings
from connectofit.pipelines.task_stages import load_task, make_task, make_wiring, train, wiring_files

STAGES = (
    Stage(
        "wiring",
        make_wiring,
        settings=WiringSettings,
        files=wiring_files,
        outputs=("connectome/*", "validation.json"),
    ),
    Stage("task", make_task, settings=TaskSettings, outputs=("task.json", "trials.parquet", "example.npz")),
    Stage(
        "train",
        train,
        settings=TrainSettings,
        inputs=("wiring", "task"),
        outputs=(
            "scores.parquet",
            "trials.parquet",
            "history.parquet",
            "weights.parquet",
            "ends.parquet",
            "parameters.npz",
            "readout.json",
            "activity.npz",
        ),
    ),
    Stage(
        "export",
        export_model,
        inputs=("wiring", "task", "train"),
        outputs=("model/*",),
        documents_run=True,
    ),
    Stage(
        "report",
        write_report,
        inputs=("wiring", "task", "train"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: accuracies, and where the report is."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "train" in done:
        table = score_table(pd.read_parquet(result.path("train", "scores.parquet")), load_task(result.path("task")))
        lines += [table.caption, pd.DataFrame(list(table.rows), columns=list(table.columns)).to_string(index=False), ""]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    if "export" in done:
        lines.append(f"Model:  {result.path('export', 'model')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)


def scores(result: RunResult) -> pd.DataFrame | None:
    """What a sweep collects: the accuracy of every training."""
    if all(stage.name != "train" for stage in result.stages):
        return None
    return pd.read_parquet(result.path("train", "scores.parquet"))
