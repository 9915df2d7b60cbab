"""Stimuli, interventions and recordings: against their formulas, and never changed by chunks."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from connectofit.connectome.errors import SettingError
from connectofit.sim import (
    Activate,
    Clamp,
    Cut,
    OrnsteinUhlenbeck,
    PoissonPulses,
    Ramp,
    Record,
    Series,
    Sine,
    SpikeTrains,
    Step,
    WhiteNoise,
    simulate,
)

SILENT = np.zeros((3, 3))


def current(stimulus, n: int, n_steps: int, dt_ms: float, first: int = 0, seed: int = 0) -> np.ndarray:
    steps = np.arange(first, first + n_steps, dtype=np.int32)
    return np.array(stimulus.values(steps, n, dt_ms, jax.random.key(seed), {}))


def test_ramp_rises_in_a_straight_line_and_carries_the_exact_charge():
    ramp = Ramp("n0", 1.0, 5.0, 10.0, 30.0)
    rows = current(ramp, 1, 100, 0.5)[:, 0]
    np.testing.assert_allclose(rows[20:60], 1.0 + 4.0 * (np.arange(40) + 0.5) / 40)
    assert rows[:20].tolist() + rows[60:].tolist() == [0.0] * 60
    assert rows.sum() * 0.5 == pytest.approx(0.5 * (1.0 + 5.0) * 20.0)


def test_sine_has_its_frequency_phase_and_offset():
    rows = current(Sine("n0", 2.0, 25.0, np.pi / 2, 0.5, 4.0, 90.0), 2, 200, 0.5)
    t = np.arange(200) * 0.5
    inside = (t >= 4.0) & (t < 90.0)
    np.testing.assert_allclose(rows[inside, 1], 0.5 + 2.0 * np.cos(2 * np.pi * 0.025 * (t[inside] - 4.0)), atol=1e-12)
    np.testing.assert_array_equal(rows[~inside], 0.0)


def test_given_spike_trains_act_in_the_step_that_their_time_falls_into():
    rows = current(SpikeTrains(["n0", "n1"], [[0.0, 1.2, 1.3], [4.9, 7.0]], 3.0), 2, 10, 0.5)
    assert np.argwhere(rows).tolist() == [[0, 0], [2, 0], [9, 1]]
    assert rows[2, 0] == 6.0  # two events in one step
    late = current(SpikeTrains("n0", [[0.3, 0.7, 3 * 0.1]], 1.0), 1, 10, 0.1)
    assert np.flatnonzero(late[:, 0]).tolist() == [3, 7]  # 3 * 0.1 is 0.30000000000000004


@pytest.mark.slow
@pytest.mark.parametrize("mean", [2e-4, 0.3, 4.0, 15.0, 40.0])
def test_poisson_pulses_in_a_step_have_poissons_distribution(mean):
    counts = current(PoissonPulses("n0", mean * 1e4, 0.1), 2_000, 100, 0.1).ravel()
    expected = stats.poisson.pmf(np.arange(200), mean) * counts.size
    common = expected > 10
    found = np.bincount(np.rint(counts).astype(int), minlength=200)
    np.testing.assert_allclose(counts, np.rint(counts))
    chi_squared = ((found - expected)[common] ** 2 / expected[common]).sum()
    assert stats.chi2.sf(chi_squared, common.sum()) > 1e-4
    assert found[~common].sum() == pytest.approx(expected[~common].sum(), abs=4 * np.sqrt(10 * 10) + 10)


def test_poisson_pulses_act_in_their_window_and_are_new_in_every_step():
    rows = current(PoissonPulses("n0", 1e4, 1.0, 2.0, 6.0), 50, 100, 0.1)
    assert not rows[:20].any()
    assert not rows[60:].any()
    inside = rows[20:60]
    assert inside.any(axis=1).all()
    assert len({row.tobytes() for row in inside}) == 40
    np.testing.assert_array_equal(current(PoissonPulses("n0", 1e4, 1.0, 2.0, 6.0), 50, 30, 0.1, first=30), rows[30:60])


def test_ornstein_uhlenbeck_noise_has_its_variance_and_correlation_from_its_first_step_on():
    sigma, tau, dt = 2.0, 7.0, 0.5
    rows = current(OrnsteinUhlenbeck("n0", sigma, tau, 10.0), 4_000, 60, dt)
    error = sigma**2 * np.sqrt(2 / 4_000)
    for k in (0, 59):
        assert rows[k].mean() == pytest.approx(10.0, abs=4 * sigma / np.sqrt(4_000))
        assert rows[k].var() == pytest.approx(sigma**2, abs=4 * error)
    for lag in (1, 14, 30):
        covariance = np.mean((rows[0] - 10.0) * (rows[lag] - 10.0))
        assert covariance == pytest.approx(sigma**2 * np.exp(-lag * dt / tau), abs=4 * error)


@pytest.mark.slow
def test_ornstein_uhlenbeck_noise_is_one_process_however_the_run_is_cut(graded):
    net = graded(SILENT)
    noise = (OrnsteinUhlenbeck(["n1", "n2"], 1.0, 20.0, start_ms=7.0, stop_ms=83.0),)
    whole = simulate(net, duration_ms=100.0, dt_ms=1.0, stimuli=noise, trials=2)
    cut = simulate(net, duration_ms=100.0, dt_ms=1.0, stimuli=noise, trials=2, chunk_steps=9)
    np.testing.assert_array_equal(cut.trace("v"), whole.trace("v"))
    first = simulate(net, duration_ms=40.0, dt_ms=1.0, stimuli=noise, trials=2)
    second = simulate(net, duration_ms=60.0, dt_ms=1.0, stimuli=noise, trials=2, state=first.state)
    np.testing.assert_allclose(
        np.concatenate([first.trace("v"), second.trace("v")], axis=1), whole.trace("v"), atol=1e-6
    )
    v = whole.trace("v")
    assert not np.array_equal(v[0], v[1])  # trials have noise of their own
    np.testing.assert_array_equal(v[:, :7], 0.0)


@pytest.mark.parametrize(
    ("stimulus", "message"),
    [
        (Ramp("n0", 0.0, np.inf, 0.0, 5.0), "stop of a Ramp"),
        (Sine("n0", 1.0, 600.0), "two steps"),
        (SpikeTrains(["n0", "n1"], [[1.0]]), "2 neurons"),
        (SpikeTrains("n0", [[1.0, -2.0]]), "list 0"),
        (OrnsteinUhlenbeck("n0", 1.0, 0.0), "tau_ms above 0"),
    ],
)
def test_stimuli_that_make_no_sense_are_refused(graded, stimulus, message):
    with pytest.raises(SettingError, match=message):
        simulate(graded(SILENT), duration_ms=10.0, dt_ms=1.0, stimuli=(stimulus,))


def test_clamp_holds_the_voltage_in_its_window_only(graded):
    net = graded(np.array([[0, 0.8, 0], [0, 0, 0], [0, 0, 0.0]]))
    done = simulate(net, duration_ms=50.0, dt_ms=1.0, interventions=(Clamp("n0", 2.0, 10.0, 30.0),))
    v = done.trace("v")
    np.testing.assert_array_equal(v[:10, 0], 0.0)
    np.testing.assert_array_equal(v[10:30, 0], 2.0)
    np.testing.assert_allclose(v[30:, 0], 2.0 * np.exp(-np.arange(1, 21) / 10.0), rtol=1e-5)
    assert v[29, 1] > 0.5  # and it is passed on


@pytest.mark.slow
def test_activated_neurons_send_spikes_at_their_rate_and_keep_their_voltage(lif):
    matrix = np.zeros((40, 40))
    matrix[:39, 39] = 1.0
    net = lif(matrix, delay_ms=1.0)
    driven = Activate(list(range(100, 139)), 50.0, 100.0, 900.0)
    done = simulate(net, duration_ms=1000.0, dt_ms=1.0, interventions=(driven,), trials=2, seed=3)
    times = done.spikes.time_ms
    assert times.min() > 100.0
    assert times.max() <= 900.0
    expected = 39 * 2 * 0.8 * 50
    assert len(times) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    np.testing.assert_array_equal(done.trace("v_mV", list(range(100, 139))), -70.0)
    assert done.trace("v_mV", 139).max() > -70.0
    assert not np.array_equal(done.trace("v_mV", 139)[0], done.trace("v_mV", 139)[1])


def test_graded_neurons_cannot_be_made_to_spike(graded):
    with pytest.raises(SettingError, match="Clamp"):
        simulate(graded(SILENT), duration_ms=10.0, dt_ms=1.0, interventions=(Activate("n0", 10.0),))


def test_cut_edges_are_those_of_a_network_without_them_while_they_are_cut(graded):
    matrix = np.array([[0, 0.8, 0.5], [0, 0, 0.6], [0.3, 0, 0]])
    without = matrix.copy()
    without[0, 1] = 0.0
    settings = {"dt_ms": 1.0, "stimuli": (Step("n0", 1.0),)}
    cut = simulate(
        graded(matrix), duration_ms=60.0, **settings, interventions=(Cut("n0", "n1", start_ms=20, stop_ms=45),)
    )
    one = simulate(graded(matrix), duration_ms=20.0, **settings)
    net = graded(without)
    two = simulate(net, duration_ms=25.0, **settings, state=one.state)
    three = simulate(graded(matrix), duration_ms=15.0, **settings, state=two.state)
    joined = np.concatenate([part.trace("v") for part in (one, two, three)])
    np.testing.assert_allclose(cut.trace("v"), joined, atol=1e-6)
    whole = simulate(graded(matrix), duration_ms=60.0, **settings)
    assert np.abs(cut.trace("v") - whole.trace("v")).max() > 0.1


def test_spikes_under_way_when_their_edge_is_cut_arrive(lif):
    net = lif([[0.0, 50.0], [0.0, 0.0]], delay_ms=5.0, t_ref_ms=100.0)
    pulse = Series(100, np.array([1e6]))
    settings = {"duration_ms": 20.0, "dt_ms": 1.0, "stimuli": (pulse,), "record": ("v_mV",)}
    whole = simulate(net, **settings).trace("v_mV", 101)
    after = simulate(net, **settings, interventions=(Cut(100, 101, start_ms=3.0),)).trace("v_mV", 101)
    before = simulate(net, **settings, interventions=(Cut(100, 101, stop_ms=3.0),)).trace("v_mV", 101)
    np.testing.assert_array_equal(after, whole)
    np.testing.assert_array_equal(before, -70.0)
    assert whole.max() > -69.5


def test_cut_without_any_edge_is_refused(graded):
    with pytest.raises(SettingError, match="No edge leads"):
        simulate(graded(SILENT + np.diag([1, 0], 1)), duration_ms=9.0, dt_ms=1.0, interventions=(Cut("n2", "n0"),))


@pytest.mark.few(1)
@pytest.mark.parametrize("chunk_steps", [None, 7])
def test_variables_are_sampled_at_multiples_of_their_interval(graded, chunk_steps):
    net = graded(np.array([[0, 0.8, 0], [0, 0, 0.5], [0, 0, 0.0]]))
    settings = {"dt_ms": 0.5, "stimuli": (WhiteNoise("n0", 1.0),), "chunk_steps": chunk_steps}
    whole = simulate(net, duration_ms=50.0, **settings)
    few = simulate(net, duration_ms=50.0, **settings, record=(Record("v", ["n1", "n2"], 2.5),))
    np.testing.assert_array_equal(few.traces["v"].t_ms, np.arange(2.5, 50.1, 2.5))
    np.testing.assert_array_equal(few.trace("v"), whole.trace("v", ["n1", "n2"])[4::5])
    first = simulate(net, duration_ms=11.0, **settings)
    rest = simulate(net, duration_ms=39.0, **settings, state=first.state, record=(Record("v", None, 2.5),))
    np.testing.assert_array_equal(rest.traces["v"].t_ms, np.arange(12.5, 50.1, 2.5))


def test_population_rate_is_the_mean_over_neurons_and_interval(lif):
    net = lif(np.zeros((5, 5)), noise_mV=3.0)
    done = simulate(
        net,
        duration_ms=400.0,
        dt_ms=0.5,
        stimuli=(Step(None, 200.0),),
        record=("spikes", Record("rate_Hz", None, 100.0)),
    )
    counts = np.histogram(done.spikes.time_ms, [0, 100.01, 200.01, 300.01, 400.01])[0]
    assert counts.min() > 5
    np.testing.assert_allclose(done.trace("rate_Hz", "cells"), counts / 5 / 0.1, rtol=1e-5)
    traces, _ = done.to_pandas()
    assert list(traces.index) == [100.0, 200.0, 300.0, 400.0]


def test_recording_at_two_intervals_or_between_steps_is_refused(graded):
    net = graded(SILENT)
    for record, message in (
        ((Record("v", "n0", 2.0), Record("v", "n1", 3.0)), "two intervals"),
        ((Record("v", None, 0.7),), "whole number"),
    ):
        with pytest.raises(SettingError, match=message):
            simulate(net, duration_ms=10.0, dt_ms=1.0, record=record)


def test_frame_of_traces_with_several_intervals_keeps_every_sample(lif):
    done = simulate(lif(np.zeros((2, 2))), duration_ms=4.0, dt_ms=1.0, record=("v_mV", Record("rate_Hz", None, 2.0)))
    traces, _ = done.to_pandas()
    assert traces["v_mV"].notna().all().all()
    assert traces["rate_Hz"]["cells"].notna().tolist() == [False, True, False, True]
