"""The cell report's figures: model over data, and the course of the searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from connectofit.pipelines.figures import BLUE, GREY, ORANGE, drawn

_PALETTE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7f3b08")


def model_over_data(trace: pd.DataFrame, trains: list[np.ndarray], window: tuple[float, float], title: str) -> Figure:
    """Above the recorded and the model's voltage, below a raster: recorded spikes, then the model's trains.

    Parameters: `trace` with t_ms, recorded_mV, model_mV; `trains`, the recorded spikes first, [spike] each, in ms;
    `window` the time to show.
    """
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    shown = trace[(trace["t_ms"] >= window[0]) & (trace["t_ms"] <= window[1])]
    above.plot(shown["t_ms"], shown["recorded_mV"], color=GREY, linewidth=0.9, label="recorded")
    above.plot(shown["t_ms"], shown["model_mV"], color=BLUE, linewidth=0.9, label="model (spikes are not drawn)")
    above.set(ylabel="voltage (mV)")
    above.set_title(drawn(title), loc="left")
    above.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, ncols=2)
    for row, train in enumerate(trains):
        inside = train[(train >= window[0]) & (train <= window[1])]
        below.vlines(inside, row + 0.1, row + 0.9, color="black" if row == 0 else BLUE, linewidth=1.2)
    below.set(xlabel="time (ms)", ylim=(len(trains), 0), xlim=window)
    below.set_yticks([0.5, 0.5 + len(trains) / 2], ["recorded", "model"])
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def search_course(course: pd.DataFrame, title: str) -> Figure:
    """The loss of every start against the step, on a scale that shows how far each is above the lowest.

    Parameters: `course` with start, step, loss.
    """
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axes = figure.add_subplot()
    lowest = float(course["loss"].min())
    for k, (_, line) in enumerate(course.groupby("start", sort=True)):
        known = line.dropna(subset=["loss"]).sort_values("step")
        above = np.maximum(known["loss"].to_numpy() - lowest, 1e-3)
        axes.plot(known["step"], above, color=_PALETTE[k % len(_PALETTE)], linewidth=1.0, alpha=0.8)
    axes.set(title=drawn(title), xlabel="step", ylabel="loss above the lowest", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e9ec", linewidth=0.8)
    return figure
