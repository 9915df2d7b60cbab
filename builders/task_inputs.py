"""Inputs for a network that has none: a population of spike sources, with synapses from it onto other populations.

What `build` makes of a connectome and a specification can so be trained on a task (`connectofit.fit.train.train_task`),
whatever its neurons are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from connectofit.builders.task_wiring import Level, choice, input_edges, input_population, projection_of, sorted_edges
from connectofit.connectome.errors import SettingError, offenders
from connectofit.connectome.synthetic.drawing import number, whole_number
from connectofit.sim import ExponentialConductance, Network, Population, SpikeSource, check_network

INPUT = "input"
_THRESHOLDS = ("theta_inf_mV", "v_threshold_mV")
_LEAKS = ("g_nS", "g_leak_nS")


def rheobase_nS(population: Population, params: Mapping[str, Any], e_rev_mV: float) -> Float[np.ndarray, " type"]:
    """The conductance with the reversal potential `e_rev_mV` whose current at rest is the rheobase (the leak's at the
    threshold), up or down, of each type of neurons: g_leak (V_threshold - V_rest) / |e_rev - V_rest|.

    Raises `SettingError` for models without a leak, a rest and a threshold, a threshold that is not above rest, and a
    reversal potential that is the resting one.
    """
    threshold = next((name for name in _THRESHOLDS if name in params), None)
    leak = next((np.asarray(params[name]) for name in _LEAKS if name in params), None)
    if leak is None and "r_m_GOhm" in params:
        leak = 1.0 / np.asarray(params["r_m_GOhm"])
    if leak is None or threshold is None:
        raise SettingError(
            f"Neurons of population {population.name!r} ({population.model.kind}) have no leak and threshold to scale "
            "conductances by. Give their size, weight_nS."
        )
    rest = np.asarray(params[population.model.rest])
    reach, pull = np.asarray(params[threshold]) - rest, np.abs(e_rev_mV - rest)
    wrong = np.flatnonzero((reach <= 0) | (pull == 0))
    if wrong.size:
        raise SettingError(
            f"Neurons of population {population.name!r} have a threshold at or below rest, or rest at {e_rev_mV:g} mV: "
            f"types {offenders([population.types[k] for k in wrong])}. Give the size of conductances, weight_nS."
        )
    return np.asarray(leak * reach / pull)


def with_inputs(
    network: Network,
    input_types: Sequence[str],
    *,
    seed: int,
    drive: float = 3.0,
    weight_nS: Mapping[str, float] | None = None,
    to: Sequence[str] | None = None,
    probability: float = 1.0,
    level: Level = "edges",
    tau_syn_ms: float = 10.0,
    e_rev_mV: float = 0.0,
    delay_ms: float = 1.0,
    replace: bool = False,
) -> Network:
    """The network with a population "input" (`SpikeSource`) and projections "input_NAME" from it onto populations.

    Parameters
    ----------
    network
        Of spiking neurons.
    input_types
        A label for each input, such as a task's `input_types`.
    seed
        An integer; the same seed gives the same network.
    drive
        Weights are |N(0, (drive w)^2 / n_in)|, n_in the mean number of inputs of a neuron and w the conductance whose
        current at rest is the rheobase (`rheobase_nS`). In the networks of `task_network` drive is 3.
    weight_nS
        {population: w} in place of it.
    to, probability
        The populations that inputs reach (None: all), and with which probability each input reaches each neuron.
    level
        What has a gain of its own: "edges", or "types", each pair of an input's type and a neuron's.
    tau_syn_ms, e_rev_mV, delay_ms
        Of the inputs' conductances.
    replace
        Take away the inputs that the network has, as for another task; without it such a network is refused.

    Raises
    ------
    SettingError: a setting out of range, neurons that no size of conductances follows for. UnknownNameError: a
        population that does not exist.
    """
    rng = np.random.default_rng(whole_number("seed", seed))
    choice("level", level, Level)
    size = number("drive", drive, 0, above=True)
    if any(p.name == INPUT for p in network.populations):
        if not replace:
            raise SettingError(
                f"The network has a population {INPUT!r} already. Say replace=True to put other inputs in its place."
            )
        network = _without_inputs(network)
    chosen = [network.population(name) for name in to] if to is not None else list(network.populations)
    sizes = {network.population(k).name: number(f"weight_nS of {k}", v, 0) for k, v in (weight_nS or {}).items()}
    source = input_population(input_types, SpikeSource(), network.ids)
    params: dict[str, Any] = dict(network.params)
    params[INPUT] = {k: np.full(len(source.types), p.default) for k, p in SpikeSource.parameters.items()}
    projections = []
    for population in chosen:
        of_neuron = np.full(population.size, sizes.get(population.name, np.nan))
        if population.name not in sizes:
            of_neuron = rheobase_nS(population, network.params[population.name], e_rev_mV)[population.type_index]
        pre, post, weight = input_edges(source.size, np.arange(population.size), probability, size**2, rng)
        edges = sorted_edges(pre, post, np.arange(pre.size))
        weight = (weight * of_neuron[post])[edges.place]
        synapse = ExponentialConductance()
        name = f"{INPUT}_{population.name}"
        projections.append(projection_of(name, source, population, synapse, edges, weight, level, delay_ms))
        n_types = len(projections[-1].types)
        params[name] = {
            "log_gain": np.zeros(n_types),
            "tau_syn_ms": np.full(1, float(tau_syn_ms)),
            "e_rev_mV": np.full(1, float(e_rev_mV)),
        }
    net = Network((source, *network.populations), (*projections, *network.projections), params)
    check_network(net)
    return net


def _without_inputs(network: Network) -> Network:
    kept = tuple(p for p in network.populations if p.name != INPUT)
    wires = tuple(p for p in network.projections if p.pre != INPUT)
    owners = {p.name for p in kept} | {p.name for p in wires}
    return Network(kept, wires, {name: values for name, values in network.params.items() if name in owners})
