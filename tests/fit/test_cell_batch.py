"""Many cells in one program: each is fitted as if it were alone, whatever the others are."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit import Recordings, SpikeDetection, cell_batch
from connectofit.fit.cell_batch import fit_cells
from connectofit.fit.cells.lanes import Lanes
from connectofit.fit.cells.losses import VoltageError
from connectofit.fit.cells.problem import cell_problem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.optimisers.journal import Journal

LOSS = ForcedLikelihood(sd_mV=None, correlation_ms=None)
SETTINGS = {"loss": LOSS, "free": ["tau_m_ms", "r_m_GOhm", "v_rest_mV"], "starts": 1, "steps": 12, "trials": 2}


@pytest.fixture(scope="module")
def cells(lif_sweep):
    """Two cells, the second with one sweep less, a shorter one, and twice the current."""
    first = [lif_sweep(str(k), step, k, "a") for k, step in enumerate((-80.0, 240.0, 300.0))]
    second = [lif_sweep(str(k), step, 9 + k, "b") for k, step in enumerate((-80.0, 240.0))]
    second[1] = second[1].window(0.0, 550.0)
    doubled = [replace(s, current_pA=2.0 * s.current_pA) for s in second]
    return Recordings((*first, *doubled))


@pytest.fixture(scope="module")
def fits(cells):
    return fit_cells(cells, "lif", hold_out=["a/1"], **SETTINGS)


@pytest.mark.slow
def test_every_cell_gets_its_own_parameters(fits):
    resistances = [fits[cell].parameters["r_m_GOhm"] for cell in ("a", "b")]
    np.testing.assert_allclose(resistances, [0.1, 0.05], rtol=0.03)
    for fit in fits.values():
        assert fit.parameters["tau_m_ms"] == pytest.approx(20.0, rel=0.05)
        assert fit.search.loss < fit.search.course["loss"].iloc[0]
        course = fit.search.course
        assert course["simulated_s"].iloc[-1] == pytest.approx(fit.search.simulated_s)
        assert (np.diff(course["wall_s"]) >= 0).all()
        assert fit.seconds > fit.search.wall_s > 0


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("model", "loss", "level"),
    [
        pytest.param("glif3", LOSS, None, marks=pytest.mark.slow),
        ("gif", ForcedLikelihood(), None),
        ("adex", VoltageError(), None),
        ("adex", VoltageError(), 1),
    ],
)
def test_a_row_has_the_loss_and_gradient_of_its_cell_alone(cells, model, loss, level):
    longest = max(sweep.n_samples for sweep in cells) - 1
    problems = [cell_problem(cells.cell(c), model, loss, n_steps=longest) for c in cells.cells]
    lanes = Lanes.of(problems, 2)
    near = np.stack([p.objective.box.from_physical(p.start) for p in problems for _ in range(2)])
    z = near + np.random.default_rng(0).normal(0.0, 0.05, near.shape)
    f, g = lanes.gradients(z, np.arange(4), level)
    for row in (0, 3):
        objective = problems[row // 2].objective

        def alone(z, objective=objective):
            x = objective.box.to_physical(z)
            if level is None:
                return objective.loss(x, objective.data)
            return objective.nudged(x, objective.data, jnp.asarray(objective.couplings[level]))

        value, slope = jax.value_and_grad(alone)(jnp.asarray(z[row], jnp.float32))
        assert f[row] == pytest.approx(float(value), rel=1e-4)
        np.testing.assert_allclose(g[row], slope, rtol=2e-2, atol=2e-3 * np.abs(slope).max())
    some = lanes.gradients(z[[3, 1]], np.array([3, 1]), level)
    np.testing.assert_allclose(some[0], f[[3, 1]], rtol=1e-5)
    assert lanes.looks.tolist() == [1, 2, 1, 2]


@pytest.mark.slow
def test_a_freely_running_voltage_is_coupled_first(cells):
    fits = fit_cells(cells, "adex", loss="voltage", starts=1, steps=3, trials=1)
    for fit in fits.values():
        stages = list(dict.fromkeys(fit.search.course["stage"]))
        assert stages == [f"nudged {k}" for k in range(5)] + ["polish"]
        assert fit.search.loss == pytest.approx(fit.search.incumbents["loss"].iloc[-1])


@pytest.mark.slow
def test_losses_are_those_of_the_cells_own_problems(fits):
    for fit in fits.values():
        objective = fit.problem.objective
        alone = float(objective.loss(np.asarray(fit.x, np.float32), objective.data))
        assert alone == pytest.approx(fit.search.loss, rel=1e-4)


@pytest.mark.slow
def test_a_killed_batch_ends_as_if_it_had_not_been_killed(cells, tmp_path, monkeypatch):
    computed, calls, killed_at = Lanes._computed, [0], [10**6]

    def counted(*given):
        if calls[0] == killed_at[0]:
            raise KeyboardInterrupt
        calls[0] += 1
        return computed(*given)

    monkeypatch.setattr(Lanes, "_computed", counted)
    monkeypatch.setattr(cell_batch, "CHECKPOINT_INTERVAL_S", 0.0)
    fits = fit_cells(cells, "lif", **SETTINGS)
    whole, calls[0], killed_at[0] = calls[0], 0, 5
    with pytest.raises(KeyboardInterrupt):
        fit_cells(cells, "lif", checkpoint_dir=tmp_path, **SETTINGS)
    calls[0], killed_at[0] = 0, 10**6
    again = fit_cells(cells, "lif", checkpoint_dir=tmp_path, **SETTINGS)
    assert calls[0] == whole - 5 > 0
    for cell, fit in fits.items():
        np.testing.assert_array_equal(again[cell].search.course["loss"], fit.search.course["loss"])
        np.testing.assert_array_equal(again[cell].x, fit.x)


def test_a_resumed_batch_is_computed_in_the_sizes_of_one_that_was_not_killed(cells, tmp_path, monkeypatch):
    problems = [cell_problem(cells.cell("a"), "lif", LOSS)]
    sizes: list[int] = []

    def counted(lanes, z, rows, level, size):
        sizes.append(size)
        return np.arange(len(z), dtype=float), np.zeros_like(z)

    monkeypatch.setattr(Lanes, "_computed", counted)

    def asked(lanes: Lanes, *batches: int) -> list[int]:
        sizes.clear()
        for n in batches:
            lanes.gradients(np.zeros((n, problems[0].objective.box.size)), np.arange(n))
        return list(sizes)

    def journalled() -> Lanes:
        lanes = Lanes.of(problems, 5)
        lanes.journal = Journal(tmp_path / "cells.npz", "same", interval_s=0.0)
        return lanes

    whole = asked(Lanes.of(problems, 5), 1, 5, 2)
    assert asked(journalled(), 1, 5) == whole[:2] == [1, 5]
    resumed = journalled()
    assert asked(resumed, 1, 5, 2) == whole[2:] == [5]
    assert resumed.looks.tolist() == [3, 2, 1, 1, 1]
    assert resumed.simulated_s[0] == pytest.approx(8 * problems[0].objective.simulated_s * resumed.passes)


def test_cells_that_cannot_be_fitted_are_named(cells):
    with pytest.raises(SettingError, match=r"Cells 'a', 'b' \(2 in all\) of 2; the first: .*tau_m_ms"):
        fit_cells(cells, "lif", **SETTINGS | {"bounds": {"tau_m_ms": (500.0, 600.0)}})
    silent = SpikeDetection(threshold_mV=100.0)  # which no spike reaches
    with pytest.raises(SettingError, match="No sweep to fit to has a spike"):
        fit_cells(cells, "lif", detection=silent, **SETTINGS)
    for wrong in ({"tolerance": float("nan")}, {"tolerance": -1.0}, {"steps": 0}, {"steps": True}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            fit_cells(cells, "lif", **SETTINGS | wrong)


@pytest.mark.slow
def test_a_checkpoint_of_other_cells_is_refused(cells, tmp_path):
    fit_cells(cells, "lif", checkpoint_dir=tmp_path, **SETTINGS | {"steps": 1})
    with pytest.raises(SettingError, match="checkpoint of another fit"):
        fit_cells(cells, "lif", checkpoint_dir=tmp_path, **SETTINGS | {"steps": 2})


@pytest.mark.slow
def test_held_out_sweeps_are_scored_for_the_cells_that_have_some(fits):
    assert fits["a"].scores["part"].tolist().count("held out") == 1
    assert set(fits["b"].scores["part"]) == {"training"}


def test_cells_that_would_have_different_losses_are_refused(cells, lif_sweep):
    silent = [replace(lif_sweep(str(k), -50.0, k), cell="c") for k in range(2)]
    with pytest.raises(SettingError, match="would have voltage"):
        fit_cells(Recordings((*cells, *silent)), "lif", steps=1)
