"""Held-out scores as a table of text, for the report and for the last lines of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SCORES = {
    "auroc": ("AUROC", 0.5),
    "auroc_within": ("AUROC within", 0.5),
    "spearman": ("rank corr.", 0.0),
    "spearman_within": ("rank corr. within", 0.0),
}
"""The scores of an evaluation: column to title and value at chance."""

MODELS = {
    "connectome": "connectome",
    "rewired": "rewired connectome",
    "no_connectome": "no connectome",
    "raw_weights": "raw weights, no fit",
    "majority": "majority answer",
    "connectome_distance": "connectome + distance",
    "rewired_distance": "rewired + distance",
    "no_connectome_distance": "no connectome + distance",
    "raw_distance": "soma distance, no fit",
}
"""The models that are compared: name in the tables to label, the real one first."""


@dataclass(frozen=True)
class ScoreTable:
    """Labels and cells, ready to print."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [self._line(self.columns, widths), "  ".join("-" * width for width in widths)]
        return "\n".join(lines + [self._line(row, widths) for row in self.rows])

    @staticmethod
    def _line(row: Sequence[str], widths: Sequence[int]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()


def score_table(evaluation: Path) -> ScoreTable:
    """The scores of each model, mean and (smallest to largest) over its runs, from ``scores.parquet``."""
    scores = pd.read_parquet(evaluation / "scores.parquet")
    models = [model for model in MODELS if model in set(scores["model"])]
    models += sorted(set(scores["model"]) - set(models))
    rows = []
    for model in models:
        fits = scores[scores["model"] == model]
        cells = [MODELS.get(model, model), str(len(fits)), *(_spread(fits[column]) for column in SCORES)]
        rows.append((*cells, _assays(fits)))
    return ScoreTable(("model", "runs", *(title for title, _ in SCORES.values()), "assays right"), tuple(rows))


def fit_facts(settings: Mapping[str, Any]) -> str:
    """Folds, fold seeds and rewirings of a run in words, so that a shortened run says that it is one."""
    facts = []
    if "folds" in settings:
        some = settings.get("run_folds") or settings["folds"]
        facts.append(
            f"{settings['folds']} folds" if some == settings["folds"] else f"{some} of {settings['folds']} folds"
        )
    if "fold_seeds" in settings:
        facts.append(f"fold seeds {', '.join(map(str, settings['fold_seeds']))}")
    if "rewirings" in settings:
        facts.append(f"{settings['rewirings']} rewirings")
    return ", ".join(facts)


def margins(evaluation: Path) -> list[str]:
    """How far the mean AUROC of the connectome stands above each control that was fitted in the same way."""
    means = pd.read_parquet(evaluation / "scores.parquet").groupby("model")["auroc"].mean()
    lines = []
    for model, controls in (
        ("connectome", ("rewired", "no_connectome")),
        ("connectome_distance", ("rewired_distance", "no_connectome_distance")),
    ):
        known = [f"{means[model] - means[c]:+.3f} to {MODELS[c]}" for c in controls if {model, c} <= set(means.index)]
        if known:
            lines.append(f"AUROC of {MODELS[model]}, difference of the means: {', '.join(known)}.")
    return lines


def _spread(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "-"
    mean = f"{known.mean():.3f}"
    return mean if len(known) == 1 else f"{mean} ({known.min():.3f} to {known.max():.3f})"


def _assays(fits: pd.DataFrame) -> str:
    known = fits.dropna(subset=["assays_right", "assays_total"])
    if known.empty:
        return "-"
    return f"{known['assays_right'].mean():.3g} of {known['assays_total'].mean():.3g}"
