"""Recorded activity: reading and its checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.fit import Indicator, read_activity

IDS = ("a", "b", "c", "d")


def samples(neurons=("c", "a"), trials=(1, 2), times=(20.0, 40.0, 60.0)):
    rows = [
        (trial, time, neuron, 100.0 * trial + time + 0.1 * IDS.index(neuron) if neuron in IDS else 0.0)
        for trial in trials
        for neuron in neurons
        for time in times
    ]
    return pd.DataFrame(rows, columns=["trial", "time_ms", "neuron", "value"])


def test_samples_come_to_their_trial_time_and_neuron():
    table = samples().sample(frac=1.0, random_state=0)
    activity, report = read_activity(table, IDS, kind="rate")
    assert activity.recorded == ("a", "c")
    assert (activity.dt_ms, activity.first_ms) == (20.0, 20.0)
    assert sorted(activity.trials) == [1, 2]
    for row, trial in enumerate(activity.trials):
        for k, neuron in enumerate(activity.neuron):
            np.testing.assert_allclose(activity.values[row, :, k], 100.0 * trial + activity.time_ms + 0.1 * neuron)
    assert not report.findings


def test_a_csv_file_is_read_by_text_and_gaps_are_nan(tmp_path):
    table = samples().drop(index=[1])
    table.to_csv(tmp_path / "rates.csv", index=False)
    activity, _ = read_activity(tmp_path / "rates.csv", IDS, kind="voltage")
    missing = np.argwhere(np.isnan(activity.values))
    assert [tuple(m) for m in missing] == [(0, 1, 1)]  # of trial 1 and neuron c, the second sample


def test_what_does_not_match_or_says_nothing_is_told():
    table = samples(neurons=("c", "a", "x"))
    table.loc[table["neuron"] == "a", "value"] = np.nan
    table.loc[table["neuron"] == "c", "value"] = 5.0
    activity, report = read_activity(table, IDS, kind="rate")
    assert activity.recorded == ("c",)
    told = {f.rule: f for f in report.findings}
    assert told["unmatched_id"].count == 6
    assert "a" in told["no_value"].message
    assert "c" in told["constant"].message


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: pd.concat([t, t.iloc[:1]]), "found again: 'trial 1, 20 ms, c'"),
        (lambda t: t.assign(time_ms=t["time_ms"].where(t.index != 2, 65.0)), "but for those at '65'"),
        (lambda t: t.assign(time_ms=t["time_ms"] - 30.0), "row 1: -10"),
        (lambda t: t.assign(neuron="x"), "No row of .* is of a neuron"),
        (lambda t: t.assign(value=np.nan), "has a finite value"),
        (lambda t: t[t["time_ms"] == 20.0], "two samples or more"),
    ],
)
def test_tables_that_make_no_activity_are_refused(change, text):
    with pytest.raises(SchemaError, match=text):
        read_activity(change(samples()), IDS, kind="rate")


def test_spikes_are_counted_in_bins():
    table = pd.DataFrame({"trial": [0, 0, 0, 1], "time_ms": [0.0, 10.0, 10.1, 29.0], "neuron": ["a", "a", "a", "b"]})
    activity, _ = read_activity(table, IDS, kind="spikes", bin_ms=10.0, duration_ms=30.0)
    assert activity.recorded == ("a", "b")
    np.testing.assert_array_equal(activity.values[0], [[2, 0], [1, 0], [0, 0]])
    np.testing.assert_array_equal(activity.values[1], [[0, 0], [0, 0], [0, 1]])
    with pytest.raises(SchemaError, match="from 0 to the trial's 20 ms"):
        read_activity(table, IDS, kind="spikes", bin_ms=10.0, duration_ms=20.0)
    with pytest.raises(SettingError, match="divide"):
        read_activity(table, IDS, kind="spikes", bin_ms=7.0, duration_ms=30.0)
    with pytest.raises(SettingError, match="need bin_ms"):
        read_activity(table, IDS, kind="spikes")


def test_sessions_and_parts():
    table = samples().assign(day=lambda t: t["trial"].map({1: "mon", 2: "tue"}))
    activity, _ = read_activity(table, IDS, kind="rate", session="day")
    assert activity.session == ("mon", "tue")
    part = activity.subset(trials=np.array([False, True]), neurons=np.array([True, False]))
    assert (part.trials, part.session, part.recorded) == ((2,), ("tue",), ("a",))
    np.testing.assert_array_equal(part.values, activity.values[1:, :, :1])


def test_names_and_kernels_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="rate"):
        read_activity(samples(), IDS, kind="rates")
    with pytest.raises(SettingError, match="rise_ms"):
        Indicator(decay_ms=100.0, rise_ms=200.0)
    with pytest.raises(SettingError, match="decays within 100 ms"):
        Indicator(decay_ms=100.0).check(250.0)
