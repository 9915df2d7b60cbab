"""What a training returns, and its score on trials that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.tasks import Task, TaskTrials
from connectofit.fit.train.batch_step import check_trainable, is_noisy, make_batched
from connectofit.fit.train.bptt import run_batch
from connectofit.fit.train.losses import mean_answer, task_loss
from connectofit.fit.train.readout import Readout
from connectofit.fit.train.settings import Judge
from connectofit.fit.train.streams import stream_key
from connectofit.fit.train.trainable import Values
from connectofit.sim import Network

ENDED = ("steps", "goal", "patience")


@dataclass(frozen=True, eq=False)
class SeedRun:
    """The training of one seed. history: [step, (loss, accuracy, validation loss, validation accuracy, lesson)]."""

    seed: int
    network: Network
    readout: Readout
    history: Float[np.ndarray, "step 5"]
    best_step: int
    ended: str
    values: Values
    block: str


@dataclass(frozen=True, eq=False)
class TrainResult:
    """Trained networks: one for each seed, at its best step by validation trials.

    network, readout: of the best seed. networks, readouts: of all, in the order of `seeds`. history: one row for each
    seed and step: seed, step, training (loss of the batch before the step), accuracy (of the same batch), validation
    and validation_accuracy (after the step; NaN where it was not looked at), lesson. seeds: one row a seed: seed,
    steps, best_step, validation, validation_accuracy there, why it ended ("steps", "goal", "patience"), and the block
    that ran the steps ("compiled" or "jax").
    """

    network: Network
    readout: Readout
    networks: tuple[Network, ...]
    readouts: tuple[Readout, ...]
    history: pd.DataFrame
    seeds: pd.DataFrame
    best_seed: int
    task: Task
    source: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores on test trials. trials: one row for each seed and trial: what was drawn, its label, the mean outputs while
    the answer counts, the answer (the largest of them) and whether it is right, or the loss of a regression. seeds: one
    row a seed: accuracy (NaN for regressions), loss, trials."""

    trials: pd.DataFrame
    seeds: pd.DataFrame

    @property
    def accuracy(self) -> float:
        """The mean accuracy of the seeds."""
        return float(self.seeds["accuracy"].mean())


def gather(runs: Sequence[SeedRun], task: Task, source: str, judged_by: Judge = "accuracy") -> TrainResult:
    """The result of several seeds."""
    columns = ("training", "accuracy", "validation", "validation_accuracy", "lesson")
    parts = []
    for run in runs:
        part = pd.DataFrame(run.history, columns=list(columns))
        part.insert(0, "step", np.arange(1, len(part) + 1))
        part.insert(0, "seed", run.seed)
        parts.append(part.astype({"lesson": int}))
    rows: list[dict[str, Any]] = []
    for run in runs:
        at = run.history[run.best_step - 1] if run.best_step else np.full(5, np.nan)
        rows.append(
            {
                "seed": run.seed,
                "steps": len(run.history),
                "best_step": run.best_step,
                "training": at[0],
                "validation": at[2],
                "validation_accuracy": at[3],
                "ended": run.ended,
                "block": run.block,
            }
        )
    seeds = pd.DataFrame(rows)
    order = seeds.assign(
        loss=-seeds["validation"].fillna(seeds["training"]), score=seeds["validation_accuracy"].fillna(0)
    )
    first = ["score", "loss"] if judged_by == "accuracy" else ["loss", "score"]
    best = int(order.sort_values(first, ascending=False, kind="stable").index[0])
    return TrainResult(
        runs[best].network,
        runs[best].readout,
        tuple(run.network for run in runs),
        tuple(run.readout for run in runs),
        pd.concat(parts, ignore_index=True),
        seeds,
        runs[best].seed,
        task,
        source,
    )


def evaluate_task(
    result: TrainResult,
    *,
    task: Task | None = None,
    n_trials: int = 1000,
    batch: int = 128,
    seed: int | None = None,
) -> Evaluation:
    """Score every seed's network on test trials, which nothing else draws.

    task: another task than the one that was trained, of the same inputs and outputs. seed: of the test trials; None:
    each network's own, so that no two networks see the same trials.
    """
    task = result.task if task is None else task
    tables, rows = [], []
    for network, readout, own in zip(result.networks, result.readouts, result.seeds["seed"], strict=True):
        drawn = int(own) if seed is None else seed
        table = evaluate_network(
            network, readout, task, n_trials=n_trials, batch=batch, seed=drawn, source=result.source
        )
        table.insert(0, "seed", int(own))
        tables.append(table)
        score = float(table["correct"].mean()) if "correct" in table else float("nan")
        rows.append({"seed": int(own), "accuracy": score, "loss": float(table["loss"].mean()), "trials": len(table)})
    return Evaluation(pd.concat(tables, ignore_index=True), pd.DataFrame(rows))


def evaluate_network(
    net: Network,
    readout: Readout,
    task: Task,
    *,
    n_trials: int = 1000,
    batch: int = 128,
    seed: int = 0,
    source: str = "input",
) -> pd.DataFrame:
    """One row for each test trial of the seed: what was drawn, ``loss``, and of choices ``output_0`` and so on,
    ``answer`` and ``correct``."""
    if n_trials < 1 or batch < 1:
        raise SettingError(f"n_trials and batch have to be 1 or more; found {n_trials} and {batch}.")
    check_trainable(net, source, task.n_inputs)
    tables, done = [], 0
    while done < n_trials:
        # All batches are whole, so that one program runs them all.
        trials, answer, loss = _score(
            net, readout, task, min(batch, n_trials), source, seed, done // batch, is_noisy(net)
        )
        table = trials.table()
        if trials.labels is not None:
            means = np.asarray(answer)
            table = table.assign(**{f"output_{k}": means[:, k] for k in range(means.shape[1])})
            table["answer"] = means.argmax(1)
            table["correct"] = table["answer"] == table["label"]
        table["loss"] = np.asarray(loss)
        tables.append(table.iloc[: n_trials - done])
        done += len(table)
    return pd.concat(tables, ignore_index=True)


@partial(jax.jit, static_argnames=("task", "n", "source", "noisy"))
def _score(
    net: Network, readout: Readout, task: Task, n: int, source: str, seed: Any, part: Any, noisy: bool
) -> tuple[TaskTrials, Array, Array]:
    trials = task.trials(stream_key(seed, "test", part), n)
    batched = make_batched(net, dt_ms=task.dt_ms, source=source, noisy=noisy)
    key = jax.random.fold_in(stream_key(seed, "test", part), n)
    outputs = run_batch(batched, readout, trials.inputs, key, checkpoint=None).outputs

    def one(i: Array) -> Array:
        each = jax.tree.map(lambda a: a[i][None], trials)
        return task_loss(outputs[:, i][:, None], each)

    loss = jax.vmap(one)(jax.numpy.arange(n))
    return trials, mean_answer(outputs, trials.mask), loss
