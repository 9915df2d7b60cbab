"""Spike times within a step and the losses on them, against closed forms, the simulator and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import van_rossum
from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.cells.simulation import run_cell
from connectofit.fit.cells.spike_losses import FeatureLoss, RateLoss, VanRossumLoss
from connectofit.fit.cells.spike_times import TIMED, fold_spikes

DT = 0.1
LIF = {"tau_m_ms": 10.0, "r_m_GOhm": 0.1, "v_rest_mV": -70.0, "v_threshold_mV": -50.0, "v_reset_mV": -65.0}


def times_of(model, p, current, dt=DT):
    """Spike times [ms] of every sweep, from the fold."""
    n, sweeps = current.shape
    data = {"current_pA": jnp.asarray(current), "spikes": jnp.zeros((n, sweeps)), "valid": jnp.ones((n, sweeps))}

    def add(total, event, row):
        found, k = total
        return found.at[k].set(jnp.where(event.fires, event.time_ms, jnp.nan)), k + 1

    run = jax.jit(lambda d: fold_spikes(model, p, d, add, (jnp.zeros((n, sweeps)), 0), dt_ms=dt)[0])
    found = np.asarray(run(data))
    return [found[:, k][np.isfinite(found[:, k])] for k in range(sweeps)]


def values(model, **given):
    return {k: jnp.asarray(v) for k, v in {**model.named(model.start), **given}.items()}


def test_a_regular_train_has_the_times_of_the_closed_form():
    with jax.enable_x64(True):
        model = cell_model("lif")
        p = values(model, **LIF, t_ref_ms=2.03, i_bias_pA=0.0)  # no whole number of steps
        found = times_of(model, p, np.full((5000, 1), 300.0))[0]
    first = 10.0 * np.log(30.0 / (30.0 - 20.0))
    interval = 2.03 + 10.0 * np.log((30.0 - 5.0) / (30.0 - 20.0))
    exact = first + interval * np.arange(found.size)
    assert found.size == int((500.0 - first) // interval) + 1
    # The line through a step of a curve with tau = 10 ms is off by dt^2 / (8 tau) at most, and so is every interval.
    np.testing.assert_allclose(found, exact, atol=2 * found.size * DT**2 / 80.0)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", TIMED)
def test_spikes_are_those_of_the_simulator_within_a_step_each(name, steps_and_noise, by_network):
    model = cell_model(name)
    current, fine = steps_and_noise(400, 2), 0.005
    current = np.repeat(current, 20, axis=0)  # 40 ms at 0.005 ms
    _, spikes = by_network(model.neuron, model.named(model.start), current, fine)
    with jax.enable_x64(True):
        found = times_of(model, values(model), current, fine)
    assert spikes.sum() >= 2
    for k in range(2):
        expected = (np.flatnonzero(spikes[:, k]) + 1) * fine
        assert len(found[k]) == len(expected)
        np.testing.assert_allclose(found[k], expected, atol=2 * fine * max(1, len(expected)))


def test_spikes_that_channels_draw_are_where_the_voltage_crosses_the_threshold():
    model, dt = cell_model("hh"), 0.1
    current = np.full((3000, 1), 500.0)
    with jax.enable_x64(True):
        p = values(model)
        found = times_of(model, p, current, dt)[0]
        v = np.asarray(run_cell(model.neuron, p, jnp.asarray(current), dt_ms=dt)["v_mV"])[:, 0]
        up = jnp.asarray(p["v_threshold_mV"])
    above = np.concatenate([[False], v >= float(up)])
    crossed = np.flatnonzero(~above[:-1] & above[1:])
    before = np.where(crossed > 0, v[crossed - 1], -np.inf)
    expected = (crossed + (float(up) - before) / (v[crossed] - before)) * dt
    assert crossed.size > 5
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.slow
def test_the_derivative_of_a_drawn_spikes_time_is_that_of_finite_differences():
    model = cell_model("hh")
    current = np.full((400, 1), 500.0)
    data = {"current_pA": current, "spikes": np.zeros((400, 1)), "valid": np.ones((400, 1))}

    def first(g, p):
        def add(total, event, row):
            return jnp.where((total == 0.0) & event.fires, event.time_ms, total)

        return fold_spikes(model, p | {"g_leak_nS": g}, data, add, jnp.zeros(1), dt_ms=DT).sum()

    with jax.enable_x64(True):
        data = {k: jnp.asarray(v) for k, v in data.items()}
        p = values(model)
        g = float(p["g_leak_nS"])
        slope = float(jax.jit(jax.grad(first))(g, p))
        run = jax.jit(first)
        expected = float(run(g + 1e-4, p) - run(g - 1e-4, p)) / 2e-4
    assert slope > 0  # a leakier cell fires later
    assert slope == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [FeatureLoss({"latency_ms": 1.0}), RateLoss(20.0)], ids=["features", "rate"])
def test_recorded_spikes_keep_their_time_in_long_sweeps(loss):
    """In float32, where 3 s of steps of 0.05 ms add up to 1.8 ms too much."""
    model, dt, n = cell_model("lif"), 0.05, 60_000
    p = values(model, **LIF, t_ref_ms=2.0, i_bias_pA=0.0)
    current = np.zeros((n, 1), np.float32)
    current[50_000:] = 300.0
    onsets = np.round(times_of(model, p, current, dt)[0] / dt).astype(int)
    spikes = np.zeros((n, 1), np.float32)
    spikes[onsets - 1] = 1.0
    data = {"current_pA": jnp.asarray(current), "spikes": jnp.asarray(spikes), "valid": jnp.ones((n, 1))}
    found = float(jax.jit(lambda d: loss.value(model, p, {}, d, dt))(data))
    assert found < 0.2  # a step in every spike at most


@pytest.fixture(scope="module")
def problem_of(steps_and_noise, by_network, sweeps_of):
    """problem_of(loss): a GLIF4 cell whose recorded spikes are the model's own, 0.3 ms later."""
    model = cell_model("glif4")
    current = steps_and_noise(1000, 2, seed=3)
    v, spikes = by_network(model.neuron, model.named(model.start), current, DT)
    onsets = [np.flatnonzero(spikes[:-20, k]) + 4 for k in range(2)]
    voltage = np.concatenate([v[:1], v[:-1]]) + np.random.default_rng(0).normal(0, 0.5, v.shape)
    start = {k: float(x) for k, x in zip(model.box.names, model.start, strict=True)}
    recordings = sweeps_of(current, voltage, DT)

    def make(loss):
        fixed = dict(model.fixed)
        return cell_problem(recordings, "glif4", loss, onsets=onsets, initial="rest", start=start, fixed=fixed)

    return make


LOSSES = {
    "van_rossum": VanRossumLoss(),
    "rate": RateLoss(20.0),
    "features": FeatureLoss({"latency_ms": 5.0, "interval_ms": 5.0, "adaptation": 0.05}),
}


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(loss, marks=pytest.mark.slow if name in ("features", "rate") else ())
        for name, loss in LOSSES.items()
    ],
    ids=LOSSES,
)
def test_gradients_are_not_0_and_those_of_finite_differences(loss, problem_of):
    with jax.enable_x64(True):
        problem = problem_of(loss)
        x, data = problem.start, problem.objective.data
        value = jax.jit(problem.objective.loss)
        slope = np.asarray(jax.jit(jax.jacfwd(problem.objective.loss))(jnp.asarray(x), data))
        step = 1e-6 * np.maximum(np.abs(x), 1e-2) * np.eye(len(x))
        there = [float(value(jnp.asarray(x + s), data)) - float(value(jnp.asarray(x - s), data)) for s in step]
    expected = np.array(there) / (2.0 * np.diag(step))
    assert (slope != 0).all()
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_the_van_rossum_loss_is_the_squared_distance_of_the_times(problem_of):
    with jax.enable_x64(True):
        problem = problem_of(VanRossumLoss(7.0))
        found = float(problem.objective.loss(jnp.asarray(problem.start), problem.objective.data))
        model, p = problem.cell, values(problem.cell)
        trains = times_of(model, p, np.asarray(problem.objective.data["current_pA"]))
    recorded = [k * DT for k in problem.onsets]
    assert all(len(t) for t in trains)
    expected = sum(van_rossum(a, b, tau_ms=7.0) ** 2 for a, b in zip(recorded, trains, strict=True))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_a_silent_model_is_drawn_to_its_threshold(problem_of):
    with jax.enable_x64(True):
        problem = problem_of(VanRossumLoss())
        k = problem.names.index("v_threshold_mV")
        x = problem.start.copy()
        x[k] = 0.0
        slope = jax.jit(jax.jacfwd(problem.objective.loss))(jnp.asarray(x), problem.objective.data)
        nearer = x.copy()
        nearer[k] -= 1.0
        ends = [float(problem.objective.loss(jnp.asarray(v), problem.objective.data)) for v in (x, nearer)]
    assert ends[1] < ends[0]
    assert float(slope[k]) > 0


def test_models_whose_spikes_have_no_times_and_settings_that_cannot_be_are_refused(steps_and_noise, sweeps_of):
    current = steps_and_noise(500, 1)
    recordings = sweeps_of(current, -65.0 + 0.02 * current, DT)
    with pytest.raises(SettingError, match="'adex' does neither"):
        cell_problem(recordings, "adex", VanRossumLoss(), onsets=[np.array([100])])
    with pytest.raises(SettingError, match="has a spike"):
        cell_problem(recordings, "lif", RateLoss(), onsets=[np.zeros(0, int)])
    with pytest.raises(SettingError, match="tau_ms"):
        VanRossumLoss(0.0)
    with pytest.raises(SettingError, match="bin_ms"):
        RateLoss(-1.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'latency_ms'"):
        FeatureLoss({"latency": 1.0})
