"""Bootstrap intervals of scores, over sweeps or over blocks of one stimulus.

What is drawn again, with replacement, are whole sweeps, or whole stretches of time of data and model together: spikes
within them depend on each other and are no sample. The block has to be longer than the memory of the cell
(Künsch 1989, Ann Stat 17:1217). Intervals are `scipy.stats.bootstrap`'s, bias-corrected and accelerated (Efron 1987, J
Am Stat Assoc 82:171), and percentiles where those are not defined.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.stats import bootstrap

from connectofit.connectome.errors import SettingError
from connectofit.fit.folds import check_seed
from connectofit.fit.spike_trains import Train, Trains, cut, positive


@dataclass(frozen=True)
class Interval:
    """A score with its confidence interval.

    value: of the data as they are. low, high: NaN if no resample has a score. level: 0.95 for 95 %. method: "BCa" or
    "percentile". units: how many were drawn from. undefined: resamples without a score, which are left out.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    units: int
    undefined: int


def bootstrap_interval(
    score: Callable[[Int[np.ndarray, "unit"]], float],
    n_units: int,
    *,
    seed: int,
    level: float = 0.95,
    n_resamples: int = 999,
) -> Interval:
    """The interval of a score of units (sweeps, blocks, ...).

    score: takes indices of units, some of them repeatedly, and returns the score of these together. seed: of the draws.

    Raises `SettingError` for fewer than 2 units, a level outside 0 to 1, and numbers that are not whole.
    """
    check_seed(seed)
    if isinstance(n_units, bool) or not isinstance(n_units, int | np.integer) or n_units < 2:
        raise SettingError(f"A bootstrap needs 2 sweeps or blocks or more to draw from; found {n_units!r}.")
    if isinstance(n_resamples, bool) or not isinstance(n_resamples, int | np.integer) or n_resamples < 2:
        raise SettingError(f"n_resamples has to be a whole number, 2 or more; found {n_resamples!r}.")
    if not 0 < level < 1:
        raise SettingError(f"level has to be between 0 and 1; found {level!r}.")
    units = np.arange(n_units)
    value = float(score(units))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate distributions are told from the result, below
        found = bootstrap(
            (units,),
            lambda drawn: float(score(np.asarray(drawn, dtype=int))),
            vectorized=False,
            n_resamples=int(n_resamples),
            confidence_level=level,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    drawn = np.asarray(found.bootstrap_distribution)
    finite = drawn[np.isfinite(drawn)]
    low, high, method = float(found.confidence_interval.low), float(found.confidence_interval.high), "BCa"
    if not (np.isfinite(low) and np.isfinite(high)):
        method = "percentile"
        tails = 50.0 * (1 - level)
        low, high = np.percentile(finite, [tails, 100 - tails]) if finite.size else (np.nan, np.nan)
    return Interval(value, float(low), float(high), level, method, int(n_units), int(drawn.size - finite.size))


def block_interval(
    score: Callable[[list[Train], list[Train], float], float],
    data: Trains,
    model: Trains,
    start_ms: float,
    stop_ms: float,
    *,
    block_ms: float,
    seed: int,
    level: float = 0.95,
    n_resamples: int = 999,
) -> Interval:
    """The interval of a score of spike trains over blocks of the stimulus from `start_ms` to `stop_ms`.

    Parameters
    ----------
    score: takes the data's and the model's trains (ms after the beginning) and the duration, as `mean_gamma` does.
        A score of the beginning of a stimulus, such as the latency, has no blocks: draw sweeps for it.
    block_ms: length of a block; it is made a little longer or shorter so that blocks fill the interval.

    Raises `SettingError` for an interval that is none or has fewer than two blocks, and as `bootstrap_interval`.
    """
    if not start_ms < stop_ms:
        raise SettingError(f"Blocks need an interval from start_ms to stop_ms; found {start_ms!r} to {stop_ms!r}.")
    duration = float(stop_ms - start_ms)
    n_blocks = round(duration / positive(block_ms, "block_ms"))
    if n_blocks < 2:
        raise SettingError(f"{duration:g} ms have fewer than two blocks of {block_ms:g} ms. Take shorter blocks.")
    width = duration / n_blocks
    edges = [start_ms + k * width for k in range(n_blocks)] + [stop_ms]
    pieces = [[cut(trains, a, b) for a, b in itertools.pairwise(edges)] for trains in (data, model)]

    def joined(blocks: list[list[Train]], drawn: np.ndarray) -> list[Train]:
        repetitions = range(len(blocks[0]))
        return [np.concatenate([blocks[k][r] + place * width for place, k in enumerate(drawn)]) for r in repetitions]

    return bootstrap_interval(
        lambda drawn: score(joined(pieces[0], drawn), joined(pieces[1], drawn), duration),
        n_blocks,
        seed=seed,
        level=level,
        n_resamples=n_resamples,
    )
