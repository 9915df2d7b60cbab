"""The worm recipe's fits: the model, its controls and their held-out predictions; then the model fitted to all data.

Every cross-validation is one task whose result is kept in the stage's work folder, so that a killed run goes on with
the next one (and within one, from the fit's own checkpoint). Tasks are independent: how many run side by side
changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from connectofit.builders import ModelSpec, build
from connectofit.connectome import Connectome, rewire
from connectofit.connectome.errors import SettingError, UnknownNameError, unknown_name
from connectofit.data import celegans_paths
from connectofit.fit import (
    Choice,
    Detection,
    Objective,
    Responses,
    Trials,
    cross_validate,
    fit_network,
    group_folds,
    read_responses,
    read_trials,
)
from connectofit.pipelines.arrays import flatten_params, write_arrays
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.worm_fit_settings import FitSettings

CONNECTED = ("connectome", "rewired", "connectome_distance", "rewired_distance")
DISTANCE_UNIT_UM = 10.0  # makes the gain of order 1, like the readout's other parameters, so that Adam reaches it
TABLES = ("predictions", "assays", "history", "parameters")


@dataclass(frozen=True)
class Task:
    """One cross-validation: a model, which of its replicates, and the seed of the folds."""

    model: str
    replicate: int
    fold_seed: int

    @property
    def name(self) -> str:
        """Name of the task's folder."""
        return f"{self.model}-{self.replicate}-{self.fold_seed}"


@dataclass(frozen=True, eq=False)
class Data:
    """What the fits share: the graph, its spec, and the data matched to it."""

    connectome: Connectome
    spec: ModelSpec
    responses: Responses
    trials: Trials
    types: tuple[str, ...]
    settings: FitSettings


def fit_files(settings: FitSettings) -> dict[str, Path]:
    """The tables that the stage `fit` reads: those of the settings, else the worm's."""
    shipped = celegans_paths()
    return {"atlas": settings.atlas or shipped["atlas"], "assays": settings.assays or shipped["touch"]}


def tasks(settings: FitSettings) -> list[Task]:
    """All cross-validations that the settings ask for, the model itself first."""
    models = ["connectome", "no_connectome"]
    models += ["connectome_distance", "no_connectome_distance"] if settings.distance else []
    found = [Task(model, 0, seed) for model in models for seed in settings.fold_seeds]
    for replicate in range(settings.rewirings):
        seed = settings.fold_seeds[replicate % len(settings.fold_seeds)]
        found.append(Task("rewired", replicate, seed))
    if settings.distance:  # on one rewiring for each seed of the folds
        found += [Task("rewired_distance", k, settings.fold_seeds[k]) for k in range(len(settings.fold_seeds))]
    return found


def fit_worm(context: StageContext) -> None:
    """All fits; see the module. Writes tables of held-out predictions, the fits' course and the final parameters."""
    settings: FitSettings = context.settings
    data, reports = load_data(context.inputs["import"], context.inputs["build"], context.files, settings)
    todo = tasks(settings)
    n_folds = settings.run_folds or settings.folds
    where = (context.inputs["import"], context.inputs["build"], dict(context.files), settings, context.work)
    with context.bar((len(todo) * n_folds + 1) * settings.steps, "fit", "step") as bar:
        if settings.jobs == 1:
            for task in todo:
                _run_task(task, data, context.work, lambda n: bar.update(n))
        else:
            runs = (joblib.delayed(_run_alone)(task, os.getpid(), *where) for task in todo)
            with _one_thread_each():
                for _ in joblib.Parallel(n_jobs=settings.jobs, return_as="generator_unordered")(runs):
                    bar.update(n_folds * settings.steps)
        final = fit_network(
            build(data.connectome, data.spec),
            objectives(data, "connectome"),
            free=settings.make_free(),
            weights={"assays": settings.assay_weight},
            validation={"atlas": settings.validation},
            seed=settings.seed,
            starts=settings.starts,
            schedule=settings.make_schedule(),
            checkpoint=context.work / "final.npz",
            progress=bar.update,
        )
    for table in TABLES:
        parts = [pd.read_parquet(context.work / task.name / f"{table}.parquet") for task in todo]
        if table == "predictions":
            parts += _unfitted(data)
        if table == "history":
            parts.append(final.history.assign(model="final", replicate=0, fold_seed=-1, fold=-1))
        if table == "parameters":
            last = settings.make_free().table(final.network)
            parts.append(last.assign(model="final", replicate=0, fold_seed=-1, fold=-1))
        pd.concat(parts, ignore_index=True).to_parquet(context.out / f"{table}.parquet", index=False)
    write_arrays(context.out / "parameters.npz", flatten_params(final.network.params))
    readouts = {name: {k: np.asarray(v).tolist() for k, v in values.items()} for name, values in final.readouts.items()}
    types = {"types": sorted(set(data.types)), "options": data.trials.options}
    (context.out / "readouts.json").write_text(json.dumps(types | readouts, indent=1), encoding="utf-8")
    found: dict[str, Any] = {name: json.loads(report.to_json()) for name, report in reports.items()}
    text = json.dumps({"q_below": settings.q_below} | found, indent=1)
    (context.out / "data.json").write_text(text, encoding="utf-8")


def load_data(imported: Path, built: Path, files: Any, settings: FitSettings) -> tuple[Data, dict[str, Any]]:
    """The graph, the spec and the matched data, with the data's validation reports."""
    connectome = Connectome.read(imported / "connectome")
    spec = ModelSpec.load(built / "spec.toml")
    # A spec of several populations orders the neurons by them: data refer to the network's order.
    ids = build(connectome, spec).ids
    responses, atlas_report = read_responses(files["atlas"], ids, columns=settings.atlas_columns)
    trials, assay_report = read_trials(files["assays"], ids, options=settings.options, columns=settings.assay_columns)
    if settings.group_by not in connectome.neurons.column_names:
        raise unknown_name("column", settings.group_by, connectome.neurons.column_names, "the neurons (fit.group_by)")
    types = tuple(str(t) for t in connectome.column(settings.group_by)[connectome.index_of(ids)])
    return Data(connectome, spec, responses, trials, types, settings), {"atlas": atlas_report, "assays": assay_report}


def objectives(data: Data, model: str) -> dict[str, Objective]:
    """The likelihoods of one model: without a connectome the network is left out, and no assay can be predicted."""
    settings, protocol = data.settings, data.settings.make_protocol()
    atlas = Detection.from_responses(
        data.responses,
        neuron_types=data.types,
        protocol=protocol,
        q_below=settings.q_below,
        effect_sd=settings.excitability_sd,
        connected=model in CONNECTED,
        distance=soma_distance_um(data) / DISTANCE_UNIT_UM if model.endswith("_distance") else None,
    )
    if model not in CONNECTED:
        return {"atlas": atlas}
    assays = Choice.from_trials(data.trials, pools=settings.pools, neuron_types=data.types, protocol=protocol)
    return {"atlas": atlas, "assays": assays}


def soma_distance_um(data: Data) -> np.ndarray:
    """Distance between the cell bodies of each measured pair. Raises if a position is missing."""
    columns = data.settings.position_columns
    for name in columns:
        if name not in data.connectome.neurons.column_names:
            error = unknown_name("column", name, data.connectome.neurons.column_names, "the neurons")
            raise UnknownNameError(f"{error} Or set fit.distance = false.")
    order = data.connectome.index_of(data.responses.ids)
    position = np.array([data.connectome.column(name)[order] for name in columns], dtype=float).T
    distance = np.linalg.norm(position[data.responses.stimulated] - position[data.responses.responding], axis=1)
    if not np.isfinite(distance).all():
        raise SettingError("Positions are missing for some of the atlas's neurons; set fit.distance = false.")
    return distance


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start meanwhile compute with one thread: with more they would wait for each other."""
    before = os.environ.get("XLA_FLAGS")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{before or ''} {flags}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


def _run_alone(
    task: Task, run: int, imported: Path, built: Path, files: dict[str, Path], settings: FitSettings, work: Path
) -> None:
    """In a process of its own, which ends when the run that started it is gone: a resumed run may do the same task."""

    def stop_if_alone(_: int) -> None:
        if os.getppid() != run:
            raise SystemExit(f"The run that started the task {task.name} has ended.")

    stop_if_alone(0)
    data, _ = load_data(imported, built, files, settings)
    _run_task(task, data, work, stop_if_alone)


def _run_task(task: Task, data: Data, work: Path, progress: Callable[[int], object] | None) -> None:
    """One cross-validation, unless its result is there already."""
    settings, folder = data.settings, work / task.name
    n_folds = settings.run_folds or settings.folds
    if (folder / "done").exists():
        if progress is not None:
            progress(n_folds * settings.steps)
        return
    folder.mkdir(parents=True, exist_ok=True)
    graph = rewire(data.connectome, task.replicate)[0] if task.model.startswith("rewired") else data.connectome
    likelihoods = objectives(data, task.model)
    kinds = np.array([data.types[i] for i in data.responses.stimulated])
    folds = {"atlas": group_folds(kinds.tolist(), settings.folds, task.fold_seed)}
    if "assays" in likelihoods:
        folds["assays"] = group_folds(data.trials.situation, settings.folds, task.fold_seed)
    free = settings.make_free() if "assays" in likelihoods else type(settings.make_free())(())
    result = cross_validate(
        build(graph, data.spec),
        likelihoods,
        folds,
        free=free,
        which=range(n_folds),
        weights={"assays": settings.assay_weight} if "assays" in likelihoods else None,
        validation={"atlas": settings.validation},
        seed=settings.seed,
        starts=settings.starts,
        schedule=settings.make_schedule(),
        checkpoints=folder,
        progress=progress,
    )
    label: dict[str, Any] = {"model": task.model, "replicate": task.replicate, "fold_seed": task.fold_seed}
    tables = {
        "predictions": _prediction_table(data, folds["atlas"], result.predictions["atlas"]).assign(**label),
        "assays": _assay_table(data, folds.get("assays"), result.predictions.get("assays")).assign(**label),
        "history": result.history.assign(**label),
        "parameters": result.parameters.assign(**label),
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "done").touch()


def _prediction_table(data: Data, folds: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    ids = np.array([str(i) for i in data.responses.ids], dtype=object)
    table = pd.DataFrame(
        {
            "fold": folds,
            "stimulated": ids[data.responses.stimulated],
            "responding": ids[data.responses.responding],
            "q": data.responses.q,
            "dff": data.responses.effect,
            "score": predicted,
        }
    )
    return table[np.isfinite(predicted)]


def _assay_table(data: Data, folds: np.ndarray | None, predicted: np.ndarray | None) -> pd.DataFrame:
    """Held-out assays, each situation once; `kind` sets those apart that any model gets right."""
    columns = ["fold", "assay", "stimulus", "ablated", "truth", "predicted", "majority", "kind"]
    if folds is None or predicted is None:
        return pd.DataFrame({name: pd.Series(dtype="int64" if name == "fold" else "str") for name in columns})
    trials, kinds, rows = data.trials, assay_kinds(data), []
    first = {situation: k for k, situation in reversed(list(enumerate(trials.situation)))}
    for k in sorted(first.values()):
        if not np.isfinite(predicted[k]).all():
            continue
        training = [trials.choice[j] for j in sorted(first.values()) if folds[j] != folds[k] and kinds[j] == "assay"]
        majority = int(np.bincount(training, minlength=len(trials.options)).argmax())
        stimulus, _, ablated = trials.situation[k].partition(" | ")
        rows.append(
            {
                "fold": int(folds[k]),
                "assay": trials.assay[k],
                "stimulus": stimulus,
                "ablated": ablated,
                "truth": trials.options[trials.choice[k]],
                "predicted": trials.options[int(np.argmax(predicted[k]))],
                "majority": trials.options[majority],
                "kind": kinds[k],
            }
        )
    return pd.DataFrame(rows, columns=columns)


def assay_kinds(data: Data) -> list[str]:
    """ "no_stimulus", "readout" (a neuron that is read out is stimulated itself) or "assay" for every trial."""
    read = {t for types in data.settings.pools.values() for t in types}
    kinds = []
    for stimulated, ablated in zip(data.trials.stimulated, data.trials.ablated, strict=True):
        if not set(stimulated) - set(ablated):
            kinds.append("no_stimulus")
        else:
            kinds.append("readout" if any(data.types[i] in read for i in stimulated) else "assay")
    return kinds


def _unfitted(data: Data) -> list[pd.DataFrame]:
    """Scores that nothing is fitted for, in the folds of each seed: direct weights, and nearness of the cell bodies."""
    c, r = data.connectome, data.responses
    direct = np.zeros((c.n_neurons, c.n_neurons))
    np.add.at(direct, (c.pre, c.post), c.count)
    order = c.index_of(r.ids)
    scores = {"raw_weights": direct[order[r.stimulated], order[r.responding]]}
    if data.settings.distance:
        scores["raw_distance"] = -soma_distance_um(data)
    kinds = [data.types[i] for i in r.stimulated]
    tables = []
    for model, score in scores.items():
        for seed in data.settings.fold_seeds:
            folds = group_folds(kinds, data.settings.folds, seed)
            table = _prediction_table(data, folds, np.asarray(score, float))
            table = table[table["fold"] < (data.settings.run_folds or data.settings.folds)]
            tables.append(table.assign(model=model, replicate=0, fold_seed=seed))
    return tables
