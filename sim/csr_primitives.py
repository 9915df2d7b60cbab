"""Three bilinear maps on a fixed CSR graph, as JAX primitives that are closed under differentiation.

For edges e from pre(e) to post(e), with x over presynaptic neurons, g over postsynaptic ones and w over edges:

    push(x, w)_j     = sum over e with post(e) = j of  w_e x_pre(e)        y = W^T x, what neurons receive
    pull(g, w)_i     = sum over e with pre(e) = i of   w_e g_post(e)       W g
    outer(a, x, g)_e = a_e + x_pre(e) g_post(e)                            one product per edge, added to a

The derivative of each by any argument is another of the three, so forward and reverse mode of any order exist, and
the tape of a time loop keeps x (one number per neuron and step), never a product per edge and step.

Arguments carry a leading batch axis: x is [b, n_pre], g [b, n_post], w and a [c, e] with b = c r; row i of a batch uses
weights i // r. `jax.vmap` folds its axis into b and c. On the CPU each map is a nest of scalar loops, which XLA
compiles to native code, or with ``native=True`` a function of the compiled library (`connectofit.sim.native`); there
`push` and `outer` visit only the out-edges of neurons whose x is not 0. Elsewhere gathers and segment sums are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

Rows = Int[Array, " n_pre_plus_1"]
Edges = Int[Array, " edge"]

_BLOCK = 32  # silent neurons are passed over this many at a time
_CHUNK = 8  # edges


# --- scalar loops for the CPU -----------------------------------------------------------------------------------------


def _get(a: Array, index: Any) -> Array:
    return a.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _add(a: Array, index: Any, value: Array) -> Array:
    return a.at[index].add(value, mode="promise_in_bounds", wrap_negative_indices=False)


def _over_active(
    x: Float[Array, "b n_pre"],
    indptr: Rows,
    edge: Callable[[Array, Array, Array, Array], Array],
    out: Float[Array, " place"],
) -> Float[Array, " place"]:
    """``out = edge(row, e, x_i, out)`` for every out-edge e of every neuron i whose x_i is not 0, row by row of x.

    Loops of no turns do the skipping, not `cond`: a `cond` would copy `out`. Arrays are flat and all rows are in one
    nest of loops: a slice of a row would be a copy of it.
    """
    n_rows, n_pre = x.shape
    n_whole = n_pre // _BLOCK
    whole = (x[:, : n_whole * _BLOCK] != 0).astype(x.dtype).reshape(n_rows * n_whole, _BLOCK)
    # A product counts faster than XLA's reductions of the last axis, which are not vectorised.
    active = jnp.matmul(whole, jnp.ones(_BLOCK, x.dtype)) > 0
    active = jnp.concatenate([active, jnp.ones(1, bool)])  # the last one for the neurons that fill no block
    flat = x.reshape(-1)

    def one_row(row: Array, out: Array) -> Array:
        def one_block(block: Array, out: Array) -> Array:
            first = block * _BLOCK
            place = jnp.where(block < n_whole, row * n_whole + block, n_rows * n_whole)
            last = jnp.where(_get(active, place), jnp.minimum(first + _BLOCK, n_pre), first)

            def one_neuron(i: Array, out: Array) -> Array:
                x_i, start = _get(flat, row * n_pre + i), _get(indptr, i)
                stop = jnp.where(x_i != 0, _get(indptr, i + 1), start)
                return lax.fori_loop(start, stop, lambda e, out: edge(row, e, x_i, out), out)

            return lax.fori_loop(first, last, one_neuron, out)

        return lax.fori_loop(0, -(-n_pre // _BLOCK), one_block, out)

    return lax.fori_loop(0, n_rows, one_row, out)


def _push_loops(
    x: Float[Array, "b n_pre"], w: Float[Array, "c edge"], indptr: Rows, post: Edges, pre: Edges, *, n_post: int
) -> Float[Array, "b n_post"]:
    def one_group(x: Float[Array, "r n_pre"], w: Float[Array, " edge"]) -> Float[Array, "r n_post"]:
        def edge(row: Array, e: Array, x_i: Array, y: Array) -> Array:
            return _add(y, row * n_post + _get(post, e), _get(w, e) * x_i)

        return _over_active(x, indptr, edge, jnp.zeros(x.shape[0] * n_post, x.dtype)).reshape(x.shape[0], n_post)

    return _map_groups(one_group, w, x, n_post)


def _pull_loops(
    g: Float[Array, "b n_post"], w: Float[Array, "c edge"], indptr: Rows, post: Edges, pre: Edges, *, n_post: int
) -> Float[Array, "b n_pre"]:
    n_pre, n_edges = indptr.shape[0] - 1, post.shape[0]

    def total(values: Array, start: Array, stop: Array, so_far: Array) -> Array:
        return lax.fori_loop(start, stop, lambda k, total: total + _get(values, k), so_far)

    def one_row(g: Array, w: Array) -> Array:
        # Products and their sums over whole chunks are made for all edges at once, several times faster than in a loop
        # over edges; loops only put a neuron's chunks together, with its first and last edges.
        products = _get(g, post) * w
        chunks = jnp.pad(products, (0, -n_edges % _CHUNK)).reshape(-1, _CHUNK)
        sums = jnp.matmul(chunks, jnp.ones(_CHUNK, g.dtype), precision=lax.Precision.HIGHEST)

        def one_neuron(i: Array, y: Array) -> Array:
            start, stop = _get(indptr, i), _get(indptr, i + 1)
            first, last = (start + _CHUNK - 1) // _CHUNK, stop // _CHUNK
            head = jnp.minimum(first * _CHUNK, stop)
            y_i = total(products, start, head, jnp.zeros((), g.dtype))
            y_i = total(sums, first, last, y_i)
            return _add(y, i, total(products, jnp.maximum(last * _CHUNK, head), stop, y_i))

        return lax.fori_loop(0, n_pre, one_neuron, jnp.zeros(n_pre, g.dtype))

    return _map_rows(one_row, w, g)


def _outer_loops(
    a: Float[Array, "c edge"],
    x: Float[Array, "b n_pre"],
    g: Float[Array, "b n_post"],
    indptr: Rows,
    post: Edges,
    pre: Edges,
) -> Float[Array, "c edge"]:
    n_post = g.shape[1]

    def one_group(given: tuple[Array, Array, Array]) -> Array:
        total, x, g = given
        flat = g.reshape(-1)

        def edge(row: Array, e: Array, x_i: Array, out: Array) -> Array:
            return _add(out, e, x_i * _get(flat, row * n_post + _get(post, e)))

        return _over_active(x, indptr, edge, total)

    groups = a.shape[0]
    if groups == 1:
        return one_group((a[0], x, g))[None]
    return lax.map(one_group, (a, _grouped(x, groups), _grouped(g, groups)))


def _map_rows(one_row: Callable[[Array, Array], Array], w: Float[Array, "c edge"], rows: Float[Array, "b n"]) -> Array:
    """`one_row` for every row with its weights, one after the other."""
    out = lax.map(lambda group: lax.map(lambda row: one_row(row, group[0]), group[1]), (w, _grouped(rows, w.shape[0])))
    return out.reshape(rows.shape[0], out.shape[-1])


def _map_groups(
    one_group: Callable[[Array, Array], Array], w: Float[Array, "c edge"], rows: Float[Array, "b n"], n_out: int
) -> Float[Array, "b n_out"]:
    """`one_group` for all rows that have the same weights, one group after the other; in parts whose flat indices are
    32-bit numbers."""
    groups, n_in = w.shape[0], rows.shape[1]
    most = max((2**31 - 1) // max(n_in, n_out, 1), 1)
    if rows.shape[0] // groups > most:
        return _map_rows(lambda row, w: one_group(row[None], w)[0], w, rows)
    if groups == 1:
        return one_group(rows, w[0])
    return lax.map(lambda group: one_group(group[1], group[0]), (w, _grouped(rows, groups))).reshape(-1, n_out)


# --- gathers and segment sums for other platforms ---------------------------------------------------------------------


def _grouped(a: Array, groups: int) -> Array:
    return a.reshape(groups, a.shape[0] // groups, *a.shape[1:])


def _push_segments(x: Array, w: Array, indptr: Rows, post: Edges, pre: Edges, *, n_post: int) -> Array:
    products = (_grouped(x, w.shape[0])[:, :, pre] * w[:, None, :]).reshape(x.shape[0], post.shape[0])
    return jnp.zeros((x.shape[0], n_post), x.dtype).at[:, post].add(products)


def _pull_segments(g: Array, w: Array, indptr: Rows, post: Edges, pre: Edges, *, n_post: int) -> Array:
    products = (_grouped(g, w.shape[0])[:, :, post] * w[:, None, :]).reshape(g.shape[0], post.shape[0])
    return jnp.zeros((g.shape[0], indptr.shape[0] - 1), g.dtype).at[:, pre].add(products, indices_are_sorted=True)


def _outer_segments(a: Array, x: Array, g: Array, indptr: Rows, post: Edges, pre: Edges) -> Array:
    groups = a.shape[0]
    return a + jnp.einsum("cre,cre->ce", _grouped(x, groups)[:, :, pre], _grouped(g, groups)[:, :, post])


# --- the compiled library for the CPU ---------------------------------------------------------------------------------

_SUFFIX = {"float32": "f32", "float64": "f64"}


def _on_cpu(kernel: str, loops: Callable[..., Array], *args: Array, native: bool, **settings: int) -> Array:
    """The compiled function where `native` says so and there is one for the type, else the loops."""
    a, b, *own, indptr, post, _ = args
    if not native or a.dtype.name not in _SUFFIX:
        return loops(*args, **settings)
    target = f"connectofit_{kernel}_{_SUFFIX[a.dtype.name]}"
    if kernel == "outer":
        out = jax.ShapeDtypeStruct(a.shape, a.dtype)
        return jax.ffi.ffi_call(target, out, input_output_aliases={0: 0})(a, b, *own, indptr, post)
    n_rows = settings["n_post"] if kernel == "push" else indptr.shape[0] - 1
    return jax.ffi.ffi_call(target, jax.ShapeDtypeStruct((a.shape[0], n_rows), a.dtype))(a, b, indptr, post)


def _elsewhere(segments: Callable[..., Array], *args: Array, native: bool, **settings: int) -> Array:
    return segments(*args, **settings)


# --- the primitives ---------------------------------------------------------------------------------------------------

push_p = Primitive("connectofit_csr_push")
pull_p = Primitive("connectofit_csr_pull")
outer_p = Primitive("connectofit_csr_outer")


def _product_type(
    rows: Callable[..., int], a: Any, w: Any, indptr: Any, post: Any, pre: Any, *, n_post: int, native: bool
) -> jax.core.ShapedArray:
    return jax.core.ShapedArray((a.shape[0], rows(indptr, n_post)), a.dtype)


def _outer_type(a: Any, x: Any, g: Any, indptr: Any, post: Any, pre: Any, *, native: bool) -> jax.core.ShapedArray:
    return jax.core.ShapedArray(a.shape, a.dtype)


push_p.def_abstract_eval(partial(_product_type, lambda indptr, n_post: n_post))
pull_p.def_abstract_eval(partial(_product_type, lambda indptr, n_post: indptr.shape[0] - 1))
outer_p.def_abstract_eval(_outer_type)


@cache
def _compiled(primitive: Primitive, settings: tuple[tuple[str, int], ...]) -> Callable[..., Array]:
    return jax.jit(partial(primitive.bind, **dict(settings)))


def run_alone(primitive: Primitive, *args: Array, **settings: int) -> Array:
    """Outside of `jit` a primitive runs as a jitted call of its own: the result does not depend on the caller."""
    return _compiled(primitive, tuple(settings.items()))(*args)


for _primitive, _kernel, _loops, _segments in (
    (push_p, "push", _push_loops, _push_segments),
    (pull_p, "pull", _pull_loops, _pull_segments),
    (outer_p, "outer", _outer_loops, _outer_segments),
):
    _primitive.def_impl(partial(run_alone, _primitive))
    mlir.register_lowering(_primitive, mlir.lower_fun(partial(_elsewhere, _segments), multiple_results=False))
    _cpu = partial(_on_cpu, _kernel, _loops)
    mlir.register_lowering(_primitive, mlir.lower_fun(_cpu, multiple_results=False), platform="cpu")


def push(x: Array, w: Array, indptr: Array, post: Array, pre: Array, *, n_post: int, native: bool = False) -> Array:
    """y = W^T x, over the out-edges of neurons whose x is not 0; see the module's text for the shapes.

    native: on the CPU by the compiled library, which has to be there (`connectofit.sim.native.compiled_kernels`).
    """
    return push_p.bind(x, w, indptr, post, pre, n_post=n_post, native=native)


# --- derivatives ------------------------------------------------------------------------------------------------------


def _jvp(primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Any], **settings: Any) -> tuple[Any, Any]:
    a, b, *graph = primals
    out = primitive.bind(a, b, *graph, **settings)
    terms = []
    if type(tangents[0]) is not ad.Zero:
        terms.append(primitive.bind(tangents[0], b, *graph, **settings))
    if type(tangents[1]) is not ad.Zero:
        terms.append(primitive.bind(a, tangents[1], *graph, **settings))
    return out, sum(terms[1:], start=terms[0]) if terms else jnp.zeros_like(out)


def _outer_jvp(primals: Sequence[Any], tangents: Sequence[Any], *, native: bool) -> tuple[Any, Any]:
    a, x, g, *graph = primals
    a_dot, x_dot, g_dot = tangents[:3]
    total = jnp.zeros_like(a) if type(a_dot) is ad.Zero else a_dot
    if type(x_dot) is not ad.Zero:
        total = outer_p.bind(total, x_dot, g, *graph, native=native)
    if type(g_dot) is not ad.Zero:
        total = outer_p.bind(total, x, g_dot, *graph, native=native)
    return outer_p.bind(a, x, g, *graph, native=native), total


def no_products(w: Any) -> Array:
    """What `outer` adds to where it stands alone: zeros for the weights that it is the gradient by."""
    return jnp.zeros(w.aval.shape, w.aval.dtype)


def push_transpose(ct: Any, x: Any, w: Any, *graph: Any, n_post: int, native: bool) -> tuple[Any, ...]:
    """What the derivatives by x and by w are, of `push` with the cotangent given."""
    if type(ct) is ad.Zero:
        return (None,) * 5
    if ad.is_undefined_primal(x):
        return pull_p.bind(ct, w, *graph, n_post=n_post, native=native), None, None, None, None
    return None, outer_p.bind(no_products(w), x, ct, *graph, native=native), None, None, None


def _pull_transpose(ct: Any, g: Any, w: Any, *graph: Any, n_post: int, native: bool) -> tuple[Any, ...]:
    if type(ct) is ad.Zero:
        return (None,) * 5
    if ad.is_undefined_primal(g):
        return push_p.bind(ct, w, *graph, n_post=n_post, native=native), None, None, None, None
    return None, outer_p.bind(no_products(w), ct, g, *graph, native=native), None, None, None


def _outer_transpose(ct: Any, a: Any, x: Any, g: Any, *graph: Any, native: bool) -> tuple[Any, ...]:
    if type(ct) is ad.Zero:
        return (None,) * 6
    of_a = ct if ad.is_undefined_primal(a) else None
    of_x = of_g = None
    if ad.is_undefined_primal(x):
        of_x = pull_p.bind(g, ct, *graph, n_post=g.shape[1], native=native)
    elif ad.is_undefined_primal(g):
        of_g = push_p.bind(x, ct, *graph, n_post=g.aval.shape[1], native=native)
    return of_a, of_x, of_g, None, None, None


# --- vmap -------------------------------------------------------------------------------------------------------------


def _front(value: Any, axis: Any, size: int) -> Any:
    """The value with its mapped axis in front; one that is not mapped is repeated."""
    if axis is None:
        return jnp.broadcast_to(value, (size, *value.shape))
    return jnp.moveaxis(value, axis, 0)


def over_graphs(primitive: Primitive, args: Sequence[Any], axes: Sequence[Any], settings: dict[str, Any]) -> Any:
    """One graph after the other, where the graph itself is mapped (for example rewired connectomes)."""
    size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    moved = tuple(_front(a, axis, size) for a, axis in zip(args, axes, strict=True))
    return lax.map(lambda each: primitive.bind(*each, **settings), moved), 0


def product_batch(primitive: Primitive, args: Sequence[Any], axes: Sequence[Any], **settings: Any) -> Any:
    """A mapped axis of `push` or `pull` as more rows: `over_graphs` where the graph itself is mapped."""
    (a, w, *graph), (a_axis, w_axis, *graph_axes) = args, axes
    if any(axis is not None for axis in graph_axes):
        return over_graphs(primitive, args, axes, settings)
    if w_axis is None:
        # The weights are shared: the new axis goes inside of each group of rows, so that they are not repeated.
        a = jnp.moveaxis(a, a_axis, 1)
        batch, size = a.shape[:2]
        out = primitive.bind(a.reshape(batch * size, a.shape[2]), w, *graph, **settings)
        return out.reshape(batch, size, out.shape[1]), 1
    size = w.shape[w_axis]
    a, w = _front(a, a_axis, size), _front(w, w_axis, size)
    batch = a.shape[1]
    out = primitive.bind(
        a.reshape(size * batch, a.shape[2]), w.reshape(size * w.shape[1], w.shape[2]), *graph, **settings
    )
    return out.reshape(size, batch, out.shape[1]), 0


def _outer_batch(primitive: Primitive, args: Sequence[Any], axes: Sequence[Any], *, native: bool) -> Any:
    (a, x, g, *graph), (a_axis, x_axis, g_axis, *graph_axes) = args, axes
    if any(axis is not None for axis in graph_axes):
        return over_graphs(primitive, args, axes, {"native": native})
    size = next(v.shape[axis] for v, axis in zip((a, x, g), axes[:3], strict=True) if axis is not None)
    a, x, g = _front(a, a_axis, size), _front(x, x_axis, size), _front(g, g_axis, size)
    flat = (v.reshape(size * v.shape[1], v.shape[2]) for v in (a, x, g))
    return primitive.bind(*flat, *graph, native=native).reshape(a.shape), 0


for _primitive, _derivative, _transpose, _batch in (
    (push_p, partial(_jvp, push_p), push_transpose, product_batch),
    (pull_p, partial(_jvp, pull_p), _pull_transpose, product_batch),
    (outer_p, _outer_jvp, _outer_transpose, _outer_batch),
):
    ad.primitive_jvps[_primitive] = _derivative
    ad.primitive_transposes[_primitive] = _transpose
    batching.primitive_batchers[_primitive] = partial(_batch, _primitive)
