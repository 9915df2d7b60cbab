"""What a model of a cell under step currents has to beat: a regular train at the rate of the neighbouring steps.

A cell under a constant current fires nearly regularly, at a rate that rises smoothly with the current. Its rate at a
step that was held out, interpolated between the nearest steps that were not, gives a train without any model of a
neuron, and counts, explained variances and coincidences that a fitted model may well not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.spike_scores import spike_scores
from connectofit.fit.spike_trains import Train
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection, detect_spikes


@dataclass(frozen=True, eq=False)
class StepBaseline:
    """The rates of one cell at its steps, rising in current: step_pA [step], rate_Hz [step]."""

    step_pA: Float[np.ndarray, "step"]
    rate_Hz: Float[np.ndarray, "step"]

    def rate(self, step_pA: float) -> float:
        """The rate at a step [Hz]: on the line through the two nearest steps around it; beyond the ends on that through
        the two last ones, at least 0."""
        k = int(np.clip(np.searchsorted(self.step_pA, step_pA), 1, self.step_pA.size - 1))
        (i_0, i_1), (r_0, r_1) = self.step_pA[k - 1 : k + 1], self.rate_Hz[k - 1 : k + 1]
        return max(0.0, float(r_0 + (r_1 - r_0) * (step_pA - i_0) / (i_1 - i_0)))

    def train(self, sweep: Sweep, *, phase: float = 0.5) -> Train:
        """The regular train for a sweep, from its onset up to its offset: `regular_train` at the rate of its step."""
        return regular_train(self.rate(sweep.step_pA), sweep.onset_ms, sweep.offset_ms, phase=phase)


def regular_train(rate_Hz: float, start_ms: float, stop_ms: float, *, phase: float = 0.5) -> Train:
    """Spikes 1 / rate apart, the first of them `phase` of that after `start_ms` [ms].

    The phase of 0.5 is the one that is wrong by least on average, and gives a latency of half an interval, which is
    near that of an adapting cell. Raises `SettingError` for a rate that is not finite or below 0 and a phase outside 0
    to 1.
    """
    if not (np.isfinite(rate_Hz) and rate_Hz >= 0):
        raise SettingError(f"A rate has to be finite and 0 Hz or more; found {rate_Hz!r}.")
    if not 0 <= phase <= 1:
        raise SettingError(f"A phase has to be from 0 to 1; found {phase!r}.")
    if rate_Hz == 0:
        return np.zeros(0)
    interval = 1e3 / rate_Hz
    n = int(np.ceil((stop_ms - start_ms) / interval)) + 1
    times = start_ms + interval * (phase + np.arange(n))
    return times[times < stop_ms]


def step_sizes(training: Recordings) -> list[float]:
    """The sizes of the steps [pA]; closer than 1 pA or 1 % count as one."""
    return [float(np.mean(group, axis=0)[0]) for group in _by_size([(sweep.step_pA, 0.0) for sweep in training])]


def _by_size(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    groups: list[list[tuple[float, float]]] = []
    for point in sorted(points):
        if groups and point[0] - groups[-1][0][0] < max(1.0, 0.01 * abs(point[0])):
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def step_baseline(
    training: Recordings, detection: SpikeDetection = DEFAULT_DETECTION, *, trains: Sequence[Train] | None = None
) -> StepBaseline:
    """The baseline from the sweeps of one cell that may be looked at; steps of one size are averaged.

    trains: of every sweep [ms], in place of `detection`. Raises `SettingError` for several cells, and for steps of
    fewer than two sizes (closer than 1 pA and 1 % count as one).
    """
    if len(training.cells) > 1:
        raise SettingError(f"A baseline is one cell's; found {', '.join(training.cells)}. Choose with Recordings.cell.")
    if trains is None:
        trains = [detect_spikes(sweep, detection).time_ms for sweep in training]
    points = []
    for sweep, train in zip(training, trains, strict=True):
        n_spikes = int(((train >= sweep.onset_ms) & (train < sweep.offset_ms)).sum())
        points.append((sweep.step_pA, 1e3 * n_spikes / (sweep.offset_ms - sweep.onset_ms)))
    groups = _by_size(points)
    if len(groups) < 2:
        raise SettingError(
            f"A rate can be interpolated between two steps or more; found {len(groups)} size of step in "
            f"{len(training)} sweeps."
        )
    steps, rates = np.array([np.mean(group, axis=0) for group in groups]).T
    return StepBaseline(steps, rates)


def baseline_scores(
    training: Recordings, held_out: Recordings, detection: SpikeDetection = DEFAULT_DETECTION, *, phase: float = 0.5
) -> pd.DataFrame:
    """The scores of the baseline of every cell on its held-out steps: one row a sweep.

    Columns: ``cell``, ``sweep``, ``step_pA``, ``rate_Hz`` (the baseline's), and those of `spike_scores` while the
    current is on. Raises `SettingError` as `step_baseline`, `UnknownNameError` for a cell without training sweeps.
    """
    rows = []
    for cell in held_out.cells:
        baseline = step_baseline(training.cell(cell), detection)
        for sweep in held_out.cell(cell):
            data = detect_spikes(sweep, detection).time_ms
            model = baseline.train(sweep, phase=phase)
            scores = spike_scores(data, model, sweep.onset_ms, sweep.offset_ms)
            step = sweep.step_pA
            rows.append({"cell": cell, "sweep": sweep.name, "step_pA": step, "rate_Hz": baseline.rate(step), **scores})
    return pd.DataFrame(rows)
