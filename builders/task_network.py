"""Networks of excitatory and inhibitory spiking neurons that learn tasks, on the wiring of any connectome.

Generalised integrate-and-fire neurons with two spike-triggered currents and exponential conductances, in voltages that
are rescaled so that rest is 0, the threshold 1 and the reversal potentials +3 and -3 (Wang et al. 2024, arXiv
2406.19708, appendix F):

    tau_m dV/dt = -V + I_1 + I_2 + I_bias + g_E (3 - V) + g_I (-3 - V)
    dI_j/dt = -I_j / tau_j,      V >= 1: spike, V -> 0, I_j -> r_j I_j + A_j

Conductances are relative to the leak's. Initial weights are |N(0, s / n_in)|, the second number being the variance and
n_in the mean number of excitatory, of inhibitory or of input synapses of a neuron (of input synapses, of those that any
reach); s is 1 for excitatory and input synapses and 4 for inhibitory ones.

In the program that Wang et al. released I_1 is absent (A_1 = 0), and I_2 adapts, with A_2 = -1 and time constants of
the neurons drawn evenly from half to one and a half times 1,000 ms, about the time that a memory has to last. These are
taken here, but for A_2 = -0.3 and a current I_bias = 0.5, with which every neuron fires at a few to some twenty Hz in
their task. That program subtracts the threshold from V at a spike, where V is here reset to 0, and has tau_m = 100 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from connectofit.builders.task_wiring import (
    Level,
    SignRule,
    Weights,
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
from connectofit.connectome.errors import unknown_name
from connectofit.connectome.synthetic.drawing import number, whole_number
from connectofit.sim import GIF, ExponentialConductance, Network, Population, SpikeSource, check_network
from connectofit.sim.surrogate import ReLU, Surrogate

NEURON: Mapping[str, float] = {
    "tau_m_ms": 20.0,
    "r_m_GOhm": 1.0,
    "v_rest_mV": 0.0,
    "v_reset_mV": 0.0,
    "theta_inf_mV": 1.0,
    "theta_reset_mV": 1.0,
    "a_1_pA": 0.0,
    "a_2_pA": -0.3,
    "k_1_per_ms": 0.1,
    "k_2_per_ms": 0.001,
    "i_bias_pA": 0.5,
}
"""The neurons' parameters, rescaled: voltages, currents and conductances in units of threshold and leak. Those that are
not named have `GIF`'s defaults."""

SURROGATE = ReLU(width_mV=1.0, scale=0.1)
"""The spike's stand-in derivative. With a scale of 0.3 (`ReLU`'s default) derivatives through trials of 2,200 steps
overflow float32 in networks of these weights; with 0.1 their norm stays near 0.1."""
REVERSAL: Mapping[int, float] = {1: 3.0, -1: -3.0}


def task_network(
    connectome: Connectome,
    input_types: Sequence[str],
    *,
    seed: int,
    level: Level = "edges",
    types: str | Sequence[Any] | None = None,
    weights: Weights = "drawn",
    sign_rule: SignRule = "neuron",
    unknown_sign: Literal["error", "drop"] = "error",
    input_to: str | None = None,
    input_probability: float = 1.0,
    scale_e: float = 1.0,
    scale_i: float = 4.0,
    scale_input: float = 1.0,
    tau_syn_ms: float = 10.0,
    delay_ms: float = 1.0,
    neuron: Mapping[str, float] | None = None,
    spread: float = 0.5,
    surrogate: Surrogate = SURROGATE,
) -> Network:
    """A spiking network on the wiring of a connectome; the equations are at the module's head.

    Populations: "input" (`SpikeSource`: give its spikes to `rollout` as `forced`), "E" and "I" (`GIF`), of which one
    that would be empty is left out. Projections: "input_E", "input_I", and one from each of E and I to each, "E_E",
    "E_I", ... (for sign_rule="edge" one more for edges of the other sign, "E_I_inhibitory", ...). The weight of an edge
    is ``base_weight * exp(log_gain)``, so that wiring and signs hold whatever is learnt. The readout is not part of it.

    Parameters
    ----------
    connectome
        Whose neurons and chemical edges these are; edges have signs.
    input_types
        A label for each input, such as a task's `input_types`.
    seed
        An integer; the same seed gives the same network.
    level
        What has a gain of its own: ``"edges"``, each edge (and each neuron its parameters); or ``"types"``, each pair
        of types (and each type of neurons its parameters).
    types
        The neurons' types: a column, or a label for each neuron; None: E and I. (Types of E and I neurons are apart.)
    weights
        ``"drawn"``: |N(0, s / n_in)|; ``"count"``: the mean of that, times the edge's count over the mean count of its
        sign, so that a shrinkage of the log-gains towards 0 is one towards the counts.
    sign_rule, unknown_sign
        See `connectofit.builders.task_wiring.signed_wiring`.
    input_to, input_probability
        An expression on the neurons' columns for those that inputs reach (None: all), and with which probability each
        input reaches each of them.
    scale_e, scale_i, scale_input
        The s of excitatory, inhibitory and input synapses.
    tau_syn_ms, delay_ms
        Time constant of all conductances, and delay of all synapses, which is at least the time step.
    neuron
        Parameters of `GIF` in place of those of `NEURON`.
    spread
        The second current's time constants are drawn evenly from 1 - spread to 1 + spread times the given one, for each
        neuron (each type where level is "types").
    surrogate
        The spike's stand-in derivative; its width is in units of the threshold.

    Raises
    ------
    SettingError: a setting out of range, or a connectome that cannot be learnt with (edges with a count of 0, signs
        that conflict, none known). UnknownNameError: a column, parameter or option that does not exist.
    """
    rng = np.random.default_rng(whole_number("seed", seed))
    choice("level", level, Level)
    choice("kind of weights", weights, Weights)
    scale = {1: number("scale_e", scale_e, 0, above=True), -1: number("scale_i", scale_i, 0, above=True)}
    scale_of_input = number("scale_input", scale_input, 0, above=True)
    wiring = signed_wiring(connectome, sign_rule, unknown_sign)
    labels = labels_of(wiring, types) if level == "types" else None
    model = GIF(surrogate=surrogate)
    given = {**{k: p.default for k, p in model.parameters.items()}, **NEURON, **_known(neuron)}

    populations = [input_population(input_types, SpikeSource(), connectome.ids)]
    params: dict[str, dict[str, Any]] = {
        "input": {k: np.full(len(populations[0].types), p.default) for k, p in SpikeSource.parameters.items()}
    }
    owner = np.where(wiring.excites, 0, 1)
    local = np.zeros(owner.size, np.int64)
    recurrent: dict[int, Population] = {}
    for code, name in enumerate(("E", "I")):
        members = np.flatnonzero(owner == code)
        if not members.size:
            continue
        local[members] = np.arange(members.size)
        recurrent[code] = population_of(wiring, name, members, labels, model)
        n_types = len(recurrent[code].types)
        params[name] = {k: np.full(n_types, float(value)) for k, value in given.items()}
        width = number("spread", spread, 0, 0.999)
        params[name]["k_2_per_ms"] /= rng.uniform(1.0 - width, 1.0 + width, n_types)
    populations += recurrent.values()

    n, projections = owner.size, []
    reached = targets_of(connectome, input_to)
    sources, targets, size = input_edges(len(input_types), reached, input_probability, scale_of_input, rng)
    for code, post in recurrent.items():
        chosen = np.flatnonzero(owner[targets] == code)
        if chosen.size:
            edges = sorted_edges(sources[chosen], local[targets[chosen]], chosen)
            name = f"input_{post.name}"
            projections.append(
                projection_of(
                    name, populations[0], post, ExponentialConductance(), edges, size[edges.place], level, delay_ms
                )
            )
            params[name] = _synapse(1, len(projections[-1].types), tau_syn_ms)

    size = np.zeros(wiring.pre.size)
    for sign in (1, -1):
        chosen = np.flatnonzero(wiring.sign == sign)
        variance = scale[sign] * n / max(chosen.size, 1)
        if weights == "drawn":
            size[chosen] = half_normal(chosen.size, variance, rng)
        elif chosen.size:
            size[chosen] = np.sqrt(2.0 * variance / np.pi) * wiring.count[chosen] / wiring.count[chosen].mean()
    for pre_code, post_code, sign, edges in groups_of(wiring, owner, local, split_signs=True):
        pre, post = recurrent[pre_code], recurrent[post_code]
        name = f"{pre.name}_{post.name}"
        if sign != (1 if pre_code == 0 else -1):
            name += "_excitatory" if sign > 0 else "_inhibitory"
        projections.append(
            projection_of(name, pre, post, ExponentialConductance(), edges, size[edges.place], level, delay_ms)
        )
        params[name] = _synapse(sign, len(projections[-1].types), tau_syn_ms)
    net = Network(tuple(populations), tuple(projections), params)
    check_network(net)
    return net


def _known(neuron: Mapping[str, float] | None) -> dict[str, float]:
    for name in neuron or {}:
        if name not in GIF.parameters:
            raise unknown_name("parameter", name, GIF.parameters, "GIF")
    return dict(neuron or {})


def _synapse(sign: int, n_types: int, tau_syn_ms: float) -> dict[str, np.ndarray]:
    return {"log_gain": np.zeros(n_types), "tau_syn_ms": np.full(1, tau_syn_ms), "e_rev_mV": np.full(1, REVERSAL[sign])}
