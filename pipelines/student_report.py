"""The report on networks fitted to recordings of some neurons: how well they predict the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from connectofit.connectome import Connectome
from connectofit.pipelines.figures import GREY, PALETTE, plain_axes
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import cost_table, provenance_blocks
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.student_stages import STUDENT
from connectofit.pipelines.worm_report import shipped_tables

Blocks = list[Text | Table | Picture]
LABELS = {
    STUDENT: "student, the teacher's wiring",
    "rewired": "student, wiring rewired",
    "unwired": "student, no wiring",
    "unfitted": "the teacher's wiring, no fit",
}
METHOD = (
    "Method: a network of rate units on the connectome's wiring, whose gains and biases were drawn and hidden, is "
    "recorded in some of its neurons; students of the same wiring, and controls, are fitted to these recordings by "
    "gradients through time (teacher forcing that is let go of) with the prior that the hidden parameters were drawn "
    "from. Scores are shares of the variance of noise-free activity that free runs explain, in trials with stimuli of "
    "their own."
)


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: what the other stages wrote, as ``report.html``."""
    folders = context.inputs
    scores = pd.read_parquet(folders["study"] / "scores.parquet")
    lead: list[Text | Table] = [
        Text(
            f"Recipe {context.provenance['recipe']}: how well does a network predict neurons that were not recorded, "
            "when its wiring is known and the parameters of its neurons are not?"
        ),
        score_table(scores),
        Text(verdict(scores)),
    ]
    parts: list[tuple[str, Callable[[], Blocks]]] = [
        ("Unrecorded neurons", lambda: _predicted(scores)),
        ("Parameters", lambda: _parameters(scores)),
        ("What recordings determine", lambda: _directions(folders["study"])),
        ("Teacher", lambda: _teacher(folders)),
        ("Fits", lambda: _fits(folders["study"])),
        ("Cost of each stage", lambda: cost_table(context)),
        (
            "Provenance and citations",
            lambda: provenance_blocks(
                context.provenance,
                shipped_tables(),
                [METHOD],
                [("experiment", "teacher_student"), ("training", "teacher forcing"), ("optimiser", "adam")],
            ),
        ),
    ]
    sections = [Section(title, blocks()) for title, blocks in parts]
    (context.out / "report.html").write_text(render("Unrecorded neurons of a known wiring", lead, sections), "utf-8")


def score_table(scores: pd.DataFrame) -> Table:
    """Median explained variance of unrecorded neurons, by share recorded: mean over seeds, and each."""
    own = scores[scores["neurons"] == "unrecorded"]
    fractions = sorted(own["fraction"].unique())
    rows = []
    for control in own["control"].unique():
        cells = []
        for fraction in fractions:
            values = own[(own["control"] == control) & (own["fraction"] == fraction)]["median"]
            each = f" ({', '.join(f'{v:.2f}' for v in values)})" if len(values) > 1 else ""
            cells.append(f"{values.mean():.2f}{each}")
        rows.append((LABELS[control], *cells))
    columns = ("", *(f"{fraction:.0%} recorded" for fraction in fractions))
    caption = "Explained variance of unrecorded neurons in test trials, median over neurons (mean of seeds, and each)"
    return Table(caption, columns, rows, numeric=range(1, len(columns)), strong=(0,))


def verdict(scores: pd.DataFrame) -> str:
    """At which shares the student is better than every control, in every seed."""
    own = scores[scores["neurons"] == "unrecorded"].set_index(["control", "fraction", "seed"])["median"].sort_index()
    controls = [c for c in own.index.get_level_values("control").unique() if c != STUDENT]
    better: list[str] = []
    not_better: list[str] = []
    for fraction in sorted(own.index.get_level_values("fraction").unique()):
        student = own.xs((STUDENT, fraction))
        wins = all((student > own.xs((control, fraction))).all() for control in controls)
        (better if wins else not_better).append(f"{fraction:.0%}")
    parts = []
    if better:
        parts.append(
            f"With {', '.join(better)} of the neurons recorded the student is better than every control, in every seed"
        )
    if not_better:
        parts.append(f"with {', '.join(not_better)} it is not")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _predicted(scores: pd.DataFrame) -> Blocks:
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    own = scores[scores["neurons"] == "unrecorded"]
    said = []
    for k, control in enumerate(own["control"].unique()):
        part = own[own["control"] == control]
        mean = part.groupby("fraction")["median"].mean()
        style = "-" if k == 0 else ("--", "-.", ":")[(k - 1) % 3]
        axes.plot(100 * mean.index, mean, color=PALETTE[k], linestyle=style, label=LABELS[control])
        axes.plot(100 * part["fraction"], part["median"], "o", color=PALETTE[k], markersize=4)
        said.append(f"{LABELS[control]} " + ", ".join(f"{f:.0%} {v:.2f}" for f, v in mean.items()))
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
    low = min(-0.1, max(-1.05, float(own["median"].min()) - 0.05))
    axes.set(xscale="log", xlabel="neurons recorded (%)", ylabel="explained variance, median", ylim=(low, 1.02))
    ticks = [100 * f for f in sorted(own["fraction"].unique())]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    rows = [
        (
            LABELS[r["control"]],
            f"{r['fraction']:.0%}",
            r["seed"],
            r["neurons"],
            r["n"],
            f"{r['median']:.3f}",
            f"{r['mean']:.3f}",
            f"{r['above_half']:.0%}",
        )
        for r in scores.to_dict("records")
    ]
    columns = ("", "recorded", "seed", "neurons", "number", "median", "mean", "above 0.5")
    caption = "Explained variance in test trials; a neuron counts as -1 at worst in the mean"
    return [
        picture(
            figure, f"Explained variance of unrecorded neurons: {'; '.join(said)}.", "A dot is one choice of neurons."
        ),
        Table(caption, columns, rows, numeric=(1, 2, 4, 5, 6, 7)),
    ]


def _parameters(scores: pd.DataFrame) -> Blocks:
    own = scores[scores["control"] == STUDENT]
    rows = [
        (
            f"{r['fraction']:.0%}",
            r["seed"],
            r["neurons"],
            f"{r['gain_correlation']:.2f}",
            f"{r['bias_correlation']:.2f}",
        )
        for r in own.to_dict("records")
    ]
    caption = "Rank correlation of the student's parameters with the hidden ones"
    return [
        Text(
            "Activity can be predicted without finding the parameters behind it: what recordings do not determine "
            "keeps the value that the prior gives it.",
            style="note",
        ),
        Table(caption, ("recorded", "seed", "neurons", "gain", "bias"), rows, numeric=(0, 1, 3, 4)),
    ]


def _directions(folder: Path) -> Blocks:
    table = pd.read_parquet(folder / "directions.parquet")
    if table.empty:
        return [Text("Not worked out in this run (study.directions).", style="note")]
    figure = Figure(figsize=(6.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    rows = []
    for k, (fraction, part) in enumerate(table.groupby("fraction")):
        axes.plot(part["rank"], part["shrinkage"], color=PALETTE[k % 7], label=f"{fraction:.0%} recorded")
        left = part["shrinkage"].to_numpy()
        rows.append(
            (f"{fraction:.0%}", len(left), int((left < 0.5).sum()), int((left < 0.01).sum()), int((left > 0.9).sum()))
        )
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set(yscale="log", xlabel="direction in the space of parameters", ylabel="variance left, of the prior's")
    plain_axes(axes)
    axes.legend(frameon=False)
    said = "; ".join(f"{r[0]}: {r[2]} of {r[1]} directions halved, {r[4]} hardly touched" for r in rows)
    caption = (
        "Directions by how much of the prior's variance the recordings leave (linearised about the hidden parameters)"
    )
    columns = ("recorded", "directions", "below a half", "below 1 %", "above 90 %")
    return [
        picture(
            figure, f"What recordings determine. {said}.", "Eigenvalues of the Fisher information, as variance left."
        ),
        Table(caption, columns, rows, numeric=range(5)),
    ]


def _teacher(folders: Mapping[str, Path]) -> Blocks:
    told = json.loads((folders["teach"] / "teacher.json").read_text(encoding="utf-8"))
    graph = Connectome.read(folders["import"] / "connectome")
    spread = ", ".join(f"{v:.3f}" for v in told["spread"])
    return [
        Text(
            f"{graph.n_neurons} neurons, {graph.n_edges} edges; {told['driven']} neurons get currents. The standard "
            f"deviation of a neuron's activity in test trials (5th, 50th, 95th percentile): {spread}; of the "
            f"measurement's noise: {told['settings']['noise']:g}."
        )
    ]


def _fits(folder: Path) -> Blocks:
    history = pd.read_parquet(folder / "history.parquet")
    figure = Figure(figsize=(6.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    own = history[history["control"] == STUDENT]
    for k, (_, part) in enumerate(own.groupby("fraction")):
        for j, (_, line) in enumerate(part.groupby("seed")):
            label = f"{part['fraction'].iloc[0]:.0%} recorded" if j == 0 else None
            axes.plot(line["step"], line["training"], color=PALETTE[k % 7], linewidth=1.2, label=label)
    axes.set(yscale="log", xlabel="step", ylabel="loss a row (nats)")
    plain_axes(axes)
    axes.legend(frameon=False)
    last = own.groupby("fraction")["training"].last()
    said = ", ".join(f"{f:.0%} {v:.1f}" for f, v in last.items())
    caption = "Students' losses; they jump where the network is held to the recording less often."
    return [picture(figure, f"Loss by step; at the end: {said}.", caption)]
