"""Networks of graded neurons against SciPy's ODE solver and NumPy's linear solver, in float64."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import expit

from connectofit.sim import GapJunction, Graded, GradedLeaky, Network, Population, Projection, rollout

N = 10


def circuit(seed: int = 0, scale: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(chemical weights and conductances [pre, post], time constants, resting potentials)."""
    rng = np.random.default_rng(seed)
    chemical = scale * rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.3)
    gap = np.triu(2 * rng.random((N, N)) * (rng.random((N, N)) < 0.3), 1)
    return chemical, gap + gap.T, rng.uniform(10, 40, N), rng.normal(size=N)


def network(chemical, gap, tau, rest, slope=2.0, v_half=0.4, method="exponential_euler") -> Network:
    def projection(name, synapse, matrix):
        pre, post = np.nonzero(matrix)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(pre, minlength=N))])
        weight = matrix[pre, post]
        return Projection(name, "all", "all", synapse, indptr, post, weight, np.zeros(len(pre), int), ("x",))

    ids = tuple(range(N))
    population = Population("all", GradedLeaky(method=method), ids, np.arange(N), ids)
    params = {
        "all": {"tau_m_ms": tau, "v_rest": rest, "noise": np.zeros(N)},
        "chem": {"log_gain": np.zeros(1), "slope": np.full(1, slope), "v_half": np.full(1, v_half)},
        "gap": {"log_gain": np.zeros(1)},
    }
    projections = (projection("chem", Graded(), chemical), projection("gap", GapJunction(), gap))
    return Network((population,), projections, params)


def run(net, current, dt_ms, n_steps):
    with jax.enable_x64(True):
        f = jax.jit(lambda i: rollout(net, None, {"all": i}, dt_ms=dt_ms, n_steps=n_steps)[1]["all"]["v"])
        return np.asarray(f(current[None]))


def release(v, rest, slope, v_half):
    """Sigmoidal release with slope 1 at rest, minus its value there."""
    s0 = expit(-slope * v_half)
    return (expit(slope * (v - rest - v_half)) - s0) / (slope * s0 * (1 - s0))


def exact(chemical, gap, tau, rest, current, times, slope=2.0, v_half=0.4):
    def derivative(_, v):
        flow = gap.T @ v - gap.sum(axis=0) * v
        return (-(v - rest) + release(v, rest, slope, v_half) @ chemical + flow + current) / tau

    return solve_ivp(derivative, (0, times[-1]), rest, t_eval=times, rtol=1e-10, atol=1e-12, method="DOP853").y.T


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["exponential_euler", "euler"])
def test_network_converges_to_the_solution_of_its_equation_in_first_order(method):
    parts = circuit()
    current = np.random.default_rng(9).normal(size=N)
    errors = []
    for dt_ms in (0.4, 0.2, 0.1):
        n_steps = round(40.0 / dt_ms)
        v = run(network(*parts, method=method), current, dt_ms, n_steps)
        times = (np.arange(n_steps) + 1) * dt_ms
        errors.append(np.abs(v - exact(*parts, current, times)).max())
    assert errors[-1] < 1e-2
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 2.0, atol=0.15)  # half the step, half the error
    # Richardson: the first-order parts of two runs cancel, and what is left is smaller by an order.
    coarse, fine = (run(network(*parts, method=method), current, dt, round(40.0 / dt)) for dt in (0.2, 0.1))
    times = (np.arange(200) + 1) * 0.2
    assert np.abs(2 * fine[1::2] - coarse - exact(*parts, current, times)).max() < errors[-1] / 10


@pytest.mark.parametrize("dt_ms", [1.0, 20.0, 100.0])
def test_stationary_state_of_a_linear_circuit_is_that_of_the_linear_equations_whatever_the_step(dt_ms):
    chemical, gap, tau, rest = circuit(scale=0.1)
    current = np.random.default_rng(5).normal(size=N)
    # A release of slope 1e-4 is linear to about 1e-8.
    v = run(network(chemical, gap, tau, rest, slope=1e-4, v_half=0.0), current, dt_ms, round(6000 / dt_ms))[-1]
    matrix = np.eye(N) + np.diag(gap.sum(axis=0)) - gap.T - chemical.T
    expected = np.linalg.solve(matrix, rest + current - chemical.T @ rest)
    np.testing.assert_allclose(v, expected, atol=1e-6)


def test_gap_junctions_alone_are_stable_and_bounded_for_steps_far_above_the_time_constant():
    _, gap, tau, rest = circuit(seed=3)
    v = run(network(np.zeros((N, N)), 5 * gap, tau, rest), np.zeros(N), 500.0, 400)
    assert v.min() >= rest.min() - 1e-12
    assert v.max() <= rest.max() + 1e-12
    matrix = np.eye(N) + 5 * (np.diag(gap.sum(axis=0)) - gap.T)
    np.testing.assert_allclose(v[-1], np.linalg.solve(matrix, rest), atol=1e-6)


def test_single_neuron_follows_its_exact_exponential_whatever_the_step():
    zero = np.zeros((N, N))
    tau, rest, current = np.linspace(5, 50, N), np.linspace(-1, 1, N), np.linspace(2, -2, N)
    for dt_ms in (0.5, 30.0):
        n_steps = round(90 / dt_ms)
        t = (np.arange(n_steps) + 1)[:, None] * dt_ms
        v = run(network(zero, zero, tau, rest), current, dt_ms, n_steps)
        np.testing.assert_allclose(v, rest + current * (1 - np.exp(-t / tau)), atol=1e-12)


def test_release_has_slope_one_at_rest_and_saturates():
    net = network(*circuit())
    synapse = net.projection("chem").synapse
    with jax.enable_x64(True):
        p = {"slope": np.full(1, 3.0), "v_half": np.full(1, 0.7)}
        f = lambda v: synapse.source(p, v, np.zeros(1))[0]  # noqa: E731
        v = np.linspace(-4, 4, 9)[:, None]
        assert abs(float(jax.grad(lambda v: f(v))(np.zeros(1))[0]) - 1.0) < 1e-12
        np.testing.assert_allclose([f(x) for x in v], release(v[:, 0], 0.0, 3.0, 0.7), atol=1e-12)
