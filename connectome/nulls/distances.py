"""Rewiring that keeps how long the edges are, from soma to soma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from connectofit.connectome.errors import SchemaError, SettingError, offenders
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.blocks import rounds_of
from connectofit.connectome.nulls.free_edges import FreeEdges, RewireStats, check_seed
from connectofit.connectome.nulls.matchings import group_pairs
from connectofit.connectome.nulls.swaps import swap_for
from connectofit.connectome.policies import KINDS

_WINDOWS = (0, 4096, 256, 32)
"""Edges within which partners are sought, in turns: far swaps mix, near ones are accepted more often."""


@dataclass(frozen=True)
class DistanceStats(RewireStats):
    """As `RewireStats`, and the bounds of the distance bins within which edges stayed.

    Attributes
    ----------
    bounds_um
        Inner bounds in µm, ascending: the first bin ends at the first bound, the last begins at the last.
    unplaced
        Edges that stayed as they are since an end has no position, by kind of edge.
    """

    bounds_um: tuple[float, ...] = ()
    unplaced: dict[str, int] = field(default_factory=dict)


def distance_matched_shuffle(
    connectome: Connectome,
    seed: int,
    bins: int | Sequence[float] = 20,
    positions: str | Sequence[str] = ("x_um", "y_um", "z_um"),
    proposals_per_edge: float = 60,
    missing: Literal["error", "keep"] = "error",
) -> tuple[Connectome, DistanceStats]:
    """A random connectome whose edges are as long as before, and with the same degrees.

    Two edges of the same distance bin swap their ends if both stay in that bin. Kept, besides all that `rewire` keeps:
    the bin of every edge, and so the distribution of distances, each neuron's own distribution over outgoing edges, and
    with it the relation between distance and count. What is random is which of the neurons at such a distance is
    reached. (In the spirit of Betzel & Bassett 2018, PNAS 115:E4880, who swap edges of similar length.)

    The narrower the bins and the sparser the neurons, the fewer swaps are possible: look at `accepted` and `kept` of
    the statistics. The stationary distribution is uniform over the graphs that such swaps reach.

    Parameters
    ----------
    connectome
        What to shuffle.
    seed
        An integer; the same seed gives the same result.
    bins
        Number of bins that hold equally many edges, or inner bounds in µm, ascending.
    positions
        Columns of the neurons with coordinates in µm, or one such column.
    proposals_per_edge
        How many swaps are proposed for each edge, on average at least.
    missing
        Neurons without a position: ``"error"``, or ``"keep"`` their edges as they are.

    Raises
    ------
    UnknownNameError
        If there is no such column.
    SchemaError
        If neurons have no position, or a column does not hold numbers.
    SettingError
        If `bins` are not a number or ascending.
    """
    seed = check_seed("distance_matched_shuffle", seed)
    rounds = rounds_of(proposals_per_edge)
    place = _places(connectome, [positions] if isinstance(positions, str) else list(positions), missing)
    wiring = FreeEdges(connectome)
    taken = {kind: wiring.take(kind) for kind in KINDS}
    bounds = _bounds(bins, np.concatenate([_distance(place, e.pre, e.post) for e in taken.values()]))
    stats = DistanceStats(bounds_um=tuple(bounds.tolist()))
    near = _rank_along_curve(place)
    for code, (kind, edges) in enumerate(taken.items()):
        distance = _distance(place, edges.pre, edges.post)
        group = np.where(np.isnan(distance), -1, np.searchsorted(bounds, distance, side="right"))

        def stays(pre: np.ndarray, post: np.ndarray, group: np.ndarray = group) -> np.ndarray:
            return np.searchsorted(bounds, _distance(place, pre, post), side="right") == group

        matching = group_pairs(group, _WINDOWS, near[edges.pre])
        swapped = swap_for(edges, matching, np.random.default_rng([seed, code]), rounds, stays)
        wiring.put(kind, edges, swapped, stats)
        stats.unplaced[kind] = int((group < 0).sum())
    return wiring.connectome(), stats


def _places(connectome: Connectome, columns: list[str], missing: str) -> Float[np.ndarray, "n axis"]:
    """Coordinates in µm; NaN in all of them where one is missing."""
    if missing not in ("error", "keep"):
        raise SettingError(f"missing is {missing!r}; it must be 'error' or 'keep'.")
    if not columns:
        raise SettingError("positions names no column; name one for each axis.")
    axes = []
    for name in columns:
        try:
            axes.append(np.asarray(connectome.column(name), np.float64))
        except (TypeError, ValueError) as error:
            raise SchemaError(f"Column {name!r} of the neurons does not hold numbers: {error}.") from error
    place = np.stack(axes, axis=1)
    lacking = ~np.isfinite(place).all(axis=1)
    if lacking.any() and missing == "error":
        raise SchemaError(
            f"Neurons without a position in {columns}: "
            f"{offenders([connectome.ids[i] for i in np.flatnonzero(lacking)])}. Leave them out (select), or set "
            "missing='keep' to keep their edges as they are."
        )
    place[lacking] = np.nan
    return place


def _distance(
    place: Float[np.ndarray, "n axis"], pre: Int[np.ndarray, " m"], post: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    total = np.zeros(len(pre))
    for axis in place.T:
        total += (axis[pre] - axis[post]) ** 2
    return np.sqrt(total, out=total)


def _bounds(bins: int | Sequence[float], distance: Float[np.ndarray, " m"]) -> Float[np.ndarray, " bound"]:
    if isinstance(bins, bool) or (isinstance(bins, int | np.integer) and bins < 1):
        raise SettingError(f"bins is {bins!r}; it must be a number of at least 1, or bounds in µm.")
    if isinstance(bins, int | np.integer):
        known = distance[~np.isnan(distance)]
        return np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else np.zeros(0)
    try:
        bounds = np.asarray(bins, np.float64)
    except (TypeError, ValueError) as error:
        raise SettingError(f"bins is {bins!r}; it must be a number of at least 1, or bounds in µm.") from error
    if bounds.ndim != 1 or not np.isfinite(bounds).all() or (np.diff(bounds) <= 0).any():
        raise SettingError(f"bins is {bins!r}; bounds in µm must be numbers that ascend.")
    return bounds


def _rank_along_curve(place: Float[np.ndarray, "n axis"], bits: int = 10) -> Int[np.ndarray, " n"]:
    """Place of every neuron along a curve through space (Morton's) that visits near ones soon after each other."""
    if not len(place):
        return np.zeros(0, np.int64)
    known = np.nan_to_num(place)
    low, high = known.min(axis=0), known.max(axis=0)
    cell = ((known - low) / np.where(high > low, high - low, 1.0) * (2**bits - 1)).astype(np.int64)
    code = np.zeros(len(cell), np.int64)
    for bit in reversed(range(bits)):
        for axis in cell.T[:6]:  # more axes would not fit into 64 bits
            code = code << 1 | (axis >> bit & 1)
    return np.argsort(np.argsort(code, kind="stable"), kind="stable")
