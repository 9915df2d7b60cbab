"""Files of strangers that declare more than they hold: compressed arrays and tables, checked before they are unpacked.

A few kilobytes can declare an array, or a column of one value, that fills the memory of any computer.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from connectofit.connectome.errors import SchemaError, offenders

SMALL_BYTES = 256 * 2**20
"""What may be unpacked from a file of any size."""

MAX_EXPANSION = 200
"""How many times its own size a larger file may unpack to; measured tables and matrices stay below a tenth of it."""

MAX_ROWS_PER_BYTE = 64
"""Rows of a table for each byte of its file, above `SMALL_ROWS`: rows that differ take some bits each."""

SMALL_ROWS = 10_000_000


def check_npz(path: Path, *, packed: bool = True) -> None:
    """Raise `SchemaError` unless an ``.npz`` or ``.npy`` file holds plain arrays of the sizes that it declares.

    packed: whether arrays may be compressed; what this program writes is not. Raises `FileNotFoundError`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            file.seek(0)
            _check_array(file, size, str(path))
            return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 10_000 else names[:1]
            if twice:
                raise SchemaError(f"{path} holds arrays twice, or too many: {offenders(twice)}.")
            squeezed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            total = sum(entry.file_size for entry in entries)
            if squeezed and not packed:
                raise SchemaError(f"{path} holds compressed arrays, which nothing here writes: {offenders(squeezed)}.")
            if total > (max(SMALL_BYTES, MAX_EXPANSION * size) if packed else size):
                raise SchemaError(
                    f"{path} has {size:,} bytes and says that it unpacks to {total:,}. It would only fill the memory."
                )
            for entry in entries:
                with archive.open(entry) as file:
                    _check_array(file, entry.file_size, f"{entry.filename!r} of {path}")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise SchemaError(f"{path} cannot be read: {error}. It has to hold plain arrays, and may be cut off.") from None


def _check_array(file: IO[bytes], size: int, where: str) -> None:
    """Compare the header of an array with the bytes that follow it."""
    try:
        version = np.lib.format.read_magic(file)
        readers: dict[tuple[int, int], Any] = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"its version is {version}")
        shape, _, dtype = readers[version](file)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise SchemaError(f"{where} is no plain array: {error}.") from None
    if dtype.hasobject:
        raise SchemaError(f"{where} holds Python objects, which would have to be unpickled: that runs code.")
    declared, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if any(n < 0 for n in shape) or declared > held:
        raise SchemaError(f"{where} is said to be of shape {shape}, {declared:,} bytes, and holds {held:,}.")


def check_parquet(path: Path) -> None:
    """Raise `SchemaError` if a Parquet file declares more rows or bytes than it can hold."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, ValueError) as error:  # Arrow's errors are both
        raise SchemaError(f"{path} is no Parquet file that can be read: {error}.") from None
    check_footer(metadata, path)


def check_footer(metadata: pq.FileMetaData, path: Path) -> None:
    """As `check_parquet`, with the footer read already."""
    size = path.stat().st_size
    unpacked = sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))
    most_rows, most_bytes = max(SMALL_ROWS, MAX_ROWS_PER_BYTE * size), max(SMALL_BYTES, MAX_EXPANSION * size)
    if metadata.num_rows > most_rows or unpacked > most_bytes:
        raise SchemaError(
            f"{path} has {size:,} bytes and says that it holds {metadata.num_rows:,} rows of {unpacked:,} bytes. It "
            "would only fill the memory."
        )
