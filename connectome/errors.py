"""Errors of the package: every one names the object, the rule, what was found and what to do.

All subclass `ConnectofitError` and the standard type that fits, so that `except ValueError` also works. The command
line turns a `ConnectofitError` into one message and exit code 2 (1 for a `DivergedError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ConnectofitError(Exception):
    """Base of all errors that bad input or bad settings cause."""


class SchemaError(ConnectofitError, ValueError):
    """A table does not have the columns, types or values that the rule asks for."""


class SettingError(ConnectofitError, ValueError):
    """A setting, parameter or expression is not valid."""


class UnknownNameError(ConnectofitError, LookupError):
    """A name (of a neuron, column, model, parameter, stage, recipe, ...) does not exist."""

    def __str__(self) -> str:  # KeyError-like types quote their message; this one reads as written
        return str(self.args[0]) if self.args else ""


class MissingFileError(ConnectofitError, FileNotFoundError):
    """A file or folder that was named is not there."""


class FolderError(ConnectofitError, FileExistsError):
    """An output folder cannot be used: it holds something else, or cannot be written."""


class MissingExtraError(ConnectofitError, ImportError):
    """A library is not installed that only some of the package needs; the message names the extra to install."""


class DivergedError(ConnectofitError, ArithmeticError):
    """A simulation or fit reached a state that is not finite."""


def offenders(items: Sequence[object], limit: int = 5) -> str:
    """The first `limit` items as text, with how many there are in all: ``'a', 'b' (2 in all)``."""
    shown = ", ".join(repr(item) for item in items[:limit])
    return f"{shown}{', ...' if len(items) > limit else ''} ({len(items)} in all)"


def unknown_name(what: str, name: str, options: Iterable[str], where: str = "") -> UnknownNameError:
    """An `UnknownNameError` that suggests the nearest of `options`, or lists them.

    Parameters: `what` kind of thing the name should denote, e.g. ``"column"``; `where` it was looked for.
    """
    known = [str(option) for option in options]
    near = [option for option in known if option.casefold() == str(name).casefold()]
    near = near or difflib.get_close_matches(str(name), known, n=1)
    place = f" in {where}" if where else ""
    hint = f" Did you mean {near[0]!r}?" if near else f" Known: {offenders(sorted(known), 20)}." if known else ""
    return UnknownNameError(f"No {what} named {name!r}{place}.{hint}")
