"""The report on networks trained on a task: accuracy beside controls, learning, activity, weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectofit.connectome import Connectome, ValidationReport
from connectofit.fit import weight_tails
from connectofit.fit.tasks import GroupedTask, RandomDots
from connectofit.pipelines import task_figures
from connectofit.pipelines.arrays import read_arrays
from connectofit.pipelines.figures import score_dots
from connectofit.pipelines.references import REFERENCES
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import cost_table, provenance_blocks
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_stages import MODEL, accuracy_of, load_task
from connectofit.pipelines.validation import validation_tables

Blocks = list[Text | Table | Picture]
LABELS = {
    MODEL: "trained network",
    "rewired": "wiring rewired, degrees kept",
    "signs": "signs shuffled over edges",
    "unwired": "no recurrent edges",
    "input_readout": "only input and readout trained",
    "readout": "only the readout trained",
}
METHOD = (
    "Method: networks whose edges and signs are those of a connectome, trained by gradients through surrogate "
    "derivatives or by online rules; scored on test trials beside controls."
)


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: what the other stages wrote, as ``report.html``."""
    folders, provenance = context.inputs, context.provenance
    task = load_task(folders["task"])
    scores = pd.read_parquet(folders["train"] / "scores.parquet")
    lead: list[Text | Table] = [
        Text(
            f"Recipe {provenance['recipe']}: spiking networks on the wiring of a connectome, whose edges and signs "
            f"hold through training, on the task {type(task).__name__}; scored on test trials that nothing before has "
            "drawn."
        ),
        score_table(scores, task),
    ]
    parts: list[tuple[str, Callable[[], Blocks]]] = [
        ("Accuracy", lambda: _accuracy(scores, folders["train"], task)),
        ("Learning", lambda: _learning(folders["train"], task)),
        ("Task", lambda: _task(folders["task"], task)),
        ("Wiring", lambda: _wiring(folders["wiring"])),
        ("Activity", lambda: _activity(folders["train"], folders["task"], task)),
        ("Weights", lambda: _weights(folders["train"])),
        ("Cost of each stage", lambda: cost_table(context)),
        ("Provenance and citations", lambda: provenance_blocks(provenance, {}, [METHOD], _used(provenance, task))),
    ]
    sections = [Section(title, blocks()) for title, blocks in parts]
    title = f"Networks trained on a task: {type(task).__name__}"
    (context.out / "report.html").write_text(render(title, lead, sections), encoding="utf-8")


def _used(provenance: Mapping[str, Any], task: GroupedTask) -> list[tuple[str, str]]:
    """What the report cites: task, neurons, rule, optimiser, wiring, controls; see `references_table`."""
    stages = provenance["stages"]
    wiring, train = stages["wiring"]["settings"], stages["train"]["settings"]
    kind = stages["task"]["settings"]["kind"]
    used = [("task", kind)] if kind in REFERENCES else []
    used += [("neurons", "gif"), ("learning rule", train["rule"]), ("optimiser", "adam")]
    if wiring["source"] == "distance":
        used.append(("wiring", "distance"))
    if "rewired" in train["controls"]:
        used.append(("control", "rewired"))
    return [*used, ("statistics", "weight tails")]


def score_table(scores: pd.DataFrame, task: GroupedTask) -> Table:
    """Accuracy of the network and its controls: mean over seeds, least and most."""
    rows = []
    for control in scores["control"].unique():
        part = scores[scores["control"] == control]
        seeds = ", ".join(f"{a:.3f}" for a in part["accuracy"])
        rows.append((LABELS[control], len(part), f"{part['accuracy'].mean():.3f}", seeds, int(part["trials"].min())))
    caption = f"Accuracy on test trials; chance is {1 / task.n_outputs:.3g}"
    columns = ("", "seeds", "mean", "of each seed", "trials each")
    return Table(caption, columns, rows, numeric=(1, 2, 4), strong=(0,))


def _accuracy(scores: pd.DataFrame, folder: Path, task: GroupedTask) -> Blocks:
    controls = scores["control"].unique()
    known = {LABELS[c]: scores.loc[scores["control"] == c, "accuracy"].to_numpy() for c in controls}
    means = ", ".join(f"{label} {values.mean():.3f}" for label, values in known.items())
    chance = 1 / task.n_outputs
    figure = score_dots(known, "accuracy on test trials", chance)
    blocks: Blocks = [
        picture(figure, f"Accuracy by seed. Means: {means}. Chance is {chance:.3g}.", "A dot is one seed.")
    ]
    trials = pd.read_parquet(folder / "trials.parquet")
    trials = trials[trials["control"] == MODEL]
    if isinstance(task, RandomDots):
        table = by_condition(trials, "coherence")
        best = {c: task.ideal_accuracy(c) for c in sorted(task.coherences)}
        told = [
            (
                f"{row['coherence']:g}",
                row["trials"],
                f"{row['accuracy']:.3f}",
                f"{row['low']:.3f} to {row['high']:.3f}",
                f"{best[min(best, key=partial(_apart, row['coherence']))]:.3f}",
            )
            for row in table.to_dict("records")
        ]
        figure = task_figures.psychometric(table, "coherence", best, chance)
        said = ", ".join(f"{row[0]}: {row[2]}" for row in told)
        blocks.append(
            picture(figure, f"Accuracy by coherence: {said}.", "All seeds together; bars are 95 % intervals.")
        )
        columns = ("coherence", "trials", "accuracy", "95 % interval", "ideal observer")
        blocks.append(Table("Accuracy by coherence, all seeds together", columns, told, numeric=range(5)))
    return blocks


def _apart(one: float, other: float) -> float:
    return abs(one - other)


def by_condition(trials: pd.DataFrame, column: str) -> pd.DataFrame:
    """Accuracy and its 95 % interval (Wilson 1927) for each value of a column."""
    rows = [(value, *accuracy_of(part)) for value, part in trials.groupby(column)]
    return pd.DataFrame(rows, columns=[column, "accuracy", "low", "high", "trials"])


def _learning(folder: Path, task: GroupedTask) -> Blocks:
    history = pd.read_parquet(folder / "history.parquet")
    labels = {c: LABELS[c] for c in dict.fromkeys(history["control"])}
    figure = task_figures.learning(history, labels, 1 / task.n_outputs)
    ends = pd.read_parquet(folder / "ends.parquet")
    rows = [
        (
            LABELS[e["control"]],
            e["seed"],
            e["steps"],
            e["best_step"],
            f"{e['validation_accuracy']:.3f}",
            e["ended"],
            e["block"],
        )
        for e in ends.to_dict("records")
    ]
    said = ", ".join(
        f"{label} {history.loc[history['control'] == c, 'validation_accuracy'].max():.3f}"
        for c, label in labels.items()
    )
    return [
        picture(figure, f"Accuracy on validation trials by step; the best reached: {said}.", "A line is one seed."),
        Table(
            "How each training ended",
            ("", "seed", "steps", "best step", "validation there", "ended by", "steps run by"),
            rows,
            numeric=(1, 2, 3, 4),
        ),
    ]


def _task(folder: Path, task: GroupedTask) -> Blocks:
    told = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "trials.parquet")
    shares = table["label"].value_counts(normalize=True).sort_index()
    rows = [
        (name, f"{start * task.dt_ms:g} to {stop * task.dt_ms:g}") for name, (start, stop) in told["periods"].items()
    ]
    settings: list[tuple[str, Any]] = [(name, str(value)) for name, value in told["settings"].items()]
    return [
        Text(
            f"{task.n_inputs} inputs in groups {', '.join(told['groups'])}; {task.n_steps} steps of "
            f"{task.dt_ms:g} ms; right answers of {len(table)} example trials: "
            + ", ".join(f"{k} in {v:.1%}" for k, v in shares.items())
            + "."
        ),
        Table("Periods of a trial", ("period", "ms"), rows, numeric=(1,)),
        Table("Settings of the task", ("setting", "value"), settings),
    ]


def _wiring(folder: Path) -> Blocks:
    graph = Connectome.read(folder / "connectome")
    report = ValidationReport.from_json((folder / "validation.json").read_text(encoding="utf-8"))
    signs = {value: int((graph.sign == value).sum()) for value in (1, -1, 0)}
    text = f"{graph.n_neurons} neurons, {graph.n_edges} edges: {signs[1]} excite, {signs[-1]} inhibit, "
    text += f"{signs[0]} have no sign."
    return [Text(text), *(validation_tables([report]) if report.findings else ())]


def _activity(folder: Path, task_folder: Path, task: GroupedTask) -> Blocks:
    arrays = read_arrays(folder / "activity.npz")
    periods = json.loads((task_folder / "task.json").read_text(encoding="utf-8"))["periods"]
    blocks: Blocks = []
    for when in ("before", "after"):
        spikes = {name.removeprefix(f"{when}_"): a for name, a in arrays.items() if name.startswith(f"{when}_")}
        inputs = spikes.pop("inputs")
        mean = {name: float(s.mean() * 1000 / task.dt_ms) for name, s in spikes.items()}
        said = ", ".join(f"{name} {rate:.1f} Hz" for name, rate in mean.items())
        if when == "after":
            figure = task_figures.raster({n: s[0] for n, s in spikes.items()}, inputs[0], task.dt_ms, periods)
            caption = "One trial after training: inputs below, then neurons; every second period is shaded."
            blocks.append(picture(figure, f"Spikes of one trial after training; mean rates {said}.", caption))
        caption = f"Mean rates of the populations {when} training, in {len(inputs)} trials. Overall: {said}."
        blocks.append(picture(task_figures.rates(spikes, task.dt_ms), f"Rates over time. Overall: {said}.", caption))
    return blocks


def _weights(folder: Path) -> Blocks:
    table = pd.read_parquet(folder / "weights.parquet")
    table = table[table["control"] == MODEL]
    blocks: Blocks = [
        Text(
            "Laws are fitted by maximum likelihood to the sizes of the weights above their median, of all seeds of the "
            "trained network. The likelihood-ratio test (Vuong 1989, Econometrica 57:307) compares each law with the "
            "best.",
            style="note",
        )
    ]
    for sign, name in ((1, "excitatory"), (-1, "inhibitory")):
        part = table[np.sign(table["after"]) == sign]
        if part.empty:
            continue
        sizes = part["after"].abs().to_numpy(float)
        figure = task_figures.weights(part, f"{name} weights")
        spread = f"median {np.median(sizes):.3g}, largest {sizes.max():.3g}"
        alt = f"Distribution of {len(part)} {name} weights before and after training; after: {spread}."
        blocks.append(picture(figure, alt, f"{name.capitalize()} weights of all seeds."))
        laws = weight_tails(sizes[sizes > 0], upper_fraction=0.5).table()
        rows = [
            (r["law"], r["parameters"], f"{r['delta_aic']:.1f}", "-" if np.isnan(r["p"]) else f"{r['p']:.2g}")
            for r in laws.to_dict("records")
        ]
        columns = ("law", "parameters", "AIC above the best", "p against the best")
        blocks.append(Table(f"The upper half of {name} weights after training", columns, rows, numeric=(2, 3)))
    return blocks
