"""Fitting a network to data by gradients through its dynamics: several starts at once, early stopping, checkpoints.

The loss is the negative log-posterior per row of data,

    L(theta) = [ sum over objectives of weight * sum over training rows of nll  -  log prior(theta) ] / number of rows

minimised by Adam (Kingma & Ba 2015) with a cosine schedule. Rows that are held out are taken out of the objectives
before anything is computed. A validation part, cut by group from what remains, decides at which step each start
stops and which start is best; it gives no gradient.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Bool, Float

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.fit.checkpoint import read_checkpoint, write_checkpoint
from connectofit.fit.folds import check_seed, validation_part
from connectofit.fit.objectives import Objective
from connectofit.fit.parameters import Parameters
from connectofit.sim import Network

Tree = Any


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a fit descends.

    steps: at most. learning_rate: at the start of the cosine schedule. patience: a start stops when its validation
    loss has not improved for that many steps. interval: steps between checkpoints and checks of patience.
    """

    steps: int = 120
    learning_rate: float = 0.1
    patience: int = 40
    interval: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "patience", "interval"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingError(f"{name} of a fit has to be a whole number, 1 or more; found {value!r}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SettingError(f"learning_rate has to be above 0; found {self.learning_rate!r}.")


DEFAULT_SCHEDULE = Schedule()


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fitted network with how it was reached. `network` and `readouts` are those of the best step of the best start.

    history: one row per start and step: start, step, training, validation (loss per row, before the step is taken;
    validation is NaN where there is no validation part). starts: one row per start: its best step, its losses there,
    and why it ended ("steps", "patience" or "diverged"). n_rows: of training, which losses are the means over. members:
    the network and the readouts of every start that did not diverge, an ensemble.
    """

    network: Network
    readouts: Mapping[str, Mapping[str, Array]]
    history: pd.DataFrame
    starts: pd.DataFrame
    best_start: int
    seed: int
    n_rows: int
    members: tuple[tuple[Network, Mapping[str, Mapping[str, Array]]], ...] = field(repr=False)

    def predict_all(self, name: str, objective: Objective) -> np.ndarray:
        """The predictions of every member, [member, row, ...]: how far they differ is what the data leave open."""
        if name not in self.readouts:
            raise unknown_name("objective", name, self.readouts)
        _check_ids(self.network, name, objective)
        return np.stack([np.asarray(_predict(net, objective, dict(readouts[name]))) for net, readouts in self.members])

    def predict(self, name: str, objective: Objective) -> np.ndarray:
        """The best model's predictions for the rows of `objective`, which may be rows that the fit never saw."""
        if name not in self.readouts:
            raise unknown_name("objective", name, self.readouts)
        _check_ids(self.network, name, objective)
        return np.asarray(_predict(self.network, objective, dict(self.readouts[name])))


@jax.jit
def _predict(net: Network, objective: Objective, readout: Mapping[str, Array]) -> Array:
    return objective.predict(net, dict(readout))


def fit_network(
    net: Network,
    objectives: Mapping[str, Objective],
    *,
    free: Parameters,
    weights: Mapping[str, float] | None = None,
    hold_out: Mapping[str, Bool[np.ndarray, "row"]] | None = None,
    validation: Mapping[str, float] | None = None,
    seed: int = 0,
    starts: int = 3,
    schedule: Schedule = DEFAULT_SCHEDULE,
    checkpoint: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> FitResult:
    """Fit a network's free parameters, and the readouts of its objectives, to data.

    Parameters
    ----------
    net: where to start from; it is not changed.
    objectives: data with their likelihoods, by name.
    free: the network's free parameters with their priors.
    weights: how often each row of an objective counts; 1 where left out.
    hold_out: {objective: mask}, rows that the fit must not see.
    validation: {objective: fraction of its groups} to stop early on; without it every start runs all steps and the
    last one counts.
    seed: of the starts and of the validation part. starts: how many, run together.
    checkpoint: a file to resume from; it is written every `schedule.interval` steps and belongs to these very
    arguments.
    progress: called with the number of steps done since the last call.

    Raises
    ------
    UnknownNameError, SettingError: names and settings that do not fit. DivergedError: if no start was ever finite.
    """
    weights, hold_out, validation = dict(weights or {}), dict(hold_out or {}), dict(validation or {})
    _check(net, objectives, weights, hold_out, validation, starts)
    check_seed(seed)
    seed = int(seed)
    free.check(net)
    seen = {n: o.subset(~np.asarray(hold_out[n])) if n in hold_out else o for n, o in objectives.items()}
    train, valid = {}, {}
    for k, (name, objective) in enumerate(seen.items()):
        part = np.zeros(objective.n_rows, bool)
        if name in validation:
            part = validation_part(np.asarray(objective.group).tolist(), validation[name], seed + 1000 * k)
        train[name] = jnp.asarray(float(weights.get(name, 1.0)) * ~part)
        valid[name] = jnp.asarray(float(weights.get(name, 1.0)) * part)
    rows = float(sum(float((np.asarray(w) > 0).sum()) for w in train.values()))
    if not rows:
        raise SettingError("No row is left to train on: all are held out or have weight 0. Hold fewer rows out.")

    optimiser = optax.adam(optax.cosine_decay_schedule(schedule.learning_rate, schedule.steps))
    keys = jax.random.split(jax.random.key(seed), starts)
    values = jax.vmap(lambda key: {"free": free.initial(net, key)})(keys)
    readouts = {n: o.initial() for n, o in seen.items()}
    values["readout"] = jax.tree.map(lambda a: jnp.broadcast_to(a, (starts, *jnp.shape(a))), readouts)
    carry = {
        "values": values,
        "optimiser": jax.vmap(optimiser.init)(values),
        "best": values,
        "best_loss": jnp.full(starts, jnp.inf),
        "best_step": jnp.zeros(starts, jnp.int32),
        "since": jnp.zeros(starts, jnp.int32),
    }
    # Values that came from Python numbers are weakly typed, which would compile the loop again at its second call.
    carry = jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), carry)
    done, losses = 0, np.zeros((0, 2, starts), np.float32)
    identity = _identity(net, seen, train, valid, free, schedule, seed, starts)
    if checkpoint is not None and checkpoint.exists():
        done, carry, losses = read_checkpoint(checkpoint, identity, carry)
        if progress is not None:
            progress(done)
    has_validation = any(np.asarray(w).any() for w in valid.values())
    last = _kinds(_at(seen, 1.0))
    before = _kinds(_at(seen, max(done - schedule.interval, 0) / schedule.steps))
    while done < schedule.steps:
        n_steps = min(schedule.interval, schedule.steps - done)
        now = _at(seen, done / schedule.steps)
        if _kinds(now) != before:
            # What was best at something easier is not compared with what comes.
            carry = carry | {"best_loss": jnp.full(starts, jnp.inf), "since": jnp.zeros(starts, jnp.int32)}
        before = _kinds(now)
        if before == last and _stopped(carry, done, schedule, has_validation):
            break
        carry, more = _advance(
            net, now, train, valid, rows, carry, jnp.asarray(done), free, schedule, n_steps, has_validation
        )
        losses = np.concatenate([losses, np.asarray(more)])
        done += n_steps
        _refuse_diverged(carry, done, schedule)
        if checkpoint is not None:
            write_checkpoint(checkpoint, identity, done, carry, losses)
        if progress is not None:
            progress(n_steps)
    return _result(net, free, carry, losses, seed, schedule, has_validation, rows)


def _check(
    net: Network,
    objectives: Mapping[str, Objective],
    weights: Mapping[str, float],
    hold_out: Mapping[str, np.ndarray],
    validation: Mapping[str, float],
    starts: int,
) -> None:
    given: tuple[tuple[str, Mapping[str, object]], ...]
    given = (("weights", weights), ("hold_out", hold_out), ("validation", validation))
    for what, names in given:
        for name in names:
            if name not in objectives:
                raise unknown_name("objective", name, objectives, what)
    for name, objective in objectives.items():
        _check_ids(net, name, objective)
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise SettingError(f"The weight of objective {name!r} has to be finite and 0 or more; found {weight!r}.")
    for name, mask in hold_out.items():
        # An array of indices of the right length would pass for a mask.
        if np.asarray(mask).dtype != bool or np.shape(mask) != (objectives[name].n_rows,):
            raise SettingError(
                f"hold_out[{name!r}] has to be a mask, True or False for each of the {objectives[name].n_rows} rows; "
                f"found {np.asarray(mask).dtype} of shape {np.shape(mask)}."
            )
    if isinstance(starts, bool) or not isinstance(starts, int) or starts < 1:
        raise SettingError(f"starts has to be a whole number, 1 or more; found {starts!r}.")


def _check_ids(net: Network, name: str, objective: Objective) -> None:
    """Indices of neurons mean the same in data and network only if both list the same neurons in the same order."""
    if objective.ids and objective.ids != net.ids:
        places = zip(objective.ids, net.ids, strict=False)
        first = next((k for k, (a, b) in enumerate(places) if a != b), min(len(objective.ids), len(net.ids)))
        raise SettingError(
            f"Objective {name!r} indexes {len(objective.ids)} neurons, the network {len(net.ids)} others or in another "
            f"order; they differ from neuron {first + 1} on. Read the data with the ids of the network (Network.ids)."
        )


def _at(objectives: Mapping[str, Objective], share: float) -> dict[str, Objective]:
    return {name: objective.at(share) for name, objective in objectives.items()}


def _kinds(objectives: Mapping[str, Objective]) -> str:
    return str(jax.tree.structure(dict(objectives)))


def _stopped(carry: Tree, done: int, schedule: Schedule, has_validation: bool) -> bool:
    """Whether no start improves any more, at one of the steps where that is looked at."""
    return done > 0 and has_validation and bool((np.asarray(carry["since"]) >= schedule.patience).all())


def _refuse_diverged(carry: Tree, done: int, schedule: Schedule) -> None:
    finite = np.isfinite(np.asarray(carry["best_loss"]))
    if not finite.any():
        raise DivergedError(
            f"The fit diverged: none of its {finite.size} starts had a finite loss within {done} steps. Lower the "
            f"learning rate ({schedule.learning_rate}), or start from smaller gains."
        )


@partial(jax.jit, static_argnames=("free", "schedule", "n_steps", "has_validation"))
def _advance(
    net: Network,
    objectives: Mapping[str, Objective],
    train: Mapping[str, Float[Array, "row"]],
    valid: Mapping[str, Float[Array, "row"]],
    rows: float,
    carry: Tree,
    done: Array,
    free: Parameters,
    schedule: Schedule,
    n_steps: int,
    has_validation: bool,
) -> tuple[Tree, Float[Array, "step loss start"]]:
    """`n_steps` steps of all starts, and the losses before each of them."""
    optimiser = optax.adam(optax.cosine_decay_schedule(schedule.learning_rate, schedule.steps))

    def loss(values: Tree) -> tuple[Array, Array]:
        fitted = free.apply(net, values["free"])
        total, held, n_held = free.penalty(values["free"]), jnp.zeros(()), jnp.zeros((), int)
        for name, objective in objectives.items():
            readout = values["readout"][name]
            nll = objective.loss(objective.predict(fitted, readout))
            total += jnp.sum(train[name] * nll) + objective.penalty(readout)
            held += jnp.sum(valid[name] * nll)
            n_held += jnp.sum(valid[name] > 0)
        return total / rows, held / n_held if has_validation else jnp.full_like(held, jnp.nan)

    def one(state: Tree, step: Array) -> tuple[Tree, Array]:
        (training, validation), gradient = jax.value_and_grad(loss, has_aux=True)(state["values"])
        watched = validation if has_validation else training
        running = state["since"] < schedule.patience if has_validation else jnp.asarray(True)
        # Without a validation part the last finite step counts, as in plain descent.
        better = jnp.isfinite(watched) & jnp.isfinite(training) & running
        if has_validation:
            better &= watched < state["best_loss"]
        updates, optimiser_state = optimiser.update(gradient, state["optimiser"], state["values"])
        new = optax.apply_updates(state["values"], updates)

        def keep(yes: Array, a: Tree, b: Tree) -> Tree:
            return jax.tree.map(lambda x, y: jnp.where(yes, x, y), a, b)

        state = {
            "values": keep(running, new, state["values"]),
            "optimiser": keep(running, optimiser_state, state["optimiser"]),
            "best": keep(better, state["values"], state["best"]),
            "best_loss": jnp.where(better, watched, state["best_loss"]),
            "best_step": jnp.where(better, step, state["best_step"]),
            "since": jnp.where(better, 0, state["since"] + 1),
        }
        return state, jnp.stack([training, validation])

    def step(state: Tree, k: Array) -> tuple[Tree, Array]:
        state, out = jax.vmap(one, in_axes=(0, None), out_axes=(0, 1))(state, k)
        return state, out

    return jax.lax.scan(step, carry, done + jnp.arange(n_steps, dtype=jnp.int32))


def _result(
    net: Network,
    free: Parameters,
    carry: Tree,
    losses: np.ndarray,
    seed: int,
    schedule: Schedule,
    has_validation: bool,
    rows: float,
) -> FitResult:
    since, best_step = np.asarray(carry["since"]), np.asarray(carry["best_step"])
    diverged = ~np.isfinite(losses[-1, : 2 if has_validation else 1]).all(axis=0)
    best_loss = np.asarray(carry["best_loss"])
    if not has_validation and not diverged.all():
        # Nothing vouches for a start on its way to divergence, however low its training loss was.
        best_loss = np.where(diverged, np.inf, best_loss)
    best = int(np.argmin(best_loss))
    chosen = jax.tree.map(lambda a: a[best], carry["best"])
    n_steps, _, n_starts = losses.shape
    history = pd.DataFrame(
        {
            "start": np.tile(np.arange(n_starts), n_steps),
            "step": np.repeat(np.arange(n_steps), n_starts),
            "training": losses[:, 0].ravel(),
            "validation": losses[:, 1].ravel(),
        }
    )
    ended = np.where(diverged, "diverged", np.where(since >= schedule.patience, "patience", "steps"))
    starts = pd.DataFrame(
        {
            "start": np.arange(n_starts),
            "best_step": best_step,
            "training": losses[best_step, 0, np.arange(n_starts)],
            "validation": losses[best_step, 1, np.arange(n_starts)],
            "ended": ended,
        }
    )
    ends = [jax.tree.map(lambda a, k=k: a[k], carry["best"]) for k in np.flatnonzero(~diverged)]
    members = tuple((free.apply(net, each["free"]), each["readout"]) for each in ends)
    return FitResult(
        free.apply(net, chosen["free"]), chosen["readout"], history, starts, best, seed, round(rows), members
    )


def _identity(
    net: Network,
    objectives: Mapping[str, Objective],
    train: Mapping[str, Array],
    valid: Mapping[str, Array],
    free: Parameters,
    schedule: Schedule,
    seed: int,
    starts: int,
) -> str:
    """A digest of all that the course of a fit depends on: a checkpoint of another fit must not be resumed."""
    digest = hashlib.sha256()
    versions = [jax.__version__, optax.__version__, str(jnp.result_type(float))]
    # The network's own structure holds objects that have no lasting text, such as tables: what matters is named here.
    models = [(p.name, repr(p.model), p.ids) for p in net.populations]
    wiring = [(p.name, p.pre, p.post, repr(p.synapse), p.delay_ms, repr(p.plasticity)) for p in net.projections]
    digest.update(json.dumps([repr(free), repr(schedule), seed, starts, versions, models, wiring]).encode())
    leaves, _ = jax.tree_util.tree_flatten_with_path((net, dict(objectives), dict(train), dict(valid)))
    for path, leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(str(jax.tree.structure(dict(objectives))).encode())
    return digest.hexdigest()
