"""The microcircuit as a network has the paper's numbers of neurons and synapses, weights, delays and currents."""

from __future__ import annotations

import math

import numpy as np
import pytest

from connectofit.builders import potjans_diesmann_network, potjans_diesmann_state
from connectofit.connectome.errors import SettingError
from connectofit.connectome.synthetic import potjans_diesmann
from connectofit.connectome.synthetic.microcircuit import POPULATION_SIZES, synapse_numbers
from connectofit.sim import Network

NAMES = list(POPULATION_SIZES)
SCALE, IN_DEGREE = 0.05, 0.2


@pytest.fixture(scope="module")
def net() -> Network:
    return potjans_diesmann_network(seed=1, scale=SCALE, indegree_scale=IN_DEGREE)


@pytest.fixture(scope="module")
def ends(net) -> tuple[np.ndarray, np.ndarray]:
    """Population of both ends of every synapse."""
    group, synapses = np.asarray(net.population("cells").type_index), net.projection("synapses")
    return group[synapses.pre_index], group[synapses.post_index]


def test_it_has_the_papers_populations(net):
    cells = net.population("cells")
    assert list(cells.types) == NAMES
    sizes = [round(SCALE * n) for n in (20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948)]
    assert np.bincount(cells.type_index).tolist() == sizes


def test_each_pair_of_populations_has_its_number_of_synapses(ends):
    found = np.bincount(ends[1] * 8 + ends[0], minlength=64).reshape(8, 8)
    assert (found == np.rint(synapse_numbers() * SCALE * IN_DEGREE)).all()


def test_weights_are_those_of_the_source_but_doubled_from_l4e_to_l23e(net, ends):
    weight = net.projection("synapses").base_weight
    excites = ends[0] % 2 == 0
    doubled = (ends[0] == NAMES.index("L4E")) & (ends[1] == NAMES.index("L2/3E"))
    for chosen, mean in ((excites & ~doubled, 87.8), (doubled, 2 * 87.8), (~excites, -4 * 87.8)):
        n = chosen.sum()
        assert abs(weight[chosen].mean(dtype=float) - mean) < 4 * 0.1 * abs(mean) / np.sqrt(n)
        assert weight[chosen].std(dtype=float) == pytest.approx(0.1 * abs(mean), rel=0.02)
    assert ((weight > 0) == excites).all()


def test_delays_are_those_of_the_source(net, ends):
    delay_ms = net.projection("synapses").edge_delay_ms.astype(float)
    excites = ends[0] % 2 == 0
    for chosen, m in ((excites, 1.5), (~excites, 0.75)):
        # Mean of a normal with sd m / 2 above half a step.
        a = (0.05 - m) / (m / 2)
        density, above = np.exp(-a * a / 2) / np.sqrt(2 * np.pi), 0.5 * (1 - np.sign(a) * math.erf(abs(a) / np.sqrt(2)))
        assert delay_ms[chosen].mean() == pytest.approx(m + m / 2 * density / above, rel=0.005)
        assert round(delay_ms[chosen].min(), 3) == 0.1


def test_currents_are_those_of_the_background(net):
    # 1,600 synapses at 8 Hz of 87.8 pA with a time constant of 0.5 ms, and so on.
    background = [1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100]
    expected = [k * 8e-3 * 0.5 * 87.8 for k in background]
    assert net.params["cells"]["i_bias_pA"] == pytest.approx(expected, rel=1e-12)
    assert expected[0] == pytest.approx(561.92)
    assert net.params["synapses"]["tau_syn_ms"].tolist() == [0.5]
    assert set(net.params["cells"]["r_m_GOhm"].tolist()) == {10.0 / 250.0}


def test_it_has_as_many_synapses_as_the_connectome_of_the_same_scale():
    connectome = potjans_diesmann(seed=3, scale=0.02)
    net = potjans_diesmann_network(seed=3, scale=0.02)
    assert net.n_edges == connectome.count.sum()
    assert net.ids == tuple(connectome.ids)


def test_the_state_starts_from_each_populations_potentials(net):
    state = potjans_diesmann_state(net, seed=2)
    v, group = np.asarray(state.populations["cells"]["v_mV"]), np.asarray(net.population("cells").type_index)
    for k, (mean, sd) in ((0, (-68.28, 5.36)), (4, (-63.11, 4.94)), (7, (-61.43, 4.48))):
        n = np.sum(group == k)
        assert abs(v[group == k].mean() - mean) < 4 * sd / np.sqrt(n)
        assert v[group == k].std() == pytest.approx(sd, rel=4 / np.sqrt(2 * n))
    assert not np.array_equal(v, np.asarray(potjans_diesmann_state(net, seed=3).populations["cells"]["v_mV"]))
    flat = potjans_diesmann_state(net, seed=2, potentials_mV=((-60.0, 0.0),) * 8)
    assert set(np.asarray(flat.populations["cells"]["v_mV"]).tolist()) == {-60.0}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"scale": 0.0}, "scale"),
        ({"scale": 1.5}, "scale"),
        ({"scale": 1e-4}, r"no neuron in 'L5E', 'L5I', 'L6I' \(3 in all\)"),
        ({"indegree_scale": -0.1}, "indegree_scale"),
        ({"background_Hz": -8.0}, "background_Hz"),
        ({"weight_pA": -1.0}, "weight_pA"),
        ({"scale": 0.01, "delay_i_ms": 0.05}, "delay_ms"),
    ],
)
def test_settings_out_of_range_are_named(settings, text):
    with pytest.raises(SettingError, match=text):
        potjans_diesmann_network(seed=0, **settings)


def test_potentials_of_another_number_of_populations_are_refused(net):
    with pytest.raises(SettingError, match="8 populations; found 1"):
        potjans_diesmann_state(net, seed=0, potentials_mV=((-60.0, 1.0),))
