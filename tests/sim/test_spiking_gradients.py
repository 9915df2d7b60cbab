"""Surrogate gradients of a spiking network against backpropagation through time written out over dense matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from connectofit.sim import LIF, Exponential, Network, Population, Projection, Sigmoid, rollout

N, STEPS, DT, DELAY, TAU, TAU_SYN, R, REST, RESET, WIDTH = 6, 80, 0.5, 3, 20.0, 5.0, 0.1, -70.0, -62.0, 2.0
REFRACTORY_STEPS = 4
DECAY, DECAY_SYN = np.exp(-DT / TAU), np.exp(-DT / TAU_SYN)
# What a current of 1 pA that decays from the start of a step adds to V.
GAIN = R * (DECAY_SYN - DECAY) / (1.0 - TAU / TAU_SYN)


def setting(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(weights [pre, post], inputs [time, neuron], thresholds, what the loss multiplies V and spikes with)."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(60.0, 80.0, size=(N, N))
    inputs = rng.uniform(100.0, 400.0, size=(STEPS, N))
    return weights, inputs, rng.uniform(-58.0, -52.0, N), rng.normal(size=(2, STEPS, N))


def by_hand(weights, inputs, threshold, loss_weights):
    """(spikes, gradient by the weights, gradient by the thresholds)."""
    v, current, resting = np.full(N, REST), np.zeros(N), np.zeros(N, int)
    sent = np.zeros((STEPS + DELAY, N))  # row m + DELAY: the spikes of step m, which arrive at the end of m + DELAY
    before, active = np.zeros((STEPS, N)), np.zeros((STEPS, N), bool)
    for m in range(STEPS):
        new = REST + R * inputs[m] + (v - REST - R * inputs[m]) * DECAY + GAIN * current
        active[m] = resting == 0
        before[m] = np.where(active[m], new, RESET)
        spikes = (before[m] >= threshold) & active[m]
        v = np.where(spikes, RESET, before[m])
        current = current * DECAY_SYN + sent[m] @ weights
        resting = np.where(spikes, REFRACTORY_STEPS, np.maximum(resting - 1, 0))
        sent[m + DELAY] = spikes

    spikes = sent[DELAY:]
    s = expit((before - threshold) / WIDTH)
    surrogate = s * (1 - s) / WIDTH * active
    d_v, d_current = np.zeros(N), np.zeros(N)  # by what the next step starts from
    d_arriving = np.zeros((STEPS + DELAY, N))  # by W^T of what arrives at the end of a step
    d_weights, d_threshold = np.zeros((N, N)), np.zeros(N)
    for m in reversed(range(STEPS)):
        d_arriving[m] = d_current
        d_weights += np.outer(sent[m], d_arriving[m])
        d_after = d_v + loss_weights[0, m]
        d_spikes = loss_weights[1, m] + weights @ d_arriving[m + DELAY]
        # A spike lowers V to the reset; where that would lift it, the surrogate does not act on V.
        d_spikes = d_spikes + d_after * np.minimum(RESET - before[m], 0.0)
        d_before = d_after * (1 - spikes[m]) + d_spikes * surrogate[m]
        d_threshold -= d_spikes * surrogate[m]
        d_v = d_before * active[m] * DECAY
        d_current = d_current * DECAY_SYN + d_before * active[m] * GAIN
    return spikes, d_weights, d_threshold


def test_gradient_through_spikes_resets_refractoriness_and_delays_is_that_of_dense_backpropagation():
    weights, inputs, threshold, loss_weights = setting()
    ids = tuple(range(N))
    cells = Population("cells", LIF(Sigmoid(WIDTH)), ids, np.arange(N, dtype=np.int32), ids)
    pre, post = (index.ravel() for index in np.indices((N, N)))
    projection = Projection(
        "syn", "cells", "cells", Exponential(), np.arange(N + 1, dtype=np.int32) * N, post.astype(np.int32),
        weights.ravel(), np.arange(N * N, dtype=np.int32), tuple(range(N * N)), DELAY * DT,
    )  # fmt: skip
    own = {name: np.full(N, parameter.default) for name, parameter in LIF.parameters.items()}
    own |= {"v_threshold_mV": threshold, "v_reset_mV": np.full(N, RESET), "t_ref_ms": np.full(N, REFRACTORY_STEPS * DT)}
    syn = {"log_gain": np.zeros(N * N), "tau_syn_ms": np.full(1, TAU_SYN)}
    net = Network((cells,), (projection,), {"cells": own, "syn": syn})

    def loss(params):
        _, out = rollout(net.with_params(params), None, {"cells": inputs}, dt_ms=DT)
        out = out["cells"]
        return jnp.sum(loss_weights[0] * out["v_mV"]) + jnp.sum(loss_weights[1] * out["spikes"]), out["spikes"]

    with jax.enable_x64(True):
        gradient, spikes = jax.jit(jax.grad(loss, has_aux=True))(jax.tree.map(jnp.asarray, net.params))
    expected_spikes, d_weights, d_threshold = by_hand(weights, inputs, threshold, loss_weights)
    np.testing.assert_array_equal(spikes, expected_spikes)
    assert expected_spikes.sum(axis=0).min() >= 2
    np.testing.assert_allclose(gradient["cells"]["v_threshold_mV"], d_threshold, rtol=1e-9)
    np.testing.assert_allclose(gradient["syn"]["log_gain"].reshape(N, N), weights * d_weights, rtol=1e-9, atol=1e-9)
    assert np.abs(d_weights).min() > 1e-4
    assert np.array_equal(pre, projection.pre_index)
