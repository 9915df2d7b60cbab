"""How well a recording determines a fitted cell: intervals from the curvature of the likelihood, and what stays open.

Around its optimum the negative log likelihood is a parabola with the Hessian H; the parameters then scatter as a normal
distribution with covariance H^-1 (Laplace's approximation, the observed information of Fisher; Efron & Hinkley 1978,
Biometrika 65:457). H is taken over *shares*, the place of each parameter in its range, so that its eigenvectors tell
which combinations of parameters the data fix within the box and which they do not ("sloppy" ones: Gutenkunst et al.
2007, PLoS Comput Biol 3:e189). One rule decides: what has a 95 % interval that spans more than half of its range is not
identified, since little more is then known than the bounds said.

Spikes alone are an example: neither the zero of the voltage nor its unit reaches a spike train, so that resistance,
resting potential, threshold, reset and width of the escape rate can move together for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from scipy.stats import norm

from connectofit.connectome.errors import DivergedError, SettingError
from connectofit.fit.cells.problem import OWN_VOLTAGE, CellProblem
from connectofit.fit.cells.teacher_forced import ForcedLikelihood
from connectofit.fit.cells.uncertainty_directions import HALF, Direction, along, combinations_of, directions_of
from connectofit.fit.cells.uncertainty_likelihood import FLAT, Likelihood, newton_step, polished
from connectofit.fit.optimisers.objective import EDGE, Box

__all__ = ["BOUND_SHARE", "HALF", "Direction", "Estimate", "Uncertainty", "laplace", "polished"]

BOUND_SHARE = 0.005
"""A parameter nearer to a bound than this share of its range lies on it."""

_ROUNDING = 1e-12  # of the largest eigenvalue: smaller ones are rounding
_UNSETTLED = 0.5  # nats that a Newton step would still gain, from which on parameters are not at the optimum


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and interval. span: of the interval, as a share of the parameter's range; NaN
    for what has none."""

    value: float
    standard_error: float
    low: float
    high: float
    span: float = float("nan")


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How well the parameters `x` are known.

    estimates: by parameter, in their own units; on a logarithmic scale intervals are of the logarithm, and so lie
    unevenly around the value; cut at the bounds. A standard error is infinite where the likelihood is flat, and NaN for
    parameters that are pushed against a bound. covariance: in the parameters' own units; covariance_z: in the
    coordinates of the optimisers. Both are finite: directions without curvature count with `FLAT`, and what is pushed
    against a bound stays there. hessian, gradient, share: over shares of the box; slope: of the parameters by them.
    bounds: {parameter: "lower" or "upper"} of those on a bound; pushed: those of them for which the loss falls further
    beyond it. reasons: for each parameter that is not identified, a sentence. directions: softest first; combinations:
    the soft ones in which several parameters move together, in words. n_downward: along how many directions the loss
    curves down. gain_nats: what a Newton step would still gain. spikes_alone: whether nothing but spikes counted, of
    a model whose voltage has neither zero nor unit of its own.
    """

    names: tuple[str, ...]
    box: Box = field(repr=False)
    x: Float[np.ndarray, " k"]
    loss: float
    level: float
    estimates: Mapping[str, Estimate]
    covariance: Float[np.ndarray, "k k"] = field(repr=False)
    covariance_z: Float[np.ndarray, "k k"] = field(repr=False)
    covariance_share: Float[np.ndarray, "k k"] = field(repr=False)
    hessian: Float[np.ndarray, "k k"] = field(repr=False)
    gradient: Float[np.ndarray, " k"] = field(repr=False)
    share: Float[np.ndarray, " k"] = field(repr=False)
    slope: Float[np.ndarray, " k"] = field(repr=False)
    bounds: Mapping[str, str]
    pushed: tuple[str, ...]
    reasons: Mapping[str, str] = field(repr=False)
    directions: tuple[Direction, ...] = field(repr=False)
    combinations: tuple[str, ...]
    n_downward: int
    gain_nats: float
    spikes_alone: bool

    @property
    def positive_definite(self) -> bool:
        """Whether the loss curves down in no direction, by more than counts as flat."""
        return self.n_downward == 0

    @property
    def identifiable(self) -> dict[str, bool]:
        """Whether the data narrow a parameter down to half of its range or less."""
        return {name: name not in self.reasons for name in self.names}

    @property
    def soft(self) -> tuple[Direction, ...]:
        """The directions that the data do not fix within the box."""
        return tuple(d for d in self.directions if d.soft)

    @property
    def unidentified(self) -> tuple[str, ...]:
        """The parameters that the data do not identify."""
        return tuple(self.reasons)

    @property
    def findings(self) -> tuple[str, ...]:
        """What is to be said about the parameters beside their intervals, in sentences."""
        found = []
        if self.unidentified:
            several = len(self.unidentified) > 1
            text = f"{_listed(self.unidentified)} {'are' if several else 'is'} not identified by these data"
            text += f": {along(self.combinations)}." if self.combinations else "."
            if self.spikes_alone and several:
                text += (
                    " Spikes alone fix neither the zero nor the unit of the voltage: let the voltage count "
                    "(ForcedLikelihood(voltage=True)), or fix a resistance and a potential."
                )
            found.append(text)
        for name, side in self.bounds.items():
            if name in self.pushed:
                found.append(
                    f"{name} lies on its {side} bound, and the loss falls further beyond it: widen its bounds, or take "
                    "it as given; the other intervals hold it there."
                )
            else:
                found.append(f"{name} lies on its {side} bound, where the loss is about flat.")
        if self.n_downward:
            where = "one direction" if self.n_downward == 1 else f"{self.n_downward} directions"
            found.append(
                f"The Hessian is not positive definite: along {where} the loss curves down, so that these parameters "
                "are no minimum, and what moves along there counts as not identified. Polish the fit first "
                "(`polished`), or search longer."
            )
        if self.gain_nats > _UNSETTLED:
            found.append(
                f"These parameters are not at the optimum: a Newton step would lower the loss by about "
                f"{self.gain_nats:.2g} nats. Polish the fit first (`polished`)."
            )
        return tuple(found)

    @property
    def table(self) -> pd.DataFrame:
        """One row a parameter: value, standard_error, low, high, span, bound, identifiable."""
        rows = [
            {
                "parameter": name,
                "value": e.value,
                "standard_error": e.standard_error,
                "low": e.low,
                "high": e.high,
                "span": e.span,
                "bound": self.bounds.get(name, ""),
                "identifiable": name not in self.reasons,
            }
            for name, e in self.estimates.items()
        ]
        return pd.DataFrame(rows)

    @property
    def direction_table(self) -> pd.DataFrame:
        """One row a direction, softest first: curvature, relative, span, rise_nats, soft, and the weights."""
        heads = ("curvature", "relative", "span", "rise_nats", "soft")
        return pd.DataFrame([{**{k: getattr(d, k) for k in heads}, **d.weights} for d in self.directions])

    def derived(self, function: Callable[[Mapping[str, Array]], Array], *, log: bool = False) -> Estimate:
        """What the parameters imply: function({parameter: value}) -> a number, such as ``c_m_pF / g_nS``.

        By the delta method, on a logarithmic scale where `log` is set. A combination can be known where its parts are
        not. Raises `SettingError` where `log` is set and the value is not above 0.
        """

        def of(x: Array) -> Array:
            return jnp.asarray(function({name: x[k] for k, name in enumerate(self.names)}))

        with jax.enable_x64(True):
            value, slopes = jax.value_and_grad(of)(jnp.asarray(self.x))
        by_share = np.asarray(slopes) * self.slope
        return _interval(float(value), float(by_share @ self.covariance_share @ by_share) ** 0.5, self.level, log)


def laplace(problem: CellProblem, x: Float[np.ndarray, " k"], *, level: float = 0.95) -> Uncertainty:
    """How well the recording determines the parameters, from the curvature of the likelihood at `x`.

    x: the free parameters, in the order of `problem.names`; it should be the optimum (`polished`), and `gain_nats` and
    `findings` say where it is not. level: of the intervals.

    Parameters that are pushed against a bound stay there: the others' intervals hold for that value of them, and theirs
    ends where the loss has risen by as much as at the end of the others'. A bound that is merely touched, as along a
    direction in which the loss is flat, does not count as knowledge. A voltage whose samples count for less
    (`ForcedLikelihood.correlation_ms`) gives intervals that are as wide as that says.

    Raises `SettingError` where the loss is no negative log likelihood, for parameters outside of the bounds, and for a
    level outside 0 to 1. `DivergedError` where the likelihood or its derivatives are not finite.
    """
    if not 0 < level < 1:
        raise SettingError(f"level has to be between 0 and 1; found {level!r}.")
    likelihood = Likelihood(problem)
    box, names = likelihood.box, likelihood.box.names
    u = likelihood.share(x)
    losses, slopes = likelihood.gradients(u[None])
    if not np.isfinite(losses[0]):
        raise DivergedError("The likelihood is not finite at these parameters. Take those of a finished search.")
    g, h = slopes[0], likelihood.hessian(u)
    half = float(norm.ppf(0.5 + 0.5 * level))
    side = np.where(u < BOUND_SHARE, -1, np.where(u > 1.0 - BOUND_SHARE, 1, 0))
    # Pushed: a quarter of the range inside, the slope alone costs more than the end of an interval does.
    pushed = (side * g < 0) & (0.25 * np.abs(g) > 0.5 * half**2)
    free = ~pushed
    values, vectors = np.linalg.eigh(h[np.ix_(free, free)]) if free.any() else (np.zeros(0), np.zeros((0, 0)))
    least = max(FLAT, _ROUNDING * float(np.abs(values).max(initial=0.0)))
    covariance = np.zeros_like(h)
    covariance[np.ix_(free, free)] = (vectors / np.maximum(values, least)) @ vectors.T
    flat = values <= least
    endless = np.zeros(len(u), bool)
    # Infinite where directions without curvature alone make it wider than the rule.
    endless[free] = 2 * half * np.sqrt((vectors[:, flat] ** 2 / least).sum(axis=1)) > HALF
    directions = directions_of(values, vectors, [n for n, k in zip(names, free, strict=True) if k], half)
    x = likelihood.physical(u)
    slope = likelihood.slope(u)
    estimates = {}
    for k, name in enumerate(names):
        error = np.inf if endless[k] else float(np.sqrt(covariance[k, k]))
        if pushed[k]:
            estimates[name] = _beside_bound(likelihood, u, k, abs(g[k]), max(h[k, k], 0.0), half)
        else:
            estimates[name] = _in_box(box, k, u[k], x[k], error, half)
    combinations = combinations_of(directions, box, names, slope, x)
    inside = np.clip(u, EDGE, 1.0 - EDGE)  # where `Box` puts what lies on a bound
    du_dz = inside * (1.0 - inside)
    return Uncertainty(
        names=names,
        box=box,
        x=x,
        loss=float(losses[0]),
        level=level,
        estimates=estimates,
        covariance=covariance * np.outer(slope, slope),
        covariance_z=covariance / np.outer(du_dz, du_dz),
        covariance_share=covariance,
        hessian=h,
        gradient=g,
        share=u,
        slope=slope,
        bounds={n: "lower" if s < 0 else "upper" for n, s in zip(names, side, strict=True) if s},
        pushed=tuple(n for n, p in zip(names, pushed, strict=True) if p),
        reasons=_reasons(estimates, combinations, box, level),
        directions=directions,
        combinations=tuple(moves for moves, _ in combinations),
        n_downward=int((values < -least).sum()),
        gain_nats=float(-0.5 * g[free] @ newton_step(h[np.ix_(free, free)], g[free])),
        spikes_alone=_spikes_alone(problem),
    )


def _spikes_alone(problem: CellProblem) -> bool:
    loss = problem.loss
    return isinstance(loss, ForcedLikelihood) and not loss.voltage and problem.cell.name not in OWN_VOLTAGE


def _interval(value: float, error: float, level: float, log: bool) -> Estimate:
    half = float(norm.ppf(0.5 + 0.5 * level))
    if not log:
        return Estimate(value, error, value - half * error, value + half * error)
    if not value > 0:
        raise SettingError(f"An interval on a logarithmic scale needs a value above 0; found {value:g}.")
    with np.errstate(over="ignore"):
        factor = float(np.exp(np.float64(half * error / value)))
    return Estimate(value, error, value / factor, value * factor)


def _in_box(box: Box, k: int, share: float, value: float, error: float, half: float) -> Estimate:
    """The interval of a parameter from the standard error of its share."""
    low, high = float(box.low[k]), float(box.high[k])
    width = float(np.log(high / low)) if box.log[k] else high - low
    ends = np.clip([share - half * error, share + half * error], 0.0, 1.0)
    at = low * np.exp(width * ends) if box.log[k] else low + width * ends
    own = error * width * (value if box.log[k] else 1.0)
    return Estimate(float(value), float(own), float(at[0]), float(at[1]), float(2 * half * error))


def _beside_bound(
    likelihood: Likelihood, u: np.ndarray, k: int, slope: float, curvature: float, half: float
) -> Estimate:
    """From the bound to where slope t + curvature t^2 / 2 has risen by as much as at the end of an interval."""
    rise = 0.5 * half**2
    reach = 2.0 * rise / (slope + np.sqrt(slope**2 + 2.0 * curvature * rise))
    inside = u.copy()
    inside[k] = np.clip(u[k] + (reach if u[k] < 0.5 else -reach), 0.0, 1.0)
    at, end = float(likelihood.physical(u)[k]), float(likelihood.physical(inside)[k])
    return Estimate(at, float("nan"), min(at, end), max(at, end), float(reach))


def _reasons(
    estimates: Mapping[str, Estimate],
    combinations: list[tuple[str, tuple[str, ...]]],
    box: Box,
    level: float,
) -> dict[str, str]:
    reasons = {}
    for k, name in enumerate(box.names):
        span = estimates[name].span
        if span <= HALF:
            continue
        size = "is endless" if np.isinf(span) else f"spans {span:.2g} times its range"
        text = (
            f"{name} is not identified by these data: its {100 * level:g} % interval {size} ({box.low[k]:g} to "
            f"{box.high[k]:g})."
        )
        moves = [text for text, named in combinations if name in named]
        if moves:
            text += f" T{along(moves)[1:]}."
        reasons[name] = text
    return reasons


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
