"""Mutated files are read in full or refused: no other exception, no hang, and no row that is neither kept nor reported.

Rows are counted, and counts added up, by Python's csv module or from what the test wrote, never by the reader.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectofit.connectome import ConnectofitError, Connectome, Policies, ValidationReport, read_connectome

NAMES = ["AVAL", "AVAR", "VA1", "M 1", "é"]
NUMBERS = [str(720575940596125868 + k) for k in range(5)]  # above 2^53
HEADER = ["pre", "post", "count", "note"]
NASTY = (
    "", " ", '"', '""', "'", ",", "\n", "\r", "\x00", "\t", "é", "\ufeff", "\u2028", "-1", "-0", "+1", "0", "007", " 7",
    "0x1F", "1e5", "1e999", "-1e-999", "9" * 40, str(2**63), str(-(2**63)), "720575940596125868", "7.2057594e+17", "1.",
    "nan", "NaN", "inf", "null", "NA", "None", "chemical", "+", "-", "a" * 300, '"a,b', 'a"b', "1,2", "1_0",
)  # fmt: skip
NASTY_BYTES = (b"\x00", b"\xff", b"\xfe\xff", b'"', b"\n", b"\r\n", b",", b"\xc3", b"\x1f\x8b", b"PAR1", b"\x00" * 64)
KEEP_ALL = Policies(
    unmatched="keep", max_unmatched=1, self_loops="keep", chemical_self_loops="keep", zero_counts="keep"
)
"""No policy drops a row: every one ends in an edge of the connectome, alone or merged with others."""

lengths = pytest.mark.parametrize("examples", [60, pytest.param(3000, marks=pytest.mark.slow)])


def at_most(examples: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(deadline=timedelta(seconds=20), max_examples=examples, suppress_health_check=checks)


Change = tuple[str, float, float, bytes]
where = st.floats(0, 1, exclude_max=True)
changes_of_bytes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "truncate", "delete", "insert", "repeat", "overwrite"]),
        where,
        where,
        st.one_of(st.sampled_from(NASTY_BYTES), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=3,
)
"""What to do to a file's bytes, where and how far (fractions of its length), and with what."""


def mutated(content: bytes, changes: Sequence[Change]) -> bytes:
    for what, start, reach, noise in changes:
        at = int(start * len(content))
        end = at + 1 + int(reach * reach * (len(content) - at))
        if what == "flip":
            content = content[:at] + bytes(byte ^ (noise[0] or 1) for byte in content[at : at + 1]) + content[at + 1 :]
        elif what == "truncate":
            content = content[:at]
        elif what == "delete":
            content = content[:at] + content[end:]
        elif what == "insert":
            content = content[:at] + noise + content[at:]
        elif what == "repeat":
            content = content[:end] + content[at:end] + content[end:]
        else:
            content = content[:at] + noise + content[at + len(noise) :]
    return content


def rows_of(ids: Sequence[str], n: int) -> list[list[str]]:
    return [[ids[k % len(ids)], ids[(k * k + 1) % len(ids)], str(1 + k % 7), f"note {k}"] for k in range(n)]


def csv_bytes(rows: Sequence[Sequence[str]], header: Sequence[str], quoted: bool = False, end: str = "\n") -> bytes:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([header, *rows])
    return text.getvalue().encode()


def read_or_refuse(*tables: Any, **settings: Any) -> tuple[Connectome, ValidationReport] | None:
    """The connectome and the report, whose rows must add up; None where the tables are refused in a readable way."""
    try:
        connectome, report = read_connectome(*tables, **settings)
    except ConnectofitError as error:
        if not 20 < len(str(error)) < 5000:
            pytest.fail(f"the error says nothing, or too much: {error}")
        return None
    for role in report.rows_in:
        removed = sum(finding.rows_removed for finding in report.findings if finding.table == role)
        assert report.rows_in[role] == report.rows_kept[role] + removed
    assert connectome.n_edges == report.rows_kept["edges"] + sum(finding.rows_added for finding in report.findings)
    return connectome, report


def check_edges(rows: Sequence[Sequence[str]], connectome: Connectome, report: ValidationReport) -> None:
    """Whether the connectome has the edges that these rows (pre, post, count) give, and nothing else."""
    assert report.rows_in["edges"] == len(rows)
    expected: dict[tuple[str, str], float] = {}
    for pre, post, count in rows:
        expected[pre, post] = expected.get((pre, post), 0) + float(count)
    found = {(str(u), str(v)): count for u, v, count in connectome.edges(data="count")}
    assert found == pytest.approx(expected)


def check_csv(content: bytes, connectome: Connectome, report: ValidationReport) -> None:
    """What was read against what Python's csv module makes of the same bytes."""
    lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    header, *rows = [row for row in csv.reader(lines) if row]
    place = [header.index(name) for name in ("pre", "post", "count")]
    check_edges([[row[k] for k in place] for row in rows], connectome, report)


@lengths
def test_csv_with_mutated_bytes_is_read_in_full_or_refused(tmp_path: Path, examples: int) -> None:
    path = tmp_path / "edges.csv"

    @at_most(examples)
    @given(changes_of_bytes, st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.integers(1, 40))
    def check(changes: list[Change], numeric: bool, quoted: bool, end: str, n: int) -> None:
        whole = csv_bytes(rows_of(NUMBERS if numeric else NAMES, n), HEADER, quoted, end)
        content = mutated(whole, changes)
        path.write_bytes(content)
        read = read_or_refuse(path, policies=KEEP_ALL, id_type="int64" if numeric else None)
        if read is not None:
            check_csv(content, *read)

    check()


@lengths
def test_compressed_csv_with_mutated_bytes_is_read_in_full_or_refused(tmp_path: Path, examples: int) -> None:
    packs = {".gz": (gzip.compress, gzip.decompress), ".bz2": (bz2.compress, bz2.decompress)}

    @at_most(examples)
    @given(changes_of_bytes, st.sampled_from(sorted(packs)), st.integers(1, 400))
    def check(changes: list[Change], suffix: str, n: int) -> None:
        pack, unpack = packs[suffix]
        packed = mutated(pack(csv_bytes(rows_of(NAMES, n), HEADER)), changes)
        path = tmp_path / f"edges.csv{suffix}"
        path.write_bytes(packed)
        read = read_or_refuse(path, policies=KEEP_ALL)
        if read is not None:
            try:
                content = unpack(packed)
            except (OSError, EOFError, zlib.error) as error:
                pytest.fail(f"a file that Python cannot unpack ({error}) was accepted")
            check_csv(content, *read)

    check()


@lengths
def test_cells_of_any_text_are_read_in_full_or_refused(tmp_path: Path, examples: int) -> None:
    path = tmp_path / "edges.csv"
    cell = st.one_of(st.sampled_from(NASTY), st.text('aé01.-+e \t\n",;', max_size=8))
    replaced = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3), cell), min_size=1, max_size=3)

    @at_most(examples)
    @given(replaced, st.booleans(), st.booleans())
    def check(cells: list[tuple[int, int, str]], numeric: bool, quoted: bool) -> None:
        rows = rows_of(NUMBERS if numeric else NAMES, 30)
        for row, column, text in cells:
            rows[row][column] = text
        path.write_bytes(csv_bytes(rows, HEADER, quoted))
        read = read_or_refuse(path, policies=KEEP_ALL, id_type="int64" if numeric else None)
        if read is not None:
            check_edges([row[:3] for row in rows], *read)

    check()


@lengths
def test_binary_files_with_mutated_bytes_are_read_in_full_or_refused(tmp_path: Path, examples: int) -> None:
    rows = rows_of(NUMBERS, 200)
    table = pa.table(
        {
            "pre": pa.array([int(row[0]) for row in rows]),
            "post": pa.array([int(row[1]) for row in rows]),
            "count": pa.array([int(row[2]) for row in rows], pa.int32()),
            "note": [row[3] for row in rows],
        }
    )
    text = table.set_column(0, "pre", table.column("pre").cast(pa.string()))
    text = text.set_column(1, "post", text.column("post").cast(pa.string()).dictionary_encode())
    files: dict[tuple[str, bool], bytes] = {}
    for texts in (False, True):
        for suffix in (".parquet", ".feather"):
            path = tmp_path / f"whole{suffix}"
            if suffix == ".parquet":
                pa_parquet.write_table(text if texts else table, path, row_group_size=70)
            else:
                pa_feather.write_feather(text if texts else table, str(path), chunksize=70)
            files[suffix, texts] = path.read_bytes()

    @at_most(examples)
    @given(changes_of_bytes, st.sampled_from(sorted(files)))
    def check(changes: list[Change], form: tuple[str, bool]) -> None:
        path = tmp_path / f"edges{form[0]}"
        path.write_bytes(mutated(files[form], changes))
        read = read_or_refuse(path, policies=KEEP_ALL)
        if read is not None:
            given_rows = (
                pa_parquet.read_metadata(path).num_rows
                if form[0] == ".parquet"
                else pa_feather.read_table(path).num_rows
            )
            assert read[1].rows_in["edges"] == given_rows
            names = pa_feather.read_table(path) if form[0] == ".feather" else pa_parquet.read_table(path)
            plain = [[str(row[name]) for name in ("pre", "post", "count")] for row in names.to_pylist()]
            check_edges(plain, *read)

    check()


VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "count": (pa.int8(), [0, 1, 2, 5]),
    "sign": (pa.int8(), [0, 1, -1]),
    "int8": (pa.int8(), [0, 1, -1, 5, None]),
    "int64": (pa.int64(), [0, 1, -1, 2**53 + 1, -(2**63), 2**63 - 1, None]),
    "uint64": (pa.uint64(), [0, 1, 2**63, 2**64 - 1, None]),
    "float": (pa.float64(), [0.0, 1.5, -2.0, float("nan"), float("inf"), 1e300, None]),
    "half": (pa.float32(), [0.0, 1.5, 3e38, None]),
    "decimal": (pa.decimal128(12, 2), [Decimal("1.50"), Decimal("-3.00"), None]),
    "text": (pa.string(), ["a", "", "1", "chemical", "electrical", "+", "-", None]),
    "large text": (pa.large_string(), ["a", "b", "2", None]),
    "category": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
    "bool": (pa.bool_(), [True, False, None]),
    "bytes": (pa.binary(), [b"a", b"\xff", None]),
    "time": (pa.timestamp("s"), [0, 10, None]),
    "list": (pa.list_(pa.int64()), [[1], [], None]),
    "nothing": (pa.null(), [None]),
}


@lengths
def test_tables_of_any_types_are_read_in_full_or_refused(examples: int) -> None:
    @st.composite
    def tables(draw: st.DrawFn, usual: dict[str, str]) -> pa.Table:
        n = draw(st.integers(1, 6 if "id" in usual else 12))
        columns = {}
        for name, usual_kind in usual.items():
            strange = draw(st.integers(0, 19)) == 0
            kind, values = VALUES[draw(st.sampled_from(sorted(VALUES))) if strange else usual_kind]
            if not strange:
                values = [value for value in values if value not in (None, "")]
            column = st.lists(st.sampled_from(values), min_size=n, max_size=n)
            if name == "id" and not strange:
                column = st.permutations(["a", "b", "1", "2", "c", "d"]).map(lambda ids: ids[:n])
            columns[name] = pa.array(draw(column), kind)
        table = pa.table(columns)
        if draw(st.integers(0, 19)) == 0:
            table = table.drop_columns(draw(st.sampled_from(table.column_names)))
        cut = draw(st.integers(0, n))
        return pa.concat_tables([table.slice(0, cut), table.slice(cut)])

    ends = {"pre": "category", "post": "large text"}
    edge_types = {**ends, "count": "count", "kind": "category", "sign": "sign", "note": "text"}
    neuron_types = {"id": "large text", "cell_class": "text", "transmitter": "text", "size": "float"}
    policies = st.builds(
        Policies,
        unmatched=st.sampled_from(["drop", "keep"]),
        max_unmatched=st.just(1.0),
        self_loops=st.sampled_from(["drop", "keep"]),
        chemical_self_loops=st.sampled_from(["drop", "keep"]),
        duplicates=st.sampled_from(["sum", "max"]),
        electrical_pairs=st.sampled_from(["max", "mean", "sum"]),
        zero_counts=st.sampled_from(["drop", "keep"]),
        min_count=st.sampled_from([0, 2, 1.5, 4]),
        kinds=st.just({"a": "chemical", "b": "electrical"}),
    )
    mapping = st.sampled_from(
        [
            {},
            {"kind": None},
            {"sign": None},
            {"signed_weight": "count"},
            {"region": "note"},
            {"edges.transmitter": "note"},
        ]
    )

    @at_most(examples)
    @given(
        tables(edge_types),
        st.one_of(st.none(), tables(neuron_types)),
        policies,
        mapping,
        st.sampled_from([None, None, "string", "int64"]),
    )
    def check(
        edges: pa.Table, neurons: pa.Table | None, policy: Policies, columns: dict[str, str], id_type: str | None
    ) -> None:
        read = read_or_refuse(edges, neurons, policies=policy, columns=columns, id_type=id_type)
        if read is not None:
            assert read[1].rows_in["edges"] == edges.num_rows
            assert read[1].rows_in.get("neurons") == (None if neurons is None else neurons.num_rows)

    check()
