"""How much fitted parameters change with the stretches of the stimulus that happened to be recorded.

Under recorded spikes the likelihood is a sum over samples of terms that depend on the past through the recording alone
(log L = sum_t log p(y_t | recording before t)), so that a block of the stimulus can be drawn several times, or not at
all, by counting its terms so often: exactly, without joining traces that do not fit together. The blocks have to be
longer than residuals stay correlated (Künsch 1989, Ann Stat 17:1217). Unlike curvature this does not trust the noise
that the likelihood assumes: it shows how far apart the fits are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.problem import CellProblem
from connectofit.fit.cells.uncertainty import Uncertainty, laplace
from connectofit.fit.cells.uncertainty_likelihood import Likelihood, descend, polished
from connectofit.fit.folds import check_seed

ENOUGH_BLOCKS = 10
"""With fewer blocks percentiles of what is drawn from them are too narrow."""

_CELLS = 4_000_000  # weights that a batch of draws may hold
_BATCH = 16


@dataclass(frozen=True, eq=False)
class BlockBootstrap:
    """Parameters refitted to resampled blocks.

    x: fitted to all blocks as they are. draws: one row a resample, in the parameters' own units. block_ms: how long the
    blocks are on average. n_blocks: how many there are. uncertainty: by curvature, of `x`: what it does not identify a
    bootstrap does not either, since refits stay where they start. redrawn: resamples without a spike, which have no
    fit, drawn again. unconverged: refits that did not reach their optimum.
    """

    names: tuple[str, ...]
    x: Float[np.ndarray, " k"]
    draws: Float[np.ndarray, "draw k"] = field(repr=False)
    level: float
    block_ms: float
    n_blocks: int
    uncertainty: Uncertainty = field(repr=False)
    redrawn: int
    unconverged: int
    seed: int

    @property
    def table(self) -> pd.DataFrame:
        """One row a parameter: value, standard_error, low, high (percentiles), bound_hits (the share of the refits on a
        bound), identifiable. Of what is not identified, the interval is the range, and the standard error infinite."""
        tails = 50.0 * (1.0 - self.level)
        box_low, box_high = self.uncertainty.box.low, self.uncertainty.box.high
        rows = []
        for k, name in enumerate(self.names):
            known = self.uncertainty.identifiable[name]
            drawn = self.draws[:, k]
            low, high = np.percentile(drawn, [tails, 100.0 - tails]) if known else (box_low[k], box_high[k])
            hits = (drawn <= box_low[k]) | (drawn >= box_high[k])
            rows.append(
                {
                    "parameter": name,
                    "value": float(self.x[k]),
                    "standard_error": float(np.std(drawn, ddof=1)) if known else np.inf,
                    "low": float(low),
                    "high": float(high),
                    "bound_hits": float(hits.mean()),
                    "identifiable": known,
                }
            )
        return pd.DataFrame(rows)

    @property
    def findings(self) -> tuple[str, ...]:
        """What is to be said about it beside the intervals, in sentences."""
        found = list(self.uncertainty.findings)
        if self.n_blocks < ENOUGH_BLOCKS:
            found.append(
                f"The bootstrap had {self.n_blocks} blocks of {self.block_ms:.0f} ms to draw from; below "
                f"{ENOUGH_BLOCKS}, its intervals are too narrow. Take shorter blocks, or record for longer."
            )
        if self.unconverged:
            found.append(
                f"{self.unconverged} of {len(self.draws)} refits of the bootstrap did not reach their optimum."
            )
        return tuple(found)


def block_bootstrap(
    problem: CellProblem,
    x: Float[np.ndarray, " k"],
    n: int = 200,
    block_ms: float = 500.0,
    seed: int = 0,
    *,
    level: float = 0.95,
) -> BlockBootstrap:
    """Refit the parameters to `n` resamples of the blocks of the recording.

    x: the free parameters at or near the optimum, which is sought from there first; refits start from it. block_ms: the
    length of a block; every sweep is cut into blocks of equal length near it, at least one, and as many blocks as there
    are of all sweeps are drawn with replacement. seed: of the draws.

    Raises `SettingError` for a loss that is no likelihood under recorded spikes, fewer than 2 blocks, fewer than 2
    draws, and a level outside 0 to 1.
    """
    check_seed(seed)
    likelihood = Likelihood(problem)
    block, n_blocks, mean_ms = resampled_blocks(problem, n, block_ms)
    fitted = polished(problem, x)
    base = laplace(problem, fitted, level=level)
    spikes = np.zeros(n_blocks)
    np.add.at(spikes, block, np.asarray(problem.objective.data["spikes"]))
    counts, redrawn = _drawn(n, n_blocks, spikes if problem.loss.needs_spikes else np.ones(n_blocks), seed)
    shares, converged = _refitted(likelihood, base, block, counts)
    return BlockBootstrap(
        base.names,
        fitted,
        likelihood.physical(shares),
        level,
        mean_ms,
        n_blocks,
        base,
        redrawn,
        int((~converged).sum()),
        int(seed),
    )


def resampled_blocks(
    problem: CellProblem, n: int, block_ms: float = 500.0
) -> tuple[Int[np.ndarray, "time sweep"], int, float]:
    """Of which block every sample is, how many blocks there are, and their mean length [ms].

    Raises the `SettingError` that `block_bootstrap` raises for them, before any fitting.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise SettingError(f"A bootstrap needs 2 resamples or more; found {n!r}.")
    if not (np.isfinite(block_ms) and block_ms > 0):
        raise SettingError(f"block_ms has to be above 0; found {block_ms!r}.")
    found = _blocks(np.asarray(problem.objective.data["valid"]), problem.dt_ms, float(block_ms))
    if found[1] < 2:
        raise SettingError(
            f"The recording has {found[1]} block of {block_ms:g} ms; resampling needs 2 or more. Take shorter blocks."
        )
    return found


def _blocks(
    valid: Float[np.ndarray, "time sweep"], dt_ms: float, block_ms: float
) -> tuple[Int[np.ndarray, "time sweep"], int, float]:
    """Of which block every sample is, how many there are, and their mean length [ms]; samples after the end of a sweep
    count nowhere and are given its last block."""
    block, n = np.zeros(valid.shape, np.int32), 0
    for k in range(valid.shape[1]):
        length = int(valid[:, k].sum())
        own = max(1, round(length * dt_ms / block_ms))
        block[:, k] = n + np.minimum(np.arange(valid.shape[0]) * own // max(length, 1), own - 1)
        n += own
    return block, n, float(valid.sum() * dt_ms / n)


def _drawn(n: int, n_blocks: int, needed: Float[np.ndarray, " block"], seed: int) -> tuple[np.ndarray, int]:
    """How often every block counts in every resample, [draw, block], all with something that is needed."""
    rng = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    redrawn = 0
    while len(rows) < n:
        counts = rng.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks))
        if counts @ needed > 0:
            rows.append(counts)
        else:
            redrawn += 1
    return np.array(rows, np.float64), redrawn


def _refitted(
    likelihood: Likelihood,
    base: Uncertainty,
    block: Int[np.ndarray, "time sweep"],
    counts: Float[np.ndarray, "draw block"],
) -> tuple[Float[np.ndarray, "draw k"], np.ndarray]:
    """The optimum of every resample, and whether it was reached; in batches of one size, for one program."""
    n = len(counts)
    size = int(np.clip(_CELLS // block.size, 1, min(_BATCH, n)))
    with jax.enable_x64(True):
        where = jnp.asarray(block)
    shares, converged = np.zeros((n, len(base.share))), np.zeros(n, bool)
    for first in range(0, n, size):
        rows = np.minimum(np.arange(first, first + size), n - 1)
        found = descend(
            partial(likelihood.gradients, block=where, weights=counts[rows]),
            np.tile(base.share, (size, 1)),
            np.tile(base.hessian, (size, 1, 1)),
        )
        shares[rows], converged[rows] = found.share, found.converged
    return shares, converged
