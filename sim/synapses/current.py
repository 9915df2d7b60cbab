"""Current-based synapses: a spike adds a current of a given time course (`connectofit.sim.synapses.kinetics`).

    I_i(t) = sum_j w_ij sum_k y(t - t_j^k - delay)

NEST's `iaf_psc_exp` and `iaf_psc_alpha`. The time courses are exact, and neurons that can (LIF) integrate them
exactly. A spike that arrives at t changes I from t on, and V after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, State, Values
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import SpikingSynapse
from connectofit.sim.synapses.kinetics import AlphaFunction, DualExponentialCourse, ExponentialDecay, Kinetics


class CurrentSynapse(SpikingSynapse):
    """A synapse whose spikes add a current; weights are its peak, in pA for neurons with voltages in mV."""

    positive: ClassVar[bool] = False
    kinetics: ClassVar[type[Kinetics]]

    def initial(self, like: Float[Array, " post"]) -> State:
        return self.kinetics.initial(like)

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
        terms = self.kinetics.terms(p, state)
        for y, tau_ms in terms.decaying:
            onto.add_decaying(y, tau_ms)
        for slope, tau_ms in terms.rising:
            onto.add_rising(slope, tau_ms)

    def advance(self, p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return self.kinetics.advance(p, state, arriving, dt_ms)


@dataclass(frozen=True)
class Exponential(CurrentSynapse):
    """Exponential current: w exp(-t / tau_syn)."""

    kind: ClassVar[str] = "exponential"
    kinetics: ClassVar[type[Kinetics]] = ExponentialDecay
    parameters: ClassVar[dict[str, Parameter]] = kinetics.parameters


@dataclass(frozen=True)
class Alpha(CurrentSynapse):
    """Alpha-shaped current: w (t / tau_syn) exp(1 - t / tau_syn)."""

    kind: ClassVar[str] = "alpha"
    kinetics: ClassVar[type[Kinetics]] = AlphaFunction
    parameters: ClassVar[dict[str, Parameter]] = kinetics.parameters


@dataclass(frozen=True)
class DualExponential(CurrentSynapse):
    """Current that rises and decays exponentially, with peak w."""

    kind: ClassVar[str] = "dual_exponential"
    kinetics: ClassVar[type[Kinetics]] = DualExponentialCourse
    parameters: ClassVar[dict[str, Parameter]] = kinetics.parameters
