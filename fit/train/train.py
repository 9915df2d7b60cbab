"""Training of a network on a task: mini-batches by key, validation, curriculum, checkpoints with exact resume.

Step k of seed s draws its trials from the key (s, training, k): nothing but the seed and the step decides what a batch
is, so that a training that was killed goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.fit.checkpoint import read_checkpoint, write_checkpoint
from connectofit.fit.folds import check_seed
from connectofit.fit.tasks import Task
from connectofit.fit.train.batch_step import check_trainable, is_noisy
from connectofit.fit.train.losses import Penalties, check_task
from connectofit.fit.train.online import DRTRL, ESDRTRL, EProp
from connectofit.fit.train.readout import Readout, new_readout
from connectofit.fit.train.result import ENDED, SeedRun, TrainResult, gather
from connectofit.fit.train.reward import RewardSTDP
from connectofit.fit.train.rules import BPTT, Problem, Rule, batch_loss
from connectofit.fit.train.settings import Lesson, TrainSchedule
from connectofit.fit.train.streams import stream_key
from connectofit.fit.train.trainable import DEFAULT_FREE, Trainable, Values
from connectofit.sim import Network

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (BPTT, DRTRL, ESDRTRL, EProp, RewardSTDP)}
DEFAULT_SCHEDULE = TrainSchedule()
NO_PENALTIES = Penalties()
_CHECKED = 64  # trials that are looked at before training starts
_log = logging.getLogger(__name__)


def train_task(
    net: Network | Callable[[int], Network],
    task: Task,
    *,
    rule: str | Rule = "bptt",
    free: Sequence[str] = DEFAULT_FREE,
    readout: Readout | None = None,
    seed: int | Sequence[int] = 0,
    schedule: TrainSchedule = DEFAULT_SCHEDULE,
    penalties: Penalties = NO_PENALTIES,
    curriculum: Sequence[Lesson] = (),
    source: str = "input",
    checkpoint: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> TrainResult:
    """Train a network on a task.

    Parameters
    ----------
    net: where to start from, with a population `source` of one neuron for each input of the task; or a function of the
        seed that returns one. It is not changed.
    task: what to learn; its time step is the network's.
    rule: how gradients are had: a name (see `connectofit.fit.train.rules`) or a `Rule` with its settings.
    free: which groups train (see `connectofit.fit.train.trainable`). Controls are ``("input", "readout")`` and
        ``("readout",)``.
    readout: where the readout starts; None for random weights on all neurons, by the seed.
    seed: of the trials and the readout; several are trained one after the other.
    schedule: how long, how fast, on how many trials, and when to stop.
    penalties: on rates, voltages and changes of weights.
    curriculum: lessons before the task itself; their steps are some of the schedule's. Validation trials are always
        the task's.
    checkpoint: a file to resume from, one for each seed where there are several; written at every validation. It
        belongs to these very arguments.
    progress: called with the number of steps done since the last call.

    Returns
    -------
    The networks and readouts of the best step of every seed by validation trials (of the last step without any).

    Raises
    ------
    SettingError, UnknownNameError: settings, tasks and networks that do not fit, before training starts.
    DivergedError: something is not finite; it is named, and the checkpoint holds the state before.
    """
    rule = _rule(rule)
    seeds = [int(s) for s in ([seed] if isinstance(seed, int | np.integer) else seed)]
    for s in seeds:
        check_seed(s)
    if not seeds or len(set(seeds)) < len(seeds):
        raise SettingError(f"Seeds have to be one or more, each once; found {seeds}.")
    trainable = Trainable(tuple(free) if not isinstance(free, str) else (free,), source)
    runs = []
    for s in seeds:
        start = net(s) if callable(net) else net
        began = readout if readout is not None else _fresh_readout(start, task, s, source)
        problem = Problem(start, began, trainable, penalties, task.dt_ms, is_noisy(start))
        _check(problem, task, rule, curriculum, schedule, s)
        file = checkpoint if checkpoint is None or len(seeds) == 1 else _file_of(checkpoint, s)
        runs.append(_train_seed(problem, task, rule, schedule, tuple(curriculum), s, file, progress))
    return gather(runs, task, source, schedule.judged_by)


def _rule(rule: str | Rule) -> Rule:
    if isinstance(rule, Rule):
        return rule
    if rule not in RULES:
        raise unknown_name("learning rule", str(rule), RULES)
    return RULES[rule]()


def _fresh_readout(net: Network, task: Task, seed: int, source: str) -> Readout:
    names = [p.name for p in net.populations if p.name != source]
    return new_readout(net, task.n_outputs, stream_key(seed, "readout"), populations=names)


def _file_of(checkpoint: Path, seed: int) -> Path:
    return checkpoint.with_name(f"{checkpoint.stem}_seed{seed}{checkpoint.suffix}")


def _check(
    problem: Problem, task: Task, rule: Rule, curriculum: Sequence[Lesson], schedule: TrainSchedule, seed: int
) -> None:
    lessons = sum(lesson.steps for lesson in curriculum)
    if lessons >= schedule.steps:
        raise SettingError(
            f"The lessons may take {lessons} steps and the schedule has {schedule.steps} with them, so that none may "
            "be left for the task itself. Raise `steps` of the schedule, or shorten the lessons."
        )
    for lesson in curriculum:
        if lesson.task.dt_ms != task.dt_ms:
            raise SettingError(f"Lessons need the task's dt_ms, {task.dt_ms:g}; found {lesson.task.dt_ms:g}.")
    for each in (*(lesson.task for lesson in curriculum), task):
        check_trainable(problem.net, problem.trainable.source, each.n_inputs)
        trials = each.trials(stream_key(seed, "training"), _CHECKED)
        check_task(each, trials, problem.readout.n_outputs)
    problem.trainable.check(problem.net)
    read = sum(problem.net.population(name).size for name in problem.readout.populations)
    if read != problem.readout.weights.shape[0]:
        raise SettingError(
            f"The readout has weights for {problem.readout.weights.shape[0]} neurons, and its populations "
            f"{', '.join(problem.readout.populations)} have {read}. Make one for this network with `new_readout`."
        )
    rule.check(problem, choice=trials.labels is not None)


@partial(jax.jit, static_argnames=("task", "rule", "schedule"))
def _update(
    problem: Problem,
    values: Values,
    optimiser: Any,
    task: Task,
    rule: Rule,
    schedule: TrainSchedule,
    seed: Any,
    step: Any,
) -> tuple[Values, Any, Any, Any, dict[str, Any]]:
    """One step of the descent; what comes out of one that is not finite is not to be used."""
    trials = task.trials(stream_key(seed, "training", step), schedule.batch)
    found = rule.gradient(problem, values, trials, stream_key(seed, "feedback"), stream_key(seed, "noise", step))
    updates, optimiser = schedule.transformation().update(found.values, optimiser, values)
    return optax.apply_updates(values, updates), optimiser, found.loss, found.accuracy, found.bad


@partial(jax.jit, static_argnames=("task", "n_trials"))
def _validate(problem: Problem, values: Values, task: Task, n_trials: int, seed: Any) -> tuple[Any, Any]:
    trials = task.trials(stream_key(seed, "validation"), n_trials)
    key = stream_key(seed, "validation", 1)
    loss, score, _ = batch_loss(problem, values, trials, key)
    return loss, score


def _train_seed(
    problem: Problem,
    task: Task,
    rule: Rule,
    schedule: TrainSchedule,
    curriculum: tuple[Lesson, ...],
    seed: int,
    checkpoint: Path | None,
    progress: Callable[[int], object] | None,
) -> SeedRun:
    values = problem.trainable.initial(problem.net, problem.readout)
    carry: dict[str, Any] = {
        "values": values,
        "optimiser": schedule.transformation().init(values),
        "best": values,
        "best_score": np.array([-np.inf, -np.inf]),
        "best_step": np.zeros((), np.int64),
        "since": np.zeros((), np.int64),
        "ended": np.zeros((), np.int64),
    }
    history, done = np.zeros((0, 5)), 0
    block = rule.runs_on(problem, schedule.batch)
    identity = _identity(problem, task, rule, schedule, curriculum, seed, block)
    if checkpoint is not None and checkpoint.exists():
        done, carry, history = read_checkpoint(checkpoint, identity, carry)
        if progress is not None:
            progress(done)
    while done < schedule.steps and not int(carry["ended"]):
        lesson = _lesson(history, curriculum)
        now = curriculum[lesson].task if lesson < len(curriculum) else task
        values, optimiser, loss, score, bad = _update(
            problem, carry["values"], carry["optimiser"], now, rule, schedule, seed, done
        )
        wrong = sorted((name for name, is_bad in bad.items() if bool(is_bad)), key=_made)
        if wrong:
            if checkpoint is not None:
                write_checkpoint(checkpoint, identity, done, carry, history)
            raise DivergedError(
                f"Training of seed {seed} diverged in step {done}: {wrong[0]} is not finite. "
                f"{'The checkpoint holds the state before it. ' if checkpoint else ''}Lower the learning rate "
                f"({schedule.learning_rate:g}), clip gradients, start from weaker weights, or take a surrogate of a "
                "smaller scale: derivatives through many steps grow with it."
            )
        carry = carry | {"values": values, "optimiser": optimiser}
        row = [float(loss), float(score), np.nan, np.nan, lesson]
        done += 1
        looked = done % schedule.interval == 0 or done == schedule.steps
        if looked and schedule.validation:
            row[2:4] = [float(v) for v in _validate(problem, values, task, schedule.validation, seed)]
            carry = _judged(carry, row[2], row[3], done, schedule)
            _log.info(
                "seed %d step %d: loss %.4f, validation loss %.4f, accuracy %.3f", seed, done, row[0], row[2], row[3]
            )
        history = np.concatenate([history, [row]])
        if looked and checkpoint is not None:
            write_checkpoint(checkpoint, identity, done, carry, history)
        if progress is not None:
            progress(1)
    chosen = carry["best"] if schedule.validation else carry["values"]
    net, readout = problem.trainable.apply(problem.net, problem.readout, chosen)
    best_step = int(carry["best_step"]) if schedule.validation else done
    return SeedRun(seed, net, readout, history, best_step, ENDED[int(carry["ended"])], chosen, block)


def _made(name: str) -> int:
    """When an array is made in a step: what is not finite spreads to all that come after it."""
    return ("activity", "outputs", "loss", "gradient", "gradient's").index(name.split()[0])


def _lesson(history: np.ndarray, curriculum: tuple[Lesson, ...]) -> int:
    """The lesson that the next step belongs to; their number for the task itself."""
    if not len(history):
        return 0
    now = int(history[-1, 4])
    if now >= len(curriculum):
        return now
    lesson = curriculum[now]
    scores = history[history[:, 4] == now, 1]
    learnt = scores.size >= lesson.window and scores[-lesson.window :].mean() >= lesson.accuracy
    return now + 1 if learnt or scores.size >= lesson.steps else now


def _judged(carry: dict[str, Any], loss: float, score: float, done: int, schedule: TrainSchedule) -> dict[str, Any]:
    """The carry after a validation; see `TrainSchedule.judged_by`."""
    by_loss = schedule.judged_by == "loss"
    new = np.array([-loss, 0.0] if by_loss else [score if np.isfinite(score) else 0.0, -loss])
    if tuple(new) > tuple(np.asarray(carry["best_score"])):
        best = {
            "best": carry["values"],
            "best_score": new,
            "best_step": np.asarray(done),
            "since": np.zeros((), np.int64),
        }
        carry = carry | best
    else:
        carry = carry | {"since": np.asarray(carry["since"]) + 1}
    ended = 0
    if schedule.goal is not None and score >= schedule.goal:
        ended = ENDED.index("goal")
    elif schedule.patience is not None and int(carry["since"]) >= schedule.patience:
        ended = ENDED.index("patience")
    return carry | {"ended": np.asarray(ended)}


def _identity(
    problem: Problem,
    task: Task,
    rule: Rule,
    schedule: TrainSchedule,
    curriculum: tuple[Lesson, ...],
    seed: int,
    block: str,
) -> str:
    """A digest of all that the course of a training depends on: a checkpoint of another must not be resumed."""
    net, digest = problem.net, hashlib.sha256()
    versions = [jax.__version__, optax.__version__, str(jnp.result_type(float))]
    models = [(p.name, repr(p.model), p.size) for p in net.populations]
    wiring = [(p.name, p.pre, p.post, repr(p.synapse), p.delay_ms) for p in net.projections]
    settings = [repr(x) for x in (task, rule, schedule, curriculum, problem.trainable, problem.penalties)]
    readout = [problem.readout.tau_ms, problem.readout.populations]
    digest.update(json.dumps([versions, models, wiring, settings, readout, seed, problem.dt_ms, block]).encode())
    for path, leaf in jax.tree_util.tree_flatten_with_path((net, problem.readout))[0]:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
