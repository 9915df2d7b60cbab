"""Neuron models whose spikes are given to them: the voltage and the threshold between spikes that happen elsewhere.

The equations are those of the models of `connectofit.sim.neurons`, cut at the spike: `advance` integrates one step as
if there were none, `reset` applies what a spike does. What stays the same over time is worked out once, before the
loop. LIF, GLIF and GIF are linear between spikes and integrated exactly, as there; AdEx and Izhikevich's neuron are
integrated by the model's method, their voltage kept at or below the peak where the recorded neuron has not fired yet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError, offenders
from connectofit.sim.neurons import NeuronModel
from connectofit.sim.neurons.base import Values, mean_of_decay
from connectofit.sim.neurons.integration import Variables, explicit_step, relax
from connectofit.sim.neurons.linear import relative_expm1
from connectofit.sim.neurons.upstroke import exponential_current

State = dict[str, Array]  # v, left (refractory steps), and the model's own; all [sweep]

FORCED = ("lif", "glif1", "glif2", "glif3", "glif4", "glif5", "gif", "adex", "izhikevich")
"""The models to which spikes can be given."""


class ForcedCell(ABC):
    """A cell with its parameters and time step."""

    t_ref_ms: Array
    t_ref_steps: Array
    freezes: bool  # whether the refractory period stops all variables (GLIF), or V alone

    @abstractmethod
    def start(self, v_mV: Float[Array, " sweep"]) -> State:
        """The state at rest at this voltage."""

    @abstractmethod
    def advance(self, state: State, current_pA: Float[Array, " sweep"]) -> State:
        """The state one step later, without a spike."""

    @abstractmethod
    def threshold(self, state: State) -> Array:
        """The threshold that belongs to a state."""

    @abstractmethod
    def reset(self, before: State, silent: State) -> State:
        """What a spike at the end of the step makes of the state `silent`; `before`: at the start of the step."""

    @abstractmethod
    def held(self, before: State, silent: State) -> State:
        """The state at the end of a step in the refractory period."""

    def after(self, before: State, silent: State, spikes: Array) -> State:
        """The state after a step in which these spikes (1 or 0) happened."""
        rests = before["left"] > 0
        held, fired = self.held(before, silent), self.reset(before, silent)
        new = {k: jnp.where(spikes > 0, fired[k], jnp.where(rests, held[k], silent[k])) for k in silent if k != "left"}
        left = jnp.where(spikes > 0, self.t_ref_steps, jnp.maximum(before["left"] - 1, 0))
        return {**new, "left": left}


def forced_cell(neuron: NeuronModel, p: Values, dt_ms: float) -> ForcedCell:
    """The cell whose spikes are given. Raises `SettingError` for models without a reset and a threshold."""
    if neuron.kind == "adex":
        return _AdEx(neuron, p, dt_ms)
    if neuron.kind == "izhikevich":
        return _Izhikevich(neuron, p, dt_ms)
    if neuron.kind in FORCED:
        return _linear_cell(neuron.kind, p, dt_ms)
    raise refusal(neuron.kind)


def refusal(kind: str) -> SettingError:
    """Why spikes cannot be given to a model, and what to do instead."""
    why = {
        "traub_miles": "it draws its action potentials and has no reset that a recorded spike could stand for; "
        "couple it to the recorded voltage instead (loss='voltage', by nudging)",
    }
    reason = why.get(kind, "it is none of those with a reset and a threshold")
    return SettingError(
        f"Recorded spikes cannot be given to the model {kind!r}: {reason}. Possible: {offenders(FORCED, 9)}."
    )


@dataclass(frozen=True, eq=False)
class LinearCell(ForcedCell):
    """What LIF, GLIF and GIF share: a leaky membrane, currents that decay, and a threshold of up to three parts.

    Parameters are numbers, or [row] where many cells run side by side.
    """

    e: Array  # potential that V - E pulls the threshold from
    rest: Array  # where V goes without current
    r: Array
    decay: Array  # of V over a step
    v_threshold: Array
    v_reset: Array | None
    reset_rule: tuple[Array, Array] | None  # (fraction, add) of the rules of GLIF 2, 4 and 5
    currents: tuple[
        tuple[Array, Array, Array, Array, Array], ...
    ]  # decay, weight on V, mean, kept and added by a spike
    spike_part: tuple[Array, Array, Array] | None  # decay, kept and added by a spike
    voltage_part: tuple[Array, Array, Array] | None  # decay, weights of the settled and the moving part
    lowest: Array | None  # of the voltage part after a spike (GIF)
    t_ref_ms: Array
    t_ref_steps: Array
    freezes: bool

    def start(self, v_mV: Array) -> State:
        none = jnp.zeros_like(v_mV)
        state = {"v": v_mV, "left": jnp.zeros(v_mV.shape, jnp.int32)}
        state |= {f"current_{k}": none for k in range(len(self.currents))}
        state |= {"theta_spike": none} if self.spike_part else {}
        return state | ({"theta_voltage": none} if self.voltage_part else {})

    def advance(self, state: State, current_pA: Array) -> State:
        v_inf = self.rest + self.r * current_pA
        v = v_inf + (state["v"] - v_inf) * self.decay
        mean = v_inf
        new = dict(state)
        for k, (decay, weight, share, _, _) in enumerate(self.currents):
            own = state[f"current_{k}"]
            v, mean = v + weight * own, mean + share * own
            new[f"current_{k}"] = own * decay
        new["v"] = v
        if self.spike_part:
            new["theta_spike"] = state["theta_spike"] * self.spike_part[0]
        if self.voltage_part:
            decay, settled, moving = self.voltage_part
            pulled = settled * (mean - self.e) + moving * (state["v"] - mean)
            new["theta_voltage"] = state["theta_voltage"] * decay + pulled
        return new

    def threshold(self, state: State) -> Array:
        theta = self.v_threshold
        theta = theta + state["theta_spike"] if self.spike_part else theta
        return theta + state["theta_voltage"] if self.voltage_part else theta + jnp.zeros_like(state["v"])

    def reset(self, before: State, silent: State) -> State:
        new = dict(silent)
        if self.reset_rule is not None:
            fraction, add = self.reset_rule
            new["v"] = self.e + fraction * (before["v"] - self.e) + add
        elif self.v_reset is not None:
            new["v"] = jnp.broadcast_to(self.v_reset, silent["v"].shape)
        for k, (_, _, _, kept, add) in enumerate(self.currents):
            new[f"current_{k}"] = kept * silent[f"current_{k}"] + add
        if self.spike_part:
            _, kept, add = self.spike_part
            new["theta_spike"] = kept * silent["theta_spike"] + add
        if self.lowest is not None:
            new["theta_voltage"] = jnp.maximum(silent["theta_voltage"], self.lowest)
        return new

    def held(self, before: State, silent: State) -> State:
        if self.freezes or self.v_reset is None:
            return before
        return {**silent, "v": jnp.broadcast_to(self.v_reset, silent["v"].shape)}


def _linear_cell(kind: str, p: Values, dt_ms: float) -> LinearCell:
    glif = kind.startswith("glif")
    r = 1.0 / p["g_nS"] if glif else p["r_m_GOhm"]
    tau = p["c_m_pF"] / p["g_nS"] if glif else p["tau_m_ms"]
    e = p["e_l_mV"] if glif else p["v_rest_mV"]
    decay = jnp.exp(-dt_ms / tau)

    def current(rate: Array, kept: Array, add: Array) -> tuple[Array, Array, Array, Array, Array]:
        weight = r * (dt_ms / tau) * decay * relative_expm1(dt_ms / tau - dt_ms * rate)
        return jnp.exp(-rate * dt_ms), weight, r * mean_of_decay(dt_ms * rate), kept, add

    def pulled(a: Array, b: Array) -> tuple[Array, Array, Array]:
        faded = jnp.exp(-b * dt_ms)
        settled = a * dt_ms * relative_expm1(-b * dt_ms)
        return faded, settled, a * dt_ms * faded * relative_expm1((b - 1.0 / tau) * dt_ms)

    currents: tuple[Any, ...] = ()
    spike_part = voltage_part = lowest = reset_rule = None
    if "asc_1_add_pA" in p:
        rates = (p["asc_1_decay_per_ms"], p["asc_2_decay_per_ms"])
        currents = tuple(
            current(k, p[f"asc_{j}_fraction"] * jnp.exp(-k * p["t_ref_ms"]), p[f"asc_{j}_add_pA"])
            for j, k in zip((1, 2), rates, strict=True)
        )
    if "reset_fraction" in p:
        reset_rule = p["reset_fraction"], p["reset_add_mV"]
        rate = p["theta_spike_decay_per_ms"]
        spike_part = jnp.exp(-rate * dt_ms), jnp.exp(-rate * p["t_ref_ms"]), p["theta_spike_add_mV"]
    if "theta_voltage_index_per_ms" in p:
        voltage_part = pulled(p["theta_voltage_index_per_ms"], p["theta_voltage_decay_per_ms"])
    if kind == "gif":
        currents = tuple(current(p[f"k_{j}_per_ms"], p[f"r_{j}"], p[f"a_{j}_pA"]) for j in (1, 2))
        voltage_part = pulled(p["a_per_ms"], p["b_per_ms"])
        lowest = p["theta_reset_mV"] - p["theta_inf_mV"]
    return LinearCell(
        e,
        e + r * p["i_bias_pA"],
        r,
        decay,
        p["theta_inf_mV"] if kind == "gif" else p["v_threshold_mV"],
        None if reset_rule else p["v_reset_mV"],
        reset_rule,
        currents,
        spike_part,
        voltage_part,
        lowest,
        p["t_ref_ms"],
        jnp.round(p["t_ref_ms"] / dt_ms).astype(jnp.int32),
        glif,
    )


class _AdEx(ForcedCell):
    """AdEx; the threshold of the escape rate is V_T."""

    freezes = False

    def __init__(self, neuron: NeuronModel, p: Values, dt_ms: float) -> None:
        self.p, self.dt_ms, self.method = p, dt_ms, str(getattr(neuron, "method", "rk4"))
        self.t_ref_ms = p["t_ref_ms"]
        self.t_ref_steps = jnp.round(p["t_ref_ms"] / dt_ms).astype(jnp.int32)

    def start(self, v_mV: Array) -> State:
        return {"v": v_mV, "w": jnp.zeros_like(v_mV), "left": jnp.zeros(v_mV.shape, jnp.int32)}

    def advance(self, state: State, current_pA: Array) -> State:
        p, v, w = self.p, state["v"], state["w"]
        rests = state["left"] > 0

        def active(v: Array) -> Array:
            return exponential_current(v, p["v_t_mV"], p["delta_t_mV"], p["g_leak_nS"]) + p["i_bias_pA"] + current_pA

        def slopes(y: Variables, t_ms: float) -> Variables:
            v = jnp.where(rests, p["v_reset_mV"], jnp.minimum(y[0], p["v_peak_mV"]))
            dv = (p["g_leak_nS"] * (p["e_leak_mV"] - v) + active(v) - y[1]) / p["c_m_pF"]
            return dv, (p["a_nS"] * (v - p["e_leak_mV"]) - y[1]) / p["tau_w_ms"]

        if self.method == "exponential_euler":
            pull = p["e_leak_mV"] + (active(v) - w) / p["g_leak_nS"]
            new = relax(v, pull, p["c_m_pF"] / p["g_leak_nS"], self.dt_ms)
            w = relax(w, p["a_nS"] * (v - p["e_leak_mV"]), p["tau_w_ms"], self.dt_ms)
        else:
            new, w = explicit_step(slopes, (v, w), self.dt_ms, self.method)
        return {**state, "v": jnp.minimum(new, p["v_peak_mV"]), "w": w}

    def threshold(self, state: State) -> Array:
        return jnp.broadcast_to(self.p["v_t_mV"], state["v"].shape)

    def reset(self, before: State, silent: State) -> State:
        return {
            **silent,
            "v": jnp.broadcast_to(self.p["v_reset_mV"], silent["v"].shape),
            "w": silent["w"] + self.p["b_pA"],
        }

    def held(self, before: State, silent: State) -> State:
        return {**silent, "v": jnp.broadcast_to(self.p["v_reset_mV"], silent["v"].shape)}


class _Izhikevich(ForcedCell):
    """Izhikevich's neuron; the threshold of the escape rate is the peak, which the upstroke passes in about 1 ms."""

    freezes = False

    def __init__(self, neuron: NeuronModel, p: Values, dt_ms: float) -> None:
        self.p, self.dt_ms, self.method = p, dt_ms, str(getattr(neuron, "method", "euler"))
        self.t_ref_ms, self.t_ref_steps = jnp.zeros(()), jnp.zeros((), jnp.int32)

    def start(self, v_mV: Array) -> State:
        return {"v": v_mV, "u": self.p["b_per_ms"] * v_mV, "left": jnp.zeros(v_mV.shape, jnp.int32)}

    def advance(self, state: State, current_pA: Array) -> State:
        p, v, u = self.p, state["v"], state["u"]
        drive = 140.0 + (current_pA + p["i_bias_pA"]) / p["c_m_pF"]

        def dv(v: Array, u: Array) -> Array:
            return 0.04 * v**2 + 5.0 * v + drive - u

        def slopes(y: Variables, t_ms: float) -> Variables:
            return dv(*y), p["a_per_ms"] * (p["b_per_ms"] * y[0] - y[1])

        if self.method == "half_steps":
            for _ in range(2):
                v = v + 0.5 * self.dt_ms * dv(v, u)
            u = u + self.dt_ms * p["a_per_ms"] * (p["b_per_ms"] * v - u)
        else:
            v, u = explicit_step(slopes, (v, u), self.dt_ms, self.method)
        return {**state, "v": jnp.minimum(v, p["v_peak_mV"]), "u": u}

    def threshold(self, state: State) -> Array:
        return jnp.broadcast_to(self.p["v_peak_mV"], state["v"].shape)

    def reset(self, before: State, silent: State) -> State:
        v = jnp.broadcast_to(self.p["c_mV"], silent["v"].shape)
        return {**silent, "v": v, "u": silent["u"] + self.p["d_mV_per_ms"]}

    def held(self, before: State, silent: State) -> State:
        return silent
