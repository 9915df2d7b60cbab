"""What a fit sees, when it stops, which step it returns, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.fit import Free, Parameters, Schedule


@pytest.fixture(scope="module")
def result(task):
    return task.run()


@pytest.fixture(scope="module")
def stopped(task):
    """A fit whose validation rows are all without an answer, of which training knows nothing."""
    return task.run(objectives=task.relabelled(task.validating(), 0.0))


def nll(logit, label) -> np.ndarray:
    """Bernoulli negative log-likelihoods."""
    p = 1 / (1 + np.exp(-np.asarray(logit, float)))
    return -np.where(np.asarray(label) == 1, np.log(p), np.log(1 - p))


def course(result, column, start) -> np.ndarray:
    return result.history.query("start == @start")[column].to_numpy()


@pytest.mark.few(1)
@pytest.mark.parametrize("value", [None, np.nan])
def test_held_out_labels_have_no_influence(task, result, same, value):
    assert same(task.run(objectives=task.relabelled(task.held, value)), result)


def test_training_labels_have_influence(task, result, same):
    training = np.flatnonzero(~task.held & ~task.validating())[:3]
    assert not same(task.run(objectives=task.relabelled(training)), result)


def test_validation_labels_decide_when_it_stops_and_not_where_it_goes(result, stopped, task):
    for start in range(2):
        a, b = course(result, "training", start), course(stopped, "training", start)
        running = int(min(r.starts["best_step"][start] for r in (result, stopped))) + task.schedule.patience
        assert running >= task.schedule.patience
        n = min(running + 1, len(a), len(b))
        assert np.array_equal(a[:n], b[:n])
        assert not np.array_equal(course(result, "validation", start)[:n], course(stopped, "validation", start)[:n])


def test_a_start_stops_when_validation_has_not_improved_for_as_long_as_its_patience(stopped, task):
    assert stopped.starts["ended"].tolist() == ["patience", "patience"]
    assert len(stopped.history) < 2 * task.schedule.steps
    assert len(stopped.history) % (2 * task.schedule.interval) == 0
    for start in range(2):
        frozen = course(stopped, "training", start)[stopped.starts["best_step"][start] + task.schedule.patience :]
        assert np.unique(frozen).size == 1


@pytest.mark.parametrize("name", ["result", "stopped"])
def test_the_best_step_has_the_least_validation_loss_and_the_best_start_too(task, name, request):
    found = request.getfixturevalue(name)
    for start in range(2):
        # What comes after its patience has run out does not count.
        losses = course(found, "validation", start)[: found.starts["best_step"][start] + task.schedule.patience + 1]
        assert losses.size == min(found.starts["best_step"][start] + task.schedule.patience + 1, task.schedule.steps)
        assert found.starts["best_step"][start] == np.argmin(losses)
        assert found.starts["validation"][start] == losses.min()
        assert found.starts["training"][start] == course(found, "training", start)[np.argmin(losses)]
    assert found.best_start == np.argmin(found.starts["validation"])


def test_the_network_that_is_returned_has_the_validation_loss_that_is_reported(task, result):
    rows = task.validating()
    assert rows.any()
    assert not (rows & task.held).any()
    logit = result.predict("atlas", task.labels.subset(rows))
    expected = nll(logit, task.labels.detected[rows]).mean()
    assert result.starts["validation"][result.best_start] == pytest.approx(expected, rel=1e-5)


def test_the_network_given_is_not_changed_and_the_wiring_stays(task, result):
    assert not np.any(task.net.params["chemical"]["log_gain"])
    assert np.all(np.asarray(result.network.params["chemical"]["log_gain"]) != 0)
    for before, after in zip(task.net.projections, result.network.projections, strict=True):
        assert np.array_equal(before.post_index, after.post_index)
        assert np.array_equal(before.base_weight, after.base_weight)


def test_training_lowers_the_loss(result):
    for start in range(2):
        assert course(result, "training", start)[-1] < course(result, "training", start)[0]


def test_the_same_seed_gives_the_same_fit_and_another_seed_other_starts(task, result, same):
    assert same(task.run(), result)
    other = task.run(seed=2)
    first = [*result.history.query("step == 0")["training"], *other.history.query("step == 0")["training"]]
    assert len(set(first)) == 4


@pytest.mark.slow
def test_without_validation_the_last_step_counts_and_the_loss_is_the_mean_over_all_rows(task):
    free = Parameters(tuple(Free(f.name, start_sd=0.0) for f in task.free.free))
    plain = task.run(free=free, validation=None, hold_out=None, starts=1)
    assert plain.starts["best_step"].tolist() == [task.schedule.steps - 1]
    assert plain.starts["ended"].tolist() == ["steps"]
    assert plain.history["validation"].isna().all()
    # Before the first step every parameter is at the mean of its prior, whose penalty is 0.
    before = replace(plain, network=task.net, readouts={"atlas": task.labels.initial()})
    expected = nll(before.predict("atlas", task.labels), task.labels.detected)
    assert plain.history["training"][0] == pytest.approx(expected.mean(), rel=1e-5)
    heavier = task.run(free=free, validation=None, hold_out=None, starts=1, weights={"atlas": 2.5})
    assert heavier.history["training"][0] == pytest.approx(2.5 * expected.mean(), rel=1e-5)


@pytest.mark.slow
def test_a_start_that_diverges_leaves_the_others_alone_and_is_never_the_best(task):
    # Half of the starts have gains of e to the hundreds and overflow, the others of 0.
    free = Parameters((Free("chemical.log_gain", sd_shared=1e6, start_sd=1e3),))
    found = task.run(free=free, starts=6)
    diverged = (found.starts["ended"] == "diverged").to_numpy()
    assert 0 < diverged.sum() < 6
    assert not diverged[found.best_start]
    assert np.isfinite(found.history["training"][~np.isin(found.history["start"], np.flatnonzero(diverged))]).all()
    assert np.isfinite(found.predict("atlas", task.labels)).all()
    assert all(np.isfinite(v).all() for owner in found.network.params.values() for v in owner.values())


def test_a_fit_without_any_finite_start_is_an_error(task):
    net = task.net.with_params({"chemical": {"log_gain": np.full(3, 500.0)}})
    with pytest.raises(DivergedError, match="none of its 2 starts had a finite loss within 5 steps"):
        task.run(net=net)


def test_progress_is_told_of_every_step(task, result):
    steps: list[int] = []
    task.run(progress=steps.append)
    assert sum(steps) == len(result.history) // 2


@pytest.mark.parametrize("argument", ["weights", "hold_out", "validation"])
def test_an_objective_that_does_not_exist_is_answered_with_the_nearest_name(task, argument):
    with pytest.raises(UnknownNameError, match="Did you mean 'atlas'"):
        task.run(**{argument: {"atlass": 0.5}})


def test_a_parameter_that_does_not_exist_is_answered_with_the_nearest_name(task):
    with pytest.raises(UnknownNameError, match="Did you mean 'log_gain'"):
        task.run(free=Parameters((Free("chemical.log_gains"),)))


def test_predictions_of_an_objective_that_was_not_fitted_are_refused(task, result):
    with pytest.raises(UnknownNameError, match="Did you mean 'atlas'"):
        result.predict("atlsa", task.labels)


@pytest.mark.parametrize("mask", [np.zeros(41, bool), np.arange(42), np.arange(6)])
def test_a_hold_out_that_is_no_mask_of_all_rows_is_refused(task, mask):
    with pytest.raises(SettingError, match="mask, True or False for each of the 42 rows"):
        task.run(hold_out={"atlas": mask})


def test_holding_out_every_row_is_refused(task):
    with pytest.raises(SettingError, match="No row is left to train on"):
        task.run(hold_out={"atlas": np.ones(42, bool)}, validation=None)
    with pytest.raises(SettingError, match="No row is left to train on"):
        task.run(weights={"atlas": 0.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"atlas": -1.0}}, "weight of objective 'atlas'"),
        ({"weights": {"atlas": float("nan")}}, "weight of objective 'atlas'"),
        ({"validation": {"atlas": 1.0}}, "fraction between 0 and 1"),
        ({"starts": 0}, "starts has to be a whole number"),
        ({"starts": 1.5}, "starts has to be a whole number"),
        ({"seed": -1}, "seed has to be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(task, changes, message):
    with pytest.raises(SettingError, match=message):
        task.run(**changes)


@pytest.mark.parametrize("name", ["steps", "patience", "interval"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_schedules_need_whole_numbers(name, value):
    with pytest.raises(SettingError, match=f"{name} of a fit"):
        Schedule(**{name: value})


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan"), float("inf")])
def test_schedules_need_a_positive_learning_rate(rate):
    with pytest.raises(SettingError, match="learning_rate has to be above 0"):
        Schedule(learning_rate=rate)


def test_data_whose_neurons_are_in_another_order_than_the_networks_are_refused(task, result):
    ids = (*task.net.ids[:2], *reversed(task.net.ids[2:]))
    other = replace(task.labels, ids=ids)
    with pytest.raises(SettingError, match=r"differ from neuron 3 on.*Network\.ids"):
        task.run(objectives={"atlas": other})
    with pytest.raises(SettingError, match="differ from neuron 3 on"):
        result.predict("atlas", other)
    with pytest.raises(SettingError, match="indexes 8 neurons, the network 7"):
        task.run(objectives={"atlas": replace(task.labels, ids=(*task.net.ids, "n7"))})
