"""Rows of a connection by region are its parts: added up, kept by region, and never taken for duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, Policies, SchemaError, SignPolicy, read_connectome, region_table

BY_REGION = {"region": "area"}


def edges(*rows: tuple[Any, ...], names: str = "pre post area count") -> pa.Table:
    return pa.table(dict(zip(names.split(), map(list, zip(*rows, strict=True)), strict=True)))


def regions(connectome: Connectome) -> dict[tuple[str, str, str], dict[Any, float]]:
    table = connectome.edge_table()
    names = ("pre", "post", "kind", "region", "region_count")
    columns = [table.column(name).to_pylist() for name in names]
    return {
        key: dict(zip(area, count, strict=True))
        for *key_, area, count in zip(*columns, strict=True)
        for key in [tuple(key_)]
    }


def test_the_parts_of_a_connection_are_added_and_kept() -> None:
    table = edges(("a", "b", "X", 3), ("b", "a", "X", 4), ("a", "b", "Y", 5), ("a", "c", "Z", 1), ("a", "b", "Z", 2))
    found, report = read_connectome(table, columns=BY_REGION)
    assert regions(found) == {
        ("a", "b", "chemical"): {"X": 3, "Y": 5, "Z": 2},
        ("a", "c", "chemical"): {"Z": 1},
        ("b", "a", "chemical"): {"X": 4},
    }
    assert found.count.tolist() == [10, 1, 4]
    assert "area" not in found.edge_columns.column_names
    finding = report.find("region_rows")[0]
    assert (finding.severity, finding.rows_removed, finding.column) == ("info", 2, "area")
    assert not report.find("duplicate_edge")
    assert (report.rows_in["edges"], report.rows_kept["edges"]) == (5, 3)


def test_rows_that_repeat_the_region_too_are_duplicates() -> None:
    table = edges(("a", "b", "X", 3), ("a", "b", "Y", 5), ("a", "b", "X", 4))
    found, report = read_connectome(table, columns=BY_REGION)
    assert regions(found) == {("a", "b", "chemical"): {"X": 7, "Y": 5}}
    assert found.count.tolist() == [12]
    finding = report.find("duplicate_edge")[0]
    assert (finding.count, finding.rows_removed, finding.examples) == (1, 1, ((3, "a -> b"),))
    assert report.find("region_rows")[0].rows_removed == 1
    assert report.rows_kept["edges"] == 1
    largest, _ = read_connectome(table, columns=BY_REGION, policies=Policies(duplicates="max"))
    assert regions(largest) == {("a", "b", "chemical"): {"X": 4, "Y": 5}}
    assert largest.count.tolist() == [9]
    with pytest.raises(SchemaError, match=r"repeats the same pre, post, kind and region: row 3: a -> b \(1 in all"):
        read_connectome(table, columns=BY_REGION, policies=Policies(duplicates="error"))


def test_parts_are_no_duplicates_where_duplicates_are_refused_or_the_largest_counts() -> None:
    table = edges(("a", "b", "X", 3), ("a", "b", "Y", 5))
    for policy in ("error", "max"):
        found, _ = read_connectome(table, columns=BY_REGION, policies=Policies(duplicates=policy))  # type: ignore[arg-type]
        assert found.count.tolist() == [8]


def test_a_column_named_region_is_no_region_unless_declared() -> None:
    table = edges(("a", "b", "X", 3), ("b", "a", "Y", 5), names="pre post region count")
    plain, _ = read_connectome(table)
    assert plain.edge_columns.column("region").to_pylist() == ["X", "Y"]
    declared, _ = read_connectome(table, columns={"region": "region"})
    assert declared.edge_columns.column("region").to_pylist() == [["X"], ["Y"]]


def test_a_missing_region_is_a_part_of_its_own() -> None:
    table = edges(("a", "b", None, 3), ("a", "b", "Y", 5), ("a", "b", None, 1))
    found, report = read_connectome(table, columns=BY_REGION)
    assert regions(found) == {("a", "b", "chemical"): {None: 4, "Y": 5}}
    assert report.find("duplicate_edge")[0].count == 1


def test_regions_are_text() -> None:
    with pytest.raises(SchemaError, match=r"'area' of the edges table .* holds int64; regions must be text"):
        read_connectome(edges(("a", "b", 1, 3)), columns=BY_REGION)


def test_kinds_have_parts_of_their_own_and_gap_junctions_keep_theirs_in_both_directions() -> None:
    table = edges(
        ("a", "b", "X", 3, "chemical"),
        ("a", "b", "X", 2, "electrical"),
        ("a", "b", "Y", 4, "electrical"),
        names="pre post area count kind",
    )
    found, _ = read_connectome(table, columns=BY_REGION)
    assert regions(found) == {
        ("a", "b", "chemical"): {"X": 3},
        ("a", "b", "electrical"): {"X": 2, "Y": 4},
        ("b", "a", "electrical"): {"X": 2, "Y": 4},
    }
    assert found.count.tolist() == [3, 6, 6]


def test_signed_parts_take_the_sign_of_the_larger_sum() -> None:
    table = edges(("a", "b", "X", 3), ("a", "b", "Y", -5), ("b", "a", "X", 2))
    found, report = read_connectome(table, columns={"region": "area", "signed_weight": "count"})
    assert (found.count.tolist(), found.sign.tolist()) == ([8, 2], [-1, 1])
    assert report.find("duplicate_sign")[0].examples == ((1, "a -> b"),)


def test_parts_of_unmatched_neurons_leave_with_their_rows_accounted_for() -> None:
    table = edges(("a", "b", "X", 3), ("a", "q", "X", 1), ("a", "b", "Y", 4), ("a", "q", "Y", 1), ("b", "a", "X", 0))
    found, report = read_connectome(table, pa.table({"id": ["a", "b"]}), columns=BY_REGION)
    assert regions(found) == {("a", "b", "chemical"): {"X": 3, "Y": 4}}
    removed = sum(finding.rows_removed for finding in report.findings if finding.table == "edges")
    assert report.rows_in["edges"] == 5 == report.rows_kept["edges"] + removed
    assert report.rows_kept["edges"] == found.n_edges


def test_counts_by_region_agree_with_pandas_on_random_tables() -> None:
    rng = np.random.default_rng(0)
    n = 3_000
    frame = pd.DataFrame(
        {
            "pre": rng.integers(0, 20, n).astype(str),
            "post": rng.integers(0, 20, n).astype(str),
            "area": rng.choice(["X", "Y", "Z", "W"], n),
            "count": rng.integers(1, 9, n),
            "nt": rng.choice(["ACh", "GABA", "Glu"], n),
        }
    )
    found, report = read_connectome(frame, columns={"region": "area", "edges.transmitter": "nt"})
    table = region_table(found).to_pandas().set_index(["pre", "post", "region"])["count"].sort_index()
    expected = frame.rename(columns={"area": "region"}).groupby(["pre", "post", "region"])["count"].sum()
    pd.testing.assert_series_equal(table, expected.sort_index(), check_dtype=False)
    total = frame.groupby(["pre", "post"])["count"].sum()
    assert (
        dict(
            zip(
                zip(*(found.edge_table().column(c).to_pylist() for c in ("pre", "post")), strict=True),
                found.count.tolist(),
                strict=True,
            )
        )
        == total.to_dict()
    )
    by_nt = frame.groupby(["pre", "post", "nt"])["count"].sum().unstack(fill_value=0)
    clear = by_nt.apply(lambda row: (row == row.max()).sum() == 1, axis=1)
    largest = by_nt.idxmax(axis=1)[clear].to_dict()
    transmitters = dict(
        zip(
            zip(*(found.edge_table().column(c).to_pylist() for c in ("pre", "post")), strict=True),
            found.edge_columns.column("transmitter").to_pylist(),
            strict=True,
        )
    )
    assert {key: transmitters[key] for key in largest} == largest
    assert report.rows_kept["edges"] == len(total)


def test_a_region_table_gives_one_row_a_part() -> None:
    found, _ = read_connectome(edges(("a", "b", "X", 3), ("a", "b", None, 2), ("b", "a", "Y", 1)), columns=BY_REGION)
    assert region_table(found).to_pylist() == [
        {"pre": "a", "post": "b", "kind": "chemical", "region": "X", "count": 3},
        {"pre": "a", "post": "b", "kind": "chemical", "region": None, "count": 2},
        {"pre": "b", "post": "a", "kind": "chemical", "region": "Y", "count": 1},
    ]
    with pytest.raises(SchemaError, match="has no counts by region"):
        region_table(read_connectome(pa.table({"pre": ["a"], "post": ["b"], "count": [1]}))[0])


def test_counts_by_region_go_with_their_edges_into_subgraphs_the_store_and_networkx(tmp_path: Any) -> None:
    table = edges(("a", "b", "X", 3), ("a", "b", "Y", 5), ("b", "a", "X", 1), ("b", "c", "Z", 7))
    found, _ = read_connectome(table, columns=BY_REGION)
    assert regions(found.subgraph(["a", "b"])) == {
        ("a", "b", "chemical"): {"X": 3, "Y": 5},
        ("b", "a", "chemical"): {"X": 1},
    }
    stored = Connectome.read(found.write(tmp_path / "c"))
    assert regions(stored) == regions(found)
    graph = found.to_networkx()
    assert graph["a"]["b"]["chemical"]["region"] == ["X", "Y"]
    assert graph["a"]["b"]["chemical"]["region_count"] == [3, 5]
    assert regions(Connectome.from_networkx(graph)) == regions(found)


# ---- transmitters of edges ----


def signs(found: Connectome) -> list[tuple[Any, ...]]:
    table = found.edge_table()
    return list(zip(*(table.column(name).to_pylist() for name in ("pre", "post", "sign", "sign_source")), strict=True))


TWO = edges(
    ("a", "b", "GABA", 1), ("a", "c", "ACh", 1), ("b", "c", None, 1), ("c", "a", "", 1), names="pre post nt count"
)
NEURONS = pa.table({"id": ["a", "b", "c"], "transmitter": ["ACh", "GABA", None]})


def test_an_edge_takes_the_sign_of_its_own_transmitter_before_that_of_its_neuron() -> None:
    found, report = read_connectome(TWO, NEURONS, columns={"edges.transmitter": "nt"})
    assert signs(found) == [
        ("a", "b", -1, "edge transmitter"),
        ("a", "c", 1, "edge transmitter"),
        ("b", "c", -1, "transmitter"),
        ("c", "a", 1, "assumed"),
    ]
    finding = report.find("sign_from_edge_transmitter")[0]
    assert (finding.count, finding.severity) == (2, "info")
    assert report.find("sign_from_transmitter")[0].count == 1
    assert report.find("sign_assumed")[0].count == 1
    assert found.edge_columns.column("transmitter").to_pylist() == ["GABA", "ACh", None, None]
    assert report.columns["edges.transmitter"] == "nt"
    assert report.columns["transmitter"] == "transmitter"


def test_the_order_of_the_sources_is_a_policy() -> None:
    policy = Policies(sign=SignPolicy(order=("transmitter", "edge_transmitter", "unknown")))
    found, _ = read_connectome(TWO, NEURONS, columns={"edges.transmitter": "nt"}, policies=policy)
    assert [row[2:] for row in signs(found)][:2] == [(1, "transmitter"), (1, "transmitter")]
    without = Policies(sign=SignPolicy(order=("unknown",)))
    found, _ = read_connectome(TWO, NEURONS, columns={"edges.transmitter": "nt"}, policies=without)
    assert {row[3] for row in signs(found)} == {"assumed"}


def test_a_column_of_edges_named_transmitter_is_theirs_and_one_declared_without_table_is_of_the_neurons() -> None:
    table = edges(("a", "b", "GABA", 1), names="pre post transmitter count")
    assert signs(read_connectome(table)[0]) == [("a", "b", -1, "edge transmitter")]
    table = edges(("a", "b", "GABA", 1), names="pre post nt count")
    neurons = pa.table({"id": ["a", "b"], "nt": ["ACh", "ACh"]})
    found, _ = read_connectome(table, neurons, columns={"transmitter": "nt"})
    assert signs(found) == [("a", "b", 1, "transmitter")]
    assert found.edge_columns.column("nt").to_pylist() == ["GABA"]


def test_transmitters_of_edges_that_the_policy_does_not_list_are_reported() -> None:
    table = edges(("a", "b", "Glue", 1), ("b", "a", "ACh", 1), names="pre post transmitter count")
    _, report = read_connectome(table)
    finding = report.find("undeclared_transmitter")[0]
    assert (finding.table, finding.count, finding.examples) == ("edges", 1, ((1, "a -> b"),))


def test_transmitters_of_edges_are_text() -> None:
    with pytest.raises(SchemaError, match=r"'nt' of the edges table .* holds int64; transmitters must be text"):
        read_connectome(edges(("a", "b", 1, 1), names="pre post nt count"), columns={"edges.transmitter": "nt"})


def test_a_connection_takes_the_transmitter_with_the_largest_count_over_its_regions() -> None:
    table = edges(
        ("a", "b", "X", "GABA", 4),
        ("a", "b", "Y", "ACh", 3),
        ("a", "b", "Z", "ACh", 2),
        ("b", "a", "X", None, 9),
        ("b", "a", "Y", "Glu", 1),
        ("a", "a", "X", "Glu", 2),
        ("a", "a", "Y", "ACh", 2),
        names="pre post area nt count",
    )
    found, report = read_connectome(table, columns={"region": "area", "edges.transmitter": "nt"})
    assert found.edge_columns.column("transmitter").to_pylist() == ["Glu", "ACh", "Glu"]
    finding = report.find("mixed_transmitters")[0]
    assert (finding.count, finding.examples) == (2, ((1, "a -> b"), (6, "a -> a")))
    assert report.find("sign_from_edge_transmitter")[0].count == 3
