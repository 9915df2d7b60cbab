"""Spikes and features against eFEL 5.7.34 on ten real sweeps and four made-up traces (scripts/efel_features.py).

eFEL finds spikes by a threshold of -20 mV; here they are found both so and by the default detection, which has to see
the same ones in these traces.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import SpikeDetection, Sweep, detect_spikes, passive_properties, read_recordings, spike_features
from connectofit.fit.features import adaptation_index

VALUES = np.load(Path(__file__).parent / "values" / "efel_features.npz")
CELLS = {"B6": range(181, 186), "B8": range(145, 150)}
SWEEPS = [f"{cell}/{name}" for cell, names in CELLS.items() for name in names]


@pytest.fixture(scope="module")
def sweeps() -> dict[str, Sweep]:
    recordings, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    found = {sweep.label: sweep for sweep in recordings}
    for name in ("passive", "noisy", "sag", "spikes"):
        dt, onset, offset = VALUES[f"{name}/times"]
        found[name] = Sweep(name, VALUES[f"{name}/current"], VALUES[f"{name}/voltage"], dt, onset, offset)
    return found


def efel(sweep: str, feature: str) -> float:
    (value,) = VALUES[f"{sweep}/{feature}"]
    return float(value)


@pytest.mark.parametrize("name", [*SWEEPS, "spikes"])
@pytest.mark.parametrize("threshold_mV", [None, -20.0])
def test_peaks_begins_and_minima_are_the_same_samples(sweeps, name, threshold_mV):
    spikes = detect_spikes(sweeps[name], SpikeDetection(threshold_mV=threshold_mV))
    np.testing.assert_array_equal(spikes.peak, VALUES[f"{name}/peak_indices"])
    np.testing.assert_array_equal(spikes.begin, VALUES[f"{name}/AP_begin_indices"])
    np.testing.assert_array_equal(spikes.ahp, VALUES[f"{name}/min_AHP_indices"])


@pytest.mark.parametrize("name", [*SWEEPS, "spikes"])
def test_amplitudes_and_half_widths_agree_to_rounding(sweeps, name):
    spikes = detect_spikes(sweeps[name])
    np.testing.assert_allclose(spikes.amplitude_mV, VALUES[f"{name}/AP_amplitude"], atol=1e-9)
    # eFEL's times are those of its interpolation, to 1e-5 ms.
    np.testing.assert_allclose(spikes.half_width_ms, VALUES[f"{name}/spike_half_width"], atol=1e-4)


@pytest.mark.parametrize("name", [*SWEEPS, "spikes"])
def test_intervals_latency_and_levels_agree(sweeps, name):
    sweep = sweeps[name]
    spikes = detect_spikes(sweep)
    found, membrane = spike_features(sweep, spikes), passive_properties(sweep, spikes)
    assert found.count == efel(name, "Spikecount_stimint")
    assert found.isi_cv == pytest.approx(efel(name, "ISI_CV"), abs=1e-9)
    assert found.adaptation_index == pytest.approx(efel(name, "adaptation_index"), abs=1e-9)
    assert adaptation_index(spikes.time_ms, skip=1) == pytest.approx(efel(name, "adaptation_index2"), abs=1e-9)
    assert found.latency_ms == pytest.approx(efel(name, "time_to_first_spike"), abs=1e-6)
    # eFEL counts the sample of the onset, where these electrodes jump by up to 5 mV, to the 280 samples of the base.
    assert membrane.voltage_base_mV == pytest.approx(efel(name, "voltage_base"), abs=0.02)
    assert membrane.steady_state_mV == pytest.approx(efel(name, "steady_state_voltage_stimend"), abs=0.05)
    if name != "spikes":  # there the sample of the onset carries the step
        assert membrane.base_pA == pytest.approx(1e3 * efel(name, "current_base"), abs=0.05)


@pytest.mark.parametrize("name", ["passive", "noisy", "sag"])
def test_passive_properties_agree_on_traces_without_spikes(sweeps, name):
    found = passive_properties(sweeps[name])
    assert found.input_resistance_MOhm == pytest.approx(efel(name, "ohmic_input_resistance_vb_ssse"), rel=0.01)
    assert found.time_constant_ms == pytest.approx(efel(name, "time_constant"), rel=0.02)
    assert found.decay_time_constant_ms == pytest.approx(efel(name, "decay_time_constant_after_stim"), rel=0.02)
    assert found.sag_mV == pytest.approx(efel(name, "sag_amplitude"), abs=1e-3)
    assert found.sag_ratio == pytest.approx(efel(name, "sag_ratio1"), abs=1e-3)
