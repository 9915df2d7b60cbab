"""Zero counts, self-loops, duplicates and gap junctions given twice: each policy does what it says, and is counted."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
import pytest

from connectofit.connectome import (
    Connectome,
    Policies,
    SchemaError,
    SettingError,
    SignPolicy,
    ValidationReport,
    read_connectome,
)

Row = tuple[str, str, float, str]


def read(
    rows: list[Row], columns: dict[str, Any] | None = None, **policies: Any
) -> tuple[Connectome, ValidationReport]:
    pre, post, count, kind = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"pre": pre, "post": post, "count": count, "kind": kind, "row": list(range(len(rows)))})
    return read_connectome(table, columns=columns, policies=Policies(**policies))


def counts(connectome: Connectome) -> dict[tuple[str, str, str], float]:
    return {(u, v, kind): count for u, v, kind, count in connectome.edges(data="count", keys=True)}


def gap(pre: str, post: str, count: float) -> Row:
    return (pre, post, count, "electrical")


def syn(pre: str, post: str, count: float) -> Row:
    return (pre, post, count, "chemical")


@pytest.mark.parametrize(("policy", "joint", "single"), [("max", 5, 7), ("sum", 8, 7), ("mean", 4, 7)])
def test_a_gap_junction_given_twice_counts_once(policy: str, joint: float, single: float) -> None:
    connectome, report = read([gap("b", "a", 3), gap("a", "b", 5), gap("c", "b", 7)], electrical_pairs=policy)
    assert counts(connectome) == {
        ("a", "b", "electrical"): joint,
        ("b", "a", "electrical"): joint,
        ("b", "c", "electrical"): single,
        ("c", "b", "electrical"): single,
    }
    (one,), (differ,) = report.find("electrical_one_direction"), report.find("electrical_different_counts")
    assert (one.count, one.rows_added, one.examples) == (1, 1, ((3, "c -> b"),))
    assert (differ.count, differ.examples) == (2, ((1, "b -> a"), (2, "a -> b")))


def test_a_direction_whose_other_one_had_the_count_zero_is_completed_and_counted() -> None:
    connectome, report = read([gap("a", "b", 0), gap("b", "a", 3)])
    assert counts(connectome) == {("a", "b", "electrical"): 3, ("b", "a", "electrical"): 3}
    (finding,) = report.find("electrical_one_direction")
    assert (finding.count, finding.rows_added, finding.examples) == (1, 1, ((2, "b -> a"),))
    assert accounts(connectome, report) == (2, 1, 1, 2)


def test_means_that_are_not_whole_become_floats() -> None:
    connectome, _ = read([gap("a", "b", 3), gap("b", "a", 4)], electrical_pairs="mean")
    assert connectome.count.tolist() == [3.5, 3.5]


def test_unequal_gap_junctions_can_be_refused() -> None:
    with pytest.raises(SchemaError, match=r"row 2: b -> c.*electrical_pairs"):
        read([syn("a", "b", 1), gap("b", "c", 1)], electrical_pairs="error")
    connectome, _ = read([gap("c", "b", 1), gap("b", "c", 1)], electrical_pairs="error")
    assert connectome.n_edges == 2


def test_each_direction_keeps_its_own_further_columns() -> None:
    connectome, _ = read([gap("a", "b", 3), gap("b", "a", 3), gap("b", "c", 1)])
    assert {(u, v): row for u, v, row in connectome.edges(data="row")} == {
        ("a", "b"): 0, ("b", "a"): 1, ("b", "c"): 2, ("c", "b"): 2,
    }  # fmt: skip


def test_self_loops_are_dropped_from_gap_junctions_and_kept_in_chemical_edges() -> None:
    rows = [gap("a", "a", 1), syn("a", "a", 2), syn("a", "b", 3)]
    assert counts(read(rows)[0]) == {("a", "a", "chemical"): 2, ("a", "b", "chemical"): 3}
    kept, report = read(rows, self_loops="keep", chemical_self_loops="drop")
    assert counts(kept) == {("a", "a", "electrical"): 1, ("a", "b", "chemical"): 3}
    assert [(finding.policy, finding.rows_removed) for finding in report.find("self_loop")] == [
        ("self_loops=keep", 0),
        ("chemical_self_loops=drop", 1),
    ]
    with pytest.raises(SchemaError, match=r"electrical self-loops: row 1: a -> a"):
        read(rows, self_loops="error")


@pytest.mark.parametrize(("policy", "count"), [("sum", 6), ("max", 4)])
def test_rows_of_the_same_pre_post_and_kind_are_merged(policy: str, count: int) -> None:
    rows = [syn("a", "b", 2), gap("a", "b", 1), gap("b", "a", 1), syn("a", "b", 4), syn("b", "a", 5)]
    connectome, report = read(rows, duplicates=policy)
    assert counts(connectome)["a", "b", "chemical"] == count
    assert connectome.n_edges == 4
    (finding,) = report.find("duplicate_edge")
    assert (finding.count, finding.rows_removed, finding.examples) == (1, 1, ((4, "a -> b"),))
    assert report.rows_kept["edges"] == 4
    with pytest.raises(SchemaError, match=r"same pre, post and kind: row 4: a -> b \(1 in all"):
        read(rows, duplicates="error")


def test_merged_rows_of_both_signs_take_the_sign_with_the_larger_summed_count() -> None:
    table = pa.table({"pre": ["a"] * 3 + ["b"] * 2, "post": ["b"] * 3 + ["a"] * 2, "w": [2, -3, 2, 1, -1]})
    connectome, report = read_connectome(
        table, columns={"signed_weight": "w"}, policies=Policies(sign=SignPolicy(unknown=0))
    )
    assert connectome.count.tolist() == [7, 2]
    assert connectome.sign.tolist() == [1, 0]
    assert report.find("duplicate_sign")[0].count == 2


def test_edges_with_the_count_zero_follow_the_policy() -> None:
    rows = [syn("a", "b", 0), syn("b", "a", 2)]
    dropped, report = read(rows)
    assert counts(dropped) == {("b", "a", "chemical"): 2}
    assert dropped.ids == ("a", "b")
    assert report.find("zero_count")[0].rows_removed == 1
    assert counts(read(rows, zero_counts="keep")[0])["a", "b", "chemical"] == 0
    with pytest.raises(SchemaError, match=r"count is 0 in row 1: a -> b"):
        read(rows, zero_counts="error")


def test_counts_that_are_not_whole_stay_floats_and_whole_ones_are_int32() -> None:
    assert read([syn("a", "b", 1.5), syn("b", "a", 2)])[0].count.tolist() == [1.5, 2.0]
    assert str(read([syn("a", "b", 1)])[0].count.dtype) == "int32"
    assert str(read([syn("a", "b", 2**40)])[0].count.dtype) == "float64"


def test_edges_of_a_dropped_neuron_are_dropped_and_reported() -> None:
    edges = pa.table({"pre": ["a", "b", "c"], "post": ["b", "c", "a"], "count": [1, 1, 1]})
    neurons = pa.table({"id": ["a", "b", "c"], "cell_class": ["P", "Q", None], "transmitter": ["ACh", None, ""]})
    connectome, report = read_connectome(edges, neurons)
    assert (connectome.ids, list(connectome.edges())) == (("a", "b"), [("a", "b")])
    assert report.find("edge_of_dropped_neuron")[0].rows_removed == 2
    kept, _ = read_connectome(edges, neurons, policies=Policies(untyped_neurons="keep"))
    assert kept.n_edges == 3
    with pytest.raises(SchemaError, match=r"neither a type .* row 3: c"):
        read_connectome(edges, neurons, policies=Policies(untyped_neurons="error"))


def test_dropped_neurons_and_kept_unmatched_ids_do_not_mix() -> None:
    edges = pa.table({"pre": ["a", "b", "c", "z"], "post": ["b", "c", "a", "a"], "count": [1, 2, 3, 4]})
    neurons = pa.table({"id": ["a", "c", "b"], "cell_class": ["P", None, "Q"]})
    connectome, report = read_connectome(edges, neurons, policies=Policies(unmatched="keep"))
    assert connectome.ids == ("a", "b", "z")
    assert list(connectome.edges(data="count")) == [("a", "b", 1), ("z", "a", 4)]
    assert report.rows_kept == {"edges": 2, "neurons": 2}


def accounts(connectome: Connectome, report: ValidationReport) -> tuple[int, int, int, int]:
    """Rows in, rows removed, edges added, edges: ``in - removed + added`` are the edges."""
    removed = sum(finding.rows_removed for finding in report.findings if finding.table == "edges")
    added = sum(finding.rows_added for finding in report.findings)
    assert report.rows_kept["edges"] == report.rows_in["edges"] - removed
    return report.rows_in["edges"], removed, added, connectome.n_edges


def test_weak_connections_are_dropped_after_their_rows_are_merged() -> None:
    rows = [syn("a", "b", 2), syn("a", "c", 3), syn("a", "b", 3), syn("b", "c", 4), syn("c", "a", 5)]
    connectome, report = read(rows, min_count=5)
    assert counts(connectome) == {("a", "b", "chemical"): 5, ("c", "a", "chemical"): 5}
    (finding,) = report.find("weak_connection")
    assert (finding.count, finding.rows_removed, finding.policy) == (2, 2, "min_count=5")
    assert finding.examples == ((2, "a -> c"), (4, "b -> c"))
    assert accounts(connectome, report) == (5, 3, 0, 2)
    assert not read(rows, min_count=3)[1].find("weak_connection")
    assert counts(read([syn("a", "b", 2.4), syn("b", "a", 2.5)], min_count=2.5)[0]) == {("b", "a", "chemical"): 2.5}


def test_weak_gap_junctions_go_in_both_directions_or_not_at_all() -> None:
    # a-b: 3 and 5, the larger is 5; c-b: in one direction only; a-c: 1 and 1.
    rows = [gap("a", "b", 3), gap("b", "a", 5), gap("c", "b", 2), gap("a", "c", 1), gap("c", "a", 1)]
    connectome, report = read(rows, min_count=4)
    assert counts(connectome) == {("a", "b", "electrical"): 5, ("b", "a", "electrical"): 5}
    (finding,) = report.find("weak_connection")
    assert (finding.count, finding.rows_removed, finding.rows_added) == (4, 3, -1)
    assert accounts(connectome, report) == (5, 3, 0, 2)
    assert accounts(*read(rows, min_count=2)) == (5, 2, 1, 4)
    assert counts(read(rows, min_count=8, electrical_pairs="sum")[0]) == counts(connectome) | {
        ("a", "b", "electrical"): 8,
        ("b", "a", "electrical"): 8,
    }


def test_a_threshold_above_all_counts_leaves_neurons_only() -> None:
    connectome, report = read([syn("a", "b", 1), syn("b", "a", 2)], min_count=10)
    assert (connectome.ids, connectome.n_edges) == (("a", "b"), 0)
    assert report.find("no_edges_left")


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "5", None])
def test_a_threshold_that_is_no_count_is_refused(value: Any) -> None:
    with pytest.raises(SettingError, match=r"Policies\.min_count is .*; it must be"):
        Policies(min_count=value)


def test_thresholds_come_back_from_plain_values() -> None:
    assert Policies.from_dict(Policies(min_count=5).to_dict()) == Policies(min_count=5)


def test_sums_of_counts_do_not_overflow() -> None:
    connectome, _ = read_connectome(
        pa.table({"pre": ["a"] * 3, "post": ["b"] * 3, "count": pa.array([2**30] * 3, pa.int32())})
    )
    assert connectome.count.tolist() == [3 * 2.0**30]
    signed = pa.table({"pre": ["a", "b"], "post": ["b", "a"], "w": pa.array([-128, 127], pa.int8())})
    assert read_connectome(signed, columns={"signed_weight": "w"})[0].count.tolist() == [128, 127]


def test_rows_in_any_order_give_the_same_edges() -> None:
    rows = [syn("b", "a", 1), gap("a", "b", 2), syn("a", "b", 3), syn("a", "a", 4), gap("b", "a", 2), syn("c", "a", 6)]
    expected = counts(read(rows)[0])
    assert expected == {(pre, post, kind): count for pre, post, count, kind in rows}
    for order in list(itertools.permutations(range(6)))[::17]:
        assert counts(read([rows[k] for k in order])[0]) == expected


@pytest.mark.parametrize(
    ("rows", "rule", "text"),
    [
        ([syn("a", "b", 0), syn("b", "a", 1)], "zero_count", "1 edge has the count 0"),
        ([syn("a", "b", 0), syn("b", "a", 0), syn("c", "a", 1)], "zero_count", "2 edges have the count 0"),
        ([gap("a", "b", 1)], "electrical_one_direction", "1 gap junction stands in one direction only"),
        ([syn("a", "b", 1), syn("a", "b", 1)], "duplicate_edge", "1 row repeats the pre, post and kind"),
        ([syn("a", "b", 1)] * 3, "duplicate_edge", "2 rows repeat the pre, post and kind"),
        ([syn("a", "a", 1), syn("a", "b", 1)], "self_loop", "1 chemical edge leads from a neuron to itself"),
        (
            [gap("a", "b", 1), syn("a", "b", 1)],
            "both_kinds",
            "1 ordered pair of kept neurons (1 in the whole table) is",
        ),
    ],
)
def test_findings_count_in_grammar(rows: list[Row], rule: str, text: str) -> None:
    (finding,) = read(rows)[1].find(rule)
    assert finding.message.startswith(text)
