"""Recorded activity as an objective: likelihoods by closed forms, forcing, and a fit that finds the truth."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm, poisson

from connectofit.builders import EdgeRule, ModelSpec, NeuronRule, build
from connectofit.connectome import Connectome
from connectofit.connectome.errors import SettingError
from connectofit.fit import (
    Activity,
    ActivityLikelihood,
    Free,
    Indicator,
    Parameters,
    Schedule,
    explained,
    fit_network,
    noise_ceiling,
)
from connectofit.fit.activity_likelihood import SCHEDULE, filtered

N, N_STEPS, DT = 12, 60, 10.0


@pytest.fixture(scope="module")
def net():
    rng = np.random.default_rng(3)
    pre, post = np.nonzero((rng.random((N, N)) < 0.3) & ~np.eye(N, dtype=bool))
    neurons = pa.table({"id": [f"n{k}" for k in range(N)], "cell_class": [f"t{k % 3}" for k in range(N)]})
    sign = np.where(np.arange(N) % 4, 1, -1)[pre].astype(np.int8)
    graph = Connectome.from_edges(
        neurons, pre=pre, post=post, count=np.ones(pre.size, int), kind=np.zeros(pre.size, np.int8), sign=sign
    )
    spec = ModelSpec(
        name="rates",
        neurons=(NeuronRule(name="units", model="rate", params={"tau_ms": 50.0, "gain": 1.0}, tie_by="cell_class"),),
        edges=(EdgeRule(name="chemical", synapse="graded", normalise="post_sum", gain=1.2),),
    )
    return build(graph, spec)


def currents(n_trials, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, 1.0, (n_trials, N_STEPS // 10, N)), 10, axis=1)


def activity_of(net, inputs, *, kind="rate", recorded=range(N), every=2, noise=0.0):
    """The network's own run, sampled every second step."""
    none = Activity(net.ids, np.arange(N), np.zeros((len(inputs), 1, N)), "rate", DT, DT, tuple(range(len(inputs))))
    run = np.asarray(ActivityLikelihood.from_activity(none, inputs, dt_ms=DT).run(net))
    values = run[:, every - 1 :: every][:, :, list(recorded)]
    values = values + noise * np.random.default_rng(1).normal(size=values.shape)
    return Activity(net.ids, np.array(list(recorded)), values, kind, every * DT, every * DT, tuple(range(len(inputs))))


def test_the_networks_own_activity_has_no_loss_and_rows_are_neurons_in_trials(net):
    inputs = currents(3)
    activity = activity_of(net, inputs, recorded=(1, 5))
    objective = ActivityLikelihood.from_activity(activity, inputs, dt_ms=DT)
    assert objective.n_rows == 6
    assert set(zip(np.asarray(objective.trial), np.asarray(objective.neuron), strict=True)) == {
        (t, n) for t in range(3) for n in (1, 5)
    }
    np.testing.assert_allclose(objective.loss(objective.predict(net, {})), 0.0, atol=1e-8)


def test_losses_are_likelihoods_less_their_constants(net):
    inputs = currents(2)
    activity = activity_of(net, inputs, noise=0.3)
    objective = ActivityLikelihood.from_activity(activity, inputs, dt_ms=DT, sd=0.3)
    predicted = np.asarray(objective.predict(net, {}), float)
    expected = -(norm.logpdf(objective.values, predicted, 0.3) - norm.logpdf(0.0, 0.0, 0.3)).sum(1)
    np.testing.assert_allclose(objective.loss(jnp.asarray(predicted)), expected, rtol=1e-4)
    counts = np.random.default_rng(0).poisson(2.0, activity.values.shape).astype(float)
    spikes = replace(activity, values=counts, kind="spikes")
    objective = ActivityLikelihood.from_activity(spikes, inputs, dt_ms=DT)
    readout = {"gain_log": jnp.asarray(0.5), "offset": jnp.asarray(60.0)}
    mean = np.asarray(objective.predict(net, readout), float)
    x = np.asarray(objective.run(net))[objective.trial, 1::2, objective.neuron]
    np.testing.assert_allclose(mean, np.log1p(np.exp(np.exp(0.5) * x + 60.0)) * 0.02, rtol=1e-4)
    expected = -poisson.logpmf(np.asarray(objective.values), mean).sum(1)
    np.testing.assert_allclose(objective.loss(jnp.asarray(mean)), expected, rtol=1e-4)


def test_missing_samples_do_not_count(net):
    inputs = currents(2)
    activity = activity_of(net, inputs, noise=0.3)
    values = activity.values.copy()
    values[0, 3:, 2] = np.nan
    values[1, :, 4] = np.nan
    objective = ActivityLikelihood.from_activity(replace(activity, values=values), inputs, dt_ms=DT, sd=1.0)
    assert objective.n_rows == 2 * N - 1
    row = int(np.flatnonzero((np.asarray(objective.trial) == 0) & (np.asarray(objective.neuron) == 2))[0])
    predicted = objective.predict(net, {})
    expected = 0.5 * ((values[0, :3, 2] - np.asarray(predicted)[row, :3]) ** 2).sum()
    assert float(objective.loss(predicted)[row]) == pytest.approx(expected, rel=1e-5)


def test_an_indicator_answers_a_step_as_its_equation_says():
    x = jnp.ones((1, 200))
    decay, rise, dt = 300.0, 80.0, 10.0
    t = dt * np.arange(1, 201)
    np.testing.assert_allclose(filtered(x, Indicator(decay), dt)[0], 1 - np.exp(-t / decay), rtol=1e-5)
    # With a rise: within a step of the continuous kernel's answer.
    exact = 1 - (decay * np.exp(-t / decay) - rise * np.exp(-t / rise)) / (decay - rise)
    np.testing.assert_allclose(filtered(x, Indicator(decay, rise), dt)[0], exact, atol=0.04)


def test_a_network_is_held_to_the_recording_where_it_should_be(net):
    inputs = currents(2)
    activity = activity_of(net, inputs, recorded=(0, 3), noise=0.5)
    objective = ActivityLikelihood.from_activity(activity, inputs, dt_ms=DT, forcings=SCHEDULE)
    assert [objective.at(s).forcing for s in (0.0, 0.14, 0.2, 0.4, 0.5, 1.0)] == [2, 2, 5, 20, None, None]
    held = replace(objective, forcing=5)
    predicted, free = np.asarray(held.predict(net, {})), np.asarray(objective.predict(net, {}))
    at = np.arange(4, held.n_samples, 5)
    np.testing.assert_allclose(predicted[:, at], np.asarray(held.values)[:, at], rtol=1e-6)
    np.testing.assert_allclose(predicted[:, :4], free[:, :4], rtol=1e-5)  # before the first of them
    assert not np.allclose(predicted[:, 5], free[:, 5])
    # Neurons whose rows are held out are not held to anything.
    part = held.subset(np.asarray(held.neuron) == 0)
    run = np.asarray(part.run(net))
    step = 2 * at + 1
    values = activity.values[:, at]
    np.testing.assert_allclose(run[:, step, 0], values[:, :, 0], rtol=1e-5)
    assert not np.allclose(run[:, step, 3], values[:, :, 1])


@pytest.mark.slow
def test_a_fit_with_forcing_finds_the_gains_and_predicts_unrecorded_neurons(net):
    truth = net.with_params({"units": {"gain": jnp.asarray([0.6, 1.0, 1.8])}})
    inputs = currents(8)
    activity = activity_of(truth, inputs, recorded=range(0, N, 2), noise=0.02)
    objective = ActivityLikelihood.from_activity(activity, inputs, dt_ms=DT, forcings=SCHEDULE)
    free = Parameters((Free("units.gain", transform="scale", sd_type=1.0, start_sd=0.5),))
    fit = fit_network(net, {"activity": objective}, free=free, starts=2, schedule=Schedule(200, 0.1, 200, 20), seed=1)
    np.testing.assert_allclose(np.asarray(fit.network.params["units"]["gain"]), [0.6, 1.0, 1.8], rtol=0.05)
    other = currents(3, seed=9)
    everything = activity_of(truth, other)
    test = ActivityLikelihood.from_activity(everything, other, dt_ms=DT)
    _, share = explained(test.values, np.asarray(test.predict(fit.network, {})), test.neuron)
    assert share.min() > 0.98


def test_scores_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4, 500))
    _, share = explained(y, np.tile(y.mean(1, keepdims=True), 500), np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(share, 0.0, atol=1e-12)
    _, share = explained(y, y, np.zeros(4, int))
    np.testing.assert_allclose(share, [1.0])
    signal = np.sin(np.linspace(0, 40, 4000))  # power 0.5
    repeats = signal + rng.normal(0, 0.5, (20, 4000))  # noise 0.25
    assert noise_ceiling(repeats) == pytest.approx(0.5 / 0.75, abs=0.01)
    with pytest.raises(SettingError, match="two repetitions"):
        noise_ceiling(repeats[:1])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"dt_ms": 7.0}, "no multiple of 7 ms"),
        ({"indicator": Indicator(100.0)}, "others have none"),
        ({"likelihood": "poisson"}, "counts of spikes"),
        ({"forcings": ((0.0, 5),)}, "end with None"),
        ({"forcings": ((0.0, 1), (0.5, None))}, "2 samples or more"),
        ({"forcings": SCHEDULE, "scaled": True}, "no gain, kernel or count"),
        ({"sd": 0.0}, "above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(net, given, text):
    inputs = currents(2)
    activity = activity_of(net, inputs)
    with pytest.raises(SettingError, match=text):
        ActivityLikelihood.from_activity(activity, inputs, **({"dt_ms": DT} | given))


def test_inputs_of_other_trials_or_too_short_are_refused(net):
    inputs = currents(2)
    activity = activity_of(net, inputs)
    with pytest.raises(SettingError, match=r"\(2, any, 12\)"):
        ActivityLikelihood.from_activity(activity, inputs[:1], dt_ms=DT)
    with pytest.raises(SettingError, match="600 ms, and the inputs make"):
        ActivityLikelihood.from_activity(activity, inputs[:, :20], dt_ms=DT)


def test_the_gradient_is_that_of_finite_differences(net):
    inputs = currents(2)
    with jax.enable_x64(True):
        activity = activity_of(net, inputs, noise=0.3, recorded=(0, 4, 7))
        objective = replace(ActivityLikelihood.from_activity(activity, inputs, dt_ms=DT), forcing=5)

        def loss(gain):
            return objective.loss(objective.predict(net.with_params({"units": {"gain": gain}}), {})).sum()

        gain = jnp.asarray([0.7, 1.1, 1.3])
        slope = jax.jit(jax.grad(loss))(gain)
        value, step = jax.jit(loss), 1e-6 * jnp.eye(3)
        expected = [(value(gain + s) - value(gain - s)) / 2e-6 for s in step]
    np.testing.assert_allclose(slope, expected, rtol=1e-5)
