"""Many cells fitted at once: the starts of all cells are rows of the same time loop, whose program is compiled once.

Every start descends by L-BFGS with a line search of its own (`connectofit.fit.optimisers.lbfgs`), in coordinates inside
the bounds of its cell, and rows whose descent has ended are no longer simulated. A freely running voltage is first
coupled to the recording and then let go, as `fit_cell` does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.connectome.errors import DivergedError, SchemaError, SettingError, offenders
from connectofit.fit.cell_fit import CellFit, finished_fit, say
from connectofit.fit.cells.lanes import Lanes
from connectofit.fit.cells.losses import CellLoss, VoltageError
from connectofit.fit.cells.problem import CellProblem, LossName, cell_problem
from connectofit.fit.folds import check_seed
from connectofit.fit.optimisers.homotopy import Nudged
from connectofit.fit.optimisers.journal import Journal
from connectofit.fit.optimisers.lbfgs import LBFGS, descents
from connectofit.fit.optimisers.search import Search
from connectofit.fit.optimisers.starts import random_starts
from connectofit.fit.recording_checks import check_recordings
from connectofit.fit.recordings import Recordings
from connectofit.fit.sealed import Split, split
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection
from connectofit.sim.neurons import NeuronModel

logger = logging.getLogger(__name__)

CHECKPOINT_INTERVAL_S = 5.0


def fit_cells(
    recordings: Recordings,
    model: str = "glif3",
    *,
    hold_out: Sequence[str] = (),
    loss: CellLoss | LossName = "auto",
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    neuron: NeuronModel | None = None,
    starts: int = 2,
    steps: int = 100,
    tolerance: float = 1e-5,
    trials: int = 20,
    detection: SpikeDetection = DEFAULT_DETECTION,
    checkpoint_dir: Path | str | None = None,
    seed: int = 0,
) -> dict[str, CellFit]:
    """Fit one neuron model to every cell of the recordings, all together.

    Parameters
    ----------
    recordings: sweeps of many cells, all sampled at the same interval; cells may differ in the number and length of
        their sweeps.
    hold_out: labels (cell/sweep) of the sweeps that no fit sees.
    model, loss, free, bounds, start, fixed, neuron, trials, detection: as for `fit_cell`, the same for all cells.
    starts: how many a cell; the first is what its recording says. steps: at most so many of L-BFGS a start, of which
        one ends when two steps in a row lower its loss by less than the share `tolerance`.
    checkpoint_dir: a folder that a killed call goes on from when it is made again, to the same losses.

    Returns
    -------
    {cell: its fit}, without intervals of the parameters (`laplace` gives them). A cell none of whose starts stayed
    finite is left out, and named in a warning.

    The time that the cells took together is shared out evenly among them; that of the courses is of all together.

    Raises
    ------
    As `fit_cell`, with the cells that are at fault named; `SettingError` where "auto" would give cells different losses
    (some have no spike); `DivergedError` if no cell has a finite loss.
    """
    began = time.perf_counter()
    check_seed(seed)
    descent = LBFGS(steps=steps, tolerance=tolerance)
    held = [hold_out] if isinstance(hold_out, str) else list(hold_out)
    known = recordings.select(held).labels if held else ()
    parts: dict[str, Split | None] = {}
    for cell in recordings.cells:
        own = [label for label in known if recordings[label].cell == cell]
        parts[cell] = split(recordings.cell(cell), own) if own else None
    training = {cell: recordings.cell(cell) if part is None else part.training for cell, part in parts.items()}
    findings = {cell: check_recordings(sweeps) for cell, sweeps in training.items()}
    for cell, found in findings.items():
        say(training[cell], found)
    longest = max(sweep.n_samples for sweeps in training.values() for sweep in sweeps) - 1
    settings: dict[str, Any] = {"free": free, "bounds": bounds, "start": start, "fixed": fixed, "neuron": neuron}
    problems = _problems(training, model, loss, detection=detection, n_steps=longest, **settings)
    _check_alike(problems)
    first = next(iter(problems.values()))
    places = [
        random_starts(p.objective.box, starts, seed + 1000 * k, first=p.start) for k, p in enumerate(problems.values())
    ]
    lanes = Lanes.of(list(problems.values()), starts)
    z = np.concatenate([p.objective.box.from_physical(x) for p, x in zip(problems.values(), places, strict=True)])
    if checkpoint_dir is not None:
        told = [model, repr(first.loss), seed, steps, tolerance, jax.__version__]
        file = Path(checkpoint_dir) / "cells.npz"
        lanes.journal = Journal(file, lanes.identity(told, z), CHECKPOINT_INTERVAL_S)
    coupled = isinstance(first.loss, VoltageError)
    course, z, losses, ended = _descended(lanes, z, descent, coupled)
    if lanes.journal is not None:
        lanes.journal.save()
    seconds = (time.perf_counter() - began) / len(problems)
    fits, lost = {}, []
    for k, (cell, problem) in enumerate(problems.items()):
        mine = np.flatnonzero(lanes.owner == k)
        if not np.isfinite(losses[mine]).any():
            lost.append(cell)
            continue
        search = _search(problem, lanes, mine, z, losses, ended, course, seed, seconds)
        fits[cell] = finished_fit(
            problem,
            search,
            training[cell],
            parts[cell],
            findings[cell],
            None,
            trials,
            seed,
            time.perf_counter() - seconds,
        )
    if not fits:
        raise DivergedError(f"No start of any of the {len(problems)} cells had a finite loss. Narrow the bounds.")
    if lost:
        logger.warning("%d of %d cells have no finite loss and no fit: %s", len(lost), len(problems), offenders(lost))
    return fits


def _problems(training: Mapping[str, Recordings], model: str, loss: Any, **settings: Any) -> dict[str, CellProblem]:
    """The problem of every cell. Raises what the first cell without one meets, with all of them named."""
    problems, refused = {}, {}
    for cell, sweeps in training.items():
        try:
            problems[cell] = cell_problem(sweeps, model, loss, **settings)
        except (SettingError, SchemaError) as why:
            refused[cell] = why
    if refused:
        first = next(iter(refused.values()))
        raise type(first)(f"Cells {offenders(list(refused))} of {len(training)}; the first: {first}") from first
    return problems


def _check_alike(problems: Mapping[str, CellProblem]) -> None:
    first = next(iter(problems.values()))
    odd = [c for c, p in problems.items() if type(p.loss) is not type(first.loss) or p.names != first.names]
    if odd:
        raise SettingError(
            f"One program fits all cells by one loss, but {offenders(odd)} would have {problems[odd[0]].loss.what}, "
            f"the others {first.loss.what}: name the loss, or fit cells without spikes apart."
        )
    slow = [f"{c}: {p.dt_ms:g} ms" for c, p in problems.items() if abs(p.dt_ms - first.dt_ms) > 1e-9 * first.dt_ms]
    if slow:
        raise SettingError(
            f"Cells of one program have to be sampled alike: the first every {first.dt_ms:g} ms, but "
            f"{offenders(slow)}. Use Recordings.resampled."
        )
    # A scale is logarithmic in every cell or in none: bounds of one that reach 0 would make it linear there alone.
    mixed = [c for c, p in problems.items() if p.objective.box.log != first.objective.box.log]
    if mixed:
        raise SettingError(f"Parameters are on other scales in {offenders(mixed)}; give bounds for all cells.")


def _descended(
    lanes: Lanes, z: Float[np.ndarray, "row k"], last: LBFGS, coupled: bool
) -> tuple[pd.DataFrame, Float[np.ndarray, "row k"], Float[np.ndarray, " row"], list[str]]:
    """All rows lowered from `z`: their courses, where each ended, its loss there, and why it ended.

    coupled: first at each of the couplings above 0.
    """
    levels: list[int | None] = [k for k, c in enumerate(lanes.couplings) if coupled and (c > 0).all()]
    noted: list[pd.DataFrame] = []
    z, alive = z.copy(), np.arange(len(z))
    losses, ended = np.full(len(z), np.inf), ["quarantined"] * len(z)
    for level in (*levels, None):
        how, stage = (last, "polish" if levels else last.kind) if level is None else (Nudged().stage, f"nudged {level}")

        def asked(
            v: np.ndarray, rows: np.ndarray, alive: np.ndarray = alive, level: int | None = level
        ) -> tuple[np.ndarray, np.ndarray]:
            return lanes.gradients(v, alive[rows], level)

        for state, taken in descents(how, asked, z[alive], z.shape[1]):
            told = {"stage": stage, "start": alive[taken], "step": state.steps[taken], "loss": state.f[taken]}
            spent = {"simulated_s": lanes.simulated_s[lanes.owner[alive[taken]]], "wall_s": lanes.wall_s}
            noted.append(pd.DataFrame(told | spent))
        z[alive] = state.z
        if level is None:
            losses[alive] = state.f
            for row, why in zip(alive, state.ended, strict=True):
                ended[row] = why
        alive = alive[np.isfinite(state.f)]
        if not alive.size:
            break
    return pd.concat(noted, ignore_index=True), z, losses, ended


def _search(
    problem: CellProblem,
    lanes: Lanes,
    mine: np.ndarray,
    z: Float[np.ndarray, "row k"],
    losses: Float[np.ndarray, " row"],
    ended: list[str],
    course: pd.DataFrame,
    seed: int,
    seconds: float,
) -> Search:
    """What the rows `mine` of a cell came to."""
    box = problem.objective.box
    best = mine[int(np.argmin(losses[mine]))]
    places = box.physical(z[mine])
    own = course[course["start"].isin(mine)].assign(start=lambda table: table["start"] - mine[0])
    own = own.reset_index(drop=True)
    starts = {"start": np.arange(len(mine)), "loss": losses[mine], "check": np.nan, "ended": [ended[k] for k in mine]}
    uncoupled = own[~own["stage"].str.startswith("nudged")]
    evaluations = int(lanes.looks[mine].sum())
    x = box.physical(z[best])
    return Search(
        method="lbfgs, all cells together",
        seed=seed,
        best=dict(zip(box.names, x.tolist(), strict=True)),
        x=x,
        loss=float(losses[best]),
        check=float("nan"),
        starts=pd.DataFrame({**starts, **{name: places[:, k] for k, name in enumerate(box.names)}}),
        course=own,
        incumbents=uncoupled[uncoupled["loss"] < uncoupled["loss"].cummin().shift(fill_value=np.inf)],
        stopped="done",
        simulated_s=problem.objective.simulated_s * evaluations * lanes.passes,
        wall_s=seconds,
        evaluations=evaluations,
        quarantined=sum(ended[k] == "quarantined" for k in mine),
        nonfinite=int(lanes.nonfinite[mine].sum()),
    )
