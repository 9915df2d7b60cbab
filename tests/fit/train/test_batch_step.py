"""Batches of trials, against `rollout` of each trial."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.train import new_readout, run_batch
from connectofit.fit.train.batch_step import check_trainable, make_batched
from connectofit.fit.train.bptt import segment_length
from connectofit.sim import GIF, Network, rollout
from connectofit.sim.surrogate import ReLU


def _by_rollout(net: Network, readout, inputs, names, dt_ms=1.0) -> np.ndarray:
    """[time, trial, output]: the readout of spikes that `rollout` gives, filtered step by step in float64."""
    record = {name: ["spikes"] for name in names}
    run = jax.jit(lambda x: rollout(net, None, {}, dt_ms=dt_ms, forced={"input": x}, record=record)[1])
    outputs = []
    for x in inputs:
        out = run(x)
        spikes = np.concatenate([np.asarray(out[name]["spikes"], float) for name in names], 1)
        y, rows = np.zeros(readout.n_outputs), []
        k = np.exp(-dt_ms / readout.tau_ms)
        for s in spikes:
            y = k * y + (1 - k) * (s / dt_ms @ np.asarray(readout.weights, float) + np.asarray(readout.bias))
            rows.append(y)
        outputs.append(rows)
    return np.swapaxes(np.array(outputs), 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [None, pytest.param(GIF(surrogate=ReLU(width_mV=1.0)), marks=pytest.mark.slow)],
    ids=["lif", "gif"],
)
def test_batch_is_rollout_of_every_trial(spiking, sides, model):
    net = spiking(model)
    inputs = sides(steps=25).trials(jax.random.key(1), 3).inputs
    readout = new_readout(net, 2, jax.random.key(0), tau_ms=8.0)
    run = jax.jit(lambda x: run_batch(make_batched(net, dt_ms=1.0, source="input"), readout, x))(inputs)
    expected = _by_rollout(net, readout, inputs, ("E", "I"))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(run.outputs, expected, atol=2e-5)


@pytest.mark.slow
def test_activity_is_the_rate_in_hz(spiking, sides):
    net, inputs = spiking(inhibitory=False), sides(steps=25).trials(jax.random.key(1), 3).inputs
    readout = new_readout(net, 2, jax.random.key(0))
    run = run_batch(make_batched(net, dt_ms=1.0, source="input"), readout, inputs, checkpoint=None)
    counts = sum(
        np.asarray(
            rollout(net, None, {}, dt_ms=1.0, forced={"input": x}, record={"E": ["spikes"]})[1]["E"]["spikes"]
        ).sum(0)
        for x in inputs
    )
    np.testing.assert_allclose(run.activity["E"], counts / (3 * 25e-3), rtol=1e-5)


@pytest.mark.slow
def test_segments_change_no_result(spiking, sides):
    net, inputs = spiking(inhibitory=False), sides(steps=23).trials(jax.random.key(1), 2).inputs
    readout = new_readout(net, 2, jax.random.key(0))
    batched = make_batched(net, dt_ms=1.0, source="input")
    whole = run_batch(batched, readout, inputs, checkpoint=None).outputs
    for size in (5, "sqrt"):
        np.testing.assert_allclose(run_batch(batched, readout, inputs, checkpoint=size).outputs, whole, atol=1e-6)


def test_segment_is_a_divisor_near_the_square_root():
    assert segment_length(2200, "sqrt") == 44
    assert segment_length(2200, None) == 2200
    assert segment_length(10, 64) == 10


@pytest.mark.parametrize("bad", [0, -1, True, "half"])
def test_bad_segments_are_refused(bad):
    with pytest.raises(SettingError, match="checkpoint"):
        segment_length(100, bad)


def test_inputs_have_to_fit_the_source(spiking):
    with pytest.raises(SettingError, match="7 inputs and population 'input'"):
        check_trainable(spiking(), "input", 7)
    with pytest.raises(UnknownNameError, match="Did you mean 'input'"):
        check_trainable(spiking(), "inputs", 6)


def test_readout_follows_the_closed_form():
    # From rest, under a constant pull u: y(n dt) = u (1 - exp(-n dt / tau)).
    from connectofit.fit.train import Readout

    readout = Readout(jnp.ones((1, 1)), jnp.zeros(1), 7.0, ("E",))
    y = jnp.zeros((1, 1))
    for n in range(1, 6):
        y = readout.follow(y, readout.pull(jnp.full((1, 1), 0.5), 0.5, spiking=True), 0.5)
        np.testing.assert_allclose(y[0, 0], 1.0 - np.exp(-n * 0.5 / 7.0), rtol=1e-5)
