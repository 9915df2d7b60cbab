"""Bad tables get one clear error: the table, the column, the rule, the first five rows, how many, and what to do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import (
    MissingFileError,
    Policies,
    SchemaError,
    SettingError,
    SignPolicy,
    UnknownNameError,
    read_connectome,
)
from connectofit.data import CELEGANS_COLUMNS, celegans_paths

NEURONS = pa.table({"id": ["a", "b", "c"]})
EDGES = {"pre": ["a", "b", "c"], "post": ["b", "c", "a"], "count": [1, 2, 3]}


def edges(**changes: Any) -> pa.Table:
    return pa.table({**EDGES, **changes})


def csv(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text)
    return path


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    csv(tmp_path, "pre,post,count\na,b,1\n")
    with pytest.raises(MissingFileError, match=r"edgs\.csv.*does not exist.*Did you mean 'edges\.csv'"):
        read_connectome(tmp_path / "edgs.csv")
    with pytest.raises(MissingFileError, match=r"nowhere.* is missing"):
        read_connectome(tmp_path / "nowhere" / "edges.csv")
    with pytest.raises(FileNotFoundError):
        read_connectome(str(tmp_path / "edgs.csv"))


def test_a_folder_and_an_unknown_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="is a folder"):
        read_connectome(tmp_path)
    (tmp_path / "edges.xlsx").write_text("x")
    with pytest.raises(SchemaError, match=r"edges\.xlsx ends in '\.xlsx'; the formats read are \.csv"):
        read_connectome(tmp_path / "edges.xlsx")
    with pytest.raises(SchemaError, match=r"The edges are a list; give the path"):
        read_connectome([("a", "b")])  # type: ignore[arg-type]


def test_a_misspelt_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"No column named 'wieght' in the edges table \(.*\)\. Did you mean 'weight'"
    ):
        read_connectome(celegans_paths()["edges"], columns={**CELEGANS_COLUMNS, "count": "wieght"})
    paths = celegans_paths()
    with pytest.raises(UnknownNameError, match=r"No column named 'nme' in the neurons table.*Did you mean 'name'"):
        read_connectome(paths["edges"], paths["neurons"], columns={**CELEGANS_COLUMNS, "id": "nme"})
    with pytest.raises(UnknownNameError, match=r"canonical column named 'cuont' in columns\. Did you mean 'count'"):
        read_connectome(edges(), columns={"cuont": "count"})


def test_a_required_column_that_is_missing_names_the_columns_there_are() -> None:
    table = pa.table({"source": ["a"], "post": ["b"], "count": [1]})
    with pytest.raises(
        SchemaError, match=r"needs the column 'pre'; its columns are 'source', 'post', 'count'.*Declare"
    ):
        read_connectome(table)
    with pytest.raises(SchemaError, match=r"needs the column 'count'.*columns=\{'count': None\}"):
        read_connectome(pa.table({"pre": ["a"], "post": ["b"], "weight": [1]}))
    with pytest.raises(SchemaError, match=r"neurons table .* needs the column 'id'"):
        read_connectome(edges(), pa.table({"name": ["a"]}))


def test_an_empty_table_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"The edges table \(edges\.csv\) is empty: it has no data rows"):
        read_connectome(csv(tmp_path, "pre,post,count\n"))
    with pytest.raises(SchemaError, match=r"edges\.csv is empty: it has not even a header"):
        read_connectome(csv(tmp_path, ""))
    with pytest.raises(SchemaError, match=r"The neurons table .* is empty"):
        read_connectome(edges(), NEURONS.slice(0, 0))


def test_a_value_that_is_not_a_number_is_named_by_its_row(tmp_path: Path) -> None:
    text = "pre,post,count\na,b,1\nb,c,many\nc,a,3\na,c,4x\n"
    with pytest.raises(
        SchemaError, match=r"'count' of the edges table.*not a number in row 2: 'many', row 4: '4x' \(2 in all"
    ):
        read_connectome(csv(tmp_path, text))
    with pytest.raises(SchemaError, match="holds bool, but the count must be a number"):
        read_connectome(edges(count=[True, False, True]))


def test_rows_count_from_one_after_the_header_and_at_most_five_are_shown(tmp_path: Path) -> None:
    text = "pre,post,count\n" + "a,b,?\n" * 7
    with pytest.raises(SchemaError, match=r"row 1: '\?', .*row 5: '\?', \.\.\. \(7 in all; rows are .* counted from 1"):
        read_connectome(csv(tmp_path, text))


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_missing_nan_and_infinite_weights_are_refused(value: float | None) -> None:
    with pytest.raises(SchemaError, match=r"'count' of the edges table.*(missing or NaN|not finite) in row 2"):
        read_connectome(edges(count=pa.array([1.0, value, 2.0], pa.float64(), from_pandas=False)))


def test_missing_and_nan_weights_in_csv_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"missing in row 1: missing \(1 in all"):
        read_connectome(csv(tmp_path, "pre,post,count\na,b,\nb,a,1\n"))
    with pytest.raises(SchemaError, match=r"not finite|NaN in row 2"):
        read_connectome(csv(tmp_path, "pre,post,count\na,b,1\nb,a,nan\n"))


def test_negative_weights_are_refused_unless_declared_signed() -> None:
    table = edges(count=[1, -2, 3])
    with pytest.raises(SchemaError, match=r"counts cannot be negative.*'signed_weight'.*negative in row 2: -2"):
        read_connectome(table)
    connectome, _ = read_connectome(table, columns={"signed_weight": "count"})
    assert [(u, v, d["count"], d["sign"]) for u, v, d in connectome.edges(data=True)] == [
        ("a", "b", 1, 1),
        ("b", "c", 2, -1),
        ("c", "a", 3, 1),
    ]


def test_a_negative_gap_junction_is_refused() -> None:
    table = pa.table({"pre": ["a"], "post": ["b"], "w": [-1], "kind": ["electrical"]})
    with pytest.raises(SchemaError, match=r"gap junctions have no sign.*row 1"):
        read_connectome(table, columns={"signed_weight": "w"})


def test_a_table_of_zeros_alone_is_refused() -> None:
    with pytest.raises(SchemaError, match="every value is 0"):
        read_connectome(edges(count=[0, 0, 0]))


def test_tables_of_different_connectomes_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"belong to another connectome: 3 of 3 edges .* 100% .*'a'.*'x', 'y'"):
        read_connectome(edges(), pa.table({"id": ["x", "y"]}))
    limit = Policies(max_unmatched=0.1)
    paths = celegans_paths()
    with pytest.raises(SchemaError, match="1573 of 7379 edges join one of 148 ids"):
        read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS, policies=limit)


def test_unmatched_ids_that_differ_in_spelling_are_explained() -> None:
    table = pa.table({"pre": ["VA01", "vb1", "DA1"], "post": ["DA1", "DA1", "DA1 "], "count": [1, 1, 1]})
    neurons = pa.table({"id": ["VA1", "VB1", "DA1"]})
    with pytest.raises(SchemaError, match="1 would match without leading zeros"):
        read_connectome(table, neurons)
    _, report = read_connectome(table, neurons, policies=Policies(max_unmatched=1))
    message = report.find("unmatched_id")[0].message
    assert "1 would match without the blanks" in message
    assert "1 would match in the same case" in message


def test_unmatched_ids_are_an_error_where_the_policy_says_so() -> None:
    with pytest.raises(SchemaError, match=r"row 2: 'c', row 3: 'c' \(2 in all.*'drop' or 'keep'"):
        read_connectome(edges(), pa.table({"id": ["a", "b"]}), policies=Policies(unmatched="error", max_unmatched=1))


@pytest.mark.parametrize("text", ["7.20575940596126e+17", "720575940596125868.0", "7.2E17", "12."])
def test_text_ids_that_went_through_a_float_are_refused(text: str) -> None:
    with pytest.raises(SchemaError, match=r"'pre' of the edges table.*went through a float.*row 2"):
        read_connectome(edges(pre=["a", text, "c"]))


def test_float_ids_are_refused_with_the_reason() -> None:
    with pytest.raises(SchemaError, match=r"ids as double: a float cannot hold integers above 2\^53"):
        read_connectome(edges(pre=[1.0, 2.0, 3.0]))
    frame = pd.DataFrame({"pre": [1, 2, None], "post": [1, 2, 3], "count": 1})
    with pytest.raises(SchemaError, match="when it has missing values"):
        read_connectome(frame)


def test_names_with_digits_and_letters_are_no_floats() -> None:
    names = ["1e5", "E10", "5.e", "1.2.3"]
    connectome, _ = read_connectome(pa.table({"pre": names, "post": names[::-1], "count": [1] * 4}))
    assert set(connectome.ids) == set(names)


def test_missing_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"'post' .*an id is missing in row 2: missing"):
        read_connectome(csv(tmp_path, "pre,post,count\na,b,1\nb,,2\n"))
    with pytest.raises(SchemaError, match=r"an id is missing in row 3"):
        read_connectome(edges(pre=["a", "b", ""]))
    with pytest.raises(SchemaError, match=r"'id' of the neurons table.*missing in row 1"):
        read_connectome(edges(), pa.table({"id": [None, "a"]}))


def test_repeated_neuron_ids_are_refused_with_both_rows() -> None:
    with pytest.raises(SchemaError, match=r"row 3: 'a' \(first in row 1\), row 4: 'b' \(first in row 2\) \(2 in all"):
        read_connectome(edges(), pa.table({"id": ["a", "b", "a", "b", "c"]}))


@pytest.mark.parametrize(
    ("text", "rule"),
    [("x1", "not an integer"), ("007", "not an integer"), ("1.5", "not an integer"), ("9223372036854775808", "int64")],
)
def test_text_that_is_not_an_int64_is_refused_where_int64_is_wanted(text: str, rule: str) -> None:
    with pytest.raises(SchemaError, match=rf"{rule} in row 3: '{text}'"):
        read_connectome(edges(pre=["1", "2", text], post=["2", "1", "1"]), id_type="int64")


def test_unsigned_ids_beyond_int64_are_refused() -> None:
    large = pa.array([1, 2, 2**63], pa.uint64())
    with pytest.raises(SchemaError, match=r"does not fit into int64 in row 3"):
        read_connectome(edges(pre=large, post=pa.array([2, 1, 1], pa.uint64())))


def test_counts_beyond_int64_are_rounded_to_floats() -> None:
    large = pa.array([1, 2**53 + 1, 2**64 - 1], pa.uint64())
    assert sorted(read_connectome(edges(count=large))[0].count.tolist()) == [1.0, 2.0**53, 2.0**64]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(
        SchemaError, match=r"'kind'.*none of \['chemical', 'electrical'\] in row 2: 'gap', row 3: missing"
    ):
        read_connectome(edges(kind=["chemical", "gap", None]))
    kinds = Policies(kinds={"chemical": "chemical", "gap": "electrical"})
    assert read_connectome(edges(kind=["chemical", "gap", "gap"]), policies=kinds)[0].electrical.n_edges == 4


def test_a_sign_that_the_policy_does_not_list_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"does not say what these values mean: row 1: 'exc'.*SignPolicy\.values"):
        read_connectome(edges(sign=["exc", "+", None]))
    with pytest.raises(SchemaError, match=r"must be -1, 0 or 1, .*row 2: 5.*signed_weight"):
        read_connectome(edges(sign=[1, 5, -1]))


def test_edges_without_any_sign_are_an_error_where_the_policy_says_so() -> None:
    with pytest.raises(SchemaError, match=r"row 2: b -> c.*SignPolicy\.unknown"):
        read_connectome(edges(sign=["+", None, "-"]), policies=Policies(sign=SignPolicy(unknown="error")))


def test_repeated_column_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"more than one column named 'pre'"):
        read_connectome(csv(tmp_path, "pre,pre,count\na,b,1\n"))
    with pytest.raises(SchemaError, match=r"more than one column named 'pre'"):
        read_connectome(pd.DataFrame([["a", "b", 1]], columns=["pre", "pre", "count"]))


def test_a_mapping_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"columns uses 'pre' .* for more than one thing"):
        read_connectome(pa.table({"pre": ["a"], "w": [1]}), columns={"post": "pre", "count": "w"})
    with pytest.raises(SchemaError, match="also has a column named 'count'"):
        read_connectome(edges(weight=[1, 1, 1]), columns={"count": "weight"})
    with pytest.raises(SchemaError, match=r"both a count .* and a signed_weight"):
        read_connectome(edges(w=[1, 1, 1]), columns={"count": "count", "signed_weight": "w"})
    with pytest.raises(SettingError, match="required"):
        read_connectome(edges(), columns={"pre": None})


def test_mixed_types_in_a_frame_are_named_by_row() -> None:
    frame = pd.DataFrame({"pre": ["a", 5, "c"], "post": ["b", "c", "a"], "count": 1}, dtype=object)
    with pytest.raises(
        SchemaError, match=r"'pre' of the edges frame mixes types: most values are str, but row 2: 5 \(int\)"
    ):
        read_connectome(frame)


def test_settings_that_do_not_exist_name_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"Policies\.unmatched is 'dorp'.*Did you mean 'drop'"):
        Policies(unmatched="dorp")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"setting named 'self_loop' in Policies\. Did you mean 'self_loops'"):
        Policies.from_dict({"self_loop": "drop"})
    with pytest.raises(UnknownNameError, match=r"'transmiter'.*Did you mean 'transmitter'"):
        SignPolicy(order=("transmiter", "unknown"))
    with pytest.raises(SettingError, match="'unknown' must be last"):
        SignPolicy(order=("edge",))
    with pytest.raises(SettingError, match="must map to -1, 0 or 1"):
        SignPolicy(values={"+": 2})
    with pytest.raises(SettingError, match="between 0 and 1"):
        Policies(max_unmatched=3)
    with pytest.raises(UnknownNameError, match=r"Policies\.type_column"):
        read_connectome(edges(), pa.table({"id": ["a", "b", "c"]}), policies=Policies(type_column="class"))
    with pytest.raises(SettingError, match="id_type is 'int32'"):
        read_connectome(edges(), id_type="int32")


def test_ids_in_csv_that_went_through_a_float_are_named_by_row(tmp_path: Path) -> None:
    text = "pre,post,count\n720575940596125868,2,1\n7.20575940596126e+17,2,1\n720575940596125870.0,123.0,1\n"
    for id_type in (None, "int64"):
        with pytest.raises(
            SchemaError,
            match=r"Column 'pre' of the edges table \(edges\.csv\): the id went through a float .* in row 2: "
            r"'7\.20575940596126e\+17', row 3: '720575940596125870\.0' \(2 in all.*export the ids again",
        ):
            read_connectome(csv(tmp_path, text), id_type=id_type)


def test_a_parquet_column_of_float_ids_is_refused_whatever_its_values(tmp_path: Path) -> None:
    pa_parquet.write_table(edges(pre=[1, 2, 3], post=[1.0, 2.0, 720575940596125868.0]), tmp_path / "edges.parquet")
    for id_type in (None, "int64", "string"):
        with pytest.raises(
            SchemaError, match=r"Column 'post' of the edges table \(edges\.parquet\) holds ids as double"
        ):
            read_connectome(tmp_path / "edges.parquet", id_type=id_type)


def test_integers_that_are_written_otherwise_than_printed_are_other_ids_and_no_int64(tmp_path: Path) -> None:
    path = csv(tmp_path, "pre,post,count\n7,007,1\n0x1F,-0,2\n")
    assert read_connectome(path)[0].ids == ("-0", "007", "0x1F", "7")
    with pytest.raises(SchemaError, match=r"the id is not an integer in row 2: '0x1F' \(1 in all"):
        read_connectome(path, id_type="int64")
    with pytest.raises(SchemaError, match=r"the id is not an integer in row 1: '007', row 2: '-0' \(2 in all"):
        read_connectome(csv(tmp_path, "pre,post,count\n7,007,1\n8,-0,2\n"), id_type="int64")


def test_ids_with_line_breaks_and_other_control_characters_are_refused(tmp_path: Path) -> None:
    # A quotation mark that is not closed swallows the rows that follow.
    with pytest.raises(
        SchemaError, match=r"'post'.*line break .* in row 2: 'c,2\\na,c,3\\n' \(1 in all.*quotation mark"
    ):
        read_connectome(csv(tmp_path, 'pre,post,count\na,b,1\nb,"c,2\na,c,3\n",4\n'))
    with pytest.raises(SchemaError, match=r"'pre'.*control character in row 1: 'a\\x00'"):
        read_connectome(csv(tmp_path, "pre,post,count\na\0,b,1\n"))


@pytest.mark.parametrize("value", ["0x1F", "1_000", "1e", "--1", "1,5", "٣"])
def test_values_that_other_programs_might_take_for_numbers_are_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SchemaError, match=rf"the value is not a number in row 2: '{value}' \(1 in all"):
        read_connectome(csv(tmp_path, f'pre,post,count\na,b,1\nb,a,"{value}"\n'))


def test_a_number_too_large_for_a_float_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"the value is not finite in row 2: '1e999'"):
        read_connectome(csv(tmp_path, "pre,post,count\na,b,1\nb,a,1e999\n"))


def test_blanks_around_numbers_and_signs_in_front_are_read(tmp_path: Path) -> None:
    connectome, _ = read_connectome(csv(tmp_path, "pre,post,count\na,b, 1\nb,a,2 \na,a,3\n"))
    assert sorted(connectome.count.tolist()) == [1, 2, 3]
    assert str(connectome.count.dtype) == "int32"
    assert sorted(read_connectome(csv(tmp_path, "pre,post,count\na,b,+1\nb,a,2.5\n"))[0].count.tolist()) == [1, 2.5]


@pytest.mark.parametrize("name", ["count", "signed_weight"])
def test_a_csv_whose_weights_are_all_zero_is_refused(tmp_path: Path, name: str) -> None:
    path = csv(tmp_path, "pre,post,w\na,b,0\nb,a,0.0\n")
    for policy in (Policies(), Policies(zero_counts="keep")):
        with pytest.raises(
            SchemaError, match=r"Column 'w' of the edges table \(edges\.csv\): every value is 0\. Check"
        ):
            read_connectome(path, columns={name: "w"}, policies=policy)


def test_zeros_on_the_edges_that_remain_are_no_table_of_zeros() -> None:
    connectome, report = read_connectome(
        edges(count=[0, 5, 0]), pa.table({"id": ["a", "b"]}), policies=Policies(max_unmatched=1)
    )
    assert connectome.n_edges == 0
    assert report.find("zero_count")[0].count == 1


def test_repeated_neuron_ids_in_csv_are_named_with_the_first_row_of_each(tmp_path: Path) -> None:
    (tmp_path / "neurons.csv").write_text("id,note\n7,x\n8,y\n7,z\n9,\n8,\n7,\n")
    path = csv(tmp_path, "pre,post,count\n7,8,1\n")
    with pytest.raises(
        SchemaError,
        match=r"Column 'id' of the neurons table \(neurons\.csv\) must name every neuron once, but ids are repeated in "
        r"row 3: '7' \(first in row 1\), row 5: '8' \(first in row 2\), row 6: '7' \(first in row 1\) \(3 in all",
    ):
        read_connectome(path, tmp_path / "neurons.csv")
    with pytest.raises(SchemaError, match=r"row 3: 7 \(first in row 1\)"):
        read_connectome(path, tmp_path / "neurons.csv", id_type="int64")


def test_ten_per_cent_unmatched_is_a_warning_and_more_than_the_limit_an_error() -> None:
    n = 100
    table = pa.table({"pre": ["a"] * n, "post": ["x" if k < 10 else "b" for k in range(n)], "count": [1] * n})
    neurons = pa.table({"id": ["a", "b"]})
    for limit in (0.5, 0.1):
        (finding,) = read_connectome(table, neurons, policies=Policies(max_unmatched=limit))[1].find("unmatched_id")
        assert (finding.severity, finding.count, finding.rows_removed) == ("warning", 10, 10)
    with pytest.raises(SchemaError, match=r"10 of 100 edges join one of 1 id that .* which is 10% and more than .*=9%"):
        read_connectome(table, neurons, policies=Policies(max_unmatched=0.09))


def test_mixed_id_types_name_both_tables_and_the_remedy(tmp_path: Path) -> None:
    pa_parquet.write_table(edges(pre=[1, 2, 3]), tmp_path / "edges.parquet")
    with pytest.raises(
        SchemaError,
        match=r"id columns have different types: 'pre' of the edges table \(edges\.parquet\) holds int64; 'post' of "
        r"the edges table \(edges\.parquet\) holds string.*id_type='int64' or 'string'",
    ):
        read_connectome(tmp_path / "edges.parquet")
    with pytest.raises(SchemaError, match=r"'post' .* the id is not an integer in row 1: 'b', row 2: 'c', row 3: 'a'"):
        read_connectome(tmp_path / "edges.parquet", id_type="int64")
    assert read_connectome(tmp_path / "edges.parquet", id_type="string")[0].n_neurons == 6


def test_categories_that_no_row_has_are_no_neurons() -> None:
    frame = pd.DataFrame({"pre": ["a", "b"], "post": ["b", "a"], "count": [1, 2]})
    categories = pd.CategoricalDtype(["z", "b", "a"])
    frame = frame.astype({"pre": categories, "post": categories})
    assert read_connectome(frame)[0].ids == ("a", "b")
    neurons = pd.DataFrame({"id": pd.Categorical(["b", "a"], ["z", "a", "b"])})
    assert read_connectome(frame, neurons)[0].ids == ("b", "a")


@pytest.mark.parametrize("value", [1 + 2j, object()], ids=["complex", "object"])
def test_frames_with_values_that_tables_cannot_hold_are_refused(value: object) -> None:
    frame = pd.DataFrame({"pre": ["a", "b"], "post": ["b", "a"], "count": [1, 2], "odd": [value, value]})
    with pytest.raises(
        SchemaError, match=r"Column 'odd' of the edges frame holds values of the type \w+, which tables"
    ):
        read_connectome(frame)


def test_frames_whose_column_names_are_equal_as_text_are_refused() -> None:
    frame = pd.DataFrame([["a", "b", 1, 5, 6]], columns=["pre", "post", "count", 1, "1"])
    with pytest.raises(SchemaError, match=r"The edges frame has more than one column named '1' \(1 in all\)"):
        read_connectome(frame)
