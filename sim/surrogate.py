"""Derivatives that stand in for that of the spike, which is 0 almost everywhere.

Forward, a spike is 1 where x >= 0 and else 0. Backward (and in forward-mode differentiation), d spike/dx is a function
f(u) / width of u = x / width, x being the distance to the threshold in the membrane's unit (mV), width > 0 in the same
unit (Neftci, Mostafa & Zenke 2019, IEEE Signal Process Mag 36:51). These are the 18 of Wang et al. 2024 (arXiv
2406.19708, Table S1), which BrainPy and SpikingJelly (Fang et al. 2023, Sci Adv 9:eadi1480) offer for dimensionless
x; 1 / width is their alpha. Where a source's derivative is not that of its own primitive, the primitive counts.
Those that are the derivative of a function from 0 to 1 integrate to 1; the others say what they integrate to.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError


class Surrogate(ABC):
    """A function whose value is used as the derivative of the spike by the distance to the threshold."""

    kind: ClassVar[str]
    bounds: ClassVar[Mapping[str, float]] = MappingProxyType({})  # what fields beside the width have to be above
    width_mV: float

    def __post_init__(self) -> None:
        for name, low in {"width_mV": 0.0, **self.bounds}.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value > low):
                raise SettingError(f"{name} of the surrogate {self.kind!r} has to be above {low:g}; found {value!r}.")

    def derivative(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """d spike/dx in 1/mV."""
        return self.profile(x / self.width_mV) / self.width_mV

    @abstractmethod
    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """f(u), u in widths."""


def _logistic_density(u: Array) -> Array:
    s = jax.nn.sigmoid(u)
    return s * (1.0 - s)


def _normal_density(u: Array) -> Array:
    return jnp.exp(-0.5 * u**2) / math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """s(u) (1 - s(u)), s the logistic function (Zenke & Ganguli 2018, Neural Comput 30:1514)."""

    width_mV: float = 2.0
    kind: ClassVar[str] = "sigmoid"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return _logistic_density(u)


@dataclass(frozen=True)
class PiecewiseQuadratic(Surrogate):
    """max(0, 1 - |u|), a triangle; its primitive is quadratic (Esser et al. 2016, PNAS 113:11441)."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "piecewise_quadratic"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.maximum(1.0 - jnp.abs(u), 0.0)


@dataclass(frozen=True)
class PiecewiseExponential(Surrogate):
    """exp(-|u|) / 2 (Neftci, Mostafa & Zenke 2019)."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "piecewise_exponential"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 0.5 * jnp.exp(-jnp.abs(u))


@dataclass(frozen=True)
class SoftSign(Surrogate):
    """1 / (2 (1 + |u|)^2), of the primitive (u / (1 + |u|) + 1) / 2 (SpikingJelly)."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "soft_sign"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 0.5 / (1.0 + jnp.abs(u)) ** 2


@dataclass(frozen=True)
class Arctan(Surrogate):
    """1 / (pi (1 + u^2)) (Fang et al. 2021, ICCV, eq. 12): width is the half-width at half of the peak."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "arctan"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 1.0 / (math.pi * (1.0 + u**2))


@dataclass(frozen=True)
class NonzeroSignLog(Surrogate):
    """1 / (1 + |u|), of the primitive sign(u) log(1 + |u|) (SpikingJelly). Its integral diverges."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "nonzero_sign_log"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 1.0 / (1.0 + jnp.abs(u))


@dataclass(frozen=True)
class Erf(Surrogate):
    """exp(-u^2) / sqrt(pi), of the primitive erfc(-u) / 2 (Esser et al. 2015, NeurIPS 28)."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "erf"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.exp(-(u**2)) / math.sqrt(math.pi)


@dataclass(frozen=True)
class PiecewiseLeakyReLU(Surrogate):
    """1/2 for |u| <= 1, else `leak` (Yin et al. 2017, BioCAS): a box of integral 1 on a leak of infinite integral."""

    width_mV: float = 5.0
    leak: float = 0.01
    kind: ClassVar[str] = "piecewise_leaky_relu"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.where(jnp.abs(u) <= 1.0, 0.5, self.leak).astype(u.dtype)


@dataclass(frozen=True)
class SquarewaveFourierSeries(Surrogate):
    """sum_i cos((2 i - 1) pi u / 2) over i = 1 to `terms`, of a square wave's Fourier series
    1/2 + (2 / pi) sum_i sin((2 i - 1) pi u / 2) / (2 i - 1) (SpikingJelly). Its period is 4 widths."""

    width_mV: float = 5.0
    terms: int = 2
    kind: ClassVar[str] = "squarewave_fourier_series"
    bounds: ClassVar[Mapping[str, float]] = MappingProxyType({"terms": 0})

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return sum((jnp.cos((2 * i - 1) * (0.5 * math.pi) * u) for i in range(1, self.terms + 1)), jnp.zeros_like(u))


@dataclass(frozen=True)
class S2NN(Surrogate):
    """alpha s(alpha u) (1 - s(alpha u)) for u < 0, beta / (1 + u) above (Suetake et al. 2022, arXiv 2201.10879): a
    sigmoid below the threshold and a logarithm above it, whose integral diverges."""

    width_mV: float = 5.0
    alpha: float = 4.0
    beta: float = 1.0
    kind: ClassVar[str] = "s2nn"
    bounds: ClassVar[Mapping[str, float]] = MappingProxyType({"alpha": 0.0})

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.where(u < 0, self.alpha * _logistic_density(self.alpha * u), self.beta / (1.0 + jnp.maximum(u, 0.0)))


@dataclass(frozen=True)
class QPseudoSpike(Surrogate):
    """(1 + 2 |u| / (q - 1))^(-q): q > 1 sets how heavy the tails are (Herranz-Celotti & Rouat 2022, arXiv
    2202.00282)."""

    width_mV: float = 5.0
    q: float = 2.0
    kind: ClassVar[str] = "q_pseudo_spike"
    bounds: ClassVar[Mapping[str, float]] = MappingProxyType({"q": 1.0})

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return (1.0 + (2.0 / (self.q - 1.0)) * jnp.abs(u)) ** -self.q


@dataclass(frozen=True)
class LeakyReLU(Surrogate):
    """`above` for u >= 0, else `below` (SpikingJelly). No bump: the spike counts as linear in x."""

    width_mV: float = 5.0
    below: float = 0.1
    above: float = 1.0
    kind: ClassVar[str] = "leaky_relu"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.where(u >= 0, self.above, self.below).astype(u.dtype)


@dataclass(frozen=True)
class LogTailedReLU(Surrogate):
    """`below` for u <= 0, 1 up to u = 1, then 1 / u (Cai et al. 2017, CVPR). Its integral diverges."""

    width_mV: float = 5.0
    below: float = 0.0
    kind: ClassVar[str] = "log_tailed_relu"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.where(u > 0, 1.0 / jnp.maximum(u, 1.0), self.below)


@dataclass(frozen=True)
class ReLU(Surrogate):
    """scale max(0, 1 - |u|): the damped triangle of Bellec et al. 2018 (NeurIPS 31), integral `scale`."""

    width_mV: float = 5.0
    scale: float = 0.3
    kind: ClassVar[str] = "relu"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self.scale * jnp.maximum(1.0 - jnp.abs(u), 0.0)


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """scale N(u; 0, 1) (Yin, Corradi & Bohte 2021, Nat Mach Intell 3:905), integral `scale`."""

    width_mV: float = 5.0
    scale: float = 0.5
    kind: ClassVar[str] = "gaussian"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return self.scale * _normal_density(u)


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """scale ((1 + h) N(u; 0, 1) - h N(u; 1, s^2) - h N(u; -1, s^2)): a bump in a wide trough (Yin, Corradi & Bohte
    2021), integral ``scale (1 - h)``."""

    width_mV: float = 5.0
    h: float = 0.15
    s: float = 6.0
    scale: float = 0.5
    kind: ClassVar[str] = "multi_gaussian"
    bounds: ClassVar[Mapping[str, float]] = MappingProxyType({"s": 0.0})

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        trough = (_normal_density((u - 1.0) / self.s) + _normal_density((u + 1.0) / self.s)) / self.s
        return self.scale * ((1.0 + self.h) * _normal_density(u) - self.h * trough)


@dataclass(frozen=True)
class InverseSquare(Surrogate):
    """1 / (1 + |u|)^2, of SuperSpike (Zenke & Ganguli 2018, Neural Comput 30:1514), integral 2."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "inverse_square"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 1.0 / (1.0 + jnp.abs(u)) ** 2


@dataclass(frozen=True)
class SLayer(Surrogate):
    """exp(-|u|) (Shrestha & Orchard 2018, SLAYER, NeurIPS 31), integral 2."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "slayer"

    def profile(self, u: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return jnp.exp(-jnp.abs(u))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def spike(x: Float[Array, "*n"], surrogate: Surrogate) -> Float[Array, "*n"]:
    """1 where x >= 0, else 0, with the surrogate's derivative in forward and reverse mode."""
    return (x >= 0).astype(x.dtype)


@spike.defjvp
def _spike_jvp(surrogate: Surrogate, primals: tuple[Array], tangents: tuple[Any]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return spike(x, surrogate), surrogate.derivative(x) * x_dot


SURROGATES: dict[str, type[Surrogate]] = {
    surrogate.kind: surrogate
    for surrogate in (
        Sigmoid,
        PiecewiseQuadratic,
        PiecewiseExponential,
        SoftSign,
        Arctan,
        NonzeroSignLog,
        Erf,
        PiecewiseLeakyReLU,
        SquarewaveFourierSeries,
        S2NN,
        QPseudoSpike,
        LeakyReLU,
        LogTailedReLU,
        ReLU,
        Gaussian,
        MultiGaussian,
        InverseSquare,
        SLayer,
    )
}
