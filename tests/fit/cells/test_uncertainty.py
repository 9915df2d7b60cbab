"""Intervals of fitted cells against closed forms: a membrane that is linear in what is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit.cells.losses import VoltageError, WeightedSum
from connectofit.fit.cells.problem import CellProblem, cell_problem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.cells.uncertainty import laplace, polished
from connectofit.fit.cells.uncertainty_bootstrap import block_bootstrap
from connectofit.fit.cells.uncertainty_likelihood import Likelihood
from connectofit.fit.cells.uncertainty_profile import profile
from connectofit.fit.optimisers.objective import Box
from connectofit.fit.recordings import Recordings, Sweep

C_PF, G_NS, E_MV, RESET_MV, SD_MV, DT_MS, T_REF = 200.0, 10.0, -70.0, -60.0, 1.5, 1.0, 2
CORRELATION_MS = 10.0
WEIGHT = DT_MS / CORRELATION_MS
SPIKES = (np.array([120, 200, 333, 480, 610]), np.array([60, 90, 300, 555]))


@dataclass(frozen=True, eq=False)
class Linear:
    """The problem and what counts of it: V = columns @ (E_L, V_reset) + known, of which sweep and row each is."""

    problem: CellProblem
    columns: np.ndarray
    known: np.ndarray
    voltage: np.ndarray
    sweep: np.ndarray
    row: np.ndarray

    def solved(self, weights=None):
        """(E_L, V_reset, s) by weighted least squares."""
        w = np.ones(len(self.voltage)) if weights is None else weights
        a, y = self.columns, self.voltage - self.known
        found = np.linalg.solve(a.T @ (w[:, None] * a), a.T @ (w * y))
        return np.array([*found, np.sqrt((w * (y - a @ found) ** 2).sum() / w.sum())])


def _linear_rows(current, spikes, start):
    """V after every step as (weight of E_L, weight of V_reset, rest), NaN from a spike to the end of its silence."""
    keep = np.exp(-DT_MS * G_NS / C_PF)
    rows, state, left = [], np.array([0.0, 0.0, start]), 0
    for k, drive in enumerate(current[:-1]):
        fires = k + 1 in spikes
        rests = left > 0
        if not rests:
            state = keep * state + (1 - keep) * np.array([1.0, 0.0, drive / G_NS])
        rows.append(np.full(3, np.nan) if fires or rests else state)
        left = max(left - 1, 0)
        if fires:
            state, left = np.array([0.0, 1.0, 0.0]), T_REF
    return np.array(rows)


def _linear(bounds=None, start=None) -> Linear:
    rng = np.random.default_rng(5)
    sweeps, parts = [], []
    for k, spikes in enumerate(SPIKES):
        current = 60.0 + 50.0 * np.sin(np.arange(700) / (17.0 + 6 * k))
        rows = _linear_rows(current, spikes, E_MV)
        voltage = np.concatenate([[E_MV], rows @ [E_MV, RESET_MV, 1.0] + SD_MV * rng.normal(size=699)])
        voltage = np.where(np.isnan(voltage), 0.0, voltage)
        voltage[0] = E_MV
        sweeps.append(Sweep(f"s{k}", current, voltage, DT_MS, 0.0, 700.0))
        counted = np.flatnonzero(~np.isnan(rows[:, 0]))
        parts.append((rows[counted], voltage[1:][counted].astype(np.float32), np.full(counted.size, k), counted))
    problem = cell_problem(
        Recordings(tuple(sweeps)),
        "glif1",
        ForcedLikelihood(spikes=False, sd_mV=None, correlation_ms=CORRELATION_MS),
        free=["e_l_mV", "v_reset_mV"],
        fixed={"c_m_pF": C_PF, "g_nS": G_NS, "v_threshold_mV": -50.0, "t_ref_ms": T_REF * DT_MS},
        bounds=bounds or {"e_l_mV": (-85.0, -55.0), "v_reset_mV": (-80.0, -40.0)},
        start=start,
        onsets=SPIKES,
        mask_ms=(0.0, T_REF * DT_MS),
    )
    rows, voltage, sweep, row = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Linear(problem, rows[:, :2], rows[:, 2], voltage.astype(float), sweep, row)


@pytest.fixture(scope="module")
def linear() -> Linear:
    return _linear()


def test_the_covariance_of_a_linear_membrane_is_that_of_least_squares(linear):
    x = linear.solved()
    found = laplace(linear.problem, x)
    covariance = np.linalg.inv(WEIGHT * linear.columns.T @ linear.columns / x[2] ** 2)
    np.testing.assert_allclose(found.covariance[:2, :2], covariance, rtol=1e-5)
    # Of s, d2/d(log s)2 of n log s + S / 2 s^2 is 2 n at the optimum.
    n = WEIGHT * len(linear.voltage)
    np.testing.assert_allclose(found.covariance[2, 2], x[2] ** 2 / (2 * n), rtol=1e-5)
    np.testing.assert_allclose(found.covariance[2, :2], 0.0, atol=1e-5 * covariance.max())
    errors = found.table.set_index("parameter")["standard_error"]
    np.testing.assert_allclose(errors, np.sqrt(np.diag(found.covariance)), rtol=1e-9)
    assert found.gain_nats < 1e-6
    assert found.positive_definite
    assert found.findings == ()


def test_intervals_are_even_on_a_linear_scale_and_uneven_on_a_logarithmic_one(linear):
    found = laplace(linear.problem, linear.solved())
    e, s = found.estimates["e_l_mV"], found.estimates["voltage_sd_mV"]
    np.testing.assert_allclose([e.value - e.low, e.high - e.value], 1.959964 * e.standard_error, rtol=1e-5)
    np.testing.assert_allclose(s.low * s.high, s.value**2, rtol=1e-9)
    np.testing.assert_allclose(np.log(s.high / s.value), 1.959964 * s.standard_error / s.value, rtol=1e-5)
    np.testing.assert_allclose(e.span, (e.high - e.low) / 30.0, rtol=1e-9)


def test_the_covariance_in_the_optimisers_coordinates_inverts_the_hessian_there(linear):
    objective, x = linear.problem.objective, linear.solved()
    with jax.enable_x64(True):
        data = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, float)), objective.data)
        hessian = jax.jit(jax.jacfwd(jax.jacfwd(lambda z: objective.loss(objective.box.to_physical(z), data))))
        expected = np.linalg.inv(np.asarray(hessian(jnp.asarray(objective.box.from_physical(x)))))
    np.testing.assert_allclose(laplace(linear.problem, x).covariance_z, expected, rtol=1e-4, atol=1e-7)


def test_polishing_goes_to_the_optimum_and_what_is_not_there_is_told(linear):
    x = linear.solved()
    away = x + np.array([0.5, -0.5, 0.0])
    np.testing.assert_allclose(polished(linear.problem, away), x, rtol=1e-5)
    found = laplace(linear.problem, away)
    # The loss is a parabola in E_L and V_reset: a Newton step gains the whole difference, about.
    step = np.array([0.5, -0.5])
    gain = 0.5 * step @ (WEIGHT * linear.columns.T @ linear.columns / x[2] ** 2) @ step
    assert 0.5 * gain < found.gain_nats < 1.5 * gain
    assert any("not at the optimum" in text for text in found.findings)


def test_a_combination_has_the_variance_that_the_covariance_implies(linear):
    found = laplace(linear.problem, linear.solved())
    gap = found.derived(lambda p: p["v_reset_mV"] - p["e_l_mV"])
    c = found.covariance
    np.testing.assert_allclose(gap.standard_error, np.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1]), rtol=1e-9)
    ratio = found.derived(lambda p: p["voltage_sd_mV"] ** 2, log=True)
    np.testing.assert_allclose(np.sqrt(ratio.low), found.estimates["voltage_sd_mV"].low, rtol=1e-9)
    with pytest.raises(SettingError, match="above 0"):
        found.derived(lambda p: p["e_l_mV"], log=True)


def test_a_parameter_pushed_against_a_bound_is_held_there():
    narrow = _linear(bounds={"e_l_mV": (-69.0, -55.0), "v_reset_mV": (-80.0, -40.0)}, start={"e_l_mV": -65.0})
    free = narrow.solved()
    assert free[0] < -69.5
    x = polished(narrow.problem, narrow.problem.start)
    a, y = narrow.columns, narrow.voltage - narrow.known
    reset = a[:, 1] @ (y + 69.0 * a[:, 0]) / (a[:, 1] @ a[:, 1])
    s = np.sqrt(np.mean((y - a @ [-69.0, reset]) ** 2))
    np.testing.assert_allclose(x, [-69.0, reset, s], rtol=1e-5)
    found = laplace(narrow.problem, x)
    assert dict(found.bounds) == {"e_l_mV": "lower"}
    assert found.pushed == ("e_l_mV",)
    # V_reset given E_L, not on average over it.
    np.testing.assert_allclose(found.covariance[1, 1], s**2 / (WEIGHT * a[:, 1] @ a[:, 1]), rtol=1e-5)
    # slope t + curvature t^2 / 2 = 1.92 nats, from the bound upwards.
    slope = -WEIGHT * a[:, 0] @ (y - a @ [-69.0, reset]) / s**2
    curvature = WEIGHT * a[:, 0] @ a[:, 0] / s**2
    end = brentq(lambda t: slope * t + 0.5 * curvature * t**2 - 0.5 * 1.959964**2, 0.0, 10.0)
    e = found.estimates["e_l_mV"]
    np.testing.assert_allclose([e.low, e.high], [-69.0, -69.0 + end], rtol=1e-6)
    assert np.isnan(e.standard_error)
    assert "lower bound, and the loss falls further beyond" in " ".join(found.findings)


def test_a_parameter_is_identified_up_to_half_of_its_range(linear):
    x, wide = linear.solved(), laplace(linear.problem, linear.solved())
    errors = np.array([wide.estimates[name].standard_error for name in ("e_l_mV", "v_reset_mV")])
    objective = linear.problem.objective
    reach = 1.96 * errors * [1.9, 2.1]
    low, high = objective.box.low.copy(), objective.box.high.copy()
    low[:2], high[:2] = x[:2] - reach, x[:2] + reach
    box = Box(objective.box.names, low, high, objective.box.log)
    found = laplace(replace(linear.problem, objective=replace(objective, box=box)), x)
    assert found.identifiable == {"e_l_mV": False, "v_reset_mV": True, "voltage_sd_mV": True}
    assert "spans 0.53 times its range" in found.reasons["e_l_mV"]
    np.testing.assert_allclose([found.estimates[n].standard_error for n in found.names[:2]], errors, rtol=1e-6)
    own = WEIGHT * linear.columns.T @ linear.columns / x[2] ** 2
    curvatures = np.linalg.eigvalsh(own * np.outer(2 * reach, 2 * reach))
    np.testing.assert_allclose([d.curvature for d in found.directions[:2]], curvatures, rtol=1e-5)
    for direction in found.directions:
        largest = max(abs(w) for w in direction.weights.values())
        span = 2 * 1.959964 / np.sqrt(direction.curvature) * largest
        np.testing.assert_allclose(direction.span, span, rtol=1e-6)
        assert direction.soft == (span > 0.5)
    assert found.findings == ("e_l_mV is not identified by these data.",)


def test_the_profile_of_a_linear_parameter_follows_its_closed_form(linear):
    x = linear.solved()
    found = profile(linear.problem, x, "e_l_mV", 10)
    a, y = linear.columns, linear.voltage - linear.known
    n = WEIGHT * len(y)

    def rise(e):  # s and V_reset at their best for this E_L
        rest = y - e * a[:, 0]
        left = rest - a[:, 1] * (a[:, 1] @ rest) / (a[:, 1] @ a[:, 1])
        return n * np.log(np.sqrt(np.mean(left**2)) / x[2])

    np.testing.assert_allclose(found.table.rise_nats, [rise(e) for e in found.table.value], atol=1e-3)
    ends = [brentq(lambda e: rise(e) - 0.5 * 1.959964**2, x[0] + a, x[0] + b) for a, b in ((-5, 0), (0, 5))]
    np.testing.assert_allclose([found.low, found.high], ends, atol=0.02 * (ends[1] - ends[0]))
    assert found.identifiable
    assert found.table.converged.all()
    assert "lies from" in found.sentence


def test_the_profile_of_the_noise_is_as_uneven_as_its_closed_form(linear):
    x = linear.solved()
    n = WEIGHT * len(linear.voltage)
    found = profile(linear.problem, x, "voltage_sd_mV", 12)

    def rise(s):
        return n * np.log(s / x[2]) + 0.5 * n * (x[2] ** 2 / s**2 - 1)

    np.testing.assert_allclose(found.table.rise_nats, rise(found.table.value.to_numpy()), atol=1e-3)
    ends = [brentq(lambda s: rise(s) - 0.5 * 1.959964**2, *span) for span in ((0.5 * x[2], x[2]), (x[2], 2 * x[2]))]
    np.testing.assert_allclose([found.low, found.high], ends, rtol=2e-3)
    assert found.high - x[2] > 1.05 * (x[2] - found.low)


def test_a_profile_over_too_narrow_a_range_has_open_ends(linear):
    x = linear.solved()
    found = profile(linear.problem, x, "e_l_mV", [x[0] - 0.02, x[0] - 0.01, x[0] + 0.01, x[0] + 5.0])
    assert found.low_open
    assert not found.high_open
    assert not found.identifiable
    np.testing.assert_allclose(found.low, x[0] - 0.02, rtol=1e-7)
    assert "at most" in found.sentence
    assert len(found.table) == 5


def test_refits_to_resampled_blocks_are_weighted_least_squares(linear):
    found = block_bootstrap(linear.problem, linear.solved(), 6, 100.0, seed=3)
    assert found.n_blocks == 14
    np.testing.assert_allclose(found.block_ms, 699 / 7)
    counts = np.random.default_rng(3).multinomial(14, np.full(14, 1 / 14), size=6)
    block = 7 * linear.sweep + linear.row * 7 // 699
    # As far as a descent goes: a ten-thousandth of a nat.
    errors = np.sqrt(np.diag(found.uncertainty.covariance))
    for row, drawn in zip(counts, found.draws, strict=True):
        assert np.abs((drawn - linear.solved(row[block].astype(float))) / errors).max() < 0.03
    assert found.unconverged == found.redrawn == 0
    again = block_bootstrap(linear.problem, linear.solved(), 6, 100.0, seed=3)
    np.testing.assert_array_equal(found.draws, again.draws)
    table = found.table.set_index("parameter")
    np.testing.assert_allclose(table.loc["e_l_mV", "low"], np.percentile(found.draws[:, 0], 2.5))
    assert table.identifiable.all()
    assert found.findings == ()
    assert "had 9 blocks" in replace(found, n_blocks=9).findings[0]
    assert "2 of 6 refits" in replace(found, unconverged=2).findings[0]


def test_too_few_blocks_are_refused(linear):
    with pytest.raises(SettingError, match="2 or more"):
        block_bootstrap(replace(linear.problem, objective=_first_sweep(linear)), linear.solved(), 5, 5000.0)


def _first_sweep(linear):
    objective = linear.problem.objective
    data = {k: v if k == "fixed" else v[..., :1] for k, v in objective.data.items()}
    return replace(objective, data=data)


def test_losses_that_are_no_likelihood_are_refused(linear):
    recordings = linear.problem.recordings
    for loss, why in (
        (VoltageError(), "no negative log likelihood: a loss on the voltage"),
        (WeightedSum(((2.0, ForcedLikelihood()),)), "weights other than 1"),
    ):
        problem = cell_problem(recordings, "glif1", loss, onsets=SPIKES, fixed={"t_ref_ms": 2.0})
        for function in (laplace, polished, block_bootstrap):
            with pytest.raises(SettingError, match=why):
                function(problem, problem.start)
        with pytest.raises(SettingError, match=why):
            profile(problem, problem.start, "g_nS")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p, x: laplace(p, x[:2]), SettingError, "have to be 3 numbers"),
        (lambda p, x: laplace(p, x + 100.0 * np.eye(3)[0]), SettingError, "e_l_mV = 29"),
        (lambda p, x: laplace(p, x, level=95), SettingError, "level"),
        (lambda p, x: profile(p, x, "e_l"), UnknownNameError, "Did you mean 'e_l_mV'"),
        (lambda p, x: profile(p, x, "e_l_mV", 3), SettingError, "4 values or more"),
        (lambda p, x: profile(p, x, "e_l_mV", [-70.0, -69.0, -68.0, 0.0]), SettingError, "0 outside"),
        (lambda p, x: profile(p, x, "e_l_mV", 1.5), SettingError, "number of values"),
        (lambda p, x: block_bootstrap(p, x, 1), SettingError, "2 resamples"),
        (lambda p, x: block_bootstrap(p, x, 5, 0.0), SettingError, "block_ms"),
        (lambda p, x: block_bootstrap(p, x, 5, seed=-1), SettingError, "seed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(linear, call, error, message):
    with pytest.raises(error, match=message):
        call(linear.problem, linear.solved())


def test_the_likelihood_is_the_problems_own_in_double_precision(linear):
    x = linear.solved()
    likelihood = Likelihood(linear.problem)
    loss = likelihood.gradients(likelihood.share(x)[None])[0][0]
    a, y = linear.columns, linear.voltage - linear.known
    expected = WEIGHT * (0.5 * ((y - a @ x[:2]) ** 2).sum() / x[2] ** 2 + len(y) * np.log(x[2]))
    np.testing.assert_allclose(loss, expected, rtol=1e-7)
