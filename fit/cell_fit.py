"""A recorded cell made into a fitted model: the whole way from sweeps to parameters with scores.

    recordings -> checks -> held-out sweeps under seal -> problem -> search -> seal committed -> seal opened -> scores

Nothing after the seal changes the fit: the held-out sweeps are opened once, by the final scoring. The equations and
losses are in `connectofit.fit.cells`, the optimisers in `connectofit.fit.optimisers`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from connectofit.builders import Cell, serialise
from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.connectome.report import Finding
from connectofit.fit.cell_scores import CellTrace, cell_traces, score_cell, score_intervals, train_scores
from connectofit.fit.cells.losses import CellLoss, VoltageError
from connectofit.fit.cells.problem import (
    SPIKES_AND_VOLTAGE,
    CellProblem,
    LossName,
    Onsets,
    cell_problem,
    checked_onsets,
)
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.cells.uncertainty import Uncertainty, laplace
from connectofit.fit.cells.uncertainty_bootstrap import BlockBootstrap, block_bootstrap, resampled_blocks
from connectofit.fit.cells.uncertainty_likelihood import Likelihood, no_likelihood, polished
from connectofit.fit.optimisers.budget import Budget
from connectofit.fit.optimisers.minimise import minimise
from connectofit.fit.optimisers.search import Optimiser, Search
from connectofit.fit.optimisers.starts import random_starts
from connectofit.fit.recording_checks import check_recordings
from connectofit.fit.recordings import Recordings
from connectofit.fit.sealed import Split, split
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection
from connectofit.fit.step_baseline import step_baseline, step_sizes
from connectofit.fit.stimulus_edges import is_step
from connectofit.sim.neurons import NeuronModel

logger = logging.getLogger(__name__)

ONE_MINUTE = Budget(wall_s=60.0)
BEST_METHOD = MappingProxyType({"glif5": "lbfgsb", "gif": "lbfgsb", "adex": "cma"})
"""For the likelihood under recorded spikes of models for which this is not "lbfgs"."""

TRAINING, HELD_OUT, BASELINE = "training", "held out", "held out, regular train"


@dataclass(frozen=True, eq=False)
class CellFit:
    """A fitted cell.

    cell: whose recording. problem: model, loss and the sweeps it was fitted to. search: every start's course and what
    was spent. parameters: all of the neuron model, by name. loss_parameters: those of the loss, such as the width of
    the escape rate ``delta_v_mV`` [mV]. scores: one row a sweep, ``part`` says whether it was "training" or "held out";
    on held-out steps a third part has the scores of the regular train at the rate interpolated between the neighbouring
    steps (`step_baseline`). intervals: of the held-out scores (`score_intervals`). traces: of all sweeps, by label.
    findings: what is odd about the recordings. uncertainty: of the free parameters, from the likelihood's curvature
    (`connectofit.fit.cells.uncertainty.laplace`); None for losses that are no likelihood, and where it was not asked
    for. bootstrap: the refits to resampled blocks of the stimulus, where they were asked for. seed: of everything
    random.
    """

    cell: str
    problem: CellProblem = field(repr=False)
    search: Search = field(repr=False)
    parameters: Mapping[str, float]
    loss_parameters: Mapping[str, float]
    scores: pd.DataFrame = field(repr=False)
    intervals: pd.DataFrame = field(repr=False)
    traces: Mapping[str, CellTrace] = field(repr=False)
    findings: tuple[Finding, ...] = field(repr=False)
    uncertainty: Uncertainty | None = field(repr=False)
    seconds: float
    seed: int
    bootstrap: BlockBootstrap | None = field(default=None, repr=False)

    @property
    def model(self) -> str:
        """The neuron model's name."""
        return self.problem.cell.name

    @property
    def x(self) -> Float[np.ndarray, " k"]:
        """The free parameters, in the order of `problem.names`."""
        return self.search.x

    def simulate(
        self, recordings: Recordings, *, trials: int = 20, onsets: Onsets | None = None
    ) -> tuple[CellTrace, ...]:
        """The fitted cell under the currents of other sweeps, see `cell_traces`."""
        return cell_traces(self.problem, self.x, recordings, trials=trials, seed=self.seed, onsets=onsets)

    def as_cell(self, name: str = "") -> Cell:
        """The cell for a `ModelSpec`, by default called ``CELL_MODEL``; ``.dump(folder)`` writes its file."""
        chosen = serialise.to_dict(self.problem.cell.neuron)
        settings = {k: v for k, v in chosen.items() if k != "surrogate"}
        held = self.scores[self.scores["part"] == HELD_OUT]
        said = {
            "cell": self.cell,
            "sweeps": list(self.problem.recordings.names),
            "held_out": held["sweep"].tolist(),
            "loss": self.problem.loss.what,
            "loss_value": float(self.search.loss),
            "method": self.search.method,
            "seed": int(self.seed),
        }
        label = name or "_".join(part for part in (self.cell, self.model) if part)
        return Cell(label, self.model, dict(self.parameters), settings, dict(self.loss_parameters), said)


def fit_cell(
    recordings: Recordings,
    model: str = "glif5",
    *,
    hold_out: Sequence[str] = (),
    loss: CellLoss | LossName = "auto",
    method: str | Optimiser = "auto",
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    neuron: NeuronModel | None = None,
    starts: int = 8,
    validation: Sequence[str] = (),
    budget: Budget = ONE_MINUTE,
    trials: int = 20,
    detection: SpikeDetection = DEFAULT_DETECTION,
    onsets: Onsets | None = None,
    mask_ms: tuple[float, float] | None = None,
    checkpoint_dir: Path | str | None = None,
    uncertainty: Literal["laplace", "bootstrap"] | None = "laplace",
    draws: int = 30,
    findings: Sequence[Finding] | None = None,
    seed: int = 0,
) -> CellFit:
    """Fit a neuron model to a cell's recording, and score it on sweeps that the fit never saw.

    Parameters
    ----------
    recordings: sweeps of one cell, sampled alike.
    model: a name of `connectofit.fit.cells.FITTABLE`: "lif", "adex", "izhikevich", "glif1" to "glif5", "gif", "hh".
    hold_out: labels of sweeps to hold out; none leaves the scores of the training sweeps alone.
    loss: "likelihood" (spikes and voltage under recorded spikes; of Izhikevich's neuron, which has a voltage of its
        own, spikes alone), "voltage" (freely running), "spikes" (freely running: latency, rate, adaptation, and the
        voltage between spikes, for models whose voltage misses the recording's however they are fitted), or a loss;
        "auto" is the first for models that it suits where there are spikes, else the second.
    method: an optimiser, by name (`connectofit.fit.optimisers.OPTIMISERS`) or with its settings. "auto" is what was
        best for the model and the loss on the cells that ship with the package (tests/benchmarks/README.md): for
        likelihoods under recorded spikes L-BFGS, side by side or start by start, and CMA-ES for AdEx; for the voltage
        or spikes of a freely running model CMA-ES, and for the voltage of one that has action potentials of its own,
        coupling to the recording that is let go ("nudged"); with `validation` L-BFGS, which looks at it at every step.
    free, bounds, start, fixed, neuron: parameters to fit, {parameter: (low, high)}, {parameter: value}, see
        `connectofit.fit.cells.cell_model`. What is left out follows from the recording.
    starts: how many; the first is what the recording says of the cell, the others are drawn within the bounds.
    validation: labels of training sweeps to leave out and stop early on.
    budget: what the search may spend.
    trials: trains drawn to score a cell with an escape rate.
    detection: how spikes are found, for the fit and the scores. onsets: in place of it the samples at which the spikes
        of every one of the `recordings` begin; those of sweeps that are held out are for their scores alone.
    mask_ms: how long around spikes the voltage does not count, see `cell_problem`.
    checkpoint_dir: a folder that a killed fit resumes from.
    uncertainty: intervals of the parameters, where the loss is a likelihood. "laplace": from its curvature, too narrow
        where the residuals last longer than the likelihood knows of, as those of real cells do. "bootstrap": from
        `draws` refits to resampled blocks of the stimulus. Before either, the best point goes on to the optimum next to
        it, unless `validation` stops the fit early.
    findings: of `check_recordings` on the sweeps that are not held out, where it was called before, so that they are
        not said again.

    Raises
    ------
    SchemaError, SettingError, UnknownNameError: recordings, names, bounds and settings that do not fit, before any
    fitting. DivergedError: if no start had a finite loss.
    """
    began = time.perf_counter()
    if uncertainty not in ("laplace", "bootstrap", None):
        raise unknown_name("uncertainty", str(uncertainty), ("laplace", "bootstrap"), "fit_cell")
    if len(recordings.cells) > 1:
        raise SettingError(
            f"fit_cell fits one cell; these recordings have {len(recordings.cells)} ({', '.join(recordings.cells)}). "
            "Choose one with Recordings.cell, or fit all with fit_cells."
        )
    held = [hold_out] if isinstance(hold_out, str) else list(hold_out)
    parts = split(recordings, held) if held else None
    training = recordings if parts is None else parts.training
    known_onsets = (
        None if onsets is None else dict(zip(recordings.labels, checked_onsets(recordings, onsets), strict=True))
    )
    if findings is None:
        findings = check_recordings(training)
        say(training, findings)
    problem = cell_problem(
        training,
        model,
        loss,
        free=free,
        bounds=bounds,
        start=start,
        fixed=fixed,
        neuron=neuron,
        detection=detection,
        onsets=onsets_of(training, known_onsets),
        mask_ms=mask_ms,
        validation=validation,
    )
    measured = uncertainty is not None and no_likelihood(problem.loss) is None
    if measured and uncertainty == "bootstrap":
        resampled_blocks(problem, draws)  # refuses here, and not after the search
    places = random_starts(problem.objective.box, starts, seed, first=problem.start)
    search = minimise(
        problem.objective,
        method=automatic_method(problem) if method == "auto" else method,
        starts=places,
        budget=budget,
        seed=seed,
        checkpoint_dir=checkpoint_dir,
    )
    if search.quarantined:
        logger.warning("%d of %d starts ended where the loss is not finite", search.quarantined, starts)
    known, drawn = None, None
    if measured:
        try:
            search = search if validation else at_optimum(problem, search)
            if uncertainty == "bootstrap":
                drawn = block_bootstrap(problem, search.x, draws, seed=seed)
            known = laplace(problem, search.x) if drawn is None else drawn.uncertainty
        except DivergedError as why:  # of the curvature: the fit itself stands
            logger.warning("no intervals of the parameters: %s", why)
    fit = finished_fit(problem, search, training, parts, tuple(findings), known, trials, seed, began, known_onsets)
    return replace(fit, bootstrap=drawn)


def say(recordings: Recordings, findings: Sequence[Finding]) -> None:
    """Log what is odd about a cell's recordings."""
    for finding in findings:
        logger.warning("%s: %s", recordings.cells[0] or "the cell", finding.message)


def at_optimum(problem: CellProblem, search: Search) -> Search:
    """A search whose best point was moved on to the optimum of the likelihood next to it, in the search's wall time.

    Raises `DivergedError` where the likelihood is not finite there.
    """
    began = time.perf_counter()
    x = polished(problem, search.x)
    likelihood = Likelihood(problem)
    before, after = (float(likelihood.gradients(likelihood.share(at)[None])[0][0]) for at in (search.x, x))
    wall_s = search.wall_s + time.perf_counter() - began
    if not after < before:
        return replace(search, wall_s=wall_s)
    best = dict(zip(problem.names, x.tolist(), strict=True))
    return replace(search, x=x, best=best, loss=after, wall_s=wall_s)


def finished_fit(
    problem: CellProblem,
    search: Search,
    training: Recordings,
    parts: Split | None,
    findings: tuple[Finding, ...],
    uncertainty: Uncertainty | None,
    trials: int,
    seed: int,
    began: float,
    onsets: Mapping[str, np.ndarray] | None = None,
) -> CellFit:
    """What a search found, scored: the training sweeps, then the held-out ones, whose seal is opened here.

    began: `time.perf_counter` when the fit did. onsets: of the sweeps, by label, where they were given.
    """
    parameters = problem.named(search.x)
    own = {name: float(search.best[name]) for name in problem.names if name not in parameters}
    drawn: dict[str, Any] = {"trials": trials, "seed": seed}
    shown = cell_traces(problem, search.x, training, onsets=onsets_of(training, onsets), **drawn)
    scores = [score_cell(shown).assign(part=TRAINING)]
    traces = {t.sweep.label: t for t in shown}
    intervals = pd.DataFrame(columns=["sweep", "score", "value", "low", "high", "drawn"])
    if parts is not None:
        committed: dict[str, Any] = {**parameters, **own}
        parts.held_out.commit(committed)
        unseen = parts.held_out.open(committed)
        later = cell_traces(problem, search.x, unseen, onsets=onsets_of(unseen, onsets), **drawn)
        scores += [score_cell(later).assign(part=HELD_OUT), *_baseline(shown, later)]
        intervals = score_intervals(later, seed=seed)
        traces |= {t.sweep.label: t for t in later}
    table = pd.concat(scores, ignore_index=True)
    table.insert(0, "part", table.pop("part"))
    return CellFit(
        training.cells[0],
        problem,
        search,
        parameters,
        own,
        table,
        intervals,
        traces,
        findings,
        uncertainty,
        time.perf_counter() - began,
        seed,
    )


def automatic_method(problem: CellProblem) -> str:
    """The method that "auto" stands for, see `fit_cell`: what tests/benchmarks/README.md found best for the model and
    the loss."""
    if problem.objective.check is not None:
        return "lbfgs"  # which looks at the validation part at every step
    if isinstance(problem.loss, VoltageError):
        return "nudged" if problem.cell.spikes_drawn else "cma"
    if problem.loss is SPIKES_AND_VOLTAGE:
        return "cma"
    return BEST_METHOD.get(problem.cell.name, "lbfgs") if isinstance(problem.loss, ForcedLikelihood) else "lbfgs"


def onsets_of(recordings: Recordings, onsets: Mapping[str, np.ndarray] | None) -> list[np.ndarray] | None:
    """The onsets of these sweeps, of those by label; None where none were given."""
    return None if onsets is None else [onsets[label] for label in recordings.labels]


def _baseline(training: Sequence[CellTrace], held_out: Sequence[CellTrace]) -> list[pd.DataFrame]:
    """The scores of a regular train on the held-out sweeps, where the training sweeps are steps of several sizes."""
    steps = Recordings(tuple(trace.sweep for trace in training))
    if not all(is_step(trace.sweep) for trace in (*training, *held_out)) or len(step_sizes(steps)) < 2:
        return []
    baseline = step_baseline(steps, trains=[trace.recorded for trace in training])
    rows = [train_scores(trace, [baseline.train(trace.sweep)]) for trace in held_out]
    return [pd.DataFrame(rows).assign(part=BASELINE)]


def compare_models(fits: Sequence[CellFit]) -> pd.DataFrame:
    """One row a cell, model and part: the means of the scores over its sweeps, the number of free parameters, the loss
    and the seconds that the fit took."""
    rows: list[dict[str, Any]] = []
    for fit in fits:
        for part, table in fit.scores.groupby("part", sort=False):
            if part == BASELINE and any(r["cell"] == fit.cell and r["part"] == part for r in rows):
                continue
            numbers = table.drop(columns=["part", "sweep"]).mean(numeric_only=True)
            name = "regular train" if part == BASELINE else fit.model
            head = {"cell": fit.cell, "model": name, "part": part, "sweeps": len(table)}
            if part != BASELINE:
                head |= {"free": fit.problem.objective.box.size, "loss": fit.search.loss, "seconds": fit.seconds}
            rows.append({**head, **numbers})
    return pd.DataFrame(rows)
