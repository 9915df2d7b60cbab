"""The baseline of a regular train: its rates, its spikes, and its scores on the real cells."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.data import RAT_CORTEX_COLUMNS, RAT_CORTEX_STIMULUS_MS, rat_cortex_step_currents
from connectofit.fit import (
    Recordings,
    StepBaseline,
    Sweep,
    baseline_scores,
    read_recordings,
    regular_train,
    split,
    step_baseline,
)


@pytest.fixture(scope="module")
def rat():
    recordings, _ = read_recordings(
        rat_cortex_step_currents(), columns=RAT_CORTEX_COLUMNS, stimulus_ms=RAT_CORTEX_STIMULUS_MS
    )
    return recordings


def test_rates_are_interpolated_between_neighbours_and_extended_beyond_the_ends():
    baseline = StepBaseline(np.array([100.0, 200.0, 400.0]), np.array([10.0, 30.0, 50.0]))
    assert baseline.rate(150.0) == pytest.approx(20.0)
    assert baseline.rate(300.0) == pytest.approx(40.0)
    assert baseline.rate(200.0) == pytest.approx(30.0)
    assert baseline.rate(500.0) == pytest.approx(60.0)
    assert baseline.rate(60.0) == pytest.approx(2.0)
    assert baseline.rate(0.0) == 0.0


@pytest.mark.parametrize("rate", [3.0, 17.3, 100.0])
def test_a_regular_train_has_its_rate_and_phase(rate):
    train = regular_train(rate, 700.0, 2700.0)
    np.testing.assert_allclose(np.diff(train), 1000 / rate)
    assert train[0] == pytest.approx(700 + 500 / rate)
    assert abs(train.size - 2 * rate) <= 0.5 + 1e-9
    assert train[-1] < 2700.0
    assert regular_train(rate, 0.0, 100.0, phase=0.0)[0] == 0.0


def test_no_rate_gives_no_spikes_and_no_sense_is_refused():
    assert regular_train(0.0, 0.0, 100.0).size == 0
    with pytest.raises(SettingError, match="rate"):
        regular_train(-1.0, 0.0, 100.0)
    with pytest.raises(SettingError, match="phase"):
        regular_train(1.0, 0.0, 100.0, phase=2.0)


def test_the_rates_of_the_real_cells_are_their_counts_over_two_seconds(rat):
    baseline = step_baseline(rat.cell("B6"))
    np.testing.assert_allclose(baseline.rate_Hz, [13.0, 25.0, 34.0, 41.0, 44.5])
    np.testing.assert_allclose(baseline.step_pA, [118, 177, 237, 296, 354], atol=1.0)


def test_repeated_steps_are_averaged(rat):
    twice = [Sweep("x", s.current_pA, s.voltage_mV, 0.25, 700.0, 2700.0, cell="B6") for s in (rat["182"],)]
    baseline = step_baseline(Recordings((*rat.cell("B6").sweeps, *twice)))
    assert baseline.step_pA.size == 5
    assert baseline.rate_Hz[1] == 25.0


def test_one_step_or_two_cells_are_refused(rat):
    with pytest.raises(SettingError, match="two steps or more; found 1"):
        step_baseline(rat.select(["181"]))
    with pytest.raises(SettingError, match="one cell's; found B6, B8"):
        step_baseline(rat)


def test_the_held_out_counts_are_predicted_within_5_percent_and_the_timing_is_not(rat):
    cut = split(rat, ["183", "147"])
    cut.held_out.commit({"none": 0.0})
    table = baseline_scores(cut.training, cut.held_out.open({"none": 0.0})).set_index("sweep")
    # Half of 25 + 41 and of 22 + 37.5 Hz, nearly: the held-out steps are midway between their neighbours.
    assert table.loc["183", "rate_Hz"] == pytest.approx(33.1, abs=0.1)
    assert table.loc["147", "rate_Hz"] == pytest.approx(29.6, abs=0.2)
    assert table["count_error"].abs().max() < 0.05
    assert table["explained_variance"].abs().max() < 0.1
    assert table["gamma"].abs().max() < 0.1
    assert (table["adaptation_error"] < 0).all()
