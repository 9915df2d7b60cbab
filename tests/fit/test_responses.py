"""Stimulation maps: what is read, what is left out, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome.errors import SchemaError, UnknownNameError
from connectofit.data import celegans_paths
from connectofit.fit import read_responses

ATLAS_COLUMNS = {"stimulated": "stim", "responding": "response", "effect": "dFF", "trials": "n", "q": "q"}
IDS = ("A", "B", "C")


def frame(**changes) -> pd.DataFrame:
    """Three good rows; a change replaces a column."""
    columns = {
        "stimulated": ["A", "A", "B"],
        "responding": ["B", "C", "C"],
        "effect": [0.1, -0.2, 0.3],
        "trials": [1, 2, 3],
        "q": [0.01, 0.5, 0.04],
    }
    return pd.DataFrame(columns | changes)


@pytest.fixture(scope="module")
def worm():
    ids = pd.read_csv(celegans_paths()["neurons"], keep_default_na=False)["name"].tolist()
    return ids, *read_responses(celegans_paths()["atlas"], ids, columns=ATLAS_COLUMNS)


@pytest.fixture(scope="module")
def atlas() -> pd.DataFrame:
    return pd.read_parquet(celegans_paths()["atlas"])


def test_rows_keep_their_order_and_values():
    responses, report = read_responses(frame(), IDS)
    assert responses.ids == IDS
    assert responses.stimulated.tolist() == [0, 0, 1]
    assert responses.responding.tolist() == [1, 2, 2]
    assert responses.effect.tolist() == [0.1, -0.2, 0.3]
    assert responses.trials.tolist() == [1, 2, 3]
    assert responses.q.tolist() == [0.01, 0.5, 0.04]
    assert report.findings == ()
    assert responses.significant(0.04).tolist() == [1, 0, 0]
    assert responses.subset(np.array([True, False, True])).effect.tolist() == [0.1, 0.3]


def test_the_worm_atlas_loses_what_an_independent_count_says(worm, atlas):
    ids, responses, report = worm
    known = atlas["stim"].isin(ids) & atlas["response"].isin(ids)
    own = known & (atlas["stim"] == atlas["response"])
    finite = np.isfinite(atlas[["dFF", "n", "q"]].astype(float)).all(axis=1)
    kept = known & ~own & finite

    removed = {finding.rule: finding.rows_removed for finding in report.findings}
    assert removed.get("unmatched_id", 0) == (~known).sum()
    assert removed.get("self_response", 0) == own.sum()
    assert removed.get("not_finite", 0) == (known & ~own & ~finite).sum()
    assert responses.n_rows == kept.sum()
    assert report.rows_in["responses"] == len(atlas)
    assert report.rows_in["responses"] == report.rows_kept["responses"] + sum(removed.values())


def test_the_worm_atlas_names_the_neurons_that_the_connectome_lacks(worm, atlas):
    ids, _, report = worm
    (finding,) = report.find("unmatched_id")
    assert (set(atlas["stim"]) | set(atlas["response"])) - set(ids) == {"AWCON", "AWCOF"}
    assert "AWCON" in finding.message
    assert "AWCOF" in finding.message
    row, shown = finding.examples[0]
    assert shown == f"{atlas['stim'][row - 1]} -> {atlas['response'][row - 1]}"


def test_the_worm_atlas_keeps_the_values_of_every_pair(worm, atlas):
    ids, responses, _ = worm
    names = np.array(ids, dtype=object)
    read = pd.DataFrame(
        {
            "stim": names[responses.stimulated],
            "response": names[responses.responding],
            "dFF": responses.effect,
            "n": responses.trials,
            "q": responses.q,
        }
    )
    expected = atlas[atlas["stim"].isin(ids) & atlas["response"].isin(ids) & (atlas["stim"] != atlas["response"])]
    pd.testing.assert_frame_equal(read, expected[read.columns].reset_index(drop=True), check_dtype=False)


def test_rows_that_are_left_out_are_counted_once_by_the_first_rule():
    table = frame(
        stimulated=["A", "X", "A", "B", "C", "X"],
        responding=["A", "B", "C", "C", "A", "X"],
        effect=[0.1, 0.1, np.nan, 0.3, 0.2, np.nan],
        trials=[1, 1, 1, 1, 2, 1],
        q=[2.0, -1.0, 0.1, 0.1, np.inf, 0.1],  # the first two are wrong, in rows that are left out before
    )
    responses, report = read_responses(table, IDS)
    assert [(f.rule, f.rows_removed, [row for row, _ in f.examples]) for f in report.findings] == [
        ("unmatched_id", 2, [2, 6]),
        ("self_response", 1, [1]),
        ("not_finite", 2, [3, 5]),
    ]
    assert responses.n_rows == 1
    assert report.rows_in["responses"] == report.rows_kept["responses"] + 5


def test_csv_is_read_as_the_numbers_that_it_spells(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("stimulated,responding,effect,trials,q\nA,B, 1.5e-1,3,.5\nB,C,+2.,1,0\nC,A,,2,0.1\nA,C,nan,2,0.1\n")
    responses, report = read_responses(path, IDS)
    assert responses.effect.tolist() == [0.15, 2.0]
    assert responses.trials.tolist() == [3, 1]
    assert responses.q.tolist() == [0.5, 0.0]
    assert report.find("not_finite")[0].rows_removed == 2


def test_integer_neurons_are_matched_in_typed_tables_and_in_csv(tmp_path):
    table = frame(stimulated=[7, 7, 8], responding=[8, 9, 9])
    table.to_csv(tmp_path / "map.csv", index=False)
    for source in (table, tmp_path / "map.csv"):
        assert read_responses(source, (7, 8, 9))[0].stimulated.tolist() == [0, 0, 1]


@pytest.mark.parametrize("columns", [None, {"effect": "efect"}])
def test_a_missing_column_is_answered_with_the_nearest_name(columns):
    table = frame().rename(columns={"effect": "effects"})
    with pytest.raises(UnknownNameError, match="Did you mean 'effects'") as caught:
        read_responses(table, IDS, columns=columns)
    assert "columns={'effect'" in str(caught.value)


def test_a_misspelt_canonical_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'stimulated'"):
        read_responses(frame(), IDS, columns={"stimulatd": "stimulated"})


def test_text_that_is_no_number_is_refused_with_its_row_and_the_tables_own_name():
    table = frame(effect=["0.1", "often", "0.3"]).rename(columns={"effect": "dFF"})
    with pytest.raises(SchemaError, match=r"'dFF'.*row 2: 'often'.*\(1 in all\)"):
        read_responses(table, IDS, columns={"effect": "dFF"})


def test_a_column_of_another_type_is_refused():
    with pytest.raises(SchemaError, match=r"'q'.*numbers.*bool"):
        read_responses(frame(q=[True, False, True]), IDS)


@pytest.mark.parametrize("q", [-0.01, 1.01])
def test_q_outside_0_to_1_is_refused_with_its_row(q):
    with pytest.raises(SchemaError, match=r"'q' has to be from 0 to 1.*row 2: q = .*A -> C"):
        read_responses(frame(q=[0.1, q, 0.2]), IDS)


@pytest.mark.parametrize("trials", [0, -1, 2.5])
def test_numbers_of_trials_that_are_not_whole_or_below_1_are_refused(trials):
    with pytest.raises(SchemaError, match=r"'trials' has to be a whole number.*row 3"):
        read_responses(frame(trials=[1, 2, trials]), IDS)


def test_a_pair_that_stands_twice_is_refused_with_the_later_row():
    with pytest.raises(SchemaError, match=r"one row only.*row 3: A -> B.*\(1 in all\)"):
        read_responses(frame(stimulated=["A", "A", "A"], responding=["B", "C", "B"]), IDS)


def test_both_directions_of_a_pair_are_two_pairs():
    responses, _ = read_responses(frame(stimulated=["A", "B", "C"], responding=["B", "A", "A"]), IDS)
    assert responses.n_rows == 3


def test_a_map_of_other_neurons_is_refused_with_both_kinds_of_names():
    with pytest.raises(SchemaError, match=r"'A', 'B', 'C' \(3 in all\).*720, 721"):
        read_responses(frame(), (720, 721))


def test_a_map_without_a_usable_row_is_refused():
    with pytest.raises(SchemaError, match=r"No row .* is left: .*not finite"):
        read_responses(frame(effect=[np.nan] * 3), IDS)


def test_missing_names_are_unmatched():
    table = pa.table(
        {"stimulated": ["A", None], "responding": ["B", "C"], "effect": [1.0, 1], "trials": [1, 1], "q": [0.1, 1]}
    )
    responses, report = read_responses(table, IDS)
    assert responses.n_rows == 1
    assert report.find("unmatched_id")[0].rows_removed == 1
