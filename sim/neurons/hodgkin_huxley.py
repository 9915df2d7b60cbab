"""The squid's giant axon (Hodgkin & Huxley 1952, J Physiol 117:500), in today's sign convention.

    C dV/dt = g_Na m^3 h (E_Na - V) + g_K n^4 (E_K - V) + g_L (E_L - V) + I(t)
    alpha_m = 0.1 (V + 40) / (1 - exp(-(V + 40) / 10))        beta_m = 4 exp(-(V + 65) / 18)
    alpha_h = 0.07 exp(-(V + 65) / 20)                        beta_h = 1 / (1 + exp(-(V + 35) / 10))
    alpha_n = 0.01 (V + 55) / (1 - exp(-(V + 55) / 10))       beta_n = 0.125 exp(-(V + 65) / 80)

(ibid., eqs 12, 13, 20, 21, 23, 24 and 26, at 6.3 degrees C, with their depolarisation -v as V + 65 mV.) The defaults
are their densities on 10,000 um^2: 120, 36 and 0.3 mS/cm^2, potentials 115, -12 and 10.613 mV from rest. With
constant current the resting state loses its stability at 978 pA (9.78 uA/cm^2; Rinzel & Miller 1980, Math Biosci
49:27), and repetitive firing exists from about 630 pA on. NEST's `hh_psc_alpha` has E_L at -54.402 mV. Methods and
spikes: `connectofit.sim.neurons.conductance_based`.
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
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Arctan, Surrogate


@dataclass(frozen=True)
class HodgkinHuxley(ConductanceBased):
    """The squid's giant axon. `surrogate`: the spike's stand-in derivative; `method`: see `conductance_based`."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Integration = "exponential_midpoint"

    kind: ClassVar[str] = "hodgkin_huxley"
    gates: ClassVar[tuple[str, ...]] = ("m", "h", "n")
    parameters: ClassVar[dict[str, Parameter]] = {
        "g_na_nS": conductance(12000.0, "maximal sodium"),
        "g_k_nS": conductance(3600.0, "maximal potassium"),
        **membrane_parameters(
            c_m=100.0,
            g_leak=30.0,
            e_leak=-54.387,
            e_na=50.0,
            e_k=-77.0,
            v_rest=-65.0,
            v_threshold=0.0,
            t_ref=2.0,
        ),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", *gates, "refractory_steps")

    def rates(self, p: Values, v: Float[Array, " neuron"]) -> Rates:
        return {
            "m": (linoid(-(v + 40.0) / 10.0), 4.0 * jnp.exp(-(v + 65.0) / 18.0)),
            "h": (0.07 * jnp.exp(-(v + 65.0) / 20.0), 1.0 / (1.0 + jnp.exp(-(v + 35.0) / 10.0))),
            "n": (0.1 * linoid(-(v + 55.0) / 10.0), 0.125 * jnp.exp(-(v + 65.0) / 80.0)),
        }

    def channels(self, p: Values, v: Float[Array, " neuron"], x: State) -> tuple[tuple[Array, Array], ...]:
        sodium = p["g_na_nS"] * x["m"] ** 3 * x["h"]
        return (sodium, p["e_na_mV"]), (p["g_k_nS"] * x["n"] ** 4, p["e_k_mV"])
