"""Null models that leave the wiring as it is and shuffle what is written on it: counts, signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from connectofit.connectome.arrays import frozen
from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.connectome.graph import Connectome
from connectofit.connectome.nulls.free_edges import check_seed
from connectofit.connectome.policies import KINDS

_CHEMICAL, _ELECTRICAL = (KINDS.index(kind) for kind in ("chemical", "electrical"))


@dataclass(frozen=True)
class ShuffleStats:
    """What a shuffle did, by kind of edge.

    Attributes
    ----------
    edges
        Edges whose values were shuffled; a gap junction counts once.
    changed
        How many of them have another value than before.
    """

    edges: dict[str, int]
    changed: dict[str, int]


def shuffle_weights(
    connectome: Connectome,
    seed: int,
    within: Literal["sign", "neuron"] = "sign",
    columns: Sequence[str] = ("count",),
) -> tuple[Connectome, ShuffleStats]:
    """The same wiring with the counts permuted over its edges.

    Kept: which neurons are joined, and the signs; the counts as a whole, of each sign of chemical edges and of gap
    junctions (both of whose directions stay equal). With ``within="neuron"`` chemical counts stay among the edges of
    one sign that leave the same neuron, so every out-strength is kept, too. In-strengths are not kept.

    Parameters
    ----------
    connectome
        What to shuffle.
    seed
        An integer; the same seed gives the same result.
    within
        ``"sign"``: over all chemical edges of one sign; ``"neuron"``: over those that leave one neuron. Gap junctions
        are shuffled among each other either way.
    columns
        What to permute, together: ``"count"`` and further columns of the edges.

    Raises
    ------
    UnknownNameError
        If there is no such column of the edges.
    """
    rng = np.random.default_rng(check_seed("shuffle_weights", seed))
    if within not in ("sign", "neuron"):
        raise SettingError(f"within is {within!r}; it must be 'sign' or 'neuron'.")
    names = [columns] if isinstance(columns, str) else list(columns)
    known = ["count", *connectome.edge_columns.column_names]
    for name in names:
        if name not in known:
            raise unknown_name("column", name, known, "the edges")
    chemical = np.flatnonzero(connectome.kind == _CHEMICAL)
    group = connectome.sign[chemical].astype(np.int64) + 1
    if within == "neuron":
        group += 3 * connectome.pre[chemical].astype(np.int64)
    source = np.arange(connectome.n_edges)
    source[chemical] = chemical[_permutation_within(group, rng)]
    forward, backward = _gap_junctions(connectome)
    mixed = rng.permutation(len(forward))
    source[forward], source[backward] = forward[mixed], backward[mixed]
    count = connectome.count[source] if "count" in names else connectome.count
    table = connectome.edge_columns
    for name in names:
        if name != "count":
            column = table.column(name).take(pa.array(source))
            table = table.set_column(table.column_names.index(name), name, column)
    differs = count != connectome.count if "count" in names else source != np.arange(connectome.n_edges)
    stats = ShuffleStats(
        {"chemical": len(chemical), "electrical": len(forward)},
        {"chemical": int(differs[chemical].sum()), "electrical": int(differs[forward].sum())},
    )
    return replace(connectome, count=frozen(count.copy()), edge_columns=table.combine_chunks()), stats


def shuffle_signs(
    connectome: Connectome, seed: int, over: Literal["neurons", "edges"] = "neurons"
) -> tuple[Connectome, ShuffleStats]:
    """The same wiring and counts with the signs of chemical edges permuted.

    Kept: wiring and counts. Over neurons: Dale's law, and how many neurons excite and how many inhibit; a neuron
    carries its sign to all its edges, so how many edges are of either sign changes. Over edges: how many edges are of
    either sign; Dale's law is lost. Edges without a sign (0) keep none, and neither do they take part.

    Columns that tell where a sign comes from (``transmitter``, ``sign_source``) stay, and no longer agree with it.

    Parameters
    ----------
    connectome
        What to shuffle.
    seed
        An integer; the same seed gives the same result.
    over
        What is permuted: signs of presynaptic ``"neurons"``, or of single ``"edges"``.

    Raises
    ------
    SettingError
        If signs are to be permuted over neurons and some have edges of both.
    """
    rng = np.random.default_rng(check_seed("shuffle_signs", seed))
    signed = np.flatnonzero((connectome.kind == _CHEMICAL) & (connectome.sign != 0))
    sign = connectome.sign.copy()
    if over == "edges":
        sign[signed] = rng.permutation(sign[signed])
    elif over == "neurons":
        of_neuron = _signs_of_neurons(connectome, signed)
        neurons = np.flatnonzero(of_neuron)
        of_neuron[neurons] = rng.permutation(of_neuron[neurons])
        sign[signed] = of_neuron[connectome.pre[signed]]
    else:
        raise SettingError(f"over is {over!r}; it must be 'neurons' or 'edges'.")
    changed = int((sign != connectome.sign).sum())
    stats = ShuffleStats({"chemical": len(signed), "electrical": 0}, {"chemical": changed, "electrical": 0})
    return connectome.with_edges(sign=sign), stats


def _permutation_within(group: Int[np.ndarray, " m"], rng: np.random.Generator) -> Int[np.ndarray, " m"]:
    """A random permutation that leaves every element in its group."""
    here = np.argsort(group, kind="stable")
    mixed = rng.permutation(len(group))
    permutation = np.empty(len(group), np.int64)
    permutation[here] = mixed[np.argsort(group[mixed], kind="stable")]
    return permutation


def _gap_junctions(connectome: Connectome) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Positions of the gap junctions in both directions, a pair at the same place of both; those to itself left out."""
    places = np.flatnonzero(connectome.kind == _ELECTRICAL)
    pre, post = connectome.pre[places], connectome.post[places]
    forward, backward = pre < post, pre > post
    there = np.lexsort((post[forward], pre[forward]))
    back = np.lexsort((pre[backward], post[backward]))
    return places[forward][there], places[backward][back]


def _signs_of_neurons(connectome: Connectome, signed: Int[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
    """The sign of each neuron's edges: 1, -1, or 0 where it has none."""
    n, pre, sign = connectome.n_neurons, connectome.pre[signed], connectome.sign[signed]
    excites = np.bincount(pre[sign > 0], minlength=n) > 0
    inhibits = np.bincount(pre[sign < 0], minlength=n) > 0
    both = np.flatnonzero(excites & inhibits)
    if len(both):
        raise SettingError(
            f"Signs cannot be permuted over neurons: some have edges of both signs (Dale's law does not hold), "
            f"{offenders([connectome.ids[i] for i in both])}. Permute them over='edges'."
        )
    return excites.astype(np.int8) - inhibits.astype(np.int8)
