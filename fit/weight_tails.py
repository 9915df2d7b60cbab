"""What law the tail of a sample of weights follows: maximum likelihood, likelihood-ratio tests, AIC.

The tail is what lies above a threshold u, and each law is fitted there as it is cut off below u, f(w) / P(w > u), so
that laws of the whole sample (u = 0) and of its tail are compared alike:

    half_normal(s), gaussian(m, s), log_normal(m, s), exponential(s), gamma(k, s), weibull(k, s), pareto(a)

Two laws are compared by Vuong's test (Vuong 1989, Econometrica 57:307, eqs 5.6 and 6.8; for tails: Clauset, Shalizi &
Newman 2009, SIAM Rev 51:661, appendix C). With l_i the difference of their log-likelihoods at weight i of n,

    z = sum(l) / (sqrt(n) sd(l)),      p = 2 Phi(-|z|),

and z > 0 speaks for the first. Where one is a special case of the other (exponential of gamma, of Weibull; half-normal
of Gaussian), the larger one is never worse, and twice the sum follows chi-squared of one degree of freedom under the
smaller; that p is given instead. For half-normal in Gaussian this holds for a threshold above 0 or at it: m = 0 lies
inside of the possible means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import optimize, special, stats

from connectofit.connectome.errors import SchemaError, SettingError, offenders, unknown_name

_LEAST = 10  # weights in a tail


@dataclass(frozen=True)
class Law:
    """A law of positive numbers, before it is cut off; its parameters are free numbers, the logarithm of those that are
    above 0.

    names: of its parameters. positive: which of them are above 0. log_density: log f(w) from w, log w and the free
    numbers. log_tail: log P(w > u). starts: free numbers to begin the search from.
    """

    names: tuple[str, ...]
    positive: tuple[bool, ...]
    log_density: Callable[..., Float[np.ndarray, " n"]]
    log_tail: Callable[..., float]
    starts: Callable[[Float[np.ndarray, " n"]], list[tuple[float, ...]]]

    def reported(self, free: Sequence[float]) -> dict[str, float]:
        """The parameters themselves."""
        return {
            name: _exp(value) if positive else float(value)
            for name, positive, value in zip(self.names, self.positive, free, strict=True)
        }


def _exp(x: float) -> float:
    return float(np.exp(np.clip(x, -200.0, 200.0)))


def _standard(z: Any) -> Any:
    """The logarithm of the standard normal density."""
    return -0.5 * z**2 - 0.5 * np.log(2.0 * np.pi)


def _log_gamma_tail(k: float, x: float) -> float:
    """log Q(k, x), also where Q itself is below the smallest number: by the first terms of its expansion for large x
    (Abramowitz & Stegun 1964, 6.5.32)."""
    tail = float(special.gammaincc(k, x))
    if tail > 1e-280:
        return float(np.log(tail))
    return float((k - 1.0) * np.log(x) - x - special.gammaln(k) + np.log(max(1.0 + (k - 1.0) / x, 1e-12)))


def _log_normal_starts(w: np.ndarray) -> list[tuple[float, ...]]:
    logs = np.log(w)
    mean, spread = float(logs.mean()), max(float(logs.std()), 1e-3)
    return [(mean, np.log(spread)), (mean - 4.0 * spread, np.log(2.5 * spread))]


def _gaussian_starts(w: np.ndarray) -> list[tuple[float, ...]]:
    mean, spread = float(w.mean()), float(w.std())
    return [(mean, np.log(spread)), (0.0, 0.5 * np.log(np.mean(w**2)))]


def _gamma_starts(w: np.ndarray) -> list[tuple[float, ...]]:
    mean, square = float(w.mean()), float(w.var())
    return [(np.log(mean**2 / square), np.log(square / mean)), (0.0, np.log(mean))]


LAWS: MappingProxyType[str, Law] = MappingProxyType(
    {
        "half_normal": Law(
            ("s",),
            (True,),
            lambda w, log_w, s: np.log(2.0) - s + _standard(w / _exp(s)),
            lambda u, s: np.log(2.0) + special.log_ndtr(-u / _exp(s)),
            lambda w: [(0.5 * np.log(np.mean(w**2)),)],
        ),
        "gaussian": Law(
            ("m", "s"),
            (False, True),
            lambda w, log_w, m, s: -s + _standard((w - m) / _exp(s)),
            lambda u, m, s: special.log_ndtr((m - u) / _exp(s)),
            _gaussian_starts,
        ),
        "log_normal": Law(
            ("m", "s"),
            (False, True),
            lambda w, log_w, m, s: -log_w - s + _standard((log_w - m) / _exp(s)),
            lambda u, m, s: special.log_ndtr((m - np.log(u)) / _exp(s)) if u > 0 else 0.0,
            _log_normal_starts,
        ),
        "exponential": Law(
            ("s",),
            (True,),
            lambda w, log_w, s: -s - w / _exp(s),
            lambda u, s: -u / _exp(s),
            lambda w: [(np.log(w.mean()),)],
        ),
        "gamma": Law(
            ("k", "s"),
            (True, True),
            lambda w, log_w, k, s: (_exp(k) - 1.0) * log_w - w / _exp(s) - special.gammaln(_exp(k)) - _exp(k) * s,
            lambda u, k, s: _log_gamma_tail(_exp(k), u / _exp(s)) if u > 0 else 0.0,
            _gamma_starts,
        ),
        "weibull": Law(
            ("k", "s"),
            (True, True),
            lambda w, log_w, k, s: k - s + (_exp(k) - 1.0) * (log_w - s) - np.exp(_exp(k) * (log_w - s)),
            lambda u, k, s: -((u / _exp(s)) ** _exp(k)),
            lambda w: [(0.0, np.log(w.mean())), (np.log(2.0), np.log(w.mean()))],
        ),
        "pareto": Law(
            ("a",),
            (True,),
            lambda w, log_w, a: a - (_exp(a) + 1.0) * log_w,
            lambda u, a: -_exp(a) * np.log(u),
            lambda w: [(0.0,)],
        ),
    }
)
"""The laws by name. "pareto" has no scale of its own: it starts at the threshold, which has to be above 0."""

_NESTED = {("exponential", "gamma"), ("exponential", "weibull"), ("half_normal", "gaussian")}


@dataclass(frozen=True, eq=False)
class TailFit:
    """A law fitted to a tail. parameters: by name. log_likelihood: of every weight of the tail, [n]."""

    law: str
    parameters: dict[str, float]
    log_likelihood: Float[np.ndarray, " n"]

    @property
    def total(self) -> float:
        """The log-likelihood of the tail."""
        return float(np.sum(self.log_likelihood))

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 k - 2 log L: smaller is better."""
        return 2.0 * len(self.parameters) - 2.0 * self.total


@dataclass(frozen=True)
class LikelihoodRatio:
    """A comparison of two laws. ratio: sum of the differences of log-likelihoods, above 0 for the first. z: Vuong's
    statistic. p: two-sided, or where one is nested in the other, of the larger being no better. nested: whether so."""

    first: str
    second: str
    ratio: float
    z: float
    p: float
    nested: bool

    @property
    def better(self) -> str | None:
        """The law that the test prefers at the level of 0.05; None where it does not tell. Of nested laws the smaller
        is preferred where the larger is not significantly better."""
        if self.nested:
            large, small = (
                (self.first, self.second) if (self.second, self.first) in _NESTED else (self.second, self.first)
            )
            return large if self.p < 0.05 else small
        return None if not self.p < 0.05 else self.first if self.ratio > 0 else self.second


@dataclass(frozen=True, eq=False)
class WeightTails:
    """Laws fitted to one tail. threshold: u. n, n_sample: weights in the tail, and in all. fits: by law, in the order
    that was asked for."""

    threshold: float
    n: int
    n_sample: int
    fits: dict[str, TailFit]

    @property
    def best(self) -> str:
        """The law with the smallest AIC."""
        return min(self.fits.values(), key=lambda fit: fit.aic).law

    def compare(self, first: str, second: str) -> LikelihoodRatio:
        """The likelihood-ratio test of two laws. Raises `UnknownNameError` for a law that was not fitted."""
        for name in (first, second):
            if name not in self.fits:
                raise unknown_name("law", name, self.fits, "the laws that were fitted")
        difference = self.fits[first].log_likelihood - self.fits[second].log_likelihood
        ratio, spread = float(difference.sum()), float(difference.std())
        z = ratio / (np.sqrt(difference.size) * spread) if spread > 0 else 0.0
        nested = (first, second) in _NESTED or (second, first) in _NESTED
        p = float(stats.chi2.sf(2.0 * abs(ratio), 1)) if nested else float(2.0 * stats.norm.sf(abs(z)))
        return LikelihoodRatio(first, second, ratio, float(z), p, nested)

    def table(self) -> pd.DataFrame:
        """One row a law, best AIC first: parameters, log-likelihood, AIC above the best, weight of evidence, and the
        test against the best."""
        best = self.best
        rows = []
        for fit in sorted(self.fits.values(), key=lambda fit: fit.aic):
            test = self.compare(best, fit.law)
            rows.append(
                {
                    "law": fit.law,
                    "parameters": ", ".join(f"{k} = {v:.4g}" for k, v in fit.parameters.items()),
                    "log_likelihood": fit.total,
                    "delta_aic": fit.aic - self.fits[best].aic,
                    "z": test.z,
                    "p": test.p if fit.law != best else np.nan,
                }
            )
        table = pd.DataFrame(rows)
        relative = np.exp(-0.5 * table["delta_aic"])
        table.insert(4, "akaike_weight", relative / relative.sum())
        return table


def weight_tails(
    weights: Float[np.ndarray, " n"],
    *,
    threshold: float = 0.0,
    upper_fraction: float | None = None,
    laws: Sequence[str] = ("half_normal", "gaussian", "log_normal", "exponential", "gamma", "weibull"),
) -> WeightTails:
    """Fit laws to the weights above a threshold; the equations are at the module's head.

    Parameters
    ----------
    weights
        Sizes of weights, above 0 (give inhibitory ones without their sign).
    threshold
        u: only weights above it count.
    upper_fraction
        In place of a threshold: the part of the sample that makes the tail, the largest; u is that quantile.
    laws
        Names out of `LAWS`.

    Raises
    ------
    SchemaError: weights that are not finite or not above 0, fewer than 10 in the tail, or all of them equal.
    SettingError: a threshold below 0, or 0 for "pareto". UnknownNameError: an unknown law.
    """
    w = np.asarray(weights, np.float64).ravel()
    wrong = np.flatnonzero(~(np.isfinite(w) & (w > 0)))
    if wrong.size:
        shown = offenders([f"row {k}: {w[k]:g}" for k in wrong])
        raise SchemaError(f"Weights have to be finite and above 0; found {shown}. Give their sizes, without zeros.")
    for name in laws:
        if name not in LAWS:
            raise unknown_name("law", name, LAWS)
    if upper_fraction is not None:
        if not 0.0 < upper_fraction <= 1.0:
            raise SettingError(f"upper_fraction has to be above 0, at most 1; found {upper_fraction!r}.")
        threshold = float(np.quantile(w, 1.0 - upper_fraction)) if upper_fraction < 1.0 and w.size else 0.0
    if not (np.isfinite(threshold) and threshold >= 0.0):
        raise SettingError(f"The threshold has to be 0 or more; found {threshold!r}.")
    if threshold == 0.0 and "pareto" in laws:
        raise SettingError('The law "pareto" begins at the threshold, which has to be above 0; found 0.')
    tail = w[w > threshold]
    if tail.size < _LEAST or np.ptp(tail) == 0.0:
        raise SchemaError(
            f"A tail needs at least {_LEAST} weights that are not all equal; above {threshold:g} there are "
            f"{tail.size} of {w.size}. Lower the threshold."
        )
    unit = float(tail.mean())  # so that the search is the same in any unit
    fits = {name: _fitted(name, tail / unit, threshold / unit, unit) for name in dict.fromkeys(laws)}
    return WeightTails(threshold, tail.size, w.size, fits)


def _fitted(name: str, tail: Float[np.ndarray, " n"], threshold: float, unit: float) -> TailFit:
    """The maximum of the likelihood of a tail whose mean is 1; parameters and likelihood in the unit of the weights."""
    law, logs = LAWS[name], np.log(tail)

    def each(free: Sequence[float]) -> Float[np.ndarray, " n"]:
        with np.errstate(all="ignore"):
            return law.log_density(tail, logs, *free) - law.log_tail(threshold, *free)

    def loss(free: Sequence[float]) -> float:
        value = -float(np.mean(each(free)))
        return value if np.isfinite(value) else 1e10

    def search(start: Sequence[float], step: float) -> Any:
        # SciPy's own simplex is as small as the start, which may be almost 0.
        simplex = np.vstack([start, np.asarray(start) + step * np.eye(len(start))])
        options = {"xatol": 1e-8, "fatol": 1e-13, "maxiter": 2000, "maxfev": 2000, "initial_simplex": simplex}
        return optimize.minimize(loss, start, method="Nelder-Mead", options=options)

    found = min((search(start, 0.5) for start in law.starts(tail)), key=lambda result: float(result.fun))
    free = search(found.x, 0.1).x
    parameters = law.reported(free)
    if name == "log_normal":
        parameters["m"] += float(np.log(unit))
    elif name != "pareto":
        parameters = {key: value if key == "k" else value * unit for key, value in parameters.items()}
    return TailFit(name, parameters, each(free) - np.log(unit))
