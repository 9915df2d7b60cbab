"""Assays: stimulated and ablated neurons, answers, repeated and contradictory situations."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from connectofit.connectome.errors import SchemaError, SettingError, UnknownNameError
from connectofit.data import celegans_paths
from connectofit.fit import group_folds, read_trials

COLUMNS = {"stimulated": "stimulus", "choice": "response"}
OPTIONS = ("none", "backward", "forward")
IDS = ("A", "B", "C", "D")


def frame(rows) -> pd.DataFrame:
    """From (stimulated, ablated, choice)."""
    rows = [(f"assay{k}", s, a, c, "a paper") for k, (s, a, c) in enumerate(rows)]
    return pd.DataFrame(rows, columns=["assay", "stimulated", "ablated", "choice", "reference"])


@pytest.fixture(scope="module")
def worm():
    ids = pd.read_csv(celegans_paths()["neurons"], keep_default_na=False)["name"].tolist()
    trials, report = read_trials(celegans_paths()["touch"], ids, options=OPTIONS, columns=COLUMNS)
    with celegans_paths()["touch"].open(encoding="utf-8", newline="") as file:
        return ids, trials, report, list(csv.DictReader(file))


def test_every_row_of_the_touch_table_is_read_as_it_stands(worm):
    ids, trials, report, rows = worm
    assert report.rows_in["trials"] == report.rows_kept["trials"] == trials.n_rows == len(rows)
    for k, row in enumerate(rows):
        assert [ids[i] for i in trials.stimulated[k]] == row["stimulus"].split()
        assert [ids[i] for i in trials.ablated[k]] == row["ablated"].split()
        assert trials.options[trials.choice[k]] == row["response"]
        assert (trials.assay[k], trials.reference[k]) == (row["assay"], row["reference"])


def test_drive_and_alive_mark_the_stimulated_and_the_ablated_neurons(worm):
    ids, trials, _, rows = worm
    drive, alive = trials.drive(), trials.alive()
    assert drive.shape == alive.shape == (len(rows), len(ids))
    for k, row in enumerate(rows):
        assert {ids[i] for i in np.flatnonzero(drive[k])} == set(row["stimulus"].split())
        assert {ids[i] for i in np.flatnonzero(alive[k] == 0)} == set(row["ablated"].split())
    assert set(np.unique(drive)) == set(np.unique(alive)) == {0.0, 1.0}


def test_the_touch_table_repeats_the_stimulation_of_ash_and_says_so(worm):
    _, trials, report, rows = worm
    sets = [(frozenset(row["stimulus"].split()), frozenset(row["ablated"].split())) for row in rows]
    repeats = [k for k, pair in enumerate(sets) if pair in sets[:k]]
    (finding,) = report.find("repeated_situation")
    assert finding.count == len(repeats) == 1
    assert [row - 1 for row, _ in finding.examples] == repeats
    assert finding.rows_removed == 0
    assert len(set(trials.situation)) == len(set(sets))


def test_situations_do_not_depend_on_the_order_in_which_neurons_are_named():
    trials, report = read_trials(frame([("A B", "C D", "none"), ("B A", "D C", "none")]), IDS, options=OPTIONS)
    assert trials.situation[0] == trials.situation[1]
    assert report.find("repeated_situation")[0].count == 1
    folds = group_folds([*trials.situation, "other"], 2, 0)
    assert folds[0] == folds[1]


def test_stimulated_and_ablated_neurons_are_told_apart():
    trials, _ = read_trials(frame([("A", "", "none"), ("", "A", "forward"), ("A", "B", "none")]), IDS, options=OPTIONS)
    assert len(set(trials.situation)) == 3


def test_subsets_keep_rows_whole():
    trials, _ = read_trials(frame([("A", "", "none"), ("B", "C", "forward"), ("D", "", "none")]), IDS, options=OPTIONS)
    part = trials.subset(np.array([False, True, True]))
    assert part.assay == ("assay1", "assay2")
    assert part.stimulated == ((1,), (3,))
    assert part.ablated == ((2,), ())
    assert part.choice.tolist() == [2, 0]


@pytest.mark.parametrize(("stimulated", "ablated", "column"), [("A X", "", "stimulated"), ("A", "B X", "ablated")])
def test_a_neuron_that_is_not_in_the_network_is_refused_with_its_row(stimulated, ablated, column):
    with pytest.raises(SchemaError, match=rf"'{column}'.*row 2: X.*\(1 in all\)"):
        read_trials(frame([("A", "", "none"), (stimulated, ablated, "none")]), IDS, options=OPTIONS)


def test_an_answer_that_is_no_option_is_refused_with_its_row():
    with pytest.raises(SchemaError, match=r"one of none, backward, forward.*row 2: 'sideways'"):
        read_trials(frame([("A", "", "none"), ("B", "", "sideways")]), IDS, options=OPTIONS)


def test_two_answers_to_one_situation_are_refused_with_their_rows():
    rows = [("A B", "", "none"), ("C", "", "none"), ("B A", "", "forward")]
    with pytest.raises(SchemaError, match="rows 1 and 3: A B"):
        read_trials(frame(rows), IDS, options=OPTIONS)


def test_a_missing_column_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'ablatd'"):
        read_trials(frame([("A", "", "none")]).rename(columns={"ablated": "ablatd"}), IDS, options=OPTIONS)


@pytest.mark.parametrize("options", [("none",), ("none", "none"), ()])
def test_options_that_leave_no_choice_are_refused(options):
    with pytest.raises(SettingError, match="Two options or more"):
        read_trials(frame([("A", "", "none")]), IDS, options=options)
