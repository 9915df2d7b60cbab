"""What the Hodgkin-Huxley-type neurons share: gates, the membrane they act on, and the detection of action potentials.

    C dV/dt = sum_c g_c(x) (E_c - V) + I(t)            c: ion channels and leak
    dx/dt = alpha_x(V) (1 - x) - beta_x(V) x           x: gates;  x_inf = alpha/(alpha+beta), tau_x = 1/(alpha+beta)

method: "exponential_midpoint" (of order dt^2): every variable relaxes exactly over the step, with the others held
where half a step of that kind leads, and the input at its mean. "exponential_euler" (of order dt): with the others
held at the start, which is Brian2's method of that name; at half of the cost, it is out by several per cent in the
squid's firing rate at dt = 0.025 ms. Both are stable for steps of 0.1 ms. "rk4": of order dt^4, for steps up to about
0.05 ms. "euler": of order dt, for steps up to about 0.02 ms.

A spike is emitted at the end of the step in which V crosses `v_threshold_mV` upwards, if the last one is longer ago
than t_ref. Nothing is reset: t_ref keeps noise at the crossing from counting one action potential twice, as Brian2's
``threshold="v > -20*mV", refractory=3*ms``. NEST emits a spike at the maximum of V above its threshold instead, that
is later by the time from the crossing to the peak.

The 1952 densities stand for a membrane of 10,000 um^2: 1 uF/cm^2 is 100 pF, 1 mS/cm^2 is 100 nS, 1 uA/cm^2 is 100 pA.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from connectofit.sim.neurons.base import Drive, NeuronModel, State, Values
from connectofit.sim.neurons.firing import above_zero, fire, noise_parameter, not_refractory, refractory_period
from connectofit.sim.neurons.integration import Slopes, Variables, check_method, explicit_step, relax_at
from connectofit.sim.neurons.linear import membrane_noise
from connectofit.sim.parameters import Parameter
from connectofit.sim.surrogate import Surrogate

Integration = Literal["exponential_midpoint", "exponential_euler", "rk4", "euler"]
Rates = dict[str, tuple[Array, Array]]  # {gate: (alpha, beta)} per ms


def linoid(x: Array) -> Array:
    """x / (exp(x) - 1), which is 1 at x = 0, without overflow for large x of either sign."""
    # (1 - T) / (T / y) with y = x / 2 and T = tanh(y); the series of T / y near 0.
    y = 0.5 * x
    t, small = jnp.tanh(y), jnp.abs(y) < 0.02
    series = 1.0 - y**2 * (1.0 / 3.0 - y**2 * (2.0 / 15.0 - y**2 * (17.0 / 315.0)))
    return (1.0 - t) / jnp.where(small, series, t / jnp.where(small, 1.0, y))


def conductance(default: float, what: str) -> Parameter:
    """The parameter of a maximal conductance."""
    return Parameter(default, "nS", f"{what} conductance", low=0.0)


def membrane_parameters(
    *,
    c_m: float,
    g_leak: float,
    e_leak: float,
    e_na: float,
    e_k: float,
    v_rest: float,
    v_threshold: float,
    t_ref: float,
) -> dict[str, Parameter]:
    """The parameters that all these neurons have, in pF, nS, mV and ms."""
    return {
        "c_m_pF": above_zero(c_m, "pF", "membrane capacitance"),
        "g_leak_nS": above_zero(g_leak, "nS", "leak conductance"),
        "e_leak_mV": Parameter(e_leak, "mV", "leak potential"),
        "e_na_mV": Parameter(e_na, "mV", "sodium potential"),
        "e_k_mV": Parameter(e_k, "mV", "potassium potential"),
        "v_rest_mV": Parameter(v_rest, "mV", "potential that a run starts from, with all gates at their steady state"),
        "v_threshold_mV": Parameter(v_threshold, "mV", "potential whose upward crossing is a spike"),
        "t_ref_ms": refractory_period(t_ref),
        "i_bias_pA": Parameter(0.0, "pA", "constant current"),
        "noise_mV": noise_parameter(),
    }


class ConductanceBased(NeuronModel):
    """A membrane with gates. A model says how fast its gates open and close, and which conductances they make."""

    surrogate: Surrogate
    method: Integration
    gates: ClassVar[tuple[str, ...]]

    voltage: ClassVar[str] = "v_mV"
    rest: ClassVar[str] = "v_rest_mV"
    noise: ClassVar[str] = "noise_mV"
    spiking: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_method(self.method, get_args(Integration), type(self).__name__)

    @abstractmethod
    def rates(self, p: Values, v: Float[Array, " neuron"]) -> Rates:
        """(alpha, beta) of every gate at voltage v, per ms."""

    @abstractmethod
    def channels(self, p: Values, v: Float[Array, " neuron"], x: State) -> tuple[tuple[Array, Array], ...]:
        """(conductance in nS, reversal potential in mV) of every channel but the leak."""

    def initial(self, p: Values) -> State:
        v = p["v_rest_mV"]
        gates = {gate: alpha / (alpha + beta) for gate, (alpha, beta) in self.rates(p, v).items()}
        return {"v_mV": v, **gates, "refractory_steps": not_refractory(v)}

    def step(
        self, p: Values, state: State, drive: Drive, dt_ms: float, noise: Float[Array, " neuron"] | None
    ) -> tuple[State, Float[Array, " neuron"]]:
        v = state["v_mV"]
        names = (self.voltage, *self.gates)
        if self.method in ("rk4", "euler"):
            y = tuple(state[name] for name in names)
            new, *gates = explicit_step(self._slopes(p, drive), y, dt_ms, self.method)
        else:
            held = state
            if self.method == "exponential_midpoint":
                # The barriers keep XLA from computing these anew for every variable that depends on them.
                halfway = lax.optimization_barrier(self._relaxed(p, state, state, drive, 0.5 * dt_ms))
                held = dict(zip(names, halfway, strict=True))
            new, *gates = lax.optimization_barrier(self._relaxed(p, state, held, drive, dt_ms))
        new = new if drive.jump is None else new + drive.jump
        new = membrane_noise(new, p["noise_mV"], p["c_m_pF"] / p["g_leak_nS"], dt_ms, noise)
        below = v < p["v_threshold_mV"]
        rested = jnp.where(below, state["refractory_steps"], jnp.maximum(state["refractory_steps"], 1))
        spikes, resting = fire(new - p["v_threshold_mV"], rested, p["t_ref_ms"], dt_ms, self.surrogate)
        return {"v_mV": new, **dict(zip(self.gates, gates, strict=True)), "refractory_steps": resting}, spikes

    def _relaxed(self, p: Values, state: State, held: State, drive: Drive, dt_ms: float) -> Variables:
        """Every variable relaxed from `state`, towards where and as fast as the variables of `held` say."""
        v = held["v_mV"]
        g, pull = p["g_leak_nS"], p["g_leak_nS"] * p["e_leak_mV"] + p["i_bias_pA"] + drive.mean_current(dt_ms)
        for open_, potential in self.channels(p, v, held):
            g, pull = g + open_, pull + open_ * potential
        if drive.conductance is not None and drive.conductance_potential is not None:
            g, pull = g + drive.conductance, pull + drive.conductance_potential
        rates = self.rates(p, v)
        gates = (relax_at(a + b, state[k], a, dt_ms) for k, (a, b) in rates.items())
        return relax_at(g, state["v_mV"], pull, dt_ms / p["c_m_pF"]), *gates

    def _slopes(self, p: Values, drive: Drive) -> Slopes:
        def slopes(y: Variables, t_ms: float) -> Variables:
            v, x = y[0], dict(zip(self.gates, y[1:], strict=True))
            current = p["g_leak_nS"] * (p["e_leak_mV"] - v) + p["i_bias_pA"] + drive.into(v, t_ms)
            for open_, potential in self.channels(p, v, x):
                current = current + open_ * (potential - v)
            gates = (a * (1.0 - x[k]) - b * x[k] for k, (a, b) in self.rates(p, v).items())
            return current / p["c_m_pF"], *gates

        return slopes
