"""A Connectome on disk: a folder with ``neurons.parquet``, ``edges.parquet`` and ``manifest.json``.

``edges.parquet`` holds the edges in the graph's order: ``pre_index`` and ``post_index`` (rows of ``neurons.parquet``,
from 0), ``kind`` (0 chemical, 1 electrical), ``count``, ``sign`` and the further columns. The manifest names the
format, its version and the content's digest, which is checked when the folder is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet

from connectofit.connectome.arrays import combine, frozen
from connectofit.connectome.errors import FolderError, MissingFileError, SchemaError
from connectofit.connectome.graph import Connectome

FORMAT = "connectofit.connectome"
VERSION = 1
_OWN = ("pre_index", "post_index", "kind", "count", "sign")


def write(connectome: Connectome, folder: str | Path) -> Path:
    """Write to `folder`, which must be new or empty; it appears whole or not at all. Returns its path.

    Raises `FolderError` if it holds something already or cannot be written.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FolderError(
            f"The connectome cannot be written to {target}: it exists and is not empty. Name a new folder."
        )
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    columns: dict[str, Any] = {
        "pre_index": pa.array(connectome.pre),
        "post_index": pa.array(connectome.post),
        "kind": pa.array(connectome.kind),
        "count": pa.array(connectome.count),
        "sign": pa.array(connectome.sign),
    }
    columns |= {name: connectome.edge_columns.column(name) for name in connectome.edge_columns.column_names}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "neurons": connectome.n_neurons,
        "edges": connectome.n_edges,
        "only_kind": connectome.only_kind,
        "digest": connectome.digest(),
    }
    try:
        temporary.mkdir(parents=True)
        pa_parquet.write_table(connectome.neurons, temporary / "neurons.parquet")
        pa_parquet.write_table(pa.table(columns), temporary / "edges.parquet")
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise FolderError(f"The connectome cannot be written to {target}: {error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def read(folder: str | Path) -> Connectome:
    """Read a folder that `write` wrote.

    Raises `MissingFileError` if a file is not there, `SchemaError` if the folder holds something else, was written by a
    newer version, or was changed since.
    """
    source = Path(folder)
    for name in ("manifest.json", "neurons.parquet", "edges.parquet"):
        if not (source / name).is_file():
            raise MissingFileError(
                f"{source} is not a stored connectome: {name} is missing. Name a folder made by write."
            )
    try:
        manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
        found = (manifest["format"], manifest["version"])
        only_kind, expected = manifest["only_kind"], manifest["digest"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise SchemaError(
            f"{source / 'manifest.json'} is not the manifest of a stored connectome: {error!r}."
        ) from error
    if found[0] != FORMAT or found[1] not in range(1, VERSION + 1):
        raise SchemaError(
            f"{source} holds {found[0]!r} of version {found[1]!r}; this program reads {FORMAT!r} up to {VERSION}."
        )
    try:
        neurons = pa_parquet.ParquetFile(source / "neurons.parquet").read().combine_chunks()
        edges = pa_parquet.ParquetFile(source / "edges.parquet").read().combine_chunks()
        own = {name: combine(edges.column(name)).to_numpy() for name in _OWN}
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise SchemaError(
            f"The tables in {source} cannot be read: {error}. The files are damaged; write them again."
        ) from error
    connectome = Connectome(
        neurons=neurons,
        indptr=frozen(np.searchsorted(own["pre_index"], np.arange(neurons.num_rows + 1)).astype(np.int64)),
        post=frozen(own["post_index"]),
        count=frozen(own["count"]),
        kind=frozen(own["kind"]),
        sign=frozen(own["sign"]),
        edge_columns=edges.drop_columns(list(_OWN)) if edges.num_columns > len(_OWN) else pa.table({}),
        only_kind=only_kind,
    )
    if connectome.digest() != expected:
        raise SchemaError(
            f"The connectome in {source} is not the one that was written: its digest differs from the manifest's. "
            "The files were changed or mixed up; write them again."
        )
    return connectome


def digest(connectome: Connectome) -> str:
    """SHA-256 (hex) over names, types and values of all columns, independent of how Arrow chunks or pads them."""
    state = hashlib.sha256()
    state.update(json.dumps([FORMAT, VERSION, connectome.n_neurons, connectome.n_edges, connectome.only_kind]).encode())
    for name in ("indptr", "post", "count", "kind", "sign"):
        values = getattr(connectome, name)
        state.update(f"{name}:{values.dtype.str}".encode())
        state.update(np.ascontiguousarray(values).data)
    for part, table in (("neurons", connectome.neurons), ("edges", connectome.edge_columns)):
        for name in table.column_names:
            column = combine(table.column(name))
            state.update(json.dumps([part, name, str(column.type)]).encode())
            _update(state, column)
    return state.hexdigest()


def _update(state: Any, column: pa.Array) -> None:
    state.update(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).data)
    kind = column.type
    if pa.types.is_string(kind):
        # Taking every row gives buffers of this column's own, without another's offset or spare bytes.
        whole = pc.fill_null(column, "").take(pa.array(np.arange(len(column))))
        state.update(pc.binary_length(whole).to_numpy().data)
        text = whole.buffers()[2]
        size = pc.sum(pc.binary_length(whole)).as_py() or 0
        state.update(b"" if text is None else text[:size])
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        values = pc.fill_null(column, False if pa.types.is_boolean(kind) else 0)
        state.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).data)
    else:
        state.update(repr(column.to_pylist()).encode())
