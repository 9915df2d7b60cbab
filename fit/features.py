"""Features of the spiking of a cell, by eFEL's definitions, and the table of all features of recordings.

The intervals between peaks during the stimulus say how regular a cell fires (`ISI_CV`) and how it adapts
(`adaptation_index`); the smallest step that makes it fire brackets its rheobase.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.passive import passive_properties
from connectofit.fit.recordings import Recordings, Sweep
from connectofit.fit.spikes import DEFAULT_DETECTION, ActionPotentials, SpikeDetection, detect_spikes

_NAN = float("nan")


@dataclass(frozen=True)
class SpikeFeatures:
    """The spiking of one sweep during its stimulus; NaN where there are too few spikes.

    count; rate_Hz: count over the stimulus' duration; latency_ms: onset to the first peak (`time_to_first_spike`);
    isi_cv, adaptation_index: see the functions; threshold_mV, amplitude_mV, half_width_ms, ahp_mV: means over spikes;
    outside: spikes before and after the stimulus, which nothing else counts.
    """

    count: int
    rate_Hz: float
    latency_ms: float
    isi_cv: float
    adaptation_index: float
    threshold_mV: float
    amplitude_mV: float
    half_width_ms: float
    ahp_mV: float
    outside: int


@dataclass(frozen=True)
class RheobaseBracket:
    """The smallest current that makes a cell fire lies above `silent_pA` and at or below `firing_pA` (steps from the
    holding current); NaN where no sweep says. consistent: whether no stronger step left the cell silent."""

    silent_pA: float
    firing_pA: float
    consistent: bool


def isi_cv(times_ms: Float[np.ndarray, "spike"], *, ignore_first: bool = True) -> float:
    """Standard deviation (n - 1) over mean of the intervals, as in eFEL without the first; NaN below two intervals."""
    intervals = np.diff(times_ms)[1 if ignore_first else 0 :]
    return float(intervals.std(ddof=1) / intervals.mean()) if intervals.size >= 2 else _NAN


def adaptation_index(times_ms: Float[np.ndarray, "spike"], *, skip: int | None = None) -> float:
    """Mean of (I_k+1 - I_k) / (I_k+1 + I_k) over neighbouring intervals: 0 for a steady rate, above 0 where it falls.

    skip: how many spikes at the beginning are left out; a tenth of them and at most 2 where left out (eFEL's
    `adaptation_index`), 1 for its `adaptation_index2`. NaN below two intervals. Raises `SettingError` for a skip below
    0 or not whole.
    """
    if skip is None:
        skip = min(2, math.floor(0.1 * len(times_ms) + 0.5))
    if isinstance(skip, bool) or not isinstance(skip, int | np.integer) or skip < 0:
        raise SettingError(f"skip has to be a whole number of spikes, 0 or more; found {skip!r}.")
    intervals = np.diff(np.asarray(times_ms, dtype=float)[skip:])
    if intervals.size < 2:
        return _NAN
    return float(np.mean(np.diff(intervals) / (intervals[1:] + intervals[:-1])))


def spike_features(sweep: Sweep, spikes: ActionPotentials | None = None) -> SpikeFeatures:
    """The features of a sweep's spiking. spikes: of this sweep; detected where left out."""
    spikes = detect_spikes(sweep, DEFAULT_DETECTION) if spikes is None else spikes
    inside = spikes.between(sweep.onset_ms, sweep.offset_ms)
    times = inside.time_ms
    return SpikeFeatures(
        len(inside),
        1e3 * len(inside) / (sweep.offset_ms - sweep.onset_ms),
        float(times[0] - sweep.onset_ms) if times.size else _NAN,
        isi_cv(times),
        adaptation_index(times),
        _mean(inside.begin_mV),
        _mean(inside.amplitude_mV),
        _mean(inside.half_width_ms),
        _mean(inside.ahp_mV),
        len(spikes) - len(inside),
    )


def feature_table(recordings: Recordings, detection: SpikeDetection = DEFAULT_DETECTION) -> pd.DataFrame:
    """All features of all sweeps: one row a sweep, with ``cell`` and ``sweep`` first, then those of `SpikeFeatures` and
    of `PassiveProperties`."""
    rows = []
    for sweep in recordings:
        spikes = detect_spikes(sweep, detection)
        firing, membrane = spike_features(sweep, spikes), passive_properties(sweep, spikes)
        rows.append({"cell": sweep.cell, "sweep": sweep.name, **asdict(firing), **asdict(membrane)})
    return pd.DataFrame(rows)


def rheobase_bracket(recordings: Recordings, detection: SpikeDetection = DEFAULT_DETECTION) -> RheobaseBracket:
    """Between which steps of one cell its rheobase lies. Raises `SettingError` for sweeps of several cells."""
    if len(recordings.cells) > 1:
        raise SettingError(
            f"A rheobase is one cell's; these recordings are of {', '.join(recordings.cells)}. Choose one with "
            "Recordings.cell."
        )
    fired: list[float] = []
    silent: list[float] = []
    for sweep in recordings:
        spikes = detect_spikes(sweep, detection).between(sweep.onset_ms, sweep.offset_ms)
        (fired if len(spikes) else silent).append(sweep.step_pA)
    lowest = min(fired, default=_NAN)
    below = [step for step in silent if not fired or step < lowest]
    return RheobaseBracket(max(below, default=_NAN), lowest, len(below) == len(silent))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else _NAN
