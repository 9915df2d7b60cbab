"""NIR files: what the nir package reads back computes what the network computes here; lossy cases are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.pipelines.export import export
from connectofit.sim import SpikeTrains

nir = pytest.importorskip("nir", reason="nir is not installed")
DT_S = 1e-4


def spikes_of_graph(graph, given, n_steps):
    """The spikes of a NIR graph by its definition, with exact integration over steps in which spikes are pulses at the
    ends: {name: [time, neuron]}. given: those of its inputs."""
    out = {name: np.zeros((n_steps, int(np.prod(node.output_type["output"])))) for name, node in graph.nodes.items()}
    out |= given
    into = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    neurons = {n: node for n, node in graph.nodes.items() if isinstance(node, nir.LIF | nir.CubaLIF)}
    state = {n: (node.v_leak * 0 - 70.0, node.v_leak * 0) for n, node in neurons.items()}

    def arriving(name, m):
        total = 0.0
        for projection in into[name]:
            (delay,) = into[projection]
            (source,) = into[delay]
            steps = round(float(graph.nodes[delay].delay[0]) / DT_S)
            if m >= steps:
                total = total + graph.nodes[projection].weight @ out[source][m - steps]
        return total

    for m in range(n_steps):
        for name, node in neurons.items():
            v, i = state[name]
            pulse = arriving(name, m)
            if isinstance(node, nir.CubaLIF):
                # The solution of both equations over a step, integrated finely.
                fine = 40
                for _ in range(fine):
                    middle = i * np.exp(-0.5 * DT_S / fine / node.tau_syn)
                    target = node.v_leak + node.r * middle
                    v = target + (v - target) * np.exp(-DT_S / fine / node.tau_mem)
                    i = i * np.exp(-DT_S / fine / node.tau_syn)
                i = i + node.w_in * pulse / node.tau_syn
            else:
                v = node.v_leak + (v - node.v_leak) * np.exp(-DT_S / node.tau) + node.r * pulse / node.tau
            fired = v > node.v_threshold
            out[name][m] = fired
            state[name] = (np.where(fired, node.v_reset, v), i)
    return out


def rules(synapse, gains, params=None):
    free = {"t_ref_ms": 0.0, "i_bias_pA": {"by": "half", "table": {"h0": 140.0, "h1": 160.0}}, "v_reset_mV": -65.0}
    cells = {"name": "cells", "model": "lif", "where": "kind_of != 's'", "tie_by": "half", "params": free}
    pulses = {"name": "given", "model": "spike_source", "where": "kind_of == 's'"}
    edges = [
        {"name": "excites", "synapse": synapse, "where": "sign == 1", "gain": gains[0], "delay_ms": 0.5},
        {"name": "inhibits", "synapse": synapse, "where": "sign == -1", "gain": gains[1], "delay_ms": 1.5},
    ]
    for edge in edges:
        edge["params"] = params or {}
    return [cells, pulses], edges


@pytest.mark.parametrize(("synapse", "gains"), [("exponential", (25.0, 40.0)), ("delta", (0.8, 1.0))])
def test_what_nir_reads_back_fires_as_the_network_does_within_a_step(
    spiking, our_spikes, within_a_step, tmp_path, synapse, gains
):
    model = spiking(*rules(synapse, gains), {"e": 8, "i": 4, "s": 4}, signs={"i": -1}, onto=("e", "i"))
    graph = nir.read(export(model, tmp_path / "net.nir", format="nir"))
    sources = [i for i in model.network.ids if i.startswith("s")]
    rng = np.random.default_rng(8)
    times = [np.sort(rng.uniform(0.0, 100.0, 30)) for _ in sources]
    names = {node.metadata["name"]: name for name, node in graph.nodes.items() if "name" in node.metadata}
    given = np.zeros((1000, 4))
    for k, train in enumerate(times):
        given[np.floor(train / 0.1).astype(int), k] = 1.0
    out = spikes_of_graph(graph, {names["given"]: given}, 1000)
    theirs = {}
    for name in ("cells", "given"):
        ids = json.loads(graph.nodes[names[name]].metadata["ids"])
        theirs |= {i: np.flatnonzero(out[names[name]][:, k]) + 1 for k, i in enumerate(ids)}
    ours = our_spikes(model, [SpikeTrains(sources, times)], duration_ms=100.0)
    within_a_step(ours, theirs)


def test_parameters_weights_and_delays_stand_in_the_graph(spiking, tmp_path):
    params = {"tau_syn_ms": 4.0}
    model = spiking(*rules("exponential", (2.0, 3.0), params), {"e": 6, "s": 2}, onto=("e",), probability=0.5)
    graph = nir.read(export(model, tmp_path / "net.nir", format="nir"))
    node = next(n for n in graph.nodes.values() if isinstance(n, nir.CubaLIF))
    np.testing.assert_allclose(node.tau_mem, 0.02)
    np.testing.assert_allclose(node.tau_syn, 0.004)
    np.testing.assert_allclose(node.v_leak[:2], [-70.0 + 14.0, -70.0 + 16.0])
    weights = sum(n.weight.sum() for n in graph.nodes.values() if isinstance(n, nir.Linear))
    assert weights == pytest.approx(np.nansum(model.tables()[1].column("model.weight").to_numpy()))
    assert {float(n.delay[0]) for n in graph.nodes.values() if isinstance(n, nir.Delay)} == {5e-4}


LIF = {"name": "cells", "model": "lif", "params": {"t_ref_ms": 0.0}}
EDGE = {"name": "excites", "synapse": "exponential", "delay_ms": 1.0}
REFUSED = {
    "refractory periods": ({**LIF, "params": {"t_ref_ms": 2.0}}, [EDGE], "refractory period"),
    "delays of edges": (LIF, [{**EDGE, "delay_ms": {"column": "delay_ms"}}], "delays of their own"),
    "several time constants": (
        LIF,
        [{**EDGE, "where": "count < 3"}, {**EDGE, "name": "b", "where": "count > 2", "params": {"tau_syn_ms": 9.0}}],
        "several time constants",
    ),
    "two kinds": (
        LIF,
        [{**EDGE, "where": "count < 3"}, {**EDGE, "name": "b", "where": "count > 2", "synapse": "delta"}],
        "a neuron of NIR one kind",
    ),
    "conductances": (LIF, [{**EDGE, "synapse": "exponential_conductance"}], "NIR takes exponential"),
    "other neurons": ({"name": "cells", "model": "glif3"}, [EDGE], "NIR takes lif"),
    "noise": ({**LIF, "params": {"t_ref_ms": 0.0, "noise_mV": 1.0}}, [EDGE], "noise"),
}


def test_a_network_without_sources_is_refused(spiking, tmp_path):
    model = spiking([LIF], [EDGE], {"e": 8}, probability=0.5)
    with pytest.raises(SettingError, match="no population of sources"):
        export(model, tmp_path / "net.nir", format="nir")


@pytest.mark.parametrize("case", REFUSED)
def test_lossy_cases_are_refused_with_the_reason(spiking, tmp_path, case):
    cells, edges, reason = REFUSED[case]
    model = spiking([cells], edges, {"e": 8}, probability=0.5)
    with pytest.raises(SettingError, match=reason):
        export(model, tmp_path / "net.nir", format="nir")
    assert not list(tmp_path.iterdir())
