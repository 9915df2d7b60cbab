"""What every neuron model owes the simulator: its variables, its inputs, its derivatives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.builders import ModelSpec
from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.sim import (
    LIF,
    NEURON_MODELS,
    AdEx,
    Izhikevich,
    Network,
    PoissonSource,
    Population,
    RateUnit,
    SpikeSource,
    TraubMiles,
    simulate,
)
from connectofit.sim.neurons import Drive
from connectofit.sim.neurons.firing import fire, reset_potential
from connectofit.sim.surrogate import PiecewiseQuadratic

SOURCES = ("spike_source", "poisson_source")
MEMBRANES = [k for k in NEURON_MODELS if k not in (*SOURCES, "rate", "graded_leaky")]
# In the refractory period V does not move.
HELD = ("lif", "alif", "gif", "glif1", "glif2", "glif3", "glif4", "glif5", "exp_if", "adex", "qif")
# What a current in pA is divided by to be a slope in mV/ms.
CAPACITANCE = {
    kind: model.parameters["c_m_pF"].default
    if "c_m_pF" in model.parameters
    else model.parameters["tau_m_ms"].default / model.parameters["r_m_GOhm"].default
    for kind, model in ((k, NEURON_MODELS[k]) for k in MEMBRANES)
}


def params(model, n: int = 1, **changes) -> dict:
    p = {name: jnp.full(n, parameter.default) for name, parameter in model.parameters.items()}
    return p | {name: jnp.broadcast_to(jnp.asarray(value, float), n) for name, value in changes.items()}


def normal(model, n: int = 1):
    return jnp.zeros(n) if model.stochastic else None


def test_the_field_finds_its_models():
    assert set(NEURON_MODELS) == {
        *("lif", "alif", "glif1", "glif2", "glif3", "glif4", "glif5", "gif", "exp_if", "adex", "qif", "izhikevich"),
        *("hodgkin_huxley", "traub_miles", "wang_buzsaki", "graded_leaky", "rate", "spike_source", "poisson_source"),
    }


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", NEURON_MODELS)
def test_a_model_keeps_its_variables_shapes_and_dtypes(kind):
    model = NEURON_MODELS[kind]()
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(dtype == jnp.float64):
            p = {name: value.astype(dtype) for name, value in params(model, 3).items()}
            state = model.initial(p)
            drive = Drive(jnp.ones(3, dtype))
            noise = jnp.zeros(3, dtype)
            after, spikes = jax.eval_shape(lambda p, s: model.step(p, s, drive, 0.1, noise), p, state)  # noqa: B023
        assert tuple(state) == model.variables
        assert model.voltage in state
        assert model.rest in p
        assert model.noise in p
        assert jax.tree.map(lambda a: (a.shape, a.dtype), after) == jax.tree.map(lambda a: (a.shape, a.dtype), state)
        assert (spikes is not None) == model.spiking
        assert spikes is None or (spikes.shape, spikes.dtype) == ((3,), dtype)


@pytest.mark.parametrize("kind", NEURON_MODELS)
def test_defaults_are_allowed_and_a_specification_finds_the_model(kind):
    model = NEURON_MODELS[kind]
    for name, parameter in model.parameters.items():
        assert parameter.allowed(np.array([parameter.default])).all(), name
        assert parameter.unit, name
        assert not parameter.allowed(np.array([np.nan])).any()
    ModelSpec.from_dict({"neurons": [{"name": "all", "model": kind}]})


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", MEMBRANES)
def test_currents_and_conductances_move_the_voltage_by_what_flows_into_its_capacitance(kind):
    model, dt_ms = NEURON_MODELS[kind](), 1e-6
    with jax.enable_x64(True):
        p = params(model)
        v = model.initial(p)[model.voltage]

        def slope(*inputs) -> float:
            drive = Drive(jnp.zeros(1))
            for add, *values in inputs:
                getattr(drive, add)(*(jnp.full(1, float(x)) for x in values))
            return float(model.step(p, model.initial(p), drive, dt_ms, None)[0][model.voltage][0]) / dt_ms

        free, v_0 = slope(), float(v[0])
        for inputs, current in (
            ([("add_current", 70.0)], 70.0),
            ([("add_decaying", 30.0, 4.0), ("add_decaying", -10.0, 2.0)], 20.0),
            ([("add_conductance", 3.0, 3.0 * (v_0 + 20.0))], 60.0),
            ([("add_current", 10.0), ("add_conductance", 1.0, 1.0 * (v_0 - 5.0))], 5.0),
        ):
            assert slope(*inputs) - free == pytest.approx(current / CAPACITANCE[kind], rel=1e-4)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", MEMBRANES)
def test_decaying_and_rising_currents_act_over_the_step_not_at_its_start(kind):
    """One step of 0.1 ms with synaptic currents of 0.2 ms, against 50 steps of 2 us that see them at their starts."""
    model = NEURON_MODELS[kind]()
    with jax.enable_x64(True):
        p, tau = params(model), jnp.full(1, 0.2)
        strength = CAPACITANCE[kind]
        coarse = Drive(jnp.zeros(1))
        coarse.add_decaying(jnp.full(1, strength), tau)
        coarse.add_rising(jnp.full(1, 5.0 * strength), tau)
        once = model.step(p, model.initial(p), coarse, 0.1, None)[0][model.voltage]

        def fine(state, t):
            i = strength * jnp.exp(-t / 0.2) * (1.0 + 5.0 * t)
            return model.step(p, state, Drive(jnp.full(1, i)), 0.002, None)[0], None

        middle = (jnp.arange(50) + 0.5) * 0.002
        often = jax.lax.scan(fine, model.initial(p), middle)[0][model.voltage]
        rest = model.initial(p)[model.voltage]
    rtol = 0.1 if kind == "izhikevich" else 2e-3  # Euler's method takes the current at the start of the step
    if kind == "izhikevich":
        assert float(once[0] - rest[0]) == pytest.approx(0.1, abs=1e-6)
    else:
        assert float(once[0] - rest[0]) == pytest.approx(float(often[0] - rest[0]), rel=rtol)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", MEMBRANES)
def test_a_jump_counts_before_the_threshold_is_tested(kind):
    model = NEURON_MODELS[kind]()
    with jax.enable_x64(True):
        p = params(model, 2)
        drive = Drive(jnp.zeros(2), jump=jnp.array([150.0, 1.0]))
        state, spikes = model.step(p, model.initial(p), drive, 0.1, None)
        still, _ = model.step(p, model.initial(p), Drive(jnp.zeros(2)), 0.1, None)
    np.testing.assert_array_equal(spikes, [1.0, 0.0])
    assert float(state[model.voltage][1] - still[model.voltage][1]) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("kind", HELD)
def test_jumps_in_the_refractory_period_are_lost(kind):
    model = NEURON_MODELS[kind]()
    with jax.enable_x64(True):
        p = params(model, 2)
        state = model.initial(p) | {"refractory_steps": jnp.full(2, 3, jnp.int32)}
        drive = Drive(jnp.zeros(2), jump=jnp.array([0.0, 150.0]))
        after, spikes = model.step(p, state, drive, 0.1, None)
    assert after[model.voltage][0] == after[model.voltage][1]
    np.testing.assert_array_equal(spikes, 0.0)


@pytest.mark.parametrize("kind", MEMBRANES)
def test_noise_gives_the_voltage_its_stationary_deviation_in_one_long_step(kind):
    model = NEURON_MODELS[kind]()
    with jax.enable_x64(True):
        p = params(model, 1, **{model.noise: 2.0})
        states = [model.step(p, model.initial(p), Drive(jnp.zeros(1)), 0.1, jnp.full(1, x))[0] for x in (0.0, 1.0)]
        tau = CAPACITANCE[kind] / float(p["g_leak_nS"][0] if "g_leak_nS" in p else p.get("g_nS", [np.nan])[0])
        tau = float(p["tau_m_ms"][0]) if "tau_m_ms" in p else tau
        expected = 2.0 * np.sqrt(0.1) if kind == "izhikevich" else 2.0 * np.sqrt(1 - np.exp(-0.2 / tau))
    assert float(states[1][model.voltage][0] - states[0][model.voltage][0]) == pytest.approx(expected, rel=1e-9)


# --- derivatives -----------------------------------------------------------------------------------------------------

# A current in pA at which the neuron fires within the run, one at which it stays below, and the step.
DRIVEN = {
    "lif": (600.0, 60.0, 0.5),
    "alif": (600.0, 60.0, 0.5),
    "gif": (4000.0, 400.0, 0.5),
    "glif1": (600.0, 100.0, 0.25),
    "glif2": (600.0, 100.0, 0.25),
    "glif3": (600.0, 100.0, 0.25),
    "glif4": (600.0, 100.0, 0.25),
    "glif5": (600.0, 100.0, 0.25),
    "exp_if": (150.0, 8.0, 0.1),
    "adex": (2000.0, 250.0, 0.1),
    "qif": (200.0, 15.0, 0.2),
    "izhikevich": (20.0, 1.0, 0.2),
    "hodgkin_huxley": (1500.0, 100.0, 0.1),
    "traub_miles": (1500.0, 6.0, 0.1),
    "wang_buzsaki": (400.0, 5.0, 0.1),
    "graded_leaky": (600.0, 6.0, 0.5),
    "rate": (3.0, 0.3, 0.5),
}
# Support so narrow that no step lies within it: what is left is the derivative for spikes at fixed steps.
NARROW = PiecewiseQuadratic(width_mV=1e-9)


def losses_of(model, dt_ms):
    """Of parameters and currents [neuron]: (smooth functions of V over 100 steps [neuron], spikes [time, neuron])."""

    def losses(p, current):
        def step(state, t):
            drive = Drive(0.8 * current * (1.0 + 0.3 * jnp.sin(t / 7.0)))
            drive.add_decaying(0.2 * current, jnp.full_like(current, 5.0))
            state, spikes = model.step(p, state, drive, dt_ms, None)
            return state, (state[model.voltage], jnp.zeros_like(current) if spikes is None else spikes)

        t = jnp.arange(100.0)
        v, spikes = jax.lax.scan(step, model.initial(p), t)[1]
        return jnp.mean(jnp.cos(t / 5.0)[:, None] * v, axis=0) + 1e-2 * jnp.mean(v**2, axis=0), spikes

    return losses


# Those of the default suite are the quickest to compile of each kind.
SLOW = {*DRIVEN} - {"lif", "gif", "glif5", "adex", "rate", "graded_leaky"}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in DRIVEN])
def test_gradients_between_spikes_are_those_of_finite_differences(kind):
    """By every parameter, below and above the threshold. So small a change leaves every spike at its step."""
    model, (strong, weak, dt_ms) = NEURON_MODELS[kind](), DRIVEN[kind]
    model = replace(model, surrogate=NARROW) if model.spiking else model
    if kind in ("hodgkin_huxley", "traub_miles"):  # the third of their kind has the other method
        model = replace(model, method="exponential_euler")
    names = list(model.parameters)
    values = np.array([model.parameters[name].default for name in names])
    h = np.diag(1e-7 * np.maximum(np.abs(values), 1.0))
    # A neuron with the defaults, and two for each parameter in which it is changed; all twice, for two currents.
    matrix = np.tile(np.concatenate([values[None], values + h, values - h]), (2, 1))
    with jax.enable_x64(True):

        def total(p, current):
            found, spikes = losses_of(model, dt_ms)(p, current)
            return found.sum(), (found, spikes)

        p = {name: jnp.asarray(matrix[:, k]) for k, name in enumerate(names)}
        current = jnp.repeat(jnp.array([weak, strong]), len(matrix) // 2)
        gradient, (found, spikes) = jax.jit(jax.grad(total, has_aux=True))(p, current)
    found, spikes = np.asarray(found).reshape(2, -1), np.asarray(spikes).reshape(100, 2, -1)
    np.testing.assert_array_equal(spikes, np.broadcast_to(spikes[:, :, :1], spikes.shape))
    assert spikes[:, 0].sum() == 0
    assert not model.spiking or spikes[:, 1].sum() >= 1
    numeric = (found[:, 1 : 1 + len(names)] - found[:, 1 + len(names) :]) / (2 * np.diag(h))
    exact = np.stack([np.asarray(gradient[name]).reshape(2, -1)[:, 0] for name in names], axis=1)
    np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-6, err_msg=str(names))


@pytest.mark.parametrize("kind", ["lif", *(pytest.param(k, marks=pytest.mark.slow) for k in ("glif5", "adex"))])
def test_surrogate_gradients_of_spikes_are_finite_and_the_same_in_both_modes(kind):
    model, (strong, _, dt_ms) = NEURON_MODELS[kind](), DRIVEN[kind]
    with jax.enable_x64(True):
        p = params(model)
        numbers = np.random.default_rng(3).normal(size=(len(p), 1))
        direction = {name: jnp.asarray(x) for name, x in zip(p, numbers, strict=True)}

        def total(p):
            smooth, spikes = losses_of(model, dt_ms)(p, jnp.full(1, strong))
            return smooth.sum() + spikes.sum()

        forward, reverse = jax.jit(lambda p, d: (jax.jvp(total, (p,), (d,))[1], jax.grad(total)(p)))(p, direction)
    assert all(np.isfinite(g).all() for g in reverse.values())
    assert any(abs(float(g[0])) > 1e-6 for g in reverse.values())
    dot = sum(float(reverse[k][0]) * float(direction[k][0]) for k in p)
    assert dot == pytest.approx(float(forward), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", ["adex", "exp_if"])
def test_upstrokes_overflow_neither_in_value_nor_in_derivative(kind):
    """In float32, from far above the threshold potential, with a very sharp upstroke and a high peak."""
    model = NEURON_MODELS[kind]()
    p = params(model, 5, delta_t_mV=0.1, v_peak_mV=60.0)
    v = jnp.array([-70.0, -49.0, -40.0, 0.0, 59.0], jnp.float32)

    def after(v, method):
        state = model.initial(p) | {"v_mV": v}
        state, spikes = type(model)(method=method).step(p, state, Drive(jnp.zeros(5)), 0.5, None)
        return jnp.sum(spikes) + jnp.sum(state["v_mV"]), spikes

    for method in ("rk4", "exponential_euler", "euler"):
        gradient, spikes = jax.grad(partial(after, method=method), has_aux=True)(v)
        assert np.isfinite(gradient).all(), method
        np.testing.assert_array_equal(spikes, [0, 1, 1, 1, 1], err_msg=method)


def test_reset_above_the_voltage_does_not_multiply_derivatives():
    v = jnp.array([-60.0, -54.0, -50.0])
    threshold, reset = -52.0, -55.0

    def after(v):
        spikes, _ = fire(v - threshold, jnp.zeros(3, jnp.int32), jnp.zeros(3), 0.1, LIF().surrogate)
        return reset_potential(spikes, jnp.full(3, reset), v)

    np.testing.assert_array_equal(after(v), [-60.0, -54.0, -55.0])
    gradient = np.asarray(jax.grad(lambda v: after(v).sum())(v))
    bump = np.asarray(LIF().surrogate.derivative(v - threshold))
    np.testing.assert_allclose(gradient, [1.0, 1.0 - bump[1], -5.0 * bump[2]], rtol=1e-5)


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_that_a_model_does_not_have_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'rk4'"):
        AdEx(method="rk5")
    with pytest.raises(UnknownNameError, match="exponential_midpoint"):
        TraubMiles(method="exponential_midpiont")
    with pytest.raises(UnknownNameError, match="half_steps"):
        Izhikevich(method="half_step")
    with pytest.raises(UnknownNameError, match="Did you mean 'tanh'"):
        RateUnit(activation="tan")
    with pytest.raises(UnknownNameError, match="keep"):
        LIF(refractory_input="keeps")


# --- sources ---------------------------------------------------------------------------------------------------------


def test_spike_source_emits_the_spikes_that_it_is_given(drive_neurons):
    given = np.array([[0.0, 1.0], [1.0, 0.99], [0.0, 2.0], [1.0, 0.0]])
    out = drive_neurons(SpikeSource(), given, 0.1)
    np.testing.assert_array_equal(out["spikes"], given >= 1)


@pytest.mark.slow
def test_poisson_source_fires_at_its_rate_with_the_statistics_of_independent_steps():
    n, rate = 500, 80.0
    ids = tuple(range(n))
    sources = Population("input", PoissonSource(), ids, np.zeros(n, np.int32), ("all",))
    net = Network((sources,), (), {"input": {"rate_Hz": np.full(1, rate)}})
    rec = simulate(net, duration_ms=1000.0, dt_ms=1.0, record=("spikes",), seed=4)
    counts = np.bincount(rec.spikes.ids.astype(int), minlength=n)
    probability = rate * 1e-3
    mean, variance = 1000 * probability, 1000 * probability * (1 - probability)
    assert abs(counts.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(counts.var() / variance - 1) < 5 * np.sqrt(2 / n)
    per_step = np.bincount(np.round(rec.spikes.time_ms).astype(int) - 1, minlength=1000)
    assert abs(np.corrcoef(per_step[1:], per_step[:-1])[0, 1]) < 5 / np.sqrt(1000)
    again = simulate(net, duration_ms=1000.0, dt_ms=1.0, record=("spikes",), seed=4, chunk_steps=250)
    np.testing.assert_array_equal(again.spikes.time_ms, rec.spikes.time_ms)


def test_derivative_of_poisson_spikes_by_the_rate_is_that_of_their_probability():
    model = PoissonSource()
    noise = jax.random.normal(jax.random.key(0), (200,))

    def spikes(rate):
        return model.step({"rate_Hz": jnp.full(200, rate)}, {}, Drive(jnp.full(200, 20.0)), 0.5, noise)[1]

    value, slope = jax.jvp(spikes, (30.0,), (1.0,))
    assert set(np.unique(value)) <= {0.0, 1.0}
    np.testing.assert_allclose(slope, 0.5e-3, rtol=1e-6)
    assert spikes(0.0 - 30.0).sum() == 0  # a rate below 0 counts as 0


def test_poisson_source_without_random_numbers_says_so():
    model = PoissonSource()
    with pytest.raises(SettingError, match="random numbers"):
        model.step(params(model), model.initial(params(model)), Drive(jnp.zeros(1)), 0.1, None)
