"""The adapter to NeuroGym, with an environment of the same shape as NeuroGym's, and with NeuroGym where it is there."""

from __future__ import annotations

import importlib.util
import sys
import types

import jax
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks import NeuroGymTask
from connectofit.fit.tasks import neurogym as adapter


class Environment:
    """A choice between 1 and 2: two steps of fixation, three of a stimulus, and a decision of two."""

    def __init__(self, dt, stimulus=3, decision=True, wrong=0, spread=0):
        self.dt, self.stimulus, self.decision, self.wrong, self.spread = dt, stimulus, decision, wrong, spread
        self.observation_space = types.SimpleNamespace(shape=(3,))
        self.action_space = types.SimpleNamespace(n=3)
        self.unwrapped = self

    def seed(self, seed):
        self.rng = np.random.RandomState(seed)

    def new_trial(self):
        choice, stimulus = self.rng.randint(1, 3), self.stimulus + self.rng.randint(0, self.spread + 1)
        end = 2 + stimulus
        self.ob = np.zeros((end + 2, 3), np.float32)
        self.ob[:, 0] = 1.0
        self.ob[2:end, choice] = 0.5
        self.gt = np.zeros(end + 2, int)
        self.gt[end:] = choice + self.wrong
        self.start_ind, self.end_ind = ({"decision": end}, {"decision": end + 2}) if self.decision else ({}, {})


@pytest.fixture
def module(monkeypatch):
    """A module that stands in for neurogym."""

    def make(name, dt, **settings):
        if name != "Choice-v0":
            raise ValueError(f"Environment `{name}` doesn't exist.")
        return Environment(dt, **settings)

    found = types.ModuleType("neurogym")
    found.make = make
    found.__spec__ = importlib.util.spec_from_loader("neurogym", None)
    monkeypatch.setitem(sys.modules, "neurogym", found)
    adapter._sizes.cache_clear()
    yield found
    adapter._sizes.cache_clear()


@pytest.mark.parametrize("settings", [(), (("decision", False),)])
def test_observations_are_inputs_and_the_right_action_the_label(module, settings):
    task = NeuroGymTask(dt_ms=10.0, name="Choice-v0", input_kind="rates", settings=settings)
    assert (task.n_inputs, task.n_outputs, task.n_steps, task.duration_ms) == (3, 3, 7, 70.0)
    trials = jax.jit(lambda key: task.trials(key, 40))(jax.random.key(0))
    assert set(np.asarray(trials.labels)) == {1, 2}
    expected = np.zeros((40, 7, 3))
    expected[:, :, 0] = 1.0
    expected[np.arange(40), 2:5, np.asarray(trials.labels)] = 0.5
    np.testing.assert_allclose(trials.inputs, expected)
    np.testing.assert_array_equal(trials.mask, np.tile([0, 0, 0, 0, 0, 1, 1], (40, 1)))


@pytest.mark.slow
def test_a_key_draws_the_same_trials(module):
    task = NeuroGymTask(dt_ms=10.0, name="Choice-v0")
    one, other = (jax.jit(task.trials, static_argnums=1)(jax.random.key(1), n) for n in (8, 12))
    np.testing.assert_array_equal(one.inputs, other.inputs[:8])
    np.testing.assert_array_equal(one.labels, other.labels[:8])


def test_observations_become_spikes_of_their_rates(module):
    task = NeuroGymTask(dt_ms=10.0, name="Choice-v0", unit_Hz=50.0)
    inputs = np.asarray(jax.jit(task.trials, static_argnums=1)(jax.random.key(0), 400).inputs)
    assert set(np.unique(inputs)) == {0.0, 1.0}
    assert inputs[:, :, 0].mean() == pytest.approx(0.5, abs=0.05)
    assert inputs[:, 5:, 1:].sum() == 0


@pytest.mark.slow
def test_trials_of_different_length_need_one_that_is_long_enough(module):
    spread = (("spread", 4),)
    with pytest.raises(SettingError, match=r"differ in length.*Give trial_ms"):
        NeuroGymTask(dt_ms=10.0, name="Choice-v0", settings=spread).trials(jax.random.key(0), 2)
    task = NeuroGymTask(dt_ms=10.0, name="Choice-v0", settings=spread, trial_ms=120.0, input_kind="rates")
    trials = jax.jit(task.trials, static_argnums=1)(jax.random.key(0), 30)
    lengths = np.asarray(trials.info["length_steps"])
    assert trials.inputs.shape == (30, 12, 3)
    assert set(lengths) <= {7, 8, 9, 10, 11}
    for k, length in enumerate(lengths):
        assert np.all(trials.inputs[k, length:] == 0)
        assert np.flatnonzero(trials.mask[k]).tolist() == [length - 2, length - 1]
    with pytest.raises(Exception, match="longer than trial_ms = 70"):
        jax.block_until_ready(
            NeuroGymTask(dt_ms=10.0, name="Choice-v0", settings=spread, trial_ms=70.0).trials(jax.random.key(0), 30)
        )


def test_an_action_that_does_not_exist_is_refused(module):
    task = NeuroGymTask(dt_ms=10.0, name="Choice-v0", settings=(("wrong", 5),))
    with pytest.raises(Exception, match="out of 3 actions"):
        jax.block_until_ready(task.trials(jax.random.key(0), 2))


def test_an_unknown_environment_says_what_neurogym_says(module):
    with pytest.raises(SettingError, match=r"cannot make 'Choise-v0'.*doesn't exist"):
        NeuroGymTask(dt_ms=10.0, name="Choise-v0").trials(jax.random.key(0), 2)


def test_without_neurogym_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"pip install \"connectofit\[neurogym\]\""):
        NeuroGymTask()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PerceptualDecisionMaking-v0", "GoNogo-v0", "DelayMatchSample-v0"])
def test_tasks_of_neurogym_itself_draw_trials(name):
    pytest.importorskip("neurogym")
    task = NeuroGymTask(dt_ms=20.0, name=name, input_kind="rates")
    trials = task.trials(jax.random.key(0), 8)
    assert trials.inputs.shape == (8, task.n_steps, task.n_inputs)
    assert np.all(trials.mask.sum(1) > 0)
    assert len(set(np.asarray(trials.labels))) == 2
