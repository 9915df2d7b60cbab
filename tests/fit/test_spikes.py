"""Spikes in made-up traces whose spikes are known, and in real ones whose counts are."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import SpikeDetection, Sweep, detect_spikes, read_recordings

DT = 0.05
T = DT * np.arange(20_000)
ON, OFF = 200.0, 800.0
COUNTS = {181: 26, 182: 50, 183: 68, 184: 82, 185: 89, 145: 20, 146: 44, 147: 62, 148: 75, 149: 81}


def triangles(at, heights, base=-60.0, rise_ms=1.0, fall_ms=2.0) -> Sweep:
    """Spikes with straight flanks from the base, so that every measure is known."""
    v = np.full(T.size, base)
    for time, height in zip(at, heights, strict=True):
        lag = T - time
        v += height * np.clip(np.where(lag < 0, 1 + lag / rise_ms, 1 - lag / fall_ms), 0, 1)
    return Sweep("t", np.where((T >= ON) & (T < OFF), 100.0, 0.0), v, DT, ON, OFF)


@pytest.fixture(scope="module")
def rat():
    recordings, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    return recordings


def test_times_heights_and_widths_of_triangular_spikes_are_those_drawn():
    at, heights = [250.0, 300.0, 400.0], [80.0, 60.0, 40.0]
    spikes = detect_spikes(triangles(at, heights))
    np.testing.assert_allclose(spikes.time_ms, at)
    np.testing.assert_allclose(spikes.peak_mV, -60 + np.array(heights))
    # The derivative, over two samples, passes 10 mV/ms where the rise begins.
    np.testing.assert_allclose(spikes.begin_ms, np.array(at) - 1.0, atol=DT)
    np.testing.assert_allclose(spikes.begin_mV, -60, atol=1e-9)
    np.testing.assert_allclose(spikes.ahp_mV, -60, atol=1e-9)
    # Half of a rise of 1 ms and half of a fall of 2 ms.
    np.testing.assert_allclose(spikes.half_width_ms, 1.5, atol=1e-6)


def test_shrinking_spikes_are_all_found_where_a_fixed_voltage_loses_them():
    at = 220 + 40.0 * np.arange(14)
    sweep = triangles(at, np.linspace(80, 28, 14))
    assert len(detect_spikes(sweep)) == 14
    assert len(detect_spikes(sweep, SpikeDetection(threshold_mV=0.0))) == 5


@pytest.mark.parametrize("name", COUNTS)
def test_the_real_sweeps_have_the_counts_that_are_seen_in_them(rat, name):
    assert len(detect_spikes(rat[str(name)])) == COUNTS[name]


def test_a_threshold_of_0_mV_finds_half_of_the_spikes_of_the_strongest_step(rat):
    assert len(detect_spikes(rat["149"], SpikeDetection(threshold_mV=0.0))) == 41


def test_real_spikes_are_found_in_volts_of_noise_and_after_a_junction_offset(rat):
    sweep = rat["183"].corrected(junction_mV=30.0)
    noisy = Sweep(
        "n",
        sweep.current_pA,
        sweep.voltage_mV + np.random.default_rng(0).normal(0, 1.0, sweep.n_samples),
        sweep.dt_ms,
        sweep.onset_ms,
        sweep.offset_ms,
    )
    expected = detect_spikes(rat["183"]).time_ms
    found = detect_spikes(noisy).time_ms
    assert found.size == expected.size
    assert np.abs(found - expected).max() <= 0.5


def test_slow_humps_and_electrode_jumps_are_no_spikes():
    hump = triangles([400.0], [50.0], rise_ms=50.0, fall_ms=50.0)
    assert len(detect_spikes(hump)) == 0
    jump = np.where((T >= ON) & (T < OFF), 30.0, 0.0)
    stepped = Sweep("j", hump.current_pA, -70 + jump, DT, ON, OFF)
    assert len(detect_spikes(stepped)) == 0


def test_a_trace_without_spikes_gives_empty_arrays():
    spikes = detect_spikes(triangles([], []))
    assert len(spikes) == 0
    assert spikes.amplitude_mV.shape == spikes.half_width_ms.shape == (0,)


def test_a_spike_that_the_end_of_the_trace_cuts_off_has_no_ahp_and_no_width():
    v = triangles([300.0], [80.0]).voltage_mV.copy()
    v[-30:] = np.linspace(-60, 20, 30)
    v[-10:] = np.linspace(20, 0, 10)
    sweep = Sweep("c", np.where((T >= ON) & (T < OFF), 100.0, 0.0), v, DT, ON, OFF)
    spikes = detect_spikes(sweep, SpikeDetection(min_height_mV=10.0))
    assert len(spikes) == 2
    assert spikes.ahp[-1] == -1
    assert np.isnan(spikes.ahp_mV[-1])
    assert np.isnan(spikes.half_width_ms[-1])
    assert np.isfinite(spikes.half_width_ms[0])


def test_spikes_between_two_times_include_both():
    spikes = detect_spikes(triangles([250.0, 300.0, 400.0], [80.0] * 3))
    np.testing.assert_allclose(spikes.between(spikes.time_ms[0], spikes.time_ms[1]).time_ms, [250.0, 300.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_height_mV": 0.0}, "min_height_mV of a spike detection has to be above 0"),
        ({"derivative_mV_per_ms": float("nan")}, "derivative_mV_per_ms"),
        ({"window": 0}, "window"),
        ({"window": 2.5}, "window"),
        ({"threshold_mV": float("inf")}, "threshold_mV"),
    ],
)
def test_detections_that_cannot_be_are_refused(change, message):
    with pytest.raises(SettingError, match=message):
        SpikeDetection(**change)
