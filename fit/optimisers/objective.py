"""What an optimiser is given: a loss of a few bounded parameters, and what one look at it costs.

Optimisers search in coordinates z that run over all real numbers,

    x = low + (high - low) s(z),   or   x = low (high / low)^s(z) for parameters on a logarithmic scale,

s the logistic function, so that no step leaves the bounds and parameters of different units take steps of like size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.special import expit

from connectofit.connectome.errors import SettingError, offenders

EDGE = 1e-4  # a start on a bound is moved by this share of the range inside, where the coordinate is finite


@dataclass(frozen=True, eq=False)
class Box:
    """Bounded parameters: their names, bounds in their own units, and whether each is on a logarithmic scale.

    Raises `SettingError` for bounds that are not finite or not in order, and for a logarithmic scale from 0 or below.
    """

    names: tuple[str, ...]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    log: tuple[bool, ...]

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        if not self.names or not len(self.names) == len(self.low) == len(self.high) == len(self.log):
            raise SettingError(
                f"Every parameter needs a lower and an upper bound and a scale; found {len(self.names)} names, "
                f"{len(self.low)} lower bounds, {len(self.high)} upper bounds and {len(self.log)} scales."
            )
        given = [f"{n}: {a:g} to {b:g}" for n, a, b in zip(self.names, self.low, self.high, strict=True)]
        ordered = np.isfinite(self.low) & np.isfinite(self.high) & (self.low < self.high)
        if not ordered.all():
            wrong = [given[k] for k in np.flatnonzero(~ordered)]
            raise SettingError(
                f"Bounds have to be finite, the lower one below the upper one; found {offenders(wrong)}."
            )
        zero = [given[k] for k in np.flatnonzero((self.low <= 0) & np.array(self.log))]
        if zero:
            raise SettingError(f"Parameters on a logarithmic scale need bounds above 0; found {offenders(zero)}.")

    @property
    def size(self) -> int:
        """The number of parameters."""
        return len(self.names)

    def to_physical(self, z: Float[Array, "*batch k"]) -> Float[Array, "*batch k"]:
        """Parameters in their own units from coordinates."""
        share = jax.nn.sigmoid(z)
        log = jnp.array(self.log)
        low, high = jnp.asarray(self.low, z.dtype), jnp.asarray(self.high, z.dtype)
        ratio = jnp.asarray(np.where(self.log, self.high / np.where(self.log, self.low, 1.0), 1.0), z.dtype)
        return jnp.where(log, low * ratio**share, low + (high - low) * share)

    def from_physical(self, x: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """Coordinates of parameters inside the bounds; on a bound they are moved inside by `EDGE` of the range.

        Raises `SettingError` for values outside.
        """
        x = np.asarray(x, dtype=np.float64)
        outside = (x < self.low) | (x > self.high) | ~np.isfinite(x)
        if outside.any():
            rows = [
                f"{self.names[k[-1]]} = {x[tuple(k)]:g} (bounds {self.low[k[-1]]:g} to {self.high[k[-1]]:g})"
                for k in np.argwhere(outside)
            ]
            raise SettingError(f"A start has to lie inside the bounds; found {offenders(rows)}. Widen the bounds.")
        return self.from_share(self.share(x))

    def share(self, x: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """Where in its range each parameter lies, from 0 (lower bound) to 1."""
        log = np.array(self.log)
        low, high = np.where(log, self.low, 1.0), np.where(log, self.high, 2.0)
        on_log = np.log(np.where(log, x, 1.0) / low) / np.log(high / low)
        return np.where(log, on_log, (x - self.low) / (self.high - self.low))

    def physical(self, z: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """`to_physical` in float64, without JAX."""
        share = expit(np.asarray(z, dtype=np.float64))
        log = np.array(self.log)
        ratio = np.where(log, self.high / np.where(log, self.low, 1.0), 1.0)
        return np.where(log, self.low * ratio**share, self.low + (self.high - self.low) * share)

    @staticmethod
    def from_share(share: Float[np.ndarray, "*batch k"]) -> Float[np.ndarray, "*batch k"]:
        """Coordinates of places in the range."""
        inside = np.clip(share, EDGE, 1.0 - EDGE)
        return np.log(inside) - np.log1p(-inside)


@dataclass(frozen=True, eq=False)
class Shooting:
    """The loss over segments of time that each start from a state of their own (Bock 1983, in Deuflhard & Hairer,
    Numerical Treatment of Inverse Problems in Differential Equations, p. 95).

    loss: (parameters, data, states [segment, n]) -> (the loss, gaps [segment - 1, n] between where a segment ends and
    where the next one starts). states: where the segments start before they are fitted, from the recording. scale: the
    unit in which each variable of the state moves and in which a gap counts.
    """

    loss: Callable[[Array, Any, Array], tuple[Array, Array]]
    states: Float[np.ndarray, "segment n"]
    scale: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss to be minimised.

    box: the parameters. loss: (parameters [k] in their own units, data) -> a number; pure, for `jax.jit`, `jax.vmap`
    and derivatives of both modes. data: what it is given, arrays in any pytree (an argument, since constants would be
    compiled in). simulated_s: the seconds of model time that one call simulates, all sweeps together.
    nudged: (parameters, data, strength) -> the loss with a current of `strength` times (recorded - model voltage)
    added, in the model's units of conductance; None where nothing was recorded to couple to. couplings: strengths to
    anneal over, the last 0. within: (parameters, data, share) -> the loss over the first `share` of the time only.
    check: a loss on data of the training part that were set aside for early stopping, (parameters, check_data) ->
    number; check_s: the seconds that it simulates, if not `simulated_s`. guide: a loss with a useful gradient whose
    minimum lies near that of `loss`, (parameters, data) -> number: the likelihood under recorded spikes, say, where
    `loss` counts spikes; guide_s: the seconds that it simulates, if not `simulated_s`. shooting: the loss over segments
    of time. tangents: up to how many of them (rows of a batch times parameters) forward mode is the cheaper one; None
    where reverse mode is so costly that the number of parameters alone decides. squares: where the loss is a mean of
    squared residuals r with derivatives J, (parameters, data, strength) -> (that of `nudged`, 2 J^T r / n, 2 J^T J / n)
    (`folded_squares`). together: (parameters [row, k], data) -> `loss` of every row, each by itself, where that makes
    reverse mode faster than mapping `loss` over the rows.
    """

    box: Box
    loss: Callable[[Array, Any], Array]
    data: Any
    simulated_s: float
    nudged: Callable[[Array, Any, Array], Array] | None = None
    couplings: Sequence[float] = ()
    within: Callable[[Array, Any, Array], Array] | None = None
    check: Callable[[Array, Any], Array] | None = None
    check_data: Any = None
    check_s: float | None = None
    guide: Callable[[Array, Any], Array] | None = None
    guide_s: float | None = None
    shooting: Shooting | None = None
    tangents: int | None = None
    squares: Callable[[Array, Any, Array], tuple[Array, Array, Array]] | None = None
    together: Callable[[Array, Any], Array] | None = None


def folded_squares(
    start: Callable[[Array], Any],
    step: Callable[[Array, Any, Any], tuple[Any, Array]],
    x: Float[Array, " k"],
    rows: Any,
) -> tuple[Array, Float[Array, " k"], Float[Array, "k k"]]:
    """Sums over time of squared residuals r^2, J^T r and J^T J, with J = dr/dx, in one loop that keeps no trace.

    start: x -> the first state, of floating-point arrays only. step: (x, state, row) -> (state, residuals [m]).
    """
    basis = jnp.eye(x.size, dtype=x.dtype)

    def first(along: Array) -> tuple[Any, Any]:
        return jax.jvp(start, (x,), (along,))

    def move(carry: Any, row: Any) -> tuple[Any, None]:
        state, moving, total, slope, square = carry

        def along(by_x: Array, by_state: Any) -> Any:
            return jax.jvp(lambda x, state: step(x, state, row), (x, state), (by_x, by_state))

        (state, r), (moving, dr) = jax.vmap(along, out_axes=((None, None), (0, 0)))(basis, moving)
        return (state, moving, total + r @ r, slope + dr @ r, square + dr @ dr.T), None

    state, moving = jax.vmap(first, out_axes=(None, 0))(basis)
    none = jnp.zeros((), x.dtype), jnp.zeros(x.size, x.dtype), jnp.zeros((x.size, x.size), x.dtype)
    (_, _, total, slope, square), _ = lax.scan(move, (state, moving, *none), rows)
    return total, slope, square
