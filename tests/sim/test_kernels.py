"""The sparse product against dense NumPy, and its derivatives against closed forms and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from connectofit.connectome.errors import UnknownNameError
from connectofit.sim import csr_primitives
from connectofit.sim.kernels import choose, csr, prepare, propagate, propagate_along
from connectofit.sim.native import compiled_kernels

METHODS = (
    "event",
    pytest.param(
        "native", marks=pytest.mark.skipif(not compiled_kernels().available, reason=compiled_kernels().reason)
    ),
    "dense",
)


def edges(n_pre: int, n_post: int, n_edges: int, seed: int = 0):
    """(pre, post, weight, indptr) with repeated edges, self-loops and, where few, neurons without edges."""
    rng = np.random.default_rng(seed)
    pre = np.sort(rng.integers(0, n_pre, n_edges)) if n_edges else np.empty(0, int)
    post = rng.integers(0, n_post, n_edges)
    if n_edges >= 4:
        post[1], pre[1] = post[0], pre[0]  # twice the same edge
        post[2] = min(pre[2], n_post - 1)  # a self-loop, where the sizes agree
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n_pre))])
    return pre, post, rng.normal(size=n_edges), indptr


def dense_matrix(pre, post, weight, n_pre, n_post) -> np.ndarray:
    matrix = np.zeros((n_pre, n_post))
    np.add.at(matrix, (pre, post), weight)
    return matrix


def product(x, weight, indptr, post, n_post, method):
    return propagate(x, prepare(weight, csr(indptr, post, n_post), method))


@pytest.mark.few(4)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n_pre", "n_post", "n_edges"), [(7, 7, 40), (70, 5, 90), (3, 4, 0), (150, 2, 400)])
def test_product_is_that_of_the_dense_matrix(method, n_pre, n_post, n_edges):
    pre, post, weight, indptr = edges(n_pre, n_post, n_edges)
    x = np.random.default_rng(1).normal(size=(3, n_pre))
    x[:, ::3] = 0.0
    expected = x @ dense_matrix(pre, post, weight, n_pre, n_post)
    with jax.enable_x64(True):
        np.testing.assert_allclose(product(x, weight, indptr, post, n_post, method), expected, atol=1e-13)
        np.testing.assert_allclose(product(x[0], weight, indptr, post, n_post, method), expected[0], atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_values_between_0_and_1_are_multiplied_and_not_rounded(method):
    y = product(jnp.array([0.25, 1e-6]), jnp.array([2.0, 1.0]), np.array([0, 1, 2]), np.array([0, 1]), 2, method)
    np.testing.assert_allclose(y, [0.5, 1e-6])


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_closed_forms(method):
    n_pre, n_post = 9, 6
    pre, post, weight, indptr = edges(n_pre, n_post, 50)
    rng = np.random.default_rng(2)
    x, g = rng.normal(size=n_pre), rng.normal(size=n_post)
    x[3] = 0.0
    with jax.enable_x64(True):
        loss = lambda x, w: product(x, w, indptr, post, n_post, method) @ g  # noqa: E731
        dx, dw = jax.grad(loss, argnums=(0, 1))(x, weight)
    np.testing.assert_allclose(dx, dense_matrix(pre, post, weight, n_pre, n_post) @ g, atol=1e-13)
    np.testing.assert_allclose(dw, x[pre] * g[post], atol=1e-13)


@pytest.mark.few(1)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mapped", [(None, None), (0, 0)])
def test_derivatives_agree_with_finite_differences_in_both_modes(method, mapped):
    n_pre, n_post = 4, 5
    _, post, weight, indptr = edges(n_pre, n_post, 12)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, n_pre) if mapped[0] == 0 else n_pre)
    weight = np.stack([weight, rng.normal(size=12)]) if mapped[1] == 0 else weight
    f = lambda x, w: jnp.tanh(product(x, w, indptr, post, n_post, method))  # noqa: E731
    with jax.enable_x64(True):
        check_grads(f if mapped == (None, None) else jax.vmap(f, in_axes=mapped), (x, weight), order=2)


@pytest.mark.parametrize("method", METHODS)
def test_results_do_not_depend_on_whether_jit_or_grad_came_first(method):
    _, post, weight, indptr = edges(11, 8, 31, seed=5)
    x = np.random.default_rng(6).normal(size=11).astype(np.float32)
    weight = weight.astype(np.float32)

    def results(order):
        f = lambda x, w: product(x, w, indptr, post, 8, method).sum()  # noqa: E731
        calls = {"jit": jax.jit(f), "grad": jax.grad(f, argnums=(0, 1)), "plain": f}
        found = {name: calls[name](x, weight) for name in order}
        return jax.tree.leaves((found["plain"], found["jit"], found["grad"]))

    for a, b in zip(results(("jit", "grad", "plain")), results(("grad", "plain", "jit")), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_nested_vmap_over_inputs_weights_and_graphs_is_that_of_a_loop(method):
    n_pre, n_post, n_edges = 6, 5, 17
    graphs = [edges(n_pre, n_post, n_edges, seed) for seed in range(2)]
    x = np.random.default_rng(7).normal(size=(4, n_pre))
    post, weight, indptr = (np.stack([g[k] for g in graphs]) for k in (1, 2, 3))
    over_x = jax.vmap(lambda x, w, i, p: product(x, w, i, p, n_post, method), in_axes=(0, None, None, None))
    with jax.enable_x64(True):
        y = jax.vmap(over_x, in_axes=(None, 0, 0, 0))(x, weight, indptr, post)
        two_weights = jax.vmap(over_x, in_axes=(None, 0, None, None))(x, weight, indptr[0], post[0])
    for k, (pre, post_k, weight_k, _) in enumerate(graphs):
        np.testing.assert_allclose(y[k], x @ dense_matrix(pre, post_k, weight_k, n_pre, n_post), atol=1e-13)
        expected = x @ dense_matrix(graphs[0][0], graphs[0][1], weight_k, n_pre, n_post)
        np.testing.assert_allclose(two_weights[k], expected, atol=1e-13)


def test_lowering_for_other_platforms_gives_what_the_loops_give():
    pre, post, weight, indptr = (jnp.asarray(a) for a in edges(6, 5, 17))
    rng = np.random.default_rng(8)
    x, g = jnp.asarray(rng.normal(size=(4, 6)), jnp.float32), jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)
    w = jnp.stack([weight, 2 * weight]).astype(jnp.float32)
    graph = (indptr, post, pre)
    for name, args, settings in (
        ("push", (x, w), {"n_post": 5}),
        ("pull", (g, w), {"n_post": 5}),
        ("outer", (w, x, g), {}),
    ):
        loops, segments = (getattr(csr_primitives, f"_{name}_{how}") for how in ("loops", "segments"))
        expected = segments(*args, *graph, **settings)
        np.testing.assert_allclose(loops(*args, *graph, **settings), expected, rtol=2e-5, atol=1e-6)


def test_tape_of_a_time_loop_holds_nothing_of_edges_times_steps():
    n, n_edges, n_steps = 10, 37, 23
    _, post, weight, indptr = edges(n, n, n_edges)

    def loss(w):
        prepared = prepare(w, csr(indptr, post, n), "event")
        step = lambda x, _: (jnp.tanh(propagate(x, prepared)), None)  # noqa: E731
        return jax.lax.scan(step, jnp.ones(n), None, length=n_steps)[0].sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(jnp.asarray(weight, jnp.float32)))
    assert f"[{n_steps},{n}]" in text
    assert f"[{n_steps},{n_edges}]" not in text
    assert f"[{n_steps},1,{n_edges}]" not in text


def rows_of_all_lengths(longest: int, n_post: int, seed: int = 0):
    """(pre, post, weight, indptr) where neuron i has i edges, from none to `longest`."""
    rng = np.random.default_rng(seed)
    pre = np.repeat(np.arange(longest + 1), np.arange(longest + 1))
    indptr = np.concatenate([[0], np.cumsum(np.arange(longest + 1))])
    return pre, rng.integers(0, n_post, len(pre)), rng.normal(size=len(pre)), indptr


@pytest.mark.few(2)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [1, 2, 3, 16, 19, 40])
@pytest.mark.parametrize("x64", [False, True])
def test_backward_product_is_right_for_rows_of_every_length_and_batches_of_every_width(method, batch, x64):
    longest, n_post = 70, 9
    pre, post, weight, indptr = rows_of_all_lengths(longest, n_post)
    rng = np.random.default_rng(1)
    g, dtype = rng.normal(size=(batch, n_post)), np.float64 if x64 else np.float32
    with jax.enable_x64(x64):
        loss = lambda x, w: (product(x, w, indptr, post, n_post, method) * g.astype(dtype)).sum()  # noqa: E731
        dx = jax.jit(jax.grad(loss))(jnp.ones((batch, longest + 1), dtype), jnp.asarray(weight, dtype))
    expected = g @ dense_matrix(pre, post, weight, longest + 1, n_post).T
    np.testing.assert_allclose(dx, expected, **({"atol": 1e-13} if x64 else {"rtol": 2e-5, "atol": 1e-5}))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["event", METHODS[1]])
def test_neuron_with_100_000_edges_is_summed_as_in_numpy(method):
    rng = np.random.default_rng(4)
    n, n_edges = 3, 100_000
    post, weight, x = rng.integers(0, n, n_edges), rng.normal(size=n_edges), np.array([0.0, 1.5, 0.0])
    indptr, g = np.array([0, 0, n_edges, n_edges]), rng.normal(size=n)
    with jax.enable_x64(True):
        f = lambda x, w: product(x, w, indptr, post, n, method)  # noqa: E731
        y, back = jax.jit(lambda x, w: jax.vjp(f, x, w))(x, weight)
        dx, dw = back(jnp.asarray(g))
    np.testing.assert_allclose(y, 1.5 * np.bincount(post, weight, n), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(dx, [0.0, weight @ g[post], 0.0], rtol=1e-10)
    np.testing.assert_allclose(dw, 1.5 * g[post], rtol=1e-14)


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=METHODS[1].marks)])
def test_outer_adds_one_product_per_edge_to_what_was_there(native):
    pre, post, _, indptr = edges(7, 6, 23)
    rng = np.random.default_rng(9)
    x, g, a = rng.normal(size=(4, 7)), rng.normal(size=(4, 6)), rng.normal(size=(2, 23))
    x[:, 2] = 0.0
    with jax.enable_x64(True):
        graph = tuple(jnp.asarray(v, jnp.int32) for v in (indptr, post, pre))
        run = lambda a, x, g: csr_primitives.outer_p.bind(a, x, g, *graph, native=native)  # noqa: E731
        arrays = tuple(jnp.asarray(v) for v in (a, x, g))
        found, kept = jax.jit(run)(*arrays), np.array(arrays[0])
        check_grads(run, arrays, order=2)
    products = (x[:, pre] * g[:, post]).reshape(2, 2, 23).sum(axis=1)
    np.testing.assert_allclose(found, a + products, atol=1e-14)
    np.testing.assert_array_equal(kept, a)  # what is given stays as it was


def loop(x0, w, graph, method, *, along: bool, n_steps=7):
    """A time loop of products, the derivative by the weights in its carry or not."""
    prepared = prepare(w, graph, method)

    def step(carry, _):
        x, d = carry
        y, d = propagate_along(x, prepared, d) if along else (propagate(x, prepared), d)
        return (jnp.tanh(y) + 0.1 * x, d), y

    (x, _), ys = jax.lax.scan(step, (x0, w[None, :]), None, length=n_steps)
    return (x**2).sum() + ys.sum()


def carried_case():
    """A graph, two inputs, and two sets of weights."""
    n = 8
    _, post, weight, indptr = edges(n, n, 30)
    x = 0.5 * np.random.default_rng(10).normal(size=(2, n))
    x[:, 3] = 0.0
    return csr(indptr, post, n), x, 0.5 * np.stack([weight, 0.5 * weight])


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("event", marks=pytest.mark.slow), METHODS[1]])
@pytest.mark.parametrize(
    "axes", [(0, 0), pytest.param((0, None), marks=pytest.mark.slow), pytest.param((None, 0), marks=pytest.mark.slow)]
)
def test_derivative_in_the_carry_is_that_of_the_dense_loop(method, axes):
    graph, x, w = carried_case()

    def values_and_gradients(f, axes, x, w):
        args = (x if axes[0] == 0 else x[0], w if axes[1] == 0 else w[0])
        each = jax.vmap(jax.value_and_grad(f, argnums=(0, 1)), axes)(*args)
        return each, jax.grad(lambda *args: jax.vmap(f, axes)(*args).sum(), argnums=(0, 1))(*args)

    with jax.enable_x64(True):
        x, w = jnp.asarray(x), jnp.asarray(w)
        dense = lambda x, w: loop(x, w, graph, "dense", along=False)  # noqa: E731
        carried = lambda x, w: loop(x, w, graph, method, along=True)  # noqa: E731
        expected, found = (values_and_gradients(f, axes, x, w) for f in (dense, carried))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), expected, found)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["event", METHODS[1]])
def test_derivatives_in_the_carry_are_those_of_finite_differences_to_second_order(method):
    graph, x, w = carried_case()
    with jax.enable_x64(True):
        x, w = jnp.asarray(x), jnp.asarray(w)
        carried = lambda x, w: loop(x, w, graph, method, along=True)  # noqa: E731
        check_grads(carried, (x[0], w[0]), order=2)
        jit_first = jax.jit(jax.grad(carried, argnums=1))(x[0], w[0])
        grad_first = jax.grad(jax.jit(carried), argnums=1)(x[0], w[0])
    np.testing.assert_allclose(jit_first, grad_first, rtol=1e-14)


def test_derivative_in_the_carry_is_added_to_in_place():
    n, n_edges = 10, 4_000
    _, post, weight, indptr = edges(n, n, n_edges)
    f = lambda w: loop(jnp.ones(n), w, csr(indptr, post, n), "event", along=True)  # noqa: E731
    text = jax.jit(jax.grad(f)).lower(jnp.asarray(weight, jnp.float32)).as_text()
    assert "connectofit" not in text  # nothing is left that only another platform could run
    assert f"7x{n_edges}x" not in text  # one array of all edges, not one for each step


def test_automatic_choice_is_dense_for_small_graded_populations_only():
    assert choose("auto", 302, 302, spiking=False) == "dense"
    sparse = "native" if compiled_kernels().available else "event"
    assert choose("auto", 302, 302, spiking=True) == sparse
    assert choose("auto", 5000, 5000, spiking=False) == sparse
    assert choose("event", 2, 2, spiking=False) == "event"
    with pytest.raises(UnknownNameError, match="Did you mean 'dense'"):
        choose("dens", 2, 2, spiking=False)
