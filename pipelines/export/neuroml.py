"""NeuroML 2: populations, projections with weights and delays, and the cells and synapses that it has, as one XML file.

(Cannon et al. 2014, Front Neuroinform 8:79.) LIF neurons are iafRefCell; a NeuroML population has one cell, so that
each type of a population is a population of its own. Conductances are expOneSynapse, alphaSynapse and expTwoSynapse
with a conductance of 1 nS times the connection's weight; currents expCurrSynapse (weights in nA) and
alphaCurrentSynapse (1 pA times the weight). Given spikes are spikeArray, Poisson sources spikeGeneratorPoisson,
constant currents pulseGenerator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.extras import needed
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export.given_input import GivenInput, given_input
from connectofit.pipelines.export.point_network import (
    SOURCES,
    Cells,
    Contacts,
    Limits,
    PointNetwork,
    point_network,
    refusal,
    whole_steps,
)
from connectofit.pipelines.export.tables import NOT_XML
from connectofit.sim import Stimulus

_SYNAPSES = (
    "exponential",
    "alpha",
    "exponential_conductance",
    "alpha_conductance",
    "dual_exponential_conductance",
)
Group = tuple[str, int]  # the NeuroML population of a neuron, and its index there


def write_neuroml(
    model: Model,
    path: Path,
    *,
    dt_ms: float = 0.1,
    duration_ms: float = 1000.0,
    stimuli: Sequence[Stimulus] = (),
    seed: int = 0,
) -> None:
    """One file, valid against NeuroML's schema. dt_ms: the step that delays and refractory periods are rounded to here.
    duration_ms, stimuli, seed: of the spikes that sources are given, as for `connectofit.sim.simulate`.

    Raises `SettingError` for cells and synapses that NeuroML does not have, and for currents as stimuli.
    """
    nml = needed("neuroml", "neuroml", "Writing NeuroML")
    writers = needed("neuroml.writers", "neuroml", "Writing NeuroML")
    limits = Limits("NeuroML", cells=("lif", *SOURCES), synapses=_SYNAPSES, further=_against)
    point = point_network(model.network, dt_ms, limits)
    given = given_input(model.network, stimuli, duration_ms=duration_ms, dt_ms=dt_ms, seed=seed)
    if given.currents:
        raise refusal("NeuroML", [f"stimuli are currents into {name!r}" for name in given.currents])
    document = nml.NeuroMLDocument(id="connectofit")
    network = nml.Network(id="network")
    document.networks.append(network)
    places: dict[str, list[Group]] = {}
    for k, cells in enumerate(point.cells):
        if cells.kind == "lif":
            places[cells.name] = _neurons(nml, document, network, k, cells, dt_ms)
        else:
            places[cells.name] = _sources(nml, document, network, k, cells, given)
    for k, each in enumerate(point.contacts):
        _project(nml, document, network, k, each, places, dt_ms)
    writers.NeuroMLWriter.write(document, str(path))


def _against(net: PointNetwork) -> Sequence[str]:
    texts: list[str | int] = [*(c.name for c in net.cells), *(c.name for c in net.contacts)]
    texts += [i for c in net.cells for i in c.ids]
    wrong = [text for text in texts if isinstance(text, str) and NOT_XML.search(text)]
    return [f"the name {text!r} has characters that XML cannot hold" for text in wrong]


def _number(value: float, unit: str) -> str:
    return f"{float(value)!r} {unit}"


def _types(columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(an example of each different row, the row's type of each neuron)."""
    _, examples, type_of = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    return examples, type_of.reshape(-1)


def _population(nml: Any, network: Any, name: str, component: str, cells: Cells, members: np.ndarray) -> None:
    population = nml.Population(id=name, component=component, size=len(members))
    # Notes, since jNeuroML does not run populations that have properties.
    ids = [cells.ids[i] for i in members.tolist()]
    population.notes = json.dumps({"population": cells.name, "ids": ids}, ensure_ascii=False)
    network.populations.append(population)


def _neurons(nml: Any, document: Any, network: Any, k: int, cells: Cells, dt_ms: float) -> list[Group]:
    p = {**cells.values, "t_ref_ms": whole_steps(cells.values["t_ref_ms"], dt_ms)}
    examples, type_of = _types([p[name] for name in sorted(p)])
    places: list[Group] = [("", 0)] * cells.size
    for t, i in enumerate(examples.tolist()):
        name, members = f"population_{k}_{t}", np.flatnonzero(type_of == t)
        cell = nml.IafRefCell(
            id=f"cell_{k}_{t}",
            refract=_number(p["t_ref_ms"][i], "ms"),
            leak_reversal=_number(p["v_rest_mV"][i], "mV"),
            thresh=_number(p["v_threshold_mV"][i], "mV"),
            reset=_number(p["v_reset_mV"][i], "mV"),
            C=_number(p["tau_m_ms"][i] / p["r_m_GOhm"][i], "pF"),
            leak_conductance=_number(1.0 / p["r_m_GOhm"][i], "nS"),
        )
        document.iaf_ref_cells.append(cell)
        _population(nml, network, name, cell.id, cells, members)
        for index, member in enumerate(members.tolist()):
            places[member] = (name, index)
        if p["i_bias_pA"][i] != 0:
            _constant_current(nml, document, network, name, len(members), p["i_bias_pA"][i])
    return places


def _constant_current(nml: Any, document: Any, network: Any, population: str, size: int, pA: float) -> None:
    pulse = nml.PulseGenerator(
        id=f"bias_{population}", delay="0 ms", duration="1000000000 ms", amplitude=_number(pA, "pA")
    )
    document.pulse_generators.append(pulse)
    inputs = nml.InputList(id=f"inputs_{population}", component=pulse.id, populations=population)
    for index in range(size):
        target = f"../{population}[{index}]"
        inputs.input.append(nml.Input(id=index, target=target, destination="synapses"))
    network.input_lists.append(inputs)


def _sources(nml: Any, document: Any, network: Any, k: int, cells: Cells, given: GivenInput) -> list[Group]:
    """Sources of spikes: of given ones each a population of one; of Poisson ones a population for each rate."""
    places: list[Group] = [("", 0)] * cells.size
    if cells.kind == "poisson_source":
        examples, type_of = _types([cells.values["rate_Hz"]])
        for t, i in enumerate(examples.tolist()):
            name, members = f"population_{k}_{t}", np.flatnonzero(type_of == t)
            rate = _number(cells.values["rate_Hz"][i], "Hz")
            document.spike_generator_poissons.append(
                nml.SpikeGeneratorPoisson(id=f"poisson_{k}_{t}", average_rate=rate)
            )
            _population(nml, network, name, f"poisson_{k}_{t}", cells, members)
            for index, member in enumerate(members.tolist()):
                places[member] = (name, index)
        return places
    neuron, step = given.spikes[cells.name]
    for i in range(cells.size):
        times = np.sort((step[neuron == i] + 1) * given.dt_ms)
        train = nml.SpikeArray(id=f"spikes_{k}_{i}")
        train.spikes = [nml.Spike(id=m, time=_number(round(t, 9), "ms")) for m, t in enumerate(times.tolist())]
        document.spike_arrays.append(train)
        _population(nml, network, f"population_{k}_{i}", train.id, cells, np.array([i]))
        places[i] = (f"population_{k}_{i}", 0)
    return places


def _synapse(nml: Any, document: Any, name: str, kind: str, p: dict[str, float]) -> float:
    """Add a synapse; returns the factor from weights here to those of its connections."""
    ms = {key: _number(value, "ms") for key, value in p.items() if key.endswith("_ms")}
    erev = _number(p["e_rev_mV"], "mV") if "e_rev_mV" in p else ""
    if kind == "exponential":
        document.exp_curr_synapses.append(nml.ExpCurrSynapse(id=name, tau_syn=p["tau_syn_ms"]))
        return 1e-3  # nA
    if kind == "alpha":
        document.alpha_current_synapses.append(nml.AlphaCurrentSynapse(id=name, tau=ms["tau_syn_ms"], ibase="1 pA"))
    elif kind == "exponential_conductance":
        made = nml.ExpOneSynapse(id=name, gbase="1 nS", erev=erev, tau_decay=ms["tau_syn_ms"])
        document.exp_one_synapses.append(made)
    elif kind == "alpha_conductance":
        document.alpha_synapses.append(nml.AlphaSynapse(id=name, gbase="1 nS", erev=erev, tau=ms["tau_syn_ms"]))
    else:
        rise, decay = ms["tau_rise_ms"], ms["tau_decay_ms"]
        made = nml.ExpTwoSynapse(id=name, gbase="1 nS", erev=erev, tau_rise=rise, tau_decay=decay)
        document.exp_two_synapses.append(made)
    return 1.0


def _project(
    nml: Any, document: Any, network: Any, k: int, each: Contacts, places: dict[str, list[Group]], dt_ms: float
) -> None:
    """A projection for every pair of NeuroML populations, with a synapse for every type of its parameters."""
    examples, type_of = _types([each.values[name] for name in sorted(each.values)])
    factors = [
        _synapse(nml, document, f"synapse_{k}_{t}", each.kind, {name: float(v[i]) for name, v in each.values.items()})
        for t, i in enumerate(examples.tolist())
    ]
    made: dict[tuple[str, str, int], Any] = {}
    for pre, post, weight, steps in zip(
        each.pre_index.tolist(), each.post_index.tolist(), each.weight.tolist(), each.delay_steps.tolist(), strict=True
    ):
        (source, i), (target, j), t = places[each.pre][pre], places[each.post][post], int(type_of[post])
        if (source, target, t) not in made:
            made[source, target, t] = nml.Projection(
                id=f"projection_{k}_{len(made)}",
                presynaptic_population=source,
                postsynaptic_population=target,
                synapse=f"synapse_{k}_{t}",
            )
            network.projections.append(made[source, target, t])
        connections = made[source, target, t].connection_wds
        connections.append(
            nml.ConnectionWD(
                id=len(connections),
                pre_cell_id=f"../{source}[{i}]",
                post_cell_id=f"../{target}[{j}]",
                weight=weight * factors[t],
                delay=_number(round(steps * dt_ms, 9), "ms"),
            )
        )
