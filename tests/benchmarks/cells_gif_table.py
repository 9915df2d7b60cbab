"""The table of `cells_gif`: ``python tests/benchmarks/cells_gif.py table OURS.jsonl RIVALS.jsonl``.

For every budget and method the median held-out loss over all cells and seeds, and, for each rival, the median of the
paired differences (rival - ours, same cell and seed) with its 95 % bootstrap interval over pairs: above 0 where the
rival is worse. A search that had found nothing yet at a budget, or did not run so far, is left out of that budget.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

OURS = "guided"


def read(paths: list[str]) -> pd.DataFrame:
    """One row a search and budget."""
    rows = []
    for path in paths:
        for line in Path(path).read_text().splitlines():
            told = json.loads(line)
            rows += [{k: told[k] for k in ("cell", "seed", "method")} | score for score in told["scores"]]
    return pd.DataFrame(rows).drop_duplicates(["cell", "seed", "method", "budget", "limit"], keep="last")


def interval(differences: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the median by 10,000 resamples of the pairs."""
    draws = np.random.default_rng(seed).integers(0, len(differences), (10_000, len(differences)))
    low, high = np.percentile(np.median(differences[draws], axis=1), [2.5, 97.5])
    return float(low), float(high)


def table(paths: list[str]) -> str:
    """The comparison as Markdown."""
    scores = read(paths)
    lines = [
        "| budget | method | median training | median held out | rival - ours, held out | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for (budget, limit), part in scores.groupby(["budget", "limit"], sort=False):
        wide = part.pivot_table(index=["cell", "seed"], columns="method", values="held_out")
        for method, own in part.groupby("method", sort=False):
            shown = ""
            pairs = wide[[OURS, str(method)]].dropna() if OURS in wide and method != OURS else None
            if pairs is not None and len(pairs):
                apart = (pairs[str(method)] - pairs[OURS]).to_numpy()
                low, high = interval(apart)
                shown = f"{np.median(apart):.3f} ({low:.3f} to {high:.3f})"
            count = len(own["held_out"].dropna()) if pairs is None else len(pairs)
            medians = f"{own['training'].median():.3f} | {own['held_out'].median():.3f}"
            lines.append(f"| {budget} {limit:g} | {method} | {medians} | {shown} | {count} |")
    return "\n".join(lines)
