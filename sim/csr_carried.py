"""The product of `connectofit.sim.csr_primitives` for time loops, with the derivative by the weights in the carry.

Reverse mode adds what every step contributes to the gradient by the weights: as an array of all edges, made anew and
added in every step, that costs as much as the products. Where the weights' derivative travels in the loop's carry
instead, `outer` adds to it in place, the rows of the neurons that sent something.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from connectofit.sim.csr_primitives import (
    no_products,
    outer_p,
    over_graphs,
    product_batch,
    push,
    push_p,
    push_transpose,
    run_alone,
)

spread_p = Primitive("connectofit_csr_spread")  # (x, d) -> (push(x, d), d), which is linear in d
spread_p.multiple_results = True


def _spread(x: Array, d: Array, *graph: Array, n_post: int, native: bool) -> list[Array]:
    return [push_p.bind(x, d, *graph, n_post=n_post, native=native), d]


def _spread_type(x: Any, d: Any, *graph: Any, n_post: int, native: bool) -> list[jax.core.ShapedArray]:
    return [jax.core.ShapedArray((x.shape[0], n_post), x.dtype), jax.core.ShapedArray(d.shape, d.dtype)]


def _spread_jvp(primals: Sequence[Any], tangents: Sequence[Any], **settings: Any) -> tuple[Any, Any]:
    (x, d, *graph), (x_dot, d_dot) = primals, tangents[:2]
    out = spread_p.bind(x, d, *graph, **settings)
    if type(d_dot) is ad.Zero:
        y_dot, along = jnp.zeros_like(out[0]), jnp.zeros_like(d)
    else:
        y_dot, along = spread_p.bind(x, d_dot, *graph, **settings)
    if type(x_dot) is not ad.Zero:
        y_dot = y_dot + push_p.bind(x_dot, d, *graph, **settings)
    return out, [y_dot, along]


def _spread_transpose(cts: Any, x: Any, d: Any, *graph: Any, n_post: int, native: bool) -> tuple[Any, ...]:
    ct_y, ct_d = cts
    if ad.is_undefined_primal(x):
        return push_transpose(ct_y, x, d, *graph, n_post=n_post, native=native)
    if type(ct_y) is ad.Zero:
        return None, ct_d, None, None, None
    total = no_products(d) if type(ct_d) is ad.Zero else ct_d
    return None, outer_p.bind(total, x, ct_y, *graph, native=native), None, None, None


def _spread_batch(args: Sequence[Any], axes: Sequence[Any], **settings: Any) -> Any:
    if any(axis is not None for axis in axes[2:]):
        out, _ = over_graphs(spread_p, args, axes, settings)
        return out, [0, 0]
    y, axis = product_batch(push_p, args, axes, **settings)
    return [y, args[1]], [axis, axes[1]]


spread_p.def_impl(partial(run_alone, spread_p))
spread_p.def_abstract_eval(_spread_type)
mlir.register_lowering(spread_p, mlir.lower_fun(_spread, multiple_results=True))
ad.primitive_jvps[spread_p] = _spread_jvp
ad.primitive_transposes[spread_p] = _spread_transpose
batching.primitive_batchers[spread_p] = _spread_batch


@partial(jax.custom_jvp, nondiff_argnums=(6, 7))
def push_along(
    x: Array, w: Array, d: Array, indptr: Array, post: Array, pre: Array, n_post: int, native: bool
) -> tuple[Array, Array]:
    """(`push` of x and w, d): the derivative by the weights is that by d, which is handed on from step to step.

    d starts as the weights and is a carry of the loop. w are the same weights: the derivative by them, which d stands
    for, is left out here, and derivatives of derivatives are not.
    """
    return push(x, w, indptr, post, pre, n_post=n_post, native=native), d


@push_along.defjvp
def _push_along_jvp(n_post: int, native: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    (x, w, d, *graph), (x_dot, _, d_dot) = primals, tangents[:3]
    along, d_dot = spread_p.bind(x, d_dot, *graph, n_post=n_post, native=native)
    y_dot = push_p.bind(x_dot, w, *graph, n_post=n_post, native=native) + along
    return push_along(x, w, d, *graph, n_post, native), (y_dot, d_dot)
