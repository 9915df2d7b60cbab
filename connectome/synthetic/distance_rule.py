"""Cortical wiring after the exponential distance rule, with connections of very unequal size."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.synthetic.drawing import in_box, names_of_sizes, number, whole_number

_MOST_NEURONS = 20_000  # 400 million pairs, drawn all at once


def distance_rule(
    n_neurons: int = 400,
    *,
    seed: int,
    density: float = 0.1,
    inhibitory: float = 0.2,
    length_um: float = 3000.0,
    length_i_um: float | None = None,
    extent_um: tuple[float, float, float] = (10_000.0, 10_000.0, 0.0),
    median_count: float = 1.0,
    sigma_log_count: float = 0.0,
) -> Connectome:
    """Neurons at random in a box, joined with a probability that falls off exponentially with their distance,

        p(d) = min(1, k exp(-d / length)),

    where k makes the expected density of either type's connections the one that is asked for. Each ordered pair of
    different neurons is drawn on its own. The counts are log-normal, rounded up: median `median_count`, and
    `sigma_log_count` the standard deviation of their natural logarithm.

    (The marmoset's neocortex is embedded in space with a characteristic length, and its connections' weights are
    log-normal over five orders of magnitude: Theodoni et al. 2022, Cereb Cortex 32:15. The rule: Ercsey-Ravasz et al.
    2013, Neuron 80:184. The defaults are round numbers, not a fit to either.)

    Neurons: ids 0, 1, ...; ``cell_type`` ``"E"`` (first) or ``"I"``, whose edges have sign 1 or -1; ``x_um, y_um,
    z_um``. Edges: counts, and ``distance_um``.

    Parameters
    ----------
    n_neurons
        Number of neurons, at most 20,000.
    seed
        An integer; the same seed gives the same result.
    density
        Fraction of the ordered pairs of different neurons that are joined, on average.
    inhibitory
        Fraction of inhibitory neurons, rounded to whole neurons.
    length_um, length_i_um
        Characteristic length of excitatory and of inhibitory neurons; by default the same.
    extent_um
        Sizes of the box along x, y and z.
    median_count, sigma_log_count
        The counts' median (before rounding up), and the standard deviation of their logarithm; 0: all the same.

    Raises
    ------
    SettingError
        If a setting is out of range.
    """
    n = whole_number("n_neurons", n_neurons, 2, _MOST_NEURONS)
    rng = np.random.default_rng(whole_number("seed", seed))
    density = number("density", density, 0, 1)
    n_i = round(number("inhibitory", inhibitory, 0, 1) * n)
    sizes = (n - n_i, n_i)
    length_e = number("length_um", length_um, 0, above=True)
    length_i = number("length_i_um", length_e if length_i_um is None else length_i_um, 0, above=True)
    median, sigma = number("median_count", median_count, 0, above=True), number("sigma_log_count", sigma_log_count, 0)
    place = in_box(n, extent_um, rng)
    xyz = np.stack([place["x_um"], place["y_um"], place["z_um"]], axis=1)
    distance = np.sqrt(np.sum((xyz[:, None] - xyz[None]) ** 2, axis=2))
    probability = np.zeros((n, n))
    for rows, length in ((slice(0, n - n_i), length_e), (slice(n - n_i, n), length_i)):
        decay = np.exp(-distance[rows] / length)
        decay[np.arange(len(decay)), np.arange(n)[rows]] = 0.0
        if decay.size:
            probability[rows] = np.minimum(1.0, _factor(decay, density * len(decay) * (n - 1)) * decay)
    pre, post = np.nonzero(rng.random((n, n)) < probability)
    count = np.ceil(median * np.exp(sigma * rng.standard_normal(len(pre))))
    if count.max(initial=0.0) > np.iinfo(np.int32).max:
        raise SettingError(
            f"Counts with the median {median:g} and sigma_log_count {sigma:g} are as large as {count.max():g}, more "
            "than a count can be. Take smaller ones."
        )
    return Connectome.from_edges(
        pa.table(
            {
                "id": np.arange(n, dtype=np.int64),
                "cell_type": names_of_sizes({"E": sizes[0], "I": sizes[1]}),
                **place,
            }
        ),
        pre=pre,
        post=post,
        count=count.astype(np.int32),
        sign=np.repeat(np.array([1, -1], np.int8), sizes)[pre],
        edge_columns=pa.table({"distance_um": distance[pre, post]}),
    )


def _factor(decay: Float[np.ndarray, "pre post"], edges: float) -> float:
    """The k for which min(1, k decay) sums to `edges`: by bisection, as the sum rises with k."""
    possible = decay[decay > 0.0]
    if edges >= possible.size:
        return np.inf if not possible.size else 1.0 / float(possible.min())
    low, high = 0.0, edges / float(possible.sum())
    while np.minimum(1.0, high * possible).sum() < edges:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = 0.5 * (low + high)
        enough = np.minimum(1.0, middle * possible).sum() >= edges
        low, high = (low, middle) if enough else (middle, high)
    return high
