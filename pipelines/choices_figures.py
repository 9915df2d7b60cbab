"""Figures of the report on an animal's choices: scores with intervals, choices by pair of stimuli, contraction bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from connectofit.pipelines.figures import BLUE, GREY, ORANGE, PALETTE, plain_axes


def intervals(names: Sequence[str], table: pd.DataFrame, value: str, title: str, zero: float | None) -> Figure:
    """A row a model: a dot at the value, a line over its interval (columns low and high). The first stands out."""
    figure = Figure(figsize=(6.2, 1.2 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    if zero is not None:
        axes.axvline(zero, color=GREY, linestyle="--", linewidth=1)
    for y, row in enumerate(table.to_dict("records")):
        colour = ORANGE if y else BLUE
        axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2)
        axes.plot(row[value], y, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(names)), list(names))
    axes.set(xlabel=title, ylim=(len(names) - 0.5, -0.5))
    plain_axes(axes)
    return figure


def by_pair(table: pd.DataFrame, models: Mapping[str, str], option: str) -> Figure:
    """The share of an option for every pair of stimuli, the animal's with bars of a standard error, models beside."""
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    x = np.arange(len(table))
    share = table["animal"].to_numpy()
    error = np.sqrt(share * (1.0 - share) / table["trials"].to_numpy())
    axes.errorbar(x, share, error, fmt="o", color="black", label="animal", zorder=3)
    for k, (name, label) in enumerate(models.items()):
        # Pairs have no order of their own, so that lines from one to the next would say nothing.
        place = x + 0.16 * (k + 1) * (1 if k % 2 else -1)
        axes.plot(place, table[name], "sD^v"[k % 4], color=PALETTE[k % len(PALETTE)], markersize=5, label=label)
    labels = [f"{a:.2g}, {b:.2g}" for a, b in zip(table["first"], table["second"], strict=True)]
    axes.set_xticks(x, labels, rotation=60, fontsize=8)
    axes.set(xlabel="first, second stimulus", ylabel=f"share of {option!r}", ylim=(0, 1))
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def learning(history: pd.DataFrame, labels: Mapping[str, str]) -> Figure:
    """Loss on validation trials against the step, a line a training, a colour a network."""
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for k, (control, label) in enumerate(labels.items()):
        for j, (_, line) in enumerate(history[history["control"] == control].groupby("seed")):
            known = line.dropna(subset=["validation"])
            style = "-" if k < 3 else ("--", "-.", ":")[k % 3]
            named = label if j == 0 else None
            axes.plot(
                known["step"], known["validation"], color=PALETTE[k % 7], linestyle=style, linewidth=1.3, label=named
            )
    axes.set(xlabel="step", ylabel="loss on validation trials (nats)")
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
