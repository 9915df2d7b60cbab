"""Many cells in one program: each is fitted as if it were alone, whatever the others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from connectofit.connectome.errors import SettingError
from connectofit.fit import Recordings
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


def test_every_cell_gets_its_own_parameters(fits):
    resistances = [fits[cell].parameters["r_m_GOhm"] for cell in ("a", "b")]
    np.testing.assert_allclose(resistances, [0.1, 0.05], rtol=0.03)
    for fit in fits.values():
        assert fit.parameters["tau_m_ms"] == pytest.approx(20.0, rel=0.05)
        assert fit.search.loss < fit.search.course["loss"].iloc[0]


def test_losses_are_those_of_the_cells_own_problems(fits):
    for fit in fits.values():
        objective = fit.problem.objective
        alone = float(objective.loss(np.asarray(fit.x, np.float32), objective.data))
        assert alone == pytest.approx(fit.search.loss, rel=1e-4)


def test_held_out_sweeps_are_scored_for_the_cells_that_have_some(fits):
    assert fits["a"].scores["part"].tolist().count("held out") == 1
    assert set(fits["b"].scores["part"]) == {"training"}


def test_cells_that_would_have_different_losses_are_refused(cells, lif_sweep):
    silent = [replace(lif_sweep(str(k), -50.0, k), cell="c") for k in range(2)]
    with pytest.raises(SettingError, match="would have voltage"):
        fit_cells(Recordings((*cells, *silent)), "lif", steps=1)
