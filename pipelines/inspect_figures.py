"""Pictures of a connectome: degrees, counts, the matrix of types, positions.

Each takes a `Connectome` or its `Summary` and returns a matplotlib figure, for reports and notebooks alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from connectofit.connectome import KINDS, Connectome, Summary
from connectofit.connectome.errors import SettingError
from connectofit.pipelines.figures import BLUE, GREY, ORANGE, drawn

_TYPE_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LABEL_LENGTH = 28


def degree_distribution(connectome: Connectome) -> Figure:
    """Share of the neurons with at least so many edges, on logarithmic axes: chemical in and out, and gap junctions."""
    lines = {
        "chemical, in": (connectome.post, "chemical", BLUE, "-"),
        "chemical, out": (connectome.pre, "chemical", ORANGE, "-"),
        "gap junctions": (connectome.pre, "electrical", GREY, "--"),
    }
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, (ends, kind, colour, style) in lines.items():
        of_kind = connectome.kind == KINDS.index(kind)
        degrees = np.bincount(ends[of_kind], minlength=connectome.n_neurons)
        if degrees.any():
            _steps(axes, degrees, color=colour, linestyle=style, label=name)
    _log_axes(axes, "edges of the neuron", "share of neurons with at least as many")
    return figure


def count_distribution(connectome: Connectome) -> Figure:
    """Share of the edges with at least such a count, on logarithmic axes, by kind."""
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for kind, colour, style in (("chemical", BLUE, "-"), ("electrical", GREY, "--")):
        counts = connectome.count[connectome.kind == KINDS.index(kind)]
        if counts.any():
            _steps(axes, counts, color=colour, linestyle=style, label=kind)
    _log_axes(axes, "count of the edge", "share of edges with at least this count")
    return figure


def type_matrix(summary: Summary) -> Figure:
    """Summed counts between the largest types: rows presynaptic, columns postsynaptic, colour on a logarithmic scale.

    Raises `SettingError` if the summary has no types.
    """
    if summary.types is None:
        raise SettingError("The summary has no matrix of types: the neurons have no column of types. Name one by `by`.")
    values = summary.types.to_numpy(float)
    labels = [name if len(name) <= _LABEL_LENGTH else f"{name[: _LABEL_LENGTH - 1]}…" for name in summary.types.index]
    side = 2.6 + 0.19 * len(labels)
    longest = 0.07 * max(len(name) for name in labels)
    figure = Figure(figsize=(side + longest + 0.6, side + longest - 0.6), layout="constrained")
    axes = figure.add_subplot()
    shown = np.where(values > 0, values, np.nan)
    some = np.isfinite(shown).any()
    norm = LogNorm(np.nanmin(shown), max(np.nanmax(shown), np.nanmin(shown) * 10)) if some else None
    image = axes.imshow(shown, cmap="viridis_r", norm=norm, interpolation="nearest")
    axes.set_facecolor("#f4f6f8")
    labels = [drawn(name) for name in labels]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="postsynaptic", ylabel="presynaptic")
    axes.tick_params(length=0)
    if some:
        figure.colorbar(image, ax=axes, shrink=0.8).set_label("summed count")
    return figure


def positions(connectome: Connectome, columns: tuple[str, ...], by: str | None = None) -> Figure:
    """Where the neurons are: the axis of the largest extent against each other one, all on one scale.

    The neurons of the six largest values of the column `by` are coloured. Raises `SettingError` without two columns.
    """
    if len(columns) < 2:
        raise SettingError(f"A picture of positions needs two or three columns; given: {list(columns)}.")
    points = np.column_stack([np.asarray(connectome.column(name), float) for name in columns])
    known = np.isfinite(points).all(axis=1)
    extent = np.ptp(points[known], axis=0) if known.any() else np.ones(len(columns))
    order = np.argsort(-extent, kind="stable")
    ratios = np.maximum(extent[order[1:]] / (extent[order[0]] or 1), 0.02)
    beside = ratios[0] > 0.45
    if beside:
        figure = Figure(figsize=(9.0, 1.3 + 8.0 / len(ratios) * ratios[0]), layout="constrained")
        panels = figure.subplots(1, len(ratios), squeeze=False)[0]
    else:
        figure = Figure(figsize=(9.0, 1.3 + 8.0 * ratios.sum() + 0.6 * len(ratios)), layout="constrained")
        panels = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios.tolist(), sharex=True)[:, 0]
    size = float(np.clip(20_000 / max(len(points), 1), 0.4, 14))
    groups = _groups(connectome, by, known)
    for axes, other in zip(panels, order[1:], strict=True):
        for name, colour, rows in groups:
            axes.scatter(
                points[rows, order[0]], points[rows, other], s=size, color=colour, linewidths=0, label=drawn(name)
            )
        axes.set(ylabel=drawn(columns[other]), aspect="equal")
        axes.spines[["top", "right"]].set_visible(False)
        if beside or other == order[-1]:
            axes.set_xlabel(drawn(columns[order[0]]))
    if len(groups) > 1:
        handles, names = panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        for handle in legend.legend_handles:
            handle.set_sizes([24])  # type: ignore[union-attr]
    return figure


def _groups(connectome: Connectome, by: str | None, known: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Name, colour and rows of what is drawn; the others first, so that the coloured ones lie on top."""
    everyone = np.flatnonzero(known)
    if by is None:
        return [("neurons", BLUE, everyone)]
    values = np.array([str(value) if value is not None else "" for value in connectome.column(by)], dtype=object)
    names, sizes = np.unique(values[everyone].astype(str), return_counts=True)
    largest = [str(names[i]) for i in np.argsort(-sizes, kind="stable") if names[i]][: len(_TYPE_COLOURS)]
    rest = everyone[~np.isin(values[everyone].astype(str), largest)]
    groups = [("other", "#c3c9cf", rest)] if len(rest) else []
    for name, colour in zip(largest, _TYPE_COLOURS, strict=False):
        short = name if len(name) <= _LABEL_LENGTH else f"{name[: _LABEL_LENGTH - 1]}…"
        groups.append((short, colour, everyone[values[everyone] == name]))
    return groups


def _steps(axes: Axes, values: np.ndarray, **style: Any) -> None:
    """The share of the values that are at least so large, against the distinct positive values."""
    distinct, times = np.unique(values, return_counts=True)
    share = np.cumsum(times[::-1])[::-1] / len(values)
    positive = distinct > 0
    marker = "." if positive.sum() < 10 else ""  # a line through one point would not show
    axes.plot(distinct[positive], share[positive], drawstyle="steps-pre", marker=marker, **style)


def _log_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        # Over few decades the tens alone would leave an axis bare; labels between the tens would run into each other.
        steps = (1.0, 2.0, 5.0) if high / low < 200 else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=12))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
    if axes.lines:
        axes.legend(frameon=False, loc="lower left")
    else:
        axes.text(0.5, 0.5, "no edges", transform=axes.transAxes, ha="center", color=GREY)
