"""Coincidences of a model's spikes with a cell's: the factor Γ, and Md* where the recording was repeated.

Γ (Kistler, Gerstner & van Hemmen 1997, Neural Comput 9:1015; Jolivet et al. 2008, J Neurosci Methods 169:417):

    Γ = (N_coinc - <N_coinc>) / (1/2 (N_data + N_model)) / (1 - 2 ν Δ),   <N_coinc> = 2 ν Δ N_data

with ν the rate of the model, so that <N_coinc> is what a Poisson neuron of that rate would hit by chance. Three things
make it safe to optimise and to report. Spikes are matched one to one: a doublet cannot count twice. At 2 ν Δ = 1 the
factor is singular and above it a dense train scores without limit; Δ is therefore reduced until 2 ν Δ is at most
`max_chance`, and the result says so. Both together keep Γ at or below 1, and adding spikes that match nothing new never
raises it. With one-to-one matching chance hits are rarer than <N_coinc>, so that unrelated Poisson trains of one rate
score below 0 on average: -0.003, -0.007, -0.025 and -0.11 at 2 ν Δ = 0.04, 0.08, 0.16 and 0.32 (300 pairs of 20 s,
standard error 0.001).

Md* (Naud, Gerhard, Mensi & Gerstner 2011, Neural Comput 23:3016) compares two sets of trains without the bias of small
sets, by the inner product <a, b>: the number of pairs of spikes at most Δ apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.spike_trains import Train, Trains, as_train, as_trains, duration_of, positive

_SLACK_MS = 1e-9  # times that are Δ apart in decimal are not so in binary


@dataclass(frozen=True)
class Coincidence:
    """Γ of two trains and what it was made of.

    gamma: NaN if both trains are empty, 0 if one is. coincidences: matched pairs. expected: <N_coinc>. delta_ms: the
    window that was used; reduced: whether it is smaller than the one that was asked for.
    """

    gamma: float
    coincidences: int
    expected: float
    delta_ms: float
    reduced: bool


def matched(data: Train, model: Train, delta_ms: float) -> int:
    """The largest number of pairs, one spike of each train, at most `delta_ms` apart; every spike in one pair at most.

    Both rising. Matching the earliest that fit is the largest matching, since all windows have one width.
    """
    a, b = (data, model) if len(data) <= len(model) else (model, data)
    first = np.searchsorted(b, a - delta_ms - _SLACK_MS, side="left")
    last = np.searchsorted(b, a + delta_ms + _SLACK_MS, side="right")
    if not a.size or not (last > first).any():
        return 0
    if a.size < 2 or float(np.diff(a).min()) > 2 * (delta_ms + _SLACK_MS):
        return int((last > first).sum())  # no spike of the other train is within reach of two of these
    count, free = 0, 0
    for low, high in zip(first.tolist(), last.tolist(), strict=True):
        free = max(free, low)
        if free < high:
            count += 1
            free += 1
    return count


def gamma(
    data: Train, model: Train, duration_ms: float, *, delta_ms: float = 4.0, max_chance: float = 0.5
) -> Coincidence:
    """The coincidence factor of a model's train with a cell's, at most 1.

    Parameters
    ----------
    data, model: times in ms, rising, within the `duration_ms` that both were observed for.
    delta_ms: half the width of the window; 2 and 4 ms are usual. max_chance: largest 2 ν Δ, below 1.

    Raises
    ------
    SchemaError: trains that are none. SettingError: a duration or window not above 0, max_chance outside 0 to 1.

    Source: Kistler et al. 1997, Jolivet et al. 2008, with the changes that the module names.
    """
    data, model = as_train(data, "The data"), as_train(model, "The model's train")
    duration_ms, asked = duration_of(duration_ms), positive(delta_ms, "delta_ms")
    if not 0 < max_chance < 1:
        raise SettingError(f"max_chance has to be above 0 and below 1; found {max_chance!r}.")
    if not data.size and not model.size:
        return Coincidence(float("nan"), 0, 0.0, asked, False)
    rate_per_ms = model.size / duration_ms
    used = min(asked, 0.5 * max_chance / rate_per_ms) if rate_per_ms else asked
    chance = 2.0 * rate_per_ms * used
    pairs = matched(data, model, used)
    expected = chance * data.size
    factor = (pairs - expected) / (0.5 * (data.size + model.size)) / (1.0 - chance)
    return Coincidence(factor, pairs, expected, used, used < asked)


def mean_gamma(data: Trains, model: Trains, duration_ms: float, *, delta_ms: float = 4.0) -> float:
    """Γ averaged over all pairs of a repetition of the recording and one of the model; NaN if all trains are empty."""
    pairs = [
        gamma(d, m, duration_ms, delta_ms=delta_ms).gamma for d in as_trains(data, "The data") for m in as_trains(model)
    ]
    finite = [g for g in pairs if np.isfinite(g)]
    return float(np.mean(finite)) if finite else float("nan")


def intrinsic_gamma(data: Trains, duration_ms: float, *, delta_ms: float = 4.0) -> float:
    """Γ averaged over all ordered pairs of different repetitions: the cell's own reliability (Jolivet et al. 2008).

    A model's Γ over this one is the share of what can be predicted. Raises `SettingError` for one repetition only.
    """
    trains = _repeated(data, "The intrinsic Γ")
    pairs = [
        gamma(a, b, duration_ms, delta_ms=delta_ms).gamma
        for i, a in enumerate(trains)
        for j, b in enumerate(trains)
        if i != j
    ]
    finite = [g for g in pairs if np.isfinite(g)]
    return float(np.mean(finite)) if finite else float("nan")


def inner_products(a: list[Train], b: list[Train], delta_ms: float) -> Float[np.ndarray, "a b"]:
    """Numbers of pairs of spikes at most `delta_ms` apart, for every train of `a` with every one of `b`."""
    counts = np.zeros((len(a), len(b)))
    for j, other in enumerate(b):
        for i, own in enumerate(a):
            upto = np.searchsorted(other, own + delta_ms + _SLACK_MS, side="right")
            counts[i, j] = (upto - np.searchsorted(other, own - delta_ms - _SLACK_MS, side="left")).sum()
    return counts


def md_star(data: Trains, model: Trains, *, delta_ms: float = 4.0) -> float:
    """Md* of repeated recordings and a model's repetitions: 1 for the same process, 0 for unrelated silence.

        Md* = 2 <d, m> / (<d, d'> + <m, m'>)

    with each product averaged over pairs of different repetitions. A single train of the model stands for a
    deterministic one, whose repetitions are all alike, <m, m'> = <m, m>.

    Unbiased, so that it may exceed 1 by chance. NaN if no pair of spikes is close in data or model. Raises
    `SettingError` for a recording that was not repeated and a window not above 0, `SchemaError` for trains that are
    none.

    Source: Naud et al. 2011, with the coincidence kernel; Pozzorini et al. 2015, PLoS Comput Biol 11:e1004275, for the
    window of 4 ms.
    """
    delta_ms = positive(delta_ms, "delta_ms")
    cell, other = _repeated(data, "Md*"), as_trains(model, "The model's train")
    within_data = _between(inner_products(cell, cell, delta_ms))
    within_model = _between(inner_products(other, other, delta_ms))
    across = float(inner_products(cell, other, delta_ms).mean())
    total = within_data + within_model
    return 2.0 * across / total if total else float("nan")


def _between(products: np.ndarray) -> float:
    """The mean over pairs of different trains; of a single train, its product with itself."""
    n = len(products)
    return float(products[0, 0]) if n == 1 else float((products.sum() - np.trace(products)) / (n * (n - 1)))


def _repeated(trains: Trains, what: str) -> list[Train]:
    several = as_trains(trains, "The data")
    if len(several) < 2:
        raise SettingError(
            f"{what} needs two repetitions of the same stimulus or more; found {len(several)}. Use gamma for one."
        )
    return several
