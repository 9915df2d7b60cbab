"""What is wrong with a model's values is said before anything is compiled, and where a spiking model diverges."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.sim import (
    GIF,
    LIF,
    NEURON_MODELS,
    PLASTICITY_MODELS,
    SYNAPSE_MODELS,
    Exponential,
    GradedLeaky,
    Network,
    Population,
    Projection,
    Step,
    simulate,
)


def cells(model, name: str, ids: tuple[str, ...]) -> tuple[Population, dict[str, np.ndarray]]:
    n = len(ids)
    return Population(name, model, ids, np.arange(n, dtype=np.int32), ids), {
        key: np.full(n, parameter.default) for key, parameter in model.parameters.items()
    }


def joined(synapse, plasticity=None) -> Network:
    """Two neurons of a model that the synapse takes, the first onto the second."""
    population, own = cells(LIF() if synapse.spiking else GradedLeaky(), "cells", ("a", "b"))
    projection = Projection(
        "syn", "cells", "cells", synapse, np.array([0, 1, 1], np.int32), np.array([1], np.int32), np.full(1, 0.5),
        np.zeros(1, np.int32), ("all",), 1.0 if synapse.spiking else 0.0, plasticity=plasticity,
    )  # fmt: skip
    edges = {key: np.full(1, parameter.default) for key, parameter in projection.parameters.items()}
    return Network((population,), (projection,), {"cells": own, "syn": edges | {"log_gain": np.zeros(1)}})


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fail where a simulation begins to compile."""

    def fail(*_, **__):
        raise AssertionError("the simulation has begun")

    module = sys.modules["connectofit.sim.simulate"]
    monkeypatch.setattr(module, "_initial", fail)
    monkeypatch.setattr(module, "_chunk", fail)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("kind", NEURON_MODELS)
def test_parameters_of_neurons_that_are_no_numbers_or_out_of_bounds_are_refused(kind):
    population, own = cells(NEURON_MODELS[kind](), "cells", ("a", "b"))
    for name, parameter in population.model.parameters.items():
        too_low = [] if np.isinf(parameter.low) else [parameter.low - 1.0]
        too_high = [] if np.isinf(parameter.high) else [parameter.high + 1.0]
        for value in (np.nan, np.inf, *too_low, *too_high, *([parameter.low] if parameter.open_low else [])):
            values = own | {name: np.array([parameter.default, value])}
            with pytest.raises(SettingError, match=f"{name!r} of population 'cells' has to be finite.*'b = "):
                simulate(Network((population,), (), {"cells": values}), duration_ms=10.0, dt_ms=0.1)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("kind", [*SYNAPSE_MODELS, *PLASTICITY_MODELS])
def test_parameters_of_synapses_that_are_no_numbers_are_refused(kind):
    plasticity = PLASTICITY_MODELS[kind]() if kind in PLASTICITY_MODELS else None
    net = joined(Exponential() if plasticity else SYNAPSE_MODELS[kind](), plasticity)
    for name in net.params["syn"]:
        with pytest.raises(SettingError, match=f"{name!r} of projection 'syn' has to be finite.*'nan'|'all = nan'"):
            simulate(net.with_params({"syn": {name: np.full(1, np.nan)}}), duration_ms=10.0, dt_ms=0.1)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dt_ms": np.nan}, SettingError, "positive time step"),
        ({"dt_ms": 0.0}, SettingError, "positive time step"),
        ({"duration_ms": 10.05}, SettingError, "duration of 10.05 ms is 100.5 steps"),
        ({"dt_ms": 0.3, "duration_ms": 9.0}, SettingError, "delay of projection 'syn'"),
        ({"dt_ms": 2.0}, SettingError, "'syn' carries spikes and has a delay of 1 ms, shorter than dt_ms = 2"),
        ({"record": ("w_pA",)}, UnknownNameError, "variable to record named 'w_pA'"),
        ({"record": ("v_mv",)}, UnknownNameError, "Did you mean 'v_mV'"),
    ],
)
def test_times_and_variables_that_a_spiking_network_does_not_have_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        simulate(joined(Exponential()), **{"duration_ms": 10.0, "dt_ms": 0.1, **changes})


def test_divergence_of_a_spiking_neuron_names_population_neuron_variable_and_first_time():
    """Its first current is multiplied by 10^4 at each spike, of which there is one in each step from 3 ms on:
    about 10^30, 10^34 and 10^38 pA, and beyond float32 at the fourth."""
    ids = ("calm", "wild")
    population, own = cells(GIF(), "cortex", ids)
    own |= {"r_1": np.array([0.0, 1e4]), "a_1_pA": np.array([0.0, 1e30])}
    net = Network((population,), (), {"cortex": own})
    settings = {"dt_ms": 1.0, "stimuli": (Step(None, 1e6, 2.0),)}
    message = r"'i_1_pA' of population 'cortex', neuron 'wild' \(1 in all\) is not finite at 6 ms"
    with pytest.raises(DivergedError, match=message):
        simulate(net, duration_ms=40.0, **settings)
    before = simulate(net, duration_ms=5.0, **settings)
    assert before.spikes.time_ms[before.spikes.ids == "wild"].tolist() == [3.0, 4.0, 5.0]
