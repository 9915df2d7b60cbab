"""Derivatives that stand in for that of the spike, which is 0 almost everywhere.

Forward, a spike is 1 where x >= 0 and else 0. Backward, d spike/dx is a bump around the threshold (Neftci, Mostafa &
Zenke 2019, IEEE Signal Process Mag 36:51). x is the distance to the threshold in the membrane's unit (mV).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Surrogate(ABC):
    """A bump: its value is used as the derivative of the spike by the distance to the threshold."""

    kind: ClassVar[str]

    @abstractmethod
    def derivative(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]: ...


@dataclass(frozen=True)
class Arctan(Surrogate):
    """1 / (width pi (1 + (x / width)^2)): integral 1 (Fang et al. 2021, ICCV, eq. 12). width_mV: half-width."""

    width_mV: float = 5.0
    kind: ClassVar[str] = "arctan"

    def derivative(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        return 1.0 / (jnp.pi * self.width_mV * (1.0 + (x / self.width_mV) ** 2))


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """The logistic density s(x / width) (1 - s(x / width)) / width: integral 1 (Zenke & Ganguli 2018, eq. 5)."""

    width_mV: float = 2.0
    kind: ClassVar[str] = "sigmoid"

    def derivative(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        s = jax.nn.sigmoid(x / self.width_mV)
        return s * (1.0 - s) / self.width_mV


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def spike(x: Float[Array, "*n"], surrogate: Surrogate) -> Float[Array, "*n"]:
    """1 where x >= 0, else 0, with the surrogate's derivative in forward and reverse mode."""
    return (x >= 0).astype(x.dtype)


@spike.defjvp
def _spike_jvp(surrogate: Surrogate, primals: tuple[Array], tangents: tuple[Any]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return spike(x, surrogate), surrogate.derivative(x) * x_dot


SURROGATES: dict[str, type[Surrogate]] = {surrogate.kind: surrogate for surrogate in (Arctan, Sigmoid)}
