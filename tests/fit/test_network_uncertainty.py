"""Intervals, soft directions and profiles of networks' parameters, by the closed form of linear Gaussian data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError, UnknownNameError
from connectofit.fit import Free, Parameters, Schedule, fit_network, network_profile, network_uncertainty
from connectofit.fit.objectives import Objective

FREE = Parameters((Free("worm.tau_m_ms", 0.5, 0.2, transform="scale"), Free("chemical.log_gain", 0.8, 0.4)))
SD, SD_OFFSET = 0.3, 0.7
SCHEDULE = Schedule(steps=600, learning_rate=0.05, patience=600, interval=300)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Linear(Objective):
    """Rows that are linear in log tau and three log gains, with an offset of the readout and Gaussian noise."""

    matrix: np.ndarray
    data: np.ndarray
    group: np.ndarray
    ids = ()

    def initial(self):
        return {"offset": jnp.zeros(())}

    def penalty(self, readout):
        return 0.5 * (readout["offset"] / SD_OFFSET) ** 2

    def predict(self, net, readout):
        theta = jnp.concatenate([jnp.log(net.params["worm"]["tau_m_ms"] / 20.0), net.params["chemical"]["log_gain"]])
        return self.matrix @ theta + readout["offset"]

    def loss(self, predicted):
        return 0.5 * ((self.data - predicted) / SD) ** 2

    def subset(self, rows):
        return Linear(self.matrix[rows], self.data[rows], self.group[rows])


@pytest.fixture(scope="module")
def case(graded):
    """A network, data that say nothing about the last gain, and the posterior's mean and covariance."""
    net = graded(0.5 * (np.ones((6, 6)) - np.eye(6)), types=3)
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(12, 4)).astype(np.float32)
    matrix[:, 3] = 0.0
    data = (matrix @ np.array([0.2, 0.5, -0.3, 0.1]) + 0.4 + SD * rng.normal(size=12)).astype(np.float32)
    prior = np.zeros((5, 5))
    prior[0, 0] = 0.5**2 + 0.2**2
    prior[1:4, 1:4] = 0.8**2 + 0.4**2 * np.eye(3)
    prior[4, 4] = SD_OFFSET**2
    full = np.column_stack([matrix, np.ones(12)])
    covariance = np.linalg.inv(full.T @ full / SD**2 + np.linalg.inv(prior))
    mean = covariance @ full.T @ data / SD**2
    return net, {"rows": Linear(matrix, data, np.arange(12))}, mean, covariance, prior


@pytest.fixture(scope="module")
def fitted(case):
    net, objectives, *_ = case
    return fit_network(net, objectives, free=FREE, starts=2, schedule=SCHEDULE, seed=1)


@pytest.fixture(scope="module")
def known(case, fitted):
    return network_uncertainty(fitted, case[1], free=FREE)


def test_intervals_are_those_of_the_gaussian_posterior(case, known):
    _, _, mean, covariance, prior = case
    sd = np.sqrt(np.diag(covariance))[:4]
    np.testing.assert_allclose(known.table["sd"], sd, rtol=1e-3)
    np.testing.assert_allclose(known.table["left"], (sd / np.sqrt(np.diag(prior))[:4]) ** 2, rtol=2e-3)
    value = np.concatenate([20.0 * np.exp(mean[:1]), mean[1:4]])
    np.testing.assert_allclose(known.table["value"], value, atol=0.02, rtol=0.01)
    ends = known.table[["low", "high"]].to_numpy()
    np.testing.assert_allclose(np.log(ends[0] / 20.0), mean[0] + 1.959964 * sd[0] * np.array([-1, 1]), atol=0.01)
    np.testing.assert_allclose(ends[1:], mean[1:4, None] + 1.959964 * sd[1:, None] * np.array([-1, 1]), atol=0.02)
    assert known.findings == ()


def test_what_no_data_are_about_is_named_as_soft(case, known):
    # Of the last gain the data say only what the gains share.
    _, _, _, covariance, prior = case
    assert known.table["identified"].tolist() == (np.diag(covariance)[:4] / np.diag(prior)[:4] <= 0.5).tolist()
    first = known.directions.iloc[0]
    assert first["left"] == pytest.approx(1.0, abs=1e-3)
    assert first["moves"].startswith("chemical.log_gain of 2")
    assert (np.diff(known.directions["left"]) <= 1e-12).all()


def test_the_generalised_eigenvalues_are_the_variance_left(case, known):
    _, _, _, covariance, prior = case
    ratios = np.linalg.eigvals(np.linalg.solve(prior[:4, :4], covariance[:4, :4])).real
    np.testing.assert_allclose(np.sort(known.directions["left"]), np.sort(ratios), rtol=5e-3, atol=1e-4)


def test_rows_that_are_held_out_do_not_count(case, fitted, known):
    objectives = case[1]
    held = np.arange(12) < 6
    fewer = network_uncertainty(fitted, objectives, free=FREE, hold_out={"rows": held})
    half = {"rows": objectives["rows"].subset(~held)}
    again = network_uncertainty(fitted, half, free=FREE)
    np.testing.assert_allclose(fewer.table["sd"], again.table["sd"], rtol=1e-6)
    assert (fewer.table["sd"][:3] > known.table["sd"][:3]).all()
    double = network_uncertainty(fitted, half, free=FREE, weights={"rows": 4.0})
    assert (double.table["sd"] <= again.table["sd"] + 1e-9).all()


def test_a_profile_is_the_parabola_of_the_posterior(case):
    net, objectives, mean, covariance, _ = case
    sd = float(np.sqrt(covariance[1, 1]))
    grid = mean[1] + sd * np.array([-3.0, -1.5, 0.0, 1.5, 3.0])
    table, (low, high) = network_profile(
        net, objectives, free=FREE, name="chemical.log_gain", kind="0", grid=grid, starts=1, schedule=SCHEDULE
    )
    np.testing.assert_allclose(table["rise"], 0.5 * ((grid - mean[1]) / sd) ** 2, atol=0.03)
    # Between the values of the grid the rise is interpolated on a line, which is above the parabola.
    assert mean[1] - 1.97 * sd < low < mean[1] - 1.5 * sd
    assert mean[1] + 1.5 * sd < high < mean[1] + 1.97 * sd


def test_members_are_the_starts_and_agree_where_data_decide(case, fitted):
    _, objectives, *_ = case
    predicted = fitted.predict_all("rows", objectives["rows"])
    assert predicted.shape == (2, 12)
    np.testing.assert_allclose(predicted[fitted.best_start], fitted.predict("rows", objectives["rows"]), rtol=1e-6)
    np.testing.assert_allclose(predicted[0], predicted[1], atol=0.02)


def test_what_cannot_be_is_refused(case, fitted):
    net, objectives, *_ = case
    given = {"free": FREE, "grid": [0.1, 0.2, 0.3]}
    with pytest.raises(UnknownNameError, match="objective"):
        network_uncertainty(fitted, {}, free=FREE)
    with pytest.raises(SettingError, match="level"):
        network_uncertainty(fitted, objectives, free=FREE, level=95)
    with pytest.raises(SettingError, match="say which by kind"):
        network_profile(net, objectives, name="chemical.log_gain", **given)
    with pytest.raises(UnknownNameError, match="type"):
        network_profile(net, objectives, name="chemical.log_gain", kind="7", **given)
    with pytest.raises(UnknownNameError, match="free parameter"):
        network_profile(net, objectives, name="chemical.gain", **given)
    with pytest.raises(SettingError, match="three different"):
        network_profile(net, objectives, name="worm.tau_m_ms", free=FREE, grid=[1.0, 2.0, 2.0])
    with pytest.raises(SettingError, match="keeps the sign"):
        network_profile(
            net, objectives, name="worm.tau_m_ms", free=FREE, grid=[-1.0, 2.0, 3.0], schedule=replace(SCHEDULE, steps=1)
        )
