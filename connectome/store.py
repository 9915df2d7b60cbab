"""A Connectome on disk: a folder that opens at once, however many edges it holds.

Version 2, which `write` makes::

    manifest.json               format, version, sizes, the content's digest; bytes and SHA-256 of every other file
    neurons.parquet             the neurons, for people and other programs
    edges.parquet               the edges likewise: pre, post (ids), kind (text), count, sign, then the further columns
    arrays/neurons.arrow        what `read` maps into memory, as Arrow IPC files: the neurons,
    arrays/indptr.arrow           the CSR index (int64 [n + 1]),
    arrays/edges.arrow            post, count, kind (0 chemical, 1 electrical), sign,
    arrays/edge_columns.arrow     and the further columns of the edges

The Parquet files repeat the content (`read_connectome` reads them too) and are not used by `read`. Version 1 had
``neurons.parquet``, an ``edges.parquet`` with ``pre_index`` and ``post_index``, and a manifest; it stays readable.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet

from connectofit.connectome.arrays import combine, frozen
from connectofit.connectome.digest import digest
from connectofit.connectome.errors import FolderError, MissingFileError, SchemaError, offenders
from connectofit.connectome.graph import Connectome
from connectofit.connectome.policies import KINDS

__all__ = ["FORMAT", "VERSION", "digest", "read", "write"]

FORMAT = "connectofit.connectome"
VERSION = 2
_MANIFEST = "manifest.json"
_PARQUET = ("neurons.parquet", "edges.parquet")
_ARRAYS = ("arrays/neurons.arrow", "arrays/indptr.arrow", "arrays/edges.arrow", "arrays/edge_columns.arrow")
_FILES = {1: _PARQUET, 2: (*_PARQUET, *_ARRAYS)}
_OWN = ("post", "count", "kind", "sign")
_IN_PARQUET = ("pre", "post", "kind", "count", "sign")
_ROW_GROUP = 1 << 20  # edges


def write(connectome: Connectome, folder: str | Path) -> Path:
    """Write to `folder`, which must be new or empty; it appears whole or not at all. Returns its path.

    Everything is written to a temporary folder beside it and flushed to the disk, then renamed.

    Raises `FolderError` if the folder holds something already or cannot be written, `SchemaError` if two columns have
    one name or a column has a type that Parquet or Arrow's IPC format cannot hold.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FolderError(
            f"The connectome cannot be written to {target}: it exists and is not empty. Name a new folder."
        )
    _refuse_same_names(connectome)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.part"
    try:
        (temporary / "arrays").mkdir(parents=True)
        _write_parquet(connectome, temporary)
        _write_arrays(connectome, temporary)
        _write_manifest(connectome, temporary)
        for place in (temporary / "arrays", temporary):
            _flush(place)
        temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise FolderError(f"The connectome cannot be written to {target}: {error}.") from error
    except pa.ArrowException as error:
        raise SchemaError(
            f"The connectome cannot be written to {target}: {error}. Change the type of that column, or leave it out."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read(folder: str | Path, *, verify: bool = True) -> Connectome:
    """Open a folder that `write` made. The edges and columns are mapped from its files, not copied into memory.

    Parameters
    ----------
    folder
        Its path. Its files must stay as they are while the connectome is in use.
    verify
        Whether every file is read through once and compared with its SHA-256 in the manifest, so that no altered byte
        goes unnoticed. With False, only this is checked: the manifest's own hash, the presence and the size in bytes
        of every file, and that the tables have the columns, types and lengths that belong to a connectome. A truncated
        or replaced file is noticed by that; a byte changed within a file of the same size is not. Opening then takes
        the same time for every number of edges. A folder of version 1 is read, and checked, as a whole in any case.

    Raises
    ------
    MissingFileError
        A file is not there.
    SchemaError
        The folder holds something else, was written by a newer version, or was changed since.
    """
    source = Path(folder)
    manifest = _read_manifest(source)
    version = manifest["version"]
    for name in _FILES[version]:
        if not (source / name).is_file():
            raise _missing(source, name)
    try:
        if version == 1:
            return _read_version_1(source, manifest)
        _check_files(source, manifest, verify)
        return _open(source, manifest)
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise SchemaError(
            f"The tables in {source} cannot be read: {error}. The files are damaged; write them again."
        ) from error


# ---- writing ----


def _refuse_same_names(connectome: Connectome) -> None:
    for what, names in (
        ("neurons", connectome.neurons.column_names),
        ("edges", [*_IN_PARQUET, *connectome.edge_columns.column_names]),
    ):
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise SchemaError(
                f"The connectome cannot be written: its {what} have more than one column named {offenders(twice)} "
                f"(every edge has {', '.join(_IN_PARQUET)} already). Rename the others."
            )


def _write_parquet(connectome: Connectome, folder: Path) -> None:
    pa_parquet.write_table(connectome.neurons, folder / "neurons.parquet")
    with pa_parquet.ParquetWriter(folder / "edges.parquet", _readable_edges(connectome, 0, 0).schema) as writer:
        for start in range(0, connectome.n_edges, _ROW_GROUP):
            writer.write_table(_readable_edges(connectome, start, min(start + _ROW_GROUP, connectome.n_edges)))


def _write_arrays(connectome: Connectome, folder: Path) -> None:
    arrays = (
        connectome.neurons,
        pa.table({"indptr": pa.array(connectome.indptr)}),
        pa.table({name: pa.array(getattr(connectome, name)) for name in _OWN}),
        connectome.edge_columns,
    )
    for name, table in zip(_ARRAYS, arrays, strict=True):
        whole = table.combine_chunks()  # one record batch, so that every column is one piece of the mapped file
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, whole.schema) as writer:
            writer.write_table(whole)


def _readable_edges(connectome: Connectome, start: int, stop: int) -> pa.Table:
    """Some of the edges, as they stand in ``edges.parquet``: as `Connectome.edge_table` has them."""
    ids = combine(connectome.neurons.column("id"))
    rows = np.arange(start, stop)
    columns: dict[str, Any] = {
        "pre": ids.take(pa.array(np.searchsorted(connectome.indptr, rows, side="right") - 1)),
        "post": ids.take(pa.array(connectome.post[start:stop])),
        "kind": pa.array(KINDS).take(pa.array(connectome.kind[start:stop])),
        "count": pa.array(connectome.count[start:stop]),
        "sign": pa.array(connectome.sign[start:stop]),
    }
    further = connectome.edge_columns
    columns |= {name: further.column(name).slice(start, stop - start) for name in further.column_names}
    return pa.table(columns)


def _write_manifest(connectome: Connectome, folder: Path) -> None:
    hashes = _hashes(folder, _FILES[VERSION])
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "neurons": connectome.n_neurons,
        "edges": connectome.n_edges,
        "only_kind": connectome.only_kind,
        "digest": digest(connectome),
        "files": {name: {"bytes": (folder / name).stat().st_size, "sha256": hashes[name]} for name in hashes},
    }
    manifest["sha256"] = _seal(manifest)
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for name in (*hashes, _MANIFEST):
        _flush(folder / name)


def _seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of all that the manifest says but its own hash."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _hashes(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of each file's bytes; the largest are hashed first, side by side."""

    def one(name: str) -> str:
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    largest_first = sorted(names, key=lambda name: -(folder / name).stat().st_size)
    with ThreadPoolExecutor(min(len(names), os.cpu_count() or 1)) as pool:
        found = dict(zip(largest_first, pool.map(one, largest_first), strict=True))
    return {name: found[name] for name in names}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- reading ----


def _missing(source: Path, name: str) -> MissingFileError:
    return MissingFileError(f"{source} is not a stored connectome: {name} is missing. Name a folder made by write.")


def _read_manifest(source: Path) -> dict[str, Any]:
    path = source / _MANIFEST
    if not path.is_file():
        raise _missing(source, _MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, version = manifest["format"], manifest["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"{path} is not the manifest of a stored connectome: {error!r}.") from error
    if found != FORMAT or isinstance(version, bool) or version not in _FILES:
        raise SchemaError(
            f"{source} holds {found!r} of version {version!r}; this program reads {FORMAT!r} up to {VERSION}. If a "
            "newer connectofit wrote it, read it with that."
        )
    if version > 1 and manifest.get("sha256") != _seal(manifest):
        raise SchemaError(
            f"{path} was changed since it was written: its hash does not fit. Write the connectome again."
        )
    return manifest


def _check_files(source: Path, manifest: Mapping[str, Any], verify: bool) -> None:
    """Sizes, and with `verify` contents, against the manifest. Raises `SchemaError` naming the files that differ."""
    listed, names = manifest["files"], _FILES[manifest["version"]]
    sizes = {name: (source / name).stat().st_size for name in names}
    wrong = [
        f"{name} has {sizes[name]} bytes instead of {listed[name]['bytes']}"
        for name in names
        if sizes[name] != listed[name]["bytes"]
    ]
    if verify and not wrong:
        hashes = _hashes(source, names)
        wrong = [f"{name} holds something else" for name in names if hashes[name] != listed[name]["sha256"]]
    if wrong:
        raise SchemaError(
            f"The connectome in {source} is not the one that was written: {'; '.join(wrong)}. Files were "
            "truncated, changed or mixed up: write the connectome again."
        )


def _open(source: Path, manifest: Mapping[str, Any]) -> Connectome:
    neurons, index, edges, edge_columns = (_map(source / name) for name in _ARRAYS)
    n, e = manifest["neurons"], manifest["edges"]
    types: Mapping[str, tuple[pa.DataType, ...]] = {
        "indptr": (pa.int64(),),
        "post": (pa.int32(),),
        "count": (pa.int32(), pa.float64()),
        "kind": (pa.int8(),),
        "sign": (pa.int8(),),
    }
    arrays = {}
    for table, names, length in ((index, ("indptr",), n + 1), (edges, _OWN, e)):
        for name in names:
            column = combine(table.column(name))
            if column.type not in types[name] or len(column) != length or column.null_count:
                raise SchemaError(
                    f"{source} does not hold a connectome: {name} is {column.type} [{len(column)}], but must be "
                    f"{' or '.join(map(str, types[name]))} [{length}]. Write the connectome again."
                )
            arrays[name] = column.to_numpy()  # a view of the mapped file, and read-only
    if neurons.num_rows != n or edge_columns.num_rows != (e if edge_columns.num_columns else 0):
        raise SchemaError(
            f"{source} does not hold a connectome: its manifest says {n} neurons and {e} edges, its tables have "
            f"{neurons.num_rows} and {edge_columns.num_rows} rows. Write the connectome again."
        )
    if arrays["indptr"][0] != 0 or arrays["indptr"][-1] != e:
        raise SchemaError(f"{source} does not hold a connectome: its index does not end at its last edge.")
    return Connectome(neurons=neurons, edge_columns=edge_columns, only_kind=manifest["only_kind"], **arrays)


def _map(path: Path) -> pa.Table:
    """The table in an Arrow IPC file, its columns pointing into the mapped file."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate()  # no offset points beyond the file
    return table


def _read_parquet(path: Path) -> pa.Table:
    """The table with the types that it was written with: Parquet renames the items of lists, as their type shows."""
    file = pa_parquet.ParquetFile(path)
    schema = (file.metadata.metadata or {}).get(b"ARROW:schema")
    table = file.read()
    return table if schema is None else table.cast(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema))))


def _read_version_1(source: Path, manifest: Mapping[str, Any]) -> Connectome:
    own = ("pre_index", "post_index", "kind", "count", "sign")
    neurons, edges = (_read_parquet(source / name).combine_chunks() for name in _PARQUET)
    pre, post, kind, count, sign = (combine(edges.column(name)).to_numpy() for name in own)
    connectome = Connectome(
        neurons=neurons,
        indptr=frozen(np.searchsorted(pre, np.arange(neurons.num_rows + 1)).astype(np.int64)),
        post=frozen(post),
        count=frozen(count),
        kind=frozen(kind),
        sign=frozen(sign),
        edge_columns=edges.drop_columns(list(own)) if edges.num_columns > len(own) else pa.table({}),
        only_kind=manifest["only_kind"],
    )
    if digest(connectome) != manifest["digest"]:
        raise SchemaError(
            f"The connectome in {source} is not the one that was written: its digest differs from the manifest's. "
            "The files were changed or mixed up; write them again."
        )
    return connectome
