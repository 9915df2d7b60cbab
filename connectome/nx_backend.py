"""The NetworkX backend ``connectofit``: ``nx.pagerank(connectome)`` and its like run on the columns.

NetworkX finds it by the entry point ``networkx.backends`` and sends it every function that is called with a
`Connectome`. Those of `nx_functions` run on the columns. All others, and arguments that these do not know, run in
NetworkX itself on a converted copy, up to ``networkx.config.backends.connectofit.fallback_max_edges`` edges; above
it an error says so. Other NetworkX graphs can be sent here too, by ``backend="connectofit"`` or by
``networkx.config.backend_priority``; they are converted to rows, once for as long as they do not change.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Container, Mapping
from functools import partial, wraps
from typing import Any

import networkx as nx

from _connectofit_networkx import CONVERT_MIN_EDGES, FALLBACK_MAX_EDGES
from connectofit.connectome.errors import ConnectofitError
from connectofit.connectome.graph import Connectome
from connectofit.connectome.graph_errors import ImmutableGraphError
from connectofit.connectome.nx_functions import FUNCTIONS, ConvertedGraph, Unsupported
from connectofit.connectome.nx_known_failures import KNOWN_FAILURES
from connectofit.connectome.undirected import UndirectedConnectome
from connectofit.connectome.views.reading import GraphReading

logger = logging.getLogger(__name__)


class FallbackError(ConnectofitError, nx.NetworkXError):
    """A function does not run on the columns, and the graph is too large to be converted unasked."""


class Backend:
    """What NetworkX asks of a backend; the functions are its attributes, by the names that NetworkX dispatches by."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in FUNCTIONS:
            return _with_fallback(name, FUNCTIONS[name])
        if name in _dispatched() and not name.endswith("__new__"):
            return partial(_fall_back, name, "it is not implemented on columns")
        raise AttributeError(f"The backend connectofit has no function {name!r}.")

    def can_run(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool | str:
        """True, or why not: of NetworkX's own graphs only what is implemented comes here, of a Connectome all."""
        if any(_is_ours(value) for value in (*args, *kwargs.values())):
            return True
        if name not in FUNCTIONS:
            return f"{name} is not implemented on columns"
        if callable(kwargs.get("weight")) or callable(kwargs.get("distance")):
            return "weights that a function computes are not columns"
        return True

    def should_run(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool | str:
        """Whether converting a NetworkX graph pays: not for few edges, nor for functions that look at few of them."""
        if name in LOCAL:
            return "it looks at a small part of the graph"
        graphs = [value for value in (*args, *kwargs.values()) if isinstance(value, nx.Graph)]
        least = _setting("convert_min_edges", CONVERT_MIN_EDGES)
        return not graphs or graphs[0].number_of_edges() >= least or f"it has fewer than {least} edges"

    @staticmethod
    def convert_from_nx(graph: Any, **_: Any) -> Any:
        """A NetworkX graph as rows; its attributes are read when a function asks for them."""
        return graph if isinstance(graph, GraphReading | ConvertedGraph) else ConvertedGraph(graph)

    @staticmethod
    def convert_to_nx(result: Any, **_: Any) -> Any:
        """A graph of this backend as a NetworkX graph; whatever else as it is."""
        if isinstance(result, ConvertedGraph):
            return result.source
        if isinstance(result, UndirectedConnectome):
            # By way of the directed graph the neighbours come in the order that NetworkX itself would give them.
            directed: Any = result.directed.to_networkx()  # of Graphs, only a DiGraph takes `reciprocal`
            return directed.to_undirected(reciprocal=result.reciprocal)
        return result.to_networkx() if isinstance(result, Connectome) else result

    @staticmethod
    def on_start_tests(items: list[Any]) -> None:
        """Mark the tests of NetworkX's own suite that are expected to fail; see `nx_known_failures`."""
        # It is pytest that calls this: nothing here depends on it otherwise.
        mark = sys.modules["pytest"].mark
        for item in items:
            place = item.nodeid.rpartition("networkx/")[2]
            if place in KNOWN_FAILURES:
                item.add_marker(mark.xfail(reason=KNOWN_FAILURES[place], strict=True))


LOCAL = {
    "bfs_layers",
    "bidirectional_shortest_path",
    "degree_centrality",
    "ego_graph",
    "has_path",
    "in_degree_centrality",
    "is_isolate",
    "isolates",
    "number_of_isolates",
    "out_degree_centrality",
}


def _dispatched() -> Mapping[str, Callable[..., Any]]:
    """All functions that NetworkX dispatches, by name; it has no public list of them."""
    backends: Any = nx.utils.backends  # the annotations of NetworkX leave it out
    return backends._registered_algorithms


def _setting(name: str, default: int) -> int:
    config = nx.config.backends.get("connectofit")
    return default if config is None else config.get(name, default)


def _is_ours(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(item, GraphReading) for item in value)
    return isinstance(value, GraphReading)


def _with_fallback(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    known = inspect.signature(function).parameters

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **_without_defaults(name, known, kwargs))
        except Unsupported as reason:
            if not any(_is_ours(value) for value in (*args, *kwargs.values())):
                raise  # NetworkX goes on to its own implementation, with its own graph
            return _fall_back(name, f"it does not run on columns for {reason}", *args, **kwargs)

    return run


def _without_defaults(name: str, known: Container[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments less those that a later version of NetworkX has added, if they have the values it gives them."""
    added = [key for key in given if key not in known]
    if not added:
        return dict(given)
    function: Any = _dispatched()[name]
    theirs = inspect.signature(function.orig_func).parameters
    for key in added:
        if key not in theirs or given[key] != theirs[key].default:
            raise Unsupported(f"the argument {key!r}")
    return {key: value for key, value in given.items() if key in known}


def _fall_back(name: str, reason: str, /, *args: Any, **kwargs: Any) -> Any:
    """Run NetworkX's own function on copies of the Connectomes among its arguments."""
    function: Any = _dispatched()[name]
    if _changes_its_graph(function, args, kwargs):
        raise ImmutableGraphError
    given = [_converted(value, name, reason) for value in args]
    named = {key: _converted(value, name, reason) for key, value in kwargs.items()}
    logger.debug("networkx.%s runs on a converted copy: %s", name, reason)
    return function(*given, backend="networkx", **named)


def _changes_its_graph(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call would change its graph, as NetworkX's functions say of themselves.

    Either always, or by an argument at a position: ``{"not copy": 2}`` by a false one, ``{"attr": 2}`` by any.
    """
    rule = function.mutates_input
    if isinstance(rule, bool):
        return rule

    def value(name: str, position: int, default: Any) -> Any:
        return args[position] if position < len(args) else kwargs.get(name, default)

    return any(
        not value(name[4:], position, True) if name.startswith("not ") else value(name, position, None) is not None
        for name, position in rule.items()
    )


def _converted(value: Any, name: str, reason: str) -> Any:
    if isinstance(value, list | tuple) and _is_ours(value):
        return [_converted(item, name, reason) for item in value]
    if not isinstance(value, GraphReading):
        return value
    limit = _setting("fallback_max_edges", FALLBACK_MAX_EDGES)
    edges = value.number_of_edges()
    if edges > limit:
        raise FallbackError(
            f"networkx.{name} would need a converted copy of this graph ({reason}), and its {edges} edges are more "
            f"than the {limit} up to which one is made unasked: NetworkX needs hundreds of bytes for each. Take a part "
            f"of it (select, subgraph), call {name} with to_networkx() of the graph, or raise "
            f"networkx.config.backends.connectofit.fallback_max_edges."
        )
    return Backend.convert_to_nx(value)


backend = Backend()
