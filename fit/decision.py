"""What a network says for one of two options over time: the decision variable of choices and reaction times.

    d(t) = sum_j w_j x_j(t) / scale,    x through a low-pass of `tau_ms` where that is above 0

x_j is the deviation of a neuron's voltage (or rate) from rest; of a spiking neuron its spikes, as a rate [Hz]. d > 0
speaks for the second option. w is the difference of the means of two pools of neurons, or fitted with the network,
with the prior N(0, weight_sd^2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.activity import Indicator
from connectofit.fit.activity_likelihood import filtered
from connectofit.fit.objectives import AnyArray, Readout
from connectofit.fit.responses import Id
from connectofit.sim import Network, initial_state, rollout

if TYPE_CHECKING:
    from connectofit.fit.behaviour.choices import ChoiceTrials

Pools = Mapping[str, Sequence[Id]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class DecisionVariable:
    """A linear readout for two options.

    read: places of the neurons that are read. weights: theirs, or None where they are fitted. tau_ms: of the low-pass,
    0 for none. scale: what counts as 1, in the unit of x. weight_sd: of the prior on fitted weights.
    """

    read: Int[AnyArray, "read"]
    weights: Float[AnyArray, "read"] | None
    tau_ms: float = field(default=0.0, metadata={"static": True})
    scale: float = field(default=1.0, metadata={"static": True})
    weight_sd: float = field(default=1.0, metadata={"static": True})

    @classmethod
    def of(
        cls,
        ids: Sequence[Id],
        options: Sequence[str],
        *,
        pools: Pools | None = None,
        read: Sequence[Id] | None = None,
        tau_ms: float = 0.0,
        scale: float = 1.0,
        weight_sd: float = 1.0,
    ) -> DecisionVariable:
        """From names of neurons among the network's `ids`.

        pools: option to the neurons that speak for it, in the mean. read: neurons whose weights are fitted; without
        either, all. Raises `SettingError` for other than two options, pools that are not one for each option, are
        empty or share neurons, pools beside read, neurons that do not exist or are named twice, and settings that are
        out of range.
        """
        if len(options) != 2:
            raise SettingError(
                f"A decision variable is between two options; these trials have {len(options)}: {offenders(options)}."
            )
        for name, value, above in (("tau_ms", tau_ms, False), ("scale", scale, True), ("weight_sd", weight_sd, True)):
            if not (math.isfinite(value) and (value > 0 if above else value >= 0)):
                rule = "above 0" if above else "0 or more"
                raise SettingError(f"{name} of a decision variable has to be {rule}; found {value!r}.")
        place = {name: k for k, name in enumerate(ids)}
        if pools is not None and read is not None:
            raise SettingError("Neurons are read by pools or by fitted weights: give pools or read, not both.")
        if pools is None:
            wanted = list(ids) if read is None else list(read)
        else:
            for option in pools:
                if option not in options:
                    raise unknown_name("option", str(option), options, "pools")
            if any(not pools.get(option) for option in options):
                sizes = {option: len(pools.get(option, ())) for option in options}
                raise SettingError(f"Both options need a pool of one neuron or more; found {sizes}.")
            wanted = [*pools[options[0]], *pools[options[1]]]
        absent = [name for name in wanted if name not in place]
        if absent:
            raise SettingError(f"The network has no neurons {offenders(absent)} to read a decision from.")
        twice = [name for name in dict.fromkeys(wanted) if wanted.count(name) > 1]
        if twice or not wanted:
            raise SettingError(
                f"A decision is read from one neuron or more, each named once and in one pool; found again: "
                f"{offenders(twice)}."
            )
        index = np.array([place[name] for name in wanted], np.int32)
        weights = None
        if pools is not None:
            first, second = (len(pools[option]) for option in options)
            weights = np.concatenate([np.full(first, -1.0 / first), np.full(second, 1.0 / second)]).astype(np.float32)
        return cls(index, weights, float(tau_ms), float(scale), float(weight_sd))

    def initial(self) -> Readout:
        """Fitted weights to start from."""
        return {"weights": jnp.zeros(self.read.shape[0])} if self.weights is None else {}

    def penalty(self, readout: Readout) -> Float[Array, ""]:
        """Minus the logarithm of the prior of fitted weights, without its constant."""
        return 0.5 * jnp.sum((readout["weights"] / self.weight_sd) ** 2) if self.weights is None else jnp.zeros(())

    def course(
        self, net: Network, readout: Readout, inputs: Float[AnyArray, "condition step neuron"], dt_ms: float
    ) -> Float[Array, "condition step"]:
        """d at the end of every step."""
        weights = readout["weights"] if self.weights is None else jnp.asarray(self.weights)
        d = jnp.einsum("csn,n->cs", signals(net, inputs, self.read, dt_ms), weights / self.scale)
        return filtered(d, Indicator(self.tau_ms), dt_ms) if self.tau_ms else d


def signals(
    net: Network, inputs: Float[AnyArray, "condition step neuron"], read: Int[AnyArray, "read"], dt_ms: float
) -> Float[Array, "condition step read"]:
    """What some neurons do under every input, each run from rest: deviations of voltages (or rates) from rest, and of
    spiking neurons their spikes as a rate in Hz, 1000 / dt_ms in the step of a spike."""
    starts = np.concatenate([[0], np.cumsum([p.size for p in net.populations])])
    parts = {p.name: slice(int(a), int(b)) for p, a, b in zip(net.populations, starts[:-1], starts[1:], strict=True)}
    record = {p.name: ("spikes" if p.model.spiking else p.model.voltage,) for p in net.populations}
    rest = initial_state(net, dt_ms=dt_ms).populations

    def one(given: Array) -> Array:
        _, out = rollout(net, None, {name: given[:, part] for name, part in parts.items()}, dt_ms=dt_ms, record=record)
        each = [
            out[p.name]["spikes"] * (1e3 / dt_ms)
            if p.model.spiking
            else out[p.name][p.model.voltage] - rest[p.name][p.model.voltage]
            for p in net.populations
        ]
        return jnp.concatenate(each, axis=1)[:, jnp.asarray(read)]

    return jax.vmap(one)(jnp.asarray(inputs, jnp.result_type(float)))


def conditions_of(
    trials: ChoiceTrials,
    inputs: Float[np.ndarray, "condition step neuron"],
    ids: Sequence[Id],
    condition: Int[np.ndarray, "trial"],
    dt_ms: float,
) -> tuple[Float[np.ndarray, "condition step neuron"], Int[np.ndarray, "trial"]]:
    """Inputs and the condition of every trial, checked.

    Raises `SettingError` for a dt_ms that is not above 0, inputs of another shape or that are not finite, and
    conditions that are not one place in the inputs for each trial.
    """
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise SettingError(f"dt_ms has to be above 0; found {dt_ms!r}.")
    inputs, condition = np.asarray(inputs), np.asarray(condition)
    if inputs.ndim != 3 or inputs.shape[2] != len(ids) or 0 in inputs.shape:
        raise SettingError(
            f"inputs have to be [condition, step, neuron], (any, any, {len(ids)}); found {inputs.shape}."
        )
    bad = np.argwhere(~np.isfinite(inputs))
    if len(bad):
        where = [f"condition {c}, step {s}, {ids[n]}" for c, s, n in bad[:5]] + [""] * max(len(bad) - 5, 0)
        raise SettingError(f"Inputs have to be finite numbers; found otherwise at {offenders(where)}.")
    if condition.shape != (trials.n_rows,) or not np.issubdtype(condition.dtype, np.integer):
        raise SettingError(
            f"condition has to be a whole number, the place in the inputs, for each of the {trials.n_rows} trials; "
            f"found {condition.dtype} of shape {condition.shape}."
        )
    outside = [f"trial {k + 1}: {condition[k]}" for k in np.flatnonzero((condition < 0) | (condition >= len(inputs)))]
    if outside:
        raise SettingError(
            f"Conditions have to be from 0 to {len(inputs) - 1}, places in the inputs; found {offenders(outside)}."
        )
    strange = [f"trial {k + 1}: {c}" for k, c in enumerate(trials.choice) if not -1 <= c < len(trials.options)]
    if strange:
        raise SettingError(
            f"Choices have to be places in the {len(trials.options)} options, or -1 for none; found "
            f"{offenders(strange)}. Read the table with read_choices."
        )
    return inputs.astype(np.float32), condition.astype(np.int32)
