"""Checks of a network and of a run's settings, made on the host before anything is compiled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.sim.network import LOG_GAIN, Network, Projection
from connectofit.sim.parameters import check_values
from connectofit.sim.plasticity import LongTermPlasticity

_PART = 2**22  # entries that are looked at together


def steps_of(duration_ms: float, dt_ms: float, what: str) -> int:
    """How many steps a time is, which has to be a whole number of them; `SettingError` otherwise.

    Rounding of the two numbers is forgiven: a millionth of the time, at most a thousandth of a step.
    """
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise SettingError(f"dt_ms has to be a positive time step in ms; found {dt_ms!r}.")
    if not (math.isfinite(duration_ms) and duration_ms >= 0):
        raise SettingError(f"{what} has to be a time in ms, 0 or more; found {duration_ms!r}.")
    steps = duration_ms / dt_ms
    if abs(steps - round(steps)) > min(1e-6 * max(1.0, steps), 1e-3):
        raise SettingError(
            f"{what} of {duration_ms:g} ms is {steps:g} steps of dt_ms = {dt_ms:g}; it has to be a whole number of "
            f"steps. Take {round(steps) * dt_ms:g} ms, or another dt_ms."
        )
    return round(steps)


def delay_steps(projection: Projection, dt_ms: float) -> int:
    """The projection's (shortest) delay in steps. Raises `SettingError` where it is no whole number of steps, or too
    short."""
    name, synapse = projection.name, projection.synapse
    if synapse.spiking and 0 <= projection.delay_ms < dt_ms * (1 - 1e-6):
        raise SettingError(
            f"Projection {name!r} carries spikes and has a delay of {projection.delay_ms:g} ms, shorter than dt_ms = "
            f"{dt_ms:g}: a spike cannot act within its own step. Give the projection a delay of at least dt_ms."
        )
    steps = steps_of(projection.delay_ms, dt_ms, f"The delay of projection {name!r}")
    longest_delay_steps(projection, dt_ms)
    if steps and not synapse.delayed:
        raise SettingError(
            f"Projection {name!r} is a {synapse.kind} and has a delay of {projection.delay_ms:g} ms; set its "
            "delay to 0."
        )
    return steps


def longest_delay_steps(projection: Projection, dt_ms: float) -> int:
    """The longest delay of the projection's edges in steps."""
    longest = projection.delay_ms if projection.longest_delay_ms is None else projection.longest_delay_ms
    return steps_of(longest, dt_ms, f"The longest delay of projection {projection.name!r}")


def check_delays(net: Network, dt_ms: float) -> None:
    """Raise a `SettingError` for edges whose delay is no whole number of steps, naming the first of them."""
    for projection in net.projections:
        delay_steps(projection, dt_ms)
        if projection.edge_delay_ms is None:
            continue
        delay_ms = np.asarray(projection.edge_delay_ms)
        wrong = _found(delay_ms, partial(_off_the_grid, dt_ms=dt_ms))
        if wrong.size:
            shown = offenders([f"edge {e}: {delay_ms[e]:g} ms" for e in wrong])
            raise SettingError(
                f"Delays of projection {projection.name!r} have to be whole numbers of steps of dt_ms = {dt_ms:g}; "
                f"found {shown}. Take another dt_ms, or round the delays (resolution_ms of the edge rule)."
            )


def _off_the_grid(delay_ms: Float[np.ndarray, " part"], dt_ms: float) -> Bool[np.ndarray, " part"]:
    """Which delays are no whole number of steps, or too coarse to say how many: what float16 and float32 round off is
    forgiven as far as it leaves no doubt."""
    steps = delay_ms.astype(np.float64) / dt_ms
    coarse = _rounded_off(delay_ms) / dt_ms
    allowed = np.minimum(1e-6 * np.maximum(1.0, steps), 1e-3) + coarse
    return ~((np.abs(steps - np.round(steps)) <= allowed) & (coarse < 0.45))


def _rounded_off(values: Float[np.ndarray, " part"]) -> Float[np.ndarray, " part"]:
    """The most that the type of these values rounds off; NaN where they are not finite."""
    with np.errstate(invalid="ignore"):
        return np.spacing(np.abs(values)).astype(np.float64) / 2


def _found(values: np.ndarray, wrong: Callable[[Any], Bool[np.ndarray, " part"]]) -> Int[np.ndarray, " wrong"]:
    """Which entries are wrong. Looked at in parts, so that of 300 million edges no array of float64 is made; of
    float16, the values that occur are looked at first, since they are few."""
    if values.dtype == np.float16:
        occurs = np.zeros(2**16, bool)
        occurs[values.view(np.uint16)] = True
        if not wrong(np.flatnonzero(occurs).astype(np.uint16).view(np.float16)).any():
            return np.zeros(0, np.int64)
    starts = range(0, len(values), _PART)
    return np.concatenate([np.zeros(0, np.int64), *(k + np.flatnonzero(wrong(values[k : k + _PART])) for k in starts)])


def check_network(net: Network) -> None:
    """Raise a `SettingError` or `UnknownNameError` at the first thing in `net` that cannot be simulated.

    Names are unique, projections join populations that exist and fit their synapse, indices are in range, and every
    parameter is finite and within its bounds. Needs concrete arrays (not inside of `jax.jit`).
    """
    names = Counter([p.name for p in net.populations] + [p.name for p in net.projections])
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        raise SettingError(f"Populations and projections need names of their own; used twice: {offenders(twice)}.")
    ids = Counter(net.ids)
    if len(ids) != net.n_neurons:
        raise SettingError(
            f"Ids stand for one neuron each; repeated: {offenders([i for i, n in ids.items() if n > 1])}."
        )
    for population in net.populations:
        owner = f"population {population.name!r}"
        index = np.asarray(population.type_index)
        _check_index(index, population.size, len(population.types), owner, "type_index")
        values = {k: np.asarray(v) for k, v in _params_of(net, population.name).items()}
        check_values(values, population.model.parameters, owner, population.types)
        _check_shapes(values, {k: (len(population.types),) for k in values}, owner)
    for projection in net.projections:
        _check_projection(net, projection)


def _check_projection(net: Network, projection: Projection) -> None:
    owner, synapse = f"projection {projection.name!r}", projection.synapse
    pre, post = net.population(projection.pre), net.population(projection.post)
    if synapse.spiking and not pre.model.spiking:
        raise SettingError(
            f"{owner} has an {synapse.kind} synapse, which carries spikes, but its presynaptic population "
            f"{pre.name!r} is of {pre.model.kind} neurons, which do not spike. Use a graded synapse, or a spiking "
            "model."
        )
    indptr, weight = np.asarray(projection.indptr), np.asarray(projection.base_weight)
    n_edges = projection.n_edges
    if indptr.shape != (pre.size + 1,) or indptr[0] != 0 or indptr[-1] != n_edges or np.any(np.diff(indptr) < 0):
        raise SettingError(
            f"indptr of {owner} has to rise from 0 to its {n_edges} edges in {pre.size + 1} entries, one more than the "
            f"presynaptic population has neurons; found shape {indptr.shape}."
        )
    _check_index(np.asarray(projection.post_index), n_edges, post.size, owner, "post_index")
    _check_index(np.asarray(projection.type_index), n_edges, len(projection.types), owner, "type_index")
    fits, least = weight.shape == (n_edges,), 0.0 if synapse.positive else -np.inf
    bad = np.zeros(0, np.int64)
    # The least and the largest are not finite if any is not, and are quicker to find than which.
    if fits and n_edges and not (np.isfinite([weight.min(), weight.max()]).all() and (least <= weight.min())):
        bad = _found(weight, lambda part: ~np.isfinite(part) | (part < least))
    if not fits or bad.size:
        rows = [f"edge {e}: {weight[e]:g}" for e in bad] if fits else [weight.shape]
        rule = "finite and 0 or more (they are conductances)" if synapse.positive else "finite"
        raise SettingError(f"Weights of {owner} have to be {rule}, one per edge; found {offenders(rows)}.")
    _check_edge_delays(projection, owner)
    described = {"log_gain": LOG_GAIN, **projection.parameters}
    values = {k: np.asarray(v) for k, v in _params_of(net, projection.name).items()}
    check_values({k: v for k, v in values.items() if k == "log_gain"}, {"log_gain": LOG_GAIN}, owner, projection.types)
    check_values(values, described, owner)
    side = pre if synapse.side == "pre" else post
    shapes: dict[str, tuple[int, ...]] = {"log_gain": (len(projection.types),)}
    shapes |= {k: (len(side.types),) if np.shape(values[k]) != (1,) else (1,) for k in synapse.parameters}
    if projection.plasticity is not None:
        shapes |= dict.fromkeys(projection.plasticity.parameters, (1,))
    _check_shapes(values, shapes, owner)
    if {"tau_rise_ms", "tau_decay_ms"} <= values.keys() and np.any(values["tau_rise_ms"] == values["tau_decay_ms"]):
        raise SettingError(
            f"tau_rise_ms and tau_decay_ms of {owner} have to differ; found {values['tau_rise_ms'].tolist()} for both. "
            "Where they are equal the time course is the alpha function: take an alpha synapse."
        )
    _check_plasticity(projection, values, owner)


def _check_edge_delays(projection: Projection, owner: str) -> None:
    if projection.edge_delay_ms is None:
        return
    delay = np.asarray(projection.edge_delay_ms)
    longest = projection.delay_ms if projection.longest_delay_ms is None else projection.longest_delay_ms
    if delay.shape != (projection.n_edges,):
        raise SettingError(f"edge_delay_ms of {owner} has to have {projection.n_edges} entries; found {delay.shape}.")

    def outside(found: np.ndarray) -> Bool[np.ndarray, " part"]:
        slack = 1e-9 + _rounded_off(found)
        return ~((found >= projection.delay_ms - slack) & (found <= longest + slack))

    wrong = _found(delay, outside)
    if wrong.size or projection.delay_ms <= 0:
        rows = [f"edge {e}: {delay[e]:g} ms" for e in wrong] if wrong.size else [projection.delay_ms]
        raise SettingError(
            f"Delays of the edges of {owner} have to lie between its delay_ms, above 0, and its longest_delay_ms "
            f"({projection.delay_ms:g} and {longest:g} ms); found {offenders(rows)}."
        )


def _check_plasticity(projection: Projection, values: dict[str, np.ndarray], owner: str) -> None:
    plasticity = projection.plasticity
    if plasticity is None:
        return
    if not projection.synapse.spiking:
        raise SettingError(f"{owner} has {plasticity.kind} plasticity, which needs a synapse that carries spikes.")
    if not isinstance(plasticity, LongTermPlasticity):
        return
    if projection.edge_delay_ms is not None:
        raise SettingError(f"{owner} learns by {plasticity.kind}: give it one delay for all edges.")
    weight = np.abs(np.asarray(projection.base_weight)) * np.exp(values["log_gain"])[np.asarray(projection.type_index)]
    w_max = float(values["w_max"][0])
    large = np.flatnonzero(weight > w_max * (1 + 1e-6))
    if large.size:
        shown = offenders([f"edge {e}: {weight[e]:g}" for e in large])
        raise SettingError(f"Weights of {owner} have to start at w_max = {w_max:g} or below; found {shown}.")


def _params_of(net: Network, name: str) -> dict[str, object]:
    if name not in net.params:
        raise unknown_name("entry", name, net.params, "the network's params (each population and projection has one)")
    return net.params[name]


def _check_shapes(values: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]], owner: str) -> None:
    for name, shape in shapes.items():
        if np.shape(values[name]) != shape:
            raise SettingError(
                f"Parameter {name!r} of {owner} has to have shape {shape}, one value per type; found "
                f"{np.shape(values[name])}."
            )


def _check_index(index: np.ndarray, length: int, below: int, owner: str, what: str) -> None:
    if index.shape != (length,):
        raise SettingError(f"{what} of {owner} has to have {length} entries; found shape {index.shape}.")
    if length and (index.min() < 0 or index.max() >= below):
        wrong = np.flatnonzero((index < 0) | (index >= below))
        shown = offenders([f"entry {k}: {index[k]}" for k in wrong])
        raise SettingError(f"{what} of {owner} has to lie between 0 and {below - 1}; found {shown}.")
