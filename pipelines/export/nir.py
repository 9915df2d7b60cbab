"""NIR, the Neuromorphic Intermediate Representation: networks of the neurons that it has, as a graph in one HDF5 file.

(Pedersen et al. 2024, Nat Commun 15:8122.) Its neurons are, in its symbols,

    tau_mem dv/dt = (v_leak - v) + R I,     tau_syn dI/dt = -I + w_in S,     v > v_threshold: spike, v = v_reset

with spikes S as Dirac pulses. LIF populations with exponential synapses of one time constant become CubaLIF with
w_in = tau_syn, so that a spike moves I by the weight; those with delta synapses become LIF, whose weights are those
here times tau / R, so that a spike moves v by the weight. A constant current goes into v_leak. Times are in seconds,
all else in mV, pA and GOhm. Projections are Linear, their delays Delay; sources of spikes are Input, and every
population of neurons has an Output.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.extras import needed
from connectofit.pipelines.bundle import Model
from connectofit.pipelines.export.point_network import (
    SOURCES,
    Cells,
    Contacts,
    Limits,
    PointNetwork,
    point_network,
    whole_steps,
)

_S_PER_MS = 1e-3
_MOST = 2**27  # entries of a matrix of weights


def write_nir(model: Model, path: Path, *, dt_ms: float = 0.1) -> None:
    """One file, which ``nir.read`` opens. dt_ms: the step that delays and refractory periods are rounded to here.

    Raises `SettingError` for what NIR's neurons do not have: refractory periods, delays that differ between the edges
    of a projection, conductances, time courses other than one exponential for all synapses of a population.
    """
    nir = needed("nir", "nir", "Writing NIR")
    limits = Limits(
        "NIR", cells=("lif", *SOURCES), synapses=("exponential", "delta"), further=lambda n: _against(n, dt_ms)
    )
    point = point_network(model.network, dt_ms, limits)
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    names: dict[str, str] = {}
    for k, cells in enumerate(point.cells):
        names[cells.name] = f"population_{k}"
        facts = {"name": cells.name, "ids": json.dumps(list(cells.ids))}
        if cells.kind in SOURCES:
            nodes[f"population_{k}"] = nir.Input({"input": np.array([cells.size])})
            nodes[f"population_{k}"].metadata = facts
            continue
        nodes[f"population_{k}"] = _neurons(nir, cells, point.onto(cells.name))
        nodes[f"population_{k}"].metadata = facts
        nodes[f"output_{k}"] = nir.Output({"output": np.array([cells.size])})
        edges.append((f"population_{k}", f"output_{k}"))
    for k, each in enumerate(point.contacts):
        pre, post = point.of(each.pre), point.of(each.post)
        weight = np.zeros((post.size, pre.size))
        scale = 1.0
        if each.kind == "delta":
            scale = post.values["tau_m_ms"][each.post_index] * _S_PER_MS / post.values["r_m_GOhm"][each.post_index]
        np.add.at(weight, (each.post_index, each.pre_index), each.weight * scale)
        # A spike that arrives at the end of its step acts from there on, after one step for the shortest delay.
        delay_ms = each.delay_steps[0] * dt_ms if each.delay_steps.size else dt_ms
        nodes[f"delay_{k}"] = nir.Delay(np.full(pre.size, delay_ms * _S_PER_MS))
        nodes[f"projection_{k}"] = nir.Linear(weight)
        nodes[f"projection_{k}"].metadata = {"name": each.name}
        edges += [(names[each.pre], f"delay_{k}"), (f"delay_{k}", f"projection_{k}")]
        edges.append((f"projection_{k}", names[each.post]))
    units = "s for times; mV, pA, GOhm; weights onto LIF: mV s / GOhm"
    graph = nir.NIRGraph(nodes, edges, metadata={"source": "connectofit", "units": units})
    nir.write(path, graph)


def _against(net: PointNetwork, dt_ms: float) -> Sequence[str]:
    reasons = []
    if all(cells.kind == "lif" for cells in net.cells):
        reasons.append("it has no population of sources, and NIR's graphs begin with an input")
    for cells in net.cells:
        onto = net.onto(cells.name)
        if cells.kind == "lif" and np.any(whole_steps(cells.values["t_ref_ms"], dt_ms) > 0):
            reasons.append(f"population {cells.name!r} has a refractory period, and NIR's neurons have none")
        if len({each.kind for each in onto}) > 1:
            reasons.append(
                f"population {cells.name!r} gets exponential and delta synapses, and a neuron of NIR one kind"
            )
        taus = [each.values["tau_syn_ms"] for each in onto if each.kind == "exponential"]
        if any(not np.array_equal(tau, taus[0]) for tau in taus):
            reasons.append(f"synapses onto population {cells.name!r} have several time constants, and CubaLIF has one")
    for each in net.contacts:
        if np.unique(each.delay_steps).size > 1:
            reasons.append(f"the edges of projection {each.name!r} have delays of their own, and NIR's Delay has not")
        if net.of(each.pre).size * net.of(each.post).size > _MOST:
            reasons.append(f"projection {each.name!r} would be a dense matrix of more than {_MOST} weights")
    return reasons


def _neurons(nir: Any, cells: Cells, onto: Sequence[Contacts]) -> Any:
    p = cells.values
    shared = {
        "r": p["r_m_GOhm"],
        "v_leak": p["v_rest_mV"] + p["r_m_GOhm"] * p["i_bias_pA"],
        "v_threshold": p["v_threshold_mV"],
        "v_reset": p["v_reset_mV"],
    }
    tau = p["tau_m_ms"] * _S_PER_MS
    if onto and onto[0].kind == "exponential":
        tau_syn = onto[0].values["tau_syn_ms"] * _S_PER_MS
        return nir.CubaLIF(tau_syn=tau_syn, tau_mem=tau, w_in=tau_syn.copy(), **shared)
    return nir.LIF(tau=tau, **shared)
