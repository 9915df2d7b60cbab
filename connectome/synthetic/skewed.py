"""Connectomes with log-normal degrees and counts: the size and the unevenness of real ones, at will."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.synthetic.drawing import distinct_partners, in_box, number, whole_number

TRANSMITTERS: Mapping[str, tuple[float, int]] = {"ACh": (0.6, 1), "GABA": (0.2, -1), "Glu": (0.2, -1)}
"""Share of the neurons and sign of each transmitter; in the fly glutamate mostly inhibits (Liu & Wilson 2013, PNAS
110:10294). The shares are round numbers, not a count."""

SIDES: Mapping[str, float] = {"left": 0.49, "right": 0.49, "center": 0.02}


def lognormal(
    n_neurons: int,
    *,
    seed: int,
    edges: int | None = None,
    density: float | None = None,
    sigma_out: float = 1.0,
    sigma_in: float = 1.0,
    count_median: float = 4.0,
    count_sigma: float = 1.0,
    n_types: int | None = None,
    transmitters: Mapping[str, tuple[float, int]] = TRANSMITTERS,
    extent_um: tuple[float, float, float] = (400.0, 200.0, 200.0),
    first_id: int = 0,
) -> Connectome:
    """Chemical edges with log-normal out-degrees, targets of log-normal attraction, and log-normal counts.

    Out-degrees are ``exp(sigma_out N(0, 1))``, scaled and rounded so that their sum is the number of edges; none
    exceeds ``n_neurons - 1``. Targets are drawn without repetition, with probabilities proportional to
    ``exp(sigma_in N(0, 1))``. Counts are ``exp(N(log count_median, count_sigma))``, rounded, at least 1. No
    self-loops. (Log-normal degrees and weights of brains: Buzsáki & Mizuseki 2014, Nat Rev Neurosci 15:264.)

    Neurons: ids ``first_id``, ``first_id + 1``, ...; ``cell_type`` (of evenly drawn types), ``side``, ``transmitter``,
    and ``x_um, y_um, z_um`` (evenly in a box, of no effect on the wiring). An edge has the sign of its presynaptic
    neuron's transmitter.

    Parameters
    ----------
    n_neurons
        Number of neurons.
    seed
        An integer; the same seed gives the same result.
    edges, density
        One of them: how many edges, or what fraction of the ``n_neurons (n_neurons - 1)`` possible ones.
    sigma_out, sigma_in, count_sigma
        Standard deviations of the logarithms; 0 makes all equal.
    n_types
        Number of cell types; by default one for 17 neurons, the fly's ratio.
    count_median
        Median of the counts, above 0.
    transmitters
        Share of the neurons and sign of each transmitter.
    extent_um
        Sizes of the box along x, y and z.
    first_id
        Ids are int64, from here on upwards: above 2**53 they tell apart who reads them as floats.

    Raises
    ------
    SettingError
        If a setting is out of range, or more edges are asked for than there can be.
    """
    n = whole_number("n_neurons", n_neurons, 1)
    rng = np.random.default_rng(whole_number("seed", seed))
    m = _number_of_edges(n, edges, density)
    shares, signs = _shares_and_signs(transmitters)
    degree = _degrees(np.exp(number("sigma_out", sigma_out, 0) * rng.standard_normal(n)), m, n - 1)
    attraction = np.exp(number("sigma_in", sigma_in, 0) * rng.standard_normal(n)) if sigma_in else None
    pre, post = distinct_partners(degree, n, rng, own=np.arange(n), weight=attraction)
    count = _counts(number("count_median", count_median, 0, above=True), number("count_sigma", count_sigma, 0), m, rng)
    transmitter = rng.choice(len(shares), n, p=shares / shares.sum())
    types = whole_number("n_types", -(-n // 17) if n_types is None else n_types, 1)
    neurons = pa.table(
        {
            "id": np.arange(n, dtype=np.int64) + whole_number("first_id", first_id, 0, 2**63 - 1 - n),
            "cell_type": _chosen([f"type_{k}" for k in range(types)], rng.integers(0, types, n)),
            "side": _chosen(list(SIDES), rng.choice(len(SIDES), n, p=list(SIDES.values()))),
            "transmitter": _chosen(list(transmitters), transmitter),
            **in_box(n, extent_um, rng),
        }
    )
    return Connectome.from_edges(neurons, pre=pre, post=post, count=count, sign=signs[transmitter][pre])


def _shares_and_signs(
    transmitters: Mapping[str, tuple[float, int]],
) -> tuple[Float[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    shares = np.array([number(f"The share of {name}", share, 0) for name, (share, _) in transmitters.items()])
    signs = [sign for _, sign in transmitters.values()]
    if not shares.sum() > 0 or not set(signs) <= {-1, 0, 1}:
        raise SettingError(
            f"transmitters must give shares above 0 and signs -1, 0 or 1; they are {dict(transmitters)}."
        )
    return shares, np.array(signs, np.int8)


def _counts(median: float, sigma: float, m: int, rng: np.random.Generator) -> Int[np.ndarray, " m"]:
    spread = rng.standard_normal(m)
    spread *= sigma
    largest = spread.max(initial=0.0) + np.log(median)
    if largest > np.log(np.iinfo(np.int32).max):
        raise SettingError(
            f"count_median {median:g} and count_sigma {sigma:g} give counts up to {np.exp(min(largest, 700.0)):.3g}; "
            f"at most {np.iinfo(np.int32).max} can be drawn. Lower one of them."
        )
    return np.maximum(np.rint(median * np.exp(spread, out=spread), out=spread), 1).astype(np.int32)


def _number_of_edges(n: int, edges: int | None, density: float | None) -> int:
    if (edges is None) == (density is None):
        raise SettingError("Give either edges or density.")
    most = n * (n - 1)
    m = round(number("density", density, 0, 1) * most) if edges is None else whole_number("edges", edges)
    if m > most:
        raise SettingError(f"{n} neurons can have at most {most} edges without self-loops; {m} are asked for.")
    return m


def _degrees(share: Float[np.ndarray, " n"], total: int, most: int) -> Int[np.ndarray, " n"]:
    """Whole numbers proportional to `share` that add up to `total`, none above `most`."""
    degree = np.zeros(len(share), np.int64)
    while (rest := total - int(degree.sum())) > 0:
        open_share = np.where(degree < most, share, 0.0)
        wanted = rest * open_share / open_share.sum()
        part = np.floor(wanted * (1 - 1e-12)).astype(np.int64)  # so that rounding errors never make too many
        # The largest remainders are rounded up, as seats are given to parties.
        part[np.argsort(part - wanted, kind="stable")[: rest - int(part.sum())]] += 1
        degree = np.minimum(degree + part, most)
    return degree


def _chosen(names: list[str], which: Int[np.ndarray, " n"]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(which))
