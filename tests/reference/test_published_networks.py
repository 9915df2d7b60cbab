"""Synthetic networks have the numbers of the papers that they are from, and of later papers that quote them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from connectofit.connectome.synthetic import brunel, potjans_diesmann
from connectofit.connectome.synthetic.microcircuit import (
    CONNECTION_PROBABILITIES,
    EXTERNAL_INPUTS,
    POPULATION_SIZES,
    synapse_numbers,
)


def test_the_microcircuit_has_77169_neurons_and_about_300_million_synapses() -> None:
    # Potjans & Diesmann (2014): "about 80,000 neurons and 0.3 billion synapses"; 77,169 is the sum of Table 5.
    assert sum(POPULATION_SIZES.values()) == 77_169
    assert synapse_numbers().sum() == pytest.approx(0.3e9, rel=0.01)
    assert np.array(CONNECTION_PROBABILITIES).shape == (8, 8)
    assert len(EXTERNAL_INPUTS) == 8


def test_the_microcircuits_tables_are_those_of_its_authors_program() -> None:
    # pynest/examples/Potjans_2014/network_params.py of NEST, by S. van Albada and others; probabilities in 1/10,000.
    printed = """
        1009 1689  437  818  323    0   76    0
        1346 1371  316  515  755    0   42    0
          77   59  497 1350   67    3  453    0
         691   29  794 1597   33    0 1057    0
        1004  622  505   57  831 3726  204    0
         548  269  257   22  600 3158   86    0
         156   66  211  166  572  197  396 2252
         364   10   34    5  277   80  658 1443
    """
    assert [[round(p * 1e4) for p in row] for row in CONNECTION_PROBABILITIES] == [
        [int(p) for p in line.split()] for line in printed.strip().splitlines()
    ]
    assert list(POPULATION_SIZES) == ["L2/3E", "L2/3I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I"]
    assert list(POPULATION_SIZES.values()) == [20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948]
    assert EXTERNAL_INPUTS == (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100)


def test_a_weight_of_the_microcircuit_depolarises_a_neuron_by_015_mv() -> None:
    # The peak of (w / C) tau_m tau_s / (tau_m - tau_s) (exp(-t / tau_m) - exp(-t / tau_s)), for the paper's membrane:
    # C = 250 pF, tau_m = 10 ms, tau_s = 0.5 ms.
    weight = inspect.signature(potjans_diesmann).parameters["weight_pA"].default
    tau_m, tau_s, c_m = 10.0, 0.5, 250.0
    peak = tau_m * tau_s / (tau_m - tau_s) * np.log(tau_m / tau_s)
    shape = np.exp(-peak / tau_m) - np.exp(-peak / tau_s)
    assert weight / c_m * tau_m * tau_s / (tau_m - tau_s) * shape == pytest.approx(0.15, rel=1e-3)


def test_the_microcircuit_has_the_quoted_in_degree() -> None:
    # Schuecker et al. via Layer et al. (2022), Front Neuroinform 16:835657, Table A1: K from 4I to 4E is 795.
    sizes = list(POPULATION_SIZES)
    target, source = sizes.index("L4E"), sizes.index("L4I")
    assert round(synapse_numbers()[target, source] / POPULATION_SIZES["L4E"]) == 795


def test_a_scaled_microcircuit_has_in_degrees_in_proportion() -> None:
    c = potjans_diesmann(seed=0, scale=0.05, indegree_scale=0.1)
    types = c.column("cell_type")
    of = (types[c.pre] == "L4I") & (types[c.post] == "L4E")
    assert c.count[of].sum() / (types == "L4E").sum() == pytest.approx(79.5, rel=0.002)
    inputs = dict(zip(types, c.column("external_inputs"), strict=True))
    assert inputs == dict(zip(POPULATION_SIZES, (1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100), strict=True))


@pytest.mark.slow
def test_brunels_network_has_the_sizes_of_his_simulations() -> None:
    # Brunel (2000), sections 2 and 5: N_E = 10,000, N_I = 2,500, C_E = 1,000, C_I = 250, J = 0.1 mV, D = 1.5 ms.
    c = brunel(seed=0)
    assert c.n_neurons == 12_500
    assert c.n_edges == 12_500 * 1_250
    excitatory = np.bincount(c.post[c.pre < 10_000], minlength=12_500)
    assert set(excitatory.tolist()) == {1_000}
    assert c.edge_columns["weight_mV"].to_numpy().min() == 0.1
    assert set(np.unique(c.edge_columns["delay_ms"].to_numpy())) == {1.5}
