"""Answers that are known as chances: the loss is the mean over the labels drawn from them."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks import Condition, ObservedComparison
from connectofit.fit.train.losses import check_task, step_weights, task_loss

TASK = ObservedComparison(
    conditions=(Condition(1.0, 2.0, (), 0.25, 3.0), Condition(2.0, 1.0, (), 0.9, 1.0)),
    fixation_ms=20.0,
    first_ms=20.0,
    delay_ms=10.0,
    second_ms=20.0,
    answer_ms=30.0,
)


@pytest.mark.parametrize("n_steps", [pytest.param(100, marks=pytest.mark.slow), 700])
def test_compiled_and_plain_losses_are_those_of_numpy(n_steps):
    """Under jit, too: with 700 steps jaxlib 0.10.2 was out by several nats."""
    task = replace(TASK, delay_ms=float(n_steps - 90))
    trials = jax.jit(lambda key: task.trials(key, 64))(jax.random.key(0))
    y = jax.random.normal(jax.random.key(1), (n_steps, 64, 2)) * 3.0
    each = -(np.asarray(trials.chances)[None] * log_softmax(np.asarray(y, float), -1)).sum(-1)
    expected = float((each * np.asarray(step_weights(trials.mask)).T).sum())
    assert float(task_loss(y, trials)) == pytest.approx(expected, rel=1e-5)
    assert float(jax.jit(task_loss)(y, trials)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_chances_have_the_mean_loss_of_labels():
    trials = TASK.trials(jax.random.key(0), 3)
    y = jax.random.normal(jax.random.key(1), (TASK.n_steps, 3, 2))
    # Trial by trial: what each label would cost, weighed by its chance.
    cost = 0.0
    for k in range(3):
        one = jax.tree.map(lambda a, k=k: a[k : k + 1], trials)
        for label in (0, 1):
            told = replace(one, labels=jnp.array([label]), chances=None)
            cost += float(one.chances[0, label]) * float(task_loss(y[:, k : k + 1], told)) / 3
    assert float(task_loss(y, trials)) == pytest.approx(cost, rel=1e-5)


def test_chances_without_a_sum_of_1_are_refused():
    trials = jax.jit(lambda key: TASK.trials(key, 4))(jax.random.key(0))
    check_task(TASK, trials, 2)
    with pytest.raises(SettingError, match="sum of 1"):
        check_task(TASK, replace(trials, chances=trials.chances * 2.0), 2)
    with pytest.raises(SettingError, match="labels"):
        check_task(TASK, replace(trials, chances=trials.chances[:, :1]), 2)
