"""What recordings say before a fit, against cells of known parameters."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import read_recordings
from connectofit.fit.cells.starting_point import spike_onsets, starting_point

DT = 0.2
LIF = {
    "tau_m_ms": 15.0,
    "r_m_GOhm": 0.12,
    "v_rest_mV": -68.0,
    "v_threshold_mV": -50.0,
    "v_reset_mV": -60.0,
    "t_ref_ms": 2.0,
}


def test_a_lif_cell_with_noise_of_1_mV_is_found_again(steps_and_noise, by_network, sweeps_of):
    current = steps_and_noise(10000, 3, mean=200.0)
    v, spikes = by_network("lif", LIF, current, DT)
    noisy = np.concatenate([np.full((1, 3), -68.0), v[:-1]]) + np.random.default_rng(5).normal(0, 1.0, v.shape)
    onsets = [np.flatnonzero(spikes[:-1, k]) + 1 for k in range(3)]
    assert sum(map(len, onsets)) > 60
    found = starting_point(sweeps_of(current, noisy, DT), onsets, t_ref_ms=2.0, before_ms=0.0)
    assert found.tau_ms == pytest.approx(15.0, rel=0.02)
    assert found.r_GOhm == pytest.approx(0.12, rel=0.02)
    assert found.e_mV == pytest.approx(-68.0, abs=0.3)
    assert found.v_reset_mV == pytest.approx(-60.0, abs=0.3)
    assert found.v_threshold_mV == pytest.approx(-50.5, abs=1.0)  # the sample before the spike
    assert found.rmse_mV == pytest.approx(1.0, abs=0.05)


def test_real_cells_have_the_resistance_and_spikes_of_cortical_ones():
    cells, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    for name in cells.cells:
        found = starting_point(cells.cell(name))
        assert 0.1 < found.r_GOhm < 0.3
        assert 10.0 < found.tau_ms < 50.0
        assert found.n_spikes == sum(map(len, spike_onsets(cells.cell(name))))
        assert -75.0 < found.e_mV < found.v_reset_mV < found.v_threshold_mV < -35.0


def test_without_spikes_the_threshold_is_a_guess_and_without_a_current_there_is_no_resistance(sweeps_of):
    rng = np.random.default_rng(0)
    flat = np.full((2000, 1), 10.0)
    noise = -70.0 + rng.normal(size=(2000, 1))
    with pytest.raises(SettingError, match="does not change"):
        starting_point(sweeps_of(flat, noise, DT), [np.zeros(0, int)])
    step = np.where(np.arange(2000) > 500, 100.0, 0.0)[:, None]
    found = starting_point(sweeps_of(step, noise + 0.05 * step, DT), [np.zeros(0, int)])
    assert found.n_spikes == 0
    assert found.v_threshold_mV == pytest.approx(found.e_mV + 15.0)
    assert found.r_GOhm == pytest.approx(0.05, rel=0.05)
