"""One round of swaps of many directed edges, as loops over rows that JAX compiles to native code.

Edges with the same start stand together, so whether an edge occurs once is read row by row, with a table of one number
per neuron in place of a sort: the time of a round is proportional to the edges. All is integers, so the result does
not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from connectofit.connectome.errors import SettingError

if TYPE_CHECKING:
    import jax

_MOST_EDGES, _MOST_NEURONS = 2**30, 2**28  # what the loops count in int32


class RowExchange:
    """Directed edges sorted by their start, whose ends are swapped by `round`."""

    def __init__(self, pre: Int[np.ndarray, " m"], post: Int[np.ndarray, " m"], n: int) -> None:
        import jax

        m = len(pre)
        if m > _MOST_EDGES or n > _MOST_NEURONS:
            raise SettingError(
                f"{m} edges of {n} neurons are too many to swap at once; at most {_MOST_EDGES} edges of "
                f"{_MOST_NEURONS} neurons can be. Randomise parts (select) on their own."
            )
        self.pre, self._type = pre, post.dtype
        owner, begin = np.unique(pre, return_index=True)
        # Loops are for processors, also where JAX's default device is another.
        self._device = jax.devices("cpu")[0]
        with jax.default_device(self._device):
            self._table = jax.numpy.full(n, -1, np.int32)
            self._owner = jax.numpy.asarray(owner.astype(np.int32))
            self._begin = jax.numpy.asarray(np.append(begin, m).astype(np.int32))
            self._post = jax.numpy.asarray(post.astype(np.int32))

    @property
    def post(self) -> Int[np.ndarray, " m"]:
        """The ends as they are now."""
        return np.asarray(self._post).astype(self._type)

    def round(self, partner: Any) -> tuple[int, int]:
        """Swap the ends of all partners that can; returns the swaps made and proposed."""
        import jax

        with jax.default_device(self._device):
            partner = jax.numpy.asarray(partner, np.int32)
            self._post, made, proposed = _compiled_round()(self._table, self._owner, self._begin, self._post, partner)
        return int(made), int(proposed)


@cache
def _compiled_round() -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
    """One round, jitted: new ends, swaps made and swaps proposed.

    A loop body that reads an array in one operation and writes it in another would have XLA copy the array, and one
    that does much would not become native code: hence three short loops a row.
    """
    import jax
    from jax import lax
    from jax import numpy as jnp

    def get(a: Any, i: Any) -> Any:
        return lax.dynamic_index_in_dim(a, i, keepdims=False, allow_negative_indices=False)

    def put(a: Any, i: Any, value: Any) -> Any:
        return lax.dynamic_update_slice(a, jnp.asarray(value, a.dtype)[None], (i,), allow_negative_indices=False)

    def one_round(table: Any, owner: Any, begin: Any, post: Any, partner: Any) -> tuple[Any, Any, Any]:
        def of_partner(a: Any) -> Any:
            return a.at[partner].get(mode="promise_in_bounds")

        offer = of_partner(post)

        def check_row(row: Any, carry: Any) -> Any:
            # Of a target, the table holds code: it is an end of this row; code + 1: also offered; code + 2: only
            # offered, once; code + 3: only offered, more than once; less than code: neither.
            table, good = carry
            first, stop, source, code = get(begin, row), get(begin, row + 1), get(owner, row), row * 4
            table = lax.fori_loop(first, stop, lambda e, table: put(table, get(post, e), code), table)

            def offered(e: Any, table: Any) -> Any:
                target = get(offer, e)
                found = get(table, target)
                return put(table, target, jnp.where(found < code, code + 2, found | 1))

            table = lax.fori_loop(first, stop, offered, table)

            def check(e: Any, good: Any) -> Any:
                target = get(offer, e)
                fresh = (get(table, target) == code + 2) & (target != source)
                return put(good, e, fresh & (get(table, get(post, e)) == code))

            return table, lax.fori_loop(first, stop, check, good)

        rows = jnp.int32(owner.shape[0])
        _, good = lax.fori_loop(jnp.int32(0), rows, check_row, (table, jnp.zeros(post.shape, bool)))
        good = good & of_partner(good)
        proposed = partner != jnp.arange(post.shape[0], dtype=jnp.int32)
        return jnp.where(good, offer, post), *(a.sum(dtype=jnp.int32) // 2 for a in (good, proposed))

    return jax.jit(one_round)
