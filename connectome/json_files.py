"""JSON files of strangers: of limited size and depth, strict about numbers, and told apart from files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import MissingFileError, SchemaError

MAX_BYTES = 64 * 2**20
"""Largest file: what describes a circuit or a model is far smaller."""


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a file. `what` it is begins the messages, e.g. ``"The configuration"``.

    Raises `MissingFileError`, and `SchemaError` for a file that is too large, no JSON, nested too deeply, has numbers
    that are not finite, or is no object.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SchemaError(f"{what} {str(path)!r} is no plain file.")  # a pipe would be waited for
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SchemaError(f"{what} {str(path)!r} has {size:,} bytes; at most {MAX_BYTES:,} are read.")
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise MissingFileError(f"There is no file {str(path)!r}. Check the path.") from None
    except RecursionError:
        raise SchemaError(f"{what} {str(path)!r} is nested too deeply to be read.") from None
    except ValueError as error:  # no JSON, no UTF-8, and numbers that are not finite
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(f"{what} {str(path)!r} is no JSON that can be read: {error}.") from None
    if not isinstance(found, dict):
        raise SchemaError(f"{what} {str(path)!r} has to hold an object; it holds a {type(found).__name__}.")
    return found


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
