"""Errors of a Connectome as a graph: they are also what NetworkX raises, so that code written for it catches them.

Their texts, which name the nearest neuron, are composed when they are read: algorithms that ask for what may not be
there, and catch the error, would otherwise search all names every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import networkx as nx

from connectofit.connectome.errors import ConnectofitError, UnknownNameError, offenders, unknown_name

_SEARCHED = 5_000  # comparing a name with this many others takes about 0.2 s
_ROUNDING = 1024  # a 64-bit integer that went through a float is off by less than that
_IMMUTABLE = (
    "A Connectome is immutable, and this changes a graph. Take to_networkx(), change that, and come back by "
    "Connectome.from_networkx()."
)


class NotInGraphError(UnknownNameError, KeyError, nx.NetworkXError, nx.NodeNotFound):
    """A neuron or an edge is not in the graph."""


class ImmutableGraphError(ConnectofitError, nx.NetworkXError, TypeError):
    """Something tried to change a Connectome."""

    def __init__(self, message: str = _IMMUTABLE) -> None:
        super().__init__(message)


class _Late:
    """A text that is composed when it is read."""

    def __init__(self, compose: Callable[[], str]) -> None:
        self._compose = compose

    def __str__(self) -> str:
        return self._compose()

    __repr__ = __str__

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def no_neuron(missing: Sequence[object], ids: Sequence[Any], id_type: str) -> NotInGraphError:
    """The error for ids that no neuron has; its text names the nearest to the first of them."""

    def compose() -> str:
        wanted = missing[0]
        right = type(wanted) is (str if id_type == "string" else int)
        kind = "" if right else f" The ids are {id_type}: give them as such."
        more = f" Missing: {offenders(missing)}." if len(missing) > 1 else ""
        return f"{unknown_name('neuron', str(wanted), _similar(wanted, ids), 'the connectome')}{kind}{more}"

    return NotInGraphError(_Late(compose))


def no_edge(u: object, v: object, kind: object = None) -> NotInGraphError:
    """The error for an edge that is not there."""
    return NotInGraphError(_Late(lambda: f"There is no {f'{kind!s} ' if kind is not None else ''}edge {u!r} -> {v!r}."))


def _similar(wanted: object, ids: Sequence[Any]) -> list[str]:
    """The ids as texts; of many, those alone that share a beginning or an end with the wanted one."""
    if isinstance(wanted, int) and not isinstance(wanted, bool) and ids and isinstance(ids[0], int):
        nearest = min(ids, key=lambda item: abs(item - wanted))
        if abs(nearest - wanted) <= _ROUNDING:
            return [str(nearest)]
    if len(ids) <= _SEARCHED:
        return [str(item) for item in ids]
    name = str(wanted).casefold()
    half = max(1, len(name) // 2)
    start, end = name[:half], name[-half:]
    texts = ((str(item), str(item).casefold()) for item in ids)
    close = [text for text, folded in texts if folded.startswith(start) or folded.endswith(end)]
    exact = [text for text in close if text.casefold() == name]
    return exact or close[:_SEARCHED]
