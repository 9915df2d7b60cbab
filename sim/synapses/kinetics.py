"""Time courses after a spike, with exact propagators: what current-based and conductance-based synapses share.

    exponential:  y(t) = w exp(-t / tau)
    alpha:        y(t) = w (t / tau) exp(1 - t / tau)                                       peak w at t = tau
    dual:         y(t) = w (exp(-t / tau_decay) - exp(-t / tau_rise)) / peak                peak w

(Gerstner, Kistler, Naud & Paninski 2014, Neuronal Dynamics, section 3.1; Roth & van Rossum 2009 in Computational
Modeling Methods for Neuroscientists, eqs 6.2 to 6.4.) All are sums of terms y exp(-t / tau) and z t exp(-t / tau)
within a step, which `Terms` lists.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import State, Values, mean_of_decay, mean_of_rise
from connectofit.sim.parameters import Parameter
from connectofit.sim.synapses.base import TAU, time_constant


@dataclass(frozen=True, eq=False)
class Terms:
    """y(t) within a step from t = 0: sum of (y, tau): y exp(-t / tau), and of (z, tau): z t exp(-t / tau)."""

    decaying: tuple[tuple[Array, Array], ...]
    rising: tuple[tuple[Array, Array], ...] = ()

    def mean(self, dt_ms: float) -> Array:
        """The mean of y over a step."""
        parts = [y * mean_of_decay(dt_ms / tau) for y, tau in self.decaying]
        parts += [z * tau * mean_of_rise(dt_ms / tau) for z, tau in self.rising]
        return sum(parts[1:], parts[0])


class Kinetics(ABC):
    """A time course: its parameters, its state per postsynaptic neuron, and its exact propagation."""

    parameters: ClassVar[dict[str, Parameter]]

    @staticmethod
    @abstractmethod
    def initial(like: Float[Array, " post"]) -> State: ...

    @staticmethod
    @abstractmethod
    def terms(p: Values, state: State) -> Terms: ...

    @staticmethod
    @abstractmethod
    def advance(p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State: ...


class ExponentialDecay(Kinetics):
    """w exp(-t / tau_syn)."""

    parameters: ClassVar[dict[str, Parameter]] = {"tau_syn_ms": time_constant(5.0, TAU)}

    @staticmethod
    def initial(like: Float[Array, " post"]) -> State:
        return {"y": jnp.zeros_like(like)}

    @staticmethod
    def terms(p: Values, state: State) -> Terms:
        return Terms(((state["y"], p["tau_syn_ms"]),))

    @staticmethod
    def advance(p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        return {"y": state["y"] * jnp.exp(-dt_ms / p["tau_syn_ms"]) + arriving}


class AlphaFunction(Kinetics):
    """w (t / tau_syn) exp(1 - t / tau_syn)."""

    parameters: ClassVar[dict[str, Parameter]] = {"tau_syn_ms": time_constant(5.0, "time to the peak")}

    @staticmethod
    def initial(like: Float[Array, " post"]) -> State:
        return {"y": jnp.zeros_like(like), "slope": jnp.zeros_like(like)}

    @staticmethod
    def terms(p: Values, state: State) -> Terms:
        return Terms(((state["y"], p["tau_syn_ms"]),), ((state["slope"], p["tau_syn_ms"]),))

    @staticmethod
    def advance(p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        decay = jnp.exp(-dt_ms / p["tau_syn_ms"])
        return {
            "y": decay * (state["y"] + dt_ms * state["slope"]),
            "slope": decay * state["slope"] + arriving * (jnp.e / p["tau_syn_ms"]),
        }


class DualExponentialCourse(Kinetics):
    """w (exp(-t / tau_decay) - exp(-t / tau_rise)) / peak."""

    parameters: ClassVar[dict[str, Parameter]] = {
        "tau_rise_ms": time_constant(1.0, "time constant of the rise, another than that of the decay"),
        "tau_decay_ms": time_constant(5.0, TAU),
    }

    @staticmethod
    def initial(like: Float[Array, " post"]) -> State:
        return {"rise": jnp.zeros_like(like), "decay": jnp.zeros_like(like)}

    @staticmethod
    def terms(p: Values, state: State) -> Terms:
        return Terms(((state["decay"], p["tau_decay_ms"]), (-state["rise"], p["tau_rise_ms"])))

    @staticmethod
    def advance(p: Values, state: State, arriving: Float[Array, " post"], dt_ms: float) -> State:
        rise, decay = p["tau_rise_ms"], p["tau_decay_ms"]
        t_peak = rise * decay / (decay - rise) * jnp.log(decay / rise)
        scaled = arriving / (jnp.exp(-t_peak / decay) - jnp.exp(-t_peak / rise))
        return {
            "rise": state["rise"] * jnp.exp(-dt_ms / rise) + scaled,
            "decay": state["decay"] * jnp.exp(-dt_ms / decay) + scaled,
        }
