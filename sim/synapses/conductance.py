"""Conductance-based synapses: a spike opens a conductance of a given time course, which pulls towards E_rev.

    I_i(t) = g_i(t) B(V_i) (E_rev - V_i),      g_i(t) = sum_j w_ij sum_k y(t - t_j^k - delay)

with B = 1, and for NMDA receptors the block by magnesium (Jahr & Stevens 1990, J Neurosci 10:3178, eq. 4a)

    B(V) = 1 / (1 + [Mg] exp(-0.062 V / mV) / 3.57 mM)

NEST's `iaf_cond_exp` and `iaf_cond_alpha`. The time course of g is exact; a neuron sees the mean of g over each step
(and B at its start), which makes its integration of second order in dt where it is exact for constant conductances.
The weights are conductances, 0 or more: whether a synapse excites or inhibits is a matter of E_rev, so excitatory and
inhibitory edges take two projections.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import E_REV, SpikingSynapse, time_constant
from connectofit.sim.synapses.kinetics import AlphaFunction, DualExponentialCourse, ExponentialDecay, Kinetics


class ConductanceSynapse(SpikingSynapse):
    """A synapse whose spikes open a conductance; weights are its peak, in nS for neurons with voltages in mV."""

    positive: ClassVar[bool] = True
    kinetics: ClassVar[type[Kinetics]]

    def initial(self, like: Float[Array, " post"]) -> State:
        return self.kinetics.initial(like)

    @abstractmethod
    def unblocked(self, p: Values, v: Float[Array, " post"]) -> Float[Array, " post"] | float:
        """The fraction of the channels that the voltage lets conduct."""

    def drive(
        self,
        p: Values,
        state: State,
        arriving: Float[Array, " post"],
        total: Float[Array, " post"] | None,
        v: Float[Array, " post"],
        dt_ms: float,
        onto: Drive,
    ) -> None:
        g = self.kinetics.terms(p, state).mean(dt_ms) * self.unblocked(p, v)
        onto.add_conductance(g, g * p["e_rev_mV"])

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return self.kinetics.advance(p, state, arriving, dt_ms)


class OhmicSynapse(ConductanceSynapse):
    """A conductance that does not depend on the voltage."""

    def unblocked(self, p: Values, v: Float[Array, " post"]) -> Float[Array, " post"] | float:
        return 1.0


@dataclass(frozen=True)
class ExponentialConductance(OhmicSynapse):
    """Exponential conductance: w exp(-t / tau_syn)."""

    kind: ClassVar[str] = "exponential_conductance"
    kinetics: ClassVar[type[Kinetics]] = ExponentialDecay
    parameters: ClassVar[dict[str, Parameter]] = {**kinetics.parameters, "e_rev_mV": E_REV}


@dataclass(frozen=True)
class AlphaConductance(OhmicSynapse):
    """Alpha-shaped conductance: w (t / tau_syn) exp(1 - t / tau_syn)."""

    kind: ClassVar[str] = "alpha_conductance"
    kinetics: ClassVar[type[Kinetics]] = AlphaFunction
    parameters: ClassVar[dict[str, Parameter]] = {**kinetics.parameters, "e_rev_mV": E_REV}


@dataclass(frozen=True)
class DualExponentialConductance(OhmicSynapse):
    """Conductance that rises and decays exponentially, with peak w."""

    kind: ClassVar[str] = "dual_exponential_conductance"
    kinetics: ClassVar[type[Kinetics]] = DualExponentialCourse
    parameters: ClassVar[dict[str, Parameter]] = {**kinetics.parameters, "e_rev_mV": E_REV}


@dataclass(frozen=True)
class NMDA(ConductanceSynapse):
    """NMDA receptor: a slow dual-exponential conductance, blocked by magnesium at rest."""

    kind: ClassVar[str] = "nmda"
    kinetics: ClassVar[type[Kinetics]] = DualExponentialCourse
    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_rise_ms": time_constant(2.0, "time constant of the rise, another than that of the decay"),
        "tau_decay_ms": time_constant(100.0, "time constant of the decay"),
        "e_rev_mV": E_REV,
        "mg_mM": Parameter(1.0, "mM", "magnesium outside of the cell", low=0.0),
    }

    def unblocked(self, p: Values, v: Float[Array, " post"]) -> Float[Array, " post"] | float:
        return 1.0 / (1.0 + p["mg_mM"] * jnp.exp(-0.062 * v) / 3.57)
