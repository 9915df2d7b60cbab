"""TOML of strangers: of limited size, depth and length of keys, so that no file can keep the reader busy for ever.

Python's parser takes time that grows with the square of the number of a key's parts, and descends once for each
bracket of a nested array.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from connectofit.connectome.errors import MissingFileError, SettingError

MAX_BYTES = 16 * 2**20
"""Largest file: a specification with a value for each of a hundred thousand neurons is smaller."""

MAX_DEPTH = 32
"""Deepest nesting of tables and arrays, and the most parts of a key."""

_PART = r"(?:[A-Za-z0-9_-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_DEPTH},}}")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table that a text holds. `where` it stands begins the messages.

    Raises `SettingError` for what is no TOML, and for tables, arrays and keys that are nested too deeply.
    """
    if _LONG_KEY.search(text):
        raise SettingError(f"{where} has a key, or a text like one, of more than {MAX_DEPTH} parts. Shorten it.")
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise SettingError(f"{where} is nested too deeply to be read; {MAX_DEPTH} levels are allowed.") from None
    except ValueError as error:  # no TOML, and integers of thousands of digits
        raise SettingError(f"{where} is not valid TOML: {error}. Correct it there.") from None
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return found
    raise SettingError(f"{where} is nested too deeply to be read; {MAX_DEPTH} levels are allowed.")


def read_toml(path: Path, what: str = "file") -> dict[str, Any]:
    """The table in a TOML file. Raises `MissingFileError`, and `SettingError` as `parse_toml` and for a file that is
    too large or no UTF-8. `what` it should be stands in the message of a missing one."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SettingError(f"{str(path)!r} has {size:,} bytes; at most {MAX_BYTES:,} of TOML are read.")
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFileError(f"There is no {what} {str(path)!r}. Check the path.") from None
    except IsADirectoryError:
        raise MissingFileError(f"{str(path)!r} is a folder, where a TOML file was expected.") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None
    return parse_toml(text, str(path))
