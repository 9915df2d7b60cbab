"""A search that is killed goes on to the same losses, simulates nothing twice, and takes no other search's file."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers import OPTIMISERS, Budget, minimise

BUDGET = Budget(evaluations=400)


class Killed(Exception):
    pass


def killing_clock(after: int):
    """A clock that raises when it is read for the `after`-th time; it goes on with every reading."""
    read = [0]

    def clock() -> float:
        read[0] += 1
        if read[0] == after:
            raise Killed
        return float(read[0])

    return clock


@pytest.mark.few(5)
@pytest.mark.parametrize("method", OPTIMISERS)
def test_a_killed_search_ends_as_if_it_had_not_been_killed(everything, method, tmp_path):
    whole = minimise(everything, method=method, starts=5, budget=BUDGET, seed=1)
    with pytest.raises(Killed):
        minimise(
            everything, method=method, starts=5, budget=BUDGET, seed=1,
            checkpoint_dir=tmp_path / "new", checkpoint_interval_s=0.0, clock=killing_clock(9),
        )  # fmt: skip
    assert (tmp_path / "new" / "search.npz").exists()
    resumed = minimise(everything, method=method, starts=5, budget=BUDGET, seed=1, checkpoint_dir=tmp_path / "new")
    assert resumed.x.tobytes() == whole.x.tobytes()
    assert resumed.course["loss"].tolist() == whole.course["loss"].tolist()
    assert resumed.simulated_s == whole.simulated_s


def test_what_was_simulated_is_not_simulated_again(problem, tmp_path):
    counted = []

    def loss(x, scale):
        jax.debug.callback(lambda _: counted.append(1), x[0])
        return jnp.sum((x - scale) ** 2)

    given = problem(loss=loss)
    first = minimise(given, method="cma", starts=2, budget=Budget(evaluations=60), checkpoint_dir=tmp_path)
    jax.effects_barrier()
    assert len(counted) >= first.evaluations
    counted.clear()
    again = minimise(given, method="cma", starts=2, budget=Budget(evaluations=60), checkpoint_dir=tmp_path)
    jax.effects_barrier()
    assert counted == []
    assert again.x.tobytes() == first.x.tobytes()


def test_wall_time_goes_on_from_where_it_was(problem, tmp_path):
    def run(ticks):
        return minimise(
            problem(), method="cma", starts=2, budget=Budget(wall_s=50.0), checkpoint_dir=tmp_path, clock=ticks,
            checkpoint_interval_s=0.0,
        )  # fmt: skip

    with pytest.raises(Killed):
        run(killing_clock(20))
    later = iter(range(1_000_000, 2_000_000))
    resumed = run(lambda: float(next(later)))
    # The hours between are not counted, nor any of the 18 seconds lost.
    assert resumed.wall_s == pytest.approx(50.0, abs=1.0)
    whole = iter(range(10_000))
    (tmp_path / "search.npz").unlink()
    assert run(lambda: float(next(whole))).evaluations == pytest.approx(resumed.evaluations, abs=10)


@pytest.mark.parametrize("change", ["seed", "method", "data", "starts", "budget"])
def test_another_search_does_not_take_the_file(problem, tmp_path, change):
    fields = {"method": "cma", "starts": 3, "seed": 0, "budget": Budget(evaluations=50)}
    minimise(problem(), checkpoint_dir=tmp_path, **fields)
    given = problem(data=jnp.asarray(0.6)) if change == "data" else problem()
    other = {"seed": 1, "method": "lbfgs", "starts": 4, "budget": Budget(evaluations=51)}
    fields |= {change: other[change]} if change in other else {}
    with pytest.raises(SettingError, match="another fit"):
        minimise(given, checkpoint_dir=tmp_path, **fields)


def test_a_loss_that_changed_under_its_name_is_noticed(problem, tmp_path):
    """Losses cannot be told apart by what they compute; a search that leaves its course can."""

    def make(target):
        def loss(x, scale):
            return jnp.sum((x - target) ** 2)

        return loss

    whole = minimise(problem(loss=make(1.0)), method="lbfgs", starts=2, checkpoint_dir=tmp_path, seed=0)
    journal = tmp_path / "search.npz"
    with np.load(journal) as file:
        held = dict(file)
    held["losses"][4] += 1e-3  # the first coordinate that was asked about
    np.savez(journal, **held)
    with pytest.raises(SettingError, match="took another course"):
        minimise(problem(loss=make(1.0)), method="lbfgs", starts=2, checkpoint_dir=tmp_path, seed=0)
    assert whole.stopped == "done"
