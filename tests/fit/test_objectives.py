"""Likelihoods: closed forms, subsets, gradients against finite differences."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from connectofit.connectome.errors import SettingError
from connectofit.fit import Choice, Detection, Free, Parameters, Protocol, Responses, Trials, evoked

TYPES = ["a", "a", "b", "b", "c", "c", "c"]
PROTOCOL = Protocol(amplitude=0.8, dt_ms=20.0, duration_ms=120.0, from_ms=40.0)
OPTIONS = ("none", "backward", "forward")


@pytest.fixture(scope="module")
def detection(small) -> Detection:
    pre, post = (index.ravel() for index in np.nonzero(1 - np.eye(7)))
    rng = np.random.default_rng(0)
    some = rng.permutation(pre.size)[:30]
    q = rng.choice([0.01, 0.5], 30)
    responses = Responses(small.ids, pre[some], post[some], np.zeros(30), np.ones(30, int), q)
    return Detection.from_responses(
        responses, neuron_types=TYPES, protocol=PROTOCOL, effect_sd=0.4, distance=rng.normal(size=30)
    )


@pytest.fixture(scope="module")
def choice(small) -> Choice:
    rng = np.random.default_rng(1)
    stimulated = tuple(tuple(rng.permutation(7)[:2].tolist()) for _ in range(9))
    ablated = tuple(tuple(rng.permutation(7)[: k % 2].tolist()) for k in range(9))
    trials = Trials(small.ids, ("x",) * 9, stimulated, ablated, rng.integers(0, 3, 9), OPTIONS, ("",) * 9)
    return Choice.from_trials(
        trials, pools={"backward": ["a", "b"], "forward": ["c"]}, neuron_types=TYPES, protocol=PROTOCOL
    )


compiled = jax.jit(evoked, static_argnames="protocol")


@jax.jit
def predict(objective, net, readout) -> jax.Array:
    """Compiled once for all tests of one shape."""
    return objective.predict(net, readout)


def readout_of(objective, seed=0):
    """Readout parameters away from where they start."""
    flat, back = ravel_pytree(objective.initial())
    return back(flat + 0.3 * np.random.default_rng(seed).normal(size=flat.size))


def test_detection_reads_out_what_the_class_says(small, detection):
    with jax.enable_x64(True):
        readout = readout_of(detection)
        found = np.asarray(predict(detection, small, readout))
        x = np.abs(np.asarray(compiled(small, np.eye(7), PROTOCOL)))
    stimulated = np.nonzero(detection.drive)[1][detection.condition]
    codes = np.array([ord(t) - ord("a") for t in TYPES])
    r = {k: np.asarray(v) for k, v in readout.items()}
    slope, floor = np.log1p(np.exp(r["slope_raw"])), np.exp(r["floor_log"])
    expected = (
        r["offset"]
        + slope * np.log(x[stimulated, detection.responding] + floor)
        + r["excitability"][codes[detection.responding]]
        + r["distance_gain"] * detection.distance
    )
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_detection_without_the_network_keeps_class_effects_only(small, detection):
    with jax.enable_x64(True):
        readout = readout_of(detection)
        alone = replace(detection, connected=False, distance=None)
        found = np.asarray(predict(alone, small, readout))
    codes = np.array([ord(t) - ord("a") for t in TYPES])
    expected = np.asarray(readout["offset"]) + np.asarray(readout["excitability"])[codes[detection.responding]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_detection_loss_is_the_bernoulli_negative_log_likelihood(detection):
    with jax.enable_x64(True):
        logit = np.linspace(-8, 8, detection.n_rows)
        found = np.asarray(detection.loss(jnp.asarray(logit)))
        far = np.asarray(detection.loss(jnp.full(detection.n_rows, 1e4)))
    p = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(found, np.where(detection.detected == 1, -np.log(p), -np.log(1 - p)), rtol=1e-10)
    np.testing.assert_allclose(far, np.where(detection.detected == 1, 0.0, 1e4))


def test_rows_are_grouped_by_the_type_of_the_stimulated_neuron(detection):
    stimulated = np.nonzero(detection.drive)[1][detection.condition]
    assert [TYPES[i] for i in stimulated] == ["abc"[g] for g in detection.group]


def test_choice_reads_out_what_the_class_says(small, choice):
    with jax.enable_x64(True):
        readout = readout_of(choice)
        found = np.asarray(predict(choice, small, readout))
        x = np.asarray(compiled(small, choice.drive, PROTOCOL, choice.alive))
    r = {k: np.asarray(v) for k, v in readout.items()}
    of_type = {t: x[:, [k for k, u in enumerate(TYPES) if u == t]].mean(1) for t in "abc"}
    active = {t: np.log(choice.floor + choice.scale * np.maximum(v, 0)) for t, v in of_type.items()}
    gain = np.exp(r["gain_log"])
    backward = gain * ((active["a"] + active["b"]) / 2 - r["threshold"]) + r["bias"][1]
    forward = gain * (active["c"] - r["threshold"]) + r["bias"][2]
    # The pools' means are stored in float32: a third is one in 3e8 off.
    np.testing.assert_allclose(found, np.stack([np.zeros(9), backward, forward], axis=1), rtol=1e-5, atol=1e-6)


def test_choice_loss_is_the_softmax_cross_entropy(choice):
    logits = np.random.default_rng(2).normal(size=(9, 3)) * 4
    with jax.enable_x64(True):
        found = np.asarray(choice.loss(jnp.asarray(logits)))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, [-np.log(p[k, c]) for k, c in enumerate(choice.choice)], rtol=1e-10)


def test_an_ablation_takes_a_pool_out_of_the_choice(small):
    trials = Trials(small.ids, ("x",), ((0,),), ((4, 5, 6),), np.array([0]), OPTIONS, ("",))
    choice = Choice.from_trials(
        trials, pools={"backward": ["a"], "forward": ["c"]}, neuron_types=TYPES, protocol=PROTOCOL
    )
    readout = choice.initial()
    forward = float(predict(choice, small, readout)[0, 2])
    silent = np.exp(float(readout["gain_log"])) * (np.log(choice.floor) - float(readout["threshold"]))
    assert forward == pytest.approx(silent + float(readout["bias"][2]), rel=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["detection", "choice"])
def test_a_subset_predicts_its_rows_as_the_whole_does(small, name, request):
    objective = request.getfixturevalue(name)
    rows = np.random.default_rng(4).random(objective.n_rows) < 0.4
    with jax.enable_x64(True):
        readout = readout_of(objective)
        whole = predict(objective, small, readout)
        part = objective.subset(rows)
        found = predict(part, small, readout)
        np.testing.assert_allclose(found, np.asarray(whole)[rows], rtol=1e-12)
        np.testing.assert_allclose(part.loss(found), np.asarray(objective.loss(whole))[rows], rtol=1e-12)
    assert part.n_rows == rows.sum()
    assert np.array_equal(part.group, np.asarray(objective.group)[rows])
    assert part.ids == small.ids


def test_a_subset_holds_no_condition_that_its_rows_do_not_need(detection):
    stimulated = np.nonzero(detection.drive)[1][detection.condition]
    part = detection.subset(stimulated == stimulated[0])
    assert part.drive.shape == (1, 7)
    assert part.drive[0, stimulated[0]] == 1


def test_penalties_are_gaussian(detection, choice):
    with jax.enable_x64(True):
        r = readout_of(detection)
        assert float(detection.penalty(r)) == pytest.approx(0.5 * np.sum((np.asarray(r["excitability"]) / 0.4) ** 2))
        r = {k: np.asarray(v) for k, v in readout_of(choice).items()}
        expected = (
            (r["gain_log"] / choice.gain_sd) ** 2
            + ((r["threshold"] + 1) / choice.threshold_sd) ** 2
            + np.sum((r["bias"] / choice.bias_sd) ** 2)
        )
        assert float(choice.penalty(r)) == pytest.approx(0.5 * expected)


def test_the_gradient_of_the_whole_loss_equals_central_differences(small, detection, choice):
    free = Parameters(
        (Free("chemical.log_gain"), Free("gap.log_gain"), Free("worm.tau_m_ms", transform="scale"), Free("worm.v_rest"))
    )
    objectives = {"atlas": detection, "assays": choice}

    def loss(values) -> jax.Array:
        net = free.apply(small, values["free"])
        total = free.penalty(values["free"])
        for name, objective in objectives.items():
            readout = values["readout"][name]
            total += jnp.sum(objective.loss(objective.predict(net, readout))) + objective.penalty(readout)
        return total

    with jax.enable_x64(True):
        values = {
            "free": free.initial(small, jax.random.key(3)),
            "readout": {name: readout_of(objective) for name, objective in objectives.items()},
        }
        flat, back = ravel_pytree(values)
        flat = flat + 0.05 * np.random.default_rng(5).normal(size=flat.size)
        scalar = jax.jit(lambda x: loss(back(x)))
        gradient = np.asarray(jax.grad(scalar)(flat))
        step = 1e-6
        numeric = [
            float(scalar(flat.at[k].add(step)) - scalar(flat.at[k].add(-step))) / (2 * step) for k in range(flat.size)
        ]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7)
    moved = back(jnp.asarray(gradient))
    for name in ("chemical.log_gain", "gap.log_gain", "worm.tau_m_ms"):
        assert np.all(np.abs(moved["free"][name]["deviation"]) > 1e-6)


def test_data_that_do_not_match_their_neurons_are_refused(small, detection):
    responses = Responses(small.ids, np.array([0]), np.array([1]), np.zeros(1), np.ones(1, int), np.zeros(1))
    with pytest.raises(SettingError, match="each of the 7 neurons; found 2"):
        Detection.from_responses(responses, neuron_types=["a", "b"], protocol=PROTOCOL)
    for distance in ([1.0, 2.0], [np.nan]):
        with pytest.raises(SettingError, match="finite number for each of the 1 rows"):
            Detection.from_responses(responses, neuron_types=TYPES, protocol=PROTOCOL, distance=np.array(distance))


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ({"backward": ["a"]}, "Exactly one of the options"),
        ({"none": ["b"], "backward": ["a"], "forward": ["c"]}, "Exactly one of the options"),
        ({"backward": ["a"], "forwards": ["c"]}, "Exactly one of the options"),
        ({"backward": ["a"], "forward": []}, r"found none for 'forward'"),
        ({"backward": ["a"], "forward": ["z"]}, r"No neuron has the types.*'z'"),
    ],
)
def test_pools_that_do_not_match_the_options_or_types_are_refused(small, pools, message):
    trials = Trials(small.ids, ("x",), ((0,),), ((),), np.array([0]), OPTIONS, ("",))
    with pytest.raises(SettingError, match=message):
        Choice.from_trials(trials, pools=pools, neuron_types=TYPES, protocol=PROTOCOL)


def test_types_of_another_number_of_neurons_are_refused(small):
    trials = Trials(small.ids, ("x",), ((0,),), ((),), np.array([0]), OPTIONS, ("",))
    with pytest.raises(SettingError, match="each of the 7 neurons; found 3"):
        Choice.from_trials(
            trials, pools={"backward": ["a"], "forward": ["c"]}, neuron_types=TYPES[:3], protocol=PROTOCOL
        )
