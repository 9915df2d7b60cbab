"""Each source of signs decides in the order of the policy, and the report counts what each decided."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from connectofit.connectome import Connectome, Policies, SignPolicy, ValidationReport, read_connectome

EDGES = pa.table(
    {
        "pre": ["ach", "ach", "gaba", "gaba", "odd", "none"],
        "post": ["gaba", "odd", "ach", "odd", "ach", "ach"],
        "count": [1, 2, 3, 4, 5, 6],
        "sign": ["-", "complex", None, "+", "no pred", ""],
    }
)
NEURONS = pa.table({"id": ["ach", "gaba", "odd", "none"], "transmitter": ["ACh", "GABA", "Tyramine", None]})


def read(**settings: Any) -> tuple[Connectome, ValidationReport]:
    return read_connectome(EDGES, NEURONS, policies=Policies(sign=SignPolicy(**settings)))


def signs(connectome: Connectome) -> dict[tuple[str, str], tuple[int, str | None]]:
    return {(u, v): (d["sign"], d.get("sign_source")) for u, v, d in connectome.edges(data=True)}


def test_the_column_decides_before_the_transmitter_by_default() -> None:
    connectome, report = read()
    assert signs(connectome) == {
        ("ach", "gaba"): (-1, "column"),
        ("ach", "odd"): (1, "transmitter"),
        ("gaba", "ach"): (-1, "transmitter"),
        ("gaba", "odd"): (1, "column"),
        ("odd", "ach"): (1, "assumed"),
        ("none", "ach"): (1, "assumed"),
    }
    counts = {finding.rule: finding.count for finding in report.findings}
    assert counts["no_definite_sign"] == 4
    assert counts["sign_from_column"] == counts["sign_from_transmitter"] == counts["sign_assumed"] == 2
    assert counts["sign_contradicts_transmitter"] == 2
    assert counts["undeclared_transmitter"] == counts["missing_transmitter"] == 1


def test_the_order_can_be_turned_round() -> None:
    found = signs(read(order=("transmitter", "edge", "unknown"))[0])
    assert found["ach", "gaba"] == (1, "transmitter")
    assert found["gaba", "odd"] == (-1, "transmitter")


def test_a_source_left_out_of_the_order_is_not_asked() -> None:
    connectome, report = read(order=("edge", "unknown"), unknown=-1)
    assert signs(connectome)["ach", "odd"] == (-1, "assumed")
    assert not report.find("sign_from_transmitter")
    assert report.find("sign_assumed")[0].count == 4


def test_edges_may_be_left_without_a_sign() -> None:
    connectome, report = read(unknown=0)
    assert signs(connectome)["none", "ach"] == (0, None)
    assert "left without a sign" in report.find("sign_assumed")[0].message


def test_transmitters_can_be_given_other_signs() -> None:
    found = signs(read(transmitters={"ACh": -1, "GABA": 1, "Tyramine": -1})[0])
    assert found["ach", "odd"] == (-1, "transmitter")
    assert found["odd", "ach"] == (-1, "transmitter")


@pytest.mark.parametrize(
    "values", [[1, -1, 0, 1, 0, None], [1.0, -1.0, 0.0, 1.0, None, 0.0], ["1", "-1", "0", "+1", "", None]]
)
def test_signs_given_as_numbers_need_no_values(values: list[Any], tmp_path: Any) -> None:
    table = EDGES.set_column(3, "sign", pa.array(values))
    if isinstance(values[0], str):
        rows = [
            "pre,post,count,sign",
            *(f"{r['pre']},{r['post']},{r['count']},{r['sign'] or ''}" for r in table.to_pylist()),
        ]
        (tmp_path / "e.csv").write_text("\n".join(rows))
        connectome, _ = read_connectome(tmp_path / "e.csv", NEURONS, policies=Policies(sign=SignPolicy(unknown=0)))
    else:
        connectome, _ = read_connectome(table, NEURONS, policies=Policies(sign=SignPolicy(unknown=0)))
    found = {pair: sign for pair, (sign, source) in signs(connectome).items() if source == "column"}
    assert found == {("ach", "gaba"): 1, ("ach", "odd"): -1, ("gaba", "odd"): 1}


def test_signs_of_gap_junctions_are_reported_and_ignored() -> None:
    table = pa.table(
        {"pre": ["a", "b"], "post": ["b", "a"], "count": [1, 1], "kind": ["electrical"] * 2, "sign": ["+", "+"]}
    )
    connectome, report = read_connectome(table)
    assert connectome.sign.tolist() == [0, 0]
    assert report.find("sign_on_electrical")[0].count == 2


def test_neurons_with_edges_of_both_signs_are_counted() -> None:
    assert read()[1].find("mixed_signs")[0].count == 2


def test_policies_come_back_from_plain_values() -> None:
    policies = Policies(
        unmatched="keep", kinds={"s": "chemical"}, sign=SignPolicy(unknown=0, order=("edge", "unknown"))
    )
    assert Policies.from_dict(policies.to_dict()) == policies
    assert Policies.from_dict({"sign": {"unknown": -1}}) == Policies(sign=SignPolicy(unknown=-1))


def test_where_signs_come_from_takes_a_byte_an_edge_and_can_be_asked_for() -> None:
    connectome, _ = read()
    column = connectome.edge_columns.column("sign_source")
    assert str(column.type) == "dictionary<values=string, indices=int8, ordered=0>"
    assert column.to_pylist() == [source for _, source in signs(connectome).values()]
    assert connectome.select_edges("sign_source == 'assumed'").tolist() == [
        position for position, (_, source) in enumerate(signs(connectome).values()) if source == "assumed"
    ]


def test_the_values_without_a_definite_sign_are_counted_in_the_order_of_their_number() -> None:
    values = ["complex", None, "no pred", "+", "no pred", ""]
    table = EDGES.set_column(3, "sign", pa.array(values))
    (finding,) = read_connectome(table, NEURONS)[1].find("no_definite_sign")
    assert finding.message == (
        "5 of 6 chemical edges (83%) have no definite sign in the column: '' 2, 'no pred' 2, 'complex' 1"
    )
