"""Scores of a model of one cell against its recording, with the factor Γ, Md* and the distances beside them.

They judge, and are not what a fit minimises. Spike trains are times in ms; a recording with repetitions is a list of
them. The smoothed trains of explained variance are rates on a grid, the spikes convolved with a Gaussian.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.fit.coincidence import gamma, intrinsic_gamma, md_star, mean_gamma
from connectofit.fit.features import adaptation_index
from connectofit.fit.spike_distances import van_rossum, victor_purpura
from connectofit.fit.spike_trains import Train, Trains, as_train, as_trains, cut, duration_of, positive

_NAN = float("nan")


def smoothed(
    train: Train, duration_ms: float, *, sigma_ms: float = 10.0, dt_ms: float = 0.5
) -> Float[np.ndarray, "time"]:
    """The train (ms from 0 to `duration_ms`) as a rate in Hz, convolved with a Gaussian of area 1, every `dt_ms`.

    A spike is shared by the two grid points beside it, in proportion. What the Gaussian puts outside is lost.
    """
    n = max(2, round(duration_of(duration_ms) / positive(dt_ms, "dt_ms")))
    place = np.clip(as_train(train) / dt_ms - 0.5, 0, n - 1)
    left = np.minimum(place.astype(int), n - 2)
    width = positive(sigma_ms, "sigma_ms") / dt_ms
    reach = int(5.0 * width + 0.5)
    gaussian = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    gaussian *= 1e3 / dt_ms / gaussian.sum()
    # A train is sparse: a Gaussian for each spike costs a tenth of filtering the whole grid.
    right = (place - left)[:, None]
    shapes = (1 - right) * np.append(gaussian, 0.0) + right * np.append(0.0, gaussian)
    at = left[:, None] + np.arange(2 * reach + 2)
    return np.bincount(at.ravel(), shapes.ravel(), n + 2 * reach + 1)[reach : reach + n]


def variance_explained(a: Float[np.ndarray, "time"], b: Float[np.ndarray, "time"]) -> float:
    """(var a + var b - var(a - b)) / (var a + var b): 1 for equal traces, 0 for uncorrelated ones; NaN if both are
    constant. Source: Teeter et al. 2018, Nat Commun 9:709 (Methods)."""
    total = float(np.var(a) + np.var(b))
    return (total - float(np.var(np.asarray(a) - np.asarray(b)))) / total if total else _NAN


def explained_variance(
    data: Trains, model: Trains, duration_ms: float, *, sigma_ms: float = 10.0, dt_ms: float = 0.5
) -> float:
    """`variance_explained` of the smoothed trains, averaged over all pairs of a cell's and a model's repetition."""
    kernel = {"sigma_ms": sigma_ms, "dt_ms": dt_ms}
    cell = np.array([smoothed(t, duration_ms, **kernel) for t in as_trains(data, "The data")])
    other = np.array([smoothed(t, duration_ms, **kernel) for t in as_trains(model, "The model's train")])
    cell, other = (rates - rates.mean(axis=1, keepdims=True) for rates in (cell, other))
    both = np.mean(cell**2, axis=1)[:, None] + np.mean(other**2, axis=1)
    shared = 2.0 * cell @ other.T / cell.shape[1]  # var a + var b - var(a - b)
    return _mean((shared[both > 0] / both[both > 0]).tolist())


def reliability(
    data: Trains,
    duration_ms: float,
    *,
    sigma_ms: float = 10.0,
    dt_ms: float = 0.5,
    leave_out: bool = False,
) -> float:
    """How much of a repetition the mean over repetitions explains: the ceiling of `explained_variance`.

    As in Teeter et al. 2018, every repetition is part of the mean that explains it, which favours few repetitions;
    with `leave_out` it is not. Raises `SettingError` for one repetition only.
    """
    cell = [smoothed(t, duration_ms, sigma_ms=sigma_ms, dt_ms=dt_ms) for t in as_trains(data, "The data")]
    if len(cell) < 2:
        raise SettingError(
            f"A cell's reliability needs two repetitions of the same stimulus or more; found {len(cell)}. Use "
            "explained_variance for one."
        )
    total = np.sum(cell, axis=0)
    n = len(cell)
    means = [(total - own) / (n - 1) if leave_out else total / n for own in cell]
    return _mean([variance_explained(mean, own) for mean, own in zip(means, cell, strict=True)])


def explained_variance_ratio(
    data: Trains, model: Trains, duration_ms: float, *, sigma_ms: float = 10.0, dt_ms: float = 0.5
) -> float:
    """`explained_variance` over the recording's own `reliability` (Teeter et al. 2018); NaN unless that is above 0."""
    ceiling = reliability(data, duration_ms, sigma_ms=sigma_ms, dt_ms=dt_ms)
    found = explained_variance(data, model, duration_ms, sigma_ms=sigma_ms, dt_ms=dt_ms)
    return found / ceiling if ceiling > 0 else _NAN


def spike_mask(
    trains: Trains, n_samples: int, dt_ms: float, *, before_ms: float = 2.0, after_ms: float = 10.0
) -> Bool[np.ndarray, "time"]:
    """True for the samples (at 0, dt, 2 dt, ...) from `before_ms` before to `after_ms` after a spike of any train."""
    changes = np.zeros(n_samples + 1)
    for train in as_trains(trains):
        first = np.clip(np.ceil((train - before_ms) / dt_ms - 1e-6), 0, n_samples).astype(int)
        last = np.clip(np.floor((train + after_ms) / dt_ms + 1e-6) + 1, 0, n_samples).astype(int)
        np.add.at(changes, first, 1)
        np.add.at(changes, last, -1)
    return np.cumsum(changes)[:-1] > 0


def subthreshold_rmse(
    recorded_mV: Float[np.ndarray, "time"],
    model_mV: Float[np.ndarray, "time"],
    masked: Bool[np.ndarray, "time"],
) -> float:
    """Root mean squared difference of the voltages [mV] where `masked` is False; NaN if it is True everywhere.

    Mask the spikes of the recording, and those of the model where it draws some (`spike_mask`). Raises `SchemaError`
    for traces of different lengths or a model's voltage that is not finite.
    """
    recorded, model, masked = np.asarray(recorded_mV), np.asarray(model_mV), np.asarray(masked)
    if not recorded.shape == model.shape == masked.shape or recorded.ndim != 1 or masked.dtype != bool:
        raise SchemaError(
            "The voltages and the mask have to be one-dimensional and equally long, the mask True or False; found "
            f"{recorded.shape}, {model.shape} and {masked.shape} ({masked.dtype})."
        )
    kept = ~masked
    if not np.isfinite(model[kept]).all():
        raise SchemaError(f"The model's voltage is not finite in {int((~np.isfinite(model[kept])).sum())} samples.")
    return float(np.sqrt(np.mean((recorded[kept] - model[kept]) ** 2))) if kept.any() else _NAN


def count_error(data: Trains, model: Trains) -> float:
    """Mean number of the model's spikes less the cell's, over the cell's; NaN if the cell is silent."""
    n = np.mean([t.size for t in as_trains(data, "The data")])
    return float((np.mean([t.size for t in as_trains(model)]) - n) / n) if n else _NAN


def latency_error_ms(data: Trains, model: Trains) -> float:
    """Mean first spike of the model less that of the cell [ms]; NaN if all repetitions of one are silent."""
    return _mean([t[0] for t in as_trains(model) if t.size]) - _mean([t[0] for t in as_trains(data) if t.size])


def adaptation_error(data: Trains, model: Trains) -> float:
    """Mean adaptation index of the model less that of the cell (`features.adaptation_index`)."""
    return _mean([adaptation_index(t) for t in as_trains(model)]) - _mean(
        [adaptation_index(t) for t in as_trains(data)]
    )


def spike_scores(
    data: Trains,
    model: Trains,
    start_ms: float,
    stop_ms: float,
    *,
    delta_ms: float = 4.0,
    sigma_ms: float = 10.0,
    tau_ms: float = 10.0,
    cost_per_ms: float = 0.1,
) -> dict[str, float]:
    """All scores of spikes from `start_ms` up to `stop_ms`, by name.

    ``gamma``, ``gamma_delta_ms`` (smallest window used), ``explained_variance``, ``count_error``, ``latency_error_ms``
    (from `start_ms`), ``adaptation_error``, ``van_rossum`` and ``victor_purpura`` (means over pairs); for a recording
    with repetitions also ``intrinsic_gamma``, ``gamma_ratio``, ``reliability``, ``explained_variance_ratio`` and
    ``md_star``.

    Raises `SettingError` for an interval that is none, and what the scores raise.
    """
    if not start_ms < stop_ms:
        raise SettingError(f"Scores need an interval from start_ms to stop_ms; found {start_ms!r} to {stop_ms!r}.")
    duration = float(stop_ms - start_ms)
    cell, other = cut(data, start_ms, stop_ms), cut(model, start_ms, stop_ms)
    pairs = [(d, m) for d in cell for m in other]
    scores = {
        "gamma": mean_gamma(cell, other, duration, delta_ms=delta_ms),
        "gamma_delta_ms": min(gamma(d, m, duration, delta_ms=delta_ms).delta_ms for d, m in pairs),
        "explained_variance": explained_variance(cell, other, duration, sigma_ms=sigma_ms),
        "count_error": count_error(cell, other),
        "latency_error_ms": latency_error_ms(cell, other),
        "adaptation_error": adaptation_error(cell, other),
        "van_rossum": _mean([van_rossum(d, m, tau_ms=tau_ms) for d, m in pairs]),
        "victor_purpura": _mean([victor_purpura(d, m, cost_per_ms=cost_per_ms) for d, m in pairs]),
    }
    if len(cell) > 1:
        own = intrinsic_gamma(cell, duration, delta_ms=delta_ms)
        scores |= {
            "intrinsic_gamma": own,
            "gamma_ratio": scores["gamma"] / own if own > 0 else _NAN,
            "reliability": reliability(cell, duration, sigma_ms=sigma_ms),
            "explained_variance_ratio": explained_variance_ratio(cell, other, duration, sigma_ms=sigma_ms),
            "md_star": md_star(cell, other, delta_ms=delta_ms),
        }
    return scores


def _mean(values: list[float]) -> float:
    """The mean of the finite ones; NaN if there is none."""
    finite = [float(v) for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else _NAN
