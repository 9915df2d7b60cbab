"""The way back from a network: what it gives builds a network with the same activity, which bundles can hold."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from connectofit.builders import Delays, EdgeRule, ModelSpec, NeuronRule, build, spec_of, task_network
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.pipelines.bundle import Model, load_model, write_bundle
from connectofit.sim import rollout

N_INPUTS = 6


@pytest.fixture(scope="module")
def graph():
    return erdos_renyi(40, seed=0, probability=0.2, inhibitory=0.25)


def trained(graph, **options):
    """A network for tasks whose parameters are not what it began with."""
    net = task_network(graph, ["left"] * 3 + ["right"] * 3, seed=1, **options)
    rng = np.random.default_rng(2)
    params = {
        owner: {k: v + (rng.normal(0.0, 0.3, np.shape(v)) if k == "log_gain" else 0.0) for k, v in values.items()}
        for owner, values in net.params.items()
    }
    return net.with_params(params)


def spikes_of(net, steps=150):
    forced = {"input": jax.random.bernoulli(jax.random.key(3), 0.3, (steps, N_INPUTS)).astype(jnp.float32)}
    record = {p.name: ("spikes",) for p in net.populations if p.name != "input"}
    _, found = rollout(net, None, {}, dt_ms=1.0, forced=forced, record=record)
    return {name: np.asarray(each["spikes"]) for name, each in found.items()}


OPTIONS = [{"level": "types", "types": "layer", "weights": "count"}, {"level": "edges"}, {"level": "types"}]


def with_layers(graph):
    """Counts above 1, and a column of types that says nothing about signs."""
    rng = np.random.default_rng(0)
    layers = pa.array([f"L{k}" for k in rng.integers(2, 6, graph.n_neurons)])
    count = rng.integers(1, 9, graph.n_edges, np.int32)
    return replace(graph, neurons=graph.neurons.append_column("layer", layers), count=count)


def edges_of(net):
    """{(presynaptic id, postsynaptic id): (effective weight, delay, time constant, reversal)}."""
    found = {}
    for p in net.projections:
        values = net.params[p.name]
        weight = np.asarray(p.weight(jnp.asarray(values["log_gain"])))
        pre, post = net.population(p.pre).ids, net.population(p.post).ids
        rest = (p.delay_ms, float(values["tau_syn_ms"][0]), float(values["e_rev_mV"][0]))
        for i, j, w in zip(p.pre_index.tolist(), np.asarray(p.post_index).tolist(), weight.tolist(), strict=True):
            found[str(pre[i]), str(post[j])] = (w, *rest)
    return found


@pytest.mark.few(1)
@pytest.mark.parametrize("options", OPTIONS)
def test_edges_neurons_and_values_are_those_of_the_network(graph, options):
    counted = with_layers(graph)
    net = trained(counted, **options)
    again = spec_of(net, counted)[2]
    assert edges_of(again) == edges_of(net)
    for old, new in zip(net.populations, again.populations, strict=True):
        assert (new.name, new.model, new.ids) == (old.name, old.model, tuple(map(str, old.ids)))
        for name, values in net.params[old.name].items():
            found = np.asarray(again.params[new.name][name])[np.asarray(new.type_index)]
            np.testing.assert_array_equal(found, np.asarray(values)[np.asarray(old.type_index)])


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_the_network_that_comes_back_spikes_alike_also_from_a_bundle(graph, options, tmp_path):
    counted = with_layers(graph)
    net = trained(counted, **options)
    connectome, spec, again = spec_of(net, counted)
    wanted, found = spikes_of(net), spikes_of(again)
    assert sum(int(x.sum()) for x in wanted.values()) > 200
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    read = load_model(write_bundle(Model(again, connectome, spec), tmp_path / "model"))
    for name, values in spikes_of(read.network).items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
    tied = {p.name: len(p.types) for p in net.projections}
    assert {p.name.partition(":")[0]: len(p.types) for p in again.projections} == tied


def test_counts_and_signs_are_the_connectomes(graph):
    counted = replace(graph, count=np.arange(1, graph.n_edges + 1, dtype=np.int32))
    connectome, _, _ = spec_of(trained(counted), counted)
    known = {
        (str(row["pre"]), str(row["post"])): (row["count"], row["sign"]) for row in counted.edge_table().to_pylist()
    }
    rows = connectome.edge_table().to_pylist()
    inner = [row for row in rows if not row["pre"].startswith("input_")]
    assert len(inner) == graph.n_edges
    assert all((row["count"], row["sign"]) == known[row["pre"], row["post"]] for row in inner)
    outer = [row for row in rows if row["pre"].startswith("input_")]
    assert {(row["count"], row["sign"]) for row in outer} == {(1, 1)}


def two_kinds():
    """Signed synapses with delays of their own, gap junctions, and types of two ends."""
    neurons = pa.table({"id": [10, 11, 12, 13], "cell": ["a", "a", "b", "b"]})
    pre, post = np.array([0, 0, 1, 2, 3, 0, 2]), np.array([1, 2, 3, 0, 1, 2, 0])
    kind = np.array([0, 0, 0, 0, 0, 1, 1], np.int8)
    sign = np.array([1, 1, 1, -1, -1, 0, 0], np.int8)
    delays = pa.table({"d": [0.5, 1.0, 1.5, 2.0, 0.7, 0.0, 0.0]})
    graph = Connectome.from_edges(
        neurons, pre=pre, post=post, count=np.array([1, 2, 3, 4, 5, 6, 6]), kind=kind, sign=sign, edge_columns=delays
    )
    synapses = EdgeRule("syn", "exponential", "kind == 'chemical'", tie_by=("pre.cell",), delay_ms=Delays("d"))
    gaps = EdgeRule("gap", "gap_junction", "kind == 'electrical'")
    rules = (NeuronRule("A", "lif", "cell == 'a'"), NeuronRule("B", "lif", "cell == 'b'", tie_by="id"))
    return graph, ModelSpec(rules, (synapses, gaps))


def test_delays_gap_junctions_and_signed_weights_come_back():
    graph, spec = two_kinds()
    net = build(graph, spec)
    again = spec_of(net, graph)[2]
    key = lambda p: (p.pre, p.post, p.synapse.kind)  # noqa: E731
    new = {key(p): p for p in again.projections}
    assert len(new) == len(net.projections) == len(again.projections)
    for old in net.projections:
        found = new[key(old)]
        for name in ("indptr", "post_index", "base_weight"):
            np.testing.assert_array_equal(getattr(found, name), getattr(old, name))
        delays = [p.delay_ms if p.edge_delay_ms is None else p.edge_delay_ms for p in (old, found)]
        np.testing.assert_array_equal(np.broadcast_to(delays[0], old.n_edges), np.broadcast_to(delays[1], old.n_edges))
    assert spec_of(net, graph)[0].ids == graph.ids


def test_what_a_connectome_cannot_say_is_refused(graph):
    net = trained(graph)
    first = net.projections[0]
    twice = replace(net, projections=(*net.projections, replace(first, name="again")))
    twice = replace(twice, params={**net.params, "again": net.params[first.name]})
    with pytest.raises(SettingError, match=r"several edges of one kind.*input_0 -> "):
        spec_of(twice)
    spec = ModelSpec(
        (NeuronRule("all", "graded_leaky"),),
        (EdgeRule("f", "graded"), EdgeRule("r", "graded", direction="reverse")),
    )
    with pytest.raises(SettingError, match="against the direction"):
        spec_of(build(graph, spec))
