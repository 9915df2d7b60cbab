"""Behaviour as time series: reading, the readout's equation, and a fit that finds a known readout."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.builders import EdgeRule, ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.fit import Free, Kinematics, Movement, Parameters, Schedule, explained, fit_network, read_movement
from connectofit.fit.activity_likelihood import voltages

N, DT = 6, 10.0


@pytest.fixture(scope="module")
def net():
    neurons = pa.table({"id": [f"n{k}" for k in range(N)]})
    pre, post = np.arange(N), (np.arange(N) + 1) % N
    ones = np.ones(N, np.int8)
    graph = Connectome.from_edges(neurons, pre=pre, post=post, count=ones.astype(int), kind=0 * ones, sign=ones)
    spec = ModelSpec(
        name="ring",
        neurons=(NeuronRule(name="units", model="rate", params={"tau_ms": 50.0, "bias": 0.2, "r_rest": 0.1}),),
        edges=(EdgeRule(name="chemical", synapse="graded", gain=0.5),),
    )
    return build(graph, spec)


@pytest.fixture(scope="module")
def inputs():
    return np.repeat(np.random.default_rng(0).normal(0, 1, (5, 8, N)), 10, axis=1)


def moved(net, inputs, weights, offset, tau_ms=0.0):
    """What the readout says, in NumPy."""
    x = np.asarray(voltages(net, inputs, DT), float) - 0.1
    y = x @ weights.T
    if tau_ms:
        k, state, out = np.exp(-DT / tau_ms), np.zeros_like(y[:, 0]), np.empty_like(y)
        for step in range(y.shape[1]):
            state = k * state + (1 - k) * y[:, step]
            out[:, step] = state
        y = out
    return Movement(("speed", "angle"), (y + offset)[:, 1::2], 2 * DT, 2 * DT, tuple(range(len(inputs))))


@pytest.mark.parametrize("tau_ms", [0.0, 60.0])
def test_the_readout_is_its_equation(net, inputs, tau_ms):
    weights = np.random.default_rng(1).normal(size=(2, N))
    movement = moved(net, inputs, weights, np.array([0.5, -1.0]), tau_ms)
    objective = Kinematics.from_movement(movement, inputs, net.ids, dt_ms=DT, tau_ms=tau_ms)
    readout = {"weights": jnp.asarray(weights), "offset": jnp.asarray([0.5, -1.0])}
    assert objective.n_rows == 10
    np.testing.assert_allclose(objective.loss(objective.predict(net, readout)), 0.0, atol=1e-6)


def test_only_the_neurons_that_are_named_are_read(net, inputs):
    weights = np.zeros((2, N))
    weights[:, 4], weights[:, 1] = 2.0, -1.0
    movement = moved(net, inputs, weights, np.zeros(2))
    objective = Kinematics.from_movement(movement, inputs, net.ids, dt_ms=DT, read=["n4", "n1"])
    readout = {"weights": jnp.asarray([[2.0, -1.0]] * 2), "offset": jnp.zeros(2)}
    np.testing.assert_allclose(objective.loss(objective.predict(net, readout)), 0.0, atol=1e-6)


def test_a_fit_predicts_behaviour_in_trials_that_it_did_not_see(net, inputs):
    rng = np.random.default_rng(2)
    movement = moved(net, inputs, rng.normal(size=(2, N)), np.array([0.3, 0.0]))
    noisy = Movement(
        movement.channels, movement.values + rng.normal(0, 0.02, movement.values.shape), 20.0, 20.0, movement.trials
    )
    objective = Kinematics.from_movement(noisy, inputs, net.ids, dt_ms=DT, sd=0.02)
    held = np.asarray(objective.trial) == 4
    free = Parameters((Free("chemical.log_gain", start_sd=0.0),))
    fit = fit_network(
        net, {"moves": objective}, free=free, hold_out={"moves": held}, starts=1, schedule=Schedule(300, 0.1, 300, 100)
    )
    part = objective.subset(held)
    _, share = explained(part.values, fit.predict("moves", part), np.asarray(part.channel))
    assert share.min() > 0.99


def test_tables_become_movement():
    rows = [(t, 20.0 * k, c, t + k) for t in (0, 1) for k in (1, 2, 3) for c in ("speed", "angle", "wind")]
    table = pd.DataFrame(rows, columns=["trial", "time_ms", "channel", "value"])
    movement, report = read_movement(table, ["speed", "angle"])
    assert movement.channels == ("speed", "angle")
    np.testing.assert_array_equal(movement.values[1, :, 0], [2, 3, 4])
    assert report.findings[0].rule == "unmatched_id"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"read": ["x"]}, "no neurons 'x'"),
        ({"tau_ms": -1.0}, "0 or more"),
        ({"weight_sd": 0.0}, "above 0"),
        ({"dt_ms": 7.0}, "no multiple"),
    ],
)
def test_settings_that_do_not_fit_are_refused(net, inputs, given, text):
    movement = moved(net, inputs, np.ones((2, N)), np.zeros(2))
    with pytest.raises(SettingError, match=text):
        Kinematics.from_movement(movement, inputs, net.ids, **({"dt_ms": DT} | given))
    with pytest.raises(SettingError, match="inputs have to be"):
        Kinematics.from_movement(movement, inputs[:2], net.ids, dt_ms=DT)
