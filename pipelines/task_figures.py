"""Figures of the report on networks trained on a task: learning, activity, weights and answers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from connectofit.pipelines.figures import BLUE, GREY, ORANGE, PALETTE, drawn, plain_axes


def learning(history: pd.DataFrame, labels: Mapping[str, str], chance: float) -> Figure:
    """Accuracy on validation trials against the step, a line a training, a colour a control."""
    figure = Figure(figsize=(6.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    for k, (control, label) in enumerate(labels.items()):
        for j, (_, line) in enumerate(history[history["control"] == control].groupby("seed")):
            known = line.dropna(subset=["validation_accuracy"])
            axes.plot(
                known["step"],
                known["validation_accuracy"],
                color=PALETTE[k % len(PALETTE)],
                linewidth=1.6 if k == 0 else 1.1,
                linestyle="-" if k == 0 else ("--", "-.", ":")[k % 3],
                label=label if j == 0 else None,
            )
    axes.set(xlabel="step", ylabel="accuracy on validation trials", ylim=(0, 1.02))
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def raster(
    spikes: Mapping[str, np.ndarray], inputs: np.ndarray, dt_ms: float, periods: Mapping[str, tuple[int, int]]
) -> Figure:
    """Spikes of one trial: inputs [time, input] below, then populations {name: [time, neuron]}; periods are shaded."""
    figure = Figure(figsize=(6.6, 4.8), layout="constrained")
    axes = figure.add_subplot()
    places, names, base = [], [], 0
    for k, (name, values) in enumerate({"inputs": inputs > 0, **spikes}.items()):
        step, neuron = np.nonzero(values)
        axes.plot(step * dt_ms, neuron + base, ".", color=(GREY, BLUE, ORANGE)[k % 3], markersize=1.2)
        places.append(base + values.shape[1] / 2)
        names.append(drawn(name))
        base += values.shape[1] + max(4, base // 40)
    for k, (start, stop) in enumerate(periods.values()):
        if k % 2:
            axes.axvspan(start * dt_ms, stop * dt_ms, color="#f4f1e6", zorder=0)
    axes.set_yticks(places, names)
    axes.set(xlabel="time (ms)", ylim=(-2, base), xlim=(0, inputs.shape[0] * dt_ms))
    plain_axes(axes)
    return figure


def rates(activity: Mapping[str, np.ndarray], dt_ms: float, width_ms: float = 50.0) -> Figure:
    """Mean rate of populations {name: [trial, time, neuron]} over time, in windows of width_ms, a line a trial."""
    figure = Figure(figsize=(6.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    window = max(round(width_ms / dt_ms), 1)
    for k, (name, spikes) in enumerate(activity.items()):
        n = spikes.shape[1] // window * window
        binned = spikes[:, :n].mean(2).reshape(spikes.shape[0], -1, window).mean(2) * 1000.0 / dt_ms
        t = (np.arange(binned.shape[1]) + 0.5) * window * dt_ms
        for j, line in enumerate(binned):
            axes.plot(
                t, line, color=(BLUE, ORANGE)[k % 2], alpha=0.7, linewidth=1.2, label=drawn(name) if j == 0 else None
            )
    axes.set(xlabel="time (ms)", ylabel="rate (Hz)")
    plain_axes(axes)
    axes.legend(frameon=False)
    return figure


def weights(table: pd.DataFrame, title: str) -> Figure:
    """Distribution of the sizes of weights before and after training, on a logarithmic axis of counts."""
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axes = figure.add_subplot()
    before, after = table["before"].abs().to_numpy(), table["after"].abs().to_numpy()
    edges = np.linspace(0, max(before.max(), after.max(), 1e-12), 60)
    for values, colour, label in ((before, GREY, "before"), (after, BLUE, "after")):
        axes.stairs(np.histogram(values, edges)[0], edges, color=colour, label=label, linewidth=1.5)
    axes.set(yscale="log", xlabel="size of the weight", ylabel="edges", title=title)
    plain_axes(axes)
    axes.legend(frameon=False)
    return figure


def psychometric(table: pd.DataFrame, x: str, best: Mapping[float, float] | None, chance: float) -> Figure:
    """Accuracy with its 95 % interval against what was drawn; the ideal observer's as a line, where it is known.

    table: columns `x`, accuracy, low, high.
    """
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    if best:
        axes.plot(list(best), list(best.values()), color=ORANGE, label="ideal observer")
    error = np.abs(table[["low", "high"]].to_numpy().T - table["accuracy"].to_numpy())
    axes.errorbar(table[x], table["accuracy"], error, fmt="o", color=BLUE, label="network")
    axes.set(xlabel=x, ylabel="accuracy", ylim=(0.3, 1.02))
    plain_axes(axes)
    axes.legend(frameon=False)
    return figure
