"""The picture of a sweep: every score against the setting that has most values."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TOLD = ("point", "status", "error", "seconds")
_MOST_PANELS = 6
_MOST_GROUPS = 8


def sweep_plot(table: pd.DataFrame, axes: Sequence[str]) -> bytes:
    """A PNG: a panel a score (at most six; seconds where there is none), a dot a row, a line through the means.

    Rows are told apart by colour, by the first column of text among the scores, if there is one, else by the second
    axis.
    """
    done = table[table["status"] == "done"]
    x = max(axes, key=lambda name: done[name].nunique())
    others = [name for name in table.columns if name not in (*axes, *TOLD)]
    text = [name for name in others if not pd.api.types.is_numeric_dtype(table[name])]
    scores = [name for name in others if pd.api.types.is_numeric_dtype(table[name]) and done[name].nunique() > 0]
    group = next((n for n in [*text, *(a for a in axes if a != x)] if 1 < done[n].nunique() <= _MOST_GROUPS), None)
    panels = scores[:_MOST_PANELS] or ["seconds"]
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    numeric = pd.api.types.is_numeric_dtype(done[x]) and not pd.api.types.is_bool_dtype(done[x])
    levels = sorted(done[x].unique()) if numeric else list(dict.fromkeys(done[x].astype(str)))
    values = done[x].to_numpy(float) if numeric else np.ones(1)
    spread = len(levels) > 2 and values.min() > 0 and values.max() / values.min() >= 100
    for panel, score in zip(grid.flat, panels, strict=False):
        for k, (name, part) in enumerate(done.groupby(group, sort=False) if group else [(None, done)]):
            at = part[x].to_numpy(float) if numeric else np.array([levels.index(v) for v in part[x].astype(str)])
            values = part[score].to_numpy(float)
            colour = f"C{k}"
            panel.plot(at, values, "o", color=colour, alpha=0.5, markersize=4)
            mean = pd.Series(values).groupby(at).mean()
            label = None if name is None else _cut(str(name))
            panel.plot(mean.index, mean.to_numpy(), "-", color=colour, label=label)
        panel.set(xlabel=x, ylabel=score)
        if spread:
            panel.set_xscale("log")
        if not numeric:
            panel.set_xticks(range(len(levels)), [_cut(level) for level in levels], rotation=30, ha="right")
    for panel in grid.flat[len(panels) :]:
        panel.set_visible(False)
    if group:
        figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, title=group)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()


def _cut(text: str) -> str:
    return text if len(text) <= 24 else text[:21] + "..."
