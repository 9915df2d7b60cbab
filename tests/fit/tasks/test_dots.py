"""Random dots: rates, and the ideal observer's accuracy against observers that are simulated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from connectofit.fit.tasks import RandomDots

N = 4000


def correct(task: RandomDots, seed: int) -> int:
    """How many of N trials an observer answers rightly that compares the sums of the two groups (ties: half)."""

    def one(key):
        trials = task.trials(key, N)
        counts = [jnp.sum(trials.inputs[:, task.at("stimulus"), g * n : g * n + n], (1, 2)) for g in range(2)]
        return counts[0], counts[1], trials.labels

    n = task.neurons_per_group
    left, right, labels = (np.asarray(a) for a in jax.jit(one)(jax.random.key(seed)))
    guess = np.random.default_rng(0).random(N) < 0.5
    return int(np.sum(np.where(left == right, guess, right > left) == labels))


@pytest.mark.few(1)
@pytest.mark.parametrize("coherence", [0.0, 0.064, 0.256])
@pytest.mark.parametrize("setting", [{}, {"dt_ms": 5.0, "dots_Hz": 60.0}])
def test_the_ideal_observer_of_spikes_is_as_good_as_one_that_counts(coherence, setting):
    task = RandomDots(coherences=(coherence,), stimulus_ms=100, answer_ms=5, neurons_per_group=4, **setting)
    expected = task.ideal_accuracy(coherence)
    assert stats.binomtest(correct(task, 1), N, expected).pvalue > 1e-4


@pytest.mark.slow
def test_the_ideal_observer_of_noisy_rates_is_as_good_as_one_that_averages():
    task = RandomDots(
        coherences=(0.256,), stimulus_ms=50, answer_ms=5, neurons_per_group=4, input_kind="rates", noise=0.5
    )
    expected = task.ideal_accuracy(0.256)
    assert 0.6 < expected < 0.95
    assert stats.binomtest(correct(task, 2), N, expected).pvalue > 1e-4


def test_a_single_spike_at_most_makes_an_ideal_accuracy_that_is_done_by_hand():
    task = RandomDots(
        coherences=(0.5,), slope=1.0, dots_Hz=200.0, fixation_ms=0, stimulus_ms=1, answer_ms=1, neurons_per_group=1
    )
    p, q = 0.3, 0.1  # of a spike from either neuron in the one step
    assert task.ideal_accuracy(0.5) == pytest.approx(p * (1 - q) + (p * q + (1 - p) * (1 - q)) / 2)


def test_no_coherence_is_a_guess_and_more_of_it_is_better():
    table = RandomDots().ideal_observer()
    assert table["accuracy"][0] == pytest.approx(0.5)
    assert np.all(np.diff(table["accuracy"]) > 0)
    assert RandomDots(input_kind="rates").ideal_accuracy(0.0) == 0.5
    assert RandomDots(input_kind="rates").ideal_accuracy(0.1) == 1.0


def test_no_other_rule_of_the_two_counts_is_better_at_mixed_coherences():
    task = RandomDots(coherences=(0.1, 0.9), slope=1.0, dots_Hz=100, stimulus_ms=10, answer_ms=1, neurons_per_group=1)
    k = np.arange(11)
    joint = np.zeros((2, 11, 11))  # [label, left, right]
    for c in task.coherences:
        high, low = (stats.binom(10, 0.1 * (1 + s * c)).pmf(k) for s in (1, -1))
        joint += 0.25 * np.stack([np.outer(high, low), np.outer(low, high)])
    best = np.max(joint, axis=0).sum()
    assert task.ideal_observer()["accuracy"].mean() == pytest.approx(best)


def test_rates_rise_with_coherence_in_the_preferred_direction_and_fall_in_the_other():
    task = RandomDots(
        input_kind="rates",
        coherences=(0.0, 0.5),
        slope=0.4,
        dots_Hz=10,
        stimulus_ms=2,
        answer_ms=1,
        neurons_per_group=1,
    )
    trials = jax.jit(lambda key: task.trials(key, 50))(jax.random.key(0))
    change = 0.4 * np.asarray(trials.info["coherence"]) * np.where(trials.labels == 1, 1.0, -1.0)
    np.testing.assert_allclose(trials.inputs[:, 51, 1], 0.5 * (1 + change), rtol=1e-6)
    np.testing.assert_allclose(trials.inputs[:, 51, 0], 0.5 * (1 - change), rtol=1e-6)
    assert set(np.asarray(trials.info["coherence_index"])) == {0, 1}
