"""Random tables and graphs: no row is lost unseen, conversions lose nothing, null models keep what they say."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectofit.connectome import ConnectofitError, Connectome, Policies, SettingError, read_connectome, rewire

NAMES = ["AVAL", "AVAR", "VA1", "VA01", "M 1", "é", "muscle", "hyp"]
COMMON = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, pa.Table | None]:
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(NAMES),
                st.sampled_from(NAMES),
                st.integers(0, 3),
                st.sampled_from(["chemical", "electrical"]),
                st.sampled_from(["+", "-", "complex", None]),
            ),
            min_size=1,
            max_size=40,
        )
    )
    edges = pa.table(
        dict(zip(("pre", "post", "count", "kind", "sign"), map(list, zip(*rows, strict=True)), strict=True))
    )
    if draw(st.booleans()):
        return edges, None
    ids = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    optional = st.sampled_from(["P", "Q", None])
    neurons = pa.table(
        {
            "id": ids,
            "cell_class": pa.array([draw(optional) for _ in ids], pa.string()),
            "transmitter": pa.array([draw(st.sampled_from(["ACh", "GABA", "DA", None])) for _ in ids], pa.string()),
        }
    )
    return edges, neurons


policies = st.builds(
    Policies,
    unmatched=st.sampled_from(["drop", "keep"]),
    max_unmatched=st.just(1.0),
    self_loops=st.sampled_from(["drop", "keep"]),
    chemical_self_loops=st.sampled_from(["drop", "keep"]),
    duplicates=st.sampled_from(["sum", "max"]),
    electrical_pairs=st.sampled_from(["max", "mean", "sum"]),
    zero_counts=st.sampled_from(["drop", "keep"]),
    untyped_neurons=st.sampled_from(["drop", "keep"]),
)


@COMMON
@given(tables(), policies)
def test_rows_in_are_rows_kept_plus_rows_reported(pair: tuple[pa.Table, pa.Table | None], policy: Policies) -> None:
    edges, neurons = pair
    try:
        connectome, report = read_connectome(edges, neurons, policies=policy)
    except ConnectofitError:
        return
    for name, table in {"edges": edges, **({} if neurons is None else {"neurons": neurons})}.items():
        removed = sum(finding.rows_removed for finding in report.findings if finding.table == name)
        assert report.rows_in[name] == table.num_rows == report.rows_kept[name] + removed
    assert connectome.n_edges == report.rows_kept["edges"] + sum(finding.rows_added for finding in report.findings)
    if neurons is not None and policy.unmatched == "drop":
        assert connectome.n_neurons == report.rows_kept["neurons"]
    for finding in report.findings:
        assert finding.rows_removed <= finding.count
        if finding.rows_removed:
            assert finding.policy
            assert finding.examples


@COMMON
@given(tables(), policies)
def test_chemical_edges_are_what_plain_python_makes_of_the_rows(
    pair: tuple[pa.Table, pa.Table | None], policy: Policies
) -> None:
    edges, neurons = pair
    try:
        connectome, _ = read_connectome(edges, neurons, policies=policy)
    except ConnectofitError:
        return
    rows = edges.to_pylist()
    kept = {row["pre"] for row in rows} | {row["post"] for row in rows}
    if neurons is not None:
        untyped = {r["id"] for r in neurons.to_pylist() if r["cell_class"] is None and r["transmitter"] is None}
        listed = set(neurons.column("id").to_pylist())
        kept = (listed if policy.unmatched == "drop" else listed | kept) - (
            untyped if policy.untyped_neurons == "drop" else set()
        )
        assert set(connectome.ids) == kept
    expected: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["pre"], row["post"]
        loop = policy.chemical_self_loops == "drop" and key[0] == key[1]
        zero = policy.zero_counts == "drop" and row["count"] == 0
        if row["kind"] == "chemical" and set(key) <= kept and not loop and not zero:
            merge = max if policy.duplicates == "max" else lambda a, b: a + b
            expected[key] = merge(expected[key], row["count"]) if key in expected else row["count"]
    assert {(u, v): count for u, v, count in connectome.chemical.edges(data="count")} == expected
    gaps = {(u, v): count for u, v, count in connectome.electrical.edges(data="count")}
    assert all(gaps[v, u] == count for (u, v), count in gaps.items())


@COMMON
@given(tables())
def test_csv_and_arrow_give_the_same_connectome(tmp_path: Path, pair: tuple[pa.Table, pa.Table | None]) -> None:
    edges, neurons = pair
    paths = []
    for name, table in (("e", edges), ("n", neurons)):
        if table is not None:
            paths.append(tmp_path / f"{name}.csv")
            pa_csv.write_csv(table, paths[-1])
    policy = Policies(max_unmatched=1)
    outcomes = []
    for sources in (paths, [table for table in pair if table is not None]):
        try:
            outcomes.append(read_connectome(*sources, policies=policy)[0].digest())
        except ConnectofitError as error:
            outcomes.append(type(error).__name__)
    assert outcomes[0] == outcomes[1]


@st.composite
def graphs(draw: st.DrawFn) -> Connectome:
    n = draw(st.integers(1, 8))
    ids = draw(st.sampled_from([[f"n{k}" for k in range(8)], [2**60 + 3 * k for k in range(8)]]))[:n]
    node = st.integers(0, n - 1)
    chemical = draw(st.sets(st.tuples(node, node), max_size=30))
    pairs = {(min(p), max(p)) for p in draw(st.sets(st.tuples(node, node), max_size=10)) if p[0] != p[1]}
    gaps = sorted(pairs | {(b, a) for a, b in pairs})
    edges = [*((a, b, 0) for a, b in chemical), *((a, b, 1) for a, b in gaps)]
    weight = {pair: draw(st.integers(0, 9)) for pair in pairs}
    count = [weight[min(a, b), max(a, b)] if kind else draw(st.integers(0, 9)) for a, b, kind in edges]
    maybe = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
    return Connectome.from_edges(
        pa.table({"id": ids, "size": pa.array([draw(maybe) for _ in ids], pa.int64())}),
        pre=np.array([a for a, *_ in edges], int),
        post=np.array([b for _, b, _ in edges], int),
        kind=np.array([kind for *_, kind in edges], int),
        count=np.array(count, int),
        sign=np.array([0 if kind else draw(st.integers(-1, 1)) for *_, kind in edges], int),
        edge_columns=pa.table(
            {"delay_ms": pa.array([draw(st.one_of(st.none(), st.floats(0, 9))) for _ in edges], pa.float64())}
        ),
    )


@COMMON
@given(graphs())
def test_networkx_brings_every_connectome_back(c: Connectome) -> None:
    for part in (c, c.chemical, c.electrical):
        assert Connectome.from_networkx(part.to_networkx()).digest() == part.digest()
        shuffled = type(part.to_networkx())(**part.to_networkx().graph)
        shuffled.add_nodes_from(part.nodes(data=True))
        edges = list(part.to_networkx().edges(data=True, **({"keys": True} if part.is_multigraph() else {})))
        shuffled.add_edges_from(edges[::-1])
        assert Connectome.from_networkx(shuffled).digest() == part.digest()


@COMMON
@given(graphs(), st.integers(0, 2**32))
def test_rewiring_keeps_degrees_and_makes_no_loops(c: Connectome, seed: int) -> None:
    try:
        rewired, stats = rewire(c, seed, swaps_per_edge=2)
    except SettingError:
        return
    for before, after in ((c.chemical, rewired.chemical), (c.electrical, rewired.electrical)):
        assert dict(before.in_degree) == dict(after.in_degree)
        assert dict(before.out_degree) == dict(after.out_degree)
        sums = [dict(part.out_degree(weight="count")) for part in (before, after)]
        assert sums[0] == sums[1] or before is c.electrical
        assert sorted(nx.selfloop_edges(before.to_networkx())) == sorted(nx.selfloop_edges(after.to_networkx()))
    assert all(stats.accepted[kind] >= 2 * edges for kind, edges in stats.edges.items() if edges > 1)


@COMMON
@given(st.one_of(st.binary(max_size=100), st.text('ab,1.-e\n\r"é ', max_size=60).map(str.encode)))
def test_any_bytes_are_read_in_full_or_refused(tmp_path: Path, noise: bytes) -> None:
    content = b"pre,post,count\na,b,1\nb,c,2\n" + noise
    (tmp_path / "edges.csv").write_bytes(content)
    try:
        _, report = read_connectome(tmp_path / "edges.csv")
    except ConnectofitError:
        return
    if b'"' not in noise:
        lines = content.decode().replace("\r", "\n").split("\n")
        assert report.rows_in["edges"] == sum(line != "" for line in lines) - 1
