"""Arrays and tables that declare more than they hold are refused before they fill the memory."""

import io
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from connectofit.connectome import AdjacencyMatrix, read_connectome
from connectofit.connectome.declared_sizes import check_npz, check_parquet
from connectofit.connectome.errors import MissingFileError, SchemaError
from connectofit.pipelines.arrays import read_arrays, write_arrays


def header(shape: str, descr: str = "'<f8'") -> bytes:
    """An array's header with any shape, and no data."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path, entries, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def array(values) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def test_plain_arrays_pass_and_come_back(tmp_path):
    arrays = {"a": np.arange(5.0), "b/c": np.array("text"), "none": np.zeros((0, 3))}
    write_arrays(tmp_path / "x.npz", arrays)
    check_npz(tmp_path / "x.npz", packed=False)
    found = read_arrays(tmp_path / "x.npz")
    assert all(np.array_equal(found[name], value) for name, value in arrays.items())


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(100000, 100000, 100000)", "(2,)", "(-1,)"])
def test_a_header_that_declares_more_than_follows_is_refused(tmp_path, shape):
    path = archive(tmp_path / "x.npz", {"a.npy": header(shape)})
    with pytest.raises(SchemaError, match="is said to be of shape"):
        read_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        header("(" * 5000 + ")" * 5000),
        header("(1,)", "[" * 3000 + "]" * 3000),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{",
        b"\x93NUMPY\x07\x00",
        b"no array",
        b"",
        header("__import__('os').system('true')"),
    ],
)
def test_headers_that_are_none_are_refused(tmp_path, content):
    path = archive(tmp_path / "x.npz", {"a.npy": content})
    with pytest.raises(SchemaError, match="no plain array"):
        read_arrays(path)


def test_arrays_of_objects_are_refused_without_being_unpickled(tmp_path):
    class Spy:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    np.savez(tmp_path / "x.npz", a=np.array([Spy()], dtype=object), allow_pickle=True)
    with pytest.raises(SchemaError, match="unpickled"):
        read_arrays(tmp_path / "x.npz")
    with pytest.raises(SchemaError, match="unpickled"):
        read_connectome(AdjacencyMatrix(tmp_path / "x.npz", array="a"), None)
    assert not (tmp_path / "written").exists()


def test_a_bomb_of_zeros_is_not_unpacked(tmp_path):
    """300 MiB of zeros in 300 kB: a thousand times its size."""
    bomb = header(f"({300 * 2**20 // 8},)") + bytes(300 * 2**20)
    path = archive(tmp_path / "x.npz", {"a.npy": bomb}, zipfile.ZIP_DEFLATED)
    with pytest.raises(SchemaError, match="only fill the memory"):
        check_npz(path)
    with pytest.raises(SchemaError, match="only fill the memory"):
        read_connectome(AdjacencyMatrix(path), None)
    with pytest.raises(SchemaError, match="compressed arrays"):
        read_arrays(path)


def test_names_that_lead_elsewhere_write_nothing(tmp_path):
    inner = tmp_path / "in"
    inner.mkdir()
    path = archive(inner / "x.npz", {"../../evil.npy": array([1.0]), "/tmp/evil.npy": array([2.0])})
    before = sorted(tmp_path.rglob("*"))
    assert set(read_arrays(path)) == {"../../evil", "/tmp/evil"}  # names in memory, never of files
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_that_stand_twice_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("a.npy", array([1.0]))
        file.writestr("a.npy", array([2.0]))
    with pytest.raises(SchemaError, match="twice"):
        read_arrays(tmp_path / "x.npz")


def test_damaged_and_missing_files_are_refused(tmp_path):
    with pytest.raises(MissingFileError):
        read_arrays(tmp_path / "nowhere.npz")
    path = archive(tmp_path / "x.npz", {"a.npy": array(np.arange(100.0))})
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:-30], whole[:200] + bytes(40) + whole[240:]):
        path.write_bytes(content)
        with pytest.raises(SchemaError):
            read_arrays(path)


def test_a_compressed_sparse_matrix_is_read(tmp_path):
    matrix = sp.random(300, 300, 0.05, format="csr", random_state=1)
    matrix.data[:] = 1.0
    sp.save_npz(tmp_path / "x.npz", matrix, compressed=True)
    assert read_connectome(AdjacencyMatrix(tmp_path / "x.npz", ids=list(range(300))))[0].n_edges == matrix.nnz


def test_a_table_of_endless_rows_is_refused(tmp_path):
    """One value over and over takes next to nothing in a file and eight bytes a row in memory."""
    path = tmp_path / "x.parquet"
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(30_000_000, np.int8)), pa.array([1.0]))
    pq.write_table(pa.table({"a": column}), path, compression="zstd", row_group_size=30_000_000)
    assert path.stat().st_size < 200_000
    with pytest.raises(SchemaError, match="30,000,000 rows"):
        check_parquet(path)
    with pytest.raises(SchemaError, match="30,000,000 rows"):
        read_connectome(path)


def test_ordinary_tables_pass_and_other_files_do_not(tmp_path):
    pq.write_table(pa.table({"a": np.arange(100_000), "b": np.zeros(100_000)}), tmp_path / "x.parquet")
    check_parquet(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_bytes(b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1")
    with pytest.raises(SchemaError, match="no Parquet file"):
        check_parquet(tmp_path / "y.parquet")
