"""Likelihoods under recorded spikes: resets, after-spike currents and thresholds follow the recorded spikes, and
between them the model integrates freely.

Spikes are a point process whose rate depends on the distance to the threshold (escape rate),

    lambda = lambda_0 exp((V - theta) / Delta),   log L = sum_spikes log(1 - exp(-lambda dt)) - sum_others lambda dt

with lambda_0 = 1/ms, so that theta is where the model fires once a ms (Paninski 2004, Network 15:243; Pillow et al.
2005, J Neurosci 25:11003; Mensi et al. 2012, J Neurophysiol 107:1756; Pozzorini et al. 2015, PLoS Comput Biol
11:e1004275). The voltage is Gaussian about the model's,

    log L = -dt / T sum_counted ((V - V_rec)^2 / (2 s^2) + log s)

where T is how long residuals stay correlated: a sample counts as dt / T independent ones, one where T = dt. Nothing is
expected of V near spikes, nor of spikes in the refractory period. Given the spikes, both are smooth in the parameters,
and their derivatives are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from connectofit.connectome.errors import SettingError
from connectofit.fit.cells.forced_models import FORCED, ForcedCell, LinearCell, State, forced_cell, refusal
from connectofit.fit.cells.forced_together import fold_together
from connectofit.fit.cells.losses import CellLoss, Data
from connectofit.fit.cells.models import CellModel, Range
from connectofit.fit.cells.simulation import scanned
from connectofit.sim.neurons.base import NeuronModel, Values

FOLDED = ("current_pA", "voltage_mV", "spikes", "counted", "valid")  # the data of every step
_CERTAIN = 4.0  # log(lambda dt) from which on a spike is certain (lambda dt = 55), and the rate goes on as a line


@dataclass(frozen=True)
class ForcedLikelihood(CellLoss):
    """Negative log likelihood of a recording, in nats.

    spikes, voltage: what of the recording counts. sd_mV: s, or None to fit it (``voltage_sd_mV``). correlation_ms: T,
    or None for one sample. The width Delta of the escape rate is fitted as ``delta_v_mV``. The defaults weigh the
    voltage as suits cortical cells, whose residuals are those of a model that is too simple, and last; intervals by
    the curvature are then too narrow, and blocks should be resampled. With a longer correlation the spikes draw the
    resistance away from what the voltage says. For a simulation with white noise give ``sd_mV=None,
    correlation_ms=None``.

    Raises `SettingError` where neither counts, and for values that are not above 0.
    """

    spikes: bool = True
    voltage: bool = True
    sd_mV: float | None = 2.0
    correlation_ms: float | None = 30.0

    def __post_init__(self) -> None:
        if not (self.spikes or self.voltage):
            raise SettingError("A likelihood needs spikes, voltage or both.")
        for name in ("sd_mV", "correlation_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} of a likelihood has to be above 0, or None; found {value!r}.")

    @property
    def needs_spikes(self) -> bool:
        return self.spikes

    @property
    def couples(self) -> bool:
        return False

    @property
    def what(self) -> str:
        return "likelihood of the spikes" if self.spikes else "likelihood of the voltage"

    @staticmethod
    def takes(model: str) -> bool:
        """Whether spikes can be given to a model."""
        return model in FORCED

    def parameters(self) -> dict[str, Range]:
        own = {"delta_v_mV": Range(1.5, 0.1, 15.0, True)} if self.spikes else {}
        return own | ({"voltage_sd_mV": Range(2.0, 0.02, 20.0, True)} if self.voltage and self.sd_mV is None else {})

    def check(self, cell: CellModel, dt_ms: float) -> None:
        if not self.takes(cell.name):
            raise refusal(cell.name)
        if not self.spikes:
            idle = {"v_threshold_mV", "theta_inf_mV", "theta_spike_add_mV", "theta_spike_decay_per_ms"}
            idle |= {"theta_voltage_index_per_ms", "theta_voltage_decay_per_ms", "a_per_ms", "b_per_ms"}
            free = [name for name in cell.box.names if name in idle]
            if free:
                raise SettingError(
                    f"The voltage under recorded spikes says nothing about the threshold: {', '.join(free)} cannot be "
                    "free. Name the others in free, or let the spikes count, too."
                )

    def value(self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float) -> Array:
        forced = forced_cell(cell.neuron, p, dt_ms)
        log_dt = math.log(dt_ms)

        def add(
            total: tuple[Array, Array], state: State, rests: Array, row: Mapping[str, Array]
        ) -> tuple[Array, Array]:
            spiking, squares = total
            if self.spikes:
                y = (state["v"] - forced.threshold(state)) / own["delta_v_mV"] + log_dt
                gain = row["valid"] * (1.0 - rests)
                spiking = spiking + gain * jnp.where(row["spikes"] > 0, log_chance(y), -expected(y))
            if self.voltage:
                squares = squares + row["counted"] * (state["v"] - row["voltage_mV"]) ** 2
            return spiking, squares

        spiking, squares = fold_forced(forced, cell.neuron, p, data, add)
        return self._total(spiking.sum(), squares.sum(), own, data, dt_ms)

    def _total(
        self, spiking: Array, squares: Array, own: Mapping[str, Array], data: Data, dt_ms: float
    ) -> Float[Array, "*row"]:
        """The loss of the spikes' log likelihood and the voltage's squared errors."""
        if not self.voltage:
            return -spiking
        sd = own["voltage_sd_mV"] if self.sd_mV is None else jnp.asarray(self.sd_mV, spiking.dtype)
        weight = 1.0 if self.correlation_ms is None else dt_ms / self.correlation_ms
        return -spiking + weight * (0.5 * squares / sd**2 + data["counted"].sum((0, 1)) * jnp.log(sd))

    def together(
        self, cell: CellModel, p: Values, own: Mapping[str, Array], data: Data, dt_ms: float
    ) -> Float[Array, " row"]:
        """`value` of many parameter vectors, p and own [row], laid out for reverse mode; see `runs_together`. The data
        are those of all rows, or have the rows as their last axis."""
        forced = forced_cell(cell.neuron, p, dt_ms)
        if not isinstance(forced, LinearCell):
            raise refusal(cell.neuron.kind)
        log_dt, n_rows = math.log(dt_ms), p[cell.neuron.rest].shape[0]

        def terms(voltage: Array, threshold: Array, rests: Array, rows: Mapping[str, Array]) -> tuple[Array, Array]:
            spiking = squares = jnp.zeros_like(voltage)
            if self.spikes:
                y = (voltage - threshold) / own["delta_v_mV"] + log_dt
                chance = jnp.where(rows["spikes"] > 0, log_chance(y), -expected(y))
                spiking = rows["valid"] * jnp.where(rests, 0.0, chance)
            if self.voltage:
                squares = rows["counted"] * (voltage - rows["voltage_mV"]) ** 2
            return spiking, squares

        rows = {k: data[k] if data[k].ndim == 3 else data[k][:, :, None] for k in FOLDED}
        first = p[cell.neuron.rest]
        if "start_mV" in data:
            first = data["start_mV"] if data["start_mV"].ndim == 2 else data["start_mV"][:, None]
        first = jnp.broadcast_to(first, (rows["current_pA"].shape[1], n_rows))
        spiking, squares = fold_together(forced, first, rows, terms)
        return self._total(spiking.sum(0), squares.sum(0), own, data, dt_ms)

    @staticmethod
    def runs_together(model: str) -> bool:
        """Whether `together` has a model: LIF, GLIF and GIF, which are linear between recorded spikes."""
        return model in ("lif", "gif") or model.startswith("glif")


def expected(y: Array) -> Array:
    """lambda dt for y = log(lambda dt); from `_CERTAIN` on a line, so that its derivative stays finite."""
    low = jnp.minimum(y, _CERTAIN)
    return jnp.exp(low) * (1.0 + y - low)


def log_chance(y: Array) -> Array:
    """log(1 - exp(-lambda dt)) for y = log(lambda dt), to full precision for rates of any size."""
    # log((1 - exp(-x)) / x) = -x/2 + log(sinh(x/2) / (x/2)): a series where x is small, and where 1 - exp(-x) would
    # lose its digits. `log1p` and `expm1` are slow here.
    low = jnp.minimum(y, _CERTAIN)
    x = jnp.exp(low)
    small = x < 1.0
    near, far = jnp.where(small, x, 1.0), jnp.where(small, 1.0, x)
    square = near * near
    series = low - 0.5 * near + square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
    return jnp.where(small, series, jnp.log(1.0 - jnp.exp(-far)))


def fold_forced(forced: ForcedCell, neuron: NeuronModel, p: Values, data: Data, add: Any) -> tuple[Array, Array]:
    """Run under recorded spikes and add up two numbers for every sweep: add(total, state before the reset, whether it
    is in its refractory period, row)."""
    zero = jnp.zeros_like(data["current_pA"][0])

    def step(carry: tuple[State, Any], row: Mapping[str, Array]) -> tuple[tuple[State, Any], None]:
        before, total = carry
        silent = lax.optimization_barrier(forced.advance(before, row["current_pA"]))
        rests = before["left"] > 0
        held = forced.held(before, silent)
        seen = {k: jnp.where(rests, held[k], silent[k]) for k in silent}
        total = add(total, seen, rests, row)
        return (forced.after(before, silent, row["spikes"]), total), None

    start = (forced.start(_first_mV(neuron, p, data)), (zero, zero))
    _, total = scanned(step, start, {k: data[k] for k in FOLDED}, True)
    return total


def forced_trace(neuron: NeuronModel, p: Values, data: Data, dt_ms: float) -> dict[str, Float[Array, "time sweep"]]:
    """Under recorded spikes: ``v_mV`` after every step (after the reset where there was a spike), ``threshold_mV`` and
    ``v_before_mV`` before it, and whether the step was ``refractory``."""
    forced = forced_cell(neuron, p, dt_ms)

    def step(before: State, row: tuple[Array, Array]) -> tuple[State, dict[str, Array]]:
        silent = forced.advance(before, row[0])
        new = forced.after(before, silent, row[1])
        rests = before["left"] > 0
        held = forced.held(before, silent)
        out = {"v_mV": new["v"], "threshold_mV": forced.threshold(held), "refractory": rests}
        out["threshold_mV"] = jnp.where(rests, out["threshold_mV"], forced.threshold(silent))
        return new, {**out, "v_before_mV": jnp.where(rests, held["v"], silent["v"])}

    return lax.scan(step, forced.start(_first_mV(neuron, p, data)), (data["current_pA"], data["spikes"]))[1]


def draw_spikes(
    neuron: NeuronModel, p: Values, delta_v_mV: Array, data: Data, dt_ms: float, key: PRNGKeyArray
) -> tuple[Float[Array, "time sweep"], Float[Array, "time sweep"]]:
    """The model with its escape rate, running freely: (spikes, voltage after every step), drawn with `key`."""
    forced = forced_cell(neuron, p, dt_ms)
    chances = jax.random.uniform(key, data["current_pA"].shape, data["current_pA"].dtype)

    def step(before: State, row: tuple[Array, Array]) -> tuple[State, tuple[Array, Array]]:
        silent = forced.advance(before, row[0])
        y = (silent["v"] - forced.threshold(silent)) / delta_v_mV + math.log(dt_ms)
        fires = (row[1] < -jnp.expm1(-jnp.exp(jnp.minimum(y, _CERTAIN)))) & ~(before["left"] > 0)
        new = forced.after(before, silent, fires.astype(row[0].dtype))
        return new, (fires.astype(row[0].dtype), new["v"])

    return lax.scan(step, forced.start(_first_mV(neuron, p, data)), (data["current_pA"], chances))[1]


def _first_mV(neuron: NeuronModel, p: Values, data: Data) -> Float[Array, " sweep"]:
    like = data["current_pA"][0]
    return (
        data["start_mV"]
        if "start_mV" in data
        else jnp.broadcast_to(jnp.asarray(p[neuron.rest], like.dtype), like.shape)
    )
