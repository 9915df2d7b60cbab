"""Networks that learn tasks: wiring, signs, weights and types from a connectome; and what cannot be learnt with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from connectofit.builders import rate_network, task_network
from connectofit.builders.rate_network import radius_of
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.sim import rollout

INPUTS = ("left",) * 3 + ("right",) * 2
BUILDERS = pytest.mark.parametrize("build", [task_network, rate_network])


def by_hand(edges, n=5, kind=None) -> Connectome:
    """Neurons n0, n1, ... of the types x and y in turn, from (pre, post, count, sign) of each edge."""
    pre, post, count, sign = (np.array(column) for column in zip(*edges, strict=True))
    neurons = pa.table({"id": [f"n{k}" for k in range(n)], "kind_of_cell": ["x" if k % 2 else "y" for k in range(n)]})
    return Connectome.from_edges(neurons, pre=pre, post=post, count=count, sign=sign, kind=kind)


EDGES = [(0, 1, 4, 1), (0, 2, 1, 1), (1, 0, 2, -1), (1, 4, 6, -1), (2, 2, 3, 1), (4, 1, 5, 1), (4, 0, 1, 1)]


@pytest.fixture(scope="module")
def small() -> Connectome:
    """n0, n2 and n4 excite, n1 inhibits, n3 sends nothing; n2 has a self-loop."""
    return by_hand(EDGES)


@pytest.fixture(scope="module")
def random() -> Connectome:
    """400 neurons, four excitatory to one inhibitory, 10 % of the pairs joined."""
    return erdos_renyi(400, probability=0.1, seed=4)


def signed_edges(net) -> dict[tuple, float]:
    """{(pre id, post id): effective sign times weight} of everything but the inputs."""
    found = {}
    for projection in net.projections:
        if projection.pre == "input":
            continue
        pre, post = net.population(projection.pre).ids, net.population(projection.post).ids
        params = net.params[projection.name]
        weight = projection.weight(jnp.asarray(params["log_gain"]))
        direction = np.sign(params["e_rev_mV"][0]) if "e_rev_mV" in params else 1.0
        for i, j, w in zip(projection.pre_index, projection.post_index, weight, strict=True):
            found[pre[i], post[j]] = float(direction * w)
    return found


@BUILDERS
@pytest.mark.parametrize("level", ["edges", "types"])
@pytest.mark.parametrize("weights", ["drawn", "count"])
def test_edges_and_signs_are_those_of_the_connectome(build, level, weights, small):
    found = signed_edges(build(small, INPUTS, seed=0, level=level, weights=weights))
    expected = {(f"n{i}", f"n{j}"): sign for i, j, _, sign in EDGES}
    assert {pair: np.sign(w) for pair, w in found.items()} == expected


@BUILDERS
def test_a_seed_makes_the_same_network_and_another_seed_the_same_edges(build, small):
    one, again, other = (signed_edges(build(small, INPUTS, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one.keys() == other.keys()
    assert one != other


@BUILDERS
def test_inputs_reach_every_neuron_or_those_that_an_expression_names(build, small):
    for expression, targets in ((None, {"n0", "n1", "n2", "n3", "n4"}), ("kind_of_cell == 'x'", {"n1", "n3"})):
        net = build(small, INPUTS, seed=0, input_to=expression)
        projections = [p for p in net.projections if p.pre == "input"]
        reached = {net.population(p.post).ids[j] for p in projections for j in p.post_index}
        assert reached == targets
        assert sum(p.n_edges for p in projections) == 5 * len(targets)
        assert all((np.asarray(p.base_weight) > 0).all() for p in projections)


def test_every_edge_has_a_gain_or_every_pair_of_types_has(small):
    edges = task_network(small, INPUTS, seed=0)
    assert all(len(p.types) == p.n_edges for p in edges.projections)
    assert np.array_equal(edges.projection("E_E").type_index, np.arange(edges.projection("E_E").n_edges))
    types = task_network(small, INPUTS, seed=0, level="types", types="kind_of_cell")
    assert types.population("E").types == ("x", "y")
    assert types.projection("input_E").types == (("left", "x"), ("left", "y"), ("right", "x"), ("right", "y"))
    assert types.projection("E_I").types == (("y", "x"),)
    labelled = task_network(small, INPUTS, seed=0, level="types", types=list("abcde"))
    assert labelled.population("E").types == ("a", "c", "d", "e")


def test_weights_by_count_are_in_proportion_to_it_with_the_mean_of_a_half_normal(small):
    found = signed_edges(task_network(small, INPUTS, seed=0, weights="count", scale_e=2.0, scale_i=5.0))
    excitatory = {("n0", "n1"): 4, ("n0", "n2"): 1, ("n2", "n2"): 3, ("n4", "n1"): 5, ("n4", "n0"): 1}
    mean = np.sqrt(2.0 * (2.0 / (5 / 5)) / np.pi)  # five excitatory edges onto five neurons
    for pair, count in excitatory.items():
        assert found[pair] == pytest.approx(mean * count / 2.8, rel=1e-5)
    mean = np.sqrt(2.0 * (5.0 / (2 / 5)) / np.pi)
    assert found["n1", "n0"] == pytest.approx(-mean * 2 / 4, rel=1e-5)
    assert found["n1", "n4"] == pytest.approx(-mean * 6 / 4, rel=1e-5)


def test_drawn_weights_are_half_normal_with_the_variance_of_the_paper(random):
    net = task_network(random, ("a",) * 100, seed=3)
    for names, scale, n_in in (
        (("E_E", "E_I"), 1.0, 0.1 * 399 * 0.8),
        (("I_E", "I_I"), 4.0, 0.1 * 399 * 0.2),
        (("input_E", "input_I"), 1.0, 100),
    ):
        weight = np.concatenate([net.projection(name).base_weight for name in names])
        scaled = weight / np.sqrt(scale / n_in)
        assert np.mean(scaled**2) == pytest.approx(1.0, abs=0.06)
        assert stats.kstest(scaled[:1000], stats.halfnorm.cdf).pvalue > 1e-3


def test_the_neurons_are_rescaled_to_a_threshold_of_one_and_reversal_potentials_of_three(random):
    net = task_network(random, INPUTS, seed=0, neuron={"tau_m_ms": 30.0})
    assert net.population("E").size == 320
    assert net.population("I").size == 80
    p = net.params["E"]
    assert {k: set(p[k]) for k in ("v_rest_mV", "v_reset_mV", "theta_inf_mV", "tau_m_ms")} == {
        "v_rest_mV": {0.0},
        "v_reset_mV": {0.0},
        "theta_inf_mV": {1.0},
        "tau_m_ms": {30.0},
    }
    tau = 1.0 / p["k_2_per_ms"]
    assert 500.0 <= tau.min() < 600.0
    assert 1400.0 < tau.max() <= 1500.0
    assert net.params["E_I"]["e_rev_mV"] == 3.0
    assert net.params["I_I"]["e_rev_mV"] == -3.0
    assert net.params["I_E"]["tau_syn_ms"] == 10.0


@pytest.mark.parametrize(("rule", "sign"), [("majority", {"n0": 1, "n1": -1}), ("edge", None)])
def test_a_neuron_with_both_signs_takes_the_majority_or_each_edge_keeps_its_own(rule, sign):
    edges = [(0, 1, 4, 1), (0, 2, 3, -1), (1, 2, 1, 1), (1, 0, 2, -1)]
    found = signed_edges(task_network(by_hand(edges), INPUTS, seed=0, sign_rule=rule))
    for i, j, _, own in edges:
        assert np.sign(found[f"n{i}", f"n{j}"]) == (own if sign is None else sign[f"n{i}"])


@BUILDERS
@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([(0, 1, 1, 1), (0, 2, 0, 1)], r"n0 -> n2 \(row 1\).*count of 0"),
        ([(0, 1, 4, 1), (0, 2, 3, -1)], r"n0: 4 excitatory, 3 inhibitory"),
        ([(0, 1, 1, 1), (2, 1, 1, 0)], r"n2 -> n1 \(row 1\).*no sign"),
    ],
)
def test_a_connectome_that_cannot_be_learnt_with_is_refused(build, edges, words):
    with pytest.raises(SettingError, match=words):
        build(by_hand(edges), INPUTS, seed=0)


def test_electrical_edges_are_refused_and_unknown_signs_dropped_where_asked_for():
    with pytest.raises(SettingError, match="`chemical` view"):
        task_network(by_hand([(0, 1, 1, 0), (1, 0, 1, 0)], kind=np.array([1, 1])), INPUTS, seed=0)
    net = task_network(by_hand([(0, 1, 1, 1), (2, 1, 1, 0)]), INPUTS, seed=0, unknown_sign="drop")
    assert list(signed_edges(net)) == [("n0", "n1")]
    with pytest.raises(SettingError, match="no edges with a sign"):
        task_network(by_hand([(2, 1, 1, 0)]), INPUTS, seed=0, unknown_sign="drop")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"level": "edge"}, UnknownNameError, "Did you mean 'edges'"),
        ({"weights": "counts"}, UnknownNameError, "Did you mean 'count'"),
        ({"sign_rule": "neurons"}, UnknownNameError, "Did you mean 'neuron'"),
        ({"neuron": {"tau_ms": 3.0}}, UnknownNameError, "Did you mean 'tau_m_ms'"),
        ({"level": "types", "types": "kind_of_cel"}, UnknownNameError, "Did you mean 'kind_of_cell'"),
        ({"level": "types", "types": ["a"]}, SettingError, "one label for each of 5"),
        ({"input_to": "kind_of_cell == 'z'"}, SettingError, "holds for no neuron"),
        ({"input_probability": 0.0}, SettingError, "input_probability"),
        ({"scale_e": 0.0}, SettingError, "scale_e"),
        ({"spread": 1.0}, SettingError, "spread"),
        ({"tau_syn_ms": -1.0}, SettingError, "tau_syn_ms"),
        ({"seed": 0.5}, SettingError, "seed"),
    ],
)
def test_wrong_settings_are_refused(small, settings, error, words):
    with pytest.raises(error, match=words):
        task_network(small, INPUTS, **{"seed": 0, **settings})


def test_no_inputs_and_ids_of_inputs_are_refused(small):
    with pytest.raises(SettingError, match="at least one"):
        task_network(small, (), seed=0)
    neurons = pa.table({"id": ["input_0", "n1"]})
    clash = Connectome.from_edges(neurons, pre=np.array([0]), post=np.array([1]), count=[1], sign=np.array([1]))
    with pytest.raises(SettingError, match="input_0"):
        task_network(clash, INPUTS, seed=0)


def test_a_network_without_inhibition_has_no_inhibitory_population():
    net = task_network(by_hand([(0, 1, 1, 1)]), INPUTS, seed=0)
    assert [p.name for p in net.populations] == ["input", "E"]


def test_the_spectral_radius_of_a_rate_network_is_that_asked_for_and_its_rows_balance(random):
    net = rate_network(random, INPUTS, seed=0, spectral_radius=1.3)
    (p,) = [p for p in net.projections if p.name == "units_units"]
    w = np.zeros((400, 400))
    w[p.post_index, p.pre_index] = p.base_weight
    assert np.abs(np.linalg.eigvals(w)).max() == pytest.approx(1.3, rel=1e-4)
    assert w.sum() == pytest.approx(0.0, abs=1e-2)
    assert np.all(net.params["input"]["tau_m_ms"] < 0.01)
    sparse = radius_of(np.tile(p.pre_index, 2), np.tile(p.post_index, 2), np.tile(p.base_weight, 2) / 2.0, 600)
    assert sparse == pytest.approx(1.3, rel=1e-4)


@pytest.mark.parametrize("given_as", ["inputs", "clamped"])
def test_a_rate_network_follows_its_equation(small, given_as):
    net = rate_network(small, INPUTS, seed=2, tau_ms=50.0, bias=0.3)
    u = np.abs(np.random.default_rng(0).normal(size=(30, 5)))

    @jax.jit
    def run(u):
        inputs, clamped = ({"input": u}, None) if given_as == "inputs" else ({}, {"input": u})
        return rollout(net, None, inputs, dt_ms=2.0, clamped=clamped, record=("v",))[1]["units"]["v"]

    w, w_in = np.zeros((5, 5)), np.zeros((5, 5))
    for name, matrix in (("units_units", w), ("input_units", w_in)):
        p = net.projection(name)
        matrix[p.post_index, p.pre_index] = p.base_weight
    x, given, expected = np.full(5, 0.3), np.zeros(5), []
    for now in u:
        x = x + (1.0 - np.exp(-2.0 / 50.0)) * (-x + w @ np.maximum(x, 0.0) + w_in @ given + 0.3)
        expected.append(x)
        given = now
    np.testing.assert_allclose(run(u), expected, rtol=2e-5, atol=1e-6)


def test_input_weights_have_the_variance_that_the_mean_number_of_inputs_of_a_reached_neuron_gives(random):
    for setting, n_in in (({"input_to": "cell_type == 'I'"}, 100), ({"input_probability": 0.25}, 25)):
        net = task_network(random, ("a",) * 100, seed=1, scale_input=3.0, **setting)
        weight = np.concatenate([p.base_weight for p in net.projections if p.pre == "input"])
        assert np.mean(weight**2) == pytest.approx(3.0 / n_in, rel=0.06)


def test_training_leaves_wiring_and_signs_whatever_the_gains(small):
    net = task_network(small, INPUTS, seed=0)
    rng = np.random.default_rng(0)
    changed = net.with_params({p.name: {"log_gain": 5.0 * rng.standard_normal(len(p.types))} for p in net.projections})
    before, after = signed_edges(net), signed_edges(changed)
    assert {k: np.sign(w) for k, w in before.items()} == {k: np.sign(w) for k, w in after.items()}
