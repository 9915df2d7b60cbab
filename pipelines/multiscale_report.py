"""The report on all scales in one run: what each scale constrained, from recorded cells to an animal's choices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from connectofit.connectome import Connectome
from connectofit.data import (
    RAT_CHOICES_CITATION,
    RAT_CHOICES_LICENCE,
    RAT_CORTEX_CITATION,
    RAT_CORTEX_LICENCE,
    rat_choices_path,
    rat_cortex_path,
)
from connectofit.fit.cell_fit import BASELINE, HELD_OUT
from connectofit.pipelines import choices_figures, task_figures
from connectofit.pipelines.arrays import read_arrays
from connectofit.pipelines.choices_report import LABELS as OTHERS
from connectofit.pipelines.choices_stages import CHOICES
from connectofit.pipelines.figures import BLUE, GREY, ORANGE, plain_axes
from connectofit.pipelines.keys import file_digest
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import cost_table, provenance_blocks
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.task_stages import MODEL

Blocks = list[Text | Table | Picture]
VARIANTS = {
    MODEL: "fitted cells, the graph's wiring",
    "unfitted": "unfitted cells, the graph's wiring",
    "rewired": "fitted cells, wiring rewired",
}
LABELS = {**OTHERS, **VARIANTS, CHOICES: VARIANTS[MODEL]}
METHOD = (
    "Method: a neuron model is fitted to a recorded cell for each type of neurons; a specification puts the cells on "
    "the graph, whose edges and signs no training changes; the network learns evidence accumulation by gradients, and "
    "then, with the inputs and the readout of another task, an animal's choices in its training sessions. Sweeps and "
    "sessions that are held out are scored once, at the end."
)


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: what the other stages wrote, as ``report.html``."""
    folders = context.inputs
    lead: list[Text | Table] = [
        Text(
            f"Recipe {context.provenance['recipe']}: cells fitted to recordings, put on a graph, trained on a task and "
            "on an animal's choices. What does each scale constrain?"
        ),
        scale_table(folders),
        *(Text(line) for line in verdict(folders)),
    ]
    parts: list[tuple[str, Callable[[], Blocks]]] = [
        ("Cells", lambda: _cells(folders["cells"])),
        ("The graph", lambda: _graph(folders["wiring"])),
        ("Spontaneous activity", lambda: _spontaneous(folders["network"])),
        ("Evidence accumulation", lambda: _evidence(folders["evidence"])),
        ("The animal's choices", lambda: _choices(folders)),
        ("Exported and read again", lambda: _export(folders["export"])),
        ("Cost of each stage", lambda: cost_table(context)),
        ("Provenance and citations", lambda: _provenance(context)),
    ]
    sections = [Section(title, blocks()) for title, blocks in parts]
    (context.out / "report.html").write_text(render("From cells to choices", lead, sections), "utf-8")


def scale_table(folders: Mapping[str, Path]) -> Table:
    """A row a variant: how its cells fire in held-out sweeps, what the network does by itself, how well it learnt the
    task, and how it predicts the animal's choices in held-out sessions."""
    counts = pd.read_parquet(folders["cells"] / "counts.parquet").query("held_out")
    alone = pd.read_parquet(folders["network"] / "spontaneous.parquet")
    right = _by(folders["evidence"] / "accuracy.parquet", "variant")
    ends = _by(folders["evidence"] / "ends.parquet", "variant")
    scores = _by(folders["score"] / "scores.parquet", "model")
    bias = _by(folders["score"] / "bias.parquet", "model")
    rows = []
    for name, learnt in right.items():
        fired = counts["unfitted" if name == "unfitted" else "fitted"].to_numpy()
        errors = fired / counts["recorded"].to_numpy() - 1.0
        control = CHOICES if name == MODEL else name
        rates = alone.loc[alone["variant"] == name, "rate_Hz"].to_numpy()
        rows.append(
            (
                VARIANTS[name],
                ", ".join(f"{e:+.0%}" for e in errors) or "-",
                ", ".join(f"{rate:.1f}" for rate in rates),
                f"{learnt['accuracy']:.3f}",
                f"{ends[name]['steps']}",
                f"{scores[control]['held_out']:.4f}",
                f"{scores[control]['low']:.4f} to {scores[control]['high']:.4f}",
                f"{bias[control]['difference']:+.3f}",
            )
        )
    columns = (
        "",
        "spikes (E, I)",
        "alone, Hz (E, I)",
        "evidence",
        "steps",
        "choices (nats)",
        "95 % interval",
        "bias",
    )
    caption = (
        "Every variant at every scale: spikes of its cells in held-out sweeps against the recorded ones, spontaneous "
        "rates, accuracy on evidence after so many steps, likelihood and contraction bias of choices in held-out "
        f"sessions, where the animal's bias is {bias['animal']['difference']:+.3f}"
    )
    return Table(caption, columns, rows, numeric=range(1, len(columns)), strong=(0,))


def verdict(folders: Mapping[str, Path]) -> list[str]:
    """What each scale changed, in words, by the intervals of accuracies and of paired differences."""
    right = _by(folders["evidence"] / "accuracy.parquet", "variant")
    apart = _by(folders["score"] / "differences.parquet", "model")
    said = []
    for name in [name for name in right if name != MODEL]:
        own, other = right[MODEL], right[name]
        learnt = "cannot be told from the model on evidence"
        if other["high"] < own["low"]:
            learnt = "is worse than the model on evidence"
        elif other["low"] > own["high"]:
            learnt = "is better than the model on evidence"
        row = apart[name]
        chose = "and cannot be told from it on the animal's choices"
        if row["low"] > 0:
            chose = "and predicts the animal's choices worse"
        elif row["high"] < 0:
            chose = "and predicts the animal's choices better"
        label = VARIANTS[name]
        said.append(f"{label[0].upper()}{label[1:]}: {learnt}, {chose} ({row['difference']:+.4f} nats a trial).")
    others = {name: row for name, row in apart.items() if name not in VARIANTS}
    better = [LABELS[name] for name, row in others.items() if row["high"] < 0]
    worse = [LABELS[name] for name, row in others.items() if row["low"] > 0]
    level = [LABELS[name] for name, row in others.items() if row["low"] <= 0 <= row["high"]]
    told = [
        f"{words}: {'; '.join(names)}"
        for words, names in (("better than the model", better), ("worse", worse), ("level with it", level))
        if names
    ]
    return [*said, f"On the animal's choices without a network: {', '.join(told)}."]


def _by(path: Path, key: str) -> dict[str, dict[str, Any]]:
    """The rows of a table, by what stands in one of its columns."""
    return {str(row[key]): {str(k): v for k, v in row.items()} for row in pd.read_parquet(path).to_dict("records")}


def _cells(folder: Path) -> Blocks:
    counts = pd.read_parquet(folder / "counts.parquet")
    ends = _by(folder / "ends.parquet", "type")
    scores = pd.read_parquet(folder / "scores.parquet")
    figure = Figure(figsize=(6.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(ends), sharey=True, squeeze=False)[0]
    said = []
    for axis, name in zip(axes, ends, strict=True):
        part = counts[counts["type"] == name].sort_values("step_pA")
        for column, colour, mark in (("unfitted", GREY, "s--"), ("fitted", BLUE, "o-"), ("recorded", "black", "x")):
            axis.plot(part["step_pA"], part[column] / part["seconds"], mark, color=colour, label=column, markersize=6)
        held = part[part["held_out"]]
        axis.plot(
            held["step_pA"], held["recorded"] / held["seconds"], "o", markersize=14, color=ORANGE, fillstyle="none"
        )
        axis.set(xlabel="step (pA)", title=f"{name}: cell {ends[name]['cell']}")
        plain_axes(axis)
        said.append(
            f"{name} recorded {', '.join(map(str, part['recorded']))}, fitted {', '.join(map(str, part['fitted']))}"
        )
    axes[0].set_ylabel("rate (Hz)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    rows = [
        (
            r["type"],
            r["cell"],
            {HELD_OUT: "held out", BASELINE: "held out, regular train"}.get(r["part"], r["part"]),
            r["sweep"],
            r["spikes"],
            f"{r['count_error']:+.1%}",
            f"{r['latency_error_ms']:+.1f}",
            f"{r['adaptation_error']:+.4f}",
            f"{r['explained_variance']:.3f}",
        )
        for r in scores.to_dict("records")
    ]
    columns = ("type", "cell", "part", "sweep", "spikes", "count", "latency (ms)", "adaptation index", "expl. var.")
    text = "; ".join(
        f"{name}: {e['free']} parameters by {e['method']} in {e['wall_s']:.0f} s" for name, e in ends.items()
    )
    return [
        Text(text + "."),
        picture(
            figure,
            f"Spikes by step of current. {'; '.join(said)}.",
            "Steps that were held out are ringed. The model runs at the network's time step, the recording at its own.",
        ),
        Table("Scores at the recording's time step, model less cell", columns, rows, numeric=range(4, 9)),
    ]


def _graph(folder: Path) -> Blocks:
    graph = Connectome.read(folder / "connectome")
    signs = {value: int((graph.sign == value).sum()) for value in (1, -1)}
    return [
        Text(
            f"{graph.n_neurons} neurons, {graph.n_edges} edges: {signs[1]} excite, {signs[-1]} inhibit. Rewired, every "
            "neuron keeps its numbers of inputs and outputs."
        )
    ]


def _spontaneous(folder: Path) -> Blocks:
    table = pd.read_parquet(folder / "spontaneous.parquet")
    rows = [
        (
            VARIANTS[r["variant"]],
            r["population"],
            f"{r['rate_Hz']:.1f}",
            f"{r['silent']:.0%}",
            "-" if np.isnan(r["isi_cv"]) else f"{r['isi_cv']:.2f} ({r['counted']})",
            f"{r['excitation_pA']:.0f}",
            f"{r['inhibition_pA']:.0f}",
            f"{r['voltage_mV']:.1f}",
        )
        for r in table.to_dict("records")
    ]
    columns = (
        "",
        "population",
        "rate (Hz)",
        "silent",
        "CV of intervals",
        "excitation (pA)",
        "inhibition (pA)",
        "V (mV)",
    )
    spikes = read_arrays(folder / "spontaneous.npz")
    own = {name.removeprefix(f"{MODEL}_"): a for name, a in spikes.items() if name.startswith(f"{MODEL}_")}
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    base = 0
    for k, (name, values) in enumerate(own.items()):
        step, neuron = np.nonzero(values)
        axes.plot(step, neuron + base, ".", color=(BLUE, ORANGE)[k % 2], markersize=2)
        axes.annotate(name, (1.005, base + values.shape[1] / 2), xycoords=("axes fraction", "data"), va="center")
        base += values.shape[1]
    axes.set(xlabel="time (ms)", ylabel="neuron", xlim=(0, max(len(a) for a in own.values())), ylim=(-1, base))
    plain_axes(axes)
    said = ", ".join(
        f"{r['population']} {r['rate_Hz']:.1f} Hz" for r in table[table["variant"] == MODEL].to_dict("records")
    )
    return [
        Table(
            "Before any training, with the task's noise alone; currents at the mean voltage",
            columns,
            rows,
            numeric=range(2, 8),
        ),
        picture(figure, f"Spikes of one second of the model before training: {said}.", "The model's last second."),
    ]


def _evidence(folder: Path) -> Blocks:
    accuracy, ends = pd.read_parquet(folder / "accuracy.parquet"), pd.read_parquet(folder / "ends.parquet")
    history = pd.read_parquet(folder / "history.parquet").rename(columns={"variant": "control"}).assign(seed=0)
    labels = {name: VARIANTS[name] for name in accuracy["variant"]}
    said = ", ".join(f"{labels[r['variant']]} {r['accuracy']:.3f}" for r in accuracy.to_dict("records"))
    rows = [
        (
            labels[r["variant"]],
            f"{r['accuracy']:.3f}",
            f"{r['low']:.3f} to {r['high']:.3f}",
            r["trials"],
            e["steps"],
            e["ended"],
            e["block"],
        )
        for r, e in zip(accuracy.to_dict("records"), ends.to_dict("records"), strict=True)
    ]
    columns = ("", "accuracy", "95 % interval", "test trials", "steps", "ended by", "steps run by")
    return [
        Table("Test trials, which nothing else drew", columns, rows, numeric=(1, 2, 3, 4)),
        picture(
            task_figures.learning(history, labels, 0.5), f"Learning evidence accumulation; at the end {said}.", said
        ),
        *_activity(folder),
    ]


def _activity(folder: Path) -> Blocks:
    arrays, told = read_arrays(folder / "activity.npz"), json.loads((folder / "task.json").read_text(encoding="utf-8"))
    dt = told["dt_ms"]
    spikes = {name.removeprefix("after_"): a for name, a in arrays.items() if name.startswith("after_")}
    inputs = spikes.pop("inputs")
    periods = {name: (round(a / dt), round(b / dt)) for name, (a, b) in told["periods"].items()}
    mean = ", ".join(f"{name} {s.mean() * 1000 / dt:.1f} Hz" for name, s in spikes.items())
    figure = task_figures.raster({n: s[0] for n, s in spikes.items()}, inputs[0], dt, periods)
    caption = f"One trial of the model after training; every second period is shaded. Mean rates: {mean}."
    return [picture(figure, f"Spikes of one trial after training; mean rates {mean}.", caption)]


def _choices(folders: Mapping[str, Path]) -> Blocks:
    scores = pd.read_parquet(folders["score"] / "scores.parquet")
    first = scores["model"] == CHOICES
    scores = pd.concat([scores[first], scores[~first].sort_values("held_out")], ignore_index=True)
    names = [LABELS[m] for m in scores["model"]]
    said = ", ".join(f"{n} {v:.4f}" for n, v in zip(names, scores["held_out"], strict=True))
    figure = choices_figures.intervals(names, scores, "held_out", "negative log likelihood (nats a trial)", None)
    apart = pd.read_parquet(folders["score"] / "differences.parquet").sort_values("difference")
    rows = [
        (LABELS[r["model"]], f"{r['difference']:+.4f}", f"{r['low']:+.4f} to {r['high']:+.4f}")
        for r in apart.to_dict("records")
    ]
    bias = pd.read_parquet(folders["score"] / "bias.parquet")
    labels = [LABELS[m] for m in bias["model"]]
    biased = ", ".join(f"{n} {v:+.3f}" for n, v in zip(labels, bias["difference"], strict=True))
    shown = choices_figures.intervals(labels, bias, "difference", "accuracy where it helps, less where it hurts", 0.0)
    trials = scores.iloc[0]
    caption = f"{trials['trials']} choices of {trials['sessions']} held-out sessions; intervals are over sessions."
    return [
        picture(figure, f"Held-out loss: {said}.", caption),
        Table(
            "How much worse each is than the model, on the same trials (nats a trial)",
            ("", "difference", "95 % interval"),
            rows,
            numeric=(1, 2),
        ),
        picture(shown, f"Contraction bias: {biased}.", "Contraction bias, the animal first; 0 is none."),
        *_activity(folders["choices"]),
    ]


def _export(folder: Path) -> Blocks:
    found = json.loads((folder / "reloaded.json").read_text(encoding="utf-8"))
    text = (
        f"The model was written as a bundle and read again: the same choices in {found['same_choices']} of "
        f"{found['trials']} trials of the animal's task; its outputs differ by {found['largest_difference']:.2g} at "
        "most."
    )
    return [Text(text)]


def _provenance(context: StageContext) -> Blocks:
    stages = context.provenance["stages"]
    used = [
        ("neurons", stages["cells"]["settings"]["model"]),
        ("task", "evidence"),
        ("task", "delayed_comparison"),
        ("learning rule", stages["evidence"]["settings"]["rule"]),
        ("optimiser", "adam"),
    ]
    if "rewired" in stages["network"]["settings"]["variants"]:
        used.append(("control", "rewired"))
    shipped = {
        file_digest(rat_choices_path()): (RAT_CHOICES_LICENCE, RAT_CHOICES_CITATION),
        file_digest(rat_cortex_path()): (RAT_CORTEX_LICENCE, RAT_CORTEX_CITATION),
    }
    return provenance_blocks(context.provenance, shipped, [METHOD], used)
