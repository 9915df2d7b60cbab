"""The time loop: its gradients, masks, delays, continuation and errors."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.sim import (
    LIF,
    Exponential,
    ExponentialConductance,
    Network,
    Population,
    Projection,
    initial_state,
    rollout,
)
from connectofit.sim.native import compiled_kernels

NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(not compiled_kernels().available, reason=compiled_kernels().reason)
)


def stimulus(n_steps: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_steps, n))


def voltages(net, inputs, **settings):
    static = {k: settings.pop(k) for k in ("method", "checkpoint", "n_steps") if k in settings}
    f = jax.jit(lambda net, inputs, s: rollout(net, None, {"worm": inputs}, dt_ms=2.0, **static, **s)[1]["worm"]["v"])
    return f(net, inputs, settings)


def finite_difference(f, params, owner, name, entry, h=1e-6):
    values = []
    for sign in (1, -1):
        changed = {o: {k: np.array(v) for k, v in own.items()} for o, own in params.items()}
        changed[owner][name][entry] += sign * h
        values.append(float(f(changed)))
    return (values[0] - values[1]) / (2 * h)


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["event", "dense"])
def test_gradient_by_every_parameter_is_that_of_finite_differences(random_worm, method):
    inputs = stimulus(15, 12)
    with jax.enable_x64(True):
        f = jax.jit(lambda p: (voltages(random_worm.with_params(p), inputs, method=method) ** 2).mean())
        gradient = jax.jit(jax.grad(f))(random_worm.params)
        for owner, own in random_worm.params.items():
            for name in own:
                if name != "noise":
                    expected = finite_difference(f, random_worm.params, owner, name, 0)
                    assert abs(expected) > 1e-9
                    np.testing.assert_allclose(gradient[owner][name][0], expected, rtol=2e-5, err_msg=f"{owner} {name}")


def test_checkpointed_segments_change_neither_value_nor_gradient(random_worm):
    inputs = stimulus(23, 12)
    with jax.enable_x64(True):
        found = [
            jax.jit(
                jax.value_and_grad(lambda p, c=c: voltages(random_worm.with_params(p), inputs, checkpoint=c).std())
            )(random_worm.params)
            for c in (None, "sqrt")
        ]
    for other in found[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found[0], other)
    with pytest.raises(SettingError, match="checkpoint"):
        voltages(random_worm, inputs, checkpoint=0)


@pytest.mark.slow
def test_gradient_through_delayed_graded_synapses_is_that_of_finite_differences(graded):
    rng = np.random.default_rng(4)
    net = graded(rng.normal(size=(4, 4)), rng.random((4, 4)), delay_ms=6.0)  # three steps; 10 steps leave a rest
    with jax.enable_x64(True):
        f = jax.jit(lambda p: (voltages(net.with_params(p), stimulus(10, 4)) ** 2).sum())
        gradient = jax.jit(jax.grad(f))(net.params)
        for owner, name in (("chemical", "log_gain"), ("worm", "tau_m_ms"), ("worm", "v_rest")):
            expected = finite_difference(f, net.params, owner, name, 0)
            np.testing.assert_allclose(gradient[owner][name][0], expected, rtol=2e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["event", "dense"])
def test_ablated_neuron_leaves_the_network_as_if_it_were_removed(graded, method):
    rng = np.random.default_rng(2)
    n, gone = 6, 2
    chemical, gap = rng.normal(size=(n, n)), rng.random((n, n))
    keep = [k for k in range(n) if k != gone]
    inputs = stimulus(20, n)
    alive = np.ones(n)
    alive[gone] = 0.0
    with jax.enable_x64(True):
        ablated = voltages(graded(chemical, gap), inputs, alive={"worm": alive}, method=method)
        windowed = voltages(graded(chemical, gap), inputs, alive={"worm": np.tile(alive, (20, 1))}, method=method)
        removed = voltages(
            graded(chemical[np.ix_(keep, keep)], gap[np.ix_(keep, keep)]), inputs[:, keep], method=method
        )
    np.testing.assert_allclose(ablated[:, keep], removed, atol=1e-13)
    np.testing.assert_allclose(windowed, ablated, atol=1e-13)
    np.testing.assert_array_equal(ablated[:, gone], 0.0)


@pytest.mark.slow
def test_vmap_over_stimuli_and_ablations_is_a_loop_over_them(random_worm):
    inputs, alive = np.stack([stimulus(9, 12, k) for k in range(3)]), 1.0 - np.eye(12)[:3]
    one = lambda i, a: voltages(random_worm, i, alive={"worm": a})  # noqa: E731
    with jax.enable_x64(True):
        batch = jax.jit(jax.vmap(one))(inputs, alive)
        for k in range(3):
            np.testing.assert_allclose(batch[k], one(inputs[k], alive[k]), atol=1e-13)


@pytest.mark.few(1)
@pytest.mark.parametrize("delay_ms", [0.0, 6.0])
def test_run_continued_from_its_state_is_one_run(graded, delay_ms):
    rng = np.random.default_rng(3)
    net = graded(rng.normal(size=(4, 4)), delay_ms=delay_ms)
    inputs = stimulus(17, 4)
    with jax.enable_x64(True):
        end, whole = rollout(net, None, {"worm": inputs}, dt_ms=2.0)
        state, first = rollout(net, None, {"worm": inputs[:7]}, dt_ms=2.0)
        state, second = rollout(net, state, {"worm": inputs[7:]}, dt_ms=2.0)
    np.testing.assert_allclose(
        np.concatenate([first["worm"]["v"], second["worm"]["v"]]), whole["worm"]["v"], atol=1e-14
    )
    assert int(state.step) == int(end.step) == 17


def test_graded_signal_arrives_exactly_its_delay_later(graded):
    wire = np.array([[0.0, 1.0], [0.0, 0.0]])
    inputs = np.zeros((12, 2))
    inputs[0, 0] = 1.0
    at_once, late = (voltages(graded(wire, delay_ms=d), inputs)[:, 1] for d in (0.0, 8.0))
    assert np.flatnonzero(np.asarray(at_once))[0] == 1  # V of n0 moves in step 0 and is seen in step 1
    np.testing.assert_array_equal(late[4:], at_once[:-4])
    np.testing.assert_array_equal(late[:4], 0.0)


@pytest.mark.few(2)
@pytest.mark.parametrize("delay_steps", [1, 3, 7])
@pytest.mark.parametrize("method", ["event", "dense"])
def test_spike_moves_the_target_exactly_its_delay_later(lif, delay_steps, method):
    net = lif([[0.0, 100.0], [0.0, 0.0]], delay_ms=0.5 * delay_steps, t_ref_ms=100.0)
    inputs = np.zeros((24, 2))
    inputs[:4, 0] = 1e4
    out = rollout(net, None, {"cells": inputs}, dt_ms=0.5, method=method)[1]["cells"]
    fired = np.flatnonzero(np.asarray(out["spikes"])[:, 0])
    assert len(fired) == 1
    # Spike at the end of step m, current on at the end of step m + delay, voltage moves in the step after.
    moved = np.flatnonzero(np.asarray(out["v_mV"])[:, 1] != -70.0)
    assert moved[0] == fired[0] + delay_steps + 1


def test_surrogate_gradient_flows_through_spikes_and_delays(lif):
    net = lif(np.full((3, 3), 40.0), delay_ms=1.0)
    inputs = np.full((120, 3), 200.0)

    def loss(p):
        return rollout(net.with_params(p), None, {"cells": inputs}, dt_ms=0.5)[1]["cells"]["spikes"].sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(net.params)
    assert value > 3
    assert gradient["syn"]["log_gain"][0] > 0  # more excitation, more spikes
    assert np.all(np.asarray(gradient["cells"]["v_threshold_mV"]) < 0)
    forward = jax.jit(lambda p: jax.jvp(loss, (p,), (jax.tree.map(jnp.ones_like, p),))[1])(
        jax.tree.map(jnp.asarray, net.params)
    )
    np.testing.assert_allclose(forward, sum(float(jnp.sum(g)) for g in jax.tree.leaves(gradient)), rtol=1e-3)


def test_one_row_of_input_is_held_over_all_steps(random_worm):
    row = stimulus(1, 12)
    held = voltages(random_worm, row, n_steps=8)
    np.testing.assert_array_equal(held, voltages(random_worm, np.tile(row, (8, 1))))


@pytest.mark.slow
def test_dtype_is_that_of_the_state_or_else_of_the_inputs(random_worm):
    def dtype(state, inputs):
        return jax.eval_shape(
            lambda i: rollout(random_worm, state, {"worm": i}, dt_ms=2.0)[1]["worm"]["v"], inputs
        ).dtype

    assert dtype(None, stimulus(3, 12)) == jnp.float32
    with jax.enable_x64(True):
        assert dtype(None, stimulus(3, 12)) == jnp.float64
        assert dtype(None, stimulus(3, 12).astype(np.float32)) == jnp.float32
        assert dtype(initial_state(random_worm, dt_ms=2.0, dtype="float32"), stimulus(3, 12)) == jnp.float32


def test_bad_arguments_are_named_before_anything_is_compiled(random_worm, lif):
    inputs = {"worm": stimulus(3, 12)}
    with pytest.raises(UnknownNameError, match="Did you mean 'worm'"):
        rollout(random_worm, None, {"wurm": inputs["worm"]}, dt_ms=1.0)
    with pytest.raises(UnknownNameError, match="variable to record named 'volt'"):
        rollout(random_worm, None, inputs, dt_ms=1.0, record=("volt",))
    with pytest.raises(UnknownNameError, match="population 'worm'"):
        rollout(random_worm, None, inputs, dt_ms=1.0, record={"worm": ("spikes",)})
    with pytest.raises(SettingError, match=r"has to be \[time, 12\]"):
        rollout(random_worm, None, {"worm": np.zeros((3, 5))}, dt_ms=1.0)
    with pytest.raises(SettingError, match="one length"):
        rollout(random_worm, None, inputs, dt_ms=1.0, n_steps=4)
    with pytest.raises(SettingError, match="neither inputs nor n_steps"):
        rollout(random_worm, None, {}, dt_ms=1.0)
    with pytest.raises(SettingError, match="whole number of steps"):
        rollout(lif(np.ones((2, 2)), delay_ms=1.0), None, {}, dt_ms=0.3, n_steps=1)
    with pytest.raises(SettingError, match="at least dt_ms"):
        rollout(lif(np.ones((2, 2)), delay_ms=0.0), None, {}, dt_ms=0.5, n_steps=1)
    state = initial_state(lif(np.ones((2, 2)), delay_ms=1.0), dt_ms=0.5)
    with pytest.raises(SettingError, match="same dt_ms"):
        rollout(lif(np.ones((2, 2)), delay_ms=1.0), state, {}, dt_ms=0.25, n_steps=1)


def recurrent(synapse, delay_ms, n=9, n_edges=40):
    """LIF neurons with repeated edges, self-loops, and a neuron that sends to none."""
    rng = np.random.default_rng(6)
    pre = np.sort(rng.integers(0, n - 1, n_edges)) if n_edges else np.empty(0, int)
    post = rng.integers(0, n, n_edges)
    if n_edges:
        post[1], pre[1], post[2] = post[0], pre[0], pre[2]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=n))]).astype(np.int32)
    weight = rng.uniform(0.5, 1.5, n_edges) * (8.0 if isinstance(synapse, ExponentialConductance) else 60.0)
    params = {name: np.full(n, p.default) for name, p in LIF.parameters.items()}
    cells = Population("cells", LIF(), tuple(range(n)), np.arange(n, dtype=np.int32), tuple(range(n)))
    syn = Projection(
        "syn", "cells", "cells", synapse, indptr, post.astype(np.int32), weight, np.zeros(n_edges, np.int32), ("all",),
        delay_ms,
    )  # fmt: skip
    own = {name: np.full(1, p.default) for name, p in synapse.parameters.items()} | {"log_gain": np.zeros(1)}
    return Network((cells,), (syn,), {"cells": params, "syn": own})


def by_weights(net, method, checkpoint=None, n_steps=41):
    """A function of the edges' weights, through spikes, potentials and the state at the end."""
    drive = np.random.default_rng(7).normal(350.0, 100.0, (n_steps, 9))

    def f(weight):
        (projection,) = net.projections
        own = replace(net, projections=(replace(projection, base_weight=weight),))
        how = {"dt_ms": 0.5, "method": method, "checkpoint": checkpoint, "record": ("spikes", "v_mV")}
        end, out = rollout(own, None, {"cells": jnp.asarray(drive)}, **how)
        return (
            (out["cells"]["spikes"] * jnp.arange(9.0)).sum()
            + (out["cells"]["v_mV"] ** 2).mean()
            + (end.projections["syn"]["y"] ** 2).sum()
        )

    return f


@pytest.mark.slow
@pytest.mark.parametrize("method", ["event", NATIVE])
@pytest.mark.parametrize(
    ("synapse", "delay_ms"),  # blocks of one step and of three, with a rest
    [
        (ExponentialConductance(), 1.5),
        (Exponential(), 0.5),
        (Exponential(), 1.5),
        (ExponentialConductance(), 0.5),
    ],
)
def test_gradient_by_the_weights_of_edges_is_that_of_the_dense_matrix(method, delay_ms, synapse):
    net = recurrent(synapse, delay_ms)
    with jax.enable_x64(True):
        weight = jnp.asarray(net.projections[0].base_weight)
        expected, dense = jax.jit(jax.value_and_grad(by_weights(net, "dense")))(weight)
        for checkpoint in (None, "sqrt", 5):
            value, found = jax.jit(jax.value_and_grad(by_weights(net, method, checkpoint)))(weight)
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            np.testing.assert_allclose(found, dense, rtol=1e-10, atol=1e-12 * np.abs(dense).max())
        batch = jnp.stack([weight, 0.9 * weight])
        mapped = jax.jit(jax.vmap(jax.grad(by_weights(net, method))))(batch)
        second = jax.jit(jax.grad(by_weights(net, "dense")))(batch[1])
        direction = jnp.cos(jnp.arange(weight.shape[0]))
        forward = jax.jit(lambda w: jax.jvp(by_weights(net, method), (w,), (direction,))[1])(weight)
    np.testing.assert_allclose(mapped[0], dense, rtol=1e-10, atol=1e-12 * np.abs(dense).max())
    np.testing.assert_allclose(mapped[1], second, rtol=1e-10, atol=1e-12 * np.abs(second).max())
    np.testing.assert_allclose(forward, np.asarray(dense) @ np.asarray(direction), rtol=1e-10)
    assert np.count_nonzero(dense) > 30


@pytest.mark.parametrize("method", ["event", NATIVE])
def test_network_without_edges_has_an_empty_gradient(method):
    net = recurrent(Exponential(), 0.5, n_edges=0)
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(by_weights(net, method)))(jnp.zeros(0))
    assert gradient.shape == (0,)


def test_tape_of_the_gradient_by_weights_is_one_float_and_one_byte_for_a_neuron_and_step():
    n, n_steps = 500, 400
    net = recurrent(Exponential(), 0.5)
    (cells,), (syn,) = net.populations, net.projections
    cells = replace(cells, ids=tuple(range(n)), type_index=np.zeros(n, np.int32))
    syn = replace(syn, indptr=np.concatenate([syn.indptr, np.full(n - 9, 40)]).astype(np.int32))
    net = replace(net, populations=(cells,), projections=(syn,))

    def loss(weight, drive):
        own = replace(net, projections=(replace(net.projections[0], base_weight=weight),))
        end, _ = rollout(own, None, {"cells": drive}, dt_ms=0.5, record=(), method="event")
        return (end.populations["cells"]["v_mV"] ** 2).sum()

    weight = jnp.asarray(syn.base_weight, jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(weight, jnp.zeros((n_steps, n))).compile()
    tape = n * n_steps * (4 + 1)
    assert compiled.memory_analysis().temp_size_in_bytes < 1.2 * tape
