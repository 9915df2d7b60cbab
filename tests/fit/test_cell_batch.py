"""Many cells in one program: each is fitted as if it were alone, whatever the others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit import Recordings, cell_batch
from connectofit.fit.cell_batch import fit_cells
from connectofit.fit.cells.teacher_forced import ForcedLikelihood

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


@pytest.mark.slow
def test_losses_are_those_of_the_cells_own_problems(fits):
    for fit in fits.values():
        objective = fit.problem.objective
        alone = float(objective.loss(np.asarray(fit.x, np.float32), objective.data))
        assert alone == pytest.approx(fit.search.loss, rel=1e-4)


@pytest.mark.slow
def test_a_killed_batch_ends_as_if_it_had_not_been_killed(cells, fits, tmp_path, monkeypatch):
    written = cell_batch.write_checkpoint

    def killed(*given):
        written(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(cell_batch, "write_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        fit_cells(cells, "lif", hold_out=["a/1"], checkpoint_dir=tmp_path, **SETTINGS)
    monkeypatch.setattr(cell_batch, "write_checkpoint", written)
    taken, run = [], cell_batch._block
    monkeypatch.setattr(cell_batch, "_block", lambda *given: taken.append(given[3]) or run(*given))
    again = fit_cells(cells, "lif", hold_out=["a/1"], checkpoint_dir=tmp_path, **SETTINGS)
    assert taken == [2]  # 10 of the 12 steps were done
    for cell, fit in fits.items():
        np.testing.assert_array_equal(again[cell].search.course["loss"], fit.search.course["loss"])
        np.testing.assert_array_equal(again[cell].x, fit.x)


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
