"""Questions that connectomics asks of a graph, answered on whole columns.

Everywhere: neurons are given as an id, several ids, or one expression on their columns (``"cell_type == 'LN'"``; one
that holds for no neuron gives an empty answer); `kind` is ``"chemical"``, ``"electrical"`` or None for both, whose
counts are then added; `min_count` leaves out single edges with a smaller count, before anything is summed. Answers for
people are pandas frames. Misspelt ids and columns raise `UnknownNameError` with the nearest name, settings out of their
range raise `SettingError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.connectome import collapse, compare, connections, influence, paths, reach, summary
from connectofit.connectome.columnar import ColumnarGraph
from connectofit.connectome.graph_interface import GraphInterface
from connectofit.connectome.selectors import Direction, Neurons

if TYPE_CHECKING:
    from connectofit.connectome.collapse import Untyped
    from connectofit.connectome.compare import Comparison
    from connectofit.connectome.influence import UnknownSign
    from connectofit.connectome.reach import Towards
    from connectofit.connectome.summary import Summary


class Questions(GraphInterface):
    """The questions of the trade that a `Connectome` answers."""

    # ---- direct connections ----

    def connections_between(
        self,
        a: Neurons,
        b: Neurons,
        *,
        both_directions: bool = False,
        min_count: float = 0,
        kind: str | None = None,
    ) -> pd.DataFrame:
        """The edges from the neurons `a` to the neurons `b`; with `both_directions` those from `b` to `a` too.

        Returns
        -------
        pandas.DataFrame
            An edge a row, each once, sorted by the neurons' order: ``pre, post`` (ids), ``kind, count, sign``, then the
            `edge_columns`.
        """
        return connections.connections_between(self, a, b, both_directions, min_count, kind)

    def partners(
        self,
        neurons: Neurons,
        direction: Direction,
        *,
        min_count: float = 0,
        top: int | None = None,
        by: str | None = None,
        kind: str | None = None,
        columns: Iterable[str] = (),
    ) -> pd.DataFrame:
        """The partners of `neurons` taken together, the one with the largest summed count first.

        Parameters
        ----------
        neurons
            The group. Its own neurons may be partners, too (recurrent connections, autapses).
        direction
            ``"upstream"``: the neurons that send edges to the group; ``"downstream"``: those that get edges from it.
        top
            How many to return; ties keep the neurons' order.
        by
            A column: partners with the same value are one row, those without a value one as well.
        columns
            Columns of the neurons to show beside the partners' ids.

        Returns
        -------
        pandas.DataFrame
            ``id`` and `columns` (or the column `by` and ``n_neurons``, the number of partners); ``count``, the
            summed count; ``signed_count``, the sum of sign times count; ``n_edges``; ``input_fraction``, the count as
            a fraction of all input of its receiving side; ``output_fraction``, as a fraction of all output of its
            sending side. Upstream the receiving side is the group and the sending side the partner, downstream the
            other way round; with `by` the partners' side are all neurons of this value. The wholes are those of the
            `kind` and know no `min_count`, so fractions do not depend on it.
        """
        return connections.partners(self, neurons, direction, min_count, top, by, kind, columns)

    def fractions(
        self, of: Literal["input", "output"] = "input", *, kind: str | None = None
    ) -> Float[np.ndarray, " e"]:
        """Every edge's count as a fraction of all input of its postsynaptic, or all output of its presynaptic neuron.

        Float64 [e] in the order of the edges. With `kind`, the whole is that of this kind, and edges of the other have
        NaN. Where all counts of a neuron are 0, so are the fractions.
        """
        return connections.fractions(self, of, kind)

    # ---- several steps ----

    def descendants(
        self, neurons: Neurons, *, max_hops: int | None = None, min_count: float = 0, kind: str | None = None
    ) -> pd.DataFrame:
        """The neurons that can be reached from any of `neurons` along edges, in at most `max_hops` steps.

        Returns
        -------
        pandas.DataFrame
            ``id`` and ``hops``, the fewest steps from any of them; nearest first, then in the neurons' order. The
            neurons asked for are left out, as in `networkx.descendants`.
        """
        return reach.reached(self, neurons, "downstream", max_hops, min_count, kind)

    def ancestors(
        self, neurons: Neurons, *, max_hops: int | None = None, min_count: float = 0, kind: str | None = None
    ) -> pd.DataFrame:
        """The neurons from which any of `neurons` can be reached, in at most `max_hops` steps; see `descendants`."""
        return reach.reached(self, neurons, "upstream", max_hops, min_count, kind)

    def ego(
        self,
        neurons: Neurons,
        *,
        hops: int = 1,
        direction: Towards = "both",
        min_count: float = 0,
        kind: str | None = None,
    ) -> Self:
        """The neurons, what lies within `hops` steps of any of them, and all edges between these.

        `direction` says which steps count: along edges (``"downstream"``), against them (``"upstream"``), or either
        way. `min_count` and `kind` choose the edges that count as steps, not those that are kept.
        """
        return self._induced(reach.surroundings(self, neurons, hops, direction, min_count, kind))

    def paths(
        self,
        source: Neurons,
        target: Neurons,
        *,
        max_hops: int | None = 3,
        min_count: float = 0,
        kind: str | None = None,
        limit: int = 10_000,
    ) -> pd.DataFrame:
        """All simple paths from any neuron of `source` to any of `target`.

        A simple path visits no neuron twice and has at least one step; it may pass other neurons of either group. A
        pair with a chemical and an electrical edge is one step, whose count is the sum of those with `min_count`.

        Parameters
        ----------
        max_hops
            The most steps that a path may have. None: only the shortest paths between the groups, which must not share
            a neuron then.
        limit
            The most paths that are returned.

        Returns
        -------
        pandas.DataFrame
            ``path`` (a tuple of ids), ``hops``, ``bottleneck`` (the smallest count on the way), ``counts`` (a tuple,
            one a step); the shortest first, of these the one with the largest bottleneck.

        Raises
        ------
        SettingError
            If there are more than `limit` paths: never a part of them without saying so.
        """
        return paths.paths(self, source, target, max_hops, min_count, kind, limit)

    def influence(
        self,
        source: Neurons,
        *,
        steps: int = 3,
        gain: float = 1.0,
        min_count: float = 0,
        kind: str | None = None,
        unknown_sign: UnknownSign = "error",
        by_step: bool = False,
    ) -> pd.DataFrame:
        """The signed effect of driving `source` on every neuron, over up to `steps` steps of a linear model.

        With W[i, j] = sign · count / (all counts of this `kind` that end at j):
        x(0) = 1 at each neuron of `source`, x(k) = gain · Wᵀ x(k - 1), influence = x(1) + ... + x(steps). Sources: see
        `connectofit.connectome.influence`. A gap junction passes its input on with sign +1. Without signs it is the
        share of a neuron's input that comes from the source over walks of that length.

        Parameters
        ----------
        gain
            Multiplies every step; below 1 the sum converges for any number of steps.
        unknown_sign
            What an edge of unknown sign on the way does: it is an ``"error"``, passes nothing on (``"ignore"``),
            or is taken to ``"excite"`` or ``"inhibit"``.
        by_step
            Add x(1), x(2), ... as ``step_1, step_2, ...``.

        Returns
        -------
        pandas.DataFrame
            A row a neuron, in their order: ``id``; ``influence``; its two parts ``excitation`` (walks with an even
            number of inhibitory steps) and ``inhibition`` (odd): influence = excitation - inhibition.
        """
        return influence.influence(self, source, steps, gain, min_count, kind, unknown_sign, by_step)

    # ---- the whole ----

    def collapse(self, by: str = "cell_type", *, untyped: Untyped = "error") -> Self:
        """The type-level graph: its neurons are the values of the column `by`, its edges the sums between them.

        Parameters
        ----------
        by
            A column of text or integers.
        untyped
            Neurons without a value are an ``"error"``, are dropped with their edges (``"drop"``), are one type named
            ``"(no <by>)"`` (``"together"``), or are each a type named by its id (``"apart"``).

        Returns
        -------
        Connectome
            Neurons: ``id`` (the type), ``n_neurons``. Edges, by kind: ``count`` (summed); ``n_pairs`` (ordered pairs of
            neurons joined); ``excitatory, inhibitory, unsigned`` (the count by sign of the edges, so that members that
            disagree can be seen); ``sign``, that of excitatory minus inhibitory, 0 where they are equal or unknown;
            ``input_fraction`` and ``output_fraction`` (of all input of the postsynaptic type, and all output of the
            presynaptic type, of this kind, dropped neurons' edges included). Edges within a type are self-loops; a
            gap junction within one stands in its count twice, once in each direction.
        """
        return collapse.collapse(self, by, untyped)

    def compare(self, other: ColumnarGraph) -> Comparison:
        """Which edges and neurons this and another connectome share, by id and kind, and what differs.

        See `Comparison`: frames of the edges ``kept, changed`` (other count or sign)``, lost, gained`` and the neurons
        ``neurons_lost, neurons_gained``; prints as a table. Edge columns and neuron columns are not compared.
        Raises `SchemaError` if one's ids are text and the other's integers.
        """
        return compare.compare(self, other)

    def summary(self, *, by: str | None = None, positions: Sequence[str] | None = None, max_types: int = 20) -> Summary:
        """Sizes, degrees, counts, reciprocity, components, signs, counts between types, and extent; printable.

        Parameters
        ----------
        by
            The column of types; by default the first of `TYPE_COLUMNS` that is there.
        positions
            The columns of positions; by default columns of numbers that are called like x, y, z.
        max_types
            The number of types (with the most neurons first) in the matrix of types.
        """
        return summary.summarise(self, by, positions, max_types)
