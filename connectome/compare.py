"""Two connectomes side by side: which edges both have, which changed, which only one has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from jaxtyping import Int

from connectofit.connectome.arrays import combine
from connectofit.connectome.connections import edge_frame, neuron_frame
from connectofit.connectome.errors import SchemaError
from connectofit.connectome.policies import KINDS

if TYPE_CHECKING:
    from connectofit.connectome.columnar import ColumnarGraph

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of the edges and neurons of one connectome in another; made by `Connectome.compare`.

    Edges are the same if their pre, post (by id) and kind are. Frames are made when they are asked for.

    Attributes
    ----------
    this, other
        The connectomes compared.
    same, same_in_other
        Positions [s] of the edges that both have, in `this` and, in the same order, in `other`.
    differs
        Which of these [s] have another count or sign.
    only_this, only_other
        Positions of the edges that the other does not have.
    """

    this: ColumnarGraph
    other: ColumnarGraph
    same: Int[np.ndarray, " s"]
    same_in_other: Int[np.ndarray, " s"]
    differs: np.ndarray
    only_this: Int[np.ndarray, " l"]
    only_other: Int[np.ndarray, " g"]

    @cached_property
    def kept(self) -> pd.DataFrame:
        """Edges of both with the same count and sign: ``pre, post, kind, count, sign``, further columns of `this`."""
        return edge_frame(self.this, self.same[~self.differs])

    @cached_property
    def changed(self) -> pd.DataFrame:
        """Edges of both with another count or sign: ``pre, post, kind, count, count_other, sign, sign_other``."""
        here, there = self.same[self.differs], self.same_in_other[self.differs]
        table = edge_frame(self.this, here)[["pre", "post", "kind", "count", "sign"]]
        table.insert(4, "count_other", self.other.count[there])
        return table.assign(sign_other=self.other.sign[there])

    @cached_property
    def lost(self) -> pd.DataFrame:
        """Edges of `this` that `other` does not have."""
        return edge_frame(self.this, self.only_this)

    @cached_property
    def gained(self) -> pd.DataFrame:
        """Edges of `other` that `this` does not have."""
        return edge_frame(self.other, self.only_other)

    @cached_property
    def neurons_lost(self) -> pd.DataFrame:
        """Neurons of `this` that `other` does not have, with all their columns."""
        return _missing_neurons(self.this, self.other)

    @cached_property
    def neurons_gained(self) -> pd.DataFrame:
        """Neurons of `other` that `this` does not have, with all their columns."""
        return _missing_neurons(self.other, self.this)

    @property
    def identical(self) -> bool:
        """Whether both have the same neurons (by id) and the same edges, counts and signs."""
        edges = len(self.only_this) + len(self.only_other) + int(self.differs.sum())
        return not edges and not len(self.neurons_lost) and not len(self.neurons_gained)

    def to_frame(self) -> pd.DataFrame:
        """Numbers of edges ``kept, changed, lost, gained``: a row a kind, and one for all."""
        codes = {
            "kept": self.this.kind[self.same[~self.differs]],
            "changed": self.this.kind[self.same[self.differs]],
            "lost": self.this.kind[self.only_this],
            "gained": self.other.kind[self.only_other],
        }
        table = pd.DataFrame(
            {name: np.bincount(kinds, minlength=len(KINDS)) for name, kinds in codes.items()}, index=list(KINDS)
        )
        return pd.concat([table, table.sum().to_frame("all").T])

    def __str__(self) -> str:
        lost, gained = self.neurons_lost["id"], self.neurons_gained["id"]
        both = self.this.n_neurons - len(lost)
        lines = [f"neurons: {both} in both, {_named(lost)} only in this, {_named(gained)} only in the other", "edges:"]
        lines.append(self.to_frame().to_string())
        if self.differs.any():
            here, there = self.same[self.differs], self.same_in_other[self.differs]
            counts = int((self.this.count[here] != self.other.count[there]).sum())
            signs = int((self.this.sign[here] != self.other.sign[there]).sum())
            lines.append(f"of the changed edges {counts} have another count and {signs} another sign")
        return "\n".join(lines)


def _named(ids: pd.Series) -> str:
    shown = ", ".join(str(item) for item in ids[:_SHOWN])
    return f"{len(ids)} ({shown}{', ...' if len(ids) > _SHOWN else ''})" if len(ids) else "0"


def _missing_neurons(one: ColumnarGraph, other: ColumnarGraph) -> pd.DataFrame:
    here, there = (combine(c.neurons.column("id")) for c in (one, other))
    missing = np.flatnonzero(pc.invert(pc.is_in(here, value_set=there)).to_numpy(zero_copy_only=False))
    return neuron_frame(one, missing, one.neurons.column_names)


def compare(this: ColumnarGraph, other: ColumnarGraph) -> Comparison:
    """See `Connectome.compare`."""
    here, there = (combine(c.neurons.column("id")) for c in (this, other))
    if here.type != there.type and len(here) and len(there):
        raise SchemaError(
            f"The connectomes cannot be compared by id: this one's ids are {here.type}, the other's {there.type}. "
            "Read both with the same id_type."
        )
    number = pc.index_in(there.cast(here.type), value_set=here)
    new = number.is_null().to_numpy(zero_copy_only=False)
    place = pc.fill_null(number, 0).to_numpy().astype(np.int64)
    place[new] = len(here) + np.arange(new.sum())
    n = len(here) + int(new.sum())
    ours = _keys(this, np.arange(len(here)), n)
    theirs = _keys(other, place, n)
    order = np.argsort(theirs, kind="stable")  # sorted already where both list their neurons in the same order
    theirs = theirs[order]
    at = np.minimum(np.searchsorted(theirs, ours), max(len(theirs) - 1, 0))
    found = theirs[at] == ours if len(theirs) else np.zeros(len(ours), bool)
    same, same_in_other = np.flatnonzero(found), order[at[found]]
    unmatched = np.ones(len(theirs), bool)
    unmatched[same_in_other] = False
    differs = this.count[same] != other.count[same_in_other]
    differs |= this.sign[same] != other.sign[same_in_other]
    return Comparison(
        this=this,
        other=other,
        same=same,
        same_in_other=same_in_other,
        differs=differs,
        only_this=np.flatnonzero(~found),
        only_other=np.flatnonzero(unmatched),
    )


def _keys(connectome: ColumnarGraph, number: Int[np.ndarray, " n"], n: int) -> Int[np.ndarray, " e"]:
    """One integer for the (pre, post, kind) of every edge."""
    pre = np.repeat(number, np.diff(connectome.indptr))
    return (pre * n + number[connectome.post]) * len(KINDS) + connectome.kind
