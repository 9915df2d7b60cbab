"""The neuron models that can be fitted to a recorded cell: what is free in each, within which bounds, and from where.

Bounds lie around a start that the recording gives (`connectofit.fit.cells.starting_point`), so that they suit a small
neuron and a large one alike. Parameters keep the names and units that the models of `connectofit.sim` have, and what
was fitted can be given to a `ModelSpec` as it is. Refractory periods are rounded to steps and have no derivative: they
are fixed, at the length of the recorded spikes. What a likelihood needs beside the model (the width of the escape rate,
the noise of the voltage) belongs to the likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from connectofit.connectome.errors import SettingError, offenders, unknown_name
from connectofit.fit.cells.starting_point import StartingPoint
from connectofit.fit.optimisers.objective import Box
from connectofit.sim.neurons import NEURON_MODELS, NeuronModel
from connectofit.sim.neurons.base import Values


@dataclass(frozen=True)
class Range:
    """A start with bounds around it. log: whether the parameter is searched on a logarithmic scale."""

    start: float
    low: float
    high: float
    log: bool = False


def _times(start: float, factor: float) -> Range:
    """From a `factor`-th to `factor` times the start, on a logarithmic scale."""
    return Range(start, start / factor, start * factor, True)


def _around(start: float, reach: float, above: float | None = None) -> Range:
    """From `reach` below the start to `above` (`reach`) above it."""
    return Range(start, start - reach, start + (reach if above is None else above))


Ranges = dict[str, Range]


def _glif(s: StartingPoint, *parts: Callable[[StartingPoint], Ranges]) -> Ranges:
    ranges = {
        "c_m_pF": _times(s.c_m_pF, 5.0),
        "g_nS": _times(s.g_nS, 5.0),
        "e_l_mV": _around(s.e_mV, 15.0),
        "v_threshold_mV": _around(s.v_threshold_mV, 15.0),
    }
    for part in parts:
        ranges |= part(s)
    return ranges


def _fixed_reset(s: StartingPoint) -> Ranges:
    return {"v_reset_mV": _around(s.v_reset_mV, 20.0)}


def _reset_rules(s: StartingPoint) -> Ranges:
    # V - E_L is about threshold - E_L when a spike begins; a tenth of it is left, the rest is added.
    fraction = 0.1
    add = s.v_reset_mV - s.e_mV - fraction * (s.v_threshold_mV - s.e_mV)
    return {
        "reset_fraction": Range(fraction, 0.0, 1.0),
        "reset_add_mV": _around(add, 25.0),
        "theta_spike_add_mV": Range(0.5, -10.0, 60.0),
        "theta_spike_decay_per_ms": Range(0.02, 0.001, 0.5, True),
    }


def _currents(s: StartingPoint) -> Ranges:
    # Of each current, the spike adds what would move V by -40 to 20 mV for good.
    g = s.g_nS
    return {
        "asc_1_add_pA": Range(-1.0 * g, -200.0 * g, 20.0 * g),
        "asc_2_add_pA": Range(-0.1 * g, -20.0 * g, 10.0 * g),
        "asc_1_decay_per_ms": Range(0.05, 0.015, 1.0, True),
        "asc_2_decay_per_ms": Range(0.005, 0.0005, 0.015, True),
    }


def _voltage_threshold(s: StartingPoint) -> Ranges:
    return {
        "theta_voltage_index_per_ms": Range(0.001, -0.02, 0.05),
        "theta_voltage_decay_per_ms": Range(0.05, 0.005, 0.5, True),
    }


def _lif(s: StartingPoint) -> Ranges:
    return {
        "tau_m_ms": _times(s.tau_ms, 5.0),
        "r_m_GOhm": _times(s.r_GOhm, 5.0),
        "v_rest_mV": _around(s.e_mV, 15.0),
        "v_threshold_mV": _around(s.v_threshold_mV, 15.0),
        **_fixed_reset(s),
    }


def _gif(s: StartingPoint) -> Ranges:
    g = s.g_nS
    return {
        "tau_m_ms": _times(s.tau_ms, 5.0),
        "r_m_GOhm": _times(s.r_GOhm, 5.0),
        "v_rest_mV": _around(s.e_mV, 15.0),
        "theta_inf_mV": _around(s.v_threshold_mV, 15.0),
        **_fixed_reset(s),
        "a_per_ms": Range(0.001, -0.02, 0.05),
        "b_per_ms": Range(0.05, 0.005, 0.5, True),
        "k_1_per_ms": Range(0.05, 0.015, 1.0, True),
        "k_2_per_ms": Range(0.005, 0.0005, 0.015, True),
        "a_1_pA": Range(-1.0 * g, -200.0 * g, 20.0 * g),
        "a_2_pA": Range(-0.1 * g, -20.0 * g, 10.0 * g),
    }


def _adex(s: StartingPoint) -> Ranges:
    g = s.g_nS
    return {
        "c_m_pF": _times(s.c_m_pF, 5.0),
        "g_leak_nS": _times(g, 5.0),
        "e_leak_mV": _around(s.e_mV, 15.0),
        "v_t_mV": _around(s.v_threshold_mV, 15.0),
        "delta_t_mV": Range(1.5, 0.3, 6.0, True),
        **_fixed_reset(s),
        "tau_w_ms": Range(100.0, 10.0, 1000.0, True),
        "a_nS": Range(0.05 * g, -0.5 * g, 2.0 * g),
        "b_pA": Range(1.0 * g, -1.0 * g, 200.0 * g),
    }


def _izhikevich(s: StartingPoint) -> Ranges:
    # At the rheobase the paper's I is 4 mV/ms (0.04 v^2 + 5 v + 140 - 0.2 v touches 0 from above), which gives C.
    rheobase = max(abs(s.rheobase_pA), 1.0)
    return {
        "a_per_ms": Range(0.02, 0.002, 0.3, True),
        "b_per_ms": Range(0.2, -0.2, 0.35),
        "c_mV": _around(s.v_reset_mV, 20.0),
        "d_mV_per_ms": Range(6.0, 0.05, 30.0, True),
        "c_m_pF": _times(rheobase / 4.0, 10.0),
        "i_bias_pA": Range(0.0, -2.0 * rheobase, 2.0 * rheobase),
    }


def _traub_miles(s: StartingPoint) -> Ranges:
    # Densities of the benchmark's cell (100 uS / 30 uS / 1 uF per cm^2) on the membrane that the capacitance gives.
    return {
        "c_m_pF": _times(s.c_m_pF, 3.0),
        "g_leak_nS": _times(s.g_nS, 5.0),
        "e_leak_mV": _around(s.e_mV, 15.0),
        "g_na_nS": _times(100.0 * s.c_m_pF, 10.0),
        "g_k_nS": _times(30.0 * s.c_m_pF, 10.0),
        "v_t_mV": _around(s.v_threshold_mV - 8.0, 15.0),
    }


_RANGES: Final[dict[str, Callable[[StartingPoint], Ranges]]] = {
    "lif": _lif,
    "adex": _adex,
    "izhikevich": _izhikevich,
    "glif1": lambda s: _glif(s, _fixed_reset),
    "glif2": lambda s: _glif(s, _reset_rules),
    "glif3": lambda s: _glif(s, _fixed_reset, _currents),
    "glif4": lambda s: _glif(s, _reset_rules, _currents),
    "glif5": lambda s: _glif(s, _reset_rules, _currents, _voltage_threshold),
    "gif": _gif,
    "traub_miles": _traub_miles,
}
_ALIASES: Final = MappingProxyType({"hh": "traub_miles"})

FITTABLE: Final = tuple(_RANGES)
"""The models that can be fitted, by name; ``hh`` is ``traub_miles``."""

TYPICAL: Final = StartingPoint(-70.0, 0.1, 20.0, -65.0, -45.0, 2.0, float("nan"), 0)
"""A cortical cell, for bounds without a recording: 100 MOhm and 20 ms."""


@dataclass(frozen=True, eq=False)
class CellModel:
    """A neuron model with free parameters.

    name: as in `FITTABLE`. neuron: its equations. box, start: the free parameters, their bounds and where a fit starts,
    in their own units. fixed: all others.
    """

    name: str
    neuron: NeuronModel
    box: Box
    start: Float[np.ndarray, " k"]
    fixed: Mapping[str, float] = field(repr=False)

    @property
    def spikes_drawn(self) -> bool:
        """Whether the model has action potentials of its own, and not resets in their place."""
        return self.name == "traub_miles"

    def values(self, x: Float[Array, " k"]) -> Values:
        """All parameters of the model; the first of `x` are the free ones, in the order of `box`."""
        values = {k: jnp.asarray(v, x.dtype) for k, v in self.fixed.items()}
        return {**values, **{name: x[k] for k, name in enumerate(self.box.names)}}

    def named(self, x: Sequence[float] | Float[np.ndarray, " k"]) -> dict[str, float]:
        """All parameters by name, as a `ModelSpec` takes them."""
        return {**self.fixed, **{name: float(x[k]) for k, name in enumerate(self.box.names)}}


def cell_model(
    name: str,
    start_from: StartingPoint = TYPICAL,
    *,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    start: Mapping[str, float] | None = None,
    fixed: Mapping[str, float] | None = None,
    neuron: NeuronModel | None = None,
) -> CellModel:
    """A model with its free parameters.

    Parameters
    ----------
    name: of `FITTABLE`, or ``"hh"``.
    start_from: what the recording says of the cell.
    free: the parameters to fit; by default those with a default range, less the fixed ones. One without such a range
        needs `bounds`.
    bounds, start: {parameter: (low, high)} and {parameter: value} in place of the defaults.
    fixed: {parameter: value} of parameters that are not free. Others that are not free keep their start, else the
        neuron's default.
    neuron: other settings of the model, such as its surrogate or method; of the same kind.

    Raises
    ------
    UnknownNameError: models and parameters that do not exist. SettingError: bounds that are none or exclude the start,
    parameters that are both free and fixed, free without bounds, or have no derivative.
    """
    kind = model_kind(name)
    if neuron is not None and neuron.kind != kind:
        raise SettingError(f"The neuron given for the cell model {name!r} is a {neuron.kind!r}. Give one of its kind.")
    neuron = NEURON_MODELS[kind]() if neuron is None else neuron
    free = None if free is None else [free] if isinstance(free, str) else list(free)
    given: dict[str, Mapping[str, Any]] = {"bounds": bounds or {}, "start": start or {}, "fixed": fixed or {}}
    for what, names in {"free": free or (), **given}.items():
        for parameter in names:
            if parameter not in neuron.parameters:
                raise unknown_name("parameter", parameter, neuron.parameters, f"{what} of the cell model {name!r}")
    defaults = _RANGES[kind](start_from)
    chosen = free if free is not None else [k for k in defaults if k not in given["fixed"]]
    _check_free(name, chosen, neuron, given["fixed"])
    ranges = {k: merged(k, defaults.get(k), given["bounds"], given["start"], name) for k in chosen}
    for k, found in ranges.items():
        legal = neuron.parameters[k].allowed(np.array([found.low, found.high]))
        if not legal.all():
            raise SettingError(
                f"Bounds of {k} ({found.low:g} to {found.high:g}) leave what the model allows: "
                f"{neuron.parameters[k].rule} [{neuron.parameters[k].unit}]."
            )
    idle = [k for k in given["bounds"] if k not in chosen]
    if idle:
        raise SettingError(f"Bounds are given for parameters that are not free: {offenders(idle)}. Name them in free.")
    values = {k: p.default for k, p in neuron.parameters.items()} | {k: r.start for k, r in defaults.items()}
    values |= _at_rest(kind, start_from)
    values |= {k: float(v) for k, v in {**given["start"], **given["fixed"]}.items()}
    box = Box(
        tuple(ranges),
        np.array([r.low for r in ranges.values()]),
        np.array([r.high for r in ranges.values()]),
        tuple(r.log for r in ranges.values()),
    )
    begin = np.array([r.start for r in ranges.values()])
    return CellModel(kind, neuron, box, begin, {k: float(v) for k, v in values.items() if k not in ranges})


def merged(
    name: str,
    default: Range | None,
    bounds: Mapping[str, tuple[float, float]],
    start: Mapping[str, float],
    owner: str,
) -> Range:
    """The range of a parameter under what a user gave.

    Raises `SettingError` for bounds that are none or exclude the start, and where neither default nor bounds are there.
    """
    if name in bounds:
        try:
            low, high = (float(v) for v in bounds[name])
        except (TypeError, ValueError):
            raise SettingError(
                f"Bounds of {name} have to be two numbers, a lower and an upper one; found {bounds[name]!r}."
            ) from None
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise SettingError(f"Bounds of {name} have to be finite, the lower one first; found {bounds[name]!r}.")
    elif default is not None:
        low, high = default.low, default.high
        if name in start:  # a start moves the default bounds along where it lies outside of them
            low, high = min(low, float(start[name])), max(high, float(start[name]))
    else:
        raise SettingError(
            f"{name} of {owner!r} has no default range. Give its bounds={{{name!r}: (low, high)}}, or do not name it "
            "in free."
        )
    middle = default.start if default is not None else 0.5 * (low + high)
    begin = float(start[name]) if name in start else middle
    if not low <= begin <= high:
        where = "given" if name in start else "that the recording gives"
        raise SettingError(
            f"The bounds of {name} ({low:g} to {high:g}) exclude the start {where}, {begin:g}. Widen them, or give "
            f"start={{{name!r}: ...}} inside."
        )
    return Range(begin, low, high, bool(default is not None and default.log and low > 0))


def known_parameters(name: str) -> tuple[str, ...]:
    """The parameters of a model that can be fitted, free or not. Raises `UnknownNameError` for others."""
    return tuple(NEURON_MODELS[model_kind(name)].parameters)


def model_kind(name: str) -> str:
    """The name in `FITTABLE` of a model, whichever of its names is given. Raises `UnknownNameError` for others."""
    kind = _ALIASES.get(name, name)
    if kind not in _RANGES:
        raise unknown_name("cell model", name, (*FITTABLE, *_ALIASES), "what can be fitted")
    return kind


def _check_free(name: str, free: Sequence[str], neuron: NeuronModel, fixed: Mapping[str, float]) -> None:
    if not free:
        raise SettingError(f"Nothing is free in the cell model {name!r}. Name the parameters to fit in free.")
    twice = [k for k in dict.fromkeys(free) if list(free).count(k) > 1]
    if twice:
        raise SettingError(f"Parameters are named more than once in free: {offenders(twice)}.")
    both = [k for k in free if k in fixed]
    if both:
        raise SettingError(f"Parameters are both free and fixed: {offenders(both)}. Leave them out of one.")
    flat = [k for k in free if k in ("t_ref_ms", neuron.noise)]
    if flat:
        raise SettingError(
            f"{offenders(flat)} cannot be fitted: a refractory period is rounded to steps, noise is drawn, and a loss "
            "has no derivative by them. Give them in fixed."
        )


def _at_rest(kind: str, s: StartingPoint) -> dict[str, float]:
    """Fixed parameters that the recording sets."""
    rest = {
        "gif": {"theta_reset_mV": s.v_threshold_mV, "r_1": 1.0, "r_2": 1.0, "t_ref_ms": s.t_ref_ms},
        "izhikevich": {"v_rest_mV": s.e_mV},
        "traub_miles": {"v_rest_mV": s.e_mV},
    }
    return rest.get(kind, {"t_ref_ms": s.t_ref_ms})
