"""Exact relaxation over a step, against its closed form in double precision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.sim.neurons.integration import relax, relax_at

RATES = np.array([1e-9, 1e-4, 0.02, 0.7, 5.0, 60.0, 4_000.0])


@pytest.mark.parametrize(("x64", "rtol"), [(False, 3e-6), (True, 1e-13)])
def test_relaxation_at_a_rate_moves_by_the_exact_share_of_the_way(x64, rtol):
    y, target, dt_ms = 0.25, 2.0, 0.1
    with jax.enable_x64(x64):
        rates = jnp.asarray(RATES)
        moved = relax_at(rates, jnp.zeros_like(rates), rates, dt_ms)  # from 0 to 1
        other = relax_at(rates, jnp.full_like(rates, y), target * rates, dt_ms)
        by_tau = relax(jnp.full_like(rates, y), jnp.full_like(rates, target), 1.0 / rates, dt_ms)
    np.testing.assert_allclose(moved, -np.expm1(-dt_ms * RATES), rtol=rtol)
    np.testing.assert_allclose(other, y - (target - y) * np.expm1(-dt_ms * RATES), rtol=rtol)
    np.testing.assert_allclose(other, by_tau, rtol=rtol)


def test_derivative_by_the_rate_is_that_of_the_closed_form():
    with jax.enable_x64(True):
        slope = jax.vmap(jax.grad(lambda r: relax_at(r, jnp.zeros(()), r, 0.1)))(jnp.asarray(RATES))
    np.testing.assert_allclose(slope, 0.1 * np.exp(-0.1 * RATES), rtol=1e-9, atol=1e-13)
