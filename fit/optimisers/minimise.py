"""`minimise`: one objective, any of the optimisers, one budget, and a search that a kill does not undo."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy
from jaxtyping import Float

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.fit.folds import check_seed
from connectofit.fit.optimisers.adam import Adam
from connectofit.fit.optimisers.budget import Budget, Meter
from connectofit.fit.optimisers.cma_es import CMAES
from connectofit.fit.optimisers.evaluation import Derivatives, Evaluator
from connectofit.fit.optimisers.homotopy import GrowingHorizon, Nudged, Shoot
from connectofit.fit.optimisers.journal import Journal
from connectofit.fit.optimisers.lbfgs import LBFGS
from connectofit.fit.optimisers.objective import Objective
from connectofit.fit.optimisers.population import Guided, PopulationThenPolish
from connectofit.fit.optimisers.scipy_methods import LBFGSB, DifferentialEvolution, NelderMead
from connectofit.fit.optimisers.search import Optimiser, Outcome, Search
from connectofit.fit.optimisers.starts import random_starts

OPTIMISERS: dict[str, type[Optimiser]] = {
    optimiser.kind: optimiser
    for optimiser in (
        Adam,
        LBFGS,
        Nudged,
        GrowingHorizon,
        Shoot,
        DifferentialEvolution,
        LBFGSB,
        NelderMead,
        CMAES,
        PopulationThenPolish,
        Guided,
    )
}
NO_LIMIT = Budget()


def minimise(
    objective: Objective,
    *,
    method: str | Optimiser = "lbfgs",
    starts: int | Float[np.ndarray, "start k"] = 16,
    budget: Budget = NO_LIMIT,
    seed: int = 0,
    derivatives: Derivatives = "auto",
    checkpoint_dir: Path | str | None = None,
    checkpoint_interval_s: float = 5.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Search:
    """The parameters with the lowest loss that `method` finds within the budget.

    method: a name of `OPTIMISERS` or an optimiser with settings of its own. starts: how many random ones
    (`random_starts` with this seed), or places in the parameters' own units, shape [start, k]. derivatives: "forward",
    "reverse", or "auto", forward for up to 14 parameters and `Objective.tangents`. checkpoint_dir: where what was
    simulated is written down every `checkpoint_interval_s` seconds; the same call on the same folder goes on where a
    killed one stopped, with the same losses. Where the objective has a check, the start with the lowest check at its
    end is the best, else the lowest loss that was ever found. The same seed gives the same result, unless wall time
    ends the search. clock: what wall time is read from, in seconds (`time.process_time` where others use the machine
    too).

    Raises `UnknownNameError` for a method that does not exist, `SettingError` for one that the objective does not
    have what it needs for and for starts outside the bounds, `DivergedError` if no loss was finite.
    """
    check_seed(seed)
    optimiser = _optimiser(method)
    for needed in optimiser.needs:
        if getattr(objective, needed) is None:
            able = [name for name, other in OPTIMISERS.items() if set(other.needs) <= _has(objective)]
            raise SettingError(
                f"Method {optimiser.kind!r} needs {needed!r}, which this objective does not have. Methods that can be "
                f"used: {', '.join(able)}."
            )
    if derivatives not in ("auto", "forward", "reverse"):
        raise unknown_name("mode of derivatives", derivatives, ("auto", "forward", "reverse"))
    places = _places(objective, starts, seed)
    journal = None
    if checkpoint_dir is not None:
        identity = _identity(objective, optimiser, places, budget, seed, derivatives)
        journal = Journal(Path(checkpoint_dir) / "search.npz", identity, checkpoint_interval_s)
    ev = Evaluator(objective, Meter(budget, clock=clock), derivatives, journal)
    outcome = optimiser.run(ev, objective.box.from_physical(places), int(seed))
    search = _result(ev, outcome, optimiser.kind, int(seed))
    if journal is not None:
        journal.save()
    return search


def _optimiser(method: str | Optimiser) -> Optimiser:
    if isinstance(method, Optimiser):
        return method
    if method not in OPTIMISERS:
        raise unknown_name("method", method, OPTIMISERS, "the optimisers")
    return OPTIMISERS[method]()


def _has(objective: Objective) -> set[str]:
    return {name for name in ("nudged", "within", "check", "guide", "shooting") if getattr(objective, name) is not None}


def _places(objective: Objective, starts: int | np.ndarray, seed: int) -> np.ndarray:
    if isinstance(starts, int | np.integer):
        return random_starts(objective.box, int(starts), seed)
    places = np.asarray(starts, np.float64)
    if places.ndim != 2 or not len(places) or places.shape[1] != objective.box.size:
        raise SettingError(
            f"Starts have to be [start, parameter] with {objective.box.size} parameters "
            f"({', '.join(objective.box.names)}); found the shape {places.shape}."
        )
    objective.box.from_physical(places)
    return places


def _result(ev: Evaluator, outcome: Outcome, method: str, seed: int) -> Search:
    objective, box = ev.objective, ev.objective.box
    if ev.best_z is None:
        raise DivergedError(
            f"No loss that {method!r} looked at was finite (it looked at {ev.meter.evaluations}). Narrow the bounds "
            f"({', '.join(f'{n} {a:g} to {b:g}' for n, a, b in zip(box.names, box.low, box.high, strict=True))}), or "
            "simulate with a shorter step."
        )
    stopped = ev.meter.spent() or "done"
    finite = np.isfinite(outcome.losses)
    checks = np.full(len(outcome.z), np.nan)
    z, loss, check = ev.best_z, ev.best_loss, np.nan
    if objective.check is not None:
        # What the starts ended with, and the lowest loss that was seen, which may be none of them.
        checks[finite] = ev.losses(outcome.z[finite], "check")
        lowest = float(ev.losses(z[None], "check")[0])
        check = lowest
        if finite.any() and np.nanmin(checks) <= lowest:
            row = int(np.nanargmin(checks))
            z, loss, check = outcome.z[row], float(outcome.losses[row]), float(checks[row])
    x = box.physical(z)
    starts = pd.DataFrame(
        {"start": np.arange(len(outcome.z)), "loss": outcome.losses, "check": checks, "ended": outcome.ended}
    )
    for k, name in enumerate(box.names):
        starts[name] = box.physical(outcome.z)[:, k]
    return Search(
        method=method,
        seed=seed,
        best=dict(zip(box.names, x.tolist(), strict=True)),
        x=x,
        loss=loss,
        check=check,
        starts=starts,
        course=ev.course(),
        incumbents=ev.incumbents(),
        stopped=stopped,
        simulated_s=ev.meter.simulated_s,
        wall_s=ev.meter.wall_s,
        evaluations=ev.meter.evaluations,
        quarantined=sum(end == "quarantined" for end in outcome.ended),
        nonfinite=ev.nonfinite,
    )


def _identity(
    objective: Objective, optimiser: Optimiser, places: np.ndarray, budget: Budget, seed: int, derivatives: str
) -> str:
    """A digest of all that the course of a search depends on: what another one wrote down must not be replayed."""
    digest = hashlib.sha256()
    versions = [jax.__version__, np.__version__, scipy.__version__, str(jnp.result_type(float))]
    given = (objective.loss, objective.nudged, objective.within)
    functions = [repr(f) if is_dataclass(f) else getattr(f, "__qualname__", "") for f in given]
    box = objective.box
    told = [repr(optimiser), repr(budget), int(seed), derivatives, versions, functions, list(box.names), list(box.log)]
    told += [box.low.tolist(), box.high.tolist(), objective.simulated_s, [float(c) for c in objective.couplings]]
    told.append(objective.tangents)
    digest.update(json.dumps(told).encode())
    leaves, _ = jax.tree_util.tree_flatten_with_path((objective.data, objective.check_data, places))
    for path, leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
