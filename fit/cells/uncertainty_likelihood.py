"""The likelihood of a fitted cell over its box, in float64, and its descent to the nearest optimum.

Uncertainty is worked out over *shares*: where in its range, on its scale, each parameter lies, from 0 to 1. There a
curvature says at once how much of what was thought possible the data leave, and parameters of different units compare.
Near an optimum a loss in float32 has lost the digits that its second derivatives need; all here is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from connectofit.connectome.errors import DivergedError, SettingError, offenders
from connectofit.fit.cells.losses import CellLoss, WeightedSum
from connectofit.fit.cells.problem import CellProblem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.optimisers.evaluation import FORWARD_UP_TO
from connectofit.fit.optimisers.objective import Box

TOLERANCE = 1e-4
"""A descent ends where a Newton step would lower the loss by less, in nats."""

POLISHED = 1e-8
"""The same for `polished`: with a gradient left, a valley that is curved does not look flat."""

FLAT = 0.1
"""Curvatures below, in nats per squared range, change the loss by less than 0.05 nats over a whole range."""

SUFFICIENT, REACH, TRIALS = 1e-4, 0.25, 16  # of the line search; the longest step, in ranges

Gradients = Callable[[Float[np.ndarray, "row k"]], tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row k"]]]


def no_likelihood(loss: CellLoss) -> str | None:
    """Why a loss is no negative log likelihood in nats; None where it is one."""
    if isinstance(loss, ForcedLikelihood):
        return None
    if isinstance(loss, WeightedSum):
        found = [no_likelihood(part) for _, part in loss.parts]
        odd = [f"{weight:g}" for weight, _ in loss.parts if weight != 1.0]
        if any(found):
            return next(why for why in found if why)
        return f"a sum of likelihoods with weights other than 1 ({offenders(odd)}) is none" if odd else None
    return f"a loss on the {loss.what} has no unit of probability"


@dataclass(frozen=True, eq=False)
class Likelihood:
    """The negative log likelihood of a problem over shares of its box [k], in nats and float64.

    Raises `SettingError` where the loss of the problem is none.
    """

    problem: CellProblem
    data: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        why = no_likelihood(self.problem.loss)
        if why is not None:
            raise SettingError(
                "Intervals follow from how fast a likelihood falls off around its maximum, but the loss of this fit is "
                f"no negative log likelihood: {why}, so that its curvature says nothing about uncertainty. Fit the "
                "cell with loss='likelihood' (ForcedLikelihood), or use that loss at the parameters found."
            )
        with jax.enable_x64(True):
            doubled = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float64)), self.problem.objective.data)
        object.__setattr__(self, "data", doubled)

    @property
    def box(self) -> Box:
        return self.problem.objective.box

    def share(self, x: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The shares of parameters in their own units. Raises `SettingError` for values outside of the bounds."""
        x = np.asarray(x, np.float64)
        if x.shape != (self.box.size,):
            raise SettingError(
                f"The parameters have to be {self.box.size} numbers ({', '.join(self.box.names)}); found the shape "
                f"{x.shape}."
            )
        slack = 1e-6 * (self.box.high - self.box.low)
        inside = (x >= self.box.low - slack) & (x <= self.box.high + slack)  # a float32 bound is not the bound
        if not inside.all():
            wrong = [
                f"{self.box.names[k]} = {x[k]:g} ({self.box.low[k]:g} to {self.box.high[k]:g})"
                for k in np.flatnonzero(~inside)
            ]
            raise SettingError(f"Parameters have to lie inside their bounds; found {offenders(wrong)}.")
        return np.clip(self.box.share(np.clip(x, self.box.low, self.box.high)), 0.0, 1.0)

    def physical(self, share: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """Parameters in their own units."""
        log, low, high = np.array(self.box.log), self.box.low, self.box.high
        ratio = np.where(log, high / np.where(log, low, 1.0), 1.0)
        return np.clip(np.where(log, low * ratio**share, low + (high - low) * share), low, high)

    def slope(self, share: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """The derivative of each parameter by its share, in its own units."""
        log, low, high = np.array(self.box.log), self.box.low, self.box.high
        return np.where(
            log, self.physical(share) * np.log(np.where(log, high / np.where(log, low, 1.0), 1.0)), high - low
        )

    def gradients(
        self,
        share: Float[np.ndarray, "row k"],
        block: Array | None = None,
        weights: Float[np.ndarray, "row block"] | None = None,
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row k"]]:
        """The loss of every row and its gradient by shares; infinite and 0 where they are not finite.

        block [time, sweep], weights: of which block every sample is, and how often each block counts.
        """
        n = len(share)
        share = np.asarray(share, np.float64)
        if weights is None and n == 1:  # as two rows, so that one program serves all
            share = np.concatenate([share, share])
        most = self.problem.objective.tangents
        forward = self.box.size <= FORWARD_UP_TO and (most is None or share.size <= most)
        with jax.enable_x64(True):
            rows = jnp.asarray(share)
            counts = None if weights is None else jnp.asarray(np.asarray(weights, np.float64))
            objective = self.problem.objective
            if objective.together is not None:
                found = _gradients_together(objective.together, self.box, rows, self.data, block, counts)
            else:
                found = _gradients(objective.loss, self.box, forward, rows, self.data, block, counts)
            loss, slopes = (np.array(a)[:n] for a in found)
        finite = np.isfinite(loss) & np.isfinite(slopes).all(axis=1)
        return np.where(finite, loss, np.inf), np.where(finite[:, None], slopes, 0.0)

    def hessian(self, share: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k k"]:
        """The second derivatives by shares. Raises `DivergedError` where they are not finite."""
        with jax.enable_x64(True):
            place = jnp.asarray(np.asarray(share, np.float64))
            forward, objective = self.box.size <= FORWARD_UP_TO, self.problem.objective
            if objective.together is not None:
                found = np.array(_hessian_together(objective.together, self.box, place, self.data))
            else:
                found = np.array(_hessian(objective.loss, self.box, forward, place, self.data))
        if not np.isfinite(found).all():
            named = ", ".join(f"{n} {v:g}" for n, v in zip(self.box.names, self.physical(share), strict=True))
            raise DivergedError(f"The second derivatives of the likelihood are not finite at {named}.")
        return 0.5 * (found + found.T)


def polished(
    problem: CellProblem, x: Float[np.ndarray, " k"], *, rounds: int = 4, steps: int = 20
) -> Float[np.ndarray, " k"]:
    """The optimum of the likelihood next to `x`, to `POLISHED` nats: where intervals are to be taken at.

    Quasi-Newton steps from the exact Hessian, which is worked out again after every `steps` of them, `rounds` times at
    most. Raises `SettingError` where the loss is no likelihood, `DivergedError` where it is not finite at `x`.
    """
    likelihood = Likelihood(problem)
    share = likelihood.share(x)[None]
    if not np.isfinite(likelihood.gradients(share)[0]).all():
        raise DivergedError("The likelihood is not finite at these parameters.")
    for _ in range(rounds):
        hessian = likelihood.hessian(share[0])[None]
        found = descend(likelihood.gradients, share, hessian, steps=steps, tolerance=POLISHED)
        share = found.share
        if found.converged.all():
            break
    return likelihood.physical(share[0])


@dataclass(frozen=True, eq=False)
class Descent:
    """Where the rows of a descent ended: shares, losses, what is known of the Hessians, and whether each converged."""

    share: Float[np.ndarray, "row k"]
    losses: Float[np.ndarray, " row"]
    hessians: Float[np.ndarray, "row k k"]
    converged: np.ndarray


def descend(
    gradients: Gradients,
    share: Float[np.ndarray, "row k"],
    hessians: Float[np.ndarray, "row k k"],
    *,
    fixed: np.ndarray | None = None,
    steps: int = 60,
    tolerance: float = TOLERANCE,
) -> Descent:
    """Lower the loss of every row inside the box, from Hessians that are known about.

    Projected quasi-Newton steps (Bertsekas 1982, SIAM J Control Optim 20:221): parameters on a bound that the gradient
    pushes against stay there, the others take a Newton step with a line search, and the Hessian is updated by what the
    gradient did (BFGS, damped: Powell 1978, in Numerical Analysis, Lect Notes Math 630:144). fixed [k]: parameters that
    stay.
    """
    u, h = np.array(share, np.float64), np.array(hessians, np.float64)
    still = np.zeros(u.shape[1], bool) if fixed is None else np.asarray(fixed, bool)
    f, g = gradients(u)
    done, converged = ~np.isfinite(f), np.zeros(len(u), bool)
    for _ in range(steps):
        free = ~still & ~((u <= 0.0) & (g > 0.0)) & ~((u >= 1.0) & (g < 0.0))
        d = np.zeros_like(u)
        for r in np.flatnonzero(~done):
            d[r, free[r]] = newton_step(h[r][np.ix_(free[r], free[r])], g[r, free[r]])
            if -0.5 * g[r] @ d[r] <= tolerance:
                done[r] = converged[r] = True
        if done.all():
            break
        d *= np.minimum(1.0, REACH / np.maximum(np.abs(d).max(axis=1, keepdims=True), 1e-300))
        u, f, g, moved = _search(gradients, u, f, g, d, h, free, ~done)
        done |= ~moved
    return Descent(u, f, h, converged)


def newton_step(hessian: Float[np.ndarray, "k k"], gradient: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """- H^-1 g with curvatures made positive, and none below `FLAT`."""
    if not len(gradient):
        return np.zeros(0)
    values, vectors = np.linalg.eigh(hessian)
    return -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), FLAT))


def _search(
    gradients: Gradients,
    u: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    d: np.ndarray,
    h: np.ndarray,
    free: np.ndarray,
    active: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One step of every active row, backtracking; `h` is updated in place. The last: which rows could move."""
    t, waiting, moved = np.ones(len(u)), active.copy(), ~active
    new_u, new_f, new_g = u.copy(), f.copy(), g.copy()
    for _ in range(TRIALS):
        trial = np.where(waiting[:, None], np.clip(u + t[:, None] * d, 0.0, 1.0), new_u)
        at, slopes = gradients(trial)
        slope = np.sum(g * (trial - u), axis=1)
        good = waiting & (at <= f + SUFFICIENT * slope + 1e-12 * np.abs(f))
        new_u[good], new_f[good], new_g[good] = trial[good], at[good], slopes[good]
        for r in np.flatnonzero(good):
            which = np.flatnonzero(free[r])
            block = np.ix_(which, which)
            h[r][block] = _updated(h[r][block], (trial - u)[r, which], (slopes - g)[r, which])
        moved, waiting = moved | good, waiting & ~good
        if not waiting.any():
            break
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            parabola = -slope * t / (2.0 * (at - f - slope))
        t = np.where(waiting, np.clip(np.nan_to_num(parabola, nan=0.0), 0.1 * t, 0.5 * t), t)
    return new_u, new_f, new_g, moved


def _updated(h: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """BFGS with Powell's damping, which keeps curvatures above 0."""
    hs = h @ s
    shs = float(s @ hs)
    if not shs > 1e-12 * float(s @ s):  # a Hessian that curves down there: leave it
        return h
    sy = float(s @ y)
    if sy < 0.2 * shs:
        mix = 0.8 * shs / (shs - sy)
        y = mix * y + (1.0 - mix) * hs
        sy = float(s @ y)
    return h - np.outer(hs, hs) / shs + np.outer(y, y) / sy


def _place(box: Box, share: Array) -> Array:
    log = np.array(box.log)
    ratio = np.where(log, box.high / np.where(log, box.low, 1.0), 1.0)
    return jnp.where(jnp.asarray(log), box.low * ratio**share, box.low + (box.high - box.low) * share)


def _weighted(data: Any, block: Array | None, weights: Array | None) -> Any:
    """Every term of the likelihood times how often its block counts. weights: [block], or [block, row], which gives the
    rows as the last axis."""
    if weights is None or block is None:
        return data
    times = weights[block]
    valid, counted = (data[k].reshape(data[k].shape + (1,) * (times.ndim - 2)) for k in ("valid", "counted"))
    return {**data, "valid": valid * times, "counted": counted * times}


@partial(jax.jit, static_argnames=("function", "box", "forward"))
def _gradients(
    function: Any, box: Box, forward: bool, share: Array, data: Any, block: Array | None, weights: Array | None
) -> tuple[Array, Array]:
    def one(u: Array, counts: Array | None) -> tuple[Array, Array]:
        seen = _weighted(data, block, counts)

        def twice(u: Array) -> tuple[Array, Array]:
            loss = function(_place(box, u), seen)
            return loss, loss

        if forward:
            slopes, loss = jax.jacfwd(twice, has_aux=True)(u)
            return loss, slopes
        (loss, _), slopes = jax.value_and_grad(twice, has_aux=True)(u)
        return loss, slopes

    if weights is None:
        return jax.vmap(lambda u: one(u, None))(share)
    return jax.vmap(one)(share, weights)


@partial(jax.jit, static_argnames=("function", "box", "forward"))
def _hessian(function: Any, box: Box, forward: bool, share: Array, data: Any) -> Array:
    inner = jax.jacfwd if forward else jax.jacrev
    return jax.jacfwd(inner(lambda u: function(_place(box, u), data)))(share)


@partial(jax.jit, static_argnames=("together", "box"))
def _gradients_together(
    together: Any, box: Box, share: Array, data: Any, block: Array | None, weights: Array | None
) -> tuple[Array, Array]:
    seen = _weighted(data, block, None if weights is None else weights.T)

    def total(u: Array) -> tuple[Array, Array]:
        losses = together(_place(box, u), seen)
        return losses.sum(), losses  # a row's loss is its own alone, and so is its gradient

    slopes, losses = jax.grad(total, has_aux=True)(share)
    return losses, slopes


@partial(jax.jit, static_argnames=("together", "box"))
def _hessian_together(together: Any, box: Box, share: Array, data: Any) -> Array:
    """Forward over reverse mode: the same place in k rows, each with the tangent of one parameter."""
    rows = jnp.broadcast_to(share, (share.size, share.size))
    slopes = jax.grad(lambda u: together(_place(box, u), data).sum())
    return jax.jvp(slopes, (rows,), (jnp.eye(share.size, dtype=share.dtype),))[1]
