"""Libraries that only some formats need: imported when such a file is opened, and named when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from connectofit.connectome.errors import MissingExtraError


def needed(module: str, extra: str, what: str) -> ModuleType:
    """The module. Raises `MissingExtraError`, which names the extra to install, where it is not installed.

    what: begins the message, e.g. ``"Reading NWB files"``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module!r}, which cannot be imported ({error}). Install the extra that brings it: "
            f"pip install 'connectofit[{extra}]'"
        ) from None
