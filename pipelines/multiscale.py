"""Recipes that go through all scales in one run: recorded cells, a network of them on a graph, a task, an animal."""

from __future__ import annotations

import pandas as pd

from connectofit.pipelines.cell_settings import ImportSettings
from connectofit.pipelines.cell_stages import RECORDINGS, SUGGESTED, import_files, import_recordings
from connectofit.pipelines.choices_settings import ScoreSettings, TrialsSettings
from connectofit.pipelines.choices_stages import make_trials, trial_files
from connectofit.pipelines.multiscale_report import scale_table, write_report
from connectofit.pipelines.multiscale_settings import CellsSettings, ChoicesSettings, EvidenceSettings, NetworkSettings
from connectofit.pipelines.multiscale_stages import (
    export_model,
    fit_types,
    learn_choices,
    learn_evidence,
    make_networks,
    score_choices,
)
from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.results import RunResult
from connectofit.pipelines.stages import Stage
from connectofit.pipelines.task_settings import WiringSettings
from connectofit.pipelines.task_stages import make_wiring, wiring_files

_LEARNT = ("*/parameters.npz", "*/readout.json", "history.parquet", "ends.parquet", "activity.npz", "task.json")

STAGES = (
    Stage(
        "import",
        import_recordings,
        settings=ImportSettings,
        files=import_files,
        outputs=(RECORDINGS, "validation.json", SUGGESTED),
    ),
    Stage(
        "cells",
        fit_types,
        settings=CellsSettings,
        inputs=("import",),
        outputs=("cells/*.toml", "scores.parquet", "counts.parquet", "ends.parquet"),
    ),
    Stage(
        "wiring",
        make_wiring,
        settings=WiringSettings,
        files=wiring_files,
        outputs=("connectome/*", "validation.json"),
    ),
    Stage(
        "trials",
        make_trials,
        settings=TrialsSettings,
        files=trial_files,
        outputs=("training.parquet", "held_out.parquet", "pairs.parquet", "names.json", "validation.json"),
    ),
    Stage(
        "network",
        make_networks,
        settings=NetworkSettings,
        inputs=("cells", "wiring"),
        outputs=("*/connectome/*", "*/cells/*.toml", "*/model.toml", "spontaneous.parquet", "spontaneous.npz"),
    ),
    Stage(
        "evidence",
        learn_evidence,
        settings=EvidenceSettings,
        inputs=("network",),
        outputs=(*_LEARNT, "trials.parquet", "accuracy.parquet"),
    ),
    Stage(
        "choices",
        learn_choices,
        settings=ChoicesSettings,
        inputs=("trials", "network", "evidence"),
        outputs=(*_LEARNT, "chances.parquet"),
    ),
    Stage(
        "score",
        score_choices,
        settings=ScoreSettings,
        inputs=("trials", "choices"),
        outputs=("scores.parquet", "differences.parquet", "bias.parquet", "psychometric.parquet"),
    ),
    Stage(
        "export",
        export_model,
        inputs=("trials", "network", "evidence", "choices"),
        outputs=("model/*", "reloaded.json"),
        documents_run=True,
    ),
    Stage(
        "report",
        write_report,
        inputs=("import", "cells", "wiring", "trials", "network", "evidence", "choices", "score", "export"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: every variant at every scale, and where the report is."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "score" in done:
        table = scale_table({name: result.path(name) for name in ("cells", "network", "evidence", "score")})
        lines += [table.caption, pd.DataFrame(list(table.rows), columns=list(table.columns)).to_string(index=False), ""]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    if "export" in done:
        lines.append(f"Model:  {result.path('export', 'model')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)
