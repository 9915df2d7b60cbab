"""Evoked activity against the steady state of the linear equation, and what protocols are refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit import Protocol, evoked

AMPLITUDE = 1e-5  # small enough for the sigmoid's cubic term to be lost


compiled = jax.jit(evoked, static_argnames="protocol")


def steady(chemical, gap, drive) -> np.ndarray:
    """V of 0 = -V + W^T V + sum_j g_ij (V_j - V_i) + I, row by row of `drive`."""
    n = len(chemical)
    matrix = np.eye(n) - chemical.T - gap.T + np.diag(gap.sum(0))
    return np.linalg.solve(matrix, drive.T).T


@pytest.fixture(scope="module")
def settled() -> Protocol:
    return Protocol(amplitude=AMPLITUDE, dt_ms=20.0, duration_ms=3000.0, from_ms=2900.0)


def test_small_drive_settles_at_the_solution_of_the_linear_equation(small, matrices, settled):
    drive = np.eye(7) + np.eye(7)[::-1]
    with jax.enable_x64(True):
        found = np.asarray(compiled(small, drive, settled))
    np.testing.assert_allclose(found, AMPLITUDE * steady(*matrices, drive), rtol=1e-7, atol=1e-15)


def test_an_ablated_neuron_is_as_good_as_not_there(small, matrices, settled):
    drive, gone = np.eye(7), 2
    alive = np.ones((7, 7))
    alive[:, gone] = 0.0
    with jax.enable_x64(True):
        found = np.asarray(compiled(small, drive, settled, alive))
    rest = np.delete(np.arange(7), gone)
    chemical, gap = (m[np.ix_(rest, rest)] for m in matrices)
    expected = AMPLITUDE * steady(chemical, gap, drive[:, rest])
    np.testing.assert_allclose(found[:, rest], expected, rtol=1e-7, atol=1e-15)
    assert not found[:, gone].any()


def test_one_neuron_alone_follows_the_membrane_equation(graded):
    net = graded(np.zeros((2, 2)), tau_m_ms=20.0)
    protocol = Protocol(amplitude=2.0, dt_ms=5.0, duration_ms=40.0, from_ms=20.0)
    with jax.enable_x64(True):
        found = np.asarray(compiled(net, np.array([[1.0, 0.0]]), protocol))[0]
    times = np.array([25.0, 30.0, 35.0, 40.0])  # the ends of the steps that end after 20 ms
    np.testing.assert_allclose(found, [np.mean(2.0 * (1 - np.exp(-times / 20.0))), 0.0], rtol=1e-12)


def test_neurons_of_several_populations_come_in_the_order_of_the_networks_ids(split, matrices, graded):
    chemical = matrices[0]
    one, two = graded(chemical), split(chemical, (2, 5))
    assert two.ids == one.ids
    protocol = Protocol(amplitude=0.7, dt_ms=10.0, duration_ms=100.0)
    with jax.enable_x64(True):
        # The populations of `two` rest at different voltages; deviations from rest do not depend on them.
        np.testing.assert_allclose(compiled(two, np.eye(7), protocol), compiled(one, np.eye(7), protocol), atol=1e-14)


@pytest.mark.parametrize("n", [6, 8])
def test_drive_of_another_number_of_neurons_is_refused(small, n):
    with pytest.raises(SettingError, match=rf"drive has to be \[condition, 7\].*\(2, {n}\)"):
        evoked(small, np.zeros((2, n)), Protocol())
    with pytest.raises(SettingError, match=rf"alive has to be \[condition, 7\].*\(2, {n}\)"):
        evoked(small, np.zeros((2, 7)), Protocol(), np.ones((2, n)))


@pytest.mark.parametrize("name", ["amplitude", "dt_ms", "duration_ms"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "fast"])
def test_protocols_need_positive_numbers(name, value):
    with pytest.raises(SettingError, match=f"{name} of a protocol has to be above 0"):
        Protocol(**{name: value})


@pytest.mark.parametrize("from_ms", [-1.0, 800.0, float("nan")])
def test_the_response_has_to_start_within_the_run(from_ms):
    with pytest.raises(SettingError, match="from_ms has to be from 0 to below the duration of 800"):
        Protocol(from_ms=from_ms)


@pytest.mark.parametrize(("dt_ms", "duration_ms"), [(30.0, 100.0), (50.0, 20.0), (1.0, 1e-12)])
def test_the_time_step_has_to_divide_the_duration(dt_ms, duration_ms):
    with pytest.raises(SettingError, match="divide the duration"):
        Protocol(dt_ms=dt_ms, duration_ms=duration_ms)


@pytest.mark.parametrize(("from_ms", "first"), [(0.0, 0), (49.0, 0), (50.0, 1), (751.0, 15)])
def test_the_steps_that_count_are_those_that_end_later(from_ms, first):
    assert Protocol(dt_ms=50.0, duration_ms=800.0, from_ms=from_ms).first_step == first
