"""Sweeps and recordings: what they refuse, their corrections, selection and resampling."""

from __future__ import annotations

import numpy as np
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.fit import Recordings, Sweep

N, DT = 4000, 0.1


def sweep(name: str = "a", cell: str = "", **changes) -> Sweep:
    """400 ms at 0.1 ms: a step of 100 pA from 100 to 300 ms, with a slow sine for a voltage."""
    t = DT * np.arange(N)
    given = {
        "current_pA": np.where((t >= 100) & (t < 300), 100.0, -20.0),
        "voltage_mV": -70 + 5 * np.sin(2 * np.pi * t / 80),
        "dt_ms": DT,
        "onset_ms": 100.0,
        "offset_ms": 300.0,
    }
    return Sweep(name, cell=cell, **(given | changes))


def test_times_masks_and_step_follow_from_the_samples():
    s = sweep(start_ms=50.0, onset_ms=150.0, offset_ms=350.0)
    assert s.time_ms[[0, 1, -1]].tolist() == pytest.approx([50.0, 50.1, 449.9])
    assert (s.before.sum(), s.during.sum()) == (1000, 2000)
    assert s.end_ms == pytest.approx(450.0)
    assert s.step_pA == pytest.approx(120.0)


def test_traces_cannot_be_changed_from_outside():
    given = -70 + np.sin(np.arange(float(N)))
    s = sweep(voltage_mV=given)
    given[:] = 0
    assert s.voltage_mV[0] == -70
    with pytest.raises(ValueError, match="read-only"):
        s.voltage_mV[0] = 1.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"voltage_mV": np.zeros((2, N))}, SchemaError, r"voltage_mV of sweep 'a' has to be one trace.*\(2, 4000\)"),
        ({"voltage_mV": np.zeros(N - 1)}, SchemaError, "4000 samples of current and 3999 of voltage"),
        ({"voltage_mV": ["x"] * N}, SchemaError, "has to hold numbers"),
        (
            {"voltage_mV": np.where(np.arange(N) % 500 == 7, np.nan, -70.0)},
            SchemaError,
            r"not finite at 'sample 7: nan', 'sample 507: nan'.*\.\.\. \(8 in all\)",
        ),
        ({"current_pA": np.full(N, np.inf)}, SchemaError, r"current_pA.*sample 0: inf.*\(4000 in all\)"),
        ({"dt_ms": 0.0}, SettingError, "dt_ms of sweep 'a' has to be above 0"),
        ({"dt_ms": float("nan")}, SettingError, "finite number"),
        pytest.param({"dt_ms": 10**400}, SettingError, "finite number", id="beyond all floats"),
        ({"offset_ms": 500.0}, SettingError, "said to last from 100 to 500 ms, but the sweep from 0 to 400 ms"),
        ({"onset_ms": 300.0}, SettingError, "from 300 to 300 ms"),
        ({"onset_ms": 299.0}, SchemaError, "stimulus of sweep 'a' has 10 samples"),
    ],
)
def test_sweeps_that_make_no_sense_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        sweep(**changes)


def test_too_few_samples_are_refused():
    with pytest.raises(SchemaError, match="has 5 samples; at least 20"):
        Sweep("a", np.zeros(5), np.arange(5.0), 0.1, 0.0, 0.5)


def test_bridge_and_junction_are_taken_off_and_remembered():
    s = sweep()
    c = s.corrected(bridge_MOhm=15.0, junction_mV=14.0)
    # 100 pA over 15 MOhm is 1.5 mV.
    np.testing.assert_allclose(c.voltage_mV, s.voltage_mV - np.where(s.current_pA > 0, 1.5, -0.3) - 14.0)
    assert (c.bridge_MOhm, c.junction_mV) == (15.0, 14.0)
    np.testing.assert_allclose(c.recorded_mV, s.voltage_mV)


def test_corrections_are_totals_and_not_taken_off_twice():
    s = sweep()
    twice = s.corrected(bridge_MOhm=15.0).corrected(bridge_MOhm=15.0)
    np.testing.assert_allclose(twice.voltage_mV, s.corrected(bridge_MOhm=15.0).voltage_mV)
    back = s.corrected(bridge_MOhm=-8.0, junction_mV=3.0).corrected(bridge_MOhm=0.0, junction_mV=0.0)
    np.testing.assert_allclose(back.voltage_mV, s.voltage_mV)


def test_one_correction_leaves_the_other_as_it_is():
    c = sweep().corrected(junction_mV=10.0).corrected(bridge_MOhm=5.0)
    assert (c.bridge_MOhm, c.junction_mV) == (5.0, 10.0)


def test_an_advanced_current_carries_its_bridge_along():
    s = sweep().corrected(bridge_MOhm=10.0)
    a = s.advanced(2)
    np.testing.assert_array_equal(a.current_pA[:-2], s.current_pA[2:])
    np.testing.assert_allclose(a.recorded_mV, s.recorded_mV)
    np.testing.assert_allclose(a.voltage_mV, s.recorded_mV - 1e-2 * a.current_pA)
    with pytest.raises(SettingError, match="whole samples"):
        s.advanced(0.5)


def test_a_window_keeps_its_clock():
    w = sweep().window(250.0, 350.0)
    assert (w.start_ms, w.onset_ms, w.offset_ms, w.n_samples) == (pytest.approx(250.0), 250.0, 300.0, 1000)
    np.testing.assert_array_equal(w.voltage_mV, sweep().voltage_mV[2500:3500])
    with pytest.raises(SettingError, match="said to last"):
        sweep().window(320.0, 390.0)


def test_resampling_averages_the_current_and_keeps_slow_voltages():
    s = sweep(current_pA=np.arange(float(N)))
    r = s.resampled(0.5)
    np.testing.assert_allclose(r.current_pA, np.arange(2.0, N, 5.0))
    # 12.5 Hz are far below the new limit of 1,000 Hz: the sine comes through, its ends too.
    np.testing.assert_allclose(r.voltage_mV, s.voltage_mV[::5], atol=0.02)
    assert (r.dt_ms, r.onset_ms, r.offset_ms) == (pytest.approx(0.5), 100.0, 300.0)


def test_resampling_takes_out_what_would_alias():
    t = DT * np.arange(N)
    fast = sweep(voltage_mV=-70 + 5 * np.sin(2 * np.pi * t / 0.7))  # 1,430 Hz, above half of the new 2,000 Hz
    r = fast.resampled(0.5)
    assert np.abs(r.voltage_mV[20:-20] + 70).max() < 0.1
    assert np.abs(fast.voltage_mV[::5] + 70).max() > 4  # picking every fifth sample would not


def test_samples_that_fill_no_interval_are_dropped():
    r = sweep(offset_ms=400.0).resampled(0.7)
    assert r.n_samples == 571
    assert r.offset_ms == pytest.approx(399.7)


@pytest.mark.parametrize(("dt", "near"), [(0.25, "0.2 ms"), (0.05, "0.1 ms")])
def test_only_whole_multiples_of_the_interval_can_be_had(dt, near):
    with pytest.raises(SettingError, match=f"every 0.1 ms.*nearest is {near}"):
        sweep().resampled(dt)


@pytest.fixture
def many() -> Recordings:
    return Recordings((sweep("1", "A"), sweep("2", "A"), sweep("2", "B"), sweep("3", "B")))


def test_sweeps_are_found_by_label_or_by_a_name_of_one_cell(many):
    assert many["A/2"].cell == "A"
    assert many["3"].label == "B/3"
    assert many.cells == ("A", "B")
    assert many.cell("B").names == ("2", "3")
    assert many.select(["3", "A/1"]).labels == ("B/3", "A/1")
    assert many.without(["A/2", "3"]).labels == ("A/1", "B/2")
    assert many.select("3").labels == ("B/3",)


def test_a_name_of_two_cells_is_not_guessed(many):
    with pytest.raises(SettingError, match="one of several cells: 'A/2', 'B/2'"):
        many["2"]


def test_names_that_do_not_exist_suggest_the_nearest(many):
    with pytest.raises(UnknownNameError, match=r"No sweep named 'A/11'.*'A/1'"):
        many["A/11"]
    with pytest.raises(UnknownNameError, match=r"No cell named 'a'.*'A'"):
        many.cell("a")


def test_sweeps_of_one_cell_need_different_names():
    with pytest.raises(SchemaError, match=r"more than once: 'A/1' \(1 in all\)"):
        Recordings((sweep("1", "A"), sweep("1", "A")))
    with pytest.raises(SchemaError, match="at least one sweep"):
        Recordings(())


def test_sweeps_sampled_alike_stack_and_others_are_refused(many):
    current, voltage, dt = many.stacked()
    assert current.shape == voltage.shape == (4, N)
    assert dt == DT
    mixed = Recordings((sweep("1"), sweep("2").resampled(0.2)))
    assert [s.dt_ms for s in mixed] == pytest.approx([0.1, 0.2])
    with pytest.raises(SchemaError, match=r"different sampling intervals.*1 has 0.1 ms, but '2: 0.2 ms'"):
        mixed.stacked()
    with pytest.raises(SchemaError, match="different lengths"):
        Recordings((sweep("1"), sweep("2").window(0.0, 350.0))).stacked()
    assert mixed.resampled(0.2).stacked()[0].shape == (2, N // 2)
