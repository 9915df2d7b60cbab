"""Named arrays and model parameters on disk, as ``.npz`` files whose bytes depend on the content alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from connectofit.connectome.declared_sizes import check_npz
from connectofit.connectome.errors import MissingFileError, SchemaError


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez`, but with fixed times inside, so that equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as handle:
                np.lib.format.write_array(handle, np.asanyarray(arrays[name]), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file. Raises `MissingFileError`, or `SchemaError` for anything but plain arrays (no pickles)."""
    try:
        check_npz(path, packed=False)
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SchemaError(f"{path} does not hold plain arrays: {error}") from None


def flatten_params(params: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """``{owner: {name: values}}`` as ``{"params/owner/name": array}``."""
    return {
        f"params/{owner}/{name}": np.asarray(value)
        for owner, values in params.items()
        for name, value in values.items()
    }


def nest_params(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The inverse of `flatten_params`; arrays of other names are left out."""
    params: dict[str, dict[str, np.ndarray]] = {}
    for full, value in arrays.items():
        if full.startswith("params/"):
            owner, _, name = full.removeprefix("params/").rpartition("/")
            params.setdefault(owner, {})[name] = value
    return params
