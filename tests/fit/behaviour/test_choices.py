"""Tables of an animal's choices: what is read, what is left out and told, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.data import RAT_CHOICES_OPTIONS, RAT_CHOICES_STIMULI, rat_choices_path
from connectofit.fit.behaviour import read_choices

OPTIONS = ("left", "right")


def _table(**columns):
    rows = {
        "session": ["b", "a", "b", "b"],
        "trial": [1, 0, 3, 2],
        "s1": [0.5, -0.5, 1.0, 2.0],
        "choice": ["left", "right", "right", "left"],
        "answer": ["left", "left", "right", None],
    }
    return pd.DataFrame(rows | columns)


def _read(table, **given):
    return read_choices(table, **{"options": OPTIONS, "stimuli": ["s1"], **given})


def test_the_rats_trials_are_all_there():
    trials, report = read_choices(rat_choices_path(), options=RAT_CHOICES_OPTIONS, stimuli=RAT_CHOICES_STIMULI)
    assert (trials.n_rows, len(trials.sessions), report.findings) == (20_000, 80, ())
    # In the table itself: 12,890 correct trials, 10,635 choices of the right.
    assert trials.correct.sum() == 12_890
    assert (trials.choice == 1).sum() == 10_635
    # The louder sound decides: right where the first was louder.
    louder = np.where(trials.stimuli["s1"] > trials.stimuli["s2"], 1, 0)
    np.testing.assert_array_equal(trials.answer, louder)


def test_trials_are_ordered_within_their_sessions_and_know_what_came_before():
    trials, report = _read(_table())
    assert trials.sessions == ("b", "a")
    assert trials.place.tolist() == [1, 2, 3, 0]
    assert trials.stimuli["s1"].tolist() == [0.5, 2.0, 1.0, -0.5]
    assert trials.previous.tolist() == [-1, 0, 1, -1]
    assert trials.choice.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(trials.correct, [1.0, np.nan, 1.0, 0.0])
    assert [f.rule for f in report.findings] == ["session_of_one"]
    back, _ = _read(trials.to_pandas().rename(columns={"reaction_ms": "rt"}))
    np.testing.assert_array_equal(back.choice, trials.choice)


def test_a_predecessor_that_was_left_out_is_the_last_one_that_was_kept():
    trials, report = _read(_table(choice=["left", "right", "right", None]))
    assert trials.place.tolist() == [1, 3, 0]
    assert trials.previous.tolist() == [-1, 0, -1]
    told = next(f for f in report.findings if f.rule == "no_choice")
    assert (told.count, told.rows_removed) == (1, 1)
    assert told.examples[0][0] == 4
    subset = trials.subset(trials.session == 0)
    assert subset.previous.tolist() == [-1, 0]


def test_what_is_odd_is_told():
    missing = _table(s1=[1.0, np.nan, 1.0, 1.0], choice=["left"] * 4, correct=[True, True, None, None])
    trials, report = _read(missing)
    assert trials.n_rows == 3
    rules = [f.rule for f in report.findings]
    assert rules == ["not_finite", "constant", "never_chosen"]
    assert report.rows_kept == {"choices": 3}


def test_reaction_times_are_in_the_unit_that_is_said():
    seconds = _table(rt=[0.3, 0.4, None, 0.5])
    trials, _ = _read(seconds, columns={"reaction_time": "rt"}, reaction_unit="s")
    np.testing.assert_allclose(trials.reaction_ms, [300.0, 500.0, np.nan, 400.0])
    with pytest.raises(SchemaError, match=r"would be 0\.4 ms.*reaction_unit='s'"):
        _read(seconds, columns={"reaction_time": "rt"})
    with pytest.raises(SchemaError, match=r"above 0; found .*row 2: -1 ms"):
        _read(_table(rt=[300, -1, 200, 200]), columns={"reaction_time": "rt"})
    with pytest.raises(UnknownNameError, match="unit of reaction times named 'us'"):
        _read(seconds, reaction_unit="us")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (
            {"choice": ["left", "up", "right", "left"]},
            r"has to hold one of left, right or nothing; found .*row 2: 'up'",
        ),
        ({"answer": ["left", "l", "right", "left"]}, r"Column 'answer' .*row 2: 'l'"),
        ({"trial": [1, 0, 1, 2]}, r"may stand once; found again: .*row 3: session b, trial 1"),
        ({"trial": [1.5, 0, 3, 2]}, r"number the trials of a session; found .*row 1: 1\.5"),
        ({"session": ["b", None, "b", "b"]}, r"'session' of .* is empty in .*row 2"),
        ({"correct": [True, True, True, None]}, r"contradicts choice and answer in 1 rows: .*row 2: chose right, left"),
        ({"correct": ["yes", "no", "yes", "yes"]}, r"has to say true or false; see .*row 1"),
        ({"s1": ["0.5", "loud", "1", "2"]}, r"'s1' of .* has to hold numbers; found .*row 2: 'loud'"),
        ({"choice": [None] * 4}, "No row of .* is left: 4 trials have no choice"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(columns, match):
    with pytest.raises(SchemaError, match=match):
        _read(_table(**columns))


def test_requests_that_cannot_be_met_are_refused():
    with pytest.raises(SettingError, match="Two options or more"):
        _read(_table(), options=("left", "left"))
    with pytest.raises(SettingError, match="stimuli, one or more"):
        _read(_table(), stimuli=[])
    with pytest.raises(UnknownNameError, match="s3"):
        _read(_table(), stimuli=["s3"])
    with pytest.raises(UnknownNameError, match="canonical column named 'chosen'"):
        _read(_table(), columns={"chosen": "choice"})
    with pytest.raises(SettingError, match="order in which they happened"):
        _read(_table())[0].subset(np.array([1, 0]))
