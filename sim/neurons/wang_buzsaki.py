"""Fast-spiking interneuron of the hippocampus (Wang & Buzsaki 1996, J Neurosci 16:6402, eqs 2.1 to 2.3).

    C dV/dt = g_Na m_inf^3 h (E_Na - V) + g_K n^4 (E_K - V) + g_L (E_L - V) + I(t)
    alpha_m = 0.1 (V + 35) / (1 - exp(-(V + 35) / 10))        beta_m = 4 exp(-(V + 60) / 18)
    alpha_h = phi 0.07 exp(-(V + 58) / 20)                    beta_h = phi / (1 + exp(-(V + 28) / 10))
    alpha_n = phi 0.01 (V + 34) / (1 - exp(-(V + 34) / 10))   beta_n = phi 0.125 exp(-(V + 44) / 80)

Sodium activation is instantaneous: m_inf = alpha_m / (alpha_m + beta_m). phi = 5 is the factor of temperature. The
defaults are the paper's densities on 10,000 um^2: 1 uF/cm^2, 35, 9 and 0.1 mS/cm^2. A constant current makes it fire
from about 16 pA (0.16 uA/cm^2) on, at any low rate. Methods and spikes: `connectofit.sim.neurons.conductance_based`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import State, Values
from connectofit.sim.neurons.conductance_based import (
    ConductanceBased,
    Integration,
    Rates,
    conductance,
    linoid,
    membrane_parameters,
)
from connectofit.sim.neurons.firing import above_zero
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class WangBuzsaki(ConductanceBased):
    """Fast-spiking interneuron. `surrogate`: the spike's stand-in derivative; `method`: see `conductance_based`."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Integration = "exponential_midpoint"

    kind: ClassVar[str] = "wang_buzsaki"
    gates: ClassVar[tuple[str, ...]] = ("h", "n")
    parameters: ClassVar[dict[str, Parameter]] = {
        "g_na_nS": conductance(3500.0, "maximal sodium"),
        "g_k_nS": conductance(900.0, "maximal potassium"),
        "phi": above_zero(5.0, "1", "factor on the speed of the gates"),
        **membrane_parameters(
            c_m=100.0,
            g_leak=10.0,
            e_leak=-65.0,
            e_na=55.0,
            e_k=-90.0,
            v_rest=-64.0,
            v_threshold=0.0,
            t_ref=1.0,
        ),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", *gates, "refractory_steps")

    def rates(self, p: Values, v: Float[Array, " neuron"]) -> Rates:
        phi = p["phi"]
        return {
            "h": (phi * 0.07 * jnp.exp(-(v + 58.0) / 20.0), phi / (1.0 + jnp.exp(-(v + 28.0) / 10.0))),
            "n": (phi * 0.1 * linoid(-(v + 34.0) / 10.0), phi * 0.125 * jnp.exp(-(v + 44.0) / 80.0)),
        }

    def channels(self, p: Values, v: Float[Array, " neuron"], x: State) -> tuple[tuple[Array, Array], ...]:
        alpha, beta = linoid(-(v + 35.0) / 10.0), 4.0 * jnp.exp(-(v + 60.0) / 18.0)
        sodium = p["g_na_nS"] * (alpha / (alpha + beta)) ** 3 * x["h"]
        return (sodium, p["e_na_mV"]), (p["g_k_nS"] * x["n"] ** 4, p["e_k_mV"])
