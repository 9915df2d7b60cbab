"""Many cells fitted at once: one compiled program, in which cells and starts are lanes of the same time loop.

Every lane descends by L-BFGS with a line search of its own (Nocedal & Wright 2006, alg. 7.4, 3.5 and 3.6, by
`optax.lbfgs`), in coordinates inside the bounds of its cell. Compiling is paid once for all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import lax
from jaxtyping import Array, Float

from connectofit.connectome.errors import DivergedError, SettingError, offenders
from connectofit.fit.cell_fit import CellFit, finished_fit
from connectofit.fit.cells.losses import CellLoss
from connectofit.fit.cells.problem import CellProblem, cell_problem
from connectofit.fit.checkpoint import read_checkpoint, write_checkpoint
from connectofit.fit.folds import check_seed
from connectofit.fit.optimisers.objective import Box
from connectofit.fit.optimisers.search import Search
from connectofit.fit.optimisers.starts import random_starts
from connectofit.fit.recording_checks import check_recordings
from connectofit.fit.recordings import Recordings
from connectofit.fit.sealed import Split, split
from connectofit.fit.spikes import DEFAULT_DETECTION, SpikeDetection
from connectofit.sim.neurons import NeuronModel

logger = logging.getLogger(__name__)

MEMORY, TRIALS, BLOCK = 10, 15, 10  # pairs of L-BFGS, losses of one line search, steps between two checkpoints


def fit_cells(
    recordings: Recordings,
    model: str = "glif3",
    *,
    hold_out: Sequence[str] = (),
    loss: CellLoss | Literal["auto", "likelihood", "voltage"] = "auto",
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    neuron: NeuronModel | None = None,
    starts: int = 2,
    steps: int = 100,
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
    starts: how many a cell; the first is what its recording says. steps: of L-BFGS.
    checkpoint_dir: a folder that a killed call goes on from when it is made again, to the same losses.

    Returns
    -------
    {cell: its fit}, without intervals of the parameters (`laplace` gives them). A cell none of whose starts stayed
    finite is left out, and named in a warning.

    Raises
    ------
    As `fit_cell`; `SettingError` where "auto" would give cells different losses (some have no spike); `DivergedError`
    if no cell has a finite loss.
    """
    began = time.perf_counter()
    check_seed(seed)
    if not (isinstance(steps, int) and steps > 0):
        raise SettingError(f"steps has to be a whole number, 1 or more; found {steps!r}.")
    held = [hold_out] if isinstance(hold_out, str) else list(hold_out)
    known = recordings.select(held).labels if held else ()
    parts: dict[str, Split | None] = {}
    for cell in recordings.cells:
        own = [label for label in known if recordings[label].cell == cell]
        parts[cell] = split(recordings.cell(cell), own) if own else None
    training = {cell: recordings.cell(cell) if part is None else part.training for cell, part in parts.items()}
    findings = {cell: check_recordings(sweeps) for cell, sweeps in training.items()}
    longest = max(sweep.n_samples for sweeps in training.values() for sweep in sweeps) - 1
    settings: dict[str, Any] = {"free": free, "bounds": bounds, "start": start, "fixed": fixed, "neuron": neuron}
    problems = {c: cell_problem(sweeps, model, loss, n_steps=longest, **settings) for c, sweeps in training.items()}
    _check_alike(problems)
    first = next(iter(problems.values()))
    width = max(len(sweeps) for sweeps in training.values())
    data = jax.tree.map(lambda *a: jnp.stack(a), *(_widened(p.objective.data, width) for p in problems.values()))
    boxes = [p.objective.box for p in problems.values()]
    places = [
        box.from_physical(random_starts(box, starts, seed + 1000 * k, first=p.start))
        for k, (box, p) in enumerate(zip(boxes, problems.values(), strict=True))
    ]
    dtype = jnp.result_type(float)
    low, high = (jnp.asarray(np.stack([getattr(box, side) for box in boxes]), dtype) for side in ("low", "high"))
    begin = jnp.asarray(np.stack(places), dtype)
    file, identity = None, ""
    if checkpoint_dir is not None:
        told = [model, repr(first.loss), list(first.names), list(boxes[0].log), seed, steps, jax.__version__]
        file, identity = Path(checkpoint_dir) / "cells.npz", _identity(told, (begin, low, high, data))
    found = _descended(first.objective.loss, boxes[0].log, steps, begin, low, high, data, file, identity)
    z, best, course, looks = found
    seconds = time.perf_counter() - began
    fits, lost = {}, []
    for k, (cell, problem) in enumerate(problems.items()):
        if not np.isfinite(best[k]).any():
            lost.append(cell)
            continue
        search = _search(problem, z[k], best[k], course[k], looks[k], seed, seconds / len(problems))
        fits[cell] = finished_fit(
            problem,
            search,
            training[cell],
            parts[cell],
            findings[cell],
            None,
            trials,
            seed,
            detection,
            time.perf_counter(),
        )
    if not fits:
        raise DivergedError(f"No start of any of the {len(problems)} cells had a finite loss. Narrow the bounds.")
    if lost:
        logger.warning("%d of %d cells have no finite loss and no fit: %s", len(lost), len(problems), offenders(lost))
    return fits


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


def _widened(data: Mapping[str, Any], width: int) -> dict[str, Any]:
    """With sweeps that do not count, up to `width` of them."""
    missing = width - data["valid"].shape[1]

    def wider(name: str, value: Any) -> Any:
        if name == "fixed" or not missing:
            return value
        pad = ((0, 0), (0, missing)) if value.ndim == 2 else (0, missing)
        return jnp.pad(value, pad, mode="edge" if name in ("start_mV", "voltage_mV") else "constant")

    return {name: wider(name, value) for name, value in data.items()}


def _identity(told: list[Any], arrays: Any) -> str:
    """A digest of all that the descent depends on: what another one wrote down must not be gone on from."""
    digest = hashlib.sha256(json.dumps(told).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _descended(
    loss: Any,
    log: tuple[bool, ...],
    steps: int,
    z: Float[Array, "cell start k"],
    low: Float[Array, "cell k"],
    high: Float[Array, "cell k"],
    data: Any,
    file: Path | None,
    identity: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best coordinates and losses of every lane, its losses by step, and how many losses it looked at.

    file: where the state is written after every block of steps, and where a killed descent goes on from.
    """
    carry = _begun(z)
    done, course = 0, np.zeros((*z.shape[:2], 0))
    if file is not None and file.exists():
        done, carry, course = read_checkpoint(file, identity, carry)
    while done < steps:
        taken = min(BLOCK, steps - done)
        carry, lines = _block(loss, log, carry, taken, low, high, data)
        done, course = done + taken, np.concatenate([course, np.asarray(lines, np.float64)[..., :taken]], axis=-1)
        if file is not None:
            write_checkpoint(file, identity, done, carry, course)
    last, _, best_z, best, looks = carry
    at_last = np.asarray(_values_at(loss, log, last, low, high, data))
    best = np.asarray(best)
    better = at_last < best
    found = np.where(better[..., None], np.asarray(last), np.asarray(best_z))
    return found, np.where(better, at_last, best), course, np.asarray(looks)


def _optimiser() -> optax.GradientTransformationExtraArgs:
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=TRIALS, initial_guess_strategy="one")
    return optax.lbfgs(memory_size=MEMORY, linesearch=search)


@jax.jit
def _begun(z: Float[Array, "cell start k"]) -> Any:
    """The lanes before their first step: place, optimiser, best place, best loss, losses looked at."""

    def lane(z: Array) -> Any:
        return z, _optimiser().init(z), z, jnp.full((), jnp.inf, z.dtype), jnp.zeros((), jnp.int32)

    return jax.vmap(jax.vmap(lane))(z)


def _value(loss: Any, log: tuple[bool, ...], z: Array, low: Array, high: Array, data: Any) -> Array:
    """The loss of one lane at coordinates."""
    on_log = jnp.asarray(log)
    share = jax.nn.sigmoid(z)
    ratio = jnp.where(on_log, high / jnp.where(on_log, low, 1.0), 1.0)
    return loss(jnp.where(on_log, low * ratio**share, low + (high - low) * share), data)


@partial(jax.jit, static_argnums=(0, 1))
def _values_at(loss: Any, log: tuple[bool, ...], z: Array, low: Array, high: Array, data: Any) -> Array:
    one = partial(_value, loss, log)
    return jax.vmap(jax.vmap(one, in_axes=(0, None, None, None)))(z, low, high, data)


@partial(jax.jit, static_argnums=(0, 1))
def _block(
    loss: Any,
    log: tuple[bool, ...],
    carry: Any,
    steps: int | Array,
    low: Float[Array, "cell k"],
    high: Float[Array, "cell k"],
    data: Any,
) -> tuple[Any, Float[Array, "cell start step"]]:
    """The lanes after at most `BLOCK` more steps, and their losses before each."""
    optimiser = _optimiser()

    def lane(carry: Any, low: Array, high: Array, data: Any) -> tuple[Any, Array]:
        def value(z: Array) -> Array:
            return _value(loss, log, z, low, high, data)

        ahead = optax.value_and_grad_from_state(value)

        def step(k: Array, held: tuple[Any, Array]) -> tuple[Any, Array]:
            (z, state, best_z, best, looks), lines = held
            v, g = ahead(z, state=state)
            better = v < best
            best_z, best = jnp.where(better, z, best_z), jnp.where(better, v, best)
            change, state = optimiser.update(g, state, z, value=v, grad=g, value_fn=value)
            looks = looks + 1 + optax.tree_utils.tree_get(state, "num_linesearch_steps")
            return (optax.apply_updates(z, change), state, best_z, best, looks), lines.at[k].set(v)

        return lax.fori_loop(0, steps, step, (carry, jnp.full(BLOCK, jnp.nan, carry[0].dtype)))

    over_starts = jax.vmap(lane, in_axes=(0, None, None, None))
    return jax.vmap(over_starts)(carry, low, high, data)


def _search(
    problem: CellProblem,
    z: Float[np.ndarray, "start k"],
    losses: Float[np.ndarray, " start"],
    course: Float[np.ndarray, "start step"],
    looks: np.ndarray,
    seed: int,
    seconds: float,
) -> Search:
    box: Box = problem.objective.box
    finite = np.isfinite(losses)
    row = int(np.nanargmin(np.where(finite, losses, np.inf)))
    places = box.physical(z)
    starts = pd.DataFrame(
        {
            "start": np.arange(len(z)),
            "loss": losses,
            "check": np.nan,
            "ended": np.where(finite, "steps", "quarantined"),
            **{name: places[:, k] for k, name in enumerate(box.names)},
        }
    )
    n_starts, n_steps = course.shape
    lines = pd.DataFrame(
        {
            "start": np.repeat(np.arange(n_starts), n_steps),
            "step": np.tile(np.arange(n_steps), n_starts),
            "loss": course.reshape(-1),
        }
    )
    lowest = lines.loc[lines["loss"] <= lines["loss"].cummin()]
    evaluations = int(looks.sum())
    return Search(
        method="lbfgs, all cells together",
        seed=seed,
        best=dict(zip(box.names, places[row].tolist(), strict=True)),
        x=places[row],
        loss=float(losses[row]),
        check=float("nan"),
        starts=starts,
        course=lines,
        incumbents=lowest,
        stopped="steps",
        simulated_s=problem.objective.simulated_s * evaluations * 5.0,
        wall_s=seconds,
        evaluations=evaluations,
        quarantined=int((~finite).sum()),
        nonfinite=int((~np.isfinite(course)).sum()),
    )
