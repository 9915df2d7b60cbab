"""The recipe `worm`: from the tables of *C. elegans* to a fitted, scored, exported model and its report."""

from __future__ import annotations

from connectofit.pipelines.report import TEMPLATE
from connectofit.pipelines.run import RunResult
from connectofit.pipelines.scores import fit_facts, margins, score_table
from connectofit.pipelines.stages import Stage
from connectofit.pipelines.worm_evaluate import evaluate_worm
from connectofit.pipelines.worm_fit import fit_files, fit_worm
from connectofit.pipelines.worm_fit_settings import EvaluateSettings, FitSettings
from connectofit.pipelines.worm_report import write_report
from connectofit.pipelines.worm_settings import BuildSettings, ExportSettings, ImportSettings, SimulateSettings
from connectofit.pipelines.worm_stages import (
    build_files,
    build_network,
    export_model,
    import_connectome,
    import_files,
    simulate_network,
)

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
        "simulate",
        simulate_network,
        settings=SimulateSettings,
        inputs=("import", "build"),
        outputs=("traces.parquet", "protocol.json"),
    ),
    Stage(
        "fit",
        fit_worm,
        settings=FitSettings,
        files=fit_files,
        inputs=("import", "build"),
        outputs=(
            "predictions.parquet",
            "assays.parquet",
            "history.parquet",
            "parameters.parquet",
            "parameters.npz",
            "readouts.json",
            "data.json",
        ),
    ),
    Stage(
        "evaluate",
        evaluate_worm,
        settings=EvaluateSettings,
        inputs=("fit",),
        outputs=("scores.parquet", "summary.parquet"),
    ),
    Stage(
        "export",
        export_model,
        settings=ExportSettings,
        inputs=("import", "build", "fit"),
        outputs=("model/*", "*"),
        documents_run=True,
    ),
    Stage(
        "report",
        write_report,
        inputs=("import", "build", "simulate", "fit", "evaluate"),
        outputs=("report.html",),
        files=lambda _: {"template": TEMPLATE},
        documents_run=True,
    ),
)


def summary(result: RunResult) -> str:
    """The last lines of a run: the table of scores, and where the report and the model are."""
    done = {stage.name for stage in result.stages}
    lines = []
    if "evaluate" in done:
        settings = result.settings.get("fit", {})
        lines += [f"Held-out scores, mean (smallest to largest) over runs; {fit_facts(settings)}"]
        lines += [str(score_table(result.path("evaluate"))), *margins(result.path("evaluate")), ""]
    if "report" in done:
        lines.append(f"Report: {result.path('report', 'report.html')}")
    if "export" in done:
        lines.append(f"Model:  {result.path('export', 'model')}")
    lines.append(f"Run:    {result.folder} (up to stage {result.stages[-1].name!r})")
    return "\n".join(lines)
