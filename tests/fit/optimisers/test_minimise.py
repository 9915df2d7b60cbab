"""Every optimiser finds a known minimum, keeps its budget, repeats itself, and says what it lacks."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import DivergedError, SettingError, UnknownNameError
from connectofit.fit.optimisers import (
    CMAES,
    LBFGS,
    OPTIMISERS,
    Adam,
    Box,
    Budget,
    DifferentialEvolution,
    NelderMead,
    PopulationThenPolish,
    lbfgs,
    minimise,
)

MINIMUM = np.array([1.0, 1.0, 0.5])
EXACT = [name for name in OPTIMISERS if name != "adam"]


@pytest.mark.few(5)
@pytest.mark.parametrize("method", EXACT)
def test_every_method_finds_rosenbrocks_minimum(everything, method):
    found = minimise(everything, method=method, starts=8, budget=Budget(evaluations=4000), seed=1)
    np.testing.assert_allclose(found.x, MINIMUM, rtol=0.02)
    assert found.loss < 1e-4
    assert found.best == dict(zip(("x", "y", "tau"), found.x.tolist(), strict=True))


def test_adam_comes_down_the_valley(everything):
    found = minimise(everything, method=Adam(steps=600, learning_rate=0.1), starts=8, seed=1)
    np.testing.assert_allclose(found.x, MINIMUM, atol=0.3)
    assert found.loss < 0.05


def test_adam_begins_each_cycle_at_its_best_point(everything):
    found = minimise(everything, method=Adam(steps=60, cycles=3, prune_at=()), starts=2, seed=1)
    course = found.course
    for start in (0, 1):
        losses = course[course["start"] == start].set_index("step")["loss"]
        # Step 20 restores the best point of steps 0 to 19 (and looks at where step 19 led); step 21 looks at it.
        assert losses[21] == pytest.approx(losses[:21].min(), rel=1e-5)


@pytest.mark.parametrize("method", OPTIMISERS)
def test_the_same_seed_gives_the_same_search(everything, method):
    one, two = (minimise(everything, method=method, starts=5, budget=Budget(evaluations=150), seed=3) for _ in range(2))
    assert one.x.tobytes() == two.x.tobytes()
    assert one.course["loss"].tolist() == two.course["loss"].tolist()


def test_another_seed_gives_another_search(everything):
    one, other = (minimise(everything, method="cma", budget=Budget(evaluations=100), seed=seed) for seed in (3, 4))
    assert one.x.tobytes() != other.x.tobytes()


@pytest.mark.parametrize("method", OPTIMISERS)
def test_a_budget_of_simulated_time_ends_a_search_within_one_step(everything, method):
    found = minimise(everything, method=method, starts=5, budget=Budget(simulated_s=400.0), seed=0)
    assert found.stopped == "simulated_s"
    # The largest step: 5 members of differential evolution, the 32 of a population, or 5 starts with gradients.
    assert 400.0 <= found.simulated_s <= 400.0 + 2.0 * 64


def test_a_gradient_counts_as_one_pass_and_one_for_each_parameter(problem):
    found = minimise(problem(), method=LBFGS(steps=3), starts=2, seed=0)
    assert found.simulated_s == pytest.approx(2.0 * 4 * found.evaluations)
    told = minimise(problem(), method=LBFGS(steps=3), starts=2, budget=Budget(gradient_passes=2.5), seed=0)
    assert told.simulated_s == pytest.approx(2.0 * 2.5 * told.evaluations)


def test_many_tangents_are_taken_in_reverse_mode_where_the_objective_says_so(problem):
    def passes(rows, most):
        how = {"method": LBFGS(steps=3), "starts": rows, "seed": 0}
        found = minimise(replace(problem(), tangents=most), **how)
        return found.simulated_s / found.evaluations / 2.0

    assert passes(4, None) == pytest.approx(4)  # one pass, and one for each of 3 parameters
    assert passes(4, 12) == pytest.approx(4)
    assert passes(5, 12) == pytest.approx(5)  # what reverse mode counts as


def test_a_budget_of_evaluations_counts_every_loss(problem):
    found = minimise(problem(), method=CMAES(population=10), starts=3, budget=Budget(evaluations=53), seed=0)
    assert found.evaluations == 3 + 10 * 5  # the starts, then whole generations
    assert found.simulated_s == 2.0 * found.evaluations


def test_a_budget_of_wall_time_reads_the_clock_that_it_is_given(problem):
    ticks = iter(range(1000))
    found = minimise(problem(), method=CMAES(), starts=1, budget=Budget(wall_s=7.0), clock=lambda: float(next(ticks)))
    assert found.stopped == "wall_s"
    assert found.wall_s == 7.0
    assert found.incumbents["wall_s"].is_monotonic_increasing


def test_incumbents_fall_and_end_at_the_result(problem):
    found = minimise(problem(), method="cma", starts=4, budget=Budget(evaluations=500), seed=0)
    losses = found.incumbents["loss"].to_numpy()
    assert (np.diff(losses) < 0).all()
    assert losses[-1] == found.loss
    assert found.incumbents[["x", "y", "tau"]].to_numpy()[-1].tolist() == found.x.tolist()


@pytest.mark.parametrize("method", ["adam", "lbfgs", "nudged", "population", "cma", "nelder_mead", "lbfgsb"])
def test_a_start_whose_loss_is_not_finite_is_quarantined_and_counted(box, problem, method):
    def loss(x, scale):
        return jnp.where(x[0] < 0, jnp.nan, jnp.sum((x - 1.0) ** 2))

    starts = np.array([[-1.0, 0.0, 1.0], [1.5, 0.5, 1.0], [-2.0, 1.0, 2.0]])
    nudged = {"nudged": lambda x, scale, strength: loss(x, scale), "couplings": (1.0, 0.0)}
    found = minimise(problem(loss=loss, **nudged), method=method, starts=starts, budget=Budget(evaluations=400), seed=0)
    np.testing.assert_allclose(found.x, 1.0, atol=0.1)
    assert found.nonfinite >= 2
    if method in ("adam", "lbfgs", "nudged"):
        assert found.starts["ended"].tolist()[0] == found.starts["ended"].tolist()[2] == "quarantined"
        assert found.quarantined == 2


def test_a_search_without_any_finite_loss_says_so(problem):
    with pytest.raises(DivergedError, match=r"No loss that .* was finite"):
        minimise(problem(loss=lambda x, scale: jnp.nan * x[0]), method="lbfgs", starts=3)


def test_a_misspelt_method_names_the_nearest(problem):
    with pytest.raises(UnknownNameError, match="Did you mean 'lbfgs'"):
        minimise(problem(), method="lbgfs")


@pytest.mark.parametrize(("method", "needed"), [("nudged", "nudged"), ("horizon", "within"), ("guided", "guide")])
def test_a_method_that_lacks_something_says_what_and_offers_others(problem, method, needed):
    with pytest.raises(SettingError, match=f"needs '{needed}'.*lbfgs"):
        minimise(problem(), method=method)


def test_starts_outside_the_bounds_are_refused(problem):
    with pytest.raises(SettingError, match=r"y = 4 \(bounds -3 to 3\)"):
        minimise(problem(), starts=np.array([[0.0, 4.0, 1.0]]))
    with pytest.raises(SettingError, match="x, y, tau"):
        minimise(problem(), starts=np.zeros((2, 2)))


@pytest.mark.parametrize("limit", ["simulated_s", "wall_s", "evaluations", "gradient_passes"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_budget_has_to_be_above_0(limit, value):
    with pytest.raises(SettingError, match=limit):
        Budget(**{limit: value})


def test_a_minimum_on_a_bound_is_reached(problem):
    found = minimise(problem(loss=lambda x, scale: jnp.sum((x - 3.0) ** 2)), method="lbfgs", starts=6, seed=0)
    np.testing.assert_allclose(found.x, [3.0, 3.0, 3.0], atol=0.01)


def test_lbfgs_leaves_a_bound_that_a_long_step_led_to(box, problem):
    # From beside its bound the loss falls inwards; logistic coordinates are flat there.
    near = box.physical(np.array([[-9.0, 9.0, 9.0], [9.0, -9.0, -9.0]]))
    found = minimise(problem(loss=lambda x, scale: jnp.sum((x - 1.0) ** 2)), method="lbfgs", starts=near, seed=0)
    assert (found.starts["loss"] < 1e-6).all()


@pytest.mark.parametrize("derivatives", ["forward", "reverse"])
def test_both_modes_of_derivatives_lead_to_the_minimum(problem, derivatives):
    found = minimise(problem(), method="lbfgs", starts=4, derivatives=derivatives, seed=0)
    np.testing.assert_allclose(found.x, MINIMUM, rtol=0.01)


def test_the_check_chooses_and_stops(problem):
    # The check rises again along the valley: an early point is better than the minimum of the loss.
    def check(x, target):
        return jnp.sum((x[:2] - target) ** 2)

    given = problem(check=check, check_data=jnp.asarray([0.5, 0.3]), check_s=1.0)
    start = np.array([[-1.0, 1.0, 1.0]])
    how = LBFGS(check_every=1, patience=4)
    stopped = minimise(given, method=how, starts=start)
    assert stopped.starts["ended"].tolist() == ["patience"]
    assert stopped.check < 0.05
    free = minimise(problem(), method=how, starts=start)
    assert float(check(jnp.asarray(free.x), jnp.asarray([0.5, 0.3]))) == pytest.approx(0.74, abs=0.01)


def test_pruning_keeps_the_best_starts(everything):
    found = minimise(everything, method=Adam(steps=20, prune_at=(0.1, 0.5), keep=0.5), starts=8, seed=2)
    assert found.starts["ended"].tolist().count("pruned") == 6
    course = found.course
    at = course[course["step"] <= 1].groupby("start")["loss"].min()
    left = course[course["step"] == 2]["start"].tolist()
    assert set(left) == set(at.nsmallest(4).index)


def test_lbfgs_follows_the_best_of_many(problem):
    found = minimise(problem(), method=LBFGS(best_of=3), starts=20, seed=0)
    assert found.starts["ended"].tolist().count("pruned") == 17
    np.testing.assert_allclose(found.x, MINIMUM, rtol=0.01)


def test_the_nudged_stages_come_in_the_order_of_the_couplings(everything):
    course = minimise(everything, method="nudged", starts=2, seed=0).course
    assert course["stage"].drop_duplicates().tolist() == ["nudged 1", "nudged 0.1", "polish"]


def test_couplings_that_do_not_fall_are_refused(problem):
    given = problem(nudged=lambda x, scale, strength: x[0], couplings=(0.1, 1.0, 0.0))
    with pytest.raises(SettingError, match="fall to 0"):
        minimise(given, method="nudged")


def test_a_population_leaves_part_of_the_budget_to_the_polish(problem):
    how = PopulationThenPolish(CMAES(population=20), first=0.4, best_of=2)
    found = minimise(problem(), method=how, starts=4, budget=Budget(simulated_s=1000.0), seed=0)
    before = found.course[found.course["stage"] == "cma"]["simulated_s"].max()
    assert 400.0 <= before <= 400.0 + 40.0
    assert "polish" in set(found.course["stage"])


def test_differential_evolution_begins_with_the_starts(problem):
    starts = np.array([[1.0, 1.0, 0.5], *np.full((5, 3), 2.0)])
    found = minimise(problem(), method=DifferentialEvolution(generations=1), starts=starts, seed=0)
    assert found.loss < 1e-6


def test_nelder_mead_needs_no_gradient(box, problem):
    jagged = problem(loss=lambda x, scale: jnp.sum(jnp.round(20 * jnp.abs(x - 1.0))))
    found = minimise(jagged, method=NelderMead(), starts=3, budget=Budget(evaluations=1500), seed=0)
    np.testing.assert_allclose(found.x, 1.0, atol=0.1)


def test_a_search_on_one_parameter_works(problem):
    line = Box(("x",), np.array([0.0]), np.array([2.0]), (False,))
    for method in ("lbfgs", "cma", "differential_evolution", "nelder_mead", "adam"):
        found = minimise(
            problem(box=line, loss=lambda x, scale: (x[0] - 0.7) ** 2),
            method=method,
            starts=6,
            seed=0,
            budget=Budget(evaluations=2000),
        )
        np.testing.assert_allclose(found.x, 0.7, atol=0.01)


def test_slopes_by_angles_are_those_of_finite_differences(box):
    def loss(z):  # of the coordinates, and of one variable that is no angle
        return np.sum(np.sin(z[:, :3]) * [1.0, -2.0, 0.5], axis=1) + z[:, 3] ** 2

    u = np.array([[0.4, 1.7, 2.9, -1.5]])
    z = lbfgs._coordinates(u, 3)
    given = np.concatenate([np.cos(z[:, :3]) * [1.0, -2.0, 0.5], 2.0 * z[:, 3:]], axis=1)
    step = 1e-6 * np.eye(4)
    expected = [(loss(lbfgs._coordinates(u + d, 3)) - loss(lbfgs._coordinates(u - d, 3)))[0] / 2e-6 for d in step]
    np.testing.assert_allclose(lbfgs._slopes(u, given, 3)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(lbfgs._angles(z, 3), u, rtol=1e-9)
