"""The cell recipe's report: models compared on held-out sweeps, models over data, parameters, courses of the fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectofit.connectome import ValidationReport
from connectofit.data import RAT_CORTEX_CITATION, RAT_CORTEX_LICENCE, rat_cortex_path
from connectofit.fit import read_recordings
from connectofit.fit.cell_fit import BASELINE, TRAINING
from connectofit.fit.cell_scores import recorded_train
from connectofit.pipelines import cell_figures
from connectofit.pipelines.cell_stages import RECORDINGS
from connectofit.pipelines.keys import file_digest
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import Blocks, cost_table, provenance_blocks
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.validation import validation_tables

METHOD = (
    "Method: integrate-and-fire neurons are fitted by the likelihood of spikes and of voltages under the recorded "
    "spikes, others by their voltage running freely; all are scored running freely.",
    "Scores: spike count; Gamma within 4 ms; explained variance of trains smoothed with 10 ms; first-spike latency; "
    "adaptation index; RMSE of the voltage between spikes, under the recorded spikes where the model can be given "
    "them.",
)
SHOWN_TRAINS = 8
_COLUMNS = {
    "count_error": ("count", "+.1%"),
    "gamma": ("Γ", ".3f"),
    "explained_variance": ("expl. var.", ".3f"),
    "latency_error_ms": ("latency (ms)", "+.2f"),
    "adaptation_error": ("adaptation", "+.4f"),
    "subthreshold_rmse_mV": ("RMSE (mV)", ".2f"),
}


def comparison_table(comparison: pd.DataFrame, *, held_out: bool) -> Table:
    """The models of every cell on its held-out sweeps (else the training ones), with the regular train."""
    parts = comparison[(comparison["part"] != TRAINING) == held_out]
    rows: list[list[str]] = []
    strong: list[int] = []
    for _, row in parts.iterrows():
        fitted = np.isfinite(row.get("free", np.nan))
        lost = bool(row.get("why", ""))
        if not fitted and not lost:
            strong.append(len(rows))
        head = [row["cell"], row["model"], f"{row['method']}: no fit" if lost else row["method"] if fitted else "-"]
        head += [f"{row['free']:.0f}", f"{row['loss']:.1f}", f"{row['seconds']:.0f}"] if fitted else ["-", "-", "-"]
        rows.append([*head, *(_said(row.get(name), form) for name, (_, form) in _COLUMNS.items())])
    which = "held-out sweeps, which no fit saw" if held_out else "training sweeps; none were held out"
    caption = (
        f"Means over {which}, while the stimulus is on. Count, latency and adaptation index: model less cell. The "
        "regular train fires at the rate interpolated between the neighbouring training steps."
    )
    columns = ("cell", "model", "method", "free", "loss", "seconds", *(label for label, _ in _COLUMNS.values()))
    return Table(caption, columns, rows, numeric=range(3, len(columns)), strong=strong)


def failures(comparison: pd.DataFrame) -> list[Text]:
    """A sentence for every fit that came to nothing."""
    lost = comparison[comparison["why"].fillna("") != ""]
    return [
        Text(f"{row['cell']}, {row['model']} by {row['method']} has no fit: {row['why']}", style="note")
        for _, row in lost.iterrows()
    ]


def _said(value: Any, form: str) -> str:
    return "-" if value is None or not np.isfinite(value) else format(value, form)


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: everything the other stages wrote, as ``report.html``."""
    imported, fitted = context.inputs["import"], context.inputs["fit"]
    comparison = pd.read_parquet(fitted / "comparison.parquet")
    held_out = bool((comparison["part"] != TRAINING).any())
    cells = list(dict.fromkeys(comparison["cell"]))
    lead: list[Text | Table] = [
        Text(
            f"Recipe {context.provenance['recipe']}: recordings of {', '.join(c or 'one cell' for c in cells)} to "
            "fitted neuron models."
        ),
        comparison_table(comparison, held_out=held_out),
        *failures(comparison),
    ]
    report = ValidationReport.from_json((imported / "validation.json").read_text(encoding="utf-8"))
    shipped = {file_digest(rat_cortex_path()): (RAT_CORTEX_LICENCE, RAT_CORTEX_CITATION)}
    sections = [
        Section("Recordings", list(validation_tables([report]))),
        *(Section(f"Model over data: {cell}", _traces(imported, fitted, cell)) for cell in cells),
        Section("Scores of every sweep", _scores(fitted)),
        Section("Parameters", _parameters(fitted)),
        Section("Course of the fits", _courses(fitted)),
        Section("Cost of each stage", cost_table(context)),
        Section(
            "Provenance and citations",
            provenance_blocks(context.provenance, shipped, METHOD, _used(context, comparison)),
        ),
    ]
    models = comparison.loc[np.isfinite(comparison["free"]), "model"].unique()
    counts = [
        f"{len(n)} {what}{'' if len(n) == 1 else 's'}" for n, what in ((models, "model"), (cells, "recorded cell"))
    ]
    title = f"Single cells: {' of '.join(counts)}"
    (context.out / "report.html").write_text(render(title, lead, sections), encoding="utf-8")


def _used(context: StageContext, comparison: pd.DataFrame) -> list[tuple[str, str]]:
    """What the report cites: models, losses, optimisers, uncertainty, scores; see `references_table`."""
    settings = context.provenance["stages"]["fit"]["settings"]
    fitted = comparison[np.isfinite(comparison["free"])]
    used = [("neuron", "traub_miles" if name == "hh" else name) for name in fitted["model"].unique()]
    if settings["loss"] != "voltage":
        used.append(("loss", "likelihood"))
    used += [("optimiser", name) for name in fitted["method"].unique()]
    if settings["uncertainty"] != "none":
        used.append(("intervals", settings["uncertainty"]))
    return [*used, ("score", "gamma"), ("score", "explained_variance")]


def _traces(imported: Path, fitted: Path, cell: str) -> Blocks:
    recordings, _ = read_recordings(imported / RECORDINGS)
    traces = pd.read_parquet(fitted / "traces.parquet").query("cell == @cell")
    if not len(traces):
        return [Text("No model has a fit to this cell.", style="note")]
    trains = pd.read_parquet(fitted / "trains.parquet").query("cell == @cell")
    model = str(traces["model"].iloc[0])
    blocks: Blocks = [
        Text(
            f"Of the fits to this cell, {model} ({traces['method'].iloc[0]}) explains most variance of the spikes of "
            "the training sweeps; its traces are drawn. The recorded spikes stand in the first row of each raster, "
            "trains drawn from the model below.",
            style="note",
        )
    ]
    for key, trace in sorted(traces.groupby(["held_out", "sweep"]), key=lambda item: (not item[0][0], item[0][1])):
        held, name = bool(key[0]), str(key[1])
        sweep = recordings[f"{cell}/{name}" if cell else name]
        recorded = recorded_train(sweep)
        drawn = trains[trains["sweep"] == name]
        rows = [recorded, *(drawn.loc[drawn["train"] == k, "t_ms"].to_numpy() for k in range(SHOWN_TRAINS))]
        window = (max(sweep.onset_ms - 50.0, sweep.start_ms), min(sweep.onset_ms + 750.0, sweep.end_ms))
        part = "held out" if held else "training"
        inside = int(((recorded >= sweep.onset_ms) & (recorded < sweep.offset_ms)).sum())
        counts = [len(t[(t >= sweep.onset_ms) & (t < sweep.offset_ms)]) for t in rows[1:] if len(t)]
        mean = f"{np.mean(counts):.1f}" if counts else "0"
        title = f"sweep {name} ({part}), {sweep.step_pA:.0f} pA"
        alt = f"{title}: recorded and model voltage, and spikes; {inside} recorded and {mean} model spikes on the step."
        figure = cell_figures.model_over_data(trace, rows, window, title)
        blocks.append(picture(figure, alt, f"Sweep {name} ({part}): the first 750 ms of its stimulus."))
    return blocks


def _scores(fitted: Path) -> Blocks:
    scores = pd.read_parquet(fitted / "scores.parquet")
    intervals = pd.read_parquet(fitted / "intervals.parquet")
    twice = scores.duplicated(["cell", "sweep", "part"])  # the regular train is one for all models of a cell
    rows = [
        (
            *(str(row[k]) for k in ("cell", "model", "method", "part", "sweep", "spikes")),
            *(_said(row.get(name), form) for name, (_, form) in _COLUMNS.items()),
        )
        for _, row in scores[~(twice & (scores["part"] == BASELINE))].iterrows()
    ]
    head = ("cell", "model", "method", "part", "sweep", "spikes")
    columns = (*head, *(label for label, _ in _COLUMNS.values()))
    blocks: Blocks = [Table("Every sweep", columns, rows, numeric=range(5, len(columns)))]
    if len(intervals):
        forms = {name: form for name, (_, form) in _COLUMNS.items()}
        labels = {name: label for name, (label, _) in _COLUMNS.items()}
        said = [
            (
                *(str(row[k]) for k in ("cell", "model", "method", "sweep")),
                labels[row["score"]],
                _said(row["value"], forms[row["score"]]),
                f"{_said(row['low'], forms[row['score']])} to {_said(row['high'], forms[row['score']])}",
                row["drawn"],
            )
            for _, row in intervals.iterrows()
        ]
        columns = ("cell", "model", "method", "sweep", "score", "value", "95 % interval", "drawn again")
        caption = "Bootstrap intervals of the held-out scores, over 200 ms blocks of the stimulus or the model's trains"
        blocks.append(Table(caption, columns, said, numeric=(5, 6)))
    return blocks


def _parameters(fitted: Path) -> Blocks:
    blocks: Blocks = []
    for fit in json.loads((fitted / "parameters.json").read_text(encoding="utf-8")):
        values = {**fit["parameters"], **fit["loss_parameters"]}
        known = fit["uncertainty"] or {"intervals": {}, "identifiable": {}, "findings": []}
        rows = []
        for name, low, high, share in zip(fit["free"], fit["low"], fit["high"], fit["share"], strict=True):
            interval = known["intervals"].get(name)
            notes = ["on its bound"] if min(share, 1 - share) < 0.01 else []
            notes += [] if known["identifiable"].get(name, True) else ["not identified"]
            within = f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "-"
            rows.append((name, f"{values[name]:.4g}", within, f"{low:.4g} to {high:.4g}", ", ".join(notes)))
        how = f"; intervals from {known['how']}" if known["intervals"] else ""
        caption = f"{fit['cell']}, {fit['model']} by {fit['method']}: free parameters{how}"
        columns = ("parameter", "value", "95 % interval", "bounds", "")
        blocks.append(Table(caption, columns, rows, numeric=(1, 2, 3)))
        blocks += [Text(sentence, style="note") for sentence in known["findings"]]
    return blocks


def _courses(fitted: Path) -> Blocks:
    course = pd.read_parquet(fitted / "course.parquet")
    blocks: list[Text | Table | Picture] = []
    for (cell, model, method), lines in course.groupby(["cell", "model", "method"], sort=False):
        if not np.isfinite(lines["loss"]).any():
            continue
        first = lines.loc[lines["step"] == lines["step"].min(), "loss"].median()
        lowest = lines["loss"].min()
        title = f"{cell}, {model} by {method}"
        n_starts = lines["start"].nunique()
        alt = f"{title}: loss of {n_starts} starts by step, {first:.5g} at first, {lowest:.5g} at the end."
        caption = f"{title}: one line a start, how far its loss is above the lowest of all."
        blocks.append(picture(cell_figures.search_course(lines, title), alt, caption))
    return blocks
