"""What a simulation returns: spikes as (time, neuron) pairs, traces with their time axis and ids, and the final
state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from connectofit.connectome.errors import unknown_name
from connectofit.sim.network import Id
from connectofit.sim.rollout import NetworkState


@dataclass(frozen=True, eq=False)
class Spikes:
    """One entry per spike, in order of trial and time. time_ms: end of the step in which the threshold was reached."""

    time_ms: Float[np.ndarray, " spike"]
    ids: Shaped[np.ndarray, " spike"]
    trial: Int[np.ndarray, " spike"]

    def __len__(self) -> int:
        return len(self.time_ms)


@dataclass(frozen=True, eq=False)
class Trace:
    """One variable of some neurons: values [time, neuron], or [trial, time, neuron] where there are several trials.

    ids: of the neurons; for ``rate_Hz``, names of populations. t_ms: [time], the ends of the steps that the rows belong
    to; for rates the ends of the intervals that they are means over.
    """

    values: Float[np.ndarray, "*trial time neuron"]
    ids: tuple[Id, ...]
    t_ms: Float[np.ndarray, " time"]


@dataclass(frozen=True, eq=False)
class Recording:
    """What was recorded in a run.

    t_ms: [time], the ends of the steps, to which the rows of those `traces` belong that were recorded at every step.
    traces: {variable: Trace}. state: what the run may be continued from (`simulate(..., state=recording.state)`).
    spiking_ids: neurons whose spikes were recorded.
    """

    dt_ms: float
    start_ms: float
    t_ms: Float[np.ndarray, " time"]
    traces: Mapping[str, Trace]
    spikes: Spikes
    spiking_ids: tuple[Id, ...]
    trials: int
    state: NetworkState = field(repr=False)
    method: str = "auto"

    @property
    def duration_ms(self) -> float:
        return len(self.t_ms) * self.dt_ms

    def trace(self, variable: str, neurons: Id | Sequence[Id] | None = None) -> Float[np.ndarray, "*trial time neuron"]:
        """The values of a variable: [time] (after trials) for a single id, [time, neuron] for several or all.

        Raises `UnknownNameError` for a variable or neuron that was not recorded.
        """
        if variable not in self.traces:
            raise unknown_name("recorded variable", variable, self.traces, "the recording")
        found = self.traces[variable]
        if neurons is None:
            return found.values
        column = {i: k for k, i in enumerate(found.ids)}
        single = isinstance(neurons, str | int | np.generic)
        wanted: list[Any] = [neurons] if isinstance(neurons, str | int | np.generic) else list(neurons)
        for i in wanted:
            if i not in column:
                raise unknown_name("neuron", str(i), [str(k) for k in found.ids], f"the recorded {variable!r}")
        values = found.values[..., [column[i] for i in wanted]]
        return values[..., 0] if single else values

    def rates_Hz(self) -> pd.Series:
        """Mean firing rate of every neuron whose spikes were recorded, over the run and its trials, by id."""
        counts = pd.Series(self.spikes.ids).value_counts()
        seconds = self.duration_ms * 1e-3 * self.trials
        return counts.reindex(list(self.spiking_ids), fill_value=0) / seconds

    def to_pandas(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(traces, spikes): traces has columns (variable, id) over time_ms, or (trial, time_ms), NaN where a
        variable was not sampled; spikes has a row a spike."""
        frames = []
        for variable, trace in self.traces.items():
            index: pd.Index = pd.Index(trace.t_ms, name="time_ms")
            if self.trials > 1:
                index = pd.MultiIndex.from_product([range(self.trials), trace.t_ms], names=["trial", "time_ms"])
            columns = pd.MultiIndex.from_tuples([(variable, i) for i in trace.ids], names=["variable", "id"])
            values = trace.values.reshape(len(index), len(trace.ids))
            frames.append(pd.DataFrame(values, index=index, columns=columns))
        spikes = pd.DataFrame({"time_ms": self.spikes.time_ms, "id": self.spikes.ids, "trial": self.spikes.trial})
        if not frames:
            return pd.DataFrame(index=pd.Index(self.t_ms, name="time_ms")), spikes
        return (frames[0] if len(frames) == 1 else pd.concat(frames, axis=1).sort_index()), spikes
