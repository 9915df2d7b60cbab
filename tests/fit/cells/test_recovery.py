"""A GLIF cell drawn with an escape rate and recorded with noise is found again, with intervals that cover it.

16 sweeps of 5 s at 0.2 ms, an Ornstein-Uhlenbeck current, white noise of 1 mV on the voltage: 1,851 spikes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.signal import lfilter

from connectofit.fit import Recordings, Sweep
from connectofit.fit.cells.models import cell_model
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood, draw_spikes

pytestmark = pytest.mark.slow

DT = 0.2
TRUE = {
    "c_m_pF": 150.0,
    "g_nS": 7.5,
    "e_l_mV": -70.0,
    "v_threshold_mV": -48.0,
    "v_reset_mV": -60.0,
    "asc_1_add_pA": -30.0,
    "asc_2_add_pA": -5.0,
    "asc_1_decay_per_ms": 0.05,
    "asc_2_decay_per_ms": 0.008,
    "delta_v_mV": 1.0,
    "voltage_sd_mV": 1.0,
}
T_REF = {"t_ref_ms": 2.0}


def recording(seed, duration_ms, sweeps):
    """Sweeps and the samples of their spikes."""
    rng = np.random.default_rng(seed)
    n = round(duration_ms / DT)
    kept = np.exp(-DT / 5.0)
    current = 170.0 + 120.0 * lfilter([np.sqrt(1 - kept**2)], [1.0, -kept], rng.normal(size=(n, sweeps)), axis=0)
    model = cell_model("glif3", fixed=T_REF)
    p = {k: jnp.asarray(v) for k, v in {**model.named(model.start), **TRUE}.items() if k in model.neuron.parameters}
    data = {"current_pA": jnp.asarray(current[:-1])}
    spikes, v = draw_spikes(model.neuron, p, jnp.asarray(TRUE["delta_v_mV"]), data, DT, jax.random.key(seed))
    voltage = np.concatenate([np.full((1, sweeps), TRUE["e_l_mV"]), np.asarray(v)]) + rng.normal(size=(n, sweeps))
    traces = [Sweep(str(k), current[:, k], voltage[:, k], DT, 0.0, duration_ms) for k in range(sweeps)]
    return Recordings(tuple(traces)), [np.flatnonzero(np.asarray(spikes[:, k])) + 1 for k in range(sweeps)]


def problem_of(seed, size=(5000.0, 16), **given):
    recordings, onsets = recording(seed, *size)
    loss = ForcedLikelihood(sd_mV=None, correlation_ms=None)
    settings = {"fixed": T_REF, "mask_ms": (0.0, 2.0), "initial": "rest"}
    return cell_problem(recordings, "glif3", loss, onsets=onsets, **settings, **given)


def test_parameters_are_found_from_the_start_that_the_recording_gives():
    with jax.enable_x64(True):
        problem = problem_of(0)
        box, data = problem.objective.box, problem.objective.data
        value = jax.jit(jax.value_and_grad(lambda z, d: problem.objective.loss(box.to_physical(z), d)))
        begin = box.from_physical(problem.start)
        found = minimize(
            lambda z: tuple(np.asarray(v) for v in value(jnp.asarray(z), data)),
            begin, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-11},
        )  # fmt: skip
        x = dict(zip(box.names, np.asarray(box.to_physical(jnp.asarray(found.x))), strict=True))
    assert 1.0 / x["g_nS"] == pytest.approx(1.0 / TRUE["g_nS"], rel=0.02)
    assert x["c_m_pF"] / x["g_nS"] == pytest.approx(TRUE["c_m_pF"] / TRUE["g_nS"], rel=0.02)
    assert x["e_l_mV"] == pytest.approx(TRUE["e_l_mV"], abs=0.3)
    assert x["v_threshold_mV"] == pytest.approx(TRUE["v_threshold_mV"], abs=0.2)
    assert x["delta_v_mV"] == pytest.approx(TRUE["delta_v_mV"], rel=0.05)


def covered(seeds):
    """(names, whether the interval of 95 % of each parameter has the truth inside, [recording, parameter]), from
    recordings of 8 sweeps of 3 s."""
    problems = [problem_of(seed, (3000.0, 8), start=dict(TRUE)) for seed in seeds]
    names = problems[0].names
    truth = np.array([TRUE[name] for name in names])
    loss = problems[0].objective.loss
    slope, curvature = jax.jit(jax.jacfwd(loss)), jax.jit(jax.hessian(loss))
    # Steps with the curvature at the truth, which the optimum is a standard error or two away from.
    towards = np.linalg.inv(np.asarray(curvature(jnp.asarray(truth), problems[0].objective.data)))
    inside = []
    for problem in problems:
        data, x = problem.objective.data, truth.copy()
        for _ in range(10):
            x = x - towards @ np.asarray(slope(jnp.asarray(x), data))
        spread = np.linalg.inv(np.asarray(curvature(jnp.asarray(x), data)))
        se = np.sqrt(np.diag(spread))
        step = spread @ np.asarray(slope(jnp.asarray(x), data))
        assert (np.abs(step) < 0.1 * se).all()  # at the optimum
        inside.append(np.abs(x - step - truth) < 1.96 * se)
    return names, np.array(inside)


def test_intervals_of_95_percent_cover_the_truth_in_85_to_100_percent_of_40_recordings():
    with jax.enable_x64(True):
        names, inside = covered(range(1, 41))
    share = inside.mean(axis=0)
    assert (share >= 0.85).all(), dict(zip(names, share, strict=True))
    assert 0.90 <= share.mean() <= 0.99
