"""The one door between optimisers and a model: losses and gradients of many parameter vectors at once.

Optimisers are programs in NumPy that ask for batches; here a batch is simulated (`jax.vmap`), counted, checked for
values that are not finite, and, where a search can be resumed, written down. A search that is resumed runs again from
its beginning and is given what was written down, so that it takes the same course to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError
from connectofit.fit.optimisers.budget import Meter
from connectofit.fit.optimisers.journal import Journal
from connectofit.fit.optimisers.objective import Box, Objective, Shooting

Derivatives = Literal["auto", "forward", "reverse"]
Of = Literal["loss", "nudged", "within", "check", "guide", "shooting", "squares"]
FORWARD_UP_TO = 14  # variables: with 10 to 14 of a single cell forward mode was 1.1 to 2.1 times as fast as reverse


@dataclass(eq=False)
class Evaluator:
    """What a search asks for losses and gradients.

    derivatives: "forward", "reverse", or "auto": forward mode for up to `FORWARD_UP_TO` variables and, where the
    objective says so, up to so many tangents in the first batch. Coordinates z are those of `Box`; of="shooting" has
    more variables behind them. What is not finite comes back as an infinite loss and a gradient of zeros, and is
    counted in `nonfinite`.
    """

    objective: Objective
    meter: Meter
    derivatives: Derivatives = "auto"
    journal: Journal | None = None
    nonfinite: int = 0
    best_loss: float = np.inf
    best_z: np.ndarray | None = None
    _course: list[tuple[str, np.ndarray, np.ndarray | int, np.ndarray, float, float]] = field(default_factory=list)
    _incumbents: list[dict[str, Any]] = field(default_factory=list)
    _seen: list[tuple[np.ndarray, np.ndarray]] | None = None
    _sizes: dict[tuple[str, bool], set[int]] = field(default_factory=dict)
    _modes: dict[tuple[str, int], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # On the device once, and not in every call.
        self._data = jax.tree.map(jnp.asarray, self.objective.data)
        self._check_data = jax.tree.map(jnp.asarray, self.objective.check_data)

    @property
    def spent(self) -> bool:
        """Whether the budget, or the part of it that the present stage may use, is used up."""
        return self.meter.spent() is not None

    def losses(self, v: Float[np.ndarray, "row variable"], of: Of = "loss", extra: float = 0.0) -> np.ndarray:
        """The loss of every row, infinite where it is not finite. extra: the coupling's strength, or the share."""
        return self._evaluated(np.asarray(v, np.float64), of, extra, False)[0]

    def gradients(
        self, v: Float[np.ndarray, "row variable"], of: Of = "loss", extra: float = 0.0
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row variable"]]:
        """The loss of every row, and its gradient by the row's variables."""
        return self._evaluated(np.asarray(v, np.float64), of, extra, True)

    def squares(
        self, z: Float[np.ndarray, "row k"], extra: float
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row k"], Float[np.ndarray, "row k k"]]:
        """The loss of every row coupled with the strength `extra`, its gradient and its Gauss-Newton Hessian, both by
        the parameters in their own units; infinite and zeros where they are not finite."""
        z = np.asarray(z, np.float64)
        n, k = z.shape
        held = None if self.journal is None else self.journal.replay(z, k + k * k)
        if held is None:
            size = self._size("squares", True, n)
            padded = np.concatenate([z, np.broadcast_to(z[-1:], (size - n, k))])
            given = (self.function("squares"), self.objective.box, padded, self._data, np.float64(extra))
            f, g, h = (np.asarray(a, np.float64)[:n] for a in _squares(*given))
            both = np.concatenate([g, h.reshape(n, k * k)], axis=1)
        else:
            f, both = held.losses, held.gradients
        cost = self.objective.simulated_s * n * self.meter.budget.passes(k, True)
        self.meter.spend(cost, n, None if held is None else held.wall_s)
        if held is None and self.journal is not None:
            self.journal.write(z, f, both, self.meter.wall_s)
        finite = np.isfinite(f) & np.isfinite(both).all(axis=1)
        self.nonfinite += int((~finite).sum())
        f, both = np.where(finite, f, np.inf), np.where(finite[:, None], both, 0.0)
        if extra == 0.0:
            self._keep_best(z, f)
        return f, both[:, :k], both[:, k:].reshape(n, k, k)

    def record(self, stage: str, step: np.ndarray | int, which: np.ndarray, losses: np.ndarray) -> None:
        """Note the losses that the starts `which` have after their step `step`."""
        self._course.append((stage, which.copy(), step, losses.copy(), self.meter.simulated_s, self.meter.wall_s))

    def course(self) -> pd.DataFrame:
        """One row a start and step: stage, start, step, loss, and what had been spent in all by then."""
        rows = [len(which) for _, which, *_ in self._course]
        stage, which, step, losses, simulated_s, wall_s = zip(*self._course, strict=True) if rows else [()] * 6
        steps = [np.broadcast_to(k, n) for k, n in zip(step, rows, strict=True)]
        return pd.DataFrame(
            {
                "stage": np.repeat(np.array(stage, dtype=object), rows),
                "start": np.concatenate([np.zeros(0, np.int64), *which]),
                "step": np.concatenate([np.zeros(0, np.int64), *steps]),
                "loss": np.concatenate([np.zeros(0), *losses]),
                "simulated_s": np.repeat(np.array(simulated_s, np.float64), rows),
                "wall_s": np.repeat(np.array(wall_s, np.float64), rows),
            }
        )

    def incumbents(self) -> pd.DataFrame:
        """Every time that the lowest loss so far was found: what had been spent, the loss, and the parameters."""
        box = self.objective.box
        rows = []
        for held in self._incumbents:
            x = box.physical(held["z"])
            rows.append({k: held[k] for k in ("simulated_s", "wall_s", "loss")} | dict(zip(box.names, x, strict=True)))
        return pd.DataFrame(rows, columns=["simulated_s", "wall_s", "loss", *box.names])

    @contextmanager
    def remembering(self) -> Iterator[Callable[[], tuple[np.ndarray, np.ndarray]]]:
        """Keep all coordinates whose loss is asked for meanwhile; what is yielded returns them with their losses."""
        seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._seen = seen
        yield lambda: (np.concatenate([z for z, _ in seen]), np.concatenate([f for _, f in seen]))
        self._seen = None

    def function(self, of: Of) -> Any:
        """What `of` stands for. Raises `SettingError` where the objective does not have it."""
        found = self.objective.shooting if of == "shooting" else getattr(self.objective, of)
        if found is None:
            raise SettingError(f"This method needs {of!r} of the objective, which has none. Choose another method.")
        return found

    def _evaluated(self, v: np.ndarray, of: Of, extra: float, gradient: bool) -> tuple[np.ndarray, np.ndarray]:
        if not len(v):
            return np.zeros(0), np.zeros_like(v)
        size = self._size(of, gradient, len(v))
        held = None if self.journal is None else self.journal.replay(v, v.shape[1] if gradient else 0)
        if held is None:
            losses, slopes = self._computed(v, of, extra, gradient, size)
        else:
            losses, slopes = held.losses, held.gradients
        cost = self.objective.simulated_s * len(v)
        if of == "guide" and self.objective.guide_s is not None:
            cost = self.objective.guide_s * len(v)
        if of == "check":
            cost = (self.objective.simulated_s if self.objective.check_s is None else self.objective.check_s) * len(v)
        if gradient:
            cost *= self.meter.budget.passes(v.shape[1], self._forward(of, v))
        self.meter.spend(cost, len(v), None if held is None else held.wall_s)
        if held is None and self.journal is not None:
            self.journal.write(v, losses, slopes if gradient else None, self.meter.wall_s)
        finite = np.isfinite(losses) & (np.isfinite(slopes).all(axis=1) if gradient else True)
        self.nonfinite += int((~finite).sum())
        losses, slopes = np.where(finite, losses, np.inf), np.where(finite[:, None], slopes, 0.0)
        if of == "loss":
            self._keep_best(v, losses)
        return losses, slopes

    def _forward(self, of: Of, v: np.ndarray) -> bool:
        """Whether gradients are taken in forward mode; the first batch decides, so that no other is compiled later."""
        if self.derivatives != "auto":
            return self.derivatives == "forward"
        most = self.objective.tangents
        few = v.shape[1] <= FORWARD_UP_TO and (most is None or v.size <= most)
        return self._modes.setdefault((of, v.shape[1]), few)

    def _keep_best(self, z: np.ndarray, losses: np.ndarray) -> None:
        if self._seen is not None:
            self._seen.append((z, losses))
        k = int(np.argmin(losses))
        if losses[k] < self.best_loss:
            self.best_loss, self.best_z = float(losses[k]), z[k].copy()
            spent = {"simulated_s": self.meter.simulated_s, "wall_s": self.meter.wall_s}
            self._incumbents.append({**spent, "loss": self.best_loss, "z": self.best_z})

    def _size(self, of: str, gradient: bool, n: int) -> int:
        """A size of batch that is compiled already, if one is at most 4 times as large: compiling takes seconds."""
        known = self._sizes.setdefault((of, gradient), set())
        near = [size for size in known if n <= size <= 4 * n]
        if not near:
            known.add(n)
        return min(near, default=n)

    def _computed(
        self, v: np.ndarray, of: Of, extra: float, gradient: bool, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        padded = np.concatenate([v, np.broadcast_to(v[-1:], (size - len(v), v.shape[1]))])
        data = self._check_data if of == "check" else self._data
        given = (of, self.function(of), self.objective.box, padded, data, np.float64(extra))
        if not gradient:
            return np.asarray(_losses(*given), np.float64)[: len(v)], np.zeros_like(v)
        forward, together = self._forward(of, v), self.objective.together
        if of == "loss" and together is not None and not forward:
            losses, slopes = _gradients_together(together, *given[2:5])
        else:
            losses, slopes = _gradients(forward, *given)
        return np.asarray(losses, np.float64)[: len(v)], np.asarray(slopes, np.float64)[: len(v)]


@partial(jax.jit, static_argnames=("function", "box"))
def _gradients_together(function: Callable[..., Array], box: Box, v: Array, data: Any) -> tuple[Array, Array]:
    def total(v: Array) -> tuple[Array, Array]:
        losses = function(box.to_physical(v), data)
        return losses.sum(), losses  # a row's loss is its own alone, and so is its gradient

    slopes, losses = jax.grad(total, has_aux=True)(v)
    return losses, slopes


def _loss(of: Of, function: Any, box: Box, v: Array, data: Any, extra: Array) -> Array:
    """The loss `of` one vector of variables."""
    x = box.to_physical(v[: box.size])
    if of == "shooting":
        return _penalised(function, x, v[box.size :], data, extra)
    if of in ("nudged", "within"):
        return function(x, data, extra)
    return function(x, data)


def _penalised(shooting: Shooting, x: Array, offsets: Array, data: Any, weight: Array) -> Array:
    scale = jnp.asarray(shooting.scale, offsets.dtype)
    first = jnp.asarray(shooting.states, offsets.dtype)
    loss, gaps = shooting.loss(x, data, first + scale * offsets.reshape(first.shape))
    return loss + weight * jnp.mean((gaps / scale) ** 2)


@partial(jax.jit, static_argnames=("function", "box"))
def _squares(function: Callable[..., Any], box: Box, z: Array, data: Any, extra: Array) -> Any:
    return jax.vmap(lambda row: function(box.to_physical(row), data, extra))(z)


@partial(jax.jit, static_argnames=("of", "function", "box"))
def _losses(of: Of, function: Callable[..., Array], box: Box, v: Array, data: Any, extra: Array) -> Array:
    return jax.vmap(lambda row: _loss(of, function, box, row, data, extra))(v)


@partial(jax.jit, static_argnames=("forward", "of", "function", "box"))
def _gradients(
    forward: bool, of: Of, function: Callable[..., Array], box: Box, v: Array, data: Any, extra: Array
) -> tuple[Array, Array]:
    def one(row: Array) -> tuple[Array, Array]:
        def twice(row: Array) -> tuple[Array, Array]:
            loss = _loss(of, function, box, row, data, extra)
            return loss, loss

        if forward:
            slopes, loss = jax.jacfwd(twice, has_aux=True)(row)
            return loss, slopes
        (loss, _), slopes = jax.value_and_grad(twice, has_aux=True)(row)
        return loss, slopes

    return jax.vmap(one)(v)
