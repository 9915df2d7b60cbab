"""Files that were cut, altered, or are not in UTF-8 are refused with what is wrong, and never read in part."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as pa_feather
import pyarrow.parquet as pa_parquet
import pytest

from connectofit.connectome import SchemaError, read_connectome


def edges(first: str = "a") -> pa.Table:
    return pa.table({"pre": [first, "b", "c"], "post": ["b", "c", "a"], "count": [1, 2, 3]})


def csv(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text)
    return path


def test_rows_with_a_wrong_number_of_fields_are_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"edges\.csv has 3 columns.*row 2: 4 fields, row 4: 2 fields \(2 in all"):
        read_connectome(csv(tmp_path, "pre,post,count\na,b,1\nb,a,1,9\nb,a,3\nb,a\n"))


def test_a_truncated_compressed_csv_is_refused(tmp_path: Path) -> None:
    text = ("pre,post,count\n" + "".join(f"n{k},n{k * k % 97},{k + 1}\n" for k in range(20_000))).encode()
    zstd = tmp_path / "whole.zst"
    with pa.output_stream(str(zstd), compression="zstd") as stream:
        stream.write(text)
    for suffix, content in ((".gz", gzip.compress(text)), (".bz2", bz2.compress(text)), (".zst", zstd.read_bytes())):
        path = tmp_path / f"edges.csv{suffix}"
        path.write_bytes(content)
        assert read_connectome(path)[1].rows_in["edges"] == 20_000
        for cut in (len(content) // 2, len(content) - 9, len(content) - 1):
            path.write_bytes(content[:cut])
            with pytest.raises(SchemaError, match=r"edges\.csv\S+ cannot be read as csv: Truncated compressed stream"):
                read_connectome(path)


def test_a_gzip_file_with_altered_bytes_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"pre,post,count\n" + b"a,b,1\n" * 3000))
    content[-6] ^= 1  # its check sum
    (tmp_path / "edges.csv.gz").write_bytes(content)
    with pytest.raises(SchemaError, match=r"edges\.csv\.gz cannot be read as csv: .*incorrect data check"):
        read_connectome(tmp_path / "edges.csv.gz")


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edges.parquet"
    pa_parquet.write_table(edges(), path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 50):
        path.write_bytes(whole[:cut])
        with pytest.raises(SchemaError, match=r"edges\.parquet cannot be read as parquet"):
            read_connectome(path)


def test_parquet_pages_that_fail_their_check_sum_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edges.parquet"
    counts = pa.array(range(1, 1001), pa.int64())
    table = pa.table({"pre": ["a"] * 1000, "post": [f"n{k}" for k in range(1000)], "count": counts})
    options = {"use_dictionary": False, "compression": "none"}
    pa_parquet.write_table(table, path, write_page_checksum=True, **options)
    content = bytearray(path.read_bytes())
    at = content.index((777).to_bytes(8, "little"))
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"edges\.parquet cannot be read as parquet: .*CRC"):
        read_connectome(path)


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_typed_text_that_is_not_utf8_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"edges{suffix}"
    if suffix == ".parquet":
        pa_parquet.write_table(edges("aaXXaa"), path, compression="none")
    else:
        pa_feather.write_feather(edges("aaXXaa"), str(path), compression="uncompressed")
    path.write_bytes(path.read_bytes().replace(b"aaXXaa", b"aa\xff\xffaa"))
    with pytest.raises(SchemaError, match=rf"edges\{suffix} cannot be read as {suffix[1:]}: .*(?i:utf-?8)"):
        read_connectome(path)


def test_bytes_that_are_not_utf8_are_named_by_row(tmp_path: Path) -> None:
    text = "pre,post,count\nä,b,1\na,é,2\nb,a,3\n"
    (tmp_path / "edges.csv").write_bytes(text.encode("utf-8").replace("é".encode(), b"\xe9"))
    with pytest.raises(
        SchemaError, match=r"edges\.csv must be in UTF-8, but .* in row 2: b'a,\\xe9,2' \(1 in all.*Save it"
    ):
        read_connectome(tmp_path / "edges.csv")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_a_csv_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "edges.csv").write_bytes("pre,post,count,nöte\na,b,1,x\n".encode(encoding))
    with pytest.raises(SchemaError, match=r"must be in UTF-8; its first line is not.*Save it as UTF-8"):
        read_connectome(tmp_path / "edges.csv")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_bytes("pre,post,count\na,b,1\n".encode("utf-8-sig"))
    assert read_connectome(tmp_path / "edges.csv")[0].ids == ("a", "b")
