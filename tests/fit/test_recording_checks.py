"""Recordings that cannot be: wrong units, misplaced stimuli, clipped traces, electrodes that were not balanced."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import Recordings, Sweep, check_recordings, find_stimulus, read_recordings, recordings_from_arrays
from connectofit.fit.recording_checks import clipped_samples, implied_resistance_MOhm
from connectofit.fit.stimulus_edges import edge_jump

DT, N = 0.25, 4000
T = DT * np.arange(N)
ON, OFF = 200.0, 700.0


def membrane(current: np.ndarray, resistance=0.15, tau=20.0, rest=-70.0) -> np.ndarray:
    """The voltage of a passive membrane (GOhm, ms, mV) under a current, by exact steps."""
    kept, v = np.exp(-DT / tau), np.empty(N)
    state = 0.0
    for k, i in enumerate(current):
        v[k] = rest + state
        state = state * kept + resistance * i * (1 - kept)
    return v


STEP = np.where((T >= ON) & (T < OFF), 100.0, 0.0)
ANSWER = membrane(STEP)


def read(current=STEP, voltage=ANSWER, units=None, stimulus_ms=(ON, OFF), **settings):
    return recordings_from_arrays([current], [voltage], dt_ms=DT, units=units, stimulus_ms=stimulus_ms, **settings)


def rules(report) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.fixture(scope="module")
def rat():
    return read_recordings(rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS)


def test_a_good_sweep_has_nothing_to_report():
    recordings, report = read()
    assert rules(report) == []
    assert implied_resistance_MOhm(recordings.sweeps[0]) == pytest.approx(150, rel=0.01)


def test_nanoamperes_read_as_picoamperes_are_caught_by_the_resistance():
    with pytest.raises(SchemaError, match=r"resistance of 1.5e\+05 MOhm with the current read in pA.*Read in nA it wo"):
        read(current=STEP * 1e-3)


def test_picoamperes_read_as_nanoamperes_are_caught_by_the_resistance():
    with pytest.raises(SchemaError, match=r"0.15 MOhm with the current read in nA.*Read in pA it would be 150 MOhm"):
        read(units={"current": "nA"})


def test_amperes_read_as_picoamperes_are_caught_by_the_resistance():
    with pytest.raises(SchemaError, match=r"units=\{'current': 'A'\}"):
        read(current=STEP * 1e-12)


def test_a_noisy_current_in_the_wrong_unit_is_caught_too():
    noise = np.random.default_rng(0).normal(0, 1, N)
    current = np.where((T >= ON) & (T < OFF), np.convolve(noise, np.ones(20) / 20, "same") * 500, 0.0)
    answer = membrane(current)
    assert rules(read(current, answer)[1]) == []
    with pytest.raises(SchemaError, match="Read in nA"):
        read(current * 1e-3, answer)


def test_the_real_cells_in_the_wrong_unit_are_caught():
    table = rat_cortex_step_currents().to_pandas()
    table["i_pA"] *= 1e-3
    with pytest.raises(SchemaError, match=r"imply.*B6/181.*\(10 in all\).*Read in nA"):
        read_recordings(
            table.rename(columns={"i_pA": "i"}),
            columns={**RAT_CORTEX_COLUMNS, "current": "i"},
            stimulus_ms=RAT_CORTEX_STIMULUS_MS,
        )


def test_what_is_plausible_can_be_set():
    with pytest.raises(SchemaError, match="have 200 to 300"):
        read(plausible_MOhm=(200.0, 300.0))
    assert rules(read(current=STEP * 1e-3, plausible_MOhm=(1.0, 1e6))[1]) == []
    with pytest.raises(SettingError, match="lower and an upper bound"):
        read(plausible_MOhm=(300.0, 200.0))


def test_volts_read_as_millivolts_are_caught():
    with pytest.raises(SchemaError, match=r"read in mV.*5 to 300 mV.*at most 0.07 mV.*units=\{'voltage': 'V'\}"):
        read(voltage=ANSWER * 1e-3)
    with pytest.raises(SchemaError, match=r"read in V.*'mV'"):
        read(units={"voltage": "V"})


def test_a_constant_voltage_is_refused():
    with pytest.raises(SchemaError, match=r"never changes: '0: -70 mV'"):
        read(voltage=np.full(N, -70.0))


def test_recordings_without_any_stimulus_are_refused_and_one_such_sweep_is_counted():
    with pytest.raises(SchemaError, match="current does not change in any sweep"):
        read(current=np.zeros(N))
    silent = Sweep("none", np.zeros(N), -70 + 0.1 * np.sin(T), DT, ON, OFF)
    findings = check_recordings(Recordings((Sweep("step", STEP, ANSWER, DT, ON, OFF), silent)))
    assert [(f.rule, f.count, f.examples[0][0]) for f in findings] == [("no_stimulus", 1, 2)]


@pytest.mark.parametrize(
    "stimulus",
    [(100.0, 700.0), (300.0, 700.0), (200.0, 600.0), (200.0, 800.0), (150.0, 650.0), (750.0, 950.0), (20.0, 150.0)],
)
def test_a_stimulus_that_is_elsewhere_is_refused_and_found(stimulus):
    with pytest.raises(SettingError, match=r"not where it is said to be.*the current changes from 200 to 700"):
        read(stimulus_ms=stimulus)


def test_the_real_stimulus_misplaced_is_refused():
    with pytest.raises(
        SettingError, match=r"said 600 to 2600 ms, the current changes from 700.25 to 2700.25.*10 in all"
    ):
        read_recordings(rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=(600.0, 2600.0))


def test_a_test_pulse_before_the_stimulus_is_no_misplaced_stimulus():
    current = STEP + np.where((T >= 50) & (T < 70), -10.0, 0.0)
    assert rules(read(current, membrane(current))[1]) == []


def test_ramps_and_noise_are_where_they_are_said_to_be():
    ramp = np.where((T >= ON) & (T < OFF), (T - ON) / (OFF - ON) * 200, 0.0)
    assert rules(read(ramp, membrane(ramp))[1]) == []
    with pytest.raises(SettingError, match="not where"):
        read(ramp, membrane(ramp), stimulus_ms=(200.0, 500.0))


def test_a_short_weak_step_in_noise_is_where_it_is_said_to_be():
    current = np.where((T >= 450) & (T < 550), 20.0, 0.0) + np.random.default_rng(5).normal(0, 4.0, N)
    assert rules(read(current, membrane(current), stimulus_ms=(450.0, 550.0))[1]) == []


def test_a_stimulus_that_fills_the_sweep_is_accepted():
    wave = 100 * np.sin(T / 20)
    assert rules(read(wave, membrane(wave), stimulus_ms=(0.0, N * DT))[1]) == []


def test_a_stimulus_is_found_in_noise_and_glitches():
    rng = np.random.default_rng(3)
    current = STEP + rng.normal(0, 5, N)
    current[[100, 500, 3500]] += 80
    onset, offset = find_stimulus(current, DT)
    assert (onset, offset) == (pytest.approx(ON, abs=1.0), pytest.approx(OFF, abs=1.0))
    assert find_stimulus(rng.normal(0, 5, N), DT) is None
    assert find_stimulus(np.zeros(N), DT) is None


def spiking(top: float = 30.0) -> np.ndarray:
    v = ANSWER.copy()
    for at in range(1000, 2800, 200):
        v[at : at + 12] += 90 * np.exp(-0.5 * ((np.arange(12) - 5) / 1.5) ** 2)
    return np.minimum(v, top)


def test_clipped_peaks_are_counted():
    recordings, report = read(voltage=spiking(top=-10.0))
    (finding,) = report.find("saturated")
    # Nine peaks of 90 mV over sigma 1.5 samples on -55 to -70 mV stay above -10 mV for three samples or more each.
    counted = int((recordings.sweeps[0].voltage_mV == -10.0).sum())
    assert counted >= 18
    assert f"{counted} samples" in finding.examples[0][1]
    assert read(voltage=spiking())[1].find("saturated") == ()


def test_a_flat_baseline_is_not_clipped():
    assert clipped_samples(ANSWER) == 0
    assert clipped_samples(np.round(ANSWER)) == 0  # a coarse converter


def test_a_trace_clipped_most_of_the_time_is_refused():
    t = np.arange(N)
    hard = np.clip(-50 + 60 * np.sin(t / 10), -70, -20)
    with pytest.raises(SchemaError, match=r"more than 5% of their samples clipped.*% of the samples"):
        read(voltage=hard, plausible_MOhm=(1e-6, 1e9))


def test_coarse_sampling_is_counted():
    sweep = Sweep("a", STEP[::4], ANSWER[::4], 1.0, ON, OFF)
    (finding,) = check_recordings(Recordings((sweep,)))
    assert (finding.rule, finding.count) == ("coarse", 1)


def test_an_inverted_current_is_counted():
    assert "inverted" in rules(read(current=-STEP)[1])


@pytest.mark.parametrize("bridge", [-20.0, 12.0, 30.0])
def test_an_unbalanced_bridge_is_measured_and_its_correction_silences_the_warning(bridge):
    recordings, report = read(voltage=ANSWER + 1e-3 * bridge * STEP)
    (finding,) = report.find("bridge")
    jump = edge_jump(recordings.sweeps[0])
    # The step lies somewhere between two samples, over which the membrane charges by 100 pA / 133 pF * 0.25 ms.
    assert jump.bridge_MOhm == pytest.approx(bridge, abs=2.0)
    assert jump.lag_samples == 0
    assert ("over-compensated" if bridge < 0 else "under-compensated") in finding.message
    assert read(voltage=ANSWER + 1e-3 * bridge * STEP, bridge_MOhm=bridge)[1].find("bridge") == ()


def test_a_membrane_that_charges_fast_is_no_unbalanced_bridge():
    assert rules(read(voltage=membrane(STEP, tau=2.0))[1]) == []


def test_a_current_that_lags_is_counted():
    late = np.concatenate([np.zeros(3), STEP[:-3]])
    _, report = read(current=late, voltage=ANSWER + 1e-3 * 20 * STEP)
    assert "3 samples" in report.find("current_lags")[0].examples[0][1]


def test_the_rat_cells_were_over_compensated_by_13_to_20_MOhm_and_their_current_lags_by_a_sample(rat):
    recordings, report = rat
    assert rules(report) == ["bridge", "current_lags"]
    assert {f.count for f in report.findings} == {10}
    jumps = [edge_jump(s) for s in recordings]
    assert all(j.clear and j.lag_samples == 1 for j in jumps)
    assert all(-20 < j.bridge_MOhm < -13 for j in jumps)
    # A resistance, not an offset: the same for steps of 94 to 354 pA.
    for cell in ("B6", "B8"):
        values = [j.bridge_MOhm for j, s in zip(jumps, recordings, strict=True) if s.cell == cell]
        assert np.std(values) < 1.0
