"""Trials of a task: kinds of input, seeds, shapes, and settings that are refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.tasks import (
    DelayedComparison,
    DelayedMatch,
    EvidenceAccumulation,
    GoNoGo,
    RandomDots,
    TaskTrials,
)

SHORT = {
    "evidence": EvidenceAccumulation(n_cues=3, cue_ms=20, gap_ms=10, delay_ms=30, recall_ms=20, neurons_per_group=4),
    "match": DelayedMatch(fixation_ms=10, sample_ms=20, delay_ms=30, test_ms=20, answer_ms=20, neurons_per_group=4),
    "comparison": DelayedComparison(
        fixation_ms=10, first_ms=20, delay_ms=30, second_ms=20, answer_ms=20, neurons_per_group=4
    ),
    "dots": RandomDots(fixation_ms=10, stimulus_ms=40, answer_ms=20, neurons_per_group=4),
    "go": GoNoGo(fixation_ms=10, stimulus_ms=20, delay_ms=30, answer_ms=20, neurons_per_group=4),
}
MANY = 2000
every_task = pytest.mark.parametrize("task", SHORT.values(), ids=SHORT.keys())


drawn = jax.jit(lambda task, key, n: task.trials(key, n), static_argnums=(0, 2))


def same(a: TaskTrials, b: TaskTrials) -> bool:
    return all(bool(jnp.array_equal(x, y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.few(1)
@every_task
def test_the_shapes_are_those_that_the_task_states(task):
    trials = drawn(task, jax.random.key(5), MANY)
    assert trials.inputs.shape == (MANY, task.n_steps, task.n_inputs)
    assert trials.mask.shape == (MANY, task.n_steps)
    assert trials.labels.shape == (MANY,)
    assert trials.targets is None
    assert set(np.unique(trials.inputs)) <= {0.0, 1.0}
    assert 0 <= trials.labels.min() <= trials.labels.max() < task.n_outputs
    assert len(task.input_types) == task.n_inputs
    assert task.input_types[0] == task.signals[0]
    assert task.input_types[-1] == "noise"


@pytest.mark.few(2)
@every_task
def test_a_key_draws_the_same_trials_and_another_key_others(task):
    one, again, other = (drawn(task, jax.random.key(s), MANY) for s in (5, 5, 6))
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.slow
def test_the_first_of_more_trials_are_those_of_fewer():
    task = SHORT["match"]
    few, many = (drawn(task, jax.random.key(5), n) for n in (3, MANY))
    assert same(few, jax.tree.map(lambda a: a[:3], many))


@pytest.mark.slow
def test_trials_under_jit_are_those_without():
    task = SHORT["go"]
    assert same(drawn(task, jax.random.key(3), 4), task.trials(jax.random.key(3), 4))


@pytest.mark.few(1)
@every_task
def test_labels_are_balanced(task):
    labels = np.asarray(drawn(task, jax.random.key(5), MANY).labels)
    assert stats.binomtest(int(labels.sum()), MANY, 0.5).pvalue > 1e-4


@every_task
def test_the_mask_covers_the_period_of_the_answer_alone(task):
    start, stop = task.periods[task.answer]
    expected = np.zeros(task.n_steps)
    expected[start:stop] = 1.0
    np.testing.assert_array_equal(drawn(task, jax.random.key(5), MANY).mask, np.tile(expected, (MANY, 1)))


@pytest.mark.few(2)
@every_task
def test_signals_are_at_the_baseline_outside_of_the_steps_that_are_said_to_be_active(task):
    keys = jax.random.split(jax.random.key(0), 60)
    rates = np.asarray(jax.jit(jax.vmap(lambda key: task.plan(key)[0]))(keys))
    assert set(task.active) == set(task.signals)
    for k, name in enumerate(task.signals):
        start, stop = task.active[name]
        assert rates[:, start:stop, k].max() > 0.0
        assert not np.delete(rates[:, :, k], np.s_[start:stop], axis=1).any()


def test_a_rate_of_one_spike_a_step_spikes_in_every_step_and_none_in_no_step():
    task = SHORT["go"]
    rates = jnp.array([[1000.0], [0.0], [500.0]])
    spikes = np.stack([task.emit(jax.random.key(s), rates, 50) for s in range(8)])
    assert spikes[:, 0].all()
    assert not spikes[:, 1].any()
    assert stats.binomtest(int(spikes[:, 2].sum()), 400, 0.5).pvalue > 1e-4


def test_the_table_has_a_row_for_each_trial():
    table = drawn(SHORT["evidence"], jax.random.key(5), MANY).table()
    assert list(table.columns) == ["label", "last_cue", "n_left", "n_right", "side"]
    assert len(table) == MANY
    assert table.index.name == "trial"


@pytest.mark.few(1)
@pytest.mark.parametrize("dt_ms", [0.5, 1.0, 2.5])
def test_spikes_have_the_rates_in_hz_at_any_time_step(dt_ms):
    task = EvidenceAccumulation(
        dt_ms=dt_ms, n_cues=1, cue_ms=100, gap_ms=100, delay_ms=50, recall_ms=50, baseline_Hz=5, neurons_per_group=10
    )
    inputs = np.asarray(drawn(task, jax.random.key(0), 200).inputs)
    gap, recall = slice(0, round(100 / dt_ms)), slice(round(250 / dt_ms), None)
    for part, steps, rate in ((30, slice(None), 10.0), (0, gap, 5.0), (20, gap, 5.0), (20, recall, 40.0)):
        spikes = inputs[:, steps, part : part + 10]
        test = stats.binomtest(int(spikes.sum()), spikes.size, rate * dt_ms / 1000)
        assert test.pvalue > 1e-4, (part, rate)


def test_rates_are_multiples_of_the_full_rate():
    task = EvidenceAccumulation(input_kind="rates", n_cues=1, cue_ms=4, gap_ms=2, delay_ms=3, recall_ms=2, minority=0.0)
    trials = drawn(task, jax.random.key(0), 1)
    expected = np.zeros((11, 100))
    side = int(trials.labels[0])
    expected[2:6, 25 * side : 25 * side + 25] = 1.0
    expected[9:, 50:75] = 1.0
    expected[:, 75:] = 0.25
    np.testing.assert_allclose(trials.inputs[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("dt_ms", [0.5, 1.0, 2.0])
def test_noise_of_rates_has_the_same_effect_on_a_mean_over_time_at_any_time_step(dt_ms):
    task = GoNoGo(dt_ms=dt_ms, input_kind="rates", noise=3.0, fixation_ms=40, background_Hz=0, neurons_per_group=20)
    inputs = np.asarray(drawn(task, jax.random.key(0), 300).inputs)
    means = inputs[:, : round(40 / dt_ms)].mean(axis=1).ravel()
    expected = 3.0 / np.sqrt(40.0)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], means.size) * expected**2 / means.size
    assert low < np.mean(means**2) < high


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EvidenceAccumulation(dt_ms=0.0), "positive time step"),
        (lambda: EvidenceAccumulation(dt_ms=7.0), "cue_ms of EvidenceAccumulation of 100 ms"),
        (lambda: EvidenceAccumulation(n_cues=4), "odd number"),
        (lambda: EvidenceAccumulation(minority=1.5), "minority of EvidenceAccumulation has to be from 0 to 1"),
        (lambda: EvidenceAccumulation(cue_Hz=2000.0), "at most 1000 Hz"),
        (lambda: EvidenceAccumulation(background_Hz=-1.0), "background_Hz"),
        (lambda: EvidenceAccumulation(recall_ms=0.0), "at least one step"),
        (lambda: EvidenceAccumulation(neurons_per_group=0), "neurons_per_group"),
        (lambda: EvidenceAccumulation(noise=float("nan")), "noise"),
        (lambda: DelayedMatch(n_stimuli=1), "at least 2"),
        (lambda: DelayedMatch(delay_ms=-1.0), "0 or more"),
        (lambda: DelayedComparison(pairs=((1.0, 1.0),)), "two different numbers"),
        (lambda: DelayedComparison(low_Hz=50.0), "below high_Hz"),
        (lambda: RandomDots(coherences=(0.1, 1.2)), "from 0 to 1"),
        (lambda: RandomDots(coherences=(0.1, 0.1)), "different numbers"),
        (lambda: RandomDots(dots_Hz=0.0), "above 0"),
        (lambda: GoNoGo(go_fraction=-0.1), "go_fraction"),
        (lambda: GoNoGo().trials(jax.random.key(0), 0), "at least 1"),
        (lambda: RandomDots().ideal_accuracy(2.0), "from 0 to 1"),
    ],
)
def test_settings_that_make_no_trials_are_refused(make, words):
    with pytest.raises(SettingError, match=words):
        make()


def test_a_misspelt_kind_of_input_suggests_the_right_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'rates'"):
        EvidenceAccumulation(input_kind="rate")
