"""Likelihoods under recorded spikes, against loops over time and finite differences."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.losses import VoltageError
from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.cells.teacher_forced import (
    ForcedLikelihood,
    draw_spikes,
    expected,
    forced_trace,
    log_chance,
)
from connectofit.sim import Izhikevich

DT = 0.1
LINEAR = ("lif", "glif1", "glif2", "glif3", "glif4", "glif5", "gif")
# Values that make every mechanism of a model matter.
MORE = {"asc_1_fraction": 0.7, "i_bias_pA": 12.0, "t_ref_ms": 1.5, "r_1": 0.5, "theta_reset_mV": -44.5}
BOTH = ForcedLikelihood(sd_mV=1.5, correlation_ms=20.0)


def _model(name, **given):
    known = cell_model(name).neuron.parameters
    return cell_model(name, fixed={**{k: v for k, v in MORE.items() if k in known}, **given})


def _problem(name, by_network, steps_and_noise, sweeps_of, loss=BOTH, seed=0, **settings):
    """A recording that the model itself made, with noise, started at rest."""
    model = _model(name)
    current = steps_and_noise(1000, 2, seed=seed)
    v, spikes = by_network(model.neuron, model.named(model.start), current, DT)
    rest = model.named(model.start)[model.neuron.rest]
    noise = np.random.default_rng(seed).normal(0.0, 1.0, v.shape)
    voltage = np.concatenate([np.full((1, 2), rest), v[:-1]]) + noise
    onsets = [np.flatnonzero(spikes[:-1, k]) + 1 for k in range(2)]
    start = {k: float(x) for k, x in zip(model.box.names, model.start, strict=True)}
    return cell_problem(
        sweeps_of(current, voltage, DT), name, loss, onsets=onsets,
        start=start, fixed=dict(model.fixed), **{"initial": "rest", "mask_ms": (1.0, 1.5), **settings},
    )  # fmt: skip


@pytest.mark.few(2)
@pytest.mark.parametrize("name", LINEAR)
def test_given_its_own_spikes_a_model_has_its_own_voltage(name, by_network, steps_and_noise):
    model = _model(name)
    current = steps_and_noise(3000, 3)
    voltage, spikes = by_network(model.neuron, model.named(model.start), current, DT)
    assert spikes.sum() > 10
    with jax.enable_x64(True):
        data = {"current_pA": jnp.asarray(current), "spikes": jnp.asarray(spikes)}
        p = {k: jnp.asarray(v) for k, v in model.named(model.start).items()}
        out = {k: np.asarray(v) for k, v in jax.jit(lambda d: forced_trace(model.neuron, p, d, DT))(data).items()}
    np.testing.assert_allclose(out["v_mV"], voltage, atol=1e-8)
    fired = spikes > 0
    assert (out["v_before_mV"] >= out["threshold_mV"])[fired].all()
    assert (out["v_before_mV"] < out["threshold_mV"])[~fired & ~out["refractory"]].all()


@pytest.mark.parametrize("method", ["euler", "half_steps", "rk4"])
def test_given_its_own_spikes_izhikevichs_neuron_has_its_own_voltage(method, by_network, steps_and_noise):
    model = cell_model("izhikevich", neuron=Izhikevich(method=method))
    current = steps_and_noise(3000, 3, mean=model.named(model.start)["c_m_pF"] * 8.0)
    voltage, spikes = by_network(model.neuron, model.named(model.start), current, DT)
    assert spikes.sum() > 10
    with jax.enable_x64(True):
        data = {"current_pA": jnp.asarray(current), "spikes": jnp.asarray(spikes)}
        p = {k: jnp.asarray(v) for k, v in model.named(model.start).items()}
        out = {k: np.asarray(v) for k, v in forced_trace(model.neuron, p, data, DT).items()}
    np.testing.assert_allclose(out["v_mV"], voltage, atol=1e-6)
    fired = spikes > 0
    assert (out["v_before_mV"] >= out["threshold_mV"])[fired].all()
    assert (out["v_before_mV"] < out["threshold_mV"])[~fired].all()


def test_given_its_own_spikes_adex_has_its_own_voltage_but_for_the_time_within_a_step(by_network, steps_and_noise):
    model = _model("adex")
    current = steps_and_noise(3000, 3)
    voltage, spikes = by_network(model.neuron, model.named(model.start), current, DT)
    with jax.enable_x64(True):
        data = {"current_pA": jnp.asarray(current), "spikes": jnp.asarray(spikes)}
        p = {k: jnp.asarray(v) for k, v in model.named(model.start).items()}
        out = forced_trace(model.neuron, p, data, DT)
    assert spikes.sum() > 10
    calm = voltage < model.named(model.start)["v_t_mV"]
    assert np.abs(np.asarray(out["v_mV"]) - voltage)[calm].max() < 0.1


def _by_hand(problem, x):
    """The likelihood of GLIF3 by a loop over steps and sweeps, from its equations."""
    p = {**problem.named(x), "delta_v_mV": x[-1]}
    d = {k: np.asarray(v) for k, v in problem.objective.data.items() if k != "fixed"}
    tau, r = p["c_m_pF"] / p["g_nS"], 1.0 / p["g_nS"]
    total = 0.0
    for k in range(d["spikes"].shape[1]):
        v, left, currents = p["e_l_mV"], 0, [0.0, 0.0]
        for m in range(len(d["spikes"])):
            resting = left > 0
            if resting:
                left -= 1
            else:
                # The integral of exp(-(dt - s) / tau) (I + bias + sum_j I_j exp(-k_j s)) / C over the step.
                fade = math.exp(-DT / tau)
                v = p["e_l_mV"] + (v - p["e_l_mV"]) * fade
                v += r * (d["current_pA"][m, k] + p["i_bias_pA"]) * (1.0 - fade)
                for j in (0, 1):
                    rate = p[f"asc_{j + 1}_decay_per_ms"]
                    v += currents[j] / p["c_m_pF"] * (math.exp(-rate * DT) - fade) / (1.0 / tau - rate)
                    currents[j] *= math.exp(-rate * DT)
                lam = math.exp((v - p["v_threshold_mV"]) / p["delta_v_mV"])
                total += math.log(1.0 - math.exp(-lam * DT)) if d["spikes"][m, k] else -lam * DT
            total -= DT / 20.0 * d["counted"][m, k] * ((v - d["voltage_mV"][m, k]) ** 2 / (2 * 1.5**2) + math.log(1.5))
            if d["spikes"][m, k]:
                v, left = p["v_reset_mV"], round(p["t_ref_ms"] / DT)
                for j in (0, 1):
                    rate = p[f"asc_{j + 1}_decay_per_ms"]
                    currents[j] *= p[f"asc_{j + 1}_fraction"] * math.exp(-rate * p["t_ref_ms"])
                    currents[j] += p[f"asc_{j + 1}_add_pA"]
    return -total


def test_the_likelihood_is_that_of_a_loop_over_time(by_network, steps_and_noise, sweeps_of):
    with jax.enable_x64(True):
        problem = _problem("glif3", by_network, steps_and_noise, sweeps_of)
        x = problem.start * np.where(np.arange(len(problem.start)) % 2, 1.02, 0.97)
        found = float(jax.jit(problem.objective.loss)(jnp.asarray(x), problem.objective.data))
    assert problem.names[-1] == "delta_v_mV"
    assert found == pytest.approx(_by_hand(problem, x), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["glif3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("lif", "glif5", "gif", "adex"))]
)
def test_gradients_are_those_of_finite_differences(name, by_network, steps_and_noise, sweeps_of):
    with jax.enable_x64(True):
        problem = _problem(name, by_network, steps_and_noise, sweeps_of)
        x, data = problem.start, problem.objective.data
        loss = jax.jit(problem.objective.loss)
        reverse = np.asarray(jax.jit(jax.grad(problem.objective.loss))(jnp.asarray(x), data))
        ahead = np.asarray(jax.jit(jax.jacfwd(problem.objective.loss))(jnp.asarray(x), data))
        step = 1e-7 * np.maximum(np.abs(x), 1e-2) * np.eye(len(x))
        there = [float(loss(jnp.asarray(x + s), data)) - float(loss(jnp.asarray(x - s), data)) for s in step]
    slopes = np.array(there) / (2.0 * np.diag(step))
    assert (slopes != 0).all()
    np.testing.assert_allclose(reverse, slopes, rtol=1e-3, atol=1e-5 * np.abs(slopes).max())
    np.testing.assert_allclose(ahead, reverse, rtol=1e-8, atol=1e-9 * np.abs(slopes).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
def test_many_parameter_vectors_side_by_side_have_each_its_own_loss_and_gradient(
    name, by_network, steps_and_noise, sweeps_of
):
    loss = ForcedLikelihood(sd_mV=None, correlation_ms=20.0) if name == "glif2" else BOTH
    problem = _problem(name, by_network, steps_and_noise, sweeps_of, loss, initial="recorded")
    objective = problem.objective
    assert objective.together is not None
    assert problem.objective.data["current_pA"].shape[0] % 64, "a last segment that has to be filled"
    rng = np.random.default_rng(1)
    share = np.clip(objective.box.share(problem.start) + rng.uniform(-0.1, 0.1, (3, objective.box.size)), 0.01, 0.99)
    z = objective.box.from_share(share)
    with jax.enable_x64(True):
        data = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), objective.data)
        # Spikes at the first step, one right after another, and within a refractory period.
        spikes = data["spikes"].at[jnp.array([0, 1, 100, 103]), 0].set(1.0)
        data = {**data, "spikes": spikes, "valid": data["valid"].at[900:, 1].set(0.0)}
        x = objective.box.to_physical(jnp.asarray(z))
        alone = jax.jit(jax.vmap(jax.value_and_grad(objective.loss), in_axes=(0, None)))(x, data)
        total = jax.jit(jax.value_and_grad(lambda x, d: objective.together(x, d).sum()))
        losses = jax.jit(objective.together)(x, data)
        slopes = total(x, data)[1]
    np.testing.assert_allclose(losses, alone[0], rtol=1e-12)
    np.testing.assert_allclose(slopes, alone[1], rtol=1e-9, atol=1e-9 * np.abs(alone[1]).max())


@pytest.mark.slow
def test_models_that_are_not_linear_at_spikes_run_one_by_one(by_network, steps_and_noise, sweeps_of):
    for name in ("izhikevich", "adex"):
        assert _problem(name, by_network, steps_and_noise, sweeps_of).objective.together is None
    assert _problem("lif", by_network, steps_and_noise, sweeps_of, VoltageError()).objective.together is None


def test_the_chance_of_a_spike_is_exact_for_rates_of_any_size():
    with jax.enable_x64(True):
        y = np.concatenate([np.linspace(-60.0, -1e-9, 400), np.linspace(1e-9, 3.9, 100)])
        exact = np.log(-np.expm1(-np.exp(y)))
        np.testing.assert_allclose(np.asarray(log_chance(jnp.asarray(y))), exact, rtol=1e-8, atol=1e-12)
        slope = np.asarray(jax.vmap(jax.grad(log_chance))(jnp.asarray(y)))
        np.testing.assert_allclose(slope, np.exp(y) / np.expm1(np.exp(y)), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(expected(jnp.asarray(y))), np.exp(y))
        # Far above the threshold the rate goes on as a line, with a finite derivative.
        assert float(jax.grad(expected)(jnp.asarray(500.0))) == pytest.approx(math.exp(4.0))
        assert float(jax.grad(log_chance)(jnp.asarray(500.0))) == 0.0


def test_padding_and_the_refractory_period_do_not_count(by_network, steps_and_noise, sweeps_of):
    with jax.enable_x64(True):
        plain = _problem("glif3", by_network, steps_and_noise, sweeps_of)
        padded = _problem("glif3", by_network, steps_and_noise, sweeps_of, n_steps=2000)
        values = [float(p.objective.loss(jnp.asarray(p.start), p.objective.data)) for p in (plain, padded)]
        assert values[0] == pytest.approx(values[1], rel=1e-12)
        half = plain.objective.within(jnp.asarray(plain.start), plain.objective.data, jnp.asarray(0.5))
        assert 0.2 * values[0] < float(half) < 0.8 * values[0]


def test_drawn_spikes_come_at_the_rate_of_the_model():
    # With V held far from its threshold by a strong leak, spikes are a Bernoulli process of known chance.
    model = cell_model("lif", fixed={"t_ref_ms": 0.0})
    p = model.named(model.start) | {"tau_m_ms": 1e-3, "v_rest_mV": -52.0, "v_threshold_mV": -50.0, "v_reset_mV": -52.0}
    data = {"current_pA": jnp.zeros((20000, 5))}
    spikes, voltage = draw_spikes(
        model.neuron, {k: jnp.asarray(v) for k, v in p.items()}, 2.0, data, DT, jax.random.key(0)
    )
    chance = 1.0 - math.exp(-math.exp(-1.0) * DT)
    n = spikes.size
    assert float(spikes.sum()) == pytest.approx(n * chance, abs=4.0 * math.sqrt(n * chance))
    np.testing.assert_allclose(np.asarray(voltage), -52.0, atol=1e-4)


@pytest.mark.parametrize("name", ["traub_miles"])
def test_models_without_a_threshold_are_refused_with_what_is_possible(name, steps_and_noise, sweeps_of):
    current = steps_and_noise(500, 1)
    recordings = sweeps_of(current, -65.0 + 0.02 * current, DT)
    with pytest.raises(SettingError, match=r"cannot be given to the model .*voltage.*Possible: 'lif'"):
        cell_problem(recordings, name, "likelihood", onsets=[np.array([100])])


@pytest.mark.parametrize("settings", [{"spikes": False, "voltage": False}, {"sd_mV": 0.0}, {"correlation_ms": -1.0}])
def test_likelihoods_that_cannot_be_are_refused(settings):
    with pytest.raises(SettingError):
        ForcedLikelihood(**settings)


def test_the_voltage_alone_leaves_the_threshold_out(by_network, steps_and_noise, sweeps_of):
    with pytest.raises(SettingError, match="nothing about the threshold: v_threshold_mV"):
        _problem("glif1", by_network, steps_and_noise, sweeps_of, ForcedLikelihood(spikes=False))
