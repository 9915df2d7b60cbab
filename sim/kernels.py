"""The one door to sparse products: what every neuron receives from the neurons that project to it.

    y_j = sum over edges e from i to j of w_e x_i        (y = W^T x)

Duplicate edges sum, self-loops and empty rows are legal, and x is multiplied as it is, never rounded to 0 or 1. All
implementations differentiate in forward and reverse mode, by x and by the weights, with memory of O(edges) per product:

- ``"event"``: the out-edges of the neurons whose x is not 0 (`connectofit.sim.csr_primitives`), in JAX alone;
- ``"native"``: the same by a compiled library, on the CPU, where the installation has it (`connectofit.sim.native`);
- ``"dense"``: a [pre, post] matrix, built once outside of the time loop, and a matrix product per step. Fastest where
  populations are small and every neuron is active, as graded ones are, most of all over a batch of stimulations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, unknown_name
from connectofit.sim import csr_primitives
from connectofit.sim.csr_carried import push_along
from connectofit.sim.native import compiled_kernels

Method = Literal["auto", "event", "native", "dense"]
Chosen = Literal["event", "native", "dense"]

# Measured for a 302-neuron worm: up to about this many entries a dense product beats the edge loop when all are active.
DENSE_ENTRIES_GRADED = 1_000_000
# Spikes are rare, so the edge loop already wins for networks that are much smaller.
DENSE_ENTRIES_SPIKING = 4_096


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Csr:
    """A graph's out-edges in rows: those of neuron i are ``post[indptr[i]:indptr[i + 1]]``; `pre` is indptr
    expanded."""

    indptr: Int[Array, " n_pre_plus_1"]
    post: Int[Array, " edge"]
    pre: Int[Array, " edge"]
    n_post: int = field(metadata={"static": True})

    @property
    def n_pre(self) -> int:
        return self.indptr.shape[0] - 1


def csr(indptr: Int[Array | np.ndarray, " n_pre_plus_1"], post: Int[Array | np.ndarray, " edge"], n_post: int) -> Csr:
    """A `Csr` from its two arrays, which may be traced."""
    indptr, post = jnp.asarray(indptr, jnp.int32), jnp.asarray(post, jnp.int32)
    n_pre, n_edges = indptr.shape[0] - 1, post.shape[0]
    pre = jnp.repeat(jnp.arange(n_pre, dtype=jnp.int32), jnp.diff(indptr), total_repeat_length=n_edges)
    return Csr(indptr, post, pre, n_post)


def choose(method: Method, n_pre: int, n_post: int, *, spiking: bool) -> Chosen:
    """The implementation that `method` means for a projection of this size.

    Raises `UnknownNameError` for a method that does not exist, `SettingError` for ``"native"`` where the compiled
    kernels are missing.
    """
    if method not in get_args(Method):
        raise unknown_name("kernel method", str(method), get_args(Method))
    compiled = compiled_kernels()
    if method == "native" and not compiled.available:
        raise SettingError(f"The kernel method 'native' is not to be had: {compiled.reason}. Say 'event' or 'auto'.")
    if method != "auto":
        return method
    if n_pre * n_post <= (DENSE_ENTRIES_SPIKING if spiking else DENSE_ENTRIES_GRADED):
        return "dense"
    return "native" if compiled.available else "event"


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Prepared:
    """Weights made ready for many products: a dense matrix, or the edges' weights on their graph."""

    matrix: Float[Array, "n_pre n_post"] | None
    weight: Float[Array, " edge"] | None
    graph: Csr | None
    native: bool = field(default=False, metadata={"static": True})


def prepare(weight: Float[Array, " edge"], graph: Csr, method: Method = "auto", *, spiking: bool = False) -> Prepared:
    """What does not change from step to step of a time loop, computed once: call it outside of the loop."""
    chosen = choose(method, graph.n_pre, graph.n_post, spiking=spiking)
    if chosen != "dense":
        return Prepared(None, weight, graph, native=chosen == "native")
    matrix = jnp.zeros((graph.n_pre, graph.n_post), weight.dtype).at[graph.pre, graph.post].add(weight)
    return Prepared(matrix, None, None)


def propagate(x: Float[Array, "*batch n_pre"], prepared: Prepared) -> Float[Array, "*batch n_post"]:
    """y = W^T x for every row of x: what each postsynaptic neuron receives when neuron i sends x_i.

    Parameters
    ----------
    x: what the presynaptic neurons send, in any float; axes before the last are a batch (steps of a block, for
        example).
    prepared: weights from `prepare`. To differentiate by them, call `prepare` inside of the differentiated function.
    """
    if prepared.matrix is not None:
        return jnp.matmul(x, prepared.matrix, precision=lax.Precision.HIGHEST)
    graph, weight = prepared.graph, prepared.weight
    if graph is None or weight is None:
        raise TypeError("weights that come from `prepare` hold either a matrix or a graph with weights")
    if not weight.shape[0] or not x.size:
        return jnp.zeros((*x.shape[:-1], graph.n_post), x.dtype)
    rows = x.reshape(-1, x.shape[-1])
    y = csr_primitives.push(
        rows, weight[None, :], graph.indptr, graph.post, graph.pre, n_post=graph.n_post, native=prepared.native
    )
    return y.reshape(*x.shape[:-1], graph.n_post)


def propagate_along(
    x: Float[Array, "*batch n_pre"], prepared: Prepared, along: Float[Array, "1 edge"]
) -> tuple[Float[Array, "*batch n_post"], Float[Array, "1 edge"]]:
    """`propagate` in a time loop, with the derivative by the weights in the loop's carry: faster in reverse mode.

    Parameters
    ----------
    x: as for `propagate`.
    prepared: edges' weights on their graph (no matrix). The derivative by them is taken by `along` alone.
    along: a carry of the loop that begins as the weights (``prepared.weight[None, :]``) and takes their derivative.

    Returns
    -------
    What `propagate` returns, and `along` for the next step.
    """
    graph, weight = prepared.graph, prepared.weight
    if graph is None or weight is None:
        raise TypeError("`propagate_along` needs weights on their graph; a matrix has none")
    if not weight.shape[0] or not x.size:
        return jnp.zeros((*x.shape[:-1], graph.n_post), x.dtype), along
    rows, w = x.reshape(-1, x.shape[-1]), weight[None, :]
    y, along = push_along(rows, w, along, graph.indptr, graph.post, graph.pre, graph.n_post, prepared.native)
    return y.reshape(*x.shape[:-1], graph.n_post), along
