"""Inputs for networks that a specification built: sizes of weights, reproducible, and the network itself untouched."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.builders import ModelSpec, build, rheobase_nS, with_inputs
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.connectome.synthetic import erdos_renyi
from connectofit.sim import simulate
from connectofit.sim.stimuli import Step

GIF = {"r_m_GOhm": 0.25, "v_rest_mV": -65.0, "theta_inf_mV": -45.0, "theta_reset_mV": -45.0, "v_reset_mV": -65.0}
TYPES = ["left"] * 30 + ["right"] * 30


@pytest.fixture(scope="module")
def network():
    graph = erdos_renyi(50, seed=1, probability=0.2)
    neurons = [
        {"name": "E", "model": "gif", "where": "cell_type == 'E'", "tie_by": "id", "params": GIF},
        {"name": "I", "model": "lif", "where": "cell_type == 'I'"},
    ]
    edges = [
        {"name": "excitation", "synapse": "exponential_conductance", "where": "sign == 1", "delay_ms": 1.0},
        {"name": "inhibition", "synapse": "exponential_conductance", "where": "sign == -1", "delay_ms": 1.0},
    ]
    return build(graph, ModelSpec.from_dict({"name": "m", "neurons": neurons, "edges": edges}))


def test_the_rheobase_conductance_holds_a_neuron_just_at_its_threshold(network):
    # As a current at rest: 4 nS of leak times 20 mV to the threshold, over 65 mV to the reversal potential at 0.
    population = network.population("E")
    size = rheobase_nS(population, network.params["E"], 0.0)
    np.testing.assert_allclose(size, 4.0 * 20.0 / 65.0)
    current = float(size[0] * 65.0)  # nS times mV is pA
    for share, fires in ((0.98, False), (1.02, True)):
        step = Step(population.ids[0], amplitude=share * current)
        recording = simulate(network, duration_ms=500.0, dt_ms=0.1, stimuli=[step])
        assert (len(recording.spikes) > 0) == fires


def test_weights_have_the_size_that_the_drive_says(network):
    net = with_inputs(network, TYPES, seed=3, drive=2.0)
    weight = np.asarray(net.projection("input_E").base_weight)
    assert weight.size == 60 * 40
    expected = 2.0 * rheobase_nS(network.population("E"), network.params["E"], 0.0)[0] / np.sqrt(60)
    assert np.sqrt(np.mean(weight**2)) == pytest.approx(expected, rel=0.05)
    assert (weight > 0).all()
    given = with_inputs(network, TYPES, seed=3, drive=2.0, weight_nS={"E": 7.0})
    assert np.sqrt(np.mean(np.asarray(given.projection("input_E").base_weight) ** 2)) == pytest.approx(
        14.0 / np.sqrt(60), rel=0.05
    )
    np.testing.assert_array_equal(given.projection("input_I").base_weight, net.projection("input_I").base_weight)


def test_the_network_stays_what_it_was_and_seeds_repeat(network):
    net, again = (with_inputs(network, TYPES, seed=5, probability=0.4) for _ in range(2))
    other = with_inputs(network, TYPES, seed=6, probability=0.4)
    for projection in network.projections:
        kept = net.projection(projection.name)
        np.testing.assert_array_equal(kept.post_index, projection.post_index)
        np.testing.assert_array_equal(kept.base_weight, projection.base_weight)
    for name in ("input_E", "input_I"):
        np.testing.assert_array_equal(net.projection(name).base_weight, again.projection(name).base_weight)
    assert net.projection("input_E").base_weight.size != other.projection("input_E").base_weight.size
    assert 0.3 < net.projection("input_E").base_weight.size / (60 * 40) < 0.5


def test_other_inputs_take_the_place_of_those_that_are_there(network):
    first = with_inputs(network, TYPES, seed=0)
    with pytest.raises(SettingError, match="replace=True"):
        with_inputs(first, ["a"], seed=0)
    second = with_inputs(first, ["a", "b", "b"], seed=0, to=["E"], level="types", replace=True)
    assert second.population("input").types == ("a", "b")
    assert [p.name for p in second.projections if p.pre == "input"] == ["input_E"]
    assert {p.name for p in second.projections if p.pre != "input"} == {p.name for p in network.projections}
    assert set(second.params) == {*network.params, "input", "input_E"}


def test_what_cannot_be_scaled_is_refused(network):
    with pytest.raises(UnknownNameError, match="population"):
        with_inputs(network, TYPES, seed=0, to=["P"])
    with pytest.raises(UnknownNameError, match="population"):
        with_inputs(network, TYPES, seed=0, weight_nS={"P": 1.0})
    with pytest.raises(SettingError, match="drive"):
        with_inputs(network, TYPES, seed=0, drive=0.0)
    with pytest.raises(SettingError, match="rest at -65 mV"):
        with_inputs(network, TYPES, seed=0, e_rev_mV=-65.0)
    high = {**network.params["E"], "v_rest_mV": np.full(40, -40.0)}
    with pytest.raises(SettingError, match="threshold at or below rest"):
        rheobase_nS(network.population("E"), high, 0.0)
