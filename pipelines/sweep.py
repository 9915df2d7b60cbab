"""Sweeps: a recipe at every point of a grid of settings, one run a point, and all scores in one table.

A sweep's folder holds ``sweep.json`` (its grid), ``shared/`` (the stages that no setting of the grid touches, run
once), ``points/`` (a run a point), and at the end ``results.parquet`` and ``sweep.png``. Every point is a run like any
other: what is done is kept, so that a sweep that was stopped goes on, and a larger grid adds its new points.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import multiprocessing
import re
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from connectofit.connectome.errors import ConnectofitError, FolderError, MissingExtraError, SettingError
from connectofit.pipelines import folders, lock
from connectofit.pipelines.pipeline import Pipeline, find_recipe
from connectofit.pipelines.progress import progress_bar
from connectofit.pipelines.stages import dependents
from connectofit.pipelines.sweep_plot import sweep_plot

logger = logging.getLogger(__name__)

SWEEP_FILE = "sweep.json"
RESULTS = "results.parquet"
PLOT = "sweep.png"
SWEEP_FORMAT = {"format": "connectofit sweep", "version": 1}
_RANGE = re.compile(r"(-?\d+):(-?\d+)(?::(-?\d+))?")
_MOST_POINTS = 100_000
_PATIENCE = "10s"  # with a scheduler that does not answer


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    table: a row a point and row of its scores: the settings of the grid, ``point`` (the run's folder), ``status``
    ("done" or "failed"), ``error``, ``seconds``, and the scores. folder: of the sweep.
    """

    table: pd.DataFrame
    folder: Path

    @property
    def failed(self) -> pd.DataFrame:
        """The rows of points that failed."""
        return self.table[self.table["status"] == "failed"]

    def text(self) -> str:
        """The last lines of a sweep."""
        n = self.table["point"].nunique()
        lines = [f"{n} points, {n - len(self.failed)} done, {len(self.failed)} failed."]
        lines += [f"  {row.point}: {row.error}" for row in self.failed.head(5).itertuples()]
        return "\n".join([*lines, f"Table: {self.folder / RESULTS}", f"Plot:  {self.folder / PLOT}"])


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """``fit.seed=0:10`` as 0 to 9, ``fit.lr=1e-3,1e-2`` as two numbers; what is not TOML is text.

    Raises `SettingError` for an axis without a name, without values or with one value twice.
    """
    name, equals, given = (part.strip() for part in text.partition("="))
    if not equals or name.count(".") < 1 or not all(part.strip() for part in name.split(".")) or not given:
        raise SettingError(f"--grid expects SECTION.NAME=VALUES, for example fit.seed=0:10; found {text!r}.")
    found = _RANGE.fullmatch(given)
    if found:
        start, stop, step = int(found[1]), int(found[2]), int(found[3] or 1)
        values: tuple[Any, ...] = tuple(range(start, stop, step)) if step else ()
    else:
        try:
            values = tuple(tomllib.loads(f"values = [{given}]")["values"])
        except tomllib.TOMLDecodeError:
            values = tuple(part.strip() for part in given.split(","))
    if not values:
        raise SettingError(f"--grid {name}: {given!r} has no values. A range ends before its stop: 0:10 is 0 to 9.")
    return name, values


def sweep(
    recipe: str | Path,
    axes: Mapping[str, Sequence[Any]],
    out: str | Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    demo: bool = False,
    until: str | None = None,
    jobs: int = 1,
    dask: str | None = None,
    progress: bool = False,
) -> SweepResult:
    """Run a recipe at every point of a grid.

    Parameters
    ----------
    recipe, overrides, demo, until: as for `Pipeline.load` and `Pipeline.run`.
    axes: {"section.setting": values}; the grid is their product.
    out: the folder of the sweep, by default ``runs/<recipe>-sweep``.
    jobs: how many points run at the same time, each in a process of its own.
    dask: the address of a Dask scheduler whose workers run the points instead; they have to see the same files.
    progress: whether a bar is drawn.

    A point that fails is told in the table, and the others go on. Raises `UnknownNameError`, `SettingError` for what
    any point would refuse, before anything runs, `FolderError`, and `MissingExtraError` without Dask.
    """
    path = find_recipe(recipe)
    base = dict(overrides or {})
    points = _points(axes)
    loaded = [Pipeline.load(recipe, {**base, **point}, demo=demo) for point in points]  # all settings are checked here
    folder = Path(out) if out is not None else Path("runs") / f"{loaded[0].name}-sweep"
    _check_folder(folder, loaded[0].name)
    folders.make_folder(folder / "points")
    with lock.hold(folder):
        grid = {name: list(values) for name, values in axes.items()}
        folders.write_json(folder / SWEEP_FILE, {**SWEEP_FORMAT, "recipe": loaded[0].name, "grid": grid})
        shared = _run_shared(loaded[0], set(axes), folder / "shared", until)
        places = [folder / "points" / _folder_name(point) for point in points]
        tasks = [
            (str(path), {**base, **point}, demo, until, place, tuple(p for p in (*shared, *places) if p != place))
            for point, place in zip(points, places, strict=True)
        ]
        rows: dict[int, pd.DataFrame] = {}
        with _executor(jobs, dask) as executor, progress_bar(len(points), "points", show=progress) as bar:
            waiting: dict[Future[Any], int] = {executor.submit(run_point, *task): k for k, task in enumerate(tasks)}
            for future in as_completed(waiting):
                k = waiting[future]
                rows[k] = _row(points[k], places[k].relative_to(folder), future.result())
                bar.update(1)
        table = pd.concat([rows[k] for k in sorted(rows)], ignore_index=True)
        aside = folder / f".tmp-{RESULTS}"
        table.to_parquet(aside, index=False)
        aside.replace(folder / RESULTS)
        (folder / PLOT).write_bytes(sweep_plot(table, tuple(axes)))
    return SweepResult(table, folder)


def run_point(
    recipe: str, overrides: Mapping[str, Any], demo: bool, until: str | None, place: Path, reuse: Sequence[Path]
) -> dict[str, Any]:
    """Run one point; its seconds and its scores, or its error. What is wrong with a point does not end the sweep."""
    started = time.perf_counter()
    try:
        pipeline = Pipeline.load(recipe, overrides, demo=demo)
        result = pipeline.run(place, until=until, reuse=reuse)
        scores = pipeline.scores(result) if pipeline.scores is not None else None
    except Exception as error:  # of any kind: it is told in the table, with its type
        if not isinstance(error, ConnectofitError):
            logger.exception("The point %s failed", place)
        return {
            "status": "failed",
            "error": f"{type(error).__name__}: {error}",
            "seconds": time.perf_counter() - started,
        }
    return {"status": "done", "error": None, "seconds": time.perf_counter() - started, "scores": scores}


def _points(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    if not axes:
        raise SettingError("A sweep needs at least one setting with its values, for example fit.seed=0:10.")
    for name, values in axes.items():
        texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
        twice = sorted({text for text in texts if texts.count(text) > 1})
        if not texts or twice:
            what = f"names {', '.join(twice[:5])} twice" if twice else "has no values"
            raise SettingError(f"The axis {name!r} of the sweep {what}. Give every value once.")
    n_points = 1
    for values in axes.values():
        n_points *= len(values)
    if n_points > _MOST_POINTS:
        raise SettingError(f"The grid has {n_points} points, more than {_MOST_POINTS}. Sweep fewer values.")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _run_shared(pipeline: Pipeline, axes: set[str], out: Path, until: str | None) -> tuple[Path, ...]:
    """Run the stages that the grid does not touch, once."""
    touched = {name.split(".")[0] for name in axes}
    touched |= {later for name in touched for later in dependents(pipeline.stages, name)}
    shared = [s for s in pipeline.stages if s.name not in touched and not s.documents_run]
    if until is not None:
        wanted = {planned.name for planned in pipeline.plan(out, until=until)}
        shared = [s for s in shared if s.name in wanted]
    if not shared:
        return ()
    sections = {s.name: pipeline.sections[s.name] for s in shared if s.name in pipeline.sections}
    Pipeline(pipeline.name, tuple(shared), sections).run(out)
    return (out,)


def _folder_name(point: Mapping[str, Any]) -> str:
    """A name from the settings; where these are long or hold signs that names of files should not, with a digest."""
    text = ",".join(f"{name}={value}" for name, value in point.items())
    plain = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)
    if plain == text and len(text) <= 120:
        return text
    return f"{plain[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _row(point: Mapping[str, Any], place: Path, done: Mapping[str, Any]) -> pd.DataFrame:
    """A point's rows of the table."""
    plain = {
        name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in point.items()
    }
    told = {**plain, "point": str(place), **{name: done[name] for name in ("status", "error", "seconds")}}
    scores = done.get("scores")
    if scores is None or not len(scores):
        return pd.DataFrame([told])
    scores = scores.reset_index(drop=True).drop(columns=[c for c in told if c in scores.columns])
    return pd.concat([pd.DataFrame([told] * len(scores)), scores], axis=1)


@contextmanager
def _executor(jobs: int, dask: str | None) -> Iterator[Executor]:
    if dask is None:
        # Started anew, not forked: JAX runs threads. One point a process, whose memory is then given back.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError(
            "Sweeps on a cluster need Dask, which is not installed. Install the extra: pip install 'connectofit[dask]'."
        ) from None
    try:
        client = Client(dask, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise SettingError(
            f"There is no Dask scheduler at {dask!r} ({error}). Start one with `dask scheduler`."
        ) from None
    with client:
        # Points are not pure to Dask: they write files, and one that failed may be run again.
        yield client.get_executor(pure=False)


def _check_folder(folder: Path, recipe: str) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FolderError(f"{str(folder)!r} is a file, where a folder for the sweep was expected. Name another folder.")
    marker = folder / SWEEP_FILE
    if not marker.is_file():
        if any(p.name not in (lock.LOCK, "points") for p in folder.iterdir()):
            raise FolderError(
                f"The folder {str(folder)!r} holds something else than a sweep. Name an empty or new one."
            )
        return
    try:
        note = json.loads(marker.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        note = None
    if not isinstance(note, dict) or note.get("format") != SWEEP_FORMAT["format"]:
        raise FolderError(f"{str(marker)!r} was not written by connectofit. Name an empty or a new folder.")
    if note.get("version") != SWEEP_FORMAT["version"]:
        raise FolderError(
            f"{str(marker)!r} has format {note.get('version')!r}. Update connectofit, or name another folder."
        )
    if note.get("recipe") != recipe:
        raise FolderError(
            f"{str(folder)!r} holds a sweep of {note.get('recipe')!r}, not of {recipe!r}. Name another one."
        )
