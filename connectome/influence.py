"""Signed influence over several steps: what a drive of some neurons does to all others in a linear model.

With W[i, j] = sign · count / (all counts that end at j), so that the inputs of a neuron add up to 1,

    x(0) = 1 at the source neurons, 0 elsewhere;    x(k) = gain · Wᵀ x(k - 1);    influence = x(1) + ... + x(steps).

Counts as fractions of a neuron's input, multiplied along walks and summed over them, are the "effective connectivity"
used for the fly (Schlegel et al. 2021, eLife 10:e66018; Connectome Interpreter, connectome-interpreter.readthedocs.io,
from where the parts are: a walk with an even number of inhibitory steps excites, one with an odd number inhibits).
For gain < 1 and many steps the sum tends to (I - gain · Wᵀ)⁻¹ x(0) - x(0): the steady state of
τ dr/dt = -r + gain · Wᵀ r + x(0), which Bates et al. 2025 (bioRxiv 2025.07.31.667571; code: DrugowitschLab/
ConnectomeInfluenceCalculator) call influence, there with counts scaled by 0.99 over their largest eigenvalue
in place of fractions of the input, and with the source's own drive counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from connectofit.connectome.connections import neuron_frame
from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.connectome.policies import KINDS
from connectofit.connectome.selectors import EdgeChoice, Neurons, edges_from, neuron_indices, share, sources_of, totals

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

UnknownSign = Literal["error", "ignore", "excite", "inhibit"]
_STANDS_FOR = {"ignore": 0, "excite": 1, "inhibit": -1, "error": 0}
_ELECTRICAL = KINDS.index("electrical")


def influence(
    connectome: ColumnarGraph,
    source: Neurons,
    steps: int,
    gain: float,
    min_count: float,
    kind: str | None,
    unknown_sign: UnknownSign,
    by_step: bool,
) -> pd.DataFrame:
    """See `Connectome.influence`."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise SettingError(f"steps must be an integer of at least 1; it is {steps!r}.")
    if isinstance(gain, bool) or not isinstance(gain, int | float | np.number) or not 0 < gain < np.inf:
        raise SettingError(f"gain must be a positive number; it is {gain!r}.")
    if unknown_sign not in get_args(UnknownSign):
        raise unknown_name("way to take unknown signs", str(unknown_sign), get_args(UnknownSign), "unknown_sign")
    choice = EdgeChoice(connectome, kind, min_count)
    total = totals(connectome, "in", kind)
    start = np.zeros(connectome.n_neurons)
    start[neuron_indices(connectome, source)] = 1
    net, size = start, start
    per_step = []
    for _ in range(steps):
        net, size = _step(choice, net, size, unknown_sign)
        net, size = gain * share(net, total), gain * share(size, total)
        per_step.append((net, size))
    net, size = np.sum([step[0] for step in per_step], axis=0), np.sum([step[1] for step in per_step], axis=0)
    table = neuron_frame(connectome, np.arange(connectome.n_neurons))
    table = table.assign(influence=net, excitation=(size + net) / 2, inhibition=(size - net) / 2)
    return table.assign(**{f"step_{k}": values for k, (values, _) in enumerate(per_step, 1)}) if by_step else table


def _step(
    choice: EdgeChoice, net: Float[np.ndarray, " n"], size: Float[np.ndarray, " n"], unknown_sign: UnknownSign
) -> tuple[np.ndarray, np.ndarray]:
    """Counts times activity, summed at each neuron: with signs, and all positive."""
    connectome = choice.connectome
    edges = choice.of(edges_from(connectome, np.flatnonzero(size)))
    sign = _signs(connectome, edges, unknown_sign)
    pre, post, count = sources_of(connectome, edges), connectome.post[edges], connectome.count[edges]
    signed = np.bincount(post, weights=count * sign * net[pre], minlength=len(net))
    return signed, np.bincount(post, weights=count * np.abs(sign) * size[pre], minlength=len(net))


def _signs(connectome: ColumnarGraph, edges: Int[np.ndarray, " k"], unknown_sign: UnknownSign) -> Int[np.ndarray, " k"]:
    """Signs (int8) of edges at these positions; a gap junction passes on what it gets."""
    sign = connectome.sign[edges].copy()
    sign[connectome.kind[edges] == _ELECTRICAL] = 1
    unknown = sign == 0
    if unknown_sign == "error" and unknown.any():
        raise SettingError(
            f"The sign of {int(unknown.sum())} of the {len(edges)} edges on the way is not known, so their effect is "
            "not defined. Say what they do by unknown_sign: 'ignore' (they pass on nothing, and still count as "
            "input of their targets), 'excite' or 'inhibit'; or give them signs by a SignPolicy when reading."
        )
    sign[unknown] = _STANDS_FOR[unknown_sign]
    return sign
