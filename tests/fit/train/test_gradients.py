"""Gradients of the rules: finite differences, and equality with each other where theory says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.train import BPTT, DRTRL, ESDRTRL, EProp, Penalties
from connectofit.fit.train.rules import batch_loss
from connectofit.sim import ALIF, GIF, LIF
from connectofit.sim.surrogate import ReLU

KEY = jax.random.key(0)
MODELS = {
    "lif": LIF(surrogate=ReLU(width_mV=1.0)),
    "alif": ALIF(surrogate=ReLU(width_mV=1.0)),
    "gif": GIF(surrogate=ReLU(width_mV=1.0)),
}


def _slope(rule, problem, trials):
    values = problem.trainable.initial(problem.net, problem.readout)
    return jax.jit(lambda v: rule.gradient(problem, v, trials, KEY, KEY))(values).values


def _assert_equal(a, b, rtol=2e-4):
    for group in a:
        for name in a[group]:
            scale = float(jnp.max(jnp.abs(b[group][name])))
            assert scale > 0, (group, name)
            np.testing.assert_allclose(a[group][name], b[group][name], atol=rtol * scale, err_msg=f"{group} {name}")


@pytest.mark.slow
def test_bptt_is_the_finite_difference_on_rates(rates, problem, sides):
    with jax.enable_x64():
        net = rates()
        made = problem(
            net, ("recurrent", "input", "readout", "bias", "time constants"), penalties=Penalties(shrinkage=0.3)
        )
        trials = sides(inputs=4, steps=12, regression=True, input_kind="rates", noise=0.1).trials(KEY, 2)
        values = made.trainable.initial(net, made.readout)
        loss = jax.jit(lambda v: batch_loss(made, v, trials, KEY)[0])
        slope = _slope(BPTT(), made, trials)
        flat, back = jax.flatten_util.ravel_pytree(values)
        direction = np.random.default_rng(0).normal(size=flat.size)
        for each in (direction, np.eye(flat.size)[0], np.eye(flat.size)[-1]):
            h = 1e-5
            expected = (loss(back(flat + h * each)) - loss(back(flat - h * each))) / (2 * h)
            found = jax.flatten_util.ravel_pytree(slope)[0] @ each
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lif", *(pytest.param(name, marks=pytest.mark.slow) for name in ("alif", "gif"))])
def test_d_rtrl_is_bptt_without_recurrence(spiking, problem, sides, name):
    made = problem(spiking(MODELS[name], recurrent=False, inhibitory=False), ("input", "readout"))
    trials = sides(steps=25).trials(KEY, 4)
    _assert_equal(_slope(DRTRL(), made, trials), _slope(BPTT(), made, trials))


@pytest.mark.slow
def test_d_rtrl_is_bptt_on_rates_without_recurrence(rates, problem, sides):
    made = problem(rates(recurrent=False), ("input", "readout"))
    trials = sides(inputs=4, steps=15, regression=True, input_kind="rates").trials(KEY, 3)
    _assert_equal(_slope(DRTRL(), made, trials), _slope(BPTT(), made, trials))


@pytest.mark.slow
def test_e_prop_is_bptt_where_no_reset_can_matter(spiking, problem, sides):
    # The surrogate acts on a reset only as far as it lowers V, and V stays below this one.
    net = spiking(recurrent=False, inhibitory=False, v_reset_mV=0.99, v_threshold_mV=1.0, r_m_GOhm=0.1)
    made, trials = problem(net, ("input", "readout")), sides(steps=25).trials(KEY, 4)
    found, expected = _slope(EProp(), made, trials), _slope(BPTT(), made, trials)
    _assert_equal({"input": found["input"]}, {"input": expected["input"]})


@pytest.mark.slow
def test_e_prop_of_a_silent_lif_neuron_is_the_filtered_input(delta_lif, problem, sides):
    # Bellec et al. 2020: e_ji = psi_j eps_i, eps_i the input through the membrane's exponential, whatever the reset is.
    made, trials = problem(delta_lif(), ("input",)), sides(steps=20).trials(KEY, 2)
    found = np.asarray(_slope(EProp(), made, trials)["input"]["input_E.log_gain"])
    weights = np.asarray(made.net.projection("input_E").base_weight, float).reshape(6, 3)
    readout, tau, k = np.asarray(made.readout.weights, float), 20.0, np.exp(-1 / 8.0)
    expected = np.zeros((6, 3))
    for x, label in zip(np.asarray(trials.inputs, float), np.asarray(trials.labels), strict=True):
        arrived = np.concatenate([np.zeros((1, 6)), x[:-1]])
        eps, v, filtered = np.zeros((6, 3)), np.zeros(3), np.zeros((6, 3))
        for t in range(20):
            eps = eps * np.exp(-1 / tau) + arrived[t][:, None]
            v = v * np.exp(-1 / tau) + arrived[t] @ weights
            psi = 0.3 * np.maximum(1 - np.abs(v - 1.0), 0)
            filtered = k * filtered + (1 - k) * psi * eps
            if t >= 10:
                error = (0.5 - np.eye(2)[label]) / 10 / 2  # no spikes, so both outputs stay 0
                expected += filtered * (readout @ error)
        assert v.max() < 1.0
    np.testing.assert_allclose(found, (expected * weights).ravel(), rtol=1e-4, atol=1e-9)


@pytest.mark.slow
def test_es_d_rtrl_of_one_arrival_is_bptt_times_its_traces(rates, problem, sides):
    # In two steps one input arrives. The trace of the neuron is (1 - a) (1 + a exp(-dt / tau)) by then, and what went
    # through the readout's filter in the first step has decayed by k.
    made = problem(rates(recurrent=False), ("input", "readout"))
    trials = sides(inputs=4, steps=2, regression=True, input_kind="rates").trials(KEY, 3)
    found, expected = _slope(ESDRTRL(decay=0.75), made, trials), _slope(BPTT(), made, trials)
    factor = 0.25 * (1.0 + 0.75 * np.exp(-1 / 5.0) + np.exp(-1 / 8.0))
    scaled = {name: factor * value for name, value in expected["input"].items()}
    _assert_equal({"input": found["input"]}, {"input": scaled})
    _assert_equal({"readout": found["readout"]}, {"readout": expected["readout"]})


@pytest.mark.slow
@pytest.mark.parametrize("rule", [DRTRL(), EProp(), ESDRTRL()], ids=lambda rule: rule.name)
def test_online_readout_gradient_is_exact_with_recurrence(spiking, problem, sides, rule):
    made, trials = problem(spiking(), ("readout",)), sides(steps=20).trials(KEY, 3)
    _assert_equal(_slope(rule, made, trials), _slope(BPTT(), made, trials))


@pytest.mark.slow
@pytest.mark.parametrize("rule", [DRTRL(), EProp(), ESDRTRL()], ids=lambda rule: rule.name)
def test_online_gradients_point_along_bptt_with_weak_recurrence(spiking, problem, sides, rule):
    made, trials = problem(spiking()), sides(steps=25).trials(KEY, 8)
    found, expected = _slope(rule, made, trials), _slope(BPTT(), made, trials)
    for group in ("input", "recurrent"):
        a, b = (jnp.concatenate([x.ravel() for x in tree[group].values()]) for tree in (found, expected))
        assert a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b) > 0.9, group


@pytest.mark.slow
def test_random_feedback_leaves_the_readout_gradient(spiking, problem, sides):
    made, trials = problem(spiking()), sides(steps=20).trials(KEY, 3)
    a, b = _slope(EProp(feedback_kind="random"), made, trials), _slope(EProp(), made, trials)
    _assert_equal({"readout": a["readout"]}, {"readout": b["readout"]})
    assert not np.allclose(a["input"]["input_E.log_gain"], b["input"]["input_E.log_gain"])


@pytest.mark.slow
@pytest.mark.parametrize("rule", [DRTRL(), EProp(), ESDRTRL()], ids=lambda rule: rule.name)
def test_online_memory_does_not_grow_with_the_trial(spiking, problem, sides, rule):
    made = problem(spiking(inhibitory=False))
    values = made.trainable.initial(made.net, made.readout)

    def temporary(rule, steps):
        trials = sides(steps=steps).trials(KEY, 4)
        run = jax.jit(lambda v, t: rule.gradient(made, v, t, KEY, KEY))
        return run.lower(values, trials).compile().memory_analysis().temp_size_in_bytes

    short, long = temporary(rule, 50), temporary(rule, 400)
    # The loss' weight of each step is a float for each trial; nothing else may grow.
    assert long - short <= 2 * 350 * 4 * 4
