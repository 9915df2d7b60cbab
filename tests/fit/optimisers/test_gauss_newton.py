"""Sums of squares: their folded derivatives are those of all residuals at once, and few steps reach their minimum."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.fit.optimisers import Budget, GaussNewton, Nudged, folded_squares, minimise

MINIMUM = np.array([1.0, 1.0, 0.5])


def residuals(x, scale, strength):
    """Those of the banana, with a valley less curved as long as there is coupling."""
    return jnp.stack([10.0 * (x[1] - x[0] ** 2) / (1.0 + strength), 1.0 - x[0], jnp.log(x[2] / scale)])


def banana(x, scale):
    return jnp.sum(residuals(x, scale, 0.0) ** 2)


def squares(x, scale, strength):
    r, jacobian = residuals(x, scale, strength), jax.jacfwd(residuals)(x, scale, strength)
    return r @ r, 2.0 * jacobian.T @ r, 2.0 * jacobian.T @ jacobian


@pytest.fixture
def valley(problem):
    return problem(
        loss=banana,
        nudged=lambda x, scale, strength: jnp.sum(residuals(x, scale, strength) ** 2),
        couplings=(3.0, 0.0),
        squares=squares,
    )


def test_folded_derivatives_are_those_of_all_residuals_at_once():
    recorded = np.sin(np.arange(40.0))

    def start(x):
        return {"a": x[0] * jnp.ones(2), "b": x[1]}

    def step(x, state, row):
        state = {"a": jnp.tanh(state["a"] * x[1] + row), "b": state["b"] * x[2]}
        return state, jnp.concatenate([state["a"] - row, state["b"][None] * row])

    def all_residuals(x):
        return jax.lax.scan(lambda s, row: step(x, s, row), start(x), jnp.asarray(recorded))[1].ravel()

    with jax.enable_x64(True):
        x = jnp.array([0.3, 0.8, 0.95])
        total, slope, square = folded_squares(start, step, x, jnp.asarray(recorded))
        r, jacobian = np.asarray(all_residuals(x)), np.asarray(jax.jacfwd(all_residuals)(x))
    assert float(total) == pytest.approx(r @ r, rel=1e-12)
    np.testing.assert_allclose(slope, jacobian.T @ r, rtol=1e-10)
    np.testing.assert_allclose(square, jacobian.T @ jacobian, rtol=1e-10)


def test_few_steps_reach_the_minimum(valley):
    found = minimise(valley, method="nudged", starts=6, seed=1)
    np.testing.assert_allclose(found.x, MINIMUM, rtol=1e-3)
    assert found.loss < 1e-6
    slow = minimise(valley, method=Nudged(squares=None), starts=6, seed=1)
    assert found.evaluations < 0.5 * slow.evaluations


def test_starts_that_meet_go_on_as_one(valley):
    found = minimise(valley, method=Nudged(squares=GaussNewton(steps=30)), starts=6, seed=1)
    met = found.starts["ended"] == "pruned"
    assert met.sum() >= 3
    polished = found.course.query("stage == 'polish'")["start"].unique()
    assert sorted(polished) == found.starts.loc[~met, "start"].tolist()


def test_a_budget_that_ends_while_coupled_leaves_the_best_place_so_far(valley):
    found = minimise(valley, method="nudged", starts=3, budget=Budget(evaluations=4), seed=1)
    assert found.stopped == "evaluations"
    assert found.starts["ended"].tolist() == ["budget"] * 3
    assert found.loss == pytest.approx(float(banana(jnp.asarray(found.x), 0.5)), rel=1e-5)


def test_a_start_that_is_not_finite_is_quarantined(valley):
    lost = replace(valley, squares=lambda x, *given: jax.tree.map(lambda a: a / (x[0] > -1.0), squares(x, *given)))
    found = minimise(lost, method="nudged", starts=np.array([[-2.0, 0.0, 1.0], [0.5, 0.0, 1.0]]))
    assert found.starts["ended"].tolist()[0] == "quarantined"
    np.testing.assert_allclose(found.x, MINIMUM, rtol=1e-3)


def test_a_search_goes_on_from_its_file(valley, tmp_path):
    whole = minimise(valley, method="nudged", starts=3, seed=1)
    first = minimise(valley, method="nudged", starts=3, seed=1, checkpoint_dir=tmp_path)
    again = minimise(valley, method="nudged", starts=3, seed=1, checkpoint_dir=tmp_path)
    for search in (first, again):
        assert search.x.tobytes() == whole.x.tobytes()
        assert search.course["loss"].tolist() == whole.course["loss"].tolist()
