"""Which functions of NetworkX run on columns: every module of this package registers its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

FUNCTIONS: dict[str, Callable[..., Any]] = {}


def implements(function: Function) -> Function:
    """Register a function under its name, which is the one that NetworkX dispatches by."""
    FUNCTIONS[function.__name__] = function
    return function
