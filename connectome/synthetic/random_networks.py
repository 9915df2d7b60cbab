"""Random networks of excitatory and inhibitory neurons without spatial structure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from connectofit.connectome.errors import SettingError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.synthetic.drawing import (
    distinct_partners,
    in_box,
    names_of_sizes,
    number,
    whole_number,
)


def erdos_renyi(
    n_neurons: int,
    *,
    seed: int,
    probability: float | None = None,
    edges: int | None = None,
    inhibitory: float = 0.2,
    extent_um: tuple[float, float, float] = (100.0, 100.0, 100.0),
) -> Connectome:
    """Every ordered pair of different neurons is joined with the same probability, or a number of pairs is.

    G(n, p) of Gilbert (1959, Ann Math Stat 30:1141) with `probability`, G(n, m) of Erdős & Rényi (1959, Publ Math
    6:290) with `edges`. Degrees are binomial, or hypergeometric. Counts are 1.

    Neurons: ids 0, 1, ...; ``cell_type`` ``"E"`` (first) or ``"I"``, whose edges have sign 1 or -1; ``x_um, y_um,
    z_um`` evenly in a box, of no effect on the wiring.

    Parameters
    ----------
    n_neurons
        Number of neurons.
    seed
        An integer; the same seed gives the same result.
    probability, edges
        One of them: the probability of each pair, or the number of edges.
    inhibitory
        Fraction of inhibitory neurons, rounded to whole neurons.
    extent_um
        Sizes of the box along x, y and z.

    Raises
    ------
    SettingError
        If a setting is out of range, or more edges are asked for than there can be.
    """
    n = whole_number("n_neurons", n_neurons, 1)
    rng = np.random.default_rng(whole_number("seed", seed))
    if (probability is None) == (edges is None):
        raise SettingError("Give either probability or edges.")
    if edges is None:
        degree = rng.binomial(n - 1, number("probability", probability, 0, 1), n)
        pre, post = distinct_partners(degree, n, rng, own=np.arange(n))
    else:
        m = whole_number("edges", edges)
        if m > n * (n - 1):
            raise SettingError(
                f"{n} neurons can have at most {n * (n - 1)} edges without self-loops; {m} are asked for."
            )
        # One row that draws from all pairs; the others of a neuron are numbered without itself.
        _, pair = distinct_partners(np.array([m]), n * (n - 1), rng)
        pre, post = np.divmod(pair, max(n - 1, 1))
        post += post >= pre
    n_inhibitory = round(number("inhibitory", inhibitory, 0, 1) * n)
    neurons, sign = _excitatory_and_inhibitory(n - n_inhibitory, n_inhibitory, extent_um, rng)
    return Connectome.from_edges(neurons, pre=pre, post=post, count=np.ones(len(pre), np.int32), sign=sign[pre])


def brunel(
    *,
    seed: int,
    n_excitatory: int = 10_000,
    n_inhibitory: int = 2_500,
    epsilon: float = 0.1,
    j_mV: float = 0.1,
    g: float = 5.0,
    delay_ms: float = 1.5,
    extent_um: tuple[float, float, float] = (1000.0, 1000.0, 0.0),
) -> Connectome:
    """The sparse random network of Brunel (2000, J Comput Neurosci 8:183), model A.

    Every neuron receives from C_E = ε N_E different excitatory and C_I = ε N_I different inhibitory neurons, none of
    them itself; excitatory synapses have the efficacy J, inhibitory ones -g J, and all the delay D. (The paper's C_ext
    external inputs are not part of the connectome.) The defaults are those of the paper's simulations, g apart, which
    it varies.

    Neurons: ids 0, 1, ...; ``cell_type`` ``"E"`` (first) or ``"I"``; ``x_um, y_um, z_um`` evenly in a box, of no
    effect. Edges: counts 1, signs 1 and -1, and the columns ``weight_mV`` (J or g J, without sign) and ``delay_ms``.

    Parameters
    ----------
    seed
        An integer; the same seed gives the same result.
    n_excitatory, n_inhibitory
        Numbers of neurons N_E and N_I; together at least one.
    epsilon
        Fraction ε of either population that a neuron receives from; C_E and C_I are rounded.
    j_mV, g
        Efficacy J of an excitatory synapse, and how much stronger inhibitory ones are.
    delay_ms
        Delay D.
    extent_um
        Sizes of the box along x, y and z.

    Raises
    ------
    SettingError
        If a setting is out of range, or ε leaves too few neurons to draw from.
    """
    rng = np.random.default_rng(whole_number("seed", seed))
    sizes = [whole_number("n_excitatory", n_excitatory), whole_number("n_inhibitory", n_inhibitory)]
    n = whole_number("n_excitatory + n_inhibitory", sum(sizes), 1)
    epsilon = number("epsilon", epsilon, 0, 1)
    j, ratio, delay = number("j_mV", j_mV, 0), number("g", g, 0), number("delay_ms", delay_ms, 0)
    first = 0
    pre: list[np.ndarray] = []
    post: list[np.ndarray] = []
    for size in sizes:
        target = np.arange(n)
        own = np.where((target >= first) & (target < first + size), target - first, -1)
        where, source = distinct_partners(np.full(n, round(epsilon * size)), size, rng, own=own)
        pre.append(source + first)
        post.append(where)
        first += size
    neurons, sign = _excitatory_and_inhibitory(sizes[0], sizes[1], extent_um, rng)
    starts, ends = np.concatenate(pre), np.concatenate(post)
    signs = sign[starts]
    weights = {"weight_mV": np.where(signs > 0, j, ratio * j), "delay_ms": np.full(len(starts), delay)}
    return Connectome.from_edges(
        neurons, pre=starts, post=ends, count=np.ones(len(starts), np.int32), sign=signs, edge_columns=pa.table(weights)
    )


def _excitatory_and_inhibitory(
    n_excitatory: int, n_inhibitory: int, extent_um: tuple[float, float, float], rng: np.random.Generator
) -> tuple[pa.Table, np.ndarray]:
    """Neurons of type E and then I, and the sign of each."""
    n = n_excitatory + n_inhibitory
    neurons = pa.table(
        {
            "id": np.arange(n, dtype=np.int64),
            "cell_type": names_of_sizes({"E": n_excitatory, "I": n_inhibitory}),
            **in_box(n, extent_um, rng),
        }
    )
    return neurons, np.repeat(np.array([1, -1], np.int8), [n_excitatory, n_inhibitory])
