"""The whole cortical microcircuit of Potjans & Diesmann (2014), Cereb Cortex 24:785, drawn straight into a `Network`.

77,169 integrate-and-fire neurons in eight populations and 299 million synapses with weights and delays of their own:
10 bytes a synapse, where the `Connectome` of `connectofit.connectome.synthetic.potjans_diesmann` serves for smaller
ones. Neurons are those of the paper's Table 5 (``iaf_psc_exp`` of NEST),

    tau_m dV/dt = -(V - E_L) + R_m (I_syn + I_bias),      tau_syn dI_syn/dt = -I_syn + tau_syn sum_j w_j delta(t - t_j),

with a constant current in place of the Poisson input from K_ext neurons that fire at a rate nu,

    I_bias = K_ext nu tau_syn w.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from connectofit.builders.random_edges import FixedTotal
from connectofit.builders.streamed import NeuronGroup, RandomEdges, Synapses, draw_network
from connectofit.builders.streamed_blocks import Normal
from connectofit.connectome.errors import SettingError, offenders
from connectofit.connectome.synthetic.drawing import number, whole_number
from connectofit.connectome.synthetic.microcircuit import EXTERNAL_INPUTS, POPULATION_SIZES, synapse_numbers
from connectofit.sim import LIF, Exponential, Network, NetworkState, initial_state

MEAN_RATES_Hz: tuple[float, ...] = (0.903, 2.965, 4.414, 5.876, 7.569, 8.633, 1.105, 7.829)
"""Rates of the whole circuit's populations, as NEST's program of the microcircuit (Potjans_2014) holds them."""

STARTING_POTENTIALS_mV: tuple[tuple[float, float], ...] = (
    (-68.28, 5.36),
    (-63.16, 4.57),
    (-63.33, 4.74),
    (-63.45, 4.94),
    (-63.11, 4.94),
    (-61.66, 4.55),
    (-66.72, 5.46),
    (-61.43, 4.48),
)
"""Mean and standard deviation of each population's potentials in the running circuit (the "optimized" ones of
NEST's program), from which it starts without a burst."""

_TAU_SYN_MS = 0.5
_NEURON = {
    "tau_m_ms": 10.0,
    "r_m_GOhm": 0.04,  # tau_m over the capacitance of 250 pF
    "v_rest_mV": -65.0,
    "v_threshold_mV": -50.0,
    "v_reset_mV": -65.0,
    "t_ref_ms": 2.0,
}


def potjans_diesmann_network(
    *,
    seed: int,
    scale: float = 1.0,
    indegree_scale: float | None = None,
    dt_ms: float = 0.1,
    weight_pA: float = 87.8,
    g: float = 4.0,
    delay_e_ms: float = 1.5,
    delay_i_ms: float = 0.75,
    background_Hz: float = 8.0,
    threads: int | None = None,
) -> Network:
    """The microcircuit as one population "cells" with a type for each of its eight, and one projection "synapses".

    Weights are normal with a tenth of their mean as standard deviation, drawn again beyond 0; delays normal with half
    their mean, drawn again below half a step and rounded to steps. (Values of NEST's program.)

    Parameters
    ----------
    seed
        An integer; the same seed gives the same network.
    scale
        Fraction of the neurons, each population rounded.
    indegree_scale
        Fraction of the synapses that each neuron receives; by default `scale`, which keeps the connection probability.
        1 keeps the input to each neuron, and so about the rates. Weights are not scaled up to make up for fewer.
    dt_ms
        The step that delays are multiples of.
    weight_pA, g
        Peak w of an excitatory synapse's current (twice that from L4E to L2/3E), and how much stronger inhibitory ones
        are.
    delay_e_ms, delay_i_ms
        Mean delays of excitatory and inhibitory synapses.
    background_Hz
        Rate nu of the neurons outside, whose mean current drives the circuit.
    threads
        How many to draw with; all processors by default.

    Raises
    ------
    SettingError
        If a setting is out of range or a population would have no neuron.
    """
    scale = number("scale", scale, 0, 1, above=True)
    indegree = number("indegree_scale", scale if indegree_scale is None else indegree_scale, 0, 1)
    weight_pA, g = number("weight_pA", weight_pA, 0), number("g", g, 0)
    number("background_Hz", background_Hz, 0)
    names = list(POPULATION_SIZES)
    full = np.array(list(POPULATION_SIZES.values()))
    sizes = np.rint(full * scale).astype(int)
    if not sizes.all():
        empty = [names[k] for k in np.flatnonzero(sizes == 0)]
        raise SettingError(f"scale {scale:g} leaves no neuron in {offenders(empty)}; raise it.")
    excites = np.array([name.endswith("E") for name in names])
    weights = np.tile(np.where(excites, 1.0, -g) * weight_pA, (len(names), 1))
    weights[names.index("L2/3E"), names.index("L4E")] *= 2.0
    # Hz times ms is a thousandth.
    bias = np.array(EXTERNAL_INPUTS) * background_Hz * _TAU_SYN_MS * weight_pA * 1e-3
    synapses = Synapses("synapses", Exponential(), {"tau_syn_ms": _TAU_SYN_MS})
    numbers = np.rint(synapse_numbers() * scale * indegree).astype(int)
    groups = [
        NeuronGroup(name, int(size), {**_NEURON, "i_bias_pA": float(current)}, LIF())
        for name, size, current in zip(names, sizes, bias, strict=True)
    ]
    edges = []
    for source, pre in enumerate(names):
        delay = Normal(delay_e_ms, 0.5 * delay_e_ms) if excites[source] else Normal(delay_i_ms, 0.5 * delay_i_ms)
        for target, post in enumerate(names):
            if numbers[target, source]:
                weight = float(weights[target, source])
                rule = FixedTotal(int(numbers[target, source]))
                edges.append(RandomEdges(pre, post, rule, Normal(weight, 0.1 * abs(weight)), delay, synapses))
    return draw_network(groups, edges, seed=seed, dt_ms=dt_ms, threads=threads)


def potjans_diesmann_state(
    net: Network,
    *,
    seed: int,
    dt_ms: float = 0.1,
    potentials_mV: tuple[tuple[float, float], ...] = STARTING_POTENTIALS_mV,
) -> NetworkState:
    """A state of `potjans_diesmann_network` whose potentials are drawn from normal distributions, for `simulate`.

    potentials_mV: mean and standard deviation for each of the eight populations. Raises `SettingError` unless there is
    one for each.
    """
    cells = net.population("cells")
    if len(potentials_mV) != len(cells.types):
        raise SettingError(
            f"potentials_mV has to give mean and standard deviation for {len(cells.types)} populations; found "
            f"{len(potentials_mV)}."
        )
    rng = np.random.default_rng([whole_number("seed", seed), 0])
    mean, sd = np.array(potentials_mV, np.float64).T[:, np.asarray(cells.type_index)]
    drawn: Float[np.ndarray, " neuron"] = rng.normal(mean, sd).astype(np.float32)
    state: NetworkState = jax.jit(partial(initial_state, dt_ms=dt_ms))(net)  # compiled, so that no weight is copied
    state.populations["cells"]["v_mV"] = jnp.asarray(drawn)
    return state
