"""What data say about a fitted network's parameters: intervals, soft directions, and the profile of one of them.

At the fit theta the negative log-posterior is taken as quadratic (Laplace; MacKay 1992, Neural Comput 4:448):

    Sigma_post = (H + Sigma_prior^-1)^-1,      H the Hessian of the negative log-likelihood

over the changes of each type's parameter (of its logarithm where the transform is "scale"), with the prior that
`Free` says: independent deviations of each type about a shared part. Readouts and the priors that they have are part of
the fit, and are integrated out (Schur's complement). Along an eigenvector of L^T H L, Sigma_prior = L L^T, the variance
left is 1 / (1 + eigenvalue) of the prior's: near 1 the data say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import chi2, norm

from connectofit.connectome.errors import DivergedError, SettingError, unknown_name
from connectofit.fit.network_fit import FitResult, fit_network
from connectofit.fit.objectives import Objective
from connectofit.fit.parameters import Free, Parameters
from connectofit.sim import Network

SOFT = 0.5
"""A direction, or a parameter, of whose prior variance more is left than this is not determined by the data."""
_AT_ONCE = 16  # columns of the Hessian that are worked out together
_SHOWN = 4  # parameters of a direction in words


@dataclass(frozen=True, eq=False)
class NetworkUncertainty:
    """Intervals of a fitted network's free parameters, and directions from the softest to the stiffest.

    table: a row each value: ``parameter``, ``unit``, ``type`` (see `Parameters.table`), ``value``, its standard error
    ``sd`` (of the logarithm where the transform is "scale"), ``low`` and ``high`` of the interval, ``prior_sd``,
    ``left`` (the variance left, of the prior's), ``identified`` (`left` at most `SOFT`). directions: ``rank``, ``left``
    and what ``moves`` along it, in words. weights: [direction, parameter], in units of the prior's standard deviations,
    rows in the order of directions, columns in that of the table. findings: what is odd, in sentences.
    """

    table: pd.DataFrame
    directions: pd.DataFrame
    weights: Float[np.ndarray, "direction parameter"] = field(repr=False)
    level: float
    findings: tuple[str, ...]


def network_uncertainty(
    result: FitResult,
    objectives: Mapping[str, Objective],
    *,
    free: Parameters,
    weights: Mapping[str, float] | None = None,
    hold_out: Mapping[str, Bool[np.ndarray, "row"]] | None = None,
    level: float = 0.95,
) -> NetworkUncertainty:
    """Intervals and soft directions at a fit.

    Parameters
    ----------
    result: of `fit_network`. objectives, free, weights, hold_out: what it was called with; rows that the fit stopped
    early by count, too. level: of the intervals.

    Raises
    ------
    UnknownNameError, SettingError: names and settings that do not fit. DivergedError: a Hessian that is not finite.
    """
    if not 0 < level < 1:
        raise SettingError(f"level of an interval has to be between 0 and 1; found {level!r}.")
    weights, hold_out = dict(weights or {}), dict(hold_out or {})
    given: tuple[tuple[str, Mapping[str, object]], ...]
    given = (("weights", weights), ("hold_out", hold_out), ("objectives of the fit", result.readouts))
    for what, wanted in given:
        for name in wanted:
            if name not in objectives:
                raise unknown_name("objective", name, objectives, what)
    net = result.network
    free.check(net)
    seen = {n: o.subset(~np.asarray(hold_out[n])) if n in hold_out else o for n, o in objectives.items()}
    start = {"free": _no_change(net, free), "readout": {n: dict(result.readouts[n]) for n in seen}}
    flat, unravel = ravel_pytree(jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), start))
    n_free = int(sum(np.size(leaf) for leaf in jax.tree.leaves(start["free"])))

    def loss(v: Array) -> Array:
        values = unravel(v)
        changed = _changed(net, free, values["free"])
        total = jnp.zeros(())
        for name, objective in seen.items():
            readout = values["readout"][name]
            nll = objective.loss(objective.predict(changed, readout))
            total += weights.get(name, 1.0) * jnp.sum(nll) + objective.penalty(readout)
        return total

    hessian = _hessian(loss, flat)
    if not np.isfinite(hessian).all():
        raise DivergedError("The Hessian of the loss at the fit is not finite: there are no intervals.")
    # `ravel_pytree` puts dictionaries in the order of their keys: "free" stands before "readout".
    own, findings = _without_readouts(hessian, n_free)
    covariance = _prior(net, free)
    order = np.concatenate([np.arange(size) + begin for begin, size in _places(net, free)])
    own = own[np.ix_(order, order)]
    root = np.linalg.cholesky(covariance)
    values, vectors = np.linalg.eigh(root.T @ own @ root)
    if values[0] < -1e-3 * max(1.0, abs(values[-1])):
        findings.append(
            f"the loss bends down along {int((values < 0).sum())} of {len(values)} directions: the fit is at no minimum"
        )
    values = np.maximum(values, 0.0)
    left = 1.0 / (1.0 + values)
    posterior = root @ (vectors * left) @ vectors.T @ root.T
    table = free.table(net)
    scale = np.concatenate([np.full(size, f.transform == "scale") for f, (_, size) in _owned(net, free)])
    sd, prior_sd, half = np.sqrt(np.diag(posterior)), np.sqrt(np.diag(covariance)), norm.ppf(0.5 + 0.5 * level)
    value = table["value"].to_numpy()
    table["sd"] = sd
    table["low"] = np.where(scale, np.minimum(value * np.exp(-half * sd), value * np.exp(half * sd)), value - half * sd)
    table["high"] = np.where(
        scale, np.maximum(value * np.exp(-half * sd), value * np.exp(half * sd)), value + half * sd
    )
    table["prior_sd"] = prior_sd
    table["left"] = (sd / prior_sd) ** 2
    table["identified"] = table["left"] <= SOFT
    names = [f"{p} of {t}" if t else p for p, t in zip(table["parameter"], table["type"], strict=True)]
    # A direction in the parameters' own units, each relative to its prior's standard deviation.
    moves = (root @ vectors).T / prior_sd
    directions = pd.DataFrame(
        {"rank": np.arange(len(left)), "left": left, "moves": [_said(row, names) for row in moves]}
    )
    return NetworkUncertainty(table, directions, moves, level, tuple(findings))


def network_profile(
    net: Network,
    objectives: Mapping[str, Objective],
    *,
    free: Parameters,
    name: str,
    grid: Sequence[float],
    kind: str | None = None,
    level: float = 0.95,
    **settings: Any,
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """The profile of the negative log-posterior over one parameter: at each of its values all else is fitted anew.

    Parameters
    ----------
    net, objectives, free: as for `fit_network`. name: a free parameter, "owner.parameter". kind: the type whose value
    it is (as in `Parameters.table`), where there is more than one. grid: values, in the parameter's unit. settings:
    further arguments of `fit_network` (not a checkpoint).

    Returns
    -------
    A row each value: ``value``, ``loss`` [nats], ``rise`` above the lowest; and the interval in which the rise is below
    half the quantile of chi squared with one degree of freedom (Wilks 1938, Ann Math Stat 9:60), ends interpolated;
    infinite where the grid ends before.

    Raises
    ------
    As `fit_network`; `SettingError` for fewer than three values.
    """
    if len(set(grid)) < 3 or not np.isfinite(np.asarray(grid, float)).all():
        raise SettingError(f"A profile needs three different finite values or more; found {list(grid)!r}.")
    if "checkpoint" in settings:
        raise SettingError("A profile is many fits, which cannot share a checkpoint. Leave it out.")
    chosen = next((f for f in free.free if f.name == name), None)
    if chosen is None:
        raise unknown_name("free parameter", name, [f.name for f in free.free], "a profile")
    free.check(net)
    kinds = free.table(net).query("parameter == @name")["type"].tolist()
    if kind is None and len(kinds) > 1:
        raise SettingError(f"{name} has {len(kinds)} values: say which by kind, one of {', '.join(kinds[:5])}, ...")
    if kind is not None and kind not in kinds:
        raise unknown_name("type", kind, kinds, name)
    at = 0 if kind is None else kinds.index(kind)
    base = float(np.asarray(net.params[chosen.owner][chosen.parameter])[at])
    rows = []
    for value in sorted(set(map(float, grid))):
        if chosen.transform == "scale" and not value / base > 0:
            raise SettingError(f"{name} keeps the sign of {base:g}; found {value:g} in the grid.")
        change = np.log(value / base) if chosen.transform == "scale" else value - base
        pinned = Pinned(free.free, name, at, float(change))
        found = fit_network(net, objectives, free=pinned, **settings)
        rows.append((value, float(found.starts["training"][found.best_start]) * found.n_rows))
    table = pd.DataFrame(rows, columns=["value", "loss"])
    table["rise"] = table["loss"] - table["loss"].min()
    return table, _interval(table["value"].to_numpy(), table["rise"].to_numpy(), 0.5 * float(chi2.ppf(level, 1)))


@dataclass(frozen=True)
class Pinned(Parameters):
    """Free parameters of which one type's value does not move: its change is `change`, whatever the shared part is."""

    name: str = ""
    at: int = 0
    change: float = 0.0

    def _pinned(self, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        own = values[self.name]
        deviation = jnp.asarray(own["deviation"]).at[self.at].set(self.change - own["shared"])
        return {**values, self.name: {**own, "deviation": deviation}}

    def apply(self, net: Network, values: Mapping[str, Mapping[str, Any]]) -> Network:
        return super().apply(net, self._pinned(values))

    def penalty(self, values: Mapping[str, Mapping[str, Any]]) -> Float[Array, ""]:
        return super().penalty(self._pinned(values))


def _owned(net: Network, free: Parameters) -> list[tuple[Free, tuple[int, int]]]:
    """Every free parameter with where its values stand in the order of the table."""
    found, at = [], 0
    for f in free.free:
        size = int(np.size(net.params[f.owner][f.parameter]))
        found.append((f, (at, size)))
        at += size
    return found


def _places(net: Network, free: Parameters) -> list[tuple[int, int]]:
    """Where `ravel_pytree`, which sorts names, puts the values of every free parameter, in the order of the table."""
    sizes = {f.name: size for f, (_, size) in _owned(net, free)}
    begins, at = {}, 0
    for name in sorted(sizes):
        begins[name] = at
        at += sizes[name]
    return [(begins[f.name], sizes[f.name]) for f in free.free]


def _no_change(net: Network, free: Parameters) -> dict[str, np.ndarray]:
    return {f.name: np.zeros(np.shape(net.params[f.owner][f.parameter])) for f in free.free}


def _changed(net: Network, free: Parameters, changes: Mapping[str, Array]) -> Network:
    values = {name: {"shared": 0.0, "deviation": change} for name, change in changes.items()}
    return free.apply(net, values)


def _prior(net: Network, free: Parameters) -> np.ndarray:
    """The prior's covariance of the changes, in the order of the table."""
    n = sum(size for _, (_, size) in _owned(net, free))
    covariance = np.zeros((n, n))
    for f, (at, size) in _owned(net, free):
        block = f.sd_type**2 * np.eye(size) + f.sd_shared**2
        covariance[at : at + size, at : at + size] = block
    return covariance


def _hessian(loss: Callable[[Array], Array], at: Array) -> np.ndarray:
    """Forward over reverse mode, a few columns at a time."""

    @jax.jit
    def columns(vectors: Array) -> Array:
        return jax.vmap(lambda v: jax.jvp(jax.grad(loss), (at,), (v,))[1])(vectors)

    n = int(at.size)
    identity = np.eye(n, dtype=np.asarray(at).dtype)
    padded = np.concatenate([identity, np.zeros((-n % _AT_ONCE, n), identity.dtype)])
    parts = [np.asarray(columns(padded[k : k + _AT_ONCE]), np.float64) for k in range(0, len(padded), _AT_ONCE)]
    found = np.concatenate(parts)[:n]
    return np.asarray(0.5 * (found + found.T))


def _without_readouts(hessian: np.ndarray, n_free: int) -> tuple[np.ndarray, list[str]]:
    """The Hessian over the network's parameters, with readouts integrated out."""
    own, cross, readout = hessian[:n_free, :n_free], hessian[:n_free, n_free:], hessian[n_free:, n_free:]
    if not readout.size:
        return own, []
    values = np.linalg.eigvalsh(readout)
    if values[0] <= 1e-9 * max(abs(values[-1]), 1e-300):
        # What of a readout no data and no prior decide takes nothing away.
        return own - cross @ np.linalg.pinv(readout, hermitian=True) @ cross.T, [
            "the data do not determine the readouts' parameters"
        ]
    return own - cross @ cho_solve(cho_factor(readout), cross.T), []


def _said(row: np.ndarray, names: Sequence[str]) -> str:
    lead = np.argsort(-np.abs(row), kind="stable")
    sign = np.sign(row[lead[0]]) or 1.0
    shown = [k for k in lead[:_SHOWN] if abs(row[k]) >= 0.1 * abs(row[lead[0]])]
    return ", ".join(f"{names[k]} {sign * row[k]:+.2f}" for k in shown)


def _interval(value: np.ndarray, rise: np.ndarray, most: float) -> tuple[float, float]:
    lowest = int(np.argmin(rise))

    def end(step: int) -> float:
        k = lowest
        while 0 <= k + step < len(value):
            if rise[k + step] > most:
                share = (most - rise[k]) / (rise[k + step] - rise[k])
                return float(value[k] + share * (value[k + step] - value[k]))
            k += step
        return step * float("inf")

    return end(-1), end(1)
