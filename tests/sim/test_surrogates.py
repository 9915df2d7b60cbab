"""Surrogate derivatives: closed forms, integrals, and both modes of differentiation."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfc, expit
from scipy.stats import norm

from connectofit.connectome.errors import SettingError
from connectofit.sim.surrogate import SURROGATES, Arctan, QPseudoSpike, Sigmoid, spike

# Wang et al. 2024, Table S1.
NAMES = [
    "sigmoid",
    "piecewise_quadratic",
    "piecewise_exponential",
    "soft_sign",
    "arctan",
    "nonzero_sign_log",
    "erf",
    "piecewise_leaky_relu",
    "squarewave_fourier_series",
    "s2nn",
    "q_pseudo_spike",
    "leaky_relu",
    "log_tailed_relu",
    "relu",
    "gaussian",
    "multi_gaussian",
    "inverse_square",
    "slayer",
]

# The functions that stand in for the step, of u = x / width, as their sources define them, at the default settings.
PRIMITIVES = {
    "sigmoid": expit,
    "piecewise_quadratic": lambda u: np.select([u < -1, u > 1], [0.0, 1.0], -0.5 * np.abs(u) * u + u + 0.5),
    "piecewise_exponential": lambda u: np.where(u < 0, 0.5 * np.exp(u), 1 - 0.5 * np.exp(-u)),
    "soft_sign": lambda u: 0.5 * (u / (1 + np.abs(u)) + 1),
    "arctan": lambda u: np.arctan(u) / np.pi + 0.5,
    "nonzero_sign_log": lambda u: np.where(u >= 0, 1, -1) * np.log(np.abs(u) + 1),
    "erf": lambda u: 0.5 * erfc(-u),
    "piecewise_leaky_relu": lambda u: np.select([u < -1, u > 1], [0.01 * u + 0.01, 0.01 * u - 0.01 + 1], 0.5 * u + 0.5),
    "squarewave_fourier_series": lambda u: 0.5 + 2 / np.pi * (np.sin(np.pi * u / 2) + np.sin(3 * np.pi * u / 2) / 3),
    "s2nn": lambda u: np.where(u < 0, expit(4 * u), np.log(np.abs(u + 1)) + 0.5),
    "q_pseudo_spike": lambda u: np.where(u < 0, 0.5 / (1 + 2 * np.abs(u)), 1 - 0.5 / (1 + 2 * np.abs(u))),
    "leaky_relu": lambda u: np.where(u >= 0, u, 0.1 * u),
    "log_tailed_relu": lambda u: np.select([u <= 0, u > 1], [0.0 * u, np.log(np.maximum(u, 1)) + 1], u),
}
# The derivatives themselves, of those that are defined by them.
FORMULAS = {
    "relu": lambda u: 0.3 * np.maximum(1 - np.abs(u), 0),
    "gaussian": lambda u: 0.5 * norm.pdf(u),
    "multi_gaussian": lambda u: 0.5 * (1.15 * norm.pdf(u) - 0.15 * norm.pdf(u, 1, 6) - 0.15 * norm.pdf(u, -1, 6)),
    "inverse_square": lambda u: 1 / (np.abs(u) + 1) ** 2,
    "slayer": lambda u: np.exp(-np.abs(u)),
}
ONE = ("sigmoid", "piecewise_quadratic", "piecewise_exponential", "soft_sign", "arctan", "erf", "q_pseudo_spike")
INTEGRALS = dict.fromkeys(ONE, 1.0)
INTEGRALS |= {"relu": 0.3, "gaussian": 0.5, "multi_gaussian": 0.5 * 0.85, "inverse_square": 2.0, "slayer": 2.0}
PEAKS = {
    "sigmoid": 0.25,
    "piecewise_quadratic": 1.0,
    "piecewise_exponential": 0.5,
    "soft_sign": 0.5,
    "arctan": 1 / math.pi,
    "nonzero_sign_log": 1.0,
    "erf": 1 / math.sqrt(math.pi),
    "piecewise_leaky_relu": 0.5,
    "squarewave_fourier_series": 2.0,
    "s2nn": 1.0,
    "q_pseudo_spike": 1.0,
    "leaky_relu": 1.0,
    "log_tailed_relu": 0.0,
    "relu": 0.3,
    "gaussian": 0.5 / math.sqrt(2 * math.pi),
    "multi_gaussian": 0.5 * (1.15 - 0.3 * math.exp(-1 / 72) / 6) / math.sqrt(2 * math.pi),
    "inverse_square": 1.0,
    "slayer": 1.0,
}


def derivative(kind: str, x, **settings) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(SURROGATES[kind](**settings).derivative(jnp.asarray(x, float)))


def test_the_eighteen_of_table_s1_are_there():
    assert list(SURROGATES) == NAMES
    assert all(kind == surrogate.kind for kind, surrogate in SURROGATES.items())
    assert {*PRIMITIVES, *FORMULAS} == set(NAMES)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", PRIMITIVES)
def test_derivative_is_that_of_the_primitive(kind):
    width, h = 3.0, 1e-5
    x = np.linspace(-9.7, 9.3, 41)  # no kink at these points
    numeric = (PRIMITIVES[kind]((x + h) / width) - PRIMITIVES[kind]((x - h) / width)) / (2 * h)
    np.testing.assert_allclose(derivative(kind, x, width_mV=width), numeric, atol=1e-9)


@pytest.mark.parametrize("kind", FORMULAS)
def test_derivative_is_that_of_the_definition(kind):
    width, x = 3.0, np.linspace(-30.0, 30.0, 61)
    np.testing.assert_allclose(derivative(kind, x, width_mV=width), FORMULAS[kind](x / width) / width, rtol=1e-12)


@pytest.mark.parametrize("kind", INTEGRALS)
def test_integral_is_what_the_definition_says(kind):
    width = 0.7
    # The midpoint rule on u = tan(s), which carries the tails.
    s = (np.arange(200_000) + 0.5) / 200_000 * np.pi - np.pi / 2
    x = width * np.tan(s)
    total = np.sum(derivative(kind, x, width_mV=width) * width / np.cos(s) ** 2) * np.pi / 200_000
    assert total == pytest.approx(INTEGRALS[kind], abs=2e-5)


@pytest.mark.parametrize("kind", NAMES)
def test_value_at_the_threshold_is_the_peak_over_the_width(kind):
    assert derivative(kind, [0.0], width_mV=4.0)[0] == pytest.approx(PEAKS[kind] / 4.0, rel=1e-12)


@pytest.mark.parametrize("kind", [k for k in NAMES if k not in ("s2nn", "leaky_relu", "log_tailed_relu")])
def test_bumps_are_even_functions(kind):
    x = np.linspace(0.1, 20.0, 50)
    np.testing.assert_allclose(derivative(kind, x), derivative(kind, -x), rtol=1e-12, atol=1e-16)


def test_log_tailed_relu_falls_off_above_a_width_only():
    np.testing.assert_allclose(derivative("log_tailed_relu", [-4.0, 1.0, 4.9, 10.0, 50.0]), [0, 0.2, 0.2, 0.1, 0.02])


def test_settings_change_the_shape():
    assert derivative("q_pseudo_spike", [2.0], width_mV=1.0, q=3.0)[0] == pytest.approx(1 / 27)
    series = derivative("squarewave_fourier_series", [0.25], width_mV=1.0, terms=3)[0]
    assert series == pytest.approx(sum(math.cos(k * math.pi / 8) for k in (1, 3, 5)))
    assert derivative("s2nn", [3.0], width_mV=1.0, beta=2.0)[0] == pytest.approx(0.5)
    assert derivative("piecewise_leaky_relu", [-3.0], width_mV=2.0, leak=0.1)[0] == pytest.approx(0.05)
    total = derivative("multi_gaussian", np.linspace(-150, 150, 3001), h=0.5, scale=1.0).sum() * 0.1
    assert total == pytest.approx(0.5, abs=1e-5)  # the wide Gaussians have a standard deviation of 30 mV


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", NAMES)
def test_spike_is_a_step_with_the_same_derivative_in_forward_and_reverse_mode(kind):
    surrogate = SURROGATES[kind]()
    x = jnp.array([-40.0, -3.0, -1e-6, 0.0, 1e-6, 4.0, 1e4], jnp.float32)
    value, forward = jax.jvp(lambda x: spike(x, surrogate), (x,), (jnp.ones_like(x),))
    np.testing.assert_array_equal(value, [0, 0, 0, 1, 1, 1, 1])
    assert value.dtype == forward.dtype == jnp.float32
    reverse = jax.grad(lambda x: spike(x, surrogate).sum())(x)
    np.testing.assert_array_equal(forward, reverse)
    np.testing.assert_array_equal(forward, surrogate.derivative(x))
    for jacobian in (jax.jacfwd, jax.jacrev):
        found = jax.jit(jacobian(lambda x: spike(x, surrogate)))(x)
        np.testing.assert_allclose(found, np.diag(forward), rtol=1e-5, atol=1e-30)
    assert np.isfinite(forward).all()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="width_mV of the surrogate 'arctan' has to be above 0; found 0"):
        Arctan(width_mV=0.0)
    with pytest.raises(SettingError, match="found nan"):
        Sigmoid(width_mV=math.nan)
    with pytest.raises(SettingError, match="q of the surrogate 'q_pseudo_spike' has to be above 1"):
        QPseudoSpike(q=1.0)
    with pytest.raises(SettingError, match="terms of the surrogate"):
        SURROGATES["squarewave_fourier_series"](terms=0)
