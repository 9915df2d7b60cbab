"""What to record, and the chunks of a run put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Bool, Int

from connectofit.connectome.errors import SettingError
from connectofit.sim.checks import steps_of
from connectofit.sim.network import Network
from connectofit.sim.recording import Recording, Spikes, Trace
from connectofit.sim.rollout import NetworkState, recorded_variables
from connectofit.sim.selection import Neurons, select

Picks = dict[str, dict[str, np.ndarray]]  # {population: {variable: indices}}
SpikeTriples = tuple[np.ndarray, np.ndarray, np.ndarray]  # (trial, step, position among the picked) of every spike
Chunk = Mapping[str, Mapping[str, np.ndarray | SpikeTriples]]

RATE = "rate_Hz"
"""What a population's rate is called among the variables to record."""


@dataclass(frozen=True)
class Record:
    """Record a variable, ``"spikes"``, or ``"rate_Hz"`` of some neurons, at an interval of its own.

    every_ms: a variable is sampled at its multiples; a rate is the mean over such an interval and over the neurons of a
    population. None: every step.
    """

    variable: str
    neurons: Neurons = None
    every_ms: float | None = None


@dataclass(frozen=True, eq=False)
class Wanted:
    """Which indices of which variable of which population are recorded, in order and each once; and every how many
    steps each variable is."""

    picks: Picks
    every: dict[str, int]

    @classmethod
    def of(cls, net: Network, record: Sequence[str | Record] | None, dt_ms: float) -> Self:
        """From what a user asks for. Raises `UnknownNameError` and `SettingError`."""
        if record is None:
            variables = recorded_variables(net, None)
            return cls({n: {v: np.arange(net.population(n).size) for v in vs} for n, vs in variables.items() if vs}, {})
        picks: Picks = {}
        every: dict[str, int] = {}
        for item in (record,) if isinstance(record, str | Record) else record:
            item = Record(item) if isinstance(item, str) else item
            if not isinstance(item, Record):
                raise SettingError(f"What to record is named by text or a Record; found {item!r}.")
            having = recorded_variables(net, ("spikes" if item.variable == RATE else item.variable,))
            chosen = {n: index for n, index in select(net, item.neurons).items() if having[n]}
            if not chosen:
                raise SettingError(f"None of the neurons asked for has the variable {item.variable!r} to record.")
            interval = 1
            if item.every_ms is not None:
                interval = steps_of(item.every_ms, dt_ms, f"The interval to record {item.variable!r} at")
            if interval < 1 or (item.variable == "spikes" and interval > 1):
                raise SettingError(
                    f"{item.variable!r} cannot be recorded every {item.every_ms!r} ms: the interval is one step or "
                    "more, and spikes are recorded at every step."
                )
            if every.setdefault(item.variable, interval) != interval:
                raise SettingError(
                    f"{item.variable!r} is to be recorded at two intervals. Give all its records the same."
                )
            for name, index in chosen.items():
                old = picks.setdefault(name, {}).get(item.variable, np.empty(0, np.int64))
                picks[name][item.variable] = np.array(list(dict.fromkeys([*old.tolist(), *index.tolist()])), np.int64)
        return cls(picks, every)


def _places_of_true(values: Bool[np.ndarray, "..."]) -> Int[np.ndarray, " place"]:
    """Places of the true values in the flattened array. Spikes are rare: eight values are looked at in one."""
    flat = np.ascontiguousarray(values).reshape(-1)
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    word, k = np.nonzero(flat[:whole].reshape(-1, 8)[words])
    return np.concatenate([words[word] * 8 + k, whole + np.flatnonzero(flat[whole:])])


class Collector:
    """Takes a run's chunks as they come: spikes as pairs of step and neuron, traces at their intervals."""

    def __init__(self, wanted: Wanted, trials: int, dtype: Any) -> None:
        self._wanted, self._trials, self._dtype = wanted, trials, dtype
        self._traces: dict[tuple[str, str], list[np.ndarray]] = {}
        self._spikes: dict[str, list[tuple[np.ndarray, ...]]] = {}

    def add(self, out: Chunk, first: int) -> None:
        """The next chunk, whose first step is `first`: [time, neuron] or [trial, time, neuron], spikes also as
        (trial, step, neuron)."""
        for name, variables in out.items():
            for variable, values in variables.items():
                if isinstance(values, tuple):
                    trial, step, neuron = values
                    self._spikes.setdefault(name, []).append((trial, step + first, neuron))
                    continue
                values = values if self._trials > 1 else values[None]
                k = self._wanted.every.get(variable, 1)
                if variable == "spikes":
                    trial, step, neuron = np.unravel_index(_places_of_true(values), values.shape)
                    self._spikes.setdefault(name, []).append((trial, step + first, neuron))
                    continue
                if k > 1 and variable != RATE:
                    values = values[:, np.arange(-(first + 1) % k, values.shape[1], k)]
                self._traces.setdefault((name, variable), []).append(values)

    def recording(self, net: Network, state: NetworkState, first: int, n_steps: int, dt_ms: float) -> Recording:
        """The chunks joined, populations side by side."""
        traces: dict[str, Trace] = {}
        parts: list[tuple[np.ndarray, ...]] = [(np.empty(0, np.int64),) * 3]
        spiking_ids: list[Any] = []
        for name, variables in self._wanted.picks.items():
            ids = net.population(name).ids
            for variable, index in variables.items():
                if variable == "spikes":
                    found = self._spikes.get(name, [])
                    parts += [(trial, step, neuron + len(spiking_ids)) for trial, step, neuron in found]
                    spiking_ids.extend(ids[k] for k in index)
                    continue
                names = (name,) if variable == RATE else tuple(ids[k] for k in index)
                trace = self._trace(name, variable, names, first, n_steps, dt_ms)
                old = traces.get(variable)
                if old is not None:
                    values = np.concatenate([old.values, trace.values], axis=-1)
                    trace = Trace(values, (*old.ids, *trace.ids), trace.t_ms)
                traces[variable] = trace
        trial, step, neuron = (np.concatenate(column) for column in zip(*parts, strict=True))
        place = (trial * (step.max(initial=0) + 1) + step) * max(len(spiking_ids), 1) + neuron
        if np.any(np.diff(place) < 0):  # chunks of one trial and population come in order
            order = np.argsort(place, kind="stable")
            trial, step, neuron = trial[order], step[order], neuron[order]
        every = np.array(spiking_ids) if spiking_ids else np.empty(0, object)
        spikes = Spikes((step + 1) * dt_ms, every[neuron], trial)
        return Recording(
            dt_ms,
            first * dt_ms,
            (first + 1 + np.arange(n_steps)) * dt_ms,
            traces,
            spikes,
            tuple(spiking_ids),
            self._trials,
            jax.tree.map(np.asarray, state),
        )

    def _trace(self, name: str, variable: str, ids: tuple[Any, ...], first: int, n_steps: int, dt_ms: float) -> Trace:
        chunks = self._traces.get((name, variable), [])
        values = np.concatenate([np.zeros((self._trials, 0, len(ids)), self._dtype), *chunks], axis=1)
        k = self._wanted.every.get(variable, 1)
        step = first + 1 + np.arange(n_steps)
        step = step[step % k == 0]
        if variable == RATE and k > 1:
            begin = -first % k  # whole intervals only
            n = (n_steps - begin) // k if n_steps > begin else 0
            values = values[:, begin : begin + n * k].reshape(self._trials, n, k, -1).mean(axis=2, dtype=self._dtype)
            step = step[len(step) - n :]
        return Trace(values if self._trials > 1 else values[0], ids, step * dt_ms)
