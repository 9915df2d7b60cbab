"""The worm recipe's report: what its stages wrote, as sections of text, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from connectofit.connectome import KINDS, Connectome, ValidationReport
from connectofit.data import celegans_paths, citations, licence
from connectofit.pipelines import figures
from connectofit.pipelines.keys import file_digest
from connectofit.pipelines.references import REFERENCES
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import cost_table, provenance_blocks
from connectofit.pipelines.scores import MODELS, SCORES, fit_facts, margins, score_table
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.validation import validation_tables

METHOD = (
    "Method: networks constrained by a connectome and fitted by gradients, held out by groups of neurons, beside the "
    "same fit without a connectome and on rewired ones."
)

_MOST_TYPES = 20  # in one picture
_MEANING = {
    "auroc": "Does the model rank the significant responses (q < 0.05) first? Mean over folds.",
    "auroc_within": "The same within each stimulated neuron, then averaged over these.",
    "spearman": "Rank correlation of the predicted with the measured response |dF/F|; mean over folds.",
    "spearman_within": "The same within each stimulated neuron, then averaged over these.",
}


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: everything the other stages wrote, as ``report.html``."""
    folders, provenance = context.inputs, context.provenance
    connectome = Connectome.read(folders["import"] / "connectome")
    lead: list[Text | Table] = [
        Text(
            f"Recipe {provenance['recipe']}: from connectome tables to a fitted network model, scored on neurons "
            "that were held out of the fit, beside the controls that a connectome has to beat."
        ),
        _scores(folders["evaluate"], provenance),
    ]
    parts: list[tuple[str, Callable[[], list[Text | Table | Picture]]]] = [
        ("Data validation", lambda: _validation(folders["import"], folders["fit"])),
        ("Network", lambda: _network(folders["build"], connectome)),
        ("Simulated activity", lambda: _activity(folders["simulate"])),
        ("Course of the fit", lambda: _course(folders["fit"])),
        ("Held-out scores", lambda: _dots(folders["evaluate"], provenance)),
        ("Fitted parameters", lambda: _parameters(folders["fit"])),
        ("Behaviour", lambda: _assays(folders["fit"])),
        ("Cost of each stage", lambda: cost_table(context)),
        ("Provenance and citations", lambda: _provenance(folders["build"], provenance)),
    ]
    sections = []
    with context.bar(len(parts), "report", unit="section") as bar:
        for title, blocks in parts:
            sections.append(Section(title, blocks()))
            bar.update()
    title = f"Connectome to fitted model: {connectome.n_neurons} neurons, {connectome.n_edges} edges"
    (context.out / "report.html").write_text(render(title, lead, sections), encoding="utf-8")


def _validation(imported: Path, fitted: Path) -> list[Text | Table | Picture]:
    reports = [ValidationReport.from_json((imported / "validation.json").read_text(encoding="utf-8"))]
    data = json.loads((fitted / "data.json").read_text(encoding="utf-8"))
    reports += [ValidationReport.from_json(json.dumps(data[name])) for name in ("atlas", "assays")]
    return list(validation_tables(reports))


def _network(folder: Path, connectome: Connectome) -> list[Text | Table | Picture]:
    network = json.loads((folder / "network.json").read_text(encoding="utf-8"))
    populations = Table(
        "Populations",
        ("name", "model", "neurons", "types"),
        [(p["name"], p["model"], p["neurons"], p["types"]) for p in network["populations"]],
        numeric=(2, 3),
    )
    projections = Table(
        "Projections",
        ("name", "from", "to", "synapse", "edges", "types"),
        [(p["name"], p["pre"], p["post"], p["synapse"], p["edges"], p["types"]) for p in network["projections"]],
        numeric=(4, 5),
    )
    order = _order(connectome)
    pictures = []
    for code, kind in enumerate(KINDS):
        chosen = connectome.kind == code
        sign = connectome.sign[chosen] if kind == "chemical" else np.ones(int(chosen.sum()))
        pre, post = order[connectome.pre[chosen]], order[connectome.post[chosen]]
        figure = figures.adjacency(pre, post, sign * connectome.count[chosen], connectome.n_neurons, kind)
        up, down, none = (int((sign == value).sum()) for value in (1, -1, 0))
        said = f"{up} excite (blue), {down} inhibit (red), {none} have no sign and are left white"
        alt = (
            f"Adjacency matrix of {connectome.n_neurons} neurons with {int(chosen.sum())} {kind} edges"
            f"{': ' + said if kind == 'chemical' else ', symmetric about the diagonal'}."
        )
        pictures.append(picture(figure, alt, f"{kind.capitalize()} edges, neurons sorted by type and class."))
    return [populations, projections, *pictures]


def _order(connectome: Connectome) -> np.ndarray:
    """The place of each neuron [n] when sorted by class, then id."""
    columns = [c for c in ("cell_type", "cell_class") if c in connectome.neurons.column_names]
    frame = pd.DataFrame({c: connectome.column(c) for c in columns} | {"id": list(connectome.ids)})
    ranked = frame.sort_values([*columns, "id"], na_position="last", kind="stable").index.to_numpy()
    place = np.empty(len(ranked), np.int64)
    place[ranked] = np.arange(len(ranked))
    return place


def _activity(folder: Path) -> list[Text | Table | Picture]:
    protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    table = pq.read_table(folder / "traces.parquet", columns=["t_ms", *map(str, protocol["shown"])])
    t_ms = table.column("t_ms").to_numpy()
    names = [name for name in table.column_names if name != "t_ms"]
    values = np.column_stack([table.column(name).to_numpy() for name in names])
    window = (float(protocol["start_ms"]), float(protocol["stop_ms"]))
    stimulated = ", ".join(map(str, protocol["stimulated"]))
    last = {name: float(values[np.searchsorted(t_ms, window[1], "right") - 1, i]) for i, name in enumerate(names)}
    at_end = ", ".join(f"{name} {value:.3g}" for name, value in last.items())
    alt = (
        f"Traces of {len(names)} neurons over {t_ms[-1]:g} ms while {stimulated} are driven from {window[0]:g} to "
        f"{window[1]:g} ms. At the stimulus' end: {at_end}."
    )
    caption = (
        f"A constant input of {protocol['amplitude']:g} to {stimulated}, in the network as built, before the fit. "
        "Voltages are deviations from rest in relative units; they are not calibrated in mV."
    )
    return [picture(figures.traces(t_ms, values, names, window), alt, caption)]


def _course(folder: Path) -> list[Text | Table | Picture]:
    history = pd.read_parquet(folder / "history.parquet")
    real = history[history["model"] == "connectome"]
    starts = real.groupby(["fold_seed", "fold", "start"]).ngroups
    by_start = real.sort_values("step").groupby(["fold_seed", "fold", "start"])
    pictures = []
    for column, meaning in (
        ("training", "The part of the training folds that the gradients see."),
        (
            "validation",
            "The part cut from the training folds that decides when to stop; the held-out fold plays no part.",
        ),
    ):
        first, lowest = by_start[column].first().mean(), by_start[column].min().mean()
        alt = f"{column} loss of {starts} starts by step: on average {first:.4g} at first, {lowest:.4g} at its lowest."
        caption = f"{meaning} One line is one start of one fold of the model on the real connectome ({starts} in all)."
        pictures.append(picture(figures.fit_course(real, column), alt.capitalize(), caption))
    return list(pictures)


def _parameters(folder: Path) -> list[Text | Table | Picture]:
    """The final fit's parameters, with their range over the fits that each left a fold of the data out."""
    table = pd.read_parquet(folder / "parameters.parquet")
    key = ["parameter", "unit", "type"]
    folds = table[table["model"] == "connectome"].groupby(key, sort=False)["value"].agg(["min", "max", "count"])
    final = table[table["model"] == "final"].set_index(key)["value"].to_frame().join(folds, how="left")
    if final.empty:
        return [Text("This recipe frees no parameter of the network.")]
    blocks: list[Text | Table | Picture] = [
        Text(
            "Dots and values are of the fit to all data. The range is that of the fits of the cross-validation, each "
            "without a fold of the data: how much the data determine a parameter, not a confidence interval.",
            style="note",
        )
    ]
    rows, pictures = [], []
    for (name, unit), part in final.groupby(level=["parameter", "unit"], sort=False):
        width = part["max"] - part["min"]
        spread = f"{part['value'].quantile(0.1):.3g} to {part['value'].quantile(0.9):.3g}" if len(part) > 1 else "-"
        rows.append((name, unit, len(part), f"{part['value'].median():.3g}", spread, f"{width.median():.2g}"))
        if len(part) > 1:
            farthest = (part["value"] - part["value"].median()).abs().nlargest(_MOST_TYPES).index
            shown = part.loc[farthest].sort_values("value", ascending=False)
            names = [str(index[2]) for index in shown.index]
            value, low, high = (shown[column].to_numpy() for column in ("value", "min", "max"))
            first, last = (f"{names[k]} {value[k]:.3g}" for k in (0, -1))
            alt = f"{name} of {len(names)} types with the range over folds: highest {first}, lowest {last}."
            which = (
                "all types"
                if len(names) == len(part)
                else f"the {len(names)} of {len(part)} types farthest from the median"
            )
            figure = figures.parameter_ranges(names, value, low, high, f"{name} ({unit})")
            pictures.append(picture(figure, alt, f"{name}: {which}."))
    columns = ("parameter", "unit", "types", "median", "10 to 90 % of types", "median range over folds")
    n_fits = int(final["count"].max()) if final["count"].notna().any() else 0
    caption = f"Free parameters; ranges are over {n_fits} fits"
    return [*blocks, Table(caption, columns, rows, numeric=(2, 3, 4, 5)), *pictures]


def _scores(folder: Path, provenance: Mapping[str, Any]) -> Table:
    table = score_table(folder)
    strong = [i for i, row in enumerate(table.rows) if row[0] == MODELS["connectome"]]
    facts = fit_facts(provenance["stages"].get("fit", {}).get("settings", {}))
    caption = f"Held-out scores: mean (smallest to largest) over runs{'; this run: ' + facts if facts else ''}"
    rows = [[cell.replace(" (", "\n(") for cell in row] for row in table.rows]  # the range below the mean
    return Table(caption, table.columns, rows, numeric=range(1, len(table.columns)), strong=strong)


def _dots(folder: Path, provenance: Mapping[str, Any]) -> list[Text | Table | Picture]:
    scores = pd.read_parquet(folder / "scores.parquet")
    pictures = []
    for column, (title, chance) in SCORES.items():
        runs = {label: scores.loc[scores["model"] == model, column].dropna() for model, label in MODELS.items()}
        known = {label: values.to_numpy() for label, values in runs.items() if len(values)}
        if known:
            means = ", ".join(f"{label} {values.mean():.3f}" for label, values in known.items())
            alt = f"Held-out {title} of each model. Means: {means}. Chance is {chance:g}."
            pictures.append(picture(figures.score_dots(known, title, chance), alt, _MEANING[column]))
    note = Text(
        "Folds leave out whole classes of stimulated neurons, so nothing about a held-out neuron's own effects was "
        "seen. A dot is one run (a fold seed of one replicate), the bar their mean, the dashed line chance. Rewired: "
        "the same fit on connectomes whose edges were swapped, degrees kept. No connectome: class effects alone.",
        style="note",
    )
    return [note, *pictures, _scores(folder, provenance), *(Text(line) for line in margins(folder))]


def _assays(folder: Path) -> list[Text | Table | Picture]:
    assays = pd.read_parquet(folder / "assays.parquet")
    real = assays[assays["model"] == "connectome"]
    rows = []
    for (kind, stimulus, ablated, truth), group in real.groupby(["kind", "stimulus", "ablated", "truth"], dropna=False):
        answers = group["predicted"].value_counts()
        said = ", ".join(f"{answer} ({times} of {len(group)})" for answer, times in answers.items())
        right = int((group["predicted"] == group["truth"]).sum())
        plain = [value if isinstance(value, str) and value else "none" for value in (stimulus, ablated)]
        rows.append((kind, *plain, truth, said, f"{right} of {len(group)}"))
    caption = "What the worm does, and what the held-out model says it does, over fold seeds"
    table = Table(caption, ("kind", "stimulated", "ablated", "worm", "model", "right"), rows, numeric=(5,))
    return [table]


def shipped_tables() -> dict[str, tuple[str, str]]:
    """The worm's tables that ship with the package, as `provenance_blocks` takes them."""
    return {file_digest(path): (licence(name), "; ".join(citations(name))) for name, path in celegans_paths().items()}


def _provenance(built: Path, provenance: Mapping[str, Any]) -> list[Text | Table | Picture]:
    network = json.loads((built / "network.json").read_text(encoding="utf-8"))
    used = [("neurons", p["model"]) for p in network["populations"] if p["model"] in REFERENCES]
    used.append(("optimiser", "adam"))
    if provenance["stages"]["fit"]["settings"]["rewirings"]:
        used.append(("control", "rewired"))
    return provenance_blocks(provenance, shipped_tables(), [METHOD], used)
