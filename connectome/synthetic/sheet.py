"""A sheet of cortex: excitatory and inhibitory neurons whose connections grow rarer with distance."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.synthetic.drawing import in_box, names_of_sizes, number, whole_number

_PAIRS_AT_ONCE = 2**22


def cortical_sheet(
    n_neurons: int = 4000,
    *,
    seed: int,
    inhibitory: float = 0.2,
    extent_um: float = 1000.0,
    kernel: Literal["gaussian", "exponential"] = "gaussian",
    reach_e_um: float = 150.0,
    reach_i_um: float = 100.0,
    peak_e: float = 0.2,
    peak_i: float = 0.4,
) -> Connectome:
    """Neurons at random on a square sheet without borders (a torus), joined more rarely the further they are apart.

    For a pair at the distance d, the shorter way round,

        gaussian:     p(d) = peak · exp(-d² / (2 reach²))
        exponential:  p(d) = peak · exp(-d / reach)

    with `peak` and `reach` of the presynaptic type; each ordered pair of different neurons is drawn on its own. On a
    sheet much wider than the reach a neuron has on average ``n · peak · 2π reach² / extent²`` targets, for either
    kernel. (Distance-dependent wiring of cortex: Hellwig 2000, Biol Cybern 82:111; Perin et al. 2011, PNAS 108:5419.
    The defaults are round numbers of that order, not a fit.)

    Neurons: ids 0, 1, ...; ``cell_type`` ``"E"`` (first) or ``"I"``, whose edges have sign 1 or -1; ``x_um, y_um`` on
    the sheet, ``z_um`` 0. Edges: counts 1, and ``distance_um`` (round the torus, so shorter than between the
    coordinates for some). Takes time proportional to n².

    Parameters
    ----------
    n_neurons
        Number of neurons n.
    seed
        An integer; the same seed gives the same result.
    inhibitory
        Fraction of inhibitory neurons, rounded to whole neurons.
    extent_um
        Side of the sheet.
    kernel
        ``"gaussian"`` or ``"exponential"``.
    reach_e_um, reach_i_um
        The reach of excitatory and inhibitory neurons.
    peak_e, peak_i
        The probability of a connection at the distance 0, of either.

    Raises
    ------
    SettingError
        If a setting is out of range.
    """
    n = whole_number("n_neurons", n_neurons, 1)
    rng = np.random.default_rng(whole_number("seed", seed))
    if kernel not in ("gaussian", "exponential"):
        raise SettingError(f"kernel is {kernel!r}; it must be 'gaussian' or 'exponential'.")
    extent = number("extent_um", extent_um, 0, above=True)
    n_i = round(number("inhibitory", inhibitory, 0, 1) * n)
    sizes = (n - n_i, n_i)
    peak = np.repeat([number("peak_e", peak_e, 0, 1), number("peak_i", peak_i, 0, 1)], sizes)
    reaches = [number("reach_e_um", reach_e_um, 0, above=True), number("reach_i_um", reach_i_um, 0, above=True)]
    reach = np.repeat(reaches, sizes)
    place = in_box(n, (extent, extent, 0.0), rng)
    xy = np.stack([place["x_um"], place["y_um"]], axis=1)

    starts, ends, distances = [], [], []
    step = max(1, _PAIRS_AT_ONCE // n)
    for first in range(0, n, step):
        rows = np.arange(first, min(first + step, n))
        d = _distance_on_torus(xy[rows], xy, extent)
        scaled = d / reach[rows, None]
        p = peak[rows, None] * np.exp(-0.5 * scaled**2 if kernel == "gaussian" else -scaled)
        joined = rng.random(d.shape) < p
        joined[np.arange(len(rows)), rows] = False
        row, post = np.nonzero(joined)
        starts.append(rows[row])
        ends.append(post)
        distances.append(d[row, post])
    pre, post = np.concatenate(starts), np.concatenate(ends)
    neurons = pa.table(
        {
            "id": np.arange(n, dtype=np.int64),
            "cell_type": names_of_sizes({"E": sizes[0], "I": sizes[1]}),
            **place,
        }
    )
    return Connectome.from_edges(
        neurons,
        pre=pre,
        post=post,
        count=np.ones(len(pre), np.int32),
        sign=np.repeat(np.array([1, -1], np.int8), sizes)[pre],
        edge_columns=pa.table({"distance_um": np.concatenate(distances)}),
    )


def _distance_on_torus(
    a: Float[np.ndarray, "i 2"], b: Float[np.ndarray, "j 2"], extent: float
) -> Float[np.ndarray, "i j"]:
    total = np.zeros((len(a), len(b)))
    for axis in range(2):
        apart = np.abs(a[:, None, axis] - b[None, :, axis])
        total += np.minimum(apart, extent - apart) ** 2
    return np.sqrt(total, out=total)
