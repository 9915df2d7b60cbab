"""The cell recipe's stages but for the report: recordings in, every model fitted to every cell, files out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.connectome.report import Finding
from connectofit.data import (
    RAT_CORTEX_ADVANCE_SAMPLES,
    RAT_CORTEX_COLUMNS,
    RAT_CORTEX_HELD_OUT,
    RAT_CORTEX_STIMULUS_MS,
    RAT_CORTEX_BRIDGE_MOhm,
    rat_cortex_path,
)
from connectofit.fit import Recordings, check_recordings, read_recordings, split, write_recordings
from connectofit.fit.cell_fit import BASELINE, HELD_OUT, TRAINING, CellFit, compare_models, fit_cell, say
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.optimisers import Budget
from connectofit.pipelines.cell_settings import FitSettings, ImportSettings
from connectofit.pipelines.stages import StageContext

logger = logging.getLogger(__name__)

RECORDINGS, SUGGESTED = "recordings.parquet", "hold_out.json"


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit of the recipe: by which method, and whether that is one to compare the recipe's own with."""

    method: str
    fit: CellFit
    beside: bool = False


@dataclass(frozen=True)
class Failed:
    """A fit of the recipe that came to nothing, and why."""

    cell: str
    model: str
    method: str
    why: str


def import_files(settings: ImportSettings) -> dict[str, Path]:
    """The files that the stage `import` reads: those of the settings, else the rat cells' table."""
    files = {"recordings": settings.recordings or rat_cortex_path()}
    return files if settings.current is None else {**files, "current": settings.current}


def import_recordings(context: StageContext) -> None:
    """Recordings in; ``recordings.parquet``, ``validation.json`` and the sweeps to hold out where no setting says
    which, ``hold_out.json``, out."""
    settings: ImportSettings = context.settings
    shipped = settings.recordings is None
    columns = dict(settings.columns) or (dict(RAT_CORTEX_COLUMNS) if shipped else None)
    stimulus_ms = RAT_CORTEX_STIMULUS_MS if shipped and settings.stimulus_ms is None else settings.stimulus_ms
    bridges = dict(settings.bridge_MOhm or {})
    advance = settings.advance_samples or 0
    recordings, report = read_recordings(
        context.files["recordings"],
        current=context.files.get("current"),
        electrodes=settings.electrodes or None,
        columns=columns,
        units=dict(settings.units) or None,
        stimulus_ms=stimulus_ms,
        junction_mV=settings.junction_mV,
    )
    for cell in (*settings.cells, *bridges):
        recordings.cell(cell)
    if settings.cells:
        recordings = Recordings(tuple(s for s in recordings if s.cell in settings.cells))
    if shipped:
        bridges = dict(RAT_CORTEX_BRIDGE_MOhm) if settings.bridge_MOhm is None else bridges
        advance = RAT_CORTEX_ADVANCE_SAMPLES if settings.advance_samples is None else advance
    if advance:
        recordings = recordings.advanced(advance)
    recordings = Recordings(
        tuple(s.corrected(bridge_MOhm=bridges[s.cell]) if s.cell in bridges else s for s in recordings)
    )
    if settings.dt_ms is not None:
        recordings = recordings.resampled(settings.dt_ms)
    write_recordings(recordings, context.out / RECORDINGS)
    (context.out / "validation.json").write_text(report.to_json(), encoding="utf-8")
    held = [label for label in RAT_CORTEX_HELD_OUT if shipped and label in recordings.labels]
    (context.out / SUGGESTED).write_text(json.dumps(held), encoding="utf-8")


def fit_cells_of_recipe(context: StageContext) -> None:
    """Every model fitted to every cell. Out: scores, intervals, courses, parameters and traces, and ``cells/``."""
    settings: FitSettings = context.settings
    recordings, _ = read_recordings(context.inputs["import"] / RECORDINGS)
    hold_out = settings.hold_out
    if hold_out is None:
        hold_out = tuple(json.loads((context.inputs["import"] / SUGGESTED).read_text(encoding="utf-8")))
    for label in hold_out:
        if label not in recordings.labels:
            raise unknown_name("sweep", label, recordings.labels, where="fit.hold_out")
    if not hold_out:
        logger.warning("no sweep is held out: scores are of the sweeps that are fitted to; name some in fit.hold_out")
    cells = {cell: recordings.cell(cell) for cell in recordings.cells}
    held = {cell: [label for label in hold_out if label in own.labels] for cell, own in cells.items()}
    training = {cell: split(own, held[cell]).training if held[cell] else own for cell, own in cells.items()}
    # Everything is checked before the first fit, which may take long.
    for model in settings.models:
        _check(training, settings, model)
    done: list[Fitted | Failed] = []
    with context.bar(len(recordings.cells) * len(settings.models), "fit", unit="fit") as bar:
        for cell, own in cells.items():
            findings = check_recordings(training[cell])
            say(training[cell], findings)
            for model in settings.models:
                done += _fits(own, held[cell], findings, model, settings, context.work)
                bar.update()
    fits = [each for each in done if isinstance(each, Fitted)]
    failed = [each for each in done if isinstance(each, Failed)]
    if not fits:
        raise DivergedError(
            f"None of the {len(failed)} fits came to anything. The first, {failed[0].model} to {failed[0].cell}: "
            f"{failed[0].why}"
        )
    _write(fits, failed, context.out)


def _check(training: Mapping[str, Recordings], settings: FitSettings, model: str) -> None:
    """Raise what `cell_problem` does for a model that suits none of the cells; where it does not suit some of them,
    that is told with their fits."""
    refused: SettingError | None = None
    for cell, sweeps in training.items():
        try:
            cell_problem(sweeps, model, **_options(settings, model))
        except SettingError as why:
            refused = refused or SettingError(f"{model} to {cell}: {why}")
        else:
            return
    if refused is not None:
        raise refused


def _options(settings: FitSettings, model: str) -> dict[str, Any]:
    options = {name: settings.of_model(name, model) for name in ("free", "bounds", "start", "fixed")}
    found = {name: given for name, given in options.items() if given is not None}
    return {"loss": settings.of_model("losses", model) or settings.loss, **found}


def _fits(
    recordings: Recordings,
    held: list[str],
    findings: tuple[Finding, ...],
    model: str,
    settings: FitSettings,
    work: Path,
) -> list[Fitted | Failed]:
    """One model to one cell, by the recipe's method and by those to compare with. One that diverges ends no other."""
    cell = recordings.cells[0]
    shared: dict[str, Any] = {
        "hold_out": held,
        "starts": settings.starts,
        "trials": settings.trials,
        "seed": settings.seed,
        "findings": findings,
        **_options(settings, model),
    }
    folder = work / f"{cell}_{model}"
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Fitted | Failed] = []
    spent_s = 0.0
    for method in (settings.method, *settings.beside):
        first = not done
        own: dict[str, Any] = {"budget": Budget(wall_s=max(spent_s, 1.0)), "uncertainty": None}
        if first:
            how = None if settings.uncertainty == "none" else settings.uncertainty
            budget = Budget(simulated_s=settings.of_model("budgets", model) or settings.simulated_s)
            own = {"budget": budget, "uncertainty": how, "draws": settings.draws}
            own["checkpoint_dir"] = folder
        began = time.perf_counter()
        try:
            fit = fit_cell(recordings, model, method=method, **own, **shared)
        except (DivergedError, SettingError) as why:  # of this model on this cell: settings were checked before
            logger.warning("%s %s by %s: %s", cell, model, method, why)
            done.append(Failed(cell, model, method, str(why)))
        else:
            logger.info("%s %s: loss %.6g after %.0f s", cell, model, fit.search.loss, fit.search.wall_s)
            done.append(Fitted(fit.search.method if first else method, fit, beside=not first))
        if first:
            found = done[0]
            spent_s = found.fit.search.wall_s if isinstance(found, Fitted) else time.perf_counter() - began
    return done


def _write(fits: list[Fitted], failed: list[Failed], out: Path) -> None:
    def labelled(tables: list[pd.DataFrame]) -> pd.DataFrame:
        rows = []
        for each, table in zip(fits, tables, strict=True):
            labels = {"cell": each.fit.cell, "model": each.fit.model, "method": each.method}
            head = pd.DataFrame(labels, index=table.index)
            rows.append(pd.concat([head, table], axis=1))
        return pd.concat([r for r in rows if len(r)], ignore_index=True) if any(len(r) for r in rows) else rows[0]

    labelled([each.fit.scores for each in fits]).to_parquet(out / "scores.parquet", index=False)
    labelled([each.fit.intervals for each in fits]).to_parquet(out / "intervals.parquet", index=False)
    labelled([each.fit.search.starts for each in fits]).to_parquet(out / "starts.parquet", index=False)
    labelled([each.fit.search.course for each in fits]).to_parquet(out / "course.parquet", index=False)
    compared = [compare_models([each.fit]).assign(method=each.method) for each in fits]
    table = pd.concat(compared, ignore_index=True)
    twice = table.duplicated(["cell", "part"]) & (table["part"] == BASELINE)
    table = table[~twice].assign(why="")
    if failed:
        # In the part that the report's table is of: the others' held-out sweeps, else the training ones.
        part = HELD_OUT if (table["part"] != TRAINING).any() else TRAINING
        table = pd.concat([table, pd.DataFrame([{**vars(each), "part": part} for each in failed])], ignore_index=True)
    table.to_parquet(out / "comparison.parquet", index=False)

    told = []
    for each in fits:
        fit = each.fit
        box, values = fit.problem.objective.box, fit.search.x
        told.append(
            {
                "cell": fit.cell,
                "model": fit.model,
                "method": each.method,
                "parameters": dict(fit.parameters),
                "loss_parameters": dict(fit.loss_parameters),
                "free": list(box.names),
                "low": box.low.tolist(),
                "high": box.high.tolist(),
                "share": box.share(values).tolist(),
                "loss": fit.search.loss,
                "stopped": fit.search.stopped,
                "simulated_s": fit.search.simulated_s,
                "wall_s": fit.search.wall_s,
                "quarantined": fit.search.quarantined,
                "findings": [finding.message for finding in fit.findings],
                "uncertainty": _uncertainty(fit),
            }
        )
    (out / "parameters.json").write_text(json.dumps(told, indent=2, allow_nan=False), encoding="utf-8")
    best = best_fits(fits)
    rows = []
    for each in best:
        fit = each.fit
        for label, trace in fit.traces.items():
            held = label not in fit.problem.recordings.labels
            spikes = np.zeros(trace.sweep.n_samples, bool)
            spikes[[trace.sweep.at(t) for t in trace.trains[0] if trace.sweep.at(t) < spikes.size]] = True
            rows.append(
                pd.DataFrame(
                    {
                        "cell": fit.cell,
                        "model": fit.model,
                        "method": each.method,
                        "sweep": trace.sweep.name,
                        "held_out": held,
                        "t_ms": trace.sweep.time_ms,
                        "recorded_mV": trace.sweep.voltage_mV.astype(np.float32),
                        "model_mV": np.asarray(trace.voltage_mV, np.float32),
                        "model_spike": spikes,
                    }
                )
            )
    pd.concat(rows, ignore_index=True).to_parquet(out / "traces.parquet", index=False)
    trains = [
        {"cell": each.fit.cell, "model": each.fit.model, "sweep": t.sweep.name, "train": k, "t_ms": float(at)}
        for each in best
        for t in each.fit.traces.values()
        for k, train in enumerate(t.trains)
        for at in train
    ]
    pd.DataFrame(trains, columns=["cell", "model", "sweep", "train", "t_ms"]).to_parquet(
        out / "trains.parquet", index=False
    )
    for each in fits:
        name = "_".join(part for part in (each.fit.cell, each.fit.model) if part)
        each.fit.as_cell(f"{name}_{each.method}" if each.beside else name).dump(out / "cells")


def _uncertainty(fit: CellFit) -> dict[str, Any] | None:
    known = fit.uncertainty if fit.bootstrap is None else fit.bootstrap
    if known is None or fit.uncertainty is None:
        return None
    table = known.table.set_index("parameter")
    ends = {name: [float(row["low"]), float(row["high"])] for name, row in table.iterrows()}
    intervals = {name: both if np.isfinite(both).all() else None for name, both in ends.items()}
    return {
        "how": "curvature" if fit.bootstrap is None else f"{len(fit.bootstrap.draws)} refits to resampled blocks",
        "intervals": intervals,
        "identifiable": dict(fit.uncertainty.identifiable),
        "findings": list(known.findings),
    }


def best_fits(fits: list[Fitted]) -> list[Fitted]:
    """For every cell the fit whose traces are drawn: of those that are not there for comparison, the one that explains
    most variance of the *training* sweeps' spikes, so that nothing that is shown was chosen by the held-out ones."""
    chosen: dict[str, Fitted] = {}
    for each in fits:
        cell = each.fit.cell
        if not each.beside and (cell not in chosen or _trained(each.fit) > _trained(chosen[cell].fit)):
            chosen[cell] = each
    return list(chosen.values())


def _trained(fit: CellFit) -> float:
    training = fit.scores[~fit.scores["part"].isin([HELD_OUT, BASELINE])]
    value = float(training["explained_variance"].mean())
    return value if np.isfinite(value) else -np.inf
