"""Training: it learns, keeps wiring and signs, resumes exactly, stops when it should, and refuses what does not fit."""

from __future__ import annotations

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.fit.train import (
    Lesson,
    Penalties,
    Readout,
    TrainSchedule,
    delay_curriculum,
    evaluate_task,
    new_readout,
    train_task,
)
from connectofit.fit.train.losses import check_task
from connectofit.fit.train.streams import stream_key
from connectofit.fit.train.train import RULES, _judged

SHORT = TrainSchedule(steps=4, batch=4, learning_rate=0.05, interval=2, validation=8)


def _leaves(result):
    return jax.tree.leaves((result.network.params, result.readout.weights, result.readout.bias))


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_wiring_and_signs(spiking, sides, rule):
    net = spiking(n=5)
    result = train_task(net, sides(steps=15), rule=rule, schedule=replace(SHORT, learning_rate=1.0))
    _assert_wiring_and_signs_hold(net, result)


def _assert_wiring_and_signs_hold(net, result):
    moved = []
    for before, after in zip(net.projections, result.network.projections, strict=True):
        np.testing.assert_array_equal(after.indptr, before.indptr)
        np.testing.assert_array_equal(after.post_index, before.post_index)
        old, new = (
            np.asarray(p.weight(jnp.asarray(n.params[p.name]["log_gain"])))
            for p, n in ((before, net), (after, result.network))
        )
        np.testing.assert_array_equal(np.sign(new), np.sign(old))
        moved.append(not np.allclose(new, old))
    assert any(moved), "nothing was trained"


@pytest.mark.slow
def test_training_learns_and_is_scored_on_unseen_trials(spiking, sides):
    schedule = TrainSchedule(steps=60, batch=16, learning_rate=0.05, interval=10, validation=64, goal=0.97)
    net = spiking(inhibitory=False)
    result = train_task(net, sides(steps=25), schedule=schedule)
    _assert_wiring_and_signs_hold(net, result)
    assert result.seeds.loc[0, "ended"] == "goal"
    assert len(result.history) < 60
    scored = evaluate_task(result, n_trials=200, batch=100)
    assert scored.accuracy > 0.9
    assert len(scored.trials) == 200
    assert {"side", "label", "answer", "correct", "loss"} <= set(scored.trials)


@pytest.mark.slow
def test_seeds_are_trained_in_one_call_and_differ(spiking, sides):
    result = train_task(spiking(inhibitory=False), sides(steps=15), seed=(3, 1), schedule=SHORT)
    assert list(result.seeds["seed"]) == [3, 1]
    assert len(result.networks) == len(result.readouts) == 2
    assert not np.allclose(result.readouts[0].weights, result.readouts[1].weights)
    again = train_task(spiking(inhibitory=False), sides(steps=15), seed=1, schedule=SHORT)
    np.testing.assert_array_equal(again.readout.weights, result.readouts[1].weights)


def test_streams_have_no_key_in_common():
    keys = {
        tuple(np.asarray(jax.random.key_data(stream_key(seed, stream, step))))
        for seed in range(3)
        for stream in ("training", "validation", "test", "readout", "noise")
        for step in range(20)
    }
    assert len(keys) == 3 * 5 * 20


@pytest.mark.slow
def test_groups_that_are_not_free_do_not_move(spiking, sides):
    net = spiking(inhibitory=False)
    result = train_task(net, sides(steps=15), free=("readout",), schedule=SHORT)
    for owner, values in net.params.items():
        for name, value in values.items():
            np.testing.assert_array_equal(result.network.params[owner][name], value)


class Stop(Exception):
    pass


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights(spiking, sides, tmp_path):
    file, seen = tmp_path / "training.npz", []

    def kill(_):
        seen.append(1)
        if len(seen) == 3:
            raise Stop

    settings = {"schedule": replace(SHORT, steps=6), "curriculum": (Lesson(sides(steps=12), steps=3),)}
    whole = train_task(spiking(inhibitory=False), sides(steps=15), **settings)
    with pytest.raises(Stop):
        train_task(spiking(inhibitory=False), sides(steps=15), checkpoint=file, progress=kill, **settings)
    steps = []
    resumed = train_task(spiking(inhibitory=False), sides(steps=15), checkpoint=file, progress=steps.append, **settings)
    assert steps == [2, 1, 1, 1, 1]
    for a, b in zip(_leaves(resumed), _leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert resumed.history.equals(whole.history)
    with pytest.raises(SettingError, match="another fit"):
        train_task(spiking(inhibitory=False), sides(steps=15), seed=1, checkpoint=file, **settings)


@pytest.mark.slow
def test_lessons_that_leave_no_step_for_the_task_are_refused(spiking, sides):
    lessons = delay_curriculum(sides(steps=12, delay_ms=4.0), (0.0, 2.0), steps=SHORT.steps)
    with pytest.raises(SettingError, match=r"lessons may take \d+ steps and the schedule has"):
        train_task(spiking(inhibitory=False), sides(steps=12, delay_ms=4.0), schedule=SHORT, curriculum=lessons)


@pytest.mark.slow
def test_curriculum_leaves_a_lesson_after_its_steps(spiking, sides):
    lessons = delay_curriculum(sides(steps=12, delay_ms=4.0), (0.0, 2.0), steps=1, accuracy=2.0)
    assert [lesson.task.n_steps for lesson in lessons] == [12, 14]
    result = train_task(spiking(inhibitory=False), sides(steps=12, delay_ms=4.0), schedule=SHORT, curriculum=lessons)
    assert list(result.history["lesson"]) == [0, 1, 2, 2]


@pytest.mark.slow
def test_patience_ends_training(spiking, sides):
    schedule = replace(SHORT, steps=50, interval=1, learning_rate=1e-9, patience=2)
    result = train_task(spiking(inhibitory=False), sides(steps=15), schedule=schedule)
    assert result.seeds.loc[0, "ended"] == "patience"
    assert len(result.history) == 3


@pytest.mark.slow
def test_nan_stops_names_the_array_and_keeps_the_last_good_checkpoint(spiking, sides, tmp_path):
    net, file = spiking(inhibitory=False), tmp_path / "training.npz"
    readout = new_readout(net, 2, jax.random.key(0))
    bad = Readout(readout.weights.at[0, 0].set(jnp.nan), readout.bias, readout.tau_ms, readout.populations)
    with pytest.raises(DivergedError, match="step 0: outputs is not finite"):
        train_task(net, sides(steps=15), readout=bad, schedule=SHORT, checkpoint=file)
    with np.load(file) as held:
        assert int(held["done"]) == 0


@pytest.mark.slow
def test_a_gradient_whose_norm_overflows_is_named_and_not_clipped_to_nothing(spiking, sides):
    net = spiking(inhibitory=False)
    readout = new_readout(net, 2, jax.random.key(0))
    steep = Readout(readout.weights * 1e30, readout.bias, readout.tau_ms, readout.populations)
    with pytest.raises(DivergedError, match="gradient's norm is not finite"):
        train_task(net, sides(steps=15), readout=steep, schedule=SHORT)


@pytest.mark.slow
def test_penalties_pull_rates_and_gains(spiking, problem, sides):
    far = Penalties(rate=1.0, rate_Hz=1e-3, voltage=1.0, voltage_range=(-0.1, 0.1), shrinkage=1.0)
    free = train_task(spiking(inhibitory=False), sides(steps=15), schedule=SHORT)
    held = train_task(spiking(inhibitory=False), sides(steps=15), schedule=SHORT, penalties=far)
    assert held.history["training"].iloc[0] > free.history["training"].iloc[0] + 1.0


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"rule": "bptp"}, UnknownNameError, "Did you mean 'bptt'"),
        ({"free": ("recurent",)}, UnknownNameError, "Did you mean 'recurrent'"),
        ({"free": ()}, SettingError, "Nothing is free"),
        ({"seed": (1, 1)}, SettingError, "each once"),
        ({"rule": "e_prop", "free": ("bias",)}, SettingError, "'e_prop' does not train 'bias'"),
        ({"rule": "d_rtrl", "penalties": Penalties(rate=1.0)}, SettingError, "no gradient of penalties"),
    ],
)
def test_settings_that_do_not_fit_are_refused(spiking, sides, settings, error, text):
    with pytest.raises(error, match=re.escape(text)):
        train_task(spiking(), sides(steps=15), schedule=SHORT, **settings)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"label_shift": 1}, "Labels of Sides have to be from 0 to 1"),
        ({"mask_steps": 20}, "The mask of Sides are longer than its trials: 20 steps, and inputs for 15"),
        ({"inputs": 8}, "8 inputs and population 'input'"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(spiking, sides, change, text):
    with pytest.raises(SettingError, match=re.escape(text)):
        train_task(spiking(), sides(steps=15, **change), schedule=SHORT)


def test_targets_longer_than_the_trial_are_refused(sides):
    task = sides(steps=15, mask_steps=15, regression=True)
    trials = task.trials(jax.random.key(0), 2)
    longer = replace(trials, targets=jnp.zeros((2, 17, 2)))
    with pytest.raises(SettingError, match="targets of Sides are longer than its trials: 17 steps"):
        check_task(task, longer, 2)


def test_more_outputs_than_the_readout_has_are_refused(spiking, sides):
    net = spiking()
    with pytest.raises(SettingError, match="3 outputs and the readout 2"):
        train_task(net, sides(steps=15, outputs=3), readout=new_readout(net, 2, jax.random.key(0)), schedule=SHORT)


def test_rules_refuse_models_and_tasks_that_they_do_not_support(rates, spiking, sides):
    for rule in ("e_prop", "r_stdp"):
        with pytest.raises(SettingError, match="supports neurons of the models"):
            train_task(rates(), sides(inputs=4, steps=12, input_kind="rates"), rule=rule, schedule=SHORT)
    with pytest.raises(SettingError, match="learns from rewards for choices"):
        train_task(spiking(), sides(steps=15, regression=True), rule="r_stdp", schedule=SHORT)


def test_edges_without_weight_are_refused(spiking, sides):
    net = spiking()
    weight = net.projections[0].base_weight.copy()
    weight[3] = 0.0
    first = replace(net.projections[0], base_weight=weight)
    with pytest.raises(SettingError, match="Edges of 'input_E' have weight 0"):
        train_task(replace(net, projections=(first, *net.projections[1:])), sides(steps=15), schedule=SHORT)


@pytest.mark.parametrize(("judge", "best"), [("accuracy", 1), ("loss", 2)])
def test_the_best_step_has_the_highest_accuracy_or_the_lowest_loss(judge, best):
    schedule = TrainSchedule(judged_by=judge, patience=1)
    carry = {"values": "first", "best_score": np.array([-np.inf, -np.inf]), "best_step": 0, "since": 0, "ended": 0}
    carry = _judged(carry, 0.5, 0.6, 1, schedule)
    carry = _judged(carry | {"values": "second"}, 0.4, 0.55, 2, schedule)
    assert int(carry["best_step"]) == best
    assert carry["best"] == ("first", "second")[best - 1]
    assert int(carry["ended"]) == (2 if judge == "accuracy" else 0)  # patience


def test_an_unknown_judge_is_refused():
    with pytest.raises(UnknownNameError, match="judge named 'auc'"):
        TrainSchedule(judged_by="auc")
