"""The compiled training block, against the steps in JAX (which `test_batch_step` holds against `rollout`)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.train import new_readout, run_batch
from connectofit.fit.train.batch_step import make_batched
from connectofit.fit.train.coefficients import chosen_block, obstacle
from connectofit.sim import (
    ALIF,
    GIF,
    LIF,
    Exponential,
    ExponentialConductance,
    Network,
    Population,
    Projection,
    SpikeSource,
)
from connectofit.sim.native import compiled_kernels
from connectofit.sim.surrogate import SURROGATES, Arctan, ReLU, Sigmoid, Surrogate

needs_kernels = pytest.mark.skipif(not compiled_kernels().training, reason=compiled_kernels().reason)

UNIT = {"v_rest_mV": 0.0, "v_reset_mV": -0.1, "r_m_GOhm": 1.0, "i_bias_pA": 0.2}
LEAKY = {**UNIT, "v_threshold_mV": 1.0, "t_ref_ms": 2.0}
# Everything of the model at work: both currents, a moving threshold below its bound after a spike, a refractory period.
TWO_CURRENTS = {
    **UNIT,
    "theta_inf_mV": 1.0,
    "theta_reset_mV": 1.05,
    "a_per_ms": 0.02,
    "b_per_ms": 0.05,
    "k_1_per_ms": 0.15,
    "k_2_per_ms": 0.05,
    "r_1": 0.3,
    "r_2": 0.9,
    "a_1_pA": 0.2,
    "a_2_pA": -0.2,
    "t_ref_ms": 1.0,
}


def _population(name: str, model: Any, n: int, values: dict[str, float]) -> tuple[Population, dict[str, np.ndarray]]:
    params = {k: np.full(1, values.get(k, p.default)) for k, p in model.parameters.items()}
    return Population(name, model, tuple(f"{name}{k}" for k in range(n)), np.zeros(n, np.int32), ("all",)), params


def _projection(
    name: str, pre: str, post: str, synapse: Any, edges: list[tuple[int, int, float]], n_pre: int, delay_ms: float = 1.0
) -> tuple[Projection, dict[str, np.ndarray]]:
    edges = sorted(edges)
    source = np.array([e[0] for e in edges], int)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n_pre))]).astype(np.int32)
    target = np.array([e[1] for e in edges], np.int32)
    weight = np.array([e[2] for e in edges], float)
    index = np.arange(len(edges), dtype=np.int32)
    made = Projection(name, pre, post, synapse, indptr, target, weight, index, tuple(range(len(edges))), delay_ms)
    values = {"tau_syn_ms": np.full(1, 4.0)}
    if isinstance(synapse, ExponentialConductance):
        values["e_rev_mV"] = np.full(1, 3.0 if name != "B_A" else -2.0)
    return made, {"log_gain": np.zeros(len(edges))} | values


def _net(
    first: Any, second: Any, synapse: Any, values: list[dict[str, float]], *, edges: str = "many", seed: int = 0
) -> Network:
    """Four inputs, populations A of 6 and B of 3, two projections from A onto A of different delays."""
    rng = np.random.default_rng(seed)

    def drawn(n_pre: int, n_post: int, size: float, sign: float = 1.0) -> list[tuple[int, int, float]]:
        chosen = rng.random((n_pre, n_post)) < 0.6
        return [(int(i), int(j), sign * abs(rng.normal()) * size) for i, j in zip(*np.nonzero(chosen), strict=True)]

    sign = 1.0 if isinstance(synapse, ExponentialConductance) else -1.0
    size = 0.5 if isinstance(synapse, ExponentialConductance) else 0.9
    recurrent = drawn(6, 6, 0.3)
    # A neuron that sends nothing, one edge twice, and one onto itself.
    recurrent = [e for e in recurrent if e[0] != 2] + [(0, 0, 0.2), (1, 4, 0.1), (1, 4, 0.15)]
    populations = [
        _population("input", SpikeSource(), 4, {}),
        _population("A", first, 6, values[0]),
        _population("B", second, 3, values[1]),
    ]
    projections = [
        _projection("input_A", "input", "A", synapse, drawn(4, 6, size), 4, 2.0),
        _projection("input_B", "input", "B", synapse, drawn(4, 3, size), 4),
    ]
    if edges == "many":
        projections += [
            _projection("A_A", "A", "A", synapse, recurrent, 6),
            _projection("A_A_late", "A", "A", synapse, drawn(6, 6, 0.2), 6, 3.0),
            _projection("A_B", "A", "B", synapse, drawn(6, 3, 0.3), 6),
            _projection("B_A", "B", "A", synapse, drawn(3, 6, 0.3, sign), 3),
        ]
    else:
        projections.append(_projection("A_A", "A", "A", synapse, [], 6))
    params = {p.name: v for p, v in populations} | {p.name: v for p, v in projections}
    return Network(tuple(p for p, _ in populations), tuple(p for p, _ in projections), params)


def _inputs(n_trials: int, n_steps: int = 23, *, values: bool = False) -> jax.Array:
    x = (jax.random.uniform(jax.random.key(1), (n_trials, n_steps, 4)) < 0.3).astype(float)
    return x * jax.random.normal(jax.random.key(2), x.shape) ** 2 if values else x


def _loss(net: Network, block: str, checkpoint: Any = "sqrt") -> Any:
    """Of parameters, readout and inputs: something that every output, rate and voltage is part of."""

    def loss(params: Any, readout: Any, inputs: jax.Array) -> Any:
        batched = make_batched(net.with_params(params), dt_ms=1.0, source="input", block=block)
        run = run_batch(batched, readout, inputs, checkpoint=checkpoint, voltage_range=(-0.2, 0.7))
        shape = run.outputs.shape
        # Not the same for any two outputs, and the same for one trial whatever others there are.
        weights = jnp.sin(1.0 + jnp.arange(shape[0])[:, None, None] * 1.7 + jnp.arange(shape[1])[:, None] * 0.3)
        rates = sum(jnp.sum((a - 20.0) ** 2) for a in run.activity.values())
        return jnp.sum(run.outputs * (weights + jnp.arange(shape[2]))) + 1e-4 * rates + 5.0 * run.beyond, run

    return loss


def _both(net: Network, inputs: jax.Array, *, checkpoint: Any = "sqrt") -> tuple[Any, Any]:
    """((loss, run), gradients by all parameters, the readout and the inputs): of JAX and of the compiled block."""
    readout = new_readout(net, 2, jax.random.key(0), tau_ms=8.0)
    params = jax.tree.map(jnp.asarray, net.params)
    return tuple(
        jax.jit(jax.value_and_grad(_loss(net, block, checkpoint), argnums=(0, 1, 2), has_aux=True))(
            params, readout, inputs
        )
        for block in ("jax", "compiled")
    )


def _assert_close(expected: Any, found: Any, rtol: float) -> None:
    one, other = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (expected, found))
    for (path, a), (_, b) in zip(one, other, strict=True):
        scale = max(float(np.abs(a).max(initial=0.0)), 1e-12)
        np.testing.assert_allclose(b, a, rtol=0, atol=rtol * scale, err_msg=jax.tree_util.keystr(path))


CASES = {
    "two currents, conductances": (GIF(ReLU(1.0)), LIF(Arctan(1.0)), ExponentialConductance(), 7),
    "leaky, currents": (LIF(Sigmoid(0.5)), GIF(ReLU(1.0)), Exponential(), 9),
}


@needs_kernels
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_by_every_parameter_are_those_of_jax(case):
    first, second, synapse, n_trials = CASES[case]
    values = [TWO_CURRENTS if isinstance(model, GIF) else LEAKY for model in (first, second)]
    with jax.enable_x64():
        net = _net(first, second, synapse, values)
        expected, found = _both(net, _inputs(n_trials, values=True))
        assert all(float(a.mean()) > 10.0 for a in expected[0][1].activity.values())
        _assert_close(expected, found, 1e-10)


@needs_kernels
@pytest.mark.slow
@pytest.mark.parametrize("n_trials", [1, 65])
def test_any_number_of_trials_and_a_network_without_edges(n_trials):
    with jax.enable_x64():
        net = _net(GIF(ReLU(1.0)), GIF(ReLU(1.0)), ExponentialConductance(), [TWO_CURRENTS] * 2, edges="none")
        _assert_close(*_both(net, _inputs(n_trials), checkpoint=None), 1e-10)


@needs_kernels
@pytest.mark.slow
def test_single_precision_is_near():
    net = _net(GIF(ReLU(1.0)), LIF(ReLU(1.0)), ExponentialConductance(), [TWO_CURRENTS, LEAKY])
    _assert_close(*_both(net, _inputs(17)), 2e-4)


@pytest.mark.few(1)
@needs_kernels
@pytest.mark.parametrize("surrogate", sorted(SURROGATES.keys() - {"squarewave_fourier_series", "q_pseudo_spike"}))
def test_surrogates_have_the_derivatives_of_their_text(surrogate):
    # One neuron, one step: the derivative of its spike by its bias is that of V', (1 - exp(-dt / tau)) r_m, times the
    # surrogate's at V' - theta.
    made: Surrogate = SURROGATES[surrogate](width_mV=0.7)
    with jax.enable_x64():
        populations = [_population("input", SpikeSource(), 4, {}), _population("A", LIF(made), 41, LEAKY)]
        bias = np.linspace(-30.0, 70.0, 41)
        one = populations[1][0]
        grown = Population("A", one.model, one.ids, np.arange(41, dtype=np.int32), tuple(range(41)))
        wire = _projection("input_A", "input", "A", Exponential(), [(0, 0, 1.0)], 4)
        params = {k: np.broadcast_to(v, 41) for k, v in populations[1][1].items()} | {"i_bias_pA": bias}
        net = Network(
            (populations[0][0], grown), (wire[0],), {"input": populations[0][1], "A": params, "input_A": wire[1]}
        )

        def spikes(bias: jax.Array) -> jax.Array:
            batched = make_batched(
                net.with_params({"A": {"i_bias_pA": bias}}), dt_ms=1.0, source="input", block="compiled"
            )
            run = run_batch(batched, new_readout(net, 1, jax.random.key(0)), jnp.zeros((1, 1, 4)), checkpoint=None)
            return jnp.sum(run.activity["A"]) / 1000.0

        share = 1.0 - np.exp(-1.0 / 20.0)
        above = share * bias - 1.0
        np.testing.assert_allclose(
            jax.grad(spikes)(jnp.asarray(bias)), made.derivative(jnp.asarray(above)) * share, rtol=1e-9, atol=1e-12
        )


@pytest.mark.slow
@needs_kernels
def test_derivatives_are_finite_differences_where_nothing_spikes_anew():
    # The readout is linear in the spikes, but voltages move smoothly with the gains as long as no spike comes or goes.
    with jax.enable_x64():
        net = _net(GIF(ReLU(1e-9)), LIF(ReLU(1e-9)), ExponentialConductance(), [TWO_CURRENTS, LEAKY])
        inputs, readout = _inputs(3), new_readout(net, 2, jax.random.key(0), tau_ms=8.0)
        loss = jax.jit(lambda gain: _loss(net, "compiled")({"A_A": {"log_gain": gain}}, readout, inputs)[0])
        gain = jnp.asarray(net.params["A_A"]["log_gain"])
        direction, h = np.random.default_rng(0).normal(size=gain.shape), 1e-6
        expected = (loss(gain + h * direction) - loss(gain - h * direction)) / (2 * h)
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(jax.grad(loss)(gain) @ direction, expected, rtol=1e-6)


@pytest.mark.slow
@needs_kernels
def test_a_trial_does_not_depend_on_those_beside_it_nor_on_mapping():
    with jax.enable_x64():
        net = _net(GIF(ReLU(1.0)), LIF(ReLU(1.0)), ExponentialConductance(), [TWO_CURRENTS, LEAKY])
        inputs, readout = _inputs(11), new_readout(net, 2, jax.random.key(0), tau_ms=8.0)

        @jax.jit
        def outputs(x: jax.Array) -> jax.Array:
            batched = make_batched(net, dt_ms=1.0, source="input", block="compiled")
            return run_batch(batched, readout, x).outputs

        whole = outputs(inputs)
        np.testing.assert_array_equal(outputs(inputs[9:]), whole[:, 9:])
        mapped = jax.vmap(outputs)(inputs[:4].reshape(2, 2, *inputs.shape[1:]))
        np.testing.assert_allclose(jnp.concatenate([mapped[0], mapped[1]], 1), whole[:, :4], rtol=1e-12)


def test_block_is_chosen_and_says_what_it_cannot(monkeypatch):
    net = _net(GIF(ReLU(1.0)), LIF(ReLU(1.0)), ExponentialConductance(), [TWO_CURRENTS, LEAKY])
    if compiled_kernels().training:
        assert obstacle(net, "input", noisy=False) is None
        assert chosen_block(make_batched(net, dt_ms=1.0, source="input"), 64) == "compiled"
    assert chosen_block(make_batched(net, dt_ms=1.0, source="input"), 1) == "jax"
    assert chosen_block(make_batched(net, dt_ms=1.0, source="input", block="jax"), 64) == "jax"
    noisy = make_batched(net, dt_ms=1.0, source="input", block="compiled", noisy=True)
    with pytest.raises(SettingError, match="cannot run this network"):
        chosen_block(noisy, 64)
    with pytest.raises(UnknownNameError, match="Did you mean 'compiled'"):
        chosen_block(make_batched(net, dt_ms=1.0, source="input", block="compild"), 64)
    other = _net(ALIF(ReLU(1.0)), LIF(ReLU(1.0)), Exponential(), [LEAKY, LEAKY])
    assert chosen_block(make_batched(other, dt_ms=1.0, source="input"), 64) == "jax"
