"""The host driver: chunks, trials, names, windows, recordings and errors."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.sim import (
    Ablate,
    GradedLeaky,
    PoissonPulses,
    Record,
    Series,
    Silence,
    Step,
    Where,
    WhiteNoise,
    rollout,
    simulate,
)
from connectofit.sim.collect import Collector

STIMULI = (Step("n1", 1.0, 10.0, 60.0), WhiteNoise(["n2", "n3"], 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("chunk_steps", [1])
def test_chunks_never_change_a_result(random_worm, chunk_steps):
    net = random_worm.with_params({"worm": {"noise": np.full(12, 0.1)}})
    settings = {"duration_ms": 101.0, "dt_ms": 1.0, "stimuli": STIMULI, "interventions": (Silence("n4", 30, 50),)}
    whole, cut = simulate(net, **settings), simulate(net, **settings, chunk_steps=chunk_steps)
    np.testing.assert_array_equal(cut.trace("v"), whole.trace("v"))
    assert np.std(whole.trace("v")) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("chunk_steps", [17])
def test_chunks_never_change_spikes_and_currents_in_networks_with_delays(lif, chunk_steps):
    rng = np.random.default_rng(0)
    net = lif(rng.normal(size=(20, 20)) * 100, delay_ms=1.5, noise_mV=5.0)
    settings = {"duration_ms": 99.5, "dt_ms": 0.5, "stimuli": (Step(None, 160.0),), "seed": 3}
    whole, cut = simulate(net, **settings), simulate(net, **settings, chunk_steps=chunk_steps)
    assert len(whole.spikes) > 20
    np.testing.assert_array_equal(cut.spikes.time_ms, whole.spikes.time_ms)
    np.testing.assert_array_equal(cut.spikes.ids, whole.spikes.ids)
    np.testing.assert_array_equal(cut.trace("v_mV"), whole.trace("v_mV"))


@pytest.mark.parametrize("method", ["event", "auto"])
def test_recorded_spikes_do_not_stay_on_the_device(lif, method, monkeypatch):
    net = lif(np.zeros((20, 20)), delay_ms=1.5)
    held, add = [], Collector.add

    def adding(self, out, first):
        add(self, out, first)
        held.append(sum(a.nbytes for a in jax.live_arrays()))

    monkeypatch.setattr(Collector, "add", adding)
    recording = simulate(
        net,
        duration_ms=3000.0,
        dt_ms=0.5,
        stimuli=(Step(None, 300.0),),
        record=["spikes"],
        method=method,
        chunk_steps=60,
    )
    assert len(held) == 100
    assert len(recording.spikes) > 1000
    assert max(held) <= held[0]


def test_run_continued_from_its_state_is_one_run_with_its_noise_and_stimuli(random_worm):
    net = random_worm.with_params({"worm": {"noise": np.full(12, 0.1)}})
    whole = simulate(net, duration_ms=80.0, dt_ms=1.0, stimuli=STIMULI)
    first = simulate(net, duration_ms=40.0, dt_ms=1.0, stimuli=STIMULI)
    second = simulate(net, duration_ms=40.0, dt_ms=1.0, stimuli=STIMULI, state=first.state)
    joined = np.concatenate([first.trace("v"), second.trace("v")])
    np.testing.assert_array_equal(joined, whole.trace("v"))
    np.testing.assert_array_equal(np.concatenate([first.t_ms, second.t_ms]), whole.t_ms)


def test_simulate_is_rollout_with_names(random_worm):
    recording = simulate(random_worm, duration_ms=20.0, dt_ms=2.0, stimuli=(Step("n5", 2.0, 4.0, 8.0),))
    inputs = np.zeros((10, 12), np.float32)
    inputs[2:4, 5] = 2.0
    expected = rollout(random_worm, None, {"worm": inputs}, dt_ms=2.0)[1]["worm"]["v"]
    np.testing.assert_allclose(recording.trace("v"), expected, atol=1e-7)
    np.testing.assert_allclose(recording.t_ms, np.arange(2, 21, 2))


@pytest.mark.slow
def test_trials_have_noise_of_their_own_and_the_first_is_that_of_a_single_run(random_worm):
    settings = {"duration_ms": 20.0, "dt_ms": 1.0, "stimuli": (WhiteNoise(None, 1.0),)}
    trials, single = simulate(random_worm, **settings, trials=3), simulate(random_worm, **settings)
    assert trials.trace("v").shape == (3, 20, 12)
    assert trials.trace("v", "n2").shape == (3, 20)
    np.testing.assert_allclose(trials.trace("v")[0], single.trace("v"), atol=1e-6)
    assert np.abs(trials.trace("v")[1] - single.trace("v")).max() > 0.1
    again = simulate(random_worm, **settings, trials=3, state=trials.state)
    assert again.start_ms == 20.0
    with pytest.raises(SettingError, match="has 3 trials"):
        simulate(random_worm, **settings, state=trials.state)


def test_seed_decides_the_noise(random_worm):
    runs = [
        simulate(random_worm, duration_ms=5.0, dt_ms=1.0, stimuli=(WhiteNoise(None, 1.0),), seed=s).trace("v")
        for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_stimuli_that_meet_add_up_and_series_start_where_they_say(random_worm):
    series = np.array([1.0, 2.0, 3.0])
    both = simulate(
        random_worm, duration_ms=10.0, dt_ms=1.0, stimuli=(Series("n0", series, 2.0), Step(["n0", "n1"], 1.0))
    )
    inputs = np.zeros((10, 12), np.float32)
    inputs[:, :2] = 1.0
    inputs[2:5, 0] += series
    expected = rollout(random_worm, None, {"worm": inputs}, dt_ms=1.0)[1]["worm"]["v"]
    np.testing.assert_allclose(both.trace("v"), expected, atol=1e-7)


def test_poisson_pulses_carry_their_mean_charge(graded):
    net = graded(np.zeros((400, 400)), tau_m_ms=np.full(400, 1e6))
    recording = simulate(
        net, duration_ms=200.0, dt_ms=1.0, stimuli=(PoissonPulses(None, 50.0, 2.0),), record=[Record("v")]
    )
    # Membranes this slow integrate: V = charge * events / tau. 10 events are expected in each of 400 neurons.
    events = recording.trace("v")[-1] * 1e6 / 2.0
    assert abs(events.mean() - 10.0) < 5 * np.sqrt(10.0 / 400)
    assert abs(events.var() - 10.0) < 4.0


def test_ablated_neurons_are_silent_and_silenced_ones_in_their_window(lif):
    net = lif(np.zeros((3, 3)), delay_ms=1.0)
    recording = simulate(
        net,
        duration_ms=200.0,
        dt_ms=0.5,
        stimuli=(Step(None, 300.0),),
        interventions=(Ablate([101]), Silence(102, 50.0, 150.0)),
    )
    spikes = recording.to_pandas()[1]
    assert set(spikes.id) == {100, 102}
    times = spikes.time_ms[spikes.id == 102]
    assert not ((times > 50.0) & (times <= 150.0)).any()
    assert (times <= 50.0).any()
    assert (times > 150.0).any()


def test_recording_keeps_names_and_turns_into_pandas(lif):
    net = lif(np.zeros((3, 3)), delay_ms=1.0)
    recording = simulate(
        net, duration_ms=100.0, dt_ms=0.5, stimuli=(Step(100, 300.0),), record=["spikes", Record("v_mV", [102, 100])]
    )
    traces, spikes = recording.to_pandas()
    assert list(traces.columns) == [("v_mV", 102), ("v_mV", 100)]
    assert traces.index[0] == 0.5
    assert len(traces) == 200
    assert set(spikes.id) == {100}
    rates = recording.rates_Hz()
    assert rates[100] == pytest.approx(len(spikes) / 0.1)
    assert rates[101] == 0
    np.testing.assert_array_equal(recording.trace("v_mV", 100), traces["v_mV", 100])
    with pytest.raises(UnknownNameError, match="the recorded 'v_mV'"):
        recording.trace("v_mV", 101)
    with pytest.raises(UnknownNameError, match="Did you mean 'v_mV'"):
        recording.trace("v_m")


def test_trials_of_spikes_are_told_apart(lif):
    net = lif(np.zeros((2, 2)), delay_ms=1.0, noise_mV=8.0)
    recording = simulate(net, duration_ms=100.0, dt_ms=0.5, stimuli=(Step(None, 140.0),), trials=4)
    traces, spikes = recording.to_pandas()
    assert set(spikes.trial) == {0, 1, 2, 3}
    assert isinstance(traces.index, pd.MultiIndex)
    assert len(traces) == 4 * 200


def test_neurons_are_selected_by_expressions(random_worm):
    recording = simulate(random_worm, duration_ms=2.0, dt_ms=1.0, record=[Record("v", Where("id in ('n3', 'n7')"))])
    assert recording.traces["v"].ids == ("n3", "n7")
    with pytest.raises(SettingError, match="No neuron of the network fulfils"):
        simulate(random_worm, duration_ms=2.0, dt_ms=1.0, stimuli=(Step(Where("id == 'x'"), 1.0),))


def test_divergence_names_population_neuron_variable_and_time(graded):
    net = graded(np.zeros((3, 3)), tau_m_ms=[10.0, 10.0, 1e-3])
    net = replace(net, populations=(replace(net.populations[0], model=GradedLeaky(method="euler")),))
    # Euler with dt / tau = 1000 multiplies V by about -999 a step: 1000 * 999^k passes float32's 3.4e38 at k = 12.
    message = r"'v' of population 'worm', neuron 'n2' \(1 in all\) is not finite at 13 ms"
    with pytest.raises(DivergedError, match=message):
        simulate(net, duration_ms=40.0, dt_ms=1.0, stimuli=(Step("n2", 1.0),))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"duration_ms": 10.3}, SettingError, "whole number of steps"),
        ({"dt_ms": -1.0}, SettingError, "positive time step"),
        ({"duration_ms": float("nan")}, SettingError, "duration"),
        ({"stimuli": (Step("n77", 1.0),)}, UnknownNameError, "Did you mean 'n7'"),
        ({"stimuli": (Step("n7", float("nan")),)}, SettingError, "finite"),
        ({"stimuli": (Step("n7", 1.0, 5.0, 5.0),)}, SettingError, "stop after"),
        ({"stimuli": (Series("n7", np.zeros((4, 3))),)}, SettingError, "a column for each neuron"),
        ({"record": ("w",)}, UnknownNameError, "variable to record"),
        ({"record": (Record("v", ["n1", "q"]),)}, UnknownNameError, "No neuron named 'q'"),
        ({"interventions": (Ablate("n99"),)}, UnknownNameError, "Did you mean 'n9'"),
        ({"trials": 0}, SettingError, "1 or more"),
        ({"dtype": "float64"}, SettingError, "enable_x64"),
        ({"dtype": "int8"}, SettingError, "float32"),
        ({"method": "sparse"}, UnknownNameError, "kernel method"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(random_worm, changes, error, message):
    with pytest.raises(error, match=message):
        simulate(random_worm, **{"duration_ms": 10.0, "dt_ms": 1.0, **changes})


def test_float64_runs_where_it_is_switched_on(random_worm):
    with jax.enable_x64(True):
        recording = simulate(random_worm, duration_ms=3.0, dt_ms=1.0, dtype="float64")
    assert recording.trace("v").dtype == np.float64


def test_run_of_no_steps_records_nothing_and_keeps_the_state(random_worm):
    recording = simulate(random_worm, duration_ms=0.0, dt_ms=1.0)
    assert recording.trace("v").shape == (0, 12)
    assert int(recording.state.step) == 0
