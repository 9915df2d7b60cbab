"""HDF5 files of strangers: opened only if all that they hold is in them, and read only in sizes that they can have.

HDF5 can point out of a file in three ways (external links, external storage, virtual datasets): a file that somebody
sends could make a program read any other one that its user may read. And it can declare arrays that are far larger
than the file, which fill the memory when they are read. Both are refused before anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.errors import MissingFileError, SchemaError, offenders
from connectofit.connectome.extras import needed

MAX_OBJECTS = 1_000_000
"""Most groups and datasets of a file."""

MAX_ATTRIBUTE_BYTES = 16 * 2**20
"""Largest attribute: names, units and scalars, not data."""

SMALL_BYTES = 64 * 2**20
"""Arrays up to this size are read whatever the file stores of them."""

MAX_EXPANSION = 2_000
"""How many times larger than what the file stores of it an array may be; deflate compresses 1,032 times at most."""


@contextmanager
def hdf5_file(path: str | Path, extra: str, what: str) -> Iterator[Any]:
    """The file as an open `h5py.File`, after `check_contained`.

    Parameters: `extra` brings h5py; `what` begins the message if it is missing, e.g. ``"Reading NWB files"``.
    Raises `MissingExtraError`, `MissingFileError`, and `SchemaError` for a file that is no HDF5 file, is damaged, or
    points out of itself.
    """
    h5py = needed("h5py", extra, what)
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SchemaError(f"{path} is no HDF5 file, or a damaged one: {error}.") from None
    with file:
        try:
            check_contained(file, str(path))
        except (OSError, RuntimeError, KeyError) as error:  # what h5py raises for broken structures
            raise SchemaError(f"{path} is a damaged HDF5 file: {error}.") from None
        yield file


def check_contained(file: Any, where: str) -> None:
    """Raise `SchemaError` if an open file points to other files, or has attributes or numbers of objects that are no
    header's.

    Links inside of the file are fine, also those that lead to nowhere or in circles. `where` names the file.
    """
    h5py = needed("h5py", "sonata", "Reading HDF5 files")
    outside: list[str] = []
    large: list[str] = []
    seen: set[Any] = set()
    waiting = [("/", file["/"])]
    while waiting:
        name, item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > MAX_OBJECTS:
            raise SchemaError(f"{where} has more than {MAX_OBJECTS:,} groups and datasets, which no circuit needs.")
        for k in range(h5py.h5a.get_num_attrs(item.id)):
            attribute = h5py.h5a.open(item.id, index=k)
            # What is declared is what would be read, also of a damaged file that holds less.
            size = attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size()
            if size > MAX_ATTRIBUTE_BYTES:
                large.append(f"{attribute.name.decode(errors='replace')} of {name}: {size:,} bytes")
        if isinstance(item, h5py.Dataset):
            if item.external:
                outside.append(f"{name}: its data are in {item.external[0][0]!r}")
            elif item.is_virtual:
                outside.append(f"{name}: it is put together from other datasets")
            continue
        if not isinstance(item, h5py.Group):
            continue
        for key in item:
            link = item.get(key, getlink=True)
            below = f"{name.rstrip('/')}/{key}"
            if isinstance(link, h5py.ExternalLink):
                outside.append(f"{below}: links to {link.filename!r}")
            elif isinstance(link, h5py.HardLink):
                waiting.append((below, item[key]))
    if outside:
        raise SchemaError(
            f"{where} points to other files, which could be any on this computer: {offenders(sorted(outside))}. Ask "
            "for a file that holds its data itself (h5repack and h5copy make one)."
        )
    if large:
        raise SchemaError(
            f"{where} has attributes of more than {MAX_ATTRIBUTE_BYTES:,} bytes: {offenders(sorted(large))}. "
            "Attributes name things; do not use the file unless you trust where it comes from."
        )


def check_size(dataset: Any, where: str) -> None:
    """Raise `SchemaError` if a dataset is declared far larger than what the file stores of it could be unpacked to."""
    declared = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if declared > max(SMALL_BYTES, MAX_EXPANSION * stored):
        raise SchemaError(
            f"{dataset.name} of {where} is said to have {declared:,} bytes, and the file stores {stored:,} of it. Data "
            "do not compress so; it would only fill the memory."
        )


def read_dataset(dataset: Any, where: str) -> np.ndarray:
    """All of a dataset as an array, after `check_size`. Raises `SchemaError` also for damaged data.

    `where` names the file.
    """
    check_size(dataset, where)
    try:
        return np.asarray(dataset[()])
    except (OSError, RuntimeError) as error:
        raise SchemaError(f"{dataset.name} of {where} cannot be read: {error}.") from None
