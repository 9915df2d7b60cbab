"""Whole fits of cells: held-out sweeps stay unseen, scores are those of their definitions, results repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.fit import Recordings, SpikeDetection
from connectofit.fit.cell_fit import BASELINE, HELD_OUT, TRAINING, compare_models, fit_cell
from connectofit.fit.cell_scores import cell_traces, recorded_train, score_cell
from connectofit.fit.cells.problem import checked_onsets
from connectofit.fit.cells.starting_point import spike_onsets
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.optimisers import Budget
from connectofit.fit.spike_scores import count_error, explained_variance

BUDGET = Budget(evaluations=60)
LOSS = ForcedLikelihood(sd_mV=None, correlation_ms=None)  # as suits the noise of these sweeps, which is white


@pytest.fixture(scope="module")
def sweeps(lif_sweep):
    return Recordings(tuple(lif_sweep(str(k), step, k) for k, step in enumerate((-100.0, 230.0, 260.0, 300.0, 350.0))))


@pytest.fixture(scope="module")
def fitted(sweeps):
    return fit_cell(sweeps, "lif", hold_out=["3"], loss=LOSS, starts=2, budget=BUDGET, trials=5)


def test_the_membrane_that_made_the_sweeps_is_found(fitted):
    assert fitted.parameters["tau_m_ms"] == pytest.approx(20.0, rel=0.05)
    assert fitted.parameters["r_m_GOhm"] == pytest.approx(0.1, rel=0.03)
    assert fitted.parameters["v_rest_mV"] == pytest.approx(-70.0, abs=0.3)
    assert fitted.loss_parameters.keys() == {"delta_v_mV", "voltage_sd_mV"}


def test_intervals_are_taken_at_the_optimum(fitted):
    assert fitted.uncertainty.gain_nats < 1e-6
    assert not any("optimum" in sentence for sentence in fitted.uncertainty.findings)
    np.testing.assert_allclose(fitted.uncertainty.x, fitted.x, rtol=1e-6)
    assert fitted.search.loss <= fitted.search.starts["loss"].min() + 1e-3
    assert fitted.search.best == pytest.approx(dict(zip(fitted.problem.names, fitted.x, strict=True)))


@pytest.mark.slow
def test_an_early_stop_is_not_undone(sweeps):
    fit = fit_cell(sweeps, "lif", validation=["4"], loss=LOSS, starts=1, budget=Budget(evaluations=4), trials=1)
    ends = fit.search.starts[list(fit.problem.names)].to_numpy()
    seen = fit.search.incumbents[list(fit.problem.names)].to_numpy()
    assert any(np.allclose(fit.x, row, rtol=1e-12) for row in (*ends, *seen))
    assert fit.uncertainty.gain_nats > 1.0


@pytest.mark.slow
def test_intervals_from_resampled_blocks_and_none_at_all(sweeps):
    given = {"loss": LOSS, "starts": 1, "budget": Budget(evaluations=30), "trials": 1}
    fit = fit_cell(sweeps, "lif", uncertainty="bootstrap", draws=4, **given)
    assert fit.bootstrap.draws.shape == (4, len(fit.problem.names))
    spread = dict(zip(fit.problem.names, fit.bootstrap.draws.std(axis=0), strict=True))
    assert all(spread[name] > 0 for name in ("tau_m_ms", "r_m_GOhm", "v_rest_mV"))
    assert spread.pop("delta_v_mV") == 0  # on its bound: these spikes are not drawn
    np.testing.assert_allclose(fit.bootstrap.x, fit.x, rtol=1e-6)
    none = fit_cell(sweeps, "lif", uncertainty=None, **given)
    assert (none.uncertainty, none.bootstrap) == (None, None)
    assert none.search.loss >= fit.search.loss - 1e-3


def test_every_sweep_is_scored_in_its_part(fitted):
    assert fitted.scores["part"].tolist() == [*[TRAINING] * 4, HELD_OUT, BASELINE]
    assert fitted.scores["sweep"].tolist() == ["0", "1", "2", "4", "3", "3"]
    held = fitted.scores.query("part == @HELD_OUT").iloc[0]
    assert abs(held["count_error"]) < 0.15
    assert held["subthreshold_rmse_mV"] < 1.0


def test_scores_are_those_of_the_trains_that_are_shown(fitted, sweeps):
    trace = fitted.traces["c/3"]
    row = fitted.scores.query("part == @HELD_OUT").iloc[0]
    on = lambda t: t[(t >= 100.0) & (t < 500.0)] - 100.0  # noqa: E731
    data, model = [on(recorded_train(sweeps["3"]))], [on(t) for t in trace.trains]
    assert len(model) == 5
    assert row["spikes"] == len(data[0])
    assert row["count_error"] == pytest.approx(count_error(data, model))
    assert row["explained_variance"] == pytest.approx(explained_variance(data, model, 400.0))


def test_what_is_held_out_has_no_effect_on_the_fit(fitted, sweeps):
    held = sweeps["3"]
    other = replace(held, voltage_mV=held.voltage_mV[::-1].copy(), current_pA=0.5 * held.current_pA)
    changed = Recordings(tuple(other if s.name == "3" else s for s in sweeps))
    again = fit_cell(changed, "lif", hold_out=["3"], loss=LOSS, starts=2, budget=BUDGET, trials=5)
    assert again.parameters == fitted.parameters
    np.testing.assert_array_equal(again.search.course["loss"], fitted.search.course["loss"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores_and_another_gives_other_trains(fitted, sweeps):
    same = fit_cell(sweeps, "lif", hold_out=["3"], loss=LOSS, starts=2, budget=BUDGET, trials=5)
    assert same.scores.equals(fitted.scores)
    assert same.intervals.equals(fitted.intervals)
    trains = cell_traces(fitted.problem, fitted.x, sweeps.select(["3"]), trials=5, seed=1)[0].trains
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(trains, fitted.traces["c/3"].trains, strict=True))


def test_intervals_hold_their_values(fitted):
    known = fitted.intervals.dropna()
    assert set(known["score"]) >= {"gamma", "explained_variance", "count_error"}
    assert (known["low"] <= known["value"] + 1e-9).all()
    assert (known["value"] <= known["high"] + 1e-9).all()


def test_models_are_compared_in_one_table(fitted):
    table = compare_models([fitted, fitted])
    assert table["model"].tolist() == ["lif", "lif", "regular train", "lif", "lif"]
    means = fitted.scores.query("part == @TRAINING")["count_error"].mean()
    assert table.iloc[0]["count_error"] == pytest.approx(means)
    assert table.iloc[0]["free"] == len(fitted.problem.names)


def test_a_fitted_cell_says_what_it_was_fitted_to(fitted):
    cell = fitted.as_cell()
    assert (cell.name, cell.model) == ("c_lif", "lif")
    assert cell.fitted["held_out"] == ["3"]
    assert cell.fitted["sweeps"] == ["0", "1", "2", "4"]
    assert cell.params == fitted.parameters


def test_a_deterministic_cell_has_one_train(sweeps):
    fit = fit_cell(sweeps.select(["1", "2"]), "lif", loss="voltage", starts=1, budget=Budget(evaluations=4))
    assert [len(t.trains) for t in fit.traces.values()] == [1, 1]
    assert np.isnan(fit.scores["gamma"]).sum() == 0
    assert fit.scores["part"].unique().tolist() == [TRAINING]
    assert not len(fit.intervals)


def test_scores_need_no_model_that_can_be_given_spikes(sweeps):
    chosen = sweeps.select(["1", "2"])
    fit = fit_cell(chosen, "izhikevich", loss="voltage", starts=1, budget=Budget(evaluations=4))
    assert fit.traces["c/1"].forced_mV is None
    assert np.isfinite(score_cell(list(fit.traces.values()))["subthreshold_rmse_mV"]).all()


def test_the_detection_and_the_onsets_are_the_fits_and_the_scores(sweeps):
    given = {"hold_out": ["3"], "loss": LOSS, "starts": 1, "trials": 1, "uncertainty": None}
    given |= {"budget": Budget(evaluations=1)}
    low = SpikeDetection(threshold_mV=-20.0)
    fit = fit_cell(sweeps, "lif", detection=low, **given)
    for sweep, onsets in zip(fit.problem.recordings, fit.problem.onsets, strict=True):
        np.testing.assert_array_equal(onsets, spike_onsets(Recordings((sweep,)), low)[0])
        np.testing.assert_array_equal(fit.traces[sweep.label].recorded, recorded_train(sweep, low))
    none = SpikeDetection(threshold_mV=100.0)  # which none of them reaches
    assert fit_cell(sweeps, "lif", detection=none, **given | {"loss": "voltage"}).scores["spikes"].max() == 0

    found = checked_onsets(sweeps, None)
    fewer = [onsets[::2] for onsets in found]
    fit = fit_cell(sweeps, "lif", onsets=fewer, **given)
    assert [len(onsets) for onsets in fit.problem.onsets] == [len(fewer[k]) for k in (0, 1, 2, 4)]
    for k, sweep in enumerate(sweeps):
        np.testing.assert_array_equal(fit.traces[sweep.label].recorded, sweep.time_ms[fewer[k]])
    counts = fit.scores[fit.scores["part"] != BASELINE].set_index("sweep")["spikes"]
    on = sweeps["3"].time_ms[fewer[3]]
    assert counts["3"] == ((on >= sweeps["3"].onset_ms) & (on < sweeps["3"].offset_ms)).sum() > 3
    with pytest.raises(SchemaError, match="onsets are of 4 sweeps, but there are 5"):
        fit_cell(sweeps, "lif", onsets=fewer[:4], **given)


def test_bad_requests_are_refused_before_any_fitting(sweeps):
    two = Recordings((*sweeps, replace(sweeps["1"], cell="d")))
    with pytest.raises(SettingError, match="fit_cells"):
        fit_cell(two, "lif")
    with pytest.raises(UnknownNameError, match="Did you mean 'glif5'"):
        fit_cell(sweeps, "glif55")
    with pytest.raises(UnknownNameError, match="sweep"):
        fit_cell(sweeps, "lif", hold_out=["7"])
    with pytest.raises(UnknownNameError, match="Did you mean 'lbfgs'"):
        fit_cell(sweeps, "lif", method="lbfg", starts=1)
    with pytest.raises(UnknownNameError, match="Did you mean 'laplace'"):
        fit_cell(sweeps, "lif", uncertainty="laplac")
    with pytest.raises(SettingError, match="2 resamples or more"):
        fit_cell(sweeps, "lif", uncertainty="bootstrap", draws=1)
    with pytest.raises(SettingError, match="has a spike"):
        fit_cell(sweeps.select(["0"]), "lif", loss="likelihood")
    volts = Recordings(tuple(replace(s, voltage_mV=s.voltage_mV * 1e-3) for s in sweeps))
    with pytest.raises(SchemaError, match="volt"):
        fit_cell(volts, "lif")
