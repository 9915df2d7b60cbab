"""The cortical microcircuit of Potjans & Diesmann (2014), Cereb Cortex 24:785: four layers under 1 mm² of cortex.

Sizes and connection probabilities are those of the paper's Table 5. Its probability C_a that a pair of neurons is
joined at least once gives the number of synapses between two populations (eq. 1),

    K = log(1 - C_a) / log(1 - 1 / (N_pre N_post)),

whose ends are drawn at random with repetition, so that a pair can be joined more than once, and a neuron to itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.synthetic.drawing import names_of_sizes, number, whole_number

POPULATION_SIZES: Mapping[str, int] = {
    "L2/3E": 20_683,
    "L2/3I": 5_834,
    "L4E": 21_915,
    "L4I": 5_479,
    "L5E": 4_850,
    "L5I": 1_065,
    "L6E": 14_395,
    "L6I": 2_948,
}
"""Neurons of each population under 1 mm²; 77,169 in all."""

CONNECTION_PROBABILITIES: tuple[tuple[float, ...], ...] = (
    (0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0, 0.0076, 0.0),
    (0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0, 0.0042, 0.0),
    (0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0),
    (0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0, 0.1057, 0.0),
    (0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0),
    (0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0),
    (0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252),
    (0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443),
)
"""Row: postsynaptic population, column: presynaptic, in the order of `POPULATION_SIZES`."""

EXTERNAL_INPUTS: tuple[int, ...] = (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)
"""Synapses that a neuron of each population receives from outside the circuit (layer-specific external input)."""

LAYER_BOUNDS_UM: Mapping[str, tuple[float, float]] = {
    "L2/3": (-81.6, -587.1),
    "L4": (-587.1, -922.2),
    "L5": (-922.2, -1170.0),
    "L6": (-1170.0, -1491.7),
}
"""Top and bottom below the surface, as Hagen et al. (2016, Cereb Cortex 26:4461) place the model's neurons."""

MAX_SYNAPSES = 30_000_000
"""How many synapses `potjans_diesmann` draws unless it is told otherwise: a tenth of the whole circuit's. (27 million
took 3.8 GB while they were drawn.)"""

_DOUBLED = ("L2/3E", "L4E")  # the post- and the presynaptic population whose synapses are twice as strong


def potjans_diesmann(
    *,
    seed: int,
    scale: float = 0.1,
    indegree_scale: float | None = None,
    weight_pA: float = 87.8,
    g: float = 4.0,
    delay_e_ms: float = 1.5,
    delay_i_ms: float = 0.75,
    max_synapses: int = MAX_SYNAPSES,
) -> Connectome:
    """The microcircuit, scaled down: eight populations with their layers, signs, weights and delays.

    The whole circuit has 77,169 neurons and 299 million synapses. A table of so many takes more memory than most
    machines have, so settings that ask for more than `max_synapses` are refused before anything is drawn.

    Synapses of a pair of neurons are one edge, with their number as its count. Each synapse has a normal weight with
    the mean w (2 w from L4E to L2/3E, g w if inhibitory) and a tenth of it as standard deviation, and a normal delay
    with half its mean as standard deviation; weights are drawn again below 0 and delays below 0.1 ms. An edge holds
    their means, so that count times weight is the sum. (Values of the authors' implementation in NEST.)

    Neurons: ids such as ``"L4E_17"``; ``cell_type`` (the population), ``layer``, ``external_inputs``, ``x_um, y_um``
    evenly on a square of scale · 1 mm², ``z_um`` evenly within the layer. Positions have no effect on the wiring.
    Edges: counts, signs, ``weight_pA`` (without sign) and ``delay_ms``.

    Parameters
    ----------
    seed
        An integer; the same seed gives the same result.
    scale
        Fraction of the neurons, each population rounded.
    indegree_scale
        Fraction of the synapses that each neuron receives; by default `scale`, which keeps the connection probability.
        Weights are not scaled up to make up for it.
    weight_pA, g
        Peak w of an excitatory synapse's current, and how much stronger inhibitory ones are.
    delay_e_ms, delay_i_ms
        Mean delays of excitatory and inhibitory synapses.
    max_synapses
        How many synapses may be drawn; raise it where there is memory for more.

    Raises
    ------
    SettingError
        If a setting is out of range, a population would have no neuron, or there would be more than `max_synapses`.
    """
    rng = np.random.default_rng(whole_number("seed", seed))
    scale = number("scale", scale, 0, 1, above=True)
    indegree = number("indegree_scale", scale if indegree_scale is None else indegree_scale, 0, 1)
    strength = (number("weight_pA", weight_pA, 0), weight_pA * number("g", g, 0))
    means = (number("delay_e_ms", delay_e_ms, 0.1), number("delay_i_ms", delay_i_ms, 0.1))
    names = list(POPULATION_SIZES)
    full = np.array(list(POPULATION_SIZES.values()))
    size = np.rint(full * scale).astype(np.int64)
    if not size.all():
        empty = ", ".join(names[index] for index in np.flatnonzero(size == 0))
        raise SettingError(f"scale {scale:g} leaves no neuron in {empty}; raise it.")
    first = np.cumsum(size) - size
    synapses = np.rint(synapse_numbers() * scale * indegree).astype(np.int64)
    _refuse_too_many(int(synapses.sum()), whole_number("max_synapses", max_synapses), scale, indegree)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("pre", "post", "count", "weight_pA", "delay_ms")}
    for source, source_name in enumerate(names):
        excites = source_name.endswith("E")
        for target, target_name in enumerate(names):
            k = int(synapses[target, source])
            if not k:
                continue
            mean = strength[0 if excites else 1] * (2.0 if (target_name, source_name) == _DOUBLED else 1.0)
            pair = rng.integers(0, size[source] * size[target], k)
            joined, edge, multiple = np.unique(pair, return_inverse=True, return_counts=True)
            columns["pre"].append(first[source] + joined // size[target])
            columns["post"].append(first[target] + joined % size[target])
            columns["count"].append(multiple)
            of_delay = means[0 if excites else 1]
            for name, (m, sd, least) in (
                ("weight_pA", (mean, 0.1 * mean, 0.0)),
                ("delay_ms", (of_delay, 0.5 * of_delay, 0.1)),
            ):
                columns[name].append(np.bincount(edge, _normal_above(m, sd, least, k, rng), len(joined)) / multiple)
    none = {"weight_pA": np.zeros(0), "delay_ms": np.zeros(0)}
    found = {name: np.concatenate([none.get(name, np.zeros(0, np.int64)), *parts]) for name, parts in columns.items()}
    starts = found["pre"]
    sign = np.repeat(np.where([name.endswith("E") for name in names], 1, -1), size)
    return Connectome.from_edges(
        _neurons(names, size, scale, rng),
        pre=starts,
        post=found["post"],
        count=found["count"],
        sign=sign[starts],
        edge_columns=pa.table({name: found[name] for name in ("weight_pA", "delay_ms")}),
    )


def synapse_numbers() -> Float[np.ndarray, "post pre"]:
    """K, the number of synapses between each two populations of the whole circuit."""
    full = np.array(list(POPULATION_SIZES.values()), float)
    return np.log1p(-np.array(CONNECTION_PROBABILITIES)) / np.log1p(-1.0 / (full[:, None] * full[None, :]))


def _refuse_too_many(synapses: int, most: int, scale: float, indegree: float) -> None:
    if synapses <= most:
        return
    share = most / synapse_numbers().sum()
    smaller, fewer = _rounded_down(np.sqrt(share)), _rounded_down(share / scale)
    raise SettingError(
        f"scale {scale:g} with indegree_scale {indegree:g} gives {synapses:,} synapses, and at most max_synapses="
        f"{most:,} are drawn. Scale the circuit down: scale={smaller:g} (with indegree_scale left out) fits, or "
        f"indegree_scale={fewer:g} at this scale. Where there is memory for all of them, raise max_synapses."
    )


def _rounded_down(value: float) -> float:
    """To two digits, so that rounding the synapses of each pair of populations does not undo it."""
    unit = 10.0 ** (np.floor(np.log10(value)) - 1) if value > 0 else 1.0
    return float(np.floor(value / unit) * unit)


def _normal_above(mean: float, sd: float, least: float, k: int, rng: np.random.Generator) -> Float[np.ndarray, " k"]:
    values = rng.normal(mean, sd, k)
    while len(low := np.flatnonzero(values < least)):
        values[low] = rng.normal(mean, sd, len(low))
    return values


def _neurons(names: list[str], size: Int[np.ndarray, " p"], scale: float, rng: np.random.Generator) -> pa.Table:
    layer = [name[:-1] for name in names]
    top, bottom = np.repeat(np.array([LAYER_BOUNDS_UM[name] for name in layer]), size, axis=0).T
    side_um, n = 1000.0 * np.sqrt(scale), int(size.sum())
    return pa.table(
        {
            "id": pa.array([f"{name}_{k}" for name, many in zip(names, size, strict=True) for k in range(many)]),
            "cell_type": names_of_sizes(dict(zip(names, size.tolist(), strict=True))),
            "layer": pa.array(np.repeat(np.array(layer, dtype=object), size), pa.string()),
            "external_inputs": np.repeat(EXTERNAL_INPUTS, size),
            "x_um": rng.random(n) * side_um,
            "y_um": rng.random(n) * side_um,
            "z_um": top + rng.random(n) * (bottom - top),
        }
    )
