"""The report on networks that choose as an animal does: held-out sessions, bias, learning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from connectofit.connectome import Connectome, ValidationReport
from connectofit.data import RAT_CHOICES_CITATION, RAT_CHOICES_LICENCE, rat_choices_path
from connectofit.pipelines import choices_figures, task_figures
from connectofit.pipelines.arrays import read_arrays
from connectofit.pipelines.choices_stages import (
    ANSWERS,
    CHOICES,
    REGRESSION,
    SHARES,
    SHARES_PAST,
    STIMULI,
    WITH_HISTORY,
)
from connectofit.pipelines.keys import file_digest
from connectofit.pipelines.report import Picture, Section, Table, Text, picture, render
from connectofit.pipelines.report_parts import cost_table, provenance_blocks
from connectofit.pipelines.stages import StageContext
from connectofit.pipelines.validation import validation_tables

Blocks = list[Text | Table | Picture]
LABELS = {
    CHOICES: "network, learnt the choices",
    STIMULI: "network, learnt the choices from stimuli alone",
    ANSWERS: "network, learnt the right answers",
    "rewired": "control: wiring rewired, degrees kept",
    "signs": "control: signs shuffled over edges",
    "unwired": "control: no recurrent edges",
    "input_readout": "control: only input and readout trained",
    "readout": "control: only the readout trained",
    REGRESSION: "regression on the stimuli",
    WITH_HISTORY: "regression, history and session mean too",
    SHARES: "shares of training sessions, by pair",
    SHARES_PAST: "shares, by pair, last choice and last answer",
    "animal": "the animal",
}
METHOD = (
    "Method: spiking networks on the wiring of a connectome learn, by gradients, the chances of an animal's choices in "
    "each condition of the training sessions. Lapses of all networks and the regressions are fitted to the same "
    "sessions. Negative log likelihoods are of held-out sessions, in nats a trial; intervals of 95 % are from these "
    "sessions drawn again (bias-corrected and accelerated bootstrap)."
)


def write_report(context: StageContext) -> None:
    """The function of the stage `report`: what the other stages wrote, as ``report.html``."""
    folders, provenance = context.inputs, context.provenance
    scores = folders["score"]
    lead: list[Text | Table] = [
        Text(
            f"Recipe {provenance['recipe']}: does a spiking network on the wiring of a connectome choose as the animal "
            "did, in sessions that nothing was fitted to? Lower is better."
        ),
        score_table(scores),
        Text(verdict(scores)),
    ]
    parts: list[tuple[str, Callable[[], Blocks]]] = [
        ("Held-out choices", lambda: _scores(scores)),
        ("Contraction bias", lambda: _bias(scores)),
        ("Choices by pair of stimuli", lambda: _pairs(scores, folders["trials"])),
        ("Trials", lambda: _trials(folders["trials"])),
        ("Learning", lambda: _learning(folders["train"])),
        ("Activity", lambda: _activity(folders["train"])),
        ("Wiring", lambda: _wiring(folders["wiring"])),
        ("Cost of each stage", lambda: cost_table(context)),
        ("Provenance and citations", lambda: _provenance(context)),
    ]
    sections = [Section(title, blocks()) for title, blocks in parts]
    (context.out / "report.html").write_text(render("Networks and an animal's choices", lead, sections), "utf-8")


def score_table(folder: Path) -> Table:
    """Negative log likelihood of held-out choices, the network's first, then from the best on."""
    table = _ordered(pd.read_parquet(folder / "scores.parquet"), "held_out")
    rows = [
        (
            LABELS[r["model"]],
            r["runs"],
            f"{r['held_out']:.4f}",
            f"{r['low']:.4f} to {r['high']:.4f}",
            f"{r['training']:.4f}",
            f"{r['lapse_0']:.3f}, {r['lapse_1']:.3f}",
        )
        for r in table.to_dict("records")
    ]
    first = table.iloc[0]
    caption = (
        f"Negative log likelihood of {first['trials']} choices in {first['sessions']} held-out sessions (nats each)"
    )
    columns = ("", "runs", "held out", "95 % interval", "training", "lapses")
    return Table(caption, columns, rows, numeric=(1, 2, 3, 4, 5), strong=(0,))


def _ordered(table: pd.DataFrame, by: str) -> pd.DataFrame:
    first = table["model"] == CHOICES
    return pd.concat([table[first], table[~first].sort_values(by)], ignore_index=True)


def verdict(folder: Path) -> str:
    """Who wins, in words: the network against each of the others, by paired intervals."""
    table = pd.read_parquet(folder / "differences.parquet")
    if table.empty:
        return "No network learnt the choices, so that there is nothing to compare."
    better = [LABELS[r["model"]] for r in table.to_dict("records") if r["low"] > 0]
    worse = [LABELS[r["model"]] for r in table.to_dict("records") if r["high"] < 0]
    level = [LABELS[r["model"]] for r in table.to_dict("records") if r["low"] <= 0 <= r["high"]]
    parts = [
        f"{said}: {'; '.join(names)}"
        for said, names in (
            ("The network that learnt the choices is better than", better),
            ("worse than", worse),
            ("and cannot be told from", level),
        )
        if names
    ]
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def _scores(folder: Path) -> Blocks:
    scores = _ordered(pd.read_parquet(folder / "scores.parquet"), "held_out")
    apart = pd.read_parquet(folder / "differences.parquet").sort_values("difference")
    names = [LABELS[m] for m in scores["model"]]
    said = ", ".join(f"{n} {v:.4f}" for n, v in zip(names, scores["held_out"], strict=True))
    figure = choices_figures.intervals(names, scores, "held_out", "negative log likelihood (nats a trial)", None)
    blocks: Blocks = [picture(figure, f"Held-out loss of every model: {said}.", "Intervals are over sessions.")]
    rows = [
        (LABELS[r["model"]], f"{r['difference']:+.4f}", f"{r['low']:+.4f} to {r['high']:+.4f}")
        for r in apart.to_dict("records")
    ]
    caption = "How much worse each is than the network that learnt the choices, on the same trials (nats a trial)"
    blocks.append(Table(caption, ("", "difference", "95 % interval"), rows, numeric=(1, 2)))
    each = [(LABELS[r["model"]], r["of_each_run"]) for r in scores.to_dict("records") if r["runs"] > 1]
    if each:
        blocks.append(Table("Held-out loss of each seed", ("", "seeds"), each))
    return blocks


def _bias(folder: Path) -> Blocks:
    table = pd.read_parquet(folder / "bias.parquet")
    names = [LABELS[m] for m in table["model"]]
    said = ", ".join(f"{n} {v:+.3f}" for n, v in zip(names, table["difference"], strict=True))
    figure = choices_figures.intervals(names, table, "difference", "accuracy where it helps, less where it hurts", 0.0)
    rows = [
        (
            name,
            f"{r['helps']:.3f}",
            f"{r['hurts']:.3f}",
            f"{r['difference']:+.3f}",
            f"{r['low']:+.3f} to {r['high']:+.3f}",
        )
        for name, r in zip(names, table.to_dict("records"), strict=True)
    ]
    first = table.iloc[0]
    text = (
        f"A memory of the first stimulus that is drawn to the mean of past stimuli ({first['mean']:.2f}) helps in "
        f"{first['n_helps']} held-out trials and hurts in {first['n_hurts']} (Ashourian & Loewenstein 2011, PLoS One "
        "6:e19551; Akrami et al. 2018, Nature 554:368)."
    )
    return [
        Text(text),
        picture(figure, f"Contraction bias: {said}.", "The animal first; 0 is no bias."),
        Table(
            "Accuracy where contraction helps and where it hurts",
            ("", "helps", "hurts", "difference", "95 % interval"),
            rows,
            numeric=(1, 2, 3, 4),
        ),
    ]


def _pairs(folder: Path, trials: Path) -> Blocks:
    table = pd.read_parquet(folder / "psychometric.parquet")
    options, _ = json.loads((trials / "names.json").read_text(encoding="utf-8"))
    shown = {name: LABELS[name] for name in (CHOICES, ANSWERS, REGRESSION) if name in table}
    if len(table) > 40:
        return [Text(f"There are {len(table)} pairs of stimuli, too many for a picture of each.", style="note")]
    figure = choices_figures.by_pair(table, shown, options[1])
    rms = {name: float(np.sqrt(((table[name] - table["animal"]) ** 2).mean())) for name in shown}
    said = ", ".join(f"{LABELS[name]} {value:.3f}" for name, value in rms.items())
    alt = f"Share of {options[1]} by pair; root mean square distance from the animal's: {said}."
    return [picture(figure, alt, "Held-out sessions; bars are standard errors. " + alt)]


def _trials(folder: Path) -> Blocks:
    parts = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("training", "held_out")}
    rows = [
        (
            name.replace("_", " "),
            part["session"].nunique(),
            len(part),
            f"{(part['choice'] == part['answer']).mean():.3f}",
        )
        for name, part in parts.items()
    ]
    report = ValidationReport.from_json((folder / "validation.json").read_text(encoding="utf-8"))
    table = Table("The animal's trials", ("part", "sessions", "trials", "share right"), rows, numeric=(1, 2, 3))
    return [table, *(validation_tables([report]) if report.findings else ())]


def _learning(folder: Path) -> Blocks:
    history, ends = pd.read_parquet(folder / "history.parquet"), pd.read_parquet(folder / "ends.parquet")
    labels = {c: LABELS[c] for c in dict.fromkeys(history["control"])}
    lowest = {c: history.loc[history["control"] == c, "validation"].min() for c in labels}
    said = ", ".join(f"{label} {lowest[c]:.4f}" for c, label in labels.items())
    rows = [
        (LABELS[e["control"]], e["seed"], e["steps"], e["best_step"], f"{e['validation']:.4f}", e["ended"], e["block"])
        for e in ends.to_dict("records")
    ]
    columns = ("", "seed", "steps", "best step", "validation there", "ended by", "steps run by")
    return [
        picture(
            choices_figures.learning(history, labels), f"Validation loss by step; lowest: {said}.", "A line a seed."
        ),
        Table("How each training ended", columns, rows, numeric=(1, 2, 3, 4)),
    ]


def _activity(folder: Path) -> Blocks:
    arrays = read_arrays(folder / "activity.npz")
    told = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    dt = told["dt_ms"]
    spikes = {name.removeprefix("after_"): a for name, a in arrays.items() if name.startswith("after_")}
    inputs = spikes.pop("inputs")
    periods = {name: (round(a / dt), round(b / dt)) for name, (a, b) in told["periods"].items()}
    mean = ", ".join(f"{name} {s.mean() * 1000 / dt:.1f} Hz" for name, s in spikes.items())
    figure = task_figures.raster({n: s[0] for n, s in spikes.items()}, inputs[0], dt, periods)
    caption = "One trial after training: inputs below, then neurons; every second period is shaded."
    return [
        picture(figure, f"Spikes of one trial after training; mean rates {mean}.", caption),
        picture(task_figures.rates(spikes, dt), f"Rates over time after training: {mean}.", f"Mean rates: {mean}."),
    ]


def _wiring(folder: Path) -> Blocks:
    graph = Connectome.read(folder / "connectome")
    signs = {value: int((graph.sign == value).sum()) for value in (1, -1, 0)}
    text = f"{graph.n_neurons} neurons, {graph.n_edges} edges: {signs[1]} excite, {signs[-1]} inhibit, "
    return [Text(text + f"{signs[0]} have no sign.")]


def _provenance(context: StageContext) -> Blocks:
    train = context.provenance["stages"]["train"]["settings"]
    used = [("task", "delayed_comparison"), ("neurons", "gif"), ("learning rule", train["rule"]), ("optimiser", "adam")]
    if "rewired" in train["controls"]:
        used.append(("control", "rewired"))
    shipped = {file_digest(rat_choices_path()): (RAT_CHOICES_LICENCE, RAT_CHOICES_CITATION)}
    return provenance_blocks(context.provenance, shipped, [METHOD], used)
