"""The worm's tables with the default policies, against counts made here with the csv module and plain dictionaries."""

from __future__ import annotations

import csv
from collections import Counter
from functools import cache
from typing import Any

import pytest

from connectofit.connectome import Connectome, Policies, SignPolicy, ValidationReport, read_connectome
from connectofit.data import CELEGANS_COLUMNS, celegans_paths


@cache
def plain() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    tables = []
    for name in ("neurons", "edges"):
        with celegans_paths()[name].open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    return tables[0], tables[1]


@cache
def worm(**policies: Any) -> tuple[Connectome, ValidationReport]:
    paths = celegans_paths()
    return read_connectome(
        paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS, policies=Policies(**policies) if policies else None
    )


def typed_names() -> set[str]:
    return {row["name"] for row in plain()[0] if row["cell_class"] or row["nt"]}


def inner_edges() -> list[dict[str, str]]:
    names = typed_names()
    return [row for row in plain()[1] if row["pre"] in names and row["post"] in names]


def test_the_connectome_has_the_302_neurons_in_the_order_of_the_table() -> None:
    connectome, _ = worm()
    assert connectome.ids == tuple(row["name"] for row in plain()[0] if row["name"] in typed_names())
    assert len(connectome) == 302
    assert "MDL08" not in connectome


def test_chemical_edges_are_exactly_the_rows_between_neurons() -> None:
    expected = {(r["pre"], r["post"]): int(r["weight"]) for r in inner_edges() if r["type"] == "chemical"}
    found = {(u, v): count for u, v, count in worm()[0].chemical.edges(data="count")}
    assert found == expected


def test_gap_junctions_stand_in_both_directions_with_the_larger_count() -> None:
    larger: dict[frozenset[str], int] = {}
    for row in inner_edges():
        if row["type"] == "electrical" and row["pre"] != row["post"]:
            pair = frozenset((row["pre"], row["post"]))
            larger[pair] = max(larger.get(pair, 0), int(row["weight"]))
    found = {(u, v): count for u, v, count in worm()[0].electrical.edges(data="count")}
    assert found == {(u, v): count for pair, count in larger.items() for u in pair for v in pair if u != v}


def test_signs_follow_column_then_transmitter_then_the_assumption() -> None:
    transmitter = {row["name"]: row["nt"] for row in plain()[0]}
    expected = {}
    for row in inner_edges():
        if row["type"] == "chemical":
            if row["pred_sign"] in ("+", "-"):
                sign, source = {"+": 1, "-": -1}[row["pred_sign"]], "column"
            elif transmitter[row["pre"]]:
                sign, source = {"ACh": 1, "Glu": 1, "GABA": -1}[transmitter[row["pre"]]], "transmitter"
            else:
                sign, source = 1, "assumed"
            expected[row["pre"], row["post"]] = (sign, source)
    chemical = worm()[0].chemical
    found = {(u, v): (d["sign"], d["sign_source"]) for u, v, d in chemical.edges(data=True)}
    assert found == expected
    assert set(worm()[0].electrical.sign) == {0}
    assert worm()[0].electrical.edge_columns.column("sign_source").null_count == worm()[0].electrical.n_edges


def test_the_report_counts_the_edges_with_unmatched_ids() -> None:
    (finding,) = worm()[1].find("unmatched_id")
    listed = {row["name"] for row in plain()[0]}
    rows = [k + 1 for k, r in enumerate(plain()[1]) if not (r["pre"] in listed and r["post"] in listed)]
    assert finding.count == finding.rows_removed == len(rows) == 1573
    assert [row for row, _ in finding.examples] == rows[:5]
    first = plain()[1][rows[0] - 1]
    assert finding.examples[0][1] in (repr(first["pre"]), repr(first["post"]))
    assert finding.policy == "unmatched=drop"


def test_the_report_counts_self_loops_of_both_kinds() -> None:
    loops = Counter(row["type"] for row in plain()[1] if row["pre"] == row["post"])
    found = {finding.policy: finding for finding in worm()[1].find("self_loop")}
    assert found["self_loops=drop"].count == loops["electrical"]
    assert found["chemical_self_loops=keep"].count == loops["chemical"]
    assert sum(finding.count for finding in found.values()) == 48


def test_the_report_counts_gap_junctions_in_one_direction_and_with_unequal_counts() -> None:
    gaps = {(r["pre"], r["post"]): r["weight"] for r in plain()[1] if r["type"] == "electrical"}
    (single,), (unequal,) = worm()[1].find("electrical_one_direction"), worm()[1].find("electrical_different_counts")
    assert single.count == sum((b, a) not in gaps for a, b in gaps) == 6
    assert unequal.count == sum(gaps.get((b, a), w) != w for (a, b), w in gaps.items()) == 26
    inner = typed_names()
    assert single.rows_added == sum((b, a) not in gaps and {a, b} <= inner for a, b in gaps)
    row, text = unequal.examples[0]
    pre, post = text.split(" -> ")
    assert (plain()[1][row - 1]["pre"], plain()[1][row - 1]["post"]) == (pre, post)
    assert gaps[pre, post] != gaps[post, pre]


def test_the_report_counts_the_pairs_joined_both_ways() -> None:
    (finding,) = worm()[1].find("both_kinds")
    kinds: dict[tuple[str, str], set[str]] = {}
    for row in inner_edges():
        kinds.setdefault((row["pre"], row["post"]), set()).add(row["type"])
    assert finding.count == sum(len(found) == 2 for found in kinds.values()) == 722


def test_the_report_counts_the_ways_a_sign_was_given() -> None:
    report = worm()[1]
    transmitter = {row["name"]: row["nt"] for row in plain()[0]}
    chemical = [row for row in inner_edges() if row["type"] == "chemical"]
    indefinite = [row for row in chemical if row["pred_sign"] not in ("+", "-")]
    counts = {rule: report.find(rule)[0].count for rule in ("no_definite_sign", "sign_from_column")}
    counts |= {rule: report.find(rule)[0].count for rule in ("sign_from_transmitter", "sign_assumed")}
    assert counts == {
        "no_definite_sign": len(indefinite),
        "sign_from_column": len(chemical) - len(indefinite),
        "sign_from_transmitter": sum(transmitter[row["pre"]] != "" for row in indefinite),
        "sign_assumed": sum(transmitter[row["pre"]] == "" for row in indefinite),
    }
    assert len(indefinite) / len(chemical) == pytest.approx(0.52, abs=0.005)
    complex_signs = sum(row["pred_sign"] == "complex" for row in chemical)
    assert f"'complex' {complex_signs}" in report.find("no_definite_sign")[0].message


def test_the_report_names_the_row_without_type_and_transmitter() -> None:
    (finding,) = worm()[1].find("untyped_neuron")
    assert finding.count == finding.rows_removed == 1
    row, name = finding.examples[0]
    assert (name, plain()[0][row - 1]["name"]) == ("MDL08", "MDL08")
    assert worm()[1].find("missing_transmitter")[0].count == sum(row["nt"] == "" for row in plain()[0])


def test_every_row_is_kept_or_reported() -> None:
    connectome, report = worm()
    for table, rows in (("edges", plain()[1]), ("neurons", plain()[0])):
        assert report.rows_in[table] == len(rows)
        assert report.rows_kept[table] + sum(f.rows_removed for f in report.findings if f.table == table) == len(rows)
    assert connectome.n_edges == report.rows_kept["edges"] + sum(finding.rows_added for finding in report.findings)


def test_complex_signs_are_a_visible_setting() -> None:
    policy = SignPolicy(values={"+": 1, "-": -1, "complex": -1, "no pred": 0})
    chemical = worm()[0].chemical
    changed = read_connectome(
        celegans_paths()["edges"],
        celegans_paths()["neurons"],
        columns=CELEGANS_COLUMNS,
        policies=Policies(sign=policy),
    )[0].chemical
    complex_edges = chemical.select_edges("pred_sign == 'complex'")
    assert len(complex_edges) == sum(r["pred_sign"] == "complex" for r in inner_edges())
    assert set(changed.sign[complex_edges]) == {-1}
    others = chemical.select_edges("pred_sign != 'complex'")
    assert (changed.sign[others] == chemical.sign[others]).all()


def test_further_columns_keep_their_own_names_and_types() -> None:
    connectome, _ = worm()
    own = [name for name in plain()[0][0] if name not in ("name", "nt")]
    assert connectome.neurons.column_names == ["id", "transmitter", *own]
    assert connectome.column("x_um").dtype == float
    row = next(row for row in plain()[0] if row["name"] == "AVAL")
    assert connectome.column("x_um")[connectome.index_of("AVAL")[0]] == float(row["x_um"])


def test_keeping_unmatched_ids_makes_them_neurons_without_attributes() -> None:
    connectome, report = worm(unmatched="keep")
    outer = {row[end] for row in plain()[1] for end in ("pre", "post")} - {row["name"] for row in plain()[0]}
    assert set(connectome.ids) == typed_names() | outer
    assert connectome.ids[:302] == worm()[0].ids
    index = connectome.index_of(sorted(outer))
    assert all(connectome.column("cell_class")[k] is None for k in index)
    assert report.find("unmatched_id")[0].rows_removed == 0
    expected = {(r["pre"], r["post"]) for r in plain()[1] if r["type"] == "chemical"}
    assert set(connectome.chemical.edges()) == expected
