"""Cortical Hodgkin-Huxley neuron: Traub & Miles's channels on one compartment.

    C dV/dt = g_Na m^3 h (E_Na - V) + g_K n^4 (E_K - V) + g_L (E_L - V) + I(t),      u = V - V_T
    alpha_m = 0.32 (13 - u) / (exp((13 - u) / 4) - 1)         beta_m = 0.28 (u - 40) / (exp((u - 40) / 5) - 1)
    alpha_h = 0.128 exp((17 - u) / 18)                        beta_h = 4 / (1 + exp((40 - u) / 5))
    alpha_n = 0.032 (15 - u) / (exp((15 - u) / 5) - 1)        beta_n = 0.5 exp((10 - u) / 40)

(Traub & Miles 1991, Neuronal Networks of the Hippocampus, Cambridge University Press, as modified by Brette et al.
2007, J Comput Neurosci 23:349, Appendix B, benchmark 3: the COBAHH network, the neuron of Brian2's fitting examples
and NEST's `hh_cond_exp_traub`.) V_T sets the threshold, about 13 mV above it. The defaults are those of the
benchmark: 1 uF/cm^2, 100, 30 and 0.05 mS/cm^2 on 20,000 um^2. A run starts at -65 mV, E_L in Brian2; NEST has -60 mV.
Methods and spikes: `connectofit.sim.neurons.conductance_based`.
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
class TraubMiles(ConductanceBased):
    """Cortical Hodgkin-Huxley neuron. `surrogate`: the spike's derivative; `method`: see `conductance_based`."""

    surrogate: Surrogate = field(default_factory=Arctan)
    method: Integration = "exponential_midpoint"

    kind: ClassVar[str] = "traub_miles"
    gates: ClassVar[tuple[str, ...]] = ("m", "h", "n")
    parameters: ClassVar[dict[str, Parameter]] = {
        "g_na_nS": conductance(20000.0, "maximal sodium"),
        "g_k_nS": conductance(6000.0, "maximal potassium"),
        "v_t_mV": Parameter(-63.0, "mV", "potential V_T that sets the threshold"),
        **membrane_parameters(
            c_m=200.0,
            g_leak=10.0,
            e_leak=-65.0,
            e_na=50.0,
            e_k=-90.0,
            v_rest=-65.0,
            v_threshold=-20.0,
            t_ref=3.0,
        ),
    }
    variables: ClassVar[tuple[str, ...]] = ("v_mV", *gates, "refractory_steps")

    def rates(self, p: Values, v: Float[Array, " neuron"]) -> Rates:
        u = v - p["v_t_mV"]
        return {
            "m": (1.28 * linoid((13.0 - u) / 4.0), 1.4 * linoid((u - 40.0) / 5.0)),
            "h": (0.128 * jnp.exp((17.0 - u) / 18.0), 4.0 / (1.0 + jnp.exp((40.0 - u) / 5.0))),
            "n": (0.16 * linoid((15.0 - u) / 5.0), 0.5 * jnp.exp((10.0 - u) / 40.0)),
        }

    def channels(self, p: Values, v: Float[Array, " neuron"], x: State) -> tuple[tuple[Array, Array], ...]:
        sodium = p["g_na_nS"] * x["m"] ** 3 * x["h"]
        return (sodium, p["e_na_mV"]), (p["g_k_nS"] * x["n"] ** 4, p["e_k_mV"])
