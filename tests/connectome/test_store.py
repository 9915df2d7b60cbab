"""A written connectome reads back exactly; old versions stay readable; damaged, foreign and newer folders are refused;
nothing is half written."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectofit.connectome import Connectome, FolderError, MissingFileError, SchemaError, read_connectome, store
from connectofit.connectome.digest import representations
from connectofit.data import CELEGANS_COLUMNS, celegans_paths

ARCHIVES = Path(__file__).parents[1] / "archives"
NAN, INF = math.nan, math.inf


@cache
def worm() -> Connectome:
    paths = celegans_paths()
    return read_connectome(paths["edges"], paths["neurons"], columns=CELEGANS_COLUMNS)[0]


def small() -> Connectome:
    """Both kinds of edge, unicode ids, text and numbers with missing ones among them, a nested column."""
    lists = pa.list_(pa.struct([("region", pa.string()), ("count", pa.int64())]))
    return Connectome.from_edges(
        pa.table({"id": ["a", "é 神", ""], "x_um": [1.5, None, NAN], "size": [2**60 + 1, None, -1]}),
        pre=np.array([0, 1, 2, 0]),
        post=np.array([1, 0, 2, 2]),
        count=np.array([5, 5, 1, 2]),
        kind=np.array([1, 1, 0, 0]),
        sign=np.array([0, 0, -1, 1]),
        edge_columns=pa.table(
            {
                "note": ["", None, "x", "y"],
                "regions": pa.array([[{"region": "LH", "count": 1}], None, [], [{"region": None, "count": 2}]], lists),
            }
        ),
    )


def copy(connectome: Connectome, **changes: Any) -> Connectome:
    names = ("neurons", "indptr", "post", "count", "kind", "sign", "edge_columns", "only_kind")
    return Connectome(**{name: getattr(connectome, name) for name in names} | changes)


# ---- what is written is what is read ----


def test_a_written_connectome_reads_back_exactly(tmp_path: Path) -> None:
    for name, connectome in (
        ("all", worm()),
        ("gaps", worm().electrical),
        ("none", worm().select("x_um > 1e9")),
        ("small", small()),
    ):
        for verify in (True, False):
            folder = tmp_path / f"{name}-{verify}"
            back = Connectome.read(connectome.write(folder), verify=verify)
            assert back.digest() == connectome.digest()
            assert back.only_kind == connectome.only_kind
            assert back.neurons.schema == connectome.neurons.schema
            assert repr(back.neurons.to_pylist()) == repr(connectome.neurons.to_pylist())
            assert back.edge_columns.schema == connectome.edge_columns.schema
            assert repr(back.edge_columns.to_pylist()) == repr(connectome.edge_columns.to_pylist())
            for array in ("indptr", "post", "count", "kind", "sign"):
                before, after = getattr(connectome, array), getattr(back, array)
                assert before.dtype == after.dtype
                assert np.array_equal(before, after)


def test_columns_in_pieces_and_dictionaries_read_back_as_they_were(tmp_path: Path) -> None:
    c = small()
    pieces = [pa.array(["l", "r"]).dictionary_encode(), pa.array(["m", "l"]).dictionary_encode()]
    columns = pa.table({"side": pa.chunked_array(pieces), "t": pa.chunked_array([[1.0], [2.0, None, 4.0]])})
    back = Connectome.read(copy(c, edge_columns=columns).write(tmp_path / "c"))
    assert back.edge_columns.schema == columns.schema
    assert back.edge_columns.to_pydict() == {"side": ["l", "r", "m", "l"], "t": [1.0, 2.0, None, 4.0]}


def test_the_edges_are_mapped_and_read_only(tmp_path: Path) -> None:
    folder = worm().write(tmp_path / "c")
    before = pa.total_allocated_bytes()
    c = Connectome.read(folder, verify=False)
    assert pa.total_allocated_bytes() - before < 1000  # nothing of the columns was copied into Arrow's memory
    for name in ("indptr", "post", "count", "kind", "sign"):
        values = getattr(c, name)
        assert not values.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(folder / "arrays" / "edges.arrow") in maps.read_text()
    shutil.rmtree(folder)  # the mapped files live on
    assert c.digest() == worm().digest()


def test_the_parquet_files_are_tables_that_people_and_the_reader_understand(tmp_path: Path) -> None:
    folder = small().write(tmp_path / "c")
    assert pa_parquet.read_table(folder / "edges.parquet").drop_columns(["regions"]).to_pydict() == {
        "pre": ["a", "a", "é 神", ""],
        "post": ["é 神", "", "a", ""],
        "kind": ["electrical", "chemical", "electrical", "chemical"],
        "count": [5, 2, 5, 1],
        "sign": [0, 1, 0, -1],
        "note": ["", "y", None, "x"],
    }
    assert pa_parquet.read_table(folder / "neurons.parquet").column("id").to_pylist() == ["a", "é 神", ""]


def test_the_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    folder = worm().write(tmp_path / "c")
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    again = worm().write(tmp_path / "again")
    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()


# ---- archives ----

TEXT_NEURONS = {
    "id": ["AVAL", "näv 1", "神経", "😀", ""],
    "cell_class": ["AVA", None, "", 'é, "q"', "AVA"],
    "size": [9007199254740993, None, -9223372036854775808, 9223372036854775807, 0],
    "x_um": [1.5, None, NAN, -0.0, 1e-300],
    "traced": [True, False, None, True, False],
    "side": ["left", "right", None, "left", "right"],
}
TEXT_EDGES = {
    "pre": ["AVAL", "AVAL", "näv 1", "näv 1", "神経", "😀", ""],
    "post": ["näv 1", "näv 1", "AVAL", "😀", "神経", "", "😀"],
    "kind": ["chemical", "electrical", "electrical", "chemical", "chemical", "electrical", "electrical"],
    "count": [3, 7, 7, 40, 1, 2, 2],
    "sign": [1, 0, 0, 0, -1, 0, 0],
    "sign_source": ["column", None, None, None, "assumed", None, None],
    "delay_ms": [float(np.float32(0.1)), None, 2.5, 3.0, INF, 1.0, 1.0],
    "regions": [
        [{"region": "AL_L", "count": 2}, {"region": None, "count": 1}],
        None,
        [],
        [{"region": "LH", "count": 40}],
        [{"region": "é", "count": 1}],
        [],
        None,
    ],
}
INT64_NEURONS = {
    "id": [9007199254740993, 9007199254740992, -5, 720575940596125868],
    "cell_type": ["KC", "KC", None, "MBON"],
}
INT64_EDGES = {
    "pre": [9007199254740993, 9007199254740992, 720575940596125868],
    "post": [9007199254740992, 9007199254740993, 9007199254740993],
    "kind": ["chemical"] * 3,
    "count": [2.0, 1e10, 0.5],
    "sign": [1, 1, -1],
}


def _electrical(edges: dict[str, list[Any]]) -> dict[str, list[Any]]:
    kept = [row for row, kind in enumerate(edges["kind"]) if kind == "electrical"]
    return {name: [values[row] for row in kept] for name, values in edges.items()}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("name", "neurons", "edges", "only_kind", "expected_digest"),
    [
        (
            "text",
            TEXT_NEURONS,
            TEXT_EDGES,
            None,
            "2f384de9159a1cbdf13301c80caea56b6e80498d504ebd3707cbc5c3d55ff9f5",
        ),
        (
            "int64",
            INT64_NEURONS,
            INT64_EDGES,
            None,
            "d4949e2665860474e8c1387cd6b27a3232fd32b172e395cc9e101161d90d425d",
        ),
        (
            "electrical",
            TEXT_NEURONS,
            _electrical(TEXT_EDGES),
            "electrical",
            "4d044ec608dd5c1f00df1000de7a95f1217110d2062e49bc8bcf3fc40d32e90d",
        ),
        (
            "no-edges",
            {name: [] for name in TEXT_NEURONS},
            {name: [] for name in TEXT_EDGES},
            None,
            "248213eed9548c3bd60aeb90cb3962cd41a304e85474716375fb7a33ad6b360e",
        ),
    ],
)
def test_what_older_versions_wrote_is_read_exactly(
    version: int,
    name: str,
    neurons: dict[str, list[Any]],
    edges: dict[str, list[Any]],
    only_kind: str | None,
    expected_digest: str,
) -> None:
    c = Connectome.read(ARCHIVES / f"connectome-v{version}-{name}")
    assert repr(c.neurons.to_pydict()) == repr(neurons)
    assert repr(c.edge_table().to_pydict()) == repr(edges)
    assert c.only_kind == only_kind
    assert c.digest() == expected_digest
    assert c.neurons.column("id").type == (pa.int64() if name == "int64" else pa.string())
    assert c.count.dtype == (np.float64 if name == "int64" else np.int32)
    assert c.index_of(neurons["id"]).tolist() == list(range(len(neurons["id"])))


# ---- damage ----


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = small().write(tmp_path / "c")
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    for version in (99, 3, "2", True, None):
        manifest.write_text(json.dumps({**values, "version": version}))
        with pytest.raises(SchemaError, match=rf"of version {version!r}; this program reads .* up to 2"):
            Connectome.read(folder)
    manifest.write_text(json.dumps({**values, "format": "connectofit.bundle"}))
    with pytest.raises(SchemaError, match=r"holds 'connectofit\.bundle'"):
        Connectome.read(folder)


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff\xfe", b'{"format": "connectofit.connectome"}'])
def test_what_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = small().write(tmp_path / "c")
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(SchemaError, match="not the manifest"):
        Connectome.read(folder)


def test_an_altered_manifest_is_noticed(tmp_path: Path) -> None:
    folder = small().write(tmp_path / "c")
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text())
    for change in ({"only_kind": "chemical"}, {"edges": 5}, {"files": {}}, {"sha256": None}, {"more": 1}):
        manifest.write_text(json.dumps({**values, **change}))
        with pytest.raises(SchemaError, match="changed since it was written"):
            Connectome.read(folder, verify=False)


FILES = [
    "neurons.parquet",
    "edges.parquet",
    "arrays/neurons.arrow",
    "arrays/indptr.arrow",
    "arrays/edges.arrow",
    "arrays/edge_columns.arrow",
]


@pytest.mark.parametrize("name", ["manifest.json", *FILES])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match=r"manifest\.json is missing"):
        Connectome.read(tmp_path)
    folder = small().write(tmp_path / "c")
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=rf"{name} is missing"):
        Connectome.read(folder, verify=False)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_noticed_without_reading_it(tmp_path: Path, name: str) -> None:
    folder = small().write(tmp_path / "c")
    size = (folder / name).stat().st_size
    os.truncate(folder / name, size - 1)
    with pytest.raises(SchemaError, match=rf"{name} has {size - 1} bytes instead of {size}"):
        Connectome.read(folder, verify=False)


@pytest.mark.parametrize("name", FILES)
def test_any_altered_byte_is_noticed(tmp_path: Path, name: str) -> None:
    folder = small().write(tmp_path / "c")
    content = (folder / name).read_bytes()
    for place in range(0, len(content), max(len(content) // 40, 1)):
        (folder / name).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(SchemaError, match=f"{name} holds something else"):
            Connectome.read(folder)
    (folder / name).write_bytes(content)
    assert Connectome.read(folder).digest() == small().digest()


@pytest.mark.slow
def test_unverified_reading_of_altered_bytes_never_crashes(tmp_path: Path) -> None:
    folder = small().write(tmp_path / "c")
    program = """
import sys, random
from pathlib import Path
from connectofit.connectome import Connectome, ConnectofitError
random.seed(1)
for file in sorted((Path(sys.argv[1]) / "arrays").iterdir()):
    content = file.read_bytes()
    for _ in range(60):
        changed = bytearray(content)
        changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
        file.write_bytes(changed)
        try:
            Connectome.read(sys.argv[1], verify=False)
        except ConnectofitError:
            pass
    file.write_bytes(content)
print(Connectome.read(sys.argv[1]).n_edges)
"""
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    c = small()
    wrong = {
        "index": copy(c, indptr=np.array([0, 1, 3, 5])),
        "post is int64": copy(c, post=c.post.astype(np.int64)),
        "count is float": copy(c, count=c.count.astype(np.float32)),
        "kind is int16": copy(c, kind=c.kind.astype(np.int16)),
        r"post is int32 \[3\]": copy(
            c,
            edge_columns=c.edge_columns.slice(1),
            **{name: getattr(c, name)[1:] for name in ("post", "count", "kind", "sign")},
        ),
        "4 edges, its tables have 3": copy(c, edge_columns=c.edge_columns.slice(1)),
    }
    for number, (message, broken) in enumerate(wrong.items()):
        folder = tmp_path / str(number)
        c.write(folder)
        # The files of a broken connectome, under a manifest that fits them.
        shutil.rmtree(folder / "arrays")
        (folder / "arrays").mkdir()
        store._write_arrays(broken, folder)
        store._write_manifest(c, folder)
        with pytest.raises(SchemaError, match=message):
            Connectome.read(folder)


def test_version_1_is_checked_as_a_whole(tmp_path: Path) -> None:
    folder = shutil.copytree(ARCHIVES / "connectome-v1-text", tmp_path / "c")
    edges = pa_parquet.read_table(folder / "edges.parquet")
    changed = edges.set_column(3, "count", pa.array(np.ones(edges.num_rows, np.int32)))
    pa_parquet.write_table(changed, folder / "edges.parquet")
    with pytest.raises(SchemaError, match="digest differs"):
        Connectome.read(folder, verify=False)
    (folder / "edges.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SchemaError, match="damaged"):
        Connectome.read(folder)


# ---- writing ----


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FolderError, match="exists and is not empty"):
        worm().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    assert worm().write(tmp_path / "empty").exists()
    with pytest.raises(FolderError):
        worm().write(tmp_path / "empty")
    with pytest.raises(FolderError):
        worm().write(tmp_path / "note.txt")


@pytest.mark.parametrize("moment", ["Parquet", "IPC", "flush", "rename"])
def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    places: dict[str, tuple[Any, str]] = {
        "Parquet": (pa_parquet, "write_table"),
        "IPC": (pa.ipc, "new_file"),
        "flush": (os, "fsync"),
        "rename": (Path, "replace"),
    }
    monkeypatch.setattr(*places[moment], fail)
    with pytest.raises(FolderError, match="disk full"):
        worm().write(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_flushed_before_the_folder_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    sync, rename = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{handle}").partition(".part")[2].strip("/"))
        sync(handle)

    def replace(self: Path, target: Path) -> Path:
        flushed.append("renamed")
        return rename(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to name open files")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    small().write(tmp_path / "c")
    assert set(flushed[: flushed.index("renamed")]) == {"", "arrays", "manifest.json", *FILES}
    assert flushed[-1] != "renamed"  # the folder that holds it comes last


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    c = small()
    with pytest.raises(SchemaError, match=r"edges have more than one column named 'count' \(1 in all\)"):
        copy(c, edge_columns=pa.table({"count": [1, 2, 3, 4]})).write(tmp_path / "c")
    twice = pa.table([["a", "b", "c"], [1, 2, 3], [1, 2, 3]], names=["id", "x", "x"])
    with pytest.raises(SchemaError, match="neurons have more than one column named 'x'"):
        copy(c, neurons=twice).write(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    c = small()
    union = pa.UnionArray.from_dense(
        pa.array([0, 0, 0], pa.int8()), pa.array([0, 1, 2], pa.int32()), [pa.array([1, 2, 3])]
    )
    with pytest.raises(SchemaError, match="Change the type of that column"):
        copy(c, neurons=c.neurons.append_column("u", union)).write(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


# ---- digest ----


def test_the_digest_of_the_worm_is_that_of_the_first_version() -> None:
    assert worm().digest() == "042f80445447c01bc3b927c687a274c0c0857f8822cea8bf75cf67e152e58256"


def test_the_digest_changes_with_any_content_and_not_with_chunks() -> None:
    c = worm()
    seen = {c.digest()}
    count = c.count.copy()
    count[0] += 1
    for other in (c.with_edges(count=count), c.with_edges(sign=-c.sign), c.chemical, c.with_edges(count=c.count * 1.0)):
        assert other.digest() not in seen
        seen.add(other.digest())
    chunked = pa.concat_tables([c.neurons.slice(0, 100), c.neurons.slice(100)])
    assert copy(c, neurons=chunked).digest() == c.digest()


def test_missing_values_and_empty_texts_have_different_digests() -> None:
    def one(value: str | None) -> str:
        neurons = pa.table({"id": ["a"], "note": pa.array([value], pa.string())})
        return Connectome.from_edges(neurons, pre=[0], post=[0], count=[1]).digest()

    assert one(None) != one("")


def _digest_by_its_definition(c: Connectome) -> str:
    """The bytes that the first version hashed, built value by value in plain Python and NumPy."""
    sha = hashlib.sha256(json.dumps(["connectofit.connectome", 1, c.n_neurons, c.n_edges, c.only_kind]).encode())
    for name in ("indptr", "post", "count", "kind", "sign"):
        values = getattr(c, name)
        sha.update(f"{name}:{values.dtype.str}".encode() + values.tobytes())
    for part, table in (("neurons", c.neurons), ("edges", c.edge_columns)):
        for name in table.column_names:
            kind, values = table.column(name).type, table.column(name).to_pylist()
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            kind = pa.string() if pa.types.is_large_string(kind) else kind
            sha.update(json.dumps([part, name, str(kind)]).encode())
            sha.update(np.packbits(np.array([value is not None for value in values], bool)).tobytes())
            if pa.types.is_string(kind):
                texts = [(value or "").encode() for value in values]
                sha.update(np.array([len(text) for text in texts], np.int32).tobytes() + b"".join(texts))
            elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
                sha.update(np.array([value or 0 for value in values], kind.to_pandas_dtype()).tobytes())
            else:
                sha.update(repr(values).encode())
    return sha.hexdigest()


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), st.integers(0, 255)),
    (pa.bool_(), st.booleans()),
    (pa.float64(), st.floats(allow_nan=False).filter(lambda value: value != 0 or math.copysign(1, value) > 0)),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    (pa.date32(), st.dates(datetime.date(1900, 1, 1))),
    (pa.binary(), st.binary(max_size=3)),
]
LISTED = [*LEAVES, (pa.float32(), st.floats(width=32))]
STRUCTS = st.fixed_dictionaries({"a'\"": optional(TEXTS), "é": optional(st.lists(st.floats(), max_size=2))})
NESTED: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    *((pa.list_(kind), st.lists(optional(values), max_size=3)) for kind, values in LISTED),
    (pa.list_(pa.float64(), 2), st.lists(optional(st.floats()), min_size=2, max_size=2)),
    (
        pa.list_(pa.struct([("a'\"", pa.string()), ("é", pa.list_(pa.float64()))])),
        st.lists(optional(STRUCTS), max_size=3),
    ),
]


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_digest_is_that_of_its_definition_for_columns_of_every_type(data: st.DataObject) -> None:
    kind, values = data.draw(st.sampled_from([*LEAVES, *NESTED]))
    rows = data.draw(st.lists(optional(values), max_size=20))
    whole = pa.array(rows, kind)
    cut = data.draw(st.integers(0, len(rows)))
    for column in (whole, whole.slice(cut), pa.chunked_array([whole.slice(0, cut), whole.slice(cut)], kind)):
        neurons = pa.table({"id": pa.array(range(len(column)), pa.int64()), "v": column})
        no_edges = np.zeros(0, int)
        c = copy(Connectome.from_edges(neurons, pre=no_edges, post=no_edges, count=no_edges), neurons=neurons)
        assert c.digest() == _digest_by_its_definition(c)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_representations_are_those_of_python(data: st.DataObject) -> None:
    kind, values = data.draw(st.sampled_from([*LEAVES, *NESTED, (pa.null(), st.none()), (pa.float64(), st.floats())]))
    array = pa.array(data.draw(st.lists(optional(values), max_size=20)), kind)
    assert representations(array).to_pylist() == [repr(value) for value in array.to_pylist()]


def test_the_digest_of_many_rows_is_that_of_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns go through the hash in slices, and slices of some types through threads."""
    monkeypatch.setattr("connectofit.connectome.digest._SLICE", 16)
    rows = [None if k % 7 == 0 else k for k in range(1000)]
    neurons = pa.table(
        {
            "id": [f"n{k}" for k in range(1000)],
            "number": rows,
            "text": [None if k is None else "é" * (k % 3) for k in rows],
            "truth": [None if k is None else k % 2 == 0 for k in rows],
            "nested": [None if k is None else [{"region": f"r{k % 5}", "count": k}] * (k % 3) for k in rows],
        }
    )
    c = Connectome.from_edges(neurons, pre=np.arange(1000), post=np.arange(1000), count=np.ones(1000, int))
    assert c.digest() == _digest_by_its_definition(c)
