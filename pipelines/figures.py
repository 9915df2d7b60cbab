"""The report's figures: adjacency, simulated traces, course of the fits, held-out scores.

Each takes plain tables and arrays and returns a matplotlib figure; the text alternatives stand where they are used.
Colours are from the Okabe-Ito palette, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#7a828a"
PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def adjacency(pre: np.ndarray, post: np.ndarray, weight: np.ndarray, n_neurons: int, title: str) -> Figure:
    """A square: row presynaptic, column postsynaptic neuron, colour sign · log(1 + count).

    Parameters: `pre`, `post` (places in the picture) and `weight` (sign times count), all of shape [edge].
    """
    figure = Figure(figsize=(5.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    matrix = np.full((n_neurons, n_neurons), np.nan)
    matrix[pre, post] = np.sign(weight) * np.log1p(np.abs(weight))
    top = max(float(np.nanmax(np.abs(matrix))) if len(weight) else 0.0, 1e-9)
    image = axes.imshow(matrix, cmap="RdBu", norm=TwoSlopeNorm(0, -top, top), interpolation="nearest")
    axes.set(title=title, xlabel="postsynaptic neuron", ylabel="presynaptic neuron")
    axes.set_facecolor("#f4f6f8")
    figure.colorbar(image, ax=axes, shrink=0.8).set_label("sign · log(1 + count)")
    return figure


def traces(t_ms: np.ndarray, values: np.ndarray, names: Sequence[str], stimulus_ms: tuple[float, float]) -> Figure:
    """Lines over time, one a neuron; the stimulus is shaded.

    Parameters: `t_ms` [time]; `values` [time, neuron]; `names` [neuron].
    """
    figure = Figure(figsize=(6.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(*stimulus_ms, color="#f1e5c8", label="stimulus")
    for i, name in enumerate(names):
        style = ("-", "--", ":")[i // len(PALETTE) % 3]
        axes.plot(t_ms, values[:, i], color=PALETTE[i % len(PALETTE)], linestyle=style, label=drawn(name))
    axes.set(xlabel="time (ms)", ylabel="deviation from rest")
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def fit_course(history: pd.DataFrame, column: str) -> Figure:
    """A loss (`column`: training or validation) against the step, one line a start of a fold."""
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for _, line in history.groupby(["fold_seed", "fold", "start"], sort=True):
        known = line.dropna(subset=[column]).sort_values("step")
        axes.plot(
            known["step"], known[column], color=BLUE if column == "training" else ORANGE, alpha=0.55, linewidth=1.1
        )
    axes.set(title=f"{column} part", xlabel="step", ylabel="loss")
    plain_axes(axes)
    return figure


def score_dots(values: dict[str, np.ndarray], title: str, chance: float) -> Figure:
    """A row a model, a dot a run, a bar at the mean; a dashed line at chance. The first model stands out."""
    figure = Figure(figsize=(5.0, 1.3 + 0.5 * len(values)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(chance, color=GREY, linestyle="--", linewidth=1)
    for y, runs in enumerate(values.values()):
        # Dots are spread by rank, not at random, so that the picture is the same every time.
        spread = np.linspace(-0.2, 0.2, len(runs)) if len(runs) > 1 else np.zeros(len(runs))
        axes.plot(runs, y + spread, "o", color=ORANGE if y else BLUE, alpha=0.55, markersize=5)
        if len(runs):
            axes.plot([runs.mean()] * 2, [y - 0.32, y + 0.32], color="black", linewidth=2)
    axes.set_yticks(range(len(values)), list(values))
    axes.set(title=title, ylim=(len(values) - 0.5, -0.5))
    plain_axes(axes)
    return figure


def parameter_ranges(names: Sequence[str], value: np.ndarray, low: np.ndarray, high: np.ndarray, label: str) -> Figure:
    """A row a type: a dot at the value, a line from the lowest to the highest of other fits, all of shape [type]."""
    figure = Figure(figsize=(5.0, 1.2 + 0.24 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(range(len(names)), low, high, color=GREY, linewidth=2)
    axes.plot(value, range(len(names)), "o", color=BLUE, markersize=4)
    axes.set_yticks(range(len(names)), [drawn(name) for name in names], fontsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.set(xlabel=label, ylim=(len(names) - 0.5, -0.5))
    plain_axes(axes)
    return figure


def drawn(name: str) -> str:
    """A name as matplotlib has to be given it: what stands between dollar signs would else be read as a formula, and
    drawn as one or refused."""
    return name.replace("$", r"\$")


def plain_axes(axes: Axes) -> None:
    """No frame at the top and right; faint lines across."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
