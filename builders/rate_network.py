"""Rate networks that learn tasks, on the wiring of any connectome, with Dale's law (Song, Yang & Wang 2016, PLoS Comput
Biol 12:e1004792, eqs 1 and 2):

    tau dx/dt = -x + W r + W_in u + b + noise,      r = max(0, x).

One population, "units", of `GradedLeaky` neurons, whose voltage is x and whose resting potential is b, and `Rectified`
synapses. The inputs u are given to `rollout` as `inputs` of a population "input", whose neurons follow them within the
step; they act on the units in the next one. Rates are max(0, x) of the recorded ``v``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse import linalg

from connectofit.builders.task_wiring import (
    Level,
    SignRule,
    choice,
    groups_of,
    half_normal,
    input_edges,
    input_population,
    labels_of,
    population_of,
    projection_of,
    signed_wiring,
    sorted_edges,
    targets_of,
)
from connectofit.connectome import Connectome
from connectofit.connectome.synthetic.drawing import number, whole_number
from connectofit.sim import GradedLeaky, Network, Population, check_network
from connectofit.sim.synapses import Rectified

_DENSE = 500  # neurons up to which all eigenvalues are computed
_AT_ONCE_MS = 1e-3  # a time constant after which, in any step that makes sense, nothing is left of the past


def rate_network(
    connectome: Connectome,
    input_types: Sequence[str],
    *,
    seed: int,
    level: Level = "edges",
    types: str | Sequence[Any] | None = None,
    weights: Literal["drawn", "count"] = "drawn",
    sign_rule: SignRule = "neuron",
    unknown_sign: Literal["error", "drop"] = "error",
    input_to: str | None = None,
    input_probability: float = 1.0,
    scale_input: float = 1.0,
    spectral_radius: float = 1.0,
    tau_ms: float = 100.0,
    bias: float = 0.1,
    noise: float = 0.0,
) -> Network:
    """A rate network on the wiring of a connectome; the equations are at the module's head.

    Projections: "input_units", with positive weights, and "units_units", each of whose weights is
    ``base_weight * exp(log_gain)`` and keeps its sign. Inhibitory weights are larger than excitatory ones by the ratio
    of the numbers of their edges, so that the sums balance; all are then scaled to the spectral radius.

    Parameters
    ----------
    connectome, input_types, seed, level, types, sign_rule, unknown_sign, input_to, input_probability
        As for `connectofit.builders.task_network`.
    weights
        ``"drawn"``: |N(0, 1)| before they are scaled; ``"count"``: in proportion to the edge's count.
    scale_input
        Input weights are |N(0, scale_input / n_in)|, a variance, n_in the mean number of inputs to a neuron.
    spectral_radius
        Of the recurrent weights; wiring whose spectral radius is 0, without cycles, is left as it is.
    tau_ms, bias, noise
        Of all units: time constant, b, and the standard deviation of the noise's effect on x.

    Raises
    ------
    SettingError, UnknownNameError: as `connectofit.builders.task_network` does.
    """
    rng = np.random.default_rng(whole_number("seed", seed))
    choice("level", level, Level)
    choice("kind of weights", weights, Literal["drawn", "count"])
    radius = number("spectral_radius", spectral_radius, 0, above=True)
    scale = number("scale_input", scale_input, 0, above=True)
    wiring = signed_wiring(connectome, sign_rule, unknown_sign)
    n = wiring.excites.size
    inputs = input_population(input_types, GradedLeaky(), connectome.ids)
    labels = labels_of(wiring, types) if level == "types" else None
    units = population_of(wiring, "units", np.arange(n), labels, GradedLeaky())

    reached = targets_of(connectome, input_to)
    sources, targets, strength = input_edges(len(input_types), reached, input_probability, scale, rng)
    edges = sorted_edges(sources, targets, np.arange(sources.size))
    projections = [projection_of("input_units", inputs, units, Rectified(), edges, strength[edges.place], level, 0.0)]

    weight = half_normal(wiring.pre.size, 1.0, rng) if weights == "drawn" else wiring.count.copy()
    inhibits = wiring.sign < 0
    if inhibits.any() and not inhibits.all():
        weight[inhibits] *= weight[~inhibits].sum() / weight[inhibits].sum()
    weight = wiring.sign * weight
    found = radius_of(wiring.pre, wiring.post, weight, n)
    weight *= radius / found if found > 0.0 else 1.0
    ((_, _, _, edges),) = groups_of(wiring, np.zeros(n, np.int64), np.arange(n), split_signs=False)
    projections.append(projection_of("units_units", units, units, Rectified(), edges, weight[edges.place], level, 0.0))

    params = {
        "input": _neurons(inputs, _AT_ONCE_MS, 0.0, 0.0),
        "units": _neurons(units, tau_ms, bias, noise),
        **{p.name: {"log_gain": np.zeros(len(p.types)), "v_threshold": np.zeros(1)} for p in projections},
    }
    net = Network((inputs, units), tuple(projections), params)
    check_network(net)
    return net


def radius_of(
    pre: Int[np.ndarray, " edge"], post: Int[np.ndarray, " edge"], weight: Float[np.ndarray, " edge"], n: int
) -> float:
    """The largest absolute eigenvalue of the matrix of weights."""
    matrix = sparse.csr_matrix((weight, (post, pre)), shape=(n, n))
    if n <= _DENSE:
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    found = linalg.eigs(matrix, k=1, which="LM", v0=np.ones(n), return_eigenvectors=False)
    return float(np.abs(found).max())


def _neurons(population: Population, tau_ms: float, bias: float, noise: float) -> dict[str, np.ndarray]:
    size = len(population.types)
    return {"tau_m_ms": np.full(size, tau_ms), "v_rest": np.full(size, bias), "noise": np.full(size, noise)}
