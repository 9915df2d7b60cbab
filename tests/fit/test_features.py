"""Features of firing and of the membrane, from closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import (
    Recordings,
    Sweep,
    adaptation_index,
    charging_fit,
    feature_table,
    isi_cv,
    passive_properties,
    read_recordings,
    rheobase_bracket,
    spike_features,
)

DT, N = 0.1, 8000
T = DT * np.arange(N)
ON, OFF = 200.0, 600.0


def passive(step_pA: float, name="p", resistance=0.2, tau=15.0, spikes=(), sag=0.0) -> Sweep:
    """A membrane (GOhm, ms) with, if asked for, a sag of 60 ms and spikes of 90 mV."""
    since, after = np.clip(T - ON, 0, OFF - ON), np.clip(T - OFF, 0, None)
    v = -70 + resistance * step_pA * (1 - np.exp(-since / tau)) * np.exp(-after / tau)
    v -= sag * (1 - np.exp(-since / 60)) * np.exp(-after / 60)
    for at in spikes:
        v += 90 * np.exp(-0.5 * ((T - at) / 0.4) ** 2)
    return Sweep(name, np.where((T >= ON) & (T < OFF), step_pA, 0.0) - 30.0, v, DT, ON, OFF)


def test_isi_cv_is_the_textbook_one_without_the_first_interval():
    times = np.cumsum([0.0, 1.0, 10.0, 14.0])
    assert isi_cv(times) == pytest.approx(np.std([10, 14], ddof=1) / 12)
    assert isi_cv(times, ignore_first=False) == pytest.approx(np.std([1, 10, 14], ddof=1) / (25 / 3))
    assert np.isnan(isi_cv(times[:3]))
    assert isi_cv(np.arange(10.0)) == 0.0


def test_adaptation_of_a_geometric_train_is_that_of_its_ratio():
    times = np.concatenate([[0.0], np.cumsum(5 * 1.2 ** np.arange(12))])
    # (r - 1) / (r + 1) for any pair of neighbouring intervals
    assert adaptation_index(times) == pytest.approx(0.2 / 2.2)
    assert adaptation_index(np.arange(20.0)) == pytest.approx(0.0)
    assert adaptation_index(-times[::-1]) == pytest.approx(-0.2 / 2.2)
    assert np.isnan(adaptation_index(times[:2]))


def test_adaptation_leaves_out_a_tenth_of_the_spikes_and_two_at_most():
    times = np.cumsum(np.concatenate([[0.0], 1.0 + np.random.default_rng(0).random(40)]))

    def by_hand(left_out: int, n: int) -> float:
        i = np.diff(times[:n][left_out:])
        return float(np.mean([(b - a) / (b + a) for a, b in itertools.pairwise(i)]))

    for n, left_out in ((4, 0), (5, 1), (14, 1), (15, 2), (41, 2)):
        assert adaptation_index(times[:n]) == pytest.approx(by_hand(left_out, n))
    assert adaptation_index(times, skip=5) == pytest.approx(by_hand(5, 41))
    with pytest.raises(SettingError, match="skip"):
        adaptation_index(times, skip=-1)


def test_features_count_what_is_inside_the_stimulus():
    found = spike_features(passive(100.0, spikes=(100.0, 250.0, 300.0, 350.0, 700.0)))
    assert (found.count, found.outside) == (3, 2)
    assert found.rate_Hz == pytest.approx(7.5)
    assert found.latency_ms == pytest.approx(50.0, abs=DT)
    silent = spike_features(passive(100.0))
    assert silent.count == 0
    assert np.isnan([silent.latency_ms, silent.isi_cv, silent.adaptation_index, silent.threshold_mV]).all()


@pytest.mark.parametrize("step", [-50.0, 40.0])
def test_resistance_and_levels_of_a_passive_membrane_are_its_own(step):
    found = passive_properties(passive(step))
    assert found.input_resistance_MOhm == pytest.approx(200.0, rel=1e-6)
    assert found.voltage_base_mV == pytest.approx(-70.0)
    assert found.steady_state_mV == pytest.approx(-70.0 + 0.2 * step)
    assert (found.base_pA, found.step_pA) == (pytest.approx(-30.0, abs=0.5), pytest.approx(step, rel=0.01))
    assert found.decay_time_constant_ms == pytest.approx(15.0, rel=1e-6)


def test_the_time_constant_is_that_of_the_hyperpolarisation():
    assert passive_properties(passive(-50.0)).time_constant_ms == pytest.approx(15.0, rel=0.01)
    assert passive_properties(passive(-50.0, tau=30.0)).time_constant_ms == pytest.approx(30.0, rel=0.02)
    assert np.isnan(passive_properties(passive(50.0)).time_constant_ms)


def test_the_sag_is_the_return_from_the_minimum():
    found = passive_properties(passive(-100.0, sag=-5.0))
    v = passive(-100.0, sag=-5.0).voltage_mV
    assert found.sag_mV == pytest.approx(v[5599:5999].mean() - v.min(), abs=0.01)
    assert found.sag_ratio == pytest.approx(found.sag_mV / (-70 - v.min()), abs=1e-4)
    assert passive_properties(passive(-100.0)).sag_mV == pytest.approx(0.0, abs=1e-6)


def test_a_sweep_with_spikes_has_no_resistance():
    found = passive_properties(passive(100.0, spikes=(300.0, 590.0)))
    assert np.isnan([found.input_resistance_MOhm, found.time_constant_ms, found.decay_time_constant_ms]).all()


def test_charging_up_to_the_first_spike_gives_the_membrane():
    found = charging_fit(passive(120.0, spikes=(260.0, 300.0)))
    assert found.time_constant_ms == pytest.approx(15.0, rel=0.01)
    assert found.resistance_MOhm == pytest.approx(200.0, rel=0.01)
    assert found.decided
    with pytest.raises(SettingError, match="samples of charging before its first spike"):
        charging_fit(passive(120.0, spikes=(206.0,)))


def test_charging_that_ends_early_says_that_it_decides_nothing():
    assert not charging_fit(passive(120.0, tau=200.0, spikes=(260.0,))).decided


def test_the_rheobase_lies_between_the_last_silent_and_the_first_firing_step():
    sweeps = [passive(10.0, "a"), passive(30.0, "b"), passive(50.0, "c", spikes=(300.0,)), passive(20.0, "d")]
    found = rheobase_bracket(Recordings(tuple(sweeps)))
    assert (found.silent_pA, found.firing_pA) == (pytest.approx(30.0), pytest.approx(50.0))
    assert found.consistent
    odd = rheobase_bracket(Recordings((*sweeps, passive(80.0, "e"))))
    assert (odd.silent_pA, odd.consistent) == (pytest.approx(30.0), False)
    never = rheobase_bracket(Recordings((sweeps[0],)))
    assert never.silent_pA == pytest.approx(10.0)
    assert np.isnan(never.firing_pA)


def test_the_rat_cells_fire_at_every_step_so_that_only_charging_tells_their_membrane():
    recordings, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    table = feature_table(recordings)
    assert table["count"].tolist() == [26, 50, 68, 82, 89, 20, 44, 62, 75, 81]
    assert table["input_resistance_MOhm"].isna().all()
    assert isinstance(table, pd.DataFrame)
    assert np.isnan(rheobase_bracket(recordings.cell("B6")).silent_pA)
    weakest = {cell: charging_fit(recordings.cell(cell).sweeps[0]) for cell in ("B6", "B8")}
    assert all(fit.decided and 150 < fit.resistance_MOhm < 350 for fit in weakest.values())
    with pytest.raises(SettingError, match="one cell's"):
        rheobase_bracket(recordings)
