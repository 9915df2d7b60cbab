"""The starts of many cells as rows of one program: losses and gradients, each row under the recordings of its cell.

A row is simulated as long as its descent asks for it, so that none waits for the slowest.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.fit.cells.problem import CellProblem
from connectofit.fit.optimisers.budget import Budget
from connectofit.fit.optimisers.evaluation import FORWARD_UP_TO
from connectofit.fit.optimisers.journal import Journal
from connectofit.fit.optimisers.objective import Objective

ROWS = 64  # simulated at once: what a segment of time keeps of them for reverse mode stays in the cache


@dataclass(eq=False)
class Lanes:
    """Losses and gradients of the starts of all cells; a row is a start.

    objective: of the first cell, for the functions that all have. data: of all cells, which are the last axis. low,
    high: bounds [cell, k]. couplings: [level, cell]. owner: the cell of each row. looks: how often each was
    simulated; nonfinite: how often its loss or gradient was not finite. sweep_s: how long the sweeps of each cell are.
    """

    objective: Objective
    data: Any
    low: Float[np.ndarray, "cell k"]
    high: Float[np.ndarray, "cell k"]
    couplings: Float[np.ndarray, "level cell"]
    owner: Int[np.ndarray, " row"]
    sweep_s: Float[np.ndarray, " cell"]
    looks: Int[np.ndarray, " row"] = field(init=False)
    nonfinite: Int[np.ndarray, " row"] = field(init=False)
    journal: Journal | None = None
    _sizes: dict[bool, set[int]] = field(default_factory=lambda: {True: set(), False: set()})
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.looks, self.nonfinite = np.zeros((2, len(self.owner)), np.int64)

    @classmethod
    def of(cls, problems: Sequence[CellProblem], starts: int) -> Lanes:
        objective = problems[0].objective
        width = max(len(p.recordings) for p in problems)
        data = jax.tree.map(lambda *a: jnp.stack(a, axis=-1), *(_widened(p.objective.data, width) for p in problems))
        boxes = [p.objective.box for p in problems]
        owner = np.repeat(np.arange(len(problems)), starts)
        return cls(
            objective,
            data,
            np.stack([box.low for box in boxes]),
            np.stack([box.high for box in boxes]),
            np.array([p.objective.couplings for p in problems]).reshape(len(problems), -1).T,
            owner,
            np.array([p.objective.simulated_s for p in problems]),
        )

    @property
    def wall_s(self) -> float:
        """How long the descents have taken, with the time before a kill."""
        return time.perf_counter() - self._began

    @property
    def simulated_s(self) -> Float[np.ndarray, " cell"]:
        """What has been simulated of each cell so far, over its rows; see `Budget`."""
        looks = np.bincount(self.owner, self.looks, minlength=len(self.low))
        return looks * self.sweep_s * self.passes

    @property
    def forward(self) -> bool:
        """Whether gradients are taken in forward mode."""
        objective, k = self.objective, self.objective.box.size
        most = objective.tangents
        return objective.together is None and k <= FORWARD_UP_TO and (most is None or k * len(self.owner) <= most)

    @property
    def passes(self) -> float:
        """How many forward passes a gradient counts as, see `Budget`."""
        return Budget().passes(self.objective.box.size, self.forward)

    def gradients(
        self, z: Float[np.ndarray, "row k"], rows: Int[np.ndarray, " row"], level: int | None = None
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row k"]]:
        """The loss of every row at its coordinates, infinite where it is not finite, and its gradient. level: of the
        couplings; None: not coupled."""
        self.looks[rows] += 1
        # Also of what is replayed: a batch's size decides the last bit, and depends on those before it.
        sizes = [self._size(len(rows[k : k + ROWS]), level) for k in range(0, len(rows), ROWS)]
        held = None if self.journal is None else self.journal.replay(z, z.shape[1])
        if held is None:
            places = range(0, len(rows), ROWS)
            blocks = [
                self._computed(z[k : k + ROWS], rows[k : k + ROWS], level, size)
                for k, size in zip(places, sizes, strict=True)
            ]
            f, g = (np.concatenate(each) for each in zip(*blocks, strict=True))
            if self.journal is not None:
                self.journal.write(z, f, g, self.wall_s)
        else:
            f, g = held.losses, held.gradients
            self._began = time.perf_counter() - held.wall_s
        finite = np.isfinite(f) & np.isfinite(g).all(axis=1)
        self.nonfinite[rows] += ~finite
        return np.where(finite, f, np.inf), np.where(finite[:, None], g, 0.0)

    def _size(self, n: int, level: int | None) -> int:
        """How many rows a batch of `n` is computed as: a size that is compiled already, if one is near."""
        known = self._sizes[level is None]
        size = min((size for size in known if n <= size <= 4 * n), default=n)
        known.add(size)
        return size

    def _computed(self, z: np.ndarray, rows: np.ndarray, level: int | None, size: int) -> tuple[np.ndarray, np.ndarray]:
        n = len(rows)
        z, rows = (np.concatenate([a, np.repeat(a[-1:], size - n, axis=0)]) for a in (z, rows))
        owner, objective, together = self.owner[rows], self.objective, self.objective.together
        places = z, self.low[owner], self.high[owner], owner
        if together is not None:
            f, g = _gradients_together(together, objective.box.log, *places, self.data)
        else:
            function = objective.loss if level is None else objective.nudged
            strength = None if level is None else self.couplings[level][owner]
            f, g = _gradients(function, objective.box.log, self.forward, *places, strength, self.data)
        return np.asarray(f, np.float64)[:n], np.asarray(g, np.float64)[:n]

    def identity(self, told: list[Any], z: Float[np.ndarray, "row k"]) -> str:
        """A digest of all that descents from `z` depend on, `told` among it."""
        digest = hashlib.sha256(json.dumps([*told, list(self.objective.box.names), self.objective.box.log]).encode())
        arrays = z, self.low, self.high, self.couplings, self.owner, self.data
        for path, leaf in jax.tree_util.tree_flatten_with_path(arrays)[0]:
            array = np.asarray(leaf)
            digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _widened(data: Mapping[str, Any], width: int) -> dict[str, Any]:
    """With sweeps that do not count, up to `width` of them."""
    missing = width - data["valid"].shape[1]

    def wider(name: str, value: Any) -> Any:
        if name == "fixed" or not missing:
            return value
        pad = ((0, 0), (0, missing)) if value.ndim == 2 else (0, missing)
        return jnp.pad(value, pad, mode="edge" if name in ("start_mV", "voltage_mV") else "constant")

    return {name: wider(name, value) for name, value in data.items()}


def _physical(z: Array, low: Array, high: Array, log: tuple[bool, ...]) -> Array:
    """Parameters in their own units, each row within bounds of its own; see `Box`."""
    on_log, share = jnp.asarray(log), jax.nn.sigmoid(z)
    ratio = jnp.where(on_log, high / jnp.where(on_log, low, 1.0), 1.0)
    return jnp.where(on_log, low * ratio**share, low + (high - low) * share)


def _of_rows(owner: Array, data: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.take(leaf, owner, axis=-1), data)


@partial(jax.jit, static_argnums=(0, 1))
def _gradients_together(
    function: Callable[..., Array], log: tuple[bool, ...], z: Array, low: Array, high: Array, owner: Array, data: Any
) -> tuple[Array, Array]:
    own = _of_rows(owner, data)

    def total(z: Array) -> tuple[Array, Array]:
        losses = function(_physical(z, low, high, log), own)
        return losses.sum(), losses  # a row's loss is its own alone, and so is its gradient

    slopes, losses = jax.grad(total, has_aux=True)(z)
    return losses, slopes


@partial(jax.jit, static_argnums=(0, 1, 2))
def _gradients(
    function: Callable[..., Array],
    log: tuple[bool, ...],
    forward: bool,
    z: Array,
    low: Array,
    high: Array,
    owner: Array,
    strength: Array | None,
    data: Any,
) -> tuple[Array, Array]:
    def one(z: Array, low: Array, high: Array, strength: Array | None, data: Any) -> tuple[Array, Array]:
        def twice(z: Array) -> tuple[Array, Array]:
            x = _physical(z, low, high, log)
            loss = function(x, data) if strength is None else function(x, data, strength)
            return loss, loss

        if forward:
            slopes, loss = jax.jacfwd(twice, has_aux=True)(z)
        else:
            slopes, loss = jax.grad(twice, has_aux=True)(z)
        return loss, slopes

    last = jax.tree.map(lambda leaf: leaf.ndim - 1, data)
    return jax.vmap(one, in_axes=(0, 0, 0, 0, last))(z, low, high, strength, _of_rows(owner, data))
